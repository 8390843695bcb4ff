"""One good picture becomes a view of a plan: its points, and datum marks that are found again.

What is written is read again as a station would read it, and the marks are tried: the picture
itself, moved, turned and enlarged as far as a part may stand, must be found where it was put, and
its mirror image, which is the other side of a symmetrical body, must be refused. Where anything of
that fails, nothing is left behind.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import cv2
import numpy as np

from inspection import alignment, imaging
from inspection.calibration import Calibration, from_distance, from_target, target
from inspection.config import IDENTIFIER_RULE, read_bytes, read_toml, resolve
from inspection.errors import ConfigurationError, ImageError, PlanError, Problem
from inspection.imaging import Frame
from inspection.messages import ID_PATTERN, Alignment, Mark
from inspection.plan import Plan, Point, read_plan

LEAST_CONTRAST = 6.0
"""Grey levels: standard deviation of a mark's picture, at the resolution at which it is sought."""
MOST_ALIKE = 0.85
"""Normalised correlation of a mark with another place it could be taken for."""
OWN_PX = 24
"""What is closer to a mark than this is the mark itself."""
LEAST_BASE = 0.25
"""Of the picture's longer side: how far apart the farthest two marks lie at least. What is wrong at
a mark is wrong at the picture's edge by the ratio of the two distances."""
TRIED = tuple(itertools.product((-40.0, 40.0), (-3.0, 3.0), (0.97, 1.03)))
"""Pixels along the diagonal, degrees, scale: how the picture is moved to try its marks."""
FOUND_PX = 1.5
"""How far a point of the moved picture may be from where it was put."""
FOLDER = "taught"


class DatumMark(NamedTuple):
    """A mark as a person names it, in pixels of the picture."""

    id: str
    x_px: float
    y_px: float


class Lesson(NamedTuple):
    """What a view is to be: ``rows`` is the CSV file of its points, which may leave out the column
    ``view``; ``kinds`` names the model of each kind the plan does not have yet."""

    picture: Frame
    view: str
    camera: str
    rows: Path
    datums: tuple[DatumMark, ...]
    calibration: Calibration | None = None


class Head(NamedTuple):
    """What a new plan says besides its views."""

    name: str
    version: str
    deadline_ms: int
    kinds: Mapping[str, str]


def teach(lesson: Lesson, file: Path, head: Head | None) -> Plan:
    """Write the plan of one view (``head`` given), or add the view to the plan that ``file`` is.

    Raises `ConfigurationError` for what is wrong with the lesson, `PlanError` for what is wrong
    with the plan that would come of it; the files are then as they were before.
    """
    for what, name in (("view", lesson.view), ("camera", lesson.camera)):
        if not re.match(ID_PATTERN, name):
            raise ConfigurationError(f"{what} {name!r} is no identifier: {IDENTIFIER_RULE}")
    marks = check_marks(lesson.picture, lesson.datums)
    files = _pictures(lesson, marks, file)
    lines: dict[int, int] | None = None
    if head is None:
        points, lines = _added(lesson, file, files)
    else:
        points = _new(lesson, file, head, files)
    with _written(files):
        try:
            plan = read_plan(file)
        except PlanError as error:
            raise PlanError(
                [_as_given(each, points, lesson.rows, lines) for each in error.problems]
            ) from None
        try_marks(lesson.picture, marks, plan.points_of(lesson.view))
    return plan


# ------------------------------------------------------------------------- what a person writes


def read_picture(path: Path) -> Frame:
    """A picture from a file; raises `ConfigurationError` where it is none."""
    try:
        return imaging.decode(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ImageError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def datum(text: str) -> DatumMark:
    """A mark from ``hole=210.5,188``."""
    name, _, place = text.partition("=")
    x, _, y = place.partition(",")
    try:
        found = DatumMark(name, float(x), float(y))
    except ValueError:
        found = DatumMark(name, math.nan, math.nan)
    if not (math.isfinite(found.x_px) and math.isfinite(found.y_px)):
        raise ConfigurationError(f"datum {text!r}: write ID=X,Y, such as hole=210.5,188")
    return found


def kinds(texts: Sequence[str]) -> dict[str, str]:
    """Models by kind, from texts such as ``spot-weld=spot-weld``."""
    found: dict[str, str] = {}
    for text in texts:
        kind, _, model = text.partition("=")
        if not re.match(ID_PATTERN, kind) or not re.match(ID_PATTERN, model):
            raise ConfigurationError(f"kind {text!r}: write KIND=MODEL; {IDENTIFIER_RULE}")
        if kind in found:
            raise ConfigurationError(f"kind {kind!r} is given twice: one model judges a kind")
        found[kind] = model
    if not found:
        raise ConfigurationError("a new plan needs the model of each kind: --kind KIND=MODEL")
    return found


def calibrated(
    lesson: Lesson, distance: str | None, named: str | None, shown: Path | None
) -> Calibration | None:
    """Scale and distortion from the distance of two datums (``hole,slot=85.2``) or from a target
    and its picture; None where neither is given."""
    if (named is None) != (shown is None):
        raise ConfigurationError("a target and its picture belong together: give both, or neither")
    if named is not None and distance is not None:
        raise ConfigurationError("a target and a distance: give one of them, the target is better")
    if named is not None and shown is not None:
        picture = read_picture(shown)
        if picture.shape[:2] != lesson.picture.shape[:2]:
            raise ConfigurationError(
                f"{shown}: has {picture.shape[1]} x {picture.shape[0]} px, the view has"
                f" {lesson.picture.shape[1]} x {lesson.picture.shape[0]}: take it with the same"
                " camera and settings"
            )
        return from_target(picture, target(named))
    if distance is None:
        return None
    pair, _, length = distance.partition("=")
    one, _, other = pair.partition(",")
    places = {each.id: (each.x_px, each.y_px) for each in lesson.datums}
    try:
        return from_distance(places[one], places[other], float(length))
    except (KeyError, ValueError):
        raise ConfigurationError(
            f"distance {distance!r}: write ID,ID=MILLIMETRES with two of the datums"
        ) from None


# ------------------------------------------------------------------------------------- the marks


def check_marks(picture: Frame, datums: Sequence[DatumMark]) -> Alignment:
    """What an edge needs to find the marks; `ConfigurationError` where one of them cannot be found
    again, with what was measured of it."""
    height, width = picture.shape[:2]
    if not 2 <= len(datums) <= 16:
        raise ConfigurationError(f"{len(datums)} datums: 2 to 16 are needed to align a view")
    names = [datum.id for datum in datums]
    for name in names:
        if not re.match(ID_PATTERN, name):
            raise ConfigurationError(f"datum {name!r} is no identifier: {IDENTIFIER_RULE}")
        if names.count(name) > 1:
            raise ConfigurationError(f"datum {name!r} is given twice: every datum needs its own id")
    marks = []
    for datum in datums:
        if not (0 <= datum.x_px <= width and 0 <= datum.y_px <= height):
            raise ConfigurationError(
                f"datum {datum.id!r} at {datum.x_px:g}, {datum.y_px:g} lies outside the picture of"
                f" {width} x {height} px"
            )
        try:
            cut = alignment.cut(picture, datum.x_px, datum.y_px)
        except ValueError as error:
            raise ConfigurationError(
                f"datum {datum.id!r} at {datum.x_px:g}, {datum.y_px:g}: {error}; choose a mark"
                " farther from its edge"
            ) from None
        _check_mark(picture, datum, cut)
        marks.append(
            Mark(id=datum.id, x_px=datum.x_px, y_px=datum.y_px, picture=imaging.encode_png(cut))
        )
    base = max(
        math.dist((one.x_px, one.y_px), (other.x_px, other.y_px))
        for one, other in itertools.combinations(datums, 2)
    )
    if base < (needed := LEAST_BASE * max(width, height)):
        raise ConfigurationError(
            f"the datums lie within {base:.0f} px of each other: at least {needed:.0f} px are"
            " needed to tell how a part is turned"
        )
    return Alignment(marks=tuple(marks), overview=imaging.encode_png(alignment.overview(picture)))


def _check_mark(picture: Frame, datum: DatumMark, cut: Frame) -> None:
    by = alignment.COARSE
    small = _reduced(cut, by)
    contrast = float(small.std())
    where = f"datum {datum.id!r} at {datum.x_px:g}, {datum.y_px:g}"
    if contrast < LEAST_CONTRAST:
        raise ConfigurationError(
            f"{where} is too plain to be found again: its contrast is {contrast:.1f} grey levels,"
            f" at least {LEAST_CONTRAST:g} are needed; choose a hole, a slot or a corner"
        )
    height, width = picture.shape[:2]
    far = math.hypot(datum.x_px - width / 2, datum.y_px - height / 2)
    turned = math.hypot(math.radians(alignment.TURN_DEG), alignment.SCALE)
    reach = math.ceil(alignment.SHIFT_PX + far * turned + alignment.MARK_PX / 2)
    left, top = max(0, int(datum.x_px) - reach), max(0, int(datum.y_px) - reach)
    around = picture[top : int(datum.y_px) + reach, left : int(datum.x_px) + reach]
    scores = cv2.matchTemplate(_reduced(around, by), small, cv2.TM_CCOEFF_NORMED)
    scores[~(np.abs(scores) <= 1)] = -1  # over a plain area it is a quotient of rounding errors
    row, column = np.mgrid[0 : scores.shape[0], 0 : scores.shape[1]]
    x = left + by * column + alignment.MARK_PX / 2 - datum.x_px
    y = top + by * row + alignment.MARK_PX / 2 - datum.y_px
    away = np.hypot(x, y)
    scores[away < OWN_PX] = -1
    best = int(scores.argmax())
    alike = float(scores.flat[best])
    if alike > MOST_ALIKE:
        raise ConfigurationError(
            f"{where} is ambiguous: {away.flat[best]:.0f} px beside it, at"
            f" {datum.x_px + x.flat[best]:.0f}, {datum.y_px + y.flat[best]:.0f}, the picture looks"
            f" the same by {alike:.2f}, at most {MOST_ALIKE:g} is possible; choose a mark of which"
            " there is but one within reach, and no straight edge"
        )


def _reduced(picture: Frame, by: int) -> Frame:
    one = alignment.green(picture)
    rows, columns = one.shape[0] // by, one.shape[1] // by
    whole = np.ascontiguousarray(one[: rows * by, : columns * by])
    return cast(Frame, cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA))


def try_marks(picture: Frame, marks: Alignment, points: Sequence[Point]) -> None:
    """Raises `ConfigurationError` where the picture is not found again when it is moved as far as a
    part may stand, or where its mirror image is."""
    height, width = picture.shape[:2]
    one = np.ascontiguousarray(alignment.green(picture))
    for along, degrees, scale in ((0.0, 0.0, 1.0), *TRIED):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, scale)
        matrix[:, 2] = matrix[:, 2] + along / math.sqrt(2)
        moved = cv2.warpAffine(one, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        how = f"moved by {along:g} px, turned by {degrees:g} degrees, {scale:.0%} of its size"
        try:
            pose = alignment.locate(cast(Frame, moved), marks)
        except ImageError as error:
            raise ConfigurationError(
                f"these datums do not find the part again when it is {how}: {error}; choose others"
            ) from None
        for point in points:
            x = point.region.left_px + point.region.width_px / 2
            y = point.region.top_px + point.region.height_px / 2
            off = math.dist(pose.place(x, y), matrix @ (x, y, 1))
            if off > FOUND_PX:
                raise ConfigurationError(
                    f"these datums put point {point.id} {off:.1f} px off when the part is {how}:"
                    f" at most {FOUND_PX:g} px are possible; choose datums farther apart, or more"
                )
    for name, other in (("mirrored", one[:, ::-1]), ("upside down", one[::-1, ::-1])):
        with contextlib.suppress(ImageError):
            alignment.locate(np.ascontiguousarray(other), marks)
            raise ConfigurationError(
                f"the picture {name} is taken for this view: nothing in it tells one side of the"
                " part from the other; choose a datum that has no counterpart, or another view"
            )


# ------------------------------------------------------------------------------------- the files


def _pictures(lesson: Lesson, marks: Alignment, file: Path) -> dict[Path, bytes]:
    folder = resolve(file, FOLDER)
    files = {folder / f"{lesson.view}.png": marks.overview}
    files |= {folder / f"{lesson.view}-{mark.id}.png": mark.picture for mark in marks.marks}
    for path in files:
        if path.exists():
            raise ConfigurationError(f"{path} is there already: remove it, or name another view")
    return files


def _view(lesson: Lesson) -> str:
    height, width = lesson.picture.shape[:2]
    lines = [
        "[[view]]",
        f'id = "{lesson.view}"',
        f'camera = "{lesson.camera}"',
        f"width_px = {width}",
        f"height_px = {height}",
        f'overview = "{FOLDER}/{lesson.view}.png"',
    ]
    if (known := lesson.calibration) is not None:
        lines.append(f"mm_per_px = {known.mm_per_px:.6g}")
        if known.distortion is not None:
            lines.append(f"distortion = [{known.distortion.k1:.6f}, {known.distortion.k2:.6f}]")
    for datum in lesson.datums:
        lines += [
            "",
            "[[view.datum]]",
            f'id = "{datum.id}"',
            f"x_px = {float(datum.x_px)}",
            f"y_px = {float(datum.y_px)}",
            f'picture = "{FOLDER}/{lesson.view}-{datum.id}.png"',
        ]
    return "\n".join(lines) + "\n"


def _new(lesson: Lesson, file: Path, head: Head, files: dict[Path, bytes]) -> Path:
    points = file.with_suffix(".csv")
    for path in (file, points):
        if path.exists():
            raise ConfigurationError(
                f"{path} is there already: add the view to it, or name another"
            )
    if points.resolve() == lesson.rows.resolve():
        raise ConfigurationError(f"{points} is the list of points itself: name the plan otherwise")
    kinds = "".join(
        f"[kinds.{json.dumps(kind)}]\nmodel = {json.dumps(model)}\n\n"
        for kind, model in head.kinds.items()
    )
    text = (
        f"[plan]\nname = {json.dumps(head.name)}\n"
        f"version = {json.dumps(head.version, ensure_ascii=False)}\n"
        f"deadline_ms = {head.deadline_ms}\npoints = {json.dumps(points.name, ensure_ascii=False)}"
        f"\n\n{kinds}{_view(lesson)}"
    )
    files[points] = _with_view(lesson).encode()
    files[file] = text.encode()
    return points


def _added(lesson: Lesson, file: Path, files: dict[Path, bytes]) -> tuple[Path, dict[int, int]]:
    """The plan's list of points, and which of its new lines is which of the lesson's."""
    plan = read_plan(file)
    if any(view.id == lesson.view for view in plan.views):
        raise ConfigurationError(
            f"{file}: the plan has a view {lesson.view!r} already: remove it first, or name another"
        )
    toml = read_toml(file)
    if (named := cast("dict[str, Any]", toml.data["plan"]).get("points")) is None:
        raise ConfigurationError(f"{file}: the plan has no CSV file of points to add these to")
    points = resolve(file, named)
    old = read_bytes(points).decode("utf-8-sig")
    delimiter, header = _header(old, points)
    given = _with_view(lesson)
    between, columns = _header(given, lesson.rows)
    if more := [name for name in columns if name not in header]:
        raise ConfigurationError(
            f"{lesson.rows}: the plan's {points} has no column {', '.join(more)}: add it there"
        )
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    for number, cells in enumerate(_rows(given, between)):
        if number:
            row = dict(zip(columns, cells, strict=False))
            writer.writerow([row.get(name, "") for name in header])
    kept = old.rstrip("\r\n") + "\n"
    files[points] = (kept + out.getvalue()).encode()
    files[file] = read_bytes(file).rstrip() + b"\n\n" + _view(lesson).encode()
    begin = len(kept.splitlines()) + 1
    given_on = [n for n, line in enumerate(given.splitlines(), 1) if _is_row(line)][1:]
    return points, dict(enumerate(given_on, begin))


def _with_view(lesson: Lesson) -> str:
    """The list of points with its column ``view``, each on the line where it was."""
    path = lesson.rows
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: save the file with the encoding UTF-8") from None
    delimiter, header = _header(text, path)
    lines = text.splitlines()
    if "view" in header:
        at = header.index("view")
        for cells in itertools.islice(_rows(text, delimiter), 1, None):
            if at < len(cells) and cells[at] != lesson.view:
                raise ConfigurationError(
                    f"{path}: a point is in view {cells[at]!r}, but {lesson.view!r} is taught:"
                    " leave the column out, or list the points of one view only"
                )
        return "\n".join(lines) + "\n"
    names = itertools.chain(["view"], itertools.repeat(lesson.view))
    return "".join(
        f"{line}{delimiter}{next(names)}\n" if _is_row(line) else f"{line}\n" for line in lines
    )


def _is_row(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    for line in filter(_is_row, text.splitlines()):
        for cells in csv.reader([line], delimiter=delimiter, skipinitialspace=True):
            yield [cell.strip() for cell in cells]


def _header(text: str, path: Path) -> tuple[str, list[str]]:
    first = next(filter(_is_row, text.splitlines()), "")
    if not first:
        raise ConfigurationError(f"{path}: the first line must name the columns; it is empty")
    delimiter = ";" if first.count(";") > first.count(",") else ","
    return delimiter, next(_rows(first, delimiter))


@contextlib.contextmanager
def _written(files: Mapping[Path, bytes]) -> Iterator[None]:
    """The files are written when the block begins and as they were before when it fails."""
    before = {path: path.read_bytes() if path.exists() else None for path in files}
    folders = [path.parent for path in files if not path.parent.exists()]
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_name(path.name + ".new")
            new.write_bytes(data)
            new.replace(path)
        yield
    except BaseException:
        for path, old in before.items():
            if old is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(old)
            path.with_name(path.name + ".new").unlink(missing_ok=True)
        for folder in dict.fromkeys(folders):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _as_given(
    problem: Problem, points: Path, rows: Path, lines: Mapping[int, int] | None
) -> Problem:
    """A mistake in the plan's new list of points is one of the list that was given."""
    if problem.file != str(points) or (lines is not None and problem.line not in lines):
        return problem
    line = problem.line if lines is None or problem.line is None else lines[problem.line]
    return Problem(str(rows), line, problem.field, problem.message)


# ------------------------------------------------------------------------------------ to look at


def overlay(picture: Frame, plan: Plan, view: str) -> Frame:
    """The picture with every region, id and datum of the view drawn into it, for a person."""
    drawn = np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture.copy()
    size = max(0.5, picture.shape[1] / 3000)
    thick = max(1, round(2 * size))
    for point in plan.points_of(view):
        region = point.region
        left, top = round(region.left_px), round(region.top_px)
        right = round(region.left_px + region.width_px)
        bottom = round(region.top_px + region.height_px)
        cv2.rectangle(drawn, (left, top), (right, bottom), (0, 220, 0), thick)
        _label(drawn, point.id, (left, max(14, top - 6)), size, (0, 220, 0))
    for datum in plan.view(view).datums:
        x, y, half = round(datum.x_px), round(datum.y_px), alignment.MARK_PX // 2
        cv2.drawMarker(drawn, (x, y), (255, 60, 60), cv2.MARKER_CROSS, half, thick)
        cv2.rectangle(drawn, (x - half, y - half), (x + half, y + half), (255, 60, 60), thick)
        _label(drawn, datum.id, (x - half, max(14, y - half - 6)), size, (255, 60, 60))
    return drawn


def _label(
    picture: Frame, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int]
) -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, text, at, font, size, (0, 0, 0), max(3, round(6 * size)), cv2.LINE_AA)
    cv2.putText(picture, text, at, font, size, colour, max(1, round(2 * size)), cv2.LINE_AA)
