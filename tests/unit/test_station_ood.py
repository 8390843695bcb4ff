"""A station recomputes how unusual points are judged, and believes no edge that says otherwise."""

from __future__ import annotations

import math

import msgspec
import pytest
from msgspec import UNSET
from samples import PLAN, answer
from test_station import RELEASED

from inspection.messages import Inspected, Reason, Verdict, ViewResult
from inspection.station.acceptance import Released, accept

LIMITED = Released(
    manifest=RELEASED.manifest,
    policy=msgspec.structs.replace(RELEASED.policy, ood_max=2.0),
    ref=RELEASED.ref,
)


def said(
    ood: float | None,
    verdict: Verdict = Verdict.OK,
    reason: Reason | None = None,
    finding: str | None = None,
) -> ViewResult:
    """An answer whose first point has this out-of-distribution score; None leaves it out."""
    result = answer(verdicts=(verdict, Verdict.OK))
    first = result.points[0]
    assert isinstance(first, Inspected)
    changes: dict[str, object] = {"ood": UNSET if ood is None else ood}
    if reason is not None:
        changes["reason"] = reason
    if finding is not None:
        changes["finding"] = finding
    first = msgspec.structs.replace(first, **changes)
    return msgspec.structs.replace(result, points=(first, result.points[1]))


def believed(result: ViewResult, released: Released = LIMITED) -> tuple[Verdict, Reason]:
    entries, _ = accept(result, PLAN, {"m": released}, ["p0", "p1"])
    entry = next(entry for entry in entries if entry.point == "p0")
    return entry.verdict, entry.reason


@pytest.mark.parametrize("ood", [0.0, 1.5, 2.0])
def test_an_ok_of_a_usual_point_is_believed(ood: float) -> None:
    assert believed(said(ood)) == (Verdict.OK, Reason.NONE)


@pytest.mark.parametrize("ood", [None, 2.1, 1e9, math.nan, math.inf])
def test_an_ok_of_a_point_that_is_unusual_or_does_not_say_is_refused(ood: float | None) -> None:
    assert believed(said(ood)) == (Verdict.NOT_INSPECTED, Reason.POLICY_DISAGREES)


def test_a_review_of_an_unusual_point_is_believed_only_for_that_reason() -> None:
    result = said(5.0, Verdict.REVIEW, Reason.OUT_OF_DISTRIBUTION, "defect")
    assert believed(result) == (Verdict.REVIEW, Reason.OUT_OF_DISTRIBUTION)
    other = said(5.0, Verdict.REVIEW, Reason.UNCERTAIN, "defect")
    assert believed(other) == (Verdict.NOT_INSPECTED, Reason.POLICY_DISAGREES)
    usual = said(1.0, Verdict.REVIEW, Reason.OUT_OF_DISTRIBUTION, "defect")
    assert believed(usual) == (Verdict.NOT_INSPECTED, Reason.POLICY_DISAGREES)


@pytest.mark.parametrize("ood", [None, 0.0, 50.0])
def test_a_nok_is_believed_however_unusual(ood: float | None) -> None:
    assert believed(said(ood, Verdict.NOK)) == (Verdict.NOK, Reason.DEFECT)


def test_an_edge_that_did_not_say_is_believed_where_the_policy_does_not_ask() -> None:
    assert believed(said(None), RELEASED) == (Verdict.OK, Reason.NONE)
    # Asked by a policy that the edge does not have, nothing is taken from a review it made.
    review = said(50.0, Verdict.REVIEW, Reason.OUT_OF_DISTRIBUTION, "defect")
    assert believed(review, RELEASED) == (Verdict.NOT_INSPECTED, Reason.POLICY_DISAGREES)
