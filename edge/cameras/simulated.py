"""A camera before a body that is not there: it gives out the views of a rendered pool."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from edge.cameras import Shot
from inspection.closing import Closing
from inspection.errors import CameraError
from inspection.rendering.pool import Views


class SimulatedSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of camera ``simulated``."""

    directory: Annotated[str, Meta(min_length=1)]
    """The pool, as `inspection.rendering.pool.make_pool` left it."""
    delay_ms: Annotated[float, Meta(ge=0, le=600_000)] = 0.0
    """Simulated time of exposure and transfer."""


class SimulatedCamera(Closing):
    """Camera ``simulated`` (`edge.cameras.Camera`). It renders nothing: a shot is a copy of a
    frame that was rendered before, with the body's defects pasted into it."""

    Settings = SimulatedSettings
    live = on_demand = False

    def __init__(self, settings: SimulatedSettings) -> None:
        self._views = Views(Path(settings.directory))
        self._delay_s = settings.delay_ms / 1000
        self._number = 0
        self._closed = False

    def shoot(self, part: str, view: str) -> Shot:
        """See `edge.cameras.Camera.shoot`."""
        if self._closed:
            raise CameraError("camera simulated is closed")
        time.sleep(self._delay_s)
        try:
            image = self._views.picture(part, view)
        except CameraError as error:
            raise CameraError(f"camera simulated: {error}") from None
        self._number += 1
        return Shot(image=image, frame=f"{self._number} {part}/{view}", captured_ns=time.time_ns())

    def close(self) -> None:
        """See `edge.cameras.Camera.close`."""
        self._closed = True
