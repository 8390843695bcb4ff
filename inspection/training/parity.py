"""The gate between what was trained and what will run: the same frames through torch, the fp32
graph and the 8-bit graph of a package, each from frame and region on.

The fp32 graph must give torch's scores within `SCORE_LIMIT`; a verdict may turn only where a score
lies within that of its threshold, and is listed. A graph that gives other scores is refused, and
the error says what was done otherwise where that can be found out. The 8-bit graph is released only
if its escapes and overkill stay inside the fp32 graph's 95 % bounds and its AUROC is hardly lower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from msgspec import Struct
from scipy.optimize import minimize
from scipy.stats import rankdata
from torch import nn

from inspection import imaging
from inspection.errors import DataError, ImageError
from inspection.imaging import CropSpec, Frame, crop
from inspection.messages import Region, Verdict
from inspection.package import MODEL, MODEL_INT8, Package, open_package, sha256
from inspection.policy import Judgement, judge
from inspection.runtimes import Model, Outputs, crop_spec, load
from inspection.statistics import Rate, rate
from inspection.training.calibrate import Array, Calibration, probabilities
from inspection.training.data import LabelledPoint, Picture
from inspection.training.data import load as load_frame
from inspection.training.novelty import Novelty, with_embedding

SCORE_LIMIT = 1e-3
OOD_LIMIT = 1e-2
"""How far an out-of-distribution score may differ, as a share of it from 1 on: it is a sum of
thousands of squares in float32."""
AUROC_LIMIT = 0.003
FEWEST = 30
"""Good and defective test points, each, that 8 bits are compared on: with fewer the bounds they
must stay inside are so wide (above 9.5 % with no error) that they would always pass."""
BATCH = 50
LISTED = 100
"""Turned verdicts that are listed one by one; all are counted."""
SAMPLES = 16
"""Points on which a wrong export is tried to be explained."""
EXPLAINED = 0.1
"""An explanation must leave no more than this share of the difference."""
SURELY_EXPLAINED = 0.001
"""With so little left nothing else is looked for."""
FLOOR = 1e-30
"""Smallest score that is told from 0 when explanations are compared, by their logarithm: of a sure
network most explanations give the same probabilities, 0 and 1."""

Shot = tuple[str, Frame, Sequence[LabelledPoint]]
"""Name, frame and points of one picture."""


class Flip(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point whose verdict differs, with what each side gave the OK class."""

    picture: str
    point: str
    label: str | None
    before: Verdict
    after: Verdict
    score_before: float
    score_after: float


class GraphFigures(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One graph on the labelled points. ``auroc`` is of defect against good by 1 - score of the OK
    class, None where one kind is missing. ``worst`` is the largest difference of a score from
    torch's, ``flips`` are verdicts that differ from those of torch's scores."""

    graph: str
    sha256: str
    worst: float
    flips: int
    listed: tuple[Flip, ...]
    escapes: Rate
    overkill: Rate
    auroc: float | None


class Parity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the gate found. ``int8_why`` says why the 8-bit graph is not released; empty where it
    is, or where there is none."""

    points: int
    golden: int
    unreadable: int
    fp32: GraphFigures
    int8: GraphFigures | None
    int8_released: bool
    int8_why: tuple[str, ...]

    def __str__(self) -> str:
        said = (
            f"{self.points} points and {self.golden} golden pictures: fp32 within"
            f" {self.fp32.worst:.1g} of torch, {self.fp32.flips} verdicts turned"
        )
        if self.int8 is None:
            return said
        if not self.int8_released:
            return f"{said}; INT8 not released: {'; '.join(self.int8_why)}"
        return (
            f"{said}; INT8 released: {self.int8.flips} verdicts turned, escapes"
            f" {self.int8.escapes.errors} for {self.fp32.escapes.errors}, overkill"
            f" {self.int8.overkill.errors} for {self.fp32.overkill.errors}"
        )


def shots(pictures: Iterable[Picture], unreadable: list[str] | None = None) -> Iterator[Shot]:
    """Pictures of a data set, read one by one. What cannot be read has no score in any graph; its
    name goes to ``unreadable``, without which it is an error."""
    for picture in pictures:
        try:
            frame = load_frame(picture.path)
        except (ImageError, OSError) as error:
            if unreadable is None:
                raise DataError(f"{picture.path}: {error}") from None
            unreadable.append(str(picture.path))
            continue  # said in the caller's list
        yield picture.path.name, frame, picture.points


class _Seen(NamedTuple):
    """All points: names, labels, and what each side said."""

    places: list[tuple[str, LabelledPoint]]
    scores: dict[str, Array]
    ood: dict[str, Array | None]


class _Reference:
    """The network as it was trained, with the calibration that was fitted to it."""

    def __init__(
        self,
        network: nn.Module,
        calibration: Calibration,
        spec: CropSpec,
        classes: int,
        novelty: Novelty | None,
    ) -> None:
        self.network = network.to("cpu").eval()
        self.calibration = calibration
        self.spec = spec
        self.novelty = novelty
        self._look = with_embedding(network, classes) if novelty is not None else None

    def says(self, crops: Frame) -> tuple[Array, Array | None]:
        """Probabilities, and how unusual, of crops (N, height, width, channels)."""
        with torch.inference_mode():
            pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
            if self._look is None or self.novelty is None:
                return probabilities(_array(self.network(pixels)), self.calibration), None
            logits, embedding = self._look(pixels)
            unusual = self.novelty.distances(_array(embedding))
            return probabilities(_array(logits), self.calibration), unusual

    def of_pixels(self, pixels: torch.Tensor, calibration: Calibration | None = None) -> Array:
        with torch.inference_mode():
            return probabilities(_array(self.network(pixels)), calibration or self.calibration)


def check_parity(
    network: nn.Module,
    calibration: Calibration,
    spec: CropSpec,
    out_dir: Path,
    frames: Iterable[Shot],
    *,
    novelty: Novelty | None = None,
    unreadable: Sequence[str] = (),
) -> Parity:
    """Compare a drafted package with the network, its calibration and the crop it was trained on.

    ``frames`` are the whole test set (`shots`), ``unreadable`` (filled while it is read) what of it
    could not be. Raises `DataError` where the fp32 graph is not what was trained, naming what
    differs.
    """
    package = open_package(out_dir)
    _check_input(package, spec)
    names = package.manifest.class_names
    if novelty is None and package.manifest.ood_name is not None:
        raise DataError(f"{out_dir}: gives an out-of-distribution score: say what it should be")
    reference = _Reference(network, calibration, spec, len(names), novelty)
    listed = {entry.graph for entry in package.manifest.verified_on}
    models = {
        name: load(package, graph=name, replay=False)
        for name in (MODEL, MODEL_INT8)
        if name in listed
    }
    seen, samples = _look_at_all(reference, models, frames)
    golden = _golden_crops(package)
    _check_scores(reference, models[MODEL], seen, samples, golden, out_dir)
    turned = {name: _flips(seen, name, package) for name in models}
    _check_flips(seen, turned[MODEL], package)
    figures = {name: _figures(seen, name, turned[name], package) for name in models}
    int8 = figures.get(MODEL_INT8)
    why: list[str] = []
    if int8 is not None:
        why = _against(figures[MODEL], int8)
        why += _golden_escapes(models, golden, package)
    return Parity(
        points=len(seen.places),
        golden=len(golden),
        unreadable=len(unreadable),
        fp32=figures[MODEL],
        int8=int8,
        int8_released=int8 is not None and not why,
        int8_why=tuple(why),
    )


def ood_difference(
    network: nn.Module,
    calibration: Calibration,
    spec: CropSpec,
    classes: int,
    novelty: Novelty,
    crops: Frame,
    said: Outputs,
) -> float:
    """By which share (from a score of 1 on) a graph's out-of-distribution scores of these crops
    differ at most from what the fitted novelty says of the network; infinite where it is none."""
    reference = _Reference(network, calibration, spec, classes, novelty)
    wanted = [reference.says(crops[i : i + BATCH])[1] for i in range(0, len(crops), BATCH)]
    told = [part for part in wanted if part is not None]
    if said.ood is None or len(told) < len(wanted):
        return float("inf")
    share = _ood_shares(said.ood.astype(np.float64), np.concatenate(told))
    return float(share.max()) if np.isfinite(share).all() else float("inf")


def _ood_shares(said: Array, wanted: Array) -> Array:
    return np.abs(said - wanted) / np.maximum(wanted, 1.0)


def _check_input(package: Package, spec: CropSpec) -> None:
    wanted = crop_spec(package)
    if wanted != spec:
        raise DataError(
            f"{package.path}: wrong export, another resize: the package takes crops of"
            f" {wanted.width} x {wanted.height} x {wanted.channels} with margin {wanted.margin:g},"
            f" the network was trained on {spec.width} x {spec.height} x {spec.channels} with"
            f" margin {spec.margin:g}"
        )


def _look_at_all(
    reference: _Reference, models: dict[str, Model], frames: Iterable[Shot]
) -> tuple[_Seen, list[tuple[Frame, Region]]]:
    """What each side says of every point; and some points where they differ, with their frames."""
    places: list[tuple[str, LabelledPoint]] = []
    said: dict[str, list[Array]] = {"torch": [], **{name: [] for name in models}}
    unusual: dict[str, list[Array]] = {name: [] for name in said}
    samples: list[tuple[Frame, Region]] = []
    for name, frame, points in frames:
        for start in range(0, len(points), BATCH):
            some = points[start : start + BATCH]
            places += [(name, point) for point in some]
            crops = np.stack([crop(frame, point.region, reference.spec) for point in some])
            true, ood = reference.says(crops)
            said["torch"].append(true)
            if ood is not None:
                unusual["torch"].append(ood)
            for graph, model in models.items():
                found = model.outputs(crops)
                said[graph].append(found.scores.astype(np.float64))
                if found.ood is not None:
                    unusual[graph].append(found.ood.astype(np.float64))
            wrong = ~(np.abs(said[MODEL][-1] - true).max(axis=1) <= SCORE_LIMIT)
            if len(samples) < SAMPLES:
                samples += [(frame, some[int(i)].region) for i in np.flatnonzero(wrong)]
    if not places:
        raise DataError("no points to compare the graphs on: give the pictures of the test parts")
    return (
        _Seen(
            places,
            {name: np.concatenate(parts) for name, parts in said.items()},
            {name: np.concatenate(parts) if parts else None for name, parts in unusual.items()},
        ),
        samples[:SAMPLES],
    )


def _golden_crops(package: Package) -> Frame:
    pictures = [
        imaging.decode(package.content[f"golden/{image.file}"]) for image in package.golden.images
    ]
    return np.stack([picture.reshape(*picture.shape[:2], -1) for picture in pictures])


def _check_scores(
    reference: _Reference,
    model: Model,
    seen: _Seen,
    samples: list[tuple[Frame, Region]],
    golden: Frame,
    out_dir: Path,
) -> None:
    """The fp32 graph against torch, on the test set and on the golden set."""
    off = np.abs(seen.scores[MODEL] - seen.scores["torch"]).max(axis=1)
    if not (off <= SCORE_LIMIT).all():  # NaN fails
        worst = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
        picture, point = seen.places[worst]
        why = _explained(reference, model, samples)
        raise DataError(
            f"{out_dir / MODEL}: wrong export, {why}: {int((~(off <= SCORE_LIMIT)).sum())} of"
            f" {len(off)} points differ from what was trained by more than {SCORE_LIMIT:g}, most"
            f" of all {picture} {point.id} by {off[worst]:.3g}"
        )
    true, _ = reference.says(golden)
    expected = np.array([image.scores for image in model.package.golden.images])
    difference = float(np.abs(expected - true).max())
    if not difference <= SCORE_LIMIT:
        raise DataError(
            f"{out_dir}: the golden scores differ from what was trained by {difference:.3g}"
        )
    unusual, wanted = seen.ood[MODEL], seen.ood["torch"]
    if wanted is not None:
        if unusual is None:
            raise DataError(f"{out_dir / MODEL}: wrong export, no out-of-distribution score")
        share = _ood_shares(unusual, wanted)
        if not (share <= OOD_LIMIT).all():
            raise DataError(
                f"{out_dir / MODEL}: wrong export, the out-of-distribution score differs from what"
                f" was fitted by up to {float(np.nanmax(share)):.3g} of it"
            )


def _judge_all(seen: _Seen, name: str, package: Package) -> list[Judgement]:
    unusual = seen.ood[name]
    count = len(seen.places)
    oods: list[float | None] = [None] * count if unusual is None else list(unusual.tolist())
    rows = seen.scores[name].tolist()
    classes, policy = package.manifest.class_names, package.policy
    return [judge(row, classes, policy, ood) for row, ood in zip(rows, oods, strict=True)]


def _flips(seen: _Seen, name: str, package: Package) -> list[int]:
    before, after = (_judge_all(seen, side, package) for side in ("torch", name))
    pairs = zip(before, after, strict=True)
    return [i for i, (b, a) in enumerate(pairs) if b.verdict is not a.verdict]


def _check_flips(seen: _Seen, turned: list[int], package: Package) -> None:
    """A verdict may turn only within the limit of a threshold."""
    policy = package.policy
    limits = [
        policy.ok_min if name == policy.ok_class else policy.nok_min[name]
        for name in package.manifest.class_names
    ]
    for i in turned:
        near = bool((np.abs(seen.scores["torch"][i] - limits) <= SCORE_LIMIT).any())
        unusual = seen.ood["torch"]
        if policy.ood_max is not None and unusual is not None:
            distance = abs(float(unusual[i]) - policy.ood_max) / max(policy.ood_max, 1.0)
            near = near or distance <= OOD_LIMIT
        if not near:
            picture, point = seen.places[i]
            raise DataError(f"{package.path}: {picture} {point.id}: the verdict turned")


def _figures(seen: _Seen, name: str, turned: list[int], package: Package) -> GraphFigures:
    ok_class = package.manifest.ok_class
    before, after = (_judge_all(seen, side, package) for side in ("torch", name))
    ok = package.manifest.class_names.index(ok_class)
    counted = [
        i for i, (_, p) in enumerate(seen.places) if p.label is not None and not p.borderline
    ]
    defective = np.array([seen.places[i][1].label != ok_class for i in counted], bool)
    passed = np.array([after[i].verdict is Verdict.OK for i in counted], bool)
    scores = seen.scores[name]
    return GraphFigures(
        graph=name,
        sha256=sha256(package.content[name]),
        worst=float(np.abs(scores - seen.scores["torch"]).max()),
        flips=len(turned),
        listed=tuple(
            Flip(
                picture=seen.places[i][0],
                point=seen.places[i][1].id,
                label=seen.places[i][1].label,
                before=before[i].verdict,
                after=after[i].verdict,
                score_before=float(seen.scores["torch"][i, ok]),
                score_after=float(scores[i, ok]),
            )
            for i in turned[:LISTED]
        ),
        escapes=rate(int((defective & passed).sum()), int(defective.sum())),
        overkill=rate(int((~defective & ~passed).sum()), int((~defective).sum())),
        auroc=auroc(1 - scores[counted, ok], defective),
    )


def auroc(scores: Array, positive: npt.NDArray[np.bool_]) -> float | None:
    """Probability that a positive scores higher than a negative, ties counting half (Mann and
    Whitney, 1947); None where one of the two is missing."""
    many, others = int(positive.sum()), int((~positive).sum())
    if not many or not others:
        return None
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - many * (many + 1) / 2) / (many * others))


def _against(fp32: GraphFigures, int8: GraphFigures) -> list[str]:
    """Why the 8-bit graph must not be released; empty where it may."""
    why = []
    if fp32.auroc is None or int8.auroc is None:
        return ["the test has not both good and defective points: nothing shows what 8 bits cost"]
    for what, found in (("defective", int8.escapes), ("good", int8.overkill)):
        if found.trials < FEWEST:
            why.append(f"only {found.trials} {what} test points, {FEWEST} are needed to compare")
    if int8.escapes.errors / int8.escapes.trials > fp32.escapes.upper:
        why.append(
            f"escapes {int8.escapes.errors} of {int8.escapes.trials}, above fp32's bound"
            f" {fp32.escapes.upper:.2%}"
        )
    if int8.overkill.errors / int8.overkill.trials > fp32.overkill.upper:
        why.append(
            f"overkill {int8.overkill.errors} of {int8.overkill.trials}, above fp32's bound"
            f" {fp32.overkill.upper:.2%}"
        )
    if not fp32.auroc - int8.auroc <= AUROC_LIMIT:
        why.append(f"AUROC {int8.auroc:.4f}, fp32 has {fp32.auroc:.4f}")
    if not np.isfinite(int8.worst):
        why.append("some scores are no numbers")
    return why


def _golden_escapes(models: dict[str, Model], golden: Frame, package: Package) -> list[str]:
    """Golden pictures that only the 8-bit graph calls OK."""
    classes, policy = package.manifest.class_names, package.policy
    verdicts = [
        [
            judge(row, classes, policy, ood).verdict
            for row, ood in _in_batches(models[name], golden).rows()
        ]
        for name in (MODEL, MODEL_INT8)
    ]
    return [
        f"golden/{image.file} becomes OK"
        for image, fp32, int8 in zip(package.golden.images, *verdicts, strict=True)
        if int8 is Verdict.OK and fp32 is not Verdict.OK
    ]


def _in_batches(model: Model, crops: Frame) -> Outputs:
    parts = [model.outputs(crops[i : i + BATCH]) for i in range(0, len(crops), BATCH)]
    unusual = [part.ood for part in parts if part.ood is not None]
    scores = np.concatenate([part.scores for part in parts])
    return Outputs(scores, np.concatenate(unusual) if unusual else None)


# ---------------------------------------------------------------- what a wrong export did


def _explained(reference: _Reference, model: Model, samples: list[tuple[Frame, Region]]) -> str:
    """What, done to the network's input or output, gives the scores of the graph."""
    spec = reference.spec
    crops = np.stack([crop(frame, region, spec) for frame, region in samples])
    said = model.scores(crops).astype(np.float64)
    logs = np.log(np.maximum(said, FLOOR))
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    if not np.isfinite(said).all():
        return "the graph gives no numbers"
    size = (spec.height, spec.width)

    def off(scores: Array) -> float:
        found = np.abs(np.log(np.maximum(scores, FLOOR)) - logs).max()
        return float(found) if np.isfinite(found) else np.inf

    tried: list[tuple[float, str]] = []

    def attempt(why: str, make: Callable[[], Array]) -> None:
        tried.append((off(make()), why))

    temperature, shift = reference.calibration
    for why, calibration in (
        ("the calibration is missing", Calibration(1.0, 0.0)),
        ("the temperature is missing", Calibration(1.0, shift)),
        ("the shift of the OK class is missing", Calibration(temperature, 0.0)),
    ):
        attempt(why, lambda c=calibration: reference.of_pixels(pixels, c))  # type: ignore[misc]
    if spec.channels == 3:
        attempt("channel order swapped", lambda: reference.of_pixels(pixels.flip(1)))
    for share in (0.25, 0.5, 0.75, 1.5, 2.0):
        inner = (max(1, round(size[0] * share)), max(1, round(size[1] * share)))
        for mode in ("nearest", "bilinear", "area"):

            def there_and_back(inner: tuple[int, int] = inner, mode: str = mode) -> Array:
                return reference.of_pixels(
                    F.interpolate(F.interpolate(pixels, inner, mode=mode), size, mode=mode)
                )

            attempt(f"another resize ({mode}, by way of {inner[1]} x {inner[0]})", there_and_back)
    for how, name in (
        (cv2.INTER_NEAREST, "nearest"),
        (cv2.INTER_LINEAR, "linear"),
        (cv2.INTER_AREA, "area"),
        (cv2.INTER_CUBIC, "cubic"),
    ):

        def resized(how: int = how) -> Array:
            cut = np.stack([_resized(frame, region, spec, how) for frame, region in samples])
            return reference.of_pixels(torch.from_numpy(cut).permute(0, 3, 1, 2).float())

        attempt(f"another resize ({name})", resized)
    worst = off(reference.of_pixels(pixels))
    if min(tried)[0] > SURELY_EXPLAINED * worst:
        best, scale, offset = _normalised(reference, pixels, off)
        why = (
            f"another mean or scale of the pixels: as if they were {scale:.4g} * pixel"
            f" {offset:+.4g} before the network"
        )
        tried.append((best, why))
    best, why = min(tried)
    if best <= EXPLAINED * worst:
        return why
    return "for a reason that is none of: channel order, mean and scale, resize, calibration"


def _resized(frame: Frame, region: Region, spec: CropSpec, how: int) -> Frame:
    """`imaging.crop` with another interpolation."""
    width = max(8, round((1 + 2 * spec.margin) * region.width_px))
    height = max(8, round((1 + 2 * spec.margin) * region.height_px))
    whole = msgspec.structs.replace(spec, width=min(width, 2048), height=min(height, 2048))
    cut = crop(frame, region, whole)
    made = cv2.resize(cut, (spec.width, spec.height), interpolation=how)
    return np.ascontiguousarray(made.reshape(spec.height, spec.width, spec.channels), np.uint8)


def _normalised(
    reference: _Reference, pixels: torch.Tensor, off: Callable[[Array], float]
) -> tuple[float, float, float]:
    """The scale and offset of all pixels that come nearest to the graph's scores."""
    starts = [(1.0, 0.0), (1 / 255, 0.0), (1 / 127.5, -1.0), (1 / 58.0, -2.1), (255.0, 0.0)]

    def score(parameters: Array) -> float:
        scale, offset = float(np.exp(parameters[0])), float(100 * parameters[1])
        return min(off(reference.of_pixels(pixels * scale + offset)), 1e3)

    found = [
        minimize(
            score,
            np.array([np.log(scale), offset / 100]),
            method="Nelder-Mead",
            options={
                "maxfev": 80,
                "initial_simplex": np.array(
                    [
                        [np.log(scale), offset / 100],
                        [np.log(scale) + 0.1, offset / 100],
                        [np.log(scale), offset / 100 + 0.1],
                    ]
                ),
            },
        )
        for scale, offset in starts
    ]
    best = min(found, key=lambda result: float(result.fun))
    return float(best.fun), float(np.exp(best.x[0])), float(100 * best.x[1])


def _array(values: torch.Tensor) -> Array:
    return values.numpy().astype(np.float64)
