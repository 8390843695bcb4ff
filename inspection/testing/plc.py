"""A simulated PLC: follows the handshake as a controls engineer would program it, and trusts
nothing.

It releases a part only on an OK that is fresh: the answer echoes its own part, run, plan and
sequence number, exactly one of ``ok``, ``nok`` and ``hold`` is true, the verdict number is higher
than any it has seen, its own timer has not run out and the station's heartbeat has moved within
the last second. Anything else, silence included, holds the part.

Its memory (sequence numbers, the part in front of it) lies in a file, as a PLC's retentive memory
does, and is written before a request is sent. A part that stood there while the PLC was restarted
is held: nobody can say whether it was touched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import zmq
from msgspec import Struct

from inspection import messages as m
from inspection import wire
from inspection.curve import Handshakes, connect_with
from inspection.errors import WireError
from inspection.keys import ClientKeys
from inspection.log import get_logger

HEARTBEAT_S = 0.25
HEARTBEAT_MAX_AGE_S = 1.0
RETRY_S = 0.5
SILENCE_S = 1.5
"""After so long without a frame the socket is replaced: libzmq never connects one again that has
had an error of protocol."""
SILENCE_MAX_S = 6.0
"""What that time doubles up to while nothing comes: on a slow wire connecting alone takes longer
than `SILENCE_S`."""
POLL_S = 0.05

Answer = m.Message


class _Stopped(Exception):
    """Told to stop in the middle of a part: it is taken up again after the next start."""


class Memory(Struct, kw_only=True):
    """What survives a restart of the PLC."""

    next_seq: int = 1
    last_verdict_seq: int = 0
    part: str | None = None
    begin_seq: int = 0


class Outcome(Struct, frozen=True, kw_only=True):
    """What the PLC would have done with a part: RELEASE it, DIVERT it to repair, or HOLD it."""

    part: str
    action: str
    reason: str
    run: str | None = None
    verdict_seq: int = 0
    acknowledged: bool = False
    planned: int = 0
    points_ok: int = 0
    points_nok: int = 0
    points_review: int = 0
    points_not_inspected: int = 0
    milliseconds: float = 0.0


class SimulatedPlc:
    """One PLC and its connection. ``timeout_s`` is its own timer for a part, from `Begin` on."""

    def __init__(
        self,
        *,
        plc: str,
        endpoint: str,
        plan: str,
        memory: Path,
        report: Path,
        timeout_s: float,
        ready_timeout_s: float = 30.0,
        views: tuple[str, ...] = (),
        keys: ClientKeys | None = None,
    ) -> None:
        self._plc = plc
        self._keys = keys
        self._handshakes = Handshakes()
        self._plan = plan
        self._endpoint = endpoint
        self._memory_file = memory
        self._report_file = report
        self._timeout_s = timeout_s
        self._ready_timeout_s = ready_timeout_s
        self._views = views
        self._log = get_logger()
        self._stop_asked = False
        self._memory = self._remember()
        self._done = {outcome.part for outcome in self.outcomes()}
        self._context = zmq.Context()
        self._socket = self._connect()
        self._beat_sent = 0.0
        self._beat_counter = 0
        self._beat_moved = float("-inf")
        self._heard = time.monotonic()
        self._patience_s = SILENCE_S
        self._station_beat = -1
        self.status: m.Status | None = None

    def stop(self) -> None:
        """Stop soon; safe in a signal handler."""
        self._stop_asked = True

    def close(self) -> None:
        self._handshakes.forget(self._socket)
        self._socket.close(linger=0)
        self._context.term()

    def outcomes(self) -> list[Outcome]:
        """Everything reported so far, this run of the program and earlier ones."""
        try:
            lines = self._report_file.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                found.append(msgspec.json.decode(line, type=Outcome))
            except msgspec.DecodeError:
                continue  # the last line of a program that was killed while it wrote
        return found

    def run(self, parts: Iterator[str]) -> None:
        """One part after the other; parts already reported are not inspected again."""
        for part in parts:
            if part in self._done:
                continue
            try:
                outcome = self._one(part, resumed=self._memory.part == part)
            except _Stopped:
                return
            self._append(outcome)
            self._memory.part = None
            self._memorise()
            self._done.add(part)
            self._log.info("part done", **msgspec.structs.asdict(outcome))

    # ------------------------------------------------------------------------------ one part

    def _one(self, part: str, *, resumed: bool) -> Outcome:
        if not self._wait_ready():
            said = self.status.text if self.status else "no answer"
            return Outcome(part=part, action="HOLD", reason=f"station not ready: {said}")
        started = time.monotonic()
        until = started + self._timeout_s
        if not resumed:
            self._memory.part, self._memory.begin_seq = part, self._memory.next_seq
            self._take_seq()
        begin = m.Begin(plc=self._plc, seq=self._memory.begin_seq, part=part, plan=self._plan)
        begun = self._ask(begin, until)
        if not isinstance(begun, m.Begun) or (begun.part, begun.plan) != (part, self._plan):
            return Outcome(part=part, action="HOLD", reason=f"not begun: {_said(begun)}")
        problem = self._trigger_views(begun.run, until)
        verdict = self._await_verdict(begun, until)
        outcome = self._decide(part, begun, verdict, resumed=resumed, problem=problem)
        if verdict is not None and self._is_mine(verdict, begun) and verdict.verdict_seq:
            self._memory.last_verdict_seq = max(self._memory.last_verdict_seq, verdict.verdict_seq)
            self._memorise()
            ack = m.Ack(
                plc=self._plc,
                seq=self._take_seq(),
                run=begun.run,
                verdict_seq=verdict.verdict_seq,
            )
            taken = self._ask(ack, time.monotonic() + self._timeout_s)
            acknowledged = isinstance(taken, m.Acknowledged)
            outcome = msgspec.structs.replace(outcome, acknowledged=acknowledged)
        elapsed = (time.monotonic() - started) * 1000
        return msgspec.structs.replace(outcome, milliseconds=round(elapsed, 1))

    def _trigger_views(self, run: str, until: float) -> str:
        """Ask for each view in turn; a robot would move after each `Acquired`. Returns what went
        wrong, empty where nothing did."""
        problem = ""
        for view in self._views:
            request = m.TriggerView(plc=self._plc, seq=self._take_seq(), run=run, view=view)
            answer = self._ask(request, until)
            while isinstance(answer, m.Busy) and time.monotonic() < until:
                self._wait(POLL_S)
                answer = self._ask(request, until)
            if not isinstance(answer, m.Acquired):
                problem = problem or f"view {view} not acquired: {_said(answer)}"
        if self._views:
            end = m.End(plc=self._plc, seq=self._take_seq(), run=run)
            answer = self._ask(end, until)
            while isinstance(answer, m.Busy) and time.monotonic() < until:
                self._wait(POLL_S)
                answer = self._ask(end, until)
            if not isinstance(answer, m.Ended):
                problem = problem or f"not ended: {_said(answer)}"
        return problem

    def _await_verdict(self, begun: m.Begun, until: float) -> m.PartVerdict | None:
        """The verdict, or None when the PLC's own timer has run out."""
        # It changes nothing, so that one number serves for all questions.
        request = m.GetVerdict(plc=self._plc, seq=self._take_seq(), part=begun.part, run=begun.run)
        while time.monotonic() < until:
            answer = self._ask(request, until)
            if isinstance(answer, m.PartVerdict) and answer.result_valid:
                return answer
            # A hint only shortens the wait: what counts is the answer to the next question.
            self._receive(POLL_S)
        return None

    def _decide(
        self,
        part: str,
        begun: m.Begun,
        verdict: m.PartVerdict | None,
        *,
        resumed: bool,
        problem: str,
    ) -> Outcome:
        if verdict is None:
            return Outcome(part=part, action="HOLD", reason="no verdict in time", run=begun.run)
        action, reason = "HOLD", ""
        age = time.monotonic() - self._beat_moved
        if not self._is_mine(verdict, begun):
            reason = "the verdict is of another part, run or plan"
        elif [verdict.ok, verdict.nok, verdict.hold].count(True) != 1:
            reason = "not exactly one of ok, nok, hold"
        elif verdict.verdict_seq <= self._memory.last_verdict_seq:
            reason = f"verdict {verdict.verdict_seq} is not newer than the last one"
        elif age > HEARTBEAT_MAX_AGE_S:
            reason = f"the station's heartbeat is {age:.1f} s old"
        elif verdict.nok:
            action, reason = "DIVERT", "NOK"
        elif verdict.hold:
            reason = "HOLD"
        elif resumed:
            reason = "the PLC was restarted while the part stood here"
        elif problem:
            reason = problem
        elif verdict.points_ok != verdict.planned or verdict.planned != begun.planned:
            reason = "OK, but not every planned point is"
        else:
            action, reason = "RELEASE", "OK"
        return Outcome(
            part=part,
            action=action,
            reason=reason,
            run=begun.run,
            verdict_seq=verdict.verdict_seq,
            planned=verdict.planned,
            points_ok=verdict.points_ok,
            points_nok=verdict.points_nok,
            points_review=verdict.points_review,
            points_not_inspected=verdict.points_not_inspected,
        )

    def _is_mine(self, verdict: m.PartVerdict, begun: m.Begun) -> bool:
        """Whether the answer echoes the very part, run and plan that were begun."""
        echo = (verdict.part, verdict.run, verdict.plan, verdict.plan_hash)
        return echo == (begun.part, begun.run, self._plan, begun.plan_hash)

    # -------------------------------------------------------------------------- conversation

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.immediate = True
        socket.maxmsgsize = wire.STATION_TO_PLC.max_bytes + 1024
        socket.reconnect_ivl = 100
        socket.reconnect_ivl_max = 1000
        connect_with(socket, self._keys)
        self._handshakes.watch(socket, self._endpoint)
        socket.connect(self._endpoint)
        return socket

    def _wait_ready(self) -> bool:
        until = time.monotonic() + self._ready_timeout_s
        while time.monotonic() < until:
            fresh = time.monotonic() - self._beat_moved < HEARTBEAT_MAX_AGE_S
            if self.status is not None and self.status.ready and fresh:
                # A PLC whose memory was lost goes on where the station has seen it last.
                self._memory.next_seq = max(self._memory.next_seq, self.status.last_seq + 1)
                return True
            self._wait(POLL_S)
        return False

    def _take_seq(self) -> int:
        """The next number, spent in retentive memory before anything is sent under it."""
        seq = self._memory.next_seq
        self._memory.next_seq += 1
        self._memorise()
        return seq

    def _ask(self, request: Any, until: float) -> Answer | None:
        """Send until answered (Lazy Pirate: same request, same number), at most until the time is
        up. Answers to other numbers are from the past and dropped."""
        frame = wire.PLC_TO_STATION.encode(request)
        sent = float("-inf")
        while time.monotonic() < until:
            now = time.monotonic()
            if now - sent >= RETRY_S:
                sent = now
                self._send(frame)
            for answer in self._receive(min(POLL_S, until - now)):
                if getattr(answer, "seq", None) == request.seq:
                    return answer
        return None

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._receive(left)

    def _send(self, frame: bytes) -> None:
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return  # nobody there; the own timer decides

    def _receive(self, seconds: float) -> list[Answer]:
        """What comes in within a time; heartbeats are kept going and read on the way."""
        if self._stop_asked:
            raise _Stopped
        now = time.monotonic()
        if now - self._heard > self._patience_s:
            self._heard = now
            self._patience_s = min(2 * self._patience_s, SILENCE_MAX_S)
            self._handshakes.forget(self._socket)
            self._socket.close(linger=0)
            self._socket = self._connect()
        if now - self._beat_sent >= HEARTBEAT_S:
            self._beat_sent = now
            self._beat_counter += 1
            beat = m.Heartbeat(plc=self._plc, counter=self._beat_counter)
            self._send(wire.PLC_TO_STATION.encode(beat))
        self._handshakes.report()
        answers: list[Answer] = []
        if not self._socket.poll(max(1, int(seconds * 1000))):
            return answers
        while True:
            try:
                frame = self._socket.recv(zmq.NOBLOCK)
                answer = wire.STATION_TO_PLC.decode(frame)
            except zmq.Again:
                return answers
            except WireError as error:
                self._log.warning("frame not understood", text=str(error))
                continue
            self._heard, self._patience_s = time.monotonic(), SILENCE_S
            if isinstance(answer, m.Status):
                if answer.heartbeat != self._station_beat:
                    self._station_beat, self._beat_moved = answer.heartbeat, time.monotonic()
                self.status = answer
            else:
                answers.append(answer)

    # -------------------------------------------------------------------------------- memory

    def _remember(self) -> Memory:
        try:
            return msgspec.json.decode(self._memory_file.read_bytes(), type=Memory)
        except (FileNotFoundError, msgspec.DecodeError):
            return Memory()

    def _memorise(self) -> None:
        self._memory_file.parent.mkdir(parents=True, exist_ok=True)
        aside = self._memory_file.with_suffix(".part")
        with aside.open("wb") as file:
            file.write(msgspec.json.encode(self._memory))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._memory_file)

    def _append(self, outcome: Outcome) -> None:
        self._report_file.parent.mkdir(parents=True, exist_ok=True)
        with self._report_file.open("ab") as file:
            if file.tell() and not self._ends_with_newline():
                file.write(b"\n")
            file.write(msgspec.json.encode(outcome) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _ends_with_newline(self) -> bool:
        return self._report_file.read_bytes().endswith(b"\n")


def _said(answer: Answer | None) -> str:
    if answer is None:
        return "no answer in time"
    if isinstance(answer, m.Refusal):
        return f"{answer.fault.name}: {answer.text}"
    return type(answer).__name__
