"""A pool of pre-rendered bodies on disk, so that no figure of a line measures the renderer.

Rendering a view takes a second and more, a line wants one every few milliseconds. So each view is
rendered a few times, the body standing differently each time, and each body of the pool takes one
of these for each view; where a body has a defect, the window around it is rendered once more, with
the defect in it. What is true of each body stands in ``pool.json``, which is written last: a folder
without it is no pool.

Frames are raw bytes, because a camera has to give them out faster than anything can be decoded.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta, Struct

from inspection.errors import CameraError, ConfigurationError
from inspection.imaging import Frame
from inspection.messages import Id
from inspection.rendering import body
from inspection.rendering.catalogue import DEFECTS

POOL = "pool.json"
FORMAT = 1
MOST_DEFECTS = 50
STANCES = 2

Progress = Callable[[int, int], None]


class PatchFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A window of a view that shows a defect."""

    left: Annotated[int, Meta(ge=0)]
    top: Annotated[int, Meta(ge=0)]
    width: Annotated[int, Meta(ge=1)]
    height: Annotated[int, Meta(ge=1)]
    file: str


class Shown(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a body shows in one view: a frame, and what is pasted into it."""

    frame: str
    patches: tuple[PatchFile, ...] = ()


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One body and all that is wrong with it: its defects by point."""

    part: Id
    views: dict[Id, Shown]
    defects: dict[Id, str]


class FrameFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Raw 8-bit RGB pixels, row by row."""

    file: str
    width: Annotated[int, Meta(ge=1)]
    height: Annotated[int, Meta(ge=1)]


class Pool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``pool.json``."""

    format: int
    seed: int
    views: tuple[Id, ...]
    stances: int
    frames: dict[str, FrameFile]
    bodies: tuple[Body, ...]

    def body(self, part: str) -> Body:
        """The body of that number; raises `CameraError` where the pool has none."""
        found = next((each for each in self.bodies if each.part == part), None)
        if found is None:
            known = f"{self.bodies[0].part} to {self.bodies[-1].part}" if self.bodies else "no body"
            raise CameraError(f"the pool has no part {part!r}: it has {known}")
        return found

    def truth(self) -> dict[str, dict[str, str]]:
        """The defects of every body, by part and point."""
        return {each.part: dict(each.defects) for each in self.bodies}


class _Job(NamedTuple):
    """A frame to render, and the patches to render into it: (file, point, label)."""

    folder: Path
    seed: int
    view: str
    stance: int
    patches: tuple[tuple[str, str, str], ...]


def part_name(number: int) -> str:
    """Bodies are counted from 1."""
    return f"BODY-{number:04d}"


def draw_defects(rng: np.random.Generator, points: Sequence[str]) -> dict[str, str]:
    """The defects of a body that has some: 1 to 50, few more often than many."""
    most = min(MOST_DEFECTS, len(points))
    count = min(most, int(np.exp(rng.uniform(0, np.log(most + 1)))))
    chosen = rng.choice(len(points), size=max(1, count), replace=False)
    return {points[int(k)]: DEFECTS[int(rng.integers(len(DEFECTS)))] for k in sorted(chosen)}


def make_pool(
    folder: Path,
    *,
    bodies: int,
    seed: int,
    views: Sequence[str] | None = None,
    stances: int = STANCES,
    progress: Progress | None = None,
) -> Pool:
    """Render what ``bodies`` bodies show in these views (all, if None), on all cores; every other
    body has no defect. ``progress`` is told how many frames of how many are done.

    A pool that is there already and was made by the same numbers is taken as it is. Raises
    `ConfigurationError` where the folder holds something else, or the disk has too little room.
    """
    shown = tuple(body.points()) if views is None else tuple(views)
    if bodies < 1 or stances < 1 or seed < 0 or not set(shown) <= set(body.points()):
        raise ConfigurationError(f"no pool of {bodies} bodies, {len(shown)} views, seed {seed}")
    if (folder / POOL).exists():
        there = read_pool(folder)
        if (there.seed, there.views, there.stances, len(there.bodies)) == (
            seed, shown, stances, bodies,
        ):  # fmt: skip
            return there
        raise ConfigurationError(f"{folder}: holds another pool: name an empty folder")
    _make_room(folder, len(shown) * stances * body.WIDTH_PX * body.HEIGHT_PX * 3)
    points = [point for view in shown for point in body.points()[view]]
    view_of = {point: view for view in shown for point in body.points()[view]}
    made: list[tuple[str, dict[str, int], dict[str, str]]] = []
    keys = [(view, stance) for view in shown for stance in range(stances)]
    wanted: dict[tuple[str, int], list[tuple[str, str, str]]] = {key: [] for key in keys}
    for number in range(1, bodies + 1):
        rng = np.random.default_rng([seed, number, 31])
        stance_of = {view: int(rng.integers(stances)) for view in shown}
        defects = {} if number % 2 else draw_defects(rng, points)
        made.append((part_name(number), stance_of, defects))
        for point, label in defects.items():
            view = view_of[point]
            entry = (f"{view}-{stance_of[view]}-{point}-{label}.raw", point, label)
            if entry not in wanted[view, stance_of[view]]:
                wanted[view, stance_of[view]].append(entry)
    jobs = [_Job(folder, seed, view, stance, tuple(p)) for (view, stance), p in wanted.items()]
    windows: dict[str, PatchFile] = {}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        with _ctrl_c_for_the_caller_only():
            rendered = pool.map(_render, jobs)
        for done, patches in enumerate(rendered, 1):
            windows.update({patch.file: patch for patch in patches})
            if progress is not None:
                progress(done, len(jobs))
    frame = {key: f"{key[0]}-{key[1]}" for key in wanted}
    pool_file = Pool(
        format=FORMAT,
        seed=seed,
        views=shown,
        stances=stances,
        frames={
            name: FrameFile(file=f"{name}.raw", width=body.WIDTH_PX, height=body.HEIGHT_PX)
            for name in frame.values()
        },
        bodies=tuple(
            Body(
                part=part,
                views={
                    view: Shown(
                        frame=frame[view, stance],
                        patches=tuple(
                            windows[f"{view}-{stance}-{point}-{label}.raw"]
                            for point, label in defects.items()
                            if view_of[point] == view
                        ),
                    )
                    for view, stance in stance_of.items()
                },
                defects=defects,
            )
            for part, stance_of, defects in made
        ),
    )
    write_pool(folder, pool_file)
    return pool_file


def write_pool(folder: Path, pool: Pool) -> None:
    """Write ``pool.json``, whole or not at all."""
    temporary = folder / f".{POOL}"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(pool), indent=1) + b"\n")
    temporary.replace(folder / POOL)


def read_pool(folder: Path) -> Pool:
    """The pool of a folder; raises `ConfigurationError` where it holds none."""
    try:
        pool = msgspec.json.decode((folder / POOL).read_bytes(), type=Pool)
    except FileNotFoundError:
        raise ConfigurationError(f"{folder}: no pool here ({POOL} is missing)") from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{folder / POOL}: {error}") from None
    if pool.format != FORMAT:
        raise ConfigurationError(f"{folder / POOL}: format {pool.format}, not {FORMAT}: remake it")
    return pool


class Views:
    """The pictures of a pool. Frames are mapped, not read: what is shown often stays in memory."""

    def __init__(self, folder: Path) -> None:
        self.pool = read_pool(folder)
        self._folder = folder

    def picture(self, part: str, view: str) -> Frame:
        """What a body shows in a view: uint8 (h, w, 3), RGB, the caller's. Raises `CameraError`
        where the pool has no such body or view, or its files are damaged."""
        shown = self.pool.body(part).views.get(view)
        if shown is None:
            raise CameraError(f"the pool has no view {view!r} of part {part}")
        image = np.array(self._frame(shown.frame))
        for patch in shown.patches:
            pixels = self._pixels(patch.file, patch.width, patch.height)
            image[patch.top : patch.top + patch.height, patch.left : patch.left + patch.width] = (
                pixels
            )
        return image

    def _frame(self, name: str) -> Frame:
        file = self.pool.frames.get(name)
        if file is None:
            raise CameraError(f"the pool has no frame {name!r}")
        return self._pixels(file.file, file.width, file.height)

    @functools.lru_cache(maxsize=4096)  # noqa: B019  lives as long as the camera does
    def _pixels(self, file: str, width: int, height: int) -> Frame:
        try:
            return np.memmap(self._folder / file, np.uint8, "r", shape=(height, width, 3))
        except (OSError, ValueError) as error:
            raise CameraError(f"{self._folder / file}: {error}") from None


@contextlib.contextmanager
def _ctrl_c_for_the_caller_only() -> Iterator[None]:
    """Processes started here never see Ctrl-C, which a terminal sends to all of them: the one that
    waits for them ends them, and a page of tracebacks helps nobody."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _make_room(folder: Path, size: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise ConfigurationError(f"{folder}: {error.strerror}") from None
    if free < size * 1.1:
        raise ConfigurationError(
            f"{folder}: the pool needs {size / 1e9:.1f} GB and {free / 1e9:.1f} GB are free:"
            " make room, or name another folder"
        )


def _render(job: _Job) -> list[PatchFile]:
    stand = body.Stand(job.view, job.seed, job.stance)
    (job.folder / f"{job.view}-{job.stance}.raw").write_bytes(stand.render().tobytes())
    made = []
    for file, point, label in job.patches:
        patch = stand.patch(point, label)
        (job.folder / file).write_bytes(patch.image.tobytes())
        height, width = patch.image.shape[:2]
        made.append(
            PatchFile(left=patch.left, top=patch.top, width=width, height=height, file=file)
        )
    return made
