"""What came of a demonstration, judged against what was drawn: counted, and in words.

`collect` asks the station's store, `count` compares with the truth and is pure, `tell` is what a
quality engineer reads. ``docs/demo.md`` defines every number.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from inspection.ledger import Balance
from inspection.messages import Inspected, RunVerdict, Verdict
from inspection.store import Reader
from inspection.testing.plc import Outcome

MS_NS = 1_000_000
SECOND_NS = 1_000_000_000
SHOWN = 20
"""Problems that are printed; a line that is down has thousands."""

Truth = Mapping[str, Mapping[str, str]]
"""The defects of each body: class by point, nothing for a body that has none."""


class Seen(NamedTuple):
    """One run as the store has it. ``settled`` are the entries that count, ``judged`` the points
    that somebody judged, once for each record that says so; neither is derived from the other."""

    part: str
    verdict: RunVerdict | None
    balance: Balance
    settled: Sequence[tuple[str, Verdict]]
    judged: Sequence[str]
    latencies_ms: Sequence[float]
    begun_ns: int
    closed_ns: int | None


class Tally(Struct, kw_only=True):
    """Points by what was said of them."""

    points: int = 0
    ok: int = 0
    nok: int = 0
    review: int = 0
    not_inspected: int = 0


class Summary(Struct, frozen=True, kw_only=True):
    """The keys of the JSON file that are counted; see ``docs/demo.md``."""

    parts: int
    runs_ok: int
    runs_nok: int
    runs_hold: int
    runs_false_alarm: int
    runs_false_ok: int
    good_bodies: int
    good_bodies_ok: int
    defective_bodies: int
    released: int
    diverted: int
    held: int
    planned: int
    ok: int
    nok: int
    review: int
    not_inspected: int
    good_points: int
    good_points_not_inspected: int
    defective_points: int
    escapes: int
    overkill: int
    borderline: Tally
    per_class: dict[str, Tally]
    lost: int
    duplicated: int
    points_per_second: float | None
    verdict_latency_ms: dict[str, float | None]
    problems: list[str]
    """What must not be, in plain words. A demonstration without any has passed."""


def collect(reader: Reader) -> list[Seen]:
    """Every run of a store, oldest first. Raises `StoreError` where it cannot be read."""
    found = []
    for run in reversed(reader.runs()):
        judged, latencies = [], []
        for record in reader.records(run.run):
            if record.late or not record.answer.attempt:
                continue
            points = [each.point for each in record.answer.points if isinstance(each, Inspected)]
            judged += points
            taken = (record.received_ns - record.answer.captured_ns) / MS_NS
            latencies += [taken] * len(points)
        settled = [(point.point, point.verdict) for point in reader.points(run=run.run)]
        found.append(
            Seen(
                part=run.part,
                verdict=run.verdict,
                balance=run.balance,
                settled=settled,
                judged=judged,
                latencies_ms=latencies,
                begun_ns=run.begun_ns,
                closed_ns=run.closed_ns,
            )
        )
    return found


def count(
    truth: Truth,
    planned: Collection[str],
    runs: Sequence[Seen],
    outcomes: Sequence[Outcome],
    *,
    borderline: Mapping[str, Collection[str]] | None = None,
    cameras_found_again: int | None = None,
) -> Summary:
    """``planned`` are the points of the plan, ``outcomes`` what the PLC did with each body,
    ``borderline`` the points of a body that are too near a limit to blame either answer. Where
    cameras were lost on purpose, ``cameras_found_again`` is how often one came back: their points
    must then be missing, and say so."""
    near = borderline or {}
    of_part: dict[str, list[Seen]] = {part: [] for part in truth}
    strangers = sorted({run.part for run in runs} - set(truth))
    for run in runs:
        of_part.setdefault(run.part, []).append(run)
    classes = {label: Tally() for label in sorted({x for d in truth.values() for x in d.values()})}
    good, apart = Tally(), Tally()
    lost = doubled = unplanned = 0
    for part, its_runs in of_part.items():
        entries = Counter(point for run in its_runs for point, _ in run.settled)
        if part in truth:
            lost += sum(point not in entries for point in planned)
        unplanned += sum(n for point, n in entries.items() if point not in planned)
        doubled += sum(n - 1 for n in entries.values())
        for run in its_runs:
            doubled += sum(n - 1 for n in Counter(run.judged).values())
        for point, verdict in (each for run in its_runs[-1:] for each in run.settled):
            label = truth.get(part, {}).get(point)
            tally = good if label is None else classes[label]
            _add(apart if point in near.get(part, ()) else tally, verdict)
    verdicts = Counter(run.verdict for run in runs)
    actions = Counter(outcome.action for outcome in outcomes)
    released = {outcome.part for outcome in outcomes if outcome.action == "RELEASE"}
    said_ok = {run.part for run in runs if run.verdict is RunVerdict.OK}
    faultless = [part for part, defects in truth.items() if not defects]
    faultless_ok = sum(part in released and part in said_ok for part in faultless)
    false_ok = sorted(p for p, d in truth.items() if d and (p in released or p in said_ok))
    latencies = sorted(ms for run in runs for ms in run.latencies_ms)
    balances = [run.balance for run in runs]
    absent = sum(balance.not_inspected for balance in balances)
    return Summary(
        parts=len(truth),
        runs_ok=verdicts[RunVerdict.OK],
        runs_nok=verdicts[RunVerdict.NOK],
        runs_hold=verdicts[RunVerdict.HOLD],
        runs_false_alarm=len(faultless) - faultless_ok,
        runs_false_ok=len(false_ok),
        good_bodies=len(faultless),
        good_bodies_ok=faultless_ok,
        defective_bodies=len(truth) - len(faultless),
        released=actions["RELEASE"],
        diverted=actions["DIVERT"],
        held=actions["HOLD"],
        planned=sum(balance.planned for balance in balances),
        ok=sum(balance.ok for balance in balances),
        nok=sum(balance.nok for balance in balances),
        review=sum(balance.review for balance in balances),
        not_inspected=sum(balance.not_inspected for balance in balances),
        good_points=good.points,
        good_points_not_inspected=good.not_inspected,
        defective_points=sum(tally.points for tally in classes.values()),
        escapes=sum(tally.ok for tally in classes.values()),
        overkill=good.nok + good.review,
        borderline=apart,
        per_class=classes,
        lost=lost,
        duplicated=doubled,
        points_per_second=_rate(runs),
        verdict_latency_ms={
            "p50": percentile(latencies, 0.5),
            "p99": percentile(latencies, 0.99),
            "p99.9": percentile(latencies, 0.999),
            "max": percentile(latencies, 1.0),
        },
        problems=[
            *_problems(of_part, len(planned), outcomes),
            *([f"{lost} planned points were lost: no record says anything of them"] * bool(lost)),
            *_absence(absent, cameras_found_again),
            *([f"{doubled} points were counted more than once"] * bool(doubled)),
            *([f"{unplanned} records are of points nobody planned"] * bool(unplanned)),
            *([f"runs of parts nobody sent: {', '.join(strangers[:5])}"] * bool(strangers)),
            *(
                f"{part} has {_plural(len(truth[part]), 'defect')} and was answered OK"
                for part in false_ok
            ),
        ],
    )


def _absence(absent: int, cameras_found_again: int | None) -> list[str]:
    if cameras_found_again is None:
        return [f"{_plural(absent, 'point')} not inspected: nobody looked there"] * bool(absent)
    if not cameras_found_again:
        return ["no camera was lost and found again"]
    return ["a camera was lost, and every point was looked at all the same"] * (not absent)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of the values do not exceed."""
    if not ordered:
        return None
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 1)


def _add(tally: Tally, verdict: Verdict) -> None:
    tally.points += 1
    name = verdict.value.lower()
    setattr(tally, name, getattr(tally, name) + 1)


def _rate(runs: Sequence[Seen]) -> float | None:
    """Judged points a second, from the first body's begin to the last body's verdict."""
    closed = [run.closed_ns for run in runs if run.closed_ns is not None]
    if not closed:
        return None
    span_ns = max(closed) - min(run.begun_ns for run in runs)
    points = sum(len(run.judged) for run in runs)
    return round(points * SECOND_NS / span_ns, 1) if span_ns > 0 else None


def _problems(
    of_part: Mapping[str, Sequence[Seen]], planned: int, outcomes: Sequence[Outcome]
) -> list[str]:
    """What is wrong with single bodies, each in one sentence."""
    said = []
    reported = Counter(outcome.part for outcome in outcomes)
    for part, runs in of_part.items():
        if len(runs) != 1:
            said.append(f"{part}: inspected {len(runs)} times instead of once")
        if reported[part] != 1:
            said.append(f"{part}: the PLC decided on it {reported[part]} times instead of once")
        for run in runs:
            balance = run.balance
            tally = Tally()
            for _, verdict in run.settled:
                _add(tally, verdict)
            words = (balance.ok, balance.nok, balance.review, balance.not_inspected)
            if run.verdict is None:
                said.append(f"{part}: has no verdict")
            if balance.planned != planned:
                said.append(f"{part}: {balance.planned} points planned, not the plan's {planned}")
            if balance.open or sum(words) != balance.planned:
                said.append(
                    f"{part}: does not balance: {balance.planned} planned, {balance.ok} OK +"
                    f" {balance.nok} NOK + {balance.review} REVIEW + {balance.not_inspected}"
                    f" NOT_INSPECTED, {balance.open} open"
                )
            if words != (tally.ok, tally.nok, tally.review, tally.not_inspected):
                said.append(f"{part}: its verdict counts other points than its records show")
    return said


# --------------------------------------------------------------------------------- in words


def tell(summary: Summary) -> str:
    """The summary as a quality engineer reads it, ending with a newline."""
    s = summary
    found = s.defective_points - s.escapes
    undecided = sum(tally.review for tally in s.per_class.values())
    missed = sum(tally.not_inspected for tally in s.per_class.values())
    text = f"""\
BODIES    {s.parts:,} inspected: {s.released:,} released, {s.diverted:,} sent to repair,\
 {s.held:,} held for a person
          of {s.good_bodies:,} without a defect {s.good_bodies_ok:,} were answered OK\
 ({_share(s.good_bodies_ok, s.good_bodies)}); the other {s.runs_false_alarm:,} are false alarms
          of {s.defective_bodies:,} with 1 to 50 defects {s.runs_false_ok or "none"}\
 {"was" if s.runs_false_ok < 2 else "were"} answered OK
POINTS    {s.planned:,} planned = {s.ok:,} OK + {s.nok:,} NOK + {s.review:,} REVIEW\
 + {s.not_inspected:,} NOT_INSPECTED
          {s.lost or "none"} lost, {s.duplicated or "none"} counted twice
DEFECTS   {s.defective_points:,} drawn = {found:,} stopped + {s.escapes:,} escaped\
 (called OK, {_share(s.escapes, s.defective_points, 2)})
          of those stopped {found - undecided - missed:,} are NOK, {undecided:,} REVIEW,\
 {missed:,} not inspected
"""
    if s.per_class:
        width = max(map(len, s.per_class))
        text += f"          {'':{width}}  drawn    NOK  REVIEW  not inspected  escaped\n"
    for label, t in s.per_class.items():
        text += (
            f"          {label:{width}}  {t.points:5,}  {t.nok:5,}  {t.review:6,}"
            f"  {t.not_inspected:13,}  {t.ok:7,}\n"
        )
    text += (
        f"ALARMS    {s.overkill:,} of {s.good_points:,} good points came out NOK or REVIEW"
        f" ({_share(s.overkill, s.good_points, 2)})\n"
    )
    if s.good_points_not_inspected:
        text += f"          {s.good_points_not_inspected:,} good points were not inspected\n"
    if s.borderline.points:
        b = s.borderline
        text += (
            f"          apart, too near a limit to blame either answer: {b.points:,} points,"
            f" {b.ok:,} OK, {b.nok:,} NOK, {b.review:,} REVIEW, {b.not_inspected:,} not inspected\n"
        )
    if s.points_per_second is not None:
        ms = s.verdict_latency_ms
        text += (
            f"SPEED     {s.points_per_second:,.0f} points/s; from picture to recorded verdict"
            f" {_ms(ms['p50'])} (median), 99 % within {_ms(ms['p99'])}, all within"
            f" {_ms(ms['max'])}\n"
        )
    text += """
OK means that nothing visible is wrong. The bodies are drawn by this software: the figures say how
the line and this model do on such pictures, and nothing about any real weld.

"""
    if not s.problems:
        return text + (
            "PASSED: every planned point is accounted for once, and no body with a defect was"
            " answered OK.\n"
        )
    more = len(s.problems) - SHOWN
    said = [*s.problems[:SHOWN], *([f"and {more} more, in the JSON file"] if more > 0 else [])]
    return text + "FAILED\n" + "".join(f"  {problem}\n" for problem in said)


def _share(part: int, whole: int, digits: int = 0) -> str:
    return f"{100 * part / whole:.{digits}f} %" if whole else "none there"


def _ms(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms"


def _plural(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
