"""Verifying a package on another execution provider.

A package says where its scores were verified, and nothing else is run. Another provider is added by
making its golden pictures and its test vectors go through it here, on a machine that has it, and
writing that down in the manifest: of a copy with a version of its own, because the manifest is what
the package's hash is of.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from inspection import imaging, runtimes
from inspection.errors import DataError, ImageError, PackageError
from inspection.messages import ModelRef
from inspection.package import (
    MODEL,
    VECTORS,
    Package,
    VerifiedOn,
    architecture,
    open_package,
    seal,
    sha256,
)
from inspection.policy import UNREADABLE
from inspection.runtimes import PROVIDERS, Model, Preference


class Verified(NamedTuple):
    """How far scores on a provider are from those on record, at most: of the golden pictures, and
    of the test vectors (None where the package has none)."""

    provider: str
    golden: float
    vectors: float | None


def tolerance_of(package: Package) -> float:
    """What the package allows its float32 graph where it was verified first."""
    return next(
        (e.tolerance for e in package.manifest.verified_on if e.graph == MODEL),
        package.manifest.verified_on[0].tolerance,
    )


def verify_on(
    package: Package, short: str, tolerance: float, options: Mapping[str, str] | None = None
) -> Verified:
    """Replay the float32 graph's golden pictures and test vectors on a provider (`PROVIDERS`).

    Raises `PackageError` where the provider cannot be loaded, a verdict differs, or a score by more
    than the tolerance.
    """
    provider = PROVIDERS[short]
    runtimes.check_runtime(package)
    if provider not in (there := runtimes.available(package.manifest.runtime)):
        raise PackageError(
            f"{provider} is not in the ONNX Runtime that is installed here, which has"
            f" {', '.join(there)}: install the build that has it"
        )
    preference = Preference(short, {short: dict(options or {})})
    model = runtimes.make(package, MODEL, provider, preference=preference)
    golden = runtimes.replay_golden(model, tolerance)
    return Verified(provider, golden, replay_vectors(model, tolerance))


def replay_vectors(model: Model, tolerance: float) -> float | None:
    """From frame and region to score, as ``golden/vectors.json`` has it; the largest difference of
    a score, None where the package has no vectors. Raises `PackageError`."""
    # Here, because an edge has no part of the training.
    from inspection.training.vectors import Vectors

    package = model.package
    if VECTORS not in package.content:
        return None
    place = f"{package.path}: {VECTORS}"
    try:
        vectors = msgspec.json.decode(package.content[VECTORS], type=Vectors)
    except UNREADABLE as error:
        raise PackageError(f"{place}: {error}") from None
    spec = runtimes.crop_spec(package)
    worst = 0.0
    for entry in vectors.frames:
        try:
            frame = imaging.decode(package.content[f"golden/{entry.file}"])
            crops = np.stack([imaging.crop(frame, point.region, spec) for point in entry.points])
        except (ImageError, KeyError) as error:
            raise PackageError(f"{place}: {entry.file}: {error}") from None
        said = model.outputs(crops).rows()
        for point, crop, (scores, ood) in zip(entry.points, crops, said, strict=True):
            if sha256(crop.tobytes()) != point.crop:
                raise PackageError(f"{place}: {entry.file}: {point.region} gives another crop")
            off = max(abs(a - b) for a, b in zip(scores, point.scores, strict=True))
            if point.ood is not None:
                share = math.nan if ood is None else abs(ood - point.ood) / max(1.0, point.ood)
                off = max(off, math.inf if math.isnan(share) else share)
            worst = max(worst, off)
            if not off <= tolerance:
                raise PackageError(
                    f"{place}: {entry.file}: {point.region} does not reproduce: scores differ by"
                    f" {off:.2g} (allowed {tolerance:.2g})"
                )
    return worst


def with_provider(
    package: Package, provider: str, tolerance: float, out: Path, version: str
) -> ModelRef:
    """A copy of a package in ``out`` (new) that says it was verified on this provider, too, as the
    last of its entries. It has another hash, hence another version, and no signature.

    Raises `DataError` where ``out`` exists, the version is the old one, or the provider is listed.
    """
    manifest = package.manifest
    entry = VerifiedOn(provider=provider, architecture=architecture(), tolerance=tolerance)
    if out.exists():
        raise DataError(f"{out}: exists already: name a new folder")
    if version == manifest.version:
        raise DataError(f"{version}: give the package with another provider a new version")
    key = (entry.provider, entry.architecture, entry.graph)
    if any((e.provider, e.architecture, e.graph) == key for e in manifest.verified_on):
        raise DataError(f"{package.path}: was verified on {provider} already")
    changed = msgspec.structs.replace(
        manifest, version=version, verified_on=(*manifest.verified_on, entry)
    )
    try:
        for name, data in package.content.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(data)
        seal(out, changed, package.policy)
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise DataError(f"{out}: cannot be written: {error.strerror}") from None
    return open_package(out).ref
