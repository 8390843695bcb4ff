"""The proxy that plays a bad link, between a client and a server that echoes."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from inspection.testing.line import free_ports
from inspection.testing.proxy import Direction, Proxy


class Echo:
    """A server that sends back what it gets."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.pieces: list[bytes] = []
        self.ended: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                self.pieces.append(data)
                connection.sendall(data)
            self.ended.append("closed")
        except OSError as error:
            self.ended.append(type(error).__name__)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # close alone leaves `accept` waiting
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.endpoint, seed=1) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    host, port = proxy.endpoint.removeprefix("tcp://").split(":")
    return socket.create_connection((host, int(port)), timeout=5)


def receive(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := client.recv(65536)):
        data += more
    return data


def until(condition: object, timeout_s: float = 5.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_healthy_link_passes_everything_unchanged_in_both_directions(proxy: Proxy) -> None:
    sent = random.Random(3).randbytes(3_000_000)
    with connect(proxy) as client:
        threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
        assert receive(client, len(sent)) == sent
    assert proxy.accepted == 1


def test_a_cut_ends_every_connection_on_both_sides_and_new_ones_can_be_made(
    proxy: Proxy, echo: Echo
) -> None:
    with connect(proxy) as one, connect(proxy) as two:
        for client in (one, two):
            client.sendall(b"a")
            assert receive(client, 1) == b"a"
        assert proxy.cut() == 2
        assert (one.recv(1), two.recv(1)) == (b"", b"")
        until(lambda: len(echo.ended) == 2)
    with connect(proxy) as client:
        client.sendall(b"b")
        assert receive(client, 1) == b"b"


def test_a_reset_is_one_for_both_sides(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as client:
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        until(lambda: echo.ended == ["ConnectionResetError"])


def test_delay_and_jitter_come_later_but_in_order(proxy: Proxy) -> None:
    proxy.delay(100, 50)
    with connect(proxy) as client:
        begun = time.monotonic()
        for number in range(20):
            client.sendall(bytes([number]))
            time.sleep(0.005)
        assert receive(client, 20) == bytes(range(20))
        assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("direction", Direction)
def test_a_black_hole_swallows_one_direction_until_it_is_healed(
    proxy: Proxy, echo: Echo, direction: Direction
) -> None:
    with connect(proxy) as client:
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        proxy.black_hole(direction)
        client.sendall(b"b")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert b"".join(echo.pieces) == (b"a" if direction is Direction.UP else b"ab")
        proxy.heal()
        client.settimeout(5)
        assert receive(client, 1) == b"b"


def test_what_a_black_hole_held_back_never_comes_when_the_connection_is_cut_first(
    proxy: Proxy, echo: Echo
) -> None:
    with connect(proxy) as client:
        client.sendall(b"a")
        assert receive(client, 1) == b"a"
        proxy.black_hole(Direction.UP)
        client.sendall(b"lost")
        time.sleep(0.1)
        proxy.cut()
        proxy.heal()
        until(lambda: len(echo.ended) == 1)
        assert b"".join(echo.pieces) == b"a"


def test_slices_are_single_bytes(proxy: Proxy, echo: Echo) -> None:
    proxy.slice(1)
    with connect(proxy) as client:
        client.sendall(bytes(range(200)))
        assert receive(client, 200) == bytes(range(200))
    assert len(echo.pieces) > 20


def test_a_bandwidth_limit_is_kept(proxy: Proxy) -> None:
    proxy.limit(20_000)
    with connect(proxy) as client:
        begun = time.monotonic()
        client.sendall(bytes(6000))
        assert receive(client, 6000) == bytes(6000)
        assert time.monotonic() - begun >= 0.28


def test_where_nobody_listens_the_connection_is_closed() -> None:
    (port,) = free_ports(1)
    with Proxy(f"tcp://127.0.0.1:{port}") as proxy, connect(proxy) as client:
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        assert proxy.accepted == 0


def test_a_closed_proxy_leaves_neither_thread_nor_port(echo: Echo) -> None:
    before = threading.active_count()
    proxy = Proxy(echo.endpoint)
    client = connect(proxy)
    proxy.close()
    proxy.close()
    assert client.recv(1) == b""
    with pytest.raises(OSError, match="refused"):
        connect(proxy)
    until(lambda: threading.active_count() <= before + 1)


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:5", "tcp://127.0.0.1", "ipc:///x"])
def test_an_address_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="tcp://HOST:PORT"):
        Proxy(endpoint)
