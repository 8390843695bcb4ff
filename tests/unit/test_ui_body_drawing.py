"""Where points are drawn: every planned point once, within the drawing."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from inspection.messages import Region, Severity, Verdict
from inspection.plan import Kind, Plan, Point, View
from ui.body_drawing import SHAPES, drawn

coordinate = st.none() | st.floats(-5000, 5000)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    views = tuple(
        View(id=f"v{k}", camera="c", width_px=400, height_px=300)
        for k in range(draw(st.integers(1, 7)))
    )
    points = tuple(
        Point(
            id=f"p{k}",
            view=draw(st.sampled_from(views)).id,
            kind="weld",
            region=Region(left_px=10.0 * k, top_px=20.0, width_px=40.0, height_px=40.0),
            severity=Severity.MAJOR,
            x=draw(coordinate),
            y=draw(coordinate),
            z=draw(coordinate),
        )
        for k in range(draw(st.integers(1, 12)))
    )
    return Plan(
        name="plan",
        version="1",
        deadline_ms=1000,
        views=views,
        kinds={"weld": Kind(model="m")},
        points=points,
    )


@given(plans())
def test_every_point_is_drawn_once_and_within_the_drawing(plan: Plan) -> None:
    drawing = drawn(plan)
    assert sorted(each.point for each in drawing.points) == [point.id for point in plan.points]
    for each in drawing.points:
        assert -1e-6 <= each.x <= drawing.width * (1 + 1e-9) + 1e-6
        assert -1e-6 <= each.y <= drawing.height * (1 + 1e-9) + 1e-6


def test_body_coordinates_are_shown_along_the_axes_on_which_points_spread() -> None:
    def plan(**axes: float) -> Plan:
        points = tuple(
            Point(
                id=f"p{k}",
                view="v",
                kind="weld",
                region=Region(left_px=0, top_px=0, width_px=9, height_px=9),
                severity=Severity.MINOR,
                x=100.0 * k,
                y=axes["y"] * k,
                z=axes["z"] * k,
            )
            for k in range(3)
        )
        view = View(id="v", camera="c", width_px=9, height_px=9)
        return Plan(
            name="p",
            version="1",
            deadline_ms=1000,
            views=(view,),
            kinds={"weld": Kind(model="m")},
            points=points,
        )

    side = drawn(plan(y=1.0, z=50.0))
    assert (side.width, side.height, side.in_body) == (200.0, 100.0, True)
    top = drawn(plan(y=50.0, z=1.0))
    assert (top.width, top.height) == (200.0, 100.0)
    without = plan(y=1.0, z=1.0)
    bare = msgspec.structs.replace(
        without,
        points=tuple(msgspec.structs.replace(p, x=None, y=None, z=None) for p in without.points),
    )
    assert not drawn(bare).in_body


def test_every_verdict_has_a_shape_of_its_own() -> None:
    assert set(SHAPES) == {*(verdict.value for verdict in Verdict), "open"}
    assert len(set(SHAPES.values())) == len(SHAPES)
