"""Drift is called where something has changed, and on a stable process as seldom as stated."""

from __future__ import annotations

import random

import pytest

from inspection.drift import LEVEL, counted, distributed, holm, ranked
from inspection.statistics import binomial_tail

SIZES = [300] * 32


def poisson(random_: random.Random, mean: float) -> int:
    count, waited = 0, random_.expovariate(1.0)
    while waited < mean:
        count, waited = count + 1, waited + random_.expovariate(1.0)
    return count


def slots(random_: random.Random, share: float, *, varying: bool, count: int = 32) -> list[int]:
    """Counts of slots of 300 points; varying, the share itself is drawn for each slot."""
    return [
        poisson(random_, 300 * share * (random_.gammavariate(4, 0.25) if varying else 1.0))
        for _ in range(count)
    ]


@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("share", [0.0005, 0.01])
def test_a_stable_process_is_alarmed_as_seldom_as_stated(share: float, varying: bool) -> None:
    random_ = random.Random(f"{share} {varying}")
    looks, alarms = 400, 0
    for _ in range(looks):
        found = [
            counted(
                slots(random_, share, varying=varying),
                SIZES,
                slots(random_, share, varying=varying),
                SIZES,
            ).p_value
            for _ in range(4)
        ]
        alarms += min(holm(found)) < LEVEL
    # So many or more have a probability below 0.0001 where the level is kept.
    assert binomial_tail(alarms, looks, LEVEL) > 1e-4


def test_a_share_that_trebles_in_a_varying_process_is_called_a_drift() -> None:
    random_ = random.Random(3)
    found = [
        counted(
            slots(random_, 0.01, varying=True), SIZES, slots(random_, 0.03, varying=True), SIZES
        ).p_value
        for _ in range(50)
    ]
    # Also as one of a hundred questions it is seen by nine looks in ten at least.
    assert sum(p < LEVEL / 100 for p in found) >= 45


def test_what_never_happened_before_is_a_drift_once_there_is_enough_of_it() -> None:
    few = counted([0] * 32, SIZES, [1, 1, *[0] * 30], SIZES)
    many = counted([0] * 32, SIZES, [1] * 32, SIZES)
    assert few.p_value > 0.1
    assert many.p_value < LEVEL / 1000
    assert (many.before, many.now) == (0.0, pytest.approx(1 / 300))


def test_one_bad_quarter_of_an_hour_is_no_drift() -> None:
    told = counted([1] * 32, SIZES, [1] * 31 + [60], SIZES)
    assert told.spread > 10
    assert told.p_value > LEVEL


def test_nothing_at_all_is_no_change_and_too_few_slots_are_refused() -> None:
    assert counted([0] * 8, [9] * 8, [0] * 8, [9] * 8).p_value == 1.0
    with pytest.raises(ValueError, match="8 slots"):
        counted([0] * 7, [9] * 7, [0] * 8, [9] * 8)
    with pytest.raises(ValueError, match="without points"):
        counted([0] * 8, [9] * 7 + [0], [0] * 8, [9] * 8)


def test_the_distance_of_two_distributions_has_its_exact_probability() -> None:
    # All of one before all of the other: 2 of the 20 orders of three and three.
    assert distributed([1, 2, 3], [4, 5, 6]) == (1.0, pytest.approx(2 / 20))
    assert distributed([1, 2, 3], [1, 2, 3]) == (0.0, 1.0)
    # Two and three: 2 of 10 have a distance of 1; of at least 2/3, 6 (counted by hand).
    assert distributed([1, 2], [3, 4, 5])[1] == pytest.approx(2 / 10)
    assert distributed([1, 3], [2, 4, 5])[0] == pytest.approx(2 / 3)
    assert distributed([1, 3], [2, 4, 5])[1] == pytest.approx(6 / 10)
    with pytest.raises(ValueError, match="needs values"):
        distributed([], [1.0])


def test_equal_distributions_are_told_apart_as_seldom_as_stated() -> None:
    random_ = random.Random(4)
    draws = 1000
    alarms = sum(
        distributed([random_.random() for _ in range(20)], [random_.random() for _ in range(20)])[1]
        < 0.05
        for _ in range(draws)
    )
    assert binomial_tail(alarms, draws, 0.05) > 1e-4


def test_holm_adjusts_as_its_steps_say() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_values_of_the_known_distribution_are_alarmed_as_seldom_as_stated() -> None:
    random_ = random.Random(5)
    deciles = [place / 10 for place in range(1, 10)]
    draws, alarms = 600, 0
    for _ in range(draws):
        # What lies near together in a body: half of each value is the body's.
        bodies = [
            [(body + random_.random()) % 1.0 for _ in range(4)]
            for body in (random_.random() for _ in range(30))
        ]
        alarms += ranked(bodies, deciles).p_value < 0.05
    assert binomial_tail(alarms, draws, 0.05) > 1e-4


def test_values_above_those_of_training_are_a_drift_and_equal_ones_in_the_middle_none() -> None:
    deciles = [place / 10 for place in range(1, 10)]
    random_ = random.Random(6)
    high = [[0.5 + random_.random() / 2 for _ in range(4)] for _ in range(30)]
    told = ranked(high, deciles)
    assert told.now == pytest.approx(0.75, abs=0.05)
    assert told.p_value < LEVEL / 100
    assert ranked([[0.0], [0.0]], [0.0] * 9).p_value == 1.0
    with pytest.raises(ValueError, match="two samples"):
        ranked([[0.5]], deciles)
