"""Model packages: a folder that says what is in it, and is believed only as far as it can prove.

::

    circuit-board/
      manifest.json    classes, input, imaging version, data and recipe, SHA-256 of every file
      model.onnx       raw uint8 NHWC in; calibrated class probabilities and, where the network has
                       an embedding, an out-of-distribution score out
      model-int8.onnx  the same in 8 bits, where that was released
      golden/          pictures (PNG) and golden.json with the scores they must give; int8.json with
                       those of the 8-bit graph; vectors.json from frame and region to score
      CARD.md          what the model saw, how it did, what it does not see
      policy.json      thresholds; versioned by itself, names the manifest's hash

The hash of ``manifest.json`` is the hash of the package, because it pins every other file but the
policy. Opening checks the files; `inspection.runtimes.load` replays the golden pictures.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from inspection.errors import PackageError
from inspection.messages import MAX_CLASSES, Id, ModelRef, Ood, Score, Severity, Sha256
from inspection.policy import UNREADABLE, Policy, check_policy, encode_policy, read_policy

FORMAT = 1
TASK = "classifier"
MANIFEST, POLICY, MODEL, GOLDEN, CARD = (
    "manifest.json",
    "policy.json",
    "model.onnx",
    "golden/golden.json",
    "CARD.md",
)
MODEL_SIGNATURE, POLICY_SIGNATURE = "model.sig", "policy.sig"
MODEL_INT8, GOLDEN_INT8, VECTORS = "model-int8.onnx", "golden/int8.json", "golden/vectors.json"
GOLDEN_OF = {MODEL: GOLDEN, MODEL_INT8: GOLDEN_INT8}
"""The graphs a package may have, and where the scores lie that each must give."""
DEFECT_QUANTILES = "defect_quantiles"
"""Among the metrics, optional: deciles of the defect score of good validation points."""
MAX_FILE_BYTES = 1 << 30


class ModelClass(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A class of the model, in the order of its scores; the OK class has no severity."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    severity: Severity | None


class ModelInput(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shape of the graph's ``uint8`` NHWC input, and how much of the surroundings it sees."""

    width: Annotated[int, Meta(ge=8, le=2048)]
    height: Annotated[int, Meta(ge=8, le=2048)]
    channels: Annotated[int, Meta(ge=1, le=3)]
    margin: Annotated[float, Meta(ge=0, le=4)]


class VerifiedOn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where which graph's scores were verified: an execution provider, a processor architecture
    (``platform.machine()``), an instruction set that the processor must have (`instruction_sets`;
    empty for none in particular), and by how much a score may differ there from the golden one.
    Of several, the first that a machine satisfies is the one it runs."""

    provider: str
    architecture: str
    tolerance: Annotated[float, Meta(gt=0, le=0.01)]
    graph: str = MODEL
    instruction_set: str = ""


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """``manifest.json``."""

    format: int
    name: Id
    version: Annotated[str, Meta(min_length=1, max_length=64)]
    task: str
    """"classifier" is the one task there is."""
    runtime: str
    classes: Annotated[tuple[ModelClass, ...], Meta(min_length=2, max_length=MAX_CLASSES)]
    input: ModelInput
    input_name: str
    output_name: str
    ood_name: str | None = None
    """The output with the out-of-distribution score, (N,) ``float32``; None where there is none."""
    heat_name: str | UnsetType = UNSET
    """The output with the heat map, (N, height, width) ``float32`` from 0 (as ever) to 1; left out
    where there is none, as in all older manifests."""
    release: Literal["anomaly-only"] | UnsetType = UNSET
    """"anomaly-only": no defect has shown what the thresholds let pass, they stand on good points
    alone. Such a model judges only where the plan permits it (`Kind.anomaly_only`)."""
    imaging_version: str
    data_hash: Sha256
    recipe_hash: Sha256
    code_version: str
    created: str
    metrics: dict[str, object]
    licences: dict[str, str]
    """What the weights and the data are licensed under, by what they are."""
    verified_on: Annotated[tuple[VerifiedOn, ...], Meta(min_length=1)]
    files: dict[str, Sha256]

    @property
    def anomaly_only(self) -> bool:
        """Whether a plan must permit it."""
        return self.release is not UNSET

    @functools.cached_property
    def class_names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.classes)

    @property
    def ok_class(self) -> str:
        return next(entry.name for entry in self.classes if entry.severity is None)

    def severity_of(self, finding: str) -> Severity | None:
        """Severity of a class by name; None for the OK class and for no finding."""
        return next((entry.severity for entry in self.classes if entry.name == finding), None)


class GoldenImage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model input (PNG under ``golden/``) and the scores it gave when the model was exported."""

    file: str
    scores: tuple[Score, ...]
    ood: Ood | None = None


class GoldenSet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``golden/golden.json``, and ``golden/int8.json`` for the 8-bit graph."""

    images: Annotated[tuple[GoldenImage, ...], Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class Package:
    """A package whose files are what its manifest says. ``content`` holds the very bytes that
    were hashed, so that nothing can change between the check and the use."""

    path: Path
    manifest: Manifest
    policy: Policy
    ref: ModelRef
    golden: GoldenSet
    content: Mapping[str, bytes]
    golden_int8: GoldenSet | None = None

    def golden_of(self, graph: str) -> GoldenSet:
        """The golden pictures of one of its graphs, with the scores that this graph must give."""
        found = {MODEL: self.golden, MODEL_INT8: self.golden_int8}.get(graph)
        if found is None:
            raise PackageError(f"{self.path}: has no golden scores for {graph!r}")
        return found


def sha256(data: bytes) -> str:
    """SHA-256 as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read_manifest(path: Path) -> tuple[Manifest, str]:
    """The manifest of a package folder and its hash, checked in itself; raises `PackageError`."""
    file = path / MANIFEST
    try:
        raw = file.read_bytes()
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (FileNotFoundError, NotADirectoryError):
        raise PackageError(f"{path}: no model package here ({MANIFEST} is missing)") from None
    except UNREADABLE as error:
        raise PackageError(f"{file}: {error}") from None
    if manifest.format != FORMAT:
        raise PackageError(
            f"{file}: package format {manifest.format}, this software reads {FORMAT}"
        )
    if sum(entry.severity is None for entry in manifest.classes) != 1:
        raise PackageError(f"{file}: exactly one class must have no severity, the OK class")
    if len(set(manifest.class_names)) != len(manifest.classes):
        raise PackageError(f"{file}: a class is named twice")
    if manifest.task != TASK:
        raise PackageError(f"{file}: task {manifest.task!r} is not known, only {TASK!r}")
    for name in (MODEL, GOLDEN):
        if name not in manifest.files:
            raise PackageError(f"{file}: files does not list {name}")
    for entry in manifest.verified_on:
        if entry.graph not in GOLDEN_OF:
            raise PackageError(
                f"{file}: verified_on.graph {entry.graph!r} is none of {', '.join(GOLDEN_OF)}"
            )
        for name in (entry.graph, GOLDEN_OF[entry.graph]):
            if name not in manifest.files:
                raise PackageError(f"{file}: verified_on names {entry.graph}, {name} is not listed")
    return manifest, sha256(raw)


def open_package(path: Path) -> Package:
    """Read and check a whole package.

    Raises `PackageError` where a file is missing, changed, outside the folder, or not listed, and
    where the policy belongs to another package. Loads no model.
    """
    manifest, package_hash = read_manifest(path)
    # Links first, those of folders included: behind one, a listed name would lie elsewhere.
    entries = sorted(path.rglob("*"))
    if links := [entry for entry in entries if entry.is_symlink()]:
        name = links[0].relative_to(path).as_posix()
        raise PackageError(f"{path}: {name!r} is a symbolic link: put the file itself here")
    content: dict[str, bytes] = {}
    for name, expected in manifest.files.items():
        parts = PurePosixPath(name)
        file = path / name
        if parts.is_absolute() or ".." in parts.parts or "\0" in name:
            raise PackageError(f"{path}: {name!r} leads out of the package")
        try:
            if file.exists() and not file.is_file():
                raise PackageError(f"{file}: listed in the manifest, but it is no plain file")
            if file.stat().st_size > MAX_FILE_BYTES:
                raise PackageError(f"{file}: larger than a model package may be")
            data = file.read_bytes()
        except OSError as error:
            raise PackageError(f"{file}: listed in the manifest, but {error.strerror}") from None
        if sha256(data) != expected:
            raise PackageError(
                f"{file}: changed since the package was made (its SHA-256 differs from the"
                " manifest's): fetch the package again"
            )
        content[name] = data
    known = {*manifest.files, MANIFEST, POLICY, MODEL_SIGNATURE, POLICY_SIGNATURE}
    present = {entry.relative_to(path).as_posix() for entry in entries if not entry.is_dir()}
    if stray := sorted(present - known):
        raise PackageError(f"{path}: {stray[0]!r} is not listed in the manifest: remove it")
    policy, policy_hash = _policy_of(path, manifest, package_hash)
    golden = _golden_set(path, GOLDEN, content)
    golden_int8 = _golden_set(path, GOLDEN_INT8, content) if GOLDEN_INT8 in content else None
    ref = ModelRef(package=package_hash, policy=policy_hash)
    return Package(path, manifest, policy, ref, golden, content, golden_int8)


def _golden_set(path: Path, name: str, content: Mapping[str, bytes]) -> GoldenSet:
    try:
        golden = msgspec.json.decode(content[name], type=GoldenSet)
    except UNREADABLE as error:
        raise PackageError(f"{path / name}: {error}") from None
    for image in golden.images:
        if f"golden/{image.file}" not in content:
            raise PackageError(f"{path / name}: names {image.file!r}, which is not in the package")
    return golden


def released(folder: Path) -> Path:
    """The package of a folder: the folder itself, or the highest of the versions that lie in it
    (``models/NAME/VERSION``), numbers in their names counting as numbers and ``2-rc1`` coming
    before ``2`` (Semantic Versioning 2.0.0). Raises `PackageError` where there is none."""
    if (folder / MANIFEST).is_file():
        return folder
    try:
        versions = [path for path in folder.iterdir() if (path / MANIFEST).is_file()]
    except OSError as error:
        raise PackageError(f"{folder}: {error.strerror}") from None
    if not versions:
        raise PackageError(f"{folder}: no model package here, nor a folder with one")

    def parts(text: str) -> list[tuple[int, str]]:
        return [(int(n or 0), text) for n, text in re.findall(r"(\d+)|(\D+)", text)]

    def rank(path: Path) -> tuple[list[tuple[int, str]], bool, list[tuple[int, str]]]:
        release, _, candidate = path.name.partition("-")
        return parts(release), not candidate, parts(candidate)

    return max(versions, key=rank)


def bundled_package(name: str = "spot-weld") -> Path:
    """The package of that name which comes with this software: in the installed data, or in
    ``models`` of a source checkout. Raises `PackageError` where there is none."""
    here = Path(__file__).resolve().parent
    installed, checkout = here / "bundled" / name, here.parent / "models" / name
    if installed.is_dir():
        return released(installed)
    # Without the second file this is site-packages, whose "models" would be somebody else's.
    if checkout.is_dir() and (here.parent / "pyproject.toml").is_file():
        return released(checkout)
    raise PackageError(f"{installed}: no model package {name} comes with this installation")


def read_reference(path: Path) -> tuple[Manifest, Policy, ModelRef]:
    """What a station needs to know of a package to order and to recompute: manifest, policy and
    their hashes. The graph is neither read nor checked; the edge does that."""
    manifest, package_hash = read_manifest(path)
    policy, policy_hash = _policy_of(path, manifest, package_hash)
    return manifest, policy, ModelRef(package=package_hash, policy=policy_hash)


def _policy_of(path: Path, manifest: Manifest, package_hash: str) -> tuple[Policy, str]:
    """The policy beside a package, checked to be its own, and the policy's hash."""
    policy, policy_hash = read_policy(path / POLICY)
    try:
        check_policy(policy, manifest.class_names, package_hash)
    except PackageError as error:
        raise PackageError(f"{path}: {error}") from None
    if policy.ood_max is not None and manifest.ood_name is None:
        raise PackageError(
            f"{path}: policy.json limits how unusual a point may be (ood_max), which this model"
            " does not say: set ood_max to null"
        )
    if policy.ok_class != manifest.ok_class:
        raise PackageError(f"{path}: policy and manifest name different OK classes")
    return policy, policy_hash


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of ``manifest.json``; their SHA-256 is the package's hash."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def seal(path: Path, manifest: Manifest, policy: Policy) -> ModelRef:
    """Make the files that lie in a folder a package: write the manifest with their hashes, and
    the policy bound to it. Graph, golden pictures and card must be there; ``manifest.files`` and
    ``policy.package`` are filled in here."""
    files = {
        entry.relative_to(path).as_posix(): sha256(entry.read_bytes())
        for entry in sorted(path.rglob("*"))
        if entry.is_file()
        and entry.name not in (MANIFEST, POLICY, MODEL_SIGNATURE, POLICY_SIGNATURE)
    }
    raw = encode_manifest(msgspec.structs.replace(manifest, files=files))
    bound = encode_policy(msgspec.structs.replace(policy, package=sha256(raw)))
    (path / MANIFEST).write_bytes(raw)
    (path / POLICY).write_bytes(bound)
    return ModelRef(package=sha256(raw), policy=sha256(bound))


def architecture() -> str:
    """The processor architecture in the words of a manifest."""
    return platform.machine()


def instruction_sets(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What the processor can do, in Linux's words (``avx512_vnni``, ``avx_vnni``, ``asimddp``).
    Empty where the system does not say: then only graphs run that need nothing in particular."""
    try:
        lines = cpuinfo.read_text("ascii", "replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(words.split())
    return frozenset()
