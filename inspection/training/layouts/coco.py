"""COCO (Lin et al., 2014): JSON files with ``images``, ``annotations`` and ``categories``, boxes as
``[left, top, width, height]`` in pixels; one file, or one for each of the set's own splits, which
are not taken for splits here. A listed picture without annotation is good; a picture that no file
lists is not used.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec

from inspection.errors import DataError
from inspection.training.data import Box, Dataset, Unreadable, pictures_below, readable
from inspection.training.layouts.boxes import add_picture, box_of
from inspection.training.recipe import DatasetDescription


class Image(msgspec.Struct, frozen=True):
    """One entry of ``images``."""

    id: int | str
    file_name: str


class Annotation(msgspec.Struct, frozen=True):
    """One entry of ``annotations``."""

    image_id: int | str
    category_id: int | str
    bbox: list[float] = []
    id: int | str = ""


class Category(msgspec.Struct, frozen=True):
    """One entry of ``categories``."""

    id: int | str
    name: str


class Coco(msgspec.Struct, frozen=True):
    """What is needed of a file; whatever else stands in it is not read."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


class Codes(NamedTuple):
    """The categories that are annotated anywhere, in order, and how many listed pictures have no
    annotation."""

    used: list[str]
    empty: int


def find(root: Path) -> list[Path]:
    """JSON files below ``root`` that look like COCO: all three tables at the top."""
    found = []
    for path in sorted(root.rglob("*.json")):
        try:
            top = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
        except (OSError, msgspec.DecodeError):
            continue  # some other JSON; it stays on the list of files that are not used
        if {"images", "annotations", "categories"} <= set(top):
            found.append(path)
    return found


def codes_of(root: Path) -> Codes:
    """What `describe` has to know. Raises `DataError` for a file that is not as it must be."""
    used: dict[str, None] = {}
    empty = 0
    for file in find(root):
        table = _read(file)
        names = {category.id: category.name for category in table.categories}
        annotated = {annotation.image_id for annotation in table.annotations}
        wanted = {annotation.category_id for annotation in table.annotations}
        used |= dict.fromkeys(names[key] for key in names if key in wanted)
        empty += sum(image.id not in annotated for image in table.images)
    return Codes(list(used), empty)


def read(description: DatasetDescription, root: Path) -> Dataset:
    """Raises `DataError` naming file and annotation of the first mistake; a listed picture that is
    not there is on the list of unreadable ones."""
    dataset = Dataset(description, root)
    files = find(root)
    if not files:
        raise DataError(f"{root}: no JSON file with images, annotations and categories")
    names = Counter(path.name for path in pictures_below(root))
    by_name = {path.name: path for path in pictures_below(root) if names[path.name] == 1}
    listed: dict[Path, Path] = {}
    for file in files:
        table = _read(file)
        categories = {category.id: category.name for category in table.categories}
        boxes: dict[int | str, list[Annotation]] = {image.id: [] for image in table.images}
        for annotation in table.annotations:
            if annotation.image_id not in boxes:
                raise DataError(
                    f"{file}: annotation {annotation.id}: there is no image {annotation.image_id}"
                )
            boxes[annotation.image_id].append(annotation)
        for image in table.images:
            path = _where(root, file, image.file_name, by_name)
            if not path.resolve().is_relative_to(root.resolve()):
                raise DataError(f"{file}: image {image.id}: {image.file_name!r} leads out")
            if path in listed:
                raise DataError(f"{file}: {image.file_name!r} is also listed in {listed[path]}")
            listed[path] = file
            if not path.is_file():
                dataset.unreadable.append(Unreadable(path, f"listed in {file.name}, not there"))
                continue
            frame = readable(dataset, path)
            if frame is None:
                continue  # on the list of unreadable pictures, with its reason
            size = (frame.shape[1], frame.shape[0])
            found = [
                _box(file, annotation, categories, description, size)
                for annotation in boxes[image.id]
            ]
            add_picture(dataset, path, frame, found)
    return dataset


def _read(file: Path) -> Coco:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Coco)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{file}: no COCO file: {error}") from None


def _where(root: Path, file: Path, name: str, by_name: dict[str, Path]) -> Path:
    """Pictures lie beside their JSON file, below the root, or in a folder images; else anywhere
    if the name is the only one of its kind."""
    folders = (file.parent, root, root / "images", file.parent / "images")
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    return found or by_name.get(Path(name).name) or file.parent / name


def _box(
    file: Path,
    annotation: Annotation,
    categories: dict[int | str, str],
    description: DatasetDescription,
    size: tuple[int, int],
) -> Box:
    place = f"{file}: annotation {annotation.id}"
    code = categories.get(annotation.category_id)
    label = None if code is None else description.name_of(code)
    if label is None:
        raise DataError(
            f"{place}: category {annotation.category_id} ({code}) is no class of {description.name}"
        )
    if len(annotation.bbox) != 4:
        raise DataError(f"{place}: bbox: {annotation.bbox} is not [left, top, width, height]")
    left, top, width, height = annotation.bbox
    return box_of(place, (left, top, left + width, top + height), label, size)
