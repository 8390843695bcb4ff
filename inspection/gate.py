"""What a package must prove before it may be released.

A gate file (TOML) limits bounds, never point values: of no escape among 30 defects the bound is
9.5 %, and that is compared. Bounds are computed here from the counts, at the gate's confidence;
bounds that a package states of itself are not believed. ::

    confidence = 0.95            # one-sided, exact (Clopper and Pearson)

    [limits]
    escapes_at_most = 0.01       # of defective points
    overkill_at_most = 0.02      # of good points
    parts_released_at_most = 0.01
    classes.crack = 0.02         # of the points of one class, wrongly called

    [golden]
    escapes = "escapes"          # crops that once got through, PNG as the model sees them

    [signature]
    keys = ["keys/quality.pub"]  # one of these must have signed
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from inspection import imaging
from inspection.config import read_config, resolve
from inspection.errors import ConfigurationError, DataError, ImageError, Problem
from inspection.imaging import Frame
from inspection.messages import Score, Verdict
from inspection.package import GOLDEN_OF, GoldenImage, Package, open_package, read_manifest, seal
from inspection.policy import judge
from inspection.runtimes import Model, crop_spec, load
from inspection.statistics import upper_bound

AtMost = Score

_RATES = (
    "escapes",
    "overkill",
    "parts_with_escape",
    "parts_released",
    "parts_with_overkill",
    "good_parts_held",
)


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Upper limits of upper bounds, as fractions; by the names of an evaluation's rates."""

    escapes_at_most: AtMost
    overkill_at_most: AtMost
    parts_with_escape_at_most: AtMost | None = None
    parts_released_at_most: AtMost | None = None
    parts_with_overkill_at_most: AtMost | None = None
    good_parts_held_at_most: AtMost | None = None
    classes: dict[str, AtMost] = {}


class GoldenGate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``escapes``: a folder, relative to the gate file."""

    escapes: str


class SignatureGate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``keys``: public keys, relative to the gate file."""

    keys: Annotated[tuple[str, ...], Meta(min_length=1)]


class Gate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A gate file."""

    limits: Limits
    confidence: Annotated[float, Meta(ge=0.5, lt=1)] = 0.95
    golden: GoldenGate | None = None
    signature: SignatureGate | None = None


class Count(Struct, frozen=True):
    """Of an evaluation's rate, what is counted; the rest follows from it."""

    errors: int
    trials: int


class Check(Struct, frozen=True, kw_only=True):
    """One demand of a gate and what became of it; ``text`` says both in a line."""

    name: str
    passed: bool
    text: str


def read_gate(path: Path) -> Gate:
    """Read a gate file; raises `ConfigurationError` naming the line that is wrong."""
    gate = read_config(path, Gate)
    if gate.golden is not None and not resolve(path, gate.golden.escapes).is_dir():
        raise ConfigurationError(
            Problem(str(path), None, "golden.escapes", f"no folder {gate.golden.escapes!r} here")
        )
    return gate


def keys_of(path: Path, gate: Gate) -> list[Path]:
    """The public keys of a gate."""
    return [resolve(path, key) for key in gate.signature.keys] if gate.signature else []


def counts(metrics: Mapping[str, object] | None) -> tuple[dict[str, Count], dict[str, Count]]:
    """Rates and classes of an evaluation as a manifest keeps it (``metrics["test"]``), as counts.
    Both are empty where nothing was measured. Raises `DataError` for counts that cannot be."""
    if not metrics:
        return {}, {}
    try:
        rates = {name: msgspec.convert(metrics[name], Count) for name in _RATES if name in metrics}
        classes = msgspec.convert(metrics.get("classes", {}), dict[str, Count])
    except msgspec.ValidationError as error:
        raise DataError(f"the measured figures are not those of an evaluation: {error}") from None
    for name, count in (*rates.items(), *classes.items()):
        if not 0 <= count.errors <= count.trials:
            raise DataError(f"{name}: {count.errors} errors of {count.trials} cannot be")
    return rates, classes


def check_limits(gate: Gate, metrics: Mapping[str, object] | None) -> list[Check]:
    """One check a limit, all of them, in the order of the struct."""
    rates, classes = counts(metrics)
    wanted: list[tuple[str, float, Count | None]] = []
    for name in _RATES:
        limit = getattr(gate.limits, f"{name}_at_most")
        if limit is not None:
            wanted.append((name, limit, rates.get(name)))
    wanted += [
        (f"classes.{name}", limit, classes.get(name))
        for name, limit in sorted(gate.limits.classes.items())
    ]
    return [_check(name, limit, count, gate.confidence) for name, limit, count in wanted]


def _check(name: str, limit: float, count: Count | None, confidence: float) -> Check:
    if count is None or not count.trials:
        return Check(name=name, passed=False, text=f"{name}: nothing measured (limit {limit:.3%})")
    bound = upper_bound(count.errors, count.trials, confidence)
    passed = bound <= limit
    return Check(
        name=name,
        passed=passed,
        text=f"{name}: {count.errors} of {count.trials}, at most {bound:.3%} with"
        f" {confidence:.0%} confidence; limit {limit:.3%}{'' if passed else ' EXCEEDED'}",
    )


# ------------------------------------------------------------------------------- past escapes


def read_escapes(folder: Path) -> dict[str, Frame]:
    """The crops of a folder, ``uint8`` (height, width, channels), by file name. Raises `DataError`
    for an empty folder and for anything in it that is no PNG that can be read."""
    crops: dict[str, Frame] = {}
    try:
        files = sorted(path for path in folder.rglob("*") if not path.is_dir())
        for path in files:
            if path.suffix.lower() != ".png":
                raise DataError(f"{path}: past escapes are PNG crops: remove what is none")
            frame = imaging.decode(path.read_bytes())
            crops[path.relative_to(folder).as_posix()] = frame.reshape(*frame.shape[:2], -1)
    except (OSError, ImageError) as error:
        raise DataError(f"{folder}: {error}") from None
    if not crops:
        raise DataError(f"{folder}: no past escape here: leave [golden] out if there was none yet")
    return crops


def check_escapes(model: Model, escapes: Mapping[str, Frame]) -> list[Check]:
    """One check for each past escape: it is in the package's golden set, pixel by pixel, and this
    model with its policy does not call it OK."""
    package = model.package
    golden = _golden(package)
    spec = crop_spec(package)
    checks = []
    for name, crop in escapes.items():
        what = f"past escape {name}"
        if crop.shape != (spec.height, spec.width, spec.channels):
            shape = "x".join(map(str, crop.shape))
            text = f"is {shape}, the model takes {spec.height}x{spec.width}x{spec.channels}"
            checks.append(Check(name=name, passed=False, text=f"{what}: {text}"))
            continue
        ((scores, ood),) = model.outputs(crop[np.newaxis]).rows()
        verdict = judge(scores, package.manifest.class_names, package.policy, ood).verdict
        wrong = []
        if not any(np.array_equal(crop, picture) for picture in golden):
            wrong.append("is not in the golden set")
        if verdict not in (Verdict.NOK, Verdict.REVIEW):
            wrong.append(f"comes out {verdict}")
        text = " and ".join(wrong) or f"in the golden set, comes out {verdict}"
        checks.append(Check(name=name, passed=not wrong, text=f"{what}: {text}"))
    return checks


def _golden(package: Package) -> list[Frame]:
    pictures = [imaging.decode(package.content[f"golden/{e.file}"]) for e in package.golden.images]
    return [picture.reshape(*picture.shape[:2], -1) for picture in pictures]


def with_escapes(package: Package, escapes: Mapping[str, Frame], out: Path, version: str) -> int:
    """A copy of a package in ``out`` (new) whose golden set has these crops too, with the scores
    this very model gives them; returns how many were new. The copy has another hash, hence another
    version, and no signature. Raises `DataError` where ``out`` exists, a crop has another shape
    than the model's input, or the version is the old one."""
    if out.exists():
        raise DataError(f"{out}: exists already: name a new folder")
    if version == package.manifest.version:
        raise DataError(f"{version}: give the package with more golden pictures a new version")
    spec = crop_spec(package)
    have = _golden(package)
    new = {
        name: crop
        for name, crop in escapes.items()
        if not any(np.array_equal(crop, picture) for picture in have)
    }
    content = dict(package.content)
    files = {}
    for number, (name, crop) in enumerate(new.items(), len(have)):
        if crop.shape != (spec.height, spec.width, spec.channels):
            raise DataError(f"{name}: is {crop.shape}, not what the model takes")
        files[name] = f"escape-{number:03d}.png"
        content[f"golden/{files[name]}"] = imaging.encode_png(
            crop[:, :, 0] if spec.channels == 1 else crop
        )
    for graph in {entry.graph for entry in package.manifest.verified_on}:
        model = load(package, graph=graph)
        images = list(package.golden_of(graph).images)
        for name, crop in new.items():
            ((scores, ood),) = model.outputs(crop[np.newaxis]).rows()
            images.append(GoldenImage(file=files[name], scores=tuple(scores), ood=ood))
        golden = msgspec.structs.replace(package.golden_of(graph), images=tuple(images))
        data = msgspec.json.format(msgspec.json.encode(golden), indent=2) + b"\n"
        content[GOLDEN_OF[graph]] = data
    try:
        for name, data in content.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(data)
        manifest, _ = read_manifest(package.path)
        seal(out, msgspec.structs.replace(manifest, version=version), package.policy)
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        raise DataError(f"{out}: cannot be written: {error.strerror}") from None
    made = open_package(out)
    for graph in {entry.graph for entry in made.manifest.verified_on}:
        load(made, graph=graph)
    return len(new)
