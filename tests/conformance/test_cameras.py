"""What every camera must do, whatever it is made of.

A driver joins by one line in `FACTORIES`: a function that makes real settings in a folder of its
own and says which parts and views can be photographed there. Each must show, for every part and
view, `TARGET`: four quarters in the colours named there.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from fake_gige import FakeGigE

from edge.cameras import DRIVERS, Camera, Shot, open_camera
from inspection import imaging
from inspection.errors import CameraError, ConfigurationError, ImageError
from inspection.imaging import Frame
from inspection.rendering.pool import (
    FORMAT,
    Body,
    FrameFile,
    PatchFile,
    Pool,
    Shown,
    write_pool,
)

WIDTH, HEIGHT = 96, 64
RED, GREEN, BLUE, WHITE = (200, 20, 20), (20, 180, 20), (20, 20, 220), (240, 240, 240)
COLOUR_TOLERANCE = 12


def nothing(*_: object) -> None:
    pass


class Stand(NamedTuple):
    """A camera that has something to photograph."""

    settings: dict[str, object]
    parts: tuple[str, ...]
    views: tuple[str, ...]
    blind: Callable[[Any], None] | None = None
    """Makes the next shot of an open camera fail; None for a camera that fails for a part it does
    not know."""
    mend: Callable[[], None] = nothing
    """Undoes `blind`, where the camera cannot do that by itself."""
    shows_target: bool = True
    end: Callable[[], None] = nothing


def target() -> Frame:
    """Red, green / blue, white."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[: HEIGHT // 2, : WIDTH // 2] = RED
    picture[: HEIGHT // 2, WIDTH // 2 :] = GREEN
    picture[HEIGHT // 2 :, : WIDTH // 2] = BLUE
    picture[HEIGHT // 2 :, WIDTH // 2 :] = WHITE
    return picture


def folder_stand(place: Path) -> Stand:
    for part in ("board-1", "board-2"):
        (place / part).mkdir()
        for view in ("top", "bottom"):
            (place / part / f"{view}.png").write_bytes(imaging.encode_png(target()))
    return Stand({"directory": str(place)}, ("board-1", "board-2"), ("top", "bottom"))


def simulated_stand(place: Path) -> Stand:
    (place / "whole.raw").write_bytes(target().tobytes())
    # The lower right quarter comes as a patch: what is seen must be frame and patch together.
    white = target()[HEIGHT // 2 :, WIDTH // 2 :]
    (place / "white.raw").write_bytes(white.tobytes())
    patch = PatchFile(
        left=WIDTH // 2, top=HEIGHT // 2, width=WIDTH // 2, height=HEIGHT // 2, file="white.raw"
    )
    shown = Shown(frame="whole", patches=(patch,))
    parts = ("BODY-0001", "BODY-0002")
    views = ("v01", "v02")
    pool = Pool(
        format=FORMAT,
        seed=0,
        views=views,
        stances=1,
        frames={"whole": FrameFile(file="whole.raw", width=WIDTH, height=HEIGHT)},
        bodies=tuple(
            Body(part=part, views=dict.fromkeys(views, shown), defects={}) for part in parts
        ),
    )
    write_pool(place, pool)
    return Stand({"directory": str(place)}, parts, views)


def unplug_basler(camera: Any) -> None:
    """The emulator's own way of telling pylon that the camera was pulled out."""
    camera._hand.device._camera.GetNodeMap().GetNode("FirePnPCallbackValue").SetValue(1)


def basler_stand(place: Path) -> Stand:
    os.environ["PYLON_CAMEMU"] = "2"
    pytest.importorskip("pypylon", reason="pypylon is not installed (extra basler)")
    (place / "target.png").write_bytes(imaging.encode_png(target()))
    settings = {
        "serial": "0815-0001",
        "exposure_us": 1000,
        "gain": 1.5,
        "trigger": "software",
        "pixel_format": "RGB8",
        "width_px": WIDTH,
        "height_px": HEIGHT,
        "features": {
            "TestImageSelector": "Off",
            "ImageFilename": f"{place}/",
            "ImageFileMode": "On",
        },
    }
    return Stand(settings, ("body-1", "body-2"), ("left", "right"), blind=unplug_basler)


def aravis_stand(place: Path) -> Stand:
    camera = FakeGigE()
    settings = {
        "device": camera.address,
        "exposure_us": 1000,
        "trigger": "software",
        "pixel_format": "RGB8",
        "width_px": WIDTH,
        "height_px": HEIGHT,
    }
    return Stand(
        settings,
        ("body-1", "body-2"),
        ("left", "right"),
        blind=lambda _: camera.end(),
        mend=camera.begin,
        shows_target=False,
        end=camera.close,
    )


def opencv_stand(place: Path) -> Stand:
    file, away = place / "target.mkv", place / "away.mkv"
    code = imaging.cv2.VideoWriter.fourcc(*"FFV1")
    video = imaging.cv2.VideoWriter(str(file), code, 10, (WIDTH, HEIGHT))
    for _ in range(3):
        video.write(target()[:, :, ::-1])
    video.release()

    def blind(camera: Any) -> None:
        camera._video.release()
        file.rename(away)

    settings: dict[str, object] = {"file": str(file), "repeat": True}
    return Stand(
        settings, ("body-1", "body-2"), ("top", "side"), blind=blind, mend=lambda: move(away, file)
    )


def move(source: Path, place: Path) -> None:
    source.rename(place)


FACTORIES: dict[str, Callable[[Path], Stand]] = {
    "aravis": aravis_stand,
    "basler": basler_stand,
    "folder": folder_stand,
    "opencv": opencv_stand,
    "simulated": simulated_stand,
}


@pytest.fixture(params=sorted(FACTORIES))
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stand(driver: str, tmp_path: Path) -> Iterator[Stand]:
    stand = FACTORIES[driver](tmp_path)
    yield stand
    stand.end()


@pytest.fixture
def camera(driver: str, stand: Stand) -> Iterator[Camera]:
    with open_camera(driver, stand.settings) as camera:
        yield camera


def every_shot(camera: Camera, stand: Stand) -> list[Shot]:
    return [camera.shoot(part, view) for part in stand.parts for view in stand.views]


def number(shot: Shot) -> int:
    match = re.match(r"\d+", shot.frame)
    assert match, f"frame id {shot.frame!r} does not begin with a number"
    return int(match[0])


def test_every_driver_stands_in_this_suite() -> None:
    assert set(FACTORIES) == set(DRIVERS)


def test_a_picture_is_a_contiguous_8_bit_frame_of_its_own(camera: Camera, stand: Stand) -> None:
    one, other, *_ = every_shot(camera, stand)
    for shot in (one, other):
        assert shot.image.dtype == np.uint8
        assert shot.image.shape in ((HEIGHT, WIDTH), (HEIGHT, WIDTH, 3))
        assert shot.image.flags.c_contiguous
        assert shot.image.flags.writeable
    before = other.image.copy()
    one.image[:] = 0
    assert np.array_equal(other.image, before), "two pictures share memory"


def test_colours_come_in_rgb_order_the_right_way_up(camera: Camera, stand: Stand) -> None:
    if not stand.shows_target:
        pytest.skip("this stand shows pictures of its own; test_pixels.py has the colours")
    image = camera.shoot(stand.parts[0], stand.views[0]).image
    if image.ndim == 2:
        pytest.skip("a monochrome camera")
    quarters = {
        RED: image[HEIGHT // 4, WIDTH // 4],
        GREEN: image[HEIGHT // 4, 3 * WIDTH // 4],
        BLUE: image[3 * HEIGHT // 4, WIDTH // 4],
        WHITE: image[3 * HEIGHT // 4, 3 * WIDTH // 4],
    }
    for colour, seen in quarters.items():
        assert np.abs(seen.astype(int) - colour).max() <= COLOUR_TOLERANCE, (colour, seen)


def test_frame_ids_differ_from_shot_to_shot_and_grow(camera: Camera, stand: Stand) -> None:
    shots = every_shot(camera, stand) + every_shot(camera, stand)
    numbers = [number(shot) for shot in shots]
    assert numbers == sorted(set(numbers))
    assert all(0 < len(shot.frame) <= 500 and shot.frame.isprintable() for shot in shots)


def test_the_time_of_capture_lies_between_trigger_and_return(camera: Camera, stand: Stand) -> None:
    for part in stand.parts:
        before = time.time_ns()
        shot = camera.shoot(part, stand.views[0])
        slack = 50_000_000  # a camera's clock may be set by another than ours
        assert before - slack <= shot.captured_ns <= time.time_ns() + slack


def test_a_hash_of_what_was_delivered_is_a_hash(camera: Camera, stand: Stand) -> None:
    shot = camera.shoot(stand.parts[0], stand.views[0])
    assert shot.data_sha256 is None or re.fullmatch(r"[0-9a-f]{64}", shot.data_sha256)


def test_a_trigger_without_a_picture_is_an_error_and_the_next_one_works(
    driver: str, camera: Camera, stand: Stand
) -> None:
    first = camera.shoot(stand.parts[0], stand.views[0])
    part = "no-such-part"
    if stand.blind is not None:
        part = stand.parts[0]
        stand.blind(camera)
    with pytest.raises(CameraError) as caught:
        camera.shoot(part, stand.views[0])
    assert driver in str(caught.value)
    stand.mend()
    again = camera.shoot(stand.parts[0], stand.views[0])
    assert number(again) > number(first)


@pytest.mark.parametrize("part", ["", "..", "../x", "a/b", "/etc/passwd", "a\0b", "x" * 65, "é"])
def test_a_part_that_is_no_identifier_never_reaches_the_device(
    camera: Camera, stand: Stand, part: str
) -> None:
    with pytest.raises(CameraError):
        camera.shoot(part, stand.views[0])
    with pytest.raises(CameraError):
        camera.shoot(stand.parts[0], part)
    camera.shoot(stand.parts[0], stand.views[0])


def test_a_closed_camera_says_so_and_closes_once_more(driver: str, stand: Stand) -> None:
    camera = open_camera(driver, stand.settings)
    camera.shoot(stand.parts[0], stand.views[0])
    camera.close()
    camera.close()
    with pytest.raises(CameraError, match="closed"):
        camera.shoot(stand.parts[0], stand.views[0])


def test_a_camera_can_be_opened_again_after_it_was_closed(driver: str, stand: Stand) -> None:
    for _ in range(2):
        with open_camera(driver, stand.settings) as camera:
            assert every_shot(camera, stand)


def test_an_unknown_setting_is_refused_by_name(driver: str, stand: Stand) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_camera(driver, {**stand.settings, "exposre_ms": 3})
    assert "exposre_ms" in str(caught.value)
    assert driver in str(caught.value)


def test_a_setting_of_the_wrong_kind_is_refused_by_name(driver: str, stand: Stand) -> None:
    for name in stand.settings:
        with pytest.raises(ConfigurationError, match=name):
            open_camera(driver, {**stand.settings, name: [None]})


def test_a_driver_opens_by_its_dotted_path_too(driver: str, stand: Stand) -> None:
    with open_camera(DRIVERS[driver], stand.settings) as camera:
        assert every_shot(camera, stand)


# ---------------------------------------------------------------- the table


def test_an_unknown_driver_is_answered_with_the_known_ones() -> None:
    for name in ("foldr", "", "a:b:c", ":X", "folder:", "os.path"):
        with pytest.raises(ConfigurationError) as caught:
            open_camera(name, {})
        assert all(known in str(caught.value) for known in DRIVERS)


def test_a_missing_sdk_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vendor_driver.py").write_text("import vendor_sdk_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(DRIVERS, "vendor", "vendor_driver:Camera")
    with pytest.raises(ConfigurationError) as caught:
        open_camera("vendor", {})
    text = str(caught.value)
    assert all(word in text for word in ("vendor_sdk_nobody_has", "install", "folder"))


def test_a_shared_library_that_is_missing_is_a_missing_sdk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "binary_driver.py").write_text("import ctypes\nctypes.CDLL('libnobody.so')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"libnobody\.so"):
        open_camera("binary_driver:Camera", {})


@pytest.mark.parametrize(
    "place", ["edge.cameras.folder:NoSuchClass", "edge.outbox:Outbox", "nowhere.at_all:Camera"]
)
def test_a_class_that_is_no_camera_is_refused(place: str) -> None:
    with pytest.raises(ConfigurationError, match=place):
        open_camera(place, {})


def test_a_driver_of_ones_own_needs_no_change_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OwnSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        level: int

    class OwnCamera:
        Settings = OwnSettings

        def __init__(self, settings: OwnSettings) -> None:
            self.level = settings.level

    monkeypatch.setattr("edge.cameras.folder.OwnCamera", OwnCamera, raising=False)
    camera: Any = open_camera("edge.cameras.folder:OwnCamera", {"level": 7})
    assert camera.level == 7


# ---------------------------------------------------------------- camera folder


def open_folder(place: Path, **settings: object) -> Camera:
    return open_camera("folder", {"directory": str(place), **settings})


def test_a_file_that_is_no_picture_is_an_image_error_and_stops_nothing(tmp_path: Path) -> None:
    good = imaging.encode_png(target())
    bad = {"empty": b"", "truncated": good[: len(good) // 2], "random": bytes(range(256))}
    for name, data in {**bad, "good": good}.items():
        (tmp_path / f"{name}.png").write_bytes(data)
    with open_folder(tmp_path, pattern="{part}.png") as camera:
        for name in bad:
            with pytest.raises(ImageError) as caught:
                camera.shoot(name, "top")
            assert f"{name}.png" in str(caught.value)
            assert camera.shoot("good", "top").image.shape == (HEIGHT, WIDTH, 3)


def test_a_pattern_names_the_file_of_a_part(tmp_path: Path) -> None:
    (tmp_path / "00041011_test.png").write_bytes(imaging.encode_png(target()))
    with open_folder(tmp_path, pattern="{part}_test.png") as camera:
        assert camera.shoot("00041011", "any").frame == "1 00041011_test.png"
        assert camera.shoot("00041011", "any").frame == "2 00041011_test.png"


@pytest.mark.parametrize(
    "pattern",
    [
        "{view}.png",
        "board.png",
        "",
        "{part}/{lot}.png",
        "{part!r}",
        "{part.__class__}",
        "{part}{",
        "../{part}.png",
        "/{part}.png",
        "{part}/../../x.png",
    ],
)
def test_a_pattern_that_names_no_part_or_leads_outside_is_refused(
    tmp_path: Path, pattern: str
) -> None:
    with pytest.raises(ConfigurationError, match="pattern"):
        open_folder(tmp_path, pattern=pattern)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(imaging.encode_png(target()))
    place = tmp_path / "boards"
    place.mkdir()
    (place / "linked.png").symlink_to(tmp_path / "secret.png")
    (place / "outside").symlink_to(tmp_path)
    with (
        open_folder(place, pattern="{part}.png") as camera,
        pytest.raises(CameraError, match="leads out"),
    ):
        camera.shoot("linked", "top")
    with open_folder(place) as camera, pytest.raises(CameraError, match="leads out"):
        camera.shoot("outside", "secret")


def test_a_folder_in_the_place_of_a_file_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "part" / "view.png").mkdir(parents=True)
    with open_folder(tmp_path) as camera, pytest.raises(CameraError, match="no file"):
        camera.shoot("part", "view")


def test_a_folder_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        open_folder(tmp_path / "nowhere")


def test_without_repeat_a_part_can_be_photographed_once(tmp_path: Path) -> None:
    stand = folder_stand(tmp_path)
    with open_folder(tmp_path, repeat=False) as camera:
        every_shot(camera, stand)
        with pytest.raises(CameraError, match="already"):
            camera.shoot(stand.parts[0], stand.views[0])


def test_the_delay_stands_for_exposure_and_transfer(tmp_path: Path) -> None:
    stand = folder_stand(tmp_path)
    with open_folder(tmp_path, delay_ms=80) as camera:
        before = time.monotonic()
        camera.shoot(stand.parts[0], stand.views[0])
        assert time.monotonic() - before >= 0.08
    with pytest.raises(ConfigurationError, match="delay_ms"):
        open_folder(tmp_path, delay_ms=-1)
