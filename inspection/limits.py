"""The limits of the quality gate as files beside a plan, which a person can read and change.

``limits.csv`` has a row for each point; what good pictures show of the points of a view lies in one
picture, ``limits-VIEW.png``, in tiles of 16 x 16 px, 16 a row: ``tile`` says which, from 0.
``inspection plan learn`` writes both.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from inspection.config import read_bytes, shown, unknown
from inspection.errors import ConfigurationError, ImageError, Problem
from inspection.messages import THUMBNAIL_PX, QualityLimits, Reason

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow is imported where a sheet is read or written: checking a plan without limits needs none.
FILE = "limits.csv"
ACROSS = 16
"""Tiles in a row of a sheet."""

_NUMBERS = {
    "level_min": 255.0, "level_max": 1000.0, "focus_min": 1e6, "soft_below": 1e6,
    "shadows_max": 1.0, "highlights_max": 1.0, "glare_max": 1.0, "dead_max": 1.0,
    "content_max": 1.0,
}  # fmt: skip
"""The most each may be; none may be below 0."""
COLUMNS = ("id", "tile", *_NUMBERS)


def sheet_name(view: str) -> str:
    """The file with what good pictures of a view show."""
    return f"limits-{view}.png"


def write_limits(folder: Path, views: Mapping[str, Mapping[str, QualityLimits]]) -> None:
    """Write the limits of all points (by view and point) and their sheets, each file whole or not
    at all."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for view, limits in views.items():
        if not limits:
            continue
        height = -(-len(limits) // ACROSS) * THUMBNAIL_PX
        sheet = Image.new("L", (ACROSS * THUMBNAIL_PX, height))
        for tile, (point, limit) in enumerate(limits.items()):
            picture = Image.frombytes("L", (THUMBNAIL_PX, THUMBNAIL_PX), limit.reference)
            sheet.paste(picture, _place(tile))
            values = (f"{getattr(limit, name):.6g}" for name in _NUMBERS)
            rows.append([point, str(tile), *values])
        stream = io.BytesIO()
        sheet.save(stream, "PNG")
        _replace(folder / sheet_name(view), stream.getvalue())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    _replace(folder / FILE, text.getvalue().encode())


def read_limits(
    folder: Path, view_of: Mapping[str, str]
) -> tuple[dict[str, QualityLimits], list[Problem]]:
    """The limits of a folder by point, and every mistake in them; nothing where it holds no
    ``limits.csv``. ``view_of`` are the points of the plan and their views."""
    path = folder / FILE
    if not path.exists():
        return {}, []
    reader = _Reader(folder, view_of)
    return reader.read(path), reader.problems


def _place(tile: int) -> tuple[int, int]:
    return tile % ACROSS * THUMBNAIL_PX, tile // ACROSS * THUMBNAIL_PX


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(data)
    temporary.replace(path)


class _Reader:
    """One reading. Goes on after a mistake, and is silent about what only follows from one."""

    def __init__(self, folder: Path, view_of: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._folder = folder
        self._view_of = view_of
        self._sheets: dict[str, Image | None] = {}
        self._lines: dict[str, int] = {}
        self._sound = True
        """Whether every row said which point it is of."""

    def read(self, path: Path) -> dict[str, QualityLimits]:
        found = {}
        for line, cells in self._rows(path):
            limit = self._limit(str(path), line, cells)
            if limit is not None:
                found[cells["id"]] = limit
        taught = {self._view_of[point] for point in self._lines if point in self._view_of}
        for point, view in self._view_of.items():
            # A point that came later would be judged in whatever picture there is.
            if self._sound and view in taught and point not in self._lines:
                said = f"point {point!r} of view {view!r} has no row: run inspection plan learn"
                self._wrong(str(path), None, "", f"{said} again")
        return found

    def _wrong(self, file: str, line: int | None, field: str, message: str) -> None:
        self.problems.append(Problem(file, line, field, message))

    def _rows(self, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
        file = str(path)
        try:
            text = read_bytes(path).decode("utf-8-sig")
        except ConfigurationError as error:
            self._wrong(file, None, "", error.problems[0].message)
            return
        except UnicodeDecodeError as error:
            self._wrong(file, None, "", f"byte {error.start + 1} is not UTF-8: save it as UTF-8")
            return
        lines = [
            (number, line)
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        if not lines:
            self._wrong(file, None, "", f"is empty: its first line names {', '.join(COLUMNS)}")
            return
        delimiter = ";" if lines[0][1].count(";") > lines[0][1].count(",") else ","
        header = [name.strip() for name in lines[0][1].split(delimiter)]
        if not self._header(file, lines[0][0], header):
            return
        for number, line in lines[1:]:
            cells = [cell.strip() for cell in line.split(delimiter)]
            if len(cells) != len(header):
                said = f"has {len(cells)} cells, but the header has {len(header)}"
                self._wrong(file, number, "", said)
                self._sound = False
                continue
            yield number, dict(zip(header, cells, strict=True))

    def _header(self, file: str, line: int, header: Collection[str]) -> bool:
        before = len(self.problems)
        for name in header:
            if name not in COLUMNS:
                self._wrong(file, line, name, unknown(name, COLUMNS))
        for name in COLUMNS:
            if list(header).count(name) != 1:
                self._wrong(file, line, name, "there must be one column of this name")
        return len(self.problems) == before

    def _limit(self, file: str, line: int, cells: Mapping[str, str]) -> QualityLimits | None:
        point, before = cells["id"], len(self.problems)
        first = self._lines.setdefault(point, line)
        if point not in self._view_of:
            self._wrong(file, line, "id", f"{point!r} is no point of this plan")
        elif first != line:
            self._wrong(file, line, "id", f"point {point!r} was already given on line {first}")
        numbers = {name: self._number(file, line, name, cells[name]) for name in _NUMBERS}
        for low, high in (("level_min", "level_max"),):
            if (a := numbers[low]) is not None and (b := numbers[high]) is not None and a > b:
                self._wrong(file, line, low, f"{a:g} is above {high}, which is {b:g}")
        reference = self._tile(file, line, cells["tile"], self._view_of.get(point))
        if reference is None or len(self.problems) > before:
            return None
        return msgspec.convert({"reference": reference, **numbers}, QualityLimits)

    def _number(self, file: str, line: int, name: str, cell: str) -> float | None:
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not 0 <= value <= _NUMBERS[name]:
            said = f"{shown(cell)} is no number from 0 to {_NUMBERS[name]:g}"
            self._wrong(file, line, name, said)
            return None
        return value + 0.0

    def _tile(self, file: str, line: int, cell: str, view: str | None) -> bytes | None:
        if not re.fullmatch("[0-9]{1,6}", cell):
            self._wrong(file, line, "tile", f"{shown(cell)} is no number of a tile, from 0")
            return None
        if view is None:
            return None
        if view not in self._sheets:
            self._sheets[view] = self._sheet(view)
        sheet = self._sheets[view]
        if sheet is None:
            return None
        left, top = _place(int(cell))
        if top + THUMBNAIL_PX > sheet.height:
            self._wrong(file, line, "tile", f"{sheet_name(view)} has no tile {cell}")
            return None
        return sheet.crop((left, top, left + THUMBNAIL_PX, top + THUMBNAIL_PX)).tobytes()

    def _sheet(self, view: str) -> Image | None:
        from PIL import Image

        path = self._folder / sheet_name(view)
        try:
            with Image.open(path, formats=("PNG",)) as picture:
                if picture.mode != "L" or picture.width != ACROSS * THUMBNAIL_PX:
                    raise ImageError(
                        Reason.IMAGE_UNREADABLE,
                        f"must be grey and {ACROSS * THUMBNAIL_PX} px wide, as plan learn made it",
                    )
                picture.load()
                return picture.copy()
        except FileNotFoundError:
            self._wrong(str(path), None, "", "there is no such file: run inspection plan learn")
        except (OSError, ValueError, SyntaxError, ImageError) as error:
            self._wrong(str(path), None, "", f"cannot be read: {error}")
        return None
