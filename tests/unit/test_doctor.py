"""``inspection doctor``: each thing that can be wrong with an edge is found, with what to do."""

from __future__ import annotations

import fcntl
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from edge import doctor
from edge.config import read_edge
from edge.doctor import Finding, Level, examine
from inspection import imaging
from inspection.__main__ import main
from inspection.curve import serve_with
from inspection.keys import ClientKeys, KeyRole, new_pair, read_private, read_public
from inspection.testing import boards
from inspection.testing.line import free_ports


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boards.model(tmp_path_factory.mktemp("model") / "good")


@pytest.fixture
def station() -> Iterator[tuple[int, int]]:
    """A station as far as a connection goes."""
    context: zmq.Context[Any] = zmq.Context()
    sockets = [context.socket(zmq.ROUTER) for _ in range(2)]
    ports = tuple(each.bind_to_random_port("tcp://127.0.0.1") for each in sockets)
    yield ports
    context.destroy(linger=0)


class Edge:
    """An edge's configuration in a folder, with one picture for its camera."""

    def __init__(self, place: Path, package: Path, ports: tuple[int, int]) -> None:
        self.place = place
        self.values = {
            "model": str(package),
            "driver": "folder",
            "settings": '{ directory = "pictures" }',
            "edge": ports[0],
            "evidence": ports[1],
        }
        self.show(boards.board())

    def show(self, picture: imaging.Frame) -> None:
        (self.place / "pictures" / "part").mkdir(parents=True, exist_ok=True)
        file = self.place / "pictures" / "part" / "view.png"
        file.write_bytes(imaging.encode_png(picture))

    @property
    def file(self) -> Path:
        path = self.place / "edge.toml"
        v = self.values
        path.write_text(
            f'edge = "edge-1"\ndirectory = "state"\n'
            f'[station]\nedge = "tcp://127.0.0.1:{v["edge"]}"\n'
            f'evidence = "tcp://127.0.0.1:{v["evidence"]}"\n'
            f'[models]\ngood = "{v["model"]}"\n'
            f'[cameras.cam1]\ndriver = "{v["driver"]}"\nsettings = {v["settings"]}\n'
        )
        return path

    def findings(self) -> dict[str, list[Finding]]:
        found: dict[str, list[Finding]] = {}
        for finding in examine(read_edge(self.file)):
            assert finding.text
            assert finding.remedy or finding.level is Level.OK, "each finding says what to do"
            found.setdefault(finding.subject, []).append(finding)
        return found

    def wrong(self) -> list[str]:
        return [
            subject
            for subject, each in self.findings().items()
            if any(finding.level is Level.WRONG for finding in each)
        ]


@pytest.fixture
def edge(tmp_path: Path, package: Path, station: tuple[int, int]) -> Edge:
    return Edge(tmp_path, package, station)


def test_an_edge_that_is_well_has_nothing_wrong(
    edge: Edge, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(edge.file)]) == 0
    said = capsys.readouterr().out
    assert "3 triggers out, 3 pictures in, 3 of 3 verdicts out" in said
    assert "golden pictures reproduce" in said
    assert said.endswith("nothing is wrong\n")
    assert not (edge.place / "state").exists(), "a doctor leaves nothing behind"


def test_a_camera_that_gives_no_picture_is_found(
    edge: Edge, capsys: pytest.CaptureFixture[str]
) -> None:
    (edge.place / "pictures" / "part" / "view.png").unlink()
    assert edge.wrong() == ["trigger cam1"]
    assert main(["doctor", str(edge.file)]) == 1
    said = capsys.readouterr().out
    assert "3 triggers out, 0 pictures in, 0 of 0 verdicts out" in said
    assert "-> watch it while you trigger" in said


def test_a_driver_that_is_not_installed_is_found(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pypylon", None)
    monkeypatch.delitem(__import__("sys").modules, "edge.cameras.basler", raising=False)
    edge.values |= {"driver": "basler", "settings": "{ exposure_us = 100 }"}
    (finding,) = edge.findings()["camera cam1"]
    assert finding.level is Level.WRONG
    assert 'pip install "visual-inspection[basler]"' in finding.text


def test_a_dark_picture_is_a_warning(edge: Edge) -> None:
    edge.show(boards.board() // 100)
    findings = edge.findings()["camera cam1"]
    assert [finding.level for finding in findings] == [Level.OK, Level.WARNING]
    assert "lens cap" in findings[1].remedy


def test_a_broken_model_is_found(edge: Edge, tmp_path: Path) -> None:
    edge.values["model"] = str(boards.model(tmp_path / "broken"))
    graph = tmp_path / "broken" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    assert edge.wrong() == ["model good"]


def test_a_station_that_is_not_there_is_found(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PEER_S", 0.5)
    edge.values["edge"] = free_ports(1)[0]
    (finding,) = edge.findings()["station"]
    assert finding.level is Level.WRONG
    assert "nobody listens" in finding.text


def test_something_that_is_no_station_is_found(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PEER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=silent.accept, daemon=True).start()
        edge.values["edge"] = silent.getsockname()[1]
        (finding,) = edge.findings()["station"]
    assert finding.level is Level.WRONG
    assert "does not answer as a station" in finding.text


def test_keys_the_station_does_not_know_are_found(tmp_path: Path) -> None:
    for name in ("station", "other", "edge"):
        new_pair(tmp_path, name)
    context: zmq.Context[Any] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    serve_with(router, read_private(tmp_path / "station.key"), KeyRole.EDGE)
    router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 0)  # this one asks nobody: only its key matters
    port = router.bind_to_random_port("tcp://127.0.0.1")
    own = read_private(tmp_path / "edge.key")
    endpoint = f"tcp://127.0.0.1:{port}"
    try:
        right = ClientKeys(own, read_public(tmp_path / "station.pub"))
        assert doctor.peer("station", endpoint, right).level is Level.OK
        for keys in (ClientKeys(own, read_public(tmp_path / "other.pub")), None):
            found = doctor.peer("station", endpoint, keys)
            assert found.level is Level.WRONG
            assert "keys" in found.remedy
    finally:
        context.destroy(linger=0)


@pytest.mark.parametrize(
    ("limit", "level"), [("DISK_LEAST", Level.WRONG), ("DISK_LITTLE", Level.WARNING)]
)
def test_a_full_disk_is_found(
    edge: Edge, monkeypatch: pytest.MonkeyPatch, limit: str, level: Level
) -> None:
    monkeypatch.setattr(doctor, limit, 2**62)
    assert edge.findings()["disk"][0].level is level


def test_a_slow_disk_is_a_warning(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SYNC_SLOW_MS", 0.0)
    assert edge.findings()["disk"][1].level is Level.WARNING


def test_the_cameras_of_a_worker_that_runs_are_left_alone(edge: Edge) -> None:
    lock = edge.place / "state" / "outbox" / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        findings = edge.findings()
    assert findings["cameras"][0].level is Level.WARNING
    assert "camera cam1" not in findings
    assert "camera cam1" in edge.findings()


def test_the_clock_is_looked_at() -> None:
    found = doctor.clock()
    assert found.level is not Level.WRONG
    assert "UTC" in found.text


# ---------------------------------------------------------------- inspection cameras


def test_a_picture_can_be_grabbed(edge: Edge, capsys: pytest.CaptureFixture[str]) -> None:
    out = edge.place / "one.png"
    assert main(["cameras", "grab", str(edge.file), "cam1", str(out)]) == 0
    assert imaging.decode(out.read_bytes()).shape == boards.board().shape
    assert "frame 1 part/view.png" in capsys.readouterr().out


def test_watching_counts_pictures_and_orders_without_one(
    edge: Edge, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cameras", "watch", str(edge.file), "cam1", "--count", "3"]) == 0
    assert capsys.readouterr().out.count("frame ") == 3
    arguments = ["cameras", "watch", str(edge.file), "cam1", "--count", "2", "--part", "nobody"]
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.out.count("no picture: camera folder has no file nobody/view.png") == 2
    assert "0 pictures, 2 orders without one" in said.err


def test_a_camera_that_is_not_configured_is_answered_with_those_that_are(
    edge: Edge, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cameras", "watch", str(edge.file), "cam9"]) == 2
    assert "no camera 'cam9': it has cam1" in capsys.readouterr().err


def test_every_driver_is_in_the_list(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pypylon", None)
    monkeypatch.delitem(__import__("sys").modules, "edge.cameras.basler", raising=False)
    assert main(["cameras", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("folder") for line in lines)
    (basler,) = [line for line in lines if line.startswith("basler")]
    assert "not usable here" in basler
    assert 'pip install "visual-inspection[basler]"' in basler
