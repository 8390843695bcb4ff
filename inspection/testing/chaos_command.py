"""``inspection chaos``: kill and cut a line at random, then have an independent judge count."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from inspection.errors import ConfigurationError
from inspection.testing import chaos


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=60, help="SIGKILLs of station and edges")
    parser.add_argument("--link-faults", type=int, help="two for every five kills unless given")
    parser.add_argument(
        "--faults",
        nargs="+",
        default=["all"],
        metavar="NAME",
        help=f"all, none, or some of: {', '.join(chaos.FAULTS)}",
    )
    parser.add_argument("--seed", type=int, help="of the schedule; a new one unless given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as well")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work there, and leave it there")


def run(arguments: argparse.Namespace) -> int:
    faults = _faults(arguments.faults)
    seed = random.randrange(2**31) if arguments.seed is None else arguments.seed  # noqa: S311
    kills = arguments.kills
    link_faults = kills * 2 // 5 if arguments.link_faults is None else arguments.link_faults
    if kills < 0 or link_faults < 0:
        raise ConfigurationError("--kills and --link-faults count something: not below 0")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        if arguments.keep is not None and arguments.keep.exists():
            raise ConfigurationError(f"{arguments.keep}: is there already: name a new folder")
        done = chaos.torment(
            arguments.keep or Path(name),
            kills=kills,
            link_faults=link_faults,
            faults=faults,
            seed=seed,
        )
    found = done.findings
    line = {
        "claim": "chaos",
        "kills": sum(done.kills.values()),
        "link_faults": sum(done.link_faults.values()),
        "accepted": found.accepted,
        "lost": len(found.lost),
        "duplicated": len(found.duplicated),
        "reordered": len(found.reordered),
        "false_ok": len(found.false_ok),
        "unbalanced": len(found.unbalanced),
        "unexplained": len(found.unexplained),
        "crashed": len(done.crashed),
        "killed": dict(done.kills),
        "faults": dict(done.link_faults),
        "freezes": done.freezes,
        "parts": done.parts,
        "released": done.released,
        "seed": seed,
        "seconds": round(time.monotonic() - begun, 1),
    }
    text = msgspec.json.encode(line).decode()
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", "utf-8")
    wrong = [
        *found.false_ok,
        *found.lost,
        *found.duplicated,
        *found.reordered,
        *found.unbalanced,
        *found.unexplained,
        *done.crashed,
    ]
    for sentence in wrong[:50]:
        print(sentence, file=sys.stderr)
    return 0 if done.clean else 1


def _faults(names: list[str]) -> tuple[str, ...]:
    if names == ["all"]:
        return chaos.FAULTS
    if names == ["none"]:
        return ()
    if unknown := sorted(set(names) - set(chaos.FAULTS)):
        known = ", ".join(chaos.FAULTS)
        raise ConfigurationError(f"--faults {unknown[0]}: no such fault: all, none, {known}")
    return tuple(names)
