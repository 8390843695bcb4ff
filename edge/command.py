"""``inspection edge CONFIG``: run an edge worker."""

from __future__ import annotations

import argparse
import resource
import signal
from pathlib import Path

from edge.config import read_edge
from edge.worker import Worker
from inspection import log
from inspection.clock import SystemClock


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="the edge worker's configuration (TOML)")


def run(arguments: argparse.Namespace) -> int:
    config = read_edge(arguments.config)
    log.configure("edge")
    logger = log.get_logger()
    if config.file.memory_mib is not None:
        limit_memory(config.file.memory_mib)
    worker = Worker(config, SystemClock())
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: worker.stop())
        logger.info("edge started", edge=config.file.edge, cameras=sorted(config.cameras))
        worker.run()
        logger.info("edge stopped")
    finally:
        worker.close()
    return 0


def limit_memory(mib: int) -> None:
    """Let this process have so much address space and no more."""
    resource.setrlimit(resource.RLIMIT_AS, (mib << 20, mib << 20))
