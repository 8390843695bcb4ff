"""A trained network as a model package: graph, golden pictures, manifest, card, policy.

The graph takes raw ``uint8`` crops and gives calibrated probabilities: normalisation, temperature
and softmax are in it, so that no one can forget or repeat them outside.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import onnx
import torch
from torch import nn

from inspection import imaging
from inspection.errors import DataError
from inspection.imaging import Frame
from inspection.messages import Severity
from inspection.package import (
    CARD,
    FORMAT,
    GOLDEN,
    MODEL,
    GoldenImage,
    GoldenSet,
    Manifest,
    ModelClass,
    ModelInput,
    Package,
    VerifiedOn,
    architecture,
    open_package,
    seal,
)
from inspection.policy import Policy, judge
from inspection.runtimes import Model, Scores, load
from inspection.training.architectures import provenance
from inspection.training.calibrate import Calibration, Labels, Limits, log_odds
from inspection.training.card import card
from inspection.training.data import Dataset, Split
from inspection.training.evaluate import Evaluation
from inspection.training.recipe import DatasetDescription, Recipe
from inspection.version import code_version

OPSET = 20
INPUT, OUTPUT = "crops", "probabilities"
TOLERANCE = 1e-3
"""How far a score may differ on another processor of the same architecture, whose instruction set
adds in another order. A choice, not a measurement: the parity limit of an fp32 export."""
GOLDEN_PER_CLASS = 2
CLEAR_OF_LIMITS = 0.1
"""How far a golden picture's scores keep from the thresholds that judge them, in log-odds (where
rounding is alike at all scores), so that no rounding turns its verdict."""
RECIPE, DESCRIPTION, SPLIT = "recipe.toml", "dataset.toml", "split.json"


@dataclass(frozen=True, slots=True)
class Draft:
    """All of a package that is known before its graph is measured."""

    recipe: Recipe
    recipe_path: Path
    description: DatasetDescription
    description_path: Path
    dataset: Dataset
    split: Split
    calibration: Calibration
    limits: Limits
    precision: str

    @property
    def classes(self) -> tuple[ModelClass, ...]:
        """In the order of the scores."""
        severity: dict[str, Severity | None] = {
            entry.name: entry.severity for entry in self.description.classes
        }
        names = self.description.class_names
        return tuple(ModelClass(name=name, severity=severity[name]) for name in names)


class Exported(nn.Module):
    """uint8 (N, height, width, channels) to float32 probabilities (N, classes)."""

    def __init__(self, network: nn.Module, calibration: Calibration, classes: int) -> None:
        super().__init__()
        self.network = network
        self.temperature = calibration.temperature
        shift = torch.zeros(classes)
        shift[0] = calibration.good_shift
        self.register_buffer("shift", shift)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        logits = self.network(crops.permute(0, 3, 1, 2).to(torch.float32))
        shift = self.get_buffer("shift")
        return torch.softmax(logits / self.temperature + shift, dim=1)


def claim(out_dir: Path) -> None:
    """Make the package's folder; raises `DataError` where it already holds something, because a
    package is never overwritten."""
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        taken = any(out_dir.iterdir())
    except OSError as error:
        raise DataError(f"{out_dir}: cannot be made: {error.strerror}") from None
    if taken:
        raise DataError(f"{out_dir}: is not empty: name a new folder with --out")


def to_onnx(network: nn.Module, calibration: Calibration, recipe: Recipe, classes: int) -> bytes:
    """The graph as bytes of an ONNX file; N is dynamic."""
    module = Exported(network.to("cpu"), calibration, classes).eval()
    spec = recipe.input
    example = torch.zeros((2, spec.height, spec.width, spec.channels), dtype=torch.uint8)
    # The exporter talks of its own operator registry and of torchvision; none of it is news.
    chatty = logging.getLogger("torch.onnx")
    level = chatty.level
    chatty.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("points", min=1)},),
                verbose=False,
            )
    finally:
        chatty.setLevel(level)
    if program is None:  # only where the exporter is asked to write a file itself
        raise DataError("the exporter returned no graph")
    graph = program.model_proto
    _forget_the_source(graph)
    data: bytes = graph.SerializeToString()
    return data


def _forget_the_source(model: onnx.ModelProto) -> None:
    """Take out where in which files of this machine each operation came from: no business of
    whoever runs the graph, and different on every machine that makes the same one."""
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        del graph.metadata_props[:]
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
        for value in (*graph.value_info, *getattr(graph, "initializer", ())):
            del value.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]


def write_draft(
    network: nn.Module, draft: Draft, out_dir: Path, crops: Frame, labels: Labels
) -> Model:
    """Write the package without measurements and card, and return it loaded. Golden pictures are
    taken from the validation crops; their scores are those of the runtime, not of torch."""
    graph = to_onnx(network, draft.calibration, draft.recipe, len(draft.classes))
    (out_dir / "golden").mkdir()
    (out_dir / MODEL).write_bytes(graph)
    (out_dir / RECIPE).write_bytes(draft.recipe_path.read_bytes())
    (out_dir / DESCRIPTION).write_bytes(draft.description_path.read_bytes())
    split = {name: list(parts) for name, parts in draft.split._asdict().items()}
    (out_dir / SPLIT).write_bytes(msgspec.json.format(msgspec.json.encode(split), indent=2) + b"\n")
    # A picture is needed to open the package that scores the pictures: any, and no score yet.
    blank = tuple([1.0] + [0.0] * (len(draft.classes) - 1))
    _write_golden(out_dir, crops[:1], [blank])
    _seal(draft, out_dir, {})
    model = load(open_package(out_dir), replay=False)
    scores = np.concatenate([model.scores(crops[i : i + 50]) for i in range(0, len(crops), 50)])
    chosen = golden_points(scores, labels, draft, model.package)
    _write_golden(out_dir, crops[chosen], [tuple(map(float, scores[i])) for i in chosen])
    _seal(draft, out_dir, {})
    return load(open_package(out_dir))


def golden_points(scores: Scores, labels: Labels, draft: Draft, package: Package) -> list[int]:
    """For each class, the clearest point whose verdict is right and the least clear one that still
    keeps away from all thresholds; where a class has none such, one that is merely clear."""
    names = [entry.name for entry in draft.classes]
    odds = log_odds(scores.astype(np.float64))
    limits = np.full(len(names), draft.limits.nok_min)
    limits[0] = draft.limits.ok_min
    clear = np.abs(odds - log_odds(limits)).min(axis=1) > CLEAR_OF_LIMITS
    found = [judge(row, names, package.policy).finding for row in scores.tolist()]
    if len(names) > 2:  # the class named must not hang on rounding either
        first, second = np.sort(odds[:, 1:], axis=1)[:, :-3:-1].T
        clear &= (first - second > CLEAR_OF_LIMITS) | np.array([not name for name in found])
    chosen: list[int] = []
    for k in range(len(names)):
        here = [int(i) for i in np.flatnonzero((labels == k) & clear)]
        right = [i for i in here if (found[i] or names[0]) == names[k]]
        ranked = sorted(right or here, key=lambda i: -float(scores[i, k]))
        chosen += ranked[:1] + ranked[1:][-(GOLDEN_PER_CLASS - 1) :]
    if not chosen:  # every score lies near a threshold: a model that knows nothing
        chosen = [int(np.argmax(np.abs(odds[:, 0])))]
    return chosen


def finish(
    draft: Draft,
    out_dir: Path,
    validation: Evaluation,
    test: Evaluation | None,
    seconds: float,
) -> None:
    """Write the card and seal the package with what was measured."""
    weights = provenance(draft.recipe.architecture, draft.recipe.options)
    text = card(
        draft.recipe,
        draft.dataset,
        draft.split,
        draft.calibration,
        draft.limits,
        validation,
        test,
        weights=weights,
        precision=draft.precision,
        seconds=seconds,
    )
    (out_dir / CARD).write_text(text, "utf-8")
    metrics: dict[str, object] = {"validation": _figures(validation)}
    if test is not None:
        metrics["test"] = _figures(test)
    _seal(draft, out_dir, metrics)
    load(open_package(out_dir))


def _figures(evaluation: Evaluation) -> dict[str, object]:
    figures: dict[str, object] = msgspec.to_builtins(evaluation)
    # Hashes of the draft that was measured, whose graph is the same but whose manifest was not.
    return {k: v for k, v in figures.items() if k not in {"package", "policy"}}


def _write_golden(out_dir: Path, crops: Frame, scores: Sequence[tuple[float, ...]]) -> None:
    for old in (out_dir / "golden").iterdir():
        old.unlink()
    images = []
    for number, (picture, expected) in enumerate(zip(crops, scores, strict=True)):
        name = f"{number:02d}.png"
        pixels = picture[:, :, 0] if picture.shape[2] == 1 else picture
        (out_dir / "golden" / name).write_bytes(imaging.encode_png(pixels))
        images.append(GoldenImage(file=name, scores=expected))
    golden = msgspec.json.encode(GoldenSet(images=tuple(images)))
    (out_dir / GOLDEN).write_bytes(msgspec.json.format(golden, indent=2) + b"\n")


def _seal(draft: Draft, out_dir: Path, metrics: dict[str, object]) -> None:
    recipe, description = draft.recipe, draft.description
    now = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = Manifest(
        format=FORMAT,
        name=recipe.name,
        version=recipe.version,
        task="classifier",
        runtime="onnxruntime",
        classes=draft.classes,
        input=ModelInput(
            width=recipe.input.width,
            height=recipe.input.height,
            channels=recipe.input.channels,
            margin=recipe.input.margin,
        ),
        input_name=INPUT,
        output_name=OUTPUT,
        imaging_version=imaging.IMAGING_VERSION,
        data_hash=draft.dataset.sha256,
        recipe_hash=_hash_of(draft.recipe_path, draft.description_path),
        code_version=code_version(),
        created=now,
        metrics=metrics,
        licences={
            "data": f"{description.licence}: {description.source}",
            "weights": provenance(recipe.architecture, recipe.options)
            or "trained from the data alone",
        },
        verified_on=(
            VerifiedOn(
                provider="CPUExecutionProvider", architecture=architecture(), tolerance=TOLERANCE
            ),
        ),
        files={},
    )
    policy = Policy(
        version=1,
        package="0" * 64,  # seal knows
        ok_class=description.ok_class,
        ok_min=draft.limits.ok_min,
        nok_min=dict.fromkeys(description.class_names[1:], draft.limits.nok_min),
        author="inspection train",
        created=now,
        why=f"fitted on {len(draft.split.validation)} validation parts for escapes :"
        f" overkill = {recipe.thresholds.escapes} : {recipe.thresholds.overkill}",
    )
    seal(out_dir, manifest, policy)


def _hash_of(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
