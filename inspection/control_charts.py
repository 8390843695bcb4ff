"""Control charts: is a process what it was, or has something changed.

Shares and rates are charted after Laney ("Improved control charts for attributes", Quality
Engineering 14, 2002): with thousands of points a body the binomial limits of a plain p chart are so
narrow that every ordinary body is outside. Each subgroup is put in units of its own standard
deviation, and how much these vary from one to the next (mean moving range / 1.128) widens the
limits; where there is no more variation than the binomial's, the limits are those of the plain
chart. Where events are rare, the parts between two of them are counted instead (g chart: Kaminsky
et al., Journal of Quality Technology 24, 1992), with limits by probability, because that
distribution is far from symmetrical (Benneyan, Health Care Management Science 4, 2001). Measured
values have the chart of individuals and moving ranges (ISO 7870-2).

Limits come from a base period that is stated, and stay. The four rules are those of the Western
Electric handbook (1956); `ALARMS` says how often each fires on a stable process, at any one point.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

D2: Final = 1.128
"""Mean range of two values of a normal distribution, in standard deviations."""
D4: Final = 3.267
"""Upper limit of a moving range of two, in mean ranges."""
LEAST_EVENTS = 3.0
"""Events expected in a subgroup: with fewer the g chart says more, because a share near zero has no
lower limit and steps instead of values."""
BEYOND: Final = 0.00135
"""Probability beyond three standard deviations on one side."""
ALARMS: Final[dict[int, float]] = {1: 0.0027, 2: 0.002047, 3: 0.004466, 4: 0.0078125}
"""The probability that a rule fires at one point of a stable process with normal values and known
limits, by the definitions in `fired`."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Values in their order with the limits of each. ``z`` is each in standard deviations from the
    centre, empty for a g chart. ``base`` is how many of the first values the limits come from,
    ``spread`` by how much they vary more than the binomial or Poisson distribution says (1: no
    more), where that was measured."""

    kind: str
    values: tuple[float, ...]
    centre: float
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    z: tuple[float, ...]
    base: int
    spread: float = 1.0


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule that fires at a value, and the first of the values that it rests on."""

    rule: int
    at: int
    first: int
    above: bool


def p_chart(counts: Sequence[int], sizes: Sequence[int], base: int | None = None) -> Chart:
    """Laney's p' chart of ``counts`` out of ``sizes``. Raises `ValueError` for what is no share, or
    for a base without two subgroups."""
    base = _base(counts, sizes, base)
    if any(not 0 <= count <= size for count, size in zip(counts, sizes, strict=True)):
        raise ValueError("a count is negative, or larger than what it is out of")
    centre = sum(counts[:base]) / sum(sizes[:base])
    deviations = [math.sqrt(centre * (1 - centre) / size) for size in sizes]
    shares = [count / size for count, size in zip(counts, sizes, strict=True)]
    return _laney("p'", shares, centre, deviations, base, most=1.0)


def u_chart(counts: Sequence[int], sizes: Sequence[int], base: int | None = None) -> Chart:
    """Laney's u' chart of ``counts`` of events per unit, ``sizes`` units each; a unit may have more
    than one. Raises `ValueError` as `p_chart`."""
    base = _base(counts, sizes, base)
    if any(count < 0 for count in counts):
        raise ValueError("a count is negative")
    centre = sum(counts[:base]) / sum(sizes[:base])
    deviations = [math.sqrt(centre / size) for size in sizes]
    rates = [count / size for count, size in zip(counts, sizes, strict=True)]
    return _laney("u'", rates, centre, deviations, base, most=math.inf)


def g_chart(gaps: Sequence[int], base: int | None = None) -> Chart:
    """Units between two events (0: the very next one), with limits that a stable process leaves
    with a probability of at most 0.00135 on each side. Raises `ValueError` where there are none.

    A gap over the upper limit means that the events have become rarer; many short ones mean the
    opposite and are seen on a p' chart of more bodies at once.
    """
    base = len(gaps) if base is None else base
    if base < 2 or base > len(gaps) or any(gap < 0 for gap in gaps):
        raise ValueError("a g chart needs two gaps at least, and none that is negative")
    mean = sum(gaps[:base]) / base
    share = 1 / (1 + mean)
    if share >= 1:
        return Chart("g", tuple(gaps), 0.0, (0.0,) * len(gaps), (0.0,) * len(gaps), (), base)
    upper = math.ceil(math.log(BEYOND) / math.log(1 - share)) - 1
    lower = math.floor(math.log(1 - BEYOND) / math.log(1 - share))
    limits = (float(lower),) * len(gaps), (float(upper),) * len(gaps)
    return Chart("g", tuple(map(float, gaps)), mean, *limits, (), base)


def i_chart(values: Sequence[float], base: int | None = None) -> Chart:
    """The chart of individual measured values. Raises `ValueError` for a base without two."""
    base = len(values) if base is None else base
    if base < 2 or base > len(values):
        raise ValueError("a chart of individuals needs two values at least")
    centre = sum(values[:base]) / base
    sigma = _mean_range(values[:base]) / D2
    z = tuple((value - centre) / sigma if sigma else 0.0 for value in values)
    count = len(values)
    lower, upper = (centre - 3 * sigma,) * count, (centre + 3 * sigma,) * count
    return Chart("I", tuple(values), centre, lower, upper, z, base)


def mr_chart(values: Sequence[float], base: int | None = None) -> Chart:
    """The moving ranges of the same values, one fewer. Raises `ValueError` as `i_chart`."""
    base = len(values) if base is None else base
    if base < 2 or base > len(values):
        raise ValueError("a chart of moving ranges needs two values at least")
    ranges = tuple(abs(after - before) for before, after in itertools.pairwise(values))
    centre = _mean_range(values[:base])
    count = len(ranges)
    return Chart("MR", ranges, centre, (0.0,) * count, (D4 * centre,) * count, (), base)


def best_chart(counts: Sequence[int], sizes: Sequence[int], base: int | None = None) -> Chart:
    """p', or, where fewer than `LEAST_EVENTS` are to be expected in a subgroup, the g chart of the
    units between two subgroups with an event, as long as there are two such gaps and most
    subgroups have none."""
    known = _base(counts, sizes, base)
    expected = sum(counts[:known]) / known
    if expected < LEAST_EVENTS:
        gaps = between(counts)
        if len(gaps) >= 2 and sum(gaps) >= len(gaps):
            return g_chart(gaps)
    return p_chart(counts, sizes, base)


def between(counts: Sequence[int]) -> list[int]:
    """How many subgroups without an event lie between two with one."""
    at = [index for index, count in enumerate(counts) if count]
    return [after - before - 1 for before, after in itertools.pairwise(at)]


def fired(chart: Chart) -> list[Fired]:
    """The rules that fire, in the order of the values. Of a chart without ``z`` only rule 1.

    Each looks at the value itself and at those before it: 1: beyond a limit; 2: beyond two standard
    deviations, as one of the two before on the same side; 3: beyond one, as three of the four
    before; 4: on one side, as the seven before.
    """
    found: list[Fired] = []
    for at, value in enumerate(chart.values):
        if value > chart.upper[at] or value < chart.lower[at]:
            found.append(Fired(1, at, at, value > chart.upper[at]))
        if not chart.z:
            continue
        for rule, sigma, needed, among in ((2, 2.0, 2, 3), (3, 1.0, 4, 5), (4, 0.0, 8, 8)):
            for sign in (1, -1):
                first = at - among + 1
                window = [sign * z > sigma for z in chart.z[max(0, first) : at + 1]]
                if first >= 0 and window[-1] and sum(window) >= needed:
                    found.append(Fired(rule, at, first, sign > 0))
    return found


@dataclass(frozen=True, slots=True)
class Trend:
    """How values change from one to the next: the median of all slopes, and how probable so clear
    a trend is where there is none."""

    slope: float
    p_value: float


def trend(values: Sequence[float]) -> Trend:
    """A robust trend: the slope of Theil and Sen (Sen, JASA 63, 1968) with the test of Mann and
    Kendall, ties taken into account. Raises `ValueError` for fewer than four values."""
    count = len(values)
    if count < 4:
        raise ValueError("a trend needs four values at least")
    slopes = sorted(
        (values[j] - values[i]) / (j - i) for i in range(count) for j in range(i + 1, count)
    )
    middle = len(slopes) // 2
    slope = slopes[middle] if len(slopes) % 2 else (slopes[middle - 1] + slopes[middle]) / 2
    score = sum((each > 0) - (each < 0) for each in slopes)
    ties = sum(n * (n - 1) * (2 * n + 5) for n in _repeated(values))
    variance = (count * (count - 1) * (2 * count + 5) - ties) / 18
    if variance <= 0:
        return Trend(slope, 1.0)
    z = max(0.0, abs(score) - 1) / math.sqrt(variance)
    return Trend(slope, math.erfc(z / math.sqrt(2)))


def clusters(runs: Sequence[bool], *, count: int = 3, within: int = 5) -> list[int]:
    """Where the ``count``-th of some events within so many runs in succession happens."""
    return [
        at
        for at, here in enumerate(runs)
        if here and sum(runs[max(0, at - within + 1) : at + 1]) >= count
    ]


def _laney(
    kind: str,
    values: Sequence[float],
    centre: float,
    deviations: Sequence[float],
    base: int,
    most: float,
) -> Chart:
    units = [
        (value - centre) / sigma if sigma else 0.0
        for value, sigma in zip(values, deviations, strict=True)
    ]
    spread = max(1.0, _mean_range(units[:base]) / D2)
    widths = [3 * sigma * spread for sigma in deviations]
    return Chart(
        kind,
        tuple(values),
        centre,
        tuple(max(0.0, centre - width) for width in widths),
        tuple(min(most, centre + width) for width in widths),
        tuple(unit / spread for unit in units),
        base,
        spread,
    )


def _base(counts: Sequence[int], sizes: Sequence[int], base: int | None) -> int:
    if len(counts) != len(sizes):
        raise ValueError(f"{len(counts)} counts of {len(sizes)} subgroups")
    base = len(counts) if base is None else base
    if base < 2 or base > len(counts):
        raise ValueError("limits need two subgroups at least, out of those that there are")
    if any(size <= 0 for size in sizes):
        raise ValueError("a subgroup of nothing has no share")
    return base


def _mean_range(values: Sequence[float]) -> float:
    ranges = [abs(after - before) for before, after in itertools.pairwise(values)]
    return sum(ranges) / len(ranges)


def _repeated(values: Sequence[float]) -> list[int]:
    counts: dict[float, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return [count for count in counts.values() if count > 1]
