"""An independent judge of a finished line: reads the database with SQL of its own, applies the
laws of the design in its own words, and trusts no code of the station."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from pathlib import Path

from inspection.testing.line import Line

LATER_THAN_ALL = 10**9


def judge_line(line: Line, parts: list[str], planned: int) -> dict[str, str]:
    """Check everything a line has left behind; returns the verdict of each part's latest run.

    ``parts`` are all the parts the PLC was given, ``planned`` the points of the plan.
    """
    return check(line.folder / "station" / "station.db", line, parts, planned)


def check(path: Path, line: Line, parts: list[str], planned: int) -> dict[str, str]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    database.row_factory = sqlite3.Row
    verdicts: dict[str, str] = {}
    runs = database.execute("SELECT * FROM run ORDER BY number").fetchall()
    assert runs, "no run at all"
    ok_runs = set()
    for run in runs:
        said = defaultdict(list)
        for row in database.execute("SELECT * FROM result WHERE run_id = ?", (run["run_id"],)):
            if not row["late"]:
                said[row["point_id"]].append(row)
        rows = database.execute(
            "SELECT * FROM verdict WHERE run_id = ? ORDER BY verdict_seq", (run["run_id"],)
        ).fetchall()
        assert len(rows) == 1, f"run of {run['part_id']} has {len(rows)} verdicts"
        verdict = rows[0]
        # Law 1: every planned point is settled, and the verdict's own balance says the same.
        assert run["planned"] == planned == len(said)
        tally = dict.fromkeys(("OK", "NOK", "REVIEW", "NOT_INSPECTED"), 0)
        for attempts in said.values():
            kinds = {row["verdict"] for row in attempts}
            conflict = any(row["reason"] == 602 for row in attempts)
            if "NOK" in kinds:
                counted = "NOK"
            elif "REVIEW" in kinds:
                counted = "REVIEW"
            elif "OK" in kinds and not conflict:
                counted = "OK"
            else:
                counted = "NOT_INSPECTED"
                for row in attempts:
                    assert row["reason"] >= 200, "absent without a reason"
            tally[counted] += 1
        assert sum(tally.values()) == planned
        assert {k: verdict[k.lower()] for k in tally} == tally
        # Law 2: OK only if every planned point is OK.
        if verdict["verdict"] == "OK":
            assert tally["OK"] == planned, "false OK"
            ok_runs.add(run["run_id"])
        if tally["NOK"]:
            assert verdict["verdict"] == "NOK"
        verdicts[run["part_id"]] = verdict["verdict"]
    # Law 3: nothing twice. (run, point, attempt) is a key; no outbox record was stored twice.
    doubled = database.execute(
        "SELECT outbox_id, outbox_seq FROM record WHERE outbox_id IS NOT NULL"
        " GROUP BY outbox_id, outbox_seq HAVING count(*) > 1"
    ).fetchall()
    assert doubled == []
    database.close()
    # The PLC reported every part exactly once, and released only parts whose run is OK.
    outcomes = line.outcomes()
    assert sorted(outcome.part for outcome in outcomes) == sorted(parts)
    for outcome in outcomes:
        if outcome.action == "RELEASE":
            assert outcome.run in ok_runs, f"{outcome.part} was released without an OK"
    return verdicts
