"""The edge worker: orders in, pictures judged, results into the outbox, the outbox to the station.

One thread. What it does for an order is durable (outbox, evidence) before anything of it is sent;
a worker that is killed at any moment has either recorded a view or not begun it, as far as the
station can ever see.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from itertools import islice

import msgspec
import zmq
from msgspec import UNSET, UnsetType

from edge.cameras import Camera, Shot, open_camera
from edge.config import CameraFile, EdgeConfig
from edge.evidence_spool import EvidenceSpool
from edge.judge import PNG, Judge, Models, missed
from edge.link import Link
from edge.outbox import Outbox
from inspection import wire
from inspection.clock import Clock
from inspection.curve import Handshakes, connect_with
from inspection.errors import (
    CameraError,
    ConfigurationError,
    ImageError,
    OutboxError,
    TooLarge,
    WireError,
)
from inspection.log import get_logger
from inspection.messages import (
    Evidence,
    EvidenceStored,
    FrameTaken,
    Inspected,
    Missed,
    Order,
    OrderRef,
    Reason,
    Stance,
    ViewResult,
)

REMEMBERED_ORDERS = 10_000
LOOK_AGAIN_NS = 2_000_000_000
"""How often a camera that is missing is looked for."""
EVIDENCE_WINDOW = 8
EVIDENCE_RETRY_NS = 5_000_000_000


class Eye:
    """A camera that may be away: opened again when it is needed, and never fatal."""

    def __init__(self, name: str, file: CameraFile) -> None:
        self.name = name
        self._file = file
        self._camera: Camera | None = None
        self._away = False
        self._fault = ""
        self.try_to_open()

    @property
    def is_open(self) -> bool:
        return self._camera is not None and not self._away

    def try_to_open(self) -> bool:
        """Whether the camera is there now. Raises `ConfigurationError` where it never can be."""
        if self._camera is not None:
            self._away = not self._present(self._camera)
            return not self._away
        try:
            self._camera = open_camera(self._file.driver, self._file.settings)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001  whatever an SDK raises
            if str(error) != self._fault:
                self._fault = str(error)
                get_logger().error("camera missing", camera=self.name, fault=self._fault)
            return False
        get_logger().info("camera ready", camera=self.name)
        return True

    def _present(self, camera: Camera) -> bool:
        """What a driver knows that can tell; a driver that cannot says so with its next picture."""
        look = getattr(camera, "present", None)
        try:
            there = True if look is None else bool(look())
        except Exception as error:  # noqa: BLE001  whatever an SDK raises
            get_logger().error("camera driver failed", camera=self.name, fault=repr(error))
            there = False
        if there is self._away:
            get_logger().info("camera found again" if there else "camera lost", camera=self.name)
        return there

    def shoot(self, part: str, view: str) -> Shot:
        """See `edge.cameras.Camera.shoot`. A driver's own exceptions come out as `CameraError`,
        and so do values that are none: an SDK must not be able to stop the worker."""
        if self._camera is None:
            self.try_to_open()
        if self._camera is None:
            raise CameraError(f"camera {self.name} is not there: {self._fault}")
        try:
            shot = self._camera.shoot(part, view)
            captured_ns = int(shot.captured_ns)
            if not 0 <= captured_ns < 2**63:
                raise ValueError(f"captured_ns {captured_ns} is no time")
            return shot._replace(frame=str(shot.frame)[:500], captured_ns=captured_ns)
        except (CameraError, ImageError):
            raise
        except Exception as error:
            get_logger().exception("camera driver failed", camera=self.name)
            raise CameraError(f"camera {self.name}: driver failed: {error!r}") from error

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()


class Worker:
    """An edge worker. Raises `ConfigurationError` for cameras that cannot be as configured and
    `OutboxError` where results can no longer be kept: then it must not go on judging."""

    def __init__(self, config: EdgeConfig, clock: Clock) -> None:
        self._log = get_logger()
        self._clock = clock
        self._edge = config.file.edge
        self._endpoints = config.file.station
        self._keys = config.keys
        self._handshakes = Handshakes()
        self._eyes = {name: Eye(name, camera) for name, camera in config.cameras.items()}
        self._models = Models(config.models, threads=config.file.threads, trusted=config.trusted)
        self._outbox = Outbox(config.directory / "outbox")
        if self._outbox.gaps:
            self._log.error("outbox was damaged", records_lost=list(self._outbox.gaps)[:20])
        self._spool = EvidenceSpool(config.directory / "evidence")
        self._judge = Judge(
            self._models, self._spool, batch=config.file.batch, between=self._converse
        )
        self._link = Link(
            self._edge, self._cameras, self._models.states, self._outbox, self._in_hand
        )
        self._queue: deque[tuple[Order, int]] = deque()
        self._current: OrderRef | None = None
        self._seen: OrderedDict[OrderRef, None] = OrderedDict()
        self._evidence_sent: dict[str, int] = {}
        self._evidence_stuck_ns: int | None = None
        """Since when the socket for pictures takes none; None where it does."""
        self._stopped = False
        self._look_again_ns = 0
        self._pictures_lost = (0, 0)
        self._context = zmq.Context()
        self._socket = self._connect(self._endpoints.edge, wire.STATION_TO_EDGE.max_bytes)
        self._evidence = self._connect(self._endpoints.evidence, wire.STATION_TO_EVIDENCE.max_bytes)

    def stop(self) -> None:
        """Leave the loop after the view in hand; safe in a signal handler."""
        self._stopped = True

    def run(self) -> None:
        """Work until `stop`."""
        while not self._stopped:
            self._converse()
            self._look_for_cameras()
            if self._queue:
                order, expires_ns = self._queue.popleft()
                self._carry_out(order, expires_ns)
                continue
            wait_ms = self._link.wait_ns(self._clock.monotonic_ns()) // 1_000_000
            poller = zmq.Poller()
            poller.register(self._socket, zmq.POLLIN)
            poller.register(self._evidence, zmq.POLLIN)
            poller.poll(min(int(wait_ms) + 1, 100))

    def close(self) -> None:
        """Give everything back; what was not sent stays on disk."""
        for eye in self._eyes.values():
            eye.close()
        self._disconnect(self._socket)
        self._disconnect(self._evidence)
        self._context.term()
        self._outbox.close()

    # -------------------------------------------------------------------------------- orders

    def _cameras(self) -> tuple[str, ...]:
        """The cameras that are there: an edge without its camera must not look ready."""
        return tuple(name for name, eye in self._eyes.items() if eye.is_open)

    def _look_for_cameras(self) -> None:
        now = self._clock.monotonic_ns()
        if now < self._look_again_ns:
            return
        self._look_again_ns = now + LOOK_AGAIN_NS
        before = self._cameras()
        for eye in self._eyes.values():
            eye.try_to_open()
        if self._cameras() != before:
            self._link.begin_anew(now)

    def _in_hand(self) -> tuple[OrderRef, ...]:
        waiting = (_ref(order) for order, _ in self._queue)
        return tuple(waiting) if self._current is None else (self._current, *waiting)

    def _carry_out(self, order: Order, expires_ns: int) -> None:
        self._current = _ref(order)
        begun = time.perf_counter()
        frame, captured_ns = "", self._clock.wall_ns()
        points: tuple[Inspected | Missed, ...]
        stance: Stance | UnsetType = UNSET
        try:
            if self._clock.monotonic_ns() >= expires_ns:
                points = tuple(
                    missed(order.points, Reason.LATE, "its deadline passed in the queue")
                )
            else:
                shot = self._shoot(order)
                frame, captured_ns = shot.frame, shot.captured_ns
                self._tell(
                    FrameTaken(run=order.run, view=order.view, attempt=order.attempt, frame=frame)
                )
                points = self._judge.points(order, shot.image)
                stance = self._judge.stance
        except CameraError as error:
            points = tuple(missed(order.points, Reason.NO_IMAGE, str(error)))
        except ImageError as error:
            points = tuple(missed(order.points, error.reason, str(error)))
        except OutboxError:
            raise
        except Exception as error:  # noqa: BLE001
            # A fault of ours must not stop the line: the points say what happened to them.
            self._log.exception("judging failed", run=order.run, view=order.view)
            points = tuple(missed(order.points, Reason.EDGE_FAILED, f"judging failed: {error!r}"))
        self._outbox.append([self._record(order, frame, captured_ns, points, stance)])
        self._current = None
        self._log.info(
            "view judged",
            run=order.run,
            part=order.part,
            view=order.view,
            attempt=order.attempt,
            points=len(points),
            missed=sum(isinstance(point, Missed) for point in points),
            ms=round((time.perf_counter() - begun) * 1000, 1),
        )
        self._converse()

    def _record(
        self,
        order: Order,
        frame: str,
        captured_ns: int,
        points: tuple[Inspected | Missed, ...],
        stance: Stance | UnsetType = UNSET,
    ) -> bytes:
        result = ViewResult(
            run=order.run,
            view=order.view,
            attempt=order.attempt,
            part=order.part,
            plan=order.plan,
            edge=self._edge,
            camera=order.camera,
            frame=frame,
            captured_ns=captured_ns,
            points=points,
            stance=stance,
        )
        try:
            return wire.RECORD.encode(result)
        except TooLarge as error:
            self._log.error("answer too large", run=order.run, view=order.view, text=str(error))
            short = tuple(missed(order.points, Reason.EDGE_FAILED, "answer too large"))
            return wire.RECORD.encode(msgspec.structs.replace(result, points=short))

    def _shoot(self, order: Order) -> Shot:
        eye = self._eyes.get(order.camera)
        if eye is None:
            raise CameraError(f"this edge has no camera {order.camera}")
        shot = eye.shoot(order.part, order.view)
        wanted = None if order.tone_map is UNSET else order.tone_map.value
        if shot.tone_map != wanted:
            raise ImageError(
                Reason.IMAGE_UNREADABLE,
                f"camera {order.camera} gives pictures by tone map {shot.tone_map or 'none'}, the"
                f" plan wants {wanted or 'none'}: set tone_map alike in the plan's view and in the"
                " camera's settings",
            )
        return shot

    # -------------------------------------------------------------------------- conversation

    def _connect(self, endpoint: str, limit: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.maxmsgsize = limit + 1024
        socket.immediate = True  # no queue for a station that is not there: the disk is the queue
        socket.sndhwm = 64
        socket.heartbeat_ivl = 500
        socket.heartbeat_timeout = 2000
        socket.reconnect_ivl = 100
        socket.reconnect_ivl_max = 1000
        connect_with(socket, self._keys)
        self._handshakes.watch(socket, endpoint)
        socket.connect(endpoint)
        return socket

    def _disconnect(self, socket: zmq.Socket[bytes]) -> None:
        self._handshakes.forget(socket)
        socket.close(linger=0)

    def _tell(self, message: FrameTaken) -> None:
        if self._link.open:
            self._try(wire.EDGE_TO_STATION.encode(message))

    def _try(self, frame: bytes) -> bool:
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False  # nobody there: the link will notice the silence and begin anew
        return True

    def _converse(self) -> None:
        """Hear everything that has come in and send everything that is due; never blocks."""
        now = self._clock.monotonic_ns()
        self._handshakes.report()
        for frame in _received(self._socket):
            order = self._link.received(frame, now)
            if order is not None and _ref(order) not in self._seen:
                self._seen[_ref(order)] = None
                if len(self._seen) > REMEMBERED_ORDERS:
                    self._seen.popitem(last=False)
                self._queue.append((order, now + order.remaining_ms * 1_000_000))
        frames = self._link.to_send(now)
        if self._link.must_reconnect:
            self._link.must_reconnect = False
            self._disconnect(self._socket)
            self._socket = self._connect(self._endpoints.edge, wire.STATION_TO_EDGE.max_bytes)
        for frame in frames:
            if not self._try(frame):
                break
        self._send_evidence(now)

    def _send_evidence(self, now: int) -> None:
        """A few pictures, behind the results."""
        for frame in _received(self._evidence):
            try:
                answer = wire.STATION_TO_EVIDENCE.decode(frame)
            except WireError as error:
                self._log.warning("frame not understood", text=str(error))
                continue
            if isinstance(answer, EvidenceStored):
                self._evidence_sent.pop(answer.sha256, None)
                self._spool.forget(answer.sha256)
            else:
                self._log.warning("evidence refused", fault=answer.fault.name, text=answer.text)
        if not self._link.open:
            self._evidence_sent.clear()
            return
        waiting_since = [*self._evidence_sent.values()]
        if self._evidence_stuck_ns is not None:
            # Refused while its key was not yet allowed, a socket never tries again by itself.
            waiting_since.append(self._evidence_stuck_ns)
        if any(now - since_ns > EVIDENCE_RETRY_NS for since_ns in waiting_since):
            self._evidence_sent.clear()
            self._evidence_stuck_ns = None
            self._disconnect(self._evidence)
            self._evidence = self._connect(
                self._endpoints.evidence, wire.STATION_TO_EVIDENCE.max_bytes
            )
        waiting = (kept for kept in self._spool.pending() if kept.sha256 not in self._evidence_sent)
        if (lost := (self._spool.dropped, self._spool.damaged)) != self._pictures_lost:
            self._pictures_lost = lost
            self._log.warning("pictures lost", dropped=lost[0], damaged=lost[1])
        for kept in islice(waiting, EVIDENCE_WINDOW - len(self._evidence_sent)):
            data = self._spool.get(kept.sha256)
            if data is None:
                continue
            evidence = Evidence(edge=self._edge, sha256=kept.sha256, media_type=PNG, data=data)
            try:
                self._evidence.send(wire.EVIDENCE_TO_STATION.encode(evidence), zmq.NOBLOCK)
            except zmq.Again:
                if self._evidence_stuck_ns is None:
                    self._evidence_stuck_ns = now
                return
            self._evidence_stuck_ns = None
            self._evidence_sent[kept.sha256] = now


def _ref(order: Order) -> OrderRef:
    return OrderRef(run=order.run, view=order.view, attempt=order.attempt)


def _received(socket: zmq.Socket[bytes]) -> list[bytes]:
    frames: list[bytes] = []
    while len(frames) < 256:
        try:
            frames.append(b"".join(socket.recv_multipart(zmq.NOBLOCK)))
        except zmq.Again:
            break
    return frames
