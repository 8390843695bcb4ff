"""``inspection plc``: both ends of the PLC's wire, for whoever has only one of them.

``inspection plc CONFIG`` is short for ``inspection plc run CONFIG``.
"""

from __future__ import annotations

import argparse
import re
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import msgspec
import zmq
from msgspec import Meta, Struct

from inspection import log, wire
from inspection.clock import SystemClock
from inspection.config import Endpoint, read_config, resolve
from inspection.errors import ConfigurationError, Problem
from inspection.keys import ClientKeysFile, client_keys
from inspection.messages import ID_PATTERN, Id
from inspection.plan import Trigger
from inspection.testing.plc import SimulatedPlc
from inspection.testing.plc_check import Checked, Checker

Milliseconds = Annotated[int, Meta(ge=100, le=3_600_000)]


class PlcFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``plc.toml``. Paths are relative to the file."""

    plc: Id
    station: Endpoint
    plan: Id
    directory: str
    """Where the PLC keeps its retentive memory and its report (``report.jsonl``)."""
    parts: list[Id] = []
    parts_file: str | None = None
    """A text file with one part a line, after those of ``parts``."""
    views: tuple[Id, ...] = ()
    """The views the PLC triggers, in the order in which its robot takes them."""
    timeout_ms: Milliseconds = 30_000
    """The PLC's own timer for a part. Longer than the plan's deadline, or every late verdict is a
    silent one."""
    keys: ClientKeysFile | None = None
    """Keys to connect with. Without it the station must be on the same machine."""
    ready_timeout_ms: Milliseconds = 60_000
    """How long a part waits for a station that is not ready before it is held."""


ACTIONS = {
    "run": "a simulated PLC that follows the handshake over a list of parts",
    "check": "hold a running station to docs/plc.md, rule by rule",
    "station": "a simulated station that plays scenarios for your PLC program, and judges it",
    "traces": "record the conversations that docs/plc/traces shows",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = "inspection plc {run,check,station,traces} ... | CONFIG"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "actions:\n" + "\n".join(f"  {k:<10}{v}" for k, v in ACTIONS.items())
    parser.add_argument("action", help="what to do, or a configuration to run")
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    words = [arguments.action, *arguments.words]
    if arguments.action not in ACTIONS:
        words.insert(0, "run")
    given = _actions().parse_args(words)
    code: int = given.does(given)
    return code


def _actions() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inspection plc")
    actions = parser.add_subparsers(dest="does", required=True, metavar="ACTION")

    def action(name: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=ACTIONS[name], description=ACTIONS[name])

    simulate = action("run")
    simulate.add_argument("config", type=Path, help="the PLC's configuration (TOML)")
    simulate.set_defaults(does=_simulate)

    check = action("check")
    check.add_argument("endpoint", help="the station's listen.plc: tcp://HOST:PORT")
    check.add_argument("--plan", help="begin a real run of this plan, too")
    check.add_argument("--part", help="its part (default: a name that nothing has)")
    check.add_argument("--plc", default="plc-check", help="as which PLC (default: %(default)s)")
    check.add_argument("--json", action="store_true", help="one JSON object a rule")
    check.set_defaults(does=_check)

    station = action("station")
    station.add_argument("--port", type=int, default=5703, help="on loopback (default: 5703)")
    station.add_argument("--plan", default="door", help="name of its plan (default: %(default)s)")
    station.add_argument(
        "--trigger",
        choices=[trigger.value for trigger in Trigger],
        default=Trigger.STATION.value,
        help="who triggers the views: the station its one, or your program v0 and v1",
    )
    station.add_argument(
        "--scenario",
        metavar="NAME,NAME",
        help="what the parts meet, one after the other (default: every scenario once)",
    )
    station.add_argument(
        "--actions",
        type=Path,
        metavar="FILE",
        help='what your program did: JSON lines {"part": ..., "action": RELEASE, DIVERT or HOLD}',
    )
    station.add_argument("--wait", type=float, metavar="S", help="give up after so many seconds")
    station.add_argument("--json", action="store_true", help="one JSON object a rule")
    station.set_defaults(does=_station)

    traces = action("traces")
    traces.add_argument("--out", type=Path, default=Path("docs/plc/traces"), metavar="DIR")
    traces.set_defaults(does=_traces)
    return parser


def _simulate(arguments: argparse.Namespace) -> int:
    file = read_config(arguments.config, PlcFile)
    parts = list(file.parts)
    if file.parts_file is not None:
        parts += _read_parts(arguments.config, resolve(arguments.config, file.parts_file))
    if not parts:
        raise ConfigurationError(
            Problem(str(arguments.config), None, "parts", "no part is named: fill parts")
        )
    keys = client_keys(arguments.config, file.keys, {"station": file.station})
    log.configure("plc")
    directory = resolve(arguments.config, file.directory)
    plc = SimulatedPlc(
        plc=file.plc,
        endpoint=file.station,
        plan=file.plan,
        memory=directory / "memory.json",
        report=directory / "report.jsonl",
        timeout_s=file.timeout_ms / 1000,
        ready_timeout_s=file.ready_timeout_ms / 1000,
        views=file.views,
        keys=keys,
    )

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: plc.stop())
    log.get_logger().info("plc started", plc=file.plc, parts=len(parts))
    try:
        plc.run(iter(parts))
        actions = Counter(outcome.action for outcome in plc.outcomes())
        log.get_logger().info("plc stopped", parts=len(parts), **actions)
    finally:
        plc.close()
    return 0


def _check(arguments: argparse.Namespace) -> int:
    part = arguments.part or f"CHECK-{secrets.token_hex(4)}"
    for name, value in (("plan", arguments.plan), ("part", part), ("plc", arguments.plc)):
        if value is not None and not re.match(ID_PATTERN, value):
            raise ConfigurationError(f"--{name}: {value[:80]!r} is no identifier")
    try:
        checker = Checker(arguments.endpoint, plan=arguments.plan, part=part, plc=arguments.plc)
    except zmq.ZMQError as error:
        raise ConfigurationError(f"{arguments.endpoint}: {error.strerror}") from None
    counts: Counter[bool | None] = Counter()
    try:
        for checked in checker.run():
            counts[checked.passed] += 1
            _print_rule(checked, as_json=arguments.json)
    finally:
        checker.close()
    if not arguments.json:
        print(f"{counts[True]} passed, {counts[False]} failed, {counts[None]} not tried")
    return 1 if counts[False] else 0


def _print_rule(checked: Checked, *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(checked).decode(), flush=True)
        return
    word = {True: "passed", False: "FAILED", None: "not tried"}[checked.passed]
    print(f"{word:<9}  {checked.rule}{': ' if checked.why else ''}{checked.why}")
    if checked.passed is not None:
        print(f"           sent {checked.sent}\n           got  {checked.got or 'nothing'}")
    sys.stdout.flush()


def _station(arguments: argparse.Namespace) -> int:
    from inspection.testing.plc_station import SCENARIOS, ScenarioStation

    names = arguments.scenario.split(",") if arguments.scenario else list(SCENARIOS)
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        known = ", ".join(SCENARIOS)
        raise ConfigurationError(f"--scenario: there is no {unknown[0]!r}, only {known}")
    log.configure("plc-station")
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    until = float("inf") if arguments.wait is None else time.monotonic() + arguments.wait
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.linger = 0
    socket.maxmsgsize = wire.PLC_TO_STATION.max_bytes + 1024
    with tempfile.TemporaryDirectory(prefix="plc-station-") as folder:
        station = ScenarioStation(
            Path(folder),
            SystemClock(),
            names,
            plan=arguments.plan,
            trigger=Trigger(arguments.trigger),
        )
        try:
            socket.bind(f"tcp://127.0.0.1:{arguments.port}")
            print(f"plan {arguments.plan} at tcp://127.0.0.1:{arguments.port}", flush=True)
            while not (stopped or station.finished) and time.monotonic() < until:
                socket.poll(10)
                frames = []
                while socket.poll(0):
                    peer, *rest = socket.recv_multipart()
                    frames.append((peer, rest[0] if len(rest) == 1 else b""))
                for peer, frame in station.work(frames):
                    socket.send_multipart((peer, frame))
            judged = station.judge(_what_it_did(arguments.actions))
            not_played = station.not_played()
        except zmq.ZMQError as error:
            raise ConfigurationError(f"--port {arguments.port}: {error.strerror}") from None
        finally:
            station.close()
            socket.close(linger=0)
            context.term()
    for entry in judged:
        if arguments.json:
            print(msgspec.json.encode(entry).decode())
            continue
        word = {True: "passed", False: "FAILED", None: "look"}[entry.passed]
        why = f": {entry.why}" if entry.why else ""
        print(f"{word:<6}  {entry.scenario:<13}  {entry.part}  {entry.rule}{why}")
    for name in not_played:
        print(f"FAILED  {name:<13}  never played: no part came", file=sys.stderr)
    return 1 if not_played or any(entry.passed is False for entry in judged) else 0


class _Did(Struct, frozen=True):
    part: str
    action: str


def _what_it_did(path: Path | None) -> dict[str, str] | None:
    """The last word of a program on each part, from a file of its own; it may hold more."""
    if path is None:
        return None
    try:
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
        did = [msgspec.json.decode(line, type=_Did) for line in lines]
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"--actions: {path}: {error}") from None
    return {entry.part: entry.action for entry in did}


def _traces(arguments: argparse.Namespace) -> int:
    from inspection.testing import plc_traces

    log.configure("plc-traces")
    try:
        for path in plc_traces.write(arguments.out):
            print(path)
    except OSError as error:
        raise ConfigurationError(f"--out: cannot write {arguments.out}: {error}") from None
    return 0


def _read_parts(config: Path, path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            Problem(str(config), None, "parts_file", f"{path}: {error}")
        ) from None
    parts = []
    for number, line in enumerate(lines, start=1):
        if not (part := line.strip()):
            continue
        if not re.match(ID_PATTERN, part):
            raise ConfigurationError(
                Problem(str(path), number, "part", f"{part[:80]!r} is no identifier")
            )
        parts.append(part)
    return parts
