import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from inspection.statistics import binomial_tail, interval, rate, trials_needed, upper_bound


@pytest.mark.parametrize(
    ("claimed", "errors", "trials"),
    [(0.01, 0, 299), (0.01, 1, 473), (0.01, 3, 773), (0.005, 0, 598), (0.001, 0, 2995)],
)
def test_the_trials_a_claim_needs_are_those_of_the_tables(
    claimed: float, errors: int, trials: int
) -> None:
    assert trials_needed(claimed, errors) == trials
    assert upper_bound(errors, trials) <= claimed < upper_bound(errors, trials - 1)


def test_no_error_among_few_trials_allows_no_small_claim() -> None:
    assert upper_bound(0, 30) == pytest.approx(1 - 0.05 ** (1 / 30))
    assert upper_bound(0, 30) > 0.09


@given(st.integers(0, 400), st.integers(0, 400))
def test_bounds_are_those_of_clopper_and_pearson(errors: int, successes: int) -> None:
    trials = errors + successes
    lower, upper = interval(errors, trials)
    assert lower == pytest.approx(beta.ppf(0.025, errors, successes + 1) if errors else 0.0)
    assert upper == pytest.approx(beta.ppf(0.975, errors + 1, successes) if successes else 1.0)


@given(st.integers(1, 200), st.floats(0.01, 0.99))
def test_the_true_rate_is_covered_at_least_as_often_as_promised(trials: int, true: float) -> None:
    missed = sum(
        float(binom.pmf(errors, trials, true))
        for errors in range(trials + 1)
        if upper_bound(errors, trials) < true
    )
    assert missed <= 0.05 + 1e-9


def test_a_shift_of_a_million_and_a_half_verdicts_is_no_problem() -> None:
    lower, upper = interval(700_000, 1_500_000)
    assert lower == pytest.approx(0.465868, abs=1e-6)
    assert upper == pytest.approx(0.467466, abs=1e-6)
    assert upper_bound(0, 1_500_000) == pytest.approx(2.0e-6, rel=0.01)


def test_nothing_tried_claims_nothing() -> None:
    nothing = rate(0, 0)
    assert nothing.rate is None
    assert (nothing.lower, nothing.upper, nothing.at_most) == (0.0, 1.0, 1.0)
    assert str(nothing) == "none tried"


def test_a_rate_is_never_written_without_its_bound() -> None:
    assert str(rate(3, 334)) == ("3 of 334 = 0.90% (95% interval 0.19% to 2.60%; at most 2.30%)")


@pytest.mark.parametrize(("errors", "trials"), [(-1, 5), (6, 5), (1, 0)])
def test_counts_that_cannot_be_are_refused(errors: int, trials: int) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        upper_bound(errors, trials)


@pytest.mark.parametrize("claimed", [0.0, 1.0, -0.1])
def test_a_claim_of_no_error_at_all_cannot_be_bought_with_trials(claimed: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        trials_needed(claimed)


def test_a_confidence_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="confidence"):
        upper_bound(0, 10, 1.0)


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0.001, 0.999))
def test_a_tail_of_whole_numbers_is_the_binomials(errors: int, more: int, p: float) -> None:
    trials = errors + more
    assert binomial_tail(errors, trials, p) == pytest.approx(
        binom.sf(errors - 1, trials, p), rel=1e-6, abs=1e-12
    )
    assert binomial_tail(trials + 1, trials, p) == 0.0
