"""Pairs as in DeepPCB: ``images/NAME_test.jpg``, its defect-free ``images/NAME_temp.jpg`` and
``annotations/NAME.txt`` with one ``x1 y1 x2 y2 type`` a line.

Source: Tang, He, Huang, Yang, "Online PCB defect detector on a new PCB defect dataset", 2019.
"""

from __future__ import annotations

from pathlib import Path

from inspection.errors import DataError
from inspection.training.data import (
    Box,
    Dataset,
    Picture,
    Unreadable,
    part_and_group,
    readable,
    tile,
)
from inspection.training.recipe import DatasetDescription


def read(description: DatasetDescription, root: Path) -> Dataset:
    """Raises `DataError` for an annotation that cannot be read; a picture without annotation is
    listed as unreadable, because nothing says whether it is good."""
    if description.tiles is None:
        raise DataError(f"data set {description.name}: layout 'deeppcb' needs a [tiles] table")
    dataset = Dataset(description, root)
    size = (description.tiles.width_px, description.tiles.height_px)
    images = root / "images"
    for path in sorted(images.glob("*_test.*")):
        name = path.stem.removesuffix("_test")
        annotation = root / "annotations" / f"{name}.txt"
        if not annotation.is_file():
            dataset.unreadable.append(Unreadable(path, f"no annotation {annotation}"))
            continue
        part, group = part_and_group(dataset, path)
        frame = readable(dataset, path)
        if frame is None:
            continue  # on the list of unreadable pictures, with its reason
        height, width = frame.shape[:2]
        boxes = _boxes(annotation, description, width, height)
        reference: Path | None = images / f"{name}_temp{path.suffix}"
        if reference is not None and not reference.is_file():
            reference = None
        elif reference is not None:
            template = readable(dataset, reference)
            if template is None or template.shape[:2] != frame.shape[:2]:
                dataset.warnings.append(f"{reference}: not used: unreadable or of another size")
                reference = None
        points = tile(width, height, size, boxes, description.ok_class)
        dataset.pictures.append(Picture(path, part, group, points, boxes, reference))
    return dataset


def _boxes(
    annotation: Path, description: DatasetDescription, width: int, height: int
) -> tuple[Box, ...]:
    boxes = []
    try:
        lines = annotation.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{annotation}: cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{annotation}:{number}"
        try:
            left, top, right, bottom = (float(text) for text in line.split()[:4])
            (code,) = line.split()[4:]
        except ValueError:
            raise DataError(f"{place}: {line!r} is not 'x1 y1 x2 y2 type'") from None
        label = description.name_of(code)
        if label is None or label == description.ok_class:
            raise DataError(f"{place}: type: {code!r} is no defect class of {description.name}")
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise DataError(f"{place}: {line!r} is no box in a picture of {width} x {height}")
        boxes.append(Box(left, top, right, bottom, label))
    return tuple(boxes)
