"""The limits of the quality gate from folders of good pictures (``inspection plan learn``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import UNSET

from inspection import imaging, quality
from inspection.alignment import locate
from inspection.errors import ConfigurationError, ImageError, PlanError, Problem
from inspection.imaging import Frame
from inspection.limits import read_limits, write_limits
from inspection.messages import Id, QualityLimits, Region
from inspection.plan import Plan, View

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def pictures_of(folder: Path, views: Sequence[Id]) -> dict[Id, list[Path]]:
    """The pictures of each of these views that has any: files named for it in folders of any name
    (as camera ``folder`` has them), or of any name in a folder named for it."""
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: there is no such folder")
    found: dict[Id, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        name = path.stem if path.stem in views else path.parent.name
        if name in views:
            found.setdefault(name, []).append(path)
    if not found:
        raise ConfigurationError(
            f"{folder}: no picture of a view of the plan: name them VIEW.png in a folder for each"
            " part, or put them into a folder VIEW"
        )
    return found


def learn_limits(
    plan: Plan, folder: Path, pictures: Mapping[Id, Sequence[Path]]
) -> dict[Id, tuple[int, int]]:
    """Write the limits of the views of ``pictures`` into a plan's folder of taught files; those of
    other views stay. By view how many pictures and points. Raises `PlanError` with every picture
    that cannot be used; nothing is written then."""
    problems: list[Problem] = []
    kept: dict[str, QualityLimits] = {}
    if any(view.id not in pictures for view in plan.views):
        kept, problems = read_limits(folder, {point.id: point.view for point in plan.points})
    learnt: dict[Id, dict[Id, QualityLimits]] = {}
    for view in plan.views:
        points = plan.points_of(view.id)
        if view.id not in pictures:
            learnt[view.id] = {p.id: kept[p.id] for p in points if p.id in kept}
            continue
        frames = _usable(view, pictures[view.id], problems)
        regions = {point.id: point.region for point in points}
        try:
            limits = quality.learn(frames, regions, _places(view, regions))
        except ValueError:
            continue  # each of its pictures is among the problems
        learnt[view.id] = limits
    if problems:
        raise PlanError(problems)
    write_limits(folder, learnt)
    return {view: (len(files), len(learnt[view])) for view, files in pictures.items()}


def _usable(view: View, files: Sequence[Path], problems: list[Problem]) -> Iterator[Frame]:
    for file in files:
        try:
            frame = imaging.decode(file.read_bytes())
            imaging.check_frame(frame, view.width_px, view.height_px, whole=True)
            if view.alignment is not UNSET:
                locate(frame, view.alignment)
        except (ImageError, OSError) as error:
            problems.append(Problem(str(file), None, "", str(error)))
            continue
        yield frame


def _places(
    view: View, regions: Mapping[Id, Region]
) -> Callable[[Frame], Mapping[Id, Region]] | None:
    """Where the regions lie in a picture of a view that is aligned."""
    alignment = view.alignment
    if alignment is UNSET:
        return None

    def places(frame: Frame) -> Mapping[Id, Region]:
        pose = locate(frame, alignment)
        return {point: pose.moved(region) for point, region in regions.items()}

    return places
