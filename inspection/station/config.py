"""The station's configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import UNSET, Meta, Struct, structs

from inspection.config import Endpoint, read_config, resolve
from inspection.errors import ConfigurationError, PackageError, Problem
from inspection.keys import AllowList, KeyPair, StationKeysFile, station_keys
from inspection.messages import Id
from inspection.package import read_reference
from inspection.plan import Plan, read_plan
from inspection.registry import resolve as current
from inspection.station.acceptance import Released
from inspection.trust import TrustFile, open_trusted, trusted_keys


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
    keys: tuple[KeyPair, AllowList] | None = None
    people: Path | None = None
    times: Path | None = None


def database_of(directory: Path) -> Path:
    """Where a station keeps its store under its directory."""
    return directory / "station.db"


def _released(folder: Path, trusted: tuple[Path, ...]) -> Released:
    if not trusted:
        return Released(*read_reference(current(folder)))
    package = open_trusted(folder, trusted)
    return Released(package.manifest, package.policy, package.ref)


def _check_challenge(path: Path, plan: Plan, released: dict[str, Released]) -> None:
    """A known defect of a class that its model does not know would never be found."""
    if plan.challenge is UNSET:
        return
    kinds = {point.id: plan.kinds[point.kind].model for point in plan.points}
    for point, finding in plan.challenge.defects.items():
        model = released[kinds[point]]
        known = [name for name in model.manifest.class_names if name != model.policy.ok_class]
        if finding not in known:
            text = (
                f"plan {plan.name}: challenge.defects: {finding!r} at {point} is no class of model"
                f" {kinds[point]}: it has {', '.join(known)}"
            )
            raise ConfigurationError(Problem(str(path), None, "plans", text))


def read_station(path: Path) -> StationConfig:
    """Read a station's configuration with its plans and the references of its models.

    Raises `ConfigurationError` for the first file that is wrong.
    """
    file = read_config(path, StationFile)
    listen = {f"listen.{name}": at for name, at in structs.asdict(file.listen).items() if at}
    keys = station_keys(path, file.keys, listen)
    trusted = trusted_keys(path, file.trust)
    released = {}
    for name, folder in file.models.items():
        try:
            released[name] = _released(resolve(path, folder), trusted)
        except PackageError as error:
            raise ConfigurationError(
                Problem(str(path), None, f"models.{name}", str(error))
            ) from None
    plans: dict[str, Plan] = {}
    for entry in file.plans:
        plan = read_plan(resolve(path, entry), models=tuple(released))
        if plan.name in plans:
            raise ConfigurationError(
                Problem(str(path), None, "plans", f"two plans are named {plan.name!r}")
            )
        _check_challenge(path, plan, released)
        plans[plan.name] = plan
    directory = resolve(path, file.directory)
    evidence = file.evidence or str(directory / "evidence")
    if file.evidence and "://" not in file.evidence:
        evidence = str(resolve(path, file.evidence))
    return StationConfig(
        file=file,
        directory=directory,
        evidence=evidence,
        plans=plans,
        released=released,
        keys=keys,
        people=None if file.people is None else resolve(path, file.people),
        times=None if file.times is None else resolve(path, file.times),
    )
