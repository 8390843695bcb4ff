"""Inspection plans: what to look at on a part, from which cameras, how long and how strictly.

A plan is a TOML file, usually with its points in a CSV file beside it, because that is what comes
out of the CAD department; ``docs/plans.md`` is the manual. `read_plan` finds every mistake of both
files before it gives up, because a person mends a list of five thousand points in one go or not at
all.
"""

from __future__ import annotations

import csv
import enum
import functools
import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from inspection.config import (
    IDENTIFIER_RULE,
    Toml,
    TomlPath,
    dotted,
    read_bytes,
    read_toml,
    resolve,
    shown,
    unknown,
)
from inspection.errors import ConfigurationError, PlanError, Problem
from inspection.limits import read_limits
from inspection.messages import (
    ID_PATTERN,
    MAX_POINTS_PER_VIEW,
    Alignment,
    GaugeLimits,
    GaugeTask,
    Id,
    Mark,
    QualityLimits,
    Region,
    Severity,
    Sha256,
    Text,
    ToneMap,
)
from inspection.taught import MARK_PX, MAX_BYTES, corner, overview_size, size_of

MAX_PX = 1_000_000
MAX_MM = 1_000_000
DEADLINE_MS = (100, 600_000)
MARKS = (2, 16)
"""Least and most taught datums of a view."""
GAUGE_MM_PER_PX = 0.2
"""A view that sees less has too few pixels across an imprint to measure it."""
MAX_TAUGHT_BYTES = 512 * 1024
"""Of one view: they travel with each of its orders."""
INTERVAL_MINUTES = (1, 7 * 24 * 60)
MAX_VERSION, MAX_TEXT, MAX_COLUMN = 64, 500, 64

Version = Annotated[str, Meta(min_length=1, max_length=MAX_VERSION)]
Pixels = Annotated[int, Meta(ge=1, le=MAX_PX)]
PixelPosition = Annotated[float, Meta(ge=0, le=MAX_PX)]
MmPerPixel = Annotated[float, Meta(gt=0, le=1000)]
Coefficient = Annotated[float, Meta(ge=-10, le=10)]
Millimetres = Annotated[float, Meta(ge=-MAX_MM, le=MAX_MM)]
DeadlineMs = Annotated[int, Meta(ge=DEADLINE_MS[0], le=DEADLINE_MS[1])]


class Trigger(enum.StrEnum):
    """Who says when a view is photographed."""

    STATION = "station"
    PLC = "plc"


class Unresolved(enum.StrEnum):
    """What an undecided point (REVIEW or NOT_INSPECTED) makes of its run."""

    HOLD = "hold"
    NOK = "nok"


class Datum(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mark of the part that is easy to find, where it lies in the reference image; ``picture`` is
    what it looks like there, the bytes of a grey PNG."""

    id: Id
    x_px: PixelPosition
    y_px: PixelPosition
    picture: Annotated[bytes, Meta(max_length=MAX_BYTES)] | UnsetType = UNSET


class View(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One photograph. ``reference`` is a path relative to the plan's TOML file; ``overview`` the
    whole reference image much reduced, the bytes of a grey PNG."""

    id: Id
    camera: Id
    width_px: Pixels
    height_px: Pixels
    trigger: Trigger = Trigger.STATION
    tone_map: ToneMap | None = None
    """Of a camera of more than 8 bits; a picture from another one, or from none, is refused."""
    reference: str | None = None
    datums: tuple[Datum, ...] = ()
    overview: Annotated[bytes, Meta(max_length=MAX_BYTES)] | None = None
    mm_per_px: MmPerPixel | None = None
    distortion: tuple[Coefficient, Coefficient] | None = None
    """Radial, as OpenCV writes it: k1 and k2, of distances from the picture's centre divided by
    half of its longer side."""

    @property
    def alignment(self) -> Alignment | UnsetType:
        """What an edge needs to find the part; UNSET where the view was not taught. `ValueError`
        where it was in part only: nothing could be found by that."""
        taught = [datum.picture for datum in self.datums if datum.picture is not UNSET]
        if self.overview is None and not taught:
            return UNSET
        if self.overview is None:
            raise ValueError("has pictures of its datums, but no overview")
        if len(taught) < len(self.datums):
            raise ValueError("has an overview, but some of its datums have no picture")
        if not MARKS[0] <= len(taught) <= MARKS[1]:
            raise ValueError(f"has {len(taught)} datums, {MARKS[0]} to {MARKS[1]} are needed")
        if (total := len(self.overview) + sum(map(len, taught))) > MAX_TAUGHT_BYTES:
            raise ValueError(
                f"has {total} bytes of pictures, {MAX_TAUGHT_BYTES} are possible: make them smaller"
                " or fewer"
            )
        return Alignment(
            marks=tuple(
                Mark(id=datum.id, x_px=datum.x_px, y_px=datum.y_px, picture=picture)
                for datum, picture in zip(self.datums, taught, strict=True)
            ),
            overview=self.overview,
        )


class Point(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One place to look at. ``x``, ``y`` and ``z`` are millimetres in body coordinates; ``extra``
    holds the ``x_*`` columns under their full names, as they were written."""

    id: Id
    view: Id
    kind: Id
    region: Region
    severity: Severity
    x: Millimetres | None = None
    y: Millimetres | None = None
    z: Millimetres | None = None
    gun: Text | None = None
    program: Text | None = None
    stack: Text | None = None
    extra: dict[str, Text] = {}
    quality: QualityLimits | None = None
    """What its pictures must be like; learnt, in ``limits.csv`` of the folder ``taught``."""


class Kind(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a point is (a spot weld, a clip) and the name of the model that judges it.
    ``anomaly_only`` permits a model whose thresholds stand on good pictures alone."""

    model: Id
    anomaly_only: bool = False
    gauge: GaugeLimits | None = None
    """Of the imprint; its views need ``mm_per_px``."""


class Deciding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the word of a person is worth: at points of ``two_persons`` two different people must
    say OK; with ``repaired_without_inspection`` a repair counts as OK without another look."""

    two_persons: tuple[Severity, ...] = ()
    repaired_without_inspection: bool = False

    def __post_init__(self) -> None:
        ordered = tuple(sorted(set(self.two_persons), key=lambda level: level.rank))
        msgspec.structs.force_setattr(self, "two_persons", ordered)


class Challenge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parts with known defects that go through the line to prove that it still finds them: one of
    ``parts`` at least every ``interval_minutes``, each with ``defects`` (class by point)."""

    parts: Annotated[tuple[Id, ...], Meta(min_length=1)]
    interval_minutes: Annotated[int, Meta(ge=INTERVAL_MINUTES[0], le=INTERVAL_MINUTES[1])]
    defects: Annotated[dict[Id, Text], Meta(min_length=1)]

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "parts", tuple(sorted(set(self.parts))))


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A plan in its one canonical form: points in the order of their ids, whatever the order of
    the rows was; ``severity`` with all three levels; what says nothing left out. Views keep the
    order they were written in: it is the order in which a station asks for them."""

    name: Id
    version: Version
    deadline_ms: DeadlineMs
    views: tuple[View, ...]
    kinds: dict[Id, Kind]
    severity: dict[Severity, Unresolved] = {}
    points: tuple[Point, ...]
    decisions: Deciding | UnsetType = UNSET
    challenge: Challenge | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.decisions == Deciding():
            msgspec.structs.force_setattr(self, "decisions", UNSET)
        severity = {level: self.severity.get(level, Unresolved.HOLD) for level in Severity}
        points = tuple(sorted(self.points, key=lambda point: point.id))
        msgspec.structs.force_setattr(self, "severity", severity)
        msgspec.structs.force_setattr(self, "points", points)

    @functools.cached_property
    def hash(self) -> Sha256:
        """SHA-256 of `encode_plan`: two plans have the same hash exactly if they ask the same."""
        return hashlib.sha256(self.document).hexdigest()

    @functools.cached_property
    def document(self) -> bytes:
        """`encode_plan`, made once: for thousands of points it takes a good part of a second."""
        return encode_plan(self)

    @property
    def deciding(self) -> Deciding:
        """``decisions``, with what it is where the plan says nothing."""
        return Deciding() if self.decisions is UNSET else self.decisions

    def is_challenge(self, part: str) -> bool:
        """Whether this part is one with known defects."""
        return self.challenge is not UNSET and part in self.challenge.parts

    def view(self, view_id: str) -> View:
        """The view of that id; `KeyError` where the plan has none."""
        return self._views[view_id]

    def points_of(self, view_id: str) -> tuple[Point, ...]:
        """The points of a view in the order of their ids; `KeyError` where it has no such view."""
        return self._points_of[view_id]

    def gauge_of(self, point: Point) -> GaugeTask | UnsetType:
        """What is to be measured at a point; UNSET where its kind has no limits."""
        limits, mm_per_px = self.kinds[point.kind].gauge, self.view(point.view).mm_per_px
        if limits is None or mm_per_px is None:
            return UNSET
        return GaugeTask(mm_per_px=mm_per_px, limits=limits)

    @functools.cached_property
    def _views(self) -> dict[str, View]:
        return {view.id: view for view in self.views}

    @functools.cached_property
    def _points_of(self) -> dict[str, tuple[Point, ...]]:
        found: dict[str, list[Point]] = {view.id: [] for view in self.views}
        for point in self.points:
            found[point.view].append(point)
        return {view_id: tuple(points) for view_id, points in found.items()}


def encode_plan(plan: Plan) -> bytes:
    """The canonical bytes of a plan, of which its hash is taken.

    JSON without spaces, keys sorted, numbers of a coordinate always written as fractions, optional
    fields left out where they say nothing: so that a later software with more optional fields
    still computes the same hash for the same plan.
    """
    # Decoded once in between, because a struct built in Python may hold 1 where a file gives 1.0.
    once = msgspec.json.decode(msgspec.json.encode(plan), type=Plan)
    return msgspec.json.encode(once, order="sorted")


def decode_plan(data: bytes) -> Plan:
    """A plan from its canonical bytes; raises `PlanError` where they are none or contradict
    themselves, so that a plan from a store can be trusted as far as one from a file."""
    try:
        plan = msgspec.json.decode(data, type=Plan)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PlanError(f"no plan: {error}") from None
    views = {view.id for view in plan.views}
    ids = {point.id for point in plan.points}
    if len(views) < len(plan.views) or len(ids) < len(plan.points):
        raise PlanError(f"plan {plan.name}: a view or a point is in it twice")
    for view in plan.views:
        try:
            _ = view.alignment
        except ValueError as error:
            raise PlanError(f"plan {plan.name}: view {view.id} {error}") from None
    for point in plan.points:
        if point.view not in views or point.kind not in plan.kinds:
            raise PlanError(f"plan {plan.name}: point {point.id} has no view or no kind")
        if plan.kinds[point.kind].gauge is not None and (
            wrong := _not_calibrated(plan.view(point.view).mm_per_px)
        ):
            raise PlanError(f"plan {plan.name}: view {point.view}: mm_per_px {wrong}")
    if plan.challenge is not UNSET and not plan.challenge.defects.keys() <= ids:
        raise PlanError(f"plan {plan.name}: a defect of a challenge part is at none of its points")
    return plan


def read_plan(path: Path, models: Collection[str] | None = None, *, limits: bool = True) -> Plan:
    """Read and check a plan and its points.

    ``models`` are the names of the models the station has; None where that is not known, and then
    it is not checked. Without ``limits`` those of the quality gate are left out, to be learnt anew.
    Raises `PlanError` with every mistake of all its files.
    """
    try:
        toml = read_toml(path)
    except ConfigurationError as error:
        raise PlanError(error.problems) from None
    return _Reader(path, toml, models, limits=limits).read()


# ---------------------------------------------------------------- one value


class _Wrong(Exception):
    """What is wrong with a value, in words that follow the name of its field."""


def _identifier(value: object) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"must be text in quotes, not {shown(value)}")
    if not re.match(ID_PATTERN, value):
        raise _Wrong(f"{shown(value)} is no identifier: {IDENTIFIER_RULE}")
    return value


def _text(longest: int = MAX_TEXT, *, empty: bool = True) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str):
            raise _Wrong(f"must be text in quotes, not {shown(value)}")
        if len(value) > longest:
            raise _Wrong(f"has {len(value)} characters, {longest} are possible: shorten it")
        if "\0" in value:
            raise _Wrong("holds a NUL character: remove it")
        if not value and not empty:
            raise _Wrong("must not be empty")
        return value

    return check


def _whole(least: int, most: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _Wrong(f"must be a whole number, not {shown(value)}")
        if not least <= value <= most:
            raise _Wrong(f"{shown(value)} is outside {least} to {most}")
        return value

    return check


def _number(least: float, most: float, *, above: bool = False) -> Callable[[object], float]:
    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Wrong(f"must be a number, not {shown(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise _Wrong(f"{value} is no finite number")
        if above and value <= least:
            raise _Wrong(f"{shown(value)} must be greater than {least:g}")
        if not least <= value <= most:
            raise _Wrong(f"{shown(value)} is outside {least:.0f} to {most:.0f}")
        return float(value) + 0.0  # -0.0 and 0.0 are one place and must give one hash

    return check


def _choice(options: type[enum.StrEnum]) -> Callable[[object], Any]:
    def check(value: object) -> enum.StrEnum:
        for option in options:
            if value == option.value:
                return option
        raise _Wrong(f"{shown(value)} is not possible: write {' or '.join(options)}")

    return check


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(f"must be true or false, not {shown(value)}")
    return value


def _list_of(check: Callable[[object], Any], *, empty: bool = True) -> Callable[[object], Any]:
    def check_all(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _Wrong(f"must be a list, not {shown(value)}")
        if not value and not empty:
            raise _Wrong("must not be empty")
        return tuple(check(entry) for entry in value)

    return check_all


def _distortion(value: object) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise _Wrong("must be a list of two numbers, k1 and k2")
    one, two = (_number(-10, 10)(entry) for entry in value)
    return one, two


def _defects(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not value:
        raise _Wrong("must be a table of at least one point with the class of its defect")
    name = _text(MAX_VERSION, empty=False)
    return {_identifier(point): name(finding) for point, finding in value.items()}


def _gauge(value: object) -> GaugeLimits:
    names = GaugeLimits.__struct_fields__
    if not isinstance(value, dict) or not value:
        raise _Wrong(f"must be a table with at least one of {', '.join(names)}")
    found: dict[str, float] = {}
    for name, limit in value.items():
        if name not in names:
            raise _Wrong(f"has {name!r}: {unknown(name, names)}")
        try:
            found[name] = _number(0, 1000, above=True)(limit)
        except _Wrong as wrong:
            raise _Wrong(f"{name} {wrong}") from None
    if found.get("diameter_min_mm", 0) >= found.get("diameter_max_mm", math.inf):
        raise _Wrong("diameter_min_mm must be less than diameter_max_mm")
    return GaugeLimits(**found)


def _cell_number(cell: str) -> float:
    if re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", cell):
        return float(cell)
    if cell.strip("+-").lower() in ("nan", "inf", "infinity"):
        raise _Wrong(f"{shown(cell)} is no finite number")
    if re.fullmatch(r"[+-]?[0-9.]*,[0-9]*", cell):
        raise _Wrong(f"{shown(cell)} is no number: write the decimals after a point")
    raise _Wrong(f"{shown(cell)} is no number")


def _not_calibrated(mm_per_px: float | None) -> str:
    """Why nothing can be measured in a view of this calibration; empty where it can."""
    if mm_per_px is None:
        return (
            "is missing: a kind of point in this view has limits in millimetres (gauge); measure"
            " the view's millimetres per pixel and write them here, or remove the gauge"
        )
    if mm_per_px > GAUGE_MM_PER_PX:
        return (
            f"{mm_per_px:g} is too coarse for a gauge: {GAUGE_MM_PER_PX:g} mm per pixel at most;"
            " use a camera with more pixels or more views, or remove the gauge"
        )
    return ""


class _Field(NamedTuple):
    check: Callable[[object], Any]
    required: bool = False
    number: bool = False
    """Whether a cell of a CSV file has to be read as a number first."""


_PLAN = {
    "name": _Field(_identifier, required=True),
    "version": _Field(_text(MAX_VERSION, empty=False), required=True),
    "deadline_ms": _Field(_whole(*DEADLINE_MS), required=True),
    "points": _Field(_text(empty=False)),
    "taught": _Field(_text(empty=False)),
}
_SEVERITY = {level.value: _Field(_choice(Unresolved)) for level in Severity}
_DECISIONS = {
    "two_persons": _Field(_list_of(_choice(Severity))),
    "repaired_without_inspection": _Field(_yes_or_no),
}
_CHALLENGE = {
    "parts": _Field(_list_of(_identifier, empty=False), required=True),
    "interval_minutes": _Field(_whole(*INTERVAL_MINUTES), required=True),
    "defects": _Field(_defects, required=True),
}
_KIND = {
    "model": _Field(_identifier, required=True),
    "anomaly_only": _Field(_yes_or_no),
    "gauge": _Field(_gauge),
}
_VIEW = {
    "id": _Field(_identifier, required=True),
    "camera": _Field(_identifier, required=True),
    "width_px": _Field(_whole(1, MAX_PX), required=True),
    "height_px": _Field(_whole(1, MAX_PX), required=True),
    "trigger": _Field(_choice(Trigger)),
    "tone_map": _Field(_choice(ToneMap)),
    "reference": _Field(_text(empty=False)),
    "overview": _Field(_text(empty=False)),
    "mm_per_px": _Field(_number(0, 1000, above=True)),
    "distortion": _Field(_distortion),
    "datum": _Field(lambda tables: tables),  # each is read by itself
}
_DATUM = {
    "id": _Field(_identifier, required=True),
    "x_px": _Field(_number(0, MAX_PX), required=True),
    "y_px": _Field(_number(0, MAX_PX), required=True),
    "picture": _Field(_text(empty=False)),
}
_POINT = {
    "id": _Field(_identifier, required=True),
    "view": _Field(_identifier, required=True),
    "kind": _Field(_identifier, required=True),
    "left_px": _Field(_number(0, MAX_PX), required=True, number=True),
    "top_px": _Field(_number(0, MAX_PX), required=True, number=True),
    "width_px": _Field(_number(0, MAX_PX, above=True), required=True, number=True),
    "height_px": _Field(_number(0, MAX_PX, above=True), required=True, number=True),
    "severity": _Field(_choice(Severity), required=True),
    "x": _Field(_number(-MAX_MM, MAX_MM), number=True),
    "y": _Field(_number(-MAX_MM, MAX_MM), number=True),
    "z": _Field(_number(-MAX_MM, MAX_MM), number=True),
    "gun": _Field(_text()),
    "program": _Field(_text()),
    "stack": _Field(_text()),
}
_PASSED_THROUGH = _Field(_text())
_REQUIRED_COLUMNS = [name for name, field in _POINT.items() if field.required]


# ---------------------------------------------------------------- one file after the other

_Fields: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where something was written: a row of a CSV file, or a table of a TOML file."""

    file: str
    row: int | None = None
    toml: Toml | None = None
    path: TomlPath = ()

    def problem(self, field: str, message: str) -> Problem:
        if self.toml is None:
            return Problem(self.file, self.row, field, message)
        return self.toml.problem((*self.path, field) if field else self.path, message)

    def seen_from(self, other: _Place) -> str:
        """How a message at ``other`` speaks of this place."""
        line = self.row if self.toml is None else self.toml.line(self.path)
        return f"on line {line}" if other.file == self.file else f"in {self.file}:{line}"


class _Reader:
    """One reading of one plan. Goes on after a mistake as far as that tells the person more, and
    stays silent about what only follows from a mistake already named."""

    def __init__(
        self, path: Path, toml: Toml, models: Collection[str] | None, *, limits: bool
    ) -> None:
        self._path = path
        self._limits = limits
        self._toml = toml
        self._models = models
        self._problems: list[Problem] = []
        self._views: dict[str, tuple[_Place, View | None]] = {}
        self._kinds: dict[str, Kind | None] = {}
        self._points: list[Point] = []
        self._ids: dict[str, _Place] = {}
        self._in_view: Counter[str] = Counter()
        self._unnamed_view = False
        self._unplaced = False
        """Whether some point may belong to any view, because its row could not be read so far."""

    def read(self) -> Plan:
        sections = {"plan", "severity", "decisions", "challenge", "kinds", "view", "point"}
        root = self._place()
        for name in self._toml.data:
            if name not in sections:
                self._wrong(root, name, unknown(name, sections))
        table = self._table("plan", required=True)
        plan = self._fields(table, _PLAN, self._place("plan"))
        severity = self._fields(self._table("severity"), _SEVERITY, self._place("severity"))
        deciding = self._fields(self._table("decisions"), _DECISIONS, self._place("decisions"))
        challenge = self._fields(self._table("challenge"), _CHALLENGE, self._place("challenge"))
        self._read_kinds()
        self._read_views()
        if "points" in plan:
            self._read_csv(resolve(self._path, plan["points"]))
        elif table is None or "points" in table:
            self._unplaced = True
        for place, raw in self._tables(("point",)):
            self._point(raw, place)
        self._check_views()
        self._check_defects(challenge)
        self._check_gauges()
        if "taught" in plan:
            self._read_limits(resolve(self._path, plan["taught"]))
        if self._problems:
            own = self._toml.file
            raise PlanError(
                sorted(self._problems, key=lambda wrong: (wrong.file != own, wrong.line or 0))
            )
        return Plan(
            name=plan["name"],
            version=plan["version"],
            deadline_ms=plan["deadline_ms"],
            views=tuple(view for _, view in self._views.values() if view is not None),
            kinds={name: kind for name, kind in self._kinds.items() if kind is not None},
            severity={Severity(level): fate for level, fate in severity.items()},
            points=tuple(self._points),
            decisions=Deciding(**deciding),
            challenge=Challenge(**challenge) if challenge else UNSET,
        )

    def _wrong(self, place: _Place, field: str, message: str) -> None:
        self._problems.append(place.problem(field, message))

    def _place(self, *path: str | int) -> _Place:
        return _Place(self._toml.file, toml=self._toml, path=path)

    # ------------------------------------------------------------ TOML

    def _table(self, name: str, *, required: bool = False) -> dict[str, Any] | None:
        table = self._toml.data.get(name)
        if table is None:
            if required:
                self._wrong(self._place(), name, f"is missing: a plan needs a table [{name}]")
            return None
        if not isinstance(table, dict):
            self._wrong(self._place(), name, f"must be a table: write its header as [{name}]")
            return None
        return table

    def _tables(self, path: TomlPath) -> Iterator[tuple[_Place, dict[str, Any]]]:
        """The tables of an array such as ``[[view]]``."""
        tables: Any = self._toml.data
        for step in path:
            tables = tables[step] if isinstance(step, int) else tables.get(step, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            name = dotted(tuple(step for step in path if isinstance(step, str)))
            self._wrong(self._place(*path), "", f"must be tables: write each header as [[{name}]]")
            self._unplaced = True
            return
        for index, table in enumerate(tables):
            yield self._place(*path, index), table

    def _fields(
        self,
        raw: Mapping[str, object] | None,
        fields: Mapping[str, _Field],
        place: _Place,
        absent: Collection[str] = (),
    ) -> _Fields:
        """The fields that are right; every other one becomes a problem. ``raw`` is None where the
        whole table is missing, which has been said; so have the fields in ``absent``."""
        found: _Fields = {}
        if raw is None:
            return found
        for name, value in raw.items():
            if (field := fields.get(name)) is None:
                self._wrong(place, name, unknown(name, fields))
                continue
            try:
                if field.number and isinstance(value, str) and place.toml is None:
                    value = _cell_number(value)
                found[name] = field.check(value)
            except _Wrong as wrong:
                self._wrong(place, name, str(wrong))
        for name, field in fields.items():
            if field.required and name not in raw and name not in absent:
                self._wrong(place, name, "is empty" if place.toml is None else "is missing")
        return found

    def _read_kinds(self) -> None:
        table = self._table("kinds", required=True) or {}
        for name, raw in table.items():
            place = self._place("kinds", name)
            self._kinds[name] = None
            try:
                _identifier(name)
            except _Wrong as wrong:
                self._wrong(place, "", str(wrong))
            if not isinstance(raw, dict):
                self._wrong(place, "", f"must be a table: write its header as [kinds.{name}]")
                continue
            fields = self._fields(raw, _KIND, place)
            if "model" not in fields:
                continue
            if self._models is not None and fields["model"] not in self._models:
                message = f"the station has no model {fields['model']!r}"
                has = ", ".join(sorted(self._models))
                self._wrong(place, "model", f"{message}: it has {has or 'none at all'}")
            self._kinds[name] = Kind(**fields)

    def _read_views(self) -> None:
        for place, raw in self._tables(("view",)):
            fields = self._fields(raw, _VIEW, place)
            fields.pop("datum", None)
            mistakes = len(self._problems)
            datums = self._read_datums(place, raw, fields)
            if "reference" in fields and not resolve(self._path, fields["reference"]).is_file():
                missing = resolve(self._path, fields["reference"])
                self._wrong(place, "reference", f"there is no file {missing}")
            if "overview" in fields:
                fields["overview"] = self._read_overview(place, fields)
            if "id" not in fields:
                self._unnamed_view = True
                continue
            if fields["id"] in self._views:
                first, _ = self._views[fields["id"]]
                said = f"view {fields['id']!r} was already given {first.seen_from(place)}"
                self._wrong(place, "id", f"{said}: every view needs its own id")
                continue
            complete = all(name in fields for name, field in _VIEW.items() if field.required)
            view = View(**fields, datums=datums) if complete else None
            if view is not None and len(self._problems) == mistakes:
                try:
                    _ = view.alignment
                except ValueError as error:
                    self._wrong(place, "overview", f"view {view.id!r} {error}")
            self._views[fields["id"]] = place, view
        if "view" not in self._toml.data:
            self._wrong(self._place(), "view", "is missing: a plan needs at least one [[view]]")

    def _read_datums(
        self, view_place: _Place, raw: dict[str, Any], view: _Fields
    ) -> tuple[Datum, ...]:
        datums: dict[str, Datum] = {}
        places: dict[str, _Place] = {}
        if "datum" not in raw:
            return ()
        for place, datum in self._tables((*view_place.path, "datum")):
            fields = self._fields(datum, _DATUM, place)
            for field, edge in (("x_px", "width_px"), ("y_px", "height_px")):
                if fields.get(field, 0) > view.get(edge, MAX_PX):
                    said = f"{fields[field]:g} lies outside the view, whose {edge} is {view[edge]}"
                    self._wrong(place, field, said)
            if "id" not in fields:
                continue
            if fields["id"] in places:
                said = places[fields["id"]].seen_from(place)
                self._wrong(place, "id", f"datum {fields['id']!r} was already given {said}")
                continue
            places[fields["id"]] = place
            picture: bytes | UnsetType = UNSET
            if "picture" in fields:
                picture = self._read_mark(place, fields, view) or UNSET
            if "x_px" in fields and "y_px" in fields:
                datums[fields["id"]] = Datum(
                    id=fields["id"], x_px=fields["x_px"], y_px=fields["y_px"], picture=picture
                )
        return tuple(datums.values())

    def _read_taught(self, place: _Place, field: str, name: str) -> tuple[bytes, int, int] | None:
        """The bytes of a picture in the plan's folder, its width and height."""
        path = resolve(self._path, name)
        try:
            data = read_bytes(path)
            return (data, *size_of(data))
        except ConfigurationError as error:
            self._wrong(place, field, f"{path}: {error.problems[0].message}")
        except ValueError as error:
            self._wrong(place, field, f"{path} {error}")
        return None

    def _read_overview(self, place: _Place, view: _Fields) -> bytes | None:
        read = self._read_taught(place, "overview", view["overview"])
        if read is None or "width_px" not in view or "height_px" not in view:
            return None
        wanted = overview_size(view["width_px"], view["height_px"])
        if read[1:] != wanted:
            said = f"has {read[1]} x {read[2]} px, that of this view has {wanted[0]} x {wanted[1]}"
            self._wrong(place, "overview", f"{resolve(self._path, view['overview'])} {said}")
            return None
        return read[0]

    def _read_mark(self, place: _Place, datum: _Fields, view: _Fields) -> bytes | None:
        read = self._read_taught(place, "picture", datum["picture"])
        if read is None:
            return None
        data, width, height = read
        least, most = MARK_PX
        if not (least <= width <= most and least <= height <= most):
            said = f"has {width} x {height} px, {least} to {most} on each side are possible"
            self._wrong(place, "picture", f"{resolve(self._path, datum['picture'])} {said}")
            return None
        if all(name in datum for name in ("x_px", "y_px")):
            left, top = corner(datum["x_px"], datum["y_px"], width, height)
            right, bottom = left + width, top + height
            if (
                min(left, top) < 0
                or right > view.get("width_px", MAX_PX)
                or bottom > view.get("height_px", MAX_PX)
            ):
                said = f"of {width} x {height} px around the datum reaches outside the view"
                self._wrong(place, "picture", f"the picture {said}")
                return None
        return data

    # ------------------------------------------------------------ points

    def _point(
        self, raw: Mapping[str, object], place: _Place, absent: Collection[str] = ()
    ) -> None:
        extra = {name: _PASSED_THROUGH for name in raw if name.startswith("x_")}
        for name in extra:
            if place.toml is not None and (wrong := _column_name(name)):
                self._wrong(place, name, wrong)
        fields = self._fields(raw, {**_POINT, **extra} if extra else _POINT, place, absent)
        if "view" in fields:
            self._in_view[fields["view"]] += 1
        else:
            self._unplaced = True
        if "id" in fields:
            first = self._ids.setdefault(fields["id"], place)
            if first is not place:
                said = f"point {fields['id']!r} was already given {first.seen_from(place)}"
                self._wrong(place, "id", f"{said}: every point needs its own id")
        if "kind" in fields and fields["kind"] not in self._kinds and self._kinds:
            possible = ", ".join(sorted(self._kinds))
            said = f"{fields['kind']!r} is no kind of this plan: it has {possible}"
            self._wrong(place, "kind", f"{said}; a new one needs a table [kinds.{fields['kind']}]")
        if "view" in fields and self._views:
            if fields["view"] not in self._views and not self._unnamed_view:
                possible = ", ".join(sorted(self._views))
                said = f"{fields['view']!r} is no view of this plan: it has {possible}"
                self._wrong(place, "view", said)
            _, view = self._views.get(fields["view"], (place, None))
            if view is not None:
                self._check_region(fields, view, place)
        if all(name in fields for name in _REQUIRED_COLUMNS):
            self._points.append(
                Point(
                    id=fields["id"],
                    view=fields["view"],
                    kind=fields["kind"],
                    region=Region(
                        left_px=fields["left_px"],
                        top_px=fields["top_px"],
                        width_px=fields["width_px"],
                        height_px=fields["height_px"],
                    ),
                    severity=fields["severity"],
                    x=fields.get("x"),
                    y=fields.get("y"),
                    z=fields.get("z"),
                    # An empty cell and a missing one say the same and must give one hash.
                    gun=fields.get("gun") or None,
                    program=fields.get("program") or None,
                    stack=fields.get("stack") or None,
                    extra={name: fields[name] for name in sorted(extra) if fields.get(name)},
                )
            )

    def _check_region(self, fields: _Fields, view: View, place: _Place) -> None:
        for start, length, size in (
            ("left_px", "width_px", view.width_px),
            ("top_px", "height_px", view.height_px),
        ):
            if start not in fields or length not in fields:
                continue
            end = fields[start] + fields[length]
            if end > size + 1e-6:  # no pixel, only the rounding of a sum of decimal fractions
                said = f"the region reaches to {end:g}, outside view {view.id!r}"
                self._wrong(place, start, f"{said}, whose {length} is {size}")

    def _check_views(self) -> None:
        if not self._in_view and not self._unplaced:
            self._wrong(
                self._place("plan"),
                "points",
                "the plan has no points: name their CSV file here, or add [[point]] tables",
            )
            return
        for name, (place, _) in self._views.items():
            many = self._in_view[name]
            if many > MAX_POINTS_PER_VIEW:
                said = f"view {name!r} has {many} points, {MAX_POINTS_PER_VIEW} are possible"
                self._wrong(place, "id", f"{said}: give some to a second view of the same camera")
            if not many and not self._unplaced:
                said = f"view {name!r} has no points: give it some, or remove it"
                self._wrong(place, "id", said)

    def _check_defects(self, challenge: _Fields) -> None:
        for point in challenge.get("defects", ()):
            if point not in self._ids and not self._unplaced:
                place = self._place("challenge", "defects")
                self._wrong(place, point, f"{point!r} is no point of this plan")

    def _check_gauges(self) -> None:
        """Millimetres come from the view's calibration alone."""
        gauged = {name for name, kind in self._kinds.items() if kind and kind.gauge is not None}
        for name in sorted({point.view for point in self._points if point.kind in gauged}):
            place, view = self._views.get(name, (None, None))
            if place is None or view is None:
                continue
            if wrong := _not_calibrated(view.mm_per_px):
                self._wrong(place, "mm_per_px", wrong)

    def _read_limits(self, folder: Path) -> None:
        if not folder.is_dir():
            self._wrong(
                self._place("plan"), "taught",
                f"there is no folder {folder}: make it, or remove the line",
            )  # fmt: skip
            return
        if self._unplaced or not self._limits:
            return
        limits, problems = read_limits(folder, {point.id: point.view for point in self._points})
        if len(self._points) == len(self._ids):
            self._problems += problems
        self._points = [
            msgspec.structs.replace(point, quality=limits.get(point.id)) for point in self._points
        ]

    # ------------------------------------------------------------ CSV

    def _read_csv(self, path: Path) -> None:
        file = str(path)
        lines = self._csv_lines(path)
        if lines is None:
            self._unplaced = True
            return
        header: list[str] | None = None
        delimiter = ","
        rows = 0
        absent: list[str] = []
        for number, line in lines:
            place = _Place(file, row=number)
            if header is None:
                delimiter = ";" if line.count(";") > line.count(",") else ","
            cells = self._cells(line, delimiter, place)
            if cells is None or not any(cells) or cells[0].startswith("#"):
                continue
            if header is None:
                if not self._check_header(cells, place):
                    self._unplaced = True
                    return
                header = cells
                absent = [name for name in _REQUIRED_COLUMNS if name not in header]
                continue
            rows += 1
            if len(cells) != len(header):
                said = f"has {len(cells)} cells, but the header has {len(header)}"
                self._wrong(place, "", f"{said}: a cell that holds {delimiter!r} needs quotes")
                self._unplaced = True
                continue
            # A column without a name, or with a wrong one, was named at the header.
            known = {
                name: cell
                for name, cell in zip(header, cells, strict=True)
                if cell and (name in _POINT or name.startswith("x_"))
            }
            self._point(known, place, absent)
        if header is None:
            said = f"the first line must name the columns: {', '.join(_REQUIRED_COLUMNS)} ..."
            self._wrong(_Place(file, row=1), "", f"the file has no header: {said}")
            self._unplaced = True
        elif not rows and not self._unplaced:
            self._wrong(_Place(file), "", "there is no point below the header")
            self._unplaced = True

    def _csv_lines(self, path: Path) -> Iterator[tuple[int, str]] | None:
        """The lines of a CSV file with their numbers; None where it cannot be read at all."""
        try:
            raw = read_bytes(path)
        except ConfigurationError as error:
            said = error.problems[0].message
            self._wrong(self._place("plan"), "points", f"{path}: {said}")
            return None
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            said = "the file is UTF-16: save it as CSV with the encoding UTF-8"
            self._wrong(_Place(str(path), row=1), "", said)
            return None
        return self._decoded(raw.removeprefix(b"\xef\xbb\xbf"), str(path))

    def _decoded(self, raw: bytes, file: str) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(raw.splitlines(), 1):
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                said = f"byte {error.start + 1} of the line is not UTF-8"
                self._wrong(
                    _Place(file, row=number), "", f"{said}: save the file with the encoding UTF-8"
                )
                self._unplaced = True
                continue
            if "\0" in text:
                said = "holds a NUL byte: the file is damaged, or no CSV; export it again"
                self._wrong(_Place(file, row=number), "", said)
                self._unplaced = True
                continue
            yield number, text

    def _cells(self, line: str, delimiter: str, place: _Place) -> list[str] | None:
        """The cells of one line without the space around them; None for a comment, and where the
        line cannot be read. A cell holds no line break, so that one lost quote costs one line."""
        if line.lstrip().startswith("#"):
            return None
        try:
            rows = list(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
        except csv.Error as error:
            self._wrong(place, "", f"the line cannot be read: {error}; look at its quotes")
            self._unplaced = True
            return None
        return [cell.strip() for cell in rows[0]] if rows else None

    def _check_header(self, header: list[str], place: _Place) -> bool:
        """Whether it is worth reading the rows below."""
        if not set(header) & set(_POINT):
            said = f"the first line must name the columns: {', '.join(_REQUIRED_COLUMNS)} ..."
            self._wrong(place, "", f"{said}, with commas or semicolons between them")
            return False
        for number, name in enumerate(header, 1):
            if not name:
                self._wrong(place, "", f"column {number} has no name: name it, or remove it")
            elif name.startswith("x_"):
                if wrong := _column_name(name):
                    self._wrong(place, name, wrong)
            elif name not in _POINT:
                said = unknown(name, _POINT)
                self._wrong(
                    place, name, f"{said}; to have a column passed through, begin its name with x_"
                )
        for name, times in Counter(header).items():
            if name and times > 1:
                self._wrong(place, name, f"there are {times} columns of this name: keep one")
        for name in _REQUIRED_COLUMNS:
            if name not in header:
                self._wrong(place, name, "the column is missing")
        return True


def _column_name(name: str) -> str | None:
    """What is wrong with the name of a column that is passed through."""
    if len(name) > MAX_COLUMN or len(name) < 3 or not name.isprintable():
        return f"the name must be x_ and 1 to {MAX_COLUMN - 2} printable characters"
    return None
