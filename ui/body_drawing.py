"""Where the points of a part are drawn: in body coordinates where the plan has them, else view by
view as they lie in the pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from inspection.messages import Verdict
from inspection.plan import Plan, Point

GAP = 0.12
"""Between two views, as a share of a view."""
SHAPES: Mapping[str, str] = {
    Verdict.OK.value: "circle",
    Verdict.NOK.value: "cross",
    Verdict.REVIEW.value: "diamond",
    Verdict.NOT_INSPECTED.value: "square",
    "open": "triangle-up",
}
"""Colour is never the only sign: every verdict has a shape of its own."""


class Placed(NamedTuple):
    """A point on a drawing; ``x`` to the right, ``y`` up, in units of the drawing."""

    point: str
    view: str
    x: float
    y: float


class Drawing(NamedTuple):
    """All points of a plan, and the size of the drawing."""

    points: tuple[Placed, ...]
    width: float
    height: float
    in_body: bool
    """Whether these are body coordinates (millimetres), or pictures side by side."""


def drawn(plan: Plan) -> Drawing:
    """Where each point of a plan is drawn. In body coordinates the two axes along which the points
    spread most are shown."""
    if plan.points and all(_body(point) is not None for point in plan.points):
        return _in_body(plan)
    return _in_views(plan)


def _body(point: Point) -> tuple[float, float, float] | None:
    known = (point.x, point.y, point.z)
    if sum(value is not None for value in known) < 2:
        return None
    x, y, z = (0.0 if value is None else value for value in known)
    return x, y, z


def _in_body(plan: Plan) -> Drawing:
    places = [place for point in plan.points if (place := _body(point)) is not None]
    low = [min(place[axis] for place in places) for axis in range(3)]
    spread = [max(place[axis] for place in places) - low[axis] for axis in range(3)]
    across, up = sorted(sorted(range(3), key=lambda axis: -spread[axis])[:2])
    if across == 0 and up == 1 and spread[2] > spread[1]:
        up = 2
    return Drawing(
        tuple(
            Placed(point.id, point.view, place[across] - low[across], place[up] - low[up])
            for point, place in zip(plan.points, places, strict=True)
        ),
        max(spread[across], 1.0),
        max(spread[up], 1.0),
        in_body=True,
    )


def _in_views(plan: Plan) -> Drawing:
    columns = max(1, math.ceil(math.sqrt(len(plan.views) * 1.6)))
    rows = max(1, -(-len(plan.views) // columns))
    placed: list[Placed] = []
    for number, view in enumerate(plan.views):
        left, top = (number % columns) * (1 + GAP), (number // columns) * (1 + GAP)
        longer = max(view.width_px, view.height_px)
        for point in plan.points_of(view.id):
            region = point.region
            x = (region.left_px + region.width_px / 2) / longer
            y = (region.top_px + region.height_px / 2) / longer
            placed.append(Placed(point.id, view.id, left + x, -(top + y)))
    height = rows * (1 + GAP)
    placed = [each._replace(y=each.y + height) for each in placed]
    return Drawing(tuple(placed), columns * (1 + GAP), height, in_body=False)
