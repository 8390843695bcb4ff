"""What a report finds out by running the model: robustness, foreign pictures, where it looks, and
how fast it is. All through the package's own runtime: the deployed graph is what is examined.

Robustness follows the criteria of Renault's weld challenge (Confiance.ai, "Welding Quality
Detection", requirements and evaluation process, 2025: blur, luminance, rotation, translation, each
at growing strength), with contrast, scale, JPEG and noise beside them, as in Hendrycks and
Dietterich, "Benchmarking neural network robustness to common corruptions", 2019.
"""

from __future__ import annotations

import os
import platform
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt
from msgspec import Struct, structs

from inspection.errors import ImageError
from inspection.imaging import CropSpec, Frame, crop
from inspection.messages import Reason, Region, Verdict
from inspection.package import Package
from inspection.policy import judge
from inspection.runtimes import Model, crop_spec
from inspection.runtimes import load as load_model
from inspection.statistics import Rate, rate
from inspection.training.data import load
from inspection.training.evaluate import Rates
from inspection.training.report_numbers import Array, Auroc, Seen, auroc, log_odds, usable

GREYS = np.arange(256, dtype=np.float64)

CHUNK = 24
"""Points whose disturbed crops are in memory at once, and the batch they are judged in."""

SURROUNDINGS = 0.25
"""Of the region's side, on each side of what the model sees: pixels that a turn or shift brings
in, and enough for a blur not to see the cut."""


class Disturbance(NamedTuple):
    """A way a picture gets worse. ``apply(window, strength, unit, rng)``: ``unit`` is how many
    pixels of the window are one of the model's input, across and down; for a shift, the region."""

    name: str
    unit: str
    strengths: tuple[float, ...]
    moves: bool
    apply: Callable[[Frame, float, tuple[float, float], np.random.Generator], Frame]


class Strength(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates at one strength; whether both stay at or below the upper end of the interval that
    the undisturbed sample has."""

    strength: float
    escapes: Rate
    overkill: Rate
    escapes_inside: bool
    overkill_inside: bool


class Disturbed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One disturbance. ``*_hold_to`` is the largest strength up to which this and every smaller
    one stay inside; None where not even the smallest does. ``moves`` says that it changes what
    is true of a point whose place or size is judged."""

    name: str
    unit: str
    moves: bool
    escapes_hold_to: float | None
    overkill_hold_to: float | None
    strengths: tuple[Strength, ...]


class Robustness(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a sample of the counted points, drawn evenly over classes and half of it good where
    there are enough. ``wanted`` points were asked for; fewer are taken where it would take too
    long."""

    wanted: int
    points: int
    defective: int
    parts: int
    clean: Rates
    disturbances: tuple[Disturbed, ...]


class Foreign(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pictures that show no such point at all: how many came out OK, and whether the
    out-of-distribution score, and the strongest class probability in its place (Hendrycks and
    Gimpel 2017), tell them from the sample."""

    name: str
    called_ok: Rate
    auroc_ood: Auroc | None
    auroc_confidence: Auroc


class OutOfDistribution(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``has_score`` says whether the package has a score of its own for this."""

    has_score: bool
    points: int
    kinds: tuple[Foreign, ...]


class Latency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Milliseconds of one call with a batch, over ``calls`` calls; a percentile that these cannot
    show (p99 of fewer than 100, p99.9 of fewer than 1,000) is None."""

    threads: int
    batch: int
    calls: int
    p50_ms: float
    p99_ms: float | None
    p999_ms: float | None
    crops_per_s: float


class Speed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``busy`` is how many processes were running or waiting on average when this began: on a
    machine with other work, times are longer than they need be."""

    processor: str
    cores: int
    busy: float
    provider: str
    rows: tuple[Latency, ...]


class Looked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the model looks in one picture: by how much the log-odds of ``label`` fall at most when
    a square is covered, and whether that place lies on the marked defect (None without a mark)."""

    label: str
    picture: str
    part: str
    point: str
    score: float
    largest_fall: float
    on_defect: bool | None


class Saliency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Occlusion sensitivity (Zeiler and Fergus 2014) with squares of ``square_px``, ``step_px``
    apart, in the model's input. ``on_defect`` counts pictures *not* hit (an error) of those with a
    mark (the pointing game of Zhang et al. 2018)."""

    square_px: int
    step_px: int
    missed_mark: Rate
    pictures: tuple[Looked, ...]


# ---------------------------------------------------------------- disturbances


def _blur(window: Frame, strength: float, unit: tuple[float, float], _: object) -> Frame:
    return cast(
        Frame, cv2.GaussianBlur(window, (0, 0), strength * unit[0], sigmaY=strength * unit[1])
    )


def _levels(table: Array) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(table), 0, 255).astype(np.uint8)


def _light(window: Frame, strength: float, _unit: object, _rng: object) -> Frame:
    return cast(Frame, cv2.LUT(window, _levels(GREYS * (1 + strength / 100))))


def _contrast(window: Frame, strength: float, _unit: object, _rng: object) -> Frame:
    middle = float(window.mean())
    table = _levels((GREYS - middle) * (1 + strength / 100) + middle)
    return cast(Frame, cv2.LUT(window, table))


def _moved(window: Frame, matrix: Array) -> Frame:
    size = (window.shape[1], window.shape[0])
    return cast(
        Frame,
        cv2.warpAffine(
            window, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ),
    )


def _matrix(window: Frame, degrees: float, scale: float) -> Array:
    """Turning and scaling about the middle of the window."""
    middle = ((window.shape[1] - 1) / 2, (window.shape[0] - 1) / 2)
    return np.asarray(cv2.getRotationMatrix2D(middle, degrees, scale), np.float64)


def _turn(window: Frame, strength: float, _unit: object, rng: np.random.Generator) -> Frame:
    angle = strength * rng.choice((-1, 1))
    return _moved(window, _matrix(window, float(angle), 1.0))


def _scale(window: Frame, strength: float, _unit: object, _rng: object) -> Frame:
    return _moved(window, _matrix(window, 0.0, 1 + strength / 100))


def _noise(window: Frame, strength: float, _unit: object, rng: np.random.Generator) -> Frame:
    noise = rng.standard_normal(window.shape, np.float32) * np.float32(strength)
    return np.clip(np.rint(window + noise), 0, 255).astype(np.uint8)


def _jpeg(window: Frame, strength: float, _unit: object, _rng: object) -> Frame:
    quality = [cv2.IMWRITE_JPEG_QUALITY, 100 - int(strength)]
    done, data = cv2.imencode(".jpg", window, quality)
    if not done:
        raise ImageError(Reason.IMAGE_UNREADABLE, f"cannot encode a window of {window.shape}")
    how = cv2.IMREAD_GRAYSCALE if window.ndim == 2 else cv2.IMREAD_COLOR
    return cast(Frame, cv2.imdecode(data, how))


def _shift(
    window: Frame, strength: float, unit: tuple[float, float], rng: np.random.Generator
) -> Frame:
    # For a shift, ``unit`` is the region's size: see `disturb`.
    angle = rng.uniform(0, 2 * np.pi)
    x = strength / 100 * unit[0] * np.cos(angle)
    y = strength / 100 * unit[1] * np.sin(angle)
    return _moved(window, np.array([[1.0, 0.0, x], [0.0, 1.0, y]]))


DISTURBANCES = (
    Disturbance(
        "blur", "sigma, pixels of the model's input", (0.5, 1.0, 1.5, 2.0, 3.0), False, _blur
    ),
    Disturbance("less light", "% of grey levels", (-10, -20, -30, -50), False, _light),
    Disturbance("more light", "% of grey levels", (10, 20, 30, 50), False, _light),
    Disturbance("less contrast", "% around the mean", (-15, -30, -50, -70), False, _contrast),
    Disturbance("more contrast", "% around the mean", (15, 30, 50, 100), False, _contrast),
    Disturbance("rotation", "degrees, either way", (2, 5, 10, 20), False, _turn),
    Disturbance("shift", "% of the region's side, any way", (2, 4, 8, 12), True, _shift),
    Disturbance("smaller", "% of the size", (-3, -6, -12, -20), True, _scale),
    Disturbance("larger", "% of the size", (3, 6, 12, 20), True, _scale),
    Disturbance("JPEG", "100 - quality", (10, 30, 50, 70, 90), False, _jpeg),
    Disturbance("noise", "sigma, grey levels", (2, 5, 10, 20), False, _noise),
)
"""Growing strengths; what "moves" changes place or size of the point in its region."""


class Window(NamedTuple):
    """What surrounds a point in its frame, and its region there. The crop is the frame's."""

    pixels: Frame
    region: Region


def window(frame: Frame, region: Region, spec: CropSpec) -> Window:
    """What lies around a region, which is in its middle, large enough that the crop of it is the
    frame's own. Where the frame ends its edge pixels are repeated, as `imaging.crop` does."""
    rows, columns = frame.shape[:2]
    beyond = spec.margin + SURROUNDINGS
    left = int(np.floor(region.left_px - beyond * region.width_px))
    top = int(np.floor(region.top_px - beyond * region.height_px))
    right = int(np.ceil(region.left_px + (1 + beyond) * region.width_px)) + 1
    bottom = int(np.ceil(region.top_px + (1 + beyond) * region.height_px)) + 1
    pixels = frame[max(top, 0) : min(bottom, rows), max(left, 0) : min(right, columns)]
    over = (max(-top, 0), max(bottom - rows, 0), max(-left, 0), max(right - columns, 0))
    if any(over):
        pixels = cast(Frame, cv2.copyMakeBorder(pixels, *over, cv2.BORDER_REPLICATE))
    inside = Region(
        left_px=region.left_px - left,
        top_px=region.top_px - top,
        width_px=region.width_px,
        height_px=region.height_px,
    )
    return Window(np.ascontiguousarray(pixels), inside)


def disturb(
    seen: Window, how: Disturbance, strength: float, spec: CropSpec, rng: np.random.Generator
) -> Frame:
    """The model input of a window whose pixels were disturbed before anything was cut out."""
    region = seen.region
    if how.apply is _shift:
        unit = (region.width_px, region.height_px)
    else:
        seen_part = 1 + 2 * spec.margin
        unit = (
            region.width_px * seen_part / spec.width,
            region.height_px * seen_part / spec.height,
        )
    return crop(how.apply(seen.pixels, strength, unit, rng), region, spec)


def sample(seen: Sequence[Seen], ok_class: str, size: int, seed: int) -> list[Seen]:
    """At most ``size`` of the counted points that were looked at: half of them good where there
    are enough of each, the classes of defect in turn, so that a rare one is not left out."""
    rng = random.Random(seed)  # noqa: S311  reproducible, not secret
    pools: defaultdict[str, list[Seen]] = defaultdict(list)
    for entry in seen:
        if entry.counted and usable(entry):
            pools[str(entry.point.label)].append(entry)
    for label in sorted(pools):
        rng.shuffle(pools[label])
    good = pools.pop(ok_class, [])
    defects: list[Seen] = []
    turn = [pools[label] for label in sorted(pools)]
    while any(turn):
        defects += [pool.pop() for pool in turn if pool]
    wanted = min(len(defects), max(size // 2, size - len(good)))
    return defects[:wanted] + good[: size - wanted]


def windows(entries: Sequence[Seen], spec: CropSpec) -> Iterator[list[tuple[Seen, Window]]]:
    """Windows of points, in chunks; each picture is decoded once where its points are together."""
    ordered = sorted(entries, key=lambda entry: (str(entry.picture.path), entry.point.id))
    chunk: list[tuple[Seen, Window]] = []
    last: tuple[Path, Frame] | None = None
    for entry in ordered:
        if last is None or last[0] != entry.picture.path:
            last = (entry.picture.path, load(entry.picture.path))
        chunk.append((entry, window(last[1], entry.point.region, spec)))
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def robustness(
    model: Model,
    seen: Sequence[Seen],
    *,
    size: int = 2000,
    seconds: float = 60.0,
    seed: int = 0,
    disturbances: Sequence[Disturbance] = DISTURBANCES,
) -> Robustness | None:
    """Escapes and overkill of a sample under every disturbance. The sample is made smaller where
    ``size`` points would take longer than ``seconds``, judging by the first chunk. None where
    nothing could be looked at."""
    package = model.package
    ok = package.manifest.ok_class
    entries = sample(seen, ok, size, seed)
    if not entries:
        return None
    spec = crop_spec(package)
    rng = np.random.default_rng(seed)
    began = time.perf_counter()
    for chunk in windows(entries[:CHUNK], spec):
        _judge_disturbed(model, chunk, disturbances, spec, rng, {})
    each = (time.perf_counter() - began) / min(len(entries), CHUNK)
    entries = sample(seen, ok, min(size, max(2 * CHUNK, int(seconds / each))), seed)
    rng = np.random.default_rng(seed)
    counts: dict[tuple[int, int], list[int]] = {}
    for chunk in windows(entries, spec):
        _judge_disturbed(model, chunk, disturbances, spec, rng, counts)

    def rates(key: tuple[int, int]) -> Rates:
        row = counts[key]
        return Rates(escapes=rate(row[0], row[1]), overkill=rate(row[2], row[3]))

    clean = rates((-1, 0))
    found = []
    for k, how in enumerate(disturbances):
        strengths = []
        for n, strength in enumerate(how.strengths):
            now = rates((k, n))
            strengths.append(
                Strength(
                    strength=strength,
                    escapes=now.escapes,
                    overkill=now.overkill,
                    escapes_inside=_inside(now.escapes, clean.escapes),
                    overkill_inside=_inside(now.overkill, clean.overkill),
                )
            )
        found.append(
            Disturbed(
                name=how.name,
                unit=how.unit,
                moves=how.moves,
                escapes_hold_to=_holds_to(strengths, [s.escapes_inside for s in strengths]),
                overkill_hold_to=_holds_to(strengths, [s.overkill_inside for s in strengths]),
                strengths=tuple(strengths),
            )
        )
    return Robustness(
        wanted=size,
        points=len(entries),
        defective=sum(entry.point.label != ok for entry in entries),
        parts=len({entry.picture.part for entry in entries}),
        clean=clean,
        disturbances=tuple(found),
    )


def _inside(now: Rate, clean: Rate) -> bool:
    """Whether a rate is one that the clean sample's interval allows; what was not tried is not."""
    return now.rate is not None and now.rate <= clean.upper


def _holds_to(strengths: Sequence[Strength], inside: Sequence[bool]) -> float | None:
    held = None
    for strength, holds in zip(strengths, inside, strict=True):
        if not holds:
            break
        held = strength.strength
    return held


def _judge_disturbed(
    model: Model,
    chunk: Sequence[tuple[Seen, Window]],
    disturbances: Sequence[Disturbance],
    spec: CropSpec,
    rng: np.random.Generator,
    counts: dict[tuple[int, int], list[int]],
) -> None:
    package = model.package
    classes, ok = package.manifest.class_names, package.manifest.ok_class

    def count(key: tuple[int, int], crops: list[Frame]) -> None:
        row = counts.setdefault(key, [0, 0, 0, 0])
        said = model.outputs(np.stack(crops))
        for (entry, _), (one, ood) in zip(chunk, said.rows(), strict=True):
            passed = judge(one, classes, package.policy, ood).verdict is Verdict.OK
            good = entry.point.label == ok
            row[2 * good] += passed is not good
            row[2 * good + 1] += 1

    count((-1, 0), [crop(seen.pixels, seen.region, spec) for _, seen in chunk])
    for k, how in enumerate(disturbances):
        for n, strength in enumerate(how.strengths):
            count((k, n), [disturb(seen, how, strength, spec, rng) for _, seen in chunk])


# ---------------------------------------------------------------- foreign pictures


def _shuffled(crops: Frame, rng: np.random.Generator) -> Frame:
    """Sixteen squares of each crop in another order: its colours and textures, not its shape."""
    count, height, width = crops.shape[:3]
    rows, columns = height // 4, width // 4
    result = crops.copy()
    for n in range(count):
        for to, source in enumerate(rng.permutation(16)):
            (ty, tx), (sy, sx) = divmod(to, 4), divmod(int(source), 4)
            result[n, ty * rows : (ty + 1) * rows, tx * columns : (tx + 1) * columns] = crops[
                n, sy * rows : (sy + 1) * rows, sx * columns : (sx + 1) * columns
            ]
    return result


def _objects(crops: Frame, rng: np.random.Generator) -> Frame:
    """Other things: a few ellipses, bars and letters in any colour on any ground."""
    count, height, width, channels = crops.shape
    drawn = np.empty((count, height, width, 3), np.uint8)
    for n in range(count):
        drawn[n] = rng.integers(0, 256, 3)
        for _ in range(4):
            colour = tuple(int(v) for v in rng.integers(0, 256, 3))
            x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
            a, b = (int(v) for v in rng.integers(2, max(3, width // 3), 2))
            kind = rng.integers(0, 3)
            if kind == 0:
                cv2.ellipse(
                    drawn[n], (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, colour, -1
                )
            elif kind == 1:
                cv2.rectangle(drawn[n], (x, y), (x + a, y + b), colour, -1)
            else:
                letter = chr(65 + int(rng.integers(0, 26)))
                size = height / 40
                cv2.putText(drawn[n], letter, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 2)
    if channels == 3:
        return drawn
    return np.ascontiguousarray(drawn.mean(axis=3, keepdims=True).astype(np.uint8))


def _random(crops: Frame, rng: np.random.Generator) -> Frame:
    return rng.integers(0, 256, crops.shape, np.uint8)


def _plain(crops: Frame, rng: np.random.Generator) -> Frame:
    """One grey level each, black and white among them: a covered lens, a lamp that is out."""
    levels = np.linspace(0, 255, len(crops)).astype(np.uint8)
    rng.shuffle(levels)
    return np.ascontiguousarray(np.broadcast_to(levels[:, None, None, None], crops.shape))


FOREIGN: dict[str, Callable[[Frame, np.random.Generator], Frame]] = {
    "squares shuffled": _shuffled,
    "inverted": lambda crops, _: 255 - crops,
    "noise": _random,
    "plain grey": _plain,
    "drawn objects": _objects,
}


def ood_scores(model: Model, crops: Frame) -> Array | None:
    """The package's own out-of-distribution score (N,), higher for what is more foreign; None
    where it has none."""
    found = model.outputs(crops).ood
    return None if found is None else np.asarray(found, np.float64)


def out_of_distribution(
    model: Model, seen: Sequence[Seen], *, size: int = 300, seed: int = 0
) -> OutOfDistribution | None:
    """Foreign pictures made of a sample of good and defective points, against that sample."""
    package = model.package
    ok_class, classes = package.manifest.ok_class, package.manifest.class_names
    entries = sample(seen, ok_class, size, seed)
    if not entries:
        return None
    spec = crop_spec(package)
    own = np.stack(
        [crop(w.pixels, w.region, spec) for chunk in windows(entries, spec) for _, w in chunk]
    )
    own_scores, own_ood = _in_batches(model, own)
    rng = np.random.default_rng(seed)
    kinds = []
    for name, make in FOREIGN.items():
        scores, ood = _in_batches(model, np.ascontiguousarray(make(own, rng)))
        unusual = [None] * len(scores) if ood is None else ood.tolist()
        verdicts = [
            judge(row, classes, package.policy, one).verdict
            for row, one in zip(scores.tolist(), unusual, strict=True)
        ]
        foreign = np.repeat([False, True], len(own))
        usual = np.concatenate([own_scores.max(axis=1), scores.max(axis=1)])
        kinds.append(
            Foreign(
                name=name,
                called_ok=rate(sum(v is Verdict.OK for v in verdicts), len(verdicts)),
                auroc_ood=(
                    None
                    if own_ood is None or ood is None
                    else auroc(np.concatenate([own_ood, ood]), foreign)
                ),
                auroc_confidence=auroc(-usual, foreign),
            )
        )
    return OutOfDistribution(has_score=own_ood is not None, points=len(own), kinds=tuple(kinds))


def _in_batches(model: Model, crops: Frame) -> tuple[Array, Array | None]:
    batches = [crops[k : k + CHUNK] for k in range(0, len(crops), CHUNK)]
    scores = np.concatenate([model.scores(batch) for batch in batches]).astype(np.float64)
    ood = [found for batch in batches if (found := ood_scores(model, batch)) is not None]
    return scores, np.concatenate(ood) if len(ood) == len(batches) else None


# ---------------------------------------------------------------- where it looks


def saliency(
    model: Model, seen: Sequence[Seen], *, each: int = 2
) -> tuple[Saliency, list[tuple[Frame, Array]]]:
    """For every class of defect ``each`` pictures that were not called OK, the surest of that
    class and the least sure, and for each the crop and its map (height, width): by how much the
    log-odds of the true class fall when a square around a pixel is covered with the crop's mean
    colour."""
    package = model.package
    spec = crop_spec(package)
    classes = package.manifest.class_names
    square = max(2, round(min(spec.width, spec.height) / 6))
    step = max(1, square // 2)
    shown, maps, misses, marked = [], [], 0, 0
    for number, name in enumerate(classes):
        if name == package.manifest.ok_class:
            continue
        entries = sorted(
            (
                entry
                for entry in seen
                if entry.counted
                and usable(entry)
                and entry.point.label == name
                and entry.judged.judgement.verdict is not Verdict.OK
            ),
            key=lambda entry: -entry.judged.scores[number],
        )
        chosen = entries[: each - 1] + entries[-1:] if len(entries) > each else entries
        for entry in chosen:
            frame = load(entry.picture.path)
            picture = crop(frame, entry.point.region, spec)
            falls = _occluded(model, picture, number, square, step)
            mark = _mark(entry, spec)
            hit = None
            if mark is not None:
                y, x = np.unravel_index(int(falls.argmax()), falls.shape)
                half = square // 2
                near = mark[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]
                hit = bool(near.any())
                marked += 1
                misses += not hit
            shown.append(
                Looked(
                    label=name,
                    picture=entry.picture.path.name,
                    part=entry.picture.part,
                    point=entry.point.id,
                    score=entry.judged.scores[number],
                    largest_fall=float(falls.max()),
                    on_defect=hit,
                )
            )
            maps.append((picture, falls))
    return (
        Saliency(
            square_px=square, step_px=step, missed_mark=rate(misses, marked), pictures=tuple(shown)
        ),
        maps,
    )


def _occluded(model: Model, picture: Frame, number: int, square: int, step: int) -> Array:
    height, width = picture.shape[:2]
    places = [
        (y, x)
        for y in range(-(square // 2), height, step)
        for x in range(-(square // 2), width, step)
    ]
    cover = picture.reshape(-1, picture.shape[2]).mean(axis=0).round().astype(np.uint8)
    whole = float(log_odds(model.scores(picture[np.newaxis])[:, number].astype(np.float64))[0])
    falls, times = np.zeros((height, width)), np.zeros((height, width))
    for start in range(0, len(places), CHUNK):
        some = places[start : start + CHUNK]
        covered = np.repeat(picture[np.newaxis], len(some), axis=0)
        for k, (y, x) in enumerate(some):
            covered[k, max(y, 0) : y + square, max(x, 0) : x + square] = cover
        odds = log_odds(model.scores(covered)[:, number].astype(np.float64))
        for (y, x), value in zip(some, odds.tolist(), strict=True):
            place = np.s_[max(y, 0) : y + square, max(x, 0) : x + square]
            falls[place] += whole - value
            times[place] += 1
    return falls / np.maximum(times, 1)


def _mark(entry: Seen, spec: CropSpec) -> npt.NDArray[np.bool_] | None:
    if entry.picture.mask is None:
        return None
    mask = load(entry.picture.mask)
    grey = structs.replace(spec, channels=1)
    seen = crop(mask, entry.point.region, grey)[:, :, 0] > 0
    return seen if seen.any() else None


# ---------------------------------------------------------------- how fast it is


def speed(
    package: Package,
    crops: Frame,
    *,
    batches: Sequence[int] = (1, 4, 16, 20, 64),
    threads: Sequence[int] = (1, 2),
    seconds: float = 0.6,
) -> Speed:
    """Times calls of the runtime, ``seconds`` for each batch and number of threads. ``crops`` are
    real ones (N, height, width, channels), repeated as need be: noise may run at another speed."""
    busy = os.getloadavg()[0]
    rows, provider = [], ""
    for count in threads:
        model = load_model(package, threads=count)
        provider = model.provider
        for batch in batches:
            some = np.ascontiguousarray(crops[np.arange(batch) % len(crops)])
            model.scores(some)
            model.scores(some)
            times: list[float] = []
            until, wanted = time.perf_counter() + seconds, 5
            while time.perf_counter() < until or len(times) < wanted:
                began = time.perf_counter()
                model.scores(some)
                times.append(1000 * (time.perf_counter() - began))
                # The next percentile, where at most four times as long would bring it.
                wanted = next((n for n in (1000, 100) if len(times) * 4 >= n), 5)
            rows.append(
                Latency(
                    threads=count,
                    batch=batch,
                    calls=len(times),
                    p50_ms=float(np.quantile(times, 0.5)),
                    p99_ms=float(np.quantile(times, 0.99)) if len(times) >= 100 else None,
                    p999_ms=float(np.quantile(times, 0.999)) if len(times) >= 1000 else None,
                    crops_per_s=1000 * batch * len(times) / sum(times),
                )
            )
    return Speed(
        processor=processor(),
        cores=os.cpu_count() or 1,
        busy=busy,
        provider=provider,
        rows=tuple(rows),
    )


def processor() -> str:
    """The processor's name, and whether it has the instructions that INT8 graphs live on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    said = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    name = said.get("model name") or platform.machine()
    vnni = any("vnni" in flag for flag in said.get("flags", "").split())
    return f"{name}, {'with' if vnni else 'without'} VNNI"
