"""What a candidate would have said, down to the point, and who was right where people decided."""

from __future__ import annotations

import hashlib

from test_station_people import OK_NOK, RELEASED, Floor, floor

from inspection.messages import Action, ModelRef, Reason, Verdict
from inspection.shadow import SHADOW, ShadowPoint, ShadowReport, ShadowView, encode_report
from inspection.statistics import rate
from inspection.store.shadows import newest_reports
from ui import shadows

__all__ = ["floor"]

CANDIDATE = ModelRef(package="c" * 64, policy="d" * 64)
OK, NOK = Verdict.OK, Verdict.NOK


def point(name: str, released: Verdict, candidate: Verdict) -> ShadowPoint:
    return ShadowPoint(
        point=name,
        released=released,
        released_finding="" if released is OK else "defect",
        verdict=candidate,
        reason=Reason.NONE if candidate is OK else Reason.DEFECT,
        finding="" if candidate is OK else "defect",
    )


class Shelf:
    """Reports as an edge sends them, on record and among the evidence."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.files: dict[str, bytes] = {}
        self.number = 0

    def keep(self, data: bytes, kind: str = SHADOW) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        self.files[sha256] = data
        with self.floor.store.transaction():
            self.floor.store.add_evidence(sha256, "edge-1", kind, len(data))
        return sha256

    def report(self, run: str, *points: ShadowPoint, dropped: int = 0) -> str:
        self.number += 1
        view = ShadowView(
            run=run,
            part="part-1",
            view="v",
            attempt=1,
            model="m",
            released=RELEASED.ref,
            candidate=CANDIDATE,
            points=points,
        )
        said = ShadowReport(
            edge="edge-1",
            process="e" * 32,
            number=self.number,
            views=(view,),
            dropped={"m": dropped},
        )
        return self.keep(encode_report(said))


def test_agreement_is_told_with_bounds_and_each_changed_point_with_its_place(floor: Floor) -> None:
    shelf = Shelf(floor)
    run = floor.inspected(OK_NOK)
    shelf.report(run, point("p0", OK, OK), point("p1", NOK, OK), dropped=3)
    told = shadows.told(floor.reader, shelf.files.get)
    (one,) = told.report.comparisons
    assert one.disagreement == rate(1, 2)
    assert one.verdicts == {"NOK -> OK": 1}
    (changed,) = shadows.of_change(one.changed, "NOK -> OK")
    assert (changed.run, changed.part, changed.point) == (run, "part-1", "p1")
    assert shadows.of_change(one.changed, None) == [changed]
    assert shadows.of_change(one.changed, "OK -> NOK") == []
    assert told.report.dropped == {"m": 3}
    # The very point can be found among the results, where the page leads.
    (row,) = floor.reader.points_at([(changed.run, changed.point)])
    assert row.verdict is NOK


def test_what_people_said_tells_who_was_right_and_taking_it_back_tells_nothing(
    floor: Floor,
) -> None:
    shelf = Shelf(floor)
    run = floor.inspected(OK_NOK)
    shelf.report(run, point("p0", OK, NOK), point("p1", NOK, OK))
    (one,) = shadows.told(floor.reader, shelf.files.get).report.comparisons

    def right() -> tuple[int, int]:
        found = shadows.judged(one.changed, shadows.truths(floor.reader, one.changed))
        return found.candidate, found.released

    assert right() == (0, 0)
    floor.decide("anna", run, "p1", Action.OVERRULE)
    assert right() == (1, 0)
    floor.decide("anna", run, "p0", Action.ESCAPE)
    assert right() == (2, 0)
    floor.decide("anna", run, "p1", Action.CONFIRM)
    assert right() == (1, 1)
    floor.decide("anna", run, "p1", Action.CANNOT_TELL)
    assert right() == (1, 0)


def test_a_report_that_is_missing_or_broken_is_counted_and_hides_no_other(floor: Floor) -> None:
    shelf = Shelf(floor)
    run = floor.inspected(OK_NOK)
    gone = shelf.report(run, point("p0", OK, NOK))
    del shelf.files[gone]
    shelf.keep(b"no report")
    shelf.keep(b"a picture", "png")
    shelf.report(run, point("p1", NOK, NOK))
    told = shadows.told(floor.reader, shelf.files.get)
    assert (told.reports, told.missing, told.broken, told.cut) == (1, 1, 1, False)
    assert told.report.comparisons[0].disagreement == rate(0, 1)


def test_only_the_newest_evidence_is_looked_at_and_the_page_says_when_older_is_left_out(
    floor: Floor,
) -> None:
    shelf = Shelf(floor)
    run = floor.inspected(OK_NOK)
    names = [shelf.report(run, point(f"p{number % 2}", OK, NOK)) for number in range(4)]
    found = newest_reports(floor.reader, pieces=100, most=100)
    assert [each.sha256 for each in found] == names[::-1]
    assert [k.sha256 for k in newest_reports(floor.reader, pieces=2, most=9)] == names[:1:-1]
    assert [k.sha256 for k in newest_reports(floor.reader, pieces=9, most=1)] == names[-1:]
    told = shadows.told(floor.reader, shelf.files.get, most_points=2)
    assert (told.reports, told.cut) == (2, True)
    assert not shadows.told(floor.reader, shelf.files.get).cut
    if floor.turning:
        return
    # Also over the end of a period.
    assert floor.store.turn() is not None
    newest = shelf.report(run, point("p1", NOK, NOK))
    found = newest_reports(floor.reader, pieces=3, most=9)
    assert [each.sha256 for each in found] == [newest, *names[:1:-1]]


def test_without_a_candidate_there_is_nothing(floor: Floor) -> None:
    told = shadows.told(floor.reader, {}.get)
    assert (told.report.comparisons, told.reports, told.cut) == ((), 0, False)
