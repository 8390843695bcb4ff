"""What a candidate would have said beside what the released model said, as the Models page shows
it. No Streamlit here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from inspection import shadow
from inspection.errors import DataError
from inspection.messages import Action, Verdict
from inspection.shadow import Changed, Report, ShadowReport
from inspection.store import Reader
from inspection.store.shadows import newest_reports
from ui.models import BAD

LOOKED_AT = 100_000
"""Pieces of evidence, the newest."""
MOST_REPORTS = 500
MOST_POINTS = 50_000


@dataclass(frozen=True, slots=True)
class Told:
    """What the newest reports come to. ``missing`` are reports whose file is not here or was
    changed, ``broken`` those that cannot be read; ``cut`` is whether older ones were left out."""

    report: Report
    reports: int
    since_ns: int
    until_ns: int
    missing: int
    broken: int
    cut: bool


def told(
    reader: Reader,
    file: Callable[[str], bytes | None],
    *,
    most_points: int = MOST_POINTS,
) -> Told:
    """Put the newest reports together; ``file`` gives the bytes of a piece of evidence. Raises
    `StoreError`."""
    kept = newest_reports(reader, pieces=LOOKED_AT, most=MOST_REPORTS)
    reports: list[ShadowReport] = []
    times: list[int] = []
    missing = broken = points = 0
    for each in kept:
        if points >= most_points:
            break
        data = file(each.sha256)
        if data is None:
            missing += 1
            continue
        try:
            report = shadow.decode_report(data)
        except DataError:
            broken += 1
            continue
        reports.append(report)
        times.append(each.stored_ns)
        points += sum(len(view.points) for view in report.views)
    return Told(
        # The oldest first: of a point that was reported twice, the later word counts.
        report=shadow.compare(reversed(reports)),
        reports=len(reports),
        since_ns=min(times, default=0),
        until_ns=max(times, default=0),
        missing=missing,
        broken=broken,
        cut=len(reports) + missing + broken < len(kept) or len(kept) >= MOST_REPORTS,
    )


def of_change(changed: Sequence[Changed], change: str | None) -> list[Changed]:
    """The points with one change of verdict ("OK -> NOK"), or with any."""
    return [
        each
        for each in changed
        if change is None or change == f"{each.released.value} -> {each.verdict.value}"
    ]


@dataclass(frozen=True, slots=True)
class Judged:
    """Of changed points that people decided on, and where only one of both would have let the
    point pass: who was right."""

    candidate: int
    released: int


def truths(reader: Reader, changed: Sequence[Changed]) -> dict[tuple[str, str], bool]:
    """What people say of changed points, by (run, point): True a defect, False good. Raises
    `StoreError`."""
    wanted = {(each.run, each.point) for each in changed}
    found: dict[tuple[str, str], bool] = {}
    for word in reader.words({run for run, _ in wanted}):
        place = (word.run, word.point)
        if place not in wanted:
            continue
        if word.action in BAD or word.action is Action.OVERRULE:
            found[place] = word.action in BAD
        else:
            found.pop(place, None)
    return found


def judged(changed: Sequence[Changed], truth: Mapping[tuple[str, str], bool]) -> Judged:
    """Who was right on the points that people decided on."""
    right = {"candidate": 0, "released": 0}
    for each in changed:
        bad = truth.get((each.run, each.point))
        passes, passed = each.verdict is Verdict.OK, each.released is Verdict.OK
        if bad is not None and passes is not passed:
            right["released" if passes is bad else "candidate"] += 1
    return Judged(**right)
