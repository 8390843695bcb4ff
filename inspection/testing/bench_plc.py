"""The PLC of a benchmark: bodies one after the other, views flat out or at a rate."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field
from typing import Any

import zmq

from inspection import messages as m
from inspection import wire
from inspection.closing import Closing
from inspection.errors import InspectionError

BEAT_NS = 250_000_000
ASK_AGAIN_NS = 50_000_000
"""How soon a real PLC asks again whether a picture is taken."""
REPEAT_NS = 2_000_000_000


@dataclass
class _Body:
    """One body before one of the two PLCs, from Begin to Ack."""

    plc: str
    part: str
    run: str = ""
    next_view: int = 0
    ended: bool = False
    waits_for: dict[int, tuple[Any, int]] = field(default_factory=dict)
    """Requests that are not answered, by number, and when each was asked last."""


class BenchPlc(Closing):
    """Two PLCs on one connection, so that a body can begin while the one before it is judged.

    ``views`` are those it triggers itself, ``burst`` at a time, ``rate`` of them a second; with a
    rate of 0 the plan lets the station order them all at once.
    """

    def __init__(self, endpoint: str, plan: str, views: list[str], rate: float, burst: int) -> None:
        self._plan, self._views, self._rate, self._burst = plan, views, rate, burst
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(endpoint)
        self._seq = {"plc-1": 0, "plc-2": 0}
        self._bodies: dict[str, _Body] = {}
        self._begun = 0
        self._beat_ns = 0
        self._counter = 0
        self._triggered = 0
        self.ready = False
        self.why = "no answer yet"
        self.verdicts: dict[str, tuple[m.PartVerdict, int]] = {}
        """By run, and when each was known here (monotonic)."""
        self.parts: list[str] = []
        self.triggers: dict[tuple[str, str], int] = {}
        """When each view was triggered (monotonic), by run and view."""

    def drive(self, seconds: float) -> None:
        """Begin bodies for so long, then see the last ones through to their acknowledgement."""
        begun = time.monotonic_ns()
        self._triggered = 0
        until = begun + int(seconds * 1e9)
        while (now := time.monotonic_ns()) < until or self._bodies:
            going = now < until
            if going:
                self._begin()
            if self._rate:
                self._trigger(now, begun, going=going)
            self.turn(self._pause_ms(now, begun) if self._rate and going else 20)

    def turn(self, wait_ms: float) -> None:
        """Send what is due and hear what has come."""
        now = time.monotonic_ns()
        if now - self._beat_ns > BEAT_NS:
            self._beat_ns, self._counter = now, self._counter + 1
            self._send(m.Heartbeat(plc="plc-1", counter=self._counter))
        for body in self._bodies.values():
            for seq, (request, asked_ns) in list(body.waits_for.items()):
                patience = ASK_AGAIN_NS if isinstance(request, m.TriggerView | m.End) else REPEAT_NS
                if now - asked_ns > patience:
                    body.waits_for[seq] = (request, now)
                    self._send(request)
        if self._socket.poll(math.ceil(wait_ms)):
            with contextlib.suppress(zmq.Again):
                while True:
                    frame = b"".join(self._socket.recv_multipart(zmq.NOBLOCK))
                    self._hear(wire.STATION_TO_PLC.decode(frame))

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()

    # ---------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """A body before each PLC that has none; at a rate only when the one before is half done."""
        for plc in self._seq:
            if plc in self._bodies:
                continue
            others = [body for body in self._bodies.values() if not body.ended]
            if self._rate and any(2 * body.next_view < len(self._views) for body in others):
                continue
            self._begun += 1
            body = self._bodies[plc] = _Body(plc, f"body-{self._begun:05d}")
            self.parts.append(body.part)
            self._ask(body, m.Begin(plc=plc, seq=0, part=body.part, plan=self._plan))

    def _trigger(self, now: int, begun: int, *, going: bool) -> None:
        if not going:
            for body in self._bodies.values():
                if body.run and not body.ended:
                    body.ended = True
                    if body.next_view < len(self._views):
                        self._ask(body, m.End(plc=body.plc, seq=0, run=body.run))
            return
        due = int((now - begun) / 1e9 * self._rate / self._burst + 1) * self._burst
        while self._triggered < due:
            standing = [
                b for b in self._bodies.values() if b.run and b.next_view < len(self._views)
            ]
            if not standing:
                # Nothing stands there: what was not asked for is not made up for in a heap.
                self._triggered = due
                return
            body = standing[0]
            view = self._views[body.next_view]
            body.next_view += 1
            body.ended = body.next_view == len(self._views)
            self._triggered += 1
            self.triggers[body.run, view] = time.monotonic_ns()
            self._ask(body, m.TriggerView(plc=body.plc, seq=0, run=body.run, view=view))

    def _pause_ms(self, now: int, begun: int) -> float:
        due_ns = begun + self._triggered / self._rate * 1e9
        return min(20.0, max(0.0, (due_ns - now) / 1e6))

    def _send(self, message: Any) -> None:
        self._socket.send(wire.PLC_TO_STATION.encode(message))

    def _ask(self, body: _Body, request: Any) -> None:
        seq = self._seq[body.plc] = self._seq[body.plc] + 1
        fields = {name: getattr(request, name) for name in request.__struct_fields__}
        numbered = type(request)(**{**fields, "seq": seq})
        body.waits_for[seq] = (numbered, time.monotonic_ns())
        self._send(numbered)

    def _of(self, message: Any) -> _Body | None:
        run, part = getattr(message, "run", None), getattr(message, "part", None)
        for body in self._bodies.values():
            if (body.run and body.run == run) or body.part == part:
                return body
        return None

    def _hear(self, message: Any) -> None:
        now = time.monotonic_ns()
        if isinstance(message, m.Status):
            self.ready, self.why = message.ready, message.text
            return
        if isinstance(message, m.Refusal) and message.fault not in (
            m.Fault.RUN_CLOSED,
            m.Fault.VIEW_FAILED,
        ):
            raise InspectionError(f"the station refuses the benchmark's PLC: {message.text}")
        body = self._of(message)
        if body is None:
            return
        match message:
            case m.Begun():
                body.run = message.run
                body.waits_for.pop(message.seq, None)
            case m.Busy():
                pass  # asked again when its time has come
            case m.Acquired() | m.Ended() | m.Refusal():
                body.waits_for.pop(message.seq, None)
            case m.VerdictReady():
                if message.run not in self.verdicts:
                    ask = m.GetVerdict(plc=body.plc, seq=0, part=body.part, run=body.run)
                    self._ask(body, ask)
            case m.PartVerdict():
                asked, _ = body.waits_for.pop(message.seq, (None, 0))
                if asked is not None and message.result_valid:
                    self.verdicts[message.run] = (message, now)
                    seq = message.verdict_seq
                    self._ask(body, m.Ack(plc=body.plc, seq=0, run=body.run, verdict_seq=seq))
            case m.Acknowledged():
                del self._bodies[body.plc]
