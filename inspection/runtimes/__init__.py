"""The only importers of inference engines.

A runtime turns a checked package into a `Model`; `load` also replays the golden pictures, so that
a `Model` in hand is one that gives, on this very machine, the verdicts it was released with.

Adding a runtime is a file here, a line in `RUNTIMES`, and a name in a package's manifest.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt

from inspection import imaging
from inspection.errors import ImageError, PackageError
from inspection.imaging import CropSpec, Frame, ImagingVersion
from inspection.log import get_logger
from inspection.messages import Verdict
from inspection.package import Package, VerifiedOn, architecture, instruction_sets
from inspection.policy import judge

RUNTIMES = {"onnxruntime": "inspection.runtimes.onnx:OnnxModel"}
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
"""What a configuration calls the execution providers that a manifest may name."""

Scores = npt.NDArray[np.float32]


class Signature(NamedTuple):
    """How a graph is called: raw ``uint8`` crops (N, *shape) in, ``output_name`` (N, classes) and,
    unless they are None, ``ood_name`` (N,) and ``heat_name`` (N, height, width) out, all
    ``float32``."""

    shape: tuple[int, int, int]
    classes: int
    input_name: str
    output_name: str
    ood_name: str | None
    heat_name: str | None = None


class Outputs(NamedTuple):
    """What a graph says of N crops: probabilities (N, classes), how unusual each is (N,), and where
    (N, height, width; 0 to 1), the latter two None where the graph does not say."""

    scores: Scores
    ood: Scores | None
    heat: Scores | None = None

    def rows(self) -> Iterator[tuple[list[float], float | None]]:
        """Point by point, as `inspection.policy.judge` wants it."""
        unusual = [None] * len(self.scores) if self.ood is None else self.ood.tolist()
        yield from zip(self.scores.tolist(), unusual, strict=True)

    def heat_maps(self) -> Iterator[Scores | None]:
        """Point by point: a heat map (height, width), or None where the graph gives none."""
        yield from [None] * len(self.scores) if self.heat is None else self.heat


class Preference(NamedTuple):
    """What a machine would rather run on: a provider by its short name (`PROVIDERS`), to be tried
    before the others that a package was verified on; and each provider's own options, such as a
    cache folder or the number of a device, by short name."""

    provider: str | None = None
    options: Mapping[str, Mapping[str, str]] = {}


NO_PREFERENCE = Preference()


class Graph(Protocol):
    """A loaded graph."""

    def scores(self, crops: Frame) -> Scores:
        """Class probabilities, ``float32`` of shape (N, classes), for ``uint8`` crops of shape
        (N, height, width, channels). Not checked here: `inspection.policy.judge` does that.
        Raises `PackageError` where the graph fails or answers in another shape."""
        ...

    def outputs(self, crops: Frame) -> Outputs:
        """The same with the out-of-distribution scores, where the graph gives them."""
        ...

    def stop(self) -> None:
        """Have the engine end the inference that another thread is in: that raises `PackageError`
        as soon as the engine comes round to look, between two operators. Where none has begun yet
        nothing happens, so whoever waits says it again."""
        ...


class Model(Graph, Protocol):
    """A loaded graph of a package; ``graph`` says which (its file's name)."""

    package: Package
    provider: str
    graph: str


def open_graph(data: bytes, path: Path, signature: Signature, *, threads: int = 1) -> Graph:
    """A graph that no package vouches for, for whoever is making one: thresholds are fitted on what
    it says. ``path`` is where it will lie. Raises `PackageError`."""
    from inspection.runtimes.onnx import OnnxGraph

    return OnnxGraph(data, path, signature, threads)


def crop_spec(package: Package) -> CropSpec:
    """What this package's model wants to see of a point."""
    wanted = package.manifest.input
    return CropSpec(
        width=wanted.width,
        height=wanted.height,
        channels=wanted.channels,
        margin=wanted.margin,
        imaging=cast(ImagingVersion, package.manifest.imaging_version),
    )


def load(
    package: Package,
    *,
    threads: int = 1,
    replay: bool = True,
    graph: str | None = None,
    preference: Preference = NO_PREFERENCE,
) -> Model:
    """A model ready to judge. Raises `PackageError` where the package does not fit this software
    or this machine, and where a golden picture gives another verdict or other scores.

    The entries of the manifest's ``verified_on`` that this machine satisfies say which graph may
    run on which provider: the first that can be loaded does, those of the preferred provider
    before the others; with ``graph`` (a file's name) only that one, or none. Nothing that is not
    listed is ever run. ``replay=False`` is for whoever replays by himself, and for the exporter,
    which makes the golden scores in the first place.
    """
    check_runtime(package)
    entries = entries_here(package, graph)
    wanted = preference.provider
    if wanted is not None:
        entries.sort(key=lambda entry: entry.provider != PROVIDERS[wanted])
        if entries[0].provider != PROVIDERS[wanted]:
            get_logger().warning(
                "provider not used",
                package=str(package.path),
                provider=wanted,
                text="not here, or the package was not verified on it",
                instead=entries[0].provider,
            )
    failed: dict[str, PackageError] = {}
    for entry in entries:
        if entry.provider in failed:
            continue
        try:
            model = make(package, entry.graph, entry.provider, threads, preference)
        except PackageError as error:
            failed[entry.provider] = error
            get_logger().error("provider failed", provider=entry.provider, fault=str(error))
            continue
        if replay:
            replay_golden(model)
        return model
    raise next(iter(failed.values()))


def make(
    package: Package,
    graph: str,
    provider: str,
    threads: int = 1,
    preference: Preference = NO_PREFERENCE,
) -> Model:
    """A graph of a package on one provider, whether or not it was verified there: for whoever
    verifies. Raises `PackageError`."""
    module, name = RUNTIMES[package.manifest.runtime].split(":")
    maker = cast(
        Callable[[Package, int, str, str, Mapping[str, str]], Model],
        getattr(importlib.import_module(module), name),
    )
    short = next((short for short, long in PROVIDERS.items() if long == provider), "")
    return maker(package, threads, graph, provider, preference.options.get(short, {}))


def available(runtime: str) -> tuple[str, ...]:
    """The execution providers that a runtime, as it is installed here, may offer."""
    module = importlib.import_module(RUNTIMES[runtime].split(":")[0])
    return cast(tuple[str, ...], module.available())


def check_runtime(package: Package) -> None:
    """Raises `PackageError` where this software cannot run a package at all."""
    manifest = package.manifest
    if manifest.imaging_version not in imaging.IMAGING_VERSIONS:
        raise PackageError(
            f"{package.path}: made with imaging version {manifest.imaging_version}, this software"
            f" has {' and '.join(imaging.IMAGING_VERSIONS)}: export the model again"
        )
    if manifest.runtime not in RUNTIMES:
        raise PackageError(
            f"{package.path}: needs runtime {manifest.runtime!r}, which is not known"
        )


def verified(package: Package, graph: str | None = None) -> VerifiedOn:
    """The first of `entries_here`."""
    return entries_here(package, graph)[0]


def entries_here(package: Package, graph: str | None = None) -> list[VerifiedOn]:
    """The entries of ``verified_on``, of this graph or of any, that this machine satisfies, in
    their order; `PackageError` where none does."""
    providers = available(package.manifest.runtime)
    able = instruction_sets()
    entries = package.manifest.verified_on
    here = [
        entry
        for entry in entries
        if graph in (None, entry.graph)
        and entry.provider in providers
        and entry.architecture == architecture()
        and (not entry.instruction_set or entry.instruction_set in able)
    ]
    if here:
        return here

    def told(entry: VerifiedOn) -> str:
        needs = f" with {entry.instruction_set}" if entry.instruction_set else ""
        return f"{entry.provider} on {entry.architecture}{needs}"

    listed = [entry for entry in entries if graph in (None, entry.graph)]
    what = f"{package.path}: " + (f"{graph} is " if graph else "")
    if not listed:
        raise PackageError(
            f"{what}not in the package's verified_on, only"
            f" {', '.join(sorted({entry.graph for entry in entries}))}"
        )
    raise PackageError(
        f"{what}not verified for {' or '.join(_known(providers))} on this {architecture()}"
        f" processor, only for {', '.join(map(told, listed))}"
    )


def _known(providers: tuple[str, ...]) -> list[str]:
    return [provider for provider in providers if provider in PROVIDERS.values()]


def replay_golden(model: Model, tolerance: float | None = None) -> float:
    """Judge every golden picture and compare; returns the largest difference of a score.

    Raises `PackageError` naming the first picture whose verdict differs, or whose scores differ by
    more than ``tolerance``, the manifest's for this provider where it is None. The verdict expected
    is the present policy's on the scores on record: a policy may change without a new export.
    """
    package = model.package
    allowed = tolerance
    if allowed is None:
        entries = entries_here(package, model.graph)
        allowed = next(e.tolerance for e in entries if e.provider == model.provider)
    spec = crop_spec(package)
    classes = package.manifest.class_names
    worst = 0.0
    for image in package.golden_of(model.graph).images:
        try:
            frame = imaging.decode(package.content[f"golden/{image.file}"])
        except ImageError as error:
            raise PackageError(f"{package.path}: golden/{image.file}: {error}") from None
        crop = frame.reshape(*frame.shape[:2], -1)
        if crop.shape != (spec.height, spec.width, spec.channels):
            raise PackageError(f"{package.path}: golden/{image.file} has the wrong shape")
        ((scores, ood),) = model.outputs(crop[np.newaxis]).rows()
        got = judge(scores, classes, package.policy, ood)
        wanted = judge(image.scores, classes, package.policy, image.ood)
        if got.verdict is Verdict.NOT_INSPECTED or wanted.verdict is Verdict.NOT_INSPECTED:
            raise PackageError(
                f"{package.path}: golden/{image.file} gives no valid scores ({scores}):"
                " the model must not be used"
            )
        difference = max(abs(a - b) for a, b in zip(scores, image.scores, strict=True))
        if image.ood is not None:
            # Not between 0 and 1: from 1 on the difference is taken as a share.
            said = math.nan if ood is None else ood
            unusual = abs(said - image.ood) / max(1.0, image.ood)
            difference = max(difference, math.inf if math.isnan(unusual) else unusual)
        worst = max(worst, difference)
        if difference > allowed or got.verdict is not wanted.verdict:
            raise PackageError(
                f"{package.path}: golden/{image.file} does not reproduce: {got.verdict} instead of"
                f" {wanted.verdict}, scores differ by {difference:.2g} (allowed {allowed:.2g})"
            )
    return worst
