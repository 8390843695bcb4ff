"""What another policy would have said is what it does say of the same scores."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_station_people import OK_NOK, RELEASED, Floor, floor

from inspection.messages import Action, Verdict
from inspection.policy import Policy, judge
from ui import models
from ui.models import Past

__all__ = ["floor"]

CLASSES = ("ok", "crack", "hole")


def policy(ok_min: float = 0.9, nok_min: float = 0.6) -> Policy:
    return Policy(
        version=1,
        package="0" * 64,
        ok_class="ok",
        ok_min=ok_min,
        nok_min={"crack": nok_min, "hole": nok_min},
        author="",
        created="",
        why="",
    )


def past(*rows: tuple[float, bool | None]) -> Past:
    """Points with a score of good, the rest a crack, and what people said of them."""
    scores = np.array([(good, 1 - good, 0.0) for good, _ in rows]).reshape(len(rows), 3)
    return Past(scores, (), tuple(bad for _, bad in rows), 0, 0, 1)


def test_a_stricter_policy_stops_escapes_and_troubles_good_points() -> None:
    found = models.what_if(
        past((0.95, True), (0.93, False), (0.99, None), (0.2, True)),
        CLASSES,
        policy(),
        policy(ok_min=0.97),
    )
    assert (found.stopped, found.released, found.spared, found.troubled) == (1, 0, 0, 1)
    assert found.to(Verdict.REVIEW) == 2
    assert found.to(Verdict.OK) == -2
    assert found.to(Verdict.NOK) == 0


def test_a_laxer_policy_spares_false_alarms_and_lets_defects_through() -> None:
    found = models.what_if(
        past((0.8, False), (0.85, True), (0.5, None)), CLASSES, policy(), policy(ok_min=0.75)
    )
    assert (found.stopped, found.released, found.spared, found.troubled) == (0, 1, 1, 0)
    nothing = models.what_if(past(), CLASSES, policy(), policy(ok_min=0.1))
    assert (nothing.results, nothing.moved) == (0, {})


shares = st.floats(0, 1)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(shares, st.sampled_from([None, True, False])), max_size=30),
    shares,
    shares,
)
def test_every_move_is_one_from_what_the_policy_said_to_what_it_would(
    rows: list[tuple[float, bool | None]], ok_min: float, nok_min: float
) -> None:
    told = past(*rows)
    then = models.changed(policy(), ok_min, nok_min)
    found = models.what_if(told, CLASSES, policy(), then)
    moves = Counter(
        (before, after)
        for row in told.scores.tolist()
        if (before := judge(row, CLASSES, policy()).verdict)
        is not (after := judge(row, CLASSES, then).verdict)
    )
    assert found.moved == moves
    assert sum(found.to(verdict) for verdict in Verdict) == 0


def test_costs_are_of_what_people_decided_at_each_threshold() -> None:
    curve = dict(
        models.cost_curve(
            past((0.95, True), (0.4, False), (0.99, None)), 0, escape=100, alarm=1, steps=11
        )
    )
    assert curve[0.0] == 100
    assert curve[0.5] == pytest.approx(101)
    assert curve[1.0] == 1
    assert models.cost_curve(past((0.9, None)), 0, escape=1, alarm=1) == []


def test_the_past_of_a_package_has_what_people_said_and_where_it_ran(floor: Floor) -> None:
    first = floor.inspected(OK_NOK, part="part-1")
    floor.inspected(OK_NOK, part="part-2")
    floor.decide("anna", first, "p1", Action.OVERRULE)
    package = RELEASED.ref.package
    count = len(RELEASED.manifest.class_names)
    found = models.past_of(floor.reader, package, count)
    assert (len(found.scores), found.runs, found.decided) == (4, 2, 1)
    assert Counter(found.truth) == {None: 3, False: 1}
    assert len(models.past_of(floor.reader, package, count, most=1).scores) == 2
    assert not len(models.past_of(floor.reader, "f" * 64, count).scores)
    (ran,) = models.where(floor.reader, floor.reader.runs())
    assert (ran.edge, ran.package, ran.points) == ("edge-1", package, 4)
    assert ran.first_ns <= ran.last_ns
    assert msgspec.structs.asdict(policy())["ood_max"] is None
