"""What a gauge measured is found again: at the point of a run, and from body to body."""

from __future__ import annotations

import msgspec
import pytest
from test_gauging import GOOD
from test_station_people import OK_NOK, Floor, answer, floor, one_file

from inspection import messages as m
from inspection.store.gauge_rows import MOST_BODIES, gauge_rows
from ui import gauging

__all__ = ["floor", "one_file"]

replace = msgspec.structs.replace


def measured(floor: Floor, part: str, diameter_mm: float) -> str:
    """A body whose p0 was measured."""
    floor.clock.advance(ms=1)
    floor.hello(first_seq=floor.outbox_seq + 1, next_seq=floor.outbox_seq + 1)
    begun = floor.ask(m.Begin, part=part, plan=floor.plan.name)
    said = answer(run=begun.run, part=part, plan=floor.plan, verdicts=OK_NOK)
    first, *rest = said.points
    first = replace(first, gauge=replace(GOOD, diameter_mm=diameter_mm))
    floor.outbox_seq += 1
    floor.results(replace(said, points=(first, *rest)), first_seq=floor.outbox_seq)
    floor.turn()
    return str(begun.run)


def test_measures_are_read_out_of_the_records_body_by_body(floor: Floor) -> None:
    floor.inspected(OK_NOK, part="before")
    runs = [measured(floor, f"part-{k}", 5.0 + k) for k in range(3)]
    rows = gauge_rows(floor.reader, "p0", bodies=10, plan_hash=floor.plan.hash)
    assert [(row.run, row.gauged.diameter_mm) for row in rows] == list(
        zip(runs, (5.0, 6.0, 7.0), strict=True)
    )
    assert gauge_rows(floor.reader, "p1", bodies=10) == []
    (one,) = gauge_rows(floor.reader, "p0", bodies=1, run=runs[1])
    assert one.part == "part-1"
    with pytest.raises(ValueError, match="at most"):
        gauge_rows(floor.reader, "p0", bodies=MOST_BODIES + 1)


def test_each_measure_makes_a_series_for_a_control_chart(floor: Floor) -> None:
    for k in range(3):
        measured(floor, f"part-{k}", 5.0 + k)
    rows = gauge_rows(floor.reader, "p0", bodies=10)
    assert [each.value for each in gauging.series(rows, "diameter")] == [5.0, 6.0, 7.0]
    assert [each.value for each in gauging.series(rows, "offset")] == pytest.approx([0.5] * 3)
    assert [each.value for each in gauging.series(rows, "roundness")] == [0.2] * 3
    assert [each.part for each in gauging.series(rows, "offset")][-1] == "part-2"


def test_the_words_say_every_value_with_how_far_it_may_be_wrong() -> None:
    said = gauging.measures(GOOD)
    for number in ("5.90", "0.20", "+0.30", "-0.40", "0.10"):
        assert number in said
