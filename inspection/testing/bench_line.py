"""A real line at work, measured: station, two edges of one thread, SQLite on this machine's disk,
and here the PLC, which begins bodies of 5,000 points and takes their verdicts.

The pictures are a few views of the drawn body side, rendered beforehand and mapped into the edges'
memory. Flat out the station orders all views of a body at once; with a rate the PLC triggers them
one by one, or some at once, at their times, whether the line keeps up or not.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import zmq
from msgspec import Struct

from inspection import imaging, quality, wire
from inspection import messages as m
from inspection.closing import Closing
from inspection.errors import ConfigurationError, InspectionError
from inspection.limits import write_limits
from inspection.messages import Region
from inspection.plan import read_plan
from inspection.rendering import body
from inspection.testing.bench_numbers import (
    Key,
    outside_engine_ms,
    ratio,
    spread,
    stages,
    view_latencies_ms,
)
from inspection.testing.line import Line
from inspection.testing.oracle import examine
from inspection.timing import CommitTimes, ViewTimes, read_times

POINTS, VIEWS = 20, 250
"""Of a view, and of a body."""
CAMERAS = ("cam1", "cam2")
PLAN, MODEL = "bench", "spot-weld"
SHOWN = ("v01", "v04", "v07")
"""The views of the body side that are rendered. Each camera shows them in turn, and so many that
no two pictures of a camera in succession are the same: it would pass for frozen."""
DEADLINE_MS = 600_000
BATCH = 20
HEARTBEAT_S = 0.25
LOOK_S = 0.002
MS = 0.001
READY_S = 60.0
WARM_UP_VIEWS = 20
SHARED = Path("/dev/shm")  # noqa: S108  memory that is a file system, where there is one

_SYNC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static int late(const char *name, int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    usleep(atoi(getenv("SYNC_DELAY_US")));
    return real(file);
}
int fsync(int file) { return late("fsync", file); }
int fdatasync(int file) { return late("fdatasync", file); }
"""


class Load(Struct, frozen=True, kw_only=True):
    """What is asked of the line; ``rate`` in points a second, None for all it can."""

    seconds: float
    rate: float | None = None
    burst: int = 1
    pairs: int = 1
    sync_delay_ms: float = 0.0


class Done(NamedTuple):
    """What one stretch of work came to. ``verdicts`` are the runs and when the PLC had their
    verdicts, in nanoseconds."""

    points: int
    seconds: float
    cpu_s: dict[str, float]
    verdicts: dict[str, int]


def measure(package: Path, load: Load, *, keep: Path | None = None) -> dict[str, Any]:
    """All figures of ``inspection bench line``. Raises `InspectionError` where a part of the line
    fails."""
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        folder.mkdir(parents=True, exist_ok=True)
        memory = SHARED if SHARED.is_dir() and os.access(SHARED, os.W_OK) else folder
        pictures = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=memory))
        )
        plan, camera = prepare(folder / "plan", pictures, load)
        environment = _slow_syncs(folder, load.sync_delay_ms)
        names = ("station", *(f"edge-{name}" for name in CAMERAS))
        line = Line(
            folder / "line",
            plans=[plan],
            models={MODEL: package},
            cameras=dict.fromkeys(CAMERAS, camera),
            parts=(),
            plan=PLAN,
            edge_evidence={"ok_share": 0.01},
            more={name: {"times": f"{name}.times"} for name in names},
            environment=environment,
        )
        engines = [stack.enter_context(_Engine(package)) for _ in CAMERAS]
        stack.enter_context(line)
        line.start(*names)
        plc = stack.enter_context(_Plc(line, load))
        plc.wait_ready()
        plc.warm_up()
        pairs, done = [], []
        for _ in range(load.pairs):
            bare = _together(engines, load.seconds)
            worked = plc.work(load.seconds)
            done.append(worked)
            rate = worked.points / worked.seconds
            pairs.append(
                {
                    "points_per_second": round(rate, 1),
                    "onnx_points_per_second": round(bare, 1),
                    "ratio": round(rate / bare, 3),
                }
            )
        rss = {name: _resident_mb(line.pid(name)) for name in names}
        for name in names:
            line.stop(name)
        harm = examine(line, [], POINTS * VIEWS)
        return {
            **_figures(line, done, pairs),
            "rss_mb": rss,
            "graph": engines[0].graph,
            "batch": BATCH,
            "load": {name: getattr(load, name) for name in load.__struct_fields__},
            "lost": len(harm.lost) + len(harm.unbalanced) + len(harm.unexplained),
            "duplicated": len(harm.duplicated),
            "false_ok": len(harm.false_ok),
        }


def _figures(line: Line, done: Sequence[Done], pairs: Sequence[dict[str, float]]) -> dict[str, Any]:
    runs = {run: at for each in done for run, at in each.verdicts.items()}
    views = [
        view
        for name in CAMERAS
        for view in read_times(line.folder / f"edge-{name}.times", ViewTimes)
        if view.run in runs
    ]
    commits: dict[Key, CommitTimes] = {
        (row.run, row.view, row.attempt): row
        for row in read_times(line.folder / "station.times", CommitTimes)
    }
    last_frame: dict[str, int] = {}
    last_commit: dict[str, int] = {}
    for view in views:
        last_frame[view.run] = max(last_frame.get(view.run, 0), view.framed_ns)
        commit = commits.get((view.run, view.view, view.attempt))
        if commit is not None:
            last_commit[view.run] = max(last_commit.get(view.run, 0), commit.committed_ns)
    after_frame = [(at - last_frame[run]) / 1e6 for run, at in runs.items() if run in last_frame]
    after_commit = [(at - last_commit[run]) / 1e6 for run, at in runs.items() if run in last_commit]
    points = sum(each.points for each in done)
    engine_ns = sum(view.engine_cpu_ns for view in views)
    cpu_s: dict[str, float] = {}
    for each in done:
        for name, spent in each.cpu_s.items():
            cpu_s[name] = cpu_s.get(name, 0.0) + spent
    a_point = {name: round(spent * 1e3 / points, 4) for name, spent in cpu_s.items()}
    a_point["of which ONNX Runtime"] = round(engine_ns / 1e6 / points, 4)
    seconds = sum(each.seconds for each in done)
    return {
        "points_per_second": round(points / seconds, 1),
        "onnx_points_per_second": round(
            sum(pair["onnx_points_per_second"] for pair in pairs) / len(pairs), 1
        ),
        "ratio": round(ratio(pairs), 3),
        "pairs": list(pairs),
        "cpu_ms_per_point_outside_onnx": round(
            outside_engine_ms(sum(cpu_s.values()), engine_ns, points), 4
        ),
        "cpu_ms_per_point": a_point,
        "stage_ms": stages(views, commits, after_commit),
        "view_latency_ms": spread(view_latencies_ms(views, commits), most=True),
        "verdict_latency_ms": spread(after_frame, most=True),
        "views": len(views),
        "points": points,
    }


# ------------------------------------------------------------------------------ what is prepared


def prepare(folder: Path, pictures: Path, load: Load) -> tuple[Path, dict[str, Any]]:
    """The plan and the camera that shows its pictures; as driver and settings of ``edge.toml``."""
    regions = _regions()
    trigger = "station" if load.rate is None else "plc"
    rows = ["id,view,kind,left_px,top_px,width_px,height_px,severity"]
    views = []
    for number in range(VIEWS):
        rows += [
            f"b{number:03d}-{k:02d},b{number:03d},weld,{r.left_px},{r.top_px},{r.width_px},"
            f"{r.height_px},major"
            for k, r in enumerate(regions[_picture(number)])
        ]
        views.append(
            f'[[view]]\nid = "b{number:03d}"\ncamera = "{CAMERAS[number % len(CAMERAS)]}"\n'
            f'width_px = {body.WIDTH_PX}\nheight_px = {body.HEIGHT_PX}\ntrigger = "{trigger}"\n'
        )
    folder.mkdir(parents=True)
    (folder / "points.csv").write_text("\n".join(rows) + "\n", "utf-8")
    path = folder / "plan.toml"
    path.write_text(
        f'[plan]\nname = "{PLAN}"\nversion = "1"\ndeadline_ms = {DEADLINE_MS}\n'
        'points = "points.csv"\ntaught = "taught"\n\n[severity]\nmajor = "hold"\n\n'
        f'[kinds.weld]\nmodel = "{MODEL}"\n\n' + "\n".join(views),
        "utf-8",
    )
    raw = pictures / "views.rgb"
    learnt = []
    with raw.open("wb") as file:
        for view, places in zip(SHOWN, regions, strict=True):
            frame = body.Stand(view, 0, 0).render()
            imaging.check_frame(frame, body.WIDTH_PX, body.HEIGHT_PX)
            file.write(frame.tobytes())
            learnt.append(quality.learn([frame], {str(k): r for k, r in enumerate(places)}))
    write_limits(
        folder / "taught",
        {
            f"b{number:03d}": {
                f"b{number:03d}-{int(k):02d}": limits
                for k, limits in learnt[_picture(number)].items()
            }
            for number in range(VIEWS)
        },
    )
    read_plan(path)
    settings = {
        "file": str(raw),
        "width_px": body.WIDTH_PX,
        "height_px": body.HEIGHT_PX,
        "pictures": {f"b{number:03d}": _picture(number) for number in range(VIEWS)},
    }
    return path, {"driver": "edge.cameras.mapped:MappedCamera", "settings": settings}


def _picture(view: int) -> int:
    """Which of `SHOWN` a view shows."""
    return view // len(CAMERAS) % len(SHOWN)


def _regions() -> list[list[Region]]:
    """The first points of each view that is shown."""
    half = body.REGION_PX / 2
    found = []
    for view in SHOWN:
        welds = body.design(int(view[1:])).welds[:POINTS]
        found.append(
            [
                Region(
                    left_px=round(weld.x_mm * body.PX_PER_MM - half, 1),
                    top_px=round(weld.y_mm * body.PX_PER_MM - half, 1),
                    width_px=body.REGION_PX,
                    height_px=body.REGION_PX,
                )
                for weld in welds
            ]
        )
        if len(welds) < POINTS:
            raise ConfigurationError(f"view {view} of the body side has only {len(welds)} points")
    return found


def _slow_syncs(folder: Path, delay_ms: float) -> dict[str, str]:
    """Variables by which every sync of a process takes longer; SQLite asks the C library for its
    own, so that is where the delay must be."""
    if not delay_ms:
        return {}
    source, library = folder / "sync.c", folder / "sync.so"
    source.write_text(_SYNC, "utf-8")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise ConfigurationError("--sync-delay-ms: needs a C compiler (cc) on this machine")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return {"LD_PRELOAD": str(library), "SYNC_DELAY_US": str(round(delay_ms * 1000))}


# ------------------------------------------------------------------------------ the bare engine


class _Engine(Closing):
    """A process with nothing but the model (`inspection.testing.bench_engine`)."""

    def __init__(self, package: Path) -> None:
        module = "inspection.testing.bench_engine"
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(package), str(BATCH)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._to = cast(IO[str], self._process.stdin)
        self._from = cast(IO[str], self._process.stdout)
        self.graph = self._read()

    def begin(self, seconds: float) -> None:
        self._to.write(f"{seconds}\n")
        self._to.flush()

    def result(self) -> float:
        """Points a second."""
        points, seconds = self._read().split()
        return int(points) / float(seconds)

    def _read(self) -> str:
        said = self._from.readline().strip()
        if not said:
            raise InspectionError("the process with the bare engine has died: its error is above")
        return said

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _together(engines: Sequence[_Engine], seconds: float) -> float:
    for engine in engines:
        engine.begin(seconds)
    return sum(engine.result() for engine in engines)


# ------------------------------------------------------------------------------ the PLC


class _Plc(Closing):
    """One body after the other, each acknowledged."""

    def __init__(self, line: Line, load: Load) -> None:
        self._line, self._load = line, load
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(line.endpoints["plc"])
        self._seq = self._counter = self._bodies = 0
        self._beat = 0.0
        self._ready = False
        self._answers: dict[int, m.Message] = {}
        self._views = [f"b{number:03d}" for number in range(VIEWS)]

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()

    def wait_ready(self) -> None:
        until = time.monotonic() + READY_S
        while not self._ready:
            if time.monotonic() > until:
                logs = "\n".join(self._line.log(name)[-1500:] for name in self._line.edges)
                raise InspectionError(f"the line is not ready after {READY_S:.0f} s\n{logs}")
            self._listen(0.05)

    def warm_up(self) -> None:
        """One body as fast as it goes: files, caches and pages that a long shift has long touched.
        With a rate its first views come at that rate, and then the rest."""
        self._body(self._times(WARM_UP_VIEWS))

    def work(self, seconds: float) -> Done:
        """Whole bodies until the time is over."""
        before, begun = self._spent(), time.monotonic()
        verdicts: dict[str, int] = {}
        points = 0
        while time.monotonic() - begun < seconds:
            run, at, count = self._body(self._times(VIEWS))
            verdicts[run] = at
            points += count
        took = time.monotonic() - begun
        spent = {name: after - before[name] for name, after in self._spent().items()}
        return Done(points, took, spent, verdicts)

    def _times(self, paced: int) -> Iterator[float]:
        """When each view of a body is triggered, in seconds from its beginning."""
        rate = self._load.rate
        for number in range(VIEWS):
            group = min(number, paced) // self._load.burst * self._load.burst
            yield 0.0 if rate is None else group * POINTS / rate

    def _body(self, times: Iterator[float]) -> tuple[str, int, int]:
        """The run, when its verdict was here (monotonic, nanoseconds), and how many points."""
        self._bodies += 1
        part = f"BODY-{self._bodies:05d}"
        begun = self._ask(m.Begin(plc="plc-1", seq=self._next(), part=part, plan=PLAN))
        if not isinstance(begun, m.Begun):
            raise InspectionError(f"the station refuses a body: {begun}")
        if self._load.rate is not None:
            self._trigger(begun.run, times)
        get = m.GetVerdict(plc="plc-1", seq=self._next(), part=part, run=begun.run)
        until = time.monotonic() + DEADLINE_MS / 1000
        while time.monotonic() < until:
            said = self._ask(get)
            if isinstance(said, m.PartVerdict) and said.result_valid:
                at = time.monotonic_ns()
                self._ask(
                    m.Ack(plc="plc-1", seq=self._next(), run=said.run, verdict_seq=said.verdict_seq)
                )
                absent = said.points_not_inspected
                if absent:
                    raise InspectionError(f"{part}: {absent} points were not inspected")
                return begun.run, at, said.planned
            self._listen(LOOK_S)
        raise InspectionError(f"{part}: no verdict in {DEADLINE_MS / 1000:.0f} s")

    def _trigger(self, run: str, times: Iterator[float]) -> None:
        begun = time.monotonic()
        asked = []
        for view, due in zip(self._views, times, strict=True):
            while (left := begun + due - time.monotonic()) > 0:
                self._listen(left)
            asked.append(m.TriggerView(plc="plc-1", seq=self._next(), run=run, view=view))
            self._send(asked[-1])
        refused = [a for a in self._answers.values() if isinstance(a, m.Refusal)]
        self._answers.clear()
        if refused:
            raise InspectionError(f"the station refuses a view: {refused[0].text}")

    def _spent(self) -> dict[str, float]:
        """Processor time of each process of the line so far, in seconds; the PLC is here."""
        spent = {name: _cpu_s(self._line.pid(name)) for name in ("station", *self._line.edges)}
        return {**spent, "plc": time.process_time()}

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _send(self, message: Any) -> None:
        self._socket.send(wire.PLC_TO_STATION.encode(message))

    def _ask(self, request: Any) -> m.Message:
        self._send(request)
        until = time.monotonic() + READY_S
        while request.seq not in self._answers:
            if time.monotonic() > until:
                raise InspectionError(f"the station does not answer {type(request).__name__}")
            self._listen(0.05)
        return self._answers.pop(request.seq)

    def _listen(self, seconds: float) -> None:
        """Wait for at most so long for something to come in, and take it."""
        now = time.monotonic()
        if now - self._beat >= HEARTBEAT_S:
            self._beat = now
            self._counter += 1
            self._send(m.Heartbeat(plc="plc-1", counter=self._counter))
        if seconds < MS:
            time.sleep(seconds)
        if not self._socket.poll(int(seconds * 1000)):
            return
        with contextlib.suppress(zmq.Again):
            while True:
                said = wire.STATION_TO_PLC.decode(self._socket.recv(zmq.NOBLOCK))
                if isinstance(said, m.Status):
                    self._ready = said.ready
                    # A station that knew this PLC before goes on where it was.
                    self._seq = max(self._seq, said.last_seq)
                elif (seq := getattr(said, "seq", None)) is not None:
                    self._answers[seq] = said


def _cpu_s(pid: int) -> float:
    """Processor time of a process and its threads, in seconds (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    """Resident memory in MB, without the pictures that all processes share (proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    sizes = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return round((int(sizes["VmRSS"].split()[0]) - int(sizes["RssShmem"].split()[0])) / 1024, 1)
