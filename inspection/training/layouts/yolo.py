"""YOLO: ``images/**/NAME.png`` and ``labels/**/NAME.txt``, with one ``class x y width height`` a
line (centre and size as shares of the picture's) or a polygon ``class x1 y1 x2 y2 x3 y3 ...``; the
names of the classes in ``data.yaml`` or, one a line, in ``classes.txt``. The set's own splits are
not taken for splits here.

An empty label file says that a picture is good. One that is missing says nothing: such a picture is
listed as unreadable, and not taken for a good one.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from inspection.errors import DataError
from inspection.training.data import Dataset, Unreadable, pictures_below, readable
from inspection.training.layouts.boxes import add_picture, box_of
from inspection.training.layouts.coco import Codes
from inspection.training.recipe import DatasetDescription

IMAGES, LABELS = "images", "labels"
NAMES = ("data.yaml", "dataset.yaml", "classes.txt")


def find(root: Path) -> Path | None:
    """The file that names the classes, where pictures and labels lie as YOLO's do."""
    names = next((root / name for name in NAMES if (root / name).is_file()), None)
    if names is None or not any(p.is_dir() for p in root.rglob(LABELS)):
        return None
    return names


def codes_of(root: Path) -> Codes:
    """What `describe` has to know. Raises `DataError` for a mistake in a label file."""
    names = _names(root)
    used: set[str] = set()
    empty = 0
    for path in _pictures(root):
        labels = _labels_of(root, path)
        if not labels.is_file():
            continue  # `read` lists the picture
        rows = _rows(labels, names)
        used |= {code for _, code, _ in rows}
        empty += not rows
    return Codes([name for name in names.values() if name in used], empty)


def read(description: DatasetDescription, root: Path) -> Dataset:
    """Raises `DataError` naming file and line of the first mistake."""
    dataset = Dataset(description, root)
    names = _names(root)
    for path in _pictures(root):
        labels = _labels_of(root, path)
        if not labels.is_file():
            where = labels.relative_to(root)
            why = f"no {where}: nothing says whether it is good; an empty file would"
            dataset.unreadable.append(Unreadable(path, why))
            continue
        frame = readable(dataset, path)
        if frame is None:
            continue  # on the list of unreadable pictures, with its reason
        width, height = frame.shape[1], frame.shape[0]
        boxes = []
        for line, code, (left, top, right, bottom) in _rows(labels, names):
            place = f"{labels}:{line}"
            label = description.name_of(code)
            if label is None:
                raise DataError(f"{place}: class {code!r} is no class of {description.name}")
            sides = (left * width, top * height, right * width, bottom * height)
            boxes.append(box_of(place, sides, label, (width, height)))
        add_picture(dataset, path, frame, boxes)
    return dataset


def _pictures(root: Path) -> list[Path]:
    return [p for p in pictures_below(root) if IMAGES in p.relative_to(root).parts[:-1]]


def _labels_of(root: Path, path: Path) -> Path:
    parts = list(path.relative_to(root).with_suffix(".txt").parts)
    last = len(parts) - 2 - parts[-2::-1].index(IMAGES)
    return root.joinpath(*parts[:last], LABELS, *parts[last + 1 :])


def _names(root: Path) -> dict[str, str]:
    """Names of classes by their number, as it is written."""
    file = find(root)
    if file is None:
        raise DataError(f"{root}: no {' or '.join(NAMES)} beside a folder {LABELS!r}")
    try:
        text = file.read_text("utf-8")
        told = text.splitlines() if file.suffix == ".txt" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    if isinstance(told, dict):
        told = told.get("names")
    if isinstance(told, list):
        told = dict(enumerate(told))
    if not isinstance(told, dict) or not told:
        raise DataError(f"{file}: names: must list the classes, such as names: [crack, hole]")
    found = {str(number): str(name).strip() for number, name in told.items()}
    if len(set(found.values())) < len(found):
        raise DataError(f"{file}: names: two classes have one name")
    return found


def _rows(
    file: Path, names: dict[str, str]
) -> list[tuple[int, str, tuple[float, float, float, float]]]:
    """Line, class and sides (shares of the picture) of each box."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        code, *texts = line.split()
        try:
            values = [float(text) for text in texts]
        except ValueError:
            values = []
        if len(values) == 4:
            x, y, width, height = values
            sides = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        elif len(values) >= 6 and len(values) % 2 == 0:
            across, down = values[::2], values[1::2]
            sides = (min(across), min(down), max(across), max(down))
        else:
            raise DataError(f"{file}:{number}: {line!r} is not 'class x y width height'")
        if code not in names:
            raise DataError(f"{file}:{number}: class {code} has no name")
        rows.append((number, names[code], sides))
    return rows
