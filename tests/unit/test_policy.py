"""Scores to a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.errors import PackageError
from inspection.messages import Reason, Verdict
from inspection.policy import (
    SUM_TOLERANCE,
    Judgement,
    Policy,
    check_policy,
    encode_policy,
    judge,
    read_policy,
    valid_scores,
)

CLASSES = ("ok", "crack", "missing")
PACKAGE = "a" * 64


def policy(
    ok_min: float = 0.9, crack: float = 0.5, missing: float = 0.5, package: str = PACKAGE
) -> Policy:
    return Policy(
        version=1,
        package=package,
        ok_class="ok",
        ok_min=ok_min,
        nok_min={"crack": crack, "missing": missing},
        author="quality",
        created="2026-01-01T00:00:00Z",
        why="first release",
    )


shares = st.floats(0, 1)
policies = st.builds(policy, shares, shares, shares)


@st.composite
def probabilities(draw: st.DrawFn) -> list[float]:
    weights = draw(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).filter(sum))
    total = math.fsum(weights)
    return [min(weight / total, 1.0) for weight in weights]


anything = st.lists(st.floats() | st.sampled_from([0.0, 1.0, -0.0, 0.5]), max_size=5)


def test_the_three_verdicts_of_a_policy() -> None:
    assert judge([0.95, 0.03, 0.02], CLASSES, policy()) == (Verdict.OK, Reason.NONE, "")
    assert judge([0.1, 0.3, 0.6], CLASSES, policy()) == (Verdict.NOK, Reason.DEFECT, "missing")
    assert judge([0.6, 0.3, 0.1], CLASSES, policy()) == (
        Verdict.REVIEW,
        Reason.UNCERTAIN,
        "crack",
    )


def test_thresholds_are_reached_not_passed() -> None:
    assert judge([0.75, 0.25, 0.0], CLASSES, policy(ok_min=0.75)).verdict is Verdict.OK
    assert judge([0.75, 0.25, 0.0], CLASSES, policy(0.75, crack=0.25)).verdict is Verdict.NOK


@pytest.mark.parametrize(
    "scores",
    [
        [math.nan, 0.0, 0.0],
        [1.0, math.nan, 0.0],
        [1.0, 0.0, -math.nan],
        [math.inf, 0.0, 0.0],
        [1.0, -math.inf, math.inf],
        [],
        [1.0],
        [1.0, 0.0],
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0],
        [1.0, 1.0, 1.0],
        [1.5, -0.25, -0.25],
        [1.0 + 2 * SUM_TOLERANCE, 0.0, 0.0],
        [1.0, 0.0, 2 * SUM_TOLERANCE],
        [1.0 - 2 * SUM_TOLERANCE, 0.0, 0.0],
        [1.0, -1e-9, 0.0],
        [1e308, 1e308, 1e308],
    ],
)
def test_what_is_no_probability_vector_is_no_look_at_the_point(scores: list[float]) -> None:
    for asked in (policy(), policy(0.0, 0.0, 0.0), policy(1.0, 1.0, 1.0)):
        assert judge(scores, CLASSES, asked) == Judgement(
            Verdict.NOT_INSPECTED, Reason.MODEL_OUTPUT_INVALID, ""
        )


def test_minus_zero_is_zero_and_no_way_around_a_threshold() -> None:
    assert judge([1.0, -0.0, -0.0], CLASSES, policy()).verdict is Verdict.OK
    assert judge([-0.0, 1.0, -0.0], CLASSES, policy()).verdict is Verdict.NOK
    assert judge([1.0, -0.0, 0.0], CLASSES, policy(crack=0.0)).verdict is Verdict.NOK


@given(anything, policies)
def test_whatever_a_model_gives_ok_needs_believable_scores_that_reach_ok_min(
    scores: Sequence[float], asked: Policy
) -> None:
    got = judge(scores, CLASSES, asked)
    if valid_scores(scores, len(CLASSES)):
        assert got.verdict is not Verdict.NOT_INSPECTED
        assert abs(sum(scores) - 1) <= 2 * SUM_TOLERANCE
    else:
        assert got.verdict is Verdict.NOT_INSPECTED
    if got.verdict is Verdict.OK:
        assert scores[0] >= asked.ok_min
        assert scores[1] < asked.nok_min["crack"]
        assert scores[2] < asked.nok_min["missing"]


@given(probabilities(), policies, shares)
def test_raising_ok_min_never_turns_anything_into_ok(
    scores: list[float], asked: Policy, higher: float
) -> None:
    stricter = msgspec.structs.replace(asked, ok_min=max(asked.ok_min, higher))
    if judge(scores, CLASSES, asked).verdict is not Verdict.OK:
        assert judge(scores, CLASSES, stricter).verdict is not Verdict.OK


@given(probabilities(), policies, shares)
def test_lowering_nok_min_never_turns_a_nok_into_anything_else(
    scores: list[float], asked: Policy, lower: float
) -> None:
    stricter = msgspec.structs.replace(
        asked, nok_min={name: min(limit, lower) for name, limit in asked.nok_min.items()}
    )
    if judge(scores, CLASSES, asked).verdict is Verdict.NOK:
        assert judge(scores, CLASSES, stricter).verdict is Verdict.NOK


@given(probabilities())
def test_where_thresholds_overlap_nok_wins(scores: list[float]) -> None:
    got = judge(scores, CLASSES, policy(ok_min=0.0, crack=0.0, missing=0.0))
    assert got.verdict is Verdict.NOK
    assert got.finding in ("crack", "missing")


@given(anything | probabilities(), policies)
def test_the_same_scores_always_get_the_same_verdict(
    scores: Sequence[float], asked: Policy
) -> None:
    again = msgspec.json.decode(encode_policy(asked), type=Policy)
    assert judge(scores, CLASSES, asked) == judge(tuple(scores), list(CLASSES), again)


@given(probabilities(), policies)
def test_the_finding_is_the_strongest_defect_over_its_limit(
    scores: list[float], asked: Policy
) -> None:
    got = judge(scores, CLASSES, asked)
    defects = {"crack": scores[1], "missing": scores[2]}
    over = {name: score for name, score in defects.items() if score >= asked.nok_min[name]}
    if got.verdict is Verdict.OK:
        assert got.finding == ""
    else:
        among = over or defects
        assert among[got.finding] == max(among.values())


def test_a_policy_of_another_package_is_refused() -> None:
    with pytest.raises(PackageError, match=r"fitted for package bbbbbbbbbbbb"):
        check_policy(policy(package="b" * 64), CLASSES, PACKAGE)
    check_policy(policy(), CLASSES, PACKAGE)


def test_a_policy_that_does_not_cover_the_classes_is_refused() -> None:
    with pytest.raises(PackageError, match="nok_min"):
        check_policy(policy(), ("ok", "crack"), PACKAGE)
    with pytest.raises(PackageError, match="nok_min"):
        check_policy(policy(), (*CLASSES, "burn"), PACKAGE)
    with pytest.raises(PackageError, match="ok_class"):
        check_policy(policy(), ("good", "crack", "missing"), PACKAGE)


def test_a_policy_is_read_back_with_the_hash_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(encode_policy(policy()))
    read, digest = read_policy(path)
    assert read == policy()
    assert len(digest) == 64
    path.write_bytes(encode_policy(policy(ok_min=0.91)))
    assert read_policy(path)[1] != digest


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"ok_min": 0.9', b'"ok_min": 1.9'),
        (b'"ok_min": 0.9', b'"ok_min": NaN'),
        (b'"ok_min": 0.9', b'"ok_min": null'),
        (b'"ok_min"', b'"ok_minimum"'),
        (b'"crack": 0.5', b'"crack": -0.1'),
        (b'"version": 1', b'"version": 0'),
        (b"{", b""),
        (b"quality", b"quali\xfe"),
    ],
)
def test_a_policy_file_with_a_mistake_is_refused(
    tmp_path: Path, before: bytes, after: bytes
) -> None:
    path = tmp_path / "policy.json"
    raw = encode_policy(policy())
    assert before in raw
    path.write_bytes(raw.replace(before, after, 1))
    with pytest.raises(PackageError, match=r"policy\.json"):
        read_policy(path)
    path.unlink()
    with pytest.raises(PackageError, match="no policy"):
        read_policy(path)


# ---------------------------------------------------------------- how unusual a point is

LIMITED = msgspec.structs.replace(policy(), ood_max=2.0)
GOOD, BAD, UNSURE = (0.96, 0.02, 0.02), (0.1, 0.8, 0.1), (0.6, 0.3, 0.1)


@pytest.mark.parametrize("ood", [0.0, 1.99, 2.0])
def test_a_point_up_to_the_limit_is_judged_by_its_scores(ood: float) -> None:
    for scores in (GOOD, BAD, UNSURE):
        assert judge(scores, CLASSES, LIMITED, ood) == judge(scores, CLASSES, policy())


@pytest.mark.parametrize("ood", [math.nextafter(2.0, 3.0), 5.0, 1e30])
def test_a_point_more_unusual_than_the_limit_is_never_ok_and_says_why(ood: float) -> None:
    for scores in (GOOD, UNSURE):
        said = judge(scores, CLASSES, LIMITED, ood)
        assert (said.verdict, said.reason) == (Verdict.REVIEW, Reason.OUT_OF_DISTRIBUTION)


@pytest.mark.parametrize("ood", [None, math.nan, math.inf, -math.inf, -0.1])
def test_where_the_policy_asks_a_missing_or_impossible_answer_is_no_inspection(
    ood: float | None,
) -> None:
    for scores in (GOOD, UNSURE):
        said = judge(scores, CLASSES, LIMITED, ood)
        assert said == Judgement(Verdict.NOT_INSPECTED, Reason.MODEL_OUTPUT_INVALID, "")


@pytest.mark.parametrize("ood", [None, math.nan, 0.0, 5.0, math.inf])
def test_a_defect_is_nok_however_unusual_it_looks(ood: float | None) -> None:
    assert judge(BAD, CLASSES, LIMITED, ood) == Judgement(Verdict.NOK, Reason.DEFECT, "crack")


@pytest.mark.parametrize("ood", [None, math.nan, 0.0, 1e30])
def test_a_policy_without_a_limit_does_not_ask(ood: float | None) -> None:
    for scores in (GOOD, BAD, UNSURE):
        assert judge(scores, CLASSES, policy(), ood) == judge(scores, CLASSES, policy())


@given(probabilities(), st.none() | st.floats())
def test_a_limit_only_ever_takes_an_ok_away(scores: list[float], ood: float | None) -> None:
    free, limited = judge(scores, CLASSES, policy()), judge(scores, CLASSES, LIMITED, ood)
    if limited.verdict is Verdict.OK:
        assert free.verdict is Verdict.OK
    assert (limited.verdict is Verdict.NOK) == (free.verdict is Verdict.NOK)


def test_a_policy_with_a_limit_is_written_and_read_back(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_bytes(encode_policy(LIMITED))
    assert read_policy(tmp_path / "policy.json")[0] == LIMITED
    for wrong in (b"0.0", b"-1.0", b'"2"'):
        raw = encode_policy(LIMITED).replace(b'"ood_max": 2.0', b'"ood_max": ' + wrong)
        (tmp_path / "policy.json").write_bytes(raw)
        with pytest.raises(PackageError, match="ood_max"):
            read_policy(tmp_path / "policy.json")
