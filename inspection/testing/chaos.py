"""A line of real processes, killed, frozen and cut off at random while parts run through it.

Station, two edges with a camera each and the simulated PLC, over links that can be made bad. What
is done to them, to whom and when follows from a seed; what they were doing at that moment does not.
Afterwards the line may come to rest, and `inspection.testing.oracle` reads what it left behind.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from inspection import imaging
from inspection.testing import boards, oracle
from inspection.testing.line import Line, toml
from inspection.testing.proxy import Direction, Proxy

CAMERAS = ("cam1", "cam2")
POINTS = frozenset(
    f"v{view}-r{row}c{column}"
    for view in range(len(CAMERAS))
    for row in range(boards.GRID)
    for column in range(boards.GRID)
)
DEADLINE_MS = 4000
PARTS_PER_KILL = 12
SETTLE_S = 120.0
LOOKS = 12
"""Different pictures of parts; every third is of a defective one."""

Bad = Callable[[Proxy, random.Random], object]

LINK_FAULTS: Mapping[str, Bad] = {
    "cut": lambda link, _: link.cut(),
    "reset": lambda link, _: link.reset(),
    "delay": lambda link, rng: link.delay(rng.uniform(10, 500), rng.uniform(0, 300)),
    "black-hole": lambda link, rng: link.black_hole(rng.choice(list(Direction))),
    "slice": lambda link, _: link.slice(1),
    "limit": lambda link, rng: link.limit(rng.uniform(5_000, 50_000)),
}
PROCESS_FAULTS = ("freeze", "together")
"""SIGSTOP for a while; station and an edge killed in the same instant."""
FAULTS = (*LINK_FAULTS, *PROCESS_FAULTS)


@dataclass
class Done:
    """What was done to the line, and what was found afterwards."""

    kills: Counter[str] = field(default_factory=Counter)
    link_faults: Counter[str] = field(default_factory=Counter)
    freezes: int = 0
    crashed: list[str] = field(default_factory=list)
    """Processes that ended by themselves, with the end of their log."""
    parts: int = 0
    released: int = 0
    findings: oracle.Findings = field(default_factory=oracle.Findings)

    @property
    def clean(self) -> bool:
        return self.findings.clean and not self.crashed


def torment(
    folder: Path, *, kills: int, link_faults: int, faults: Sequence[str] = FAULTS, seed: int
) -> Done:
    """Build a line in ``folder``, do all that to it, and judge it."""
    rng = random.Random(seed)  # noqa: S311  a schedule is no secret
    parts = [f"B{number:05d}" for number in range(100 + PARTS_PER_KILL * kills)]
    truth = _make_parts(folder / "images", parts)
    plan = boards.write_plan(
        folder / "plan", deadline_ms=DEADLINE_MS, views=len(CAMERAS), cameras=CAMERAS
    )
    settings = {"directory": str(folder / "images"), "delay_ms": 10}
    with Line(
        folder / "line",
        plans=[plan],
        models={"darkness": boards.model(folder / "model")},
        cameras={name: {"driver": "folder", "settings": settings} for name in CAMERAS},
        parts=parts,
        plan=boards.PLAN,
        timeout_ms=15_000,
        links=True,
        warm=True,
    ) as line:
        done = Done()
        line.start()
        line.until(lambda: line.outcomes(), 60, "the first part")
        _Tormentor(line, rng, done, faults).work(kills, link_faults)
        _come_to_rest(line, done)
        given = [outcome.part for outcome in line.outcomes()]
        done.parts = len(given)
        done.released = sum(outcome.action == "RELEASE" for outcome in line.outcomes())
        done.findings = oracle.examine(line, given, len(POINTS), truth)
    return done


def defects_of(parts: Iterable[str]) -> dict[str, frozenset[str]]:
    """The points with a defect, by part: one at a place of its own in every third part."""
    return {
        part: frozenset({f"v{number % 2}-r{number % boards.GRID}c{(number * 7 + 1) % boards.GRID}"})
        for part in parts
        if (number := int(part[1:]) % LOOKS) % 3 == 0
    }


def _make_parts(images: Path, parts: Sequence[str]) -> oracle.Truth:
    """Pictures of all parts, a few files that they share."""
    good = imaging.encode_png(boards.board())
    defective = defects_of(parts)
    kept: dict[tuple[int, int], Path] = {}
    for part in parts:
        (images / part).mkdir(parents=True)
        for view in range(len(CAMERAS)):
            path = images / part / f"v{view}.png"
            look = (int(part[1:]) % LOOKS, view)
            if look in kept:
                os.link(kept[look], path)
                continue
            kept[look] = path
            dark = [point for point in defective.get(part, ()) if point.startswith(f"v{view}-")]
            places = [(int(point[4]), int(point[6])) for point in dark]
            path.write_bytes(imaging.encode_png(boards.board(*places)) if dark else good)
    return oracle.Truth(points=POINTS, defective=defective)


class _Tormentor:
    """Does harm to a line, at a rate at which some parts still get through."""

    def __init__(self, line: Line, rng: random.Random, done: Done, faults: Sequence[str]) -> None:
        self._line = line
        self._rng = rng
        self._done = done
        self._links = [name for name in LINK_FAULTS if name in faults]
        self._freezes = "freeze" in faults
        self._together = "together" in faults
        self._victims = ("station", *line.edges)
        self._over: list[tuple[float, Callable[[], None]]] = []
        """What goes back to normal, and when."""
        self._frozen: set[str] = set()

    def work(self, kills: int, link_faults: int) -> None:
        events = ["kill"] * kills + ["link"] * (link_faults if self._links else 0)
        if self._freezes:
            events += ["freeze"] * (kills // 20)
        self._rng.shuffle(events)
        killed = 0
        for event in events:
            self._pause()
            if event == "link":
                self._spoil_a_link()
            elif event == "freeze":
                self._freeze()
            elif killed < kills:
                pair = self._together and self._rng.random() < 0.1 and killed + 2 <= kills
                victims = (
                    ["station", self._rng.choice(self._line.edges)]
                    if pair
                    else [self._rng.choice(self._victims)]
                )
                killed += len(victims)
                self._kill(victims)
        while self._over:
            self._pause()

    def _pause(self) -> None:
        """Mostly short, so that processes die as they start; sometimes long enough for a part."""
        short = self._rng.random() < 0.85
        until = time.monotonic() + (
            self._rng.uniform(0.02, 0.25) if short else self._rng.uniform(0.4, 1.2)
        )
        while (now := time.monotonic()) < until:
            for entry in [entry for entry in self._over if entry[0] <= now]:
                self._over.remove(entry)
                entry[1]()
            time.sleep(min(0.02, max(0.0, until - now)))
        self._look_for_the_dead()

    def _look_for_the_dead(self) -> None:
        for name in (*self._victims, "plc"):
            status = self._line.status(name)
            if status is not None:
                # Nobody killed it. A supervisor would start it again; here it is told as well.
                self._done.crashed.append(f"{name} ({status}): {self._line.log(name)[-500:]}")
                self._line.start(name)

    def _kill(self, names: Sequence[str]) -> None:
        for name in names:
            self._line.kill(name)
            self._frozen.discard(name)
            self._done.kills[name] += 1
        for name in names:
            self._line.start(name)

    def _freeze(self) -> None:
        name = self._rng.choice(self._victims)
        if name in self._frozen:
            return
        self._line.freeze(name)
        self._frozen.add(name)
        self._done.freezes += 1

        def thaw() -> None:
            if name in self._frozen:
                self._frozen.discard(name)
                self._line.thaw(name)

        self._over.append((time.monotonic() + self._rng.uniform(0.2, 3.0), thaw))

    def _spoil_a_link(self) -> None:
        # Results and the PLC first; pictures come second here as well.
        names = [n for n in self._line.links if not n.endswith("-evidence")] * 3
        link = self._line.links[self._rng.choice([*names, *self._line.links])]
        fault = self._rng.choice(self._links)
        LINK_FAULTS[fault](link, self._rng)
        self._done.link_faults[fault] += 1

        def heal() -> None:
            if self._rng.random() < 0.3:
                link.cut()  # what was held back or is on its way never arrives
            link.heal()

        if fault not in ("cut", "reset"):
            self._over.append((time.monotonic() + self._rng.uniform(0.1, 2.5), heal))


def _come_to_rest(line: Line, done: Done) -> None:
    """Let the part in hand be finished and every outbox be read, then stop everything."""
    for link in line.links.values():
        link.heal()
    line.stop("plc")
    known = [outcome.part for outcome in line.outcomes()]
    in_hand = msgspec.json.decode((line.folder / "plc" / "memory.json").read_bytes())["part"]
    last = [*known, *([in_hand] if in_hand and in_hand not in known else [])]
    config = msgspec.toml.decode(line.config("plc").read_bytes())
    line.config("plc").write_text(toml({**config, "parts": last}), "utf-8")
    line.start("plc")
    if status := line.wait("plc", SETTLE_S):
        done.crashed.append(f"plc ({status}): {line.log('plc')[-500:]}")
    line.until(lambda: _all_read(line), SETTLE_S, "every outbox read by the station")
    for name in (*line.edges, "station"):
        if status := line.stop(name, 60):
            done.crashed.append(f"{name} ({status}): {line.log(name)[-500:]}")


def _all_read(line: Line) -> bool:
    """Whether the station has acknowledged everything the edges hold, and owes no verdict."""
    path = line.folder / "station" / "station.db"
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        committed = dict(database.execute("SELECT outbox_id, committed FROM outbox").fetchall())
        (owed,) = database.execute(
            "SELECT count(*) FROM run WHERE run_id NOT IN (SELECT run_id FROM verdict)"
        ).fetchone()
    except sqlite3.OperationalError:
        return False  # at this moment, for instance while it starts
    finally:
        database.close()
    for edge in line.edges:
        folder = line.folder / edge / "outbox"
        last = max((number for number, _ in oracle.outbox_records(folder)), default=0)
        if committed.get(oracle.outbox_id(folder), 0) < last:
            return False
    return not owed
