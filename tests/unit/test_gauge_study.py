"""The variables study, against the handbook's example."""

from __future__ import annotations

import math
import random

import pytest

from inspection.gauge_study import (
    GaugeGrade,
    anova,
    average_range,
    type_1,
)
from inspection.statistics import f_tail

# AIAG, Measurement Systems Analysis, 4th edition (2010), chapter III section B, "Gage R&R data":
# ten parts, appraisers A, B and C, three trials each.
HANDBOOK = {
    "A": (
        (0.29, -0.56, 1.34, 0.47, -0.80, 0.02, 0.59, -0.31, 2.26, -1.36),
        (0.41, -0.68, 1.17, 0.50, -0.92, -0.11, 0.75, -0.20, 1.99, -1.25),
        (0.64, -0.58, 1.27, 0.64, -0.84, -0.21, 0.66, -0.17, 2.01, -1.31),
    ),
    "B": (
        (0.08, -0.47, 1.19, 0.01, -0.56, -0.20, 0.47, -0.63, 1.80, -1.68),
        (0.25, -1.22, 0.94, 1.03, -1.20, 0.22, 0.55, 0.08, 2.12, -1.62),
        (0.07, -0.68, 1.34, 0.20, -1.28, 0.06, 0.83, -0.34, 2.19, -1.50),
    ),
    "C": (
        (0.04, -1.38, 0.88, 0.14, -1.46, -0.29, 0.02, -0.46, 1.77, -1.49),
        (-0.11, -1.13, 1.09, 0.20, -1.07, -0.67, 0.01, -0.56, 1.45, -1.77),
        (-0.15, -0.96, 0.67, 0.11, -1.45, -0.49, 0.21, -0.49, 1.87, -2.16),
    ),
}
VALUES = {
    str(part + 1): {
        name: tuple(trial[part] for trial in trials) for name, trials in HANDBOOK.items()
    }
    for part in range(10)
}


def test_the_table_of_variance_is_the_handbooks() -> None:
    table = {row.name: row for row in anova(VALUES).table}
    assert {name: (row.freedom, round(row.sum_of_squares, 4)) for name, row in table.items()} == {
        "appraiser": (2, 3.1673),
        "part": (9, 88.3619),
        "both": (18, 0.3590),
        "equipment": (60, 2.7589),
        "total": (89, 94.6471),
    }
    assert table["both"].f == pytest.approx(0.434, abs=5e-4)
    assert table["both"].p == pytest.approx(0.974, abs=5e-4)


def test_the_components_are_the_handbooks() -> None:
    found = anova(VALUES)
    assert found.pooled
    assert found.ev == pytest.approx(0.199933, abs=1e-6)
    assert found.av == pytest.approx(0.226838, abs=1e-6)
    assert found.grr == pytest.approx(0.302373, abs=2e-6)  # of rounded parts
    assert found.pv == pytest.approx(1.042327, abs=1e-6)
    assert found.grr_share == pytest.approx(0.279, abs=5e-4)
    assert found.ndc == 4
    assert found.grade is GaugeGrade.MARGINAL


def test_averages_and_ranges_are_the_handbooks() -> None:
    found = average_range(VALUES)
    assert found.ev == pytest.approx(0.20188, abs=5e-5)
    assert found.av == pytest.approx(0.22963, abs=5e-5)
    assert found.grr == pytest.approx(0.30575, abs=5e-5)
    assert found.pv == pytest.approx(1.10456, abs=5e-4)
    assert found.tv == pytest.approx(1.14610, abs=5e-4)
    assert found.ndc == 5


def test_a_tolerance_is_compared_with_six_deviations() -> None:
    found = anova(VALUES, tolerance=4.0)
    assert found.of_tolerance(found.grr) == pytest.approx(6 * 0.302373 / 4, abs=1e-5)
    assert found.grade is GaugeGrade.UNACCEPTABLE  # 45 % of the tolerance


def test_an_interaction_that_is_there_is_not_hidden_in_repeatability() -> None:
    random_ = random.Random(3)
    values = {
        str(part): {
            name: [part + 0.5 * math.sin(7 * part + 40 * shift) + random_.gauss(0, 0.01)
                   for _ in range(3)]
            for shift, name in enumerate("AB")
        }
        for part in range(10)
    }  # fmt: skip
    found = anova(values)
    assert not found.pooled
    assert found.interaction > 10 * found.ev
    assert found.grr > found.interaction


def test_a_single_appraiser_has_repeatability_and_no_reproducibility() -> None:
    alone = {part: {"A": names["A"]} for part, names in VALUES.items()}
    found = anova(alone)
    assert found.av is None
    assert found.grr == found.ev > 0


def test_components_are_found_again_in_what_was_made_of_them() -> None:
    random_ = random.Random(11)
    totals = [0.0, 0.0, 0.0]
    studies = 60
    for _ in range(studies):
        shifts = {name: random_.gauss(0, 0.3) for name in "ABCDEF"}
        sizes = [random_.gauss(0, 1.0) for _ in range(15)]
        found = anova(
            {
                str(number): {
                    name: [size + shift + random_.gauss(0, 0.2) for _ in range(3)]
                    for name, shift in shifts.items()
                }
                for number, size in enumerate(sizes)
            }
        )
        assert found.av is not None
        for place, deviation in enumerate((found.ev, found.av, found.pv)):
            totals[place] += deviation**2 / studies
    assert [round(math.sqrt(total), 1) for total in totals] == [0.2, 0.3, 1.0]


def test_cg_and_cgk_compare_spread_and_bias_with_a_fifth_of_the_tolerance() -> None:
    # Mean 6.001 and standard deviation 0.001, reference 6.000, tolerance 0.06: Cg is
    # 0.2 * 0.06 / (6 * 0.001) = 2, Cgk (0.1 * 0.06 - 0.001) / (3 * 0.001) = 5 / 3.
    found = type_1([6.0, 6.001, 6.002], reference=6.0, tolerance=0.06)
    assert found.cg == pytest.approx(2.0)
    assert found.cgk == pytest.approx(5 / 3)
    assert found.capable
    assert found.bias_p == pytest.approx(0.2254, abs=1e-4)  # t = 1.7321 with 2 degrees


def test_a_bias_spoils_cgk_alone() -> None:
    found = type_1([6.005, 6.006, 6.007], reference=6.0, tolerance=0.06)
    assert found.cg == pytest.approx(2.0)
    assert found.cgk == pytest.approx(0.0)
    assert not found.capable


def test_a_gauge_that_never_spreads_is_not_called_capable() -> None:
    found = type_1([6.0] * 50, reference=6.0, tolerance=0.06)
    assert math.isinf(found.cg)
    assert not found.capable


def test_the_tail_of_f_is_that_of_the_tables() -> None:
    assert f_tail(4.10, 2, 10) == pytest.approx(0.05, abs=2e-4)  # 95 % points of F
    assert f_tail(3.84146, 1, 10**7) == pytest.approx(0.05, abs=1e-5)
    assert f_tail(0.0, 3, 5) == 1.0


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"1": {"A": [1.0, 2.0]}}, "two parts"),
        ({"1": {"A": [1.0]}, "2": {"A": [1.0]}}, "two trials"),
        ({"1": {"A": [1.0, 2.0]}, "2": {"B": [1.0, 2.0]}}, "same appraisers"),
        ({"1": {"A": [1.0, 2.0]}, "2": {"A": [1.0, 2.0, 3.0]}}, "measure what is missing"),
        ({"1": {"A": [1.0, 2.0]}, "2": {"A": [1.0, math.nan]}}, "not every value"),
    ],
)
def test_what_is_not_crossed_and_balanced_is_refused(
    values: dict[str, dict[str, list[float]]], wrong: str
) -> None:
    with pytest.raises(ValueError, match=wrong):
        anova(values)


def test_ranges_are_refused_where_the_handbook_has_no_constants() -> None:
    many = {str(number): VALUES["1"] for number in range(11)}
    with pytest.raises(ValueError, match="analysis of variance"):
        average_range(many)
