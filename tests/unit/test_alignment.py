"""Where a part lies in a picture: found, or refused with what was measured."""

from __future__ import annotations

import math

import cv2
import msgspec
import numpy as np
import pytest

from inspection import alignment, imaging
from inspection.errors import ImageError
from inspection.imaging import Frame
from inspection.messages import Alignment, Mark, Reason, Region
from inspection.plan import View, read_plan
from inspection.rendering import body

PLAN = read_plan(body.PLAN)
VIEWS = ("v02", "v31")


def taught(view: View, picture: Frame) -> Alignment:
    return Alignment(
        marks=tuple(
            Mark(
                id=datum.id,
                x_px=datum.x_px,
                y_px=datum.y_px,
                picture=imaging.encode_png(alignment.cut(picture, datum.x_px, datum.y_px)),
            )
            for datum in view.datums
        ),
        overview=imaging.encode_png(alignment.overview(picture)),
    )


class Scene:
    """A view of one body as taught, and of another body to be displaced."""

    def __init__(self, name: str) -> None:
        self.view = PLAN.view(name)
        reference = body.Stand(name, 900, 0, placed=body.AS_PLANNED)
        self.reference = reference.render()
        self.alignment = taught(self.view, self.reference)
        self.stand = body.Stand(name, 7, 1)
        self.picture = self.stand.render()

    def displaced(
        self, x: float, y: float, degrees: float, scale: float
    ) -> tuple[Frame, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
        """The other body's picture, and where each of the plan's points is in it: (n, 2)."""
        height, width = self.picture.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, scale)
        matrix[:, 2] += x, y
        picture = cv2.warpAffine(
            self.picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT
        )
        places = [
            self.stand.where(
                point.region.left_px + point.region.width_px / 2,
                point.region.top_px + point.region.height_px / 2,
            )
            for point in PLAN.points_of(self.view.id)
        ]
        return picture, np.array(places) @ matrix[:, :2].T + matrix[:, 2]


@pytest.fixture(scope="module", params=VIEWS)
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(request.param)


def centres(view: str, pose: alignment.Pose) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    moved = [pose.moved(point.region) for point in PLAN.points_of(view)]
    return np.array([(m.left_px + m.width_px / 2, m.top_px + m.height_px / 2) for m in moved])


POSES = [
    (0.0, 0.0, 0.0, 1.0),
    (40.0, 0.0, 3.0, 1.03),
    (-28.0, 28.0, -3.0, 0.97),
    (28.0, -28.0, 3.0, 0.97),
    (0.0, -40.0, -3.0, 1.03),
    (11.3, 5.6, 0.7, 1.01),
]


@pytest.mark.parametrize("pose", POSES, ids=str)
def test_regions_land_where_a_displaced_body_has_them(
    scene: Scene, pose: tuple[float, float, float, float]
) -> None:
    picture, places = scene.displaced(*pose)
    found = alignment.locate(picture, scene.alignment)
    away = np.hypot(*(centres(scene.view.id, found) - places).T)
    assert away.mean() <= 1.0
    assert away.max() <= 2.0
    assert found.stance.scale == pytest.approx(pose[3], abs=0.002)
    assert found.stance.turn_deg == pytest.approx(pose[2], abs=0.15)
    assert found.likeness > 0.8
    assert found.residual_px < alignment.MOST_RESIDUAL_PX


def reason_of(picture: Frame, how: Alignment) -> tuple[Reason, str]:
    with pytest.raises(ImageError) as caught:
        alignment.locate(picture, how)
    return caught.value.reason, str(caught.value)


def test_the_wrong_side_of_the_body_is_refused(scene: Scene) -> None:
    for picture in (scene.picture[:, ::-1], scene.picture[::-1], scene.picture[::-1, ::-1]):
        reason, said = reason_of(np.ascontiguousarray(picture), scene.alignment)
        assert reason is Reason.MISALIGNED
        assert said.startswith("not in place: ")
        assert any(letter.isdigit() for letter in said), "says what was measured"


def test_another_view_is_refused(scene: Scene) -> None:
    other = body.Stand("v05" if scene.view.id != "v05" else "v06", 7, 0).render()
    assert reason_of(other, scene.alignment)[0] is Reason.MISALIGNED


@pytest.mark.parametrize(
    "pose", [(150.0, 0.0, 0.0, 1.0), (0.0, 0.0, 9.0, 1.0), (0.0, 0.0, 0.0, 1.12)], ids=str
)
def test_a_body_that_is_further_off_than_any_may_be_is_refused(
    scene: Scene, pose: tuple[float, float, float, float]
) -> None:
    picture, _ = scene.displaced(*pose)
    assert reason_of(picture, scene.alignment)[0] is Reason.MISALIGNED


def test_a_covered_mark_is_refused(scene: Scene) -> None:
    for datum in scene.view.datums:
        picture = scene.picture.copy()
        cv2.circle(picture, (round(datum.x_px), round(datum.y_px)), 130, (90, 90, 90), -1)
        reason, said = reason_of(picture, scene.alignment)
        assert reason is Reason.MISALIGNED
        assert any(letter.isdigit() for letter in said)


def test_marks_alone_prove_nothing_the_rest_of_the_picture_must_agree(scene: Scene) -> None:
    """Both marks in their places on a sheet that is another one."""
    picture = body.Stand("v05", 7, 1).render()
    for datum in scene.view.datums:
        left, top = alignment.corner(datum.x_px, datum.y_px, 200, 200)
        part = slice(max(0, top), top + 200), slice(max(0, left), left + 200)
        picture[part] = scene.reference[part]
    reason, said = reason_of(picture, scene.alignment)
    assert reason is Reason.MISALIGNED
    assert "likeness" in said or "residual" in said


def test_a_mark_moved_against_the_others_leaves_a_residual() -> None:
    rng = np.random.default_rng(3)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (1024, 1280), np.uint8), (0, 0), 2)
    places = ((200.0, 200.0), (1000.5, 220.25), (600.0, 800.0))
    for k, (x, y) in enumerate(places):
        cv2.circle(picture, (round(x), round(y)), 30 + 5 * k, 255 if k else 0, 8)
    how = Alignment(
        marks=tuple(
            Mark(
                id=f"m{k}",
                x_px=x,
                y_px=y,
                picture=imaging.encode_png(alignment.cut(picture, x, y)),
            )
            for k, (x, y) in enumerate(places)
        ),
        overview=imaging.encode_png(alignment.overview(picture)),
    )
    assert alignment.locate(picture, how).residual_px < 1
    bent = picture.copy()
    bent[720:880, 530:670] = picture[720:880, 518:658]
    assert alignment.locate(bent, how).residual_px == pytest.approx(12 * 0.3, abs=1.5)
    bent[720:880, 530:670] = picture[720:880, 480:620]
    assert reason_of(bent, how)[0] is Reason.MISALIGNED


def test_a_plain_or_dark_picture_is_never_in_place(scene: Scene) -> None:
    for level in (0, 90, 255):
        plain = np.full_like(scene.picture, level)
        assert reason_of(plain, scene.alignment)[0] is Reason.MISALIGNED
    noise = np.random.default_rng(0).integers(0, 255, scene.picture.shape, np.uint8)
    assert reason_of(noise, scene.alignment)[0] is Reason.MISALIGNED


def test_grey_frames_are_aligned_as_colour_is(scene: Scene) -> None:
    grey = np.ascontiguousarray(scene.picture[:, :, 1])
    both = [alignment.locate(each, scene.alignment) for each in (grey, scene.picture)]
    assert both[0].stance == both[1].stance
    assert alignment.locate(grey[:, :, np.newaxis], scene.alignment).stance == both[0].stance


def test_a_darker_picture_is_the_same_place(scene: Scene) -> None:
    darker = (scene.picture * 0.6 + 10).astype(np.uint8)
    one, other = (alignment.locate(each, scene.alignment) for each in (scene.picture, darker))
    assert abs(one.shift - other.shift) < 0.3


def test_a_region_keeps_its_pixels_unless_its_size_changes_by_one() -> None:
    region = Region(left_px=400, top_px=300.25, width_px=160, height_px=160)
    pose = alignment.Pose(complex(1224, 1024), complex(3, 4), complex(1.004, 0.0), 0.0, 1.0)
    moved = pose.moved(region)
    assert (moved.width_px, moved.height_px) == (160, 160)
    larger = msgspec.structs.replace(region)
    scaled = alignment.Pose(pose.centre, pose.shift, complex(1.02, 0), 0.0, 1.0).moved(larger)
    assert scaled.width_px == pytest.approx(163.2)
    x, y = pose.place(480, 380.25)
    assert (moved.left_px + 80, moved.top_px + 80) == pytest.approx((x, y))


def test_the_matrix_and_the_stance_say_the_same_as_places() -> None:
    turn = math.radians(2)
    factor = 1.01 * complex(math.cos(turn), math.sin(turn))
    pose = alignment.Pose(complex(50, 40), complex(3, -2), factor, 0.5, 0.9)
    assert pose.matrix @ (10, 20, 1) == pytest.approx(pose.place(10, 20))
    stance = pose.stance
    assert (stance.shift_x_px, stance.shift_y_px) == (3, -2)
    assert (stance.turn_deg, stance.scale) == (2, 1.01)


def test_a_mark_too_close_to_the_edge_cannot_be_cut(scene: Scene) -> None:
    with pytest.raises(ValueError, match="reach outside"):
        alignment.cut(scene.picture, 30, 900)
