"""Second looks and studies: kept as they were said, under seals, and no verdict changes by one."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from test_station_people import Floor, floor, one_file

from inspection import messages as m
from inspection.messages import Action, Fault, LookMethod, LookPurpose, LookWord
from inspection.store.check import check_store
from inspection.store.looks import looks, studies

__all__ = ["floor", "one_file"]


def look(who: str, run: str, point: str = "p0", number: int = 1, **fields: Any) -> m.Look:
    said: dict[str, Any] = {
        "token": who,
        "request_id": f"{number:032x}",
        "purpose": LookPurpose.AUDIT,
        "run": run,
        "point": point,
        "method": LookMethod.VISUAL,
        "word": LookWord.GOOD,
    }
    return m.Look(**{**said, **fields})


def plan_study(who: str, study: str = "msa-1", number: int = 90, document: str = "{}") -> m.Message:
    return m.PlanStudy(token=who, request_id=f"{number:032x}", study=study, document=document)


def test_a_look_is_read_back_as_it_was_said_and_changes_no_verdict(floor: Floor) -> None:
    run = floor.inspected()
    before = floor.verdict(run)
    first = floor.person(look("otto", run, inclusion=0.02, stratum="near"))
    probe = look(
        "anna",
        run,
        number=2,
        method=LookMethod.ULTRASONIC,
        word=LookWord.DEFECT,
        finding="small",
        value_mm=3.1,
        comment="<b>thin</b>",
    )
    second = floor.person(probe)
    assert (first.number, second.number) == (1, 2)
    one, two = looks(floor.reader)
    assert (one.person, one.roles, one.word, one.inclusion, one.stratum, one.part) == (
        "otto",
        frozenset({m.Role.OPERATOR}),
        LookWord.GOOD,
        0.02,
        "near",
        "part-1",
    )
    assert (two.method, two.finding, two.value_mm, two.comment) == (
        LookMethod.ULTRASONIC,
        "small",
        3.1,
        "<b>thin</b>",
    )
    assert one.value_mm is None
    assert floor.verdict(run).verdict_seq == before.verdict_seq


def test_the_same_request_is_kept_once_and_another_under_its_number_is_refused(
    floor: Floor,
) -> None:
    run = floor.inspected()
    answers = [floor.person(look("anna", run)) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert len(looks(floor.reader)) == 1
    other = floor.person(look("anna", run, word=LookWord.DEFECT))
    assert other.fault is Fault.REQUEST_REUSED
    theirs = floor.person(look("ben", run))
    assert theirs.fault is Fault.REQUEST_REUSED
    floor.person(plan_study("anna"))
    again = floor.decide("anna", run, "p1", Action.CONFIRM, request_id=f"{90:032x}")
    assert again.fault is Fault.REQUEST_REUSED


def test_what_cannot_be_is_refused_with_a_reason_and_nothing_is_kept(floor: Floor) -> None:
    run = floor.inspected()
    floor.ask(m.Begin, part="part-2", plan=floor.plan.name)
    open_run = next(row.run for row in floor.reader.runs() if row.part == "part-2")
    study = {"purpose": LookPurpose.STUDY}
    refused = [
        (look("nobody", run), Fault.NOT_AUTHORISED, "token"),
        (look("ada", run), Fault.NOT_AUTHORISED, "operator or quality"),
        (look("anna", "run-9"), Fault.UNKNOWN_RUN, "run-9"),
        (look("anna", open_run), Fault.NO_VERDICT, "still open"),
        (look("anna", run, "p9"), Fault.UNKNOWN_POINT, "p9"),
        (look("anna", run, **study), Fault.NOT_POSSIBLE, "names its study"),
        (look("anna", run, study="msa-1"), Fault.NOT_POSSIBLE, "names its study"),
        (look("anna", run, study="msa-1", **study), Fault.NOT_POSSIBLE, "no study msa-1"),
        (look("anna", run, finding="crack"), Fault.NOT_POSSIBLE, "class of a defect"),
        (plan_study("otto"), Fault.NOT_AUTHORISED, "plan a study"),
        (plan_study("anna", document="{]"), Fault.NOT_POSSIBLE, "no JSON"),
        (plan_study("anna", document="[" * 5000), Fault.NOT_POSSIBLE, "no JSON"),
    ]
    for ask, fault, text in refused:
        declined = floor.person(ask)
        assert isinstance(declined, m.Declined), ask
        assert (declined.fault, text in declined.text) == (fault, True), declined
    assert looks(floor.reader) == []
    assert studies(floor.reader) == []


def test_a_study_is_planned_once_and_its_looks_are_found_by_it(floor: Floor) -> None:
    run = floor.inspected()
    kept = floor.person(plan_study("anna", document='{"trials": 3}'))
    assert kept.study == "msa-1"
    assert floor.person(plan_study("anna", document='{"trials": 3}')) == kept
    other = floor.person(plan_study("anna", number=91))
    assert (other.fault, "planned once" in other.text) == (Fault.NOT_POSSIBLE, True)
    (found,) = studies(floor.reader)
    assert (found.study, found.person, found.document) == ("msa-1", "anna", '{"trials": 3}')
    fields = {"purpose": LookPurpose.STUDY, "study": "msa-1", "item": "i1"}
    for trial in (1, 2):
        floor.person(look("otto", run, number=trial, trial=trial, **fields))
    floor.person(look("otto", run, number=3))
    assert [row.trial for row in looks(floor.reader, study="msa-1")] == [1, 2]
    assert [row.number for row in looks(floor.reader, purpose=LookPurpose.AUDIT)] == [3]
    now = floor.clock.wall_ns()
    assert looks(floor.reader, since_ns=now + 1) == []


def test_looks_survive_a_start_and_are_sealed(one_file: Floor) -> None:
    run = one_file.inspected()
    for number in (1, 2, 3):
        one_file.person(look("anna", run, number=number))
    one_file.store.close()
    one_file.start()
    assert [row.number for row in looks(one_file.reader)] == [1, 2, 3]
    path = one_file.folder / "station.db"
    assert [found.wrong for found in check_store(path)] == [[]]
    with sqlite3.connect(path) as database:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute("UPDATE second_look SET word = 'DEFECT'")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute("DELETE FROM study")
            database.execute("DELETE FROM second_look")
        database.execute("DROP TRIGGER second_look_no_update")
        database.execute("UPDATE second_look SET word = 'DEFECT' WHERE number = 2")
    database.close()
    (found,) = check_store(path)
    assert any("look 2 was changed" in said for said in found.wrong), found.wrong
