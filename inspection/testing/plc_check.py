"""Holds a running station to docs/plc.md, rule by rule, from the PLC's side of the wire.

Every rule is one line: what was sent, what came back, whether that is what the page says. The runs
it begins are real runs of the station, under a part name of its own and as a PLC of its own, so
that nobody else's sequence numbers are touched.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import zmq
from msgspec import UNSET, Struct

from inspection import messages as m
from inspection import wire
from inspection.errors import InspectionError, WireError
from inspection.messages import Fault

ANSWER_S = 2.0
SHOWN = 300
"""Characters of a frame in a report."""


class NoStation(InspectionError):
    """Nobody answers at the endpoint."""


class Checked(Struct, frozen=True, kw_only=True):
    """One rule: ``passed`` is None where it could not be tried, and ``why`` says why."""

    rule: str
    passed: bool | None
    sent: str = ""
    got: str = ""
    why: str = ""


class _Broken(Exception):
    """A rule does not hold."""


class _Skipped(Exception):
    """A rule cannot be tried here."""


class Checker:
    """One connection to one station. ``plan`` names the plan of the run to begin; without one only
    the rules that need no run are tried."""

    def __init__(self, endpoint: str, *, plan: str | None, part: str, plc: str) -> None:
        self._endpoint = endpoint
        self._plan = plan
        self._part = part
        self._plc = plc
        self._context = zmq.Context()
        self._socket = self._connect()
        self._seq = 0
        self._counter = 0
        self._sent: list[str] = []
        self._got: list[str] = []
        self._begin: m.Begin | None = None
        self._begun: m.Begun | None = None
        self._verdict: m.PartVerdict | None = None
        self._begun_at = 0.0
        self._first: bytes | None = None
        self._repeated: bytes | None = None
        self._second: bytes | None = None

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()

    def run(self) -> Iterator[Checked]:
        """Every rule in turn. Raises `NoStation` where not even a heartbeat is answered."""
        status = self._status()
        if status is None:
            raise NoStation(
                f"no station answers at {self._endpoint}: is it listen.plc of a running station?"
            )
        self._seq = status.last_seq
        for rule, check in RULES:
            self._sent, self._got = [], []
            passed: bool | None = True
            why = ""
            try:
                check(self)
            except _Broken as broken:
                passed, why = False, str(broken)
            except _Skipped as skipped:
                passed, why = None, str(skipped)
            yield Checked(
                rule=rule,
                passed=passed,
                sent="; ".join(self._sent),
                got="; ".join(self._got),
                why=why,
            )

    # -------------------------------------------------------------------------- conversation

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(self._endpoint)
        return socket

    def _send(self, *frames: bytes) -> None:
        self._sent.append(" + ".join(_shown(frame) for frame in frames))
        self._socket.send_multipart(frames)

    def _receive(self, until: float) -> bytes | None:
        """The next frame that is no hint."""
        while (left := until - time.monotonic()) > 0:
            if not self._socket.poll(max(1, int(left * 1000))):
                return None
            frame = self._socket.recv()
            if b'"VerdictReady"' not in frame:
                self._got.append(_shown(frame))
                return frame
        return None

    def _decode(self, frame: bytes | None) -> Any:
        if frame is None:
            raise _Broken(f"no answer within {ANSWER_S:.0f} s")
        try:
            return wire.STATION_TO_PLC.decode(frame)
        except WireError as error:
            raise _Broken(f"the answer is no message of the protocol: {error}") from None

    def raw(self, *frames: bytes) -> Any:
        """The message that comes back for these frames."""
        self._send(*frames)
        return self._decode(self._receive(time.monotonic() + ANSWER_S))

    def say(self, message: Any) -> Any:
        return self.raw(wire.PLC_TO_STATION.encode(message))

    def ask(self, kind: Any, **fields: Any) -> Any:
        """A message with the next number."""
        self._seq += 1
        answer = self.say(kind(plc=self._plc, seq=self._seq, **fields))
        if getattr(answer, "seq", None) != self._seq:
            raise _Broken(f"the answer does not echo seq {self._seq}")
        return answer

    def _status(self) -> m.Status | None:
        self._counter += 1
        try:
            answer = self.say(m.Heartbeat(plc=self._plc, counter=self._counter))
        except _Broken:
            return None
        return answer if isinstance(answer, m.Status) else None

    def beat(self) -> m.Status:
        status = self._status()
        if status is None:
            raise _Broken("the heartbeat is not answered by Status")
        if status.counter != self._counter:
            raise _Broken(f"Status does not echo counter {self._counter}")
        return status

    # -------------------------------------------------------------------------- without a run

    def heartbeat_moves(self) -> None:
        first, second = self.beat(), self.beat()
        if second.heartbeat == first.heartbeat:
            raise _Broken("heartbeat stands still")

    def status_is_consistent(self) -> None:
        status = self.beat()
        if status.ready != (status.fault is Fault.NONE):
            raise _Broken("ready and fault contradict each other")
        if not status.ready and not status.text:
            raise _Broken("not ready, and no text says why")
        level = status.service_level
        if level is UNSET:
            raise _Skipped("this station sends no service_level")
        if status.ready != (level >= 200):
            raise _Broken("ready and service_level contradict each other")

    def unknown_plan(self) -> None:
        self._refused(self.ask(m.Begin, part=self._part, plan=_nobody()), Fault.UNKNOWN_PLAN)

    def same_answer(self) -> None:
        self._seq += 1
        begin = m.Begin(plc=self._plc, seq=self._seq, part=self._part, plan=_nobody())
        first, again = self.say(begin), self.say(begin)
        if first != again:
            raise _Broken("the same message got another answer")

    def seq_reused(self) -> None:
        self.ask(m.Begin, part=self._part, plan=_nobody())
        other = m.Begin(plc=self._plc, seq=self._seq, part=self._part, plan=_nobody())
        self._refused(self.say(other), Fault.SEQ_REUSED)

    def seq_lower(self) -> None:
        self.ask(m.Begin, part=self._part, plan=_nobody())
        self.ask(m.Begin, part=self._part, plan=_nobody())
        older = m.Begin(plc=self._plc, seq=self._seq - 1, part=self._part, plan=_nobody())
        self._refused(self.say(older), Fault.SEQ_REUSED)

    def last_seq(self) -> None:
        self.ask(m.Begin, part=self._part, plan=_nobody())
        status = self.beat()
        if status.last_seq != self._seq:
            raise _Broken(f"last_seq is {status.last_seq}, but {self._seq} was the last")

    def seq_too_high(self) -> None:
        far = m.Begin(plc=self._plc, seq=self._seq + 2_000_000, part=self._part, plan=_nobody())
        self._refused(self.say(far), Fault.SEQ_TOO_HIGH)

    def no_json(self) -> None:
        self._refused(self.raw(b'{"type":"Begin","protocol":1,'), Fault.MALFORMED)

    def unknown_type(self) -> None:
        self._refused(self.raw(b'{"type":"Begone","protocol":1}'), Fault.MALFORMED)

    def missing_field(self) -> None:
        lacking = {"type": "Begin", "protocol": 1, "plc": self._plc, "seq": self._seq + 1}
        self._refused(self.raw(msgspec.json.encode(lacking)), Fault.MALFORMED)

    def wrong_id(self) -> None:
        begin = m.Begin(plc=self._plc, seq=self._seq + 1, part="../../etc", plan=_nobody())
        self._refused(self.raw(msgspec.json.encode(begin)), Fault.MALFORMED)

    def several_frames(self) -> None:
        beat = wire.PLC_TO_STATION.encode(m.Heartbeat(plc=self._plc, counter=1))
        self._refused(self.raw(beat, beat), Fault.MALFORMED)

    def wrong_protocol(self) -> None:
        beat = {"type": "Heartbeat", "protocol": 2, "plc": self._plc, "counter": 1}
        self._refused(self.raw(msgspec.json.encode(beat)), Fault.PROTOCOL)

    def too_large(self) -> None:
        frame = wire.PLC_TO_STATION.encode(m.Heartbeat(plc=self._plc, counter=1))
        self._refused(self.raw(frame.ljust(wire.PLC_TO_STATION.max_bytes + 1)), Fault.TOO_LARGE)

    def unknown_field(self) -> None:
        self._counter += 1
        beat = m.Heartbeat(plc=self._plc, counter=self._counter)
        answer = self.raw(msgspec.json.encode({**msgspec.to_builtins(beat), "x_new": 1}))
        if not isinstance(answer, m.Status):
            raise _Broken("a field that is not known is not ignored")

    def unknown_run(self) -> None:
        run = _nobody()
        self._refused(self.ask(m.TriggerView, run=run, view="v0"), Fault.UNKNOWN_RUN)
        self._refused(self.ask(m.End, run=run), Fault.UNKNOWN_RUN)
        self._refused(self.ask(m.GetVerdict, part=_nobody(), run=None), Fault.UNKNOWN_RUN)
        self._refused(self.ask(m.Ack, run=run, verdict_seq=1), Fault.NO_VERDICT)

    # ----------------------------------------------------------------------------- with a run

    def begin(self) -> None:
        if self._plan is None:
            raise _Skipped("no plan is named: --plan")
        self._seq += 1
        self._begin = m.Begin(plc=self._plc, seq=self._seq, part=self._part, plan=self._plan)
        self._begun_at = time.monotonic()
        # All in one go, so that no verdict can come in between.
        self._seq += 1
        again = m.Begin(plc=self._plc, seq=self._seq, part=self._part, plan=self._plan)
        for message in (self._begin, self._begin, again):
            self._send(wire.PLC_TO_STATION.encode(message))
        until = time.monotonic() + ANSWER_S
        self._first, self._repeated, self._second = (self._receive(until) for _ in range(3))
        begun = self._decode(self._first)
        if not isinstance(begun, m.Begun):
            raise _Broken("no run was begun")
        self._begun = begun
        if (begun.seq, begun.part, begun.plan) != (self._seq - 1, self._part, self._plan):
            raise _Broken("Begun does not echo seq, part and plan")
        if begun.planned == 0:
            raise _Broken("a run without a planned point")

    def _open(self) -> m.Begun:
        if self._begun is None:
            raise _Skipped("no run was begun")
        return self._begun

    def _show(self, frame: bytes | None) -> None:
        """An answer to the messages that were sent together with the first `Begin`."""
        self._sent.append("with the first Begin")
        self._got += [] if frame is None else [_shown(frame)]

    def begin_repeated(self) -> None:
        self._open()
        self._show(self._repeated)
        if self._repeated != self._first:
            raise _Broken("the same Begin got another answer")

    def begin_of_an_open_part(self) -> None:
        begun = self._open()
        self._show(self._second)
        answer = self._decode(self._second)
        self._refused(answer, Fault.RUN_OPEN)
        if answer.run != begun.run:
            raise _Broken("the refusal does not name the open run")

    def not_valid_yet(self) -> None:
        begun = self._open()
        answer = self._ask_verdict(begun)
        if answer.result_valid:
            raise _Skipped("the verdict was there at once")
        if answer.ok or answer.nok or answer.hold or answer.verdict_seq:
            raise _Broken("not valid, and still it says something")

    def ack_too_early(self) -> None:
        begun = self._open()
        answer = self.ask(m.Ack, run=begun.run, verdict_seq=1)
        if isinstance(answer, m.Refusal) and answer.fault is Fault.STALE_VERDICT:
            raise _Skipped("the verdict was there already")
        self._refused(answer, Fault.NO_VERDICT)

    def verdict_in_time(self) -> None:
        begun = self._open()
        until = self._begun_at + begun.deadline_ms / 1000 + 1.0
        verdict = self._ask_verdict(begun)
        while not verdict.result_valid and time.monotonic() < until:
            time.sleep(0.05)
            del self._sent[1:], self._got[1:]
            verdict = self._ask_verdict(begun)
        if not verdict.result_valid:
            raise _Broken(f"no verdict within the deadline of {begun.deadline_ms} ms")
        self._verdict = verdict

    def _ask_verdict(self, begun: m.Begun) -> m.PartVerdict:
        answer = self.ask(m.GetVerdict, part=self._part, run=begun.run)
        if not isinstance(answer, m.PartVerdict):
            raise _Broken("GetVerdict is not answered by PartVerdict")
        echo = (answer.run, answer.part, answer.plan, answer.plan_hash)
        if echo != (begun.run, begun.part, begun.plan, begun.plan_hash):
            raise _Broken("the answer does not echo run, part, plan and plan_hash")
        settled = answer.points_ok + answer.points_nok + answer.points_review
        settled += answer.points_not_inspected + answer.points_open
        if settled != answer.planned or answer.planned != begun.planned:
            raise _Broken("planned = ok + nok + review + not_inspected + open does not hold")
        return answer

    def _closed(self) -> m.PartVerdict:
        self._open()
        if self._verdict is None:
            raise _Skipped("there is no verdict")
        return self._verdict

    def one_of_three(self) -> None:
        verdict = self._closed()
        self._got.append(_shown(wire.STATION_TO_PLC.encode(verdict)))
        if [verdict.ok, verdict.nok, verdict.hold].count(True) != 1:
            raise _Broken("not exactly one of ok, nok and hold")
        if verdict.ok != (verdict.points_ok == verdict.planned):
            raise _Broken("ok without every point being OK, or every point OK without ok")
        if verdict.points_nok and not verdict.nok:
            raise _Broken("a point is NOK and the part is not")
        if verdict.points_open or not verdict.verdict_seq:
            raise _Broken("valid with open points or without a number")

    def verdict_by_part(self) -> None:
        verdict = self._closed()
        answer = self.ask(m.GetVerdict, part=self._part, run=None)
        if msgspec.structs.replace(answer, seq=verdict.seq) != verdict:
            raise _Broken("asked by part alone, the verdict is another one")

    def ack_of_another(self) -> None:
        verdict = self._closed()
        answer = self.ask(m.Ack, run=verdict.run, verdict_seq=verdict.verdict_seq - 1)
        self._refused(answer, Fault.STALE_VERDICT)

    def ack(self) -> None:
        verdict = self._closed()
        for _ in range(2):
            answer = self.ask(m.Ack, run=verdict.run, verdict_seq=verdict.verdict_seq)
            if not isinstance(answer, m.Acknowledged):
                raise _Broken("the latest verdict is not acknowledged")
            if (answer.run, answer.verdict_seq) != (verdict.run, verdict.verdict_seq):
                raise _Broken("Acknowledged does not echo run and verdict_seq")

    def closed_stays_closed(self) -> None:
        verdict = self._closed()
        self._refused(self.ask(m.TriggerView, run=verdict.run, view="v0"), Fault.RUN_CLOSED)
        if not isinstance(self.ask(m.End, run=verdict.run), m.Ended):
            raise _Broken("End of a closed run is not answered by Ended")

    def after_a_new_connection(self) -> None:
        begun = self._open()
        self._socket.close(linger=0)
        self._socket = self._connect()
        if self._begin is None or self.say(self._begin) != begun:
            raise _Broken("on a new connection the same Begin got another answer")

    @staticmethod
    def _refused(answer: Any, fault: Fault) -> None:
        if not isinstance(answer, m.Refusal):
            raise _Broken(f"{type(answer).__name__} instead of a Refusal with {fault.name}")
        if answer.fault is not fault:
            raise _Broken(f"refused with {answer.fault.name} instead of {fault.name}")
        if not answer.text:
            raise _Broken("refused without a text")


RULES: tuple[tuple[str, Callable[[Checker], None]], ...] = (
    ("heartbeat moves with every Status, which echoes counter", Checker.heartbeat_moves),
    ("ready, fault, text and service_level agree", Checker.status_is_consistent),
    ("Begin for a plan nobody has: UNKNOWN_PLAN", Checker.unknown_plan),
    ("the same message with the same number gets the same answer", Checker.same_answer),
    ("a number used before with another message: SEQ_REUSED", Checker.seq_reused),
    ("a number below the last one: SEQ_REUSED", Checker.seq_lower),
    ("Status.last_seq is the last number", Checker.last_seq),
    ("a number far above the last one: SEQ_TOO_HIGH", Checker.seq_too_high),
    ("bytes that are no JSON: MALFORMED", Checker.no_json),
    ("a type nobody knows: MALFORMED", Checker.unknown_type),
    ("a field that is missing: MALFORMED", Checker.missing_field),
    ("a name that is no identifier: MALFORMED", Checker.wrong_id),
    ("a message of two frames: MALFORMED", Checker.several_frames),
    ("another protocol version: PROTOCOL", Checker.wrong_protocol),
    ("a message over 16 KiB: TOO_LARGE", Checker.too_large),
    ("a field nobody knows is ignored", Checker.unknown_field),
    ("a run nobody knows: UNKNOWN_RUN, and NO_VERDICT for Ack", Checker.unknown_run),
    ("Begin opens a run and is echoed", Checker.begin),
    ("the same Begin opens no second run", Checker.begin_repeated),
    ("Begin for the part whose run is open: RUN_OPEN", Checker.begin_of_an_open_part),
    ("before the verdict nothing is valid, and every point is counted", Checker.not_valid_yet),
    ("Ack before the verdict: NO_VERDICT", Checker.ack_too_early),
    ("the verdict is there at the deadline, of this part, run and plan", Checker.verdict_in_time),
    ("exactly one of ok, nok and hold, and it follows from the points", Checker.one_of_three),
    ("asked by part alone, the same verdict", Checker.verdict_by_part),
    ("Ack of another verdict: STALE_VERDICT", Checker.ack_of_another),
    ("Ack of the verdict, twice: Acknowledged", Checker.ack),
    ("a closed run stays closed", Checker.closed_stays_closed),
    (
        "after a new connection the same message gets the same answer",
        Checker.after_a_new_connection,
    ),
)
"""In the order in which they are tried: a run goes through all its states once."""


def _nobody() -> str:
    """A name that nothing has."""
    return f"check-{secrets.token_hex(6)}"


def _shown(frame: bytes) -> str:
    text = frame.decode("utf-8", "replace")
    return text if len(text) <= SHOWN else f"{text[:60]}... ({len(frame)} bytes)"
