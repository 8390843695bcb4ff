"""A folder of pictures, given out part by part as if they were taken on trigger."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from edge.cameras import Shot
from inspection import imaging
from inspection.closing import Closing
from inspection.errors import CameraError, ConfigurationError, ImageError
from inspection.messages import ID_PATTERN, Reason

MAX_FILE_BYTES = 1 << 29
"""More than the largest frame without compression (`imaging.MAX_PIXELS` in three colours)."""


class FolderSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of camera ``folder``."""

    directory: Annotated[str, Meta(min_length=1)]
    pattern: Annotated[str, Meta(min_length=1, max_length=300)] = "{part}/{view}.png"
    """File of a part and a view below the directory; must contain ``{part}``."""
    repeat: bool = True
    """Whether a picture may be taken a second time; if not, the part counts as gone."""
    delay_ms: Annotated[float, Meta(ge=0, le=600_000)] = 0.0
    """Simulated time of exposure and transfer."""


class FolderCamera(Closing):
    """Camera ``folder`` (`edge.cameras.Camera`)."""

    Settings = FolderSettings
    live = on_demand = False

    def __init__(self, settings: FolderSettings) -> None:
        self._directory = Path(settings.directory).resolve()
        self._settings = settings
        self._taken: set[Path] = set()
        self._number = 0
        self._closed = False
        pattern = settings.pattern
        if "{part}" not in pattern:
            raise ConfigurationError(
                f"camera folder: pattern {pattern!r} does not contain {{part}}"
            )
        bare = pattern.replace("{part}", "part").replace("{view}", "view")
        if re.search(r"[{}\0]", bare):
            raise ConfigurationError(
                f"camera folder: pattern {pattern!r} may contain {{part}} and {{view}}, nothing"
                " else in braces"
            )
        if Path(bare).is_absolute() or ".." in Path(bare).parts:
            raise ConfigurationError(f"camera folder: pattern {pattern!r} leads out of the folder")
        if not self._directory.is_dir():
            raise ConfigurationError(f"camera folder: there is no folder {self._directory}")

    def shoot(self, part: str, view: str) -> Shot:
        """See `edge.cameras.Camera.shoot`. The frame is named by a running number and the file."""
        if self._closed:
            raise CameraError("camera folder is closed")
        path = self._file(part, view)
        name = path.relative_to(self._directory).as_posix()
        if path in self._taken and not self._settings.repeat:
            raise CameraError(f"camera folder has given out {name} already and may not repeat it")
        time.sleep(self._settings.delay_ms / 1000)
        try:
            if not path.is_file():
                raise CameraError(f"camera folder has no file {name} in {self._directory}")
            captured_ns = time.time_ns()
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ImageError(Reason.IMAGE_UNREADABLE, f"{name}: the file is far too large")
            data = path.read_bytes()
        except OSError as error:
            raise CameraError(f"camera folder cannot read {name}: {error.strerror}") from None
        self._taken.add(path)
        self._number += 1
        try:
            image = imaging.decode(data)
        except ImageError as error:
            raise ImageError(error.reason, f"{name}: {error}") from None
        return Shot(
            image=image,
            frame=f"{self._number} {name[-400:]}",
            captured_ns=captured_ns,
            data_sha256=hashlib.sha256(data).hexdigest(),
        )

    def close(self) -> None:
        """See `edge.cameras.Camera.close`."""
        self._closed = True

    def _file(self, part: str, view: str) -> Path:
        for word, value in (("part", part), ("view", view)):
            if not re.match(ID_PATTERN, value):
                raise CameraError(f"camera folder: {word} {value[:80]!r} is no identifier")
        # Not str.format: it would read attributes of what a pattern asks for.
        name = self._settings.pattern.replace("{part}", part).replace("{view}", view)
        try:
            path = (self._directory / name).resolve()
        except (OSError, RuntimeError) as error:
            raise CameraError(f"camera folder cannot find {name}: {error}") from None
        if not path.is_relative_to(self._directory):
            raise CameraError(f"camera folder: {name} leads out of {self._directory}")
        return path
