"""From logits to probabilities that mean something, and from those to thresholds.

Both are fitted on validation parts, which the network was not trained on. Training shows far more
defects than a line does, so that besides the temperature (Guo et al., "On calibration of modern
neural networks", 2017) one more number is fitted: how much more likely good is than training made
it look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from inspection.statistics import interval

if TYPE_CHECKING:
    from inspection.training.recipe import Thresholds  # which reads recipes that hold promises

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


TINY = 1e-12


FEWEST_GOOD = 200
"""Good points: whoever compares with their deciles takes these as known."""


class Calibration(NamedTuple):
    """``softmax(logits / temperature + good_shift for the OK class)``."""

    temperature: float
    good_shift: float


class Limits(NamedTuple):
    """Thresholds of a policy; ``nok_min`` holds for every defect class."""

    ok_min: float
    nok_min: float


def calibrate(logits: Array, labels: Labels) -> Calibration:
    """The calibration with the least cross-entropy. ``logits`` has shape (N, classes), ``labels``
    (N,) with the OK class 0. Both numbers are kept within sane limits: with few validation defects
    that a model tells apart perfectly, the best temperature would be none."""

    def loss(parameters: Array) -> float:
        temperature, shift = float(np.exp(parameters[0])), float(parameters[1])
        scores = np.log(np.maximum(probabilities(logits, Calibration(temperature, shift)), 1e-12))
        # Weak pull towards "as trained", worth about one observation.
        prior = 0.5 * float(parameters[0] ** 2 + 0.1 * parameters[1] ** 2)
        return float(-scores[np.arange(len(labels)), labels].sum()) + prior

    found = minimize(
        loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-6}
    )
    temperature = float(np.clip(np.exp(found.x[0]), 0.1, 10.0))
    return Calibration(round(temperature, 6), round(float(np.clip(found.x[1], -10, 10)), 6))


def probabilities(logits: Array, calibration: Calibration) -> Array:
    """Calibrated class probabilities; the graph of a package computes the same in float32."""
    scaled = np.asarray(logits, np.float64) / calibration.temperature
    scaled[:, 0] += calibration.good_shift
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def choose_limits(scores: Array, labels: Labels, wanted: Thresholds) -> Limits:
    """Thresholds from calibrated validation scores (N, classes) and labels (N,).

    ``ok_min`` is where escapes and overkill, each in units of what is wanted of it, come out
    equal: neither is bought with the other. Both are what the calibrated scores expect (a point
    with OK score p is good with probability p, the plug-in rule of Bayes decisions), not what
    was counted: with forty validation defects a count moves in steps of 2.5 %, and the threshold
    with it. Whether the scores keep that promise is for the test parts to say. Between two
    neighbouring scores the middle is taken, on the scale of log-odds, because scores crowd near 0
    and 1. ``nok_min`` is the score that the wanted share of good points stays below, and at least
    a half.
    """
    good = np.sort(scores[:, 0])
    candidates = np.unique(np.concatenate([good, [0.0, 1.0]]))
    odds = log_odds(candidates)
    limits = 1 / (1 + np.exp(-(odds[1:] + odds[:-1]) / 2))
    below = np.searchsorted(good, limits)
    goods = np.concatenate([[0.0], np.cumsum(good)])
    defects = np.concatenate([[0.0], np.cumsum(1 - good)])
    escapes = (defects[-1] - defects[below]) / max(defects[-1], TINY)
    overkill = goods[below] / max(goods[-1], TINY)
    ok_min = float(
        limits[np.argmin(np.maximum(escapes / wanted.escapes, overkill / wanted.overkill))]
    )
    false_alarms = np.quantile(scores[labels == 0, 1:].max(axis=1), 1 - wanted.nok_overkill)
    return Limits(_rounded(ok_min), _rounded(float(max(0.5, false_alarms))))


def defect_quantiles(scores: Array, labels: Labels) -> tuple[float, ...]:
    """What lines are compared with later: the nine deciles of the defect score, what is left to one
    of the OK score, of the good points among ``scores`` (N, classes), OK class first. Empty where
    there are fewer than `FEWEST_GOOD` of these."""
    good = 1.0 - scores[labels == 0, 0]
    if len(good) < FEWEST_GOOD:
        return ()
    return tuple(float(each) for each in np.quantile(good, np.arange(1, 10) / 10))


class ReliabilityBin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Points whose OK scores are alike, from ``lowest`` to ``highest``: how sure the model was on
    average (``score``) and which share of them was good, with its exact 95 % interval."""

    count: int
    lowest: float
    highest: float
    score: float
    good: float
    lower: float
    upper: float


class Reliability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far scores come true.

    ``bins`` are those of the OK score, which decides what is released; ``ece`` is their expected
    calibration error, the mean distance of ``score`` and ``good`` weighted by count. ``ece_top``
    is the same of the strongest class and whether it was right, as Guo et al. have it.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float
    ece_top: float


def reliability(scores: Array, labels: Labels, bins: int = 15) -> Reliability:
    """The reliability diagram of calibrated ``scores`` (N, classes), OK class first, against
    ``labels`` (N,).

    Expected calibration error (Naeini, Cooper, Hauskrecht, AAAI 2015; Guo et al. 2017) over bins of
    equal mass rather than equal width: most scores lie near 1, and a bin of equal width would hold
    nearly all of them. Equal scores stay in one bin, so that no order among them can matter and
    there may be fewer bins than asked for. Of few points a perfectly calibrated model has an error
    as well: about the square root of bins / N. Raises `ValueError` where nothing can be counted.
    """
    if len(scores) == 0 or len(scores) != len(labels) or bins < 1:
        raise ValueError(f"{len(scores)} scores and {len(labels)} labels in {bins} bins")
    if not np.isfinite(scores).all():
        raise ValueError("scores: not all are finite")
    ok_table = _bins(scores[:, 0], labels == 0, bins)
    top = _bins(scores.max(axis=1), scores.argmax(axis=1) == labels, bins)
    return Reliability(bins=ok_table, ece=_error(ok_table), ece_top=_error(top))


def _bins(scores: Array, came_true: npt.NDArray[np.bool_], bins: int) -> tuple[ReliabilityBin, ...]:
    order = np.argsort(scores, kind="stable")
    ascending, true = scores[order], came_true[order]
    # Where a bin would begin amid equal scores, it begins with the first of them.
    starts = np.arange(bins) * len(scores) // bins
    starts = np.unique(np.searchsorted(ascending, ascending[starts]))
    made = []
    for some, hits in zip(np.split(ascending, starts[1:]), np.split(true, starts[1:]), strict=True):
        lower, upper = interval(int(hits.sum()), len(hits))
        made.append(
            ReliabilityBin(
                count=len(some),
                lowest=float(some[0]),
                highest=float(some[-1]),
                score=float(some.mean()),
                good=float(hits.mean()),
                lower=lower,
                upper=upper,
            )
        )
    return tuple(made)


def _error(bins: tuple[ReliabilityBin, ...]) -> float:
    total = sum(entry.count for entry in bins)
    return sum(entry.count * abs(entry.score - entry.good) for entry in bins) / total


def log_odds(scores: Array) -> Array:
    """Log-odds of probabilities, finite at 0 and 1."""
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _rounded(score: float) -> float:
    return round(min(max(score, 0.0), 1.0), 9)
