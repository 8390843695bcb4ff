"""What Analysis says of drift: cameras and guns against how a plan began. No drawing here."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from inspection.drift import LEAST_SLOTS, LEVEL, Change, counted, distributed, holm, ranked
from inspection.messages import Verdict
from inspection.plan import Plan
from inspection.store.reader import Reader
from inspection.store.rollups import PointCount, SlotRow, point_counts, slots
from inspection.store.score_rows import MOST_POINTS, ScoreRow, score_rows
from ui import words
from ui.configuration import Known

PERIOD_SLOTS = 32
"""Quarters of an hour with production in each period: a shift of eight hours."""
PERIOD_BODIES = 50
LEAST_BODIES = 20
"""Bodies with scores that each period needs."""
TRAINING = " "
"""What a drift of scores from those in training is of."""
SCORE = ""
"""What a drift of scores is of: no class and no reason, which always have a name."""
FLOOR = 1e-6
"""Scores are compared as log-odds; nearer to 0 or 1 than this none is."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A camera or a gun, and its points in the plan."""

    kind: str
    name: str
    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """One question: what of which unit, how often before and now, and how probable that is where
    nothing has changed, adjusted for all questions of the page."""

    unit: Unit
    what: str
    before: float
    now: float
    p_value: float

    @property
    def alarm(self) -> bool:
        return self.p_value < LEVEL


@dataclass(frozen=True, slots=True)
class Compared:
    """Everything that was asked, the least probable first, and how much production it rests on.
    ``bodies`` are those with scores before and now, of one model; (0, 0) where there are none."""

    drifts: tuple[Drift, ...]
    slots: tuple[int, int]
    bodies: tuple[int, int]

    @property
    def alarms(self) -> tuple[Drift, ...]:
        return tuple(each for each in self.drifts if each.alarm)


def compared(
    reader: Reader, plan_hash: str, plan: Plan, models: Mapping[str, Known], now_ns: int
) -> Compared:
    """The newest eight hours of production with a plan against the first eight. Raises
    `StoreError`."""
    each_unit = units(plan)
    before, now = periods(
        [row for row in slots(reader, 0, now_ns + 1) if row.plan_hash == plan_hash]
    )
    asked: list[tuple[Unit, str, Change]] = []
    if before and now:
        first = _counts_at_first(reader, plan_hash, before[0].slot_ns, before[-1].slot_ns + 1)
        last = _counts(reader, plan_hash, now[0].slot_ns, now[-1].slot_ns + 1)
        asked = by_count(each_unit, before, first, now, last)
    points = chosen_points(each_unit)
    newest = score_rows(reader, plan_hash, points, bodies=PERIOD_BODIES)
    oldest = score_rows(reader, plan_hash, points, bodies=PERIOD_BODIES, oldest=True)
    told, bodies = by_score(each_unit, oldest, newest, models)
    asked += told
    asked += by_training(each_unit, newest, models)
    adjusted = holm([change.p_value for _, _, change in asked])
    drifts = [
        Drift(unit, what, change.before, change.now, p)
        for (unit, what, change), p in zip(asked, adjusted, strict=True)
    ]
    drifts.sort(key=lambda each: (each.p_value, each.unit.kind, each.unit.name, each.what))
    return Compared(tuple(drifts), (len(before), len(now)), bodies)


def _counts(reader: Reader, plan_hash: str, since_ns: int, until_ns: int) -> tuple[PointCount, ...]:
    return tuple(
        each for each in point_counts(reader, since_ns, until_ns) if each.plan_hash == plan_hash
    )


# Once there are slots after them, sums of the first ones change no more; they may lie in a period
# that was closed long ago.
_counts_at_first = functools.lru_cache(maxsize=32)(_counts)


def units(plan: Plan) -> list[Unit]:
    """The cameras and the guns of a plan; points of which it names no gun are in none."""
    cameras = {view.id: view.camera for view in plan.views}
    found: dict[tuple[str, str], list[str]] = {}
    for point in plan.points:
        found.setdefault(("camera", cameras[point.view]), []).append(point.id)
        if point.gun:
            found.setdefault(("gun", point.gun), []).append(point.id)
    return [Unit(kind, name, tuple(points)) for (kind, name), points in sorted(found.items())]


def periods(sums: Sequence[SlotRow]) -> tuple[list[SlotRow], list[SlotRow]]:
    """The first and the newest slots of a plan, which have none in common; nothing where one of
    them would be too short."""
    ordered = [row for row in sorted(sums, key=lambda row: row.slot_ns) if row.runs]
    before = ordered[:PERIOD_SLOTS]
    now = ordered[PERIOD_SLOTS:][-PERIOD_SLOTS:]
    return (before, now) if min(len(before), len(now)) >= LEAST_SLOTS else ([], [])


def by_count(
    each_unit: Iterable[Unit],
    before: Sequence[SlotRow],
    before_counts: Iterable[PointCount],
    now: Sequence[SlotRow],
    now_counts: Iterable[PointCount],
) -> list[tuple[Unit, str, Change]]:
    """Every class and every reason for not inspecting that a unit has had in either period."""
    place: dict[str, list[Unit]] = {}
    listed = list(each_unit)
    for unit in listed:
        for point in unit.points:
            place.setdefault(point, []).append(unit)
    counts: dict[tuple[Unit, str], tuple[Counter[int], Counter[int]]] = {}
    for period, found in enumerate((before_counts, now_counts)):
        for each in found:
            for unit in place.get(each.point, ()):
                sums = counts.setdefault((unit, _what(each)), (Counter(), Counter()))
                sums[period][each.slot_ns] += each.count
    return [
        (
            unit,
            what,
            counted(
                [first[row.slot_ns] for row in before],
                [row.runs * len(unit.points) for row in before],
                [second[row.slot_ns] for row in now],
                [row.runs * len(unit.points) for row in now],
            ),
        )
        for (unit, what), (first, second) in counts.items()
    ]


def _what(each: PointCount) -> str:
    if each.verdict is Verdict.NOT_INSPECTED or not each.finding:
        return words.reason(each.reason).short
    return each.finding


def chosen_points(each_unit: Sequence[Unit]) -> list[str]:
    """Points that stand for their units: evenly many of each, `MOST_POINTS` together."""
    share = max(1, MOST_POINTS // max(1, len(each_unit)))
    found: dict[str, None] = {}
    for unit in each_unit:
        found.update(dict.fromkeys(evenly(unit.points, share)))
    return list(found)[:MOST_POINTS]


def evenly(points: Sequence[str], most: int) -> list[str]:
    """So many of some points, spread over all of them."""
    count = min(most, len(points))
    return [points[place * len(points) // count] for place in range(count)]


def by_score(
    each_unit: Iterable[Unit],
    before: Sequence[ScoreRow],
    now: Sequence[ScoreRow],
    models: Mapping[str, Known],
) -> tuple[list[tuple[Unit, str, Change]], tuple[int, int]]:
    """The defect score of each unit, one value a body: of the model that spoke last, on bodies that
    are not in both periods. With the number of bodies in each."""
    if not now:
        return [], (0, 0)
    package = now[-1].package
    known = models.get(package)
    if known is None or known.policy is None:
        return [], (0, 0)
    first = [row for row in before if row.package == package]
    shared = {row.number for row in before}
    last = [row for row in now if row.package == package and row.number not in shared]
    bodies = len({row.number for row in first}), len({row.number for row in last})
    asked = []
    for unit in each_unit:
        old, new = (list(body_scores(rows, unit.points, known).values()) for rows in (first, last))
        if min(len(old), len(new)) >= LEAST_BODIES:
            _, p = distributed(old, new)
            change = Change(_share(old), _share(new), 1.0, p)
            asked.append((unit, SCORE, change))
    return asked, bodies


def by_training(
    each_unit: Iterable[Unit], now: Sequence[ScoreRow], models: Mapping[str, Known]
) -> list[tuple[Unit, str, Change]]:
    """Where the defect scores of each unit lie among those of good points in training; nothing
    where the package of the model that spoke last does not say."""
    known = models.get(now[-1].package) if now else None
    if known is None or not known.quantiles:
        return []
    asked = []
    for unit in each_unit:
        wanted, bodies = set(unit.points), dict[int, list[float]]()
        for row in now:
            if row.package != now[-1].package or row.point not in wanted:
                continue
            score = defect_score(row.scores, known)
            if score is not None:
                bodies.setdefault(row.number, []).append(score)
        if len(bodies) >= LEAST_BODIES:
            asked.append((unit, TRAINING, ranked(list(bodies.values()), known.quantiles)))
    return asked


def body_scores(
    rows: Iterable[ScoreRow], points: Iterable[str], known: Known | None
) -> dict[int, float]:
    """The mean log-odds of a defect over some points, by the number of the body; nothing where the
    model is not known."""
    wanted, values = set(points), dict[int, list[float]]()
    for row in rows:
        if row.point not in wanted:
            continue
        score = defect_score(row.scores, known)
        if score is not None:
            kept = min(max(score, FLOOR), 1 - FLOOR)
            values.setdefault(row.number, []).append(math.log(kept / (1 - kept)))
    return {number: sum(each) / len(each) for number, each in values.items()}


def defect_score(scores: Sequence[float], known: Known | None) -> float | None:
    """What is left to one of the score of good; None where that is not known."""
    if known is None or known.policy is None or len(scores) != len(known.classes):
        return None
    if known.policy.ok_class not in known.classes:
        return None
    return 1.0 - scores[known.classes.index(known.policy.ok_class)]


def _share(log_odds: Sequence[float]) -> float:
    """The median body, as a score again."""
    ordered = sorted(log_odds)
    return 1 / (1 + math.exp(-ordered[len(ordered) // 2]))
