"""Camera ``basler`` against pylon's own emulator."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge.cameras import open_camera
from edge.cameras.triggered import BUFFERS, missing_between
from inspection import imaging
from inspection.errors import CameraError, ConfigurationError, ImageError
from inspection.messages import Reason

os.environ["PYLON_CAMEMU"] = "2"
pylon = pytest.importorskip("pypylon.pylon", reason="pypylon is not installed (extra basler)")

WIDTH, HEIGHT = 96, 64
COLOURS = {
    (16, 24): (200, 20, 20),
    (16, 72): (20, 180, 20),
    (48, 24): (20, 20, 220),
    (48, 72): (240, 240, 240),
}

Open = Callable[..., Any]


@pytest.fixture
def basler(tmp_path: Path) -> Iterator[Open]:
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for (y, x), colour in COLOURS.items():
        picture[y - 16 :, x - 24 :] = colour
    (tmp_path / "target.png").write_bytes(imaging.encode_png(picture))
    opened = []

    def open_one(**changed: object) -> Any:
        settings = {
            "serial": "0815-0000",
            "exposure_us": 1000,
            "width_px": WIDTH,
            "height_px": HEIGHT,
            "features": {
                "TestImageSelector": "Off",
                "ImageFilename": f"{tmp_path}/",
                "ImageFileMode": "On",
            },
        }
        camera = open_camera("basler", {**settings, **changed})
        opened.append(camera)
        return camera

    yield open_one
    for camera in opened:
        camera.close()


def pylon_camera(camera: Any) -> Any:
    return camera._hand.device._camera


def node(camera: Any, name: str) -> Any:
    return pylon_camera(camera).GetNodeMap().GetNode(name)


def unplug(camera: Any) -> None:
    node(camera, "FirePnPCallbackValue").SetValue(1)


def pulse(camera: Any) -> None:
    assert pylon_camera(camera).WaitForFrameTriggerReady(1000, pylon.TimeoutHandling_Return)
    pylon_camera(camera).ExecuteSoftwareTrigger()


def pulse_after(camera: Any, delay_s: float) -> threading.Timer:
    timer = threading.Timer(delay_s, pulse, (camera,))
    timer.start()
    return timer


def wait_for(camera: Any) -> None:
    until = time.monotonic() + 10
    while not camera.present():
        assert time.monotonic() < until, "not found again"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "pixel_format",
    [
        "RGB8", "RGB8Packed", "BGR8", "BayerRG8", "BayerGR8", "BayerGB8", "BayerBG8",
        "BayerRG10", "BayerRG12", "BayerGB12", "BayerBG16",
    ],
)  # fmt: skip
def test_every_pixel_format_shows_the_target_in_rgb(basler: Open, pixel_format: str) -> None:
    deep = not pixel_format.removesuffix("Packed").endswith("8")
    camera = basler(pixel_format=pixel_format, **({"tone_map": "linear"} if deep else {}))
    image = camera.shoot("body", "view").image
    for place, colour in COLOURS.items():
        assert np.abs(image[place].astype(int) - colour).max() <= 2, (pixel_format, place)


def test_deep_grey_comes_through_the_declared_tone_map(basler: Open) -> None:
    flat = basler(pixel_format="Mono8").shoot("body", "view").image
    deep = basler(serial="0815-0001", pixel_format="Mono12", tone_map="square-root")
    image = deep.shoot("body", "view").image
    assert image.dtype == np.uint8
    expected = np.sqrt(flat[16, 24] / 255) * 255
    assert abs(int(image[16, 24]) - expected) <= 2


def test_deep_formats_without_a_tone_map_are_refused(basler: Open) -> None:
    with pytest.raises(ConfigurationError, match="tone_map"):
        basler(pixel_format="Mono12")


def test_a_format_the_camera_lacks_is_answered_with_those_it_has(basler: Open) -> None:
    with pytest.raises(ConfigurationError, match=r"no pixel_format 'Mono14'.*BayerRG8"):
        basler(pixel_format="Mono14", tone_map="linear")


def test_exposure_gain_and_features_reach_the_camera(basler: Open) -> None:
    camera = basler(exposure_us=2500, gain=3.0, features={"ReverseX": True, "BinningVertical": 2})
    assert node(camera, "ExposureTime").GetValue() == pytest.approx(2500, abs=2)
    assert node(camera, "Gain").GetValue() == pytest.approx(3.0, abs=0.1)
    assert node(camera, "ReverseX").GetValue() is True
    assert node(camera, "BinningVertical").GetValue() == 2


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"features": {"NoSuchThing": 1}}, "NoSuchThing"),
        ({"features": {"TestImageSelector": "Nope"}}, "TestImageSelector"),
        ({"gain": 1e9}, "Gain"),
        ({"exposure_us": 59e6}, "ExposureTime"),
        ({"trigger": "hardware-rising", "line": "Line9"}, "TriggerSource"),
        ({"trigger": "sometimes"}, "trigger"),
        ({"width_px": 60000}, "Width"),
    ],
)
def test_a_setting_the_camera_refuses_is_named(
    basler: Open, changed: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        basler(**changed)
    basler()  # and the camera is free again


def test_without_a_serial_there_must_be_one_camera(basler: Open) -> None:
    with pytest.raises(CameraError, match=r"2 cameras \(0815-0000, 0815-0001\).*serial"):
        basler(serial=None)
    with pytest.raises(CameraError, match=r"no camera with serial 4711 \(it sees 0815-0000"):
        basler(serial="4711")


def test_the_frame_names_the_cameras_own_id_and_timestamp(basler: Open) -> None:
    camera = basler()
    assert camera.shoot("body", "view").frame == "1 id=0 t=0"  # the emulator has no clock
    assert camera.shoot("body", "view").frame == "2 id=1 t=0"


def test_a_buffer_that_is_not_whole_is_no_picture_and_the_next_shot_works(basler: Open) -> None:
    camera = basler()
    camera.shoot("body", "view")
    node(camera, "ForceFailedBufferCount").SetValue(1)
    node(camera, "ForceFailedBuffer").Execute()
    with pytest.raises(ImageError, match="not whole") as caught:
        camera.shoot("body", "view")
    assert caught.value.reason is Reason.IMAGE_UNREADABLE
    assert camera.shoot("body", "view").frame.startswith("2 ")


def test_a_camera_that_was_lost_comes_back_with_all_its_settings(basler: Open) -> None:
    camera = basler(exposure_us=2500, gain=3.0, pixel_format="BayerGB8")
    before = camera.shoot("body", "view").image
    for number in (2, 3):
        unplug(camera)
        with pytest.raises(CameraError, match="lost"):
            camera.shoot("body", "view")
        again = camera.shoot("body", "view")
        assert again.frame.startswith(f"{number} ")
        assert np.array_equal(again.image, before)
        assert node(camera, "ExposureTime").GetValue() == pytest.approx(2500, abs=2)
        assert node(camera, "Gain").GetValue() == pytest.approx(3.0, abs=0.1)


# ---------------------------------------------------------------- triggers
# A hardware pulse is stood in for by the emulator's software trigger from another thread: to the
# driver, which waits for what somebody else starts, it is the same.


def test_a_hardware_trigger_waits_for_the_first_pulse_after_the_order(basler: Open) -> None:
    camera = basler(trigger="hardware-rising", line="Software")
    pulse(camera)
    time.sleep(0.1)  # nobody asked for this one
    timer = pulse_after(camera, 0.3)
    begun = time.monotonic()
    shot = camera.shoot("body", "view")
    timer.join()
    assert time.monotonic() - begun >= 0.3
    assert shot.frame == "1 id=1 t=0 unasked=1"


def test_a_hardware_trigger_without_a_pulse_says_what_to_check(basler: Open) -> None:
    camera = basler(trigger="hardware-rising", timeout_ms=100)
    assert node(camera, "TriggerSource").ToString() == "Line1"
    assert node(camera, "TriggerActivation").ToString() == "RisingEdge"
    with pytest.raises(CameraError, match=r"no pulse .*100 ms.*wiring"):
        camera.shoot("body", "view")


def test_a_picture_that_comes_before_its_exposure_can_be_over_is_of_another_moment(
    basler: Open,
) -> None:
    # The camera exposes for 1 ms, whatever the driver was told: so this picture is there long
    # before one that had begun after the call could be.
    camera = basler(trigger="hardware-rising", line="Software", exposure_us=400_000, timeout_ms=200)
    node(camera, "ExposureTime").SetValue(1000)
    timers = [pulse_after(camera, 0.1), pulse_after(camera, 0.5)]
    shot = camera.shoot("body", "view")
    for timer in timers:
        timer.join()
    assert shot.frame == "1 id=1 t=0 unasked=1"


def test_a_gap_in_the_frame_ids_is_no_picture_for_the_view(basler: Open) -> None:
    """The picture with id 1 is taken out of the buffers behind the driver's back, as a network
    that loses it would."""
    camera = basler(trigger="hardware-rising", line="Software")
    timer = pulse_after(camera, 0.1)
    camera.shoot("body", "view")
    timer.join()
    pulse(camera)
    taken = pylon_camera(camera).RetrieveResult(1000, pylon.TimeoutHandling_ThrowException)
    assert taken.GetBlockID() == 1
    taken.Release()
    timer = pulse_after(camera, 0.1)
    with pytest.raises(CameraError, match=r"frame id 2 came, but 1 before it never arrived"):
        camera.shoot("body", "view")
    timer.join()
    wait_for(camera)
    timer = pulse_after(camera, 0.1)
    assert camera.shoot("body", "view").frame.startswith("2 ")
    timer.join()


def test_more_pulses_than_buffers_do_not_spoil_the_next_order(basler: Open) -> None:
    camera = basler(trigger="hardware-rising", line="Software")
    for _ in range(2 * BUFFERS):
        pylon_camera(camera).ExecuteSoftwareTrigger()
        time.sleep(0.02)
    timer = pulse_after(camera, 0.2)
    assert camera.shoot("body", "view").frame.startswith("1 ")
    timer.join()


def test_a_late_picture_is_never_taken_for_the_next_one(basler: Open) -> None:
    camera = basler(timeout_ms=1)  # the emulator takes up to ten times as long
    with pytest.raises(CameraError, match="no picture within 1 ms"):
        for _ in range(50):
            camera.shoot("body", "view")
    time.sleep(0.1)
    camera._trigger = msgspec.structs.replace(camera._trigger, timeout_ms=1000)
    assert camera.shoot("body", "view").frame.endswith(" id=0 t=0"), "counts from 0 anew"


def test_free_run_takes_pictures_only_between_order_and_answer(basler: Open) -> None:
    camera = basler(trigger="free-run")
    for number in (1, 2):
        assert not pylon_camera(camera).IsGrabbing()
        assert camera.shoot("body", "view").frame == f"{number} id=0 t=0"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("last", "frame_id", "missing"),
    [
        (0, 1, 0),
        (7, 9, 1),
        (65535, 1, 0),
        (65534, 2, 2),
        (65535, 65536, 0),
        (7, 7, 1),
        (9, 7, 1),
        (2**40, 2**40 + 3, 2),
        (2**40, 1, 1),
    ],
)
def test_missing_frames_are_counted_over_the_end_of_a_16_bit_counter(
    last: int, frame_id: int, missing: int
) -> None:
    assert missing_between(last, frame_id) == missing
