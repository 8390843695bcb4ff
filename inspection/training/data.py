"""Labelled pictures: reading them in whatever layout they come, and splitting them by part.

A layout lists pictures, parts and labels; nothing downstream knows which layout it was. A picture
that cannot be read is kept on a list with its reason, and so is a file that is not used: nothing is
dropped in silence. Each file is read once; what later steps need of it (its hash, a thumbnail to
find near-duplicates by) is kept.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, cast

from PIL import Image

from inspection import imaging
from inspection.errors import DataError, ImageError
from inspection.imaging import Frame
from inspection.messages import Region
from inspection.training.likeness import Look, look_at
from inspection.training.recipe import DatasetDescription, SplitRule

LAYOUTS = {
    "folders": "inspection.training.layouts.folders:read",
    "mvtec": "inspection.training.layouts.mvtec:read",
    "index": "inspection.training.layouts.index:read",
    "coco": "inspection.training.layouts.coco:read",
    "yolo": "inspection.training.layouts.yolo:read",
    "deeppcb": "inspection.training.layouts.deeppcb:read",
    "rendered": "inspection.training.layouts.rendered:read",
}

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
OTHER_SUFFIXES = frozenset({".gif", ".webp", ".heic", ".avif", ".jp2", ".pgm", ".ppm", ".exr"})
"""Of pictures that `imaging.decode` does not read."""
ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})


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
    one whose bits are `ZONES`. Only training may look at any of them. ``time`` is when it was
    taken, where that is known."""

    path: Path
    part: str
    group: str
    points: tuple[LabelledPoint, ...]
    boxes: tuple[Box, ...] = ()
    reference: Path | None = None
    mask: Path | None = None
    zones: Path | None = None
    time: datetime | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file it consists of, its own first."""
        return tuple(p for p in (self.path, self.reference, self.mask, self.zones) if p)


class Unreadable(NamedTuple):
    """A picture nobody can use, and why."""

    path: Path
    why: str


class Ignored(NamedTuple):
    """A file that is there and is not used, and why."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class Files:
    """Every file below a data set's folder, counted once: ``found = used + unreadable + ignored``.
    ``missing`` ones are named somewhere (in a table, an annotation) and not there."""

    found: int
    used: int
    unreadable: int
    ignored: int
    missing: int


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
    split, each with the one that stands for all of them. ``alpha`` are pictures whose transparency
    was dropped, ``looks`` what is kept of each file that was decoded; ``guessed`` says that nothing
    named the parts."""

    description: DatasetDescription
    root: Path
    pictures: list[Picture] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    alpha: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sha256: str = ""
    split: Split | None = None
    together: dict[str, str] = field(default_factory=dict)
    guessed: bool = False
    looks: dict[Path, Look] = field(default_factory=dict)

    @property
    def parts(self) -> list[str]:
        return sorted({picture.part for picture in self.pictures})

    def of(self, parts: Collection[str]) -> list[Picture]:
        """The pictures of these parts."""
        wanted = frozenset(parts)
        return [picture for picture in self.pictures if picture.part in wanted]


Layout = Callable[[DatasetDescription, Path], Dataset]


def read_dataset(
    description: DatasetDescription, root: Path, progress: Callable[[str], None] | None = None
) -> Dataset:
    """All labelled pictures below ``root``. ``progress`` is told of every `TOLD_EVERY` pictures.
    Raises `DataError` where the layout is not the one described, a class is unknown, or nothing
    readable is left."""
    if description.layout not in LAYOUTS:
        raise DataError(
            f"data set {description.name}: layout {description.layout!r} is none of"
            f" {', '.join(sorted(LAYOUTS))}"
        )
    if not root.is_dir():
        raise DataError(f"{root}: no such folder: name the data with --data")
    module, name = LAYOUTS[description.layout].split(":")
    read = cast(Layout, getattr(importlib.import_module(module), name))
    with _telling(progress):
        dataset = read(description, root)
    dataset.pictures.sort(key=lambda picture: picture.path)
    _account(dataset)
    if not dataset.pictures:
        raise DataError(
            f"{root}: no readable picture in layout {description.layout!r}"
            f" ({len(dataset.unreadable)} unreadable"
            + (
                f", first {dataset.unreadable[0].path}: {dataset.unreadable[0].why}"
                if dataset.unreadable
                else ""
            )
            + ")"
        )
    if dataset.guessed:
        from inspection.training.duplicates import guess_parts

        guess_parts(dataset)
    dataset.sha256 = _hash(dataset)
    return dataset


TOLD_EVERY = 250
_told: list[Callable[[str], None]] = []


@contextmanager
def _telling(progress: Callable[[str], None] | None) -> Iterator[None]:
    """Whom `readable` tells how far it is."""
    if progress is not None:
        _told.append(progress)
    try:
        yield
    finally:
        if progress is not None:
            _told.pop()


def load(path: Path) -> Frame:
    """A frame from a file; raises `ImageError`."""
    return imaging.decode(path.read_bytes())


def readable(dataset: Dataset, path: Path) -> Frame | None:
    """The frame, or None after having put the picture on the list of unreadable ones."""
    try:
        data = path.read_bytes()
        frame = imaging.decode(data)
    except (ImageError, OSError) as error:
        dataset.unreadable.append(Unreadable(path, str(error)))
        return None
    if _has_alpha(data):
        dataset.alpha.append(path)
    dataset.looks[path] = look_at(frame, hashlib.sha256(data).digest())
    if _told and len(dataset.looks) % TOLD_EVERY == 0:
        _told[-1](f"{len(dataset.looks)} pictures read")
    return frame


def _has_alpha(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as header:
        return header.mode in ALPHA_MODES or "transparency" in header.info


def count_files(dataset: Dataset) -> Files:
    """Every file below the data set's folder, by what became of it."""
    found = {path for path in dataset.root.rglob("*") if path.is_file()}
    used = {path for picture in dataset.pictures for path in picture.files}
    unreadable = {entry.path for entry in dataset.unreadable} - used
    ignored = {entry.path for entry in dataset.ignored}
    return Files(
        len(found),
        len(used & found),
        len(unreadable & found),
        len(ignored & found),
        len((used | unreadable) - found),
    )


def _account(dataset: Dataset) -> None:
    """Put every file that nothing has named yet on the list of ignored ones."""
    named = {path for picture in dataset.pictures for path in picture.files}
    named |= {entry.path for entry in dataset.unreadable}
    named |= {entry.path for entry in dataset.ignored}
    for path in sorted(dataset.root.rglob("*")):
        if path in named or not path.is_file():
            continue
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            why = f"a picture, but nothing of layout {dataset.description.layout!r} names it"
        elif suffix in OTHER_SUFFIXES:
            why = f"{suffix[1:].upper()} pictures are not read: write them as PNG"
        else:
            why = "no picture"
        dataset.ignored.append(Ignored(path, why))
    ignored = sum(e.path.suffix.lower() in SUFFIXES | OTHER_SUFFIXES for e in dataset.ignored)
    if ignored:
        dataset.warnings.append(
            f"{ignored} pictures are in the folder and not used: see inspection datasets check"
        )


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
        dataset.guessed = True
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


def whole(frame: Frame, label: str) -> LabelledPoint:
    """A picture that is one point."""
    height, width = frame.shape[:2]
    return LabelledPoint(
        "whole", Region(left_px=0, top_px=0, width_px=width, height_px=height), label
    )


def count_labels(pictures: Iterable[Picture]) -> Counter[str | None]:
    """Points by label; None counts those apart."""
    return Counter(
        None if point.borderline else point.label
        for picture in pictures
        for point in picture.points
    )


def units_of(dataset: Dataset) -> list[tuple[str, ...]]:
    """Parts that a split must not tear apart (`Dataset.together`), the one that stands for all of
    them first; most are alone."""
    units: dict[str, list[str]] = {}
    for part in sorted(dataset.parts, key=lambda part: (part in dataset.together, part)):
        units.setdefault(dataset.together.get(part, part), []).append(part)
    return [tuple(unit) for _, unit in sorted(units.items())]


def split_parts(
    dataset: Dataset, rule: SplitRule, test_parts: Collection[str] | None = None
) -> Split:
    """Divide parts into training, validation and test.

    Within each group, parts are drawn by the rule's seed; where that leaves training or validation
    without one of the classes, they are drawn again, class by class. By time, the newest parts are
    the test, and validation is drawn from the older ones. ``test_parts``, where given, are the test
    split whatever the rule says; a data set's own split goes before the rule. Raises `DataError`
    where a share comes out empty, or where training or validation lacks a class: nothing could be
    fitted or chosen there.
    """
    known = set(dataset.parts)
    if test_parts is not None and (unknown := sorted(set(test_parts) - known)):
        raise DataError(f"{dataset.root}: no part {unknown[0]!r} to test on")
    if dataset.split is not None and test_parts is None:
        return check_split(dataset, dataset.split)
    held = {dataset.together.get(part, part) for part in test_parts or ()}
    units = units_of(dataset)
    free = [unit for unit in units if unit[0] not in held]
    newest: list[tuple[str, ...]] = []
    share = rule.test if test_parts is None else 0.0
    if rule.by == "time" and test_parts is None:
        free, newest = _newest(dataset, units, rule.test)
        share = 0.0
    _check_spread(dataset, free)
    # The share is of all parts: held-out ones must not make validation smaller than was asked.
    validation = min(0.5, rule.validation / max(1e-9, 1 - rule.test))
    split = Split((), (), ())
    for draw in (_drawn, _drawn_by_class):
        drawn = draw(dataset, free, share, validation, rule.seed)
        test = _parts(newest + drawn.test) if test_parts is None else tuple(sorted(test_parts))
        rest = _parts(unit for unit in units if unit[0] in held)
        train = (*_parts(drawn.train), *(part for part in rest if part not in test))
        split = Split(tuple(sorted(train)), _parts(drawn.validation), test)
        if all(_lacks(dataset, parts) is None for parts in (split.train, split.validation)):
            break
    return check_split(dataset, split)


def folds(dataset: Dataset, count: int, seed: int = 0) -> list[tuple[str, ...]]:
    """The test parts of each fold of a cross-validation: every part in exactly one, parts that
    near-duplicates tie in the same one, each class spread as evenly as its parts allow. Raises
    `DataError` where there are fewer parts than folds."""
    units = units_of(dataset)
    if not 2 <= count <= len(units):
        raise DataError(f"{dataset.root}: {len(units)} parts cannot make {count} folds")
    labels = {unit: _labels_of(dataset, unit) for unit in units}
    rng = random.Random(seed)  # noqa: S311  reproducible, not secret
    rng.shuffle(units)
    # The rarest classes first, and of them the largest units: what is left evens out.
    spread = Counter(label for unit in units for label in labels[unit])
    units.sort(
        key=lambda unit: (
            min((spread[label] for label in labels[unit]), default=len(units)),
            -sum(labels[unit].values()),
        )
    )
    found: list[list[str]] = [[] for _ in range(count)]
    held: list[Counter[str]] = [Counter() for _ in range(count)]
    for unit in units:
        rarest = min(labels[unit], key=lambda label: (spread[label], label), default="")
        fold = min(
            range(count), key=lambda k: (held[k][rarest], sum(held[k].values()), len(found[k]), k)
        )
        found[fold] += unit
        held[fold] += labels[unit]
    return [tuple(sorted(parts)) for parts in found]


class _Drawn(NamedTuple):
    """Units by what they are for."""

    train: list[tuple[str, ...]]
    validation: list[tuple[str, ...]]
    test: list[tuple[str, ...]]


def _drawn(
    dataset: Dataset, units: list[tuple[str, ...]], test: float, validation: float, seed: int
) -> _Drawn:
    """Units shuffled within each group, and evenly spread shares of that taken."""
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for picture in dataset.pictures:
        groups[picture.group].add(picture.part)
    of_group = {part: group for group, parts in sorted(groups.items()) for part in sorted(parts)}
    named = {unit[0]: unit for unit in units}
    rng = random.Random(seed)  # noqa: S311  reproducible, not secret
    order = sorted(set(of_group) - set(dataset.together))  # one stands for all that go together
    rng.shuffle(order)
    order = [part for part in order if part in named]
    order.sort(key=lambda part: of_group[part])  # stable: still shuffled within a group
    tested = set(_every(order, test))
    rest = [part for part in order if part not in tested]
    checked = set(_every(rest, validation))
    return _Drawn(
        [named[part] for part in rest if part not in checked],
        [named[part] for part in checked],
        [named[part] for part in tested],
    )


def _drawn_by_class(
    dataset: Dataset, units: list[tuple[str, ...]], test: float, validation: float, seed: int
) -> _Drawn:
    """The same shares of the units of each class, the rarest first: at least one for training and
    one for validation wherever a class has two."""
    labels = {unit: _labels_of(dataset, unit) for unit in units}
    spread = Counter(label for unit in units for label in labels[unit])
    rng = random.Random(seed)  # noqa: S311  reproducible, not secret
    order = sorted(units)
    rng.shuffle(order)
    drawn = _Drawn([], [], [])
    placed: set[tuple[str, ...]] = set()
    for label in sorted(spread, key=lambda label: (spread[label], label)):
        here = [unit for unit in order if label in labels[unit]]
        left = [unit for unit in here if unit not in placed]
        checked = max(1, round(len(here) * validation * (1 - test)))
        tested = min(round(len(here) * test), len(here) - checked - 1)
        wishes = (
            (drawn.train, 1),
            (drawn.validation, 1),
            (drawn.test, tested),
            (drawn.validation, checked),
            (drawn.train, len(here)),
        )
        for lot, wanted in wishes:
            missing = max(0, wanted - sum(label in labels[unit] for unit in lot))
            lot += left[:missing]
            left = left[missing:]
        placed.update(here)
    drawn.train.extend(unit for unit in order if unit not in placed)  # nothing labelled in them
    return drawn


def _newest(
    dataset: Dataset, units: list[tuple[str, ...]], share: float
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Older units and the newest share of them; a unit is as old as its newest picture."""
    times: dict[str, datetime] = {}
    for picture in dataset.pictures:
        if picture.time is None:
            raise DataError(
                f"{picture.path}: has no time, but the split is by time: fill the column 'time'"
                " (ISO 8601), or split by part"
            )
        times[picture.part] = max(picture.time, times.get(picture.part, picture.time))
    order = sorted(units, key=lambda unit: (max(times[part] for part in unit), unit))
    newest = round(len(order) * share)
    return order[: len(order) - newest], order[len(order) - newest :]


def _parts(units: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted(part for unit in units for part in unit))


def _labels_of(dataset: Dataset, unit: tuple[str, ...]) -> Counter[str]:
    counts = count_labels(dataset.of(unit))
    return Counter({label: n for label, n in counts.items() if label is not None})


def _check_spread(dataset: Dataset, units: Sequence[tuple[str, ...]]) -> None:
    """Each class in at least two parts: to learn it, and to see whether it was learnt."""
    for label in dataset.description.class_names:
        having = [unit for unit in units if _labels_of(dataset, unit)[label]]
        if len(having) == 1:
            count = sum(_labels_of(dataset, unit)[label] for unit in having)
            points = "1 example" if count == 1 else f"{count} examples, all of one part"
            raise DataError(
                f"{dataset.root}: class {label!r} has {points} ({having[0][0]!r}): no {label!r}"
                " point among the parts for training or among those for validation can be had:"
                " add examples of other parts, or take the class out"
            )


def _lacks(dataset: Dataset, parts: Collection[str]) -> str | None:
    """A class without a point among these parts; "" where there are no parts."""
    if not parts:
        return ""
    counts = count_labels(dataset.of(parts))
    return next((label for label in dataset.description.class_names if not counts[label]), None)


def check_split(dataset: Dataset, split: Split) -> Split:
    """The split, if something can be fitted and chosen on it; raises `DataError`."""
    for name, parts in (("training", split.train), ("validation", split.validation)):
        if not parts:
            raise DataError(f"{dataset.root}: {len(dataset.parts)} parts leave none for {name}")
        if label := _lacks(dataset, parts):
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
        for path in picture.files:
            digest.update(path.relative_to(dataset.root).as_posix().encode() + b"\0")
            look = dataset.looks.get(path)
            digest.update(look.sha256 if look else hashlib.sha256(path.read_bytes()).digest())
        labels = [
            (point.id, point.label, *map(float, _sides(point.region)), *_more(point))
            for point in picture.points
        ]
        digest.update(repr((picture.part, picture.group, labels, picture.boxes)).encode())
        if picture.time is not None:
            digest.update(picture.time.isoformat().encode())
    return digest.hexdigest()


def _more(point: LabelledPoint) -> tuple[object, ...]:
    """What only some data sets know of a point."""
    return (point.borderline, *point.measures) if point.borderline or point.measures else ()


def _sides(region: Region) -> tuple[float, float, float, float]:
    return region.left_px, region.top_px, region.width_px, region.height_px
