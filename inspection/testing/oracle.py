"""An independent judge of a finished line: reads the database with SQL of its own, applies the
laws of the design in its own words, and trusts no code of the station.

With `Truth` it also recomputes what the station must hold, from what the PLC wrote down itself (its
report and its retentive memory), from the plan, from what the parts really look like, and from the
bytes that still lie in the edges' outboxes.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from inspection.testing.line import Line

CONFLICT = 602
FIRST_REASON_OF_ABSENCE = 200


@dataclass(frozen=True)
class Truth:
    """What the line cannot know better than whoever made its parts."""

    points: frozenset[str]
    """Every planned point."""
    defective: Mapping[str, frozenset[str]]
    """Points with a defect that the model sees, by part; parts without one may be left out."""


@dataclass
class Findings:
    """What the judge found. Everything but ``verdicts`` should be empty."""

    verdicts: dict[str, str] = field(default_factory=dict)
    """Run verdict by part, of its latest run."""
    lost: list[str] = field(default_factory=list)
    """Planned points without an entry, parts without a run's verdict or the PLC's word."""
    duplicated: list[str] = field(default_factory=list)
    reordered: list[str] = field(default_factory=list)
    """Records of an outbox stored in another order than they were written."""
    false_ok: list[str] = field(default_factory=list)
    unbalanced: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    """Absences without a reason, verdicts that do not follow from the points."""

    accepted: int = 0
    """Verdicts on points that edges gave and the station took."""

    @property
    def clean(self) -> bool:
        return not any(
            (
                self.lost,
                self.duplicated,
                self.reordered,
                self.false_ok,
                self.unbalanced,
                self.unexplained,
            )
        )


def judge_line(line: Line, parts: list[str], planned: int) -> dict[str, str]:
    """Fail unless everything a line has left behind is as it must be; the verdict by part."""
    findings = examine(line, parts, planned)
    if not findings.clean:
        raise AssertionError(findings)
    return findings.verdicts


def examine(line: Line, parts: list[str], planned: int, truth: Truth | None = None) -> Findings:
    """Look at everything a line has left behind.

    ``parts`` are all the parts the PLC was given, ``planned`` counts the points of the plan.
    """
    found = Findings()
    path = line.folder / "station" / "station.db"
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    database.row_factory = sqlite3.Row
    ok_runs = set()
    for run in database.execute("SELECT * FROM run ORDER BY number").fetchall():
        name = f"{run['part_id']} ({run['run_id']})"
        said = defaultdict(list)
        for row in database.execute("SELECT * FROM result WHERE run_id = ?", (run["run_id"],)):
            if not row["late"]:
                said[row["point_id"]].append(row)
        found.false_ok += [
            f"{name}: {row['point_id']} is OK, but its record says otherwise"
            for row in _not_as_recorded(database, run["run_id"])
        ]
        # Law 1: every planned point is settled, and the verdict's own balance says the same.
        if not run["planned"] == planned == len(said):
            found.lost.append(f"{name}: {len(said)} of {planned} points")
        rows = database.execute(
            "SELECT * FROM verdict WHERE run_id = ?", (run["run_id"],)
        ).fetchall()
        if len(rows) != 1:
            (found.duplicated if rows else found.lost).append(f"{name}: {len(rows)} verdicts")
            continue
        tally = Counter(_counts_as(attempts) for attempts in said.values())
        if any(rows[0][kind.lower()] != tally[kind] for kind in _KINDS):
            found.unbalanced.append(f"{name}: {dict(tally)} is not {dict(rows[0])}")
        found.unexplained += [
            f"{name}: {row['point_id']} is absent without a reason"
            for attempts in said.values()
            for row in attempts
            if row["verdict"] == "NOT_INSPECTED" and row["reason"] < FIRST_REASON_OF_ABSENCE
        ]
        # Law 2: OK only if every planned point is OK.
        verdict = rows[0]["verdict"]
        if verdict == "OK":
            ok_runs.add(run["run_id"])
            if tally["OK"] != planned:
                found.false_ok.append(f"{name}: OK with {dict(tally)}")
        elif (verdict == "NOK") != bool(tally["NOK"]):
            found.unexplained.append(f"{name}: {verdict} with {dict(tally)}")
        found.verdicts[run["part_id"]] = verdict
    _examine_outboxes(database, found)
    found.accepted = database.execute("SELECT count(*) FROM result WHERE attempt > 0").fetchone()[0]
    if truth is not None:
        _compare(database, line, truth, found)
    database.close()
    # The PLC reported every part exactly once, and released only parts whose run is OK.
    reported = Counter(outcome.part for outcome in line.outcomes())
    found.lost += [f"{part}: the PLC reported nothing" for part in parts if not reported[part]]
    found.duplicated += [f"{part}: reported twice" for part, n in reported.items() if n > 1]
    found.false_ok += [
        f"{outcome.part}: released without an OK"
        for outcome in line.outcomes()
        if outcome.action == "RELEASE" and outcome.run not in ok_runs
    ]
    return found


def _examine_outboxes(database: sqlite3.Connection, found: Findings) -> None:
    """Law 3: nothing lost, nothing twice, nothing in another order. (run, point, attempt) is a key
    of the database; here it is about the records that the results came in."""
    for outbox, committed in database.execute("SELECT outbox_id, committed FROM outbox").fetchall():
        kept = [
            seq
            for table in ("record", "quarantine")
            for (seq,) in database.execute(
                f"SELECT outbox_seq FROM {table} WHERE outbox_id = ?"  # noqa: S608  two fixed names
                " ORDER BY number",
                (outbox,),
            ).fetchall()
        ]
        times = Counter(kept)
        found.duplicated += [f"record {n} of outbox {outbox}" for n in times if times[n] > 1]
        inside = sorted(number for number in times if number <= committed)
        found.lost += [
            f"records {before + 1} to {after - 1} of outbox {outbox}"
            for before, after in itertools.pairwise([0, *inside, committed + 1])
            if after > before + 1
        ]
        found.unexplained += [
            f"record {number} of outbox {outbox} is beyond what was acknowledged"
            for number in times
            if number > committed
        ]
        in_order = [
            seq
            for (seq,) in database.execute(
                "SELECT outbox_seq FROM record WHERE outbox_id = ? ORDER BY number", (outbox,)
            )
        ]
        found.reordered += [
            f"record {later} of outbox {outbox} after {earlier}"
            for earlier, later in itertools.pairwise(in_order)
            if later < earlier
        ]


# ------------------------------------------------------------------- against what is really so


def _compare(database: sqlite3.Connection, line: Line, truth: Truth, found: Findings) -> None:
    """What PLC, plan, parts and outboxes say, against the database."""
    runs = {row["run_id"]: row for row in database.execute("SELECT * FROM run").fetchall()}
    for part, count in Counter(row["part_id"] for row in runs.values()).items():
        if count > 1:
            found.duplicated.append(f"{part}: {count} runs, but the PLC began it once")
    for run, row in runs.items():
        name = f"{row['part_id']} ({run})"
        stored = database.execute("SELECT * FROM result WHERE run_id = ?", (run,)).fetchall()
        if {entry["point_id"] for entry in stored if not entry["late"]} != truth.points:
            found.lost.append(f"{name}: the points are not those of the plan")
        defects = truth.defective.get(row["part_id"], frozenset())
        found.false_ok += [
            f"{name}: {entry['point_id']} is OK, but it is defective"
            for entry in stored
            if entry["verdict"] == "OK" and entry["point_id"] in defects
        ]
        found.unexplained += [
            f"{name}: {entry['point_id']} is NOK, but it is good"
            for entry in stored
            if entry["verdict"] == "NOK" and entry["point_id"] not in defects
        ]
        if defects and found.verdicts.get(row["part_id"]) == "OK":
            found.false_ok.append(f"{name}: OK with defects at {sorted(defects)}")
    _compare_plc(database, line, runs, truth, found)
    for kind, text in database.execute("SELECT kind, text FROM quarantine").fetchall():
        # Nothing here damages disks or forges records, so nothing may have been set aside.
        where = {"conflict": found.duplicated, "orphan": found.unexplained}.get(kind, found.lost)
        where.append(f"{kind}: {text}")
    for edge in line.edges:
        _compare_outbox(database, line.folder / edge / "outbox", found)


def _compare_plc(
    database: sqlite3.Connection,
    line: Line,
    runs: Mapping[str, sqlite3.Row],
    truth: Truth,
    found: Findings,
) -> None:
    for outcome in line.outcomes():
        if outcome.run is None:
            continue
        if outcome.run not in runs or runs[outcome.run]["part_id"] != outcome.part:
            found.lost.append(f"{outcome.part}: run {outcome.run}, which the PLC was told of")
            continue
        verdict = database.execute(
            "SELECT verdict, verdict_seq FROM verdict WHERE run_id = ?", (outcome.run,)
        ).fetchone()
        told = outcome.verdict_seq
        if told and (verdict is None or verdict["verdict_seq"] != told):
            found.lost.append(f"{outcome.part}: verdict {told}, which the PLC was told")
        taken = database.execute(
            "SELECT count(*) FROM acknowledgement WHERE verdict_seq = ?", (told,)
        ).fetchone()[0]
        if outcome.acknowledged and not taken:
            found.lost.append(f"{outcome.part}: the acknowledgement of verdict {told}")
        if outcome.action == "RELEASE" and truth.defective.get(outcome.part):
            found.false_ok.append(f"{outcome.part}: released with defects")
        if outcome.action == "DIVERT" and not truth.defective.get(outcome.part):
            found.unexplained.append(f"{outcome.part}: diverted without a defect")
    memory = msgspec.json.decode((line.folder / "plc" / "memory.json").read_bytes())
    asked = [
        seq
        for (seq,) in database.execute("SELECT seq FROM request WHERE plc_id = 'plc-1'").fetchall()
    ]
    found.unexplained += [
        f"request {seq}, which the PLC never sent" for seq in asked if seq >= memory["next_seq"]
    ]
    reported = {outcome.part for outcome in line.outcomes()}
    found.lost += [
        f"{row['part_id']}: begun, but not reported"
        for row in runs.values()
        if row["part_id"] not in reported
    ]


_FRAME = struct.Struct("<4sIQII")
"""Of an outbox: magic, length of the payload, number, two checksums. Read here once more, so that
a mistake in the edge's own reading does not hide what it lost."""


def outbox_records(folder: Path) -> Iterator[tuple[int, bytes]]:
    """(number, payload) of every whole frame that an outbox folder holds."""
    for path in sorted(folder.glob("seg-*.log")):
        data = path.read_bytes()
        at = 0
        while at + _FRAME.size <= len(data):
            _, length, number, _, _ = _FRAME.unpack_from(data, at)
            end = at + _FRAME.size + length
            if end > len(data):
                break  # interrupted while it was written: nobody was promised this one
            yield number, data[at + _FRAME.size : end]
            at = end


def outbox_id(folder: Path) -> str:
    """The id of an outbox folder, empty where it has none yet."""
    try:
        text = (folder / "outbox-id").read_text("ascii")
    except FileNotFoundError:
        return ""
    found = re.match(r"[0-9a-f]{32}", text)
    return found[0] if found else ""


def _compare_outbox(database: sqlite3.Connection, folder: Path, found: Findings) -> None:
    outbox = outbox_id(folder)
    for number, payload in outbox_records(folder):
        stored = database.execute(
            "SELECT raw FROM record WHERE outbox_id = ? AND outbox_seq = ?"
            " UNION ALL SELECT raw FROM quarantine WHERE outbox_id = ? AND outbox_seq = ?",
            (outbox, number, outbox, number),
        ).fetchall()
        if [row["raw"] for row in stored] != [payload]:
            found.lost.append(f"record {number} of outbox {outbox} as it was written")


def _not_as_recorded(database: sqlite3.Connection, run: str) -> list[sqlite3.Row]:
    """Rows that say OK where the bytes that came from the edge do not."""
    said_ok: set[tuple[int, str]] = set()
    for record in database.execute("SELECT number, raw FROM record WHERE run_id = ?", (run,)):
        points = msgspec.msgpack.decode(record["raw"])["points"]
        said_ok |= {(record["number"], p["point"]) for p in points if p.get("verdict") == "OK"}
    rows = database.execute("SELECT * FROM result WHERE run_id = ? AND verdict = 'OK'", (run,))
    return [row for row in rows if (row["record"], row["point_id"]) not in said_ok]


_KINDS = ("OK", "NOK", "REVIEW", "NOT_INSPECTED")


def _counts_as(attempts: list[sqlite3.Row]) -> str:
    """What all attempts at one point come to."""
    kinds = {row["verdict"] for row in attempts}
    for stronger in ("NOK", "REVIEW"):
        if stronger in kinds:
            return stronger
    conflict = any(row["reason"] == CONFLICT for row in attempts)
    return "OK" if "OK" in kinds and not conflict else "NOT_INSPECTED"
