"""From logits to probabilities that mean something, and from those to thresholds.

Both are fitted on validation parts, which the network was not trained on. Training shows far more
defects than a line does, so that besides the temperature (Guo et al., "On calibration of modern
neural networks", 2017) one more number is fitted: how much more likely good is than training made
it look.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from inspection.training.recipe import Thresholds

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


TINY = 1e-12


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


def log_odds(scores: Array) -> Array:
    """Log-odds of probabilities, finite at 0 and 1."""
    inside = np.clip(scores, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _rounded(score: float) -> float:
    return round(min(max(score, 0.0), 1.0), 9)
