"""The quality gate: what cannot be seen is never called OK, and what can be seen is not held back.

    python tests/proofs/quality_gate.py [--pictures N] [--points N] [--views N] [--json FILE]

For each view of the rendered body limits are learnt from ten bodies. Then, on bodies that were not
learnt from:

Spoiled pictures, good welds only, because those are what a model would like to call OK, go through
the edge's own judge with the released model. A point cannot be seen where

    black           no more than 2 % of the light is left, and the sensor's noise
    over-exposed    3 to 10 times the light clips at least half of the weld
    defocused       each point becomes a disc of 12 to 40 px (1.2 to 4 mm; a crack is 0.2 mm wide)
    motion-blurred  each point becomes a line of 20 to 60 px
    glare           a reflection clips at least half of the weld
    covered         a blurred object of any shade lies over all of the region
    frozen          the picture is that of the body before, wholly or from above the weld on
    half frame      the rows from above the weld on hold one value
    wrong size      rows or columns are missing: no region lies where it should

and the weld is the disc of 3 mm around the planned place. None may come out as OK.

Good points: each stance is photographed several times, with 90 to 110 % of the light and fresh
noise of 1 grey level in every region. What is refused is photographed once more. At most 0.02 %
may be refused then.

Defects of each class go through the gate, one at a time: what it refuses no model sees. At most
1 % of any class.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from circuit_boards import commit

from edge.darkroom import Darkroom
from edge.evidence_spool import EvidenceSpool
from edge.frozen import Memory
from edge.judge import Judge, Models
from inspection import quality
from inspection.imaging import Frame
from inspection.messages import (
    Id,
    Inspected,
    ModelRef,
    Order,
    PointTask,
    QualityLimits,
    Region,
    Verdict,
)
from inspection.plan import read_plan
from inspection.rendering import body
from inspection.rendering.body import Stand
from inspection.rendering.catalogue import DEFECTS

PACKAGE = Path(__file__).resolve().parents[2] / "models" / "spot-weld" / "1"
LEARNT, SEED = 10, 20_260
MOST_REFUSED = 0.0002
MOST_DEFECTS_REFUSED = 0.01
WELD_PX = 30
"""Radius of what has to be seen: 3 mm."""
NOISE = 1.5
"""Grey levels of the sensor's noise that is put on what optics have spoiled."""
LIGHT, FRESH_NOISE = (0.9, 1.1), 1.0


@dataclass(frozen=True, slots=True)
class Work:
    """What is done at one view."""

    view: str
    stances: int
    """Bodies that limits are not learnt from ..."""
    times: int
    """... each photographed so often."""
    spoiled: int
    """Spoiled pictures of each kind."""
    defects: int
    """Defects of each class."""
    learnt: int = LEARNT


@dataclass(slots=True)
class Found:
    """What came of it; added up over the views."""

    spoiled: Counter[str] = field(default_factory=Counter)
    """Pictures by kind."""
    unseen: Counter[str] = field(default_factory=Counter)
    ok: Counter[str] = field(default_factory=Counter)
    by_model: Counter[str] = field(default_factory=Counter)
    """Unseen points that the gate let pass and the model did not call OK."""
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    good: int = 0
    refused_first: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    defects_refused: Counter[str] = field(default_factory=Counter)

    def add(self, other: Found) -> None:
        for name in ("spoiled", "unseen", "ok", "by_model", "refused", "defects"):
            getattr(self, name).update(getattr(other, name))
        self.defects_refused.update(other.defects_refused)
        for kind, counts in other.reasons.items():
            self.reasons.setdefault(kind, Counter()).update(counts)
        self.good += other.good
        self.refused_first += other.refused_first


# ------------------------------------------------------------------------------- spoiling

Unseen = Callable[[float, float], bool]
"""Whether nobody can see a weld at (x, y), in pixels."""


def everywhere(_x: float, _y: float) -> bool:
    return True


@functools.cache
def _noise() -> npt.NDArray[np.float32]:
    """More of it than a picture needs, made once: each takes its own part."""
    rng = np.random.default_rng(SEED)
    return rng.standard_normal((body.HEIGHT_PX + 512, body.WIDTH_PX + 512, 3), np.float32)


def noise_for(rows: int, columns: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """White noise of this size, deviation 1."""
    every = _noise()
    top = int(rng.integers(every.shape[0] - rows))
    left = int(rng.integers(every.shape[1] - columns))
    return every[top : top + rows, left : left + columns]


def sensed(picture: npt.NDArray[Any], rng: np.random.Generator) -> Frame:
    """What a sensor makes of it."""
    noisy = noise_for(picture.shape[0], picture.shape[1], rng) * np.float32(NOISE)
    noisy += picture
    np.rint(noisy, out=noisy)
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


def clipped_at(frame: Frame) -> Unseen:
    """Where half of a weld is white."""
    y, x = np.mgrid[-WELD_PX : WELD_PX + 1, -WELD_PX : WELD_PX + 1]
    inside = np.hypot(x, y) <= WELD_PX

    def unseen(x: float, y: float) -> bool:
        left, top = round(x) - WELD_PX, round(y) - WELD_PX
        window = frame[max(top, 0) : top + 2 * WELD_PX + 1, max(left, 0) : left + 2 * WELD_PX + 1]
        if window.shape[:2] != inside.shape:
            return False
        return bool((window.min(axis=2)[inside] >= quality.BRIGHT).mean() >= 0.5)

    return unseen


def black(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Unseen]:
    return sensed(frame * np.float32(rng.uniform(0, 0.02)), rng), everywhere


def over_exposed(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Unseen]:
    spoiled = sensed(frame * np.float32(rng.uniform(3, 10)), rng)
    return spoiled, clipped_at(spoiled)


def defocused(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Unseen]:
    radius = rng.uniform(6, 20)
    side = math.ceil(radius)
    y, x = np.mgrid[-side : side + 1, -side : side + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return sensed(cv2.filter2D(frame, cv2.CV_32F, disc / disc.sum()), rng), everywhere


def motion_blurred(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Unseen]:
    length, angle = int(rng.integers(20, 61)), rng.uniform(0, math.pi)
    line = np.zeros((length | 1, length | 1), np.float32)
    middle = length // 2
    for step in np.linspace(-middle, middle, 4 * length):
        line[round(middle + step * math.sin(angle)), round(middle + step * math.cos(angle))] += 1.0
    return sensed(cv2.filter2D(frame, cv2.CV_32F, line / line.sum()), rng), everywhere


def glare(
    frame: Frame, rng: np.random.Generator, places: Sequence[tuple[float, float]]
) -> tuple[Frame, Unseen]:
    drawn = np.zeros(frame.shape[:2], np.float32)
    for x, y in places:
        # From a small highlight to one that fills the region; not on each.
        if rng.uniform() < 0.7:
            centre = (round(x + rng.normal(0, 8)), round(y + rng.normal(0, 8)))
            axes = tuple(int(v) for v in rng.integers(15, 80, 2))
            cv2.ellipse(drawn, centre, axes, rng.uniform(0, 180), 0, 360, 1.0, -1)
    light = np.asarray(cv2.GaussianBlur(drawn, (0, 0), rng.uniform(2, 8)))
    spoiled = sensed(frame + light[:, :, None] * np.float32(rng.uniform(250, 900)), rng)
    return spoiled, clipped_at(spoiled)


def covered(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Unseen]:
    height, width = frame.shape[:2]
    shade = rng.uniform(5, 200, 3) if rng.uniform() < 0.5 else np.full(3, rng.uniform(5, 200))
    folds = rng.normal(0, rng.uniform(0, 12), (24, 28)).astype(np.float32)
    cloth = np.asarray(cv2.resize(folds, (width, height)))
    cover = shade.astype(np.float32) + cloth[:, :, None]
    edge = rng.uniform(0.4, 1.1) * width
    opaque = np.clip((edge - np.arange(width)) / 60 + 0.5, 0, 1).astype(np.float32)
    spoiled = frame * (1 - opaque[:, None]) + cover * opaque[:, None]
    return sensed(spoiled, rng), lambda x, _: x + body.REGION_PX / 2 < edge - 30


def half_frame(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Unseen]:
    cut = int(rng.integers(1, len(frame) - 100))
    spoiled = frame.copy()
    spoiled[cut:] = rng.choice([0, 0, 128, 255])
    return spoiled, lambda _, y: y - WELD_PX > cut


def wrong_size(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Unseen]:
    less = int(rng.integers(1, 1000))
    spoiled = frame[less:] if rng.uniform() < 0.5 else frame[:, less:]
    return np.ascontiguousarray(spoiled), everywhere


OPTICAL = {
    "black": black,
    "over-exposed": over_exposed,
    "defocused": defocused,
    "motion-blurred": motion_blurred,
    "covered": covered,
    "half frame": half_frame,
    "wrong size": wrong_size,
}
KINDS = (*OPTICAL, "glare", "frozen")


# ------------------------------------------------------------------------------- one view


def prove_view(work: Work) -> Found:
    """All that is asked of one view."""
    cv2.setNumThreads(1)
    regions = {p.id: p.region for p in read_plan(body.PLAN).points_of(work.view)}
    number = int(work.view[1:])
    rng = np.random.default_rng([SEED, number])
    learnt = (Stand(work.view, SEED, stance).render() for stance in range(work.learnt))
    limits = quality.learn(learnt, regions)
    found = Found()
    stands = [Stand(work.view, SEED, work.learnt + k) for k in range(work.stances)]
    frames = [stand.render() for stand in stands]
    for frame in frames:
        _good(frame, regions, limits, work.times, rng, found)
    _defects(stands, frames, regions, limits, work, found)
    _spoiled(frames, regions, limits, work, rng, found)
    return found


def _gate(
    frame: Frame, regions: Mapping[Id, Region], limits: Mapping[Id, QualityLimits]
) -> dict[Id, str]:
    """The points that are refused, with what is said of them."""
    measured = quality.measure(quality.crops(frame, regions.values()))
    found = quality.refused(measured, [limits[point] for point in regions])
    return {
        point: f"{why.reason.name}: {why.detail}"
        for point, why in zip(regions, found, strict=True)
        if why is not None
    }


def _photographed(
    frame: Frame, regions: Mapping[Id, Region], light: float, rng: np.random.Generator
) -> Frame:
    again = frame.copy()
    for region in regions.values():
        window = again[
            int(region.top_px) : int(region.top_px + region.height_px) + 1,
            int(region.left_px) : int(region.left_px + region.width_px) + 1,
        ]
        noise = noise_for(window.shape[0], window.shape[1], rng) * np.float32(FRESH_NOISE)
        window[:] = np.clip(np.rint(window * np.float32(light) + noise), 0, 255)
    return again


def _good(
    frame: Frame,
    regions: Mapping[Id, Region],
    limits: Mapping[Id, QualityLimits],
    times: int,
    rng: np.random.Generator,
    found: Found,
) -> None:
    for _ in range(times):
        light = rng.uniform(*LIGHT)
        refused = _gate(_photographed(frame, regions, light, rng), regions, limits)
        found.good += len(regions)
        found.refused_first += len(refused)
        if refused:
            some = {point: regions[point] for point in refused}
            again = _gate(_photographed(frame, some, light, rng), some, limits)
            found.refused.update(f"{point} {said}" for point, said in again.items())


def _defects(
    stands: Sequence[Stand],
    frames: Sequence[Frame],
    regions: Mapping[Id, Region],
    limits: Mapping[Id, QualityLimits],
    work: Work,
    found: Found,
) -> None:
    names = list(regions)
    for k, label in enumerate(DEFECTS):
        for repeat in range(work.defects):
            which = (k + repeat) % len(stands)
            point = names[(7 * k + 5 * repeat) % len(names)]
            patch = stands[which].patch(point, label)
            frame = frames[which].copy()
            rows, columns = patch.image.shape[:2]
            frame[patch.top : patch.top + rows, patch.left : patch.left + columns] = patch.image
            found.defects[label] += 1
            found.defects_refused[label] += point in _gate(frame, regions, limits)


def _spoiled(
    frames: Sequence[Frame],
    regions: Mapping[Id, Region],
    limits: Mapping[Id, QualityLimits],
    work: Work,
    rng: np.random.Generator,
    found: Found,
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="gate-") as folder,
        Darkroom(EvidenceSpool(Path(folder))) as darkroom,
    ):
        models = Models({"spot-weld": PACKAGE})
        (ref,) = (state.ref for state in models.states)
        if ref is None:
            raise SystemExit(f"the released model cannot judge here: {models.states[0].fault}")
        judge = Judge(models, darkroom)
        order = _order(work.view, regions, limits, ref)
        places = {
            point: (region.left_px + region.width_px / 2, region.top_px + region.height_px / 2)
            for point, region in regions.items()
        }
        for kind in KINDS:
            for repeat in range(work.spoiled):
                frame = frames[repeat % len(frames)]
                frozen = ""
                if kind == "frozen":
                    spoiled, unseen, frozen = _frozen(frames, repeat, rng)
                elif kind == "glare":
                    spoiled, unseen = glare(frame, rng, list(places.values()))
                else:
                    spoiled, unseen = OPTICAL[kind](frame, rng)
                said = judge.decide(order, [judge.look(order, spoiled, frozen)])
                found.spoiled[kind] += 1
                for entry in said:
                    if not unseen(*places[entry.point]):
                        continue
                    found.unseen[kind] += 1
                    reasons = found.reasons.setdefault(kind, Counter())
                    if isinstance(entry, Inspected):
                        found.ok[kind] += entry.verdict is Verdict.OK
                        found.by_model[kind] += 1
                        reasons[f"model: {entry.verdict} {entry.finding}".strip()] += 1
                    else:
                        reasons[entry.reason.name] += 1


def _frozen(
    frames: Sequence[Frame], repeat: int, rng: np.random.Generator
) -> tuple[Frame, Unseen, str]:
    """The picture of the body before, or a new one that ends as that one did."""
    memory = Memory()
    before, now = frames[repeat % len(frames)], frames[(repeat + 1) % len(frames)]
    cut = 0 if repeat % 2 else int(rng.integers(1, len(now) - 100))
    torn = before.copy()
    torn[:cut] = now[:cut]
    memory.compare(before)
    return torn, lambda _, y: y - WELD_PX > cut, memory.compare(torn)


def _order(
    view: str, regions: Mapping[Id, Region], limits: Mapping[Id, QualityLimits], ref: ModelRef
) -> Order:
    return Order(
        run="run",
        part="BODY",
        plan="a" * 64,
        view=view,
        camera="cam1",
        attempt=1,
        remaining_ms=1000,
        width_px=body.WIDTH_PX,
        height_px=body.HEIGHT_PX,
        points=tuple(
            PointTask(point=point, model="spot-weld", region=region, quality=limits[point])
            for point, region in regions.items()
        ),
        models={"spot-weld": ref},
    )


# ------------------------------------------------------------------------------- all of it


def claims(found: Found) -> list[dict[str, object]]:
    """One line each, with ``holds``."""
    refused = sum(found.refused.values())
    shares = {label: found.defects_refused[label] / count for label, count in found.defects.items()}
    return [
        {
            "claim": "quality gate, spoiled pictures",
            "commit": commit(),
            "holds": sum(found.ok.values()) == 0,
            "pictures": sum(found.spoiled.values()),
            "points_unseen": sum(found.unseen.values()),
            "called_ok": sum(found.ok.values()),
            "left_to_the_model": sum(found.by_model.values()),
            "by_kind": {
                kind: {
                    "pictures": found.spoiled[kind],
                    "unseen": found.unseen[kind],
                    "ok": found.ok[kind],
                    "reasons": dict(found.reasons.get(kind, Counter()).most_common()),
                }
                for kind in KINDS
            },
        },
        {
            "claim": "quality gate, good points",
            "commit": commit(),
            "holds": refused <= MOST_REFUSED * found.good,
            "points": found.good,
            "refused_in_the_first_picture": found.refused_first,
            "refused_after_the_second": refused,
            "share": refused / found.good if found.good else None,
            "limit": MOST_REFUSED,
            "what": dict(found.refused.most_common(20)),
        },
        {
            "claim": "quality gate, defects pass",
            "commit": commit(),
            "holds": all(share <= MOST_DEFECTS_REFUSED for share in shares.values()),
            "defects": sum(found.defects.values()),
            "limit": MOST_DEFECTS_REFUSED,
            "refused": {
                label: f"{found.defects_refused[label]} of {found.defects[label]}"
                for label in found.defects
            },
        },
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="what cannot be seen is never called OK")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--stances", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    every = list(body.points().items())
    views = [every[k * len(every) // options.views] for k in range(options.views)]
    points = sum(len(names) for _, names in views)
    work = [
        Work(
            view,
            stances=options.stances,
            times=math.ceil(options.points / points / options.stances),
            spoiled=math.ceil(options.pictures / len(views) / len(KINDS)),
            defects=2,
        )
        for view, _ in views
    ]
    begun, found = time.monotonic(), Found()
    with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for done, each in enumerate(pool.map(prove_view, work), 1):
            found.add(each)
            print(f"\r{done} of {len(work)} views", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    lines = claims(found)
    lines[0]["seconds"] = round(time.monotonic() - begun)
    text = "\n".join(json.dumps(line) for line in lines)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", "utf-8")
    return int(not all(line["holds"] for line in lines))


if __name__ == "__main__":
    raise SystemExit(main())
