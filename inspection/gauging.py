"""Measured values and their limits to a verdict. Pure: the edge applies it, the station recomputes
it and refuses a difference, as for scores (`inspection.policy`).

Decision rules as in ISO 14253-1: beyond a limit by more than the uncertainty is proven wrong, NOK;
within the uncertainty of a limit nothing is proven, REVIEW. What was not measured is never OK.
"""

from __future__ import annotations

import math

from msgspec import UNSET, UnsetType

from inspection.messages import Gauged, GaugeLimits, Reason, Verdict
from inspection.policy import Judgement

NAMES = ("diameter", "offset", "roundness")
"""What is measured and has limits, in the order in which it is said."""

GAUGE_REASONS = frozenset({Reason.OUTSIDE_LIMITS, Reason.NEAR_LIMIT, Reason.NOT_MEASURED})


def offset(gauged: Gauged) -> tuple[float, float]:
    """How far the centre lies from the planned place, and how far that may be wrong: along the
    line between them as much as a coordinate."""
    return math.hypot(gauged.x_mm, gauged.y_mm), gauged.centre_pm_mm


def judge_gauged(gauged: Gauged | UnsetType, limits: GaugeLimits) -> Judgement:
    """The verdict on a point from its measures alone. Written so that NaN fails: OK only where
    every comparison holds."""
    if gauged is UNSET:
        return Judgement(Verdict.REVIEW, Reason.NOT_MEASURED, "")
    far, far_pm = offset(gauged)
    asked = (
        (gauged.diameter_mm, gauged.diameter_pm_mm, limits.diameter_min_mm, limits.diameter_max_mm),
        (far, far_pm, UNSET, limits.offset_max_mm),
        (gauged.roundness_mm, gauged.roundness_pm_mm, UNSET, limits.roundness_max_mm),
    )
    inside = True
    for value, pm, least, most in asked:
        low = -math.inf if least is UNSET else least
        high = math.inf if most is UNSET else most
        if value + pm < low or value - pm > high:
            return Judgement(Verdict.NOK, Reason.OUTSIDE_LIMITS, "")
        inside = inside and low <= value - pm and value + pm <= high
    if not inside:
        return Judgement(Verdict.REVIEW, Reason.NEAR_LIMIT, "")
    return Judgement(Verdict.OK, Reason.NONE, "")


def joined(model: Judgement, gauge: Judgement) -> Judgement:
    """What both say of a point: the worse of the two, the model's where they are equal. No look at
    all (NOT_INSPECTED) stays what it is."""
    if model.verdict in (Verdict.NOT_INSPECTED, Verdict.NOK):
        return model
    if gauge.verdict is Verdict.NOK or model.verdict is Verdict.OK:
        return gauge
    return model
