"""What an audit of points that the machine calls OK allows to be said of escapes.

Pictures of OK points are kept with a known probability (`inspection.drawing`); an audit draws among
these again, by stratum, with a probability of its own. A point is looked at with the product of the
two, its inclusion probability, and stands for one over it (Horvitz and Thompson, Journal of the
American Statistical Association 47, 1952).

The estimate is theirs. The bound is exact: within a stratum all points have the same probability of
having been looked at, so that those looked at are a simple random sample of it, and the number of
defects among them has the exact upper bound of Clopper and Pearson. Several strata share the error:
each has its bound at a level of one minus the error divided by their number (Bonferroni), and the
bound of all is the mean of theirs, weighted by their sizes. It errs to the safe side, and needs no
approximation at zero defects, which is what an audit of a good line finds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from inspection.statistics import CONFIDENCE, upper_bound

NEAR = "near"
"""Stratum of points that were near to not being OK ..."""
INSIDE = "inside"
"""... and of those well inside."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Points that were called OK: how many there are (or are thought to be, from those kept and the
    probability with which they were), how many were looked at, and how many of these are
    defects."""

    name: str
    points: float
    looked_at: int
    defects: int


@dataclass(frozen=True, slots=True)
class Escapes:
    """Escapes among ``points`` that were called OK: the estimated number, the rate, and
    ``at_most``, the rate that may be claimed with this confidence. ``rate`` is None where nothing
    was looked at."""

    points: float
    looked_at: int
    defects: int
    estimate: float
    rate: float | None
    at_most: float
    confidence: float


def escapes(strata: Iterable[Stratum], confidence: float = CONFIDENCE) -> Escapes:
    """What the looks of an audit say. A stratum of which nothing was looked at may be all escapes,
    as far as anybody knows. Raises `ValueError` for counts that cannot be."""
    known = [stratum for stratum in strata if stratum.points > 0]
    for each in known:
        if not 0 <= each.defects <= each.looked_at:
            raise ValueError(f"stratum {each.name}: {each.defects} defects of {each.looked_at}")
    points = sum(each.points for each in known)
    looked_at = sum(each.looked_at for each in known)
    defects = sum(each.defects for each in known)
    if not looked_at or not points:
        return Escapes(points, looked_at, defects, 0.0, None, 1.0, confidence)
    estimate = sum(each.points * each.defects / each.looked_at for each in known if each.looked_at)
    level = 1 - (1 - confidence) / len(known)
    at_most = sum(each.points * upper_bound(each.defects, each.looked_at, level) for each in known)
    return Escapes(
        points, looked_at, defects, estimate, estimate / points, at_most / points, confidence
    )


def outgoing(found: Escapes, defects_stopped: int) -> float | None:
    """The share of defects that got through, as the audit estimates it: escapes out of escapes and
    what was stopped. None where there is no estimate, or no defect at all."""
    if found.rate is None:
        return None
    every = found.estimate + defects_stopped
    return found.estimate / every if every else None


def looks_needed(
    points: Mapping[str, float], at_most: float, confidence: float = CONFIDENCE
) -> int:
    """How many looks without a defect, shared among the strata by their sizes, would bring the
    bound down to ``at_most``. Raises `ValueError` where that is no rate."""
    if not 0 < at_most < 1:
        raise ValueError(f"{at_most} is no rate that a bound can reach")
    sizes = [size for size in points.values() if size > 0]
    total = sum(sizes)
    if not sizes:
        return 0

    def bound(looks: int) -> float:
        level = 1 - (1 - confidence) / len(sizes)
        return sum(
            size / total * upper_bound(0, max(1, math.floor(looks * size / total)), level)
            for size in sizes
        )

    low, high = 1, 1
    while bound(high) > at_most:
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        if bound(middle) > at_most:
            low = middle + 1
        else:
            high = middle
    return high


def drawn(candidates: Sequence[tuple[str, str]], wanted: int, salt: str) -> list[tuple[str, str]]:
    """Some of the (run, point) of a stratum, by the order of a hash with a salt: nobody chooses,
    and whoever knows the salt draws the same ones again. All of them where no more are there."""

    def place(each: tuple[str, str]) -> bytes:
        told = f"{salt}\0{each[0]}\0{each[1]}".encode()
        return hashlib.sha256(told).digest()

    return sorted(candidates, key=place)[: max(0, wanted)]
