"""The layout of MVTec AD (Bergmann et al., 2019): ``train/good``, ``test/good``, ``test/DEFECT``
and masks in ``ground_truth/DEFECT/NAME.png`` or ``NAME_mask.png``. Each picture is one point.

What the folders call training and test is not taken as the split: that of a classifier needs
defects on both sides, and is by part.
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
from inspection.training.recipe import DatasetDescription

TRAIN, TEST, GOOD, MASKS = "train", "test", "good", "ground_truth"


def read(description: DatasetDescription, root: Path) -> Dataset:
    """Raises `DataError` for a folder of pictures that is no class, and a mask of another size."""
    dataset = Dataset(description, root)
    for folder in (TRAIN, TEST):
        if not (root / folder).is_dir():
            raise DataError(f"{root}: no folder {folder!r}, which MVTec AD has")
        for path in pictures_below(root / folder):
            code = path.relative_to(root / folder).parts[0]
            label = description.name_of(code)
            if label is None:
                raise DataError(
                    f"{path}: {code!r} is no class of {description.name}: add it to 'classes' in"
                    " the description, or move the pictures away"
                )
            part, group = part_and_group(dataset, path)
            frame = readable(dataset, path)
            if frame is None:
                continue  # on the list of unreadable pictures, with its reason
            mask = _mask(root, code, path.stem)
            if mask is not None:
                pixels = readable(dataset, mask)
                if pixels is None:
                    mask = None
                elif pixels.shape[:2] != frame.shape[:2]:
                    raise DataError(f"{mask}: its size is not that of {path}: draw it again")
            dataset.pictures.append(Picture(path, part, group, (whole(frame, label),), mask=mask))
    return dataset


def _mask(root: Path, code: str, stem: str) -> Path | None:
    for name in (f"{stem}_mask.png", f"{stem}.png"):
        path = root / MASKS / code / name
        if path.is_file():
            return path
    return None
