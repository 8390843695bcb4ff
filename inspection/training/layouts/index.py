"""A CSV file with one row a point: image, part, region, label, group, time.

``image`` is a path below the data directory; ``region`` is ``left top width height`` in pixels, or
empty for the whole picture; an empty ``label`` counts the point apart. ``time`` is when the picture
was taken (ISO 8601; UTC where it names no zone). ``part``, ``region``, ``group`` and ``time`` may
be missing as columns; without a column ``part`` the description's expressions say it.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import msgspec

from inspection.errors import DataError
from inspection.messages import Region
from inspection.training.data import Dataset, LabelledPoint, Picture, part_and_group, readable
from inspection.training.recipe import DatasetDescription

COLUMNS = ("image", "label")
OPTIONAL = ("part", "region", "group", "time")


def read(description: DatasetDescription, root: Path) -> Dataset:
    """Raises `DataError` naming file, line and column of the first mistake."""
    dataset = Dataset(description, root)
    file = root / description.index
    rows: defaultdict[str, list[tuple[int, dict[str, str]]]] = defaultdict(list)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            table = rows_of(stream)
            columns = table.fieldnames or ()
            if missing := [name for name in COLUMNS if name not in columns]:
                raise DataError(f"{file}:1: {missing[0]}: this column is missing")
            if unknown := [name for name in columns if name not in COLUMNS + OPTIONAL]:
                dataset.warnings.append(
                    f"columns of {file.name} that are not used: {', '.join(map(repr, unknown))}"
                )
            for row in table:
                if None in row or None in row.values():
                    raise DataError(f"{file}:{table.line_num}: the row has another number of cells")
                if not row["image"]:
                    raise DataError(f"{file}:{table.line_num}: image: is empty")
                rows[row["image"]].append((table.line_num, row))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file: set 'index' in the description") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None
    for image, entries in rows.items():
        path = root / image
        if not path.resolve().is_relative_to(root.resolve()):
            raise DataError(f"{file}:{entries[0][0]}: image: {image!r} leads out of the data")
        owners = {(row.get("part"), row.get("group"), row.get("time")) for _, row in entries}
        part, group, time = next(iter(owners))
        if len(owners) > 1 or part == "":
            raise DataError(
                f"{file}:{entries[-1][0]}: part: picture {image!r} must belong to one part, one"
                " group and one time"
            )
        if part is None:
            part, found = part_and_group(dataset, path)
            group = found if group is None else group
        frame = readable(dataset, path)
        if frame is None:
            continue  # on the list of unreadable pictures, with its reason
        points = tuple(
            LabelledPoint(
                f"line{line}",
                _region(file, line, row.get("region", ""), (frame.shape[1], frame.shape[0])),
                _label(file, line, row["label"], description),
            )
            for line, row in entries
        )
        when = _time(file, entries[0][0], time or "")
        dataset.pictures.append(Picture(path, part, group or "", points, time=when))
    return dataset


def rows_of(stream: TextIO) -> csv.DictReader[str]:
    """The rows of a table, separated by commas or, as some spreadsheets write, semicolons."""
    head = stream.readline()
    stream.seek(0)
    semicolons = ";" in head and "," not in head
    return csv.DictReader(stream, strict=True, delimiter=";" if semicolons else ",")


def _region(file: Path, line: int, text: str, size: tuple[int, int]) -> Region:
    if not text.strip():
        return Region(left_px=0, top_px=0, width_px=size[0], height_px=size[1])
    try:
        left, top, width, height = (float(number) for number in text.split())
        region = msgspec.convert(
            {"left_px": left, "top_px": top, "width_px": width, "height_px": height}, Region
        )
    except (ValueError, msgspec.ValidationError):
        raise DataError(
            f"{file}:{line}: region: {text!r} is not 'left top width height' in pixels"
        ) from None
    if left + width > size[0] or top + height > size[1]:
        raise DataError(
            f"{file}:{line}: region: {text!r} reaches out of a picture of {size[0]} x {size[1]}"
        )
    return region


def _time(file: Path, line: int, text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(
            f"{file}:{line}: time: {text!r} is no ISO 8601, such as 2026-03-01T06:30:00Z"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _label(file: Path, line: int, text: str, description: DatasetDescription) -> str | None:
    if not text:
        return None
    label = description.name_of(text)
    if label is None:
        raise DataError(f"{file}:{line}: label: {text!r} is no class of {description.name}")
    return label
