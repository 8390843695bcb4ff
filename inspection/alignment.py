"""Where a part lies in a picture, found from its datum marks, and where its regions are then.

Coarse to fine: each mark is sought in its surroundings at an eighth of the resolution, the places
found there are combined to a similarity (shift, turn, scale) of a body that stands a little
differently, each mark is then looked up at full resolution where that similarity says, to a
fraction of a pixel, and the similarity is fitted again. Two marks fit some similarity always, so
the marks alone prove nothing: the whole picture, much reduced and put in place, must look like the
reference picture (normalised correlation of what is left without slow changes of brightness), and
what one step of registration (Lucas-Kanade with the Jacobian of the reference, Baker and Matthews
2004; weighted after Huber) would still move it by, root mean square over the picture, counts as
residual. What fails is looked at once more, with more places for each mark and the overview to
choose among their meanings, and is then refused.

All of it works on one channel, green where there are three, and on what is needed of it only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt

from inspection import imaging
from inspection.errors import ImageError
from inspection.imaging import Frame
from inspection.messages import Alignment, Mark, Reason, Region, Stance
from inspection.taught import OVERVIEW, corner, overview_size

MARK_PX = 144
"""Side of a mark's picture as `cut` makes it."""
COARSE, FINE = 8, 2
"""Reductions at which a mark is sought and then found."""

SHIFT_PX, TURN_DEG, SCALE = 60.0, 4.5, 0.045
"""How far a mark is sought: a body that is shifted, turned and scaled by that at once."""
MOST_SHIFT_PX, MOST_TURN_DEG, MOST_SCALE = 70.0, 6.0, 0.06
"""What is found is refused beyond this."""
MOST_RESIDUAL_PX = 5.0
"""Largest distance left at a mark, where there are three or more."""
MOST_DRIFT_PX = 3.5
"""Root mean square over the picture of what a step of registration would still move it by: up to
2.8 between rendered bodies that are in place, 3.5 and more where a pose is wrong by 8."""
LEAST_SCORE = 0.5
"""Normalised correlation of a mark with its picture, at full resolution."""
LEAST_COARSE = 0.35
LEAST_LIKENESS = 0.7
"""Normalised correlation of the overviews: 0.9 and more between rendered bodies of one type, below
0.6 between views that are not the same."""

ROUGHLY = 0.1
"""What the likeness may lack at a pose of coarse places."""

LEAST_SEEN = 0.6
"""Of a mark, in the picture."""
LINES = 4
"""Every which line is read where a mark is sought coarsely."""
FINE_PX = 8
"""How far a mark may lie from where the coarse places put it."""
CANDIDATES, MORE_CANDIDATES, APART = 2, 16, 3
"""Places kept for a mark at the first and at the second look, and pixels of the reduced picture
between them."""
MEANINGS, HYPOTHESES = 24, 4
"""How many meanings of the places are compared by their overviews at the second look, and how many
of them are tried."""
NEAR_PX = 20.0
"""How close a further mark must lie to where two others put it, before it is looked up finely."""
BLUR = 11
"""Side of the average taken from an overview: slower changes are light, not part."""
SMOOTH = 1.0
DIFFERENT = 0.5
"""What differs by more standard deviations of the reference counts less about the place, by as
much: an edge that shines on one body and not on another, a defect."""

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a part lies. ``scale``, ``turn`` (radians) and shift make of a place in the reference
    picture one in this picture: turned and enlarged about the picture's ``centre``, then moved."""

    centre: complex
    shift: complex
    factor: complex
    """scale * exp(i turn), x the real and y the imaginary axis."""
    residual_px: float
    likeness: float

    def place(self, x_px: float, y_px: float) -> tuple[float, float]:
        """Where a place of the reference picture is in this one."""
        found = self.centre + self.shift + self.factor * (complex(x_px, y_px) - self.centre)
        return found.real, found.imag

    def moved(self, region: Region) -> Region:
        """The region where the part lies now: still parallel to the axes, its centre moved, its
        size scaled. A change of less than a pixel leaves the size, and so the very pixels."""
        x, y = self.place(
            region.left_px + region.width_px / 2, region.top_px + region.height_px / 2
        )
        scale = abs(self.factor)
        width, height = region.width_px * scale, region.height_px * scale
        if abs(scale - 1) * max(region.width_px, region.height_px) < 1:
            width, height = region.width_px, region.height_px
        return Region(
            left_px=x - width / 2, top_px=y - height / 2, width_px=width, height_px=height
        )

    @property
    def matrix(self) -> Matrix:
        """(2, 3), from places of the reference picture to places of this one, for OpenCV."""
        a, b = self.factor.real, self.factor.imag
        rest = self.centre + self.shift - self.factor * self.centre
        return np.array([[a, -b, rest.real], [b, a, rest.imag]])

    @property
    def stance(self) -> Stance:
        """What a result says of it."""
        return Stance(
            shift_x_px=round(self.shift.real, 2),
            shift_y_px=round(self.shift.imag, 2),
            turn_deg=round(math.degrees(math.atan2(self.factor.imag, self.factor.real)), 4),
            scale=round(abs(self.factor), 5),
            residual_px=round(self.residual_px, 2),
            likeness=round(self.likeness, 3),
        )


# --------------------------------------------------------------------------------- taught pictures


def green(frame: Frame) -> Grey:
    """The one channel alignment looks at; a view, no copy."""
    if frame.ndim == 2:
        return frame
    return frame[:, :, 1 if frame.shape[2] >= 3 else 0]


def cut(frame: Frame, x_px: float, y_px: float, side: int = MARK_PX) -> Grey:
    """The picture of a mark at that place of the reference picture; `ValueError` where it would
    reach outside."""
    left, top = corner(x_px, y_px, side, side)
    height, width = frame.shape[:2]
    if left < 0 or top < 0 or left + side > width or top + side > height:
        raise ValueError(f"its surroundings of {side} x {side} px reach outside the picture")
    return np.ascontiguousarray(green(frame)[top : top + side, left : left + side])


def overview(frame: Frame) -> Grey:
    """The whole picture, much reduced: blocks of 16 x 16 pixels, of each the mean of eight that
    stand in it like the pips of a die, so that an edge along rows or columns is seen to 4 px
    though little is read."""
    height, width = frame.shape[:2]
    if min(height, width) < OVERVIEW:
        raise ValueError(f"a picture of {width} x {height} px is too small to be aligned")
    size = overview_size(width, height)
    whole = green(frame)[: size[1] * OVERVIEW, : size[0] * OVERVIEW]
    one, two = (
        cv2.resize(np.ascontiguousarray(whole[at::8, at::8]), size, interpolation=cv2.INTER_AREA)
        for at in (2, 6)
    )
    return cast(Grey, cv2.addWeighted(one, 0.5, two, 0.5, 0))


# ------------------------------------------------------------------------------------ finding them


class _Sought(NamedTuple):
    """A mark made ready to be found."""

    mark: Mark
    left: int
    top: int
    coarse: Grey
    fine: Grey


class _Overview(NamedTuple):
    """The reference picture's overview made ready: what is left of it without slow changes, and
    the Jacobian of a similarity about its centre (4, pixels): across, down, scale, turn."""

    detail: Floats
    jacobian: Floats


class _Prepared(NamedTuple):
    marks: tuple[_Sought, ...]
    overview: _Overview


@functools.lru_cache(maxsize=512)
def _prepared(alignment: Alignment) -> _Prepared:
    """Once for each view of a plan, not for each of its pictures."""
    try:
        marks = tuple(_sought(mark) for mark in alignment.marks)
        return _Prepared(marks, _reference(alignment.overview))
    except ImageError as error:
        raise _misaligned(f"a picture of the plan's view is no picture: {error}") from None


def _sought(mark: Mark) -> _Sought:
    picture = green(imaging.decode(mark.picture))
    height, width = picture.shape
    if min(height, width) < MARK_PX // 3:
        raise _misaligned(f"the picture of mark {mark.id} has {width} x {height} px only")
    left, top = corner(mark.x_px, mark.y_px, width, height)
    return _Sought(mark, left, top, _reduced(picture, COARSE), _reduced(picture, FINE))


def _reduced(picture: Frame, by: int) -> Grey:
    """Averaged in blocks; a rest narrower than a block is left out."""
    height, width = picture.shape[0] // by, picture.shape[1] // by
    whole = picture[: height * by, : width * by]
    return np.ascontiguousarray(
        green(cast(Frame, cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)))
    )


def _detail(picture: Grey) -> Floats:
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), SMOOTH)
    return cast(Floats, smooth - cv2.blur(smooth, (BLUR, BLUR)))


def _reference(data: bytes) -> _Overview:
    detail = _detail(green(imaging.decode(data)))
    detail /= max(float(detail.std()), 1e-3)
    height, width = detail.shape
    across, down = cv2.Sobel(detail, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(detail, cv2.CV_32F, 0, 1) / 8
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x -= (width - 1) / 2
    y -= (height - 1) / 2
    # In units of what moves the picture by one of its pixels, root mean square.
    unit = math.hypot(width, height) / math.sqrt(12)
    turned = (across * x + down * y) / unit, (down * x - across * y) / unit
    jacobian = np.stack([across, down, *turned])
    return _Overview(detail, jacobian.reshape(4, -1))


def locate(frame: Frame, alignment: Alignment) -> Pose:
    """Where the part lies in a picture that has the size of the view (``uint8``, (height, width)
    or (height, width, channels)). Raises `ImageError` (MISALIGNED) with what was measured where it
    cannot be told, or is more than a part may move."""
    ready = _prepared(alignment)
    height, width = frame.shape[:2]
    if ready.overview.detail.shape != overview_size(width, height)[::-1]:
        raise _misaligned("the plan's view was taught from a picture of another size")
    centre = complex(width / 2, height / 2)
    view = overview(frame)
    try:
        # Nearly always what is most like the marks is the marks.
        poses = _meanings(frame, ready.marks, centre, CANDIDATES)
        return _confirmed(_refined(frame, ready.marks, poses[0]), view, ready.overview)
    except ImageError as error:
        refused = error
    # Other places may look more like a mark than the mark: the overview tells.
    poses = _meanings(frame, ready.marks, centre, MORE_CANDIDATES)[:MEANINGS]
    likely = [(_compared(view, ready.overview, pose)[0], pose) for pose in poses]
    likely.sort(key=lambda each: -each[0])
    for likeness, pose in likely[:HYPOTHESES]:
        if likeness < LEAST_LIKENESS - ROUGHLY:
            break
        try:
            return _confirmed(_refined(frame, ready.marks, pose), view, ready.overview)
        except ImageError:
            continue
    raise refused


def _meanings(frame: Frame, marks: Sequence[_Sought], centre: complex, most: int) -> Sequence[Pose]:
    """What the places that look like marks could mean together, the likeliest first; raises
    `ImageError` where they mean nothing."""
    found = [_candidates(frame, sought, centre, most) for sought in marks]
    poses = sorted(_poses(marks, found, centre), key=lambda each: -each[0])
    if not poses:
        raise _misaligned(
            "the marks are found, but not as of one part that moved by at most"
            f" {MOST_SHIFT_PX:g} px, turned by {MOST_TURN_DEG:g} degrees or changed its size by"
            f" {MOST_SCALE:.0%}"
        )
    return [pose for _, pose in poses]


def _misaligned(said: str) -> ImageError:
    return ImageError(Reason.MISALIGNED, f"not in place: {said}")


def _confirmed(pose: Pose, view: Grey, reference: _Overview) -> Pose:
    """The pose with what the rest of the picture says of it, where that is good enough."""
    likeness, drift = _compared(view, reference, pose)
    left = pose.residual_px
    pose = Pose(pose.centre, pose.shift, pose.factor, max(left, drift), likeness)
    if likeness < LEAST_LIKENESS:
        raise _misaligned(
            f"likeness {likeness:.2f} to the reference picture, at least {LEAST_LIKENESS:g} is"
            " needed: another view or side, or much of it is covered"
        )
    stance = pose.stance
    for said, value, most, limit in (
        ("shifted by {:.1f} px", abs(pose.shift), MOST_SHIFT_PX, f"{MOST_SHIFT_PX:g}"),
        ("turned by {:.2f} degrees", abs(stance.turn_deg), MOST_TURN_DEG, f"{MOST_TURN_DEG:g}"),
        ("its size is changed by {:.1%}", abs(stance.scale - 1), MOST_SCALE, f"{MOST_SCALE:.0%}"),
        ("{:.1f} px of residual at a mark", left, MOST_RESIDUAL_PX, f"{MOST_RESIDUAL_PX:g}"),
        ("{:.1f} px of residual of the whole picture", drift, MOST_DRIFT_PX, f"{MOST_DRIFT_PX:g}"),
    ):
        if not value <= most:
            raise _misaligned(f"{said.format(value)}, {limit} is the limit")
    return pose


def _candidates(
    frame: Frame, sought: _Sought, centre: complex, most: int
) -> list[tuple[float, complex]]:
    """At most that many places (of the mark's point, pixels of the frame) that look like it, best
    first, with their scores. Raises `ImageError` where nothing does."""
    height, width = frame.shape[:2]
    far = abs(complex(sought.mark.x_px, sought.mark.y_px) - centre)
    reach = SHIFT_PX + far * math.hypot(math.radians(TURN_DEG), SCALE)
    rows, columns = sought.coarse.shape
    left = max(0, int(sought.left - reach))
    top = max(0, int(sought.top - reach))
    right = min(width, int(sought.left + columns * COARSE + reach))
    bottom = min(height, int(sought.top + rows * COARSE + reach))
    size = (right - left) // COARSE, (bottom - top) // COARSE
    best = -1.0
    found: list[tuple[float, complex]] = []
    # A mark that is partly out of the picture is still found by the rest of it.
    over = [
        min(third, math.ceil(max(0, by) / COARSE))
        for third, by in (
            (rows // 3, reach - sought.top),
            (rows // 3, sought.top + rows * COARSE + reach - height),
            (columns // 3, reach - sought.left),
            (columns // 3, sought.left + columns * COARSE + reach - width),
        )
    ]
    if size[0] > columns and size[1] > rows:
        window = frame[top + 1 : top + size[1] * COARSE : LINES, left : left + size[0] * COARSE]
        small = cast(
            Grey,
            cv2.resize(np.ascontiguousarray(green(window)), size, interpolation=cv2.INTER_AREA),
        )
        if any(over):
            small = cast(
                Grey,
                cv2.copyMakeBorder(small, over[0], over[1], over[2], over[3], cv2.BORDER_REPLICATE),
            )
        left, top = left - COARSE * over[2], top - COARSE * over[0]
        scores = _match(np.ascontiguousarray(small), sought.coarse)
        offset = complex(sought.mark.x_px - sought.left, sought.mark.y_px - sought.top)
        for _ in range(most):
            score, x, y = _peak(scores)
            best = max(best, score)
            if score < LEAST_COARSE:
                break
            found.append((score, complex(left + COARSE * x, top + COARSE * y) + offset))
            column, row = round(x), round(y)
            scores[
                max(0, row - APART) : row + APART + 1, max(0, column - APART) : column + APART + 1
            ] = -1
    if not found:
        raise _misaligned(
            f"mark {sought.mark.id} is not there: nothing within {reach:.0f} px of its place is"
            f" like it, the best by {best:.2f} of at least {LEAST_COARSE:g}"
        )
    return found


def _match(picture: Grey, mark: Grey) -> Floats:
    scores = cast(Floats, cv2.matchTemplate(picture, mark, cv2.TM_CCOEFF_NORMED))
    # Over a plain area the quotient is one of rounding errors: no likeness.
    scores[~(np.abs(scores) <= 1)] = -1
    return scores


def _peak(scores: Floats) -> tuple[float, float, float]:
    """The highest score and where it is, by a parabola through its neighbours."""
    _, score, _, (column, row) = cv2.minMaxLoc(scores)
    return score, *_between(scores, column, row)


def _between(scores: Floats, column: int, row: int) -> tuple[float, float]:
    def top(before: float, here: float, after: float) -> float:
        bend = before - 2 * here + after
        return 0.0 if bend >= 0 else min(0.5, max(-0.5, (before - after) / (2 * bend)))

    x, y = float(column), float(row)
    if 0 < column < scores.shape[1] - 1:
        x += top(*(float(v) for v in scores[row, column - 1 : column + 2]))
    if 0 < row < scores.shape[0] - 1:
        y += top(*(float(v) for v in scores[row - 1 : row + 2, column]))
    return x, y


def _poses(
    marks: Sequence[_Sought], found: Sequence[Sequence[tuple[float, complex]]], centre: complex
) -> Iterator[tuple[float, Pose]]:
    """What the candidates could mean together, with the sum of their scores."""
    places = [complex(sought.mark.x_px, sought.mark.y_px) for sought in marks]
    one, two = max(
        ((i, j) for i in range(len(places)) for j in range(i)),
        key=lambda pair: abs(places[pair[0]] - places[pair[1]]),
    )
    for first, p in found[one]:
        for second, q in found[two]:
            factor = (p - q) / (places[one] - places[two])
            pose = Pose(centre, p - centre - factor * (places[one] - centre), factor, 0.0, 0.0)
            if not _possible(pose):
                continue
            score, rest = first + second, True
            for k in set(range(len(places))) - {one, two}:
                there = complex(*pose.place(places[k].real, places[k].imag))
                near = [s for s, place in found[k] if abs(place - there) < NEAR_PX]
                rest = rest and bool(near)
                score += max(near, default=0.0)
            if rest:
                yield score, pose


def _possible(pose: Pose) -> bool:
    turn = math.degrees(math.atan2(pose.factor.imag, pose.factor.real))
    return (
        abs(pose.shift) <= MOST_SHIFT_PX
        and abs(turn) <= MOST_TURN_DEG
        and abs(abs(pose.factor) - 1) <= MOST_SCALE
    )


def _refined(frame: Frame, marks: Sequence[_Sought], pose: Pose) -> Pose:
    """The similarity of the marks found to a fraction of a pixel close to where ``pose`` says."""
    places, found = [], []
    for sought in marks:
        picture, left, top = _seen_of(sought, pose, frame.shape)
        rows, columns = picture.shape
        there = _warped(
            frame,
            pose,
            (left - FINE_PX, top - FINE_PX),
            (columns + 2 * FINE_PX // FINE, rows + 2 * FINE_PX // FINE),
        )
        scores = _match(there, picture)
        score, x, y = _peak(scores)
        if score < LEAST_SCORE:
            raise _misaligned(
                f"mark {sought.mark.id} looks like its picture by {score:.2f} only, at least"
                f" {LEAST_SCORE:g} is needed"
            )
        place = complex(sought.mark.x_px, sought.mark.y_px)
        moved = place + complex(FINE * x - FINE_PX, FINE * y - FINE_PX)
        places.append(place - pose.centre)
        found.append(complex(*pose.place(moved.real, moved.imag)) - pose.centre)
    return _fitted(pose.centre, places, found)


def _seen_of(sought: _Sought, pose: Pose, shape: Sequence[int]) -> tuple[Grey, int, int]:
    """What of a mark's picture is still in the frame, and its corner in the reference picture."""
    rows, columns = sought.fine.shape
    right, bottom = sought.left + columns * FINE, sought.top + rows * FINE
    corners = [pose.place(x, y) for x in (sought.left, right) for y in (sought.top, bottom)]
    height, width = shape[:2]
    cuts = [
        max(0, math.ceil(out / abs(pose.factor) / FINE))
        for out in (
            -min(x for x, _ in corners),
            -min(y for _, y in corners),
            max(x for x, _ in corners) - width,
            max(y for _, y in corners) - height,
        )
    ]
    picture = sought.fine[cuts[1] : rows - cuts[3], cuts[0] : columns - cuts[2]]
    if picture.size < LEAST_SEEN * sought.fine.size:
        raise _misaligned(
            f"mark {sought.mark.id} is {1 - picture.size / sought.fine.size:.0%} outside the"
            f" picture, {1 - LEAST_SEEN:.0%} is the limit"
        )
    return np.ascontiguousarray(picture), sought.left + FINE * cuts[0], sought.top + FINE * cuts[1]


def _warped(frame: Frame, pose: Pose, corner: tuple[int, int], size: tuple[int, int]) -> Grey:
    """A window of the reference picture, from ``corner`` on and as many blocks of `FINE` wide and
    high as ``size`` says, as this picture has it there. It is reduced before it is put in place: a
    fourth of the pixels to move."""
    matrix = pose.matrix
    # The outermost pixels in question are the centres of the outermost blocks.
    half = (FINE - 1) / 2
    matrix[:, 2] += matrix[:, :2] @ (corner[0] + half, corner[1] + half)
    across, down = FINE * (size[0] - 1), FINE * (size[1] - 1)
    reached = matrix[:, :2] @ ((0, across, 0, across), (0, 0, down, down)) + matrix[:, 2:]
    height, width = frame.shape[:2]
    left, top = (max(0, int(v) - FINE) for v in np.floor(reached.min(axis=1)))
    right, bottom = (int(v) + 2 * FINE for v in np.ceil(reached.max(axis=1)))
    if left >= min(right, width) - FINE or top >= min(bottom, height) - FINE:
        raise _misaligned("a mark lies outside the picture")
    part = _reduced(
        np.ascontiguousarray(green(frame[top : min(bottom, height), left : min(right, width)])),
        FINE,
    )
    matrix[:, 2] = (matrix[:, 2] - (left + half, top + half)) / FINE
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cast(
        Grey, cv2.warpAffine(part, matrix, size, flags=how, borderMode=cv2.BORDER_REPLICATE)
    )


def _fitted(centre: complex, places: Sequence[complex], found: Sequence[complex]) -> Pose:
    """The similarity of least squares; its residual is the largest distance left at a mark."""
    mean_a, mean_b = sum(places) / len(places), sum(found) / len(found)
    ours = [place - mean_a for place in places]
    theirs = [place - mean_b for place in found]
    factor = sum(a.conjugate() * b for a, b in zip(ours, theirs, strict=True)) / sum(
        abs(a) ** 2 for a in ours
    )
    left = max(abs(b - factor * a) for a, b in zip(ours, theirs, strict=True))
    return Pose(centre, mean_b - factor * mean_a, factor, left, 0.0)


def _compared(view: Grey, reference: _Overview, pose: Pose) -> tuple[float, float]:
    """How like the reference the picture is once it is put in place, -1 to 1, and how far, in
    pixels of the frame, one step of registration would still move it: root mean square over the
    picture, because what drags the step is often one long edge, and a corner is where the step says
    most and knows least."""
    matrix = pose.matrix
    # A place u of the overview is OVERVIEW * (u + 1/2) - 1/2 in the frame.
    half = (OVERVIEW - 1) / 2
    matrix[:, 2] = (matrix[:, :2] @ (half, half) + matrix[:, 2] - half) / OVERVIEW
    height, width = reference.detail.shape
    size, inverse = (width, height), cv2.WARP_INVERSE_MAP
    picture = cast(
        Grey,
        cv2.warpAffine(
            view, matrix, size, flags=inverse | cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ),
    )
    inside = _inside(matrix, size)
    detail = (_detail(picture) * inside).ravel()
    known = (reference.detail * inside).ravel()
    length, full = math.sqrt(float(detail @ detail)), math.sqrt(float(known @ known))
    if length < 1e-3 or full < 1e-3:
        return -1.0, math.inf
    likeness = float(detail @ known) / (length * full)
    error = detail * np.float32(full / length) - known
    # Huber's weights: one step of iteratively reweighted least squares.
    weights = inside.ravel() * (
        np.float32(DIFFERENT) / np.maximum(np.abs(error), np.float32(DIFFERENT))
    )
    weighted = reference.jacobian * weights
    normal = (weighted @ reference.jacobian.T).astype(np.float64)
    # So little more that a direction in which nothing is seen moves nothing.
    normal += np.eye(4) * (1e-6 * normal.trace() + 1e-12)
    step = np.linalg.solve(normal, (weighted @ error).astype(np.float64))
    return likeness, OVERVIEW * float(np.sqrt((step * step).sum()))


def _inside(matrix: Matrix, size: tuple[int, int]) -> Floats:
    """(height, width), 1 where a place of the reference's overview is in the picture, else 0."""
    width, height = size
    back = cv2.invertAffineTransform(matrix)
    ends = np.array([(0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1)], np.float64)
    corners = np.rint((ends @ back[:, :2].T + back[:, 2]) * 16).astype(np.int32)
    inside = np.zeros((height, width), np.float32)
    cv2.fillConvexPoly(inside, corners, 1.0, shift=4)
    return inside
