"""A camera without an exposure, for measurements: its pictures lie in a file that is mapped.

Not in `DRIVERS`: a configuration names it by its place. A shot is the mapped memory itself, which
nobody can write to, so that nothing is copied and the receiver may keep it as long as it likes.
"""

from __future__ import annotations

import mmap
import time
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from edge.cameras import Shot
from inspection.closing import Closing
from inspection.errors import CameraError, ConfigurationError


class MappedSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of camera ``edge.cameras.mapped:MappedCamera``."""

    file: Annotated[str, Meta(min_length=1)]
    """Raw RGB pictures of ``width_px`` x ``height_px``, one after the other."""
    width_px: Annotated[int, Meta(ge=1, le=100_000)]
    height_px: Annotated[int, Meta(ge=1, le=100_000)]
    pictures: dict[str, Annotated[int, Meta(ge=0)]]
    """Which picture each view is."""


class MappedCamera(Closing):
    """See the module; `edge.cameras.Camera`."""

    Settings = MappedSettings

    def __init__(self, settings: MappedSettings) -> None:
        shape = (settings.height_px, settings.width_px, 3)
        size = settings.height_px * settings.width_px * 3
        path = Path(settings.file)
        try:
            with path.open("rb") as file:
                memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"camera mapped: {path}: {error}") from None
        count = len(memory) // size
        if not count or max(settings.pictures.values(), default=0) >= count:
            raise ConfigurationError(
                f"camera mapped: {path} holds {count} pictures, the views name more"
            )
        self._frames = np.frombuffer(memory, np.uint8, count * size).reshape(count, *shape)
        self._pictures = settings.pictures
        self._number = 0
        self._closed = False

    def shoot(self, part: str, view: str) -> Shot:
        """See `edge.cameras.Camera.shoot`."""
        if self._closed:
            raise CameraError("camera mapped is closed")
        if view not in self._pictures:
            raise CameraError(f"camera mapped: no picture of view {view}")
        self._number += 1
        image = self._frames[self._pictures[view]]
        return Shot(image=image, frame=f"{self._number} {part}/{view}", captured_ns=time.time_ns())

    def close(self) -> None:
        """See `edge.cameras.Camera.close`."""
        self._closed = True
