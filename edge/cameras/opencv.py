"""Video files, network streams (RTSP) and USB cameras through OpenCV.

For pictures that nobody has to answer for with a trigger of their own: OpenCV knows neither frame
ids nor the time of an exposure. A live source is read all the time by a thread of its own, so that
nothing old waits in a buffer, and a shot is the first picture that comes ``latency_ms`` after it
was asked for: the caller has measured how far the stream lags behind.
"""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Annotated, Any, cast

import cv2
import numpy as np
from msgspec import Meta, Struct

from edge.cameras import Seen, Shot
from inspection.closing import Closing
from inspection.errors import CameraError, ConfigurationError
from inspection.imaging import Frame
from inspection.log import get_logger
from inspection.messages import ID_PATTERN

STALE_S = 0.2
"""A reader that is asked to end does so within this, or is left to itself."""
AGAIN_S = 2.0
"""How long a lost source is left alone before it is opened again."""

_STREAM = re.compile(r"(rtsp|rtsps|http|https|udp|tcp)://\S+")


class OpenCvSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of camera ``opencv``: exactly one of ``file``, ``url`` and ``device``."""

    file: Annotated[str, Meta(min_length=1)] | None = None
    """A video: each shot is its next picture, and after the last there is none."""
    url: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    """A stream, ``rtsp://...``."""
    device: Annotated[int, Meta(ge=0, le=255)] | None = None
    """A USB camera by its number: 0 is ``/dev/video0``."""
    repeat: bool = False
    """Whether a video begins again after its last picture."""
    latency_ms: Annotated[int, Meta(ge=0, le=60_000)] | None = None
    """How far a live picture lags behind what it shows, at most; must be said for a stream and a
    device. ``docs/cameras.md`` says how to measure it."""
    timeout_ms: Annotated[int, Meta(ge=1, le=600_000)] = 2000
    """How long after the latency a live picture may take, and opening a source."""
    width_px: Annotated[int, Meta(ge=1, le=65535)] | None = None
    height_px: Annotated[int, Meta(ge=1, le=65535)] | None = None
    """The size to ask a device for; one that gives another is refused."""
    exposure: float | None = None
    gain: float | None = None
    """As the device's own driver counts them; automatic exposure is switched off by the first."""


def found() -> list[Seen]:
    """The USB cameras Linux knows; streams cannot be looked for."""
    devices = sorted(Path("/sys/class/video4linux").glob("video*"), key=lambda path: path.name)
    return [
        Seen({"device": int(path.name.removeprefix("video"))}, (path / "name").read_text().strip())
        for path in devices
    ]


class OpenCvCamera(Closing):
    """Camera ``opencv`` (`edge.cameras.Camera`)."""

    Settings = OpenCvSettings

    def __init__(self, settings: OpenCvSettings) -> None:
        sources = [settings.file, settings.url, settings.device]
        if sum(source is not None for source in sources) != 1:
            raise ConfigurationError("camera opencv: set exactly one of file, url and device")
        if settings.file is None and settings.latency_ms is None:
            raise ConfigurationError(
                "camera opencv: latency_ms is missing: without it a live picture may show what was"
                " before the trigger (docs/cameras.md says how to measure it)"
            )
        if settings.url is not None and not _STREAM.fullmatch(settings.url):
            raise ConfigurationError(
                f"camera opencv: url {settings.url!r} is no rtsp://, http://, udp:// or tcp:// one"
            )
        if settings.file is not None and not Path(settings.file).is_file():
            raise ConfigurationError(f"camera opencv: there is no file {settings.file}")
        self._settings = settings
        self._number = 0
        self._closed = False
        self._video: Any = None
        self._position = 0
        self._live: _Live | None = None
        self._opened_s = -AGAIN_S
        if settings.file is not None:
            self._video = self._open_video()
        else:
            self._live = self._begin()
            if not self._live.wait_open(settings.timeout_ms / 1000):
                fault = self._live.fault or "it is still being opened"
                self._live.end()
                raise CameraError(f"camera opencv: {self._name()}: {fault}")

    @property
    def live(self) -> bool:
        """A video is not: it may begin again, and what was filmed may be drawn."""
        return self._live is not None

    @property
    def on_demand(self) -> bool:
        """Not a video: its next picture is for the next view."""
        return self._live is not None

    def shoot(self, part: str, view: str) -> Shot:
        """See `edge.cameras.Camera.shoot`. The frame is named by a running number and, for a
        video, the picture's position in it, for a live source, how many it has given."""
        for word, value in (("part", part), ("view", view)):
            if not re.match(ID_PATTERN, value):
                raise CameraError(f"camera opencv: {word} {value[:80]!r} is no identifier")
        if self._closed:
            raise CameraError("camera opencv is closed")
        image, said, captured_ns = (
            self._next_of_video() if self._live is None else self._next_of_stream(self._live)
        )
        self._number += 1
        return Shot(image=image, frame=f"{self._number} {said}", captured_ns=captured_ns)

    def present(self) -> bool:
        """Whether the source gives pictures now; one that was lost is opened again."""
        if self._closed or self._live is None:
            return not self._closed
        return self._look_again(self._live).is_open

    def close(self) -> None:
        """See `edge.cameras.Camera.close`."""
        self._closed = True
        if self._live is not None:
            self._live.end()
        if self._video is not None:
            self._video.release()
            self._video = None

    def _name(self) -> str:
        settings = self._settings
        if settings.url is not None:  # without the password that may stand in it
            return re.sub(r"//[^/@]*@", "//", settings.url)
        return settings.file or f"device {settings.device}"

    # ------------------------------------------------------------------------- a video

    def _next_of_video(self) -> tuple[Frame, str, int]:
        picture = self._read_video()
        if picture is None and self._settings.repeat and self._position:
            self._video.release()
            self._video, self._position = self._open_video(), 0
            picture = self._read_video()
        if picture is None:
            raise CameraError(
                f"camera opencv: {self._name()} has no picture after number {self._position}"
            )
        self._position += 1
        return picture, f"picture={self._position}", time.time_ns()

    def _open_video(self) -> Any:
        try:
            return _open(self._settings)
        except CameraError as error:
            raise CameraError(f"camera opencv: {self._name()}: {error}") from None

    def _read_video(self) -> Frame | None:
        came, picture = self._video.read()
        return _rgb(picture) if came else None

    # ------------------------------------------------------------------------- a live source

    def _begin(self) -> _Live:
        self._opened_s = time.monotonic()
        return _Live(self._settings)

    def _look_again(self, live: _Live) -> _Live:
        if not live.is_over or time.monotonic() - self._opened_s < AGAIN_S:
            return live
        live.end()
        self._live = live = self._begin()
        get_logger().info("camera is opened again", camera="opencv", source=self._name())
        return live

    def _next_of_stream(self, live: _Live) -> tuple[Frame, str, int]:
        live = self._look_again(live)
        settings = self._settings
        earliest_s = time.monotonic() + (settings.latency_ms or 0) / 1000
        found = live.first_after(earliest_s, earliest_s + settings.timeout_ms / 1000)
        if found is None:
            why = live.fault or f"no picture within {settings.timeout_ms} ms"
            raise CameraError(f"camera opencv: {self._name()}: {why}: check power and network")
        picture, count, came_s = found
        lag_s = time.monotonic() - came_s + (settings.latency_ms or 0) / 1000
        return picture, f"id={count}", max(time.time_ns() - int(lag_s * 1e9), 0)


class _Live:
    """A thread that opens a source and reads it until it ends or is told to."""

    def __init__(self, settings: OpenCvSettings) -> None:
        self.fault = ""
        self.is_open = False
        self.is_over = False
        self._settings = settings
        self._told = threading.Condition()
        self._picture: Any = None
        self._count = 0
        self._came_s = 0.0
        self._ending = False
        self._thread = threading.Thread(target=self._read, daemon=True, name="camera opencv")
        self._thread.start()

    def wait_open(self, patience_s: float) -> bool:
        with self._told:
            self._told.wait_for(lambda: self.is_open or self.is_over, patience_s)
            return self.is_open

    def first_after(self, earliest_s: float, latest_s: float) -> tuple[Frame, int, float] | None:
        """The first picture that came after a moment of the monotonic clock, its number and its
        moment; None where none came before ``latest_s`` or the source has ended."""
        with self._told:
            self._told.wait_for(
                lambda: self.is_over or self._came_s >= earliest_s,
                max(0.0, latest_s - time.monotonic()),
            )
            if self.is_over or self._came_s < earliest_s:
                return None
            picture, count, came_s = self._picture, self._count, self._came_s
        return _rgb(picture), count, came_s

    def end(self) -> None:
        self._ending = True
        self._thread.join(STALE_S)

    def _read(self) -> None:
        source = None
        try:
            source = _open(self._settings)
            with self._told:
                self.is_open = True
                self._told.notify_all()
            while not self._ending:
                came, picture = source.read()
                if not came:
                    raise CameraError("it gives no more pictures")
                with self._told:
                    self._picture = picture
                    self._count += 1
                    self._came_s = time.monotonic()
                    self._told.notify_all()
        except Exception as error:  # noqa: BLE001  said by the shot that misses its picture
            self.fault = str(error)
        finally:
            if source is not None:
                source.release()
            with self._told:
                self.is_open, self.is_over = False, True
                self._told.notify_all()


def _open(settings: OpenCvSettings) -> Any:
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, settings.timeout_ms,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, settings.timeout_ms,
    ]  # fmt: skip
    if settings.device is not None:
        source = cv2.VideoCapture(settings.device, cv2.CAP_V4L2)
    else:
        source = cv2.VideoCapture(settings.file or settings.url or "", cv2.CAP_FFMPEG, limits)
    if not source.isOpened():
        source.release()
        raise CameraError("it cannot be opened, or is no video")
    if settings.device is None:
        return source
    if settings.exposure is not None:
        source.set(cv2.CAP_PROP_AUTO_EXPOSURE, 1)  # 1 is "manual" in V4L2
    for name, wanted in (
        ("FRAME_WIDTH", settings.width_px),
        ("FRAME_HEIGHT", settings.height_px),
        ("EXPOSURE", settings.exposure),
        ("GAIN", settings.gain),
    ):
        number = getattr(cv2, f"CAP_PROP_{name}")
        if wanted is None:
            continue
        source.set(number, wanted)
        if abs(source.get(number) - wanted) > 0.5:
            stored = source.get(number)
            source.release()
            raise CameraError(f"{name} cannot be {wanted}: the device made {stored:g} of it")
    return source


def _rgb(picture: Any) -> Frame:
    """OpenCV gives BGR whatever the source has."""
    if picture.ndim == 2:
        return cast(Frame, picture.copy())
    return cast(Frame, np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)))
