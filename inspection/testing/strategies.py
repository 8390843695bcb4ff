"""Hypothesis strategies for whatever crosses a process boundary, and for plans.

`of` builds a strategy from a struct's own annotations, bounds included, so that a new message needs
no new strategy. What must also make sense as a whole (a region inside its view, a result for every
point of an order) has a strategy of its own below.
"""

from __future__ import annotations

import operator
import re
import string
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st
from msgspec import inspect as shapes

from inspection import messages as m
from inspection.plan import Datum, Kind, Plan, Point, Trigger, Unresolved, View

T = TypeVar("T")
MAX_ITEMS = 3
"""Entries of a list in an example: what goes wrong with three goes wrong with a thousand."""

_FIRST = string.ascii_letters + string.digits
ids: st.SearchStrategy[str] = st.builds(
    operator.add,
    st.sampled_from(_FIRST),
    st.text(alphabet=f"{_FIRST}._-", max_size=63),
)
short_ids: st.SearchStrategy[str] = st.builds(
    operator.add,
    st.sampled_from(string.ascii_letters),
    st.text(alphabet=f"{_FIRST}-", max_size=5),
)
hex32s: st.SearchStrategy[str] = st.text(alphabet="0123456789abcdef", min_size=32, max_size=32)
sha256s: st.SearchStrategy[str] = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64)
texts: st.SearchStrategy[str] = st.text(alphabet=st.characters(codec="utf-8"), max_size=40)


def of(kind: type[T]) -> st.SearchStrategy[T]:
    """Any valid value of a struct, or of any type msgspec can describe."""
    return _of(shapes.type_info(kind))


def messages() -> st.SearchStrategy[m.Message]:
    """Any message of any lane."""
    return st.one_of([of(kind) for kind in message_types()])


def message_types() -> tuple[type[m.Message], ...]:
    """Every message there is, by name."""
    return tuple(sorted(m.Message.__subclasses__(), key=lambda kind: kind.__name__))


def _of(shape: shapes.Type) -> st.SearchStrategy[Any]:
    for known, strategy in _STRATEGIES:
        if isinstance(shape, known):
            return strategy(shape)
    raise TypeError(f"no strategy for {shape}: add a line to _STRATEGIES")


def _integers(shape: shapes.IntType) -> st.SearchStrategy[int]:
    low = shape.ge if shape.ge is not None else -(2**63) if shape.gt is None else shape.gt + 1
    high = shape.le if shape.le is not None else 2**63 - 1 if shape.lt is None else shape.lt - 1
    return st.integers(low, high)


def _floats(shape: shapes.FloatType) -> st.SearchStrategy[float]:
    return st.floats(
        min_value=shape.gt if shape.ge is None else shape.ge,
        max_value=shape.lt if shape.le is None else shape.le,
        exclude_min=shape.ge is None and shape.gt is not None,
        exclude_max=shape.le is None and shape.lt is not None,
        allow_nan=False,
        allow_infinity=False,
    )


def _strings(shape: shapes.StrType) -> st.SearchStrategy[str]:
    if shape.pattern is None:
        return texts.filter(
            lambda text: (shape.min_length or 0) <= len(text) <= (shape.max_length or len(text))
        )
    if shape.pattern == m.ID_PATTERN:
        return ids
    if found := re.fullmatch(r"\^\[0-9a-f\]\{(\d+)\}.*", shape.pattern):
        return st.text(alphabet="0123456789abcdef", min_size=int(found[1]), max_size=int(found[1]))
    return st.from_regex(shape.pattern)


def _bytes(shape: shapes.BytesType) -> st.SearchStrategy[bytes]:
    least = shape.min_length or 0
    return st.binary(min_size=least, max_size=max(least, 64))


def _tuples(shape: shapes.VarTupleType | shapes.ListType) -> st.SearchStrategy[Any]:
    least = shape.min_length or 0
    lists = st.lists(_of(shape.item_type), min_size=least, max_size=max(least, MAX_ITEMS))
    return lists.map(tuple) if isinstance(shape, shapes.VarTupleType) else lists


def _structs(shape: shapes.StructType) -> st.SearchStrategy[Any]:
    fields = {
        field.name: st.just(m.PROTOCOL) if field.name == "protocol" else _of(field.type)
        for field in shape.fields
    }
    return st.builds(shape.cls, **fields)


_STRATEGIES: list[tuple[Any, Callable[[Any], st.SearchStrategy[Any]]]] = [
    (shapes.StructType, _structs),
    (shapes.IntType, _integers),
    (shapes.FloatType, _floats),
    (shapes.StrType, _strings),
    (shapes.BoolType, lambda _: st.booleans()),
    (shapes.NoneType, lambda _: st.none()),
    (shapes.BytesType, _bytes),
    (shapes.EnumType, lambda shape: st.sampled_from(shape.cls)),
    (shapes.LiteralType, lambda shape: st.sampled_from(shape.values)),
    (shapes.UnionType, lambda shape: st.one_of([_of(kind) for kind in shape.types])),
    (shapes.Metadata, lambda shape: _of(shape.type)),
    ((shapes.VarTupleType, shapes.ListType), _tuples),
    (
        shapes.DictType,
        lambda shape: st.dictionaries(
            _of(shape.key_type), _of(shape.value_type), max_size=MAX_ITEMS
        ),
    ),
]


# ---------------------------------------------------------------- plans


@st.composite
def regions(draw: st.DrawFn, width_px: int = 640, height_px: int = 480) -> m.Region:
    """A region inside a picture of that size, corners on quarters of a pixel."""
    left, right = _span(draw, width_px)
    top, bottom = _span(draw, height_px)
    return m.Region(left_px=left, top_px=top, width_px=right - left, height_px=bottom - top)


def _span(draw: st.DrawFn, size: int) -> tuple[float, float]:
    start = draw(st.integers(0, 4 * size - 1))
    end = draw(st.integers(start + 1, 4 * size))
    return start / 4, end / 4


@st.composite
def plans(draw: st.DrawFn, max_views: int = 3, max_points_per_view: int = 4) -> Plan:
    """A plan that `inspection.plan.read_plan` would accept: every view has points, every point
    its view and kind, every region lies in its view. References are left out: they are files."""
    kinds = draw(
        st.dictionaries(short_ids, st.builds(Kind, model=short_ids), min_size=1, max_size=3)
    )
    names = draw(st.lists(short_ids, min_size=1, max_size=max_views, unique=True))
    views = tuple(draw(_views(name)) for name in names)
    counts = [draw(st.integers(1, max_points_per_view)) for _ in views]
    point_ids = iter(
        draw(st.lists(short_ids, min_size=sum(counts), max_size=sum(counts), unique=True))
    )
    points = tuple(
        draw(_points(next(point_ids), view, sorted(kinds)))
        for view, count in zip(views, counts, strict=True)
        for _ in range(count)
    )
    return Plan(
        name=draw(short_ids),
        version=draw(short_ids),
        deadline_ms=draw(st.integers(100, 600_000)),
        views=views,
        kinds=kinds,
        severity=draw(st.dictionaries(st.sampled_from(m.Severity), st.sampled_from(Unresolved))),
        points=points,
    )


@st.composite
def _views(draw: st.DrawFn, name: str) -> View:
    width, height = draw(st.integers(1, 6000)), draw(st.integers(1, 6000))
    return View(
        id=name,
        camera=draw(short_ids),
        width_px=width,
        height_px=height,
        trigger=draw(st.sampled_from(Trigger)),
        datums=tuple(
            Datum(id=datum, x_px=draw(st.integers(0, width)), y_px=draw(st.integers(0, height)))
            for datum in draw(st.lists(short_ids, max_size=2, unique=True))
        ),
    )


@st.composite
def _points(draw: st.DrawFn, name: str, view: View, kinds: list[str]) -> Point:
    millimetres = st.none() | st.integers(-60_000, 60_000).map(lambda tenths: tenths / 10)
    words = st.none() | short_ids
    return Point(
        id=name,
        view=view.id,
        kind=draw(st.sampled_from(kinds)),
        region=draw(regions(view.width_px, view.height_px)),
        severity=draw(st.sampled_from(m.Severity)),
        x=draw(millimetres),
        y=draw(millimetres),
        z=draw(millimetres),
        gun=draw(words),
        program=draw(words),
        stack=draw(words),
        extra=draw(st.dictionaries(short_ids.map("x_{}".format), short_ids, max_size=2)),
    )


# ---------------------------------------------------------------- what an edge answers


@st.composite
def orders(draw: st.DrawFn, view_id: str | None = None) -> m.Order:
    """An order of one view whose points all lie in the picture and whose models are all named."""
    order: m.Order = draw(of(m.Order))
    width, height = draw(st.integers(1, 6000)), draw(st.integers(1, 6000))
    tasks = draw(
        st.lists(
            st.builds(
                m.PointTask,
                point=short_ids,
                model=st.sampled_from(["model-a", "model-b"]),
                region=regions(width, height),
            ),
            min_size=1,
            max_size=4,
            unique_by=operator.attrgetter("point"),
        )
    )
    models = {name: draw(of(m.ModelRef)) for name in sorted({task.model for task in tasks})}
    return msgspec.structs.replace(
        order,
        view=view_id or order.view,
        width_px=width,
        height_px=height,
        points=tuple(tasks),
        models=models,
    )


@st.composite
def view_results(draw: st.DrawFn, order: m.Order, edge: str = "edge-1") -> m.ViewResult:
    """What an edge might honestly answer to an order: exactly one entry a point, verdict and
    reason in agreement, the models the order named, scores that sum to one."""
    entries = [draw(_inspected(task, order) | _missed(task)) for task in order.points]
    return m.ViewResult(
        run=order.run,
        part=order.part,
        plan=order.plan,
        view=order.view,
        attempt=order.attempt,
        edge=edge,
        camera=order.camera,
        frame=draw(short_ids),
        captured_ns=draw(st.integers(0, 2**63 - 1)),
        points=tuple(entries),
    )


def _inspected(task: m.PointTask, order: m.Order) -> st.SearchStrategy[m.Inspected]:
    outcomes = {
        m.Verdict.OK: (m.Reason.NONE, "", (0.98, 0.02)),
        m.Verdict.NOK: (m.Reason.DEFECT, "defect", (0.02, 0.98)),
        m.Verdict.REVIEW: (m.Reason.UNCERTAIN, "defect", (0.6, 0.4)),
    }

    def build(verdict: m.Verdict) -> m.Inspected:
        reason, finding, scores = outcomes[verdict]
        return m.Inspected(
            point=task.point,
            verdict=verdict,
            reason=reason,
            finding=finding,
            scores=scores,
            model=order.models[task.model],
        )

    return st.sampled_from(sorted(outcomes)).map(build)


def _missed(task: m.PointTask) -> st.SearchStrategy[m.Missed]:
    reasons = [reason for reason in m.Reason if 200 <= reason < 500]
    return st.builds(m.Missed, point=st.just(task.point), reason=st.sampled_from(reasons))
