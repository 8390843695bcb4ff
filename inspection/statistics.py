"""What a count of errors allows to be claimed: exact bounds of a proportion.

A rate without a bound says nothing: no escape among 30 defects is compatible with one in ten.
Bounds are exact (Clopper and Pearson, Biometrika 26, 1934), hence never narrower than their
level, and need no approximation at zero errors, where a good inspection system lives.

They assume that the trials are independent. Points of one part are not quite (one bad picture
spoils them all), so a count of parts stands beside every count of points.
"""

from __future__ import annotations

import math

from msgspec import Struct

CONFIDENCE = 0.95


class Rate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``errors`` of ``trials`` with the two-sided exact interval ``lower`` to ``upper``, and
    ``at_most``, the one-sided upper bound: the rate that may be claimed. All are fractions;
    ``rate`` is None where nothing was tried."""

    errors: int
    trials: int
    rate: float | None
    lower: float
    upper: float
    at_most: float
    confidence: float

    def __str__(self) -> str:
        if self.rate is None:
            return "none tried"
        return (
            f"{self.errors} of {self.trials} = {self.rate:.2%}"
            f" ({self.confidence:.0%} interval {self.lower:.2%} to {self.upper:.2%};"
            f" at most {self.at_most:.2%})"
        )


def rate(errors: int, trials: int, confidence: float = CONFIDENCE) -> Rate:
    """A proportion with its bounds; raises `ValueError` for counts that cannot be."""
    lower, upper = interval(errors, trials, confidence)
    return Rate(
        errors=errors,
        trials=trials,
        rate=errors / trials if trials else None,
        lower=lower,
        upper=upper,
        at_most=upper_bound(errors, trials, confidence),
        confidence=confidence,
    )


def upper_bound(errors: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """One-sided: the largest proportion at which so few errors still have probability
    ``1 - confidence``. 1.0 where nothing was tried."""
    _check(errors, trials, confidence)
    if errors >= trials:
        return 1.0
    low, high = 0.0, 1.0
    while (middle := (low + high) / 2) not in (low, high):
        if _at_most(errors, trials, middle) > 1.0 - confidence:
            low = middle
        else:
            high = middle
    return high  # the upper end of the last interval: a bound errs to the safe side


def interval(errors: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided, with ``(1 - confidence) / 2`` on each side. (0, 1) where nothing was tried."""
    _check(errors, trials, confidence)
    side = 1.0 - (1.0 - confidence) / 2
    # The lower bound is the upper bound of the successes, seen from the other end.
    return 1.0 - upper_bound(trials - errors, trials, side), upper_bound(errors, trials, side)


def trials_needed(rate_claimed: float, errors: int = 0, confidence: float = CONFIDENCE) -> int:
    """How many trials with at most ``errors`` errors allow to claim ``rate_claimed``."""
    if not 0.0 < rate_claimed < 1.0:
        raise ValueError(f"a rate to claim lies between 0 and 1, not at {rate_claimed}")
    low, high = errors, errors + 1
    while upper_bound(errors, high, confidence) > rate_claimed:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if upper_bound(errors, middle, confidence) > rate_claimed:
            low = middle
        else:
            high = middle
    return high


def f_tail(f: float, numerator: int, denominator: int) -> float:
    """P(F >= f) for F with so many degrees of freedom; with 1 above, that of t squared."""
    if f <= 0:
        return 1.0
    return _incomplete_beta(
        denominator / 2, numerator / 2, denominator / (denominator + numerator * f)
    )


def binomial_tail(successes: float, trials: float, p: float) -> float:
    """P(X >= successes) for X binomial (trials, p); between whole numbers the incomplete beta
    function, which joins them smoothly."""
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    return _incomplete_beta(successes, trials - successes + 1, p)


def _check(errors: int, trials: int, confidence: float) -> None:
    if not 0 <= errors <= trials:
        raise ValueError(f"{errors} errors of {trials} trials cannot be")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"a confidence lies between 0 and 1, not at {confidence}")


def _at_most(errors: int, trials: int, p: float) -> float:
    """P(X <= errors) for X binomial (trials, p): the incomplete beta function I(1 - p)."""
    return _incomplete_beta(trials - errors, errors + 1, 1.0 - p)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Regularised, for a, b > 0 and 0 <= x <= 1. Lentz's continued fraction (Numerical Recipes,
    3rd edition, section 6.4), which converges in about the square root of max(a, b) steps."""
    if x <= 0.0 or x >= 1.0:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast only on this side of the mean
        return 1.0 - _incomplete_beta(b, a, 1.0 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    tiny = 1e-300
    c, d = 1.0, 1.0 / (_away(1.0 - (a + b) * x / (a + 1), tiny))
    fraction = d
    for m in range(1, 100_000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _away(1.0 + step * d, tiny)
            c = _away(1.0 + step / c, tiny)
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return front * fraction / a


def _away(value: float, tiny: float) -> float:
    """The value, or ``tiny`` where dividing by it would overflow."""
    return value if abs(value) > tiny else tiny
