"""A real `Station` over a real store, with a played edge behind it, in one process.

For whoever stands on the PLC's side: `inspection plc station`, the recorded traces and tests. What
the PLC reads is what a station in a plant would say; only pictures and model are make-believe.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inspection import messages as m
from inspection import wire
from inspection.clock import Clock
from inspection.evidence import EvidenceStore
from inspection.messages import Reason, Severity, Verdict
from inspection.package import Manifest, ModelClass, ModelInput, VerifiedOn
from inspection.plan import Kind, Plan, Point, Trigger, View
from inspection.policy import Policy
from inspection.station.acceptance import Released
from inspection.station.station import Station
from inspection.store import Store

EDGE, CAMERA, MODEL = "edge-1", "camera-1", "played"
PING_NS = 500_000_000
MS = 1_000_000

Frames = list[tuple[bytes, bytes]]
"""(peer, frame) of the PLC's socket."""

REF = m.ModelRef(package="a" * 64, policy="b" * 64)
RELEASED = Released(
    manifest=Manifest(
        format=1,
        name=MODEL,
        version="1",
        task="classifier",
        runtime="none",
        classes=(
            ModelClass(name="ok", severity=None),
            ModelClass(name="defect", severity=Severity.MAJOR),
        ),
        input=ModelInput(width=32, height=32, channels=1, margin=0.0),
        input_name="images",
        output_name="scores",
        imaging_version="1",
        data_hash="0" * 64,
        recipe_hash="0" * 64,
        code_version="none",
        created="2025-01-01",
        metrics={},
        licences={},
        verified_on=(VerifiedOn(provider="none", architecture="none", tolerance=0.001),),
        files={},
    ),
    policy=Policy(
        version=1,
        package=REF.package,
        ok_class="ok",
        ok_min=0.9,
        nok_min={"defect": 0.5},
        author="",
        created="",
        why="",
    ),
    ref=REF,
)
SCORES = {
    Verdict.OK: ((1.0, 0.0), Reason.NONE, ""),
    Verdict.NOK: ((0.0, 1.0), Reason.DEFECT, "defect"),
    Verdict.REVIEW: ((0.6, 0.4), Reason.UNCERTAIN, "defect"),
}


def played_plan(
    name: str, *, views: int = 1, trigger: Trigger = Trigger.STATION, deadline_ms: int = 5000
) -> Plan:
    """A plan of two points a view."""
    return Plan(
        name=name,
        version="1",
        deadline_ms=deadline_ms,
        views=tuple(
            View(id=f"v{view}", camera=CAMERA, width_px=64, height_px=32, trigger=trigger)
            for view in range(views)
        ),
        kinds={"weld": Kind(model=MODEL)},
        points=tuple(
            Point(
                id=f"v{view}-p{number}",
                view=f"v{view}",
                kind="weld",
                region=m.Region(left_px=32 * number, top_px=0, width_px=32, height_px=32),
                severity=Severity.MAJOR,
            )
            for view in range(views)
            for number in range(2)
        ),
    )


@dataclass(frozen=True, slots=True)
class Take:
    """What the played edge makes of an order: the verdict of its first point, the others being OK,
    and when the picture is reported taken and judged. None stands for a point that could not be
    looked at."""

    verdict: Verdict | None = Verdict.OK
    frame_ms: int = 20
    result_ms: int = 60


class PlayedEdge:
    """An edge that is always there, answers every order as it is told, and loses nothing."""

    def __init__(self, take: Callable[[m.Order], Take]) -> None:
        self._take = take
        self._outbox = secrets.token_hex(16)
        self._seq = 0
        self._nonce = ""
        self._pinged_ns = 0
        self._pings = 0
        self._due: list[tuple[int, m.FrameTaken | m.ViewResult]] = []

    def hello(self, now_ns: int) -> bytes:
        """A new session, as after a restart of the station."""
        self._nonce = secrets.token_hex(16)
        self._pinged_ns = now_ns
        return wire.EDGE_TO_STATION.encode(
            m.Hello(
                edge=EDGE,
                outbox=self._outbox,
                nonce=self._nonce,
                first_seq=self._seq + 1,
                next_seq=self._seq + 1,
                cameras=(CAMERA,),
                models=(m.ModelState(name=MODEL, ref=REF),),
                working=self._working(),
            )
        )

    def _working(self) -> tuple[m.OrderRef, ...]:
        return tuple(
            m.OrderRef(run=said.run, view=said.view, attempt=said.attempt)
            for _, said in self._due
            if isinstance(said, m.ViewResult)
        )

    def hear(self, frame: bytes, now_ns: int) -> None:
        """A frame of the station; only orders matter to an edge that loses nothing."""
        order = wire.STATION_TO_EDGE.decode(frame)
        if not isinstance(order, m.Order):
            return
        take = self._take(order)
        taken = m.FrameTaken(
            run=order.run, view=order.view, attempt=order.attempt, frame=f"{order.view} 1"
        )
        self._due.append((now_ns + take.frame_ms * MS, taken))
        self._due.append((now_ns + take.result_ms * MS, _answer(order, take)))

    def due(self, now_ns: int) -> list[bytes]:
        """What the edge says by now."""
        frames = []
        if now_ns - self._pinged_ns >= PING_NS:
            self._pinged_ns = now_ns
            self._pings += 1
            ping = m.Ping(
                edge=EDGE,
                nonce=self._nonce,
                counter=self._pings,
                outbox_records=0,
                working=self._working(),
            )
            frames.append(wire.EDGE_TO_STATION.encode(ping))
        ready = [said for at, said in self._due if at <= now_ns]
        self._due = [entry for entry in self._due if entry[0] > now_ns]
        for said in ready:
            if isinstance(said, m.FrameTaken):
                frames.append(wire.EDGE_TO_STATION.encode(said))
                continue
            self._seq += 1
            results = m.Results(
                outbox=self._outbox,
                nonce=self._nonce,
                first_seq=self._seq,
                records=(wire.RECORD.encode(said),),
            )
            frames.append(wire.EDGE_TO_STATION.encode(results))
        return frames


def _answer(order: m.Order, take: Take) -> m.ViewResult:
    points: list[m.Inspected | m.Missed] = []
    for task in order.points:
        verdict = take.verdict if not points else Verdict.OK
        if verdict is None:
            points.append(m.Missed(point=task.point, reason=Reason.NO_IMAGE, detail="played"))
            continue
        scores, reason, finding = SCORES[verdict]
        points.append(
            m.Inspected(
                point=task.point,
                verdict=verdict,
                reason=reason,
                finding=finding,
                scores=scores,
                model=REF,
            )
        )
    return m.ViewResult(
        run=order.run,
        part=order.part,
        plan=order.plan,
        view=order.view,
        attempt=order.attempt,
        edge=EDGE,
        camera=order.camera,
        frame=f"{order.view} 1",
        captured_ns=0,
        points=tuple(points),
    )


class SimulatedStation:
    """The PLC's socket of a station without the socket: frames in, frames out."""

    def __init__(
        self, folder: Path, plan: Plan, clock: Clock, take: Callable[[m.Order], Take]
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._clock = clock
        self._edge = PlayedEdge(take)
        self._start()

    def _start(self) -> None:
        self.store = Store(self._folder / "station.db", "simulated", self._clock)
        self.station = Station(
            station_id="simulated",
            plans={self._plan.name: self._plan},
            released={MODEL: RELEASED},
            store=self.store,
            evidence=EvidenceStore(self._folder / "evidence"),
            clock=self._clock,
        )
        hello = self._edge.hello(self._clock.monotonic_ns())
        self._deliver(self.station.work([("edge", b"edge", hello)]))

    def restart(self) -> None:
        """As after SIGKILL of a station: what is not on record is gone."""
        self.store.close()
        self._start()

    def close(self) -> None:
        self.store.close()

    def work(self, frames: Frames) -> Frames:
        """Frames of PLCs, and the time that has passed; what the station says to PLCs."""
        sent = self.station.work([("plc", peer, frame) for peer, frame in frames])
        return self._deliver(sent)

    def _deliver(self, sent: list[tuple[str, bytes, bytes]]) -> Frames:
        """What is for the PLCs, after the edge has heard and said all there is to say now."""
        now = self._clock.monotonic_ns()
        to_plc: Frames = []
        while True:
            for socket, peer, frame in sent:
                if socket == "plc":
                    to_plc.append((peer, frame))
                else:
                    self._edge.hear(frame, now)
            said = self._edge.due(now)
            if not said:
                return to_plc
            sent = self.station.work([("edge", b"edge", frame) for frame in said])
