"""``inspection station CONFIG``: run a station controller."""

from __future__ import annotations

import argparse
import gc
import signal
from pathlib import Path

from inspection import log
from inspection.clock import SystemClock
from inspection.evidence import EvidenceStore
from inspection.station.config import database_of, read_station
from inspection.station.people import People, station_secret
from inspection.station.service import Service
from inspection.station.station import Station
from inspection.store import Store
from inspection.timing import TimesFile


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="the station's configuration (TOML)")


def run(arguments: argparse.Namespace) -> int:
    config = read_station(arguments.config)
    log.configure("station")
    logger = log.get_logger()
    clock = SystemClock()
    people = None
    if config.people is not None:
        secret = station_secret(config.directory / "tokens.secret")
        people = People(config.people, secret, clock.boot_id())
    times = None if config.times is None else TimesFile(config.times)
    store = Store(database_of(config.directory), config.file.station, clock, config.file.turns)
    try:
        service = Service(config.file.listen, config.keys)
        try:
            station = Station(
                station_id=config.file.station,
                plans=config.plans,
                released=config.released,
                store=store,
                evidence=EvidenceStore(config.evidence),
                clock=clock,
                edge_timeout_ms=config.file.edge_timeout_ms,
                people=people,
                times=times,
            )
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: service.stop())
            logger.info(
                "station started",
                station=config.file.station,
                plans={plan.name: len(plan.points) for plan in config.plans.values()},
            )
            # What was loaded to start stays; looking through it again and again for garbage would
            # stop the line for tens of milliseconds.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 20)
            service.serve(station)
            logger.info("station stopped")
        finally:
            service.close()
    finally:
        store.close()
        if times is not None:
            times.close()
    return 0
