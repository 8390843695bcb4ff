"""What a study asks for, as it is written down before the first answer, and who is asked what.

The plan of a study is one JSON document which the station seals (`PlanStudy`): nobody can add a
part, drop an appraiser or change a reference when the answers are known. The order in which each
appraiser sees the parts follows from the seed in it, so that it can be drawn again by anybody.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from inspection.agreement import Judged
from inspection.errors import DataError
from inspection.messages import Id, Sha256, Verdict
from inspection.policy import Policy

SYSTEM = "system"
"""The machine among the appraisers. No person of a study may be called so."""
BORDERLINE_LEAST, BORDERLINE_MOST = 0.30, 0.50
MOST_TRIALS = 10
MOST_ITEMS = 500
MOST_VALUES = 2_000
LONGEST_DOCUMENT = 250_000
"""Characters that a station takes."""
NEAR = 0.15
"""Scores this near to a threshold are borderline."""


class StudyItem(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One part of a study: a point of one run, with the picture that people judge."""

    item: Id
    """What the tables call it; whoever judges it does not see it."""
    part: Id
    run: Id
    point: Id
    evidence: Sha256
    borderline: bool = False
    reference: Judged | None = None
    """None where a panel is asked (the looks of trial 0)."""


class MeasuredValue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of a study of measured values."""

    part: Annotated[str, Meta(min_length=1, max_length=64)]
    appraiser: Annotated[str, Meta(min_length=1, max_length=64)]
    trial: Annotated[int, Meta(ge=1, le=1000)]
    value: float


class StudyPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A study of words (``items``) or of measured values (``values``); one of the two is empty."""

    title: Annotated[str, Meta(max_length=120)] = ""
    items: Annotated[tuple[StudyItem, ...], Meta(max_length=MOST_ITEMS)] = ()
    appraisers: Annotated[tuple[Id, ...], Meta(max_length=20)] = ()
    trials: Annotated[int, Meta(ge=1, le=MOST_TRIALS)] = 3
    seed: Annotated[int, Meta(ge=0, le=2**53)] = 0
    system: bool = False
    """Whether the machine takes part, with fresh captures of the same parts."""
    with_values: bool = False
    """Whether people also measure each part (mm), for which they are told which part it is."""
    reference_by: Annotated[str, Meta(max_length=200)] = ""
    values: Annotated[tuple[MeasuredValue, ...], Meta(max_length=MOST_VALUES)] = ()
    unit: Annotated[str, Meta(max_length=16)] = "mm"
    tolerance: Annotated[float, Meta(gt=0)] | None = None
    reference_value: float | None = None
    """Of the one part of a study of type 1."""

    @property
    def measured(self) -> bool:
        return bool(self.values)

    @property
    def everybody(self) -> tuple[str, ...]:
        return (*self.appraisers, *((SYSTEM,) if self.system else ()))

    @property
    def borderline(self) -> int:
        return sum(item.borderline for item in self.items)


def checked(plan: StudyPlan) -> StudyPlan:
    """The plan, if a study can be made of it; raises `DataError` with what to do otherwise."""
    if plan.values:
        return _checked_values(plan)
    names = [item.item for item in plan.items]
    places = [(item.part, item.point) for item in plan.items]
    if not plan.items:
        raise DataError("a study needs parts: choose some")
    if len(set(names)) < len(names) or len(set(places)) < len(places):
        raise DataError("a part is in the study twice: take each point of a part once")
    if not plan.everybody:
        raise DataError("a study needs appraisers: name those who judge")
    if SYSTEM in plan.appraisers:
        raise DataError(f"{SYSTEM!r} means the machine: no person of a study can be called that")
    folded = [name.casefold() for name in plan.appraisers]
    if len(set(folded)) < len(folded):
        raise DataError("an appraiser is named twice")
    if Judged.CANNOT_TELL in {item.reference for item in plan.items}:
        raise DataError("a reference says good or defect: leave out a part that nobody can tell")
    return plan


def _checked_values(plan: StudyPlan) -> StudyPlan:
    if plan.items:
        raise DataError("a study is of parts that are judged or of values that are measured")
    seen = set()
    for each in plan.values:
        place = (each.part, each.appraiser, each.trial)
        if not math.isfinite(each.value):
            raise DataError(f"part {each.part!r}: a value is no number")
        if place in seen:
            raise DataError(
                f"trial {each.trial} of part {each.part!r} by {each.appraiser!r} is there twice"
            )
        seen.add(place)
    return plan


def encode(plan: StudyPlan) -> str:
    """The document of a plan; raises `DataError` where it is no study, or too large for one."""
    document = msgspec.json.encode(checked(plan)).decode()
    if len(document) > LONGEST_DOCUMENT:
        raise DataError("the plan is too large for a station: take fewer parts or values")
    return document


def decode(document: str) -> StudyPlan:
    """Raises `DataError` for what is no plan of a study."""
    try:
        plan = msgspec.json.decode(document, type=StudyPlan)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise DataError(f"is no plan of a study: {error}") from None
    return checked(plan)


def order(plan: StudyPlan, appraiser: str, trial: int) -> tuple[StudyItem, ...]:
    """The parts in the order in which an appraiser sees them in a trial: by a hash keyed with the
    seed, which is the same on every machine and in every version."""

    def place(item: StudyItem) -> bytes:
        text = "\0".join((str(plan.seed), appraiser.casefold(), str(trial), item.item))
        return hashlib.sha256(text.encode()).digest()

    return tuple(sorted(plan.items, key=place))


def to_come(
    plan: StudyPlan, appraiser: str, done: Iterable[tuple[str, int]], *, panel: bool = False
) -> list[tuple[StudyItem, int]]:
    """What an appraiser has still to judge, (item, trial), in his order: the second trial begins
    when the first is through. For the ``panel`` that is trial 0 of what has no reference yet."""
    given = set(done)
    return [
        (item, trial)
        for trial in ((0,) if panel else range(1, plan.trials + 1))
        for item in order(plan, appraiser, trial)
        if (item.item, trial) not in given and not (panel and item.reference is not None)
    ]


# ------------------------------------------------------------------------------ choosing the parts


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point that can become part of a study. ``nearness`` is how far its scores are from the
    nearest threshold, 0 where the machine sent it to a person; None where nothing is known."""

    part: str
    run: str
    point: str
    evidence: str
    verdict: Verdict
    nearness: float | None
    reference: Judged | None = None

    @property
    def borderline(self) -> bool:
        return self.nearness is not None and self.nearness <= NEAR


def nearness(
    verdict: Verdict,
    scores: Sequence[float] | None,
    classes: Sequence[str],
    policy: Policy | None,
) -> float | None:
    """How far the scores of a point are from the threshold that would have changed its verdict."""
    if verdict is Verdict.REVIEW:
        return 0.0
    if policy is None or scores is None or len(scores) != len(classes):
        return None
    by_class = dict(zip(classes, scores, strict=True))
    if verdict is Verdict.OK and policy.ok_class in by_class:
        over = by_class[policy.ok_class] - policy.ok_min
        under = min(
            (limit - by_class.get(name, 0.0) for name, limit in policy.nok_min.items()),
            default=over,
        )
        return max(0.0, min(over, under))
    if verdict is Verdict.NOK:
        reached = [by_class.get(name, 0.0) - limit for name, limit in policy.nok_min.items()]
        return max(0.0, max(reached, default=0.0))
    return None


def choose(
    candidates: Iterable[Candidate], *, items: int, borderline: float, seed: int
) -> tuple[Candidate, ...]:
    """Parts for a study: as many borderline ones as asked for, if there are so many, the rest half
    clear defects and half clearly good. Each point of a part once, and at most one of a run as long
    as there are others, so that one bad picture is not the whole study. Drawn by the seed."""

    def lot(each: Candidate) -> bytes:
        return hashlib.sha256(f"{seed}\0{each.run}\0{each.point}".encode()).digest()

    once: dict[tuple[str, str], Candidate] = {}
    for each in sorted(candidates, key=lot):
        once.setdefault((each.part, each.point), each)
    drawn = list(once.values())
    kinds: dict[str, list[Candidate]] = {"near": [], "defect": [], "good": []}
    for each in _spread(drawn):
        if each.verdict is Verdict.NOT_INSPECTED:
            continue
        if each.borderline:
            kinds["near"].append(each)
        else:
            kinds["good" if _seems_good(each) else "defect"].append(each)
    near = min(len(kinds["near"]), round(items * borderline))
    rest = items - near
    defect = min(len(kinds["defect"]), max(rest // 2, rest - len(kinds["good"])))
    good = min(len(kinds["good"]), rest - defect)
    chosen = [*kinds["near"][:near], *kinds["defect"][:defect], *kinds["good"][:good]]
    # Where there are too few clear ones, more borderline ones are better than a smaller study.
    chosen += kinds["near"][near : near + items - len(chosen)]
    return tuple(sorted(chosen, key=lot))


def _seems_good(each: Candidate) -> bool:
    if each.reference is not None:
        return each.reference is Judged.GOOD
    return each.verdict is Verdict.OK


def _spread(drawn: Sequence[Candidate]) -> list[Candidate]:
    """First one point of every run, then a second of every run, and so on."""
    rank: dict[str, int] = {}
    ranked = []
    for each in drawn:
        rank[each.run] = rank.get(each.run, -1) + 1
        ranked.append((rank[each.run], each))
    return [each for _, each in sorted(ranked, key=lambda pair: pair[0])]


# --------------------------------------------------------------------------------- measured values

COLUMNS = ("part", "appraiser", "trial", "value")
_LONGEST_SHOWN = 40


def read_values(data: bytes) -> tuple[MeasuredValue, ...]:
    """Measured values from a CSV file: part, appraiser (or ``system``), trial, value; with commas,
    or with semicolons and decimal commas. Raises `DataError` with the line of the first mistake."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"byte {error.start + 1} is not UTF-8: save the file as UTF-8") from None
    first = text.split("\n", 1)[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found: list[MeasuredValue] = []
    try:
        header = [name.strip().casefold() for name in next(reader, [])]
        if sorted(header) != sorted(COLUMNS):
            raise DataError(f"line 1 must name the columns {', '.join(COLUMNS)}")
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise DataError(f"line {reader.line_num} has {len(cells)} cells, not {len(header)}")
            row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            found.append(_value(row, reader.line_num, decimal_comma=delimiter == ";"))
            if len(found) > MOST_VALUES:
                raise DataError(f"has more than {MOST_VALUES} values: split the study")
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: {error}") from None
    if not found:
        raise DataError("holds no values")
    return tuple(found)


def _value(row: Mapping[str, str], line: int, *, decimal_comma: bool) -> MeasuredValue:
    text = row["value"].replace(",", ".") if decimal_comma else row["value"]
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", text, re.ASCII):
        raise DataError(f"line {line}: {row['value'][:_LONGEST_SHOWN]!r} is no number")
    if not re.fullmatch(r"[1-9]\d{0,2}", row["trial"], re.ASCII):
        raise DataError(f"line {line}: {row['trial'][:_LONGEST_SHOWN]!r} is no trial, from 1")
    for name in ("part", "appraiser"):
        if not 1 <= len(row[name]) <= 64:
            raise DataError(f"line {line}: {name} must have 1 to 64 characters")
    value = float(text)
    if not math.isfinite(value):
        raise DataError(f"line {line}: {text[:_LONGEST_SHOWN]!r} is too large")
    return MeasuredValue(
        part=row["part"], appraiser=row["appraiser"], trial=int(row["trial"]), value=value
    )


def crossed(values: Iterable[MeasuredValue]) -> dict[str, dict[str, list[float]]]:
    """Values by part and appraiser, in the order of the trials."""
    found: dict[str, dict[str, list[float]]] = {}
    for each in sorted(values, key=lambda each: each.trial):
        found.setdefault(each.part, {}).setdefault(each.appraiser, []).append(each.value)
    return found
