"""A station that plays scenarios for somebody's PLC program, and a referee who watches the wire.

Every part that the program begins is led through the next scenario. Behind the socket works a real
`Station`; where a scenario needs a station that misbehaves, its answers are changed on their way
out. What the program does with a part cannot be seen on the wire: it is compared with a list of its
own, where it writes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from inspection import messages as m
from inspection import wire
from inspection.clock import Clock
from inspection.errors import WireError
from inspection.messages import Verdict
from inspection.plan import Trigger
from inspection.testing.simulated_station import Frames, SimulatedStation, Take, played_plan

MS = 1_000_000
DEADLINE_MS = 4000
QUIET_NS = 2000 * MS
"""A program that has asked nothing about a part for so long has done with it."""
HEARTBEAT_NS = 1000 * MS
DOWN_NS = 1200 * MS
STALE_ANSWERS = 3


class Scenario(NamedTuple):
    """What a part meets, and which actions of the program are right."""

    shows: str
    take: Take
    actions: tuple[str, ...]
    must_ack: bool = True


SCENARIOS: Mapping[str, Scenario] = {
    "ok": Scenario("every point is OK", Take(), ("RELEASE",)),
    "nok": Scenario("a point is NOK", Take(Verdict.NOK), ("DIVERT", "HOLD")),
    "hold": Scenario("a point needs a person", Take(Verdict.REVIEW), ("HOLD",)),
    "late": Scenario(
        "the judgement comes after the deadline: the station says HOLD at the deadline",
        Take(result_ms=DEADLINE_MS + 1000),
        ("HOLD",),
    ),
    "silent": Scenario(
        "GetVerdict is never answered: the program's own timer must end it",
        Take(),
        ("HOLD",),
        must_ack=False,
    ),
    "stale": Scenario(
        "the OK of the part before is offered again, before the NOK of this one",
        Take(Verdict.NOK),
        ("DIVERT", "HOLD"),
        must_ack=False,
    ),
    "contradiction": Scenario("ok and nok are both true", Take(), ("HOLD",), must_ack=False),
    "heartbeat": Scenario(
        "an OK is offered, but the station's heartbeat has stood still for more than a second",
        Take(result_ms=1800),
        ("HOLD",),
        must_ack=False,
    ),
    "restart": Scenario(
        "the station is restarted in the middle of the run: the same messages go on",
        Take(),
        ("RELEASE", "HOLD"),
    ),
}


class Judged(Struct, frozen=True, kw_only=True):
    """One rule for one part; ``passed`` is None where it could not be judged."""

    scenario: str
    part: str
    rule: str
    passed: bool | None
    why: str = ""


@dataclass(slots=True)
class _Played:
    """One part in its scenario, and what was seen of it."""

    name: str
    part: str
    plc: str
    began_ns: int
    run: str = ""
    last_asked_ns: int = 0
    begins: set[int] = field(default_factory=set)
    asked: int = 0
    asked_after_deadline: bool = False
    acked: int = 0
    """The number of the verdict that was acknowledged."""
    offered: int = 0
    """The number of the verdict that was truly offered."""
    wrong_acks: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    beat_age_ns: int = 0
    """How old the program's last heartbeat was at most when it asked something."""
    stale_given: int = 0
    down_until_ns: int = 0
    restarted: bool = False
    done: bool = False

    @property
    def scenario(self) -> Scenario:
        return SCENARIOS[self.name]


class ScenarioStation:
    """Frames in, frames out, as `SimulatedStation`; plus the referee."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        scenarios: Sequence[str],
        *,
        plan: str = "door",
        trigger: Trigger = Trigger.STATION,
    ) -> None:
        self._clock = clock
        self._waiting = list(scenarios)
        views = 2 if trigger is Trigger.PLC else 1
        self._station = SimulatedStation(
            folder,
            played_plan(plan, views=views, trigger=trigger, deadline_ms=DEADLINE_MS),
            clock,
            lambda order: self._of(order.part).scenario.take,
        )
        self._played: list[_Played] = []
        self._last_ok: m.PartVerdict | None = None
        self._frozen: int | None = None
        self._beat_ns = clock.monotonic_ns() - 2 * HEARTBEAT_NS

    def close(self) -> None:
        self._station.close()

    @property
    def finished(self) -> bool:
        """Whether every scenario has been played to its end."""
        return not self._waiting and all(played.done for played in self._played)

    def _of(self, part: str) -> _Played:
        return next(played for played in reversed(self._played) if played.part == part)

    @property
    def _now(self) -> _Played | None:
        """The part being played."""
        return self._played[-1] if self._played and not self._played[-1].done else None

    # ------------------------------------------------------------------------------- frames

    def work(self, frames: Frames) -> Frames:
        now = self._clock.monotonic_ns()
        self._watch_time(now)
        kept = [(peer, frame) for peer, frame in frames if self._hear(frame, now)]
        return [
            (peer, said) for peer, frame in self._station.work(kept) for said in self._say(frame)
        ]

    def _watch_time(self, now: int) -> None:
        played = self._now
        if played is None:
            return
        if played.down_until_ns and now >= played.down_until_ns and not played.restarted:
            played.restarted = True
            self._station.restart()
        if played.asked and now - played.last_asked_ns >= QUIET_NS:
            self._end(played)

    def _end(self, played: _Played) -> None:
        played.done = True
        self._frozen = None

    def _hear(self, frame: bytes, now: int) -> bool:
        """Note a frame of the program; whether the station gets it."""
        try:
            message = wire.PLC_TO_STATION.decode(frame)
        except WireError as error:
            if self._now is not None:
                self._now.refusals.append(str(error))
            return True
        if isinstance(message, m.Begin):
            self._begin(message, now)
        if isinstance(message, m.Heartbeat):
            self._beat_ns = now
        played = self._now
        if played is None:
            return True
        if not isinstance(message, m.Heartbeat):
            played.last_asked_ns = now
            played.beat_age_ns = max(played.beat_age_ns, now - self._beat_ns)
        if isinstance(message, m.GetVerdict):
            played.asked += 1
            if now - played.began_ns >= DEADLINE_MS * MS:
                played.asked_after_deadline = True
            if played.name == "restart" and not played.down_until_ns:
                played.down_until_ns = now + DOWN_NS
        if isinstance(message, m.Ack) and (
            message.run != played.run or message.verdict_seq != played.offered
        ):
            played.wrong_acks.append(f"verdict {message.verdict_seq} of run {message.run}")
        if played.down_until_ns and not played.restarted:
            return False
        return not (played.name == "silent" and isinstance(message, m.GetVerdict))

    def _begin(self, begin: m.Begin, now: int) -> None:
        played = self._now
        if played is not None and played.part == begin.part:
            played.begins.add(begin.seq)
            return
        if any(begin.seq in old.begins and old.part == begin.part for old in self._played):
            return  # repeated after it was done with: the same answer, and no new scenario
        if played is not None:
            self._end(played)
        name = self._waiting.pop(0) if self._waiting else "ok"
        new = _Played(name, begin.part, begin.plc, now, last_asked_ns=now)
        new.begins.add(begin.seq)
        self._played.append(new)

    def _say(self, frame: bytes) -> Iterable[bytes]:
        """What becomes of a frame of the station on its way out."""
        said: Any = wire.STATION_TO_PLC.decode(frame)
        played = self._now
        if isinstance(said, m.PartVerdict) and said.ok and (played is None or played.name == "ok"):
            self._last_ok = said
        if played is None:
            return [frame]
        match said:
            case m.Begun():
                played.run = said.run
            case m.Refusal():
                played.refusals.append(f"{said.fault.name}: {said.text}")
            case m.Acknowledged():
                played.acked = said.verdict_seq
            case m.Status() if played.name == "heartbeat":
                if self._frozen is None:
                    self._frozen = said.heartbeat
                said = msgspec.structs.replace(said, heartbeat=self._frozen)
            case m.PartVerdict():
                said = self._verdict(played, said)
            case m.VerdictReady() if played.name == "silent":
                return []
        return [wire.STATION_TO_PLC.encode(said)]

    def _verdict(self, played: _Played, said: m.PartVerdict) -> m.PartVerdict:
        if played.name == "stale" and played.stale_given < STALE_ANSWERS:
            played.stale_given += 1
            before = self._last_ok or msgspec.structs.replace(
                said, run="before", part="before", verdict_seq=1, planned=2, points_ok=2,
                points_nok=0, points_open=0, result_valid=True, ok=True, nok=False,
            )  # fmt: skip
            return msgspec.structs.replace(before, seq=said.seq)
        if said.result_valid and said.run == played.run:
            played.offered = said.verdict_seq
            if played.name == "contradiction":
                return msgspec.structs.replace(said, ok=True, nok=True)
        return said

    # ------------------------------------------------------------------------------ referee

    def judge(self, actions: Mapping[str, str] | None = None) -> list[Judged]:
        """What every rule says of every part so far. ``actions`` is what the program did with each
        part, by part, where it tells."""
        return [
            Judged(scenario=p.name, part=p.part, rule=rule, passed=ok, why="" if ok else why)
            for p in self._played
            for rule, ok, why in _rules(p, actions)
        ]

    def not_played(self) -> list[str]:
        return list(self._waiting)


def _rules(p: _Played, actions: Mapping[str, str] | None) -> Iterable[tuple[str, bool | None, str]]:
    yield (
        "heartbeats come at least once a second",
        p.beat_age_ns <= HEARTBEAT_NS,
        f"none for {p.beat_age_ns / 1e9:.1f} s",
    )
    yield (
        "one Begin for the part, repeated under its own number",
        len(p.begins) == 1,
        f"it was begun under the numbers {sorted(p.begins)}",
    )
    yield (
        "no message is refused: forms, numbers and order are right",
        not p.refusals,
        "; ".join(p.refusals[:3]),
    )
    yield "the verdict is asked for", p.asked > 0, "GetVerdict never came"
    if p.scenario.must_ack:
        yield (
            "the verdict is taken: Ack with its number",
            p.acked != 0 and p.acked == p.offered,
            f"acknowledged was {p.acked or 'nothing'}, offered {p.offered or 'nothing'}",
        )
    yield (
        "no other verdict is taken",
        not p.wrong_acks,
        f"Ack of {'; '.join(p.wrong_acks[:3])}, offered was {p.offered or 'nothing'}",
    )
    if p.name == "late":
        yield (
            "the own timer is longer than the deadline",
            p.asked_after_deadline,
            f"nobody asked any more after {DEADLINE_MS} ms",
        )
    right = " or ".join(p.scenario.actions)
    if actions is None:
        yield f"the part gets {right}", None, "compare with your program, or use --actions"
        return
    did = actions.get(p.part, "nothing")
    yield f"the part gets {right}", did in p.scenario.actions, f"it got {did}"
