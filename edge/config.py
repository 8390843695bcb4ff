"""The edge worker's configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from inspection.config import Endpoint, read_config, resolve
from inspection.drawing import Drawing, Shares, own_key, read_key
from inspection.errors import ConfigurationError, Problem
from inspection.keys import ClientKeys, ClientKeysFile, client_keys
from inspection.messages import Id, Score
from inspection.package import MANIFEST
from inspection.registry import pointer_of
from inspection.runtimes import NO_PREFERENCE, Preference
from inspection.trust import TrustFile, trusted_keys


class StationEndpoints(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the station listens."""

    edge: Endpoint
    evidence: Endpoint


class CameraFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera: its driver, and the driver's own settings."""

    driver: str
    settings: dict[str, Any] = {}


class ModelShares(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one model has of its own; the rest is as for all."""

    ok_share: Score | None = None
    near_share: Score | None = None
    near_margin: Annotated[float, Meta(ge=0, le=1)] | None = None


class EvidenceFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pictures are kept, and how much room they may take; see docs/evidence.md."""

    ok_share: Score = Shares().ok_share
    near_share: Score = Shares().near_share
    near_margin: Annotated[float, Meta(ge=0, le=1)] = Shares().near_margin
    models: dict[Id, ModelShares] = {}
    key: str | None = None
    """A file with 64 hexadecimal digits that draws; without it the edge makes one of its own."""
    max_mib: Annotated[int, Meta(ge=1, le=1_048_576)] = 2048
    """What pictures that wait for the station may take of the disk ..."""
    reserve_mib: Annotated[int, Meta(ge=0, le=1_048_576)] = 256
    """... and what they leave free for results."""

    def drawing(self, key: bytes) -> Drawing:
        """What draws the OK points whose picture is kept."""
        shares = Shares(
            ok_share=self.ok_share, near_share=self.near_share, near_margin=self.near_margin
        )
        by_model = {
            name: replace(shares, **{k: v for k, v in asdict(own).items() if v is not None})
            for name, own in self.models.items()
        }
        return Drawing(key, shares, by_model)


class EdgeFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``edge.toml``. Paths are relative to the file; so are a camera's ``directory`` and
    ``file`` settings."""

    edge: Id
    directory: str
    """Where the worker keeps its outbox and the pictures not yet sent."""
    station: StationEndpoints
    cameras: Annotated[dict[Id, CameraFile], Meta(min_length=1)]
    models: Annotated[dict[Id, str], Meta(min_length=1)]
    """Model packages, or a registry's folders (``registry/NAME``) for their current ones, by the
    name that plans use."""
    shadow: dict[Id, str] = {}
    """Candidates that judge beside the released models, by the name of the model: a package, or a
    registry's folder for its current one. What they say never counts."""
    trust: TrustFile | None = None
    """Whose signature every package and policy must carry."""
    keys: ClientKeysFile | None = None
    """Keys to connect with. Without it the station must be on the same machine."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    """Threads of one inference."""
    memory_mib: Annotated[int, Meta(ge=512, le=1_048_576)] | None = None
    """Address space the worker may use: a graph that asks for more fails as a model, not as the
    machine. Some 4096 more than the models need; none without it."""
    batch: Annotated[int, Meta(ge=1, le=1000)] = 32
    """Points judged in one inference; between two the worker shows that it is alive."""
    hang_ms: Annotated[int, Meta(ge=100, le=600_000)] = 10_000
    """An inference that takes longer is ended, and its points are not inspected."""
    provider: Literal["cpu", "cuda", "tensorrt", "openvino"] | None = None
    """What to run on rather than on the others that a package was verified on."""
    provider_options: dict[Literal["cpu", "cuda", "tensorrt", "openvino"], dict[str, str]] = {}
    """Options of ONNX Runtime's providers, as ``{ tensorrt = { device_id = "0" } }``."""
    evidence: EvidenceFile = EvidenceFile()
    times: str | None = None
    """A file for how long each stage of each view took, for measurements; none without it."""


class EdgeConfig(Struct, frozen=True, kw_only=True):
    """A configuration with its paths resolved."""

    file: EdgeFile
    directory: Path
    models: dict[str, Path]
    cameras: dict[str, CameraFile]
    keys: ClientKeys | None = None
    times: Path | None = None
    trusted: tuple[Path, ...] = ()
    """Public keys; where there are any, nothing that none of them signed is loaded."""
    preference: Preference = NO_PREFERENCE
    shadow: dict[str, Path] = {}
    evidence_key: bytes | None = None
    """The key that draws, where the configuration names one."""

    def drawing(self) -> Drawing:
        """What draws the OK points whose picture is kept; makes the edge's own key where there is
        none yet. Raises `ConfigurationError`."""
        key = self.evidence_key or own_key(self.directory / "evidence-key")
        return self.file.evidence.drawing(key)


def read_edge(path: Path) -> EdgeConfig:
    """Read an edge's configuration. Raises `ConfigurationError`; opens neither camera nor model."""
    file = read_config(path, EdgeFile)
    endpoints = {"station.edge": file.station.edge, "station.evidence": file.station.evidence}
    keys = client_keys(path, file.keys, endpoints)
    models = {name: resolve(path, folder) for name, folder in file.models.items()}
    shadow = {name: resolve(path, folder) for name, folder in file.shadow.items()}
    for table, folders in (("models", models), ("shadow", shadow)):
        for name, folder in folders.items():
            if not (folder / MANIFEST).is_file() and not pointer_of(folder).is_file():
                message = f"{folder}: no model package here ({MANIFEST} is missing)"
                raise ConfigurationError(Problem(str(path), None, f"{table}.{name}", message))
    if strangers := sorted(set(shadow) - set(models)):
        message = f"there is no model {strangers[0]} whose crops it could judge"
        raise ConfigurationError(Problem(str(path), None, f"shadow.{strangers[0]}", message))
    for name in file.evidence.models:
        if name not in file.models:
            message = f"no model of that name is configured: {', '.join(file.models)} are"
            raise ConfigurationError(Problem(str(path), None, f"evidence.models.{name}", message))
    key_file = file.evidence.key
    cameras = {}
    for name, camera in file.cameras.items():
        settings = dict(camera.settings)
        for key in ("directory", "file"):
            if isinstance(settings.get(key), str):
                settings[key] = str(resolve(path, settings[key]))
        cameras[name] = CameraFile(driver=camera.driver, settings=settings)
    return EdgeConfig(
        file=file,
        directory=resolve(path, file.directory),
        models=models,
        cameras=cameras,
        keys=keys,
        times=None if file.times is None else resolve(path, file.times),
        trusted=trusted_keys(path, file.trust),
        shadow=shadow,
        preference=Preference(file.provider, _beside(path, file.provider_options)),
        evidence_key=None if key_file is None else read_key(resolve(path, key_file)),
    )


def _beside(path: Path, options: Mapping[Any, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Options with the folders in them (``trt_engine_cache_path``, ``cache_dir``) resolved."""
    return {
        provider: {
            key: str(resolve(path, value)) if key.endswith(("_path", "_dir")) else value
            for key, value in given.items()
        }
        for provider, given in options.items()
    }
