"""What the Models page shows: what another policy would have said of real results, what it would
have cost, and what runs where. No Streamlit here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from msgspec import structs

from inspection.judging import judge_all
from inspection.messages import Action, Verdict
from inspection.policy import Policy
from inspection.store import Reader
from inspection.store.judged import judged_by, scored
from inspection.store.reader import RunRow

MOST_RESULTS = 20_000
LOOKED_AT_RUNS = 200
RUNS_WHERE = 40

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Past:
    """Results of one model package, the newest: probabilities (N, classes), what was said then, and
    for each what people say of it: True a defect, False good, None nobody said."""

    scores: Floats
    verdicts: tuple[Verdict, ...]
    truth: tuple[bool | None, ...]
    since_ns: int
    until_ns: int
    runs: int

    @property
    def decided(self) -> int:
        return sum(each is not None for each in self.truth)


BAD = {Action.CONFIRM, Action.RECLASSIFY, Action.REPAIRED, Action.ESCAPE}


def past_of(reader: Reader, package: str, classes: int, *, most: int = MOST_RESULTS) -> Past:
    """The newest results of a package that have scores of so many classes. Raises `StoreError`."""
    runs = [run for run in reader.runs(limit=LOOKED_AT_RUNS) if run.verdict is not None]
    words: dict[tuple[str, str], Action] = {}
    for word in reader.words([run.run for run in runs]):
        words[word.run, word.point] = word.action
    scores: list[list[float]] = []
    verdicts: list[Verdict] = []
    truth: list[bool | None] = []
    looked: list[RunRow] = []
    for run in runs:
        if len(scores) >= most:
            break
        before = len(scores)
        for row in scored(reader, run.run, package):
            if len(row.scores) != classes:
                continue
            said = words.get((run.run, row.point))
            scores.append(row.scores)
            verdicts.append(row.verdict)
            known = said in BAD or said is Action.OVERRULE
            truth.append(said in BAD if known else None)
        if len(scores) > before:
            looked.append(run)
    return Past(
        scores=np.array(scores, np.float64).reshape(len(scores), classes),
        verdicts=tuple(verdicts),
        truth=tuple(truth),
        since_ns=min((run.begun_ns for run in looked), default=0),
        until_ns=max((run.begun_ns for run in looked), default=0),
        runs=len(looked),
    )


def changed(policy: Policy, ok_min: float, nok_min: float) -> Policy:
    """The policy with another threshold for OK, and one for all defect classes."""
    return structs.replace(policy, ok_min=ok_min, nok_min=dict.fromkeys(policy.nok_min, nok_min))


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What another policy would have said of the same results. ``moved`` counts (from, to).
    ``stopped`` are defects that were OK and would not have been, ``released`` the opposite;
    ``spared`` are good points that were stopped and would have been OK, ``troubled`` the opposite.
    These four are of points that people decided on, and of no others."""

    results: int
    moved: Mapping[tuple[Verdict, Verdict], int]
    stopped: int
    released: int
    spared: int
    troubled: int

    def to(self, verdict: Verdict) -> int:
        """By how many more this verdict would have been given; negative: by how many fewer."""
        gained = sum(count for (_, after), count in self.moved.items() if after is verdict)
        lost = sum(count for (before, _), count in self.moved.items() if before is verdict)
        return gained - lost


def what_if(past: Past, classes: Sequence[str], now: Policy, then: Policy) -> WhatIf:
    """Both policies on the same scores, so that nothing but the policy differs."""
    if not len(past.scores):
        return WhatIf(0, {}, 0, 0, 0, 0)
    before = [each.verdict for each in judge_all(past.scores, classes, _without_ood(now))]
    after = [each.verdict for each in judge_all(past.scores, classes, _without_ood(then))]
    moved: Counter[tuple[Verdict, Verdict]] = Counter()
    told: Counter[str] = Counter()
    for was, would, bad in zip(before, after, past.truth, strict=True):
        if was is not would:
            moved[was, would] += 1
        was_ok, would_ok = was is Verdict.OK, would is Verdict.OK
        if bad is None or was_ok is would_ok:
            continue
        if bad:
            told["stopped" if was_ok else "released"] += 1
        else:
            told["troubled" if was_ok else "spared"] += 1
    return WhatIf(
        results=len(before),
        moved=moved,
        stopped=told["stopped"],
        released=told["released"],
        spared=told["spared"],
        troubled=told["troubled"],
    )


def _without_ood(policy: Policy) -> Policy:
    """How unusual a point looked is not among the scores on record."""
    return structs.replace(policy, ood_max=None)


def cost_curve(
    past: Past, ok_index: int, *, escape: float, alarm: float, steps: int = 101
) -> list[tuple[float, float]]:
    """(ok_min, cost): of the points that people decided on, what escapes and false alarms at that
    threshold would have cost together. Empty where nobody has decided on anything."""
    known = [(row[ok_index], bad) for row, bad in zip(past.scores, past.truth, strict=True)
             if bad is not None]  # fmt: skip
    if not known:
        return []
    good = np.array([score for score, bad in known if not bad])
    bad = np.array([score for score, bad in known if bad])
    thresholds = np.linspace(0, 1, steps)
    return [
        (
            float(at),
            float((bad >= at).sum()) * escape + float((good < at).sum()) * alarm,
        )
        for at in thresholds
    ]


@dataclass(frozen=True, slots=True)
class Where:
    """A package that an edge has judged with, and when."""

    edge: str
    package: str
    policy: str
    first_ns: int
    last_ns: int
    points: int


def where(reader: Reader, runs: Iterable[RunRow]) -> list[Where]:
    """What judged these runs, by edge, the newest first. Raises `StoreError`."""
    begun = {run.run: run.begun_ns for run in runs}
    found: dict[tuple[str, str, str], list[int]] = {}
    for each in judged_by(reader, list(begun)):
        at = begun[each.run]
        told = found.setdefault((each.edge, each.package, each.policy), [at, at, 0])
        told[0], told[1] = min(told[0], at), max(told[1], at)
        told[2] += each.results
    rows = [Where(*key, *told) for key, told in found.items()]
    return sorted(rows, key=lambda each: (-each.last_ns, each.edge, each.package))
