"""From a picture to what is said of each point: every point comes out, exactly once."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from msgspec import UNSET

from edge.darkroom import Darkroom
from edge.evidence_spool import EvidenceSpool
from edge.judge import Judge
from edge.models import Models
from inspection import alignment, imaging, png
from inspection.drawing import Drawing, Shares
from inspection.errors import OutboxError
from inspection.messages import (
    Alignment,
    Inspected,
    Mark,
    Missed,
    ModelRef,
    Order,
    PointTask,
    Reason,
    Region,
    Verdict,
)
from inspection.testing import boards
from inspection.testing.packages import Broken, build_package

SIDE = boards.SIDE


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boards.model(tmp_path_factory.mktemp("model") / "good")


def make_order(ref: ModelRef | None, *, model: str = "darkness") -> Order:
    return Order(
        run="r",
        part="p",
        plan="a" * 64,
        view="v0",
        camera="cam1",
        attempt=1,
        remaining_ms=1000,
        width_px=SIDE,
        height_px=SIDE,
        points=tuple(
            PointTask(
                point=f"r{row}c{column}",
                model=model,
                region=Region(
                    left_px=column * boards.TILE,
                    top_px=row * boards.TILE,
                    width_px=boards.TILE,
                    height_px=boards.TILE,
                ),
            )
            for row in range(boards.GRID)
            for column in range(boards.GRID)
        ),
        models={} if ref is None else {model: ref},
    )


def judge(
    folder: Path, packages: dict[str, Path], batch: int = 4, drawing: Drawing | None = None
) -> tuple[Judge, Models]:
    models = Models(packages)
    darkroom = Darkroom(EvidenceSpool(folder / "spool"))
    return Judge(models, darkroom, batch=batch, drawing=drawing), models


def kept(judged: Judge, folder: Path, name: str | None) -> imaging.Frame | None:
    """The picture of that name, once the darkroom has done its work."""
    assert judged._darkroom.drain(20)
    data = None if name is None else EvidenceSpool(folder / "spool").get(name)
    return None if data is None else imaging.decode(data)


def ref_of(models: Models, name: str = "darkness") -> ModelRef:
    (ref,) = (state.ref for state in models.states if state.name == name)
    assert ref is not None
    return ref


@pytest.mark.parametrize("batch", [1, 4, 1000])
def test_each_point_is_judged_in_its_own_place_whatever_the_batch(
    tmp_path: Path, package: Path, batch: int
) -> None:
    judged, models = judge(tmp_path, {"darkness": package}, batch)
    order = make_order(ref_of(models))
    said = judged.points(order, boards.board((1, 2), (4, 0)))
    assert [entry.point for entry in said] == [task.point for task in order.points]
    bad = {e.point for e in said if isinstance(e, Inspected) and e.verdict is Verdict.NOK}
    assert bad == {"r1c2", "r4c0"}


def test_what_is_not_ok_keeps_the_very_picture_the_model_saw(tmp_path: Path, package: Path) -> None:
    judged, models = judge(tmp_path, {"darkness": package})
    image = boards.board((1, 2))
    said = {e.point: e for e in judged.points(make_order(ref_of(models)), image)}
    shown = kept(judged, tmp_path, said["r1c2"].evidence)
    assert shown is not None
    tile = image[boards.TILE : 2 * boards.TILE, 2 * boards.TILE : 3 * boards.TILE]
    assert np.array_equal(shown, tile)
    assert said["r0c0"].evidence is None


def test_a_model_of_another_version_than_released_judges_nothing(
    tmp_path: Path, package: Path
) -> None:
    judged, _ = judge(tmp_path, {"darkness": package})
    other = ModelRef(package="0" * 64, policy="0" * 64)
    for order in (make_order(other), make_order(None), make_order(other, model="unknown")):
        said = judged.points(order, boards.board())
        assert len(said) == len(order.points)
        assert all(
            isinstance(e, Missed) and e.reason is Reason.MODEL_UNAVAILABLE and e.detail
            for e in said
        )


def test_one_bad_package_does_not_keep_the_others_from_judging(
    tmp_path: Path, package: Path
) -> None:
    bad = boards.model(tmp_path / "bad", broken=Broken.CHANGED_BYTE)
    judged, models = judge(tmp_path, {"bad": bad, "darkness": package})
    assert [bool(state.fault) for state in models.states] == [True, False]
    said = judged.points(make_order(ref_of(models)), boards.board())
    assert all(isinstance(e, Inspected) and e.verdict is Verdict.OK for e in said)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((SIDE, SIDE), np.uint8), Reason.IMAGE_TOO_DARK),
        (np.full((SIDE, SIDE), 255, np.uint8), Reason.IMAGE_TOO_BRIGHT),
        (boards.board()[1:], Reason.IMAGE_WRONG_SIZE),
    ],
)
def test_a_picture_that_shows_nothing_makes_every_point_missed_with_the_picture_kept(
    tmp_path: Path, package: Path, image: imaging.Frame, reason: Reason
) -> None:
    judged, models = judge(tmp_path, {"darkness": package})
    order = make_order(ref_of(models))
    said = judged.points(order, np.ascontiguousarray(image))
    assert [entry.point for entry in said] == [task.point for task in order.points]
    assert all(isinstance(e, Missed) and e.reason is reason and e.evidence for e in said)


def test_a_score_that_is_no_number_makes_its_point_missed_and_no_other(tmp_path: Path) -> None:
    nan = boards.model(tmp_path / "nan", broken=Broken.NAN_ON_WHITE)
    judged, models = judge(tmp_path, {"darkness": nan})
    image = boards.board()
    image[: boards.TILE, : boards.TILE] = 255
    said = {e.point: e for e in judged.points(make_order(ref_of(models)), image)}
    first = said.pop("r0c0")
    assert isinstance(first, Missed)
    assert first.reason is Reason.MODEL_OUTPUT_INVALID
    assert all(isinstance(e, Inspected) and e.verdict is Verdict.OK for e in said.values())


def test_a_verdict_is_not_lost_when_its_picture_cannot_be_kept(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, models = judge(tmp_path, {"darkness": package})

    def full(*_: object, **__: object) -> str:
        raise OutboxError("No space left on device")

    monkeypatch.setattr(EvidenceSpool, "put", full)
    said = {e.point: e for e in judged.points(make_order(ref_of(models)), boards.board((1, 2)))}
    bad = said["r1c2"]
    assert isinstance(bad, Inspected)
    assert bad.verdict is Verdict.NOK
    assert bad.evidence is not None, "the picture is named, and missing"
    assert kept(judged, tmp_path, bad.evidence) is None
    assert judged._darkroom.lost == {"other": 1}


def test_no_result_waits_for_a_picture_to_be_packed_or_synced(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, models = judge(tmp_path, {"darkness": package})
    disk = threading.Event()
    pack = png.pack

    def stuck(head: bytes, scanlines: bytes) -> bytes:
        assert disk.wait(20)
        return pack(head, scanlines)

    monkeypatch.setattr(png, "pack", stuck)
    said = judged.points(make_order(ref_of(models)), boards.board((1, 2), (0, 0)))
    named = {e.evidence for e in said if e.evidence is not None}
    assert named, "the result is there while the picture is stuck"
    assert list(EvidenceSpool(tmp_path / "spool").pending()) == []
    disk.set()
    assert judged._darkroom.drain(20)
    assert {e.sha256 for e in EvidenceSpool(tmp_path / "spool").pending()} == named


def test_ok_points_are_drawn_by_the_key_and_every_one_says_with_what_probability(
    tmp_path: Path, package: Path
) -> None:
    shares = Shares(ok_share=0.25, near_share=0.25)
    drawing = Drawing(b"k" * 32, shares)
    judged, models = judge(tmp_path, {"darkness": package}, drawing=drawing)
    order, image = make_order(ref_of(models)), boards.board((1, 2))
    said = judged.points(order, image)
    for entry in said:
        assert isinstance(entry, Inspected)
        drawn = drawing.drawn(order.run, entry.point, order.attempt, 0.25)
        if entry.verdict is Verdict.OK:
            assert entry.inclusion == 0.25
            assert (entry.evidence is not None) is drawn
        else:
            assert entry.inclusion is UNSET
            assert entry.evidence is not None
    assert sum(entry.evidence is not None for entry in said) > 1
    assert judged.points(order, image) == said, "the same points, whoever draws again"
    for entry in said:
        assert (kept(judged, tmp_path, entry.evidence) is not None) is (entry.evidence is not None)
    assert {each.ok for each in EvidenceSpool(tmp_path / "spool").pending()} == {True, False}


def test_a_point_near_a_limit_is_drawn_from_a_stratum_of_its_own(
    tmp_path: Path, package: Path
) -> None:
    shares = Shares(ok_share=0.0, near_share=1.0, near_margin=0.5)
    judged, models = judge(tmp_path, {"darkness": package}, drawing=Drawing(b"k" * 32, shares))
    image = boards.board()
    image[: boards.TILE, : boards.TILE] = 160  # less bright than the others, and still OK
    said = {e.point: e for e in judged.points(make_order(ref_of(models)), image)}
    near = said.pop("r0c0")
    assert isinstance(near, Inspected)
    assert (near.verdict, near.inclusion) == (Verdict.OK, 1.0)
    assert near.evidence is not None
    for entry in said.values():
        assert isinstance(entry, Inspected)
        assert (entry.inclusion, entry.evidence) == (UNSET, None)


def test_what_is_not_ok_has_the_models_heat_map_beside_its_crop(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "hot", size=boards.TILE, heat=True)
    judged, models = judge(tmp_path, {"darkness": folder})
    image = boards.board((1, 2))
    image[boards.TILE, 2 * boards.TILE] = 255  # one bright pixel in the dark tile
    said = {e.point: e for e in judged.points(make_order(ref_of(models)), image)}
    bad = said.pop("r1c2")
    assert isinstance(bad, Inspected)
    assert isinstance(bad.heat, str)
    crop, heat = (kept(judged, tmp_path, name) for name in (bad.evidence, bad.heat))
    assert crop is not None
    assert heat is not None
    assert heat.shape == crop.shape
    assert np.abs(heat.astype(int) - (255 - crop.astype(int))).max() <= 1
    assert heat[0, 0] == 0
    for entry in said.values():
        assert isinstance(entry, Inspected)
        assert (entry.verdict, entry.heat) == (Verdict.OK, UNSET)


@pytest.mark.parametrize(
    ("heat", "shown"),
    [
        ([[0.0, 0.5], [2.0, -1.0]], [[0, 128], [255, 0]]),
        ([[np.nan, 0.5], [0.0, 0.0]], None),
        ([[np.inf, 0.5], [0.0, 0.0]], None),
    ],
)
def test_a_heat_map_that_is_no_picture_costs_no_verdict(
    tmp_path: Path, package: Path, heat: list[list[float]], shown: list[list[int]] | None
) -> None:
    judged, _ = judge(tmp_path, {"darkness": package})
    name = judged._heat_map(np.array(heat, np.float32))
    if shown is None:
        assert name is UNSET
    else:
        picture = kept(judged, tmp_path, str(name))
        assert picture is not None
        assert picture.tolist() == shown


# ------------------------------------------------------------------------------- alignment

WIDTH, HEIGHT, LEFT, TOP = 720, 640, 280, 240
"""Of a picture with marks, and where the board is in it."""


def scene(*dark: tuple[int, int]) -> imaging.Frame:
    """A board on a ground that can be told apart, with two marks."""
    rng = np.random.default_rng(5)
    ground = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)), (0, 0), 9)
    image = np.clip(110 + ground * 900, 0, 255).astype(np.uint8)
    cv2.circle(image, (120, 130), 34, 255, 9)
    cv2.circle(image, (600, 500), 40, 0, 9)
    image[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = boards.board(*dark)
    return image


def taught_order(ref: ModelRef) -> Order:
    picture = scene()
    order = make_order(ref)
    return msgspec.structs.replace(
        order,
        width_px=WIDTH,
        height_px=HEIGHT,
        points=tuple(
            msgspec.structs.replace(
                task,
                region=msgspec.structs.replace(
                    task.region,
                    left_px=task.region.left_px + LEFT,
                    top_px=task.region.top_px + TOP,
                ),
            )
            for task in order.points
        ),
        alignment=Alignment(
            marks=tuple(
                Mark(
                    id=f"m{x}",
                    x_px=x,
                    y_px=y,
                    picture=imaging.encode_png(alignment.cut(picture, x, y)),
                )
                for x, y in ((120, 130), (600, 500))
            ),
            overview=imaging.encode_png(alignment.overview(picture)),
        ),
    )


def moved(picture: imaging.Frame, x: int, y: int) -> imaging.Frame:
    matrix = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    return np.asarray(
        cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT), np.uint8
    )


def test_regions_move_with_the_part_and_the_answer_says_how_it_lay(
    tmp_path: Path, package: Path
) -> None:
    judged, models = judge(tmp_path, {"darkness": package})
    order = taught_order(ref_of(models))
    for x, y in ((0, 0), (23, -17), (-31, 24)):
        look = judged.look(order, moved(scene((1, 2), (4, 0)), x, y))
        said = {e.point: e for e in judged.decide(order, [look])}
        bad = {p for p, e in said.items() if isinstance(e, Inspected) and e.verdict is Verdict.NOK}
        assert bad == {"r1c2", "r4c0"}
        assert not any(isinstance(e, Missed) for e in said.values())
        stance = look.stance
        assert stance is not UNSET
        assert (stance.shift_x_px, stance.shift_y_px) == pytest.approx((x, y), abs=0.5)
        evidence = said["r1c2"].evidence
        assert evidence is not None
        crop = kept(judged, tmp_path, evidence)
        assert crop is not None
        assert crop.max() < 60, "the dark tile and nothing beside it"


def test_a_part_that_is_not_in_place_is_not_judged_and_the_picture_is_kept(
    tmp_path: Path, package: Path
) -> None:
    judged, models = judge(tmp_path, {"darkness": package})
    order = taught_order(ref_of(models))
    wrong_side = np.ascontiguousarray(scene((1, 2))[:, ::-1])
    look = judged.look(order, wrong_side)
    said = judged.decide(order, [look])
    assert len(said) == len(order.points)
    assert all(isinstance(e, Missed) and e.reason is Reason.MISALIGNED for e in said)
    assert look.stance is UNSET
    (sha256,) = {e.evidence for e in said}
    assert sha256 is not None
    picture = kept(judged, tmp_path, sha256)
    assert picture is not None
    assert np.array_equal(picture, wrong_side)


def test_a_point_that_has_left_the_picture_is_not_judged_on_a_repeated_border(
    tmp_path: Path, package: Path
) -> None:
    judged, models = judge(tmp_path, {"darkness": package})
    order = taught_order(ref_of(models))
    edge = PointTask(
        point="edge",
        model="darkness",
        region=Region(left_px=WIDTH - 40, top_px=40, width_px=32, height_px=32),
    )
    order = msgspec.structs.replace(order, points=(*order.points, edge))
    said = {e.point: e for e in judged.points(order, moved(scene(), 8, 0))}
    assert isinstance(said["edge"], Inspected)
    said = {e.point: e for e in judged.points(order, moved(scene(), 12, 0))}
    gone = said.pop("edge")
    assert isinstance(gone, Missed)
    assert gone.reason is Reason.MISALIGNED
    assert "out of the picture: shifted by 1" in gone.detail
    assert gone.evidence is not None
    assert all(isinstance(e, Inspected) and e.verdict is Verdict.OK for e in said.values())


@pytest.mark.parametrize("data", [b"", b"no picture", imaging.encode_png(boards.board())])
def test_pictures_of_marks_that_are_none_make_no_point_ok(
    tmp_path: Path, package: Path, data: bytes
) -> None:
    judged, models = judge(tmp_path, {"darkness": package})
    order = taught_order(ref_of(models))
    assert order.alignment is not UNSET
    marks = (msgspec.structs.replace(order.alignment.marks[0], picture=data),)
    for how in (
        msgspec.structs.replace(order.alignment, marks=marks + order.alignment.marks[1:]),
        msgspec.structs.replace(order.alignment, overview=data),
    ):
        said = judged.points(msgspec.structs.replace(order, alignment=how), scene())
        assert all(isinstance(e, Missed) and e.reason is Reason.MISALIGNED for e in said)
