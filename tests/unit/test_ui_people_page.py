"""The log of changes has everything that people did; figures on their work do not name them."""

from __future__ import annotations

import stat
from pathlib import Path

from test_station_people import OK_NOK, Floor, floor

from inspection import messages as m
from inspection.messages import Action
from inspection.shifts import Calendar
from inspection.store.log import SYSTEM, log
from ui import people
from ui.configuration import read_ui
from ui.people import reviewers

__all__ = ["floor"]
KEY = bytes(range(32))


def test_every_change_is_in_the_log_once_with_its_author(floor: Floor) -> None:
    run = floor.inspected(OK_NOK)
    floor.decide("anna", run, "p1", Action.OVERRULE, comment="<b>shine</b>")
    floor.decide("nobody", run, "p1", Action.OVERRULE)
    floor.person(
        m.Look(
            token="otto",
            request_id="c" * 32,
            purpose=m.LookPurpose.AUDIT,
            run=run,
            point="p0",
            method=m.LookMethod.VISUAL,
            word=m.LookWord.GOOD,
        )
    )
    floor.person(m.PlanStudy(token="ben", request_id="d" * 32, study="msa-1", document="{}"))
    until = floor.clock.wall_ns() + 10**12
    floor.person(m.Bypass(token="ada", request_id="e" * 32, reason="repair", until_ns=until))
    entries = log(floor.reader)
    told = [(each.person, each.kind, each.what) for each in entries if each.person != SYSTEM]
    assert sorted(told) == [
        ("ada", "bypass", "begin: repair"),
        ("anna", "decision", "overrule <b>shine</b>"),
        ("ben", "study", "msa-1"),
        ("otto", "look", "AUDIT GOOD VISUAL"),
    ]
    assert [each.kind for each in entries if each.person == SYSTEM and each.kind != "period"] == [
        "not_authorised"
    ]
    (said,) = [each for each in entries if each.kind == "decision"]
    assert (said.run, said.part, said.point) == (run, "part-1", "p1")
    assert [each.when_ns for each in entries] == sorted(
        (each.when_ns for each in entries), reverse=True
    )
    assert log(floor.reader, since_ns=floor.clock.wall_ns() + 1) == []
    rows = people.table(entries, Calendar())
    assert list(rows.columns)[:4] == ["time", "person", "kind", "what"]
    assert len(rows) == len(entries)


def test_figures_are_by_pseudonyms_that_stay_the_same_and_need_the_key(floor: Floor) -> None:
    for number in range(4):
        run = floor.inspected(OK_NOK, part=f"part-{number}")
        floor.clock.advance(ms=60_000)
        action = Action.OVERRULE if number else Action.CONFIRM
        floor.decide("anna", run, "p1", action)
    entries = log(floor.reader)
    (found,) = reviewers(entries, key=KEY)
    assert found.name.startswith("R-")
    assert "anna" not in found.name.lower()
    assert (found.decisions, found.overruled) == (4, 0.75)
    assert found.an_hour is not None
    assert 50 < found.an_hour < 70
    assert reviewers(entries, key=KEY) == [found]
    assert reviewers(entries, key=bytes(32))[0].name != found.name
    assert reviewers(entries, key=None)[0].name == "anna"
    assert reviewers([], key=KEY) == []


def test_the_key_of_pseudonyms_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    config = tmp_path / "ui.toml"
    config.write_text('store = "station.db"\nevidence = "evidence"\n')
    first = read_ui(config).reviewers_key
    assert first is not None
    assert read_ui(config).reviewers_key == first
    assert stat.S_IMODE((tmp_path / "reviewers.key").stat().st_mode) == 0o600
    config.write_text(config.read_text() + 'reviewers = "named"\n')
    assert read_ui(config).reviewers_key is None
