"""Pictures: what is read, what is refused, and the one crop."""

from __future__ import annotations

import contextlib
import io
import struct
import time
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from inspection import imaging
from inspection.errors import ImageError
from inspection.imaging import (
    CropSpec,
    Frame,
    ImagingVersion,
    check_frame,
    crop,
    decode,
    encode_png,
)
from inspection.messages import Reason, Region


def picture(height: int = 48, width: int = 64, channels: int = 3) -> Frame:
    """Something with structure, different in each channel and along each axis."""
    y, x = np.mgrid[:height, :width]
    waves = [120 + 90 * np.sin(x / (3 + c)) * np.cos(y / (7 - c)) for c in range(channels)]
    return np.ascontiguousarray(np.stack(waves, axis=-1).squeeze().astype(np.uint8))


def encoded(kind: str, frame: Frame | None = None, **options: Any) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture() if frame is None else frame).save(data, kind, **options)
    return data.getvalue()


def refused(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.reason is Reason.IMAGE_UNREADABLE
    assert 0 < len(str(caught.value)) <= 250
    return str(caught.value)


def chunk(name: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def png(width: int, height: int, pixels: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


# ---------------------------------------------------------------- what is read

LOSSLESS = [
    ("PNG", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
]


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_give_the_very_pixels(
    kind: str, options: dict[str, Any], channels: int
) -> None:
    frame = picture(channels=channels)
    found = decode(encoded(kind, frame, **options))
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert np.array_equal(found, frame)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_gives_its_colours_in_rgb_order(progressive: bool) -> None:
    frame = np.empty((32, 32, 3), np.uint8)
    frame[:] = (200, 90, 20)
    found = decode(encoded("JPEG", frame, quality=95, progressive=progressive))
    assert np.abs(found.astype(int) - frame).max() <= 3


@given(
    arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 20), st.integers(1, 20))
        | st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)),
    )
)
def test_what_encode_png_writes_decode_reads(frame: Frame) -> None:
    assert np.array_equal(decode(encode_png(frame)), frame)


def test_transparency_is_dropped_and_the_colour_stays() -> None:
    frame = np.dstack([picture(), np.full((48, 64), 128, np.uint8)])
    assert np.array_equal(decode(encoded("PNG", frame)), picture())


def test_palette_and_two_level_pictures_become_plain_levels() -> None:
    data = io.BytesIO()
    Image.fromarray(picture()).convert("P").save(data, "PNG")
    assert decode(data.getvalue()).shape == (48, 64, 3)
    data = io.BytesIO()
    Image.fromarray(picture(channels=1) > 120).save(data, "PNG")
    assert set(np.unique(decode(data.getvalue()))) == {0, 255}


def test_a_cmyk_jpeg_gives_the_colours_a_person_sees() -> None:
    for colour in ((255, 0, 0), (10, 200, 30), (128, 128, 128)):
        data = io.BytesIO()
        Image.new("RGB", (32, 32), colour).convert("CMYK").save(data, "JPEG", quality=95)
        assert np.abs(decode(data.getvalue())[16, 16].astype(int) - colour).max() <= 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_orientation_tag_turns_nothing(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    plain, tagged = decode(encoded(kind)), decode(encoded(kind, exif=exif))
    assert tagged.shape == (48, 64, 3)
    assert np.array_equal(plain, tagged)


def test_a_tiff_that_asks_to_be_turned_is_refused_because_opencv_would() -> None:
    for orientation in (2, 3, 6, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        assert "orientation" in refused(encoded("TIFF", exif=exif))
    exif = Image.Exif()
    exif[0x0112] = 1
    assert np.array_equal(decode(encoded("TIFF", exif=exif)), picture())


def test_zeros_after_the_end_of_a_jpeg_do_no_harm() -> None:
    data = encoded("JPEG")
    assert np.array_equal(decode(data + bytes(512)), decode(data))


# ---------------------------------------------------------------- what is refused


def test_nothing_at_all_is_refused() -> None:
    assert "empty" in refused(b"")


@given(st.binary(max_size=1))
def test_one_byte_is_refused(data: bytes) -> None:
    refused(data)


SIGNATURES = [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*"]


@given(st.sampled_from(SIGNATURES), st.binary(max_size=400))
def test_random_bytes_are_refused_whatever_they_begin_with(start: bytes, data: bytes) -> None:
    refused(start + data)


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        encoded("GIF", picture(channels=1)),
        encoded("WEBP"),
        encoded("PPM"),
        b"%PDF-1.7\n",
        b"\x80\x04\x95",
    ],
    ids=["svg", "gif", "webp", "ppm", "pdf", "pickle"],
)
def test_other_formats_are_refused(data: bytes) -> None:
    assert "JPEG" in refused(data)


WRITTEN = {
    "jpeg": encoded("JPEG"),
    "progressive jpeg": encoded("JPEG", progressive=True),
    "png": encoded("PNG"),
    "bmp": encoded("BMP"),
    "tiff": encoded("TIFF"),
    "lzw tiff": encoded("TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_file_cut_short_anywhere_is_refused(name: str) -> None:
    data = WRITTEN[name]
    for share in (0.01, 0.05, 0.25, 0.5, 0.95):
        refused(data[: int(len(data) * share)])
    for missing in (1, 2, 3, 12, 13):
        refused(data[:-missing])


@pytest.mark.parametrize("name", sorted(WRITTEN.keys() - {"bmp", "tiff"}))  # zeros are pixels there
def test_a_file_whose_end_was_never_written_is_refused(name: str) -> None:
    data = WRITTEN[name]
    for share in (0.3, 0.5, 0.95):
        whole = int(len(data) * share)
        refused(data[:whole] + bytes(len(data) - whole))


def test_a_header_without_a_picture_is_refused() -> None:
    data = WRITTEN["jpeg"]
    refused(data[: data.index(b"\xff\xda")])
    refused(data[: data.index(b"\xff\xda")] + b"\xff\xd9")
    refused(WRITTEN["png"][:33])
    refused(WRITTEN["png"][:33] + chunk(b"IEND", b""))


def test_a_jpeg_without_its_end_marker_is_refused() -> None:
    assert "end marker" in refused(WRITTEN["jpeg"][:-2])
    assert "end marker" in refused(WRITTEN["jpeg"] + b"appended")


def test_a_png_with_fewer_pixels_than_it_claims_is_refused() -> None:
    rows = b"".join(b"\0" + bytes(range(64)) for _ in range(48))
    assert decode(png(64, 48, zlib.compress(rows))).shape == (48, 64)
    refused(png(64, 48, zlib.compress(rows[: len(rows) // 2])))
    refused(png(64, 48, zlib.compress(rows[:-1])))
    refused(png(64, 48, zlib.compress(rows)[:-5]))
    refused(png(64, 49, zlib.compress(rows)))


@given(st.integers(0, len(WRITTEN["png"]) * 8 - 1))
def test_no_flipped_bit_of_a_png_changes_what_is_seen(bit: int) -> None:
    data = bytearray(WRITTEN["png"])
    data[bit // 8] ^= 1 << bit % 8
    assert refused(bytes(data))


def test_compressed_tiff_data_that_make_no_sense_are_refused() -> None:
    data = bytearray(WRITTEN["lzw tiff"])
    data[len(data) // 3 : len(data) // 3 + 60] = bytes(60)
    refused(bytes(data))


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(WRITTEN)),
    st.lists(st.tuples(st.integers(0, 20000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_whatever_bytes_change_a_frame_or_a_reason_comes_out(
    name: str, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(WRITTEN[name])
    for place, value in changes:
        data[place % len(data)] = value
    with contextlib.suppress(ImageError):
        frame = decode(bytes(data))
        assert frame.dtype == np.uint8
        assert frame.ndim in (2, 3)


def test_a_small_file_that_claims_billions_of_pixels_costs_nothing() -> None:
    for side in (65_500, 20_000, 2**31 - 1):
        bomb = png(side, side, zlib.compress(bytes(1000)))
        before = time.monotonic()
        refused(bomb)
        assert time.monotonic() - before < 0.5


def test_more_than_8_bits_ask_for_a_tone_map() -> None:
    for kind in ("PNG", "TIFF"):
        data = io.BytesIO()
        Image.fromarray(picture(channels=1).astype(np.uint16) * 256).save(data, kind)
        assert "tone map" in refused(data.getvalue())


def test_several_pictures_in_one_file_are_refused() -> None:
    image, data = Image.fromarray(picture()), io.BytesIO()
    image.save(data, "MPO", save_all=True, append_images=[image])
    assert "MPO" in refused(data.getvalue())


def test_a_refusal_says_nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    for data in WRITTEN.values():
        refused(data[: len(data) // 2])
    assert capfd.readouterr().err == ""


def test_reading_a_5_megapixel_frame_costs_little_more_than_decoding_it() -> None:
    """As a ratio within one run, because the machine may be busy; 1.0 to 1.5 were measured."""
    frame = np.random.default_rng(0).normal(picture(2048, 2448), 5).clip(0, 255).astype(np.uint8)
    for kind, options in (("JPEG", {"quality": 92}), ("PNG", {"compress_level": 1})):
        data = encoded(kind, frame, **options)
        pixels = np.frombuffer(data, np.uint8)
        bare, ours = [], []
        for _ in range(4):
            begun = time.thread_time()
            cv2.imdecode(pixels, cv2.IMREAD_UNCHANGED)
            between = time.thread_time()
            decode(data)
            bare.append(between - begun)
            ours.append(time.thread_time() - between)
        assert min(ours) < 4 * min(bare), (kind, bare, ours)


# ---------------------------------------------------------------- first checks


def reason_of(frame: Frame, width: int = 64, height: int = 48) -> Reason:
    try:
        check_frame(frame, width, height)
    except ImageError as error:
        return error.reason
    return Reason.NONE


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3)])
def test_a_covered_lens_and_a_saturated_sensor_are_no_pictures(shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(0).integers(0, 3, shape, np.uint8)
    assert reason_of(np.zeros(shape, np.uint8)) is Reason.IMAGE_TOO_DARK
    assert reason_of(noise) is Reason.IMAGE_TOO_DARK
    assert reason_of(np.full(shape, 255, np.uint8)) is Reason.IMAGE_TOO_BRIGHT
    assert reason_of(255 - noise) is Reason.IMAGE_TOO_BRIGHT


@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3)])
def test_a_dark_view_with_something_in_it_is_a_picture(shape: tuple[int, ...]) -> None:
    frame = np.full(shape, 2, np.uint8)
    frame[20:24, 30:38] = 90
    assert frame.mean() < imaging.DARK_MEAN
    assert reason_of(frame) is Reason.NONE
    assert reason_of(255 - frame) is Reason.NONE
    assert reason_of(np.full(shape, 127, np.uint8)) is Reason.NONE
    assert reason_of(picture()) is Reason.NONE


def test_one_channel_that_shows_something_is_enough() -> None:
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[::2, :, 2] = 40
    assert reason_of(frame) is Reason.NONE


@pytest.mark.parametrize(("width", "height"), [(48, 64), (63, 48), (64, 49), (640, 480)])
def test_a_frame_of_another_size_than_the_plan_is_refused(width: int, height: int) -> None:
    with pytest.raises(ImageError, match=f"{width} x {height}") as caught:
        check_frame(picture(), width, height)
    assert caught.value.reason is Reason.IMAGE_WRONG_SIZE


# ---------------------------------------------------------------- the crop


def region(left: float, top: float, width: float, height: float) -> Region:
    return Region(left_px=left, top_px=top, width_px=width, height_px=height)


def spec(width: int, height: int, channels: int = 3, margin: float = 0.0) -> CropSpec:
    return CropSpec(width=width, height=height, channels=channels, margin=margin)


def test_a_region_of_the_models_size_is_the_exact_slice() -> None:
    frame = picture()
    for left, top in ((0, 0), (10, 7), (64 - 16, 48 - 12)):
        found = crop(frame, region(left, top, 16, 12), spec(16, 12))
        assert np.array_equal(found, frame[top : top + 12, left : left + 16])


def test_half_a_pixel_is_rounded_up() -> None:
    frame = picture()
    assert np.array_equal(crop(frame, region(10.5, 7.49, 16, 12), spec(16, 12)), frame[7:19, 11:27])


def test_a_margin_shows_the_surroundings() -> None:
    frame = picture()
    found = crop(frame, region(20, 20, 8, 8), spec(16, 16, margin=0.5))
    assert np.array_equal(found, frame[16:32, 16:32])


def test_beyond_the_border_the_edge_pixels_go_on() -> None:
    frame = picture()
    found = crop(frame, region(0, 0, 8, 8), spec(16, 16, margin=0.5))
    padded = np.pad(frame, ((4, 0), (4, 0), (0, 0)), mode="edge")
    assert np.array_equal(found, padded[:16, :16])
    found = crop(frame, region(56, 40, 8, 8), spec(16, 16, margin=0.5))
    padded = np.pad(frame, ((0, 4), (0, 4), (0, 0)), mode="edge")
    assert np.array_equal(found, padded[-16:, -16:])


def test_colour_becomes_grey_by_bt_601_and_grey_three_equal_channels() -> None:
    frame = picture()
    grey = crop(frame, region(8, 8, 16, 16), spec(16, 16, channels=1))
    assert grey.shape == (16, 16, 1)
    wanted = frame[8:24, 8:24] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[:, :, 0] - wanted).max() <= 1
    colour = crop(picture(channels=1), region(8, 8, 16, 16), spec(16, 16))
    assert colour.shape == (16, 16, 3)
    assert (colour == colour[:, :, :1]).all()


@pytest.mark.parametrize(
    ("side", "version", "how"),
    [
        (160, "1", cv2.INTER_AREA),
        (160, "2", cv2.INTER_LINEAR),
        (255, "2", cv2.INTER_LINEAR),
        (256, "2", cv2.INTER_AREA),
        (100, "1", cv2.INTER_LINEAR),
        (100, "2", cv2.INTER_LINEAR),
    ],
)
def test_each_imaging_version_has_its_own_way_to_resize(
    side: int, version: ImagingVersion, how: int
) -> None:
    rng = np.random.default_rng(4)
    frame = rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    wanted = CropSpec(width=128, height=128, channels=3, imaging=version)
    whole = frame[20 : 20 + side, 10 : 10 + side]
    expected = cv2.resize(whole, (128, 128), interpolation=how)
    assert np.array_equal(crop(frame, region(10, 20, side, side), wanted), expected)


def test_shrinking_averages_and_a_flat_picture_stays_flat() -> None:
    frame = np.zeros((48, 64), np.uint8)
    frame[:, ::2] = 200
    assert (crop(frame, region(0, 0, 64, 48), spec(32, 24, channels=1)) == 100).all()
    flat = np.full((48, 64, 3), 77, np.uint8)
    for side in (8, 31, 200):
        assert (crop(flat, region(3.3, 5.1, 20.7, 11.9), spec(side, side)) == 77).all()


def test_a_region_outside_the_frame_is_a_mistake_of_the_caller() -> None:
    for outside in (region(64, 0, 8, 8), region(0, 48, 8, 8), region(1000, 1000, 1, 1)):
        with pytest.raises(ValueError, match="outside"):
            crop(picture(), outside, spec(16, 16))


@st.composite
def regions(draw: st.DrawFn, width: int, height: int) -> Region:
    left = draw(st.floats(0, width - 1))
    top = draw(st.floats(0, height - 1))
    return region(
        left,
        top,
        draw(st.floats(0.01, width - left)),
        draw(st.floats(0.01, height - top)),
    )


@given(
    st.sampled_from([(48, 64), (48, 64, 3)]),
    regions(64, 48),
    st.integers(8, 70),
    st.integers(8, 70),
    st.sampled_from([1, 3]),
    st.floats(0, 4),
)
def test_any_region_in_the_frame_gives_the_shape_asked_for_and_leaves_the_frame_alone(
    shape: tuple[int, ...], place: Region, width: int, height: int, channels: int, margin: float
) -> None:
    frame = picture(channels=3 if len(shape) == 3 else 1)
    before = frame.copy()
    frame.flags.writeable = False
    wanted = spec(width, height, channels, margin)
    found = crop(frame, place, wanted)
    assert found.shape == (height, width, channels)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert np.array_equal(found, crop(frame, place, wanted))
    assert np.array_equal(frame, before)
    assert found.min() >= frame.min()
    assert found.max() <= frame.max()


def test_a_crop_may_be_written_to_without_harm_to_the_frame() -> None:
    for channels in (1, 3):
        frame = picture(channels=channels)
        before = frame.copy()
        for place in (region(0, 0, 64, 48), region(8, 8, 16, 16)):
            side = (64, 48) if place.width_px == 64 else (16, 16)
            crop(frame, place, spec(*side, channels=channels))[:] = 0
            assert np.array_equal(frame, before), (channels, place)


def test_one_thread_is_all_opencv_takes() -> None:
    assert cv2.getNumThreads() == 1


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99])
def test_a_jpeg_whose_lost_end_was_replaced_by_an_end_marker_is_refused(share: float) -> None:
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 256, (200, 300), np.uint8)
    done, whole = cv2.imencode(".jpg", picture)
    assert done
    data = whole.tobytes()
    imaging.decode(data)
    with pytest.raises(ImageError, match="damaged"):
        imaging.decode(data[: int(len(data) * share)] + b"\xff\xd9")


@pytest.mark.parametrize("row", range(0, 40, 7))
def test_contrast_is_found_in_whatever_rows_it_lies(row: int) -> None:
    """Only some rows are looked at first; where those say nothing, all of them decide."""
    dark = np.zeros((40, 64, 3), np.uint8)
    check_frame(replaced(dark, row), 64, 40)
    with pytest.raises(ImageError) as caught:
        check_frame(dark, 64, 40)
    assert caught.value.reason is Reason.IMAGE_TOO_DARK


def test_a_speck_in_a_row_that_is_looked_at_first_does_not_make_a_covered_lens_a_picture() -> None:
    dark = np.zeros((2048, 64, 3), np.uint8)
    dark[16, :8] = 20
    with pytest.raises(ImageError):
        check_frame(dark, 64, 2048)


def replaced(frame: Frame, row: int) -> Frame:
    """The frame with a row of stripes."""
    striped = frame.copy()
    striped[row, ::2] = 200
    return striped
