"""Camera ``aravis`` against Aravis' own fake GigE Vision camera, over loopback."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fake_gige import FakeGigE

from edge.cameras import open_camera, seen
from inspection.errors import CameraError, ConfigurationError, ImageError

WIDTH, HEIGHT = 96, 64

Open = Callable[..., Any]


@pytest.fixture
def fake() -> Iterator[FakeGigE]:
    camera = FakeGigE()
    yield camera
    camera.close()


@pytest.fixture
def aravis(fake: FakeGigE) -> Iterator[Open]:
    opened = []

    def open_one(**changed: object) -> Any:
        settings = {
            "device": fake.address,
            "exposure_us": 5000,
            "width_px": WIDTH,
            "height_px": HEIGHT,
        }
        camera = open_camera("aravis", {**settings, **changed})
        opened.append(camera)
        return camera

    yield open_one
    for camera in opened:
        camera.close()


def said(frame: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"(\d+) id=(\d+) t=(\d+)", frame)
    assert match, frame
    return int(match[1]), int(match[2]), int(match[3])


def is_whole(image: np.ndarray[Any, Any]) -> bool:
    """The fake camera draws ramps: neighbours differ little, rows differ."""
    return bool(image.std() > 5)


def test_the_cameras_that_are_there_are_found(fake: FakeGigE) -> None:
    found = {str(each.settings["device"]): each.what for each in seen("aravis") or ()}
    assert fake.address in found["Aravis-Fake-GV01"]


@pytest.mark.parametrize("device", ["127.0.0.1", "Aravis-Fake-GV01", None])
def test_a_camera_is_named_by_address_or_id_or_is_the_only_one(
    aravis: Open, device: str | None
) -> None:
    assert is_whole(aravis(device=device).shoot("body", "view").image)


def test_a_camera_that_is_not_there_says_what_to_check(aravis: Open) -> None:
    with pytest.raises(CameraError, match=r"cannot open Nobody-1: .*power, cable and IP"):
        aravis(device="Nobody-1")


@pytest.mark.parametrize(
    ("pixel_format", "tone_map", "shape"),
    [
        ("Mono8", None, (HEIGHT, WIDTH)),
        ("RGB8", None, (HEIGHT, WIDTH, 3)),
        ("BayerRG8", None, (HEIGHT, WIDTH, 3)),
        ("Mono16", "square-root", (HEIGHT, WIDTH)),
    ],
)
def test_every_kind_of_pixel_format_becomes_a_frame(
    aravis: Open, pixel_format: str, tone_map: str | None, shape: tuple[int, ...]
) -> None:
    image = aravis(pixel_format=pixel_format, tone_map=tone_map).shoot("body", "view").image
    assert image.shape == shape
    assert image.dtype == np.uint8
    assert is_whole(image)


def test_the_frame_names_the_cameras_own_id_and_timestamp(aravis: Open) -> None:
    camera = aravis()
    shots = [said(camera.shoot("body", "view").frame) for _ in range(3)]
    assert [number for number, _, _ in shots] == [1, 2, 3]
    assert shots[2][1] - shots[0][1] == 2
    assert shots[0][2] < shots[1][2] < shots[2][2]


def test_exposure_and_gain_reach_the_camera_and_its_pictures(aravis: Open) -> None:
    from edge.cameras.aravis import _call

    bright: dict[float, float] = {}
    for exposure_us, gain in ((2500.0, 0.0), (10_000.0, 6.0)):
        camera = aravis(exposure_us=exposure_us, gain=gain, pixel_format="Mono8")
        device = camera._hand.device._camera
        assert _call("arv_camera_get_exposure_time", device) == pytest.approx(exposure_us, abs=1)
        assert _call("arv_camera_get_gain", device) == pytest.approx(gain, abs=0.1)
        bright[exposure_us] = float(camera.shoot("body", "view").image.mean())
        camera.close()
    assert bright[10_000.0] != bright[2500.0]


def test_a_16_bit_frame_counter_may_begin_anew(aravis: Open) -> None:
    camera = aravis()  # the fake camera's counter begins at 65401
    ids = [said(camera.shoot("body", "view").frame)[1] for _ in range(140)]
    assert max(ids) == 65535
    assert min(ids) == 1


def test_frames_that_were_lost_are_no_picture_for_the_next_view(aravis: Open) -> None:
    """Triggers beyond what the buffers hold, of which the driver knows nothing."""
    camera = aravis()
    camera.shoot("body", "view")
    device = camera._hand.device
    device.trigger()
    time.sleep(0.15)
    assert device.receive(0) is not None  # taken away, as a network would
    with pytest.raises(CameraError, match=r"1 before it never arrived"):
        camera.shoot("body", "view")
    assert said(camera.shoot("body", "view").frame)[0] == 2


def test_a_network_that_loses_packets_gives_no_half_pictures() -> None:
    fake = FakeGigE("-r", "20")
    settings = {"device": fake.address, "exposure_us": 5000, "pixel_format": "Mono8"}
    whole, failed = 0, 0
    try:
        with open_camera("aravis", {**settings, "width_px": 128, "height_px": 128}) as camera:
            for _ in range(30):
                try:
                    image = camera.shoot("body", "view").image
                except (CameraError, ImageError):
                    failed += 1
                else:
                    whole += 1
                    # The ramp of the fake camera runs from corner to corner.
                    assert np.array_equal(image[1:, :-1], image[:-1, 1:]), "a hole in the ramp"
    finally:
        fake.close()
    assert whole > 0
    assert failed > 0, "nothing was lost: this shows nothing"


def test_a_camera_that_was_lost_is_found_again_with_its_settings(
    aravis: Open, fake: FakeGigE
) -> None:
    camera = aravis(pixel_format="BayerRG8")
    camera.shoot("body", "view")
    fake.end()
    begun = time.monotonic()
    with pytest.raises(CameraError, match="lost"):
        camera.shoot("body", "view")
    assert time.monotonic() - begun < 2.5, "the worker was held up"
    assert not camera.present()
    fake.begin()
    until = time.monotonic() + 15
    while not camera.present():
        assert time.monotonic() < until, "not found again"
        time.sleep(0.1)
    shot = camera.shoot("body", "view")
    # The second picture of this camera; one that it sent while it woke up is counted, not taken.
    assert re.match(r"2 id=\d+ t=\d+( unasked=\d+)?$", shot.frame), shot.frame
    assert shot.image.shape == (HEIGHT, WIDTH, 3)


def test_looking_for_a_lost_camera_holds_nobody_up(aravis: Open, fake: FakeGigE) -> None:
    camera = aravis()
    fake.end()
    assert not camera.present()
    begun = time.monotonic()
    assert not any(camera.present() for _ in range(10))
    assert time.monotonic() - begun < 0.5


def test_a_hardware_trigger_without_a_pulse_says_what_to_check(aravis: Open) -> None:
    camera = aravis(trigger="hardware-rising", timeout_ms=100)
    with pytest.raises(CameraError, match=r"no pulse .*100 ms.*wiring"):
        camera.shoot("body", "view")


def test_free_run_gives_a_new_picture_for_each_order(aravis: Open) -> None:
    camera = aravis(trigger="free-run")
    times = []
    for number in (1, 2, 3):
        said_now = said(camera.shoot("body", "view").frame)
        assert said_now[0] == number
        times.append(said_now[2])
        time.sleep(0.1)
    assert times == sorted(set(times))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"features": {"NoSuchThing": 1}}, "NoSuchThing"),
        ({"pixel_format": "Mono14", "tone_map": "linear"}, r"it has BayerBG8"),
        ({"pixel_format": "Mono16"}, "tone_map"),
        ({"trigger": "hardware-rising", "line": "Line9"}, r"Line9.*it has Line0, Software"),
        ({"exposure_us": 0}, "exposure_us"),
        ({"trigger": "sometimes"}, "trigger"),
    ],
)
def test_a_setting_the_camera_refuses_is_named(
    aravis: Open, changed: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        aravis(**changed)
    aravis().shoot("body", "view")
