"""What a folder of pictures is, told from the folder alone.

A ``dataset.toml`` in it says all. Without one the layout is recognised (MVTec AD, COCO, YOLO, an
index in CSV, one folder a class), and the OK class by its name; whatever could be meant in two ways
is refused, with what to say instead.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from inspection.errors import DataError
from inspection.messages import MAX_CLASSES, Severity
from inspection.training.data import pictures_below
from inspection.training.layouts import coco, yolo
from inspection.training.layouts.folders import tops
from inspection.training.layouts.index import COLUMNS, rows_of
from inspection.training.layouts.mvtec import GOOD, TEST, TRAIN
from inspection.training.recipe import (
    ANOMALY,
    ClassDescription,
    DatasetDescription,
    check_expression,
    read_description,
)

DESCRIPTION, INDEX = "dataset.toml", "index.csv"
BOXED = frozenset({"coco", "yolo"})
OK_NAMES = frozenset(
    {"ok", "good", "normal", "free", "defect-free", "no-defect", "nodefect", "gut", "io", "i-o"}
)
"""Names of an OK class, in lower case, spaces and underscores as hyphens."""


def describe(root: Path, *, ok: str | None = None, part: str | None = None) -> DatasetDescription:
    """The description of the data below ``root``. ``ok`` names the OK class where its name does
    not, ``part`` is a regular expression for the part (`DatasetDescription`).

    Raises `DataError` where the layout is none that is known, or the OK class cannot be told."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder: name the data with --data")
    if (root / DESCRIPTION).is_file():
        if ok is not None or part is not None:
            raise DataError(f"{root / DESCRIPTION}: say there what --ok and --part would")
        return read_description(root / DESCRIPTION)
    if part is not None:
        check_expression(part, "--part")
    layout, codes, index = _recognised(root, ok)
    if not codes:
        raise DataError(
            f"{root}: no {DESCRIPTION}, no {INDEX}, no COCO, YOLO or MVTec AD layout and no folder"
            " with pictures: one folder a class is the simplest way"
        )
    if len(codes) > MAX_CLASSES:
        raise DataError(f"{root}: {len(codes)} classes, at most {MAX_CLASSES} are possible")
    good = _ok_class(root, codes, ok)
    if len(codes) < 2:
        if layout in BOXED:
            raise DataError(f"{root}: only class {good!r}: a classifier needs defects too")
        codes = [good, ANOMALY]  # good points alone: what is unlike them is learnt
    return DatasetDescription(
        name=_id(root.resolve().name),
        layout=layout,
        source="not stated",
        licence="not stated",
        classes=tuple(
            ClassDescription(name=code, severity=None if code == good else Severity.MAJOR)
            for code in codes
        ),
        part=part,
        index=index,
    )


def _recognised(root: Path, ok: str | None) -> tuple[str, list[str], str]:
    """Layout, classes and index file. Raises `DataError` where it could be several layouts."""
    tables = _tables(root)
    found = {
        "mvtec": (root / TRAIN / GOOD).is_dir() and (root / TEST).is_dir(),
        "coco": bool(coco.find(root)),
        "yolo": yolo.find(root) is not None,
        "index": bool(tables),
    }
    layouts = [layout for layout, there in found.items() if there]
    if len(layouts) > 1:
        raise DataError(
            f"{root}: could be read as {' and as '.join(layouts)}: say which in a {DESCRIPTION}"
            " there, or move the files of the others away"
        )
    layout = layouts[0] if layouts else "folders"
    if layout == "mvtec":
        return layout, [GOOD, *_folders_with_pictures(root / TEST, without=GOOD)], INDEX
    if layout == "index":
        if len(tables) > 1:
            names = " and ".join(path.name for path in tables)
            raise DataError(f"{root}: {names} could both be the index: leave one there")
        return layout, _labels_of(tables[0]), tables[0].name
    if layout in ("coco", "yolo"):
        codes, empty = (coco if layout == "coco" else yolo).codes_of(root)
        named = [code for code in codes if _means_ok(code)]
        if not named and ok not in codes and empty:
            codes = [ok or _free_name(codes), *codes]  # what has no box is good
        return layout, codes, INDEX
    above = tops(root)
    if loose := [p for p in pictures_below(root) if p.parent in (root, *above)]:
        raise DataError(
            f"{root}: {len(loose)} pictures lie beside the folders of classes, such as"
            f" {loose[0].name}: move them into the folder of their class"
        )
    return layout, sorted({c for top in above for c in _folders_with_pictures(top)}), INDEX


def _tables(root: Path) -> list[Path]:
    """CSV files that can be an index; `INDEX` is one whatever it holds, and so is the only file of
    a folder in which nothing else says what the pictures are."""
    if (root / INDEX).is_file():
        return [root / INDEX]
    files = [path for path in sorted(root.glob("*.csv")) if path.is_file()]
    fitting = []
    for path in files:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            if set(COLUMNS) <= set(rows_of(stream).fieldnames or ()):
                fitting.append(path)
    if not fitting and len(files) == 1 and not any(p.is_dir() for p in root.iterdir()):
        return files
    return fitting


def _means_ok(code: str) -> bool:
    return re.sub(r"[\s_/.-]+", "-", code.lower()).strip("-") in OK_NAMES


def _free_name(codes: list[str]) -> str:
    return next(name for name in ("ok", "good", "normal") if name not in codes)


def _ok_class(root: Path, codes: list[str], ok: str | None) -> str:
    if ok is not None:
        if ok not in codes:
            raise DataError(f"--ok {ok}: {root} has no such class, only {', '.join(codes)}")
        return ok
    named = [code for code in codes if _means_ok(code)]
    if len(named) == 1:
        return named[0]
    which = f"{' and '.join(named)} could both be" if named else "none is called like"
    raise DataError(
        f"{root}: {which} the OK class (classes: {', '.join(codes)}): say which with --ok CLASS"
    )


def _folders_with_pictures(root: Path, without: str = "") -> list[str]:
    folders = (path for path in sorted(root.iterdir()) if path.is_dir() and path.name != without)
    return [path.name for path in folders if next(pictures_below(path), None) is not None]


def _labels_of(file: Path) -> list[str]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            table = rows_of(stream)
            if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
                raise DataError(f"{file}:1: {missing[0]}: this column is missing")
            return sorted({row["label"] for row in table if row.get("label")})
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None


def _id(text: str) -> str:
    """A name as identifiers are."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._")[:64] or "data"
