"""What the pages ask of the store, and what they know when it does not answer.

A `Line` is shared by everybody who looks at one station. It reads at most once a second however
many look, keeps what can no longer change (a closed run has all its results), and when the store
cannot be read goes on showing what it knew, with the fault and with its age.
"""

from __future__ import annotations

import contextlib
import operator
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from inspection.clock import Clock
from inspection.errors import StoreError
from inspection.ledger import effective_severity
from inspection.messages import Severity, Verdict
from inspection.store import Reader
from inspection.store.health import Health, health
from inspection.store.reader import (
    Absence,
    BypassRow,
    ChallengeRow,
    EventRow,
    PointRow,
    Production,
    RunRow,
    Suspect,
)

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS

MAX_RUNS = 500
"""Parts whose points are shown: the newest of the window. The balance covers all of them."""

MAX_SUSPECTS = 20_000
"""NOK and REVIEW points that are put in order; more than anybody looks at, and few enough to sort
at every look."""

KEPT_RUNS = 2000
KEPT_POINTS = 2000
EVENTS = 40


@dataclass(frozen=True, slots=True)
class Found:
    """A point that is NOK or REVIEW, with its effective severity; None where the plan it was
    inspected with does not say, and then it is put before all others."""

    suspect: Suspect
    severity: Severity | None


@dataclass(frozen=True, slots=True)
class NotOk:
    """All that is not OK in the newest runs of a window."""

    found: tuple[Found, ...] = ()
    """NOK before REVIEW, the severest first, then the newest part."""
    absences: tuple[Absence, ...] = ()
    """Newest part first."""
    runs: int = 0
    """How many of the newest runs these are of."""
    contradictions: tuple[RunRow, ...] = ()
    """Closed runs whose records do not add up to their verdict's numbers, though nobody has said
    anything of them. There are none, unless something is badly wrong."""


NOTHING_KNOWN = Health((), None)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of a line."""

    station: str
    read_ns: int
    """When the store was last read. Wall clock of this machine, as all times here."""
    newest_ns: int | None
    """When the station last wrote."""
    running: bool | None
    """Whether a station process runs on this machine; None where the system does not tell."""
    production: Production
    runs: tuple[RunRow, ...]
    """The newest runs of the window."""
    not_ok: NotOk
    events: tuple[EventRow, ...]
    bypass: BypassRow | None = None
    challenge: ChallengeRow | None = None
    health: Health = NOTHING_KNOWN
    fault: str = ""
    """Why the store could not be read just now; everything else is then from ``read_ns``."""


@dataclass(slots=True)
class _Known:
    """What one window has come to, and when it was last asked for."""

    asked_ns: int
    snapshot: Snapshot | None = None
    fault: str = ""


class Line:
    """One station as its pages see it. Safe to share between threads."""

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[float | None, _Known] = {}
        self._judged: dict[tuple[str, int], tuple[tuple[Found, ...], tuple[Absence, ...]]] = {}
        self._severities: dict[str, dict[str, Severity]] = {}
        self._points: dict[tuple[str, str], PointRow] = {}

    def look(self, hours: float | None) -> Snapshot | str:
        """What is known of the last hours (None: of all time); where nothing ever was, why."""
        with self._lock:
            now = self._clock.monotonic_ns()
            known = self._known.setdefault(hours, _Known(asked_ns=now - SECOND_NS))
            if now - known.asked_ns >= SECOND_NS:
                known.asked_ns = now
                try:
                    known.snapshot, known.fault = self._read(hours), ""
                except StoreError as error:
                    known.fault = str(error)
            if known.snapshot is None:
                return known.fault
            # The lock is asked for at each look: it tells of a station that died a moment ago.
            running = self._reader.station_is_running()
            return replace(known.snapshot, fault=known.fault, running=running)

    def _read(self, hours: float | None) -> Snapshot:
        read_ns = self._clock.wall_ns()
        since_ns = 0 if hours is None else read_ns - int(hours * HOUR_NS)
        runs = tuple(self._reader.runs(limit=MAX_RUNS, since_ns=since_ns))
        bypass, challenge = self._reader.guard()
        return Snapshot(
            station=self._reader.station(),
            read_ns=read_ns,
            newest_ns=self._reader.newest_ns(),
            running=None,
            production=self._reader.production(since_ns=since_ns),
            runs=runs,
            not_ok=self._not_ok(runs),
            events=tuple(self._reader.events(limit=EVENTS)),
            bypass=bypass,
            challenge=challenge,
            health=health(self._reader),
        )

    # ------------------------------------------------------------------------ what is not OK

    def _not_ok(self, runs: Sequence[RunRow]) -> NotOk:
        if len(self._judged) > KEPT_RUNS:
            self._judged.clear()
        shown = _newest_that_fit(runs)
        new = [run for run in shown if (run.run, run.verdict_seq) not in self._judged]
        fresh = self._judge(new)
        of_run = {}
        for run in shown:
            if run.run in fresh:
                of_run[run.run] = fresh[run.run]
                if run.verdict_seq is not None:
                    self._judged[run.run, run.verdict_seq] = fresh[run.run]
            elif run.verdict_seq is not None:
                of_run[run.run] = self._judged[run.run, run.verdict_seq]
        found = [each for run in shown for each in of_run[run.run][0]]
        # Stable, so that within a severity the newest part stays first and points by their ids.
        found.sort(key=_urgency)
        return NotOk(
            found=tuple(found),
            absences=tuple(each for run in shown for each in of_run[run.run][1]),
            runs=len(shown),
            contradictions=self._contradictions(shown, of_run),
        )

    def _contradictions(
        self,
        runs: Sequence[RunRow],
        of_run: Mapping[str, tuple[tuple[Found, ...], tuple[Absence, ...]]],
    ) -> tuple[RunRow, ...]:
        doubtful = [run for run in runs if _contradicts(run, *of_run[run.run])]
        explained = self._reader.rest_on_more([run.run for run in doubtful])
        return tuple(run for run in doubtful if run.run not in explained)

    def _judge(
        self, runs: Sequence[RunRow]
    ) -> dict[str, tuple[tuple[Found, ...], tuple[Absence, ...]]]:
        if not runs:
            return {}
        ids = [run.run for run in runs]
        plans = {run.run: run.plan_hash for run in runs}
        found: dict[str, list[Found]] = {run: [] for run in ids}
        absences: dict[str, list[Absence]] = {run: [] for run in ids}
        for suspect in sorted(self._reader.suspects(ids), key=operator.attrgetter("point")):
            severity = self._severity(plans[suspect.run], suspect.point, suspect.class_severity)
            found[suspect.run].append(Found(suspect, severity))
        for absence in self._reader.absences(ids):
            absences[absence.run].append(absence)
        return {run: (tuple(found[run]), tuple(absences[run])) for run in ids}

    def _severity(self, plan_hash: str, point: str, found: Severity | None) -> Severity | None:
        if plan_hash not in self._severities:
            plan = self._reader.plan(plan_hash)
            self._severities[plan_hash] = (
                {} if plan is None else {each.id: each.severity for each in plan.points}
            )
        planned = self._severities[plan_hash].get(point)
        return None if planned is None else effective_severity(planned, found)

    # -------------------------------------------------------------------------- single points

    def points(self, found: Iterable[Found]) -> list[PointRow | None]:
        """Everything about a few points, in their order; None for one that cannot be read now."""
        places = [(each.suspect.run, each.suspect.point) for each in found]
        with self._lock:
            if len(self._points) > KEPT_POINTS:
                self._points.clear()
            closed = {run for run, _ in self._judged}
            missing = {
                place
                for place in places
                if place not in self._points or place[0] not in closed  # may still change
            }
            # Where the store does not answer, the page's head says so, and what was read before
            # is shown.
            with contextlib.suppress(StoreError):
                for row in self._reader.points_at(missing) if missing else ():
                    self._points[row.run, row.point] = row
            return [self._points.get(place) for place in places]

    def absent_points(self, absence: Absence, *, limit: int) -> list[str]:
        """Ids of points that are NOT_INSPECTED; none where they cannot be read now."""
        try:
            return self._reader.absent_points(absence, limit=limit)
        except StoreError:
            return []


def _newest_that_fit(runs: Sequence[RunRow]) -> list[RunRow]:
    shown: list[RunRow] = []
    total = 0
    for run in runs:
        total += run.balance.nok + run.balance.review
        if shown and total > MAX_SUSPECTS:
            break
        shown.append(run)
    return shown


def _urgency(found: Found) -> tuple[int, int]:
    rank = len(Severity) if found.severity is None else found.severity.rank
    return (0 if found.suspect.verdict is Verdict.NOK else 1, -rank)


def _contradicts(run: RunRow, found: Sequence[Found], absences: Sequence[Absence]) -> bool:
    """Whether a closed run's records differ from what its verdict counted. An open run's may:
    results come in between two questions."""
    if run.verdict is None:
        return False
    nok = sum(each.suspect.verdict is Verdict.NOK for each in found)
    counted = (nok, len(found) - nok, sum(each.points for each in absences))
    return counted != (run.balance.nok, run.balance.review, run.balance.not_inspected)


@dataclass(frozen=True, slots=True)
class AbsenceGroup:
    """Absences of one view and one reason over several parts."""

    absences: tuple[Absence, ...]
    """Newest part first; never empty."""

    @property
    def points(self) -> int:
        return sum(absence.points for absence in self.absences)

    @property
    def runs(self) -> int:
        return len(self.absences)


def grouped(absences: Iterable[Absence]) -> list[AbsenceGroup]:
    """Absences by view and reason, in the order in which each first appears."""
    groups: dict[tuple[str, int], list[Absence]] = {}
    for absence in absences:
        groups.setdefault((absence.view, int(absence.reason)), []).append(absence)
    return [AbsenceGroup(tuple(each)) for each in groups.values()]


def only(not_ok: NotOk, wanted: Callable[[str], bool], verdicts: Iterable[Verdict]) -> NotOk:
    """What remains of `NotOk` for some runs and some verdicts."""
    chosen = set(verdicts)
    absent = Verdict.NOT_INSPECTED in chosen
    return replace(
        not_ok,
        found=tuple(
            each
            for each in not_ok.found
            if each.suspect.verdict in chosen and wanted(each.suspect.run)
        ),
        absences=tuple(each for each in not_ok.absences if absent and wanted(each.run)),
    )
