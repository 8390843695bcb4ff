"""pylon's camera emulator before a body that is not there: the views of a rendered pool, through
the whole SDK. ``inspection demo --camera basler`` uses it; it loses its camera on demand."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

# Read by pylon when it first looks for cameras.
os.environ.setdefault("PYLON_CAMEMU", "1")

import cv2
from msgspec import Meta

from edge.cameras import Shot
from edge.cameras.basler import BaslerCamera, BaslerSettings
from inspection.errors import CameraError
from inspection.rendering.pool import Views


class EmulatedSettings(BaslerSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the emulated camera."""

    directory: Annotated[str, Meta(min_length=1)]
    """The pool, as `inspection.rendering.pool.make_pool` left it."""
    lose_after: Annotated[int, Meta(ge=1)] | None = None
    """The shot for which the camera is found to have been unplugged."""


class EmulatedBasler(BaslerCamera):
    """Camera ``basler`` with the emulator's pictures chosen by part and view."""

    Settings = EmulatedSettings
    live = False

    def __init__(self, settings: EmulatedSettings) -> None:
        super().__init__(settings)
        self._views = Views(Path(settings.directory))
        self._left = settings.lose_after
        self._place = tempfile.TemporaryDirectory(prefix="inspection-emulator-")
        self._shown: Path | None = None
        self._count = 0

    def shoot(self, part: str, view: str) -> Shot:
        """See `edge.cameras.Camera.shoot`."""
        try:
            picture = self._views.picture(part, view)
        except CameraError as error:
            raise CameraError(f"camera basler: {error}") from None
        self._count += 1
        file = Path(self._place.name) / f"{self._count}.bmp"  # a name of its own: pylon keeps some
        cv2.imwrite(str(file), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        try:
            self._show(file)
            if self._left is not None:
                self._left -= 1
                if self._left == 0:
                    self._put("FirePnPCallbackValue", 1)
            return super().shoot(part, view)
        finally:
            file.unlink()

    def close(self) -> None:
        """See `edge.cameras.Camera.close`."""
        super().close()
        self._place.cleanup()

    def _show(self, file: Path) -> None:
        hand = self._found_again()
        hand.call(lambda device: device.stop())  # a file cannot be changed in an acquisition
        self._running = False
        self._put("ImageFilename", str(file))
        self._put("ImageFileMode", "On")

    def _put(self, name: str, value: str | int) -> None:
        self._found_again().call(lambda device: device.put(name, value))  # type: ignore[attr-defined]
