"""``inspection doctor CONFIG``: check all an edge needs, and say what to do."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.config import read_edge
from edge.doctor import Level, examine
from inspection import log
from inspection.errors import ConfigurationError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="the edge worker's configuration (TOML)")
    parser.add_argument("--shots", type=int, default=3, metavar="N", help="pictures a camera takes")
    parser.add_argument("--part", default="part", help="for cameras that choose by the part")
    parser.add_argument("--view", default="view", help="for cameras that choose by the view")


def run(arguments: argparse.Namespace) -> int:
    log.configure("doctor")
    if arguments.shots < 1:
        raise ConfigurationError(f"--shots {arguments.shots}: must be 1 or more")
    config = read_edge(arguments.config)
    print(f"{'ok':8} {'configuration':20} {arguments.config}: edge {config.file.edge}")
    wrong = 0
    for found in examine(config, shots=arguments.shots, part=arguments.part, view=arguments.view):
        wrong += found.level is Level.WRONG
        print(f"{found.level.value:8} {found.subject:20} {found.text}", flush=True)
        if found.remedy:
            print(f"{'':8} {'':20} -> {found.remedy}")
    print("nothing is wrong" if not wrong else f"{wrong} things are wrong")
    return 0 if not wrong else 1
