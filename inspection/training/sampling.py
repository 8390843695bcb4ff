"""What one training batch is made of. Every crop comes from `inspection.imaging.crop`.

``points`` takes points as listed, augmented by albumentations: for photographs, where a point is
where the plan says. ``windows`` takes regions at random positions of pictures with boxes, so that
a defect is learnt wherever in a point it lies; the network then sees a fixed grid for the first
time in validation.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from msgspec import structs

from inspection.imaging import CropSpec, Frame, crop
from inspection.messages import Region
from inspection.training.data import ZONES, Box, Dataset, LabelledPoint, Picture, label_of, load
from inspection.training.recipe import Recipe, Tiles
from inspection.training.synthesis import Source, synthesise

IGNORE = 255
"""The target of a point or cell that is neither good nor defective."""

CORE_PX = 11.0
"""How much wider than its defect an annotator draws a box, on each side. A cell inside the box
less this is defective, one outside the box is good, one between is neither."""
SMALLEST_CORE_PX = 5.0

NEAR_PX = 12
"""How far from a place called defective before a hard window may lie."""
EMPTY_RANGE = 60
"""Grey levels between the darkest and the brightest pixel of a place where there is nothing."""
MASKED, TOUCHED = 0.15, 0.02
"""Shares of a quarter of a cell that make it defective, and no longer good."""

ROUND = 4
"""A hard point is the one of so many that had the largest loss when it was last seen: a tournament
favours what is hard without ever leaving the rest alone."""

LIGHT, CONTRAST, CAST = 25.0, 0.25, 8.0
"""Grey levels, share, grey levels: how far another lamp may change a crop."""

RANKS_APART = 1_000_003
"""Between the seeds of the processes of one training."""

MEMORY = 400
"""How many hard places are remembered."""


class Batch(NamedTuple):
    """``crops`` uint8 (N, height, width, channels); ``targets`` (N,) class indices or `IGNORE`;
    ``cells`` the same for a grid of cells (N, rows, columns), or None; ``measures`` float32
    (N, any number), NaN where unknown, or None; ``zones`` the share of each of `data.ZONES` in each
    cell, uint8 (N, zones, rows, columns), 255 the whole of it, or None."""

    crops: Frame
    targets: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64] | None
    measures: npt.NDArray[np.float32] | None = None
    zones: npt.NDArray[np.uint8] | None = None


class Sampler(Protocol):
    """Draws batches for ever. ``points`` is how many points there are to draw from: an epoch."""

    points: int

    def draw(self) -> Batch:
        """The next batch."""
        ...

    def learn(self, losses: npt.NDArray[np.float32]) -> None:
        """Told the loss of each point of the last batch."""
        ...

    def state(self) -> dict[str, Any]:
        """All that shapes the batches still to come, as tensors and plain values."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where the sampler was whose `state` this is; it was made from the same data."""
        ...


class PointSampler:
    """Points with augmentation; defects and good ones in the recipe's shares, classes of defects
    in equal ones, so that a rare class is not drowned; of each, the recipe's share of hard ones.
    Cells where pictures have masks, zones where they have these."""

    def __init__(
        self,
        dataset: Dataset,
        pictures: Sequence[Picture],
        recipe: Recipe,
        stride: int | None,
        rank: int = 0,
    ) -> None:
        self._rng = _generator(recipe, rank)
        self._seed = recipe.seed + RANKS_APART * rank
        self._batch, self._defects = recipe.fit.batch, recipe.sampling.defects
        crops, labels = points_of(dataset, pictures, recipe.input)
        self._crops, self._labels = crops, labels
        self._good = np.flatnonzero(labels == 0)
        self._bad = [np.flatnonzero(labels == k) for k in sorted(set(labels.tolist()) - {0})]
        self._cells: npt.NDArray[np.uint8] | None = None
        if stride is not None and any(picture.mask for picture in pictures):
            self._cells = _masked_cells(dataset, pictures, recipe.input, stride)
        self._zones: npt.NDArray[np.uint8] | None = None
        if stride is not None and pictures and all(picture.zones for picture in pictures):
            self._zones = _zone_shares(pictures, recipe.input, stride)
        known = [p.measures for picture in pictures for p in picture.points if _counts(p)]
        self._measures = np.array(known, np.float32) if any(known) else None
        self.points = len(labels)
        self._hard, self._draws = recipe.sampling.hard, 0
        self._steps = recipe.fit.steps_of(self.points)
        self._losses = np.full(len(labels), np.inf)  # what nobody has seen yet comes first
        self._last: list[int] = []
        self._augment: Augmentation = _Lighten(self._rng)
        if recipe.sampling.augment == "photograph":
            square = recipe.input.width == recipe.input.height
            self._augment = augmentation(self._seed, square=square)

    def draw(self) -> Batch:
        chosen = []
        # Who does not know the easy ones yet learns little from the hard ones.
        hard = self._hard * self._draws / self._steps
        self._draws += 1
        for _ in range(self._batch):
            rows = self._good
            if self._rng.random() < self._defects:
                rows = self._bad[int(self._rng.integers(len(self._bad)))]
            drawn = rows[self._rng.integers(len(rows), size=ROUND)]
            hardest = np.argmax(self._losses[drawn]) if self._rng.random() < hard else 0
            chosen.append(int(drawn[hardest]))
        self._last = chosen
        self._augment.reseed(self._seed * 1_000_003 + self._draws)
        crops = np.stack([self._augment(self._crops[i]) for i in chosen])
        return Batch(
            crops,
            self._labels[chosen],
            None if self._cells is None else self._cells[chosen].astype(np.int64),
            None if self._measures is None else self._measures[chosen],
            None if self._zones is None else self._zones[chosen],
        )

    def learn(self, losses: npt.NDArray[np.float32]) -> None:
        self._losses[self._last] = losses

    def state(self) -> dict[str, Any]:
        return {
            "rng": self._rng.bit_generator.state,
            "draws": self._draws,
            "losses": torch.from_numpy(self._losses.copy()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._draws = state["draws"]
        self._losses = state["losses"].cpu().numpy().copy()


def _generator(recipe: Recipe, rank: int) -> np.random.Generator:
    """Every process draws for itself; the first one as if it were alone."""
    return np.random.default_rng(recipe.seed + RANKS_APART * rank)


class Augmentation(Protocol):
    """Changes a uint8 crop in ways that leave its label true."""

    def __call__(self, crop: Frame) -> Frame: ...

    def reseed(self, seed: int) -> None:
        """Told before each batch, so that what comes next never depends on how one got there."""
        ...


class _Lighten:
    """`lighten` with the sampler's own generator, whose state the sampler keeps."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def __call__(self, crop: Frame) -> Frame:
        return lighten(crop, self._rng)

    def reseed(self, seed: int) -> None:
        pass


def lighten(crop: Frame, rng: np.random.Generator) -> Frame:
    """Another light: brightness, contrast and colour, and not a pixel moves. By table, because it
    is done for every crop of every batch."""
    channels = crop.shape[2]
    mean = float(crop[::8, ::8].mean())
    grey = np.arange(256, dtype=np.float32)[:, np.newaxis]
    shift = mean + rng.uniform(-LIGHT, LIGHT) + rng.uniform(-CAST, CAST, channels)
    table = (grey - mean) * (1 + rng.uniform(-CONTRAST, CONTRAST)) + shift
    table = np.clip(table, 0, 255).astype(np.uint8)[np.newaxis]
    return np.asarray(cv2.LUT(crop, table if channels > 1 else table[0, :, 0]), np.uint8).reshape(
        crop.shape
    )


def augmentation(seed: int, *, square: bool) -> Augmentation:
    """Flips and quarter turns, small shifts and turns, light, contrast, blur and noise."""
    # The package asks the internet for a newer release of itself unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    turns = (
        [albumentations.SquareSymmetry(p=1.0)]
        if square  # a quarter turn of any other crop has another shape
        else [albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)]
    )
    chain = albumentations.Compose(
        [
            *turns,
            albumentations.Affine(
                translate_percent=(-0.05, 0.05),
                rotate=(-8, 8),
                scale=(0.92, 1.08),
                border_mode=cv2.BORDER_REPLICATE,
                p=0.7,
            ),
            albumentations.RandomBrightnessContrast(0.2, 0.2, p=0.7),
            albumentations.GaussianBlur(blur_limit=(3, 5), p=0.2),
            albumentations.GaussNoise(std_range=(0.01, 0.04), p=0.2),
        ],
        seed=seed,
    )

    class Photograph:
        def __call__(self, crop: Frame) -> Frame:
            changed: Frame = chain(image=crop)["image"]
            return np.ascontiguousarray(changed.reshape(crop.shape))

        def reseed(self, seed: int) -> None:
            chain.set_random_seed(seed % 2**32)

    return Photograph()


class _Picture(NamedTuple):
    frame: Frame
    boxes: tuple[Box, ...]


class _Place(NamedTuple):
    picture: int
    left: int
    top: int


class WindowSampler:
    """Windows of the size of a point at random positions of training pictures, their references
    and synthetic pictures. Remembers the good places that were called defective."""

    def __init__(
        self,
        dataset: Dataset,
        pictures: Sequence[Picture],
        recipe: Recipe,
        stride: int | None,
        rank: int = 0,
    ) -> None:
        self._rng = _generator(recipe, rank)
        self.points = sum(_counts(point) for picture in pictures for point in picture.points)
        self._recipe, self._stride = recipe, stride
        self._classes = dataset.description.class_names
        self._size = dataset.description.tiles or Tiles(width_px=64, height_px=64)
        sources = [
            Source(load(p.path), p.boxes, load(p.reference) if p.reference else None)
            for p in pictures
        ]
        real = [_Picture(source.frame, source.boxes) for source in sources]
        clean = [_Picture(s.reference, ()) for s in sources if s.reference is not None]
        drawn = []
        if recipe.synthesis is not None:
            made = synthesise(sources, recipe.synthesis, self._rng)
            drawn = [_Picture(frame, boxes) for frame, boxes in made]
        self._pictures = [*real, *clean, *drawn]
        self._real = range(len(real))
        self._other = range(len(real), len(real) + len(clean))
        self._drawn = range(len(real) + len(clean), len(self._pictures))
        self._real_boxes = [(i, box) for i in self._real for box in self._pictures[i].boxes]
        self._drawn_boxes = [(i, box) for i in self._drawn for box in self._pictures[i].boxes]
        self._hard: list[tuple[float, _Place]] = []
        self._last: list[_Place] = []
        self._last_targets = np.zeros(0, np.int64)
        self._draws = 0

    def draw(self) -> Batch:
        self._last = [self._place() for _ in range(self._recipe.fit.batch)]
        crops, targets, cells = [], [], []
        for place in self._last:
            picture = self._pictures[place.picture]
            region = Region(
                left_px=place.left,
                top_px=place.top,
                width_px=self._size.width_px,
                height_px=self._size.height_px,
            )
            crops.append(crop(picture.frame, region, self._recipe.input))
            label = label_of(region, picture.boxes, self._classes[0])
            targets.append(IGNORE if label is None else self._classes.index(label))
            if self._stride is not None:
                cells.append(
                    cell_targets(
                        region, picture.boxes, self._recipe.input, self._stride, self._classes
                    )
                )
        self._last_targets = np.array(targets, np.int64)
        self._draws += 1
        return Batch(np.stack(crops), self._last_targets, np.stack(cells) if cells else None)

    def learn(self, losses: npt.NDArray[np.float32]) -> None:
        if self._draws <= 100:
            return  # before that, nearly everything is wrong
        for i in np.argsort(-losses)[:6]:
            if self._last_targets[i] == 0:
                self._hard.append((float(losses[i]), self._last[i]))
        if len(self._hard) > 1.5 * MEMORY:
            self._hard = sorted(self._hard, key=lambda entry: -entry[0])[:MEMORY]
        if self._draws % 150 == 0:  # what was hard once fades, for it may have been learnt
            self._hard = [(0.7 * loss, place) for loss, place in self._hard]

    def state(self) -> dict[str, Any]:
        hard = [(loss, *place) for loss, place in self._hard]
        return {"rng": self._rng.bit_generator.state, "draws": self._draws, "hard": hard}

    def restore(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._draws = state["draws"]
        self._hard = [(loss, _Place(*place)) for loss, *place in state["hard"]]

    def _place(self) -> _Place:
        rng, sampling = self._rng, self._recipe.sampling
        draw = rng.random()
        if draw < sampling.real and self._real_boxes:
            return self._over(self._real_boxes)
        if draw < sampling.real + sampling.synthetic and self._drawn_boxes:
            return self._over(self._drawn_boxes)
        if self._hard and rng.random() < sampling.hard:
            _, place = self._hard[int(rng.integers(len(self._hard)))]
            dx, dy = (int(v) for v in rng.integers(-NEAR_PX, NEAR_PX + 1, 2))
            return self._inside(place.picture, place.left + dx, place.top + dy)
        group = self._real
        if (self._other or self._drawn) and rng.random() < 0.5:
            group = self._other
            if self._drawn and (not self._other or rng.random() < 0.5):
                group = self._drawn
        picture = group[int(rng.integers(len(group)))]
        place = self._anywhere(picture)
        # Little is learnt from a place where there is nothing; most get a second draw.
        return self._anywhere(picture) if self._empty(place) and rng.random() < 0.8 else place

    def _anywhere(self, picture: int) -> _Place:
        height, width = self._pictures[picture].frame.shape[:2]
        left = self._rng.integers(max(1, width - self._size.width_px + 1))
        top = self._rng.integers(max(1, height - self._size.height_px + 1))
        return self._inside(picture, int(left), int(top))

    def _empty(self, place: _Place) -> bool:
        rows = slice(place.top, place.top + self._size.height_px)
        columns = slice(place.left, place.left + self._size.width_px)
        return int(np.ptp(self._pictures[place.picture].frame[rows, columns])) < EMPTY_RANGE

    def _over(self, boxes: Sequence[tuple[int, Box]]) -> _Place:
        """A window that holds the centre of a box, anywhere in it."""
        picture, box = boxes[int(self._rng.integers(len(boxes)))]
        x, y = box.centre
        left = int(x - self._rng.integers(self._size.width_px))
        return self._inside(picture, left, int(y - self._rng.integers(self._size.height_px)))

    def _inside(self, picture: int, left: int, top: int) -> _Place:
        height, width = self._pictures[picture].frame.shape[:2]
        left = min(max(left, 0), max(0, width - self._size.width_px))
        return _Place(picture, left, min(max(top, 0), max(0, height - self._size.height_px)))


def cell_targets(
    region: Region, boxes: Sequence[Box], spec: CropSpec, stride: int, classes: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Class indices, or `IGNORE`, of the cells of a crop, shape (rows, columns): by where the
    cell's centre lies (`CORE_PX`)."""
    left = region.left_px - spec.margin * region.width_px
    top = region.top_px - spec.margin * region.height_px
    right = left + (1 + 2 * spec.margin) * region.width_px
    bottom = top + (1 + 2 * spec.margin) * region.height_px
    columns, rows = spec.width // stride, spec.height // stride
    x = left + (np.arange(columns) + 0.5) * stride * (right - left) / spec.width
    y = top + (np.arange(rows) + 0.5) * stride * (bottom - top) / spec.height
    targets = np.zeros((rows, columns), np.int64)
    near = [b for b in boxes if b.left - 4 < right and b.right + 4 > left
            and b.top - 4 < bottom and b.bottom + 4 > top]  # fmt: skip
    for box in near:
        outer_x = (x >= box.left - 3) & (x < box.right + 3)
        outer_y = (y >= box.top - 3) & (y < box.bottom + 3)
        targets[np.ix_(outer_y, outer_x)] = IGNORE
    for box in near:
        (cx, cy) = box.centre
        half_x = max(SMALLEST_CORE_PX, (box.right - box.left) / 2 - CORE_PX)
        half_y = max(SMALLEST_CORE_PX, (box.bottom - box.top) / 2 - CORE_PX)
        inner = np.ix_(np.abs(y - cy) <= half_y, np.abs(x - cx) <= half_x)
        targets[inner] = classes.index(box.label)
    return targets


def points_of(
    dataset: Dataset, pictures: Sequence[Picture], spec: CropSpec
) -> tuple[Frame, npt.NDArray[np.int64]]:
    """Crops (N, height, width, channels) and class indices (N,) of all labelled points."""
    index = {name: k for k, name in enumerate(dataset.description.class_names)}

    def crops_of(picture: Picture) -> list[Frame]:
        wanted = [point.region for point in picture.points if _counts(point)]
        frame = load(picture.path) if wanted else None
        return [] if frame is None else [crop(frame, region, spec) for region in wanted]

    # Decoding leaves the interpreter to others: threads are enough.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        crops = [crop for each in pool.map(crops_of, pictures) for crop in each]
    labels = [index[str(p.label)] for picture in pictures for p in picture.points if _counts(p)]
    return np.stack(crops), np.array(labels, np.int64)


def _counts(point: LabelledPoint) -> bool:
    return point.label is not None and not point.borderline


def _masked_cells(
    dataset: Dataset, pictures: Sequence[Picture], spec: CropSpec, stride: int
) -> npt.NDArray[np.uint8]:
    """Class indices, or `IGNORE`, of the cells of the points of `points_of`: (N, rows, columns).
    A cell of a defective point is defective if a quarter of it (half its side squared) has a
    seventh of the mask's pixels or more, as a line of one pixel through it has, and neither good
    nor defective if it has but a few; of a defective point without mask nobody knows."""
    index = {name: k for k, name in enumerate(dataset.description.class_names)}
    rows, columns, half = spec.height // stride, spec.width // stride, stride // 2
    grey = structs.replace(spec, channels=1)

    def cells_of(picture: Picture) -> list[npt.NDArray[np.uint8]]:
        mask = None if picture.mask is None else load(picture.mask)
        found = []
        for point in picture.points:
            if not _counts(point):
                continue
            label = index[str(point.label)]
            cells = np.full((rows, columns), IGNORE if label else 0, np.uint8)
            if label and mask is not None:
                share = crop(mask, point.region, grey)[..., 0].reshape(
                    rows * 2, half, columns * 2, half
                ).mean(axis=(1, 3)).reshape(rows, 2, columns, 2).max(axis=(1, 3)) / 255  # fmt: skip
                cells[:] = np.where(share > MASKED, label, np.where(share > TOUCHED, IGNORE, 0))
            found.append(cells)
        return found

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return np.stack([cells for each in pool.map(cells_of, pictures) for cells in each])


def _zone_shares(pictures: Sequence[Picture], spec: CropSpec, stride: int) -> npt.NDArray[np.uint8]:
    """See `Batch.zones`, of the points of `points_of`."""
    rows, columns = spec.height // stride, spec.width // stride
    grey = structs.replace(spec, channels=1)

    def shares_of(picture: Picture) -> list[npt.NDArray[np.uint8]]:
        bits = load(cast(Path, picture.zones))
        layers = [np.where(bits & 1 << k, 255, 0).astype(np.uint8) for k in range(len(ZONES))]
        return [
            np.stack([
                cv2.resize(crop(layer, point.region, grey), (columns, rows),
                           interpolation=cv2.INTER_AREA)
                for layer in layers
            ])
            for point in picture.points if _counts(point)
        ]  # fmt: skip

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return np.stack([shares for each in pool.map(shares_of, pictures) for shares in each])
