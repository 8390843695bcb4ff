"""Welds drawn by `inspection.rendering`: a data set that is a recipe.

`render` draws what a folder does not hold yet, part by part, so that a killed run goes on where it
was; `read` reads it like any other data. One folder a part: the cameras' files, masks of what has
one, and ``welds.json``, written last.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct

from inspection.errors import DataError
from inspection.imaging import encode_png
from inspection.messages import Region
from inspection.rendering.catalogue import (
    DEFECTS,
    DIAMETER_MIN_MM,
    EDGE_MIN,
    GOOD,
    NAMES,
    OFFSET_MAX_MM,
    SPACING_MIN,
)
from inspection.rendering.weld import RenderedWeld, draw_part, draw_weld, render
from inspection.training.data import Dataset, LabelledPoint, Picture, Split
from inspection.training.recipe import DatasetDescription, Rendered, RenderedSplit

SPLITS = ("train", "validation", "test")
RECIPE, WELDS = "recipe.json", "welds.json"
FIRST = {"train": 0, "validation": 100_000, "test": 200_000}
"""Number of a split's first part: no part is in two of them, whatever their sizes are."""
FAR = 2.5
"""Measures in units of their limits count up to this: beyond it nothing is told apart."""
SAY_EVERY_S = 15.0

Progress = Callable[[str], None]


class WeldFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One weld of ``welds.json``. A ratio to something that is not there is null."""

    file: str
    mask: str | None
    zones: str | None
    label: str
    borderline: bool
    size_px: int
    diameter_mm: float
    offset_mm: float
    edge_ratio: float | None
    spacing_ratio: float | None
    extent_mm: float


class _Job(NamedTuple):
    recipe: Rendered
    split: str
    part: int
    folder: Path


def recipe_of(description: DatasetDescription) -> Rendered:
    """The recipe, checked against what the renderer knows; raises `DataError`."""
    if description.rendered is None:
        raise DataError(f"data set {description.name}: has no [rendered] table")
    if strange := sorted(set(description.class_names) ^ set(NAMES)):
        raise DataError(
            f"data set {description.name}: class {strange[0]!r}: a rendered set has exactly the"
            f" classes {', '.join(NAMES)}"
        )
    return description.rendered


def cache(description: DatasetDescription) -> Path:
    """Where a rendered set is kept when nobody says where: below the user's cache."""
    recipe = msgspec.json.encode(recipe_of(description), order="sorted")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "visual-inspection" / f"{description.name}-{_sha256(recipe)[:12]}"


def labels(recipe: Rendered, split: str, part: int) -> list[str]:
    """The classes of a part's welds."""
    wanted: RenderedSplit = getattr(recipe, split)
    rng = np.random.default_rng([recipe.seed, FIRST[split] + part, 8])
    chosen = []
    for _ in range(recipe.welds):
        defect = DEFECTS[int(rng.integers(len(DEFECTS)))]
        chosen.append(defect if rng.uniform() < wanted.defects else GOOD)
    return chosen


def scenes(recipe: Rendered) -> str:
    """SHA-256 of every scene of the recipe: labels, materials, places and measures. It is the same
    on every machine, as the pixels are not."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for part in range(getattr(recipe, split).parts):
            number = FIRST[split] + part
            digest.update(repr(draw_part(recipe.seed, number, recipe.domain)).encode())
            for weld, label in enumerate(labels(recipe, split, part)):
                scene = draw_weld(recipe.seed, number, weld, label, domain=recipe.domain)
                rounded = tuple(round(value, 6) for value in scene.measures)
                digest.update(repr((label, scene.borderline, rounded)).encode())
    return digest.hexdigest()


def render_missing(
    description: DatasetDescription,
    root: Path,
    splits: Collection[str] = SPLITS,
    progress: Progress = print,
) -> None:
    """Draw the parts of these splits that ``root`` does not hold yet, on all cores. Raises
    `DataError` where the folder holds pictures of another recipe."""
    recipe = recipe_of(description)
    _claim(root, recipe)
    # Whoever comes while another process draws waits for it, and finds what it has drawn.
    with (root / RECIPE).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _render(recipe, root, splits, progress)


def _render(recipe: Rendered, root: Path, splits: Collection[str], progress: Progress) -> None:
    jobs = [
        _Job(recipe, split, part, folder)
        for split in SPLITS
        if split in splits
        for part in range(getattr(recipe, split).parts)
        if not ((folder := root / part_name(split, part)) / WELDS).is_file()
    ]
    if not jobs:
        return
    progress(f"rendering {len(jobs) * recipe.welds} welds of {len(jobs)} parts into {root}")
    begun = said = time.monotonic()
    context = get_context("spawn")  # a fork of a process with threads may never come back
    with ProcessPoolExecutor(mp_context=context) as pool:
        for done, _ in enumerate(pool.map(_render_part, jobs, chunksize=4), 1):
            now = time.monotonic()
            if now - said > SAY_EVERY_S:
                said = now
                left = (now - begun) / done * (len(jobs) - done)
                progress(f"{done} of {len(jobs)} parts, {left:.0f} s to go")


def provide(
    description: DatasetDescription,
    data: Path | None,
    splits: Collection[str] = SPLITS,
    progress: Progress = print,
) -> Path:
    """The folder of a rendered set, with these splits in it: the one named, or the cache."""
    root = cache(description) if data is None else data
    render_missing(description, root, splits, progress)
    return root


def part_name(split: str, part: int) -> str:
    return f"{split}-{part:05d}"


def read(description: DatasetDescription, root: Path) -> Dataset:
    """The splits that are there as a whole. Raises `DataError` where none is and one is there in
    part; beside another one such a rest is passed over, for whoever wants it has it completed by
    `render_missing` first."""
    recipe = recipe_of(description)
    _claim(root, recipe)
    dataset = Dataset(description, root)
    found: dict[str, tuple[str, ...]] = {}
    begun: list[str] = []
    for split in SPLITS:
        count = getattr(recipe, split).parts
        here = [part for part in range(count) if (root / part_name(split, part) / WELDS).is_file()]
        if len(here) < count:
            begun += [f"{len(here)} of {count} parts of {split}"] if here else []
            here = []
        found[split] = tuple(part_name(split, part) for part in here)
        for part in here:
            group = draw_part(recipe.seed, FIRST[split] + part, recipe.domain).steel.name
            dataset.pictures += _pictures(root, part_name(split, part), group)
    if begun and not dataset.pictures:
        raise DataError(
            f"{root}: holds {', '.join(begun)}: rendering was interrupted; without --data it is"
            " taken up again"
        )
    dataset.split = Split(**found)
    return dataset


def _pictures(root: Path, part: str, group: str) -> Iterator[Picture]:
    folder = root / part
    try:
        welds = msgspec.json.decode((folder / WELDS).read_bytes(), type=list[WeldFile])
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{folder / WELDS}: {error}: remove the folder {folder}") from None
    for weld in welds:
        side = float(weld.size_px)
        region = Region(left_px=0.0, top_px=0.0, width_px=side, height_px=side)
        name = weld.file.partition(".")[0]
        point = LabelledPoint(name, region, weld.label, weld.borderline, targets(weld))
        mask = None if weld.mask is None else folder / weld.mask
        zones = None if weld.zones is None else folder / weld.zones
        yield Picture(folder / weld.file, part, group, (point,), mask=mask, zones=zones)


def targets(weld: WeldFile) -> tuple[float, ...]:
    """Diameter, offset, distance to an edge and to a neighbour, each in units of its limit and at
    most `FAR`; NaN where there is no weld to measure."""
    if weld.label == "missing":
        return (math.nan,) * 4
    edge = FAR if weld.edge_ratio is None else weld.edge_ratio / EDGE_MIN
    spacing = FAR if weld.spacing_ratio is None else weld.spacing_ratio / SPACING_MIN
    found = (weld.diameter_mm / DIAMETER_MIN_MM, weld.offset_mm / OFFSET_MAX_MM, edge, spacing)
    return tuple(min(value, FAR) for value in found)


def _claim(root: Path, recipe: Rendered) -> None:
    """Make the folder this recipe's, or see that it is."""
    told = msgspec.json.format(msgspec.json.encode(recipe, order="sorted"), indent=2) + b"\n"
    file = root / RECIPE
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            if any(root.iterdir()):
                raise DataError(f"{root}: holds other things: name an empty folder with --data")
            temporary = root / f".{RECIPE}"
            temporary.write_bytes(told)
            temporary.replace(file)
        elif file.read_bytes() != told:
            raise DataError(
                f"{root}: was rendered from another recipe ({file}): name another folder with"
                " --data, or leave --data out"
            )
    except OSError as error:
        raise DataError(f"{root}: {error.strerror}") from None


def _render_part(job: _Job) -> None:
    number = FIRST[job.split] + job.part
    drawn = job.folder.with_name(f".{job.folder.name}")
    shutil.rmtree(drawn, ignore_errors=True)
    drawn.mkdir()
    welds = []
    for weld, label in enumerate(labels(job.recipe, job.split, job.part)):
        made = render(draw_weld(job.recipe.seed, number, weld, label, domain=job.recipe.domain))
        name, mask = f"{weld:03d}-{label}", None
        (drawn / f"{name}.jpg").write_bytes(made.jpeg)
        if made.mask.any():
            mask = f"{name}.png"
            (drawn / mask).write_bytes(encode_png(np.where(made.mask > 0, 255, 0).astype(np.uint8)))
        zones = None
        if job.split == "train":
            zones = f"{name}.zones.png"
            (drawn / zones).write_bytes(encode_png(made.zones))
        welds.append(_weld_file(f"{name}.jpg", mask, zones, made))
    (drawn / WELDS).write_bytes(msgspec.json.format(msgspec.json.encode(welds), indent=1))
    shutil.rmtree(job.folder, ignore_errors=True)
    drawn.rename(job.folder)


def _weld_file(file: str, mask: str | None, zones: str | None, made: RenderedWeld) -> WeldFile:
    measures = made.measures

    def ratio(value: float) -> float | None:
        return round(value, 6) if math.isfinite(value) else None

    return WeldFile(
        file=file,
        mask=mask,
        zones=zones,
        label=made.label,
        borderline=made.borderline,
        size_px=made.image.shape[0],
        diameter_mm=round(measures.diameter_mm, 6),
        offset_mm=round(measures.offset_mm, 6),
        edge_ratio=ratio(measures.edge_ratio),
        spacing_ratio=ratio(measures.spacing_ratio),
        extent_mm=round(measures.extent_mm, 6),
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
