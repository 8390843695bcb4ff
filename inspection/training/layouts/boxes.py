"""What layouts with boxes have in common: from boxes to points.

A picture is one point, and its label that of its worst box (of equals the first one annotated);
or, where the description has ``[tiles]``, it is divided into points like DeepPCB's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inspection.errors import DataError
from inspection.imaging import Frame
from inspection.training.data import (
    Box,
    Dataset,
    Picture,
    part_and_group,
    tile,
    whole,
)

OUTSIDE_PX = 2.0
"""Boxes drawn by hand reach out of a picture by so much; more is a mistake."""


def box_of(
    place: str, sides: tuple[float, float, float, float], label: str, size: tuple[int, int]
) -> Box:
    """A box from left, top, right, bottom, cut to a picture of width and height ``size``. Raises
    `DataError`, beginning with ``place``, where it is none or lies outside."""
    left, top, right, bottom = sides
    inside = (max(left, 0.0), max(top, 0.0), min(right, size[0]), min(bottom, size[1]))
    over = max(-left, -top, right - size[0], bottom - size[1])
    if not (inside[0] < inside[2] and inside[1] < inside[3] and over <= OUTSIDE_PX):
        raise DataError(
            f"{place}: left {left:g}, top {top:g}, right {right:g}, bottom {bottom:g} is no box in"
            f" a picture of {size[0]} x {size[1]}"
        )
    return Box(*inside, label)


def add_picture(dataset: Dataset, path: Path, frame: Frame, boxes: Sequence[Box]) -> None:
    """Add a picture and what its boxes say; boxes of the OK class are no defects."""
    description = dataset.description
    height, width = frame.shape[:2]
    ranks = {e.name: e.severity.rank for e in description.classes if e.severity is not None}
    defects = tuple(box for box in boxes if box.label != description.ok_class)
    if description.tiles is not None:
        size = (description.tiles.width_px, description.tiles.height_px)
        points = tile(width, height, size, defects, description.ok_class)
    else:
        worst = max(defects, key=lambda box: ranks[box.label], default=None)  # of equals the first
        label = description.ok_class if worst is None else worst.label
        points = (whole(frame, label),)
    part, group = part_and_group(dataset, path)
    dataset.pictures.append(Picture(path, part, group, points, defects))
