"""Points as a batch: what is known of each stays with it, and hard ones come more often."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inspection import imaging
from inspection.imaging import CropSpec
from inspection.messages import Region, Severity
from inspection.training.data import ZONES, Dataset, LabelledPoint, Picture, load
from inspection.training.fit import _turned
from inspection.training.recipe import (
    ClassDescription,
    DatasetDescription,
    Fit,
    Recipe,
    Sampling,
)
from inspection.training.sampling import (
    IGNORE,
    Batch,
    PointSampler,
    _masked_cells,
    _zone_shares,
    lighten,
    points_of,
)

SIDE, STRIDE = 32, 8
CELLS = SIDE // STRIDE
SPEC = CropSpec(width=SIDE, height=SIDE, channels=3)
CLASSES = ("good", "crack", "hole")
DESCRIPTION = DatasetDescription(
    name="points",
    layout="folders",
    source="drawn here",
    licence="CC0",
    classes=tuple(
        ClassDescription(name=name, severity=Severity.MAJOR if name != "good" else None)
        for name in CLASSES
    ),
)
OWN, OTHER, OPEN = (1 << bit for bit in range(3))

Grey = npt.NDArray[np.uint8]


def grey(value: int = 0) -> Grey:
    return np.full((SIDE, SIDE), value, np.uint8)


def picture(
    folder: Path,
    number: int,
    label: str | None,
    *,
    borderline: bool = False,
    mask: Grey | None = None,
    zones: Grey | None = None,
    measures: tuple[float, ...] = (),
) -> Picture:
    """One point, told from all others by which cell of its picture is bright."""
    frame = np.full((SIDE, SIDE, 3), 80, np.uint8)
    row, column = divmod(number, CELLS)
    frame[row * STRIDE :, column * STRIDE :][:STRIDE, :STRIDE] = 150
    paths: dict[str, Path | None] = {}
    for name, pixels in (("", frame), (".mask", mask), (".zones", zones)):
        paths[name] = None if pixels is None else folder / f"{number:02d}{name}.png"
        if pixels is not None:
            (folder / f"{number:02d}{name}.png").write_bytes(imaging.encode_png(pixels))
    region = Region(left_px=0, top_px=0, width_px=SIDE, height_px=SIDE)
    point = LabelledPoint(f"p{number}", region, label, borderline, measures)
    path = folder / f"{number:02d}.png"
    return Picture(path, "A", "", (point,), mask=paths[".mask"], zones=paths[".zones"])


def number_of(crop: Grey) -> int:
    """Which point a crop shows, in whatever light."""
    cells = crop.astype(float).mean(axis=2).reshape(CELLS, STRIDE, CELLS, STRIDE).mean(axis=(1, 3))
    return int(cells.argmax())


def dataset_of(*pictures: Picture) -> Dataset:
    return Dataset(DESCRIPTION, pictures[0].path.parent, list(pictures))


def recipe(steps: int = 3, **sampling: object) -> Recipe:
    return Recipe(
        name="demo",
        version="1",
        dataset="dataset.toml",
        architecture="gauge",
        input=SPEC,
        fit=Fit(steps=steps, batch=32),
        sampling=Sampling(augment="light", **sampling),  # type: ignore[arg-type]
    )


def sampler_of(
    *pictures: Picture, stride: int | None = STRIDE, steps: int = 3, **sampling: object
) -> PointSampler:
    dataset = dataset_of(*pictures)
    return PointSampler(dataset, dataset.pictures, recipe(steps, **sampling), stride)


# ------------------------------------------------------------------------------ cells and zones


def test_a_cell_is_defective_where_a_quarter_of_it_is_marked_and_unsure_where_a_speck_is(
    tmp_path: Path,
) -> None:
    mask = grey()
    mask[8:16, 8:16] = 255  # the whole of cell 1, 1
    mask[0:8, 26] = 255  # a line of one pixel through cell 0, 3: a quarter of its quarters
    mask[30, 2] = 255  # a single pixel of cell 3, 0
    crack = picture(tmp_path, 0, "crack", mask=mask)
    (cells,) = _masked_cells(dataset_of(crack), [crack], SPEC, STRIDE)
    expected = np.zeros((CELLS, CELLS), np.uint8)
    expected[1, 1] = expected[0, 3] = CLASSES.index("crack")
    expected[3, 0] = IGNORE
    assert np.array_equal(cells, expected)


def test_of_a_defect_without_a_mask_no_cell_is_known_and_of_a_good_point_every_one(
    tmp_path: Path,
) -> None:
    shown = [
        picture(tmp_path, 0, "good", mask=grey(255)),
        picture(tmp_path, 1, "hole"),
        picture(tmp_path, 2, "hole", mask=grey(255)),
    ]
    good, unknown, marked = _masked_cells(dataset_of(*shown), shown, SPEC, STRIDE)
    assert (good == 0).all()
    assert (unknown == IGNORE).all()
    assert (marked == CLASSES.index("hole")).all()


def test_zones_are_the_share_of_each_cell_that_each_of_them_has(tmp_path: Path) -> None:
    bits = grey()
    bits[:, 12:] |= OWN  # half of the second column of cells, and all to the right
    bits[:8] |= OTHER
    bits[8:16, 16:] |= OPEN
    (shares,) = _zone_shares([picture(tmp_path, 0, "good", zones=bits)], SPEC, STRIDE)
    assert shares.shape == (len(ZONES), CELLS, CELLS)
    assert shares.dtype == np.uint8
    own, other, beyond = shares
    assert np.array_equal(own, np.tile(np.uint8([0, 128, 255, 255]), (CELLS, 1)))
    assert (other[0] == 255).all()
    assert not other[1:].any()
    assert np.array_equal(beyond, np.outer([0, 1, 0, 0], [0, 0, 255, 255]))


def test_zones_and_cells_follow_the_crop_when_it_is_smaller_than_its_picture(
    tmp_path: Path,
) -> None:
    """Pictures are larger than the input: what a cell says lies where the crop shows it."""
    large = np.zeros((60, 60), np.uint8)
    large[:, 30:] = 255
    for name, pixels in (("x", large), ("m", large), ("z", large & OWN)):
        (tmp_path / f"{name}.png").write_bytes(imaging.encode_png(pixels))
    region = Region(left_px=0, top_px=0, width_px=60, height_px=60)
    point = LabelledPoint("p", region, "crack")
    half = Picture(tmp_path / "x.png", "A", "", (point,),
                   mask=tmp_path / "m.png", zones=tmp_path / "z.png")  # fmt: skip
    crops, _ = points_of(dataset_of(half), [half], SPEC)
    bright = crops[0, ..., 0].reshape(CELLS, STRIDE, CELLS, STRIDE).mean(axis=(1, 3)) > 127
    (cells,) = _masked_cells(dataset_of(half), [half], SPEC, STRIDE)
    (zones,) = _zone_shares([half], SPEC, STRIDE)
    assert np.array_equal(cells == 1, bright)
    assert np.array_equal(zones[0] > 127, bright)
    assert not zones[1:].any()


# ----------------------------------------------------------------------------------- the batch


def test_what_is_known_of_a_point_stays_with_it(tmp_path: Path) -> None:
    shown = []
    for number in range(12):
        marked, bits = grey(), grey()
        marked[:STRIDE, : STRIDE * (number % 4)] = 255
        bits[: 2 * number] = OWN
        label = CLASSES[number % 3]
        measures = (float(number), math.nan)
        shown.append(picture(tmp_path, number, label, mask=marked, zones=bits, measures=measures))
    sampler = sampler_of(*shown)
    seen = set()
    for _ in range(6):
        batch = sampler.draw()
        assert batch.cells is not None
        assert batch.zones is not None
        assert batch.measures is not None
        for k, crop in enumerate(batch.crops):
            number = number_of(crop)
            seen.add(number)
            assert batch.targets[k] == number % 3
            assert batch.measures[k, 0] == number
            assert math.isnan(batch.measures[k, 1])
            defective = 0 if number % 3 == 0 else number % 4
            assert (batch.cells[k] > 0).sum() == defective
            assert batch.zones[k, 0].mean() / 255 == pytest.approx(2 * number / SIDE, abs=0.01)
    assert seen == set(range(12))


def test_borderline_points_and_those_without_label_are_never_shown(tmp_path: Path) -> None:
    shown = [
        picture(tmp_path, 0, "good", zones=grey(), measures=(0.0,)),
        picture(tmp_path, 1, "good", borderline=True, zones=grey(OWN), measures=(1.0,)),
        picture(tmp_path, 2, "crack", zones=grey(), measures=(2.0,)),
        picture(tmp_path, 3, None, zones=grey(OWN), measures=(3.0,)),
        picture(tmp_path, 4, "crack", borderline=True, zones=grey(OWN), measures=(4.0,)),
    ]
    sampler = sampler_of(*shown)
    for _ in range(5):
        batch = sampler.draw()
        assert {number_of(crop) for crop in batch.crops} <= {0, 2}
        assert batch.zones is not None
        assert not batch.zones.any()
        assert batch.measures is not None
        assert set(batch.measures[:, 0].tolist()) <= {0.0, 2.0}


def test_what_the_data_or_the_network_do_not_have_is_none(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    bare = [picture(tmp_path / "a", k, CLASSES[k]) for k in range(2)]
    batch = sampler_of(*bare).draw()
    assert (batch.cells, batch.zones, batch.measures) == (None, None, None)
    marked = [
        picture(tmp_path / "b", k, CLASSES[k], mask=grey(255), zones=grey(OWN), measures=(1.0,))
        for k in range(2)
    ]
    blind = sampler_of(*marked, stride=None).draw()
    assert (blind.cells, blind.zones) == (None, None)
    assert blind.measures is not None
    # A picture without zones says nothing of its cells: nor may it count as having none.
    mixed = [
        marked[0],
        picture(tmp_path / "c", 1, "crack", mask=grey(255), measures=(1.0,)),
    ]
    batch = sampler_of(*mixed).draw()
    assert batch.cells is not None
    assert batch.zones is None


def test_classes_of_defects_have_equal_shares_however_rare_they_are(tmp_path: Path) -> None:
    shown = [picture(tmp_path, k, "good") for k in range(5)]
    shown += [picture(tmp_path, k, "crack") for k in range(5, 14)]
    shown += [picture(tmp_path, 14, "hole")]
    sampler = sampler_of(*shown, defects=0.5)
    targets = np.concatenate([sampler.draw().targets for _ in range(40)])
    shares = np.bincount(targets, minlength=3) / len(targets)
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.05)


def shares_of_the_hard_one(folder: Path, hard: float) -> tuple[float, float]:
    """How often one good point of ten comes that has a large loss when all others have none: at
    the beginning of a training and at its end."""
    shown = [picture(folder, k, "good") for k in range(10)] + [picture(folder, 10, "crack")]
    steps, some = 400, 60
    sampler = sampler_of(*shown, steps=steps, hard=hard, defects=0.1)
    drawn: list[list[int]] = []
    for _ in range(steps):
        numbers = np.array([number_of(crop) for crop in sampler.draw().crops])
        sampler.learn(np.where(numbers == 3, 5.0, 0.01).astype(np.float32))
        drawn.append(numbers[numbers < 10].tolist())
    first, last = ([k for one in part for k in one] for part in (drawn[:some], drawn[-some:]))
    return first.count(3) / len(first), last.count(3) / len(last)


def test_hard_points_come_more_often_the_longer_it_takes_and_easy_ones_still_come(
    tmp_path: Path,
) -> None:
    assert shares_of_the_hard_one(tmp_path, 0.0) == pytest.approx((0.1, 0.1), abs=0.025)
    first, last = shares_of_the_hard_one(tmp_path, 0.99)
    assert first < 0.15
    # Each of four draws misses one point of ten in 0.9 of all cases.
    assert last == pytest.approx(0.08 * 0.1 + 0.92 * (1 - 0.9**4), abs=0.04)


def test_a_point_that_has_become_easy_is_forgotten(tmp_path: Path) -> None:
    shown = [picture(tmp_path, k, "good") for k in range(10)] + [picture(tmp_path, 10, "crack")]
    sampler = sampler_of(*shown, hard=0.99, defects=0.1)
    for hardest in (3, 7):
        for _ in range(40):
            numbers = [number_of(crop) for crop in sampler.draw().crops]
            losses = [5.0 if number == hardest else 0.01 for number in numbers]
            sampler.learn(np.array(losses, np.float32))
    drawn = [number_of(crop) for _ in range(40) for crop in sampler.draw().crops]
    assert drawn.count(7) > 2.5 * drawn.count(3)


def test_what_nobody_has_seen_yet_comes_first(tmp_path: Path) -> None:
    shown = [picture(tmp_path, k, "good") for k in range(15)] + [picture(tmp_path, 15, "crack")]

    def draws_until_all_seen(hard: float) -> int:
        sampler = sampler_of(*shown, hard=hard, defects=0.0)
        sampler._batch = 1
        seen: set[int] = set()
        for count in range(1, 1000):
            seen.add(number_of(sampler.draw().crops[0]))
            sampler.learn(np.float32([9.0]))
            if len(seen) == 15:
                return count
        raise AssertionError("never")

    assert draws_until_all_seen(0.99) < draws_until_all_seen(0.0)


# ------------------------------------------------------------------------- light, and the turns


@given(st.integers(0, 10_000), st.sampled_from([1, 3]))
def test_another_light_moves_no_pixel(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    crop = rng.integers(0, 256, (16, 24, channels)).astype(np.uint8)
    before = crop.copy()
    changed = lighten(crop, rng)
    assert changed.shape == crop.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(crop, before)
    for channel in range(channels):
        old, new = crop[..., channel].ravel(), changed[..., channel].ravel()
        order = np.argsort(old, kind="stable")
        # What was brighter stays brighter, and pixels that were equal stay equal.
        assert (np.diff(new[order].astype(int)) >= 0).all()
        pairs = set(zip(old.tolist(), new.tolist(), strict=True))
        assert len(pairs) == len(set(old.tolist()))


def test_light_changes_brightness_contrast_and_colour() -> None:
    rng = np.random.default_rng(0)
    crop = rng.integers(90, 160, (32, 32, 3)).astype(np.uint8)
    changed = [lighten(crop, rng).astype(float) for _ in range(60)]
    means = [frame.mean() - crop.mean() for frame in changed]
    contrasts = [frame[..., 0].std() / crop[..., 0].std() for frame in changed]
    casts = [np.ptp(frame.mean(axis=(0, 1)) - crop.mean(axis=(0, 1))) for frame in changed]
    assert min(means) < -10
    assert max(means) > 10
    assert min(contrasts) < 0.85
    assert max(contrasts) > 1.15
    assert max(casts) > 4


def turned_batch(rows: int, columns: int) -> Batch:
    """Crops, cells and zones that all show the same pattern."""
    rng = np.random.default_rng(1)
    cells = rng.permutation(3 * rows * columns).reshape(3, rows, columns).astype(np.int64)
    crops = np.repeat(np.repeat(cells, STRIDE, axis=1), STRIDE, axis=2)[..., np.newaxis]
    zones = np.stack([cells, 100 + cells], axis=1).astype(np.uint8)
    return Batch(crops.astype(np.uint8), np.arange(3), cells, None, zones)


@pytest.mark.parametrize(("rows", "columns", "ways"), [(4, 4, 8), (4, 6, 4)])
def test_crops_cells_and_zones_turn_together(rows: int, columns: int, ways: int) -> None:
    batch = turned_batch(rows, columns)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(60):
        crops, targets, cells, zones = _turned(batch, rng, square=rows == columns)
        assert cells is not None
        assert zones is not None
        shown = crops[:, 0, ::STRIDE, ::STRIDE]
        assert torch.equal(shown, cells.float())
        assert torch.allclose(zones[:, 0] * 255, cells.float())
        assert torch.allclose(zones[:, 1] * 255, 100 + cells.float())
        assert targets.tolist() == [0, 1, 2]
        assert sorted(cells[0].flatten().tolist()) == sorted(batch.cells[0].ravel().tolist())  # type: ignore[index]
        if rows != columns:
            assert crops.shape == (3, 1, rows * STRIDE, columns * STRIDE)
        seen.add(tuple(cells[0].flatten().tolist()))
    assert len(seen) == ways


def test_without_cells_and_zones_only_crops_turn() -> None:
    batch = turned_batch(4, 4)._replace(cells=None, zones=None)
    _, _, cells, zones = _turned(batch, np.random.default_rng(0), square=True)
    assert (cells, zones) == (None, None)


def test_a_grey_picture_of_zones_is_read_as_it_was_written(tmp_path: Path) -> None:
    bits = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) % 8
    zones = picture(tmp_path, 0, "good", zones=bits.astype(np.uint8)).zones
    assert zones is not None
    assert np.array_equal(load(zones), bits)
