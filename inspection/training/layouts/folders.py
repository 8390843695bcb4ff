"""One folder a class: ``good/*.png``, ``crack/*.png``. Each picture is one point. The folders of
classes may lie in folders of splits (``train/good``, ``test/good``); which are not taken for splits
here.
"""

from __future__ import annotations

from pathlib import Path

from inspection.errors import DataError
from inspection.training.data import (
    Dataset,
    Picture,
    part_and_group,
    pictures_below,
    readable,
    whole,
)
from inspection.training.recipe import ANOMALY, DatasetDescription

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


def tops(root: Path) -> list[Path]:
    """The folders that hold folders of classes: the root, or folders of splits below it."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and path.name[0] != "."]
    splits = [path for path in folders if path.name.lower() in SPLITS]
    nested = all(any(inner.is_dir() for inner in path.iterdir()) for path in splits)
    return splits if splits and len(splits) == len(folders) and nested else [root]


def read(description: DatasetDescription, root: Path) -> Dataset:
    """Raises `DataError` for a folder of pictures that is no class, and a class without folder."""
    dataset = Dataset(description, root)
    codes = {entry.code or entry.name for entry in description.classes} - {ANOMALY}
    above = tops(root)
    for code in sorted(codes):
        if not any((top / code).is_dir() for top in above):
            raise DataError(
                f"{root}: no folder {code!r} for class {description.name_of(code)!r}: create it,"
                " or correct 'classes' in the description"
            )
    for path in pictures_below(root):
        code = next(path.relative_to(top) for top in above if path.is_relative_to(top)).parts[0]
        label = description.name_of(code)
        if label is None:
            raise DataError(
                f"{path}: {code!r} is no class of {description.name} ({', '.join(sorted(codes))}):"
                " add it to 'classes' in the description, or move the pictures away"
            )
        part, group = part_and_group(dataset, path)
        frame = readable(dataset, path)
        if frame is not None:
            dataset.pictures.append(Picture(path, part, group, (whole(frame, label),)))
    return dataset
