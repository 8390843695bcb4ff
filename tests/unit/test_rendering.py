"""The renderer: its pictures are its truth, and the same seed is the same picture."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from inspection import imaging
from inspection.plan import read_plan
from inspection.rendering import body, catalogue
from inspection.rendering.catalogue import (
    BORDER,
    CLASSES,
    DEFECTS,
    DIAMETER_MIN_MM,
    EDGE_MIN,
    GOOD,
    NAMES,
    OFFSET_MAX_MM,
    SPACING_MIN,
)
from inspection.rendering.imprint import PAINTERS
from inspection.rendering.materials import draw_camera, draw_lamp, draw_steel
from inspection.rendering.noise import KINDS, cut, texture
from inspection.rendering.weld import CROSSED, Measures, borderline, draw_weld, render_weld

SEED = 11


@pytest.mark.parametrize("label", NAMES)
def test_the_same_seed_gives_the_same_weld_and_another_one_another(label: str) -> None:
    first, again = (render_weld(SEED, 3, 4, label) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert first.measures == again.measures
    assert np.array_equal(first.mask, again.mask)
    for other in ((SEED + 1, 3, 4), (SEED, 4, 4), (SEED, 3, 5)):
        assert render_weld(*other, label).jpeg != first.jpeg


def test_the_picture_is_what_the_cameras_file_decodes_to() -> None:
    made = render_weld(SEED, 0, 0, GOOD)
    assert np.array_equal(imaging.decode(made.jpeg), made.image)
    assert made.image.dtype == np.uint8
    assert made.image.shape == (*made.mask.shape, 3)
    assert 140 <= made.image.shape[0] <= 200


def test_a_weld_is_rendered_at_the_size_asked_for() -> None:
    assert render_weld(SEED, 0, 0, "crack", size_px=256).image.shape == (256, 256, 3)


def test_a_class_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'rust' is no class of weld"):
        render_weld(SEED, 0, 0, "rust")


@pytest.mark.parametrize("label", PAINTERS)
def test_a_defect_marks_its_pixels_and_has_an_extent(label: str) -> None:
    for weld in range(12):
        made = render_weld(SEED, weld, weld, label)
        assert set(np.unique(made.mask)) == {0, NAMES.index(label)}
        assert made.measures.extent_mm > 0.3
        # Marked pixels look different from the same weld without the defect.
        area_mm2 = np.count_nonzero(made.mask) * (catalogue.FIELD_MM / made.mask.shape[0]) ** 2
        assert 0.05 < area_mm2 < 60


@pytest.mark.parametrize("label", sorted(set(NAMES) - set(PAINTERS) - set(CROSSED)))
def test_what_is_wrong_by_measure_alone_has_no_mask(label: str) -> None:
    assert not render_weld(SEED, 1, 1, label).mask.any()


@pytest.mark.parametrize("domain", ["standard", "shifted"])
@pytest.mark.parametrize("label", NAMES)
def test_every_measure_is_on_the_side_of_its_limit_that_the_class_says(
    label: str, domain: str
) -> None:
    for weld in range(120):
        measures = draw_weld(SEED, weld, weld, label, domain=domain).measures  # type: ignore[arg-type]
        if label == "missing":
            assert measures.diameter_mm == 0
            continue
        assert (measures.diameter_mm < DIAMETER_MIN_MM) == (label == "small-imprint")
        assert (measures.edge_ratio < EDGE_MIN) == (label == "edge-weld")
        assert (measures.spacing_ratio < SPACING_MIN) == (label == "overlap")
        if label != "edge-weld":  # which may well be off its place besides
            assert (measures.offset_mm > OFFSET_MAX_MM) == (label == "off-centre")


@pytest.mark.parametrize(
    ("label", "measure"),
    [("small-imprint", 0), ("off-centre", 1), ("edge-weld", 2), ("overlap", 3)],
)
def test_measures_are_drawn_continuously_up_to_the_limit(label: str, measure: int) -> None:
    limit = (DIAMETER_MIN_MM, OFFSET_MAX_MM, EDGE_MIN, SPACING_MIN)[measure]
    for side in (label, GOOD):
        found = [draw_weld(SEED, k, k, side).measures[measure] for k in range(700)]
        shares = [value / limit for value in found if math.isfinite(value)]
        near = [share for share in shares if abs(share - 1) < 0.1]
        assert len(near) >= 5, f"{side}: {len(near)} of {len(shares)} within 10 % of the limit"


def test_borderline_is_what_lies_within_five_percent_of_a_limit() -> None:
    fine = Measures(6.0, 0.5, math.inf, math.inf, 0.0)
    assert not borderline(GOOD, fine)
    for name, limit in (
        ("diameter_mm", DIAMETER_MIN_MM),
        ("offset_mm", OFFSET_MAX_MM),
        ("edge_ratio", EDGE_MIN),
        ("spacing_ratio", SPACING_MIN),
    ):
        for share, expected in ((1 - 1.02 * BORDER, False), (1 + 1.02 * BORDER, False),
                                (1 - 0.98 * BORDER, True), (1 + 0.98 * BORDER, True)):  # fmt: skip
            assert borderline(GOOD, fine._replace(**{name: limit * share})) is expected
    # A crack stays a crack, however large the imprint is.
    assert not borderline("crack", fine._replace(diameter_mm=DIAMETER_MIN_MM))
    assert borderline("off-centre", fine._replace(offset_mm=OFFSET_MAX_MM * 1.01))


def test_the_shifted_domain_has_no_steel_lamp_or_camera_of_the_standard_one() -> None:
    rng = np.random.default_rng(0)
    drawn = {
        domain: [
            (draw_steel(rng, domain), draw_lamp(rng, domain), draw_camera(rng, domain))
            for _ in range(200)
        ]
        for domain in ("standard", "shifted")
    }
    for pick in (lambda e: e[0].name, lambda e: e[1].name):
        usual, other = ({pick(entry) for entry in drawn[d]} for d in ("standard", "shifted"))
        assert usual.isdisjoint(other)
    scales = [[entry[2].px_per_mm for entry in drawn[d]] for d in ("standard", "shifted")]
    assert max(scales[1]) < min(scales[0])


def test_every_defect_has_a_severity_and_good_has_none() -> None:
    assert [entry.name for entry in CLASSES if entry.severity is None] == [GOOD]
    assert len(set(NAMES)) == len(CLASSES)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_in_a_small_window_is_what_the_whole_picture_has_there(kind: str) -> None:
    assert abs(float(texture(kind).mean())) < 1e-3  # type: ignore[arg-type]
    for scale, angle in ((1.0, 0.0), (1.3, 0.4)):
        whole = cut(kind, np.random.default_rng(2), (0, 0, 700, 600), scale=scale, angle=angle)  # type: ignore[arg-type]
        window = (330, 210, 90, 80)
        piece = cut(kind, np.random.default_rng(2), window, scale=scale, angle=angle)  # type: ignore[arg-type]
        assert np.abs(whole[210:290, 330:420] - piece).max() < 0.05


# ------------------------------------------------------------------------------- whole views


def test_the_plan_on_file_is_the_one_the_design_gives(tmp_path: object) -> None:
    written = body.write_plan(tmp_path)  # type: ignore[arg-type]
    assert read_plan(written).hash == read_plan(body.PLAN).hash


def test_the_body_has_over_a_thousand_points_in_over_fifty_views_of_both_cameras() -> None:
    plan = read_plan(body.PLAN, ["spot-weld"])
    assert len(plan.views) == body.VIEWS >= 50
    assert len(plan.points) >= 1000
    assert {view.camera for view in plan.views} == set(body.CAMERAS)
    for view in plan.views:
        assert len(plan.points_of(view.id)) >= 20
        assert len(view.datums) == 2
        for datum in view.datums:
            assert 0 < datum.x_px < view.width_px
            assert 0 < datum.y_px < view.height_px
        for point in plan.points_of(view.id):
            assert point.region.left_px + point.region.width_px <= view.width_px
            assert point.region.top_px + point.region.height_px <= view.height_px


@pytest.fixture(scope="module")
def stand() -> body.Stand:
    return body.Stand("v02", 7, 0)


@pytest.fixture(scope="module")
def whole(stand: body.Stand) -> imaging.Frame:
    return stand.render()


def test_a_view_shows_something_and_has_the_plans_size(whole: imaging.Frame) -> None:
    imaging.check_frame(whole, body.WIDTH_PX, body.HEIGHT_PX)
    assert whole.shape == (body.HEIGHT_PX, body.WIDTH_PX, 3)
    assert float(whole.std()) > 10


@pytest.mark.parametrize("label", DEFECTS)
def test_a_patch_changes_the_weld_and_leaves_the_rest_of_the_view(
    stand: body.Stand, whole: imaging.Frame, label: str
) -> None:
    point = body.points()["v02"][DEFECTS.index(label) * 2]
    patch = stand.patch(point, label)
    height, width = patch.image.shape[:2]
    there = whole[patch.top : patch.top + height, patch.left : patch.left + width]
    changed = np.abs(patch.image.astype(int) - there).max(axis=2)
    assert changed.max() > 20, "nothing can be seen of the defect"
    border = np.concatenate([changed[:4].ravel(), changed[-4:].ravel(),
                             changed[:, :4].ravel(), changed[:, -4:].ravel()])  # fmt: skip
    assert border.max() <= 6, "the patch can be seen in the view"


def test_patches_of_different_points_do_not_overlap() -> None:
    for view in ("v01", "v02", "v31"):
        stand = body.Stand(view, 7, 1)
        windows = [stand.patch(point, "missing") for point in body.points()[view]]
        for one, other in itertools.combinations(windows, 2):
            apart_x = one.left + one.image.shape[1] <= other.left or (
                other.left + other.image.shape[1] <= one.left
            )
            apart_y = one.top + one.image.shape[0] <= other.top or (
                other.top + other.image.shape[0] <= one.top
            )
            assert apart_x or apart_y


def test_a_body_never_stands_quite_the_same() -> None:
    places = {body.Stand("v05", 7, stance)._place(100.0, 100.0) for stance in range(6)}
    assert len(places) == 6
    for x, y in places:
        assert abs(x - 1000) <= 0.5 * body.PX_PER_MM
        assert abs(y - 1000) <= 0.5 * body.PX_PER_MM


def test_what_is_no_view_no_point_or_no_defect_is_refused(stand: body.Stand) -> None:
    with pytest.raises(ValueError, match="'v99' is no view"):
        body.Stand("v99", 7, 0)
    with pytest.raises(ValueError, match="'good' is no defect"):
        stand.patch(body.points()["v02"][0], GOOD)
    with pytest.raises(KeyError):
        stand.patch(body.points()["v03"][0], "crack")
