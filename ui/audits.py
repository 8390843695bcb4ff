"""What the Audit page shows: how many points of a shift the machine called OK, which of their
pictures are to be looked at again, and what those looks say. No Streamlit here."""

from __future__ import annotations

import csv
import io
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import UNSET

from inspection.audit import Escapes, Stratum, drawn, escapes
from inspection.messages import Inspected, LookMethod, LookPurpose, LookWord, Verdict
from inspection.shifts import Shift
from inspection.store import Reader
from inspection.store.looks import LookRow, looks
from inspection.store.reader import RunRow

KEPT_RUNS = 5000
COLUMNS = ("part", "point", "word", "nugget_mm")
MOST_ROWS = 10_000

Place = tuple[str, str]
"""Run and point."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point that was called OK and whose picture was kept, with the probability of that."""

    run: str
    part: str
    point: str
    view: str
    evidence: str
    inclusion: float


@dataclass(slots=True)
class Population:
    """Points that the machine called OK, by the probability with which their picture is kept, and
    those that were. ``unknown`` have no such probability in their results: nothing can be said of
    them by pictures."""

    points: Counter[float] = field(default_factory=Counter)
    candidates: dict[float, list[Candidate]] = field(default_factory=dict)
    unknown: int = 0

    def add(self, other: Population) -> None:
        self.points.update(other.points)
        self.unknown += other.unknown
        for share, some in other.candidates.items():
            self.candidates.setdefault(share, []).extend(some)


class Audits:
    """Populations of shifts, read once a run: what a closed run holds does not change. Safe to
    share between threads."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Population] = OrderedDict()

    def population(self, shift: Shift) -> Population:
        """All runs that began in the shift and have their verdict. Raises `StoreError`."""
        total = Population()
        for run in self._reader.runs(since_ns=shift.begin_ns):
            if run.verdict is not None and run.begun_ns < shift.end_ns:
                total.add(self._of(run))
        return total

    def _of(self, run: RunRow) -> Population:
        with self._lock:
            known = self._known.get(run.run)
        if known is not None:
            return known
        made = Population()
        said: dict[str, tuple[str, Inspected]] = {}
        for record in self._reader.records(run.run):
            if not record.late:
                for point in record.answer.points:
                    if isinstance(point, Inspected) and point.verdict is Verdict.OK:
                        said[point.point] = record.answer.view, point
        for name, (view, point) in said.items():
            if point.inclusion is UNSET:
                made.unknown += 1
                continue
            made.points[point.inclusion] += 1
            if point.evidence is not None:
                made.candidates.setdefault(point.inclusion, []).append(
                    Candidate(run.run, run.part, name, view, point.evidence, point.inclusion)
                )
        with self._lock:
            self._known[run.run] = made
            if len(self._known) > KEPT_RUNS:
                self._known.popitem(last=False)
        return made


@dataclass(frozen=True, slots=True)
class Sample:
    """What of one stratum is to be looked at, in the order in which it is asked."""

    inclusion: float
    points: int
    kept: int
    chosen: tuple[Candidate, ...]

    @property
    def name(self) -> str:
        return f"{self.inclusion:g}"

    @property
    def looked_with(self) -> float:
        """The probability with which a point of the stratum comes into the audit."""
        return self.inclusion * len(self.chosen) / self.kept if self.kept else self.inclusion


def samples(population: Population, wanted: int, salt: str) -> list[Sample]:
    """Which points of each stratum are looked at: nobody chooses them, and they are the same for
    whoever asks again. The stratum with the largest share, of points near a limit, first."""
    found = []
    for share in sorted(population.points, reverse=True):
        kept = population.candidates.get(share, [])
        by_place = {(each.run, each.point): each for each in kept}
        chosen = drawn(list(by_place), wanted, salt)
        found.append(
            Sample(
                inclusion=share,
                points=population.points[share],
                kept=len(kept),
                chosen=tuple(by_place[place] for place in chosen),
            )
        )
    return found


def last_words(reader: Reader, shift: Shift, *, visual: bool) -> dict[Place, LookRow]:
    """What was said last of each point in an audit of a shift, by eye or by a measurement: the two
    are never mixed. Raises `StoreError`."""
    found = {}
    for look in looks(reader, purpose=LookPurpose.AUDIT, since_ns=shift.begin_ns):
        if (look.method is LookMethod.VISUAL) is visual:
            found[look.run, look.point] = look
    return found


def following(sample: Iterable[Sample], said: Mapping[Place, LookRow]) -> Candidate | None:
    """The next point nobody has looked at, strata in turn; None where all have been."""
    open_ones = [
        [each for each in stratum.chosen if (each.run, each.point) not in said]
        for stratum in sample
    ]
    longest = max(open_ones, key=len, default=[])
    return longest[0] if longest else None


def result(sample: Sequence[Sample], said: Mapping[Place, LookRow]) -> Escapes:
    """What the looks by eye say of all points called OK. Who cannot tell has not seen that it is
    good: such a look counts as a defect."""
    strata = []
    for each in sample:
        words = [
            said[place].word
            for candidate in each.chosen
            if (place := (candidate.run, candidate.point)) in said
        ]
        bad = sum(word is not LookWord.GOOD for word in words)
        strata.append(Stratum(each.name, float(each.points), len(words), bad))
    return escapes(strata)


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of a file of measurements."""

    line: int
    part: str
    point: str
    word: LookWord
    value_mm: float | None


def read_measurements(data: bytes, least_mm: float | None) -> tuple[list[Measured], list[str]]:
    """Measurements from CSV: ``part``, ``point`` and either ``word`` (GOOD, DEFECT, CANNOT_TELL) or
    ``nugget_mm``, which is a defect below ``least_mm``. Each line that cannot be used is named,
    with what is wrong with it; none is left out silently."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return [], ["the file is not UTF-8: save it as CSV UTF-8"]
    rows = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in text.split("\n")[0] else ",")
    names = [name.strip() for name in rows.fieldnames or ()]
    if not {"part", "point"} <= set(names) or not {"word", "nugget_mm"} & set(names):
        wanted = ", ".join(COLUMNS[:2])
        return [], [f"line 1: columns {wanted} and word or nugget_mm are needed, not {names}"]
    found: list[Measured] = []
    wrong: list[str] = []
    seen: set[Place] = set()
    for row in rows:
        number = rows.line_num
        if len(found) + len(wrong) >= MOST_ROWS:
            wrong.append(f"line {number} and those after it: {MOST_ROWS} lines at once are enough")
            break
        value = {(key or "").strip(): (text or "").strip() for key, text in row.items() if key}
        try:
            read = _measurement(number, value, least_mm)
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
            continue
        if (read.part, read.point) in seen:
            wrong.append(f"line {number}: {read.part} {read.point} is in the file twice")
            continue
        seen.add((read.part, read.point))
        found.append(read)
    return found, wrong


def _measurement(number: int, row: Mapping[str, str], least_mm: float | None) -> Measured:
    part, point = row.get("part", ""), row.get("point", "")
    if not part or not point:
        raise ValueError("part and point must both be given")
    word, nugget = row.get("word", "").upper(), row.get("nugget_mm", "")
    value: float | None = None
    if nugget:
        try:
            value = float(nugget.replace(",", "."))
        except ValueError:
            raise ValueError(f"nugget_mm {nugget!r} is no number") from None
        if not 0 <= value <= 1000:
            raise ValueError(f"nugget_mm {nugget} is not between 0 and 1000")
    if word:
        if word not in LookWord.__members__:
            raise ValueError(f"word {word!r} is none of {', '.join(LookWord.__members__)}")
        return Measured(number, part, point, LookWord(word), value)
    if value is None:
        raise ValueError("neither word nor nugget_mm is given")
    if least_mm is None:
        raise ValueError("a nugget is given, but no least diameter to judge it by")
    good = value >= least_mm
    return Measured(number, part, point, LookWord.GOOD if good else LookWord.DEFECT, value)
