"""Labelled pictures: reading them in whatever layout they come, and splitting them by part.

A layout lists pictures, parts and labels; nothing downstream knows which layout it was. A picture
that cannot be read is kept on a list with its reason: never dropped in silence.
"""

from __future__ import annotations

import hashlib
import importlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast

from inspection import imaging
from inspection.errors import DataError, ImageError
from inspection.imaging import Frame
from inspection.messages import Region
from inspection.training.recipe import DatasetDescription, SplitRule

LAYOUTS = {
    "folders": "inspection.training.layouts.folders:read",
    "mvtec": "inspection.training.layouts.mvtec:read",
    "index": "inspection.training.layouts.index:read",
    "deeppcb": "inspection.training.layouts.deeppcb:read",
    "rendered": "inspection.training.layouts.rendered:read",
}

NAMELESS = frozenset({"folders", "mvtec"})
"""Layouts that name no part where no expression does."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


class Box(NamedTuple):
    """Where a defect is, in pixels; right and bottom lie just outside."""

    left: float
    top: float
    right: float
    bottom: float
    label: str

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


ZONES = ("own", "other", "open")
"""What a pixel can belong to, lowest bit first: the planned weld's imprint, another weld's, what
lies beyond the sheet's edges. A pixel may belong to several."""


class LabelledPoint(NamedTuple):
    """A point and what is known of it. Without a label it is counted apart: neither good nor
    defective (a defect reaches into it whose centre lies elsewhere). So is a borderline one, whose
    label is known but lies so near a limit that nobody could blame either answer. ``measures`` are
    those of the data set, in units of their limits; NaN where there is nothing to measure."""

    id: str
    region: Region
    label: str | None
    borderline: bool = False
    measures: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of one part. ``reference`` is a picture of the same part, or of its design,
    without defects; ``mask`` a grey picture of the same size, not 0 where a defect is; ``zones``
    one whose bits are `ZONES`. Only training may look at any of them."""

    path: Path
    part: str
    group: str
    points: tuple[LabelledPoint, ...]
    boxes: tuple[Box, ...] = ()
    reference: Path | None = None
    mask: Path | None = None
    zones: Path | None = None


class Unreadable(NamedTuple):
    """A picture nobody can use, and why."""

    path: Path
    why: str


class Split(NamedTuple):
    """Parts by what they are for; no part is in two of them. ``calibration`` are those on which an
    8-bit graph's ranges are taken."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    calibration: tuple[str, ...] = ()

    def with_calibration(self, share: float, together: Mapping[str, str]) -> Split:
        """So large a share of the training parts is set aside for calibration; parts that must not
        be parted (`Dataset.together`) are not."""
        alone = [p for p in self.train if p not in together and p not in together.values()]
        aside = set(_every(alone, share))
        rest = tuple(part for part in self.train if part not in aside)
        return self._replace(train=rest, calibration=tuple(sorted(aside)))


@dataclass(slots=True)
class Dataset:
    """What a layout found. ``sha256`` covers every byte read and every label given. ``split`` is
    the data set's own, where it has one. ``together`` are parts that must not be parted by a
    split, each with the one that stands for all of them."""

    description: DatasetDescription
    root: Path
    pictures: list[Picture] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sha256: str = ""
    split: Split | None = None
    together: dict[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> list[str]:
        return sorted({picture.part for picture in self.pictures})

    def of(self, parts: Collection[str]) -> list[Picture]:
        """The pictures of these parts."""
        wanted = frozenset(parts)
        return [picture for picture in self.pictures if picture.part in wanted]


Layout = Callable[[DatasetDescription, Path], Dataset]


def read_dataset(description: DatasetDescription, root: Path) -> Dataset:
    """All labelled pictures below ``root``. Raises `DataError` where the layout is not the one
    described, a class is unknown, or nothing readable is left."""
    if description.layout not in LAYOUTS:
        raise DataError(
            f"data set {description.name}: layout {description.layout!r} is none of"
            f" {', '.join(sorted(LAYOUTS))}"
        )
    if not root.is_dir():
        raise DataError(f"{root}: no such folder: name the data with --data")
    module, name = LAYOUTS[description.layout].split(":")
    read = cast(Layout, getattr(importlib.import_module(module), name))
    dataset = read(description, root)
    dataset.pictures.sort(key=lambda picture: picture.path)
    if not dataset.pictures:
        raise DataError(
            f"{root}: no readable picture in layout {description.layout!r}"
            f" ({len(dataset.unreadable)} unreadable)"
        )
    if description.layout in NAMELESS and description.part is None:
        from inspection.training.duplicates import guess_parts

        guess_parts(dataset)
    dataset.sha256 = _hash(dataset)
    return dataset


def load(path: Path) -> Frame:
    """A frame from a file; raises `ImageError`."""
    return imaging.decode(path.read_bytes())


def readable(dataset: Dataset, path: Path) -> Frame | None:
    """The frame, or None after having put the picture on the list of unreadable ones."""
    try:
        return load(path)
    except (ImageError, OSError) as error:
        dataset.unreadable.append(Unreadable(path, str(error)))
        return None


def first_group(pattern: str | None, dataset: Dataset, path: Path) -> str | None:
    """What a regular expression of the description finds in a picture's path."""
    if pattern is None:
        return None
    text = path.relative_to(dataset.root).with_suffix("").as_posix()
    if found := re.search(pattern, text):
        return found[1]
    raise DataError(f"{path}: {pattern!r} finds nothing in {text!r}: correct the description")


def part_and_group(dataset: Dataset, path: Path) -> tuple[str, str]:
    """Part and group of a picture by the description's expressions. Without one, every picture is
    a part of its own, until `duplicates.guess_parts` has looked at them."""
    part = first_group(dataset.description.part, dataset, path)
    if part is None:
        part = path.relative_to(dataset.root).with_suffix("").as_posix()
    return part, first_group(dataset.description.group, dataset, path) or ""


def pictures_below(root: Path) -> Iterator[Path]:
    """All files with a picture's suffix, in a fixed order."""
    return (p for p in sorted(root.rglob("*")) if p.suffix.lower() in SUFFIXES and p.is_file())


def label_of(region: Region, boxes: Iterable[Box], ok_class: str) -> str | None:
    """A region is defective if it holds the centre of a box (of several, the first), without label
    if a box merely reaches into it, and good otherwise. The left and top edges belong to it."""
    left, top = region.left_px, region.top_px
    right, bottom = left + region.width_px, top + region.height_px
    touched = False
    for box in boxes:
        x, y = box.centre
        if left <= x < right and top <= y < bottom:
            return box.label
        touched |= box.left < right and box.right > left and box.top < bottom and box.bottom > top
    return None if touched else ok_class


def tile(
    width: int, height: int, size: tuple[int, int], boxes: Sequence[Box], ok_class: str
) -> tuple[LabelledPoint, ...]:
    """A picture divided into points of ``size`` (width, height) pixels, named by row and column;
    a remainder at the right or bottom edge gets a last, overlapping row or column."""
    wide, high = min(size[0], width), min(size[1], height)

    def starts(length: int, step: int) -> list[int]:
        found = list(range(0, length - step + 1, step))
        return found if found[-1] + step == length else [*found, length - step]

    points = []
    for row, top in enumerate(starts(height, high)):
        for column, left in enumerate(starts(width, wide)):
            region = Region(left_px=left, top_px=top, width_px=wide, height_px=high)
            label = label_of(region, boxes, ok_class)
            points.append(LabelledPoint(f"r{row:02d}c{column:02d}", region, label))
    return tuple(points)


def count_labels(pictures: Iterable[Picture]) -> Counter[str | None]:
    """Points by label; None counts those apart."""
    return Counter(
        None if point.borderline else point.label
        for picture in pictures
        for point in picture.points
    )


def split_parts(
    dataset: Dataset, rule: SplitRule, test_parts: Collection[str] | None = None
) -> Split:
    """Divide parts into training, validation and test.

    Within each group, parts are drawn by the rule's seed. ``test_parts``, where given, are the
    test split whatever the rule says; a data set's own split goes before the rule. Raises
    `DataError` where a share comes out empty, or where training or validation lacks a class:
    nothing could be fitted or chosen there.
    """
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for picture in dataset.pictures:
        groups[picture.group].add(picture.part)
    of_group = {part: group for group, parts in sorted(groups.items()) for part in sorted(parts)}
    if test_parts is not None and (unknown := sorted(set(test_parts) - set(of_group))):
        raise DataError(f"{dataset.root}: no part {unknown[0]!r} to test on")
    if dataset.split is not None and test_parts is None:
        return check_split(dataset, dataset.split)
    rng = random.Random(rule.seed)  # noqa: S311  reproducible, not secret
    order = sorted(set(of_group) - set(dataset.together))  # one stands for all that go together
    rng.shuffle(order)
    order.sort(key=lambda part: of_group[part])  # stable: still shuffled within a group
    leader = {part: dataset.together.get(part, part) for part in of_group}
    held = {leader[part] for part in test_parts or ()}
    if test_parts is None:
        held = set(_every(order, rule.test))
    rest = [part for part in order if part not in held]
    # The share is of all parts: held-out ones must not make validation smaller than was asked.
    chosen = set(_every(rest, min(0.5, rule.validation / max(1e-9, 1 - rule.test))))
    test = {p for p in of_group if leader[p] in held} if test_parts is None else set(test_parts)
    validation = {part for part in of_group if leader[part] in chosen}
    split = Split(
        tuple(sorted(set(of_group) - validation - test)),
        tuple(sorted(validation)),
        tuple(sorted(test)),
    )
    return check_split(dataset, split)


def check_split(dataset: Dataset, split: Split) -> Split:
    """The split, if something can be fitted and chosen on it; raises `DataError`."""
    for name, parts in (("training", split.train), ("validation", split.validation)):
        if not parts:
            raise DataError(f"{dataset.root}: {len(dataset.parts)} parts leave none for {name}")
        counts = count_labels(dataset.of(parts))
        for label in dataset.description.class_names:
            if counts[label] == 0:
                raise DataError(
                    f"{dataset.root}: no {label!r} point among the {len(parts)} parts for {name}:"
                    " add examples, drop the class, or try another split.seed"
                )
    return split


def _every(parts: Sequence[str], share: float) -> list[str]:
    """A share of a sequence, evenly spread over it, and hence over the groups it is sorted by."""
    wanted = round(len(parts) * share)
    return [parts[int((k + 0.5) * len(parts) / wanted)] for k in range(wanted)]


def _hash(dataset: Dataset) -> str:
    digest = hashlib.sha256()
    for picture in dataset.pictures:
        used = (picture.path, picture.reference, picture.mask, picture.zones)
        paths = [path for path in used if path]
        for path in paths:
            digest.update(path.relative_to(dataset.root).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        labels = [
            (point.id, point.label, *map(float, _sides(point.region)), *_more(point))
            for point in picture.points
        ]
        digest.update(repr((picture.part, picture.group, labels, picture.boxes)).encode())
    return digest.hexdigest()


def _more(point: LabelledPoint) -> tuple[object, ...]:
    """What only some data sets know of a point."""
    return (point.borderline, *point.measures) if point.borderline or point.measures else ()


def _sides(region: Region) -> tuple[float, float, float, float]:
    return region.left_px, region.top_px, region.width_px, region.height_px
