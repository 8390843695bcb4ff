"""Faults of the catalogue (docs/faults.md) on real processes and links."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspection.testing import boards
from inspection.testing.line import Line
from inspection.testing.oracle import judge_line
from inspection.testing.proxy import Direction

POINTS = boards.GRID**2
EDGE = "edge-cam1"


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """Thirty good parts, links, and a deadline of two seconds."""
    parts = [f"P{number:02d}" for number in range(30)]
    for part in parts:
        boards.write_part(tmp_path / "images", part, boards.board())
    with Line(
        tmp_path / "line",
        plans=[boards.write_plan(tmp_path / "plan", deadline_ms=2000)],
        models={"darkness": boards.model(tmp_path / "model")},
        cameras=boards.camera(tmp_path / "images", delay_ms=100),
        parts=parts,
        plan=boards.PLAN,
        timeout_ms=8000,
        links=True,
        warm=True,
    ) as line:
        line.start()
        line.until(lambda: len(line.outcomes()) >= 2, 60, "two parts")
        yield line


def noticed(line: Line) -> bool:
    """Whether the edge has given its connection up, for either reason."""
    return any(text in line.log(EDGE) for text in ("station silent", "acknowledgement missing"))


def finished(line: Line) -> dict[str, str]:
    """Let all parts go through; the verdict by part, judged."""
    assert line.wait("plc", 120) == 0
    return judge_line(line, [f"P{number:02d}" for number in range(30)], POINTS)


def test_fault_08_a_frozen_station_is_noticed_and_nothing_is_released_meanwhile(
    line: Line,
) -> None:
    line.freeze("station")
    frozen = time.monotonic()
    line.until(lambda: noticed(line), 5, "the edge notices")
    assert time.monotonic() - frozen < 4  # 1.5 s of silence, on a machine that is busy
    time.sleep(1)
    released = len(line.outcomes())
    time.sleep(1)
    assert len(line.outcomes()) <= released + 1
    line.thaw("station")
    verdicts = finished(line)
    assert sum(verdict == "OK" for verdict in verdicts.values()) >= 25


def test_fault_09_a_worker_that_hangs_holds_its_part_and_goes_on_when_started_again(
    line: Line,
) -> None:
    line.freeze(EDGE)  # as in an inference that never ends: alive, connected and silent
    line.until(lambda: "edge lost" in line.log("station"), 8, "the station notices")
    line.until(lambda: "HOLD" in {o.action for o in line.outcomes()}, 15, "its part is held")
    line.kill(EDGE)
    line.start(EDGE)
    verdicts = finished(line)
    assert sum(verdict == "OK" for verdict in verdicts.values()) >= 25


@pytest.mark.parametrize("direction", Direction)
def test_fault_22_a_link_that_swallows_one_direction_is_given_up_and_made_anew(
    line: Line, direction: Direction
) -> None:
    link = line.links[EDGE]
    before = link.accepted
    link.black_hole(direction)
    line.until(lambda: noticed(line), 8, "the edge notices")
    line.until(lambda: link.accepted > before, 8, "a new connection")
    link.heal()
    verdicts = finished(line)
    assert sum(verdict == "OK" for verdict in verdicts.values()) >= 25


def test_fault_23_over_single_bytes_and_20_kb_a_second_everything_is_slow_and_right(
    line: Line,
) -> None:
    for name, link in line.links.items():
        link.limit(20_000)
        link.slice(1 if name == "plc" else 8)
    before = len(line.outcomes())
    line.until(lambda: len(line.outcomes()) >= before + 3, 40, "parts over slow links")
    slow = line.outcomes()[before + 1 :]
    for link in line.links.values():
        link.heal()
    verdicts = finished(line)
    assert any(verdicts[outcome.part] == "OK" for outcome in slow)


def test_fault_30_half_open_connections_are_closed_and_garbage_harms_nobody(
    line: Line,
) -> None:
    rng = random.Random(3)
    host, port = line.endpoints["edge"].removeprefix("tcp://").split(":")
    strangers = [socket.create_connection((host, int(port)), timeout=10) for _ in range(50)]
    for number, stranger in enumerate(strangers):
        if number % 2:
            stranger.sendall(rng.randbytes(500))
    for stranger in strangers[::2]:  # those that say nothing
        with contextlib.suppress(ConnectionResetError):
            while stranger.recv(4096):
                pass
    assert set(finished(line).values()) == {"OK"}
    for stranger in strangers:
        stranger.close()
