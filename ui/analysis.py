"""What the Analysis page shows: sums by class, place, gun and time, series of bodies, what people
made of it. No drawing here; all of it from rows that the store has summed already."""

from __future__ import annotations

import enum
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from inspection.control_charts import Trend, clusters, trend
from inspection.messages import Action, LookPurpose, Verdict
from inspection.plan import Plan
from inspection.shifts import Calendar
from inspection.statistics import Rate, rate
from inspection.store.looks import LookRow
from inspection.store.reader import PastRow, RunRow, Suspect, WordRow
from inspection.store.rollups import PointCount
from inspection.store.score_rows import ScoreRow
from ui import words
from ui.configuration import Known
from ui.drifting import body_scores, defect_score

MOST_GUN_POINTS = 40
"""Points that stand for a gun."""


class By(enum.StrEnum):
    """What a Pareto chart is by."""

    CLASS = "class"
    POINT = "point"
    GUN = "gun"
    VIEW = "view"
    CAMERA = "camera"
    EDGE = "edge"
    SHIFT = "shift"
    REASON = "reason"


@dataclass(frozen=True, slots=True)
class Bar:
    """How often it happened, the most frequent first; ``share`` is of all, with those before it.
    ``points`` are those it happened at, the most frequent first."""

    name: str
    nok: int
    review: int
    missed: int
    share: float
    points: tuple[str, ...]

    @property
    def total(self) -> int:
        return self.nok + self.review + self.missed


def pareto(
    counts: Iterable[PointCount], by: By, plans: Mapping[str, Plan], calendar: Calendar
) -> list[Bar]:
    """What was not OK, added up by something. A point of which the plan names no gun counts under
    a dash."""
    guns = {
        (plan_hash, point.id): point.gun or "–"
        for plan_hash, plan in plans.items()
        for point in plan.points
    }
    cameras = {
        (plan_hash, view.id): view.camera
        for plan_hash, plan in plans.items()
        for view in plan.views
    }
    totals: dict[str, Counter[Verdict]] = {}
    points: dict[str, Counter[str]] = {}
    for each in counts:
        name = _name(each, by, guns, cameras, calendar)
        totals.setdefault(name, Counter())[each.verdict] += each.count
        points.setdefault(name, Counter())[each.point] += each.count
    ordered = sorted(totals.items(), key=lambda item: (-item[1].total(), item[0]))
    every = sum(total.total() for total in totals.values())
    bars, so_far = [], 0
    for name, total in ordered:
        so_far += total.total()
        bars.append(
            Bar(
                name=name,
                nok=total[Verdict.NOK],
                review=total[Verdict.REVIEW],
                missed=total[Verdict.NOT_INSPECTED],
                share=so_far / every,
                points=tuple(point for point, _ in points[name].most_common()),
            )
        )
    return bars


def _name(
    each: PointCount,
    by: By,
    guns: Mapping[tuple[str, str], str],
    cameras: Mapping[tuple[str, str], str],
    calendar: Calendar,
) -> str:
    match by:
        case By.CLASS:
            return each.finding or words.reason(each.reason).short
        case By.POINT:
            return each.point
        case By.GUN:
            return guns.get((each.plan_hash, each.point), "–")
        case By.VIEW:
            return each.view
        case By.CAMERA:
            return cameras.get((each.plan_hash, each.view), "–")
        case By.EDGE:
            return each.edge or "–"
        case By.REASON:
            return f"{int(each.reason)} {words.reason(each.reason).short}"
        case By.SHIFT:
            shift = calendar.shift_at(each.slot_ns)
            return f"{shift.day.isoformat()} {shift.name}"


@dataclass(frozen=True, slots=True)
class Subgroup:
    """Some bodies in a row: the last of them, and how many points of how many were counted."""

    part: str
    run: str
    begun_ns: int
    count: int
    points: int
    bodies: int


def subgroups(runs: Iterable[RunRow], verdicts: Iterable[Verdict], size: int) -> list[Subgroup]:
    """Closed runs in the order in which they began, ``size`` of them together; a rest that is
    smaller waits for more."""
    wanted = set(verdicts)
    closed = sorted((run for run in runs if run.verdict is not None), key=lambda run: run.number)
    found = []
    for start in range(0, len(closed) - size + 1, size):
        together = closed[start : start + size]
        last = together[-1]
        found.append(
            Subgroup(
                part=last.part,
                run=last.run,
                begun_ns=last.begun_ns,
                count=sum(_counted(run, wanted) for run in together),
                points=sum(run.balance.planned for run in together),
                bodies=size,
            )
        )
    return [each for each in found if each.points]


def _counted(run: RunRow, verdicts: set[Verdict]) -> int:
    balance = run.balance
    numbers = {
        Verdict.OK: balance.ok,
        Verdict.NOK: balance.nok,
        Verdict.REVIEW: balance.review,
        Verdict.NOT_INSPECTED: balance.not_inspected,
    }
    return sum(numbers[verdict] for verdict in verdicts)


@dataclass(frozen=True, slots=True)
class Repeated:
    """A point at which defects come one after the other: in ``last``, as the so many-th of them
    within a few bodies."""

    point: str
    defects: int
    run: str
    part: str


def repeated(
    runs: Sequence[RunRow],
    suspects: Iterable[Suspect],
    *,
    count: int,
    within: int,
) -> list[Repeated]:
    """Points with ``count`` NOK within as many bodies in succession, those with most first. Bodies
    of one plan only are to be given: others do not have the point."""
    ordered = sorted((run for run in runs if run.verdict is not None), key=lambda run: run.number)
    at = {run.run: index for index, run in enumerate(ordered)}
    bad: dict[str, list[bool]] = {}
    for each in suspects:
        if each.verdict is Verdict.NOK and each.run in at:
            bad.setdefault(each.point, [False] * len(ordered))[at[each.run]] = True
    found = []
    for point, series in bad.items():
        if told := clusters(series, count=count, within=within):
            last = ordered[told[-1]]
            found.append(Repeated(point, sum(series), last.run, last.part))
    return sorted(found, key=lambda each: (-each.defects, each.point))


@dataclass(frozen=True, slots=True)
class Judged:
    """What people made of the machine's verdicts: of what it stopped and they decided on, how much
    was good; and how many escapes they found."""

    overkill: Rate
    escapes: int


def judged(said: Iterable[WordRow]) -> Judged:
    """The last word on each point counts. Points nobody has decided on are in no number."""
    last: dict[tuple[str, str], Action] = {}
    for word in sorted(said, key=lambda each: each.number):
        last[word.run, word.point] = word.action
    counted = Counter(last.values())
    good = counted[Action.OVERRULE]
    bad = counted[Action.CONFIRM] + counted[Action.RECLASSIFY] + counted[Action.REPAIRED]
    return Judged(rate(good, good + bad), counted[Action.ESCAPE])


@dataclass(frozen=True, slots=True)
class Score:
    """How sure the model was of a defect at a point of one body, 0 to 1; or what was measured."""

    part: str
    run: str
    begun_ns: int
    value: float


def scores(past: Iterable[PastRow], models: Mapping[str, Known]) -> list[Score]:
    """The defect score of a point on its bodies, oldest first: what is left to one of the score of
    good. Only of the model that spoke last: another one's scores are on another scale. Nothing
    where that is not known here."""
    ordered = sorted(past, key=lambda row: row.number)
    last = next((each.row.package for each in reversed(ordered) if each.row.scores), None)
    found = []
    for each in ordered:
        if each.row.package != last or each.row.scores is None:
            continue
        value = defect_score(each.row.scores, models.get(last or ""))
        if value is not None:
            found.append(Score(each.row.part, each.row.run, each.begun_ns, value))
    return found


def gun_scores(
    rows: Sequence[ScoreRow], points: Sequence[str], models: Mapping[str, Known]
) -> list[Score]:
    """The defect score of a gun on its bodies, oldest first: the mean log-odds over its points, as
    a score again. Only of the model that spoke last, and of bodies with a score of half of the
    points at least: of fewer the mean would be of other points."""
    if not rows:
        return []
    last = rows[-1].package
    mine = [row for row in rows if row.package == last]
    seen = Counter(row.number for row in mine)
    bodies = {row.number: row for row in mine if 2 * seen[row.number] >= len(points)}
    values = body_scores(mine, points, models.get(last))
    return [
        Score(row.part, row.run, row.begun_ns, 1 / (1 + math.exp(-values[number])))
        for number, row in sorted(bodies.items())
        if number in values
    ]


def measured(found: Iterable[LookRow]) -> list[Score]:
    """Values in millimetres that were measured at a point of the line's bodies, in the order in
    which these were measured. Those of studies are measured again and again on chosen parts, and
    are in no chart."""
    return [
        Score(each.part, each.run, each.looked_ns, each.value_mm)
        for each in found
        if each.value_mm is not None and each.purpose is not LookPurpose.STUDY
    ]


def trend_of(series: Sequence[Score]) -> Trend | None:
    """The trend of a point's score; None where there are too few bodies."""
    return trend([each.value for each in series]) if len(series) >= 4 else None


# ------------------------------------------------------------------------------------- export


def as_csv(table: pd.DataFrame) -> bytes:
    """UTF-8 with a byte order mark, as spreadsheets want it."""
    text: str = table.to_csv(index=False)
    return text.encode("utf-8-sig")


def as_parquet(table: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    table.to_parquet(out, index=False)
    return out.getvalue()


def pareto_table(bars: Sequence[Bar], name: str) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            name: bar.name,
            "NOK": bar.nok,
            "REVIEW": bar.review,
            "NOT_INSPECTED": bar.missed,
            "total": bar.total,
            "share_so_far": round(bar.share, 6),
        }
        for bar in bars
    ]
    return pd.DataFrame(rows)
