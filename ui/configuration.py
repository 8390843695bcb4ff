"""``ui.toml``: what the pages show and where they listen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from inspection.config import Endpoint, read_config, resolve
from inspection.drawing import own_key
from inspection.errors import ConfigurationError, PackageError, Problem
from inspection.keys import ClientKeys, ClientKeysFile, client_keys
from inspection.messages import Severity
from inspection.package import CARD, DEFECT_QUANTILES, POLICY, read_manifest
from inspection.policy import Policy, read_policy
from inspection.registry import pointer_of, versions
from inspection.shifts import Calendar, ShiftsFile

REVIEWERS_KEY = "reviewers.key"
"""Beside ui.toml: what pseudonyms are made with."""

MOST_CARD = 60_000
"""Characters of a model's card."""

ADDRESS = "127.0.0.1"
"""The only address the pages are served on: whoever only looks is asked nothing."""


class StationLink(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How decisions reach the station."""

    people: Endpoint
    """Its ``listen.people``."""


class AlarmFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When defects of one point that come one after the other are an alarm."""

    defects: Annotated[int, Meta(ge=2, le=50)] = 3
    bodies: Annotated[int, Meta(ge=2, le=50)] = 5
    """In succession, with the defects among them."""


class UiFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``ui.toml``. Paths are relative to the file."""

    store: Annotated[str, Meta(min_length=1)]
    """The station's database file; it need not exist yet."""
    evidence: Annotated[str, Meta(min_length=1)]
    """A folder or an fsspec URL."""
    port: Annotated[int, Meta(ge=1024, le=65_535)] = 8501
    title: Annotated[str, Meta(max_length=60)] = ""
    """What people call this line; beside the station's id at the top of each page."""
    models: list[str] = []
    """Folders of model packages, for the names of their classes; without, scores have numbers."""
    station: StationLink | None = None
    """Where to log in and to decide; without, the pages only show."""
    shifts: ShiftsFile = field(default_factory=ShiftsFile)
    """When shifts begin, for figures by shift."""
    alarm: AlarmFile = field(default_factory=AlarmFile)
    """When Analysis names a point at which defects are repeated."""
    reviewers: Literal["pseudonyms", "named"] = "pseudonyms"
    """Whether figures on how people review name them. The log of changes always does."""
    keys: ClientKeysFile | None = None
    """The pages' own key and the station's, where the station has keys."""


class Known(Struct, frozen=True, kw_only=True):
    """What is known of a model package. ``policy`` is None where none lies beside it."""

    classes: tuple[str, ...]
    severities: Mapping[str, Severity]
    """Of the defect classes."""
    margin: float
    """How much of its surroundings a picture shows on each side, as a share of the region."""
    policy: Policy | None
    policy_hash: str = ""
    name: str = ""
    version: str = ""
    card: str = ""
    """What lies beside the graph for people to read; empty where nothing does."""
    quantiles: tuple[float, ...] = ()
    """Deciles of the defect score of good points in training; empty in packages without them."""


class UiConfig(Struct, frozen=True, kw_only=True):
    """A configuration that has been read and checked."""

    file: UiFile
    store: Path
    evidence: str
    models: Mapping[str, Known]
    """By the hash of the model package."""
    places: tuple[Path, ...]
    """The folders of packages and registries that ``models`` names."""
    calendar: Calendar
    reviewers_key: bytes | None = None
    keys: ClientKeys | None = None

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Names of the classes in the order of the scores, by the hash of the model package."""
        return {package: known.classes for package, known in self.models.items()}


def read_ui(path: Path) -> UiConfig:
    """Read ``ui.toml``; raises `ConfigurationError` for what is wrong with it."""
    file = read_config(path, UiFile)
    store = resolve(path, file.store).absolute()
    if store.is_dir():
        wrong = "is a folder: name the station's database file in it (station.db)"
        raise ConfigurationError(Problem(str(path), None, "store", f"{store} {wrong}"))
    if file.alarm.defects > file.alarm.bodies:
        wrong = f"is more than the {file.alarm.bodies} bodies they are to be on: it would never be"
        raise ConfigurationError(
            Problem(str(path), None, "alarm.defects", f"{file.alarm.defects} {wrong}")
        )
    evidence = file.evidence
    if "://" not in evidence:
        evidence = str(resolve(path, evidence).absolute())
        if Path(evidence).is_file():
            wrong = "is a file: name the folder of the pictures"
            raise ConfigurationError(Problem(str(path), None, "evidence", f"{evidence} {wrong}"))
    models = {}
    places = tuple(resolve(path, folder).absolute() for folder in file.models)
    for number, place in enumerate(places):
        try:
            # Of a registry all versions: results of each may be on record.
            for each in versions(pointer_of(place).parent) or [place]:
                package, known = _known(each)
                models[package] = known
        except PackageError as error:
            field = f"models[{number}]"
            raise ConfigurationError(Problem(str(path), None, field, str(error))) from None
    try:
        calendar = Calendar(file.shifts)
    except ConfigurationError as error:
        raise ConfigurationError(Problem(str(path), None, "shifts", str(error))) from None
    endpoints = {} if file.station is None else {"station.people": file.station.people}
    keys = client_keys(path, file.keys, endpoints)
    secret = None
    if file.reviewers == "pseudonyms":
        # Beside the configuration: the same names after a start, and nobody else can make them.
        secret = own_key(path.absolute().with_name(REVIEWERS_KEY))
    return UiConfig(
        file=file,
        store=store,
        evidence=evidence,
        models=models,
        places=places,
        calendar=calendar,
        reviewers_key=secret,
        keys=keys,
    )


def _known(folder: Path) -> tuple[str, Known]:
    manifest, package = read_manifest(folder)
    policy, policy_hash = None, ""
    if (folder / POLICY).exists():
        policy, policy_hash = read_policy(folder / POLICY)
    severities = {each.name: each.severity for each in manifest.classes if each.severity}
    return package, Known(
        classes=manifest.class_names,
        severities=severities,
        margin=manifest.input.margin,
        policy=policy,
        policy_hash=policy_hash,
        name=manifest.name,
        version=manifest.version,
        card=_card(folder / CARD),
        quantiles=_quantiles(manifest.metrics.get(DEFECT_QUANTILES)),
    )


def _quantiles(found: object) -> tuple[float, ...]:
    """Metrics are free: what is no rising row of numbers is none."""
    try:
        rising = msgspec.convert(found, tuple[float, ...])
    except msgspec.ValidationError:
        return ()
    return rising if list(rising) == sorted(rising) else ()


def _card(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")[:MOST_CARD]
    except OSError:
        return ""
