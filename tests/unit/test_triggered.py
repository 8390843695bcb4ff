"""Which picture belongs to which shot, on a camera that does exactly what a test wants: needs no
SDK, so that the rules are checked everywhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from test_pixels import COLOURS, HEIGHT, WIDTH, camera_bytes

from edge.cameras.pixels import FORMATS
from edge.cameras.triggered import Device, Grabbed, TriggeredCamera, TriggerSettings
from inspection.errors import CameraError, ImageError


class Sensor:
    """A camera's side: it has taken these pictures, and some arrive."""

    def __init__(self) -> None:
        self.taken = 0
        self.arrived: deque[Grabbed] = deque()
        self.starts = 0
        self.pixel_format = "Mono8"
        self.after_order: list[str] = []
        """What happens once somebody waits: "picture", or "lost" for one that does not arrive."""

    def expose(self, *, lost: bool = False) -> None:
        frame_id, self.taken = self.taken, self.taken + 1
        if not lost:
            data = camera_bytes(self.pixel_format).copy()
            self.arrived.append(
                Grabbed(data, WIDTH, HEIGHT, 0, self.pixel_format, frame_id, 1000 + frame_id)
            )

    # what a driver asks of its SDK

    def start(self) -> None:
        self.starts += 1
        self.taken = 0
        self.arrived.clear()

    def stop(self) -> None:
        pass

    def trigger(self) -> None:
        self.expose()

    def receive(self, timeout_s: float) -> Grabbed | None:
        if not self.arrived and timeout_s > 0:
            for what in self.after_order:
                self.expose(lost=what == "lost")
            self.after_order = []
        return self.arrived.popleft() if self.arrived else None

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        pass


class TestCamera(TriggeredCamera):
    __test__ = False
    driver = "test"

    def __init__(self, sensor: Sensor, **settings: Any) -> None:
        self.sensor = sensor
        super().__init__(TriggerSettings(**{"exposure_us": 1, "pixel_format": "Mono8", **settings}))

    def _connect(self) -> Device:
        return self.sensor


@pytest.fixture
def sensor() -> Sensor:
    return Sensor()


@pytest.fixture
def hardware(sensor: Sensor) -> Iterator[TestCamera]:
    with TestCamera(sensor, trigger="hardware-rising", timeout_ms=50) as camera:
        yield camera


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_pixel_format_shows_the_target_and_names_the_cameras_id_and_time(
    sensor: Sensor, name: str
) -> None:
    sensor.pixel_format = name
    tone = {"tone_map": "linear"} if FORMATS[name].bits > 8 else {}
    with TestCamera(sensor, pixel_format=name, **tone) as camera:
        shot = camera.shoot("body", "view")
    assert shot.frame == "1 id=0 t=1000"
    assert shot.tone_map == tone.get("tone_map")
    for (row, column), colour in COLOURS.items():
        seen = shot.image[row * 32 + 16, column * 48 + 24]
        wanted = colour[1] if shot.image.ndim == 2 else colour
        assert np.abs(seen.astype(int) - wanted).max() <= 2


def test_frame_n_plus_2_after_n_is_no_picture_of_the_view_that_waited(
    sensor: Sensor, hardware: TestCamera
) -> None:
    sensor.after_order = ["picture"]
    assert hardware.shoot("body", "v1").frame == "1 id=0 t=1000"
    sensor.after_order = ["lost", "picture"]
    with pytest.raises(CameraError, match=r"frame id 2 came, but 1 before it never arrived"):
        hardware.shoot("body", "v2")
    sensor.after_order = ["picture"]
    assert hardware.shoot("body", "v3").frame == "2 id=0 t=1000", "opened anew, it counts anew"


def test_a_picture_lost_between_two_orders_fails_the_next_view_too(
    sensor: Sensor, hardware: TestCamera
) -> None:
    sensor.after_order = ["picture"]
    hardware.shoot("body", "v1")
    sensor.expose(lost=True)
    sensor.after_order = ["picture"]
    with pytest.raises(CameraError, match="never arrived"):
        hardware.shoot("body", "v2")


def test_a_lost_picture_with_none_behind_it_is_a_view_without_a_picture(
    sensor: Sensor, hardware: TestCamera
) -> None:
    sensor.after_order = ["lost"]
    with pytest.raises(CameraError, match="no pulse"):
        hardware.shoot("body", "v1")
    sensor.after_order = ["picture"]
    assert hardware.shoot("body", "v2").frame.startswith("1 id=0")


def test_pictures_nobody_asked_for_are_none_of_the_view_and_counted_in_its_frame(
    sensor: Sensor, hardware: TestCamera
) -> None:
    for _ in range(3):
        sensor.expose()
    sensor.after_order = ["picture"]
    assert hardware.shoot("body", "v1").frame == "1 id=3 t=1003 unasked=3"
    sensor.after_order = ["picture"]
    assert hardware.shoot("body", "v2").frame == "2 id=4 t=1004"


def test_half_a_picture_is_an_unreadable_one_and_the_next_shot_works(sensor: Sensor) -> None:
    with TestCamera(sensor) as camera:
        trigger = sensor.trigger

        def torn() -> None:
            sensor.expose()
            sensor.arrived.append(sensor.arrived.pop()._replace(fault="packets of it were lost"))

        sensor.trigger = torn  # type: ignore[method-assign]
        with pytest.raises(ImageError, match="packets of it were lost"):
            camera.shoot("body", "v1")
        sensor.trigger = trigger  # type: ignore[method-assign]
        assert camera.shoot("body", "v2").frame.startswith("1 ")
