"""The station's configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import UNSET, Meta, Struct, structs

from inspection.config import Endpoint, read_config, resolve
from inspection.errors import ConfigurationError, PackageError, Problem
from inspection.keys import AllowList, KeyPair, StationKeysFile, station_keys
from inspection.messages import Id
from inspection.plan import Plan, read_plan
from inspection.station.acceptance import Released
from inspection.station.releases import MEMORY, read_released, went_on_with
from inspection.trust import TrustFile, trusted_keys


class Listen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the station listens: ``tcp://127.0.0.1:PORT``; with ``[keys]``, any address."""

    edge: Endpoint
    evidence: Endpoint
    plc: Endpoint
    people: Endpoint | None = None
    """Where pages and programs of people log in."""


TimeOfDay = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9](?![\s\S])")]


class StationFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``station.toml``. Paths are relative to the file."""

    station: Id
    directory: str
    """Where the station keeps its store, its lock and, unless ``evidence`` says otherwise, its
    pictures."""
    listen: Listen
    plans: Annotated[list[str], Meta(min_length=1)]
    models: dict[Id, str]
    """Released model packages, or a registry's folders (``registry/NAME``) for their current ones,
    by the name that plans use."""
    trust: TrustFile | None = None
    """Whose signature every package and policy must carry."""
    keys: StationKeysFile | None = None
    """Who may connect. Without it the station listens only to its own machine."""
    people: str | None = None
    """The list of people who may log in (TOML, of ``inspection people``)."""
    evidence: str | None = None
    """A folder or an fsspec URL."""
    turns: tuple[TimeOfDay, ...] = ("00:00",)
    """Times of day (local) at which the store begins a new file."""
    edge_timeout_ms: Annotated[int, Meta(ge=200, le=60_000)] = 2000
    """An edge that says nothing for so long is lost."""
    times: str | None = None
    """A file for when each record came and was committed, for measurements; none without it."""


class StationConfig(Struct, frozen=True, kw_only=True):
    """A configuration whose every file has been read and checked."""

    file: StationFile
    directory: Path
    evidence: str
    plans: dict[str, Plan]
    released: dict[str, Released]
    folders: dict[str, Path]
    """Where the models were configured to be, by name."""
    trusted: tuple[Path, ...] = ()
    keys: tuple[KeyPair, AllowList] | None = None
    people: Path | None = None
    times: Path | None = None


def database_of(directory: Path) -> Path:
    """Where a station keeps its store under its directory."""
    return directory / "station.db"


def why_unfit(plan: Plan, name: str, model: Released) -> str:
    """Why a plan cannot be inspected with this model of that name, empty where it can: a known
    defect of a class that its model does not know would never be found, and what a model lets pass
    that has shown no defect nobody knows."""
    if model.manifest.anomaly_only:
        for kind, asked in plan.kinds.items():
            if asked.model == name and not asked.anomaly_only:
                return (
                    f"plan {plan.name}: kinds.{kind}: model {name} is released as anomaly-only (no"
                    " defect has shown what it lets pass): permit it with anomaly_only = true, or"
                    " release a model that was tried on defects"
                )
    if plan.challenge is UNSET:
        return ""
    kinds = {point.id: plan.kinds[point.kind].model for point in plan.points}
    known = [each for each in model.manifest.class_names if each != model.policy.ok_class]
    for point, finding in plan.challenge.defects.items():
        if kinds[point] == name and finding not in known:
            return (
                f"plan {plan.name}: challenge.defects: {finding!r} at {point} is no class of model"
                f" {name}: it has {', '.join(known)}"
            )
    return ""


def read_station(path: Path) -> StationConfig:
    """Read a station's configuration with its plans and the references of its models.

    Raises `ConfigurationError` for the first file that is wrong.
    """
    file = read_config(path, StationFile)
    listen = {f"listen.{name}": at for name, at in structs.asdict(file.listen).items() if at}
    keys = station_keys(path, file.keys, listen)
    trusted = trusted_keys(path, file.trust)
    directory = resolve(path, file.directory)
    folders = {name: resolve(path, folder) for name, folder in file.models.items()}
    released = {}
    for name, folder in folders.items():
        try:
            released[name] = read_released(folder, trusted)
        except PackageError as error:
            # A release that the running line refused must not keep it from starting again.
            before = went_on_with(directory / MEMORY, name, folder, trusted)
            if before is None:
                raise ConfigurationError(
                    Problem(str(path), None, f"models.{name}", str(error))
                ) from None
            released[name] = before
    plans: dict[str, Plan] = {}
    for entry in file.plans:
        plan = read_plan(resolve(path, entry), models=tuple(released))
        if plan.name in plans:
            raise ConfigurationError(
                Problem(str(path), None, "plans", f"two plans are named {plan.name!r}")
            )
        for name, model in released.items():
            if text := why_unfit(plan, name, model):
                raise ConfigurationError(Problem(str(path), None, "plans", text))
        plans[plan.name] = plan
    evidence = file.evidence or str(directory / "evidence")
    if file.evidence and "://" not in file.evidence:
        evidence = str(resolve(path, file.evidence))
    return StationConfig(
        file=file,
        directory=directory,
        evidence=evidence,
        plans=plans,
        released=released,
        folders=folders,
        trusted=trusted,
        keys=keys,
        people=None if file.people is None else resolve(path, file.people),
        times=None if file.times is None else resolve(path, file.times),
    )
