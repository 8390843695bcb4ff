"""Drift: is what a camera or a gun sees now what it saw in a reference period?

Counts are compared as events in so many points. Given how many there are in both periods, how many
fall into the later one is binomial (Przyborowski and Wilenski, Biometrika 31, 1940): exact, also
where there were none before. Points of one body are alike and so are the bodies of a quarter of an
hour, so counts vary more than that; Pearson's dispersion between the slots of each period divides
the counts, and a second test weighs the difference against that dispersion with its degrees of
freedom (McCullagh and Nelder, Generalized Linear Models, 1989, section 4.5). The larger of the two
probabilities stands. Scores are compared body by body by the two-sample test of Kolmogorov and
Smirnov with its exact distribution (Hodges, Arkiv foer Matematik 3, 1958).

All questions asked at once share one probability of a false alarm (Holm, Scandinavian Journal of
Statistics 6, 1979): on a stable process a look at the page is alarmed with at most `LEVEL`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from inspection.statistics import binomial_tail, f_tail

LEVEL: Final = 0.01
"""The probability that anything at all is called a drift where nothing has changed."""
LEAST_SLOTS: Final = 8
"""Slots that each period needs: with fewer, how much slots vary is not known."""


@dataclass(frozen=True, slots=True)
class Change:
    """A share before and now; ``spread`` is Pearson's dispersion (1: no more than chance) and
    ``p_value`` how probable so large a difference is where nothing has changed."""

    before: float
    now: float
    spread: float
    p_value: float


def counted(
    counts: Sequence[int],
    sizes: Sequence[int],
    later_counts: Sequence[int],
    later_sizes: Sequence[int],
) -> Change:
    """Events of so many points in each slot of two periods. Raises `ValueError` where a period has
    fewer than `LEAST_SLOTS` slots or a slot no points."""
    if min(len(counts), len(later_counts)) < LEAST_SLOTS:
        raise ValueError(f"drift needs {LEAST_SLOTS} slots in each period at least")
    if min(*sizes, *later_sizes) <= 0:
        raise ValueError("a slot without points has no share")
    first, second = sum(counts), sum(later_counts)
    all_before, all_now = sum(sizes), sum(later_sizes)
    before, now = first / all_before, second / all_now
    if first + second == 0:
        return Change(0.0, 0.0, 1.0, 1.0)
    heterogeneity, freedom = 0.0, 0
    for each, points, share in ((counts, sizes, before), (later_counts, later_sizes, now)):
        if share > 0:
            expected = [share * size for size in points]
            heterogeneity += sum(
                (count - mean) ** 2 / mean for count, mean in zip(each, expected, strict=True)
            )
            freedom += len(each) - 1
    spread = max(1.0, heterogeneity / freedom)
    part = all_now / (all_before + all_now)
    events, late = (first + second) / spread, second / spread
    over = binomial_tail(late, events, part)
    under = binomial_tail(events - late, events, 1 - part)
    exact = min(1.0, 2 * min(over, under))
    share = (first + second) / (all_before + all_now)
    pearson = (first - share * all_before) ** 2 / (share * all_before)
    pearson += (second - share * all_now) ** 2 / (share * all_now)
    return Change(before, now, spread, max(exact, f_tail(pearson / spread, 1, freedom)))


def distributed(before: Sequence[float], now: Sequence[float]) -> tuple[float, float]:
    """The largest distance between two distributions, 0 to 1, and how probable so large a one is
    where they are the same; with ties no larger than stated. Raises `ValueError` for no values."""
    if not before or not now:
        raise ValueError("a distribution needs values")
    one, other = sorted(before), sorted(now)
    m, n = len(one), len(other)
    i = j = farthest = 0
    while i < m and j < n:
        value = min(one[i], other[j])
        while i < m and one[i] == value:
            i += 1
        while j < n and other[j] == value:
            j += 1
        farthest = max(farthest, abs(i * n - j * m))
    # The share of all paths from (0, 0) to (m, n) that stay nearer than that, one row after the
    # other: paths[j] is the share among those to (i, j), so that nothing becomes too large.
    paths = [0.0] * (n + 1)
    for i in range(m + 1):
        for j in range(n + 1):
            if abs(i * n - j * m) >= farthest:
                paths[j] = 0.0
            elif i == 0 or j == 0:
                if i == j == 0:
                    paths[j] = 1.0
                elif i == 0:
                    paths[j] = paths[j - 1]
            else:
                paths[j] = (paths[j] * i + paths[j - 1] * j) / (i + j)
    return farthest / (m * n), min(1.0, max(0.0, 1.0 - paths[n]))


def ranked(samples: Sequence[Sequence[float]], quantiles: Sequence[float]) -> Change:
    """Where values lie in a distribution of which quantiles at even steps are known: their mean
    rank, 0 to 1, against 0.5. Each sample (a body) is one value of a t test, as those in it are
    alike; the distribution itself is taken as known. Raises `ValueError` for fewer than two."""
    if len(samples) < 2 or not quantiles or not all(samples):
        raise ValueError("ranks need quantiles, and two samples with values at least")
    steps = len(quantiles) + 1
    ranks = [
        sum(bisect_left(quantiles, v) + bisect_right(quantiles, v) + 1 for v in each)
        / (2 * steps * len(each))
        for each in samples
    ]
    count, mean = len(ranks), sum(ranks) / len(ranks)
    variance = sum((rank - mean) ** 2 for rank in ranks) / (count - 1)
    off = (mean - 0.5) ** 2
    if off < 1e-18:
        return Change(0.5, mean, 1.0, 1.0)
    p = f_tail(off * count / variance, 1, count - 1) if variance > 0 else 0.0
    return Change(0.5, mean, 1.0, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Probabilities adjusted for how many questions were asked, in the order given."""
    adjusted = [1.0] * len(p_values)
    so_far = 0.0
    for place, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        value = p_values[at]
        if math.isnan(value):
            raise ValueError("not a probability")
        so_far = max(so_far, min(1.0, value * (len(p_values) - place)))
        adjusted[at] = so_far
    return adjusted
