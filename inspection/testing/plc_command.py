"""``inspection plc CONFIG``: run a simulated PLC over a list of parts."""

from __future__ import annotations

import argparse
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from inspection import log
from inspection.config import Endpoint, read_config, resolve
from inspection.errors import ConfigurationError, Problem
from inspection.keys import ClientKeysFile, client_keys
from inspection.messages import ID_PATTERN, Id
from inspection.testing.plc import SimulatedPlc

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


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="the PLC's configuration (TOML)")


def run(arguments: argparse.Namespace) -> int:
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
