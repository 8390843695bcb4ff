"""The attribute study, against the handbook's own example and Fleiss' psychiatrists."""

from __future__ import annotations

import random

import pytest

from inspection.agreement import (
    Appraiser,
    AttributeStudy,
    Grade,
    Judged,
    Measure,
    Trial,
    cohen,
    cohen_of_items,
    evaluate,
    fleiss,
    grade_of,
    rated,
)
from inspection.statistics import upper_bound

# AIAG, Measurement Systems Analysis, 4th edition (2010), chapter III section C, "Attribute Study
# Data Set": 50 parts, appraisers A, B and C, three trials each (1 acceptable, 0 not). Parts of
# which all said what the reference says in every trial are not listed but by that.
DEFECTS = {3, 4, 5, 9, 12, 22, 25, 26, 30, 34, 37, 39, 42, 45, 48, 50}
REFERENCE = "".join("0" if number in DEFECTS else "1" for number in range(1, 51))
HANDBOOK = {
    6: ("110", "110", "100"), 7: ("111", "111", "101"), 12: ("000", "000", "010"),
    14: ("110", "111", "100"), 21: ("110", "101", "010"), 22: ("001", "010", "110"),
    26: ("010", "000", "001"), 30: ("000", "001", "000"), 34: ("001", "001", "011"),
    36: ("110", "111", "101"), 43: ("101", "111", "110"),
}  # fmt: skip
WORD = {"1": Judged.GOOD, "0": Judged.DEFECT}

# Fleiss, Psychological Bulletin 76 (1971), table 1: 30 patients, 6 psychiatrists each, who chose
# 1 depression, 2 personality disorder, 3 schizophrenia, 4 neurosis, 5 other.
PSYCHIATRISTS = (
    "444444 222555 233335 555555 222444 113333 333355 113334 114444 555555 144444 124444 222333"
    " 144444 224445 333335 111455 111112 224444 133555 555555 244444 224555 114444 144445 222224"
    " 111155 224444 133333 555555"
)


def handbook() -> AttributeStudy:
    reference = {str(n): WORD[word] for n, word in enumerate(REFERENCE, 1)}
    judged = []
    for number, truth in enumerate(REFERENCE, 1):
        for name, words in zip("ABC", HANDBOOK.get(number, (truth * 3,) * 3), strict=True):
            for trial, word in enumerate(words, 1):
                judged.append(Trial(name, str(number), trial, WORD[word]))
    return evaluate(judged, reference=reference, appraisers=tuple("ABC"), trials=3)


def named(study: AttributeStudy, name: str) -> Appraiser:
    return next(each for each in study.appraisers if each.name == name)


def test_pairwise_kappas_are_the_handbooks() -> None:
    pairs = {"".join(names): kappa for names, kappa in handbook().pairs.items()}
    assert {names: round(kappa.value or 0, 2) for names, kappa in pairs.items()} == {
        "AB": 0.86, "AC": 0.78, "BC": 0.79,
    }  # fmt: skip


def test_kappas_to_the_reference_are_the_handbooks() -> None:
    found = {each.name: round(each.reference.value or 0, 2) for each in handbook().appraisers}
    assert found == {"A": 0.88, "B": 0.92, "C": 0.77}


def test_the_grades_are_those_the_handbook_gives_its_appraisers() -> None:
    found = {
        each.name: [(figure.over_decisions.errors, figure.grade.value) for figure in each.rated]
        for each in handbook().appraisers
    }
    assert found == {
        "A": [(42, "marginal"), (3, "unacceptable"), (5, "acceptable")],
        "B": [(45, "acceptable"), (3, "unacceptable"), (2, "acceptable")],
        "C": [(40, "marginal"), (6, "unacceptable"), (9, "marginal")],
    }
    assert {each.grade for each in handbook().appraisers} == {Grade.UNACCEPTABLE}


def test_effectiveness_has_the_handbooks_bounds() -> None:
    # The handbook's table: 84, 90 and 80 %, from 71, 78 and 66 to 93, 97 and 90 %.
    found = [each.effectiveness.over_parts for each in handbook().appraisers]
    assert [(round(100 * each.lower), round(100 * each.upper)) for each in found] == [
        (71, 93), (78, 97), (66, 90),
    ]  # fmt: skip
    study = handbook()
    assert (study.agreed.errors, study.correct.errors, study.items) == (39, 39, 50)
    assert [round(100 * bound) for bound in (study.correct.lower, study.correct.upper)] == [64, 88]


def test_fleiss_kappa_of_the_psychiatrists_is_his() -> None:
    kappa = fleiss(PSYCHIATRISTS.split())
    assert kappa.value == pytest.approx(0.430, abs=5e-4)
    assert kappa.observed == pytest.approx(0.5556, abs=5e-5)
    assert kappa.expected == pytest.approx(0.2199, abs=5e-5)


def test_a_small_study_shows_little_and_says_how_many_parts_would() -> None:
    perfect = rated(Measure.MISS, (0, 48), (0, 16))
    assert perfect.grade is Grade.ACCEPTABLE
    assert not perfect.shown
    assert perfect.needed == 149  # 1 - 0.05 ** (1 / 149) is below 2 %
    assert upper_bound(0, 149) <= 0.02 < upper_bound(0, 148)
    assert rated(Measure.MISS, (0, 447), (0, 149)).shown


def test_what_lies_on_a_limit_is_shown_by_no_number_of_parts() -> None:
    exactly = rated(Measure.EFFECTIVENESS, (45, 50))
    assert exactly.grade is Grade.ACCEPTABLE
    assert not exactly.shown
    assert exactly.needed is None


def test_the_needed_parts_would_show_the_grade() -> None:
    found = rated(Measure.EFFECTIVENESS, (48, 50))
    assert not found.shown
    assert found.needed is not None
    right = found.needed - -(-2 * found.needed // 50)
    assert rated(Measure.EFFECTIVENESS, (right, found.needed)).shown


def test_nothing_to_count_speaks_for_nobody() -> None:
    figure = rated(Measure.MISS, (0, 0), (0, 0))
    assert figure.grade is Grade.UNACCEPTABLE
    assert not figure.shown


@pytest.mark.parametrize(
    ("measure", "figures"),
    [
        (Measure.EFFECTIVENESS, (0.90, 0.8999, 0.80, 0.7999)),
        (Measure.MISS, (0.02, 0.0201, 0.05, 0.0501)),
        (Measure.FALSE_ALARM, (0.05, 0.0501, 0.10, 0.1001)),
    ],
)
def test_limits_belong_to_the_better_side(measure: Measure, figures: tuple[float, ...]) -> None:
    acceptable, marginal, unacceptable = Grade
    assert [grade_of(measure, figure) for figure in figures] == [
        acceptable, marginal, marginal, unacceptable,
    ]  # fmt: skip


def whole(words: str, reference: str, trials: int = 1) -> AttributeStudy:
    """A study of one appraiser."""
    letters = {"g": Judged.GOOD, "d": Judged.DEFECT, "x": Judged.CANNOT_TELL}
    judged = [
        Trial("A", str(place // trials), place % trials + 1, letters[word])
        for place, word in enumerate(words)
    ]
    truth = {str(place): letters[word] for place, word in enumerate(reference)}
    return evaluate(judged, reference=truth, appraisers=["A"], trials=trials)


def test_cannot_tell_is_never_right_stops_a_good_part_and_misses_no_defect() -> None:
    (found,) = whole("xxgd", "gdgd").appraisers
    assert found.effectiveness.over_decisions.errors == 2
    assert (found.false_alarm.over_decisions.errors, found.miss.over_decisions.errors) == (1, 0)
    assert found.cannot_tell == 2


def test_a_study_that_is_not_finished_shows_nothing() -> None:
    letters = [Trial("A", str(n), 1, Judged.GOOD) for n in range(299)]
    truth = {str(n): Judged.GOOD for n in range(300)}
    study = evaluate(letters, reference=truth, appraisers=["A"], trials=1)
    (found,) = study.appraisers
    assert found.open_items == 1
    assert not found.shown
    assert (study.given, study.expected) == (299, 300)


@pytest.mark.parametrize(
    "wrong",
    [
        Trial("B", "1", 1, Judged.GOOD),
        Trial("A", "7", 1, Judged.GOOD),
        Trial("A", "1", 3, Judged.GOOD),
        Trial("A", "1", 0, Judged.GOOD),
    ],
)
def test_a_judgement_from_elsewhere_is_refused(wrong: Trial) -> None:
    with pytest.raises(ValueError, match="not in the study"):
        evaluate([wrong], reference={"1": Judged.GOOD}, appraisers=["A"], trials=2)


def test_the_same_trial_twice_is_refused() -> None:
    twice = [Trial("A", "1", 1, Judged.GOOD), Trial("A", "1", 1, Judged.DEFECT)]
    with pytest.raises(ValueError, match="there twice"):
        evaluate(twice, reference={"1": Judged.GOOD}, appraisers=["A"], trials=2)


def test_a_truth_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="leave it out"):
        evaluate([], reference={"1": Judged.CANNOT_TELL}, appraisers=["A"], trials=1)


def test_every_part_that_was_not_always_called_right_is_listed_with_what_was_said() -> None:
    study = handbook()
    assert [each.item for each in study.disagreements] == [str(number) for number in HANDBOOK]
    said = next(each for each in study.disagreements if each.item == "12").said
    assert said["C"] == (Judged.DEFECT, Judged.GOOD, Judged.DEFECT)


def test_kappa_of_one_word_only_says_nothing() -> None:
    kappa = cohen([("good", "good")] * 40)
    assert kappa.value is None
    assert (kappa.lower, kappa.upper) == (-1.0, 1.0)
    assert fleiss([("good", "good")] * 40).value is None
    assert fleiss([]).value is None
    assert cohen([]).value is None


def test_full_agreement_has_no_bound_of_one() -> None:
    kappa = cohen_of_items([[("good", "good")] * 3, [("defect", "defect")] * 3] * 5)
    assert kappa.value == 1.0
    assert kappa.lower == -1.0  # no disagreement was seen, so its spread is not known


def test_bounds_of_kappa_over_repeated_looks_cover_the_truth() -> None:
    """Parts of which a few are hard, judged three times by two: the bounds must hold although the
    three looks at one part are alike. Those that take every look for a part of its own do not."""
    random_ = random.Random(20)

    def study(parts: int) -> list[list[tuple[str, str]]]:
        items = []
        for _ in range(parts):
            wrong = 0.35 if random_.random() < 0.4 else 0.01  # 40 % borderline
            truth = random_.random() < 0.5
            borders = [random_.random() < wrong for _ in "ab"]
            items.append(
                [
                    tuple(
                        str(truth != (random_.random() < (0.9 if hard else 0.03)))
                        for hard in borders
                    )
                    for _ in range(3)
                ]
            )
        return items  # type: ignore[return-value]  # a tuple of two

    truth = cohen_of_items(study(20_000)).value
    assert truth is not None
    of_parts, of_looks = 0, 0
    for _ in range(300):
        items = study(50)
        clustered = cohen_of_items(items)
        alone = cohen([pair for pairs in items for pair in pairs])
        of_parts += clustered.lower <= truth <= clustered.upper
        of_looks += alone.lower <= truth <= alone.upper
    assert of_parts >= 0.91 * 300  # three standard errors of the simulation below 95 %
    assert of_looks < of_parts
