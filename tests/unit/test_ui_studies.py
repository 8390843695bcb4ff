"""Agreement without its page: who is asked what, what counts, and the machine's fresh captures."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import msgspec
import pytest
from samples import answer as answered_view
from test_looks import look, plan_study
from test_station_people import Floor, floor

from inspection import messages as m
from inspection.agreement import Judged
from inspection.gauge_study import GaugeStudy, Type1
from inspection.ledger import Balance
from inspection.messages import Action, Reason, Role, Verdict
from inspection.store.reader import PointRow, RunRow, TermsRow, WordRow
from inspection.study_plan import SYSTEM, Candidate, StudyItem, StudyPlan, encode, read_values
from ui.studies import (
    Answer,
    Progress,
    Studies,
    answers_csv,
    captures_of,
    decided_word,
    evaluated,
    figures_csv,
    gauge,
    may_see,
    next_for,
    planned,
    progress,
    references,
    values_of,
    written,
)

__all__ = ["floor"]

GOOD, DEFECT, UNSURE = Judged
ITEM = StudyItem(item="1", part="P", run="r2", point="w", evidence="2" * 64, reference=GOOD)
PLAN = StudyPlan(
    items=(
        ITEM,
        StudyItem(item="2", part="Q", run="q1", point="w", evidence="b" * 64, reference=DEFECT),
        StudyItem(item="3", part="R", run="s1", point="w", evidence="c" * 64),
    ),
    appraisers=("anna", "otto"),
    trials=2,
    seed=1,
)


def answer(number: int, person: str, item: str, trial: int, judged: Judged = GOOD) -> Answer:
    return Answer(number, person, item, trial, judged, number * 10)


def all_of(person: str, said: str, first: int = 1) -> list[Answer]:
    """Both trials of the items 1, 2 and 3."""
    words = {"g": GOOD, "d": DEFECT, "x": UNSURE}
    return [
        answer(first + place, person, str(place % 3 + 1), place // 3 + 1, words[word])
        for place, word in enumerate(said)
    ]


def test_everybody_is_asked_his_own_items_until_he_is_through() -> None:
    first, so_far = next_for(PLAN, [], "Anna")
    assert first is not None
    assert so_far == Progress(0, 6)
    done = all_of("anna", "gdggdg")
    assert next_for(PLAN, done, "anna") == (None, Progress(6, 6))
    assert next_for(PLAN, done, "otto")[1] == Progress(0, 6)
    assert {name: each.given for name, each in progress(PLAN, done).items()} == {
        "anna": 6, "otto": 0,
    }  # fmt: skip


def test_whoever_is_no_appraiser_is_asked_nothing_and_no_appraiser_is_of_the_panel() -> None:
    assert next_for(PLAN, [], "zoe") == (None, Progress(0, 0))
    assert next_for(PLAN, [], "anna", panel=True) == (None, Progress(0, 0))
    asked, so_far = next_for(PLAN, [], "zoe", panel=True)
    assert asked is not None
    assert (asked[0].item, asked[1], so_far.asked) == ("3", 0, 1)


def test_nobody_who_has_still_to_judge_sees_what_others_said() -> None:
    quality, operator = frozenset({Role.QUALITY}), frozenset({Role.OPERATOR})
    begun = all_of("anna", "gdggdg")
    assert not may_see(PLAN, begun, "anna", quality)  # she is through, but otto is not
    assert not may_see(PLAN, begun, "otto", quality)
    assert not may_see(PLAN, begun, "max", operator)
    assert not may_see(PLAN, begun, None, frozenset())
    assert may_see(PLAN, begun, "zoe", quality)
    assert may_see(PLAN, begun + all_of("otto", "gdggdg", 50), None, frozenset())


def test_the_panel_gives_the_reference_and_an_appraiser_cannot() -> None:
    assert references(PLAN, [])[1] == ("3",)
    assert references(PLAN, [answer(1, "anna", "3", 0)])[1] == ("3",)
    known, unknown, split = references(PLAN, [answer(1, "zoe", "3", 0, DEFECT)])
    assert known == {"1": GOOD, "2": DEFECT, "3": DEFECT}
    assert (unknown, split) == ((), ())


@pytest.mark.parametrize("other", [DEFECT, UNSURE])
def test_a_panel_that_does_not_agree_gives_no_reference(other: Judged) -> None:
    said = [answer(1, "zoe", "3", 0, GOOD), answer(2, "max", "3", 0, other)]
    assert references(PLAN, said)[2] == ("3",)


def test_a_correction_counts_if_nothing_was_answered_in_between() -> None:
    said = [answer(0, "anna", "1", 1, DEFECT), *all_of("anna", "gdggdg")]
    found = evaluated(PLAN, said)
    (anna, _) = found.study.appraisers
    assert found.corrected == 1
    assert anna.effectiveness.over_decisions.errors == 2


def test_a_word_of_later_is_no_correction() -> None:
    said = [*all_of("anna", "ddggdg"), answer(20, "anna", "1", 1, GOOD)]
    (anna, _) = evaluated(PLAN, said).study.appraisers
    assert anna.effectiveness.over_decisions.errors == 1


def test_items_without_a_reference_are_left_out_and_named() -> None:
    found = evaluated(PLAN, all_of("anna", "gdggdg") + all_of("otto", "gdxgdx", 50))
    assert found.unknown == ("3",)
    assert found.study.items == 2
    assert {each.name for each in found.study.appraisers} == {"anna", "otto"}


def test_the_words_of_somebody_else_are_not_in_the_study() -> None:
    assert evaluated(PLAN, all_of("mallory", "dddddd")).study.given == 0


def test_values_measured_beside_the_words_are_a_study_of_their_own() -> None:
    said = [
        Answer(number, person, item, trial, GOOD, 0, float(number))
        for number, (person, item, trial) in enumerate(
            (person, item, trial)
            for person in ("anna", "Otto", "mallory")
            for item in ("1", "2")
            for trial in (1, 2)
        )
    ]
    assert values_of(PLAN, [*said, answer(50, "anna", "3", 1)]) == {
        "1": {"anna": [0.0, 1.0], "otto": [4.0, 5.0]},
        "2": {"anna": [2.0, 3.0], "otto": [6.0, 7.0]},
    }


def test_one_part_with_a_reference_value_is_of_type_1_and_several_are_a_gauge_study() -> None:
    several = read_values(
        b"part,appraiser,trial,value\nA,x,1,4.0\nA,x,2,4.1\nB,x,1,5.0\nB,x,2,5.1\n"
    )
    assert isinstance(gauge(StudyPlan(values=several)), GaugeStudy)
    one = StudyPlan(values=several[:2], reference_value=4.0, tolerance=1.0)
    assert isinstance(gauge(one), Type1)
    with pytest.raises(ValueError, match="one part"):
        gauge(StudyPlan(values=several, reference_value=4.0, tolerance=1.0))
    with pytest.raises(ValueError, match="needs the tolerance"):
        gauge(StudyPlan(values=several[:2], reference_value=4.0))


# ------------------------------------------------------------------------- the machine's captures


def run(number: int) -> RunRow:
    balance = Balance(planned=1, ok=1, nok=0, review=0, not_inspected=0, open=0)
    return RunRow(f"r{number}", "P", "plan", "h", number, 1, None, None, False, balance, number)


def point(number: int, verdict: Verdict = Verdict.OK) -> PointRow:
    return PointRow(
        run=f"r{number}", part="P", plan_hash="h", view="v", point="w", attempt=1,
        verdict=verdict, reason=Reason.NONE, finding="", class_severity=None, detail="",
        scores=None, package="m", evidence=f"{number}" * 64, late=False, policy="p",
    )  # fmt: skip


def captured(*rows: PointRow, trials: int = 3, repaired: int | None = None) -> list[str]:
    terms = {} if repaired is None else {f"r{repaired}": TermsRow("r1", None, Reason.NONE)}
    runs = [run(number) for number in range(1, 7)]
    found = captures_of(ITEM, runs, {row.run: row for row in rows}, terms, trials)
    assert [each.trial for each in found] == list(range(1, len(found) + 1))
    return [f"{each.run} {each.judged}" for each in found]


def test_the_machines_trials_are_the_runs_of_the_part_its_own_first() -> None:
    rows = (point(1), point(2, Verdict.NOK), point(3, Verdict.REVIEW), point(4))
    assert captured(*rows) == ["r2 defect", "r1 good", "r3 cannot_tell"]


def test_the_same_picture_judged_again_is_no_trial() -> None:
    again = replace(point(3), evidence=point(2).evidence)
    assert captured(point(2), again, point(4)) == ["r2 good", "r4 good"]


def test_another_model_or_policy_is_another_appraiser() -> None:
    rows = (point(2), replace(point(3), package="n"), replace(point(4), policy="q"), point(5))
    assert captured(*rows) == ["r2 good", "r5 good"]


def test_a_part_that_was_repaired_is_another_part() -> None:
    rows = [point(number) for number in (1, 2, 3, 4, 5)]
    assert captured(*rows, repaired=4) == ["r2 good", "r1 good", "r3 good"]
    assert captured(*rows, trials=9, repaired=2) == ["r2 good", "r3 good", "r4 good", "r5 good"]


def test_a_capture_that_gave_no_verdict_is_never_good() -> None:
    nothing = replace(point(3, Verdict.NOT_INSPECTED), package=None, policy=None, evidence=None)
    assert captured(point(2), nothing) == ["r2 good", "r3 cannot_tell"]


def test_too_few_captures_are_named_and_leave_the_machines_row_open() -> None:
    plan = StudyPlan(items=(ITEM,), appraisers=("anna",), trials=3, system=True)
    captures = captures_of(ITEM, [run(2), run(3)], {"r2": point(2), "r3": point(3)}, {}, 3)
    found = evaluated(plan, [], captures)
    assert found.short == {"1": 2}
    machine = found.study.appraisers[-1]
    assert (machine.name, machine.open_items, machine.shown) == (SYSTEM, 1, False)


# --------------------------------------------------------------------------------- references


def word(person: str, action: Action) -> WordRow:
    return WordRow(
        1, "r", "w", person, frozenset({Role.QUALITY}), action, "", None, "", "", 1, 2, 3
    )


@pytest.mark.parametrize(
    ("words", "verdict", "expected"),
    [
        ([("anna", Action.CONFIRM)], Verdict.NOK, DEFECT),
        ([("anna", Action.CONFIRM)], Verdict.OK, GOOD),
        ([("anna", Action.OVERRULE)], Verdict.NOK, GOOD),
        ([("anna", Action.ESCAPE)], Verdict.OK, DEFECT),
        ([("anna", Action.OVERRULE), ("anna", Action.CANNOT_TELL)], Verdict.NOK, None),
        ([("anna", Action.OVERRULE), ("otto", Action.CONFIRM)], Verdict.NOK, None),
        ([], Verdict.NOK, None),
    ],
)
def test_decisions_give_a_reference_where_they_stand_and_agree(
    words: list[tuple[str, Action]], verdict: Verdict, expected: Judged | None
) -> None:
    assert decided_word([word(*each) for each in words], verdict) is expected


def test_items_are_numbered_and_carry_what_was_chosen() -> None:
    chosen = [
        Candidate(f"P{n}", f"r{n}", "w", "a" * 64, Verdict.REVIEW, 0.0, None) for n in range(10)
    ]
    plan = planned(
        chosen, title="t", appraisers=["anna"], trials=3, seed=4, system=True, reference_by="panel"
    )
    assert [item.item for item in plan.items[:2]] == ["01", "02"]
    assert plan.borderline == 10


# ------------------------------------------------------------------------------------ export


def test_every_judgement_and_figure_is_exported() -> None:
    said = all_of("anna", "gdggdg") + all_of("otto", "gdxgdx", 50)
    rows = list(csv.DictReader(io.StringIO(answers_csv("s", PLAN, said, []))))
    assert len(rows) == 12
    assert {row["reference"] for row in rows} == {"good", "defect", ""}
    figures = list(csv.DictReader(io.StringIO(figures_csv("s", evaluated(PLAN, said)))))
    names = {row["figure"] for row in figures}
    assert {"effectiveness", "miss", "false_alarm", "kappa_pair", "kappa_overall"} <= names


def test_no_text_becomes_a_formula_in_an_office_program() -> None:
    text = written([("=HYPERLINK(1)", "@x", "-2.5", "ok")])
    assert text == "'=HYPERLINK(1),'@x,-2.5,ok\r\n"


# ------------------------------------------------------------------------------ from a real store


def capture(floor: Floor, picture: str, verdict: Verdict = Verdict.NOK) -> str:
    """The same part through the line once more, with a picture of each point; the run."""
    floor.clock.advance(ms=1)
    floor.hello(first_seq=floor.outbox_seq + 1, next_seq=floor.outbox_seq + 1)
    begun = floor.ask(m.Begin, part="part-1", plan=floor.plan.name)
    said = answered_view(run=begun.run, plan=floor.plan, verdicts=(verdict, Verdict.NOK))
    points = tuple(
        msgspec.structs.replace(point, evidence=f"{number}{picture * 63}")
        for number, point in enumerate(said.points)
    )
    floor.outbox_seq += 1
    floor.results(msgspec.structs.replace(said, points=points), first_seq=floor.outbox_seq)
    assert floor.verdict(begun.run).result_valid
    return str(begun.run)


def study_of(run: str, **more: object) -> StudyPlan:
    item = StudyItem(
        item="1", part="part-1", run=run, point="p0", evidence="a" * 64, reference=DEFECT
    )
    fields = {"items": (item,), "appraisers": ("otto",), "trials": 2, "system": True} | more
    return StudyPlan(**fields)  # type: ignore[arg-type]


def test_further_runs_of_a_part_are_the_machines_trials(floor: Floor) -> None:
    runs = [capture(floor, "a"), capture(floor, "b", Verdict.REVIEW)]
    found = Studies(floor.reader, {}).captures(study_of(runs[0]))
    assert [(each.run, each.trial, each.judged) for each in found] == [
        (runs[0], 1, DEFECT), (runs[1], 2, UNSURE),
    ]  # fmt: skip


def test_a_capture_that_gave_the_same_picture_is_missing(floor: Floor) -> None:
    runs = [capture(floor, "a"), capture(floor, "a")]
    plan = study_of(runs[0])
    found = evaluated(plan, [], Studies(floor.reader, {}).captures(plan))
    assert found.short == {"1": 1}


def test_parts_come_with_their_picture_and_with_what_people_decided(floor: Floor) -> None:
    run = capture(floor, "a")
    floor.decide("anna", run, "p0", Action.OVERRULE)
    studies = Studies(floor.reader, {})
    found = {each.point: each for each in studies.candidates(decided=True)}
    assert (found["p0"].reference, found["p1"].reference) == (GOOD, None)
    assert {each.reference for each in studies.candidates(decided=False)} == {None}


def test_answers_are_those_to_the_items_of_the_plan(floor: Floor) -> None:
    run = capture(floor, "a")
    plan = study_of(run)
    floor.person(plan_study("anna", "s", document=encode(plan)))
    place = {"purpose": m.LookPurpose.STUDY, "study": "s", "trial": 1}
    floor.person(look("otto", run, "p0", 1, item="1", **place))
    floor.person(look("otto", run, "p1", 2, item="1", **place))  # another point than the item's
    floor.person(look("otto", run, "p0", 3, item="7", **place))
    studies = Studies(floor.reader, {})
    (listed,) = studies.listed()
    assert listed.plan == plan
    assert [(each.person, each.item, each.judged) for each in studies.answers("s", plan)] == [
        ("otto", "1", GOOD)
    ]


def test_a_document_that_is_no_plan_is_listed_with_what_is_wrong(floor: Floor) -> None:
    floor.person(plan_study("anna", "s", document='{"what": 1}'))
    (listed,) = Studies(floor.reader, {}).listed()
    assert listed.plan is None
    assert "what" in listed.fault
