"""Data sets for other tools, and any layout as an index that says all there is to know.

COCO, FiftyOne's and Label Studio's import formats are written here: the libraries that speak them
(datumaro, FiftyOne, the Label Studio SDK) bring frameworks of their own, for a page of JSON.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from inspection.errors import DataError
from inspection.messages import Region
from inspection.training.data import Box, Dataset, Picture
from inspection.training.defaults import write_toml
from inspection.training.layouts.index import OPTIONAL

INDEX, DESCRIPTION = "index.csv", "dataset.toml"
COLUMNS = ("image", "label", *OPTIONAL)
LEFT_OUT = "not-used.csv"


def write_index(dataset: Dataset, out: Path) -> list[str]:
    """Copy a data set to the new folder ``out``, with an index of its points and a description, so
    that it reads back with the same pictures, parts, points and labels. Returns what a person
    should know. Raises `DataError` where ``out`` holds something or cannot be written."""
    _claim(out)
    rows: list[dict[str, object]] = []
    for picture in dataset.pictures:
        copied = {path: _copy(dataset, path, out) for path in picture.files}
        shared = {
            "image": copied[picture.path],
            "part": picture.part,
            "group": picture.group,
            "time": picture.time.isoformat() if picture.time else "",
            "mask": copied[picture.mask] if picture.mask else "",
            "reference": copied[picture.reference] if picture.reference else "",
        }
        rows += [
            {
                **shared,
                "region": " ".join(f"{side:g}" for side in _sides(point.region)),
                "label": "" if point.label is None or point.borderline else point.label,
            }
            for point in picture.points
        ]
    classes = tuple(msgspec.structs.replace(c, code=None) for c in dataset.description.classes)
    description = msgspec.structs.replace(
        dataset.description,
        layout="index",
        classes=classes,
        part=None,
        group=None,
        tiles=None,
        rendered=None,
        index=INDEX,
    )
    _table(out / INDEX, COLUMNS, rows)
    write_toml(description, out / DESCRIPTION)
    not_used = [(e.path, e.why) for e in dataset.unreadable]
    not_used += [(e.path, e.why) for e in dataset.ignored]
    left: list[dict[str, object]] = [
        {"file": path.relative_to(dataset.root).as_posix(), "why": why} for path, why in not_used
    ]
    said = [f"{out}: {len(dataset.pictures)} pictures, {len(rows)} points"]
    if left:
        _table(out / LEFT_OUT, ("file", "why"), left)
        said.append(f"{len(left)} files were not copied: {out / LEFT_OUT} says why")
    if dataset.guessed:
        said.append("parts were guessed, and stand in the index now as if they were known")
    if any(picture.boxes for picture in dataset.pictures):
        said.append("boxes are in the index as the labels of points only")
    return said


def export(dataset: Dataset, to: str, out: Path) -> list[str]:
    """Write a data set to the new folder ``out`` as ``to`` reads it: "coco", "fiftyone" or
    "labelstudio". Returns what a person should know. Raises `DataError`."""
    _claim(out)
    return _WRITERS[to](dataset, out)


def _coco(dataset: Dataset, out: Path) -> list[str]:
    names = dataset.description.class_names
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, picture in enumerate(dataset.pictures):
        wide, high = _size(dataset, picture)
        name = _copy(dataset, picture.path, out, "images")
        images.append({
            "id": number, "file_name": name, "width": wide, "height": high, "part": picture.part,
        })  # fmt: skip
        for box in _boxes(dataset, picture):
            width, height = box.right - box.left, box.bottom - box.top
            annotations.append({
                "id": len(annotations), "image_id": number, "category_id": names.index(box.label),
                "bbox": [box.left, box.top, width, height], "area": width * height, "iscrowd": 0,
            })  # fmt: skip
    categories = [{"id": k, "name": name} for k, name in enumerate(names)]
    table = {"images": images, "annotations": annotations, "categories": categories}
    _json(out / "annotations" / "instances.json", table)
    said = f"{out}: {len(images)} pictures, {len(annotations)} boxes of defects"
    return [f"{said}; a picture without one is good"]


def _fiftyone(dataset: Dataset, out: Path) -> list[str]:
    """`FiftyOneImageClassificationDataset` where each picture is one point without boxes, else
    `FiftyOneImageDetectionDataset`; both have ``data/`` and ``labels.json``, by file name without
    its suffix."""
    names = dataset.description.class_names
    plain = all(len(p.points) == 1 and not p.boxes for p in dataset.pictures)
    labels: dict[str, object] = {}
    unlabelled = 0
    for number, picture in enumerate(dataset.pictures):
        # The format knows a picture by its name alone, and folders may use one name twice.
        key = f"{number:06d}-{picture.path.stem}"
        _put(picture.path, out / "data" / f"{key}{picture.path.suffix}")
        if plain:
            label = picture.points[0].label
            if label is None:
                unlabelled += 1
            else:
                labels[key] = names.index(label)
            continue
        wide, high = _size(dataset, picture)
        labels[key] = [
            {
                "label": names.index(box.label),
                "bounding_box": [
                    box.left / wide, box.top / high,
                    (box.right - box.left) / wide, (box.bottom - box.top) / high,
                ],
            }
            for box in _boxes(dataset, picture)
        ]  # fmt: skip
    _json(out / "labels.json", {"classes": list(names), "labels": labels})
    kind = "FiftyOneImageClassificationDataset" if plain else "FiftyOneImageDetectionDataset"
    said = [f"{out}: {len(dataset.pictures)} pictures; read it as fiftyone.types.{kind}"]
    return said + ([f"{unlabelled} pictures have no label"] if unlabelled else [])


def _labelstudio(dataset: Dataset, out: Path) -> list[str]:
    """Tasks with annotations, pictures by Label Studio's local file serving, and the labelling
    interface that fits."""
    tasks = []
    for number, picture in enumerate(dataset.pictures):
        wide, high = _size(dataset, picture)
        name = _copy(dataset, picture.path, out, "images")
        frame = {"original_width": wide, "original_height": high, "image_rotation": 0}
        result: list[dict[str, object]] = []
        label = picture.points[0].label
        if len(picture.points) == 1 and label is not None:
            choice = {"from_name": "label", "to_name": "image", "type": "choices"}
            result.append({**choice, "id": f"{number}-c", "value": {"choices": [label]}})
        for k, box in enumerate(_boxes(dataset, picture) if not _whole(picture) else ()):
            result.append({
                **frame, "id": f"{number}-{k}", "from_name": "box", "to_name": "image",
                "type": "rectanglelabels",
                "value": {
                    "x": 100 * box.left / wide, "y": 100 * box.top / high,
                    "width": 100 * (box.right - box.left) / wide,
                    "height": 100 * (box.bottom - box.top) / high,
                    "rotation": 0, "rectanglelabels": [box.label],
                },
            })  # fmt: skip
        tasks.append({
            "data": {"image": f"/data/local-files/?d={out.name}/images/{name}",
                     "part": picture.part, "group": picture.group},
            "annotations": [{"result": result}],
        })  # fmt: skip
    _json(out / "tasks.json", tasks)
    _write(out / "interface.xml", _interface(dataset.description.class_names))
    return [
        f"{out}: {len(tasks)} tasks; set up the project with interface.xml, then import tasks.json",
        f"serve the pictures: LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={out.resolve().parent}",
    ]


def _interface(names: Sequence[str]) -> str:
    from xml.sax.saxutils import quoteattr

    choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in names)
    labels = "".join(f"<Label value={quoteattr(name)}/>" for name in names[1:])
    return (
        '<View><Image name="image" value="$image"/>'
        f'<Choices name="label" toName="image">{choices}</Choices>'
        f'<RectangleLabels name="box" toName="image">{labels}</RectangleLabels></View>\n'
    )


_WRITERS: dict[str, Callable[[Dataset, Path], list[str]]] = {
    "coco": _coco,
    "fiftyone": _fiftyone,
    "labelstudio": _labelstudio,
}


def _boxes(dataset: Dataset, picture: Picture) -> Iterator[Box]:
    """A picture's boxes; where it has none, the regions of its defective points."""
    if picture.boxes:
        yield from picture.boxes
        return
    for point in picture.points:
        if point.label not in (None, dataset.description.ok_class):
            left, top, width, height = _sides(point.region)
            yield Box(left, top, left + width, top + height, str(point.label))


def _whole(picture: Picture) -> bool:
    """Whether its only box would be the whole picture, which says no more than its label."""
    return not picture.boxes and len(picture.points) == 1


def _size(dataset: Dataset, picture: Picture) -> tuple[int, int]:
    look = dataset.looks.get(picture.path)
    if look is not None:
        return look.size
    right = max(point.region.left_px + point.region.width_px for point in picture.points)
    bottom = max(point.region.top_px + point.region.height_px for point in picture.points)
    return round(right), round(bottom)


def _sides(region: Region) -> tuple[float, float, float, float]:
    return region.left_px, region.top_px, region.width_px, region.height_px


def _claim(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise DataError(f"{out}: holds something already: name a new folder with --out")
    except OSError as error:
        raise DataError(f"{out}: cannot be made: {error.strerror}") from None


def _copy(dataset: Dataset, path: Path, out: Path, below: str = "") -> str:
    """Copy a file of the data set to the same place below ``out``; returns that place."""
    name = path.relative_to(dataset.root).as_posix()
    _put(path, out / below / name)
    return name


def _put(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror}") from None


def _table(file: Path, columns: Sequence[str], rows: Sequence[dict[str, object]]) -> None:
    try:
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise DataError(f"{file}: cannot be written: {error.strerror}") from None


def _json(file: Path, value: Any) -> None:
    _write(file, msgspec.json.format(msgspec.json.encode(value), indent=1).decode())


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    except OSError as error:
        raise DataError(f"{file}: cannot be written: {error.strerror}") from None
