"""What follows from what people say: rules by example, and laws over every sequence of words."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import PLAN

from inspection.decisions import (
    MAY,
    Decision,
    Look,
    allowed,
    carried,
    judge_body,
    not_ok,
    states,
    why_not,
)
from inspection.ledger import Entry
from inspection.messages import Action, Reason, Role, RunVerdict, Severity, Standing, Verdict
from inspection.plan import Deciding, Plan

QUALITY, OPERATOR = frozenset({Role.QUALITY}), frozenset({Role.OPERATOR})
PEOPLE = {"anna": QUALITY, "ben": QUALITY, "otto": OPERATOR, "mia": frozenset({Role.ML})}
TWO = msgspec.structs.replace(PLAN, decisions=Deciding(two_persons=(Severity.MAJOR,)))
TRUSTING = msgspec.structs.replace(PLAN, decisions=Deciding(repaired_without_inspection=True))


def entry(point: str, verdict: Verdict, reason: Reason = Reason.NONE) -> Entry:
    if verdict is Verdict.NOT_INSPECTED and reason is Reason.NONE:
        reason = Reason.NO_IMAGE
    return Entry(point, verdict, reason, "" if verdict is Verdict.OK else "defect")


def look(run: str, *, covers: frozenset[str] | None = None, **verdicts: Verdict) -> Look:
    """A run and what the machine says of each point in it, in record 1 for run r1, and so on."""
    return Look(
        run=run,
        entries={point: entry(point, verdict) for point, verdict in verdicts.items()},
        records=dict.fromkeys(verdicts, int(run[1:])),
        covers=covers,
    )


def say(seen: Look, *words: tuple[str, str, Action] | tuple[str, str, Action, str]) -> Look:
    """The run with more said of it: (who, point, action, method)."""
    number = max((word.number for word in seen.decisions), default=100 * int(seen.run[1:]))
    said = tuple(
        Decision(
            number=number + 1 + index,
            run=seen.run,
            point=point,
            person=who,
            roles=PEOPLE[who.casefold()],
            action=action,
            finding="defect" if action is Action.RECLASSIFY else "",
            method=method[0] if method else "",
        )
        for index, (who, point, action, *method) in enumerate(words)
    )
    return replace(seen, decisions=(*seen.decisions, *said))


def verdict_of(plan: Plan, *looks: Look) -> RunVerdict:
    return judge_body(plan, looks).verdict


def point_of(plan: Plan, *looks: Look) -> tuple[Verdict, Standing]:
    """How p0 stands."""
    told = judge_body(plan, looks).points["p0"]
    return told.entry.verdict, told.standing


NOK_OK = look("r1", p0=Verdict.NOK, p1=Verdict.OK)

# ------------------------------------------------------------------------------------- words


def test_a_false_alarm_that_quality_overrules_makes_the_part_ok_and_says_by_whom() -> None:
    body = judge_body(PLAN, [say(NOK_OK, ("anna", "p0", Action.OVERRULE))])
    assert (body.verdict, body.ok_by_machine, body.ok_by_person) == (RunVerdict.OK, 1, 1)
    assert body.points["p0"].by == ("anna",)


@pytest.mark.parametrize(
    ("seen", "action", "becomes"),
    [
        (Verdict.NOK, Action.CONFIRM, Verdict.NOK),
        (Verdict.REVIEW, Action.CONFIRM, Verdict.NOK),
        (Verdict.OK, Action.CONFIRM, Verdict.OK),
        (Verdict.NOT_INSPECTED, Action.CONFIRM, Verdict.NOT_INSPECTED),
        (Verdict.REVIEW, Action.OVERRULE, Verdict.OK),
        (Verdict.NOT_INSPECTED, Action.OVERRULE, Verdict.NOT_INSPECTED),
        (Verdict.REVIEW, Action.RECLASSIFY, Verdict.NOK),
        (Verdict.REVIEW, Action.CANNOT_TELL, Verdict.REVIEW),
        (Verdict.OK, Action.ESCAPE, Verdict.NOK),
        (Verdict.OK, Action.REPAIRED, Verdict.NOT_INSPECTED),
        (Verdict.NOK, Action.REPAIRED, Verdict.NOT_INSPECTED),
    ],
)
def test_what_a_word_makes_of_what_was_seen(
    seen: Verdict, action: Action, becomes: Verdict
) -> None:
    said = say(look("r1", p0=seen, p1=Verdict.OK), ("anna", "p0", action))
    assert point_of(PLAN, said)[0] is becomes


def test_a_point_nobody_saw_is_ok_only_by_a_manual_inspection_that_names_its_method() -> None:
    unseen = look("r1", p0=Verdict.NOT_INSPECTED, p1=Verdict.OK)
    assert verdict_of(PLAN, say(unseen, ("anna", "p0", Action.OVERRULE))) is RunVerdict.HOLD
    manual = say(unseen, ("anna", "p0", Action.OVERRULE, "ultrasonic probe"))
    assert verdict_of(PLAN, manual) is RunVerdict.OK


def test_people_who_disagree_leave_the_point_in_review_until_one_of_them_takes_it_back() -> None:
    quarrel = say(NOK_OK, ("anna", "p0", Action.OVERRULE), ("ben", "p0", Action.CONFIRM))
    body = judge_body(PLAN, [quarrel])
    assert body.verdict is RunVerdict.HOLD
    assert body.points["p0"].entry.reason is Reason.DISAGREEMENT
    assert body.standing(Standing.DISAGREEMENT) == ("p0",)
    settled = say(quarrel, ("ben", "p0", Action.CANNOT_TELL))
    assert verdict_of(PLAN, settled) is RunVerdict.OK
    changed = say(quarrel, ("anna", "p0", Action.CONFIRM))
    assert verdict_of(PLAN, changed) is RunVerdict.NOK


def test_an_operators_word_is_kept_and_quality_stands_above_it() -> None:
    suspect = look("r1", p0=Verdict.REVIEW, p1=Verdict.OK)
    confirmed = say(suspect, ("otto", "p0", Action.CONFIRM))
    assert point_of(PLAN, confirmed)[0] is Verdict.NOK
    assert point_of(PLAN, say(confirmed, ("anna", "p0", Action.OVERRULE)))[0] is Verdict.OK


def test_nobody_without_the_role_changes_anything() -> None:
    for who, action in (
        ("otto", Action.OVERRULE),
        ("mia", Action.OVERRULE),
        ("mia", Action.ESCAPE),
    ):
        said = say(NOK_OK, (who, "p0", action))
        assert judge_body(PLAN, [said]) == judge_body(PLAN, [NOK_OK])
    assert not allowed(Action.OVERRULE, {Role.ADMIN, Role.ML, Role.OPERATOR})


# -------------------------------------------------------------------------------- two people


def test_a_severe_point_needs_two_different_people_who_say_the_same() -> None:
    once = say(NOK_OK, ("anna", "p0", Action.OVERRULE))
    assert point_of(TWO, once) == (Verdict.NOK, Standing.SECOND_PERSON_NEEDED)
    for same in ("anna", "Anna"):
        again = say(once, (same, "p0", Action.OVERRULE))
        assert point_of(TWO, again) == (Verdict.NOK, Standing.SECOND_PERSON_NEEDED)
    agreed = say(once, ("ben", "p0", Action.OVERRULE))
    assert point_of(TWO, agreed) == (Verdict.OK, Standing.SETTLED)
    assert judge_body(TWO, [agreed]).points["p0"].by == ("anna", "ben")
    apart = say(once, ("ben", "p0", Action.RECLASSIFY))
    assert point_of(TWO, apart) == (Verdict.REVIEW, Standing.DISAGREEMENT)


def test_the_class_that_was_found_can_make_a_point_severe() -> None:
    plan = msgspec.structs.replace(PLAN, decisions=Deciding(two_persons=(Severity.CRITICAL,)))
    critical = Entry("p0", Verdict.NOK, Reason.DEFECT, "burn", Severity.CRITICAL)
    seen = replace(NOK_OK, entries={**NOK_OK.entries, "p0": critical})
    once = say(seen, ("anna", "p0", Action.OVERRULE))
    assert point_of(plan, once)[1] is Standing.SECOND_PERSON_NEEDED
    assert point_of(plan, say(NOK_OK, ("anna", "p0", Action.OVERRULE)))[0] is Verdict.OK


def test_one_person_is_enough_to_call_a_severe_point_defective() -> None:
    ok = look("r1", p0=Verdict.OK, p1=Verdict.OK)
    assert verdict_of(TWO, say(ok, ("otto", "p0", Action.ESCAPE))) is RunVerdict.NOK


# ------------------------------------------------------------------------- repairs and looks


COVERS_P0 = frozenset({"p0"})


def test_a_repaired_point_that_is_looked_at_again_makes_the_part_ok() -> None:
    repaired = say(NOK_OK, ("otto", "p0", Action.REPAIRED, "rewelded"))
    assert verdict_of(PLAN, repaired) is RunVerdict.HOLD
    again = look("r2", covers=COVERS_P0, p0=Verdict.OK)
    body = judge_body(PLAN, [repaired, again])
    assert (body.verdict, body.ok_by_machine, body.ok_by_person) == (RunVerdict.OK, 2, 0)
    bad = look("r2", covers=COVERS_P0, p0=Verdict.NOK)
    assert verdict_of(PLAN, repaired, bad) is RunVerdict.NOK


def test_looking_again_without_a_repair_never_makes_a_defect_go_away() -> None:
    again = look("r2", covers=COVERS_P0, p0=Verdict.OK)
    for seen in (Verdict.NOK, Verdict.REVIEW):
        first = look("r1", p0=seen, p1=Verdict.OK)
        assert point_of(PLAN, first, again)[0] is seen
    conflict = Entry("p0", Verdict.NOT_INSPECTED, Reason.RECORD_CONFLICT)
    first = replace(NOK_OK, entries={**NOK_OK.entries, "p0": conflict})
    assert verdict_of(PLAN, first, again) is RunVerdict.HOLD


def test_a_defect_seen_later_stands_when_an_escape_is_taken_back() -> None:
    first = say(look("r1", p0=Verdict.OK, p1=Verdict.OK), ("anna", "p0", Action.ESCAPE))
    for seen in (Verdict.NOK, Verdict.REVIEW, Verdict.NOT_INSPECTED):
        again = look("r2", covers=COVERS_P0, p0=seen)
        assert point_of(PLAN, first, again)[0] is Verdict.NOK
        taken_back = say(again, ("anna", "p0", Action.CANNOT_TELL))
        assert point_of(PLAN, first, taken_back)[0] is seen


def test_a_word_for_ok_is_not_carried_over_to_a_defect_that_is_seen_later() -> None:
    unseen = replace(
        NOK_OK,
        entries={
            **NOK_OK.entries,
            "p0": Entry("p0", Verdict.NOT_INSPECTED, Reason.RECORD_CONFLICT),
        },
    )
    first = say(
        unseen, ("anna", "p0", Action.OVERRULE, "by hand"), ("ben", "p0", Action.RECLASSIFY)
    )
    again = look("r2", covers=COVERS_P0, p0=Verdict.REVIEW)
    taken_back = say(again, ("ben", "p0", Action.CANNOT_TELL))
    assert point_of(PLAN, first, taken_back)[0] is Verdict.REVIEW


def test_a_point_without_a_picture_may_simply_be_looked_at_again() -> None:
    first = look("r1", p0=Verdict.NOT_INSPECTED, p1=Verdict.OK)
    assert verdict_of(PLAN, first, look("r2", covers=COVERS_P0, p0=Verdict.OK)) is RunVerdict.OK


def test_a_good_point_that_could_not_be_seen_the_second_time_is_not_good() -> None:
    first = look("r1", p0=Verdict.OK, p1=Verdict.OK)
    for verdict in (Verdict.NOT_INSPECTED, Verdict.REVIEW, Verdict.NOK):
        assert (
            verdict_of(PLAN, first, look("r2", covers=COVERS_P0, p0=verdict)) is not RunVerdict.OK
        )
    assert verdict_of(PLAN, first, look("r2", covers=COVERS_P0)) is RunVerdict.HOLD


def test_a_defect_that_is_not_looked_at_again_stays() -> None:
    both = look("r1", p0=Verdict.NOK, p1=Verdict.NOK)
    repaired = say(both, ("otto", "p0", Action.REPAIRED, "rewelded"))
    again = look("r2", covers=COVERS_P0, p0=Verdict.OK)
    assert verdict_of(PLAN, repaired, again) is RunVerdict.NOK
    forgiven = say(repaired, ("anna", "p1", Action.OVERRULE))
    assert verdict_of(PLAN, forgiven, again) is RunVerdict.OK


def test_a_decision_on_the_earlier_run_that_is_changed_later_changes_what_rests_on_it() -> None:
    first = say(
        look("r1", p0=Verdict.NOT_INSPECTED, p1=Verdict.NOK), ("anna", "p1", Action.OVERRULE)
    )
    again = look("r2", covers=COVERS_P0, p0=Verdict.OK)
    assert verdict_of(PLAN, first, again) is RunVerdict.OK
    taken_back = say(first, ("anna", "p1", Action.CANNOT_TELL))
    assert verdict_of(PLAN, taken_back, again) is RunVerdict.NOK


def test_only_a_plan_that_says_so_takes_a_repair_on_trust() -> None:
    repaired = say(NOK_OK, ("otto", "p0", Action.REPAIRED, "rewelded"))
    assert verdict_of(PLAN, repaired) is RunVerdict.HOLD
    assert verdict_of(TRUSTING, repaired) is RunVerdict.OK
    both = msgspec.structs.replace(
        PLAN,
        decisions=Deciding(two_persons=(Severity.MAJOR,), repaired_without_inspection=True),
    )
    assert verdict_of(both, repaired) is RunVerdict.HOLD


def test_what_was_said_before_a_repair_no_longer_counts() -> None:
    said = say(
        NOK_OK,
        ("anna", "p0", Action.OVERRULE),
        ("otto", "p0", Action.REPAIRED, "rewelded"),
    )
    assert verdict_of(PLAN, said) is RunVerdict.HOLD
    checked = say(said, ("anna", "p0", Action.OVERRULE, "peel test of a twin"))
    assert verdict_of(PLAN, checked) is RunVerdict.OK


def test_a_re_inspection_alone_proves_nothing_of_the_points_it_does_not_cover() -> None:
    again = look("r2", covers=COVERS_P0, p0=Verdict.OK)
    body = judge_body(PLAN, [again])
    assert (body.verdict, body.balance.not_inspected) == (RunVerdict.HOLD, 1)


def test_a_run_that_was_followed_by_another_can_no_longer_make_the_part_ok() -> None:
    ok = look("r1", p0=Verdict.OK, p1=Verdict.OK)
    body = judge_body(PLAN, [ok], superseded=True)
    assert (body.verdict, body.limit) == (RunVerdict.HOLD, Reason.SUPERSEDED)
    nok = judge_body(PLAN, [NOK_OK], superseded=True)
    assert (nok.verdict, nok.limit) == (RunVerdict.NOK, Reason.NONE)


@pytest.mark.parametrize("again", [Verdict.REVIEW, Verdict.NOK])
def test_a_word_for_ok_is_not_said_of_a_look_that_came_later_and_saw_a_defect(
    again: Verdict,
) -> None:
    first = say(NOK_OK, ("anna", "p0", Action.OVERRULE), ("ben", "p0", Action.CONFIRM))
    second = look("r2", covers=frozenset({"p0"}), p0=again)
    taken_back = say(second, ("ben", "p0", Action.CANNOT_TELL))
    assert judge_body(PLAN, [first, taken_back]).points["p0"].entry.verdict is Verdict.NOK
    seen_now = say(taken_back, ("anna", "p0", Action.OVERRULE))
    assert judge_body(PLAN, [first, seen_now]).points["p0"].entry.verdict is Verdict.OK


def test_two_people_call_the_same_look_good() -> None:
    first = say(NOK_OK, ("anna", "p0", Action.OVERRULE))
    second = look("r2", covers=frozenset({"p0"}), p0=Verdict.NOK)
    ben = say(second, ("ben", "p0", Action.OVERRULE))
    told = judge_body(TWO, [first, ben]).points["p0"]
    assert told.standing is Standing.SECOND_PERSON_NEEDED
    both = say(ben, ("anna", "p0", Action.OVERRULE))
    assert judge_body(TWO, [first, both]).points["p0"].entry.verdict is Verdict.OK


@pytest.mark.parametrize(
    "limit", [Reason.CHALLENGE_DUE, Reason.CHALLENGE_FAILED, Reason.CHALLENGE_PART]
)
def test_no_word_lifts_what_keeps_a_run_from_being_ok(limit: Reason) -> None:
    unguarded = replace(NOK_OK, limit=limit)
    said = say(unguarded, ("anna", "p0", Action.OVERRULE), ("ben", "p0", Action.OVERRULE))
    body = judge_body(PLAN, [said])
    assert (body.verdict, body.limit) == (RunVerdict.HOLD, limit)


def test_what_is_carried_and_what_is_looked_at_again_make_the_whole_plan() -> None:
    seen = look("r1", p0=Verdict.REVIEW, p1=Verdict.OK)
    assert not_ok(PLAN, [seen]) == ("p0",)
    assert [e.point for e in carried(PLAN, [seen], {"p0"})] == ["p1"]


@pytest.mark.parametrize(
    ("seen", "action", "method", "why"),
    [
        (Verdict.NOT_INSPECTED, Action.CONFIRM, "", "nothing to confirm"),
        (Verdict.NOT_INSPECTED, Action.OVERRULE, "", "name the method"),
        (Verdict.OK, Action.OVERRULE, "", "an escape"),
        (Verdict.OK, Action.RECLASSIFY, "", "an escape"),
        (Verdict.NOK, Action.ESCAPE, "", "nothing escaped"),
        (Verdict.NOK, Action.REPAIRED, "", "by which method"),
        (Verdict.NOK, Action.OVERRULE, "", ""),
    ],
)
def test_a_word_that_makes_no_sense_is_refused_with_what_to_do(
    seen: Verdict, action: Action, method: str, why: str
) -> None:
    first = look("r1", p0=seen, p1=Verdict.OK)
    (word,) = say(first, ("anna", "p0", action, method)).decisions
    told = why_not(states(PLAN, [first])["p0"], word, PLAN.deciding, superseded=False)
    assert why in told
    assert bool(told) == bool(why)


def test_what_is_said_of_the_part_itself_is_said_of_its_latest_run() -> None:
    for action in (Action.REPAIRED, Action.OVERRULE):
        first = look("r1", p0=Verdict.NOT_INSPECTED, p1=Verdict.OK)
        (word,) = say(first, ("anna", "p0", action, "by hand")).decisions
        state = states(PLAN, [first])["p0"]
        assert "later run" in why_not(state, word, PLAN.deciding, superseded=True)
        assert why_not(state, word, PLAN.deciding, superseded=False) == ""


# -------------------------------------------------------------------------------------- laws

POINTS = st.sampled_from(["p0", "p1"])
WORDS = st.lists(
    st.tuples(
        st.sampled_from(sorted(PEOPLE)),
        POINTS,
        st.sampled_from(Action),
        st.sampled_from(["", "by hand"]),
    ),
    max_size=6,
)
VERDICTS = st.sampled_from(Verdict)
PLANS = st.sampled_from([PLAN, TWO, TRUSTING])


@st.composite
def stories(draw: st.DrawFn) -> list[Look]:
    """A whole run and up to three re-inspections, each with anything said of it."""
    runs = [look("r1", p0=draw(VERDICTS), p1=draw(VERDICTS))]
    for number in range(2, 2 + draw(st.integers(0, 3))):
        covers = frozenset(draw(st.sets(POINTS, min_size=1)))
        runs.append(look(f"r{number}", covers=covers, **{p: draw(VERDICTS) for p in covers}))
    return [say(run, *draw(WORDS)) for run in runs]


@given(PLANS, stories())
def test_no_sequence_of_looks_and_words_makes_a_point_ok_that_nobody_called_ok(
    plan: Plan, story: list[Look]
) -> None:
    body = judge_body(plan, story)
    for name, told in body.points.items():
        if told.entry.verdict is not Verdict.OK:
            continue
        if not told.by:
            assert any(
                run.entries.get(name, entry(name, Verdict.NOK)).verdict is Verdict.OK
                for run in story
            )
            continue
        for person in told.by:
            said = [
                word
                for run in story
                for word in run.decisions
                if word.person == person and word.point == name
            ]
            called_ok = {Action.OVERRULE}
            if plan.deciding.repaired_without_inspection:
                called_ok.add(Action.REPAIRED)
            assert any(word.action in called_ok and word.roles & MAY[word.action] for word in said)
        assert len(told.by) >= (2 if plan is TWO else 1)


@given(PLANS, stories())
def test_ok_means_every_planned_point_is_ok_and_the_balance_is_exact(
    plan: Plan, story: list[Look]
) -> None:
    body = judge_body(plan, story)
    assert body.balance.exact
    assert body.balance.open == 0
    assert body.balance.ok == body.ok_by_machine + body.ok_by_person
    verdicts = {told.entry.verdict for told in body.points.values()}
    assert (body.verdict is RunVerdict.OK) == (verdicts == {Verdict.OK})
    assert len(body.points) == len(plan.points)


@given(PLANS, stories())
def test_the_unauthorised_never_change_anything(plan: Plan, story: list[Look]) -> None:
    heard = [
        replace(
            run,
            decisions=tuple(w for w in run.decisions if allowed(w.action, w.roles)),
        )
        for run in story
    ]
    assert judge_body(plan, story) == judge_body(plan, heard)


@settings(max_examples=400)
@given(PLANS, stories())
def test_a_defect_goes_away_only_by_a_repair_or_by_a_person(plan: Plan, story: list[Look]) -> None:
    body = judge_body(plan, story)
    for name, told in body.points.items():
        suspect = any(
            run.entries[name].verdict in (Verdict.NOK, Verdict.REVIEW)
            for run in story
            if name in run.entries
        )
        repaired = any(
            word.action is Action.REPAIRED and word.point == name and word.roles & MAY[word.action]
            for run in story
            for word in run.decisions
        )
        overruled = any(
            word.action is Action.OVERRULE and word.point == name and word.roles & MAY[word.action]
            for run in story
            for word in run.decisions
        )
        if suspect and not repaired and not overruled:
            assert told.entry.verdict is not Verdict.OK


@given(PLANS, stories())
def test_a_confirmed_defect_stands_whatever_else_is_said_until_it_is_repaired_or_taken_back(
    plan: Plan, story: list[Look]
) -> None:
    last = story[-1]
    confirmed = say(last, ("anna", "p0", Action.RECLASSIFY))
    told = judge_body(plan, [*story[:-1], confirmed]).points["p0"]
    assert told.entry.verdict in (Verdict.NOK, Verdict.REVIEW)


@settings(max_examples=400)
@given(PLANS, stories())
def test_the_last_defect_that_was_seen_is_answered_by_a_later_word(
    plan: Plan, story: list[Look]
) -> None:
    body = judge_body(plan, story)
    for name, told in body.points.items():
        since: list[str] = []
        for run in story:
            if name in run.entries:
                since.append(run.entries[name].verdict.value)
            for word in run.decisions:
                if word.point != name or not word.roles & MAY[word.action]:
                    continue
                since = [] if word.action is Action.REPAIRED else [*since, word.action.value]
        bad = [i for i, said in enumerate(since) if said in (Verdict.NOK, Verdict.REVIEW)]
        if bad and told.entry.verdict is Verdict.OK:
            assert Action.OVERRULE in since[bad[-1] :]
