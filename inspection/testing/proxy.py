"""A TCP proxy that misbehaves on command: the bad cable, the overloaded switch, the half-open link.

It stands between a client and its server, knows nothing of what they say, and can cut or reset
their connections, delay bytes, let them through in pieces or slowly, or let none through in one
direction. Nothing is lost inside a connection, as TCP promises: what a black hole holds back comes
late, when it is healed, or never, when the connection is cut first. Every fault also holds for
connections that are made while it lasts.

It runs in a thread of its own; all methods may be called from any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from inspection.closing import Closing

CHUNK = 64 * 1024
QUEUED_CHUNKS = 64
"""What may be on its way in one direction of one connection; more waits with the sender."""
STEP_S = 0.02
"""How much of a second goes out at once where the bandwidth is limited."""

T = TypeVar("T")


class Direction(enum.Enum):
    """Seen from the client, who connects to the proxy."""

    UP = "up"
    DOWN = "down"


@dataclass(slots=True)
class _Weather:
    """What the link is like now, in one direction."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    piece_bytes: int = CHUNK
    pause_s: float = 0.0
    """Between two pieces."""
    bytes_per_s: float = 0.0
    """0: as fast as it goes."""
    passes: asyncio.Event = field(default_factory=asyncio.Event)

    def clear_up(self) -> None:
        self.delay_s = self.jitter_s = self.pause_s = self.bytes_per_s = 0.0
        self.piece_bytes = CHUNK
        self.passes.set()


class Proxy(Closing):
    """Forwards what comes in at ``endpoint`` to ``target``, both ``tcp://HOST:PORT``.

    Port 0 takes any that is free. Where the target does not answer, the client's connection is
    closed, as a machine does where nobody listens. Raises `OSError` where ``listen`` is taken.
    """

    def __init__(
        self, target: str, *, listen: str = "tcp://127.0.0.1:0", seed: int | None = None
    ) -> None:
        self.accepted = 0
        """Connections made so far."""
        self._target = _address(target)
        self._listener = socket.create_server(_address(listen))
        self._listener.setblocking(False)
        self._chance = random.Random(seed)  # noqa: S311  jitter is no secret
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: dict[asyncio.Task[None], socket.socket] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._weather = {direction: _Weather() for direction in Direction}
        self.heal()
        self._do(lambda: self._loop.add_reader(self._listener, self._accept))
        host, port = self._listener.getsockname()[:2]
        self.endpoint = f"tcp://{host}:{port}"
        """Where clients connect."""

    # ------------------------------------------------------------------------------- faults

    def cut(self) -> int:
        """Close every connection in an orderly way; how many there were."""
        return self._do(lambda: self._drop(reset=False))

    def reset(self) -> int:
        """Break every connection off with RST; how many there were."""
        return self._do(lambda: self._drop(reset=True))

    def delay(self, delay_ms: float, jitter_ms: float = 0.0) -> None:
        """Everything arrives so much later, and by a random part of ``jitter_ms`` later still, in
        order."""
        for weather in self._weather.values():
            weather.delay_s, weather.jitter_s = delay_ms / 1000, jitter_ms / 1000

    def black_hole(self, *directions: Direction) -> None:
        """Nothing passes any more in these directions; neither side is told."""

        def close() -> None:
            for direction in directions:
                self._weather[direction].passes.clear()

        self._do(close)

    def slice(self, piece_bytes: int = 1, pause_ms: float = 0.1) -> None:
        """Everything is written in pieces of so many bytes, with a pause after each, without which
        the receiver's kernel would put them together again."""
        if piece_bytes < 1:
            raise ValueError("a piece has at least one byte")
        for weather in self._weather.values():
            weather.piece_bytes, weather.pause_s = piece_bytes, pause_ms / 1000

    def limit(self, bytes_per_s: float) -> None:
        """So much a second, in each direction of each connection; 0 for no limit."""
        for weather in self._weather.values():
            weather.bytes_per_s = bytes_per_s

    def heal(self) -> None:
        """An ordinary link again. Connections live on, and what was held back arrives."""

        def clear_up() -> None:
            for weather in self._weather.values():
                weather.clear_up()

        self._do(clear_up)

    # ------------------------------------------------------------------------------ the end

    def close(self) -> None:
        """Cut everything and listen no more."""
        if not self._thread.is_alive():
            return
        self._await(self._hang_up())
        self._end_loop()

    # ------------------------------------------------------------------------------- inside

    def _do(self, work: Callable[[], T]) -> T:
        async def there() -> T:
            return work()

        return self._await(there())

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _hang_up(self) -> None:
        self._loop.remove_reader(self._listener)
        self._listener.close()
        tasks = list(self._clients)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # an aborted connection is closed a turn of the loop later

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _drop(self, *, reset: bool) -> int:
        # Both ends of each connection are in the set.
        count = len(self._writers) // 2
        for writer in self._writers:
            if reset:
                # No lingering: what is still unsent is thrown away, and the other side told so.
                linger = struct.pack("ii", 1, 0)
                with contextlib.suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, linger
                    )
            writer.transport.abort()
        self._writers.clear()
        return count

    def _accept(self) -> None:
        # Not `asyncio.start_server`, which may lose a connection that it accepts while it closes.
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            client.setblocking(False)
            task = self._loop.create_task(self._forward(client))
            self._clients[task] = client
            task.add_done_callback(lambda done: self._clients.pop(done).close())

    async def _forward(self, client: socket.socket) -> None:
        writers: set[asyncio.StreamWriter] = set()
        pumps: list[asyncio.Future[None]] = []
        try:
            from_client, to_client = await asyncio.open_connection(sock=client)
            writers.add(to_client)
            self._writers.add(to_client)
            from_server, to_server = await asyncio.open_connection(*self._target)
            self.accepted += 1
            writers.add(to_server)
            if to_client not in self._writers:
                return  # cut meanwhile
            self._writers.add(to_server)
            for writer in writers:
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            up, down = (self._weather[direction] for direction in Direction)
            pumps.append(asyncio.ensure_future(self._pump(from_client, to_server, up)))
            pumps.append(asyncio.ensure_future(self._pump(from_server, to_client, down)))
            # Where one side has gone the other is told; a half-closed connection is of no use here.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            return  # nobody listens there
        finally:
            for pump in pumps:
                pump.cancel()
            for writer in writers:
                writer.transport.abort()
            self._writers -= writers
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, weather: _Weather
    ) -> None:
        """One direction of one connection, until either end of it is gone."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)
        hearing = asyncio.ensure_future(self._hear(reader, waiting, weather))
        try:
            while True:
                due, data = await waiting.get()
                if not data:
                    return
                while (left := due - self._loop.time()) > 0:
                    await asyncio.sleep(left)
                await self._write(writer, data, weather)
        except OSError:
            return  # the other end is gone
        finally:
            hearing.cancel()

    async def _hear(
        self,
        reader: asyncio.StreamReader,
        waiting: asyncio.Queue[tuple[float, bytes]],
        weather: _Weather,
    ) -> None:
        """Note when each piece is due; an empty one is the end."""
        data = b"-"
        while data:
            try:
                data = await reader.read(CHUNK)
            except OSError:
                data = b""
            late = weather.delay_s + weather.jitter_s * self._chance.random()
            await waiting.put((self._loop.time() + late, data))

    async def _write(self, writer: asyncio.StreamWriter, data: bytes, weather: _Weather) -> None:
        at = 0
        while at < len(data):
            await weather.passes.wait()
            length, rate = weather.piece_bytes, weather.bytes_per_s
            if rate:
                length = min(length, max(1, int(rate * STEP_S)))
            piece = data[at : at + length]
            writer.write(piece)
            await writer.drain()
            at += len(piece)
            await asyncio.sleep(weather.pause_s + (len(piece) / rate if rate else 0))


def _address(endpoint: str) -> tuple[str, int]:
    parts = urlsplit(endpoint)
    if parts.scheme != "tcp" or parts.hostname is None or parts.port is None:
        raise ValueError(f"{endpoint!r} is no tcp://HOST:PORT")
    return parts.hostname, parts.port
