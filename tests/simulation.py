"""Protocol and ledger under one virtual clock, with a seeded network, seeded disks and seeded ends.

The real station with its real store, two real links with their real outboxes, and a PLC that
follows the handshake; between them connections that delay, are cut, and keep frames of dead
connections for later; below the outboxes disks whose power can go in the middle of a call.
Everything that happens follows from the seed: the same one gives the same trace, byte by byte.

    python tests/simulation.py --seed N
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import heapq
import itertools
import os
import random
import secrets
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent / "unit"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from samples import MODEL, PLAN, REASONS, SCORES
from test_station import RELEASED

from edge.link import Link
from edge.outbox import Outbox
from inspection import messages as m
from inspection import wire
from inspection.errors import OutboxError
from inspection.evidence import EvidenceStore
from inspection.messages import Verdict
from inspection.station.station import Station
from inspection.store import Store
from inspection.testing import oracle
from inspection.testing.clock import FakeClock
from inspection.testing.disk import PowerCutError, SimulatedDisk
from inspection.testing.plc import Outcome

MS = 1_000_000
CAMERAS = ("cam1", "cam2")
POINTS_PER_VIEW = 3
SIMULATED_PLAN = msgspec.structs.replace(
    PLAN,
    deadline_ms=3000,
    views=tuple(
        msgspec.structs.replace(PLAN.views[0], id=f"v{n}", camera=camera)
        for n, camera in enumerate(CAMERAS)
    ),
    points=tuple(
        msgspec.structs.replace(PLAN.points[0], id=f"v{view}p{point}", view=f"v{view}")
        for view in range(len(CAMERAS))
        for point in range(POINTS_PER_VIEW)
    ),
)


POINTS_OF_DEATH = {
    "edge in write": "edge",
    "edge in sync": "edge",
    "edge before send": "edge",
    "edge in trim": "edge",
    "station before commit": "station",
    "station after commit": "station",
    "station after verdict": "station",
}
"""Between which two steps a process ends, and whose."""

HARMS = (
    *("kill", "edge", "disk", "cut") * 2,
    *("eio", "down", "slow", "freeze", "freeze edge", "clock"),
)
"""What may happen to a line; what stands twice does so twice as often."""


class _Dies(BaseException):
    """The station's process ends here; nothing in it may handle it."""


class World:
    """Time, chance and what happens next."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = FakeClock(10**12)
        self.trace = hashlib.sha256()
        self.died: Counter[str] = Counter()
        """How often a process ended at each point."""
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    @property
    def now(self) -> int:
        return self.clock.monotonic_ns()

    def say(self, what: str, data: bytes = b"") -> None:
        """Into the trace."""
        self.trace.update(f"{self.now} {what} ".encode() + data)

    def after(self, ms: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + int(ms * MS), next(self._order), what))

    def run(self, done: Callable[[], bool], limit_s: float) -> None:
        until = self.now + int(limit_s * 1000 * MS)
        while not done():
            at, _, what = heapq.heappop(self._due)
            assert at < until, "the line does not come to rest"
            self.clock.advance(ns=max(0, at - self.now))
            what()


class Cable:
    """A client's connection to the station: made anew under another name after each cut, while
    frames of the one before may still be on their way."""

    def __init__(self, world: World, name: str, socket: str, station: StationNode) -> None:
        self._world, self._name, self._socket, self._station = world, name, socket, station
        self._number = 0
        self._up_free = self._down_free = 0
        self.down_until = 0
        self.slow_ms = 0.0
        self.receive: Callable[[bytes], None] = lambda _: None
        station.cables.append(self)

    @property
    def peer(self) -> bytes:
        return f"{self._name}/{self._number}".encode()

    def cut(self) -> None:
        self._number += 1
        self._world.say(f"cut {self._name}")

    def send(self, frame: bytes) -> None:
        world, peer = self._world, self.peer
        if world.now < self.down_until:
            return
        self._up_free = max(self._up_free, world.now + self._delay())

        def arrive() -> None:
            # A frame of a connection that was cut: gone, or waiting at the station already.
            if peer == self.peer or world.rng.random() < 0.5:
                self._station.arrive(self._socket, peer, frame)

        world.after((self._up_free - world.now) / MS, arrive)

    def answer(self, peer: bytes, frame: bytes) -> None:
        world = self._world
        if world.now < self.down_until or peer != self.peer:
            return
        self._down_free = max(self._down_free, world.now + self._delay())

        def arrive() -> None:
            if peer == self.peer:
                world.say(f"{self._name} hears", frame)
                self.receive(frame)

        world.after((self._down_free - world.now) / MS, arrive)

    def _delay(self) -> int:
        return int((self._world.rng.uniform(0.1, 2.0) + self.slow_ms) * MS)


class StationNode:
    """The station's process: killed between any two steps of its work, and started again."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder
        self.cables: list[Cable] = []
        self._inbox: list[tuple[str, bytes, bytes]] = []
        self.dies_at = ""
        self.frozen_until = 0
        self._alive = False
        self.start()
        self._loop()

    def start(self) -> None:
        world = self._world
        self._store = Store(self._folder / "station" / "station.db", "station-1", world.clock)
        self._station = Station(
            station_id="station-1",
            plans={SIMULATED_PLAN.name: SIMULATED_PLAN},
            released={"m": RELEASED},
            store=self._store,
            evidence=EvidenceStore(self._folder / "evidence"),
            clock=world.clock,
        )
        self._alive = True
        world.say("station starts")

    def kill(self) -> None:
        self._store.close()
        self._alive = False
        self._inbox.clear()
        for cable in self.cables:
            cable.cut()
        self._world.say("station dies")
        self._world.after(self._world.rng.uniform(20, 800), self.start)

    def close(self) -> None:
        if self._alive:
            self._store.close()

    def arrive(self, socket: str, peer: bytes, frame: bytes) -> None:
        if self._alive:
            self._inbox.append((socket, peer, frame))

    def _loop(self) -> None:
        world = self._world
        if self._alive and world.now >= self.frozen_until:
            frames, self._inbox = self._inbox[:256], self._inbox[256:]
            for _, peer, frame in frames:
                world.say(f"station hears {peer.decode()}", frame)
            try:
                self._deliver(self._work(frames))
            except _Dies:
                self.kill()
        busy = 2.0 if self._inbox else world.rng.uniform(3, 25)
        world.after(busy, self._loop)

    def _work(self, frames: list[tuple[str, bytes, bytes]]) -> list[tuple[str, bytes, bytes]]:
        if self.dies_at == "station before commit" and frames:

            def die(*_: Any) -> None:
                self._die()

            with mock.patch.object(self._store, "_flush", die):
                return self._station.work(frames)
        sent = self._station.work(frames)
        if self.dies_at == "station after commit" and frames:
            self._die()
        if self.dies_at == "station after verdict" and any(
            b"VerdictReady" in f for _, _, f in sent
        ):
            self._die()
        return sent

    def _die(self) -> NoReturn:
        self._world.died[self.dies_at] += 1
        self.dies_at = ""
        raise _Dies

    def _deliver(self, sent: list[tuple[str, bytes, bytes]]) -> None:
        for _, peer, frame in sent:
            for cable in self.cables:
                cable.answer(peer, frame)


class EdgeNode:
    """An edge's process over a disk of its own."""

    def __init__(
        self, world: World, camera: str, station: StationNode, defective: dict[str, frozenset[str]]
    ) -> None:
        self.name, self._camera = f"edge-{camera}", camera
        self._world, self._defective = world, defective
        self.disk = SimulatedDisk(world.rng)
        self._cable = Cable(world, self.name, "edge", station)
        self._cable.receive = self._hear
        self.frozen_until = 0
        self.outbox: Outbox | None = None
        self.accepted: dict[tuple[str, int], bytes] = {}
        """What `append` returned for: promised, for ever."""
        self.dies_at = ""
        self._life = 0
        self.start()

    @property
    def cable(self) -> Cable:
        return self._cable

    def start(self) -> None:
        self._life += 1
        self._queue: list[m.Order] = []
        self._seen: set[m.OrderRef] = set()
        self._working: tuple[m.OrderRef, ...] = ()
        self._idle = True
        try:
            self.outbox = Outbox(Path(f"/{self.name}"), segment_bytes=2000, fs=self.disk)
        except (PowerCutError, OutboxError):
            self._die()
            return
        state = m.ModelState(name="m", ref=MODEL)
        self._link = Link(
            self.name, lambda: (self._camera,), (state,), self.outbox, lambda: self._working
        )
        self._world.say(f"{self.name} starts")
        self._loop(self._life)

    def kill(self, *, power: bool) -> None:
        if power:
            self.disk.lose_power()
        self._die()

    def _die(self) -> None:
        self.disk.kill()
        self.outbox = None
        self._life += 1
        self._cable.cut()
        self._world.say(f"{self.name} dies")
        self._world.after(self._world.rng.uniform(20, 600), self.start)

    def _alive(self) -> bool:
        return self.outbox is not None and self._world.now >= self.frozen_until

    def _hear(self, frame: bytes) -> None:
        if not self._alive():
            return  # a frozen process finds it in its socket later; here it counts as lost
        if self.dies_at == "edge in trim":
            self.disk.cut_in = 0
        try:
            order = self._link.received(frame, self._world.now)
        except PowerCutError:
            self._killed_at_its_point()
            return
        if self.dies_at == "edge in trim":
            self.disk.cut_in = None  # nothing was dropped: at a later answer, then
        if order is None:
            return
        ref = m.OrderRef(run=order.run, view=order.view, attempt=order.attempt)
        if ref not in self._seen:
            self._seen.add(ref)
            self._queue.append(order)
            self._working = (*self._working, ref)

    def _loop(self, life: int) -> None:
        if life != self._life:
            return
        if self._alive():
            for frame in self._link.to_send(self._world.now):
                if self._link.must_reconnect:
                    break
                self._cable.send(frame)
            if self._link.must_reconnect:
                self._link.must_reconnect = False
                self._cable.cut()
            if self._queue and self._idle:
                self._idle = False
                order = self._queue.pop(0)
                self._world.after(
                    self._world.rng.uniform(5, 120), lambda: self._finish(order, life)
                )
        self._world.after(20, lambda: self._loop(life))

    def _finish(self, order: m.Order, life: int) -> None:
        if life != self._life or self.outbox is None:
            return
        outbox = self.outbox
        raw = wire.RECORD.encode(self._judged(order))
        if self.dies_at in ("edge in write", "edge in sync"):
            self.disk.cut_in = int(self.dies_at == "edge in sync")
        try:
            (number,) = outbox.append([raw])
        except PowerCutError:
            self._killed_at_its_point()
            return
        except OutboxError:
            self._die()  # a disk that failed once is not asked again
            return
        self.accepted[outbox.outbox_id, number] = raw
        if self.dies_at == "edge before send":
            self._killed_at_its_point()
            return
        self._working = self._working[1:]
        self._idle = True

    def _killed_at_its_point(self) -> None:
        self._world.died[self.dies_at] += 1
        self.dies_at = ""
        self.kill(power=self._world.rng.random() < 0.5)

    def _judged(self, order: m.Order) -> m.ViewResult:
        bad = self._defective.get(order.part, frozenset())
        points: list[m.Inspected | m.Missed] = []
        for task in order.points:
            verdict = Verdict.NOK if task.point in bad else Verdict.OK
            if self._world.rng.random() < 0.01:
                points.append(m.Missed(point=task.point, reason=m.Reason.IMAGE_TOO_DARK))
                continue
            points.append(
                m.Inspected(
                    point=task.point,
                    verdict=verdict,
                    reason=REASONS[verdict],
                    finding="" if verdict is Verdict.OK else "defect",
                    scores=SCORES[verdict],
                    model=MODEL,
                )
            )
        return m.ViewResult(
            run=order.run,
            part=order.part,
            plan=order.plan,
            view=order.view,
            attempt=order.attempt,
            edge=self.name,
            camera=order.camera,
            frame="1",
            captured_ns=self._world.clock.wall_ns(),
            points=tuple(points),
        )


class PlcNode:
    """A PLC: begins each part, asks for its verdict until there is one, acknowledges it. The same
    question under the same number until it is answered."""

    def __init__(self, world: World, station: StationNode, parts: list[str]) -> None:
        self._world = world
        self._cable = Cable(world, "plc", "plc", station)
        self._cable.receive = self._hear
        self._parts = list(parts)
        self._seq = 0
        self._last_verdict = 0
        self._begun: m.Begun | None = None
        self._verdict: m.PartVerdict | None = None
        self._request: Any = None
        self.outcomes: list[Outcome] = []
        self._next_part()
        self._loop()

    @property
    def cable(self) -> Cable:
        return self._cable

    @property
    def next_seq(self) -> int:
        return self._seq + 1

    @property
    def done(self) -> bool:
        return self._request is None

    def _next_part(self) -> None:
        self._begun = self._verdict = None
        self._request = None
        if self._parts:
            self._ask(m.Begin, part=self._parts[0], plan=SIMULATED_PLAN.name)

    def _ask(self, kind: Any, **fields: Any) -> None:
        self._seq += 1
        self._request = kind(plc="plc-1", seq=self._seq, **fields)

    def _loop(self) -> None:
        if self._request is not None:
            self._cable.send(wire.PLC_TO_STATION.encode(self._request))
        self._world.after(self._world.rng.uniform(80, 250), self._loop)

    def _hear(self, frame: bytes) -> None:
        answer = wire.STATION_TO_PLC.decode(frame)
        if self._request is None or getattr(answer, "seq", None) != self._request.seq:
            return
        part = self._parts[0]
        match answer:
            case m.Begun() if answer.part == part and self._begun is None:
                self._begun = answer
                self._ask(m.GetVerdict, part=part, run=answer.run)
            case m.PartVerdict() if answer.result_valid and self._begun is not None:
                assert answer.run == self._begun.run
                assert [answer.ok, answer.nok, answer.hold].count(True) == 1
                assert answer.verdict_seq > self._last_verdict
                self._last_verdict, self._verdict = answer.verdict_seq, answer
                self._ask(m.Ack, run=answer.run, verdict_seq=answer.verdict_seq)
            case m.Acknowledged() if self._verdict is not None:
                action = "RELEASE" if self._verdict.ok else "HOLD"
                self.outcomes.append(
                    Outcome(
                        part=part,
                        action="DIVERT" if self._verdict.nok else action,
                        reason="",
                        run=self._verdict.run,
                        verdict_seq=self._verdict.verdict_seq,
                        acknowledged=True,
                    )
                )
                self._parts.pop(0)
                self._next_part()
            case m.Refusal():
                raise AssertionError(f"refused: {answer}")


class Line:
    """What the judge reads (`inspection.testing.oracle`)."""

    def __init__(self, folder: Path, outcomes: list[Outcome]) -> None:
        self.folder, self._outcomes = folder, outcomes
        self.edges: list[str] = []

    def outcomes(self) -> list[Outcome]:
        return self._outcomes


@contextlib.contextmanager
def _no_other_chance(rng: random.Random) -> Iterator[None]:
    """Whatever the program draws by itself comes from the seed as well."""
    state = random.getstate()
    random.seed(rng.getrandbits(64))
    hexadecimal = mock.patch.object(
        secrets, "token_hex", lambda count=32: rng.randbytes(count).hex()
    )
    try:
        with hexadecimal:
            yield
    finally:
        random.setstate(state)


def simulate(
    seed: int,
    folder: Path,
    *,
    parts: int = 4,
    faults: int = 8,
    honest: bool = True,
    harms: Sequence[str] = HARMS,
    died: Counter[str] | None = None,
) -> str:
    """One life of a line; the hash of everything that was heard. Raises `AssertionError` where
    something is lost, doubled or wrongly OK. Without ``honest`` the edges' disks report every sync
    done and do none. ``harms`` are of `HARMS` and `POINTS_OF_DEATH`; how often a process ended at
    each of those points is added to ``died``."""
    world = World(seed)
    rng = world.rng
    names = [f"P{number}" for number in range(parts)]
    every = sorted(point.id for point in SIMULATED_PLAN.points)
    defective = {name: frozenset({rng.choice(every)}) for name in names if rng.random() < 0.4}
    with _no_other_chance(rng):
        station = StationNode(world, folder)
        edges = [EdgeNode(world, camera, station, defective) for camera in CAMERAS]
        for edge in edges:
            edge.disk.honest = honest
        plc = PlcNode(world, station, names)
        for _ in range(faults):
            world.after(
                rng.uniform(0, 900 * parts), lambda: _harm(world, station, edges, plc, harms)
            )

        def at_rest() -> bool:
            return plc.done and all(
                edge.outbox is not None and edge.outbox.pending == 0 for edge in edges
            )

        try:
            world.run(at_rest, limit_s=300)
        finally:
            station.close()
    (folder / "plc").mkdir()
    memory = msgspec.json.encode({"next_seq": plc.next_seq})
    (folder / "plc" / "memory.json").write_bytes(memory)
    line: Any = Line(folder, plc.outcomes)
    truth = oracle.Truth(points=frozenset(every), defective=defective)
    found = oracle.examine(line, names, len(every), truth)
    # A power cut in the middle of a write may leave a gap where nothing had been promised; what
    # had been is looked for below.
    found.lost = [text for text in found.lost if not text.startswith("gap:")]
    assert found.clean, found
    for edge in edges:
        _kept_as_promised(folder, edge)
    if died is not None:
        died.update(world.died)
    return world.trace.hexdigest()


def _kept_as_promised(folder: Path, edge: EdgeNode) -> None:
    """Every record that the edge's outbox accepted is at the station, as it was."""
    database = sqlite3.connect(folder / "station" / "station.db")
    try:
        for (outbox, number), raw in edge.accepted.items():
            stored = database.execute(
                "SELECT raw FROM record WHERE outbox_id = ? AND outbox_seq = ?", (outbox, number)
            ).fetchall()
            assert stored == [(raw,)], f"{edge.name}: record {number} was lost"
    finally:
        database.close()


def _harm(
    world: World,
    station: StationNode,
    edges: list[EdgeNode],
    plc: PlcNode,
    harms: Sequence[str],
) -> None:
    rng = world.rng
    edge = rng.choice(edges)
    cable = rng.choice([*(each.cable for each in edges), plc.cable])

    def calm() -> None:
        cable.slow_ms = 0.0

    match rng.choice(harms):
        case "kill":
            station.dies_at = rng.choice(["station before commit", "station after commit"])
        case point if point in POINTS_OF_DEATH:
            whose = station if POINTS_OF_DEATH[point] == "station" else edge
            whose.dies_at = point
        case "edge":
            edge.kill(power=rng.random() < 0.5) if edge.outbox is not None else None
        case "disk":
            edge.disk.cut_in = rng.randint(0, 6)
        case "eio":
            edge.disk.sync_fails = True
        case "cut":
            cable.cut()
        case "down":
            cable.cut()
            cable.down_until = world.now + int(rng.uniform(100, 4000) * MS)
        case "slow":
            cable.slow_ms = rng.uniform(50, 500)
            world.after(rng.uniform(500, 4000), calm)
        case "freeze":
            station.frozen_until = world.now + int(rng.uniform(200, 3000) * MS)
        case "freeze edge":
            edge.frozen_until = world.now + int(rng.uniform(200, 3000) * MS)
        case "clock":
            world.clock.set_wall(world.clock.wall_ns() + rng.choice([-1, 1]) * 3600 * 10**9)


def fast_folder() -> str | None:
    """Where a sync costs nothing: the disks that matter here are simulated."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main() -> int:
    parser = argparse.ArgumentParser(description="one life of a line, from a seed")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=1, help="so many seeds, from this one on")
    options = parser.parse_args()
    for seed in range(options.seed, options.seed + options.count):
        with tempfile.TemporaryDirectory(prefix="simulation-", dir=fast_folder()) as name:
            try:
                print(seed, simulate(seed, Path(name)), flush=True)
            except Exception:
                print(f"failed: --seed {seed}", file=sys.stderr)
                raise
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
