"""Cameras. A driver is one file here, one line in `DRIVERS`, one factory in the conformance suite.

The SDK of a camera is imported only by its own driver, which is imported only when a
configuration names it.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, cast

import msgspec

from inspection.errors import ConfigurationError
from inspection.imaging import Frame

DRIVERS: dict[str, str] = {
    "aravis": "edge.cameras.aravis:AravisCamera",
    "basler": "edge.cameras.basler:BaslerCamera",
    "folder": "edge.cameras.folder:FolderCamera",
    "opencv": "edge.cameras.opencv:OpenCvCamera",
    "simulated": "edge.cameras.simulated:SimulatedCamera",
}

SDKS: dict[str, str] = {
    "aravis": "apt-get install libaravis-0.8-0 on Debian or Ubuntu; it is a library of the system",
    "basler": 'pip install "visual-inspection[basler]" (pypylon, which brings pylon itself)',
}
"""How to install what a driver needs beyond this package."""

_PLACE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)


class Shot(NamedTuple):
    """One picture as a camera gives it."""

    image: Frame
    """``uint8``, C-contiguous, (height, width) or (height, width, 3) in RGB order; the receiver
    owns it, the camera never writes to it again."""
    frame: str
    """The camera's own name for it, at most 500 characters. Begins with a number that grows with
    every shot, so that a frozen camera and a skipped trigger can be told."""
    captured_ns: int
    """Wall clock at the end of the exposure, in nanoseconds since 1970. For people: nothing is
    decided by it."""
    data_sha256: str | None = None
    """Hash of the bytes the camera delivered, where it delivers a file."""
    tone_map: str | None = None
    """The tone map it came through, from a camera of more than 8 bits."""


class Seen(NamedTuple):
    """A camera that is there. A driver that can tell has a function ``found()`` in its module,
    which returns all it sees."""

    settings: dict[str, str | int]
    """What a configuration has to say to mean this one."""
    what: str
    """Its model and the like, for people."""


class Camera(Protocol):
    """Takes one picture at a time, when asked. Made from an instance of its ``Settings``.

    A driver that can tell whether its device is there without taking a picture has a method
    ``present() -> bool`` as well, which returns at once and looks for a device that was lost; the
    worker calls it every two seconds between two views, so that a station hears of a camera that
    was unplugged before it asks for the next picture.

    Two more attributes are optional and true where they are missing. ``live``: every shot is a new
    exposure of a sensor, so that the same pixels twice are a frozen camera; false for pictures from
    a disk. ``on_demand``: a shot is taken because it is asked for, so that it can be asked for once
    more; false where a pulse from outside, or a place in a recording, says which picture comes.
    """

    def shoot(self, part: str, view: str) -> Shot:
        """A picture taken after the call and before the return, so that the part may move then.

        Raises `CameraError` where no picture came, `ImageError` where what came is no picture.
        The camera goes on working after either. ``part`` and ``view`` are for cameras that choose
        by them, as a folder of pictures does.
        """
        ...

    def close(self) -> None:
        """Gives the device back; `shoot` raises `CameraError` from then on. Twice is fine."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_camera(name: str, settings: Mapping[str, object]) -> Camera:
    """A camera by its driver's name, or by ``package.module:Class`` for a driver of your own.

    ``settings`` are those of the driver, as they stand in the configuration. Raises
    `ConfigurationError` where there is no such driver, where its SDK is not installed, and where
    the settings are wrong; `CameraError` where the device does not answer.
    """
    driver = _driver(name)
    try:
        checked = msgspec.convert(settings, driver.Settings)
    except msgspec.ValidationError as error:
        known = ", ".join(f.encode_name for f in msgspec.structs.fields(driver.Settings))
        raise ConfigurationError(f"camera {name!r}: {error} (its settings are {known})") from None
    return cast(Callable[[msgspec.Struct], Camera], driver)(checked)


def seen(name: str) -> list[Seen] | None:
    """The cameras a driver sees now; None where it is one that cannot tell. Raises
    `ConfigurationError` where its SDK is not installed."""
    look = getattr(sys.modules[_driver(name).__module__], "found", None)
    return None if look is None else cast("list[Seen]", look())


def _driver(name: str) -> Any:
    """The driver class of a name; its SDK is imported here."""
    place = name if _PLACE.fullmatch(name) else DRIVERS.get(name)
    if place is None:
        raise ConfigurationError(
            f"there is no camera driver {name!r}: take one of {_listed()}, or name a class of your"
            " own as package.module:Class"
        )
    module, _, attribute = place.partition(":")
    try:
        driver = getattr(importlib.import_module(module), attribute)
    except (ImportError, OSError) as error:  # OSError: a shared library of the SDK is missing
        missing = getattr(error, "name", None) or module
        how = SDKS.get(name, "install the package that brings it")
        raise ConfigurationError(
            f"camera driver {name!r} needs {missing!r}, which cannot be loaded ({error}): {how}"
            f" (docs/cameras.md says more), or take another driver of {_listed()}"
        ) from None
    except AttributeError:
        raise ConfigurationError(
            f"camera driver {name!r}: module {module} has no {attribute!r}"
        ) from None
    settings = getattr(driver, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, msgspec.Struct)):
        raise ConfigurationError(
            f"camera driver {name!r} is no camera: it has no Settings (see docs/cameras.md)"
        )
    return driver


def _listed() -> str:
    return ", ".join(sorted(DRIVERS))
