"""The plan of a study: parts, order, blindness' paperwork, and measured values from a file."""

from __future__ import annotations

import pytest

from inspection.agreement import Judged
from inspection.errors import DataError
from inspection.messages import Verdict
from inspection.policy import Policy
from inspection.study_plan import (
    SYSTEM,
    Candidate,
    StudyItem,
    StudyPlan,
    choose,
    crossed,
    decode,
    encode,
    nearness,
    order,
    read_values,
    to_come,
)

POLICY = Policy(
    version=1, package="a" * 64, ok_class="ok", ok_min=0.8, nok_min={"burn": 0.6},
    author="a", created="2026", why="",
)  # fmt: skip


def plan(count: int = 20, /, **more: object) -> StudyPlan:
    listed = tuple(
        StudyItem(item=f"i{n}", part=f"P{n}", run=f"r{n}", point="w1", evidence=f"{n:064x}")
        for n in range(count)
    )
    fields = {"items": listed, "appraisers": ("anna", "otto"), "seed": 5} | more
    return StudyPlan(**fields)  # type: ignore[arg-type]


def test_a_plan_comes_back_as_it_was_written() -> None:
    assert decode(encode(plan())) == plan()


def test_every_appraiser_and_trial_has_an_order_of_its_own_that_the_seed_fixes() -> None:
    orders = {
        (name, trial): [item.item for item in order(plan(), name, trial)]
        for name in ("anna", "otto")
        for trial in (1, 2, 3)
    }
    assert len({tuple(each) for each in orders.values()}) == 6
    assert all(sorted(each) == sorted(orders["anna", 1]) for each in orders.values())
    assert orders["anna", 1] == [item.item for item in order(plan(), "Anna", 1)]
    assert orders["anna", 1] != [item.item for item in order(plan(seed=6), "anna", 1)]


def test_a_study_goes_on_where_it_was_left_and_no_trial_begins_before_the_last_is_through() -> None:
    first = to_come(plan(3), "anna", [])
    assert [trial for _, trial in first] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    done = [(item.item, trial) for item, trial in first[:4]]
    assert to_come(plan(3), "anna", done) == first[4:]
    assert to_come(plan(3), "anna", [(item.item, trial) for item, trial in first]) == []


def test_the_panel_is_asked_only_for_what_has_no_reference() -> None:
    known = StudyItem(
        item="k", part="P", run="r", point="w", evidence="a" * 64, reference=Judged.GOOD
    )
    asked = to_come(plan(2, items=(*plan(2).items, known)), "zoe", [], panel=True)
    assert sorted((item.item, trial) for item, trial in asked) == [("i0", 0), ("i1", 0)]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"items": ()}, "needs parts"),
        ({"items": plan(1).items * 2}, "twice"),
        ({"appraisers": ()}, "appraisers"),
        ({"appraisers": ("anna", "Anna")}, "named twice"),
        ({"appraisers": ("system",)}, "means the machine"),
    ],
)
def test_a_plan_that_is_no_study_is_refused(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(DataError, match=text):
        encode(plan(3, **wrong))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"what": 1}', '{"trials": 0}', "[" * 100_000])
def test_a_document_that_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        decode(text)


def test_the_machine_takes_part_under_its_own_name() -> None:
    assert plan(system=True).everybody == ("anna", "otto", SYSTEM)


@pytest.mark.parametrize(
    ("verdict", "ok", "expected"),
    [
        (Verdict.OK, 0.99, 0.19),  # from 0.8
        (Verdict.OK, 0.81, 0.01),
        (Verdict.NOK, 0.10, 0.30),  # burn at 0.9, from 0.6
        (Verdict.REVIEW, 0.70, 0.0),
    ],
)
def test_nearness_is_the_distance_to_the_threshold_that_would_change_the_verdict(
    verdict: Verdict, ok: float, expected: float
) -> None:
    found = nearness(verdict, (ok, 1 - ok), ("ok", "burn"), POLICY)
    assert found == pytest.approx(expected)


def test_without_a_policy_only_review_is_known_to_be_borderline() -> None:
    assert nearness(Verdict.OK, (0.9, 0.1), ("ok", "burn"), None) is None
    assert nearness(Verdict.REVIEW, None, (), None) == 0.0


def candidates(near: int, defect: int, good: int, runs: int = 1000) -> list[Candidate]:
    kinds = [(Verdict.REVIEW, 0.0)] * near + [(Verdict.NOK, 0.9)] * defect
    kinds += [(Verdict.OK, 0.4)] * good
    return [
        Candidate(f"P{n % runs}", f"r{n % runs}", f"w{n}", "a" * 64, verdict, distance)
        for n, (verdict, distance) in enumerate(kinds)
    ]


def test_as_many_borderline_parts_are_chosen_as_asked_for_and_the_rest_is_half_and_half() -> None:
    chosen = choose(candidates(100, 100, 100), items=50, borderline=0.4, seed=1)
    assert len(chosen) == 50
    assert sum(each.borderline for each in chosen) == 20
    assert sum(each.verdict is Verdict.NOK for each in chosen) == 15
    assert chosen == choose(candidates(100, 100, 100), items=50, borderline=0.4, seed=1)
    assert chosen != choose(candidates(100, 100, 100), items=50, borderline=0.4, seed=2)


def test_what_is_missing_of_one_kind_is_made_up_from_the_others() -> None:
    chosen = choose(candidates(5, 3, 100), items=50, borderline=0.4, seed=1)
    assert len(chosen) == 50
    assert sum(each.verdict is Verdict.NOK for each in chosen) == 3
    few = choose(candidates(40, 2, 2), items=20, borderline=0.3, seed=1)
    assert len(few) == 20


def test_no_run_gives_a_second_point_while_others_have_given_none() -> None:
    chosen = choose(candidates(0, 0, 400, runs=40), items=40, borderline=0.4, seed=3)
    assert len({each.run for each in chosen}) == 40


def test_a_point_that_was_captured_again_is_in_a_study_once() -> None:
    again = [Candidate("P", f"r{n}", f"w{n % 4}", "a" * 64, Verdict.OK, 0.5) for n in range(40)]
    assert len(choose(again, items=10, borderline=0.4, seed=1)) == 4


def test_what_was_not_inspected_is_never_chosen() -> None:
    blind = [Candidate("P", "r", "w", "a" * 64, Verdict.NOT_INSPECTED, None)]
    assert choose(blind, items=10, borderline=0.4, seed=1) == ()


@pytest.mark.parametrize(
    "text",
    [
        "part,appraiser,trial,value\nA,anna,1,4.25\nA,anna,2,4.5\n",
        "part;appraiser;trial;value\r\nA;anna;1;4,25\r\nA;anna;2;4,5\r\n",
        "\ufeffValue, Part, Trial, Appraiser\n4.5,A,2,anna\n4.25,A,1,anna\n\n",
    ],
)
def test_measured_values_are_read_as_offices_write_them(text: str) -> None:
    assert crossed(read_values(text.encode())) == {"A": {"anna": [4.25, 4.5]}}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "line 1"),
        ("part,appraiser,trial,value\n", "no values"),
        ("part,trial,value\nA,1,2\n", "line 1"),
        ("part,appraiser,trial,value\nA,anna,1\n", "line 2"),
        ("part,appraiser,trial,value\nA,anna,1,nan\n", "line 2.*no number"),
        ("part,appraiser,trial,value\nA,anna,1,1e999\n", "line 2.*large"),
        ("part,appraiser,trial,value\nA,anna,0,1\n", "line 2.*no trial"),
        ("part,appraiser,trial,value\n,anna,1,1\n", "line 2.*part"),
    ],
)
def test_a_mistake_in_a_file_of_values_is_named_with_its_line(text: str, wrong: str) -> None:
    with pytest.raises(DataError, match=wrong):
        read_values(text.encode())


def test_a_value_that_is_there_twice_is_refused() -> None:
    values = read_values(b"part,appraiser,trial,value\nA,anna,1,1\nA,anna,1,2\n")
    with pytest.raises(DataError, match="twice"):
        encode(StudyPlan(values=values))
