"""``ui.toml``: what the pages show and where they listen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from inspection.config import read_config, resolve
from inspection.errors import ConfigurationError, PackageError, Problem
from inspection.package import read_manifest
from inspection.registry import pointer_of, versions

ADDRESS = "127.0.0.1"
"""The only address the pages are served on: they ask nobody who he is."""


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


class UiConfig(Struct, frozen=True, kw_only=True):
    """A configuration that has been read and checked."""

    file: UiFile
    store: Path
    evidence: str
    classes: Mapping[str, tuple[str, ...]]
    """Names of the classes in the order of the scores, by the hash of the model package."""


def read_ui(path: Path) -> UiConfig:
    """Read ``ui.toml``; raises `ConfigurationError` for what is wrong with it."""
    file = read_config(path, UiFile)
    store = resolve(path, file.store).absolute()
    if store.is_dir():
        wrong = "is a folder: name the station's database file in it (station.db)"
        raise ConfigurationError(Problem(str(path), None, "store", f"{store} {wrong}"))
    evidence = file.evidence
    if "://" not in evidence:
        evidence = str(resolve(path, evidence).absolute())
        if Path(evidence).is_file():
            wrong = "is a file: name the folder of the pictures"
            raise ConfigurationError(Problem(str(path), None, "evidence", f"{evidence} {wrong}"))
    classes = {}
    for number, folder in enumerate(file.models):
        place = resolve(path, folder)
        try:
            # Of a registry all versions: results of each may be on record.
            for each in versions(pointer_of(place).parent) or [place]:
                manifest, package = read_manifest(each)
                classes[package] = manifest.class_names
        except PackageError as error:
            field = f"models[{number}]"
            raise ConfigurationError(Problem(str(path), None, field, str(error))) from None
    return UiConfig(file=file, store=store, evidence=evidence, classes=classes)
