"""The edge worker's configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from inspection.config import Endpoint, read_config, resolve
from inspection.errors import ConfigurationError, Problem
from inspection.keys import ClientKeys, ClientKeysFile, client_keys
from inspection.messages import Id
from inspection.package import MANIFEST
from inspection.registry import CURRENT
from inspection.trust import TrustFile, trusted_keys


class StationEndpoints(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the station listens."""

    edge: Endpoint
    evidence: Endpoint


class CameraFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera: its driver, and the driver's own settings."""

    driver: str
    settings: dict[str, Any] = {}


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


def read_edge(path: Path) -> EdgeConfig:
    """Read an edge's configuration. Raises `ConfigurationError`; opens neither camera nor model."""
    file = read_config(path, EdgeFile)
    endpoints = {"station.edge": file.station.edge, "station.evidence": file.station.evidence}
    keys = client_keys(path, file.keys, endpoints)
    models = {name: resolve(path, folder) for name, folder in file.models.items()}
    for name, folder in models.items():
        if not any((folder / name).is_file() for name in (MANIFEST, CURRENT)):
            message = f"{folder}: no model package here ({MANIFEST} is missing)"
            raise ConfigurationError(Problem(str(path), None, f"models.{name}", message))
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
    )
