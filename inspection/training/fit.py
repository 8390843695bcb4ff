"""From a recipe to a model package: read, split, fit, calibrate, choose thresholds, export, test.

`train` is what the command calls, and what a cross-validation calls once a fold. The test parts
are looked at once, at the end, by the exported package in its runtime: what is measured is what
will run.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_fabric.wrappers import _FabricModule
from torch import nn

from inspection.errors import DataError, RecipeError
from inspection.imaging import Frame
from inspection.training import calibrate, export, good_alone
from inspection.training.architectures import CellClassifier, Normality, build, pretrained
from inspection.training.data import (
    Dataset,
    Picture,
    Split,
    check_split,
    read_dataset,
    split_parts,
)
from inspection.training.defaults import default_recipe, write_toml
from inspection.training.discover import describe
from inspection.training.duplicates import check_leaks, join_twins
from inspection.training.evaluate import (
    Evaluation,
    Judged,
    judge_pictures,
    measure,
    summarise,
)
from inspection.training.novelty import choose_ood_max, fit_novelty
from inspection.training.parity import OOD_LIMIT, check_parity, ood_difference, shots
from inspection.training.promise import Promise, Proof, choose, prove
from inspection.training.quantise import FEWEST_CROPS
from inspection.training.recipe import (
    ANOMALY,
    GOOD_ALONE,
    DatasetDescription,
    Fit,
    Recipe,
    Sampling,
    one_kind_of_defect,
    read_description,
    read_recipe,
)
from inspection.training.report import write_report
from inspection.training.report_numbers import Prices
from inspection.training.sampling import (
    IGNORE,
    Batch,
    PointSampler,
    Sampler,
    WindowSampler,
    points_of,
)
from inspection.training.state import State
from inspection.training.torch_setup import use_threads

log = logging.getLogger(__name__)

CPU = torch.device("cpu")

DEFECT_CELL_WEIGHT = 3.0
"""Few cells are defective even in a batch full of defects."""
CALIBRATION_SHARE, CALIBRATION_POINTS = 0.1, 1000
"""Of the training parts, set aside for the ranges of an 8-bit graph: a share of them, or so many as
have about so many points, where that is less."""
LARGEST_GRADIENT = 5.0
MEASURE_BETA = 0.1
"""Errors of a measure up to this share of its limit count squared, larger ones by themselves."""
WARM_UP_STEPS = 60
UNFINISHED = "package"
"""In a training's own folder: the package while it is being made."""
SMALLEST_RATE = 0.005
"""Of the learning rate, at the end."""

Progress = Callable[[str], None]


class Seen(NamedTuple):
    """What a check says of the average: the mean loss on the validation parts, which decides when
    to stop, figures by name, and a line for a person."""

    loss: float
    figures: dict[str, float]
    text: str


@dataclass(frozen=True, slots=True)
class Trained:
    """A new package, what it did on its validation and test parts, and the split it was made
    with. ``test`` is None where no part was left for it."""

    path: Path
    ok_class: str
    split: Split
    validation: Evaluation
    test: Evaluation | None
    seconds: float


def train(
    recipe: Path | None,
    data_dir: Path,
    out_dir: Path,
    *,
    test_parts: Collection[str] | None = None,
    ok: str | None = None,
    part: str | None = None,
    progress: Progress = log.info,
    fabric: Fabric | None = None,
) -> Trained:
    """Train on the data below ``data_dir`` and write the package ``out_dir``, which must be new or
    empty. A training that was killed goes on from ``OUT_DIR.training/``.

    Without ``recipe`` one is chosen by what the data are (`defaults`), and where a recipe names no
    description, ``ok`` and ``part`` say what the data do not (`discover.describe`).
    ``test_parts``, where given, are held out completely and become the test split, in place of
    the description's share. ``fabric`` says on which devices (`several`); of several processes all
    but the first end in here, by `SystemExit`. Raises `RecipeError` and `DataError`, naming file
    and field.
    """
    begun = time.monotonic()
    fabric = fabric or one_process()
    first = fabric.is_global_zero
    if not first:
        progress = _silent
    if first:
        export.claim(out_dir)
    aside = out_dir.with_name(f"{out_dir.name}.training")
    task = prepare(recipe, data_dir, aside, ok=ok, part=part, write=first)
    told, description, dataset = task.recipe, task.description, task.dataset
    network = task.network
    if not dataset.guessed and description.layout != "rendered":  # drawn parts are their own
        join_twins(dataset)
    for warning in dataset.warnings:
        progress(f"warning: {warning}")
    for unreadable in dataset.unreadable:
        progress(f"unreadable, not used: {unreadable.path}: {unreadable.why}")
    if isinstance(network, Normality):
        if not first:
            raise SystemExit(0)  # it learns in one pass, which one process does
        return _from_good(task, out_dir, aside, test_parts, progress, begun)
    split = split_parts(dataset, description.split, test_parts)
    if told.export.int8:
        points = sum(map(_labelled, dataset.of(split.train)))
        share = min(CALIBRATION_SHARE, CALIBRATION_POINTS / max(1, points))
        split = check_split(dataset, split.with_calibration(share, dataset.together))
    check_leaks(dataset, split)
    progress(
        f"{len(dataset.pictures)} pictures of {len(dataset.parts)} parts:"
        f" {len(split.train)} to train, {len(split.validation)} to validate,"
        f" {len(split.test)} to test; {len(dataset.unreadable)} unreadable"
    )
    pictures = dataset.of(split.train)
    sampler = _sampler(dataset, pictures, told, network, fabric)
    crops, labels = points_of(dataset, dataset.of(split.validation), told.input)

    def watch(network: nn.Module) -> Seen:
        logits = logits_of(network, crops)
        scores = calibrate.probabilities(logits, calibrate.calibrate(logits, labels))
        limits = calibrate.choose_limits(scores, labels, told.thresholds)
        bad, ok = labels > 0, scores[:, 0] >= limits.ok_min
        escapes, overkill = int((bad & ok).sum()), int((~bad & ~ok).sum())
        defects, good = int(bad.sum()), int((~bad).sum())
        likely = np.maximum(scores[np.arange(len(labels)), labels], calibrate.TINY)
        loss = float(-np.log(likely).mean())
        return Seen(
            loss,
            {
                "validation/loss": loss,
                "validation/escapes": escapes / max(1, defects),
                "validation/overkill": overkill / max(1, good),
            },
            f"validation: {escapes} of {defects} escape, {overkill} of {good} good ones not OK",
        )

    state = State(aside, _fingerprint(task, split, fabric), writes=first)
    with state.until_done():
        network = fit(network, sampler, told, progress, watch, fabric=fabric, state=state)
        if not first:
            raise SystemExit(0)  # what is left to do is done once
        made = aside / UNFINISHED
        export.claim(made, anew=True)
        return _package(
            network, task, split, (crops, labels), (made, out_dir), fabric, progress, begun
        )


def _from_good(
    task: Task,
    out_dir: Path,
    aside: Path,
    test_parts: Collection[str] | None,
    progress: Progress,
    begun: float,
) -> Trained:
    """The same, of a network that learns from good points alone."""
    description = task.description
    made = aside / UNFINISHED
    export.claim(made, anew=True)
    done = good_alone.make(task, made, test_parts, progress, begun)
    export.put_in_place(made, out_dir)
    if done.split.test and done.choice is not None:
        costs = task.recipe.costs
        write_report(
            out_dir,
            task.dataset,
            done.split.test,
            out_dir.with_name(f"{out_dir.name}.report"),
            choice=done.choice,
            prices=Prices(
                miss=costs.miss,
                false_alarm=costs.false_alarm,
                review=costs.review,
                prevalence=costs.prevalence or Prices().prevalence,
            ),
        )
        progress(f"{out_dir.name}.report/report.html: what to read and sign")
    seconds = time.monotonic() - begun
    return Trained(out_dir, description.ok_class, done.split, done.validation, done.test, seconds)


def _package(
    network: nn.Module,
    task: Task,
    split: Split,
    held: tuple[Frame, calibrate.Labels],
    folders: tuple[Path, Path],
    fabric: Fabric,
    progress: Progress,
    begun: float,
) -> Trained:
    """What follows the optimisation: calibration, graphs, thresholds on what these graphs say,
    package, parity, test, report. The package is made in the first of the folders and becomes the
    second in one step, so that there is never half a package."""
    made, out_dir = folders
    told, description, dataset = task.recipe, task.description, task.dataset
    classes, (crops, labels) = len(description.class_names), held
    calibration = calibrate.calibrate(logits_of(network, crops), labels)
    novelty = None
    if told.export.novelty:
        seen = points_of(dataset, dataset.of(split.train), told.input)
        try:
            novelty = fit_novelty(network, classes, seen, held)
        except DataError as error:
            progress(f"warning: no out-of-distribution score: {error}")
    aside = None
    if told.export.int8:
        pictures = dataset.of(split.calibration)
        number = sum(map(_labelled, pictures))
        if number < FEWEST_CROPS:
            progress(
                f"warning: no 8-bit graph: {number} points are set aside for its ranges, it needs"
                f" {FEWEST_CROPS}"
            )
        else:
            aside, _ = points_of(dataset, pictures, told.input)
    graphs = export.export_graphs(
        network, calibration, told.input, classes, made, novelty=novelty, int8_crops=aside
    )
    said = export.outputs(graphs.fp32, crops)
    if novelty is not None:
        off = ood_difference(network, calibration, told.input, classes, novelty, crops, said)
        if off > OOD_LIMIT:
            progress(
                "warning: no out-of-distribution score: in the exported graph it differs by"
                f" {off:.1%} from what was fitted; a network that has learnt little does that"
            )
            novelty = None
            graphs = export.export_graphs(
                network, calibration, told.input, classes, made, int8_crops=aside
            )
            said = export.outputs(graphs.fp32, crops)
    if graphs.no_int8:
        progress(f"warning: no 8-bit graph: {graphs.no_int8}")
    scores = said.scores.astype(np.float64)
    ood_max, held_back = None, None
    if said.ood is not None:
        ood_max = choose_ood_max(said.ood, labels, told.export.unusual)
        held_back = said.ood > ood_max
    promised = ""
    if told.promise is not None:
        others = [] if graphs.int8 is None else [export.outputs(graphs.int8, crops)]
        pictures = dataset.of(split.validation)
        choice = choose(
            scores,
            labels,
            [picture.part for picture in pictures for _ in range(_labelled(picture))],
            told.costs,
            told.promise,
            ood=held_back,
            other_scores=[other.scores.astype(np.float64) for other in others],
        )
        limits = calibrate.Limits(choice.ok_min, choice.nok_min)
        promised = choice.statement
        progress(f"on validation parts: {promised}")
    else:
        limits = calibrate.choose_limits(scores, labels, told.thresholds)
    progress(
        f"temperature {calibration.temperature:.3f}, good shift {calibration.good_shift:+.3f};"
        f" OK from {limits.ok_min:.6f}, NOK from {limits.nok_min:.6f}"
    )
    draft = export.Draft(
        recipe=told,
        recipe_path=task.recipe_path,
        description=description,
        description_path=task.description_path,
        dataset=dataset,
        split=split,
        calibration=calibration,
        limits=limits,
        precision=_precision(told.fit, fabric.device),
        ood_max=ood_max,
        promised=promised,
        defect_quantiles=calibrate.defect_quantiles(scores, labels),
    )
    model = export.write_draft(network, draft, made, crops, labels, graphs=graphs)
    unreadable: list[str] = []
    compared = split.test or split.validation
    parity = check_parity(
        network,
        calibration,
        told.input,
        made,
        shots(dataset.of(compared), unreadable),
        novelty=novelty,
        unreadable=unreadable,
    )
    progress(str(parity))
    validation = measure(model, dataset, split.validation)
    test, proof = None, None
    if split.test:
        judged = list(judge_pictures(model, dataset.of(split.test)))
        test = summarise(
            judged,
            ok_class=description.ok_class,
            package=model.package.ref.package,
            policy=model.package.ref.policy,
            unreadable=len(dataset.unreadable),
        )
        if told.promise is not None:
            proof = _proof(judged, description, limits.ok_min, told.promise)
            if proof is not None:
                progress(f"on test parts: {proof.statement}")
    seconds = time.monotonic() - begun
    export.finish(
        draft,
        made,
        validation,
        test,
        seconds,
        parity=parity,
        prefer_int8=told.export.prefer_int8,
    )
    export.put_in_place(made, out_dir)
    if told.promise is not None and split.test:
        write_report(
            out_dir,
            dataset,
            split.test,
            out_dir.with_name(f"{out_dir.name}.report"),
            choice=proof,
            parity=Said(str(parity)),
            prices=Prices(
                miss=told.costs.miss,
                false_alarm=told.costs.false_alarm,
                review=told.costs.review,
                prevalence=told.costs.prevalence or Prices().prevalence,
            ),
        )
        progress(f"{out_dir.name}.report/report.html: what to read and sign")
    seconds = time.monotonic() - begun
    return Trained(out_dir, description.ok_class, split, validation, test, seconds)


class Said(NamedTuple):
    """A sentence for the report."""

    statement: str


def _proof(
    judged: Sequence[Judged], description: DatasetDescription, ok_min: float, promise: Promise
) -> Proof | None:
    """What the test parts, which nobody chose on, prove of the threshold; None without points."""
    names = list(description.class_names)
    counted = [one for one in judged if one.label is not None and not one.borderline and one.scores]
    if not any(one.label != names[0] for one in counted):
        return None
    return prove(
        np.array([one.scores for one in counted], np.float64),
        np.array([names.index(str(one.label)) for one in counted], np.int64),
        [one.part for one in counted],
        ok_min,
        promise,
    )


def _silent(_: str) -> None:
    """What the first process says is enough."""


def _fingerprint(task: Task, split: Split, fabric: Fabric) -> str:
    """Of everything that shapes a training."""
    digest = hashlib.sha256(msgspec.json.encode((task.recipe, task.description)))
    digest.update(task.dataset.sha256.encode())
    digest.update(repr((split, fabric.world_size, fabric.device.type)).encode())
    return digest.hexdigest()


class Task(NamedTuple):
    """A recipe, the description of its data, the files that say so, the data, and a network that
    has learnt nothing of them yet."""

    recipe: Recipe
    recipe_path: Path
    description: DatasetDescription
    description_path: Path
    dataset: Dataset
    network: nn.Module


def prepare(
    recipe: Path | None,
    data_dir: Path,
    aside: Path,
    *,
    ok: str | None = None,
    part: str | None = None,
    write: bool = True,
) -> Task:
    """Recipe, description and data, those that nobody wrote chosen here and written to ``aside``.
    Raises `RecipeError` and `DataError`."""
    if recipe is not None:
        told = read_recipe(recipe)
        if told.dataset:
            told, description_path, description = read_both(recipe)
            if ok is not None or part is not None:
                raise RecipeError(
                    f"{recipe}: names {description_path}: say there what --ok and --part would"
                )
            if told.architecture in GOOD_ALONE and ANOMALY not in description.class_names:
                description = one_kind_of_defect(description)
                description_path = aside / export.DESCRIPTION
                if write:
                    write_toml(description, description_path)
            network = _built(told, description)  # what is wrong in a recipe is said at once
            dataset = read_dataset(description, data_dir)
            return Task(told, recipe, description, description_path, dataset, network)
    recipe_path, description_path = aside / export.RECIPE, aside / export.DESCRIPTION
    description = describe(data_dir, ok=ok, part=part)
    if recipe is None:
        dataset = read_dataset(description, data_dir)
        told = default_recipe(description, dataset.pictures)
        network = _built(told, description)
    else:
        recipe_path = recipe
        if told.architecture in GOOD_ALONE:
            description = one_kind_of_defect(description)
        network = _built(told, description)
        dataset = read_dataset(description, data_dir)
    if write:
        write_toml(description, description_path)
        if recipe is None:
            write_toml(told, recipe_path)
    return Task(told, recipe_path, description, description_path, dataset, network)


def _built(told: Recipe, description: DatasetDescription) -> nn.Module:
    use_threads(told.fit.threads)
    torch.manual_seed(told.seed)
    return build(told.architecture, len(description.class_names), told.input, told.options)


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
    watch: Callable[[nn.Module], Seen] | None = None,
    *,
    fabric: Fabric | None = None,
    state: State | None = None,
) -> nn.Module:
    """Optimise the network in place; returns the averaged one, ready to judge, on the CPU.

    `Fit.checks` times on the way ``watch`` is shown the average; what it says is told, and decides
    when to stop where the recipe has patience. ``fabric`` says on which devices and in how many
    processes; all of them draw batches of their own and follow the mean gradient. ``state``, where
    given, is written at each check, and where it holds one already, training goes on from there and
    ends as if it had never stopped.

    Same seed, same machine, same number of threads: same weights. A loss that is no number ends
    it with `DataError`, because every later weight would be none either.
    """
    settings = recipe.fit
    fabric = fabric or one_process()
    steps = settings.steps_of(sampler.points)
    network = network.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    average = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(
        _groups(network, settings), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    rates = [group["lr"] for group in optimiser.param_groups]
    rng = np.random.default_rng([recipe.seed + 1, fabric.global_rank])
    if fabric.world_size == 1:
        rng = np.random.default_rng(recipe.seed + 1)
    wrapped, wrapped_optimiser = fabric.setup(network, optimiser)
    if isinstance(network, CellClassifier):
        wrapped.mark_forward_method("look")
    half = _precision(settings, fabric.device) == "bfloat16"
    square = recipe.input.width == recipe.input.height
    every = max(1, steps // settings.checks)
    begun, best, best_loss, waited = 0, None, math.inf, 0
    if state is not None and (held := state.read(fabric.device)) is not None:
        network.load_state_dict(held["network"])
        average.load_state_dict(held["average"])
        optimiser.load_state_dict(held["optimiser"])
        best, best_loss, waited = held["best"], held["best_loss"], held["waited"]
        rng.bit_generator.state = held["rngs"][fabric.global_rank]
        sampler.restore(held["samplers"][fabric.global_rank])
        torch.set_rng_state(held["torch"][fabric.global_rank].cpu())
        begun = held["step"]
        progress(f"going on after step {begun} of {steps}")
    clock = time.monotonic()
    for step in range(begun, steps):
        share = _schedule(step, steps)
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * share
        batch = sampler.draw()
        crops, targets, cells, zones = _turned(batch, rng, fabric.device, square=square)
        with torch.autocast(fabric.device.type, torch.bfloat16, enabled=half):
            loss, losses = _loss(
                wrapped,
                crops,
                targets,
                cells,
                zones,
                batch.measures,
                recipe.sampling,
                settings.smoothing,
            )
        if not math.isfinite(float(loss.detach())):
            raise DataError(
                f"training diverged at step {step}: lower fit.learning_rate, or check the data"
            )
        wrapped_optimiser.zero_grad()
        fabric.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        wrapped_optimiser.step()
        _follow(average, network, min(settings.averaging, (1 + step) / (10 + step)))
        sampler.learn(losses)
        if (step + 1) % every:
            continue
        seen = None if watch is None else watch(average)
        left = (time.monotonic() - clock) / (step + 1 - begun) * (steps - step - 1)
        progress(
            f"step {step + 1} of {steps}, loss {float(loss.detach()):.3f}, {left:.0f} s to go"
            + ("" if seen is None else f"; {seen.text}")
        )
        if settings.patience and seen is not None:
            waited += 1
            if seen.loss < best_loss:
                best, best_loss, waited = copy.deepcopy(average.state_dict()), seen.loss, 0
        stop = bool(fabric.broadcast(settings.patience > 0 and waited >= settings.patience))
        if state is not None:
            figures = {"loss": float(loss.detach()), "rate": optimiser.param_groups[0]["lr"]}
            state.note(step + 1, figures | ({} if seen is None else seen.figures))
            rngs = _gathered(fabric, rng.bit_generator.state)
            samplers = _gathered(fabric, sampler.state())
            torches = _gathered(fabric, torch.get_rng_state())
            if fabric.is_global_zero:
                state.write(
                    {
                        "step": step + 1,
                        "network": network.state_dict(),
                        "average": average.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "best": best,
                        "best_loss": best_loss,
                        "waited": waited,
                        "rngs": rngs,
                        "samplers": samplers,
                        "torch": torches,
                    }
                )
        if stop:
            progress(f"no better for {waited} checks: stopped after step {step + 1} of {steps}")
            break
    if best is not None:
        average.load_state_dict(best)
    return average.cpu()


def one_process() -> Fabric:
    """The CPU of this process alone."""
    return Fabric(accelerator="cpu", devices=1)


def several(devices: int | str, nodes: int, accelerator: str) -> Fabric:
    """As many processes as that, one a device; gradients are averaged by torch.distributed (NCCL on
    GPUs, gloo on CPUs). Raises `DataError` where this machine has no such devices."""
    one = devices in (1, "1") and nodes == 1
    # Heads that a recipe gives no weight are not part of the loss.
    strategy = "auto" if one else DDPStrategy(find_unused_parameters=True)
    try:
        return Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, strategy=strategy)
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise DataError(f"--devices {devices}: {' '.join(str(error).split())}") from None


def _gathered(fabric: Fabric, value: object) -> list[Any]:
    """The value of every process, in the order of their ranks."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(values, value)
    return values


def _groups(network: nn.Module, settings: Fit) -> list[dict[str, Any]]:
    """Parameters with their learning rates: those of a body that was trained before learn slower,
    or not at all."""
    body = {id(parameter) for parameter in pretrained(network)} if settings.body_rate < 1 else set()
    slow = [p for p in network.parameters() if id(p) in body]
    if settings.body_rate == 0:
        for parameter in slow:
            parameter.requires_grad_(False)
        slow = []
    fast = [p for p in network.parameters() if id(p) not in body]
    groups: list[dict[str, Any]] = [{"params": fast, "lr": settings.learning_rate}]
    if slow:
        groups.append({"params": slow, "lr": settings.learning_rate * settings.body_rate})
    return groups


def _sampler(
    dataset: Dataset,
    pictures: Sequence[Picture],
    recipe: Recipe,
    network: nn.Module,
    fabric: Fabric,
) -> Sampler:
    if fabric.world_size > 1:  # the recipe's batch is that of all processes together
        batch = max(2, math.ceil(recipe.fit.batch / fabric.world_size))
        steps = recipe.fit.steps_of(sum(map(_labelled, pictures)))
        fit = msgspec.structs.replace(recipe.fit, batch=batch, steps=steps, epochs=None)
        recipe = msgspec.structs.replace(recipe, fit=fit)
    cells = isinstance(network, CellClassifier) and recipe.sampling.cells > 0
    stride = network.stride if cells and isinstance(network, CellClassifier) else None
    if recipe.sampling.kind == "points":
        return PointSampler(dataset, pictures, recipe, stride, fabric.global_rank)
    return WindowSampler(dataset, pictures, recipe, stride, fabric.global_rank)


def _labelled(picture: Picture) -> int:
    return sum(point.label is not None and not point.borderline for point in picture.points)


def _loss(
    network: nn.Module,
    crops: torch.Tensor,
    targets: torch.Tensor,
    cells: torch.Tensor | None,
    zones: torch.Tensor | None,
    measures: npt.NDArray[np.float32] | None,
    sampling: Sampling,
    smoothing: float = 0.0,
) -> tuple[torch.Tensor, npt.NDArray[np.float32]]:
    """The loss of a batch and of each of its points. Sums are in float32 in any precision."""
    extra = torch.zeros((), device=crops.device)
    plain = network.module if isinstance(network, _FabricModule) else network
    if isinstance(plain, CellClassifier) and cells is not None:
        look = cast(CellClassifier, network).look(crops)
        logits, grid = look.logits.float(), look.cells.float()
        # The outermost cells see less than half of their surroundings.
        inner, wanted = grid[:, :, 1:-1, 1:-1], cells[:, 1:-1, 1:-1]
        each = F.cross_entropy(inner, wanted, ignore_index=IGNORE, reduction="none")
        weight = torch.where(wanted > 0, DEFECT_CELL_WEIGHT, 1.0)
        extra = sampling.cells * (each * weight).mean()
        if look.measures is not None and measures is not None and sampling.measures > 0:
            true = torch.from_numpy(measures).to(crops.device)
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
    losses = F.cross_entropy(
        logits, targets, ignore_index=IGNORE, reduction="none", label_smoothing=smoothing
    )
    counted = (targets != IGNORE).sum().clamp(min=1)
    return losses.sum() / counted + extra, losses.detach().cpu().numpy()


def _turned(
    batch: Batch, rng: np.random.Generator, device: torch.device = CPU, *, square: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """A batch as tensors, in one of the eight symmetries of the square (four, if it is none)."""
    symmetry = int(rng.integers(8 if square else 4))

    def turned(values: torch.Tensor) -> torch.Tensor:
        for bit, axis in ((1, -1), (2, -2)):
            if symmetry & bit:
                values = values.flip(axis)
        return values.transpose(-1, -2) if symmetry & 4 else values

    def there(values: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(values).to(device, non_blocking=True)

    crops = turned(there(batch.crops).permute(0, 3, 1, 2))
    return (
        crops.float().contiguous(memory_format=torch.channels_last),
        there(batch.targets),
        None if batch.cells is None else turned(there(batch.cells)),
        None if batch.zones is None else turned(there(batch.zones)).float() / 255,
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


def _precision(settings: Fit, device: torch.device) -> str:
    """For "auto", asks the processor: emulated bfloat16 is several times slower than float32."""
    if settings.precision != "auto":
        return settings.precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    try:
        flags = Path("/proc/cpuinfo").read_text("ascii", "replace")
    except OSError:
        return "float32"
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def logits_of(network: nn.Module, crops: Frame) -> calibrate.Array:
    """What the network says of these points, in float32 as it will be exported."""
    found = []
    device = next(network.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(crops), 64):
            part = torch.from_numpy(crops[start : start + 64]).to(device)
            found.append(network(part.permute(0, 3, 1, 2).float()).cpu().numpy())
    return np.concatenate(found).astype(np.float64)
