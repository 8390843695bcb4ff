"""``inspection bench anomaly``: models of good points on a folder of pictures, in figures that can
be compared with those of papers and other programs.

Two ways to divide the pictures. *Official*: what lies in ``train`` is learnt from, what lies in
``test`` is the test (MVTec AD). *By part*: parts with a defect and half of the others, drawn anew
with each seed, are the test. The second is what a line meets, and mostly worse: pictures of one
part on both sides make a test easy.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from inspection.errors import DataError
from inspection.imaging import CropSpec, Frame, crop
from inspection.runtimes import Graph
from inspection.training import export
from inspection.training.architectures import Normality, build, provenance
from inspection.training.bench_against import Theirs, Versus, anomalib, versus
from inspection.training.calibrate import Array, Calibration
from inspection.training.data import load, read_dataset, units_of
from inspection.training.defaults import NORMAL_PX
from inspection.training.discover import describe
from inspection.training.duplicates import join_twins
from inspection.training.layouts.mvtec import TEST, TRAIN
from inspection.training.parity import auroc
from inspection.training.recipe import GOOD_ALONE, one_kind_of_defect
from inspection.training.sampling import points_of
from inspection.training.torch_setup import use_threads

ESCAPES = (0.01, 0.0)
FALSE_POSITIVES = 0.3
"""Up to this share of normal pixels AUPRO is integrated (Bergmann et al., 2020)."""
TIMED = 80
"""Inferences of one picture each, after `WARM_UP`; the median counts."""
WARM_UP = 10
OFFICIAL = "official"

Bools = npt.NDArray[np.bool_]
Progress = Callable[[str], None]


class Division(NamedTuple):
    """Which points (numbers) are learnt from, and which tested on."""

    name: str
    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


class Figures(Struct, frozen=True, kw_only=True):
    """One model on one division. ``overkill_at_1`` and ``_at_0`` are at the threshold, chosen on
    the test itself, that lets so many per cent of the defects pass; ``false_alarms`` and
    ``escapes`` at the limit that was set on good points alone, whose guarantee is ``bound``.
    ``aupro`` is None without masks, and what anomalib does not say is None too. ``fit_s`` is from
    pictures in memory to a graph (of anomalib: without the export); ``images_per_s`` is by
    processor time, one picture at a time, one thread."""

    split: str
    good: int
    defects: int
    learnt_from: int
    auroc: float
    ap: float
    overkill_at_1: float
    overkill_at_0: float
    aupro: float | None
    false_alarms: float | None
    escapes: float | None
    bound: float | None
    fit_s: float
    images_per_s: float | None


class Model(Struct, frozen=True, kw_only=True):
    """One architecture on all divisions; ``by_part`` holds mean and deviation over the seeds of
    each figure, where there are any."""

    name: str
    weights: str
    official: Figures | None
    by_part: dict[str, tuple[float, float]]
    seeds: tuple[Figures, ...]


class Result(Struct, frozen=True, kw_only=True):
    """All of a benchmark; ``versus`` compares each of ours with each of anomalib's."""

    models: tuple[Model, ...]
    versus: tuple[Versus, ...] = ()


class Points(NamedTuple):
    """All pictures as a model sees them: crops, which are defective, of which unit each is, and
    the masks at the crops' size (None: not known)."""

    crops: Frame
    defective: Bools
    units: list[str]
    masks: list[npt.NDArray[np.bool_] | None]
    official: list[str]


def read(root: Path, part: str | None, spec: CropSpec, ok: str | None = None) -> Points:
    """The pictures below ``root``. Raises `DataError` where none is defective."""
    description = one_kind_of_defect(describe(root, ok=ok, part=part))
    dataset = read_dataset(description, root)
    if not dataset.guessed:
        join_twins(dataset)
    pictures = [p for p in dataset.pictures if any(x.label is not None for x in p.points)]
    crops, labels = points_of(dataset, pictures, spec)
    if not (labels > 0).any() or not (labels == 0).any():
        raise DataError(f"{root}: a benchmark needs good and defective pictures")
    leader = {unit: names[0] for names in units_of(dataset) for unit in names}
    units, masks, official = [], [], []
    for picture in pictures:
        mask = None if picture.mask is None else load(picture.mask)
        folder = picture.path.relative_to(root).parts[0]
        for point in picture.points:
            if point.label is None or point.borderline:
                continue
            units.append(leader[picture.part])
            official.append(folder)
            grey = CropSpec(width=spec.width, height=spec.height, channels=1)
            masks.append(None if mask is None else crop(mask, point.region, grey)[:, :, 0] > 127)
    return Points(crops, labels > 0, units, masks, official)


def divisions(points: Points, seeds: int) -> list[Division]:
    """The official one, where the folders say so, and one by part for each seed."""
    found = []
    folder = np.array(points.official)
    learnt = (folder == TRAIN) & ~points.defective
    if learnt.any() and (folder == TEST).any():
        found.append(Division(OFFICIAL, np.flatnonzero(learnt), np.flatnonzero(folder == TEST)))
    units = np.array(points.units)
    flawed = set(units[points.defective].tolist())
    good = sorted(set(units.tolist()) - flawed)
    for seed in range(seeds):
        order = list(good)
        random.Random(seed).shuffle(order)  # noqa: S311  reproducible, not secret
        chosen = np.isin(units, order[: len(order) // 2])
        found.append(Division(f"seed {seed}", np.flatnonzero(chosen), np.flatnonzero(~chosen)))
    return found


def bench(
    root: Path,
    *,
    part: str | None = None,
    ok: str | None = None,
    seeds: int = 10,
    side_px: int = NORMAL_PX,
    names: Sequence[str] = tuple(sorted(GOOD_ALONE, reverse=True)),
    wanted: float = 0.01,
    against: bool = False,
    progress: Progress = print,
) -> Result:
    """Every architecture on every division, and ``against`` anomalib. Raises `DataError`."""
    use_threads(1)
    spec = CropSpec(width=side_px, height=side_px, channels=3)
    points = read(root, part, spec, ok)
    divided = divisions(points, seeds)
    runs: dict[str, list[Run]] = {}
    for name in names:
        for each in divided:
            runs.setdefault(name, []).append(_measured(name, points, each, spec, wanted))
            progress(line(name, runs[name][-1].figures))
    if against:
        said = anomalib(points.crops, [(each.train, each.test) for each in divided], progress)
        for name, tests in said.items():
            theirs = f"anomalib {name}"
            for each, test in zip(divided, tests, strict=True):
                run = _theirs(points, each, test)
                runs.setdefault(theirs, []).append(run)
                progress(line(theirs, run.figures))
    compared = tuple(
        versus(
            (name, other),
            [
                (ours.scores, theirs.scores, points.defective[each.test], units)
                for each, ours, theirs in zip(divided, runs[name], runs[other], strict=True)
                if each.name != OFFICIAL
                for units in [[points.units[i] for i in each.test]]
            ],
        )
        for name in names
        for other in runs
        if other not in names and any(each.name != OFFICIAL for each in divided)
    )
    return Result(models=tuple(_model(n, some) for n, some in runs.items()), versus=compared)


class Run(NamedTuple):
    """Figures of a test, and the scores behind them, the larger the more unusual."""

    figures: Figures
    scores: Array


def _model(name: str, runs: Sequence[Run]) -> Model:
    found = [run.figures for run in runs]
    drawn = tuple(f for f in found if f.split != OFFICIAL)
    return Model(
        name=name,
        weights=provenance(name.removeprefix("anomalib "), {}),
        official=next((f for f in found if f.split == OFFICIAL), None),
        by_part=spread(drawn),
        seeds=drawn,
    )


def _measured(name: str, points: Points, division: Division, spec: CropSpec, wanted: float) -> Run:
    network = build(name, 2, spec, {}).eval()
    assert isinstance(network, Normality)  # noqa: S101  that is what `GOOD_ALONE` names
    begun = time.perf_counter()
    said = network.learn(
        points.crops[division.train], [points.units[i] for i in division.train], wanted
    )
    with tempfile.TemporaryDirectory(prefix="inspection-bench-") as folder:
        graphs = export.export_graphs(network, Calibration(1.0, 0.0), spec, 2, Path(folder))
        seconds = time.perf_counter() - begun
        outputs = export.outputs(graphs.fp32, points.crops[division.test])
        speed = _speed(graphs.fp32, points.crops[division.test[:1]])
        heat = _heat(graphs.fp32, points.crops[division.test])
    # What is bent near 0 and 1 keeps its order only in the logarithm.
    ok = np.maximum(outputs.scores[:, 0].astype(np.float64), 1e-30)
    scores, alarms = -np.log(ok), outputs.scores[:, 0] < 0.5
    defective = points.defective[division.test]
    figures = figures_of(points, division, scores, heat, seconds, speed)
    figures = msgspec.structs.replace(
        figures,
        false_alarms=float(alarms[~defective].mean()),
        escapes=float((~alarms[defective]).mean()),
        bound=said.bound,
    )
    return Run(figures, scores)


def _theirs(points: Points, division: Division, said: Theirs) -> Run:
    figures = figures_of(points, division, said.scores, said.maps, said.fit_s, said.images_per_s)
    return Run(figures, said.scores)


def figures_of(
    points: Points,
    division: Division,
    scores: Array,
    heat: npt.NDArray[np.float32],
    seconds: float,
    speed: float | None,
) -> Figures:
    """Of the scores of a test, the larger the more unusual."""
    defective = points.defective[division.test]
    area = auroc(scores, defective)
    assert area is not None  # noqa: S101  `read` has seen both kinds
    return Figures(
        split=division.name,
        good=int((~defective).sum()),
        defects=int(defective.sum()),
        learnt_from=len(division.train),
        auroc=area,
        ap=average_precision(scores, defective),
        overkill_at_1=overkill_at(scores, defective, ESCAPES[0]),
        overkill_at_0=overkill_at(scores, defective, ESCAPES[1]),
        aupro=aupro(heat, [points.masks[i] for i in division.test], defective),
        false_alarms=None,
        escapes=None,
        bound=None,
        fit_s=seconds,
        images_per_s=speed,
    )


def average_precision(scores: Array, positive: Bools) -> float:
    """The mean of the precision at each positive, from the highest score on; of equal scores those
    that are no positives come first, so that ties are never flattering."""
    order = np.lexsort((positive, -scores))
    hits = positive[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def overkill_at(scores: Array, defective: Bools, escapes: float) -> float:
    """The share of good points at or above the threshold below which at most the share ``escapes``
    of the defects lies."""
    flawed = np.sort(scores[defective])
    threshold = flawed[int(escapes * len(flawed))]
    return float((scores[~defective] >= threshold).mean())


def aupro(
    heat: npt.NDArray[np.float32], masks: Sequence[Bools | None], defective: Bools
) -> float | None:
    """Area under the per-region overlap (Bergmann et al., 2020) up to `FALSE_POSITIVES`, 0 to 1;
    None unless every defect has a mask. Maps are brought to the size of the masks."""
    shapes = {mask.shape for mask in masks if mask is not None}
    if len(shapes) != 1 or any(m is None for m, bad in zip(masks, defective, strict=True) if bad):
        return None
    ((rows, columns),) = shapes
    values, normal, weight = [], [], []
    for one, mask in zip(heat, masks, strict=True):
        large = cv2.resize(one, (columns, rows), interpolation=cv2.INTER_LINEAR)
        inside = np.zeros((rows, columns), np.float64)
        if mask is not None:
            count, regions = cv2.connectedComponents(mask.astype(np.uint8))
            sizes = np.bincount(regions.ravel(), minlength=count)
            inside = np.where(regions > 0, 1 / np.maximum(sizes[regions], 1), 0.0)
        values.append(large.ravel())
        weight.append(inside.ravel())
        normal.append(inside.ravel() == 0)
    scores, share, outside = (np.concatenate(parts) for parts in (values, weight, normal))
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # only where the threshold changes
    false = np.cumsum(outside[order])[last] / max(int(outside.sum()), 1)
    overlap = np.cumsum(share[order])[last] / max(float(share.sum()), 1e-12)
    false, overlap = np.append(0.0, false), np.append(0.0, overlap)
    at_end = float(np.interp(FALSE_POSITIVES, false, overlap))
    inside_range = false < FALSE_POSITIVES
    x = np.append(false[inside_range], FALSE_POSITIVES)
    y = np.append(overlap[inside_range], at_end)
    return float(np.trapezoid(y, x) / FALSE_POSITIVES)


def _heat(graph: Graph, crops: Frame) -> npt.NDArray[np.float32]:
    parts = [graph.outputs(crops[i : i + export.BATCH]).heat for i in range(0, len(crops), 50)]
    return np.concatenate([part for part in parts if part is not None])


def _speed(graph: Graph, crops: Frame) -> float:
    """Pictures a second of processor time, one at a time."""
    times = []
    for number in range(WARM_UP + TIMED):
        begun = time.process_time()
        graph.outputs(crops)
        if number >= WARM_UP:
            times.append(time.process_time() - begun)
    return 1 / max(statistics.median(times), 1e-9)


def spread(found: Sequence[Figures]) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of each figure over the seeds."""
    made = {}
    counts = {"split", "good", "defects", "learnt_from"}
    for name in (field for field in Figures.__struct_fields__ if field not in counts):
        values = [getattr(figures, name) for figures in found]
        if values and all(value is not None for value in values):
            deviation = statistics.stdev(values) if len(values) > 1 else 0.0
            made[name] = (statistics.fmean(values), deviation)
    return made


def line(name: str, f: Figures) -> str:
    """One division on one line."""
    pro = "" if f.aupro is None else f", AUPRO {f.aupro:.3f}"
    own = ""
    if f.bound is not None:
        own = (
            f"; at its own limit {f.false_alarms:.3f} false alarms (guaranteed {f.bound:.3f}),"
            f" {f.escapes:.3f} escapes"
        )
    speed = "" if f.images_per_s is None else f", {f.images_per_s:.0f} a second"
    return (
        f"{name}, {f.split}: AUROC {f.auroc:.4f}, AP {f.ap:.4f}{pro}, overkill"
        f" {f.overkill_at_1:.3f} at 1 % and {f.overkill_at_0:.3f} at 0 % escapes{own};"
        f" {f.fit_s:.1f} s{speed}"
    )


def table(result: Result) -> str:
    """Means over the seeds, a row a model; and who is better by how much."""
    columns = "model | split | AUROC | AP | AUPRO | overkill at 1 % | at 0 % | false alarms"
    rows = [f"| {columns} (at most) | fit s | images/s |", "|---" * 10 + "|"]

    def cell(mean: dict[str, tuple[float, float]], name: str, digits: int = 3) -> str:
        if name not in mean:
            return "-"
        value, deviation = mean[name]
        return f"{value:.{digits}f}" + (f" ± {deviation:.{digits}f}" if deviation else "")

    for model in result.models:
        parts = [(OFFICIAL, spread([model.official] if model.official else []))]
        parts.append((f"by part, {len(model.seeds)} seeds", model.by_part))
        rows += [
            f"| {model.name} | {split} | {cell(mean, 'auroc')} | {cell(mean, 'ap')} |"
            f" {cell(mean, 'aupro')} | {cell(mean, 'overkill_at_1')} |"
            f" {cell(mean, 'overkill_at_0')} | {cell(mean, 'false_alarms')}"
            f" ({cell(mean, 'bound')}) | {cell(mean, 'fit_s', 1)} |"
            f" {cell(mean, 'images_per_s', 0)} |"
            for split, mean in parts
            if mean
        ]
    rows += [
        f"{v.ours} less {v.theirs}, by part: AUROC {v.difference:+.4f} (95 % of a bootstrap over"
        f" parts: {v.lower:+.4f} to {v.upper:+.4f})"
        for v in result.versus
    ]
    return "\n".join(rows)
