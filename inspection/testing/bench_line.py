"""A whole line on this machine, measured; ``docs/benchmark.md`` says what is and what is not.

All processes are the real ones: the station with its synced store, two edge workers with one
thread of inference each, and a PLC, which is this process. Only the cameras are none: they hand out
pictures that were drawn before and lie in shared memory.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from inspection import alignment, imaging, quality, runtimes
from inspection.errors import ConfigurationError, InspectionError
from inspection.limits import write_limits
from inspection.messages import QualityLimits, Region, Verdict
from inspection.package import open_package
from inspection.policy import judge
from inspection.rendering import body
from inspection.testing.bench_plc import BenchPlc
from inspection.testing.line import Line
from inspection.timing import STAGES, CommitTimes, ViewTimes, read_times
from inspection.version import code_version

PLAN, MODEL = "bench", "spot-weld"
CAMERAS = ("cam1", "cam2")
PER_VIEW = 20
SHARES = (50.0, 99.0, 99.9)
SLOW_SYNC = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static void wait_for_disk(void) {
    const char *ms = getenv("SYNC_DELAY_US");
    if (ms) usleep((useconds_t)atoi(ms));
}
int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_for_disk();
    return real(fd);
}
int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk();
    return real(fd);
}
"""


@dataclass(frozen=True)
class Options:
    """What is measured; ``rate`` in points a second, 0 for flat out."""

    package: Path
    seconds: float = 10.0
    rate: float = 0.0
    burst: int = 1
    pairs: int = 5
    sync_delay_ms: float = 0.0
    views: int = 250

    @property
    def pictures(self) -> int:
        """How many there are: each camera shows them in turn, body after body, and never the same
        one twice in succession, which would pass for a frozen camera."""
        return 3 if self.views // len(CAMERAS) % 3 != 1 else 4


@dataclass
class Stretch:
    """One stretch of the line and the bare inference beside it."""

    begun_ns: int
    ended_ns: int
    cpu_s: dict[str, float]
    onnx_points_per_second: float


def spread(values: Sequence[float], *, worst: bool = False) -> dict[str, float]:
    """Percentiles by the nearest rank: a value that was measured, never one between two."""
    if not values:
        return {}
    ordered = sorted(values)
    found = {}
    for share in SHARES:
        rank = max(1, -(-len(ordered) * int(share * 10) // 1000))
        found[f"p{share:g}"] = round(ordered[rank - 1], 2)
    if worst:
        found["max"] = round(ordered[-1], 2)
    return found


def bench(folder: Path, options: Options) -> dict[str, Any]:
    """Build a line in this folder, measure it, and say what was found."""
    folder.mkdir(parents=True, exist_ok=True)
    with _shared_memory() as memory:
        pictures, crops = _draw_pictures(memory, options)
        np.save(folder / "crops.npy", crops)
        line = _line(folder, memory, options, pictures)
        onnx = _start_onnx(folder, options)
        plc = BenchPlc(
            line.endpoints["plc"],
            PLAN,
            [_view(number) for number in range(options.views)] if options.rate else [],
            options.rate / PER_VIEW,
            options.burst,
        )
        try:
            line.start("station", *line.edges)
            _until_ready(line, plc)
            # Whoever has just started is not what a line is after its first minute.
            plc.drive(1.0)
            stretches = [_stretch(line, plc, onnx, options) for _ in range(options.pairs)]
            rss = {name: _rss_mb(line.pid(name)) for name in ("station", *line.edges)}
            rss["plc"] = _rss_mb(os.getpid())
            for name in (*line.edges, "station"):
                if line.stop(name, 60) != 0:
                    raise InspectionError(f"{name} failed:\n{line.log(name)[-3000:]}")
        finally:
            plc.close()
            line.close()
            for process in onnx:
                process.kill()
                process.wait()
    views = [row for edge in line.edges for row in _times(folder, edge, ViewTimes)]
    commits = _times(folder, "station", CommitTimes)
    balance = examine(folder / "line" / "station" / "station.db", plc.parts, options, views)
    verdicts = {run: known for run, (_, known) in plc.verdicts.items()}
    return {
        "claim": "line",
        "commit": code_version(),
        "rate": options.rate or "flat out",
        "burst": options.burst,
        "sync_delay_ms": options.sync_delay_ms,
        **figures(stretches, views, commits, verdicts, plc.triggers),
        "rss_mb": rss,
        **balance,
        "cpus": os.cpu_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
    }


def figures(
    stretches: Sequence[Stretch],
    views: Sequence[ViewTimes],
    commits: Sequence[CommitTimes],
    verdicts: Mapping[str, int],
    triggers: Mapping[tuple[str, str], int],
) -> dict[str, Any]:
    """The arithmetic: from what the processes wrote down to what is reported."""
    at = {(row.run, row.view, row.attempt): row for row in commits}
    pairs, cpu = [], dict.fromkeys(("onnx", "edges", "station", "plc"), 0.0)
    measured: list[tuple[ViewTimes, CommitTimes]] = []
    for stretch in stretches:
        inside = [
            (row, done)
            for row in views
            if (done := at.get((row.run, row.view, row.attempt))) is not None
            and stretch.begun_ns <= done.committed_ns <= stretch.ended_ns
        ]
        measured += inside
        points = sum(row.points for row, _ in inside)
        seconds = (stretch.ended_ns - stretch.begun_ns) / 1e9
        pairs.append((points / seconds, stretch.onnx_points_per_second))
        engine_s = sum(row.engine_cpu_ns for row, _ in inside) / 1e9
        cpu["onnx"] += engine_s
        cpu["edges"] += sum(s for name, s in stretch.cpu_s.items() if name.startswith("edge-"))
        cpu["edges"] -= engine_s
        cpu["station"] += stretch.cpu_s["station"]
        cpu["plc"] += stretch.cpu_s["plc"]
    points = sum(row.points for row, _ in measured)
    each = {name: round(1000 * value / max(points, 1), 4) for name, value in cpu.items()}
    stages: dict[str, list[float]] = {name: [] for name in STAGES}
    last: dict[str, tuple[int, int]] = {}
    for row, done in measured:
        for name, took in row.laps_ns.items():
            stages[name].append(took / 1e6)
        stages["outbox"].append((row.synced_ns - row.handed_ns) / 1e6)
        stages["wire"].append((done.taken_ns - row.synced_ns) / 1e6)
        stages["commit"].append((done.committed_ns - done.taken_ns) / 1e6)
        before = last.get(row.run, (0, 0))
        last[row.run] = max(before, (done.committed_ns, row.framed_ns))
    waits = []
    for run, (committed_ns, framed_ns) in last.items():
        if run in verdicts:
            stages["verdict"].append((verdicts[run] - committed_ns) / 1e6)
            waits.append((verdicts[run] - framed_ns) / 1e6)
    ratios = [line / onnx for line, onnx in pairs if onnx]
    return {
        "views": len(measured),
        "points": points,
        "points_per_second": round(statistics.median(line for line, _ in pairs), 1),
        "onnx_points_per_second": round(statistics.median(onnx for _, onnx in pairs), 1),
        "ratio": round(statistics.median(ratios), 3) if ratios else None,
        "ratios": [round(ratio, 3) for ratio in ratios],
        "cpu_ms_per_point_outside_onnx": round(sum(each.values()) - each["onnx"], 4),
        "cpu_ms_per_point": each,
        "stage_ms": {name: spread(values) for name, values in stages.items()},
        "view_latency_ms": spread(
            [(done.committed_ns - row.framed_ns) / 1e6 for row, done in measured], worst=True
        ),
        "trigger_latency_ms": spread(
            [
                (done.committed_ns - triggers[row.run, row.view]) / 1e6
                for row, done in measured
                if (row.run, row.view) in triggers
            ],
            worst=True,
        ),
        "verdict_latency_ms": spread(waits, worst=True),
    }


def examine(
    store: Path, parts: Sequence[str], options: Options, views: Sequence[ViewTimes]
) -> dict[str, int]:
    """What the store says of every planned point of every body, in SQL of its own."""
    planned = options.views * PER_VIEW
    database = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        rows = database.execute(
            "SELECT part_id, COUNT(*), COUNT(DISTINCT point_id) FROM result"
            " JOIN run USING (run_id) WHERE run_id IN (SELECT run_id FROM verdict) GROUP BY part_id"
        )
        found = {part: (count, distinct) for part, count, distinct in rows}
        records = database.execute(
            "SELECT COUNT(*), COUNT(DISTINCT outbox_id || '/' || outbox_seq) FROM record"
            " WHERE outbox_id IS NOT NULL"
        ).fetchone()
        said = dict(database.execute("SELECT verdict, COUNT(*) FROM result GROUP BY verdict"))
        runs = database.execute("SELECT COUNT(*), COUNT(DISTINCT part_id) FROM run").fetchone()
    finally:
        database.close()
    lost = sum(planned - found.get(part, (0, 0))[1] for part in parts)
    lost += max(0, len(views) - records[1])  # judged, but never on record
    duplicated = sum(count - distinct for count, distinct in found.values())
    duplicated += records[0] - records[1] + runs[0] - runs[1]
    return {
        "lost": lost,
        "duplicated": duplicated,
        "bodies": len(parts),
        **{f"points_{name.lower()}": said.get(name, 0) for name in (v.value for v in Verdict)},
    }


# -------------------------------------------------------------------------------- preparation


def _view(number: int) -> str:
    return f"v{number + 1:03d}"


@contextmanager
def _shared_memory() -> Iterator[Path]:
    """A file in memory that processes can map; an ordinary one where the system has no such."""
    shared = Path("/dev/shm")  # noqa: S108  it is memory, and the name is not guessable
    place = shared if os.access(shared, os.W_OK) else Path.cwd()
    path = place / f"inspection-bench-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


class _Picture(NamedTuple):
    """The regions of 20 welds that the model calls OK, the limits of the quality gate there, the
    view's datum marks by name with their places and pictures (PNG), and its overview (PNG)."""

    regions: list[Region]
    limits: list[QualityLimits]
    marks: dict[str, tuple[float, float, bytes]]
    overview: bytes


def _draw_pictures(memory: Path, options: Options) -> tuple[list[_Picture], imaging.Frame]:
    """Draw the pictures into ``memory``; what is seen in each, and a batch of crops for the bare
    inference. Evidence of many defects is not what a line does all day."""
    package = open_package(options.package)
    model = runtimes.load(package)
    spec = runtimes.crop_spec(package)
    pictures: list[_Picture] = []
    crops: list[imaging.Frame] = []
    with memory.open("wb") as file:
        for number in range(1, body.VIEWS + 1):
            frame = body.Stand(body.view_name(number), 1, 0).render()
            half, side = body.REGION_PX / 2, body.REGION_PX
            drawn = [
                Region(
                    left_px=weld.x_mm * body.PX_PER_MM - half,
                    top_px=weld.y_mm * body.PX_PER_MM - half,
                    width_px=side,
                    height_px=side,
                )
                for weld in body.design(number).welds
            ]
            cut = np.stack([imaging.crop(frame, region, spec) for region in drawn])
            names, policy = package.manifest.class_names, package.policy
            good = [
                index
                for index, (scores, ood) in enumerate(model.outputs(cut).rows())
                if judge(scores, names, policy, ood).verdict is Verdict.OK
            ][:PER_VIEW]
            if len(good) < PER_VIEW:
                continue
            file.write(frame.tobytes())
            chosen = [drawn[index] for index in good]
            learnt = quality.learn([frame], {str(n): region for n, region in enumerate(chosen)})
            marks = {}
            for name, place in zip(("hole", "slot"), body.design(number).datums, strict=True):
                x, y = (round(at_mm * body.PX_PER_MM, 1) for at_mm in place)
                marks[name] = (x, y, imaging.encode_png(alignment.cut(frame, x, y)))
            overview = imaging.encode_png(alignment.overview(frame))
            pictures.append(_Picture(chosen, list(learnt.values()), marks, overview))
            crops = crops or [cut[index] for index in good]
            if len(pictures) == options.pictures:
                return pictures, np.stack(crops)
    raise ConfigurationError(
        f"{options.package}: calls too few of the drawn welds OK: measure with the spot-weld model"
    )


def _shown(view: int, pictures: int) -> int:
    """Which picture a view shows."""
    return view // len(CAMERAS) % pictures


def _write_plan(folder: Path, options: Options, pictures: Sequence[_Picture]) -> Path:
    folder.mkdir(parents=True)
    taught = folder / "taught"
    taught.mkdir()
    for number, shown in enumerate(pictures):
        (taught / f"{number}.png").write_bytes(shown.overview)
        for name, (_, _, picture) in shown.marks.items():
            (taught / f"{number}-{name}.png").write_bytes(picture)
    limits: dict[str, dict[str, QualityLimits]] = {}
    rows = ["id,view,kind,left_px,top_px,width_px,height_px,severity"]
    views = []
    trigger = "plc" if options.rate else "station"
    for number in range(options.views):
        at = _shown(number, len(pictures))
        shown = pictures[at]
        views.append(
            f'[[view]]\nid = "{_view(number)}"\ncamera = "{CAMERAS[number % 2]}"\n'
            f'width_px = {body.WIDTH_PX}\nheight_px = {body.HEIGHT_PX}\ntrigger = "{trigger}"\n'
            f'overview = "taught/{at}.png"\n'
            + "".join(
                f'\n[[view.datum]]\nid = "{name}"\nx_px = {x}\ny_px = {y}\n'
                f'picture = "taught/{at}-{name}.png"\n'
                for name, (x, y, _) in shown.marks.items()
            )
        )
        for index, (region, limit) in enumerate(zip(shown.regions, shown.limits, strict=True)):
            point = f"w{number * PER_VIEW + index:05d}"
            place = f"{region.left_px:.1f},{region.top_px:.1f},{body.REGION_PX},{body.REGION_PX}"
            rows.append(f"{point},{_view(number)},spot-weld,{place},major")
            limits.setdefault(_view(number), {})[point] = limit
    write_limits(taught, limits)
    (folder / "points.csv").write_text("\n".join(rows) + "\n", "utf-8")
    path = folder / "plan.toml"
    path.write_text(
        f'[plan]\nname = "{PLAN}"\nversion = "1"\ndeadline_ms = 600000\npoints = "points.csv"\n'
        'taught = "taught"\n\n'
        f'[severity]\nmajor = "hold"\n\n[kinds.spot-weld]\nmodel = "{MODEL}"\n\n'
        + "\n".join(views),
        "utf-8",
    )
    return path


def _line(folder: Path, memory: Path, options: Options, pictures: Sequence[_Picture]) -> Line:
    driver = {
        "driver": "edge.cameras.mapped:MappedCamera",
        "settings": {
            "file": str(memory),
            "width_px": body.WIDTH_PX,
            "height_px": body.HEIGHT_PX,
            "pictures": {_view(n): _shown(n, len(pictures)) for n in range(options.views)},
        },
    }
    names = [f"edge-{camera}" for camera in CAMERAS]
    return Line(
        folder / "line",
        plans=[_write_plan(folder / "plan", options, pictures)],
        models={MODEL: options.package},
        cameras=dict.fromkeys(CAMERAS, driver),
        parts=[],
        plan=PLAN,
        edge_evidence={"ok_share": 0.01},
        more={
            "station": {"times": "station.times"},
            **{name: {"threads": 1, "times": f"{name}.times"} for name in names},
        },
        environment=_slow_disk(folder, options.sync_delay_ms),
    )


def _slow_disk(folder: Path, delay_ms: float) -> dict[str, str]:
    """What makes every sync of every process of the line take so much longer, SQLite's too."""
    if not delay_ms:
        return {}
    source, library = folder / "slow_sync.c", folder / "slow_sync.so"
    source.write_text(SLOW_SYNC, "utf-8")
    try:
        build = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
        subprocess.run(build, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigurationError(
            f"--sync-delay-ms needs a C compiler named cc ({error}): apt-get install gcc"
        ) from None
    return {"LD_PRELOAD": str(library), "SYNC_DELAY_US": str(round(delay_ms * 1000))}


# -------------------------------------------------------------------------------- measurement


def _start_onnx(folder: Path, options: Options) -> list[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "inspection.testing.bench_onnx"]
    command += [str(options.package.resolve()), str(folder / "crops.npy")]
    started = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        for _ in CAMERAS
    ]
    for process in started:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise InspectionError("bare inference did not start; its traceback is above")
    return started


def _bare(processes: Sequence[subprocess.Popen[str]], seconds: float) -> float:
    """Points a second of all of them together."""
    for process in processes:
        assert process.stdin is not None  # noqa: S101  both are pipes
        process.stdin.write(f"{seconds}\n")
        process.stdin.flush()
    total = 0.0
    for process in processes:
        assert process.stdout is not None  # noqa: S101
        told = json.loads(process.stdout.readline())
        total += told["points"] / told["seconds"]
    return total


def _stretch(
    line: Line, plc: BenchPlc, onnx: Sequence[subprocess.Popen[str]], options: Options
) -> Stretch:
    bare = _bare(onnx, min(options.seconds, 10.0))
    before, begun = _cpu_s(line), time.monotonic_ns()
    plc.drive(options.seconds)
    ended, after = time.monotonic_ns(), _cpu_s(line)
    return Stretch(begun, ended, {name: after[name] - before[name] for name in after}, bare)


def _until_ready(line: Line, plc: BenchPlc) -> None:
    until = time.monotonic() + 120
    while not plc.ready:
        if time.monotonic() > until or not all(map(line.running, ("station", *line.edges))):
            logs = "\n".join(line.log(name)[-1500:] for name in ("station", *line.edges))
            raise InspectionError(f"the line is not ready: {plc.why}\n{logs}")
        plc.turn(20)


def _times(folder: Path, name: str, kind: Any) -> list[Any]:
    return list(read_times(folder / "line" / f"{name}.times", kind))


def _cpu_s(line: Line) -> dict[str, float]:
    """Processor time of every process of the line so far; the PLC is this one."""
    tick = os.sysconf("SC_CLK_TCK")
    found = {"plc": time.process_time()}
    for name in ("station", *line.edges):
        fields = Path(f"/proc/{line.pid(name)}/stat").read_text().rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / tick
    return found


def _rss_mb(pid: int) -> float:
    for entry in Path(f"/proc/{pid}/status").read_text().splitlines():
        if entry.startswith("VmRSS:"):
            return round(int(entry.split()[1]) / 1024, 1)
    return 0.0
