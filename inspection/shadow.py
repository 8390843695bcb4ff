"""What a candidate would have said of production, beside what the released model said.

An edge writes it down as pieces of evidence of their own kind, a few dozen views together, and they
travel on the lane of pictures, behind everything that counts. They are no results: the station
keeps them as it keeps pictures and never looks inside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from inspection.errors import DataError
from inspection.messages import (
    Count,
    Hex32,
    Id,
    ModelRef,
    Ood,
    Reason,
    Score,
    Seq,
    Sha256,
    Text,
    Verdict,
)
from inspection.policy import UNREADABLE
from inspection.statistics import Rate, rate

SHADOW = "shadow"
"""The media type of a `ShadowReport` among the evidence."""


class ShadowPoint(Struct, frozen=True, kw_only=True):
    """A point that both judged. ``evidence`` is the crop, where the released model kept it or the
    two did not agree."""

    point: Id
    released: Verdict
    released_finding: Text
    verdict: Verdict
    reason: Reason
    finding: Text
    scores: tuple[Score, ...] = ()
    """None where the candidate gave no valid ones."""
    ood: Ood | None = None
    evidence: Sha256 | None = None


class ShadowView(Struct, frozen=True, kw_only=True):
    """The points of one order that one released model and its candidate judged."""

    run: Id
    part: Id
    view: Id
    attempt: Seq
    model: Id
    """The name that plans use."""
    released: ModelRef
    candidate: ModelRef
    points: tuple[ShadowPoint, ...]


class ShadowReport(Struct, frozen=True, kw_only=True, tag_field="is", tag=SHADOW):
    """Some views of one edge. ``dropped`` counts, by model, the points that the candidate had no
    time for since the worker of this ``process`` began."""

    format: Literal[1] = 1
    edge: Id
    process: Hex32
    number: Seq
    views: Annotated[tuple[ShadowView, ...], Meta(min_length=1)]
    dropped: dict[Id, Count]


_DECODER = msgspec.msgpack.Decoder(ShadowReport)


def encode_report(report: ShadowReport) -> bytes:
    """The bytes that are kept as evidence."""
    return msgspec.msgpack.encode(report)


def decode_report(data: bytes) -> ShadowReport:
    """Raises `DataError`."""
    try:
        return _DECODER.decode(data)
    except UNREADABLE as error:
        raise DataError(f"no report of a candidate: {error}") from None


class Changed(Struct, frozen=True, kw_only=True):
    """A point of which the candidate says something else."""

    edge: str
    run: str
    part: str
    view: str
    point: str
    attempt: int
    released: Verdict
    released_finding: str
    verdict: Verdict
    reason: Reason
    finding: str
    scores: tuple[float, ...]
    evidence: str | None


class Comparison(Struct, frozen=True, kw_only=True):
    """One candidate beside one released model. Agreement is of verdicts; ``verdicts`` counts the
    changes as "OK -> NOK", ``findings`` those of the class among points that both call NOK."""

    model: str
    released: ModelRef
    candidate: ModelRef
    parts: int
    views: int
    compared: int
    disagreement: Rate
    parts_disagreeing: Rate
    verdicts: dict[str, int]
    findings: dict[str, int]
    changed: tuple[Changed, ...]


class Report(Struct, frozen=True, kw_only=True):
    """All that a store holds of candidates; ``dropped`` are points that no candidate judged, by
    model."""

    comparisons: tuple[Comparison, ...]
    dropped: dict[str, int]


class _Place(NamedTuple):
    run: str
    view: str
    attempt: int
    point: str


def compare(reports: Iterable[ShadowReport]) -> Report:
    """Put together what edges said. A point that was reported twice counts once."""
    pairs: dict[tuple[str, ModelRef, ModelRef], dict[_Place, Changed]] = {}
    dropped: dict[tuple[str, str, str], int] = {}
    for report in reports:
        for model, count in report.dropped.items():
            key = (report.edge, report.process, model)
            dropped[key] = max(dropped.get(key, 0), count)
        for view in report.views:
            pair = pairs.setdefault((view.model, view.released, view.candidate), {})
            for said in view.points:
                place = _Place(view.run, view.view, view.attempt, said.point)
                pair[place] = _changed(report.edge, view, said)
    totals: Counter[str] = Counter()
    for (_, _, model), count in dropped.items():
        totals[model] += count
    return Report(
        comparisons=tuple(
            _comparison(*names, list(said.values())) for names, said in pairs.items()
        ),
        dropped=dict(sorted(totals.items())),
    )


def _changed(edge: str, view: ShadowView, said: ShadowPoint) -> Changed:
    return Changed(
        edge=edge,
        run=view.run,
        part=view.part,
        view=view.view,
        point=said.point,
        attempt=view.attempt,
        released=said.released,
        released_finding=said.released_finding,
        verdict=said.verdict,
        reason=said.reason,
        finding=said.finding,
        scores=said.scores,
        evidence=said.evidence,
    )


def _comparison(
    model: str, released: ModelRef, candidate: ModelRef, said: Sequence[Changed]
) -> Comparison:
    changed = [point for point in said if point.verdict is not point.released]
    findings = Counter(
        f"{point.released_finding} -> {point.finding}"
        for point in said
        if point.verdict is point.released is Verdict.NOK
        and point.finding != point.released_finding
    )
    verdicts = Counter(f"{p.released.value} -> {p.verdict.value}" for p in changed)
    parts = {point.part for point in said}
    return Comparison(
        model=model,
        released=released,
        candidate=candidate,
        parts=len(parts),
        views=len({(point.run, point.view, point.attempt) for point in said}),
        compared=len(said),
        disagreement=rate(len(changed), len(said)),
        parts_disagreeing=rate(len({point.part for point in changed}), len(parts)),
        verdicts=dict(sorted(verdicts.items())),
        findings=dict(sorted(findings.items())),
        changed=tuple(changed),
    )


def told(report: Report, *, limit: int = 20, names: Mapping[str, str] | None = None) -> str:
    """The report for a person; ``names`` gives versions by the hash of a package."""
    names = names or {}

    def name(ref: ModelRef) -> str:
        version = names.get(ref.package)
        short = f"{ref.package[:12]}, policy {ref.policy[:12]}"
        return short if version is None else f"{version} ({short})"

    lines: list[str] = []
    for each in report.comparisons:
        agreed = each.compared - each.disagreement.errors
        share = agreed / max(each.compared, 1)
        low, high = 1 - each.disagreement.upper, 1 - each.disagreement.lower
        bounds = f"({each.disagreement.confidence:.0%} interval {low:.3%} to {high:.3%})"
        lines += [
            f"model {each.model}: released {name(each.released)}, candidate {name(each.candidate)}",
            f"  compared       {each.compared} points in {each.views} views of {each.parts} parts",
            f"  agreement      {agreed} of {each.compared} = {share:.3%} {bounds}",
            f"  parts changed  {each.parts_disagreeing}",
        ]
        lines += [f"  {change:14s} {count}" for change, count in each.verdicts.items()]
        lines += [f"  finding {change}: {count}" for change, count in each.findings.items()]
        for point in each.changed[:limit]:
            finding = point.finding or point.released_finding
            lines.append(
                f"    {point.part} {point.point} (run {point.run}, attempt {point.attempt}):"
                f" {point.released.value} -> {point.verdict.value}"
                f"{' ' + finding if finding else ''}, evidence {point.evidence or 'not kept'}"
            )
        if len(each.changed) > limit:
            lines.append(f"    and {len(each.changed) - limit} more (--json FILE has all)")
    if not report.comparisons:
        lines.append("no candidate has judged anything here")
    lines += [f"no time for {n} points of model {m}" for m, n in report.dropped.items() if n]
    return "\n".join(lines)
