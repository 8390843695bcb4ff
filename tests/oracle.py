"""An independent judge of a finished line: reads the database with SQL of its own, applies the
laws of the design in its own words, and trusts no code of the station."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import msgspec

from inspection.testing.line import Line

CONFLICT = 602
FIRST_REASON_OF_ABSENCE = 200


@dataclass
class Findings:
    """What the judge found. Everything but ``verdicts`` should be empty."""

    verdicts: dict[str, str] = field(default_factory=dict)
    """Run verdict by part, of its latest run."""
    lost: list[str] = field(default_factory=list)
    """Planned points without an entry, parts without a run's verdict or the PLC's word."""
    duplicated: list[str] = field(default_factory=list)
    false_ok: list[str] = field(default_factory=list)
    unbalanced: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    """Absences without a reason, verdicts that do not follow from the points."""

    @property
    def clean(self) -> bool:
        wrong = (self.lost, self.duplicated, self.false_ok, self.unbalanced, self.unexplained)
        return not any(wrong)


def judge_line(line: Line, parts: list[str], planned: int) -> dict[str, str]:
    """Fail unless everything a line has left behind is as it must be; the verdict by part."""
    findings = examine(line, parts, planned)
    assert findings.clean, findings
    return findings.verdicts


def examine(line: Line, parts: list[str], planned: int) -> Findings:
    """Look at everything a line has left behind.

    ``parts`` are all the parts the PLC was given, ``planned`` the points of the plan.
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
    # Law 3: nothing twice. (run, point, attempt) is a key; here the records they came in.
    found.duplicated += [
        f"record {row['outbox_seq']} of outbox {row['outbox_id']}"
        for row in database.execute(
            "SELECT outbox_id, outbox_seq FROM record WHERE outbox_id IS NOT NULL"
            " GROUP BY outbox_id, outbox_seq HAVING count(*) > 1"
        )
    ]
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


def _not_as_recorded(database: sqlite3.Connection, run: str) -> list[sqlite3.Row]:
    """Rows that say OK where the bytes that came from the edge do not."""
    wrong = []
    for record in database.execute("SELECT number, raw FROM record WHERE run_id = ?", (run,)):
        points = msgspec.msgpack.decode(record["raw"])["points"]
        said_ok = {point["point"] for point in points if point.get("verdict") == "OK"}
        rows = database.execute("SELECT * FROM result WHERE record = ?", (record["number"],))
        wrong += [row for row in rows if row["verdict"] == "OK" and row["point_id"] not in said_ok]
    return wrong


_KINDS = ("OK", "NOK", "REVIEW", "NOT_INSPECTED")


def _counts_as(attempts: list[sqlite3.Row]) -> str:
    """What all attempts at one point come to."""
    kinds = {row["verdict"] for row in attempts}
    for stronger in ("NOK", "REVIEW"):
        if stronger in kinds:
            return stronger
    conflict = any(row["reason"] == CONFLICT for row in attempts)
    return "OK" if "OK" in kinds and not conflict else "NOT_INSPECTED"
