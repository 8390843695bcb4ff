"""Who gets a frame through to a station that has keys, over real sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import zmq
from test_station import MODEL, OUTBOX, Bench

from inspection import messages as m
from inspection import wire
from inspection.curve import Handshakes, connect_with
from inspection.errors import NotAuthorised
from inspection.keys import (
    Allowed,
    AllowList,
    ClientKeys,
    KeyRole,
    new_pair,
    read_allowed,
    read_private,
    read_public,
    write_allowed,
)
from inspection.messages import Fault
from inspection.station.config import Listen
from inspection.station.service import Service
from inspection.testing.line import free_ports

NAMES = {
    "edge-1": (KeyRole.EDGE, ("cam1",)),
    "edge-2": (KeyRole.EDGE, ("cam2",)),
    "plc-1": (KeyRole.PLC, ()),
    "page": (KeyRole.PEOPLE, ()),
}
UNKNOWN = "edge-unknown"


class Plant:
    """A station with keys, served step by step, and clients that connect to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bench = Bench(folder)
        self.list = folder / "allowed.toml"
        entries = []
        for name in ("station", UNKNOWN, "other-station", *NAMES):
            new_pair(folder / "keys", name)
        for name, (role, cameras) in NAMES.items():
            public = read_public(folder / "keys" / f"{name}.pub")
            entries.append(Allowed(public=public, role=role, id=name, cameras=cameras))
        write_allowed(self.list, entries)
        ports = zip(("edge", "evidence", "plc", "people"), free_ports(4), strict=True)
        self.endpoints = {name: f"tcp://127.0.0.1:{port}" for name, port in ports}
        own = read_private(folder / "keys" / "station.key")
        self.service = Service(Listen(**self.endpoints), (own, AllowList(self.list)))
        self.context = zmq.Context()
        self.handshakes = Handshakes()
        self.clients: list[zmq.Socket[bytes]] = []

    def close(self) -> None:
        for client in self.clients:
            self.handshakes.forget(client)
            client.close(linger=0)
        self.context.term()
        self.service.close()
        self.bench.store.close()

    def client(
        self, name: str | None, lane: str = "edge", station: str = "station"
    ) -> zmq.Socket[bytes]:
        """A connecting socket with the key of ``name``, or without any."""
        socket = self.context.socket(zmq.DEALER)
        socket.immediate = True
        socket.reconnect_ivl = 50
        if name is not None:
            keys = self.folder / "keys"
            own = read_private(keys / f"{name}.key")
            connect_with(socket, ClientKeys(own, read_public(keys / f"{station}.pub")))
        self.handshakes.watch(socket, lane)
        socket.connect(self.endpoints[lane])
        self.clients.append(socket)
        return socket

    def step(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.service.step(self.bench.station, 10)
            self.handshakes.report()

    def until(self, condition: Callable[[], bool]) -> None:
        limit = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < limit
            self.step(0.02)

    def send(self, client: zmq.Socket[bytes], frame: bytes, seconds: float = 10) -> bool:
        """Whether the socket took a frame within a time; a socket that nobody let in does not."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                client.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                self.step(0.02)
            else:
                return True
        return False

    def answers(self, client: zmq.Socket[bytes], lane: wire.Lane[Any], seconds: float) -> list[Any]:
        """What comes back within a time; returns at the first answer."""
        until = time.monotonic() + seconds
        found: list[Any] = []
        while time.monotonic() < until and not found:
            self.step(0.02)
            while client.poll(0):
                found.append(lane.decode(client.recv()))
        return found

    def revoke(self, name: str) -> None:
        public = read_public(self.folder / "keys" / f"{name}.pub")
        entries = read_allowed(self.list)
        write_allowed(self.list, [entry for entry in entries if entry.public != public])

    def events(self, kind: str) -> list[str]:
        return [event.text for event in self.bench.reader.events() if event.kind == kind]


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    plant = Plant(tmp_path)
    yield plant
    plant.close()


def _failed(logs: Any) -> list[Any]:
    return [entry for entry in logs if entry["event"] == "handshake failed"]


def hello(edge: str = "edge-1", camera: str = "cam1", nonce: str = "2" * 32) -> bytes:
    return wire.EDGE_TO_STATION.encode(
        m.Hello(
            edge=edge,
            outbox=OUTBOX,
            nonce=nonce,
            first_seq=1,
            next_seq=1,
            cameras=(camera,),
            models=(m.ModelState(name="m", ref=MODEL),),
        )
    )


def beat(plc: str = "plc-1") -> bytes:
    return wire.PLC_TO_STATION.encode(m.Heartbeat(plc=plc, counter=1))


def test_a_key_in_the_list_is_heard_and_answered(plant: Plant) -> None:
    edge, plc = plant.client("edge-1"), plant.client("plc-1", "plc")
    assert plant.send(edge, hello())
    (welcome,) = plant.answers(edge, wire.STATION_TO_EDGE, 10)
    assert isinstance(welcome, m.Welcome)
    assert plant.send(plc, beat())
    (status,) = plant.answers(plc, wire.STATION_TO_PLC, 10)
    assert (status.ready, status.fault) == (True, Fault.NONE)


@pytest.mark.parametrize(
    ("name", "station", "client_says"),
    [
        ("edge-1", "other-station", "is the public key of the station the right one"),
        (UNKNOWN, "station", "the key is not allowed"),
        (None, "station", "one side has [keys] and the other has none"),
    ],
    ids=["wrong server key", "unknown client", "client without a key"],
)
def test_nobody_else_gets_a_frame_through_and_both_sides_say_why(
    plant: Plant, name: str | None, station: str, client_says: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        client = plant.client(name, station=station)
        assert not plant.send(client, hello(), 0.6)
        assert plant.answers(client, wire.STATION_TO_EDGE, 0.1) == []
        plant.until(lambda: len(_failed(logs)) >= 2)
    assert plant.bench.station.not_ready()[0] is Fault.EDGE_MISSING
    failed = _failed(logs)
    assert any(client_says in entry["text"] for entry in failed)
    # The station's side names the socket by its plane, the client here by its lane: both say it.
    assert len([e for e in failed if e["endpoint"] == plant.endpoints["edge"]]) >= 2
    # A peer that fails many times a second does not fill the log.
    assert len(failed) <= 4


def test_a_peer_that_is_refused_is_named_in_the_stations_log(plant: Plant) -> None:
    public = read_public(plant.folder / "keys" / f"{UNKNOWN}.pub")
    with structlog.testing.capture_logs() as logs:
        plant.client(UNKNOWN)
        plant.until(lambda: any(e["event"] == "connection refused" for e in logs))
    (entry,) = (entry for entry in logs if entry["event"] == "connection refused")
    assert public in entry["text"]
    assert "127.0.0.1" in entry["text"]


def test_whoever_tries_new_keys_does_not_fill_the_log(plant: Plant) -> None:
    gate = plant.service._gate
    with structlog.testing.capture_logs() as logs:
        for number in range(100):
            gate._tell(f"key {number}")
            gate._tell("key 0")
        gate._since -= 60
        gate._tell("key 1")
    refused = [entry for entry in logs if entry["event"] == "connection refused"]
    assert len(refused) == 21
    assert [entry["unsaid"] for entry in logs if "unsaid" in entry] == [180]


@pytest.mark.parametrize(
    ("name", "lane"),
    [("plc-1", "edge"), ("edge-1", "plc"), ("plc-1", "people"), ("page", "plc")],
)
def test_a_key_of_one_plane_opens_no_other(plant: Plant, name: str, lane: str) -> None:
    client = plant.client(name, lane)
    assert not plant.send(client, hello() if lane == "edge" else beat(name), 0.4)


def test_a_key_revoked_while_connected_gets_nothing_more_through_in_either_direction(
    plant: Plant,
) -> None:
    edge = plant.client("edge-1")
    plant.send(edge, hello())
    plant.answers(edge, wire.STATION_TO_EDGE, 10)
    assert plant.bench.station.not_ready()[0] is Fault.NONE
    plant.revoke("edge-1")
    plant.step(0.05)
    # At once, not when the edge has been silent for a while.
    assert plant.bench.station.not_ready()[0] is Fault.EDGE_MISSING
    assert plant.send(edge, hello(nonce="5" * 32))  # the connection itself still stands
    assert plant.answers(edge, wire.STATION_TO_EDGE, 0.3) == []
    assert plant.bench.station.not_ready()[0] is Fault.EDGE_MISSING
    assert "the key of edge edge-1 was revoked" in plant.events("edge_lost")
    assert len(plant.events("key_revoked")) == 1


def test_a_revoked_plc_hears_of_no_verdict(plant: Plant) -> None:
    plc = plant.client("plc-1", "plc")
    begin = m.Begin(plc="plc-1", seq=1, part="P1", plan="plan")
    plant.send(plc, wire.PLC_TO_STATION.encode(begin))
    (begun,) = plant.answers(plc, wire.STATION_TO_PLC, 10)
    assert isinstance(begun, m.Begun)
    plant.revoke("plc-1")
    plant.bench.clock.advance(s=5)  # the deadline: a verdict is formed, and its PLC hinted at
    assert plant.answers(plc, wire.STATION_TO_PLC, 0.3) == []
    assert plant.bench.reader.counts()["verdict"] == 1


@pytest.mark.parametrize("damage", ["missing", "no TOML", "others may write"])
def test_a_list_that_cannot_be_used_allows_nobody_until_it_is_mended(
    plant: Plant, damage: str
) -> None:
    edge = plant.client("edge-1")
    plant.send(edge, hello())
    plant.answers(edge, wire.STATION_TO_EDGE, 10)
    good = plant.list.read_text()
    if damage == "missing":
        plant.list.unlink()
    elif damage == "no TOML":
        plant.list.write_text("[[key]\n")
    else:
        plant.list.chmod(0o666)
    plant.step(0.05)
    plant.send(edge, hello(nonce="5" * 32))
    assert plant.answers(edge, wire.STATION_TO_EDGE, 0.2) == []
    assert len(plant.events("keys_unusable")) == 1
    plant.list.unlink(missing_ok=True)
    plant.list.write_text(good)
    plant.list.chmod(0o644)
    plant.step(0.05)
    plant.send(edge, hello(nonce="6" * 32))
    assert isinstance(plant.answers(edge, wire.STATION_TO_EDGE, 10)[0], m.Welcome)


def test_a_dead_authenticator_closes_the_station(plant: Plant) -> None:
    edge = plant.client("edge-1")
    plant.send(edge, hello())
    plant.answers(edge, wire.STATION_TO_EDGE, 10)
    plant.service._gate.socket.close(linger=0)
    with pytest.raises(NotAuthorised, match="nobody may"):
        plant.step(0.1)
    assert all(socket.closed for socket in plant.service._sockets.values())


def test_nobody_is_let_in_while_the_authenticator_does_not_answer(plant: Plant) -> None:
    # Its place is empty, as if it had never started, and the station's loop goes on.
    gate = plant.service._gate
    plant.service._poller.unregister(gate.socket)
    gate.socket.close(linger=0)
    plant.service._gate = None
    client = plant.client("edge-1")
    assert not plant.send(client, hello(), 0.8)
    assert plant.bench.station.not_ready()[0] is Fault.EDGE_MISSING


def test_a_listed_edge_that_claims_anothers_name_is_refused_and_written_down(
    plant: Plant,
) -> None:
    thief = plant.client("edge-2")
    for number in range(3):
        plant.send(thief, hello("edge-1", "cam1", nonce=str(number) * 32))
        (refused,) = plant.answers(thief, wire.STATION_TO_EDGE, 10)
        assert (refused.fault, "edge-2" in refused.text) == (Fault.WRONG_KEY, True)
    assert plant.bench.station.not_ready()[0] is Fault.EDGE_MISSING
    assert plant.events("impostor") == ["the key of edge edge-2 spoke for edge-1"]


def test_an_edge_offers_no_camera_that_its_key_is_not_for(plant: Plant) -> None:
    thief = plant.client("edge-2")
    plant.send(thief, hello("edge-2", "cam1"))
    (refused,) = plant.answers(thief, wire.STATION_TO_EDGE, 10)
    assert "is not for camera cam1" in refused.text
    assert plant.bench.station.not_ready()[0] is Fault.EDGE_MISSING


def test_a_listed_plc_cannot_ask_in_anothers_name(plant: Plant) -> None:
    plc = plant.client("plc-1", "plc")
    begin = m.Begin(plc="plc-2", seq=7, part="P1", plan="plan")
    plant.send(plc, wire.PLC_TO_STATION.encode(begin))
    (refusal,) = plant.answers(plc, wire.STATION_TO_PLC, 10)
    assert (refusal.fault, refusal.seq) == (Fault.WRONG_KEY, 7)
    assert plant.bench.reader.counts()["run"] == 0


def test_a_page_is_heard_and_its_key_alone_authorises_nothing(plant: Plant) -> None:
    page = plant.client("page", "people")
    login = m.Login(request_id="1" * 32, user="anna", password="correct horse")
    plant.send(page, wire.PEOPLE_TO_STATION.encode(login))
    (answer,) = plant.answers(page, wire.STATION_TO_PEOPLE, 10)
    assert answer.fault is Fault.NOT_AUTHORISED


def test_a_picture_under_anothers_name_is_not_stored(plant: Plant) -> None:
    thief = plant.client("edge-2", "evidence")
    picture = m.Evidence(edge="edge-1", sha256="c" * 64, media_type="png", data=b"x")
    plant.send(thief, wire.EVIDENCE_TO_STATION.encode(picture))
    (refused,) = plant.answers(thief, wire.STATION_TO_EVIDENCE, 10)
    assert refused.fault is Fault.WRONG_KEY
    assert plant.bench.station._impostures == {"edge-2": 1}
    assert not any((plant.folder / "evidence").rglob("*.png"))


def test_two_keys_of_one_edge_may_overlap_while_one_replaces_the_other(plant: Plant) -> None:
    new_pair(plant.folder / "keys", "edge-1-new")
    public = read_public(plant.folder / "keys" / "edge-1-new.pub")
    new = Allowed(public=public, role=KeyRole.EDGE, id="edge-1", cameras=("cam1",))
    write_allowed(plant.list, [*read_allowed(plant.list), new])
    edge = plant.client("edge-1-new")
    plant.send(edge, hello())
    assert isinstance(plant.answers(edge, wire.STATION_TO_EDGE, 10)[0], m.Welcome)
    plant.revoke("edge-1")
    plant.step(0.05)
    assert plant.bench.station.not_ready()[0] is Fault.NONE
