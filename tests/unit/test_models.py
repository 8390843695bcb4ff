"""What is released in a registry is loaded beside what judges, and takes over between two views."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.models import AGAIN_NS, LOOK_NS, Models
from inspection.messages import ModelRef, ModelState
from inspection.package import open_package
from inspection.registry import Registry
from inspection.signing import keygen, sign_package
from inspection.testing import boards
from inspection.testing.packages import Broken, build_package

NAME = "darkness"
WHO = {"author": "A. Name", "why": "test"}


def made(folder: Path, version: str, **options: object) -> Path:
    """A package whose scores tell its version."""
    return build_package(
        folder / version,
        size=boards.TILE,
        version=version,
        steepness=10.0 + float(version),
        **options,  # type: ignore[arg-type]
    )


class Edge:
    """A registry, the models of an edge that follows it, and a clock moved by hand."""

    def __init__(self, folder: Path, trusted: tuple[Path, ...] = (), **broken: Broken) -> None:
        self.registry = Registry(folder / "registry")
        self.refs: dict[str, ModelRef] = {}
        for version in ("1", "2", "3"):
            path = made(folder / "packages", version, broken=broken.get(f"v{version}"))
            if trusted and version != "3":
                sign_package(path, trusted[0].with_suffix(".key"))
            self.registry.add(path, **WHO)
            self.refs[version] = open_package(path).ref
        self.promote("1")
        self.folder = folder / "registry" / NAME
        self.trusted = trusted
        self.now = 10**12
        self.counter = 0
        self.models = self.start()

    def start(self) -> Models:
        self.models = Models({"weld": self.folder}, trusted=self.trusted)
        return self.models

    def promote(self, version: str) -> None:
        self.registry.promote(NAME, version, **WHO, details={})

    @property
    def state(self) -> ModelState:
        (state,) = self.models.states
        return state

    def look(self) -> bool:
        self.now += LOOK_NS
        return self.models.look(self.now)

    def until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < until, self.models.states
            self.look()
            time.sleep(0.005)

    def ready(self, version: str) -> bool:
        return self.models.get("weld", self.refs[version])[0] is not None

    def ping(self, *asked: str) -> None:
        """The station has read a ping and says what it may still order."""
        self.counter += 1
        self.models.say(self.counter)
        self.models.heard(self.counter, {"weld": tuple(self.refs[v] for v in asked)})


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(tmp_path)
    yield edge
    edge.models.close()


def test_a_release_is_loaded_beside_the_old_one_and_both_may_be_ordered(edge: Edge) -> None:
    edge.ping("1")
    edge.promote("2")
    edge.until(lambda: edge.state.ref == edge.refs["2"])
    assert edge.state.also == (edge.refs["1"],)
    old, _ = edge.models.get("weld", edge.refs["1"])
    new, _ = edge.models.get("weld", edge.refs["2"])
    assert old is not None
    assert new is not None
    assert (old.package.manifest.version, new.package.manifest.version) == ("1", "2")


def test_nothing_else_than_what_an_order_names_judges_it(edge: Edge) -> None:
    model, why = edge.models.get("weld", edge.refs["3"])
    assert model is None
    assert "another version" in why


def test_the_old_one_is_given_up_only_when_the_station_asks_for_it_no_more(edge: Edge) -> None:
    edge.ping("1")
    edge.promote("2")
    edge.until(lambda: edge.state.ref == edge.refs["2"])
    edge.ping("1")
    edge.look()
    assert edge.ready("1")
    # The station has changed over: the old one is named no more, and only then given up.
    edge.ping("2")
    edge.look()
    assert edge.state.also == ()
    assert edge.ready("1")
    edge.ping("2")
    assert not edge.ready("1")
    assert edge.ready("2")


def test_an_order_in_hand_keeps_what_it_names(edge: Edge) -> None:
    edge.models.in_use = lambda: [edge.refs["1"]]
    edge.promote("2")
    edge.until(lambda: edge.state.ref == edge.refs["2"])
    for _ in range(3):
        edge.ping("2")
        edge.look()
    assert edge.ready("1")
    edge.models.in_use = lambda: ()
    for _ in range(3):
        edge.ping("2")
        edge.look()
    assert not edge.ready("1")


def test_one_that_the_station_asks_for_again_before_it_is_given_up_stays(edge: Edge) -> None:
    edge.promote("2")
    edge.until(lambda: edge.state.ref == edge.refs["2"])
    edge.ping("2")
    edge.look()
    edge.ping("2", "1")
    edge.look()
    edge.ping("2", "1")
    assert edge.ready("1")
    assert edge.state.also == (edge.refs["1"],)


def test_a_roll_back_to_what_is_still_loaded_takes_one_look(edge: Edge) -> None:
    edge.promote("2")
    edge.until(lambda: edge.state.ref == edge.refs["2"])
    edge.registry.rollback(NAME, **WHO)
    assert edge.look()
    assert edge.state.ref == edge.refs["1"]


@pytest.mark.parametrize(
    ("broken", "words"),
    [(Broken.GOLDEN_SCORES, "does not reproduce"), (Broken.CUSTOM_DOMAIN, "com.elsewhere")],
)
def test_a_release_that_is_refused_leaves_the_old_one_and_says_so(
    tmp_path: Path, broken: Broken, words: str
) -> None:
    edge = Edge(tmp_path, v2=broken)
    edge.ping("1")
    edge.promote("2")
    edge.until(lambda: bool(edge.state.fault))
    assert words in edge.state.fault
    assert edge.state.ref == edge.refs["1"]
    assert edge.ready("1")
    edge.registry.rollback(NAME, **WHO)
    edge.look()
    assert edge.state.fault == ""


def test_what_no_trusted_key_signed_is_refused_and_the_old_one_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("model_signing")
    _, public = keygen(tmp_path / "keys", "quality")
    edge = Edge(tmp_path, (public,))
    edge.promote("3")
    edge.until(lambda: bool(edge.state.fault))
    assert "not signed" in edge.state.fault
    assert edge.state.ref == edge.refs["1"]
    edge.promote("2")
    edge.until(lambda: edge.state.ref == edge.refs["2"])
    assert edge.state.fault == ""


def test_an_edge_that_starts_later_loads_also_what_the_station_still_orders(edge: Edge) -> None:
    edge.promote("2")
    edge.start()
    assert edge.state.ref == edge.refs["2"]
    edge.ping("1")
    edge.until(lambda: edge.ready("1"))
    assert edge.state.also == (edge.refs["1"],)


def test_an_edge_that_starts_on_a_bad_release_judges_with_what_the_station_orders(
    tmp_path: Path,
) -> None:
    edge = Edge(tmp_path, v2=Broken.GOLDEN_SCORES)
    edge.promote("2")
    edge.start()
    assert (edge.state.ref, bool(edge.state.fault)) == (None, True)
    edge.ping("1")
    edge.until(lambda: edge.ready("1"))
    assert edge.state.ref == edge.refs["1"]
    assert "does not reproduce" in edge.state.fault


def test_a_damaged_pointer_leaves_the_old_one_and_is_looked_at_again(edge: Edge) -> None:
    pointer = edge.folder / "current"
    whole = pointer.read_bytes()
    pointer.write_bytes(b"{")
    edge.look()
    assert "current" in edge.state.fault
    assert edge.ready("1")
    pointer.write_bytes(whole)
    edge.now += AGAIN_NS
    edge.look()
    assert edge.state.fault == ""


def test_a_package_by_its_own_folder_is_not_followed(tmp_path: Path) -> None:
    models = Models({"weld": made(tmp_path, "1")})
    (state,) = models.states
    models.heard(1, {"weld": ()})
    assert not models.look(10**12)
    assert models.get("weld", state.ref)[0] is not None
