"""The cameras of a demonstration, and how they are lost and found again in mid-run."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from inspection.rendering import body
from inspection.testing.fake_gige import FakeGigE
from inspection.testing.line import Line

LOSE_AFTER = 3
"""Shots of an emulated camera until it is found to have been unplugged."""
AWAY_S = 4.0
LOOK_S = 0.2
FOUND = '"event": "camera found again", "process": "edge", "camera": "{driver}"'
"""What a driver writes into its worker's log."""
FOUND_S = 15.0
"""How long that may take after the last body."""


class DemoCameras:
    """Settings for `Line`, and the fake camera, if there is one."""

    def __init__(
        self, kind: str, settings: dict[str, dict[str, Any]], fake: FakeGigE | None = None
    ) -> None:
        self.settings = settings
        self._kind = kind
        self._fake = fake
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, line: Line) -> None:
        """From the first picture of the fake camera on: pull its plug, and put it in again."""
        if self._fake is not None:
            self._thread = threading.Thread(target=self._disturb, args=(line, self._fake))
            self._thread.start()

    def _disturb(self, line: Line, fake: FakeGigE) -> None:
        edge = line.edges[0]
        while line.log(edge).count("view judged") < LOSE_AFTER:
            if self._ended.wait(LOOK_S):
                return
        fake.end()
        if not self._ended.wait(AWAY_S):
            fake.begin()

    def found_again(self, line: Line) -> int | None:
        """How often a camera was found again, waiting for the first; None where none was to be
        lost."""
        if self._kind == "simulated":
            return None
        written = FOUND.format(driver=self._kind)
        until = time.monotonic() + FOUND_S
        while not (found := sum(line.log(edge).count(written) for edge in line.edges)):
            if time.monotonic() > until:
                return 0
            time.sleep(LOOK_S)
        return found

    def end(self) -> None:
        """Switch everything off."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._fake is not None:
            self._fake.close()


@contextlib.contextmanager
def demo_cameras(
    kind: str, names: Sequence[str], pool: Path, say: Callable[[str], None]
) -> Iterator[DemoCameras]:
    """The cameras of that kind. There can be one fake GigE Vision camera on a machine: the others
    are simulated, then."""
    simulated: dict[str, Any] = {"driver": "simulated", "settings": {"directory": str(pool)}}
    size = {"width_px": body.WIDTH_PX, "height_px": body.HEIGHT_PX}
    if kind == "basler":
        os.environ["PYLON_CAMEMU"] = "1"  # for the workers that are started from here
        settings = {
            **size,
            "directory": str(pool),
            "exposure_us": 1000,
            "lose_after": LOSE_AFTER,
            "features": {"TestImageSelector": "Off"},
        }
        emulated = {"driver": "edge.cameras.emulated:EmulatedBasler", "settings": settings}
        cameras = DemoCameras(kind, dict.fromkeys(names, emulated))
    elif kind == "aravis":
        say(f"Camera {names[0]} is Aravis' fake camera: it shows ramps and no welds")
        fake = FakeGigE()
        settings = {
            **size,
            "device": fake.address,
            "exposure_us": 1000,
            "pixel_format": "BayerRG8",
        }
        others = dict.fromkeys(names[1:], simulated)
        cameras = DemoCameras(
            kind, {names[0]: {"driver": "aravis", "settings": settings}, **others}, fake
        )
    else:
        cameras = DemoCameras(kind, dict.fromkeys(names, simulated))
    try:
        yield cameras
    finally:
        cameras.end()
