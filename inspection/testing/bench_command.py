"""``inspection bench line``: what a whole line does on this machine, trigger to committed verdict.

Everything is the real thing but the exposure: pictures of five megapixels, drawn beforehand, lie in
shared memory. ``docs/benchmark.md`` says what is measured and what is not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from inspection.errors import ConfigurationError
from inspection.package import bundled_package, open_package
from inspection.testing import bench_line
from inspection.testing.bench_numbers import report


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="WHAT")
    line = actions.add_parser("line", help="station, two edges and a PLC, as fast as they can")
    add = line.add_argument
    add("--seconds", type=float, default=10.0, metavar="S", help="of each measurement (10)")
    add("--rate", type=float, metavar="R", help="points per second; flat out without it")
    add("--burst", type=int, default=1, metavar="B", help="views triggered at once (1)")
    add(
        "--pairs", type=int, default=1, metavar="N", help="measurements of line and bare engine (1)"
    )
    add(
        "--sync-delay-ms",
        type=float,
        default=0.0,
        metavar="D",
        help="added to every disk sync of every process (0; needs a C compiler)",
    )
    add("--model", type=Path, metavar="PACKAGE", help="a model package; by default the bundled one")
    add("--json", type=Path, metavar="FILE", help="write the figures, too")
    add("--keep", type=Path, metavar="DIR", help="work there, and leave it there")


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    package = open_package(arguments.model or bundled_package())
    measured = bench_line.measure(
        package.path,
        bench_line.Load(
            seconds=arguments.seconds,
            rate=arguments.rate,
            burst=arguments.burst,
            pairs=arguments.pairs,
            sync_delay_ms=arguments.sync_delay_ms,
        ),
        keep=arguments.keep,
    )
    print(report(measured))
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(measured)) + b"\n")
    return 0 if not measured["lost"] and not measured["duplicated"] else 1


def _check(arguments: argparse.Namespace) -> None:
    if not 1 <= arguments.seconds <= 3600:
        raise ConfigurationError(f"--seconds {arguments.seconds:g}: must be 1 to 3600")
    if arguments.rate is not None and not 1 <= arguments.rate <= 100_000:
        raise ConfigurationError(f"--rate {arguments.rate:g}: must be 1 to 100000 points a second")
    if not 1 <= arguments.burst <= bench_line.VIEWS:
        raise ConfigurationError(
            f"--burst {arguments.burst}: must be 1 to {bench_line.VIEWS} views"
        )
    if arguments.burst > 1 and arguments.rate is None:
        raise ConfigurationError("--burst: flat out every view is ordered at once; name a --rate")
    if not 1 <= arguments.pairs <= 100:
        raise ConfigurationError(f"--pairs {arguments.pairs}: must be 1 to 100")
    if not 0 <= arguments.sync_delay_ms <= 1000:
        raise ConfigurationError(f"--sync-delay-ms {arguments.sync_delay_ms:g}: must be 0 to 1000")
    if arguments.keep is not None and arguments.keep.exists():
        raise ConfigurationError(f"--keep {arguments.keep}: is there already: name a new folder")
    if arguments.json is not None and not arguments.json.resolve().parent.is_dir():
        raise ConfigurationError(f"--json {arguments.json}: there is no such folder")
