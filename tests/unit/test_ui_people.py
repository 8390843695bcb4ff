"""What the pages tell of people and of the guard over the line: a real station, what it wrote, and
the words on the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_station_people import GUARDED, OK_NOK, Floor, bypass

from inspection import messages as m
from inspection.messages import Action, RunVerdict, Verdict
from inspection.plan import Plan
from inspection.store import Reader
from ui.queries import Line, Snapshot
from ui.views.line import _challenged, _warnings


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Floor]]:
    made: list[Floor] = []

    def floor(*plan: Plan) -> Floor:
        made.append(Floor(tmp_path, *plan))
        return made[-1]

    yield floor
    for each in made:
        each.store.close()


def look(floor: Floor) -> Snapshot:
    seen = Line(Reader(floor.folder / "station.db"), floor.clock).look(None)
    assert isinstance(seen, Snapshot)
    return seen


def told(floor: Floor) -> str:
    now_ns = floor.clock.wall_ns()
    seen = look(floor)
    return " ".join(html.text for part in (_warnings, _challenged) for html in part(seen, now_ns))


def test_a_bypass_is_on_the_page_with_its_person_reason_and_end_until_it_ends(
    make: Callable[..., Floor],
) -> None:
    floor = make()
    assert "Bypassed" not in told(floor)
    bypass(floor, reason="camera 2 is being <b>cleaned</b>")
    assert "by anna: camera 2 is being &lt;b&gt;cleaned&lt;/b&gt;" in told(floor)
    assert "every part is held" in told(floor)
    floor.store.turn()  # also in the next period
    assert "by anna" in told(floor)
    floor.person(m.Unbypass(token="anna", request_id="f" * 32))
    assert "Bypassed" not in told(floor)


def test_a_challenge_is_on_the_page_when_it_passed_and_when_it_failed(
    make: Callable[..., Floor],
) -> None:
    floor = make(GUARDED)
    floor.hello()
    floor.inspected(part="rabbit-1")
    assert "Challenge rabbit-1 passed" in told(floor)
    floor.inspected((Verdict.OK, Verdict.OK), part="rabbit-1")
    assert "Challenge part rabbit-1 failed" in told(floor)
    assert "the known defect at 1 point was not found" in told(floor)


def test_a_verdict_that_a_person_changed_contradicts_nothing(make: Callable[..., Floor]) -> None:
    floor = make()
    run = floor.inspected(OK_NOK)
    floor.decide("anna", run, "p1", Action.OVERRULE)
    (row,) = look(floor).runs
    assert (row.verdict, row.balance.ok) == (RunVerdict.OK, 2)
    assert look(floor).not_ok.contradictions == ()
