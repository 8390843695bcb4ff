"""Measured values against limits: only what is proven inside them is OK."""

from __future__ import annotations

import math

import pytest
from msgspec import UNSET, structs

from inspection.gauging import joined, judge_gauged
from inspection.messages import Gauged, GaugeLimits, Reason, Verdict
from inspection.policy import Judgement

LIMITS = GaugeLimits(
    diameter_min_mm=4.5, diameter_max_mm=7.5, offset_max_mm=2.5, roundness_max_mm=1.0
)
GOOD = Gauged(
    x_mm=0.3, y_mm=-0.4, diameter_mm=5.9, roundness_mm=0.2,
    centre_pm_mm=0.1, diameter_pm_mm=0.2, roundness_pm_mm=0.1,
)  # fmt: skip
OK = Judgement(Verdict.OK, Reason.NONE, "")
UNSURE = Judgement(Verdict.REVIEW, Reason.UNCERTAIN, "crack")
DEFECT = Judgement(Verdict.NOK, Reason.DEFECT, "crack")
UNREADABLE = Judgement(Verdict.NOT_INSPECTED, Reason.MODEL_OUTPUT_INVALID, "")


def judged(**changed: float) -> tuple[Verdict, Reason]:
    return judge_gauged(structs.replace(GOOD, **changed), LIMITS)[:2]


def test_what_is_inside_all_limits_by_more_than_the_uncertainty_is_ok() -> None:
    assert judge_gauged(GOOD, LIMITS) == OK


@pytest.mark.parametrize(
    "changed",
    [
        {"diameter_mm": 4.2},
        {"diameter_mm": 7.8},
        {"x_mm": 2.7},
        {"x_mm": -1.9, "y_mm": -1.9},
        {"roundness_mm": 1.2},
    ],
)
def test_beyond_a_limit_by_more_than_the_uncertainty_is_nok(changed: dict[str, float]) -> None:
    assert judged(**changed) == (Verdict.NOK, Reason.OUTSIDE_LIMITS)


@pytest.mark.parametrize(
    "changed",
    [
        {"diameter_mm": 4.45},
        {"diameter_mm": 4.6},
        {"diameter_mm": 7.4},
        {"x_mm": 2.45, "y_mm": 0.0},
        {"x_mm": 2.55, "y_mm": 0.0},
        {"roundness_mm": 0.95},
        {"diameter_pm_mm": 3.0},
    ],
)
def test_within_the_uncertainty_of_a_limit_a_person_decides(changed: dict[str, float]) -> None:
    assert judged(**changed) == (Verdict.REVIEW, Reason.NEAR_LIMIT)


def test_what_was_not_measured_is_never_ok() -> None:
    for limits in (LIMITS, GaugeLimits(offset_max_mm=1000.0)):
        said = judge_gauged(UNSET, limits)
        assert (said.verdict, said.reason) == (Verdict.REVIEW, Reason.NOT_MEASURED)


@pytest.mark.parametrize("name", GOOD.__struct_fields__)
def test_a_measure_that_is_no_number_is_never_ok(name: str) -> None:
    assert judged(**{name: math.nan})[0] is not Verdict.OK


def test_of_model_and_gauge_the_worse_counts() -> None:
    outside = Judgement(Verdict.NOK, Reason.OUTSIDE_LIMITS, "")
    near = Judgement(Verdict.REVIEW, Reason.NEAR_LIMIT, "")
    assert joined(OK, OK) == OK
    assert joined(OK, near) == near
    assert joined(OK, outside) == outside
    assert joined(UNSURE, OK) == UNSURE
    assert joined(UNSURE, near) == UNSURE
    assert joined(UNSURE, outside) == outside
    for gauge in (OK, near, outside):
        assert joined(DEFECT, gauge) == DEFECT
        assert joined(UNREADABLE, gauge) == UNREADABLE
