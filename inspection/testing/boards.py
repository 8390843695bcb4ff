"""A small product to try a line on: boards with a grid of tiles, drawn here, and a model that calls
a dark tile a defect. It shows that every wire is connected, and nothing about any real part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inspection import imaging
from inspection.testing.packages import Broken, build_package

TILE = 32
GRID = 5
SIDE = TILE * GRID
PLAN = "board"


def write_plan(
    folder: Path,
    *,
    deadline_ms: int = 5000,
    views: int = 1,
    trigger: str = "station",
    unresolved: str = "hold",
    cameras: Sequence[str] = ("cam1",),
) -> Path:
    """A plan of ``views`` views with GRID x GRID points each, taken by ``cameras`` in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["id,view,kind,left_px,top_px,width_px,height_px,severity"]
    for view in range(views):
        rows += [
            f"v{view}-r{row}c{column},v{view},tile,{column * TILE},{row * TILE},{TILE},{TILE},major"
            for row in range(GRID)
            for column in range(GRID)
        ]
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    described = "\n".join(
        f'[[view]]\nid = "v{view}"\ncamera = "{cameras[view % len(cameras)]}"\n'
        f"width_px = {SIDE}\nheight_px = {SIDE}\n"
        f'trigger = "{trigger}"\n'
        for view in range(views)
    )
    path = folder / "plan.toml"
    path.write_text(
        f'[plan]\nname = "{PLAN}"\nversion = "1"\ndeadline_ms = {deadline_ms}\n'
        f'points = "points.csv"\n\n[severity]\nmajor = "{unresolved}"\n\n'
        f'[kinds.tile]\nmodel = "darkness"\n\n{described}'
    )
    return path


def board(*dark: tuple[int, int], shade: int = 225) -> imaging.Frame:
    """A bright board with dark tiles at these (row, column) places."""
    rng = np.random.default_rng(7)
    image = np.full((SIDE, SIDE), shade, np.int16) + rng.integers(-6, 7, (SIDE, SIDE))
    for row, column in dark:
        image[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] -= shade - 30
    return np.asarray(np.clip(image, 0, 255), np.uint8)


def write_part(images: Path, part: str, *frames: imaging.Frame) -> None:
    """One picture a view, where camera `folder` looks for them."""
    for view, frame in enumerate(frames):
        path = images / part / f"v{view}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(imaging.encode_png(frame))


def camera(images: Path, **settings: object) -> dict[str, dict[str, object]]:
    """Camera ``cam1`` replaying these pictures."""
    return {"cam1": {"driver": "folder", "settings": {"directory": str(images), **settings}}}


def model(folder: Path, *, broken: Broken | None = None) -> Path:
    """The model package ``darkness`` for these boards."""
    return build_package(folder, size=TILE, broken=broken)
