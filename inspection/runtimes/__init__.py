"""The only importers of inference engines.

A runtime turns a checked package into a `Model`; `load` also replays the golden pictures, so that
a `Model` in hand is one that gives, on this very machine, the verdicts it was released with.

Adding a runtime is a file here, a line in `RUNTIMES`, and a name in a package's manifest.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from inspection import imaging
from inspection.errors import ImageError, PackageError
from inspection.imaging import CropSpec, Frame
from inspection.messages import Verdict
from inspection.package import Package, architecture
from inspection.policy import judge

RUNTIMES = {"onnxruntime": "inspection.runtimes.onnx:OnnxModel"}

Scores = npt.NDArray[np.float32]


class Model(Protocol):
    """A loaded model."""

    package: Package
    provider: str

    def scores(self, crops: Frame) -> Scores:
        """Class probabilities, ``float32`` of shape (N, classes), for ``uint8`` crops of shape
        (N, height, width, channels). Not checked here: `inspection.policy.judge` does that.
        Raises `PackageError` where the graph fails or answers in another shape."""
        ...


def crop_spec(package: Package) -> CropSpec:
    """What this package's model wants to see of a point."""
    wanted = package.manifest.input
    return CropSpec(
        width=wanted.width, height=wanted.height, channels=wanted.channels, margin=wanted.margin
    )


def load(package: Package, *, threads: int = 1, replay: bool = True) -> Model:
    """A model ready to judge. Raises `PackageError` where the package does not fit this software
    or this machine, and where a golden picture gives another verdict or other scores.

    ``replay=False`` is for the exporter, which makes the golden scores in the first place.
    """
    manifest = package.manifest
    if manifest.imaging_version != imaging.IMAGING_VERSION:
        raise PackageError(
            f"{package.path}: made with imaging version {manifest.imaging_version}, this software"
            f" has {imaging.IMAGING_VERSION}: export the model again"
        )
    if manifest.runtime not in RUNTIMES:
        raise PackageError(
            f"{package.path}: needs runtime {manifest.runtime!r}, which is not known"
        )
    module, name = RUNTIMES[manifest.runtime].split(":")
    make = cast(Callable[[Package, int], Model], getattr(importlib.import_module(module), name))
    model = make(package, threads)
    if replay:
        replay_golden(model)
    return model


def tolerance(package: Package, provider: str) -> float:
    """By how much scores may differ here from the golden ones; `PackageError` where the package
    was never verified on this provider and processor architecture."""
    for entry in package.manifest.verified_on:
        if (entry.provider, entry.architecture) == (provider, architecture()):
            return entry.tolerance
    listed = ", ".join(f"{e.provider} on {e.architecture}" for e in package.manifest.verified_on)
    raise PackageError(
        f"{package.path}: not verified for {provider} on {architecture()}, only for {listed}"
    )


def replay_golden(model: Model) -> float:
    """Judge every golden picture and compare; returns the largest difference of a score.

    Raises `PackageError` naming the first picture whose verdict differs, or whose scores differ by
    more than the manifest's tolerance. The verdict expected is the present policy's on the scores
    on record: a policy may change without a new export.
    """
    package = model.package
    allowed = tolerance(package, model.provider)
    spec = crop_spec(package)
    classes = package.manifest.class_names
    worst = 0.0
    for image in package.golden.images:
        try:
            frame = imaging.decode(package.content[f"golden/{image.file}"])
        except ImageError as error:
            raise PackageError(f"{package.path}: golden/{image.file}: {error}") from None
        crop = frame.reshape(*frame.shape[:2], -1)
        if crop.shape != (spec.height, spec.width, spec.channels):
            raise PackageError(f"{package.path}: golden/{image.file} has the wrong shape")
        scores = model.scores(crop[np.newaxis])[0].tolist()
        got = judge(scores, classes, package.policy)
        wanted = judge(image.scores, classes, package.policy)
        if got.verdict is Verdict.NOT_INSPECTED or wanted.verdict is Verdict.NOT_INSPECTED:
            raise PackageError(
                f"{package.path}: golden/{image.file} gives no valid scores ({scores}):"
                " the model must not be used"
            )
        difference = max(abs(a - b) for a, b in zip(scores, image.scores, strict=True))
        worst = max(worst, difference)
        if difference > allowed or got.verdict is not wanted.verdict:
            raise PackageError(
                f"{package.path}: golden/{image.file} does not reproduce: {got.verdict} instead of"
                f" {wanted.verdict}, scores differ by {difference:.2g} (allowed {allowed:.2g})"
            )
    return worst
