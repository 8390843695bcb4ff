"""How much of a measured spread is the measuring: the variables study of AIAG, Measurement Systems
Analysis, 4th edition (2010), chapter III, section B, and the study of type 1.

Every appraiser measures every part equally often (crossed). `anova` splits the variance into
repeatability (EV, equipment), reproducibility (AV, appraisers, and INT, appraisers by parts) and
parts (PV); `average_range` is the handbook's reckoning by hand. `type_1` compares one reference,
measured again and again, with the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from inspection.statistics import f_tail

POOLED_ABOVE = 0.25
"""The interaction is counted as repeatability where its p-value is above this, as the handbook and
common programs do: so weak an interaction cannot be told from noise."""
SPREADS = 6.0
"""Standard deviations of a measured spread that are compared with a tolerance (99.73 %)."""
NDC_LEAST = 5
CAPABLE = 1.33
"""From here on Cg and Cgk are called capable."""

Measured = Mapping[str, Mapping[str, Sequence[float]]]
"""Values by part and appraiser: of each pair equally many, all in the same unit."""

# The handbook's 1/d2* (Duncan, Quality Control and Industrial Statistics, appendix D3) for one
# range over so many values, and for the average of many ranges.
_K_OF_ONE_RANGE = {
    2: 0.7071, 3: 0.5231, 4: 0.4467, 5: 0.4030, 6: 0.3742, 7: 0.3534, 8: 0.3375, 9: 0.3249,
    10: 0.3146,
}  # fmt: skip
_K_OF_MANY_RANGES = {2: 0.8862, 3: 0.5908}


class GaugeGrade(StrEnum):
    """The handbook's words for %GRR: under 10 %, to 30 %, above."""

    ACCEPTABLE = "acceptable"
    MARGINAL = "marginal"
    UNACCEPTABLE = "unacceptable"


@dataclass(frozen=True, slots=True)
class Source:
    """A row of the table of variance. ``f`` and ``p`` are None where nothing is left to compare
    with."""

    name: str
    sum_of_squares: float
    freedom: int
    mean_square: float
    f: float | None
    p: float | None


@dataclass(frozen=True, slots=True)
class GaugeStudy:
    """Standard deviations, in the unit of the values. ``av`` is None with a single appraiser, whose
    part in the spread cannot be told; ``interaction`` is 0 where it was pooled."""

    parts: int
    appraisers: int
    trials: int
    mean: float
    ev: float
    av: float | None
    interaction: float
    grr: float
    pv: float
    tv: float
    tolerance: float | None
    table: tuple[Source, ...]
    """Appraiser, part, appraiser x part, equipment, total; empty for ranges."""
    pooled: bool

    def share(self, deviation: float) -> float:
        """In parts of the total spread; NaN where there is none at all."""
        return deviation / self.tv if self.tv > 0 else math.nan

    def of_tolerance(self, deviation: float) -> float | None:
        return None if self.tolerance is None else SPREADS * deviation / self.tolerance

    @property
    def grr_share(self) -> float:
        """%GRR, as a fraction of the total variation."""
        return self.share(self.grr)

    @property
    def ndc(self) -> int:
        """Number of distinct categories, cut off to a whole number, at least 1."""
        if self.grr == 0:
            return 1 if self.pv == 0 else 999
        return max(1, math.floor(1.41 * self.pv / self.grr))

    @property
    def grade(self) -> GaugeGrade:
        """Of the worse of both shares: of the total variation and, where given, of the tolerance;
        with fewer than five categories never acceptable."""
        shares = [self.grr_share]
        if (tolerated := self.of_tolerance(self.grr)) is not None:
            shares.append(tolerated)
        if any(math.isnan(share) or share > 0.30 for share in shares):
            return GaugeGrade.UNACCEPTABLE
        if max(shares) >= 0.10 or self.ndc < NDC_LEAST:
            return GaugeGrade.MARGINAL
        return GaugeGrade.ACCEPTABLE


def anova(values: Measured, tolerance: float | None = None) -> GaugeStudy:
    """The crossed study by analysis of variance, parts and appraisers random. A single appraiser
    (a machine that measures by itself) is a study of repeatability alone.

    Raises `ValueError` for values that are not crossed and balanced."""
    parts, appraisers, trials = _checked(values, tolerance)
    cells = [[list(values[part][name]) for name in appraisers] for part in parts]
    p, k, r = len(parts), len(appraisers), trials
    grand = math.fsum(x for row in cells for cell in row for x in cell) / (p * k * r)
    of_part = [math.fsum(x for cell in row for x in cell) / (k * r) for row in cells]
    of_name = [math.fsum(x for row in cells for x in row[name]) / (p * r) for name in range(k)]
    ss_part = k * r * math.fsum((mean - grand) ** 2 for mean in of_part)
    ss_name = p * r * math.fsum((mean - grand) ** 2 for mean in of_name)
    ss_both, ss_error = [], []
    for part, row in enumerate(cells):
        for name, cell in enumerate(row):
            mean = math.fsum(cell) / r
            ss_both.append(r * (mean - of_part[part] - of_name[name] + grand) ** 2)
            ss_error += [(x - mean) ** 2 for x in cell]
    both, error = math.fsum(ss_both), math.fsum(ss_error)
    freedom_both, freedom_error = (p - 1) * (k - 1), p * k * (r - 1)
    ms_error = error / freedom_error
    ms_part, ms_name = ss_part / (p - 1), ss_name / (k - 1) if k > 1 else 0.0
    ms_both = both / freedom_both if freedom_both else 0.0
    f_both, p_both = _test(ms_both, ms_error, freedom_both, freedom_error)
    pooled = not freedom_both or p_both is None or p_both > POOLED_ABOVE
    if pooled:
        left, freedom_left = (both + error) / (freedom_both + freedom_error), freedom_both
        freedom_left += freedom_error
        ev2, interaction2 = left, 0.0
    else:
        left, freedom_left = ms_both, freedom_both
        ev2, interaction2 = ms_error, max(0.0, (ms_both - ms_error) / r)
    av2 = max(0.0, (ms_name - left) / (p * r)) if k > 1 else 0.0
    pv2 = max(0.0, (ms_part - left) / (k * r))
    grr2 = ev2 + av2 + interaction2
    table = (
        Source("appraiser", ss_name, k - 1, ms_name, *_test(ms_name, left, k - 1, freedom_left)),
        Source("part", ss_part, p - 1, ms_part, *_test(ms_part, left, p - 1, freedom_left)),
        Source("both", both, freedom_both, ms_both, f_both, p_both),
        Source("equipment", error, freedom_error, ms_error, None, None),
        Source("total", ss_name + ss_part + both + error, p * k * r - 1, 0.0, None, None),
    )
    return GaugeStudy(
        parts=p,
        appraisers=k,
        trials=r,
        mean=grand,
        ev=math.sqrt(ev2),
        av=math.sqrt(av2) if k > 1 else None,
        interaction=math.sqrt(interaction2),
        grr=math.sqrt(grr2),
        pv=math.sqrt(pv2),
        tv=math.sqrt(grr2 + pv2),
        tolerance=tolerance,
        table=table,
        pooled=pooled,
    )


def average_range(values: Measured, tolerance: float | None = None) -> GaugeStudy:
    """The crossed study by averages and ranges, with the handbook's constants: two or three trials,
    two to ten appraisers and parts. It cannot see an interaction."""
    parts, appraisers, trials = _checked(values, tolerance)
    p, k, r = len(parts), len(appraisers), trials
    if r not in _K_OF_MANY_RANGES or not {p, k} <= _K_OF_ONE_RANGE.keys():
        raise ValueError(
            f"{p} parts, {k} appraisers and {r} trials: averages and ranges take 2 to 10 parts and"
            " appraisers and 2 or 3 trials; evaluate by analysis of variance"
        )
    ranges = [_range(values[part][name]) for part in parts for name in appraisers]
    of_name = [
        math.fsum(x for part in parts for x in values[part][name]) / (p * r) for name in appraisers
    ]
    of_part = [
        math.fsum(x for name in appraisers for x in values[part][name]) / (k * r) for part in parts
    ]
    ev = math.fsum(ranges) / len(ranges) * _K_OF_MANY_RANGES[r]
    av = math.sqrt(max(0.0, (_range(of_name) * _K_OF_ONE_RANGE[k]) ** 2 - ev**2 / (p * r)))
    grr = math.hypot(ev, av)
    pv = _range(of_part) * _K_OF_ONE_RANGE[p]
    return GaugeStudy(
        parts=p,
        appraisers=k,
        trials=r,
        mean=math.fsum(of_name) / k,
        ev=ev,
        av=av,
        interaction=0.0,
        grr=grr,
        pv=pv,
        tv=math.hypot(grr, pv),
        tolerance=tolerance,
        table=(),
        pooled=True,
    )


@dataclass(frozen=True, slots=True)
class Type1:
    """One reference measured ``count`` times: Cg compares the spread of the gauge with a fifth of
    the tolerance, Cgk takes the bias off first. Infinite where nothing spreads, which is more
    likely a gauge that repeats a stored value than one without error. ``bias_p``: how likely so
    large a bias is by chance (t test)."""

    count: int
    reference: float
    mean: float
    deviation: float
    bias: float
    bias_p: float | None
    cg: float
    cgk: float

    @property
    def capable(self) -> bool:
        return math.isfinite(self.cg) and self.cg >= CAPABLE and self.cgk >= CAPABLE


def type_1(values: Sequence[float], reference: float, tolerance: float) -> Type1:
    """Cg = 0.2 T / 6 s and Cgk = (0.1 T - |bias|) / 3 s. Raises `ValueError` for fewer than two
    values, what is no number, and a tolerance that is not above 0."""
    if len(values) < 2 or not all(math.isfinite(x) for x in (*values, reference)):
        raise ValueError("a study of type 1 needs at least two values, all of them numbers")
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"a tolerance is above 0, not {tolerance}")
    count = len(values)
    mean = math.fsum(values) / count
    deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (count - 1))
    bias = mean - reference
    if deviation == 0:
        room = 0.1 * tolerance - abs(bias)
        cgk = math.copysign(math.inf, room) if room else 0.0
        return Type1(count, reference, mean, 0.0, bias, None, math.inf, cgk)
    return Type1(
        count=count,
        reference=reference,
        mean=mean,
        deviation=deviation,
        bias=bias,
        bias_p=f_tail((bias / deviation) ** 2 * count, 1, count - 1),
        cg=0.2 * tolerance / (SPREADS * deviation),
        cgk=(0.1 * tolerance - abs(bias)) / (SPREADS / 2 * deviation),
    )


def _checked(
    values: Measured, tolerance: float | None
) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """(parts, appraisers, trials) of values that are crossed and balanced."""
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"a tolerance is above 0, not {tolerance}")
    parts = tuple(values)
    if len(parts) < 2:
        raise ValueError("a study needs at least two parts")
    appraisers = tuple(values[parts[0]])
    if not appraisers:
        raise ValueError("a study needs an appraiser")
    trials = len(values[parts[0]][appraisers[0]])
    if trials < 2:
        raise ValueError("a study needs at least two trials: one says nothing of repeatability")
    for part in parts:
        if set(values[part]) != set(appraisers):
            raise ValueError(f"part {part!r} was not measured by the same appraisers as the others")
        for name in appraisers:
            measured = values[part][name]
            if len(measured) != trials:
                raise ValueError(
                    f"part {part!r} was measured {len(measured)} times by {name!r}, others"
                    f" {trials} times: measure what is missing"
                )
            if not all(math.isfinite(x) for x in measured):
                raise ValueError(f"part {part!r} by {name!r}: not every value is a number")
    return parts, appraisers, trials


def _range(values: Sequence[float]) -> float:
    return max(values) - min(values)


def _test(
    mean_square: float, left: float, freedom: int, freedom_left: int
) -> tuple[float | None, float | None]:
    """(F, p) of one mean square against what is left."""
    if not freedom or not freedom_left or left <= 0:
        return None, None
    f = mean_square / left
    return f, f_tail(f, freedom, freedom_left)
