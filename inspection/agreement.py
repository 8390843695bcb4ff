"""How well those who judge agree with each other and with the truth: the attribute study of AIAG,
Measurement Systems Analysis, 4th edition (2010), chapter III, section C.

Some parts are judged several times by several appraisers, of whom the machine may be one. The
study counts what the handbook counts (effectiveness, miss rate, false-alarm rate), holds it against
the handbook's limits, and says where so few parts do not show what the figure seems to say. The
unit of every bound is the part, not the decision: three looks at one part are not three parts.

Kappa is Cohen's (Educational and Psychological Measurement 20, 1960) for two, with the standard
error of Fleiss, Cohen and Everitt (Psychological Bulletin 72, 1969), and Fleiss' (Psychological
Bulletin 76, 1971) for many. Where parts were judged repeatedly its bounds come from the jackknife
over parts (Efron and Stein, Annals of Statistics 9, 1981), which needs no independent decisions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from inspection.statistics import Rate, rate, upper_bound

NORMAL_975 = 1.959963984540054
"""Half the width of a two-sided 95 % interval, in standard errors."""
MOST_PARTS = 100_000
"""A study that would need more parts is no study."""

KAPPA_GOOD, KAPPA_POOR = 0.75, 0.40
"""The handbook's: above the first good to excellent agreement, below the second poor."""


class Judged(StrEnum):
    """What an appraiser says of a part."""

    GOOD = "good"
    DEFECT = "defect"
    CANNOT_TELL = "cannot_tell"


class Grade(StrEnum):
    """The handbook's word for an appraiser."""

    ACCEPTABLE = "acceptable"
    MARGINAL = "marginal"
    UNACCEPTABLE = "unacceptable"


class Measure(StrEnum):
    EFFECTIVENESS = "effectiveness"
    MISS = "miss"
    FALSE_ALARM = "false_alarm"


LIMITS: Mapping[Measure, tuple[float, float]] = {
    Measure.EFFECTIVENESS: (0.90, 0.80),
    Measure.MISS: (0.02, 0.05),
    Measure.FALSE_ALARM: (0.05, 0.10),
}
"""Acceptable and marginal: effectiveness is at least that, the others are at most that."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One judgement: of this item, by this appraiser, the how manieth time (from 1)."""

    appraiser: str
    item: str
    trial: int
    judged: Judged


# ----------------------------------------------------------------------------------------- kappa


@dataclass(frozen=True, slots=True)
class Kappa:
    """Agreement beyond chance: 1 is full, 0 what chance alone gives. ``value`` is None where all
    said the same of everything, so that chance alone agrees fully too and nothing can be said; the
    bounds then are -1 and 1. ``count`` are the pairs (Cohen) or items (Fleiss) it rests on."""

    value: float | None
    standard_error: float | None
    lower: float
    upper: float
    observed: float
    expected: float
    count: int


def cohen(pairs: Sequence[tuple[str, str]]) -> Kappa:
    """Cohen's kappa of independent pairs of words, with its large-sample standard error."""
    counts = Counter(pairs)
    value, observed, expected = _cohen(counts)
    if value is None:
        return _kappa(None, None, observed, expected, len(pairs))
    total, chance = len(pairs), 1.0 - expected
    rows = Counter(one for one, _ in pairs)
    columns = Counter(other for _, other in pairs)
    spread = -((observed * expected - 2 * expected + observed) ** 2)
    for (one, other), count in counts.items():
        if one == other:
            margins = (rows[one] + columns[one]) / total
            spread += count / total * (chance - margins * (1.0 - observed)) ** 2
        else:
            margins = (columns[one] + rows[other]) / total
            spread += count / total * ((1.0 - observed) * margins) ** 2
    error = math.sqrt(max(0.0, spread) / total) / chance**2
    return _kappa(value, error, observed, expected, total)


def cohen_of_items(items: Iterable[Sequence[tuple[str, str]]]) -> Kappa:
    """Cohen's kappa of the pairs of several items, where the pairs of one item belong together."""
    counts = [Counter(pairs) for pairs in items if pairs]
    total: Counter[tuple[str, str]] = Counter()
    for each in counts:
        total.update(each)
    value, observed, expected = _cohen(total)
    error = _jackknife([_cohen(total - each)[0] for each in counts])
    return _kappa(value, error, observed, expected, total.total())


def fleiss(items: Iterable[Sequence[str]]) -> Kappa:
    """Fleiss' kappa: each item with the words it was given. Items with fewer than two words say
    nothing of agreement and are left out; where items have different numbers of words, the shares
    of the words are over all of them."""
    tallies = [Counter(words) for words in items if len(words) >= 2]
    total: Counter[str] = Counter()
    for each in tallies:
        total.update(each)
    alike = [_alike(each) for each in tallies]
    value, observed, expected = _fleiss(total, sum(alike), len(tallies))
    error = _jackknife(
        [
            _fleiss(total - each, sum(alike) - own, len(tallies) - 1)[0]
            for each, own in zip(tallies, alike, strict=True)
        ]
    )
    return _kappa(value, error, observed, expected, len(tallies))


def _cohen(pairs: Counter[tuple[str, str]]) -> tuple[float | None, float, float]:
    """(kappa, observed, expected)."""
    rows: Counter[str] = Counter()
    columns: Counter[str] = Counter()
    agreed, total = 0, pairs.total()
    for (one, other), count in pairs.items():
        rows[one] += count
        columns[other] += count
        agreed += count if one == other else 0
    by_chance = sum(rows[word] * columns[word] for word in rows)
    if by_chance == total * total:  # all is one word, or there is nothing
        return None, agreed / total if total else 0.0, 1.0
    observed, expected = agreed / total, by_chance / total**2
    return (observed - expected) / (1.0 - expected), observed, expected


def _alike(tally: Counter[str]) -> float:
    """The share of the pairs of words of one item that are equal."""
    words = tally.total()
    return sum(count * (count - 1) for count in tally.values()) / (words * (words - 1))


def _fleiss(words: Counter[str], alike: float, items: int) -> tuple[float | None, float, float]:
    """(kappa, observed, expected) of all words and the sum of `_alike` over so many items."""
    given = words.total()
    if not items or max(words.values()) == given:
        return None, alike / items if items else 0.0, 1.0
    observed = alike / items
    expected = sum((count / given) ** 2 for count in words.values())
    return (observed - expected) / (1.0 - expected), observed, expected


def _jackknife(without: Sequence[float | None]) -> float | None:
    """The standard error from the estimates that leave out one item each; None where there are
    fewer than two or one of them cannot be formed."""
    known = [value for value in without if value is not None]
    if len(known) < 2 or len(known) < len(without):
        return None
    mean = math.fsum(known) / len(known)
    spread = math.fsum((value - mean) ** 2 for value in known)
    return math.sqrt(spread * (len(known) - 1) / len(known))


def _kappa(
    value: float | None, error: float | None, observed: float, expected: float, count: int
) -> Kappa:
    lower, upper = -1.0, 1.0
    # An error of nought is that of a table without a single disagreement: it shows that these
    # parts were no test, not that kappa is known exactly.
    if value is not None and error:
        lower = max(-1.0, value - NORMAL_975 * error)
        upper = min(1.0, value + NORMAL_975 * error)
    return Kappa(value, error, lower, upper, observed, expected, count)


# ---------------------------------------------------------------------------------- one appraiser


@dataclass(frozen=True, slots=True)
class Rated:
    """One figure of one appraiser against the handbook's limits.

    ``over_decisions`` is the handbook's figure with its Clopper-Pearson interval as if every
    decision were one of its own (for effectiveness they are parts to begin with). ``over_parts``
    counts parts: for effectiveness those judged right every time, for misses and false alarms
    those with any, a rate that is never below that of the decisions. ``bound`` is its one-sided
    95 % bound on the bad side, which therefore also holds for the handbook's figure.

    ``shown`` says whether the bound lies on the grade's side of its limit. ``needed`` are the
    parts (of the kind this figure is about) that would show the grade if the share of parts with a
    mistake stayed as it is; None where no number would.
    """

    measure: Measure
    over_decisions: Rate
    over_parts: Rate
    bound: float
    grade: Grade
    shown: bool
    needed: int | None


@dataclass(frozen=True, slots=True)
class Appraiser:
    """What a study says of one appraiser. Parts that he has not judged in every trial yet are in
    ``open_items`` and in nothing else."""

    name: str
    items: int
    open_items: int
    decisions: int
    cannot_tell: int
    effectiveness: Rated
    miss: Rated
    false_alarm: Rated
    consistent: Rate
    """Parts of which he said the same every time, right or wrong: ``errors`` are those."""
    within: Kappa
    """Fleiss' kappa of his own trials."""
    reference: Kappa
    """Cohen's kappa of his decisions and the reference."""

    @property
    def rated(self) -> tuple[Rated, Rated, Rated]:
        return self.effectiveness, self.miss, self.false_alarm

    @property
    def grade(self) -> Grade:
        """The worst of the three."""
        order = tuple(Grade)
        return max((each.grade for each in self.rated), key=order.index)

    @property
    def shown(self) -> bool:
        """Whether so many parts show the grade: that every figure keeps its limits, or that one
        is beyond the marginal limit. Nothing is shown before all parts have been judged."""
        if self.open_items:
            return False
        if self.grade is Grade.UNACCEPTABLE:
            return any(each.shown for each in self.rated if each.grade is self.grade)
        return all(_shows(each, self.grade) for each in self.rated)


def limit_of(measure: Measure, grade: Grade) -> float:
    """The limit that a figure must keep for a grade; that of unacceptable is marginal's."""
    acceptable, marginal = LIMITS[measure]
    return acceptable if grade is Grade.ACCEPTABLE else marginal


def grade_of(measure: Measure, figure: float) -> Grade:
    """The handbook's word for a figure."""
    for grade in (Grade.ACCEPTABLE, Grade.MARGINAL):
        limit = limit_of(measure, grade)
        if figure >= limit if measure is Measure.EFFECTIVENESS else figure <= limit:
            return grade
    return Grade.UNACCEPTABLE


def rated(
    measure: Measure,
    counted: tuple[int, int],
    any_parts: tuple[int, int] | None = None,
    every_parts: tuple[int, int] | None = None,
) -> Rated:
    """One figure: what was counted of how many decisions, and the parts where it happened in any
    and in every trial, of how many. Without anything to count it is unacceptable and not shown,
    because nothing speaks for it."""
    some, total = counted
    part_some, part_total = counted if any_parts is None else any_parts
    decisions, parts = rate(some, total), rate(part_some, part_total)
    if measure is Measure.EFFECTIVENESS:
        bound = 1.0 - upper_bound(part_total - part_some, part_total)
    else:
        bound = parts.at_most
    if decisions.rate is None:
        return Rated(measure, decisions, parts, bound, Grade.UNACCEPTABLE, False, None)
    grade = grade_of(measure, decisions.rate)
    if grade is Grade.UNACCEPTABLE:
        shown = _is_beyond(measure, counted if every_parts is None else every_parts)
        return Rated(measure, decisions, parts, bound, grade, shown, None)
    shown = _keeps(measure, bound, limit_of(measure, grade))
    needed = _needed(measure, grade, part_some, part_total)
    return Rated(measure, decisions, parts, bound, grade, shown, needed)


def _keeps(measure: Measure, bound: float, limit: float) -> bool:
    return bound >= limit if measure is Measure.EFFECTIVENESS else bound <= limit


def _shows(figure: Rated, grade: Grade) -> bool:
    return _keeps(figure.measure, figure.bound, limit_of(figure.measure, grade))


def _is_beyond(measure: Measure, parts: tuple[int, int]) -> bool:
    """Whether it is shown that the figure is beyond the marginal limit. Parts where it happened
    every time are never more than the share of the decisions, so their bound holds for both."""
    some, total = parts
    limit = limit_of(measure, Grade.UNACCEPTABLE)
    if measure is Measure.EFFECTIVENESS:
        return upper_bound(some, total) < limit
    return 1.0 - upper_bound(total - some, total) > limit


def _needed(measure: Measure, grade: Grade, some: int, total: int) -> int | None:
    """Parts that would show the grade at the present share of parts with a mistake."""
    limit = limit_of(measure, grade)
    mistakes = total - some if measure is Measure.EFFECTIVENESS else some
    allowed = 1.0 - limit if measure is Measure.EFFECTIVENESS else limit
    if mistakes >= allowed * total:
        return None
    low, high = 0, 1
    while upper_bound(-(-mistakes * high // total), high) > allowed:
        low, high = high, 2 * high
        if high > MOST_PARTS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if upper_bound(-(-mistakes * middle // total), middle) > allowed:
            low = middle
        else:
            high = middle
    return high


# ------------------------------------------------------------------------------------- the study


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A part of which not all said the same, or not all what the reference says. ``said`` is by
    appraiser, in the order of his trials."""

    item: str
    reference: Judged | None
    said: Mapping[str, tuple[Judged, ...]]


@dataclass(frozen=True, slots=True)
class AttributeStudy:
    """What a study says. ``pairs`` is Cohen's kappa of any two appraisers, ``overall`` Fleiss' of
    everything said, ``agreed`` the parts of which all said the same in every trial, ``correct``
    those of which all said what the reference says (of the parts that all have judged)."""

    items: int
    good: int
    defect: int
    trials: int
    appraisers: tuple[Appraiser, ...]
    pairs: Mapping[tuple[str, str], Kappa]
    overall: Kappa
    agreed: Rate
    correct: Rate
    disagreements: tuple[Disagreement, ...]
    expected: int
    """Decisions that the study asks for ..."""
    given: int
    """... and those that have been given."""


def evaluate(
    judged: Iterable[Trial],
    *,
    reference: Mapping[str, Judged],
    appraisers: Sequence[str],
    trials: int,
) -> AttributeStudy:
    """Evaluate a study: ``reference`` has every item and what it truly is, GOOD or DEFECT.

    Raises `ValueError` for a judgement that does not belong to the study or is there twice."""
    if Judged.CANNOT_TELL in reference.values():
        raise ValueError("a part whose truth is unknown cannot be in a study: leave it out")
    said: dict[str, dict[str, dict[int, Judged]]] = {
        name: {item: {} for item in reference} for name in appraisers
    }
    given = 0
    for each in judged:
        place = said.get(each.appraiser, {}).get(each.item)
        if place is None or not 1 <= each.trial <= trials:
            raise ValueError(
                f"trial {each.trial} of {each.item!r} by {each.appraiser!r} is not in the study"
            )
        if each.trial in place:
            raise ValueError(
                f"trial {each.trial} of {each.item!r} by {each.appraiser!r} is there twice"
            )
        place[each.trial] = each.judged
        given += 1
    rows = tuple(_appraiser(name, said[name], reference, trials) for name in appraisers)
    pairs = {
        (one, other): cohen_of_items(
            [
                [
                    (said[one][item][trial], said[other][item][trial])
                    for trial in sorted(said[one][item].keys() & said[other][item].keys())
                ]
                for item in reference
            ]
        )
        for one, other in combinations(appraisers, 2)
    }
    everything = {
        item: [word for name in appraisers for _, word in sorted(said[name][item].items())]
        for item in reference
    }
    complete = [
        item for item, words in everything.items() if len(words) == trials * len(appraisers) > 0
    ]
    agreed = sum(len(set(everything[item])) == 1 for item in complete)
    correct = sum(set(everything[item]) == {reference[item]} for item in complete)
    disagreements = tuple(
        Disagreement(
            item,
            reference[item],
            {
                name: tuple(word for _, word in sorted(said[name][item].items()))
                for name in appraisers
            },
        )
        for item, words in everything.items()
        if set(words) - {reference[item]}
    )
    return AttributeStudy(
        items=len(reference),
        good=sum(word is Judged.GOOD for word in reference.values()),
        defect=sum(word is Judged.DEFECT for word in reference.values()),
        trials=trials,
        appraisers=rows,
        pairs=pairs,
        overall=fleiss(everything.values()),
        agreed=rate(agreed, len(complete)),
        correct=rate(correct, len(complete)),
        disagreements=disagreements,
        expected=len(reference) * len(appraisers) * trials,
        given=given,
    )


def _appraiser(
    name: str,
    said: Mapping[str, Mapping[int, Judged]],
    reference: Mapping[str, Judged],
    trials: int,
) -> Appraiser:
    whole = {item: list(words.values()) for item, words in said.items() if len(words) == trials}
    right = sum(set(words) == {reference[item]} for item, words in whole.items())
    good = [words for item, words in whole.items() if reference[item] is Judged.GOOD]
    defect = [words for item, words in whole.items() if reference[item] is Judged.DEFECT]
    missed = [words.count(Judged.GOOD) for words in defect]
    # A good part of which nobody can tell goes no further either.
    alarms = [len(words) - words.count(Judged.GOOD) for words in good]
    return Appraiser(
        name=name,
        items=len(whole),
        open_items=len(said) - len(whole),
        decisions=trials * len(whole),
        cannot_tell=sum(words.count(Judged.CANNOT_TELL) for words in whole.values()),
        effectiveness=rated(Measure.EFFECTIVENESS, (right, len(whole))),
        miss=rated(
            Measure.MISS,
            (sum(missed), trials * len(defect)),
            (sum(count > 0 for count in missed), len(defect)),
            (missed.count(trials), len(defect)),
        ),
        false_alarm=rated(
            Measure.FALSE_ALARM,
            (sum(alarms), trials * len(good)),
            (sum(count > 0 for count in alarms), len(good)),
            (alarms.count(trials), len(good)),
        ),
        consistent=rate(sum(len(set(words)) == 1 for words in whole.values()), len(whole)),
        within=fleiss(whole.values()),
        reference=cohen_of_items(
            [(word, reference[item]) for word in words] for item, words in whole.items()
        ),
    )
