"""How alike pictures are: which show the same again, shifted, brighter, compressed, mirrored.

Different parts under one camera look alike at any coarse glance: on photographs of battery welds a
thumbnail's correlation of two different welds reaches 0.99, as high as that of true copies. What
tells them apart is fine structure. So candidates are found by coarse likeness, after the mean of
the data set (which is what all its parts have in common) was taken away, and then a pair must agree
in its local detail once the shift between both is undone (phase correlation: Kuglin and Hines,
1975). There the different welds reach 0.79 and copies lie at 0.9 and above; `ALIKE` is between.

Of pictures without any detail nothing can be said; they are like none. Nor are those of a single
edge or of parallel lines, which are like every other edge: a picture whose detail is as like itself
a few pixels further on must agree with another that much better (`_demanded`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt

from inspection.imaging import Frame

SIDE_PX = 64
COARSE_PX = 16
DETAIL_SIGMA_PX = 1.5
FLOOR = 1.0
"""Grey levels of contrast below which detail is taken for noise."""
ALIKE = 0.85
COARSE_ALIKE = 0.3
STEP_PX = 4
SAME_ALONG = 0.9
"""From this likeness of a picture to itself, moved, on it is nothing but lines of one direction."""
CANDIDATES = 6
"""Neighbours of each picture that are looked at closely; longer chains are joined link by link."""
LARGEST_SHIFT = 0.15
BLOCK = 2048
ENOUGH = 0.1
"""Of its pixels, this share must have any detail for a picture to be compared."""

Floats = npt.NDArray[np.float32]

_WINDOW = cv2.createHanningWindow((SIDE_PX, SIDE_PX), cv2.CV_32F)


class Look(NamedTuple):
    """What is kept of a picture: the hash of its file, its width and height, and a grey thumbnail
    of `SIDE_PX` squared, whatever its shape."""

    sha256: bytes
    size: tuple[int, int]
    thumbnail: npt.NDArray[np.uint8]


class Pair(NamedTuple):
    """Two pictures by their place in a sequence, the first before the second, and how alike their
    detail is; 1 for equal files."""

    first: int
    second: int
    likeness: float


def look_at(frame: Frame, sha256: bytes) -> Look:
    """What is kept of a frame whose file has this hash."""
    grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return Look(sha256, (frame.shape[1], frame.shape[0]), np.asarray(small, np.uint8))


def near_duplicates(looks: Sequence[Look]) -> list[Pair]:
    """Pairs that show the same, sorted. Time grows with the square of their number, at about two
    seconds for 1,300 pictures; of a crowd of equals each is paired with the first."""
    pairs: dict[tuple[int, int], float] = {}
    details = [_detail(look.thumbnail) for look in looks]
    demanded = [_demanded(detail) for detail in details]
    first_with: dict[bytes, int] = {}
    distinct = []
    for number, look in enumerate(looks):
        if (details[number] != 0).mean() < ENOUGH:
            continue  # nothing to compare
        before = first_with.setdefault(look.sha256, number)
        if before == number:
            distinct.append(number)
        else:
            pairs[before, number] = 1.0
    for one, other, turn in _candidates([looks[n].thumbnail for n in distinct]):
        a, b = distinct[one], distinct[other]
        key = (min(a, b), max(a, b))
        likeness = _likeness(details[a], _turned(details[b], turn))
        if likeness >= max(demanded[a], demanded[b]):
            pairs[key] = max(pairs.get(key, 0.0), likeness)
    return [Pair(*key, likeness) for key, likeness in sorted(pairs.items())]


def _turned(picture: npt.NDArray[np.generic], turn: int) -> Floats:
    """One of the eight ways to turn and mirror a square."""
    mirrored = picture[:, ::-1] if turn >= 4 else picture
    return cast(Floats, np.ascontiguousarray(np.rot90(mirrored, turn % 4)))


def _candidates(thumbnails: Sequence[npt.NDArray[np.uint8]]) -> Iterable[tuple[int, int, int]]:
    """Pairs that are coarsely alike, the second turned in the way that makes it so."""
    if len(thumbnails) < 2:
        return
    coarse = np.stack([_coarse(thumbnail) for thumbnail in thumbnails])
    mean = coarse.mean(axis=0) if len(coarse) > 8 else np.zeros_like(coarse[0])
    plain = coarse - mean
    left, whole = _unit(plain), _unit(coarse)
    count = len(thumbnails)
    kept = min(CANDIDATES, count - 1)
    for start in range(0, count, BLOCK):
        block = left[start : start + BLOCK]
        rows = np.arange(len(block))
        best = np.full((len(block), count), -1.0, np.float32)
        how = np.zeros((len(block), count), np.uint8)
        for turn in range(8):
            right = left if turn == 0 else _unit(np.stack([_turned(p, turn) for p in plain]))
            likeness = block @ right.T
            better = likeness > best
            best[better], how[better] = likeness[better], turn
        # Where a data set is one part seen again and again, its mean is that part itself.
        with_mean = whole[start : start + BLOCK] @ whole.T
        for likeness, turns in ((best, how), (with_mean, np.zeros_like(how))):
            likeness[rows, start + rows] = -1.0
            nearest = np.argpartition(-likeness, kept - 1, axis=1)[:, :kept]
            for row in rows:
                for other in nearest[row]:
                    if likeness[row, other] >= COARSE_ALIKE:
                        yield int(start + row), int(other), int(turns[row, other])


def _coarse(thumbnail: npt.NDArray[np.uint8]) -> Floats:
    small = cv2.resize(thumbnail, (COARSE_PX, COARSE_PX), interpolation=cv2.INTER_AREA)
    small = small.astype(np.float32)
    small = small - cv2.GaussianBlur(small, (0, 0), COARSE_PX / 8)
    return np.asarray(small / max(float(small.std()), FLOOR), np.float32)


def _demanded(detail: Floats) -> float:
    """How alike another picture must be to show the same: more, the more this one is like itself
    moved by `STEP_PX`, and never where it is so like itself that a place cannot be told (the
    aperture problem: Marr and Ullman, 1981)."""
    own = 0.0
    for down, right in (
        (0, STEP_PX),
        (STEP_PX, 0),
        (STEP_PX - 1, STEP_PX - 1),
        (STEP_PX - 1, 1 - STEP_PX),
    ):
        left = detail[down:, max(right, 0) : SIDE_PX + min(right, 0)]
        moved = detail[: SIDE_PX - down, max(-right, 0) : SIDE_PX - max(right, 0)]
        norm = float(np.linalg.norm(left) * np.linalg.norm(moved))
        own = max(own, float((left * moved).sum()) / max(norm, 1e-6))
    return max(ALIKE, (1 + own) / 2) if own < SAME_ALONG else 2.0


def _unit(pictures: Floats) -> Floats:
    flat = pictures.reshape(len(pictures), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6))


def _detail(thumbnail: npt.NDArray[np.uint8]) -> Floats:
    """Fine structure with its local contrast evened out, so that no bright edge outweighs the
    texture by which a part differs from the next."""
    grey = thumbnail.astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), DETAIL_SIGMA_PX)
    contrast = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 2 * DETAIL_SIGMA_PX))
    return np.asarray(np.where(np.abs(fine) < 1e-3, 0, fine / (contrast + FLOOR)), np.float32)


def _likeness(one: Floats, other: Floats) -> float:
    """Correlation of two details where they overlap, as they lie or with their shift undone."""
    (across, down), _ = cv2.phaseCorrelate(one * _WINDOW, other * _WINDOW)
    shifts = {(0.0, 0.0)}
    if max(abs(across), abs(down)) <= LARGEST_SHIFT * SIDE_PX:
        shifts.add((across, down))
    best = -1.0
    for x, y in shifts:
        moved = cv2.warpAffine(
            other,
            np.array([[1, 0, x], [0, 1, y]], np.float32),
            (SIDE_PX, SIDE_PX),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )
        seen = np.s_[_inner(y), _inner(x)]
        a, b = one[seen] - one[seen].mean(), moved[seen] - moved[seen].mean()
        size = float(np.sqrt((a * a).sum() * (b * b).sum()))
        best = max(best, float((a * b).sum()) / size if size > 0 else -1.0)
    return best


def _inner(shift: float) -> slice:
    """What both pictures show along one axis, but for two pixels at the edges."""
    whole = int(np.ceil(abs(shift)))
    return slice(2 + (whole if shift < 0 else 0), SIDE_PX - 2 - (whole if shift > 0 else 0))
