"""``inspection edge CONFIG``: run an edge worker."""

from __future__ import annotations

import argparse
import os
import resource
import signal
from pathlib import Path

from edge.config import read_edge
from edge.worker import Worker
from inspection import log
from inspection.clock import SystemClock
from inspection.errors import ModelHung

STUCK = 70
"""Exit status of a worker whose engine does not come back: to be started again."""


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
    except ModelHung as error:
        logger.error("edge ends itself", fault=str(error), exit_status=STUCK)
        worker.close()
        # The usual end would wait for the engine, which still uses what it would tear down.
        os._exit(STUCK)
    finally:
        worker.close()
    return 0


def limit_memory(mib: int) -> None:
    """Let this process have so much address space and no more."""
    resource.setrlimit(resource.RLIMIT_AS, (mib << 20, mib << 20))
