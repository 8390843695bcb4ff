"""The C client of docs/plc, compiled and led through a shift on a wire that is cut, and a judge who
compares what it reported with what the station has on record."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inspection.testing import boards
from inspection.testing.line import Line
from inspection.testing.oracle import examine
from inspection.testing.plc import Outcome
from inspection.testing.proxy import Direction, Proxy

SOURCES = Path(__file__).resolve().parents[1] / "docs" / "plc"
FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-O2")
LIBRARIES = ("-lzmq", "-lcjson")
TIMEOUT_MS = 20_000
"""The client's own timer: longer than the deadline and than any of the cuts."""


def why_not_here() -> str:
    """What is missing to compile the client; empty where nothing is."""
    compiler = shutil.which("gcc")
    if compiler is None:
        return "there is no gcc: apt-get install gcc libzmq3-dev libcjson-dev"
    program = "#include <zmq.h>\n#include <cjson/cJSON.h>\nint main(void) { return 0; }\n"
    done = subprocess.run(
        [compiler, "-x", "c", "-", "-o", "/dev/null", *LIBRARIES],
        input=program.encode(),
        capture_output=True,
        check=False,
    )
    return "" if done.returncode == 0 else "apt-get install libzmq3-dev libcjson-dev"


def build(folder: Path, *flags: str) -> Path:
    """The program, compiled in a folder. Warnings are errors."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "plc-client"
    sources = [str(SOURCES / name) for name in ("main.c", "client.c")]
    done = subprocess.run(
        ["gcc", *FLAGS, *flags, *sources, "-o", str(program), *LIBRARIES],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return program


class Client:
    """One process of the client; what it has reported lies in ``folder``."""

    def __init__(
        self,
        program: Path,
        folder: Path,
        endpoint: str,
        parts: Sequence[str],
        *,
        plan: str = boards.PLAN,
        timeout_ms: int = TIMEOUT_MS,
        views: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        given = folder / "parts.txt"
        given.write_text("".join(f"{part}\n" for part in parts))
        with given.open() as stdin, (folder / "client.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(program), endpoint, "plc-c", plan, str(folder), str(timeout_ms), *views],
                stdin=stdin,
                stderr=log,
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Shift:
    """How a shift went. Everything from ``missed`` on must be empty."""

    cuts: int = 0
    kills: int = 0
    seconds: float = 0.0
    actions: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    """Verdicts on record that the client did not report as they are, or did not acknowledge."""
    twice: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    """Reported verdicts that are not the part's own and latest, and releases without an OK."""
    other: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.missed or self.twice or self.stale or self.other)


def shift(
    folder: Path, program: Path, *, parts: int, cuts: int, kills: int = 0, seed: int = 1
) -> Shift:
    """Lead so many parts through station and edge, with the client on a wire of its own that is
    cut, reset and slow at random; every third part has a defect."""
    rng = random.Random(seed)
    names = [f"C{number:04d}" for number in range(parts)]
    defective = {name for number, name in enumerate(names) if number % 3 == 0}
    for name in names:
        boards.write_part(
            folder / "images", name, boards.board(*([(1, 2)] if name in defective else []))
        )
    line = Line(
        folder / "line",
        plans=[boards.write_plan(folder / "plan", deadline_ms=8000)],
        models={"darkness": boards.model(folder / "model")},
        cameras=boards.camera(folder / "images"),
        parts=names,
        plan=boards.PLAN,
    )
    went = Shift()
    wire = Proxy(line.endpoints["plc"], seed=seed)
    started = time.monotonic()
    with line:
        line.start("station", *line.edges)
        line.until(lambda: "edge connected" in line.log("station"), 60, "edge")
        client = Client(program, folder / "line" / "plc", wire.endpoint, names)
        try:
            # The faults are spread over the parts, so that each shift gets all of them whatever
            # the speed of the machine.
            moments = [(rng.uniform(0.5, parts - 2), "link") for _ in range(cuts)]
            moments += [(rng.uniform(0.5, parts - 2), "kill") for _ in range(kills)]
            for at, what in sorted(moments):
                while len(line.outcomes()) < at and client.process.poll() is None:
                    time.sleep(0.02)
                time.sleep(rng.uniform(0.0, 0.2))
                if what == "kill":
                    client.kill()
                    went.kills += 1
                    client = Client(program, folder / "line" / "plc", wire.endpoint, names)
                    continue
                # Away first, so that what is on its way is lost with the connection, and a new one
                # says nothing for a while.
                wire.black_hole(*Direction)
                went.cuts += wire.reset() if rng.random() < 0.5 else wire.cut()
                time.sleep(rng.choice([0.0, 0.0, 0.1, 0.6, 2.0]))
                wire.heal()
                wire.delay(rng.choice([0, 0, 5, 40, 250]), jitter_ms=rng.choice([0, 20]))
            wire.heal()
            status = client.process.wait(60 + parts)
        finally:
            client.kill()
            wire.close()
        went.seconds = time.monotonic() - started
        if status:
            went.other.append(f"the client ended with {status}")
        judge(went, line, names, defective)
    return went


def judge(went: Shift, line: Line, names: list[str], defective: set[str]) -> None:
    """Compare reports and records; the database is read with SQL of the judge's own."""
    reports = line.outcomes()
    went.actions.update(report.action for report in reports)
    with sqlite3.connect(f"file:{line.folder / 'station' / 'station.db'}?mode=ro", uri=True) as db:
        recorded = db.execute(
            "SELECT run.part_id, run.run_id, verdict.verdict, max(verdict.verdict_seq)"
            " FROM run JOIN verdict USING (run_id) GROUP BY run.run_id"
        ).fetchall()
        taken = {row[0] for row in db.execute("SELECT verdict_seq FROM acknowledgement")}
    db.close()
    by_part: dict[str, list[Outcome]] = {}
    for report in reports:
        by_part.setdefault(report.part, []).append(report)
    went.twice += [part for part, said in by_part.items() if len(said) > 1]
    numbers = [report.verdict_seq for report in reports if report.verdict_seq]
    went.twice += [f"verdict {n}" for n, times in Counter(numbers).items() if times > 1]
    went.stale += [f"verdict {b} after {a}" for a, b in zip(numbers, numbers[1:]) if b < a]  # noqa: B905, RUF007
    records = {(part, run): (verdict, seq) for part, run, verdict, seq in recorded}
    for part, run, verdict, seq in recorded:
        said = [r for r in by_part.get(part, []) if r.run == run and r.verdict_seq == seq]
        if not said or not said[0].acknowledged or seq not in taken:
            went.missed.append(f"{part}: verdict {seq} ({verdict})")
    for report in reports:
        verdict, seq = records.get((report.part, report.run or ""), ("", 0))
        if report.verdict_seq not in (0, seq) or (report.action == "RELEASE") > (verdict == "OK"):
            went.stale.append(f"{report.part}: {report.action} with verdict {report.verdict_seq}")
        if report.action == "RELEASE" and report.part in defective:
            went.stale.append(f"{report.part}: a defective part was released")
    went.other += [f"{part}: not reported" for part in names if part not in by_part]
    found = examine(line, names, boards.GRID**2)
    went.other += found.lost + found.duplicated + found.false_ok + found.unbalanced
