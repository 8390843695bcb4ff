"""Synthetic defects for two-tone pictures: dark material on a bright ground.

Hundreds of labelled defects teach a small network the defects it saw; drawn ones teach it what a
defect is. A stroke adds or removes material in a training picture or its defect-free reference,
and what it did to the material's shape names its class: a piece removed inside is a hole, at an
edge a notch, right through a cut; a piece added apart is an island, at an edge a bump, from one
edge to another a bridge. Outlines of real training defects serve as strokes too, turned and
scaled. Lettering and rows of dots are drawn as well, without a label: clean shapes are no defects.

Everything here is made from training parts alone, and the card says that it was used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from inspection.imaging import Frame
from inspection.training.data import Box
from inspection.training.recipe import Roles, Synthesis

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.float64]

DARK_BELOW = 128
SMALLEST_PX = 14
"""Area below which a drawn defect is not one: a real one of so few pixels is noise."""
SHALLOWEST_PX = 2.5
"""Depth a notch or bump must have to stand out from a ragged edge."""
LONGEST_PX = 90
GLYPHS = "ABCDEFGHJKLMNPRSTUVXYZ0123456789"

# How often each kind is tried. Cuts and bridges need a narrow place and fail more often.
_KINDS = ("cut", "bridge", "notch", "bump", "island", "hole")
_SHARES = (0.24, 0.24, 0.15, 0.15, 0.11, 0.11)
_REMOVES = frozenset({"cut", "notch", "hole"})
_BY_TOPOLOGY = {True: ("hole", "notch", "cut"), False: ("island", "bump", "bridge")}


@dataclass(frozen=True, slots=True)
class Source:
    """A training picture to draw into."""

    frame: Frame
    boxes: tuple[Box, ...]
    reference: Frame | None


def synthesise(
    sources: Sequence[Source], recipe: Synthesis, rng: np.random.Generator
) -> list[tuple[Frame, tuple[Box, ...]]]:
    """``recipe.frames`` pictures with the boxes of their real and synthetic defects. Frames are
    ``uint8`` of shape (height, width); colour becomes grey."""
    roles = recipe.labels
    grey = [
        Source(_grey(s.frame), s.boxes, None if s.reference is None else _grey(s.reference))
        for s in sources
    ]
    outlines = [o for source in grey for o in _outlines(source, roles)]
    made = []
    for _ in range(recipe.frames):
        source = grey[int(rng.integers(len(grey)))]
        # Mostly into the reference: there, nothing but the drawn defects is wrong.
        if source.reference is None or rng.random() < 0.3:
            frame, boxes = source.frame, source.boxes
        else:
            frame, boxes = source.reference, ()
            if rng.random() < recipe.varied:
                frame = _varied(frame, rng)
        if rng.random() < recipe.lettering:
            frame = _letter(frame, boxes, rng)
        made.append(_deface(frame, boxes, outlines, recipe.defects, roles, rng))
    return made


def _grey(frame: Frame) -> Frame:
    if frame.ndim == 2:
        return frame
    return np.ascontiguousarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def topology(material: Mask, removed: Mask) -> int:
    """What taking ``removed`` out of ``material`` does: 0 leaves a hole inside, 1 a notch at an
    edge, 2 cuts a piece off. Judged within 16 px of the place, as a person with a lens would;
    pieces of up to 25 px do not count. Adding material is removing ground."""
    rows, columns = np.nonzero(removed)
    window = (
        slice(max(0, int(rows.min()) - 16), int(rows.max()) + 17),
        slice(max(0, int(columns.min()) - 16), int(columns.max()) + 17),
    )
    before, taken = material[window], removed[window]
    rim = _dilate(taken, 3) & ~taken
    if before[rim].all():
        return 0
    return 2 if _pieces(before & ~taken) > _pieces(before) else 1


def _pieces(mask: Mask) -> int:
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return int((stats[1:, cv2.CC_STAT_AREA] > 25).sum())


def _dilate(mask: Mask, size: int) -> Mask:
    kernel = np.ones((size, size), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def _outlines(source: Source, roles: Roles) -> list[npt.NDArray[np.uint8]]:
    """The shapes of a picture's real defects: where it differs from its reference inside a box.
    A pixel-wide fringe, from pictures that do not quite coincide, is opened away."""
    if source.reference is None:
        return []
    removing = {getattr(roles, kind) for kind in _REMOVES}
    found = []
    for box in source.boxes:
        place = (slice(int(box.top), int(box.bottom)), slice(int(box.left), int(box.right)))
        now, design = source.frame[place] < DARK_BELOW, source.reference[place] < DARK_BELOW
        changed = (now ^ design) & ((box.label in removing) == design)
        shape = cv2.morphologyEx(
            changed.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)
        )
        rows, columns = np.nonzero(shape)
        if len(rows) < SMALLEST_PX:
            continue  # too little is left of it to serve as an outline
        shape = shape[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        if max(shape.shape) < 60:
            found.append(np.asarray(shape, np.uint8))
    return found


def _deface(
    frame: Frame,
    boxes: tuple[Box, ...],
    outlines: Sequence[npt.NDArray[np.uint8]],
    wanted: int,
    roles: Roles,
    rng: np.random.Generator,
) -> tuple[Frame, tuple[Box, ...]]:
    frame = frame.copy()
    height, width = frame.shape
    dark = frame < DARK_BELOW
    free = np.ones(frame.shape, bool)
    for box in boxes:
        _occupy(free, box, 10)
    depth = {
        removes: cv2.distanceTransform(
            (dark if removes else ~dark).astype(np.uint8), cv2.DIST_L2, 3
        )
        for removes in (True, False)
    }
    starts: dict[str, npt.NDArray[np.intp]] = {}
    drawn: list[Box] = []
    for _ in range(wanted * 6):
        if len(drawn) >= wanted:
            break
        kind = str(rng.choice(_KINDS, p=_SHARES))
        removes = kind in _REMOVES
        if kind not in starts:
            starts[kind] = np.flatnonzero(_starts(kind, depth[removes]) & free)
        if len(starts[kind]) < 20:
            continue  # no room for this kind in this picture; another is drawn instead
        spot = int(starts[kind][rng.integers(len(starts[kind]))])
        x, y = spot % width, spot // width
        if not free[y, x] or not (6 < x < width - 6 and 6 < y < height - 6):
            continue  # taken meanwhile, or so near the edge that no one could tell what it is
        material = dark if removes else ~dark
        piece = _piece(kind, material, np.array([x, y], np.float64), outlines, rng)
        if piece is None:
            continue  # no narrow place here
        piece &= material
        if int(piece.sum()) < SMALLEST_PX or not free[piece].all():
            continue  # invisible, or over another defect
        shape = topology(material, piece)
        if shape == 1 and float(depth[removes][piece].max()) < SHALLOWEST_PX:
            continue  # no deeper than the edge is ragged
        label = getattr(roles, _BY_TOPOLOGY[removes][shape])
        rows, columns = np.nonzero(piece)
        border = int(rng.integers(8, 13))  # annotators leave about as much
        new = Box(
            float(max(0, columns.min() - border)),
            float(max(0, rows.min() - border)),
            float(min(width, columns.max() + 1 + border)),
            float(min(height, rows.max() + 1 + border)),
            label,
        )
        if max(new.right - new.left, new.bottom - new.top) > LONGEST_PX:
            continue  # longer than defects are
        frame[piece] = 255 if removes else 0
        _occupy(free, new, 6)
        drawn.append(new)
    return _recompressed(frame, rng), (*boxes, *drawn)


def _recompressed(frame: Frame, rng: np.random.Generator) -> Frame:
    """Soft edges and JPEG noise, or hard drawn edges would give the synthetic ones away."""
    soft = cv2.GaussianBlur(frame, (0, 0), 0.4)
    _, data = cv2.imencode(".jpg", soft, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(88, 97))])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def _occupy(free: Mask, box: Box, border: int) -> None:
    top, left = max(0, int(box.top) - border), max(0, int(box.left) - border)
    free[top : int(box.bottom) + border, left : int(box.right) + border] = False


def _starts(kind: str, depth: npt.NDArray[np.number]) -> Mask:
    """Where a defect of this kind may begin, by the distance to the material's edge in pixels."""
    if kind in {"cut", "bridge"}:
        return np.asarray((depth >= 1.5) & (depth < 14))
    if kind in {"notch", "bump"}:
        return np.asarray((depth > 0) & (depth <= 3))
    return np.asarray(depth > 5)


def _piece(
    kind: str,
    material: Mask,
    start: Pixels,
    outlines: Sequence[npt.NDArray[np.uint8]],
    rng: np.random.Generator,
) -> Mask | None:
    if kind in {"cut", "bridge"}:
        path = _across(material, start, rng)
        return None if path is None else _stroke(path, rng.uniform(2, 12), material.shape, rng)
    if outlines and rng.random() < 0.5:
        return _stamp(outlines[int(rng.integers(len(outlines)))], start, material.shape, rng)
    length = float(rng.choice([3, 8, 14, 24], p=[0.3, 0.35, 0.25, 0.1]))
    path = _wander(start, length, rng.uniform(0.1, 1.2), rng)
    return _stroke(path, rng.uniform(2, 9), material.shape, rng)


def _across(material: Mask, start: Pixels, rng: np.random.Generator) -> Pixels | None:
    """A slightly bent line over the narrowest way through the material, a little beyond it; None
    where it is wider than 45 px."""
    best: tuple[float, Pixels, Pixels] | None = None
    for angle in rng.uniform(0, np.pi) + np.arange(8) * np.pi / 8:
        along = np.array([np.cos(angle), np.sin(angle)])
        ahead, behind = _reach(material, start, along), _reach(material, start, -along)
        if ahead and behind and (best is None or ahead + behind < best[0]):
            first = start + along * (ahead + rng.uniform(0, 3))
            last = start - along * (behind + rng.uniform(0, 3))
            best = (ahead + behind, first, last)
    if best is None or best[0] > 45:
        return None
    path = np.linspace(best[1], best[2], 4)
    path[1:3] += rng.normal(0, 2.5, (2, 2))
    return np.asarray(path, np.float64)


def _reach(material: Mask, start: Pixels, along: Pixels) -> int:
    """Steps of one pixel until the material ends; 0 if that is more than 40, or off the picture."""
    height, width = material.shape
    for step in range(1, 41):
        x, y = (round(float(v)) for v in start + along * step)
        if not (0 <= x < width and 0 <= y < height):
            return 0
        if not material[y, x]:
            return step
    return 0


def _wander(start: Pixels, length: float, turn: float, rng: np.random.Generator) -> Pixels:
    """A random walk of ``length`` pixels in steps of 4, with its middle near ``start``."""
    angles = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, turn, max(2, int(length / 4))))
    steps = 4 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    path = np.vstack([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    return np.asarray(path - path.mean(0) + start, np.float64)


def _stroke(
    path: Pixels, thickness: float, shape: tuple[int, ...], rng: np.random.Generator
) -> Mask:
    """A brush drawn along a path; sometimes of several hairs, sometimes ragged."""
    canvas = np.zeros(shape, np.uint8)
    hairs = int(rng.integers(1, 4)) if rng.random() < 0.3 else 1
    for _ in range(hairs):
        line = path + rng.normal(0, 1.2, path.shape)
        if hairs > 1:
            line = line + rng.normal(0, thickness / 2, 2)
        width = max(1, round(thickness / hairs * rng.uniform(0.7, 1.5)))
        points = np.round(line * 8).astype(np.int32)  # in eighths of a pixel
        cv2.polylines(canvas, [points], False, 1, width, cv2.LINE_8, 3)
    drawn = canvas > 0
    if rng.random() < 0.25:
        drawn &= cv2.GaussianBlur(rng.random(shape).astype(np.float32), (0, 0), 1.0) > 0.42
    return drawn


def _stamp(
    outline: npt.NDArray[np.uint8],
    centre: Pixels,
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> Mask:
    """The outline of a real defect, turned by any angle and scaled by 0.6 to 1.4."""
    high, wide = outline.shape
    side = int(np.hypot(high, wide) * 1.5) + 4
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), rng.uniform(0, 360), rng.uniform(0.6, 1.4))
    turn[:, 2] += [side / 2 - wide / 2, side / 2 - high / 2]
    stamp = cv2.warpAffine(outline * 255, turn, (side, side)) > 127
    canvas = np.zeros((shape[0] + 2 * side, shape[1] + 2 * side), bool)
    x, y = int(centre[0]) - side // 2 + side, int(centre[1]) - side // 2 + side
    canvas[y : y + side, x : x + side] = stamp
    return canvas[side : side + shape[0], side : side + shape[1]]


def _varied(frame: Frame, rng: np.random.Generator) -> Frame:
    """The design at another scale, perhaps turned by 45 degrees, with other edges and thicker or
    thinner lines; still without a defect."""
    height, width = frame.shape
    scale = rng.uniform(0.75, 1.35)
    stretch = np.diag([scale, scale * rng.uniform(0.9, 1.1)])
    angle = 45.0 if rng.random() < 0.17 else 0.0
    turn = stretch @ cv2.getRotationMatrix2D((0, 0), angle, 1.0)
    centre = np.array([width / 2, height / 2])
    turn[:, 2] = centre - turn[:, :2] @ centre + rng.uniform(-60, 60, 2)
    moved = cv2.warpAffine(frame, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    rough = cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.6, 1.4)).astype(np.float32)
    rough += rng.normal(0, 8, frame.shape).astype(np.float32)
    dark = cv2.GaussianBlur(rough, (0, 0), 0.6) < rng.uniform(90, 165)
    made = np.where(dark, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
        shrunk = rng.random() < 0.5
        made = np.asarray(cv2.erode(made, kernel) if shrunk else cv2.dilate(made, kernel), np.uint8)
    return np.ascontiguousarray(made, dtype=np.uint8)


def _letter(frame: Frame, boxes: Sequence[Box], rng: np.random.Generator) -> Frame:
    """Lettering and rows of dots, clear of everything else: good shapes of few pixels."""
    frame = frame.copy()
    height, width = frame.shape
    taken = np.zeros(frame.shape, bool)
    for box in boxes:
        taken[
            max(0, int(box.top) - 4) : int(box.bottom) + 4,
            max(0, int(box.left) - 4) : int(box.right) + 4,
        ] = True
    for _ in range(int(rng.integers(1, 5))):
        canvas = np.zeros(frame.shape, np.uint8)
        dark = rng.random() < 0.8
        if rng.random() < 0.75:
            text = "".join(rng.choice(list(GLYPHS), int(rng.integers(2, 9))))
            scale = rng.uniform(0.7, 3.5)
            place = (int(rng.integers(-40, max(1, width - 60))), int(rng.integers(20, height)))
            font = int(rng.integers(5))  # the Hershey fonts without serifs and with
            weight = max(1, round(scale * rng.uniform(1, 3)))
            cv2.putText(canvas, text, place, font, scale, 255, weight, cv2.LINE_AA)
            if rng.random() < 0.5 and height == width:
                canvas = np.rot90(canvas, int(rng.integers(1, 4)))
            if rng.random() < 0.5:  # the other side of a board shows it mirrored
                canvas = canvas[:, ::-1]
        else:
            radius = rng.uniform(5.5, 10)
            axes = (round(radius), round(radius * rng.uniform(0.9, 1.15)))
            x, y = int(rng.integers(20, width - 20)), int(rng.integers(20, height - 20))
            dx, dy = ((40, 0), (0, 40), (30, 30))[int(rng.integers(3))]
            for k in range(int(rng.integers(2, 5))):
                cv2.ellipse(canvas, (x + k * dx, y + k * dy), axes, 0, 0, 360, 255, -1)
        rough = canvas.astype(np.float32) + rng.normal(0, 40, canvas.shape).astype(np.float32)
        drawn = cv2.GaussianBlur(rough, (0, 0), 0.8) > 127
        _, label, stats, _ = cv2.connectedComponentsWithStats(drawn.astype(np.uint8))
        near = _dilate((frame < DARK_BELOW) == dark, 13) | taken
        # A glyph that touches anything, or is a mere speck, could pass for a defect.
        specks = (stats[:, cv2.CC_STAT_AREA] < 40) | (stats[:, cv2.CC_STAT_HEIGHT] < 10)
        specks[np.unique(label[near & drawn])] = True
        drawn &= ~specks[label]
        if len(np.unique(label[drawn])) >= 2:
            frame[drawn] = 0 if dark else 255
    return frame
