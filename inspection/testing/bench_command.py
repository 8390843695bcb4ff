"""``inspection bench line``: how fast a whole line is on this machine, trigger to verdict; and
``inspection bench anomaly``: how well models of good points do on a folder of pictures."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import msgspec

from inspection.errors import ConfigurationError
from inspection.package import bundled_package
from inspection.testing.bench_line import PER_VIEW, Options, bench

FAST = "spot-weld-fast"
"""The bundled package for lines that outrun ``spot-weld``."""


def configure(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    line = what.add_parser("line", help="station, two edges and a PLC; see docs/benchmark.md")
    add = line.add_argument
    add("--seconds", type=float, default=10.0, help="of the line in each pair (10)")
    add("--rate", type=float, default=0.0, help="points a second; flat out without it")
    add("--burst", type=int, default=1, metavar="B", help="views triggered at once (1)")
    add("--pairs", type=int, metavar="N", help="line and bare inference in turn (5, at a rate 1)")
    add("--sync-delay-ms", type=float, default=0.0, metavar="D", help="added to every disk sync")
    add("--model", type=Path, metavar="PACKAGE", help="a package for spot welds (spot-weld-fast)")
    add("--json", type=Path, metavar="FILE", help="write the result there as well")
    anomaly = what.add_parser("anomaly", help="models of good points; see docs/anomaly.md")
    add = anomaly.add_argument
    add("--data", type=Path, required=True, help="good and defective pictures, as for training")
    add("--part", metavar="REGEX", help="finds the part in a picture's path, as for training")
    add("--ok", metavar="CLASS", help="which class is the OK class")
    add("--seeds", type=int, default=10, metavar="N", help="divisions by part (10)")
    add("--side", type=int, default=256, metavar="PX", help="of the crops (256)")
    add("--against", choices=("anomalib",), help="beside ours, in an environment of its own")
    add("--architecture", action="append", metavar="NAME", help="only this one; more than once")
    add("--json", type=Path, metavar="FILE", help="write the result there as well")


def run(arguments: argparse.Namespace) -> int:
    if arguments.what == "anomaly":
        return _anomaly(arguments)
    options = asked(arguments)
    with tempfile.TemporaryDirectory(prefix="inspection-bench-") as name:
        found = bench(Path(name), options)
    text = json.dumps(found)
    print(text, flush=True)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", "utf-8")
    return int(bool(found["lost"] or found["duplicated"]))


def _anomaly(arguments: argparse.Namespace) -> int:
    from inspection.training.bench_anomaly import bench, table
    from inspection.training.recipe import GOOD_ALONE

    names = arguments.architecture or sorted(GOOD_ALONE, reverse=True)
    if unknown := sorted(set(names) - GOOD_ALONE):
        known = ", ".join(sorted(GOOD_ALONE))
        raise ConfigurationError(f"--architecture {unknown[0]}: is none of {known}")
    for name, value, least, most in (
        ("--seeds", arguments.seeds, 0, 1000),
        ("--side", arguments.side, 64, 2048),
    ):
        if not least <= value <= most:
            raise ConfigurationError(f"{name} {value}: must be {least} to {most}")
    if arguments.json is not None and not arguments.json.parent.is_dir():
        raise ConfigurationError(f"--json {arguments.json}: there is no such folder")
    found = bench(
        arguments.data,
        part=arguments.part,
        ok=arguments.ok,
        seeds=arguments.seeds,
        side_px=arguments.side,
        names=names,
        against=arguments.against is not None,
        progress=lambda said: print(said, flush=True),
    )
    print(table(found), flush=True)
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    return 0


def asked(arguments: argparse.Namespace) -> Options:
    """What the arguments mean. Raises `ConfigurationError` where they mean nothing."""
    pairs = arguments.pairs
    if pairs is None:
        pairs = 1 if arguments.rate else 5
    for name, value, least, most in (
        ("--seconds", arguments.seconds, 1, 86_400),
        ("--rate", arguments.rate or PER_VIEW, PER_VIEW / 60, 1e6),
        ("--burst", arguments.burst, 1, 64),
        ("--pairs", pairs, 1, 1000),
        ("--sync-delay-ms", arguments.sync_delay_ms, 0, 1000),
    ):
        if not least <= value <= most:
            raise ConfigurationError(f"{name} {value}: must be {least:g} to {most:g}")
    if arguments.burst > 1 and not arguments.rate:
        raise ConfigurationError("--burst needs --rate: flat out all views are due at once")
    if arguments.json is not None and not arguments.json.parent.is_dir():
        raise ConfigurationError(f"--json {arguments.json}: there is no such folder")
    return Options(
        package=arguments.model or bundled_package(FAST),
        seconds=arguments.seconds,
        rate=arguments.rate,
        burst=arguments.burst,
        pairs=pairs,
        sync_delay_ms=arguments.sync_delay_ms,
    )
