"""Station and edge use what a trusted key has signed, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge.config import read_edge
from edge.models import Models
from inspection.errors import ConfigurationError, PackageError
from inspection.package import open_package
from inspection.registry import Registry
from inspection.signing import keygen, sign_file, sign_package
from inspection.station.config import read_station
from inspection.station.releases import MEMORY, Releases
from inspection.testing import boards
from inspection.testing.packages import repolicy
from inspection.trust import open_trusted

pytest.importorskip("model_signing")

STATION = """\
station = "station-1"
directory = "station"
plans = ["plan/plan.toml"]
listen = { edge = "tcp://127.0.0.1:1", evidence = "tcp://127.0.0.1:2", plc = "tcp://127.0.0.1:3" }
models = { darkness = "MODEL" }
"""
EDGE = """\
edge = "edge-1"
directory = "edge"
station = { edge = "tcp://127.0.0.1:1", evidence = "tcp://127.0.0.1:2" }
models = { darkness = "MODEL" }
cameras = { cam1 = { driver = "folder" } }
"""
TRUST = '[trust]\nkeys = ["keys/quality.pub"]\n'


class Plant:
    """A folder with a plan, a package, keys and the two configurations."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        boards.write_plan(folder / "plan")
        self.model = boards.model(folder / "model")
        self.key, self.public = keygen(folder / "keys", "quality")
        self.stranger, _ = keygen(folder / "keys", "stranger")
        self.write()

    def write(self, model: str = "model", trust: str = TRUST) -> None:
        (self.folder / "station.toml").write_text(STATION.replace("MODEL", model) + trust)
        (self.folder / "edge.toml").write_text(EDGE.replace("MODEL", model) + trust)

    def station(self) -> object:
        return read_station(self.folder / "station.toml").released["darkness"].ref

    def edge(self) -> Models:
        config = read_edge(self.folder / "edge.toml")
        return Models(config.models, trusted=config.trusted)


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def test_what_a_trusted_key_signed_is_used_at_both_ends(plant: Plant) -> None:
    sign_package(plant.model, plant.key)
    (state,) = plant.edge().states
    assert state.fault == ""
    assert plant.station() == state.ref == open_package(plant.model).ref


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ("unsigned", "not signed"),
        ("stranger", "none of the known keys"),
        ("policy changed", "it has changed since"),
        ("policy of a stranger", "none of the known keys"),
        ("policy unsigned", "policy.sig is missing"),
    ],
)
def test_anything_else_stops_the_station_and_leaves_the_edge_without_the_model(
    plant: Plant, spoil: str, says: str
) -> None:
    if spoil != "unsigned":
        sign_package(plant.model, plant.stranger if spoil == "stranger" else plant.key)
    if spoil.startswith("policy"):
        repolicy(plant.model, ok_min=0.6)
    if spoil == "policy of a stranger":
        sign_file(plant.model / "policy.json", plant.stranger, plant.model / "policy.sig")
    if spoil == "policy unsigned":
        (plant.model / "policy.sig").unlink()
    with pytest.raises(ConfigurationError, match=says):
        plant.station()
    (state,) = plant.edge().states
    assert state.ref is None
    assert says in state.fault
    # Without [trust] the same package is used as before.
    plant.write(trust="")
    assert plant.station() == plant.edge().states[0].ref


def test_a_file_that_is_no_public_key_stops_both(plant: Plant) -> None:
    plant.public.write_text("no key")
    for read in (plant.station, plant.edge):
        with pytest.raises(ConfigurationError, match="no public key"):
            read()
    plant.public.unlink()
    for read in (plant.station, plant.edge):
        with pytest.raises(ConfigurationError, match="No such file"):
            read()


def test_the_current_version_of_a_registry_is_followed_at_both_ends(plant: Plant) -> None:
    sign_package(plant.model, plant.key)
    registry = Registry(plant.folder / "registry")
    first = registry.add(plant.model, author="me", why="first")[1]
    repolicy(plant.model, ok_min=0.6, version=2)
    sign_package(plant.model, plant.key)
    second = registry.add(plant.model, author="me", why="second")[1]
    plant.write("registry/darkness")
    with pytest.raises(ConfigurationError):
        plant.station()  # nothing is released yet
    refs = []
    for version in (second, first):
        registry.promote("darkness", version, author="me", why="test", details={})
        assert plant.station() == plant.edge().states[0].ref
        refs.append(plant.station())
    assert refs[0] != refs[1]


def test_a_station_that_was_running_starts_again_though_the_release_since_is_not_signed(
    plant: Plant,
) -> None:
    sign_package(plant.model, plant.key)
    registry = Registry(plant.folder / "registry")
    first = registry.add(plant.model, author="me", why="first")[1]
    registry.promote("darkness", first, author="me", why="test", details={})
    plant.write("registry/darkness")
    config = read_station(plant.folder / "station.toml")
    config.directory.mkdir()
    Releases(config.released, folders=config.folders, memory=config.directory / MEMORY)
    repolicy(plant.model, ok_min=0.6, version=2)
    second = registry.add(plant.model, author="me", why="second")[1]
    registry.promote("darkness", second, author="me", why="test", details={})
    assert plant.station() == config.released["darkness"].ref
    # One that has released nothing yet has nothing to go on with.
    (config.directory / MEMORY).unlink()
    with pytest.raises(ConfigurationError, match=r"policy\.sig"):
        plant.station()


def test_a_current_version_that_was_changed_is_used_at_neither_end(plant: Plant) -> None:
    registry = Registry(plant.folder / "registry")
    version = registry.add(plant.model, author="me", why="first")[1]
    registry.promote("darkness", version, author="me", why="test", details={})
    plant.write("registry/darkness", trust="")
    repolicy(plant.folder / "registry" / "darkness" / version, ok_min=0.6)
    with pytest.raises(ConfigurationError, match="it was changed"):
        plant.station()
    (state,) = plant.edge().states
    assert state.ref is None
    assert "it was changed" in state.fault


def test_a_package_swapped_after_it_was_checked_is_not_what_is_loaded(plant: Plant) -> None:
    sign_package(plant.model, plant.key)
    package = open_trusted(plant.model, [plant.public])
    ref = package.ref
    shutil.rmtree(plant.model)
    boards.model(plant.model)
    (plant.model / "model.onnx").write_bytes(b"another")
    assert package.content["model.onnx"] != b"another"
    assert package.ref == ref
    with pytest.raises(PackageError):
        open_trusted(plant.model, [plant.public])
