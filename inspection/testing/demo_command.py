"""``inspection demo``: car bodies through a whole line on this machine.

Station, two edge workers, PLC and UI are the real processes, over real sockets, with a real store
and the model package that comes with this software. Only the bodies are drawn: a body side of 1,248
spot welds in 52 views, every other body with 1 to 50 defects. What was drawn is not known to the
line; it is used at the end to count what the line made of it. ``docs/demo.md`` is the manual.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from inspection.errors import ConfigurationError, InspectionError, PackageError, StoreError
from inspection.ledger import Balance
from inspection.messages import Role, RunVerdict
from inspection.package import Package, bundled_package, open_package
from inspection.rendering import body
from inspection.rendering.pool import Pool
from inspection.station.people import PersonEntry, hashed, write_people
from inspection.testing.demo_cameras import DemoCameras, demo_cameras
from inspection.testing.demo_pool import cache_folder, kept_pool
from inspection.testing.demo_summary import collect, count, tell
from inspection.testing.line import Line
from inspection.testing.plc import Outcome
from inspection.version import code_version

PLAN = "body-side"
MODEL = "spot-weld"
"""The names by which the plan of the body side and its model are known."""
VISITORS = ("anna", "ben")
"""Quality engineers of the demonstration: two, because some words need a second person."""
MOST_PARTS = 9999
UI_ADDRESS = "127.0.0.1"
PORTS = (1024, 65_535)
BODY_TIMEOUT_MS = 90_000
"""The PLC's own timer; longer than the plan's deadline, or its late verdicts would be silent."""
READY_TIMEOUT_MS = 180_000
"""Long, because a visitor's machine may be busy with other things."""
LOOK_S = 0.5
LINE_S = 10.0
"""How often progress is written where nobody watches a terminal."""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--parts", type=int, default=60, metavar="N", help="bodies to inspect (60)")
    add("--seed", type=int, default=7, help="which bodies have which defects (7)")
    add("--views", type=int, default=body.VIEWS, metavar="N", help="only the first N of 52 views")
    add("--model", type=Path, metavar="PACKAGE", help="a model package; by default the bundled one")
    add(
        "--camera",
        choices=("simulated", "basler", "aravis"),
        default="simulated",
        help="what takes the pictures: basler is pylon's emulator, aravis a fake GigE Vision camera"
        " that shows no welds; both are lost and found again in mid-run (simulated)",
    )
    add("--headless", action="store_true", help="no UI; end when all is done")
    add("--json", type=Path, metavar="FILE", help="write the summary, too")
    add("--port", type=int, default=8501, help="the UI's port on this machine (8501)")
    add("--folder", type=Path, help="keep all records here instead of throwing them away")


def run(arguments: argparse.Namespace) -> int:
    started = time.monotonic()
    _check(arguments)
    package = _package(arguments.model)
    with _stopping_cleanly() as stops, contextlib.ExitStack() as stack:
        folder = arguments.folder
        if folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="inspection-demo-")
            folder = Path(stack.enter_context(temporary))
        try:
            return _demonstrate(arguments, folder, package, stops, started)
        except KeyboardInterrupt:
            print("Stopped before the end: there is no summary.", flush=True)
            raise


# ------------------------------------------------------------------------------ what was asked


def _check(arguments: argparse.Namespace) -> None:
    """Everything that can be known to be wrong before minutes are spent on pictures."""
    parts, views, port = arguments.parts, arguments.views, arguments.port
    if not 1 <= parts <= MOST_PARTS:
        raise ConfigurationError(f"--parts {parts}: must be 1 to {MOST_PARTS} bodies")
    if not 1 <= views <= body.VIEWS:
        raise ConfigurationError(f"--views {views}: the body has 1 to {body.VIEWS} views")
    if arguments.seed < 0:
        raise ConfigurationError(f"--seed {arguments.seed}: must not be negative")
    if arguments.json is not None:
        _check_writable(arguments.json)
    if arguments.folder is not None and (arguments.folder / "line").exists():
        raise ConfigurationError(
            f"--folder {arguments.folder}: holds an earlier demonstration: name another folder"
        )
    if arguments.folder is not None and (arguments.folder / "plan").exists():
        raise ConfigurationError(
            f"--folder {arguments.folder}: holds a plan, which would be overwritten: name another"
            " folder"
        )
    if not arguments.headless:
        if not PORTS[0] <= port <= PORTS[1]:
            raise ConfigurationError(f"--port {port}: must be {PORTS[0]} to {PORTS[1]}")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((UI_ADDRESS, port))
            except OSError as error:
                raise ConfigurationError(
                    f"--port {port} on {UI_ADDRESS} cannot be used: {error.strerror}:"
                    " end what uses it (another demo?) or choose another port"
                ) from None


def _check_writable(path: Path) -> None:
    """The file is written at the very end, when it is too late to name another one."""
    existed = path.exists()
    try:
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise ConfigurationError(f"--json {path}: cannot be written: {error.strerror}") from None


def _package(named: Path | None) -> Package:
    try:
        return open_package(bundled_package() if named is None else named)
    except PackageError as error:
        does = "--model" if named is None else f"--model {named}"
        ask = ": name a model package with --model PACKAGE" if named is None else ""
        raise ConfigurationError(f"{does}: {error}{ask}") from None


# ------------------------------------------------------------------------------ one demonstration


def _demonstrate(
    arguments: argparse.Namespace, folder: Path, package: Package, stops: _Stops, started: float
) -> int:
    points = body.points()
    views = list(points)[: arguments.views]
    planned = frozenset(point for view in views for point in points[view])
    plan = body.PLAN if len(views) == body.VIEWS else body.write_plan(folder / "plan", len(views))
    print(
        f"{arguments.parts:,} car bodies, {len(planned):,} spot welds each in {len(views)} views;"
        f" every other one with 1 to 50 defects.\nModel {package.manifest.name}"
        f" {package.manifest.version} ({package.ref.package[:12]})."
    )
    show = _Progress()

    def rendered(done: int, of: int) -> None:
        left = _time((time.monotonic() - began) / done * (of - done))
        to_go = f", {left} to go" if done < of else ""
        show(f"Drawing the bodies' pictures: {done} of {of}{to_go}", last=done == of)

    began = time.monotonic()
    show("Drawing the bodies' pictures, on all cores; kept ones are used again", last=True)
    asked = kept_pool(
        cache_folder(),
        bodies=arguments.parts,
        seed=arguments.seed,
        views=views,
        progress=rendered,
    )
    with asked as (pool_folder, pool), contextlib.ExitStack() as stack:
        drawn_s = time.monotonic() - began
        show(f"Pictures ready after {_time(drawn_s)}, in {pool_folder}", last=True)
        cameras = stack.enter_context(
            demo_cameras(arguments.camera, body.CAMERAS, pool_folder, show)
        )
        line = Line(
            folder / "line",
            plans=[plan],
            models={MODEL: package.path},
            cameras=cameras.settings,
            parts=[each.part for each in pool.bodies],
            plan=PLAN,
            timeout_ms=BODY_TIMEOUT_MS,
            ready_timeout_ms=READY_TIMEOUT_MS,
            ui_port=arguments.port,
            title="Demonstration: body side",
            edge_evidence={},
            people=not arguments.headless,
        )
        cameras.watch(line)
        if not arguments.headless:
            password = secrets.token_hex(6)
            hidden = hashed(password)
            write_people(
                line.folder / "people.toml",
                [PersonEntry(name=n, roles=(Role.QUALITY,), password=hidden) for n in VISITORS],
            )
            print(
                f"To decide on what the line finds, log in as {' or '.join(VISITORS)}, password"
                f" {password}.",
                flush=True,
            )
        try:
            return _run_line(
                arguments, line, cameras, pool, planned, package, show, stops, started, drawn_s
            )
        finally:
            stops.ignore()
            line.close()


def _run_line(
    arguments: argparse.Namespace,
    line: Line,
    cameras: DemoCameras,
    pool: Pool,
    planned: frozenset[str],
    package: Package,
    show: _Progress,
    stops: _Stops,
    started: float,
    drawn_s: float,
) -> int:
    url = f"http://localhost:{arguments.port}"
    helpers = [] if arguments.headless else ["ui"]
    with stops.held():
        line.start("station", *line.edges, "plc", *helpers)
    if helpers:
        show(f"Watch the line at {url}", last=True)
    first_s = _watch(line, len(pool.bodies), [*line.edges, "station", *helpers], show, started)
    truth = pool.truth()
    found_again = cameras.found_again(line)
    summary = count(
        truth,
        planned,
        collect(line.reader),
        line.outcomes(),
        cameras_found_again=found_again,
    )
    print(f"\n{tell(summary)}", flush=True)
    if found_again is not None:
        print(f"Cameras that were lost were found again {found_again} times.", flush=True)
    if arguments.json is not None:
        document: dict[str, Any] = msgspec.to_builtins(summary) | {
            "seed": arguments.seed,
            "camera": arguments.camera,
            "cameras_found_again": found_again,
            "views": arguments.views,
            "points_per_body": len(planned),
            "version": code_version(),
            "model": {
                "name": package.manifest.name,
                "version": package.manifest.version,
                "package": package.ref.package,
                "policy": package.ref.policy,
            },
            "drawing_s": round(drawn_s, 1),
            "first_verdict_s": first_s,
            "seconds": round(time.monotonic() - started, 1),
        }
        try:
            arguments.json.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        except OSError as error:
            raise InspectionError(
                f"--json {arguments.json}: could not be written: {error.strerror}"
            ) from None
    if helpers:
        try:
            print(f"The line stands still; its records are at {url} until Ctrl-C.", flush=True)
            while line.running("ui"):
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            pass  # this is how it ends
        else:
            raise InspectionError(f"the UI ended by itself:\n{line.log('ui')[-2000:]}")
    return 1 if summary.problems else 0


def _watch(
    line: Line, bodies: int, needed: list[str], show: _Progress, started: float
) -> float | None:
    """Show progress until the PLC has ended. Returns after how many seconds of the demonstration
    the first body had its verdict. Raises `InspectionError` where nothing can come of it any
    more."""
    first_s: float | None = None
    moving: float | None = None
    running = True
    while running:
        time.sleep(LOOK_S)
        running = line.running("plc")  # asked first, so that what is read then is complete
        outcomes = line.outcomes()
        unready = next((each for each in outcomes if each.run is None), None)
        if unready is not None:
            raise InspectionError(f"{unready.part} was not inspected: {unready.reason}")
        for name in needed:
            if not line.running(name):
                raise InspectionError(f"{name} ended by itself:\n{line.log(name)[-2000:]}")
        if outcomes and first_s is None:
            first_s = round(time.monotonic() - started, 1)
            first = outcomes[0]
            show(
                f"First verdict {_time(first_s)} after the start: {first.part} {first.reason},"
                f" {first.points_ok:,} of {first.planned:,} points OK",
                last=True,
            )
        total = _totals(line)
        if total is None or not total.planned:
            show("The line starts: models are loaded and prove themselves")
            continue
        moving = time.monotonic() if moving is None else moving
        show(_state(total, outcomes, bodies, time.monotonic() - moving), last=not running)
    if status := line.wait("plc", 1):
        raise InspectionError(f"the PLC ended with {status}:\n{line.log('plc')[-2000:]}")
    return first_s


def _totals(line: Line) -> Balance | None:
    try:
        return line.reader.production().total
    except StoreError:
        return None  # the station has not made it yet


def _state(total: Balance, outcomes: list[Outcome], bodies: int, seconds: float) -> str:
    """Where the line is, in one line; what matters most first, because a narrow terminal cuts."""
    settled, done = total.planned - total.open, len(outcomes)
    reasons = Counter(outcome.reason for outcome in outcomes)
    verdicts = ", ".join(f"{reasons[each.value]} {each.value}" for each in RunVerdict)
    left = f", {_time(seconds / done * (bodies - done))} to go" if 0 < done < bodies else ""
    speed = f", {settled / seconds:,.0f}/s" if seconds > 1 else ""
    return (
        f"{done} of {bodies} bodies{left}: {verdicts}; {settled:,} points{speed}: {total.ok:,} OK,"
        f" {total.nok:,} NOK, {total.review:,} REVIEW, {total.not_inspected:,} not inspected"
    )


def _time(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


# ------------------------------------------------------------------------------------- a terminal


class _Progress:
    """Text that changes in place on a terminal, and whole lines now and then elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._open = False
        self._written = float("-inf")

    def __call__(self, text: str, *, last: bool = False) -> None:
        """Show where things are; ``last`` is never left out and stays."""
        now = time.monotonic()
        if not self._live:
            if last or now - self._written >= LINE_S:
                self._written = now
                print(text, flush=True)
            return
        width = shutil.get_terminal_size().columns - 1
        shown = text if last or len(text) <= width else text[: width - 3] + "..."
        print(f"\r\033[K{shown}", end="\n" if last else "", flush=True)


class _Stops:
    """Ctrl-C, SIGTERM and a terminal that goes away: the first one ends the demonstration, those
    after it do not disturb what is being cleaned up."""

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._held = False
        self._came = False
        self._before = {number: signal.signal(number, self._stop) for number in self.NUMBERS}

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._came = True
        if not self._held:
            self.ignore()
            os.write(sys.stdout.fileno(), b"\nStopping ...\n")  # print may be in the middle of one
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A stop that comes meanwhile is acted upon afterwards: processes that are being started
        would be left behind."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._came:
            self.ignore()
            raise KeyboardInterrupt

    def ignore(self) -> None:
        """From now on. By the system and not by a function, which the interpreter takes away when
        it ends: a second Ctrl-C at that moment would change the exit code."""
        for number in self.NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    def restore(self) -> None:
        """As it was before, unless a stop came: this process then has nothing left to do, and who
        is impatient must not change its exit code."""
        if not self._came:
            for number, handler in self._before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def _stopping_cleanly() -> Iterator[_Stops]:
    stops = _Stops()
    try:
        yield stops
    finally:
        stops.restore()
