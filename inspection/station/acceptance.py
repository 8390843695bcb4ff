"""What the station makes of an edge's answer. Pure.

An edge's word is not taken: a verdict counts only where the point was asked for, the model and
policy are the released ones, and the policy, applied here to the scores as they came, says the
same. Everything else is NOT_INSPECTED with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from msgspec import UNSET

from inspection.gauging import joined, judge_gauged
from inspection.ledger import Entry
from inspection.messages import Inspected, Missed, ModelRef, Reason, Verdict, ViewResult
from inspection.package import Manifest
from inspection.plan import Kind, Plan
from inspection.policy import Policy, judge


@dataclass(frozen=True, slots=True)
class Released:
    """A model this station has released."""

    manifest: Manifest
    policy: Policy
    ref: ModelRef


def accept(
    answer: ViewResult,
    plan: Plan,
    released: Mapping[str, Released],
    expected: Collection[str],
) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The entries an answer is worth, and the points in it that nobody asked for.

    ``expected`` are the points of the view that are still open: one that the answer leaves out is
    NOT_INSPECTED(RECORD_LOST). A point that is answered twice in one answer is in conflict.
    """
    planned = {point.id: point for point in plan.points_of(answer.view)}
    entries: dict[str, Entry] = {}
    strangers: list[str] = []
    for said in answer.points:
        point = planned.get(said.point)
        if point is None:
            strangers.append(said.point)
        elif said.point in entries:
            entries[said.point] = _absent(said.point, Reason.RECORD_CONFLICT)
        elif isinstance(said, Missed):
            entries[said.point] = _absent(said.point, _reason_of_absence(said.reason))
        else:
            kind = plan.kinds[point.kind]
            entries[said.point] = _believe(said, released.get(kind.model), kind)
    for name in expected:
        if name not in entries:
            entries[name] = _absent(name, Reason.RECORD_LOST)
    return tuple(entries.values()), tuple(strangers)


def _absent(point: str, reason: Reason) -> Entry:
    return Entry(point, Verdict.NOT_INSPECTED, reason)


def _reason_of_absence(reason: Reason) -> Reason:
    """A reason that explains no absence is itself a failure of the edge."""
    return Reason.EDGE_FAILED if reason < Reason.NO_IMAGE else reason


def _believe(said: Inspected, model: Released | None, kind: Kind) -> Entry:
    if model is None or said.model != model.ref:
        return _absent(said.point, Reason.MODEL_NOT_RELEASED)
    if model.manifest.anomaly_only and not kind.anomaly_only:
        return _absent(said.point, Reason.MODEL_NOT_RELEASED)
    ood = None if said.ood is UNSET else said.ood
    judgement = judge(said.scores, model.manifest.class_names, model.policy, ood)
    if kind.gauge is not None:
        judgement = joined(judgement, judge_gauged(said.gauge, kind.gauge))
    if judgement != (said.verdict, said.reason, said.finding):
        return _absent(said.point, Reason.POLICY_DISAGREES)
    if judgement.verdict is Verdict.NOT_INSPECTED:
        return _absent(said.point, judgement.reason)
    return Entry(
        said.point,
        judgement.verdict,
        judgement.reason,
        judgement.finding,
        model.manifest.severity_of(judgement.finding),
    )
