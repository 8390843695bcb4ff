"""What all cameras with a trigger have in common: which picture belongs to which shot.

A driver brings a `Device`, the few calls of its SDK; here stand the rules. A picture counts only
if it is whole, came after the shot was asked for, and its frame id follows the one before: where
the camera counted a picture that never arrived, nobody can say which view the next one shows, so
that shot fails and its points become NOT_INSPECTED. After any failure the camera is opened and set
anew, so that a picture that is late cannot be taken for the next one, and one that had lost its
power does not go on with other settings.
"""

from __future__ import annotations

import abc
import contextlib
import enum
import queue
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Annotated, Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from edge.cameras import Shot
from edge.cameras.pixels import check_format, to_frame
from inspection.closing import Closing
from inspection.errors import CameraError, ConfigurationError, ImageError
from inspection.log import get_logger
from inspection.messages import ID_PATTERN, Reason

BUFFERS = 8
"""Pictures the SDK keeps while nobody asks for one."""

ANSWER_S = 1.5
"""How long one call may take, on top of exposure and transfer: less than the time after which a
station takes its edge for lost."""
OPEN_S = 15.0
"""How long opening may take at the start, when nobody waits."""

_LAST_16_BIT = 0xFFFF


T = TypeVar("T")


class Preset(enum.StrEnum):
    """What starts an exposure."""

    SOFTWARE = "software"
    """A command of this program, for each shot."""
    HARDWARE_RISING = "hardware-rising"
    """A rising edge at an input of the camera: the shot is the first one after it was asked."""
    FREE_RUN = "free-run"
    """Nothing: the camera starts when a shot is asked for, and its first picture counts."""


class TriggerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that all cameras with a trigger share."""

    exposure_us: Annotated[float, Meta(gt=0, le=60_000_000)]
    trigger: Preset = Preset.SOFTWARE
    line: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    """The camera's input for ``hardware-rising``, by its GenICam name; None takes the driver's."""
    gain: float | None = None
    """In the camera's own unit, mostly decibels; None leaves what the camera starts with."""
    pixel_format: str = "RGB8"
    tone_map: str | None = None
    """How more than 8 bits become 8 (`inspection.imaging.TONE_MAPS`)."""
    width_px: Annotated[int, Meta(ge=1, le=65535)] | None = None
    height_px: Annotated[int, Meta(ge=1, le=65535)] | None = None
    timeout_ms: Annotated[int, Meta(ge=1, le=600_000)] = 1000
    """How long after the exposure (``hardware-rising``: after the order) a picture may take."""
    features: dict[str, str | int | float | bool] = {}
    """GenICam features by name, set in this order before everything above."""


class Grabbed(NamedTuple):
    """One buffer as the SDK gave it back."""

    data: npt.NDArray[np.uint8]
    """A copy, one-dimensional."""
    width: int
    height: int
    row_padding: int
    pixel_format: str
    frame_id: int
    timestamp: int
    """The camera's own clock, in its own ticks."""
    fault: str = ""
    """Why it is no whole picture; empty if it is."""


class Device(Protocol):
    """An open camera, set as its settings say. Every call raises `CameraLost` where the camera
    does not answer; `CameraError` where it answers and refuses."""

    def start(self) -> None:
        """Begin the acquisition with empty buffers."""
        ...

    def stop(self) -> None: ...

    def trigger(self) -> None:
        """Start one exposure by a command."""
        ...

    def receive(self, timeout_s: float) -> Grabbed | None:
        """The oldest buffer that is filled; None where none is within the time."""
        ...

    def alive(self) -> bool:
        """Whether the camera answers; short, and raises nothing."""
        ...

    def close(self) -> None:
        """Give the camera back; raises nothing."""
        ...


class CameraLost(CameraError):
    """The camera does not answer any more: it has to be opened again."""


class CameraStillOpening(CameraError):
    """The camera is being opened, and nobody can wait for it any longer."""


class Hand:
    """A device in the hands of a thread of its own, so that no call of an SDK can hold up the
    worker: some try for ten seconds to reach a camera that has lost its power. A call that takes
    longer than it may is left to the thread, which closes the device as soon as it returns."""

    def __init__(self, connect: Callable[[], Device]) -> None:
        self.device: Device | None = None
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._calls = queue.SimpleQueue()
        self._opening = self._give(self._open(connect))
        threading.Thread(target=self._work, daemon=True, name="camera").start()

    def wait_open(self, patience_s: float) -> None:
        """Raises what opening raised; `CameraStillOpening` where it goes on."""
        try:
            self._opening.result(patience_s)
        except TimeoutError:
            raise CameraStillOpening("it is being opened") from None

    def call(self, function: Callable[[Device], T], patience_s: float = ANSWER_S) -> T:
        """What the function makes of the device; `CameraLost` where it takes too long."""
        device = self.device
        if device is None:
            raise CameraLost("it is not open")
        try:
            return self._give(lambda: function(device)).result(patience_s)
        except TimeoutError:
            raise CameraLost(f"it does not answer within {patience_s:g} s") from None

    def let_go(self, patience_s: float = 0) -> None:
        """Close the device; waits for it so long and no longer."""
        done = self._give(self._close)
        self._calls.put(None)
        with contextlib.suppress(TimeoutError):
            done.result(patience_s)

    def _give(self, function: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._calls.put((future, function))
        return future

    def _open(self, connect: Callable[[], Device]) -> Callable[[], None]:
        def opened() -> None:
            self.device = connect()

        return opened

    def _close(self) -> None:
        device, self.device = self.device, None
        if device is not None:
            device.close()

    def _work(self) -> None:
        while (given := self._calls.get()) is not None:
            future, function = given
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001  handed to whoever asked
                future.set_exception(error)


class TriggeredCamera(Closing):
    """A camera (`edge.cameras.Camera`) on top of a `Device`; opened again where it was lost, with
    all its settings."""

    driver: str

    def __init__(self, settings: TriggerSettings) -> None:
        self._bits = check_format(self.driver, settings.pixel_format, settings.tone_map).bits
        self._trigger = settings
        self._number = 0
        self._last_id: int | None = None
        self._unasked = 0
        self._running = False
        self._closed = False
        self._opening = False
        self._lost_once = False
        self._hand: Hand | None = None
        self._there(OPEN_S)

    @abc.abstractmethod
    def _connect(self) -> Device:
        """Find, open and set the camera. Raises `ConfigurationError` for settings it does not
        have, `CameraError` where it is not there."""

    def shoot(self, part: str, view: str) -> Shot:
        """See `edge.cameras.Camera.shoot`. The frame is named by a number that grows, then the
        camera's own frame id and timestamp, then how many pictures came before it that nobody had
        asked for, where there were any."""
        for word, value in (("part", part), ("view", view)):
            if not re.match(ID_PATTERN, value):
                raise CameraError(f"camera {self.driver}: {word} {value[:80]!r} is no identifier")
        if self._closed:
            raise CameraError(f"camera {self.driver} is closed")
        hand = self._found_again()
        try:
            return self._shoot(hand)
        except CameraLost as error:
            self._lose()
            raise CameraError(f"camera {self.driver} was lost: {error}") from None
        except CameraError as error:
            # Whatever it was, the camera may have begun anew without its settings. It answers, so
            # that it can be given back before it is opened again: it has one owner at a time.
            self._lose(ANSWER_S)
            self.present()
            raise CameraError(f"camera {self.driver}: {error}") from None
        except ImageError as error:
            self._begin_anew(hand)
            raise ImageError(error.reason, f"camera {self.driver}: {error}") from None

    def present(self) -> bool:
        """Whether the camera answers now; one that was lost is looked for, in the background."""
        if self._closed:
            return False
        try:
            if self._hand is not None and not self._opening and not self._alive(self._hand):
                self._lose()
            self._there(0)
        except (CameraError, ConfigurationError):
            return False
        return True

    def close(self) -> None:
        """See `edge.cameras.Camera.close`."""
        self._closed = True
        self._lose(ANSWER_S)

    # ------------------------------------------------------------------------- one shot

    def _shoot(self, hand: Hand) -> Shot:
        trigger = self._trigger.trigger
        self._unasked = 0
        patience_s = (self._trigger.exposure_us / 1e6) + self._trigger.timeout_ms / 1000
        if trigger is Preset.FREE_RUN:
            self._start(hand)
            grabbed = self._receive(hand, patience_s)
            hand.call(lambda device: device.stop())
            self._running = False
            if grabbed is None:
                raise CameraError(f"no picture within {self._trigger.timeout_ms} ms: {_CHECK_LINK}")
        else:
            if not self._running:
                self._start(hand)
            self._throw_away(hand)
            if trigger is Preset.SOFTWARE:
                hand.call(lambda device: device.trigger())
                grabbed = self._receive(hand, patience_s)
                if grabbed is None:
                    raise CameraError(
                        f"no picture within {self._trigger.timeout_ms} ms of the trigger:"
                        f" {_CHECK_LINK}"
                    )
            else:
                grabbed = self._next_pulse(hand, patience_s)
        captured_ns = time.time_ns()
        self._check(grabbed)
        image = to_frame(
            grabbed.data,
            grabbed.width,
            grabbed.height,
            grabbed.pixel_format,
            row_padding=grabbed.row_padding,
            tone_map=self._trigger.tone_map,
        )
        self._number += 1
        frame = f"{self._number} id={grabbed.frame_id} t={grabbed.timestamp}"
        if self._unasked:
            frame += f" unasked={self._unasked}"
        return Shot(
            image=image,
            frame=frame,
            captured_ns=captured_ns,
            tone_map=self._trigger.tone_map if self._bits > 8 else None,
        )

    def _receive(self, hand: Hand, patience_s: float) -> Grabbed | None:
        return hand.call(lambda device: device.receive(patience_s), patience_s + ANSWER_S)

    def _next_pulse(self, hand: Hand, patience_s: float) -> Grabbed:
        """The first picture whose exposure can have begun after this call."""
        asked = time.monotonic()
        while True:
            left = asked + patience_s - time.monotonic()
            grabbed = self._receive(hand, left) if left > 0 else None
            if grabbed is None:
                raise CameraError(
                    f"no pulse at {self._trigger.line or 'its input'} gave a picture within"
                    f" {self._trigger.timeout_ms} ms of the order: check the wiring, that the"
                    " pulse comes after the order, and `inspection cameras watch`"
                )
            if time.monotonic() - asked >= self._trigger.exposure_us / 1e6:
                return grabbed
            self._follow(grabbed)  # begun before the call: it shows another moment
            self._unasked += 1

    def _check(self, grabbed: Grabbed) -> None:
        if grabbed.fault:
            raise ImageError(Reason.IMAGE_UNREADABLE, f"picture not whole: {grabbed.fault}")
        missing = self._follow(grabbed)
        if missing:
            raise CameraError(
                f"frame id {grabbed.frame_id} came, but {missing} before it never arrived, so"
                " nobody can say which view this one shows: check cable, packet size and load"
            )
        if grabbed.pixel_format != self._trigger.pixel_format:
            raise ImageError(
                Reason.IMAGE_UNREADABLE,
                f"a picture in {grabbed.pixel_format} came, not {self._trigger.pixel_format}",
            )

    def _follow(self, grabbed: Grabbed) -> int:
        """Note a frame id; how many pictures are missing between it and the one before."""
        last, self._last_id = self._last_id, grabbed.frame_id
        return 0 if last is None else missing_between(last, grabbed.frame_id)

    def _throw_away(self, hand: Hand) -> None:
        """What the buffers hold from before this shot. Full buffers have lost pictures since."""
        count = 0
        while (old := self._receive(hand, 0)) is not None:
            count += 1
            if old.fault or count >= BUFFERS:
                hand.call(lambda device: device.stop())
                self._start(hand)
                break
            self._follow(old)
        self._unasked += count
        if count:
            get_logger().warning("pictures nobody asked for", camera=self.driver, count=count)

    # ------------------------------------------------------------------------- lost and found

    def _found_again(self) -> Hand:
        try:
            return self._there(ANSWER_S)
        except ConfigurationError as error:  # another camera in its place: not this worker's end
            raise CameraError(str(error)) from None

    def _there(self, patience_s: float) -> Hand:
        """The camera, opened where it is not; raises what opening raises."""
        if self._hand is None:
            self._hand, self._opening = Hand(self._opened), True
        hand = self._hand
        if self._opening:
            try:
                hand.wait_open(patience_s)
            except CameraStillOpening:
                raise CameraError(f"camera {self.driver} is being opened") from None
            except BaseException:
                self._hand = None
                hand.let_go()
                raise
            self._opening, self._last_id = False, None
            self._running = self._trigger.trigger is not Preset.FREE_RUN
            if self._lost_once:
                get_logger().info("camera found again", camera=self.driver)
        return hand

    def _opened(self) -> Device:
        """Waits for pulses from now on, not only from the first order."""
        device = self._connect()
        if self._trigger.trigger is not Preset.FREE_RUN:
            try:
                device.start()
            except CameraError as error:
                device.close()
                raise CameraError(f"camera {self.driver}: {error}") from None
        return device

    def _alive(self, hand: Hand) -> bool:
        try:
            return hand.call(lambda device: device.alive())
        except CameraLost:
            return False

    def _lose(self, patience_s: float = 0) -> None:
        hand, self._hand = self._hand, None
        self._running, self._lost_once = False, True
        if hand is not None:
            hand.let_go(patience_s)

    def _begin_anew(self, hand: Hand) -> None:
        try:
            hand.call(lambda device: device.stop())
            self._running = False
            if self._trigger.trigger is not Preset.FREE_RUN:
                self._start(hand)
        except CameraError:
            self._lose()

    def _start(self, hand: Hand) -> None:
        hand.call(lambda device: device.start())
        self._last_id = None
        self._running = True


_CHECK_LINK = "check cable, packet size and the camera's trigger settings"


def missing_between(last: int, frame_id: int) -> int:
    """How many pictures a camera took between two that arrived.

    GigE Vision 1.x counts in 16 bits and leaves out 0; everything else counts in 64. An id that
    does not grow counts as one missing: the camera has begun anew, and nobody knows when.
    """
    if frame_id > last:
        return frame_id - last - 1
    if last <= _LAST_16_BIT and last - frame_id > _LAST_16_BIT // 2:
        return _LAST_16_BIT - last + frame_id - 1 if frame_id else 1
    return 1
