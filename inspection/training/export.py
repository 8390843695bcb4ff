"""A trained network as a model package: graphs, golden pictures, manifest, card, policy.

A graph takes raw ``uint8`` crops and gives calibrated probabilities and, where the network has an
embedding, how unusual each crop is: normalisation, temperature and softmax are in it, so that no
one can forget or repeat them outside.

In order: `export_graphs`, whose outputs the thresholds are fitted on; `write_draft`;
`inspection.training.parity.check_parity`; `finish`, which leaves the 8-bit graph in the package
only where parity released it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import onnx
import torch
from msgspec import UNSET
from torch import nn

from inspection import imaging
from inspection.durable import sync_folder
from inspection.errors import DataError
from inspection.imaging import CropSpec, Frame
from inspection.messages import Severity
from inspection.package import (
    CARD,
    DEFECT_QUANTILES,
    FORMAT,
    GOLDEN_INT8,
    GOLDEN_OF,
    MODEL,
    MODEL_INT8,
    GoldenImage,
    GoldenSet,
    Manifest,
    ModelClass,
    ModelInput,
    VerifiedOn,
    architecture,
    instruction_sets,
    open_package,
    seal,
    sha256,
)
from inspection.policy import Policy, judge
from inspection.runtimes import Graph, Model, Outputs, Signature, load, open_graph
from inspection.training.architectures import Normality, provenance
from inspection.training.calibrate import Calibration, Labels, Limits, log_odds
from inspection.training.card import card
from inspection.training.data import Dataset, Split
from inspection.training.evaluate import Evaluation
from inspection.training.normality import Guarantee
from inspection.training.novelty import Novelty, Unusual, with_embedding
from inspection.training.parity import Parity
from inspection.training.quantise import quantise
from inspection.training.recipe import DatasetDescription, Recipe
from inspection.training.vectors import write_vectors
from inspection.version import code_version

OPSET = 20
INPUT, OUTPUT, OOD, HEAT = "crops", "probabilities", "ood", "heat"
TOLERANCE = 1e-3
"""How far a score may differ on another processor of the same architecture, whose instruction set
adds in another order. A choice, not a measurement: the parity limit of an fp32 export."""
INT8_TOLERANCE = 0.01
"""The same for 8 bits, where a rounding of the last bit may move a value by a whole step."""
INT8_SETS = ("avx512_vnni", "avx_vnni", "asimddp")
"""Instruction sets that multiply bytes without saturating, the fastest first."""
BATCH = 50
GOLDEN_PER_CLASS = 2
CLEAR_OF_LIMITS = 0.1
"""How far a golden picture's scores keep from the thresholds that judge them, in log-odds (where
rounding is alike at all scores), so that no rounding turns its verdict; and by which share from
the limit of unusual ones."""
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
    ood_max: float | None = None
    promised: str = ""
    """What was promised when the thresholds were chosen, and whether it is proven."""
    defect_quantiles: tuple[float, ...] = ()
    """See `calibrate.defect_quantiles`; of the validation points."""
    guarantee: Guarantee | None = None
    """Of a model of good points: what may be said of its limit."""
    anomaly_only: bool = False
    """Whether no defect has shown what the thresholds let pass (`Manifest.release`)."""

    @property
    def classes(self) -> tuple[ModelClass, ...]:
        """In the order of the scores."""
        severity: dict[str, Severity | None] = {
            entry.name: entry.severity for entry in self.description.classes
        }
        names = self.description.class_names
        return tuple(ModelClass(name=name, severity=severity[name]) for name in names)


class Graphs(NamedTuple):
    """What was exported, loaded and ready to score validation crops. ``int8`` is None where it was
    not asked for or, as ``no_int8`` says, cannot be had here."""

    fp32: Graph
    int8: Graph | None
    signature: Signature
    no_int8: str = ""


class Exported(nn.Module):
    """uint8 (N, height, width, channels) to float32 probabilities (N, classes) and, with a
    `Novelty`, how unusual each crop is (N,), or, of a `Normality`, where (N, rows, columns)."""

    def __init__(
        self,
        network: nn.Module,
        calibration: Calibration,
        classes: int,
        novelty: Novelty | None = None,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.unusual = None if novelty is None else Unusual(novelty)
        self.network = network
        self.temperature = calibration.temperature
        shift = torch.zeros(classes)
        shift[0] = calibration.good_shift
        self.register_buffer("shift", shift)

    def forward(self, crops: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        pixels = crops.permute(0, 3, 1, 2).to(torch.float32)
        if isinstance(self.network, Normality):
            logits, heat = self.network.look(pixels)
            return self.calibrated(logits), heat
        if self.unusual is None:
            return self.calibrated(self.network(pixels))
        look = with_embedding(self.network, self.classes)
        if look is None:
            raise DataError("the network has no embedding: export it without a novelty")
        logits, embedding = look(pixels)
        return self.calibrated(logits), self.unusual(embedding)

    @property
    def output_names(self) -> list[str]:
        """In the order of what `forward` returns."""
        if isinstance(self.network, Normality):
            return [OUTPUT, HEAT]
        return [OUTPUT] if self.unusual is None else [OUTPUT, OOD]

    def calibrated(self, logits: torch.Tensor) -> torch.Tensor:
        """Probabilities (N, classes)."""
        return torch.softmax(logits / self.temperature + self.get_buffer("shift"), dim=1)


def claim(out_dir: Path, *, anew: bool = False) -> None:
    """Make a folder for a package; raises `DataError` where it already holds something, because a
    package is never overwritten. ``anew`` empties it instead: of what a kill left behind."""
    try:
        if anew and out_dir.exists():
            shutil.rmtree(out_dir)
        out_dir.mkdir(parents=True, exist_ok=True)
        taken = any(out_dir.iterdir())
    except OSError as error:
        raise DataError(f"{out_dir}: cannot be made: {error.strerror}") from None
    if taken:
        raise DataError(f"{out_dir}: is not empty: name a new folder with --out")


def put_in_place(made: Path, out_dir: Path) -> None:
    """Make the finished package ``made`` the empty folder ``out_dir``: it is there whole or not at
    all, also after a power cut. Raises `DataError`."""
    try:
        for path in made.rglob("*"):
            if path.is_dir():
                sync_folder(path)
                continue
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(made)
        made.replace(out_dir)
        sync_folder(out_dir.parent)
    except OSError as error:
        raise DataError(f"{out_dir}: cannot be put in place: {error.strerror}") from None


def export_graphs(
    network: nn.Module,
    calibration: Calibration,
    spec: CropSpec,
    classes: int,
    out_dir: Path,
    *,
    novelty: Novelty | None = None,
    int8_crops: Frame | None = None,
) -> Graphs:
    """Write the graph to ``out_dir`` and, with ``int8_crops`` (`quantise`), the one in 8 bits.

    Only what can be verified can be released: on a processor that would saturate there is no 8-bit
    graph, and `Graphs.no_int8` says so. Raises `DataError`.
    """
    signature = Signature(
        shape=(spec.height, spec.width, spec.channels),
        classes=classes,
        input_name=INPUT,
        output_name=OUTPUT,
        ood_name=None if novelty is None else OOD,
        heat_name=HEAT if isinstance(network, Normality) else None,
    )
    graph = _to_onnx(Exported(network.to("cpu"), calibration, classes, novelty), spec)
    (out_dir / MODEL).write_bytes(graph)
    fp32 = open_graph(graph, out_dir / MODEL, signature)
    if int8_crops is None:
        return Graphs(fp32, None, signature)
    if int8_instruction_set() is None:
        why = f"this processor has none of {', '.join(INT8_SETS)}, and 8-bit products saturate"
        return Graphs(fp32, None, signature, why)
    small = quantise(graph, int8_crops)
    (out_dir / MODEL_INT8).write_bytes(small)
    return Graphs(fp32, open_graph(small, out_dir / MODEL_INT8, signature), signature)


def int8_instruction_set() -> str | None:
    """What an 8-bit graph is verified on here, or None."""
    able = instruction_sets()
    return next((name for name in INT8_SETS if name in able), None)


def to_onnx(
    network: nn.Module,
    calibration: Calibration,
    recipe: Recipe,
    classes: int,
    novelty: Novelty | None = None,
) -> bytes:
    """The graph as bytes of an ONNX file; N is dynamic."""
    return _to_onnx(Exported(network.to("cpu"), calibration, classes, novelty), recipe.input)


def _to_onnx(exported: Exported, spec: CropSpec) -> bytes:
    module = exported.eval()
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
                output_names=exported.output_names,
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
    network: nn.Module,
    draft: Draft,
    out_dir: Path,
    crops: Frame,
    labels: Labels,
    *,
    graphs: Graphs | None = None,
) -> Model:
    """Write the package without measurements and card, and return its fp32 graph loaded. Golden
    pictures are taken from the validation crops; their scores are those of the runtime, not of
    torch. ``graphs`` are those that `export_graphs` has written to ``out_dir``; without them the
    fp32 graph alone is exported here."""
    if graphs is None:
        graphs = export_graphs(
            network, draft.calibration, draft.recipe.input, len(draft.classes), out_dir
        )
    (out_dir / "golden").mkdir()
    (out_dir / RECIPE).write_bytes(draft.recipe_path.read_bytes())
    (out_dir / DESCRIPTION).write_bytes(draft.description_path.read_bytes())
    split = {name: list(parts) for name, parts in draft.split._asdict().items()}
    (out_dir / SPLIT).write_bytes(msgspec.json.format(msgspec.json.encode(split), indent=2) + b"\n")
    said = {MODEL: outputs(graphs.fp32, crops)}
    if graphs.int8 is not None:
        said[MODEL_INT8] = outputs(graphs.int8, crops)
    policy = _policy(draft)
    chosen = golden_points(list(said.values()), labels, draft, policy)
    _write_golden(out_dir, crops[chosen], said, chosen)
    write_vectors(out_dir, crops[chosen], draft.recipe.input, graphs.fp32)
    _seal(draft, out_dir, {})
    if graphs.int8 is not None:
        load(open_package(out_dir), graph=MODEL_INT8)
    return load(open_package(out_dir), graph=MODEL)


def outputs(graph: Graph, crops: Frame) -> Outputs:
    """What a graph says of any number of crops."""
    parts = [graph.outputs(crops[i : i + BATCH]) for i in range(0, len(crops), BATCH)]
    unusual = [part.ood for part in parts if part.ood is not None]
    scores = np.concatenate([part.scores for part in parts])
    return Outputs(scores, np.concatenate(unusual) if unusual else None)


def golden_points(
    said: Sequence[Outputs], labels: Labels, draft: Draft, policy: Policy
) -> list[int]:
    """For each class, the clearest point whose verdict is right and the least clear one that still
    keeps away from all thresholds; where a class has none such, one that is merely clear. Clear
    for every graph, and the same for all; the first one decides what is right."""
    names = [entry.name for entry in draft.classes]
    limits = np.full(len(names), draft.limits.nok_min)
    limits[0] = draft.limits.ok_min
    clear = np.ones(len(labels), bool)
    right_found: list[str] = []  # of the first graph
    for outputs in said:
        odds = log_odds(outputs.scores.astype(np.float64))
        clear &= np.abs(odds - log_odds(limits)).min(axis=1) > CLEAR_OF_LIMITS
        found = [judge(row, names, policy, ood).finding for row, ood in outputs.rows()]
        right_found = right_found or found
        clear &= np.array(found) == np.array(right_found)
        if len(names) > 2:  # the class named must not hang on rounding either
            first, second = np.sort(odds[:, 1:], axis=1)[:, :-3:-1].T
            clear &= (first - second > CLEAR_OF_LIMITS) | np.array([not name for name in found])
        if policy.ood_max is not None and outputs.ood is not None:
            clear &= np.abs(outputs.ood / policy.ood_max - 1) > CLEAR_OF_LIMITS
    scores = said[0].scores
    chosen: list[int] = []
    for k in range(len(names)):
        here = [int(i) for i in np.flatnonzero((labels == k) & clear)]
        right = [i for i in here if (right_found[i] or names[0]) == names[k]]
        ranked = sorted(right or here, key=lambda i: -float(scores[i, k]))
        chosen += ranked[:1] + ranked[1:][-(GOLDEN_PER_CLASS - 1) :]
    if not chosen:  # every score lies near a threshold: a model that knows nothing
        chosen = [int(np.argmax(np.abs(log_odds(scores.astype(np.float64))[:, 0])))]
    return chosen


def finish(
    draft: Draft,
    out_dir: Path,
    validation: Evaluation,
    test: Evaluation | None,
    seconds: float,
    *,
    parity: Parity | None = None,
    prefer_int8: bool = False,
    text: str | None = None,
) -> None:
    """Write the card, or ``text`` in its place, and seal the package with what was measured.

    The 8-bit graph stays only where ``parity`` released it; ``prefer_int8`` then makes it what a
    machine runs that can. Raises `DataError` where ``parity`` is of other graphs.
    """
    if parity is not None:
        for measured in (parity.fp32, parity.int8):
            if measured is None:
                continue
            if measured.sha256 != sha256((out_dir / measured.graph).read_bytes()):
                raise DataError(f"{out_dir / measured.graph}: is not the graph that was compared")
    if parity is None or not parity.int8_released:
        (out_dir / MODEL_INT8).unlink(missing_ok=True)
        (out_dir / GOLDEN_INT8).unlink(missing_ok=True)
    weights = provenance(draft.recipe.architecture, draft.recipe.options)
    text = text or card(
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
        promised=draft.promised,
        novelty=draft.ood_max is not None,
    )
    (out_dir / CARD).write_text(text, "utf-8")
    metrics: dict[str, object] = {"validation": _figures(validation)}
    if test is not None:
        metrics["test"] = _figures(test)
    if draft.defect_quantiles:
        metrics[DEFECT_QUANTILES] = list(draft.defect_quantiles)
    if draft.guarantee is not None:
        metrics["guarantee"] = msgspec.to_builtins(draft.guarantee)
    if parity is not None:
        metrics["parity"] = msgspec.to_builtins(parity)
    _seal(draft, out_dir, metrics, prefer_int8=prefer_int8)
    package = open_package(out_dir)
    for graph in {entry.graph for entry in package.manifest.verified_on}:
        load(package, graph=graph)


def _figures(evaluation: Evaluation) -> dict[str, object]:
    figures: dict[str, object] = msgspec.to_builtins(evaluation)
    # Hashes of the draft that was measured, whose graph is the same but whose manifest was not.
    return {k: v for k, v in figures.items() if k not in {"package", "policy"}}


def _write_golden(
    out_dir: Path, crops: Frame, said: Mapping[str, Outputs], chosen: Sequence[int]
) -> None:
    names = []
    for number, picture in enumerate(crops):
        names.append(f"{number:02d}.png")
        pixels = picture[:, :, 0] if picture.shape[2] == 1 else picture
        (out_dir / "golden" / names[-1]).write_bytes(imaging.encode_png(pixels))
    for graph, outputs in said.items():
        rows = list(outputs.rows())
        golden = GoldenSet(
            images=tuple(
                GoldenImage(file=name, scores=tuple(rows[i][0]), ood=rows[i][1])
                for name, i in zip(names, chosen, strict=True)
            )
        )
        data = msgspec.json.format(msgspec.json.encode(golden), indent=2) + b"\n"
        (out_dir / GOLDEN_OF[graph]).write_bytes(data)


def _seal(
    draft: Draft, out_dir: Path, metrics: dict[str, object], *, prefer_int8: bool = False
) -> None:
    recipe, description = draft.recipe, draft.description
    verified = [
        VerifiedOn(
            provider="CPUExecutionProvider", architecture=architecture(), tolerance=TOLERANCE
        )
    ]
    able = int8_instruction_set()
    if (out_dir / MODEL_INT8).is_file():
        if able is None:
            raise DataError(f"{out_dir / MODEL_INT8}: cannot be verified on this processor")
        small = VerifiedOn(
            provider="CPUExecutionProvider",
            architecture=architecture(),
            tolerance=INT8_TOLERANCE,
            graph=MODEL_INT8,
            instruction_set=able,
        )
        verified.insert(0 if prefer_int8 else 1, small)
    outputs = {entry.name for entry in onnx.load(out_dir / MODEL).graph.output}
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
        ood_name=OOD if OOD in outputs else None,
        heat_name=HEAT if HEAT in outputs else UNSET,
        release="anomaly-only" if draft.anomaly_only else UNSET,
        imaging_version=recipe.input.imaging,
        data_hash=draft.dataset.sha256,
        recipe_hash=_hash_of(draft.recipe_path, draft.description_path),
        code_version=code_version(),
        created=_now(),
        metrics=metrics,
        licences={
            "data": f"{description.licence}: {description.source}",
            "weights": provenance(recipe.architecture, recipe.options)
            or "trained from the data alone",
        },
        verified_on=tuple(verified),
        files={},
    )
    seal(out_dir, manifest, _policy(draft))


def _policy(draft: Draft) -> Policy:
    recipe, description = draft.recipe, draft.description
    return Policy(
        version=1,
        package="0" * 64,  # seal knows
        ok_class=description.ok_class,
        ok_min=draft.limits.ok_min,
        nok_min=dict.fromkeys(description.class_names[1:], draft.limits.nok_min),
        ood_max=draft.ood_max,
        author="inspection train",
        created=_now(),
        why=draft.promised[:500]
        if draft.guarantee is not None
        else f"fitted on {len(draft.split.validation)} validation parts"
        + (
            f" by cost: {draft.promised}"
            if draft.promised
            else f" for escapes : overkill = {recipe.thresholds.escapes} :"
            f" {recipe.thresholds.overkill}"
        ),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _hash_of(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
