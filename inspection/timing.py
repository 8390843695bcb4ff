"""How long each stage of a view takes, for whoever measures; off unless a file is configured.

Edge and station each write rows to a file of their own, with times of the machine's monotonic
clock, which all its processes share. Nothing of it travels with a result.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from inspection.closing import Closing

STAGES = (
    "grab",
    "align",
    "crop",
    "gate",
    "infer",
    "policy",
    "outbox",
    "wire",
    "commit",
    "verdict",
)
"""In the order a view goes through them. The edge laps those up to ``policy``; the others lie
between two of the times below, the last ones between two processes."""

_BUFFERED = 64 * 1024


class ViewTimes(Struct, array_like=True, frozen=True):
    """One view in an edge, in nanoseconds. ``engine_cpu_ns`` is processor time inside the inference
    engine."""

    run: str
    view: str
    attempt: int
    points: int
    heard_ns: int
    """The order was read from the socket."""
    framed_ns: int
    """The picture was in memory."""
    handed_ns: int
    """The record went to the outbox."""
    synced_ns: int
    """It was durable there."""
    laps_ns: dict[str, int]
    engine_cpu_ns: int


class CommitTimes(Struct, array_like=True, frozen=True):
    """One record in a station: read from the socket, and committed."""

    run: str
    view: str
    attempt: int
    taken_ns: int
    committed_ns: int


class TimesFile(Closing):
    """Rows, a JSON array a line, written some hundred at a time. A process that is killed loses
    the last ones."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()

    def write(self, row: Struct) -> None:
        self._encoder.encode_into(row, self._buffer, len(self._buffer))
        self._buffer += b"\n"
        if len(self._buffer) > _BUFFERED:
            self.flush()

    def flush(self) -> None:
        """A measurement that cannot be written is lost; the line goes on."""
        with contextlib.suppress(OSError, ValueError):
            self._file.write(self._buffer)
            self._file.flush()
        self._buffer.clear()

    def close(self) -> None:
        if not self._file.closed:
            self.flush()
            self._file.close()


Row = TypeVar("Row", ViewTimes, CommitTimes)


def read_times(path: Path, kind: type[Row]) -> Iterator[Row]:
    """The rows of a file; a last line that was cut off is left out."""
    decode = msgspec.json.Decoder(kind).decode
    for line in path.read_bytes().split(b"\n")[:-1]:
        yield decode(line)


class Laps:
    """The view in hand, stage by stage. Switched off it costs a call."""

    def __init__(self, *, on: bool = False) -> None:
        self.on = on
        self.times: dict[str, int] = {}
        self._at = 0

    def start(self) -> None:
        if self.on:
            self.times = {}
            self._at = time.monotonic_ns()

    def lap(self, stage: str) -> None:
        """What has passed since the lap before belongs to this stage."""
        if self.on:
            now = time.monotonic_ns()
            self.times[stage] = self.times.get(stage, 0) + now - self._at
            self._at = now


class EngineTime:
    """Processor time that this process has spent inside inference engines, in nanoseconds, as far
    as they compute on the thread that calls them."""

    def __init__(self) -> None:
        self.cpu_ns = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        begun = time.thread_time_ns()
        try:
            yield
        finally:
            self.cpu_ns += time.thread_time_ns() - begun


ENGINE = EngineTime()
"""Of this process, as `time.process_time` is."""
