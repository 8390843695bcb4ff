"""Thresholds under a promise: it is kept, it is not given where nothing proves it, and it says how
much stands behind it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import msgspec
import numpy as np
import promise_holds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from inspection.errors import ConfigurationError, DataError
from inspection.messages import Verdict
from inspection.policy import Policy, judge
from inspection.statistics import trials_needed
from inspection.training.calibrate import Array, Labels
from inspection.training.promise import Choice, Costs, Promise, choose, prove

DEPLOYMENTS = 1000
COSTS = Costs(prevalence=0.001)


def table(ok: Array) -> Array:
    return np.stack([ok, 1 - ok], axis=1)


def separated(defects: int, goods: int = 400) -> tuple[Array, Labels]:
    """Good points around 0.98, defects around 0.02."""
    rng = np.random.default_rng(5)
    ok = np.concatenate([1 - rng.uniform(0.001, 0.04, goods), rng.uniform(0.001, 0.04, defects)])
    return table(ok), np.array([0] * goods + [1] * defects)


def names(count: int, each: int = 1) -> list[str]:
    return [f"part {number // each}" for number in range(count)]


def chosen(defects: int, each: int = 1, **promise: float) -> Choice:
    scores, labels = separated(defects)
    # Good points in parts of their own.
    parts = [f"good {number}" for number in range(400)] + names(defects, each)
    return choose(scores, labels, parts, COSTS, Promise(**promise))


# ------------------------------------------------------------ the promise is kept


@pytest.mark.parametrize("name", promise_holds.CASES)
def test_the_promise_is_broken_no_more_often_than_its_risk(name: str) -> None:
    """1,000 deployments whose true escape rate is known; `tests/proofs/promise_holds.py` has
    10,000."""
    found = promise_holds.deploy(promise_holds.CASES[name], DEPLOYMENTS, seed=11)
    assert found.too_often(0.05) > promise_holds.SAMPLING
    assert found.proven > 0.8 * DEPLOYMENTS  # a promise that is never made is always kept
    # The rule that counts alone breaks it, on the same samples: so this test can fail.
    naive = binomtest(found.naive_broken, DEPLOYMENTS, 0.05, "greater").pvalue
    assert naive < promise_holds.SAMPLING


def test_the_risk_is_used_and_not_only_kept() -> None:
    """With one defect a part the test is exact: it wastes little of the risk it may take."""
    found = promise_holds.deploy(promise_holds.CASES["1 % of 500"], DEPLOYMENTS, seed=12)
    assert found.broken / DEPLOYMENTS > 0.02


def test_points_counted_as_independent_would_break_the_promise() -> None:
    """Why the part counts: the same deployments, with a name of its own for each defect."""
    case = promise_holds.CASES["one fate a part"]
    rng = np.random.default_rng(3)
    broken = 0
    for _ in range(300):
        sample = case.draw(rng)
        denied = sample._replace(part_of=np.arange(len(sample.defects)))
        choice = promise_holds.chosen(denied, case.promise)
        broken += choice.proven and case.escape_rate(choice.ok_min) > case.limit
    assert binomtest(broken, 300, 0.05, "greater").pvalue < promise_holds.SAMPLING


# ------------------------------------------------------------ what is said


def test_one_per_cent_takes_299_independent_defects() -> None:
    assert not chosen(298).proven
    assert chosen(298).proof.more_defects == 1
    assert chosen(299).proven
    assert chosen(299).proof.more_defects == 0
    assert chosen(299).proof.bound < 0.01 < chosen(298).proof.bound


def test_several_defects_of_one_part_count_once() -> None:
    choice = chosen(600, each=3)
    assert (choice.counts.defects, choice.counts.parts, choice.counts.independent) == (
        600,
        200,
        200,
    )
    assert not choice.proven
    assert choice.proof.more_defects == 99
    assert "0 of 600 defects" in choice.statement
    assert "0 of 200 counted as independent" in choice.statement
    assert chosen(900, each=3).proven


def test_a_part_with_many_more_defects_than_others_does_not_void_the_rest() -> None:
    scores, labels = separated(1005)
    parts = [f"good {number}" for number in range(400)] + names(1000) + ["part 0"] * 5
    choice = choose(scores, labels, parts, COSTS, Promise())
    assert choice.proven
    assert choice.counts.independent == 1000  # not 1005 / 6
    # The five above the cap are held to escape, and that is in the bound.
    assert choice.proof.bound > 5 / 1005


def test_defects_above_the_cap_tighten_the_limit() -> None:
    """401 parts would prove 1 %, were it not for the three defects of one part that do not count:
    they alone may be 0.74 %."""
    scores, labels = separated(404)
    parts = [f"good {number}" for number in range(400)] + names(400) + ["odd"] * 4
    choice = choose(scores, labels, parts, COSTS, Promise())
    assert choice.counts.failed == 0
    assert choice.counts.independent == 401
    assert not choice.proven
    assert choice.proof.bound == pytest.approx((401 / 404) * (1 - 0.05 ** (1 / 401)) + 3 / 404)


def test_a_limit_that_is_not_proven_is_not_promised() -> None:
    choice = chosen(120)
    assert "not proven" in choice.statement
    assert "at most" not in choice.statement
    assert f"{trials_needed(0.01) - 120} more independent defects" in choice.statement
    assert "at most 1 % of the defective points, with 95 % confidence" in chosen(300).statement


def test_a_part_is_a_whole_trial_only_by_an_assumption_that_is_said() -> None:
    """Parts with one to three defects: 300 parts, 600 defects."""
    scores, labels = separated(600)
    parts = [f"good {i}" for i in range(400)]
    parts += [f"part {i}" for i in range(300) for _ in range(1 + i % 3)]
    strict = choose(scores, labels, parts, COSTS, Promise())
    assert strict.counts.independent == 200
    assert not strict.proven
    assumed = choose(scores, labels, parts, COSTS, Promise(sizes_matter=False))
    assert assumed.counts.independent == 300
    assert assumed.proven
    assert "if parts with many defects are no worse" in assumed.statement
    assert "no worse" not in strict.statement


def test_the_assumption_about_parts_is_one() -> None:
    """Where large parts are worse, to count each part once breaks the promise."""
    case = promise_holds.CASES["parts with many are worse"]._replace(sizes_matter=False)
    found = promise_holds.deploy(case, 300, seed=11)
    assert found.too_often(0.05) < promise_holds.SAMPLING


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_limit_is_ever_called_proven_with_too_few_independent_defects(
    data: st.DataObject,
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=60))
    steps = st.integers(0, 20)
    defects = data.draw(st.lists(steps, min_size=sum(sizes), max_size=sum(sizes)))
    ok = np.concatenate([np.linspace(0.5, 1, 30), np.array(defects) / 20])
    labels = np.array([0] * 30 + [1] * len(defects))
    parts = ["good"] * 30 + [str(i) for i, size in enumerate(sizes) for _ in range(size)]
    limit = data.draw(st.sampled_from([0.05, 0.1, 0.3]))
    choice = choose(table(ok), labels, parts, COSTS, Promise(limit=limit))
    assert choice.counts.independent <= choice.counts.parts == len(sizes)
    assert choice.proven == ("are at most" in choice.statement)
    if choice.proven:
        assert choice.counts.independent >= trials_needed(limit)
        assert choice.counts.escapes <= limit * choice.counts.defects
        assert choice.proof.bound <= limit + 1e-9
        assert choice.proof.p_value <= 0.05
    else:
        assert choice.proof.more_defects >= 1
    assert choice.counts.escapes == (np.array(defects) / 20 >= choice.ok_min).sum()


@pytest.mark.parametrize(("defects", "escaped"), [(700, 2), (900, 3), (1200, 9)])
def test_the_p_value_is_the_exact_binomial_one(defects: int, escaped: int) -> None:
    scores, labels = separated(defects)
    scores[400 : 400 + escaped] = [1.0, 0.0]  # no threshold holds these back
    choice = choose(scores, labels, names(len(labels)), COSTS, Promise())
    assert choice.proof.p_value == pytest.approx(binom.cdf(escaped, defects, 0.01), rel=1e-9)
    assert choice.counts.failed == escaped
    exact = binomtest(escaped, defects, alternative="less").proportion_ci(0.95).high
    assert choice.proof.bound == pytest.approx(exact, rel=1e-6)
    if not choice.proven:
        more = choice.proof.more_defects
        assert binom.cdf(escaped, defects + more, 0.01) <= 0.05
        assert binom.cdf(escaped, defects + more - 1, 0.01) > 0.05


def test_a_promise_is_made_for_the_worst_graph_of_a_package() -> None:
    scores, labels = separated(300)
    worse = scores.copy()
    worse[-1] = [1.0, 0.0]
    parts = names(len(labels))
    assert choose(scores, labels, parts, COSTS, Promise()).proven
    choice = choose(scores, labels, parts, COSTS, Promise(), other_scores=[worse])
    assert not choice.proven
    assert "worst of 2 graphs" in choice.statement
    assert choice.counts.escapes == 1


def test_a_threshold_fixed_beforehand_is_proven_by_itself() -> None:
    scores, labels = separated(300)
    parts = names(len(labels))
    found = prove(scores, labels, parts, 0.5, Promise())
    assert found.proven
    assert found.ok_min == 0.5
    assert found.p_value == pytest.approx(0.99**300)
    below = prove(scores, labels, parts, 0.0, Promise())
    assert not below.proven
    assert (below.counts.escapes, below.bound) == (300, 1.0)
    assert not prove(scores, labels, parts, 0.5, Promise(), other_scores=[scores[:, ::-1]]).proven
    with pytest.raises(DataError, match="ok_min"):
        prove(scores, labels, parts, math.nan, Promise())


# ------------------------------------------------------------ the thresholds


def test_where_nothing_is_proven_the_thresholds_are_still_usable() -> None:
    choice = chosen(12)
    assert not choice.proven
    assert 0.04 < choice.ok_min < 0.97
    assert choice.expected.overkill < 0.2


def test_without_a_single_defect_the_scores_alone_decide_and_nothing_is_promised() -> None:
    scores, labels = separated(0)
    choice = choose(scores, labels, names(400), Costs(), Promise())
    assert not choice.proven
    assert choice.counts.independent == 0
    assert choice.proof.bound == 1.0
    assert choice.proof.more_defects == 299
    assert 0.96 <= choice.ok_min <= 1  # a point that is 4 % doubtful costs more missed than seen


def test_more_costly_misses_never_lower_the_threshold() -> None:
    rng = np.random.default_rng(8)
    ok = np.concatenate([rng.beta(8, 1, 3000), rng.beta(1, 8, 400)])
    labels = np.array([0] * 3000 + [1] * 400)
    limits = [
        choose(table(ok), labels, names(3400), Costs(miss=miss), Promise(limit=0.2)).ok_min
        for miss in (1, 3, 10, 30, 100, 1000)
    ]
    assert limits == sorted(limits)
    assert limits[0] < limits[-1]


@given(st.floats(0.2, 50), st.floats(0.2, 50), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_what_is_expected_is_what_a_policy_does(alarm: float, miss: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.array([0] * 300 + [1] * 60 + [2] * 60)
    logits = rng.normal(0, 1.5, (420, 3))
    logits[np.arange(420), labels] += 3
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ood = rng.random(420) < 0.05
    costs = Costs(miss=miss, false_alarm=alarm, prevalence=0.3, points_per_shift=1000)
    choice = choose(scores, labels, names(420), costs, Promise(limit=0.1), ood=ood)
    policy = Policy(
        version=1,
        package="a" * 64,
        ok_class="ok",
        ok_min=choice.ok_min,
        nok_min={"x": choice.nok_min, "y": choice.nok_min},
        author="a",
        created="",
        why="",
    )
    verdicts = np.array([judge(row, ("ok", "x", "y"), policy).verdict for row in scores.tolist()])
    verdicts[(verdicts == Verdict.OK) & ood] = Verdict.REVIEW
    good = verdicts[:300]
    assert choice.expected.overkill == pytest.approx((good != Verdict.OK).mean())
    assert choice.expected.false_alarms == pytest.approx((good == Verdict.NOK).mean())
    assert choice.expected.escapes >= (verdicts[300:] == Verdict.OK).mean() - 1e-12
    minutes = choice.expected.review_minutes_per_shift
    assert minutes == pytest.approx(1000 * choice.expected.review * 0.5)
    curve = choice.curve
    at = curve.threshold.index(choice.ok_min)
    assert curve.cost[at] == choice.expected.cost
    assert list(curve.threshold) == sorted(curve.threshold)
    assert list(curve.overkill) == sorted(curve.overkill)
    assert curve.proven[at] == choice.proven


def test_the_curve_is_short_whatever_the_data() -> None:
    rng = np.random.default_rng(0)
    ok = rng.random(20_000)
    choice = choose(table(ok), (ok < 0.2).astype(np.int64), names(20_000), COSTS, Promise())
    assert len(choice.curve.threshold) <= 201
    assert msgspec.json.decode(msgspec.json.encode(choice), type=Choice) == choice


def test_a_score_at_the_threshold_passes_it_as_on_the_line() -> None:
    """Defects that tie with good points are counted as escapes where the good are released."""
    ok = np.array([0.9] * 200 + [0.9] * 3 + [0.1] * 97)
    labels = np.array([0] * 200 + [1] * 100)
    eager = choose(table(ok), labels, names(300), promise_holds.EAGER, Promise(limit=0.1))
    assert eager.proven
    assert eager.ok_min <= 0.9
    assert eager.counts.escapes == 3
    strict = choose(table(ok), labels, names(300), promise_holds.EAGER, Promise(limit=0.04))
    assert strict.ok_min > 0.9
    assert strict.counts.escapes == 0


# ------------------------------------------------------------ bad input


def test_what_is_no_probability_is_refused_with_its_row() -> None:
    scores, labels = separated(5)
    for bad in ([math.nan, 0.5], [1.2, -0.2], [0.2, 0.2], [math.inf, 0.0]):
        broken = scores.copy()
        broken[7] = bad
        with pytest.raises(DataError, match="row 7"):
            choose(broken, labels, names(405), COSTS, Promise())
        with pytest.raises(DataError, match=re.escape("other_scores[0]")):
            choose(scores, labels, names(405), COSTS, Promise(), other_scores=[broken])


def test_what_does_not_fit_together_is_refused() -> None:
    scores, labels = separated(5)
    parts = names(405)
    with pytest.raises(DataError, match="labels"):
        choose(scores, labels[:-1], parts, COSTS, Promise())
    with pytest.raises(DataError, match="labels"):
        choose(scores, labels - 1, parts, COSTS, Promise())
    with pytest.raises(DataError, match="labels"):
        choose(scores, labels + 1, parts, COSTS, Promise())
    with pytest.raises(DataError, match="parts"):
        choose(scores, labels, parts[1:], COSTS, Promise())
    with pytest.raises(DataError, match="ood"):
        choose(scores, labels, parts, COSTS, Promise(), ood=np.zeros(405))
    with pytest.raises(DataError, match="scores"):
        choose(scores[:0], labels[:0], [], COSTS, Promise())
    with pytest.raises(DataError, match="other_scores"):
        choose(scores, labels, parts, COSTS, Promise(), other_scores=[scores[1:]])


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_costs_that_are_no_costs_are_refused(value: float) -> None:
    for name in ("miss", "false_alarm", "review", "review_minutes", "prevalence"):
        with pytest.raises(ConfigurationError, match=name):
            Costs(**{name: value})


@pytest.mark.parametrize("value", [math.nan, 0.0, 1.0, -0.5, 5.0])
def test_a_promise_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ConfigurationError, match="limit"):
        Promise(limit=value)
    with pytest.raises(ConfigurationError, match="confidence"):
        Promise(confidence=value)


# ------------------------------------------------------------ the manual


def test_the_manual_runs_and_its_numbers_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec(code, {})
    assert "Escapes are at most 1 % of the defective points" in capsys.readouterr().out
    rows = re.findall(r"^\| ([\d.]+) % \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|", text, re.MULTILINE)
    assert len(rows) == 3
    for limit, *needed in rows:
        for errors, count in zip((0, 1, 3), needed, strict=True):
            assert trials_needed(float(limit) / 100, errors) == int(count.replace(",", ""))
    defaults = dict(re.findall(r"^\| `(\w+)` \| ([\d.,]+) \|", text, re.MULTILINE))
    for name, value in defaults.items():
        assert getattr(Costs(), name) == float(value.replace(",", ""))
    assert set(defaults) == set(Costs.__struct_fields__) - {"prevalence"}
