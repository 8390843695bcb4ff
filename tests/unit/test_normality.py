"""What good points look like, learnt from good points alone, and what is promised of its limit."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from inspection.errors import DataError, RecipeError
from inspection.imaging import CropSpec, Frame
from inspection.training.architectures import ARCHITECTURES, Normality, build
from inspection.training.architectures.normal import (
    Distance,
    Memory,
    Normal,
    Positions,
    build_padim,
    build_patchcore,
)
from inspection.training.normality import (
    ENOUGH,
    JACKKNIFE_MOST,
    Gaussians,
    coreset,
    gaussian,
    guarantee,
    outstanding,
    rank_of,
    together,
)
from inspection.training.recipe import GOOD_ALONE

SIDE = 96
SPEC = CropSpec(width=SIDE, height=SIDE, channels=1)


def weld(seed: int, *, missing: bool = False, at: tuple[float, float] = (0.5, 0.5)) -> Frame:
    """A bright disc with a dark ring on brushed metal, never twice the same; (96, 96, 1)."""
    rng = np.random.default_rng(seed)
    metal = 120 + 12 * rng.standard_normal((SIDE, 1)) + 6 * rng.standard_normal((SIDE, SIDE))
    if not missing:
        y, x = np.mgrid[:SIDE, :SIDE] / SIDE
        jitter = 0.02 * rng.standard_normal(2)
        radius = np.hypot(x - at[0] - jitter[0], y - at[1] - jitter[1])
        metal += 70 * (radius < 0.2) - 60 * ((radius > 0.2) & (radius < 0.25))
    return np.clip(metal, 0, 255).astype(np.uint8)[:, :, None]


def welds(seeds: range, **how: object) -> Frame:
    return np.stack([weld(seed, **how) for seed in seeds])  # type: ignore[arg-type]


def logits(network: Normality, crops: Frame) -> np.ndarray:
    with torch.inference_mode():
        pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
        return network(pixels)[:, 1].numpy()


@pytest.fixture(scope="module")
def learnt() -> Normal:
    torch.set_num_threads(1)
    network = build_patchcore(2, SPEC, {"weights": "imagenet", "memory": 200}).eval()
    network.learn(welds(range(16)), [f"P{k}" for k in range(16)], 0.01)
    return network


# ---------------------------------------------------------------- the parts


def test_a_distance_is_that_of_mahalanobis_with_the_covariance_written_out() -> None:
    rng = np.random.default_rng(0)
    seen = rng.standard_normal((40, 6)) @ rng.standard_normal((6, 6))
    fitted = gaussian(seen, 0.1, 6)
    scaled = (seen - seen.mean(axis=0)) / seen.std(axis=0)
    covariance = 0.9 * scaled.T @ scaled / len(seen) + 0.1 * np.eye(6)
    new = rng.standard_normal((5, 6))
    off = (new - seen.mean(axis=0)) / seen.std(axis=0)
    wanted = np.sqrt(np.einsum("nd,de,ne->n", off, np.linalg.inv(covariance), off))
    assert np.allclose(fitted.distances(new)[:, 0], wanted, rtol=1e-4)


def test_the_graph_computes_the_distances_as_float64_does() -> None:
    rng = np.random.default_rng(1)
    fits = together([gaussian(rng.standard_normal((n, 30)), 0.05, 8) for n in (12, 50)])
    new = rng.standard_normal((7, 30)) * 3
    found = Distance(fits)(torch.from_numpy(new.astype(np.float32)))
    assert np.allclose(found.sqrt().numpy(), fits.distances(new), rtol=1e-4)


def test_a_feature_that_never_varies_does_not_drown_all_others() -> None:
    rng = np.random.default_rng(2)
    seen = np.column_stack([rng.standard_normal((30, 4)), np.zeros(30)])
    new = np.array([[0.0, 0, 0, 0, 1e-3], [8.0, 0, 0, 0, 0]])
    little, much = gaussian(seen, 0.1, 4).distances(new)[:, 0]
    assert little < 1 < much


def test_a_memory_without_a_unit_is_one_that_never_held_its_rows() -> None:
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((4, 5, 8)).astype(np.float32)
    patches = torch.from_numpy(rng.standard_normal((2, 9, 8)).astype(np.float32))
    of_all, each = Memory(rows)(patches)
    every = torch.cdist(patches, torch.from_numpy(rows.reshape(-1, 8))).square()
    assert torch.allclose(of_all, every.amin(dim=2), atol=1e-4)
    for unit in range(4):
        others = np.delete(rows, unit, axis=0).reshape(-1, 8)
        wanted = torch.cdist(patches, torch.from_numpy(others)).square().amin(dim=2)
        assert torch.allclose(each[:, :, unit], wanted, atol=1e-4)


def test_positions_are_compared_with_their_own_gaussian() -> None:
    rng = np.random.default_rng(4)
    fits = [
        together([gaussian(rng.standard_normal((20, 3)) + place, 0.3, 2) for place in range(4)])
        for _ in range(2)
    ]
    table = Gaussians(*(np.stack(parts) for parts in zip(*fits, strict=True)))
    patches = rng.standard_normal((5, 16, 3)).astype(np.float32)
    mean, each = Positions((4, 4), table)(torch.from_numpy(patches))
    halved = patches.reshape(5, 2, 2, 2, 2, 3).mean(axis=(2, 4)).reshape(5, 4, 3)
    for unit in range(2):
        for place in range(4):
            one = Gaussians(*(part[place : place + 1] for part in fits[unit]))
            wanted = one.distances(halved[:, place].astype(np.float64))[:, 0]
            assert np.allclose(each[:, place, unit].sqrt().numpy(), wanted, rtol=1e-3)
    assert torch.allclose(mean, each.mean(dim=2))


def test_a_coreset_leaves_no_patch_far_from_it() -> None:
    rng = np.random.default_rng(5)
    centres = 20 * rng.standard_normal((10, 4))
    crowd = np.repeat(centres, [500, *[3] * 9], axis=0)  # most of the patches are of one kind
    patches = (crowd + 0.1 * rng.standard_normal(crowd.shape)).astype(np.float32)
    chosen = coreset(patches, 10)
    nearest = np.linalg.norm(patches[:, None] - chosen[None], axis=2).min(axis=1)
    assert nearest.max() < 1


# ---------------------------------------------------------------- the limit


def test_a_guarantee_never_goes_below_what_so_few_good_parts_can_give() -> None:
    said = guarantee(36, 0.01)
    assert said.method == "jackknife+"
    assert said.level == pytest.approx(1 / 37)
    assert said.bound == pytest.approx(2 / 37)
    assert said.missing == ENOUGH - 36
    assert f"{ENOUGH - 36} more good parts" in said.statement


def test_with_many_good_parts_what_was_asked_for_is_guaranteed() -> None:
    said = guarantee(500, 0.01)
    assert said.method == "split conformal"
    assert said.bound == said.level <= 0.01
    assert said.missing == 0


def test_five_good_parts_are_told_how_little_they_allow() -> None:
    assert guarantee(5, 0.01).bound == pytest.approx(2 / 6)


def test_more_good_parts_never_promise_less() -> None:
    bounds = [guarantee(n, 0.001).bound for n in range(5, 400, 2)]
    assert all(after <= before * 1.05 for before, after in itertools.pairwise(bounds))


@pytest.mark.parametrize(("number", "wanted"), [(36, 0.2), (99, 0.05), (150, 0.05)])
def test_the_false_alarm_rate_of_exchangeable_scores_keeps_its_bound(
    number: int, wanted: float
) -> None:
    said = guarantee(2 * number, wanted, number)
    rank = rank_of(said.level, number)
    draws = np.random.default_rng(6).standard_normal((20_000, number + 1))
    alarms = (np.sort(draws[:, :1] - draws[:, 1:], axis=1)[:, rank - 1] > 0).mean()
    error = 4 * math.sqrt(said.bound / len(draws))
    assert said.bound / 2 < alarms <= said.bound + error


def test_leaving_out_each_in_turn_keeps_twice_alpha() -> None:
    """Of a score that is fitted, and changes a lot with each unit: the distance from the mean."""
    rng = np.random.default_rng(7)
    number, wanted, alarms = 8, 0.5, 0
    said = guarantee(number, wanted, 0)
    rank = rank_of(said.level, number)
    for _ in range(3000):
        seen, new = rng.standard_cauchy(number), rng.standard_cauchy()
        means = (seen.sum() - seen) / (number - 1)
        above = np.abs(new - means) - np.abs(seen - means)
        alarms += bool(np.sort(above)[rank - 1] > 0)
    assert alarms / 3000 <= said.bound + 0.03


def test_the_limit_in_the_network_is_the_rank_of_the_differences(learnt: Normal) -> None:
    crops = welds(range(40, 46))
    with torch.inference_mode():
        pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
        scores = learnt.scores(learnt.see(pixels))[0].numpy()
    alarm = (scores - learnt.limits.numpy()).min(axis=1) > 0
    assert (alarm == (logits(learnt, crops) > 0)).all()


def test_a_score_without_a_unit_is_what_a_network_says_that_never_saw_it(learnt: Normal) -> None:
    """Nothing that is fitted may know the unit that is left out: the guarantee rests on it."""
    units = [f"P{k}" for k in range(16)]
    changed = welds(range(16))
    changed[3] = weld(999)
    other = build_patchcore(2, SPEC, {"memory": 200}).eval()
    other.learn(changed, units, 0.01)
    pixels = torch.from_numpy(welds(range(50, 53))).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        before, after = (n.scores(n.see(pixels))[0].numpy() for n in (learnt, other))
    number = sorted(units).index("P3")
    assert np.allclose(before[:, number], after[:, number], atol=1e-4)
    assert not np.allclose(np.delete(before, number, 1), np.delete(after, number, 1), atol=1e-3)


# ---------------------------------------------------------------- the network


@pytest.mark.parametrize("name", sorted(GOOD_ALONE))
def test_what_learns_from_good_points_alone_says_so(name: str) -> None:
    assert name in ARCHITECTURES
    assert isinstance(build(name, 2, SPEC, {"weights": "none"}), Normality)


def test_a_missing_weld_is_more_unusual_than_any_good_one(learnt: Normal) -> None:
    good = logits(learnt, welds(range(20, 40)))
    missing = logits(learnt, welds(range(20, 30), missing=True))
    assert missing.min() > max(good.max(), 0)


def test_a_weld_in_the_wrong_place_is_more_unusual_than_any_good_one(learnt: Normal) -> None:
    good = logits(learnt, welds(range(20, 40)))
    off_centre = logits(learnt, welds(range(20, 30), at=(0.7, 0.65)))
    assert off_centre.min() > max(good.max(), 0)


def test_no_more_good_welds_are_called_unusual_than_was_guaranteed() -> None:
    alarms = []
    for first in range(0, 600, 100):
        network = build_patchcore(2, SPEC, {"memory": 64}).eval()
        names = [f"P{k}" for k in range(10)]
        said = network.learn(welds(range(first, first + 10)), names, 0.01)
        alarms.append((logits(network, welds(range(first + 50, first + 70))) > 0).mean())
    assert np.mean(alarms) <= said.bound + 0.05


def test_the_heat_lies_where_the_scratch_is(learnt: Normal) -> None:
    crops = welds(range(20, 26))
    crops[:, 8:24, 8:24] = np.where(np.indices((16, 16)).sum(axis=0) % 4 < 2, 0, 255)[..., None]
    with torch.inference_mode():
        heat = learnt.look(torch.from_numpy(crops).permute(0, 3, 1, 2).float())[1].numpy()
    assert heat.min() >= 0
    assert heat.max() <= 1
    quarter = heat.shape[1] // 2
    for one in heat:
        row, column = np.unravel_index(one.argmax(), one.shape)
        assert row < quarter
        assert column < quarter


def test_scores_do_not_depend_on_the_batch(learnt: Normal) -> None:
    crops = welds(range(20, 25))
    alone = np.concatenate([logits(learnt, crops[k : k + 1]) for k in range(5)])
    assert np.allclose(alone, logits(learnt, crops), atol=1e-4)


def test_a_gaussian_of_positions_finds_a_missing_weld_too() -> None:
    network = build_padim(2, SPEC, {}).eval()
    network.learn(welds(range(12)), [f"P{k}" for k in range(12)], 0.01)
    good, missing = (
        logits(network, welds(range(20, 30))),
        logits(network, welds(range(20, 30), missing=True)),
    )
    assert missing.min() > good.max()


def test_pictures_of_one_part_are_left_out_together(learnt: Normal) -> None:
    crops = np.concatenate([welds(range(8)), welds(range(8))])
    network = build_patchcore(2, SPEC, {"memory": 200}).eval()
    said = network.learn(crops, [f"P{k % 8}" for k in range(16)], 0.01)
    assert said.units == 8
    assert len(network.limits) == 8
    # Had a picture been compared with its own copy, every other one would look unusual.
    assert (logits(network, welds(range(30, 50))) > 0).mean() <= 0.6


def test_with_parts_held_out_there_is_one_fit_and_one_limit() -> None:
    network = build_patchcore(2, SPEC, {"memory": 200}).eval()
    held = welds(range(20, 40)), [f"Q{k}" for k in range(20)]
    said = network.learn(welds(range(12)), [f"P{k}" for k in range(12)], 0.1, held)
    assert (said.method, said.calibrated_on) == ("split conformal", 20)
    assert said.bound == pytest.approx(2 / 21)
    assert (logits(network, held[0]) > 0).sum() == 1  # the second largest is the limit


# ---------------------------------------------------------------- what may go wrong


@pytest.mark.parametrize("count", [1, 4])
def test_too_few_good_parts_are_refused(count: int) -> None:
    network = build_patchcore(2, SPEC, {}).eval()
    with pytest.raises(DataError, match="5 at least are needed"):
        network.learn(welds(range(count)), [f"P{k}" for k in range(count)], 0.01)


def test_five_good_parts_are_enough_to_begin(learnt: Normal) -> None:
    network = build_patchcore(2, SPEC, {"memory": 200}).eval()
    said = network.learn(welds(range(5)), [f"P{k}" for k in range(5)], 0.01)
    assert said.missing == ENOUGH - 5
    good, missing = (
        logits(network, welds(range(20, 40))),
        logits(network, welds(range(20, 30), missing=True)),
    )
    assert missing.min() > good.max()


def test_defects_among_the_good_ones_are_set_aside_and_their_like_is_still_found() -> None:
    crops = welds(range(20))
    crops[7] = weld(7, missing=True)  # 5 % of them
    network = build_patchcore(2, SPEC, {"memory": 200}).eval()
    said = network.learn(crops, [f"P{k:02d}" for k in range(20)], 0.01)
    assert said.doubtful == ("P07",)
    assert said.bound == pytest.approx(2 * 2 / 21)
    assert (logits(network, welds(range(30, 40), missing=True)) > 0).all()
    assert (logits(network, welds(range(30, 40), at=(0.7, 0.65))) > 0).all()


def test_defects_among_those_learnt_from_are_set_aside_where_others_set_the_limit() -> None:
    crops, held = welds(range(20)), welds(range(20, 40))
    crops[7] = weld(7, missing=True)
    network = build_patchcore(2, SPEC, {"memory": 200}).eval()
    said = network.learn(
        crops,
        [f"P{k:02d}" for k in range(20)],
        0.1,
        (held, [f"Q{k:02d}" for k in range(20)]),
    )
    assert said.doubtful == ("P07",)
    assert (logits(network, welds(range(40, 50), missing=True)) > 0).all()


def test_pictures_that_are_all_the_same_still_give_numbers() -> None:
    network = build_patchcore(2, SPEC, {"memory": 200}).eval()
    network.learn(np.repeat(welds(range(1)), 6, axis=0), [f"P{k}" for k in range(6)], 0.01)
    assert np.isfinite(logits(network, welds(range(3)))).all()
    assert (logits(network, welds(range(20, 23), missing=True)) > 0).all()


@pytest.mark.parametrize("level", [0, 255])
def test_a_black_or_blown_out_crop_is_unusual(learnt: Normal, level: int) -> None:
    assert (logits(learnt, np.full((1, SIDE, SIDE, 1), level, np.uint8)) > 0).all()


@pytest.mark.parametrize(
    ("spec", "channels"),
    [((64, 64), 3), ((64, 256), 1), ((256, 64), 3), ((32, 32), 1)],
)
def test_crops_of_any_shape_are_learnt(spec: tuple[int, int], channels: int) -> None:
    rng = np.random.default_rng(8)
    network = build_patchcore(
        2, CropSpec(width=spec[1], height=spec[0], channels=channels), {"memory": 64}
    ).eval()
    crops = rng.integers(100, 140, (6, *spec, channels), np.uint8)
    network.learn(crops, [f"P{k}" for k in range(6)], 0.01)
    flat = np.full((2, *spec, channels), 200, np.uint8)
    assert (logits(network, flat) > 0).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"memory": 3}, "options.memory"),
        ({"mirrored": 1}, "options.mirrored"),
        ({"depth": 3}, "options.depth"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, int], match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        build_patchcore(2, SPEC, options)


def test_a_unit_stands_out_only_where_it_does() -> None:
    even = np.random.default_rng(9).standard_normal(200)
    assert outstanding(even, [str(k) for k in range(200)]) == []
    even[5] = 9
    assert outstanding(even, [str(k) for k in range(200)]) == ["5"]


def test_up_to_sixty_parts_none_is_spared_for_the_limit() -> None:
    assert guarantee(JACKKNIFE_MOST, 0.01).calibrated_on == JACKKNIFE_MOST
    assert guarantee(JACKKNIFE_MOST + 1, 0.01).calibrated_on == JACKKNIFE_MOST // 2
