"""A station process under bad frames on every socket: what it costs, and what it changes."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from inspection.testing import boards
from inspection.testing.fuzz import VALID, fuzzer
from inspection.testing.line import Line, free_ports
from inspection.testing.oracle import examine

WINDOW = 200
"""Frames sent before the station is asked whether it still answers."""


@dataclass
class Damage:
    """What fuzzing did to a station; everything but ``frames`` and ``answers`` should be small."""

    frames: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    rss_growth_mb: float = 0.0
    crashed: bool = False
    verdicts_changed: int = 0


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024


def verdicts(line: Line) -> list[tuple[object, ...]]:
    path = line.folder / "station" / "station.db"
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return database.execute("SELECT * FROM verdict ORDER BY verdict_seq").fetchall()
    finally:
        database.close()


def attack(endpoint: str, socket_name: str, count: int, seed: int) -> int:
    """Send bad messages, at the pace at which the station takes them; how many it answered."""
    nonsense = fuzzer(socket_name, seed)
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.sndhwm = 2 * WINDOW
    socket.connect(endpoint)
    answers = 0
    try:
        for sent in range(1, count + 1):
            socket.send_multipart(nonsense.one())
            while socket.poll(0):
                socket.recv()
                answers += 1
            if sent % WINDOW == 0 or sent == count:
                # Everything gets an answer but some messages that by chance are right.
                until = time.monotonic() + 30
                while answers < 0.7 * sent and time.monotonic() < until and socket.poll(1000):
                    socket.recv()
                    answers += 1
        while socket.poll(500):
            socket.recv()
            answers += 1
    finally:
        socket.close()
        context.term()
    return answers


def fuzz(folder: Path, count: int, seed: int) -> Damage:
    """Parts through a line, ``count`` bad messages on every socket, parts through it again."""
    parts = [f"P{number}" for number in range(6)]
    for number, part in enumerate(parts):
        boards.write_part(folder / "images", part, boards.board(*([(1, 2)] if number % 3 else [])))
    model = boards.model(folder / "model")
    with Line(
        folder / "line",
        plans=[boards.write_plan(folder / "plan")],
        models={"darkness": model},
        cameras=boards.camera(folder / "images"),
        parts=parts[:3],
        plan=boards.PLAN,
    ) as line:
        endpoints = {**line.endpoints, "people": f"tcp://127.0.0.1:{free_ports(1)[0]}"}
        config = line.config("station")
        listen = f'[listen]\npeople = "{endpoints["people"]}"\n'
        config.write_text(config.read_text("utf-8").replace("[listen]\n", listen), "utf-8")
        line.start()
        assert line.wait("plc", 120) == 0
        before, damage = verdicts(line), Damage()
        for name in VALID:  # everything that is loaded on first use is loaded now
            attack(endpoints[name], name, 200, seed - 1)
        small = memory_mb(line.pid("station"))
        for number, name in enumerate(VALID):
            damage.frames[name] = count
            damage.answers[name] = attack(endpoints[name], name, count, seed + number)
        damage.crashed = not (line.running("station") and line.running("edge-cam1"))
        damage.rss_growth_mb = round(memory_mb(line.pid("station")) - small, 1)
        after = verdicts(line)
        damage.verdicts_changed = len(set(before) - set(after)) + sum(
            row[3] == "OK" for row in set(after) - set(before)
        )
        config = line.config("plc")
        text = config.read_text("utf-8")
        config.write_text(text.replace('"P0", "P1", "P2"', '"P3", "P4", "P5"'), "utf-8")
        line.start("plc")
        assert line.wait("plc", 120) == 0
        found = examine(line, parts, boards.GRID**2)
        assert [found.verdicts[part] for part in parts] == ["OK", "NOK", "NOK"] * 2
        # A greeting that was made up may say that an outbox has forgotten what never came.
        made_up = [text for text in found.lost if text.endswith(f"of outbox {'f' * 32}")]
        assert dataclasses.replace(found, lost=[x for x in found.lost if x not in made_up]).clean, (
            found
        )
    return damage
