"""A wire that can be cut: a TCP proxy between two processes, for tests."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field

Address = tuple[str, int]


@dataclass(eq=False)
class _End:
    """One socket, and what is on its way to it: (when it may go, bytes)."""

    socket: socket.socket
    other: _End | None = None
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)


class Proxy:
    """Passes on what comes in at ``listen`` to ``target``, and back, until told otherwise."""

    def __init__(self, listen: Address, target: Address) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._ends: list[_End] = []
        self._delay_s = 0.0
        self._closed_until = 0.0
        self._stopped = False
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(listen)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self.address: Address = self._listener.getsockname()[:2]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self, seconds: float = 0.0) -> int:
        """End every connection, with what is on its way; refuse new ones for a while. Returns how
        many connections there were."""
        return self._end_all(seconds, linger=False)

    def reset(self, seconds: float = 0.0) -> int:
        """The same with a RST, as when a switch is restarted."""
        return self._end_all(seconds, linger=True)

    def delay(self, milliseconds: float) -> None:
        """From now on every byte is so late, in both directions."""
        self._delay_s = milliseconds / 1000

    def close(self) -> None:
        self._stopped = True
        self._thread.join()
        self._end_all(0.0, linger=False)
        self._listener.close()
        self._selector.close()

    def _end_all(self, seconds: float, *, linger: bool) -> int:
        with self._lock:
            self._closed_until = time.monotonic() + seconds
            count = len(self._ends) // 2
            for end in list(self._ends):
                if linger:
                    option = struct.pack("ii", 1, 0)
                    end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
                self._drop(end)
            return count

    def _drop(self, end: _End) -> None:
        if end in self._ends:
            self._ends.remove(end)
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end.socket)
            end.socket.close()

    def _run(self) -> None:
        while not self._stopped:
            ready = self._selector.select(0.005)
            with self._lock:
                for key, _ in ready:
                    if key.data is None:
                        self._accept()
                    elif key.data in self._ends:
                        self._read(key.data)
                for end in list(self._ends):
                    self._write(end)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            if time.monotonic() < self._closed_until:
                raise ConnectionRefusedError
            server = socket.create_connection(self._target, 1)
        except OSError:
            client.close()
            return
        ends = _End(client), _End(server)
        for end, other in (ends, ends[::-1]):
            end.other = other
            end.socket.setblocking(False)
            end.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends.append(end)
            self._selector.register(end.socket, selectors.EVENT_READ, end)

    def _read(self, end: _End) -> None:
        assert end.other is not None
        try:
            data = end.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            end.other.waiting.append((time.monotonic() + self._delay_s, data))
        else:
            self._drop(end.other)
            self._drop(end)

    def _write(self, end: _End) -> None:
        while end in self._ends and end.waiting and end.waiting[0][0] <= time.monotonic():
            due, data = end.waiting.popleft()
            try:
                sent = end.socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                assert end.other is not None
                self._drop(end.other)
                self._drop(end)
                return
            if sent < len(data):
                end.waiting.appendleft((due, data[sent:]))
                return
