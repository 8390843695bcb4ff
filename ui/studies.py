"""Agreement without its page: what was planned, what has been answered, what comes of it.

People judge the picture of each item. The machine judges fresh captures: its trials are the
verdicts of several runs of the same part, because the same picture judged again says the same
again and would show a repeatability that nobody has.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from inspection.agreement import AttributeStudy, Judged, Kappa, Trial, evaluate
from inspection.errors import DataError
from inspection.gauge_study import GaugeStudy, Type1, anova, type_1
from inspection.messages import Action, LookPurpose, LookWord, Role, Verdict
from inspection.store.looks import looks, studies
from inspection.store.reader import PointRow, Reader, RunRow, TermsRow, WordRow
from inspection.study_plan import (
    SYSTEM,
    Candidate,
    MeasuredValue,
    StudyItem,
    StudyPlan,
    crossed,
    decode,
    nearness,
    to_come,
)
from ui.configuration import Known

RUNS_LOOKED_AT = 60
"""Newest runs that candidates for a study come from."""
RUNS_OF_A_PART = 100
MOST_CANDIDATES = 3000
"""Enough to choose from; older runs are not read then."""

SAYS = {
    Verdict.OK: Judged.GOOD,
    Verdict.NOK: Judged.DEFECT,
    Verdict.REVIEW: Judged.CANNOT_TELL,
    Verdict.NOT_INSPECTED: Judged.CANNOT_TELL,
}
"""What the machine says of a part; no word at all is never "good"."""

HEARD = {
    LookWord.GOOD: Judged.GOOD,
    LookWord.DEFECT: Judged.DEFECT,
    LookWord.CANNOT_TELL: Judged.CANNOT_TELL,
}

DECIDED = {
    Action.CONFIRM: Judged.DEFECT,
    Action.RECLASSIFY: Judged.DEFECT,
    Action.ESCAPE: Judged.DEFECT,
    Action.OVERRULE: Judged.GOOD,
}
"""What a person's decision says of the part; others say nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One look of one person at one item. Trial 0 is a word of the panel."""

    number: int
    person: str
    item: str
    trial: int
    judged: Judged
    looked_ns: int
    value_mm: float | None = None


@dataclass(frozen=True, slots=True)
class Capture:
    """One trial of the machine: what it said of an item in one run."""

    item: str
    trial: int
    run: str
    verdict: Verdict
    judged: Judged
    evidence: str | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A study as it was planned; where its document is none, ``plan`` is None and ``fault`` says
    why."""

    study: str
    person: str
    planned_ns: int
    plan: StudyPlan | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    given: int
    asked: int

    @property
    def done(self) -> bool:
        return self.given >= self.asked


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a study says, and what it leaves out: ``unknown`` has no reference yet, of ``split`` the
    panel did not say the same. ``short`` are items with too few captures, by how many they have."""

    study: AttributeStudy
    reference: Mapping[str, Judged]
    unknown: tuple[str, ...]
    split: tuple[str, ...]
    corrected: int
    """Answers that were given more than once."""
    short: Mapping[str, int]


def latest(answers: Iterable[Answer]) -> dict[tuple[str, str, int], Answer]:
    """The answer that counts of each person, item and trial: the first, unless the same person
    answered the same once more before anything else. A word of later, when the others' are known,
    is no correction."""
    found: dict[tuple[str, str, int], Answer] = {}
    before: dict[str, tuple[str, str, int]] = {}
    for answer in sorted(answers, key=lambda answer: answer.number):
        person = answer.person.casefold()
        place = (person, answer.item, answer.trial)
        if place not in found or before[person] == place:
            found[place] = answer
        before[person] = place
    return found


def given_by(answers: Iterable[Answer], person: str) -> set[tuple[str, int]]:
    """(item, trial) that somebody has answered."""
    mine = person.casefold()
    return {(each.item, each.trial) for each in answers if each.person.casefold() == mine}


def is_appraiser(plan: StudyPlan, person: str) -> bool:
    return person.casefold() in {name.casefold() for name in plan.appraisers}


def next_for(
    plan: StudyPlan, answers: Sequence[Answer], person: str, *, panel: bool = False
) -> tuple[tuple[StudyItem, int] | None, Progress]:
    """What somebody is asked next, and how far he is. An appraiser is never of the panel: he would
    judge against his own word."""
    if panel == is_appraiser(plan, person):
        return None, Progress(0, 0)
    asked = to_come(plan, person, [], panel=panel)
    left = to_come(plan, person, given_by(answers, person), panel=panel)
    return (left[0] if left else None), Progress(len(asked) - len(left), len(asked))


def progress(plan: StudyPlan, answers: Sequence[Answer]) -> dict[str, Progress]:
    """How far each person of a study is."""
    found = {}
    for name in plan.appraisers:
        _, found[name] = next_for(plan, answers, name)
    return found


def may_see(
    plan: StudyPlan, answers: Sequence[Answer], user: str | None, roles: Collection[Role]
) -> bool:
    """Whether the evaluation helps nobody who has still to judge: when all are through, and before
    that for somebody of quality who is no appraiser."""
    if all(each.done for each in progress(plan, answers).values()):
        return True
    return user is not None and not is_appraiser(plan, user) and Role.QUALITY in roles


def references(
    plan: StudyPlan, answers: Sequence[Answer]
) -> tuple[dict[str, Judged], tuple[str, ...], tuple[str, ...]]:
    """(reference by item, items without one, items of which the panel did not say the same). A
    panel that cannot tell gives no reference."""
    panel: dict[str, set[Judged]] = {}
    for (person, name, trial), answer in latest(answers).items():
        if trial == 0 and not is_appraiser(plan, person):
            panel.setdefault(name, set()).add(answer.judged)
    known: dict[str, Judged] = {}
    unknown, split = [], []
    for item in plan.items:
        if item.reference is not None:
            known[item.item] = item.reference
            continue
        said = panel.get(item.item, set())
        if not said:
            unknown.append(item.item)
        elif len(said) > 1 or Judged.CANNOT_TELL in said:
            split.append(item.item)
        else:
            known[item.item] = next(iter(said))
    return known, tuple(unknown), tuple(split)


def captures_of(
    item: StudyItem,
    runs: Sequence[RunRow],
    rows: Mapping[str, PointRow],
    terms: Mapping[str, TermsRow],
    trials: int,
) -> list[Capture]:
    """The machine's trials of one item: the run it was chosen from, then the other runs of the same
    part in their order, as long as nobody had repaired it in between. A run counts that was judged
    by the same model and policy and that took a picture of its own."""
    own = rows.get(item.run)
    numbers = {run.run: run.number for run in runs}
    if own is None or item.run not in numbers:
        return []
    here = numbers[item.run]
    repairs = [
        number
        for run, number in numbers.items()
        if run in terms and terms[run].repair_of is not None
    ]
    first = max((number for number in repairs if number <= here), default=0)
    end = min((number for number in repairs if number > here), default=None)
    found: list[Capture] = []
    pictures: set[str] = set()
    for run in sorted(numbers, key=lambda run: (run != item.run, numbers[run])):
        row = rows.get(run)
        if row is None or not first <= numbers[run] or (end is not None and numbers[run] >= end):
            continue
        if (row.package, row.policy) != (own.package, own.policy) and row.package is not None:
            continue
        if row.evidence is not None:
            if row.evidence in pictures:
                continue
            pictures.add(row.evidence)
        judged = SAYS[row.verdict]
        place = len(found) + 1
        found.append(Capture(item.item, place, run, row.verdict, judged, row.evidence))
        if len(found) == trials:
            break
    return found


def evaluated(
    plan: StudyPlan, answers: Sequence[Answer], captured: Sequence[Capture] = ()
) -> Evaluation:
    """What a study of words says by now."""
    known, unknown, split = references(plan, answers)
    names = {name.casefold(): name for name in plan.appraisers}
    counted = latest(answers)
    judged = [
        Trial(names[person], item, trial, answer.judged)
        for (person, item, trial), answer in counted.items()
        if person in names and item in known and 1 <= trial <= plan.trials
    ]
    judged += [
        Trial(SYSTEM, each.item, each.trial, each.judged)
        for each in captured
        if plan.system and each.item in known
    ]
    have = {item.item: 0 for item in plan.items}
    for each in captured:
        have[each.item] += 1
    return Evaluation(
        study=evaluate(judged, reference=known, appraisers=plan.everybody, trials=plan.trials),
        reference=known,
        unknown=unknown,
        split=split,
        corrected=len(answers) - len(counted),
        short={item: count for item, count in have.items() if plan.system and count < plan.trials},
    )


def values_of(plan: StudyPlan, answers: Sequence[Answer]) -> dict[str, dict[str, list[float]]]:
    """What the appraisers measured, in mm, by item and appraiser in the order of the trials."""
    names = {name.casefold(): name for name in plan.appraisers}
    return crossed(
        MeasuredValue(part=item, appraiser=names[person], trial=trial, value=answer.value_mm)
        for (person, item, trial), answer in latest(answers).items()
        if person in names and trial >= 1 and answer.value_mm is not None
    )


def gauge(plan: StudyPlan) -> GaugeStudy | Type1:
    """What measured values say: of one part with a reference value a study of type 1, of several
    the share of the measuring in their spread. Raises `ValueError` where they are no study."""
    values = crossed(plan.values)
    if plan.reference_value is None:
        return anova(values, plan.tolerance)
    if len(values) > 1:
        raise ValueError("a study of type 1 is of one part: leave out the reference value")
    if plan.tolerance is None:
        raise ValueError("a study of type 1 needs the tolerance")
    measured = [each.value for each in plan.values]
    return type_1(measured, plan.reference_value, plan.tolerance)


class Studies:
    """Studies and their parts as the store has them."""

    def __init__(self, reader: Reader, models: Mapping[str, Known]) -> None:
        self._reader = reader
        self._models = models

    def listed(self) -> list[Listed]:
        """All studies, the newest first. Raises `StoreError`."""
        found = []
        for row in studies(self._reader):
            try:
                plan, fault = decode(row.document), ""
            except DataError as error:
                plan, fault = None, str(error)
            found.append(Listed(row.study, row.person, row.planned_ns, plan, fault))
        return found

    def answers(self, study: str, plan: StudyPlan) -> list[Answer]:
        """What people answered in a study; what was said of another point than the item's is no
        answer. Raises `StoreError`."""
        places = {item.item: (item.run, item.point) for item in plan.items}
        return [
            Answer(
                number=row.number,
                person=row.person,
                item=row.item,
                trial=row.trial,
                judged=HEARD[row.word],
                looked_ns=row.looked_ns,
                value_mm=row.value_mm,
            )
            for row in looks(self._reader, purpose=LookPurpose.STUDY, study=study)
            if places.get(row.item) == (row.run, row.point)
        ]

    def captures(self, plan: StudyPlan) -> list[Capture]:
        """The machine's trials of every item."""
        found: list[Capture] = []
        of_part: dict[str, tuple[list[RunRow], dict[str, TermsRow]]] = {}
        for item in plan.items:
            if item.part not in of_part:
                runs = self._reader.runs(part=item.part, limit=RUNS_OF_A_PART)
                of_part[item.part] = runs, self._reader.terms([run.run for run in runs])
            runs, terms = of_part[item.part]
            rows = self._reader.points_at([(run.run, item.point) for run in runs])
            by_run = {row.run: row for row in rows}
            found += captures_of(item, runs, by_run, terms, plan.trials)
        return found

    def candidates(self, *, decided: bool) -> list[Candidate]:
        """Points of the newest runs of which there is a picture. ``decided`` gives those that
        people have decided on their word as the reference."""
        runs = self._reader.runs(limit=RUNS_LOOKED_AT)
        said: dict[tuple[str, str], list[WordRow]] = {}
        if decided:
            for word in self._reader.words([run.run for run in runs]):
                said.setdefault((word.run, word.point), []).append(word)
        found: list[Candidate] = []
        for run in runs:
            if len(found) >= MOST_CANDIDATES:
                break
            for row in self._reader.points(run=run.run):
                if row.evidence is None or row.verdict is Verdict.NOT_INSPECTED:
                    continue
                model = self._models.get(row.package or "")
                fits = model is not None and model.policy_hash == row.policy
                found.append(
                    Candidate(
                        part=row.part,
                        run=row.run,
                        point=row.point,
                        evidence=row.evidence,
                        verdict=row.verdict,
                        nearness=nearness(
                            row.verdict,
                            row.scores,
                            () if model is None else model.classes,
                            model.policy if model is not None and fits else None,
                        ),
                        reference=decided_word(said.get((row.run, row.point), ()), row.verdict),
                    )
                )
        return found


def decided_word(words: Sequence[WordRow], verdict: Verdict) -> Judged | None:
    """What people decided of a point of which the machine said this: None where nobody did, who did
    took it back, or two did not say the same."""
    standing: dict[str, Judged | None] = {}
    for word in words:
        said = DECIDED.get(word.action)
        if word.action is Action.CONFIRM and verdict is Verdict.OK:
            said = Judged.GOOD
        standing[word.person.casefold()] = said
    agreed = set(standing.values()) - {None}
    return agreed.pop() if len(agreed) == 1 else None


def planned(
    candidates: Sequence[Candidate],
    *,
    title: str,
    appraisers: Sequence[str],
    trials: int,
    seed: int,
    system: bool,
    reference_by: str,
    with_values: bool = False,
) -> StudyPlan:
    """The plan of a study of these parts, which are numbered as they come."""
    width = len(str(len(candidates)))
    return StudyPlan(
        title=title,
        items=tuple(
            StudyItem(
                item=f"{number:0{width}d}",
                part=each.part,
                run=each.run,
                point=each.point,
                evidence=each.evidence,
                borderline=each.borderline,
                reference=each.reference,
            )
            for number, each in enumerate(candidates, 1)
        ),
        appraisers=tuple(appraisers),
        trials=trials,
        seed=seed,
        system=system,
        reference_by=reference_by,
        with_values=with_values,
    )


# ----------------------------------------------------------------------------------------- export


def answers_csv(
    study: str, plan: StudyPlan, answers: Sequence[Answer], captured: Sequence[Capture]
) -> str:
    """Every judgement that counts, one a row."""
    known, _, _ = references(plan, answers)
    items = {item.item: item for item in plan.items}
    rows: list[Sequence[object]] = [
        ("study", "item", "part", "run", "point", "borderline", "reference", "appraiser", "trial",
         "judged", "looked_ns", "value_mm")
    ]  # fmt: skip

    def row(item: StudyItem, run: str, *rest: object) -> Sequence[object]:
        reference = known.get(item.item, "")
        return (
            study,
            item.item,
            item.part,
            run,
            item.point,
            int(item.borderline),
            reference,
            *rest,
        )

    for answer in sorted(latest(answers).values(), key=lambda answer: answer.number):
        if answer.item in items:
            item = items[answer.item]
            value = _shown(answer.value_mm)
            what = (answer.person, answer.trial, answer.judged, answer.looked_ns, value)
            rows.append(row(item, item.run, *what))
    rows += [
        row(items[each.item], each.run, SYSTEM, each.trial, each.judged, "", "")
        for each in captured
    ]
    return written(rows)


def figures_csv(study: str, evaluation: Evaluation) -> str:
    """Every figure with its bounds, one a row."""
    rows: list[Sequence[object]] = [
        ("study", "figure", "of", "and", "count", "total", "value", "lower_95", "upper_95",
         "bound_95_over_parts", "grade", "shown", "parts_needed")
    ]  # fmt: skip
    found = evaluation.study
    for each in found.appraisers:
        for figure in each.rated:
            counted = figure.over_decisions
            rows.append(
                (study, figure.measure, each.name, "", counted.errors, counted.trials,
                 _shown(counted.rate), _shown(counted.lower), _shown(counted.upper),
                 _shown(figure.bound), figure.grade, int(figure.shown),
                 "" if figure.needed is None else figure.needed)
            )  # fmt: skip
        rows.append(_kappa_row(study, "kappa_within", each.name, "", each.within))
        rows.append(_kappa_row(study, "kappa_reference", each.name, "", each.reference))
    for (one, other), kappa in found.pairs.items():
        rows.append(_kappa_row(study, "kappa_pair", one, other, kappa))
    rows.append(_kappa_row(study, "kappa_overall", "", "", found.overall))
    return written(rows)


def _kappa_row(study: str, name: str, one: str, other: str, kappa: Kappa) -> Sequence[object]:
    bounds = (_shown(kappa.lower), _shown(kappa.upper))
    return (study, name, one, other, kappa.count, "", _shown(kappa.value), *bounds, "", "", "", "")


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def written(rows: Iterable[Sequence[object]]) -> str:
    """CSV in which no cell of a text is a formula to an office program."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    for row in rows:
        writer.writerow([_safe(cell) for cell in row])
    return text.getvalue()


def _safe(cell: object) -> object:
    if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r"):
        try:
            float(cell)
        except ValueError:
            return f"'{cell}"
    return cell
