"""The edge worker: orders in, pictures judged, results into the outbox, the outbox to the station.

One thread, and two beside it: results become durable on one (`edge.outbox_thread`), pictures on the
other (`edge.darkroom`). What it says of an order is durable in the outbox before anything of it is
sent; a worker that is killed at any moment has either recorded a view or not begun it, as far as
the station can ever see. Pictures come behind, and may be lost.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from itertools import islice
from typing import cast

import msgspec
import zmq
from msgspec import UNSET, UnsetType

from edge.cameras import Camera, Shot, open_camera
from edge.config import CameraFile, EdgeConfig
from edge.darkroom import Darkroom
from edge.evidence_spool import EvidenceSpool
from edge.frozen import Memory
from edge.judge import Judge, Look, missed
from edge.link import Link
from edge.models import Models
from edge.outbox import Outbox
from edge.outbox_thread import OutboxThread
from edge.shadow import Shadow
from inspection import wire
from inspection.clock import Clock
from inspection.curve import Handshakes, connect_with
from inspection.errors import (
    CameraError,
    ConfigurationError,
    ImageError,
    ModelHung,
    OutboxError,
    TooLarge,
    WireError,
)
from inspection.imaging import Frame
from inspection.log import get_logger
from inspection.messages import (
    Evidence,
    EvidenceStored,
    FrameTaken,
    Inspected,
    Missed,
    ModelRef,
    Order,
    OrderRef,
    Reason,
    SecondShot,
    Stance,
    ViewResult,
)
from inspection.timing import ENGINE, Laps, TimesFile, ViewTimes

REMEMBERED_ORDERS = 10_000
LOOK_AGAIN_NS = 2_000_000_000
"""How often a camera that is missing is looked for."""
_NUMBER = re.compile(r"[0-9]{1,18}(?![0-9])")
"""What a frame begins with (`edge.cameras.Shot.frame`)."""
EVIDENCE_WINDOW = 8
EVIDENCE_RETRY_NS = 5_000_000_000
JUDGING_NS = 250_000_000
"""Must be left for the model after a second shot, or none is taken."""


class Eye:
    """A camera that may be away: opened again when it is needed, and never fatal."""

    def __init__(self, name: str, file: CameraFile) -> None:
        self.name = name
        self._file = file
        self._camera: Camera | None = None
        self._away = False
        self._fault = ""
        self._number: int | None = None
        self._memory = Memory()
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
            frame = str(shot.frame)[:500]
            self._check_newer(frame)
            return shot._replace(frame=frame, captured_ns=captured_ns)
        except (CameraError, ImageError):
            raise
        except Exception as error:
            get_logger().exception("camera driver failed", camera=self.name)
            raise CameraError(f"camera {self.name}: driver failed: {error!r}") from error

    def _check_newer(self, frame: str) -> None:
        """A picture whose number does not grow was given out before: of another view, or moment."""
        match = _NUMBER.match(frame)
        before, self._number = self._number, None if match is None else int(match[0])
        if before is not None and self._number is not None and self._number <= before:
            raise CameraError(
                f"camera {self.name} gave picture {self._number} after picture {before}, so nobody"
                " can say which view it shows: its driver must number every picture anew"
            )

    @property
    def on_demand(self) -> bool:
        """Whether it can be asked for one more picture (`edge.cameras.Camera`)."""
        return bool(getattr(self._camera, "on_demand", True))

    def frozen(self, image: Frame) -> str:
        """Why its last picture is none of this moment, or nothing."""
        return self._memory.compare(image) if getattr(self._camera, "live", True) else ""

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
        self._models = Models(
            config.models,
            threads=config.file.threads,
            trusted=config.trusted,
            batch=config.file.batch,
            hang_s=config.file.hang_ms / 1000,
            preference=config.preference,
        )
        self._models.in_use = self._models_in_hand
        self._outbox = Outbox(config.directory / "outbox")
        if self._outbox.gaps:
            self._log.error("outbox was damaged", records_lost=list(self._outbox.gaps)[:20])
        self._outbox_thread = OutboxThread(self._outbox)
        self._syncing: dict[OrderRef, ViewTimes | None] = {}
        """Orders that are carried out and whose records are not yet known to be durable."""
        self._times = None if config.times is None else TimesFile(config.times)
        self._laps = Laps(on=self._times is not None)
        self._spool = EvidenceSpool(
            config.directory / "evidence",
            max_bytes=config.file.evidence.max_mib * wire.MIB,
            reserve_bytes=config.file.evidence.reserve_mib * wire.MIB,
        )
        self._darkroom = Darkroom(self._spool)
        self._shadow = None
        if config.shadow:
            self._shadow = Shadow(
                config.shadow,
                edge=self._edge,
                threads=config.file.threads,
                trusted=config.trusted,
                batch=config.file.batch,
                hang_s=config.file.hang_ms / 1000,
                preference=config.preference,
            )
        self._judge = Judge(
            self._models,
            self._darkroom,
            batch=config.file.batch,
            between=self._converse,
            drawing=config.drawing(),
            hang_s=config.file.hang_ms / 1000,
            shadow=self._shadow,
            laps=self._laps,
            bell=self._outbox_thread.fileno(),
        )
        self._link = Link(self._edge, self._cameras, self._models, self._outbox, self._in_hand)
        self._queue: deque[tuple[Order, int]] = deque()
        self._heard_ns: dict[OrderRef, int] = {}
        self._framed_ns = 0
        self._current: OrderRef | None = None
        self._current_models: Sequence[ModelRef] = ()
        self._seen: OrderedDict[OrderRef, None] = OrderedDict()
        self._evidence_sent: dict[str, int] = {}
        self._evidence_stuck_ns: int | None = None
        """Since when the socket for pictures takes none; None where it does."""
        self._stopped = False
        self._look_again_ns = 0
        self._pictures_lost = 0
        self._context = zmq.Context()
        self._socket = self._connect(self._endpoints.edge, wire.STATION_TO_EDGE.max_bytes)
        self._evidence = self._connect(self._endpoints.evidence, wire.STATION_TO_EVIDENCE.max_bytes)

    def stop(self) -> None:
        """Leave the loop after the view in hand; safe in a signal handler."""
        self._stopped = True

    def run(self) -> None:
        """Work until `stop`; all that was said is durable when this returns. Raises `ModelHung`
        where an engine did not let go of an inference: only a new process can judge again."""
        while not self._stopped:
            self._converse()
            self._look_for_cameras()
            if self._models.look(self._clock.monotonic_ns()):
                self._link.ping_now()
            if self._shadow is not None:
                self._shadow.collect(self._spool, self._clock.monotonic_ns())
            if self._queue:
                order, expires_ns = self._queue.popleft()
                self._carry_out(order, expires_ns)
                if self._judge.stuck:
                    raise ModelHung("an inference does not end", ended=False)
                continue
            wait_ms = self._link.wait_ns(self._clock.monotonic_ns()) // 1_000_000
            poller = zmq.Poller()
            poller.register(self._socket, zmq.POLLIN)
            poller.register(self._evidence, zmq.POLLIN)
            poller.register(self._outbox_thread, zmq.POLLIN)
            poller.poll(min(int(wait_ms) + 1, 100))
        self._outbox_thread.settle()

    def close(self) -> None:
        """Give everything back; what was not sent is on disk then, and stays there."""
        for eye in self._eyes.values():
            eye.close()
        if self._shadow is not None:
            self._shadow.collect(self._spool, self._clock.monotonic_ns(), all_of_it=True)
            self._shadow.close()
        self._disconnect(self._socket)
        self._disconnect(self._evidence)
        self._context.term()
        self._outbox_thread.close()
        self._outbox.close()
        self._judge.close()
        self._models.close()
        self._darkroom.close()
        if self._times is not None:
            self._times.close()

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
        current = () if self._current is None else (self._current,)
        # What is not yet durable is in hand: it must not be taken for an order that died.
        return (*self._syncing, *current, *waiting)

    def _models_in_hand(self) -> set[ModelRef]:
        refs = set(self._current_models)
        for order, _ in self._queue:
            refs.update(order.models.values())
        return refs

    def _carry_out(self, order: Order, expires_ns: int) -> None:
        self._current = _ref(order)
        self._current_models = tuple(order.models.values())
        begun = time.perf_counter()
        engine_ns = ENGINE.cpu_ns
        self._framed_ns = 0
        self._laps.start()
        frame, captured_ns = "", self._clock.wall_ns()
        points: tuple[Inspected | Missed, ...]
        second_shot: SecondShot | UnsetType = UNSET
        stance: Stance | UnsetType = UNSET
        try:
            if self._clock.monotonic_ns() >= expires_ns:
                points = tuple(
                    missed(order.points, Reason.LATE, "its deadline passed in the queue")
                )
            else:
                shot, looks, second_shot = self._see(order, expires_ns)
                frame, captured_ns = shot.frame, shot.captured_ns
                self._tell(
                    FrameTaken(run=order.run, view=order.view, attempt=order.attempt, frame=frame)
                )
                remaining_ns = expires_ns - self._clock.monotonic_ns()
                points = self._judge.decide(order, looks, remaining_ns / 1e9)
                stance = looks[-1].stance
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
        record = self._record(order, frame, captured_ns, points, second_shot, stance)
        self._laps.lap("policy")
        self._syncing[self._current] = self._view_times(order, engine_ns)
        self._outbox_thread.put(self._current, record)
        if self._shadow is not None:
            self._shadow.begin(order)
        self._current, self._current_models = None, ()
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

    def _view_times(self, order: Order, engine_ns: int) -> ViewTimes | None:
        if self._times is None:
            return None
        return ViewTimes(
            run=order.run,
            view=order.view,
            attempt=order.attempt,
            points=len(order.points),
            heard_ns=self._heard_ns.pop(_ref(order), 0),
            framed_ns=self._framed_ns,
            handed_ns=time.monotonic_ns(),
            synced_ns=0,
            laps_ns=self._laps.times,
            engine_cpu_ns=ENGINE.cpu_ns - engine_ns,
        )

    def _look_what_is_durable(self) -> None:
        for ref, synced_ns in self._outbox_thread.durable():
            times = self._syncing.pop(ref, None)
            if self._times is not None and times is not None:
                self._times.write(msgspec.structs.replace(times, synced_ns=synced_ns))

    def _record(
        self,
        order: Order,
        frame: str,
        captured_ns: int,
        points: tuple[Inspected | Missed, ...],
        second_shot: SecondShot | UnsetType = UNSET,
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
            second_shot=second_shot,
            stance=stance,
        )
        try:
            return wire.RECORD.encode(result)
        except TooLarge as error:
            self._log.error("answer too large", run=order.run, view=order.view, text=str(error))
            short = tuple(missed(order.points, Reason.EDGE_FAILED, "answer too large"))
            return wire.RECORD.encode(msgspec.structs.replace(result, points=short))

    def _see(
        self, order: Order, expires_ns: int
    ) -> tuple[Shot, list[Look], SecondShot | UnsetType]:
        """The picture of an order, and one more where the first does not show every point and there
        is time; what each is worth. The part may move afterwards."""
        eye = self._eyes.get(order.camera)
        begun_ns = self._clock.monotonic_ns()
        shot = self._shoot(order)
        first = self._look(order, shot)
        if not first.refused or eye is None or not eye.on_demand:
            return shot, [first], UNSET
        now_ns = self._clock.monotonic_ns()
        if now_ns + 2 * (now_ns - begun_ns) + JUDGING_NS >= expires_ns:
            return shot, [_noted(first, "no time for a second picture")], UNSET
        self._converse()  # two exposures in silence might pass for a worker that hangs
        wanted = tuple(refused.task for refused in first.refused)
        try:
            second = self._shoot(order)
            look = self._look(msgspec.structs.replace(order, points=wanted), second)
        except (CameraError, ImageError) as error:
            return shot, [_noted(first, f"and no second picture: {error}")], UNSET
        reasons = dict.fromkeys(refused.reason for refused in first.refused)
        self._log.info("second shot", run=order.run, view=order.view, points=len(wanted))
        return (
            second,
            [first, _noted(look, "in a second picture, too")],
            SecondShot(
                first_frame=shot.frame,
                reasons=tuple(reasons),
                points=tuple(task.point for task in wanted),
            ),
        )

    def _look(self, order: Order, shot: Shot) -> Look:
        return self._judge.look(order, shot.image, self._eyes[order.camera].frozen(shot.image))

    def _shoot(self, order: Order) -> Shot:
        eye = self._eyes.get(order.camera)
        if eye is None:
            raise CameraError(f"this edge has no camera {order.camera}")
        shot = eye.shoot(order.part, order.view)
        self._framed_ns = time.monotonic_ns()
        self._laps.lap("grab")
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
        self._look_what_is_durable()
        for frame in _received(self._socket):
            order = self._link.received(frame, now)
            if order is not None and _ref(order) not in self._seen:
                self._seen[_ref(order)] = None
                if len(self._seen) > REMEMBERED_ORDERS:
                    self._seen.popitem(last=False)
                self._queue.append((order, now + order.remaining_ms * 1_000_000))
                if self._times is not None:
                    self._heard_ns[_ref(order)] = time.monotonic_ns()
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
        self._look_for_lost_pictures()
        if self._spool.count <= len(self._evidence_sent):
            return
        waiting = (kept for kept in self._spool.pending() if kept.sha256 not in self._evidence_sent)
        for kept in islice(waiting, EVIDENCE_WINDOW - len(self._evidence_sent)):
            if kept.ok and len(self._evidence_sent) >= EVIDENCE_WINDOW // 2:
                return  # a station without room for these still has some for the others
            data = self._spool.get(kept.sha256)
            if data is None:
                continue
            evidence = Evidence(
                edge=self._edge,
                sha256=kept.sha256,
                media_type=kept.media_type,
                data=data,
                ok=kept.ok or UNSET,
            )
            try:
                self._evidence.send(wire.EVIDENCE_TO_STATION.encode(evidence), zmq.NOBLOCK)
            except zmq.Again:
                if self._evidence_stuck_ns is None:
                    self._evidence_stuck_ns = now
                return
            self._evidence_stuck_ns = None
            self._evidence_sent[kept.sha256] = now

    def _look_for_lost_pictures(self) -> None:
        spool, darkroom = self._spool, self._darkroom
        count = spool.dropped.total() + darkroom.lost.total() + spool.damaged
        if count != self._pictures_lost:
            self._pictures_lost = count
            lost = spool.dropped + darkroom.lost + Counter(damaged=spool.damaged)
            self._log.warning("pictures lost", **lost)


def _noted(look: Look, note: str) -> Look:
    """The same look, and what became of a second picture in the detail of what it refuses."""
    refused = [dataclasses.replace(each, detail=f"{each.detail}; {note}") for each in look.refused]
    return dataclasses.replace(look, refused=refused)


def _ref(order: Order) -> OrderRef:
    return OrderRef(run=order.run, view=order.view, attempt=order.attempt)


def _received(socket: zmq.Socket[bytes]) -> list[bytes]:
    """What has come in. Asked several times a view, mostly in vain: the flag costs a tenth of an
    exception."""
    frames: list[bytes] = []
    while len(frames) < 256 and cast(int, socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
        try:
            frames.append(b"".join(socket.recv_multipart(zmq.NOBLOCK)))
        except zmq.Again:
            break
    return frames
