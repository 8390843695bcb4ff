"""A full shift through real sockets into the real store: 300 bodies of 5,000 points, 20 a view.

python tests/proofs/full_shift.py [--bodies N] [--rate R] [--json FILE]

The station is the real process, and so are two edges with the real outbox and the real session;
only camera and model are left out: an edge answers each order with made-up scores, the defects
known beforehand. ``--rate`` is what the two cameras offer together, in results per second; 0 is as
fast as they can. Near the end the station is killed and started again. What it must hold then is
worked out here from the plan, and compared row by row.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from edge.link import Link
from edge.outbox import Outbox
from inspection import messages as m
from inspection import wire
from inspection.package import read_reference
from inspection.store import Reader
from inspection.testing.line import Line
from inspection.testing.packages import build_package

PLAN, MODEL = "shift", "darkness"
CAMERAS = ("cam1", "cam2")
DEFECT_EVERY = 6000
"""One point of so many is defective, another uncertain: two bodies of three have something."""
GROUP = 16
"""Records an edge makes durable together at most."""
SCORES = {
    m.Verdict.OK: ((0.99, 0.01), m.Reason.NONE, ""),
    m.Verdict.NOK: ((0.02, 0.98), m.Reason.DEFECT, "defect"),
    m.Verdict.REVIEW: ((0.6, 0.4), m.Reason.UNCERTAIN, "defect"),
}


def truth(part: str, point: str) -> m.Verdict:
    """What is true of a point; edge and judge each work it out for themselves."""
    dice = zlib.crc32(f"{part}/{point}".encode()) % DEFECT_EVERY
    return {0: m.Verdict.NOK, 1: m.Verdict.REVIEW}.get(dice, m.Verdict.OK)


def write_plan(folder: Path, points: int, per_view: int) -> Path:
    """A plan whose views are photographed by two cameras in turn."""
    folder.mkdir(parents=True)
    views = [f"v{number:03d}" for number in range(-(-points // per_view))]
    rows = ["id,view,kind,left_px,top_px,width_px,height_px,severity"]
    for number in range(points):
        left = number % per_view * 32
        rows.append(f"w{number:05d},{views[number // per_view]},weld,{left},0,32,32,major")
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    described = "\n".join(
        f'[[view]]\nid = "{view}"\ncamera = "{CAMERAS[number % 2]}"\n'
        f"width_px = {32 * per_view}\nheight_px = 32\n"
        for number, view in enumerate(views)
    )
    path = folder / "plan.toml"
    path.write_text(
        f'[plan]\nname = "{PLAN}"\nversion = "1"\ndeadline_ms = 600000\npoints = "points.csv"\n\n'
        f'[severity]\nmajor = "hold"\n\n[kinds.weld]\nmodel = "{MODEL}"\n\n{described}'
    )
    return path


# --------------------------------------------------------------------------------------- edge


def run_edge(camera: str, endpoint: str, package: Path, folder: Path, rate: float) -> int:
    """Answer every order, ``rate`` results a second at most (0: no limit), until SIGTERM; then
    write down when the last record of each run was durable."""
    ref = read_reference(package)[2]
    outbox = Outbox(folder / "outbox")
    orders: deque[m.Order] = deque()
    seen: set[tuple[str, str, int]] = set()

    def in_hand() -> tuple[m.OrderRef, ...]:
        return tuple(m.OrderRef(run=o.run, view=o.view, attempt=o.attempt) for o in orders)

    states = [m.ModelState(name=MODEL, ref=ref)]
    link = Link(f"edge-{camera}", lambda: (camera,), states, outbox, in_hand)
    context = zmq.Context()
    socket = _connect(context, endpoint)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    last: dict[str, int] = {}
    made = 0
    budget, then = 0.0, time.monotonic()
    while not (stopped and not orders and outbox.pending == 0):
        now = time.monotonic()
        if rate:
            # What a camera did not use it cannot make up for much later.
            budget, then = min(budget + rate * (now - then), rate / 10), now
        group: list[bytes] = []
        runs: list[str] = []
        while orders and len(group) < GROUP and (not rate or budget >= len(orders[0].points)):
            order = orders.popleft()
            budget -= len(order.points)
            group.append(_answer(order, camera, ref))
            runs.append(order.run)
        if group:
            outbox.append(group)
            durable = time.monotonic_ns()
            last.update(dict.fromkeys(runs, durable))
            made += len(group)
        now_ns = time.monotonic_ns()
        for frame in _received(socket):
            order_or_none = link.received(frame, now_ns)
            if order_or_none is not None:
                ref_of = (order_or_none.run, order_or_none.view, order_or_none.attempt)
                if ref_of not in seen:
                    seen.add(ref_of)
                    orders.append(order_or_none)
        frames = link.to_send(now_ns)
        if link.must_reconnect:
            link.must_reconnect = False
            socket.close(linger=0)
            socket = _connect(context, endpoint)
        for frame in frames:
            try:
                socket.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                break
        if not orders or rate:
            socket.poll(2 if orders else min(50, link.wait_ns(now_ns) // 1_000_000 + 1))
    report = {"last": last, "records": made, "outbox": outbox.outbox_id}
    (folder / "report.json").write_text(json.dumps(report))
    socket.close(linger=0)
    context.term()
    outbox.close()
    return 0


def _connect(context: zmq.Context[Any], endpoint: str) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.immediate = True
    socket.sndhwm = 64
    socket.connect(endpoint)
    return socket


def _received(socket: zmq.Socket[bytes]) -> Iterator[bytes]:
    with contextlib.suppress(zmq.Again):
        while True:
            yield b"".join(socket.recv_multipart(zmq.NOBLOCK))


def _answer(order: m.Order, camera: str, ref: m.ModelRef) -> bytes:
    points = []
    for task in order.points:
        verdict = truth(order.part, task.point)
        scores, reason, finding = SCORES[verdict]
        picture = None if verdict is m.Verdict.OK else f"{zlib.crc32(task.point.encode()):064x}"
        points.append(
            m.Inspected(
                point=task.point,
                verdict=verdict,
                reason=reason,
                finding=finding,
                scores=scores,
                model=ref,
                evidence=picture,
            )
        )
    return wire.RECORD.encode(
        m.ViewResult(
            run=order.run,
            part=order.part,
            plan=order.plan,
            view=order.view,
            attempt=order.attempt,
            edge=f"edge-{camera}",
            camera=camera,
            frame=order.view,
            captured_ns=time.time_ns(),
            points=tuple(points),
        )
    )


# ---------------------------------------------------------------------------------------- PLCs


@dataclass
class _Plc:
    """One PLC of several, all on one connection. It follows its part from Begin to Ack."""

    name: str
    seq: int = 0
    part: str = ""
    run: str = ""
    waits_for: m.Message | None = None
    asked_ns: int = 0
    bounced: bool = False


@dataclass
class Plcs:
    """Several PLCs, so that several bodies are open at a time."""

    endpoint: str
    count: int
    parts: deque[str]
    verdicts: dict[str, tuple[str, m.PartVerdict, int]] = field(default_factory=dict)
    """By run: part, verdict, and when it was known here (monotonic)."""
    pauses_ms: list[float] = field(default_factory=list)
    """How long each heartbeat waited for its answer."""

    def __post_init__(self) -> None:
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(self.endpoint)
        self._plcs = {f"plc-{n}": _Plc(f"plc-{n}") for n in range(self.count)}
        self._beat_ns, self._beat, self._beating = 0, 0, False

    @property
    def idle(self) -> bool:
        return not self.parts and all(not plc.part for plc in self._plcs.values())

    def turn(self, wait_ms: int = 20) -> bool:
        """Send what is due and hear what has come; whether a heartbeat was answered."""
        now = time.monotonic_ns()
        for plc in self._plcs.values():
            if not plc.part and self.parts:
                plc.part, plc.run = self.parts.popleft(), ""
                self._ask(plc, m.Begin(plc=plc.name, seq=0, part=plc.part, plan=PLAN))
            elif plc.waits_for is not None and now - plc.asked_ns > 2_000_000_000:
                self._repeat(plc)
            elif plc.run and plc.waits_for is None and now - plc.asked_ns > 1_000_000_000:
                self._ask(plc, m.GetVerdict(plc=plc.name, seq=0, part=plc.part, run=plc.run))
        if now - self._beat_ns > (250_000_000 if not self._beating else 2_000_000_000):
            self._beat_ns, self._beat, self._beating = now, self._beat + 1, True
            self._send(m.Heartbeat(plc="plc-0", counter=self._beat))
        alive = False
        self._socket.poll(wait_ms)
        for frame in _received(self._socket):
            alive |= self._hear(wire.STATION_TO_PLC.decode(frame))
        return alive

    def _send(self, message: Any) -> None:
        self._socket.send(wire.PLC_TO_STATION.encode(message))

    def _ask(self, plc: _Plc, message: Any) -> None:
        plc.seq += 1
        fields = {name: getattr(message, name) for name in message.__struct_fields__}
        plc.waits_for = type(message)(**{**fields, "seq": plc.seq})
        self._repeat(plc)

    def _repeat(self, plc: _Plc) -> None:
        plc.asked_ns = time.monotonic_ns()
        self._send(plc.waits_for)

    def _of(self, message: Any) -> _Plc | None:
        """The PLC an answer is for: by its run, and the part of a Begin by its number."""
        for plc in self._plcs.values():
            if getattr(message, "run", None) == plc.run and plc.run:
                return plc
        return None

    def _hear(self, message: Any) -> bool:
        now = time.monotonic_ns()
        match message:
            case m.Status():
                if message.counter == self._beat:
                    self._beating = False
                    self.pauses_ms.append((now - self._beat_ns) / 1e6)
                return True
            case m.Begun():
                for plc in self._plcs.values():
                    if plc.part == message.part and not plc.run:
                        plc.run, plc.waits_for, plc.asked_ns = message.run, None, now
            case m.VerdictReady():
                plc = self._of(message)
                if plc is not None and message.run not in self.verdicts:
                    self._ask(plc, m.GetVerdict(plc=plc.name, seq=0, part=plc.part, run=plc.run))
            case m.PartVerdict():
                plc = self._of(message)
                if plc is None or not isinstance(plc.waits_for, m.GetVerdict):
                    return False
                plc.waits_for = None
                if message.result_valid:
                    self.verdicts[message.run] = (message.part, message, now)
                    verdict_seq = message.verdict_seq
                    ack = m.Ack(plc=plc.name, seq=0, run=message.run, verdict_seq=verdict_seq)
                    self._ask(plc, ack)
            case m.Acknowledged():
                plc = self._of(message)
                if plc is not None:
                    plc.part, plc.run, plc.waits_for = "", "", None
            case m.Refusal():
                raise SystemExit(f"refused: {message}")
        return False

    def close(self) -> None:
        self._socket.close()
        self._context.term()


# --------------------------------------------------------------------------------------- shift


@dataclass
class Options:
    """A shift and how it is offered."""

    bodies: int = 300
    points: int = 5000
    per_view: int = 20
    rate: float = 12_000
    open_bodies: int = 3
    profile: Path | None = None


def shift(folder: Path, options: Options) -> dict[str, Any]:
    """Run it and have everything it left behind compared; one JSON object of figures."""
    plan = write_plan(folder / "plan", options.points, options.per_view)
    package = build_package(folder / "model", size=32)
    line = Line(
        folder / "line", plans=[plan], models={MODEL: package}, cameras={}, parts=[], plan=PLAN
    )
    parts = [f"body-{number:04d}" for number in range(options.bodies)]
    path = folder / "line" / "station" / "station.db"
    edges: dict[str, subprocess.Popen[bytes]] = {}
    station = _start_station(line, options.profile)
    plcs = Plcs(line.endpoints["plc"], options.open_bodies, deque())
    try:
        _until_alive(plcs, station)
        plcs.pauses_ms.clear()  # the first one waited for the start
        for camera in CAMERAS:
            edges[camera] = _start_edge(folder, camera, line, package, options.rate / len(CAMERAS))
        begun = time.monotonic()
        rss = [_rss_mb(station.pid)]
        plcs.parts.extend(parts[:-1])
        watch = _start_watch(path, options.points)
        while not plcs.idle:
            plcs.turn()
            if station.poll() is not None or any(e.poll() is not None for e in edges.values()):
                raise SystemExit(f"a process ended\n{line.log('station')[-3000:]}")
        seconds = time.monotonic() - begun
        results = (options.bodies - 1) * options.points
        rss.append(_rss_mb(station.pid))
        coverage_ms = json.loads(watch.communicate(b"")[0])
        # The last body is half done when the station dies.
        plcs.parts.append(parts[-1])
        while plcs.parts or not _has_rows(path, parts[-1]):
            plcs.turn()
        in_time = set(plcs.verdicts)
        station.kill() if options.profile is None else station.send_signal(signal.SIGINT)
        station.wait()
        killed = time.monotonic()
        station = _start_station(line, None)
        # Only an answer from after the start counts.
        plcs.close()
        again = Plcs(line.endpoints["plc"], 1, deque())
        startup = _until_alive(again, station) - killed
        again.close()
        _until_verdict(path, parts[-1])
        for process in edges.values():
            process.terminate()
        for process in edges.values():
            process.wait(60)
        station.send_signal(signal.SIGINT)
        station.wait(20)
    finally:
        for process in [station, *edges.values()]:
            if process.poll() is None:
                process.kill()
                process.wait()
    reports = [json.loads((folder / c / "report.json").read_text()) for c in CAMERAS]
    delays = sorted(
        (known - max(report["last"][run] for report in reports if run in report["last"])) / 1e6
        for run, (_, _, known) in plcs.verdicts.items()
        if run in in_time
    )
    reader, at_rest = Reader(path), []
    for run in reader.runs():
        asked = time.perf_counter()
        covered = reader.coverage(run.run)
        at_rest.append((time.perf_counter() - asked) * 1000)
        if covered is None or covered.missing or covered.balance.planned != options.points:
            raise SystemExit(f"run {run.run} is not covered: {covered}")
    wrong = examine(path, parts, options.points, reports)
    pauses = sorted(plcs.pauses_ms)
    figures: dict[str, Any] = {
        "claim": "full shift",
        "commit": commit(),
        "bodies": options.bodies,
        "results": options.bodies * options.points,
        "offered_per_second": options.rate or "as fast as they can",
        "results_per_second": round(results / seconds),
        "verdict_ms": _spread(delays),
        "heartbeat_ms": _spread(pauses),
        "coverage_ms": {"p50": _at(sorted(at_rest), 0.5), "max": round(max(at_rest), 1)},
        "coverage_during_the_shift_ms": {
            "p50": _at(sorted(coverage_ms), 0.5),
            "max": round(max(coverage_ms), 1),
        },
        "station_mb": {"start": rss[0], "end": rss[1]},
        "startup_after_kill_s": round(startup, 2),
        "store_mb": round(sum(p.stat().st_size for p in path.parent.glob("*.db")) / 2**20),
        **wrong,
        "cpus": os.cpu_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
    }
    figures["goals_met"] = {
        "results_per_second >= 10000": figures["results_per_second"] >= 10_000,
        "verdict p99 < 100 ms": figures["verdict_ms"]["p99"] < 100,
        "coverage < 10 ms": figures["coverage_ms"]["max"] < 10,
        "startup < 5 s": figures["startup_after_kill_s"] < 5,
        "growth < 50 MB": rss[1] - rss[0] < 50,
    }
    return figures


def commit() -> str:
    """What this was measured at."""
    asked = ["git", "describe", "--always", "--dirty"]
    here = Path(__file__).parent
    done = subprocess.run(asked, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _at(values: Sequence[float], share: float) -> float:
    return round(values[min(len(values) - 1, int(share * len(values)))], 1)


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"p50": _at(values, 0.5), "p99": _at(values, 0.99), "max": round(values[-1], 1)}


def _start_station(line: Line, profile: Path | None) -> subprocess.Popen[bytes]:
    extra = [] if profile is None else ["-m", "cProfile", "-o", str(profile)]
    with (line.folder / "station.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *extra, "-m", "inspection", "station", str(line.config("station"))],
            stdout=log,
            stderr=log,
        )


def _start_edge(
    folder: Path, camera: str, line: Line, package: Path, rate: float
) -> subprocess.Popen[bytes]:
    (folder / camera).mkdir()
    return subprocess.Popen(
        [
            *(sys.executable, __file__, "--edge", camera, "--endpoint", line.endpoints["edge"]),
            *("--package", str(package), "--folder", str(folder / camera), "--rate", str(rate)),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def _until_alive(plcs: Plcs, station: subprocess.Popen[bytes]) -> float:
    until = time.monotonic() + 120
    while time.monotonic() < until and station.poll() is None:
        if plcs.turn():
            return time.monotonic()
    raise SystemExit("the station does not answer")


def _until_verdict(path: Path, part: str) -> None:
    until = time.monotonic() + 120
    while not any(run.verdict for run in Reader(path).runs(part=part)):
        if time.monotonic() > until:
            raise SystemExit(f"{part}: no verdict after the restart")
        time.sleep(0.05)


def _has_rows(path: Path, part: str) -> bool:
    return any(run.balance.open < run.balance.planned for run in Reader(path).runs(part=part))


def _start_watch(path: Path, planned: int) -> subprocess.Popen[bytes]:
    """A page that looks at bodies while the shift runs, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, "--watch", str(path), "--points", str(planned)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def watch(path: Path, planned: int) -> int:
    """Ask for the coverage of some body now and then, until told to stop; print the times."""
    reader = Reader(path)
    took: list[float] = []
    dice = random.Random(7)
    while True:
        if select.select([sys.stdin], [], [], 0.2)[0]:
            break
        closed = [run.run for run in reader.runs(limit=20) if run.verdict is not None]
        if not closed:
            continue
        run = dice.choice(closed)
        begun = time.perf_counter()
        covered = reader.coverage(run)
        took.append((time.perf_counter() - begun) * 1000)
        if covered is None or covered.missing or covered.balance.planned != planned:
            raise SystemExit(f"run {run} is not covered: {covered}")
    print(json.dumps(took))
    return 0


def _rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def examine(
    path: Path, parts: Sequence[str], planned: int, reports: Sequence[dict[str, Any]]
) -> dict[str, int]:
    """Compare every row with what is true, in SQL of its own."""
    lost = duplicated = again = false_ok = wrong = 0
    sent = {report["outbox"]: report["records"] for report in reports}
    seqs: Counter[tuple[str, int]] = Counter()
    said: dict[str, dict[str, tuple[str, int]]] = {part: {} for part in parts}
    verdicts: dict[str, str] = {}
    for file in sorted(path.parent.glob("*.db")):
        database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        seqs.update(
            tuple(row)
            for row in database.execute(
                "SELECT outbox_id, outbox_seq FROM record WHERE outbox_id IS NOT NULL"
            )
        )
        for part, point, attempt, verdict in database.execute(
            "SELECT part_id, point_id, attempt, result.verdict FROM result JOIN run USING (run_id)"
            " WHERE run_id IN (SELECT run_id FROM verdict)"
        ):
            duplicated += said[part].get(point, ("", 0))[1] == attempt
            again += attempt > 1
            said[part][point] = (verdict, attempt)
        verdicts.update(
            database.execute("SELECT part_id, verdict FROM verdict JOIN run USING (run_id)")
        )
        database.close()
    duplicated += sum(number - 1 for number in seqs.values())
    for outbox, records in sent.items():
        lost += sum((outbox, seq) not in seqs for seq in range(1, records + 1))
    for part in parts:
        lost += planned - len(said[part])
        real = {point: truth(part, point) for point in said[part]}
        wrong += sum(said[part][point][0] != verdict.value for point, verdict in real.items())
        kinds = set(real.values())
        expected = (
            "NOK" if m.Verdict.NOK in kinds else "HOLD" if m.Verdict.REVIEW in kinds else "OK"
        )
        lost += part not in verdicts
        wrong += verdicts.get(part, expected) != expected
        false_ok += verdicts.get(part) == "OK" and expected != "OK"
    return {
        "lost": lost,
        "duplicated": duplicated,
        "false_ok": false_ok,
        "wrong": wrong,
        "asked_again": again,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run a shift and print its figures as one JSON line; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description="a full shift through sockets into the store")
    parser.add_argument("--bodies", type=int, default=300)
    parser.add_argument("--points", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=12_000, help="results a second, 0: no limit")
    parser.add_argument("--open", type=int, default=3, help="bodies open at a time")
    parser.add_argument("--profile", type=Path, help="where to write cProfile's figures")
    parser.add_argument("--json", type=Path)
    for name in ("edge", "endpoint"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    for name in ("package", "folder", "watch"):
        parser.add_argument(f"--{name}", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.edge:
        return run_edge(given.edge, given.endpoint, given.package, given.folder, given.rate)
    if given.watch is not None:
        return watch(given.watch, given.points)
    options = Options(
        given.bodies, given.points, rate=given.rate, open_bodies=given.open, profile=given.profile
    )
    with tempfile.TemporaryDirectory(prefix="shift-") as name:
        figures = shift(Path(name), options)
    text = json.dumps(figures)
    print(text, flush=True)
    if given.json is not None:
        given.json.write_text(text + "\n", "utf-8")
    return int(any(figures[name] for name in ("lost", "duplicated", "false_ok", "wrong")))


if __name__ == "__main__":
    raise SystemExit(main())
