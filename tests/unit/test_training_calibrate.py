"""Calibration and thresholds."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.training.calibrate import (
    Array,
    Calibration,
    Labels,
    calibrate,
    choose_limits,
    defect_quantiles,
    probabilities,
    reliability,
)
from inspection.training.recipe import Thresholds

WANTED = Thresholds(escapes=0.05, overkill=0.02)


def drawn(sharpness: float, shift: float, count: int = 4000) -> tuple[Array, Labels]:
    """Logits of a model that is ``sharpness`` times too sure and ``shift`` too fond of defects."""
    rng = np.random.default_rng(3)
    true = rng.normal(0, 2, (count, 3))
    chances = probabilities(true, Calibration(1.0, 0.0))
    labels = np.array([rng.choice(3, p=row) for row in chances], np.int64)
    logits = true * sharpness
    logits[:, 0] -= shift * sharpness
    return logits, labels


def test_calibration_finds_how_much_too_sure_a_model_is() -> None:
    found = calibrate(*drawn(2.5, 1.5))
    assert found.temperature == pytest.approx(2.5, rel=0.1)
    assert found.good_shift == pytest.approx(1.5, abs=0.15)


def test_calibrated_scores_come_true_as_often_as_they_say() -> None:
    logits, labels = drawn(3.0, -1.0)
    scores = probabilities(logits, calibrate(logits, labels))
    sure = scores[:, 0] > 0.8
    assert (labels[sure] == 0).mean() == pytest.approx(scores[sure, 0].mean(), abs=0.03)


def test_a_perfect_separation_does_not_make_a_model_infinitely_sure() -> None:
    logits = np.array([[5.0, -5.0]] * 50 + [[-5.0, 5.0]] * 5)
    found = calibrate(logits, np.array([0] * 50 + [1] * 5, np.int64))
    assert 0.1 <= found.temperature <= 10
    assert abs(found.good_shift) <= 10


@given(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=60))
def test_no_other_limit_serves_both_wishes_better(ok_scores: list[float]) -> None:
    ok = np.array(ok_scores)
    labels = np.array([0] + [1] * (len(ok) - 1), np.int64)
    limits = choose_limits(np.stack([ok, 1 - ok], axis=1), labels, WANTED)
    assert 0.5 <= limits.nok_min <= 1.0

    def worst(limit: float) -> float:
        escapes = (1 - ok)[ok >= limit].sum() / (1 - ok).sum()
        overkill = ok[ok < limit].sum() / ok.sum()
        return float(max(escapes / WANTED.escapes, overkill / WANTED.overkill))

    for limit in ok:
        assert worst(limits.ok_min) <= worst(float(limit)) + 1e-6


def test_the_limit_keeps_what_calibrated_scores_promise() -> None:
    """Escapes and overkill on new points are in the proportion that was wanted."""
    logits, labels = drawn(2.0, 1.0)
    calibration = calibrate(logits, labels)
    limits = choose_limits(probabilities(logits, calibration), labels, WANTED)
    rng = np.random.default_rng(8)
    true = rng.normal(0, 2, (40_000, 3))
    fresh = np.array([rng.choice(3, p=row) for row in probabilities(true, Calibration(1.0, 0.0))])
    seen = true * 2.0
    seen[:, 0] -= 2.0
    ok = probabilities(seen, calibration)[:, 0] >= limits.ok_min
    escapes, overkill = ok[fresh != 0].mean(), (~ok[fresh == 0]).mean()
    assert escapes / overkill == pytest.approx(WANTED.escapes / WANTED.overkill, rel=0.25)


def test_a_few_odd_points_move_the_limit_little() -> None:
    logits, labels = drawn(1.0, 0.0, 600)
    scores = probabilities(logits, Calibration(1.0, 0.0))
    whole = choose_limits(scores, labels, WANTED).ok_min
    parts = [choose_limits(scores[i::3], labels[i::3], WANTED).ok_min for i in range(3)]
    assert max(abs(part - whole) for part in parts) < 0.05


def test_limits_between_classes_apart_lie_between_them() -> None:
    scores = np.array([[0.99, 0.01]] * 20 + [[0.01, 0.99]] * 5)
    labels = np.array([0] * 20 + [1] * 5, np.int64)
    limits = choose_limits(scores, labels, WANTED)
    assert limits.ok_min == pytest.approx(0.5)
    assert limits.nok_min == 0.5


# ------------------------------------------------------------ reliability


def test_calibrated_scores_have_a_small_error_and_sure_ones_a_large_one() -> None:
    logits, labels = drawn(3.0, 0.0, 6000)
    raw = reliability(probabilities(logits, Calibration(1.0, 0.0)), labels)
    fitted = reliability(probabilities(logits, calibrate(logits, labels)), labels)
    assert raw.ece > 0.08
    assert raw.ece_top > 0.1
    assert fitted.ece < 0.02
    assert fitted.ece_top < 0.02
    within = sum(entry.lower <= entry.score <= entry.upper for entry in fitted.bins)
    assert within >= len(fitted.bins) - 3


def test_the_error_is_the_weighted_distance_of_score_and_share() -> None:
    ok = np.array([0.2] * 10 + [0.8] * 30)
    labels = np.array([0] * 5 + [1] * 5 + [0] * 27 + [1] * 3)
    found = reliability(np.stack([ok, 1 - ok], axis=1), labels, bins=4)
    # Equal scores are never cut in two: two bins, not four.
    assert [entry.count for entry in found.bins] == [10, 30]
    assert [entry.good for entry in found.bins] == pytest.approx([0.5, 0.9])
    assert found.ece == pytest.approx(0.25 * 0.3 + 0.75 * 0.1)
    # The strongest class has 0.8 throughout and is right in 5 and in 27 cases.
    assert found.ece_top == pytest.approx(abs(0.8 - 32 / 40))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.integers(1, 20), st.randoms())
def test_every_point_is_in_one_bin_and_the_order_of_points_does_not_matter(
    steps: list[int], bins: int, shuffled: Random
) -> None:
    ok = np.array(steps) / 5
    labels = np.array([step % 2 for step in range(len(steps))])
    found = reliability(np.stack([ok, 1 - ok], axis=1), labels, bins)
    assert sum(entry.count for entry in found.bins) == len(steps)
    assert len(found.bins) <= bins
    edges = [edge for entry in found.bins for edge in (entry.lowest, entry.highest)]
    assert edges == sorted(edges)
    assert len(set(found.bins)) == len(found.bins)
    order = list(range(len(steps)))
    shuffled.shuffle(order)
    again = reliability(np.stack([ok, 1 - ok], axis=1)[order], labels[order], bins)
    assert again.ece == pytest.approx(found.ece)
    assert [entry.good for entry in again.bins] == pytest.approx([b.good for b in found.bins])


def test_a_reliability_of_nothing_or_of_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="0 scores"):
        reliability(np.zeros((0, 2)), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="finite"):
        reliability(np.array([[np.nan, 1.0]]), np.zeros(1, np.int64))


def test_what_lines_are_compared_with_is_of_good_points_only() -> None:
    good = 1 - np.arange(201) / 2000
    scores = np.array([[value, 1 - value] for value in (*good, 0.0, 0.0)])
    labels = np.array([0] * 201 + [1, 1], np.int64)
    assert defect_quantiles(scores, labels) == pytest.approx([n / 100 for n in range(1, 10)])
    assert defect_quantiles(scores[2:], labels[2:]) == ()
