"""What all cameras with a trigger have in common: which picture belongs to which shot.

A driver brings a `Device`, the few calls of its SDK; here stand the rules. A picture counts only
if it is whole, came after the shot was asked for, and its frame id follows the one before: where
the camera counted a picture that never arrived, nobody can say which view the next one shows, so
that shot fails and its points become NOT_INSPECTED. After any failure the acquisition begins anew,
so that a picture that is late cannot be taken for the next one.
"""

from __future__ import annotations

import abc
import enum
import re
import time
from types import TracebackType
from typing import Annotated, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from edge.cameras import Shot
from edge.cameras.pixels import check_format, to_frame
from inspection.errors import CameraError, ConfigurationError, ImageError
from inspection.log import get_logger
from inspection.messages import ID_PATTERN, Reason

BUFFERS = 8
"""Pictures the SDK keeps while nobody asks for one."""

_LAST_16_BIT = 0xFFFF


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


class TriggeredCamera(abc.ABC):
    """A camera (`edge.cameras.Camera`) on top of a `Device`; opened again where it was lost, with
    all its settings."""

    driver: str

    def __init__(self, settings: TriggerSettings) -> None:
        check_format(self.driver, settings.pixel_format, settings.tone_map)
        self._trigger = settings
        self._number = 0
        self._last_id: int | None = None
        self._running = False
        self._closed = False
        self._device: Device | None = self._connect()
        self._ready(self._device)

    @abc.abstractmethod
    def _connect(self) -> Device:
        """Find, open and set the camera. Raises `ConfigurationError` for settings it does not
        have, `CameraError` where it is not there."""

    def shoot(self, part: str, view: str) -> Shot:
        """See `edge.cameras.Camera.shoot`. The frame is named by a number that grows, then the
        camera's own frame id and timestamp."""
        for word, value in (("part", part), ("view", view)):
            if not re.match(ID_PATTERN, value):
                raise CameraError(f"camera {self.driver}: {word} {value[:80]!r} is no identifier")
        if self._closed:
            raise CameraError(f"camera {self.driver} is closed")
        device = self._there()
        try:
            return self._shoot(device)
        except CameraLost as error:
            self._lose()
            raise CameraError(f"camera {self.driver} was lost: {error}") from None
        except CameraError as error:
            self._begin_anew(device)
            raise CameraError(f"camera {self.driver}: {error}") from None
        except ImageError as error:
            self._begin_anew(device)
            raise ImageError(error.reason, f"camera {self.driver}: {error}") from None

    def present(self) -> bool:
        """Whether the camera answers now; one that was lost is looked for."""
        if self._closed:
            return False
        if self._device is not None and not self._device.alive():
            self._lose()
        try:
            self._there()
        except CameraError:
            return False
        return True

    def close(self) -> None:
        """See `edge.cameras.Camera.close`."""
        self._closed = True
        self._lose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------- one shot

    def _shoot(self, device: Device) -> Shot:
        trigger = self._trigger.trigger
        patience_s = (self._trigger.exposure_us / 1e6) + self._trigger.timeout_ms / 1000
        if trigger is Preset.FREE_RUN:
            self._start(device)
            try:
                grabbed = device.receive(patience_s)
            finally:
                device.stop()
                self._running = False
            if grabbed is None:
                raise CameraError(f"no picture within {self._trigger.timeout_ms} ms: {_CHECK_LINK}")
        else:
            if not self._running:
                self._start(device)
            self._throw_away(device)
            if trigger is Preset.SOFTWARE:
                device.trigger()
                grabbed = device.receive(patience_s)
                if grabbed is None:
                    raise CameraError(
                        f"no picture within {self._trigger.timeout_ms} ms of the trigger:"
                        f" {_CHECK_LINK}"
                    )
            else:
                grabbed = self._next_pulse(device, patience_s)
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
        return Shot(image=image, frame=frame, captured_ns=captured_ns)

    def _next_pulse(self, device: Device, patience_s: float) -> Grabbed:
        """The first picture whose exposure can have begun after this call."""
        asked = time.monotonic()
        while True:
            left = asked + patience_s - time.monotonic()
            grabbed = device.receive(left) if left > 0 else None
            if grabbed is None:
                raise CameraError(
                    f"no pulse at {self._trigger.line or 'its input'} gave a picture within"
                    f" {self._trigger.timeout_ms} ms of the order: check the wiring, that the"
                    " pulse comes after the order, and `inspection cameras watch`"
                )
            if time.monotonic() - asked >= self._trigger.exposure_us / 1e6:
                return grabbed
            self._follow(grabbed)  # begun before the call: it shows another moment

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

    def _throw_away(self, device: Device) -> None:
        """What the buffers hold from before this shot. Full buffers have lost pictures since."""
        count = 0
        while (old := device.receive(0)) is not None:
            count += 1
            if old.fault or count >= BUFFERS:
                device.stop()
                self._start(device)
                break
            self._follow(old)
        if count:
            get_logger().warning("pictures nobody asked for", camera=self.driver, count=count)

    # ------------------------------------------------------------------------- lost and found

    def _there(self) -> Device:
        if self._device is not None:
            return self._device
        try:
            self._device = self._connect()
            self._ready(self._device)
        except ConfigurationError as error:  # another camera in its place: not this worker's end
            raise CameraError(str(error)) from None
        get_logger().info("camera found again", camera=self.driver)
        return self._device

    def _lose(self) -> None:
        device, self._device = self._device, None
        self._running = False
        if device is not None:
            device.close()

    def _ready(self, device: Device) -> None:
        """Wait for pulses from now on, not only from the first order."""
        if self._trigger.trigger is Preset.FREE_RUN:
            return
        try:
            self._start(device)
        except CameraError as error:
            self._lose()
            raise CameraError(f"camera {self.driver}: {error}") from None

    def _begin_anew(self, device: Device) -> None:
        try:
            device.stop()
            self._running = False
            if self._trigger.trigger is not Preset.FREE_RUN:
                self._start(device)
        except CameraError:
            self._lose()

    def _start(self, device: Device) -> None:
        device.start()
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
