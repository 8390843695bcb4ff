"""From a recipe to a model package: read, split, fit, calibrate, choose thresholds, export, test.

`train` is what the command calls, and what a cross-validation calls once a fold. The test parts
are looked at once, at the end, by the exported package in its runtime: what is measured is what
will run.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from inspection.errors import DataError, RecipeError
from inspection.imaging import Frame
from inspection.training import calibrate, export
from inspection.training.architectures import CellClassifier, build
from inspection.training.data import (
    Dataset,
    Picture,
    Split,
    read_dataset,
    split_parts,
)
from inspection.training.evaluate import Evaluation, measure
from inspection.training.recipe import (
    DatasetDescription,
    Fit,
    Recipe,
    Sampling,
    read_description,
    read_recipe,
)
from inspection.training.sampling import (
    IGNORE,
    Batch,
    PointSampler,
    Sampler,
    WindowSampler,
    points_of,
)
from inspection.training.torch_setup import use_threads

log = logging.getLogger(__name__)

DEFECT_CELL_WEIGHT = 3.0
"""Few cells are defective even in a batch full of defects."""
LARGEST_GRADIENT = 5.0
MEASURE_BETA = 0.1
"""Errors of a measure up to this share of its limit count squared, larger ones by themselves."""
WARM_UP_STEPS = 60
SMALLEST_RATE = 0.005
"""Of the learning rate, at the end."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """A new package, what it did on its validation and test parts, and the split it was made
    with. ``test`` is None where no part was left for it."""

    path: Path
    split: Split
    validation: Evaluation
    test: Evaluation | None
    seconds: float


def train(
    recipe: Path,
    data_dir: Path,
    out_dir: Path,
    *,
    test_parts: Collection[str] | None = None,
    progress: Progress = log.info,
) -> Trained:
    """Train by the recipe file on the data below ``data_dir`` and write the package ``out_dir``,
    which must be new or empty.

    ``test_parts``, where given, are held out completely and become the test split, in place of
    the description's share. Raises `RecipeError` and `DataError`, naming file and field.
    """
    begun = time.monotonic()
    export.claim(out_dir)
    told, description_path, description = read_both(recipe)
    use_threads(told.fit.threads)
    torch.manual_seed(told.seed)
    network = build(told.architecture, len(description.class_names), told.input, told.options)
    dataset = read_dataset(description, data_dir)
    for warning in dataset.warnings:
        progress(f"warning: {warning}")
    for unreadable in dataset.unreadable:
        progress(f"unreadable, not used: {unreadable.path}: {unreadable.why}")
    split = split_parts(dataset, description.split, test_parts)
    progress(
        f"{len(dataset.pictures)} pictures of {len(dataset.parts)} parts:"
        f" {len(split.train)} to train, {len(split.validation)} to validate,"
        f" {len(split.test)} to test; {len(dataset.unreadable)} unreadable"
    )
    pictures = dataset.of(split.train)
    sampler = _sampler(dataset, pictures, told, network)
    crops, labels = points_of(dataset, dataset.of(split.validation), told.input)

    def watch(network: nn.Module) -> str:
        logits = _logits(network, crops)
        scores = calibrate.probabilities(logits, calibrate.calibrate(logits, labels))
        limits = calibrate.choose_limits(scores, labels, told.thresholds)
        bad, ok = labels > 0, scores[:, 0] >= limits.ok_min
        return (
            f"validation: {np.count_nonzero(bad & ok)} of {np.count_nonzero(bad)} escape,"
            f" {np.count_nonzero(~bad & ~ok)} of {np.count_nonzero(~bad)} good ones not OK"
        )

    network = fit(network, sampler, told, progress, watch)
    logits = _logits(network, crops)
    calibration = calibrate.calibrate(logits, labels)
    scores = calibrate.probabilities(logits, calibration)
    limits = calibrate.choose_limits(scores, labels, told.thresholds)
    progress(
        f"temperature {calibration.temperature:.3f}, good shift {calibration.good_shift:+.3f};"
        f" OK from {limits.ok_min:.6f}, NOK from {limits.nok_min:.6f}"
    )
    draft = export.Draft(
        recipe=told,
        recipe_path=recipe,
        description=description,
        description_path=description_path,
        dataset=dataset,
        split=split,
        calibration=calibration,
        limits=limits,
        precision=_precision(told.fit),
    )
    model = export.write_draft(network, draft, out_dir, crops, labels)
    validation = measure(model, dataset, split.validation)
    test = measure(model, dataset, split.test) if split.test else None
    seconds = time.monotonic() - begun
    export.finish(draft, out_dir, validation, test, seconds)
    return Trained(out_dir, split, validation, test, seconds)


def read_both(recipe: Path) -> tuple[Recipe, Path, DatasetDescription]:
    """A recipe, and the description it names with its path; what they say must fit together."""
    told = read_recipe(recipe)
    path = (recipe.parent / told.dataset).resolve()
    description = read_description(path)
    if told.synthesis is not None:
        for kind in ("hole", "notch", "cut", "island", "bump", "bridge"):
            name = getattr(told.synthesis.labels, kind)
            if name not in description.class_names[1:]:
                raise RecipeError(
                    f"{recipe}: synthesis.labels.{kind}: {name!r} is no defect class of {path}"
                )
    if told.sampling.kind == "windows" and description.tiles is None:
        raise RecipeError(f'{recipe}: sampling.kind: "windows" needs a [tiles] table in {path}')
    return told, path, description


def fit(
    network: nn.Module,
    sampler: Sampler,
    recipe: Recipe,
    progress: Progress,
    watch: Callable[[nn.Module], str] | None = None,
) -> nn.Module:
    """Optimise the network in place; returns the averaged one, ready to judge. Ten times on the way
    ``watch`` is shown the average and what it says is told.

    Same seed, same machine, same number of threads: same weights. A loss that is no number ends
    it with `DataError`, because every later weight would be none either.
    """
    settings = recipe.fit
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    average = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    rng = np.random.default_rng(recipe.seed + 1)
    half = _precision(settings) == "bfloat16"
    square = recipe.input.width == recipe.input.height
    for step in range(settings.steps):
        rate = settings.learning_rate * _schedule(step, settings.steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = sampler.draw()
        crops, targets, cells, zones = _turned(batch, rng, square=square)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss, losses = _loss(
                network, crops, targets, cells, zones, batch.measures, recipe.sampling
            )
        if not math.isfinite(float(loss.detach())):
            raise DataError(
                f"training diverged at step {step}: lower fit.learning_rate, or check the data"
            )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        _follow(average, network, min(settings.averaging, (1 + step) / (10 + step)))
        sampler.learn(losses)
        if (step + 1) % max(1, settings.steps // 10) == 0:
            seen = "" if watch is None else f"; {watch(average)}"
            progress(f"step {step + 1} of {settings.steps}, loss {float(loss.detach()):.3f}{seen}")
    return average


def _sampler(
    dataset: Dataset, pictures: Sequence[Picture], recipe: Recipe, network: nn.Module
) -> Sampler:
    cells = isinstance(network, CellClassifier) and recipe.sampling.cells > 0
    stride = network.stride if cells and isinstance(network, CellClassifier) else None
    if recipe.sampling.kind == "points":
        return PointSampler(dataset, pictures, recipe, stride)
    return WindowSampler(dataset, pictures, recipe, stride)


def _loss(
    network: nn.Module,
    crops: torch.Tensor,
    targets: torch.Tensor,
    cells: torch.Tensor | None,
    zones: torch.Tensor | None,
    measures: npt.NDArray[np.float32] | None,
    sampling: Sampling,
) -> tuple[torch.Tensor, npt.NDArray[np.float32]]:
    """The loss of a batch and of each of its points. Sums are in float32 in any precision."""
    extra = torch.zeros(())
    if isinstance(network, CellClassifier) and cells is not None:
        look = network.look(crops)
        logits, grid = look.logits.float(), look.cells.float()
        # The outermost cells see less than half of their surroundings.
        inner, wanted = grid[:, :, 1:-1, 1:-1], cells[:, 1:-1, 1:-1]
        each = F.cross_entropy(inner, wanted, ignore_index=IGNORE, reduction="none")
        weight = torch.where(wanted > 0, DEFECT_CELL_WEIGHT, 1.0)
        extra = sampling.cells * (each * weight).mean()
        if look.measures is not None and measures is not None and sampling.measures > 0:
            true = torch.from_numpy(measures)
            known = ~true.isnan()
            if known.any():  # the mean of nothing is no number
                error = F.smooth_l1_loss(
                    look.measures.float()[known], true[known], beta=MEASURE_BETA
                )
                extra = extra + sampling.measures * error
        if look.zones is not None and zones is not None and sampling.zones > 0:
            shares = F.binary_cross_entropy_with_logits(look.zones.float(), zones)
            extra = extra + sampling.zones * shares
    else:
        logits = network(crops).float()
    losses = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="none")
    counted = (targets != IGNORE).sum().clamp(min=1)
    return losses.sum() / counted + extra, losses.detach().numpy()


def _turned(
    batch: Batch, rng: np.random.Generator, *, square: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """A batch as tensors, in one of the eight symmetries of the square (four, if it is none)."""
    symmetry = int(rng.integers(8 if square else 4))

    def turned(values: torch.Tensor) -> torch.Tensor:
        for bit, axis in ((1, -1), (2, -2)):
            if symmetry & bit:
                values = values.flip(axis)
        return values.transpose(-1, -2) if symmetry & 4 else values

    crops = turned(torch.from_numpy(batch.crops).permute(0, 3, 1, 2))
    return (
        crops.float().contiguous(memory_format=torch.channels_last),
        torch.from_numpy(batch.targets),
        None if batch.cells is None else turned(torch.from_numpy(batch.cells)),
        None if batch.zones is None else turned(torch.from_numpy(batch.zones)).float() / 255,
    )


def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for mean, new in zip(
            average.state_dict().values(), network.state_dict().values(), strict=True
        ):
            if mean.dtype.is_floating_point:
                mean.lerp_(new, 1 - decay)
            else:
                mean.copy_(new)


def _schedule(step: int, steps: int) -> float:
    """Share of the learning rate: a linear warm-up, then a cosine (Loshchilov and Hutter, 2017)."""
    warm = min(1.0, (step + 1) / min(WARM_UP_STEPS, max(1, steps // 10)))
    return warm * (0.5 * (1 + math.cos(math.pi * step / steps)) + SMALLEST_RATE)


def _precision(settings: Fit) -> str:
    """For "auto", asks the processor: emulated bfloat16 is several times slower than float32."""
    if settings.precision != "auto":
        return settings.precision
    try:
        flags = Path("/proc/cpuinfo").read_text("ascii", "replace")
    except OSError:
        return "float32"
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def _logits(network: nn.Module, crops: Frame) -> calibrate.Array:
    """What the network says of these points, in float32 as it will be exported."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(crops), 64):
            part = torch.from_numpy(crops[start : start + 64]).permute(0, 3, 1, 2).float()
            found.append(network(part).numpy())
    return np.concatenate(found).astype(np.float64)
