"""Control charts: limits by the book, rules that fire where they should and as seldom as stated."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.control_charts import (
    ALARMS,
    Chart,
    best_chart,
    between,
    clusters,
    fired,
    g_chart,
    i_chart,
    mr_chart,
    p_chart,
    trend,
    u_chart,
)

PROOF = Path(__file__).resolve().parents[1] / "proofs" / "chart_alarms.py"


def test_shares_that_vary_as_the_binomial_says_have_the_limits_of_a_plain_p_chart() -> None:
    # Alternating by so little that the mean range is below that of chance.
    chart = p_chart([10, 11, 10, 11, 10, 11], [500] * 6)
    centre = 63 / 3000
    assert chart.spread == 1.0
    assert chart.centre == pytest.approx(centre)
    assert chart.upper[0] == pytest.approx(centre + 3 * math.sqrt(centre * (1 - centre) / 500))
    assert chart.lower[0] == max(0.0, centre - 3 * math.sqrt(centre * (1 - centre) / 500))


def test_shares_that_vary_more_have_limits_as_much_wider() -> None:
    counts, sizes = [100, 160, 90, 170, 95, 150], [5000, 5000, 5000, 6000, 5000, 5000]
    chart = p_chart(counts, sizes)
    centre = sum(counts) / sum(sizes)
    units = [
        (c / n - centre) / math.sqrt(centre * (1 - centre) / n)
        for c, n in zip(counts, sizes, strict=True)
    ]
    ranges = [abs(b - a) for a, b in itertools.pairwise(units)]
    assert chart.spread == pytest.approx(sum(ranges) / 5 / 1.128)
    assert chart.z == pytest.approx([unit / chart.spread for unit in units])
    width = 3 * math.sqrt(centre * (1 - centre) / 6000) * chart.spread
    assert chart.upper[3] == pytest.approx(centre + width)
    assert fired(chart) == []


def test_limits_are_those_of_the_base_and_stay() -> None:
    chart = u_chart([100, 104, 98, 101, 99, 240], [1] * 6, base=5)
    assert chart.centre == pytest.approx(100.4)
    assert [(alarm.rule, alarm.at, alarm.above) for alarm in fired(chart)] == [(1, 5, True)]


def test_individuals_and_moving_ranges_by_the_book() -> None:
    values = [5.0, 5.2, 4.9, 5.1, 5.0]
    chart, ranges = i_chart(values), mr_chart(values)
    assert ranges.values == pytest.approx((0.2, 0.3, 0.2, 0.1))
    assert ranges.centre == pytest.approx(0.2)
    assert ranges.upper[0] == pytest.approx(3.267 * 0.2)
    assert chart.upper[0] == pytest.approx(5.04 + 3 * 0.2 / 1.128)


def test_gaps_between_rare_events_have_limits_by_probability() -> None:
    gaps = [90, 110, 100, 95, 105] * 4
    chart = g_chart(gaps)
    share = 1 / 101
    above = (1 - share) ** (chart.upper[0] + 1)
    assert above <= 0.00135 < (1 - share) ** chart.upper[0]
    assert 1 - (1 - share) ** chart.lower[0] <= 0.00135
    late = g_chart([*gaps, 900], base=20)
    assert [(alarm.rule, alarm.at, alarm.above) for alarm in fired(late)] == [(1, 20, True)]


def test_where_events_are_few_the_gaps_are_charted_instead_of_the_share() -> None:
    rare = [0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0]
    assert between(rare) == [3, 2]
    assert best_chart(rare, [1248] * 12).kind == "g"
    assert best_chart([20, 25, 22, 24], [1248] * 4).kind == "p'"
    assert best_chart([0, 0, 0, 1], [1248] * 4).kind == "p'"  # one gap is none to chart
    assert best_chart([1, 1, 2, 1], [1248] * 4).kind == "p'"  # an event in each is not rare


def standardised(*z: float) -> Chart:
    count = len(z)
    return Chart("I", z, 0.0, (-3.0,) * count, (3.0,) * count, z, count)


@pytest.mark.parametrize(
    ("z", "rule", "at", "first"),
    [
        ((0.1, -3.1), 1, 1, 1),
        ((2.1, 0.0, 2.5), 2, 2, 0),
        ((1.2, 1.1, 0.5, 1.4, 1.3), 3, 4, 0),
        ((-0.1, -0.2, -0.1, -0.3, -0.2, -0.1, -0.1, -0.2), 4, 7, 0),
    ],
)
def test_each_rule_fires_at_the_value_that_completes_it(
    z: tuple[float, ...], rule: int, at: int, first: int
) -> None:
    found = [alarm for alarm in fired(standardised(*z)) if alarm.rule == rule]
    assert [(alarm.at, alarm.first) for alarm in found] == [(at, first)]
    assert not [alarm for alarm in fired(standardised(*z[:-1])) if alarm.rule == rule]


def test_two_values_on_opposite_sides_are_no_second_rule() -> None:
    assert not [alarm for alarm in fired(standardised(2.5, -2.5, 0.0)) if alarm.rule == 2]


def test_the_stated_alarms_are_those_of_the_normal_distribution() -> None:
    def beyond(sigma: float) -> float:
        return math.erfc(sigma / math.sqrt(2)) / 2

    two, one = beyond(2), beyond(1)
    assert ALARMS[1] == pytest.approx(2 * beyond(3), rel=1e-3)
    assert ALARMS[2] == pytest.approx(2 * two * (1 - (1 - two) ** 2), rel=1e-3)
    assert ALARMS[3] == pytest.approx(2 * one * (4 * one**3 * (1 - one) + one**4), rel=1e-3)
    assert ALARMS[4] == 2 * 0.5**8


def test_on_a_stable_process_charts_alarm_as_seldom_as_stated() -> None:
    done = subprocess.run(
        [sys.executable, str(PROOF), "--points", "30000"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["plain_p_chart"] > 10 * told["found"]["p' of shares that vary"]["1"]


def test_a_trend_is_seen_through_noise_and_outliers_and_not_where_there_is_none() -> None:
    rising = [0.01 * k + (0.02 if k % 2 else 0.0) for k in range(30)]
    rising[7] = 5.0
    found = trend(rising)
    assert found.slope == pytest.approx(0.01, abs=0.003)
    assert found.p_value < 1e-6
    assert trend([1.0, 2.0] * 10).p_value > 0.05
    assert trend([3.0] * 8).p_value == 1.0


def test_three_defects_at_one_point_within_five_bodies_are_told_at_the_third() -> None:
    assert clusters([True, False, True, False, True, False]) == [4]
    assert clusters([True, False, False, True, False, False, True]) == []
    assert clusters([True, True], count=2, within=2) == [1]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: p_chart([1], [10]),
        lambda: p_chart([1, 2], [10, 0]),
        lambda: p_chart([1, 11], [10, 10]),
        lambda: p_chart([1, 2, 3], [10, 10]),
        lambda: u_chart([-1, 2], [1, 1]),
        lambda: g_chart([5]),
        lambda: i_chart([1.0]),
        lambda: mr_chart([1.0]),
        lambda: trend([1.0, 2.0, 3.0]),
    ],
)
def test_what_cannot_be_charted_is_refused(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(ValueError, match=r"\w"):
        wrong()


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(50, 5000)), min_size=2, max_size=40))
def test_limits_of_shares_are_shares_and_hold_the_centre(rows: list[tuple[int, int]]) -> None:
    counts, sizes = zip(*rows, strict=True)
    chart = p_chart(counts, sizes)
    assert len(chart.values) == len(chart.z) == len(rows)
    for low, high in zip(chart.lower, chart.upper, strict=True):
        assert 0 <= low <= chart.centre <= high <= 1
