"""The station's sockets, and the loop around them.

One thread, three ROUTER sockets. Frames are taken in bunches, so that one commit serves many; the
answers go out after it. Nothing here decides anything.
"""

from __future__ import annotations

import contextlib

import zmq

from inspection import wire
from inspection.errors import ConfigurationError
from inspection.log import get_logger
from inspection.station.config import Listen
from inspection.station.station import Station

BUNCH = 256
"""Frames taken from the sockets before what they ask for is committed."""

BUNCH_BYTES = 256 * wire.KIB
"""... or so many bytes of them: a commit must not take so long that its peers think they were not
heard, nor that a verdict is late."""

EVIDENCE_BUNCH = 1
"""Pictures taken between two bunches of results: they come second."""


class Service:
    """Binds the station's endpoints and serves until told to stop."""

    def __init__(self, listen: Listen) -> None:
        if zmq.zmq_version_info() < (4, 3, 5):
            raise ConfigurationError(f"libzmq {zmq.zmq_version()} has known holes: use 4.3.5")
        self._context = zmq.Context()
        self._log = get_logger()
        self._stopped = False
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        for name, endpoint, limit in (
            ("edge", listen.edge, wire.EDGE_TO_STATION.max_bytes),
            ("plc", listen.plc, wire.PLC_TO_STATION.max_bytes),
            ("evidence", listen.evidence, wire.EVIDENCE_TO_STATION.max_bytes),
        ):
            socket = self._context.socket(zmq.ROUTER)
            # A few bytes of head room: the largest message must pass, its length in a header too.
            socket.maxmsgsize = limit + 1024
            socket.linger = 0
            socket.router_mandatory = True  # a peer that is gone is an error, not a silent drop
            socket.handshake_ivl = 2000
            socket.heartbeat_ivl = 500
            socket.heartbeat_timeout = 2000
            socket.sndhwm = 1000
            socket.rcvhwm = 1000
            try:
                socket.bind(endpoint)
            except zmq.ZMQError as error:
                self.close()
                raise ConfigurationError(f"listen.{name}: {endpoint}: {error.strerror}") from None
            self._sockets[name] = socket

    def stop(self) -> None:
        """Leave the loop soon; safe in a signal handler."""
        self._stopped = True

    def serve(self, station: Station) -> None:
        """Serve until `stop`."""
        poller = zmq.Poller()
        for socket in self._sockets.values():
            poller.register(socket, zmq.POLLIN)
        while not self._stopped:
            # Never longer than a signal may wait.
            poller.poll(min(station.wait_ns() // 1_000_000 + 1, 200))
            for name, peer, frame in station.work(self._take()):
                # Gone or not reading: whatever it needs to know it will ask for again.
                with contextlib.suppress(zmq.ZMQError):
                    self._sockets[name].send_multipart((peer, frame), zmq.NOBLOCK)

    def _take(self) -> list[tuple[str, bytes, bytes]]:
        taken: list[tuple[str, bytes, bytes]] = []
        for name, socket in self._sockets.items():
            bunch = EVIDENCE_BUNCH if name == "evidence" else BUNCH
            size = 0
            for _ in range(bunch):
                if size > BUNCH_BYTES:
                    break
                try:
                    peer, *frames = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                size += sum(map(len, frames))
                # A message of several frames is no message of ours; an empty one is none either.
                taken.append((name, peer, frames[0] if len(frames) == 1 else b""))
        return taken

    def close(self) -> None:
        """Close all sockets at once; what was not sent is asked for again."""
        for socket in self._sockets.values():
            socket.close(linger=0)
        self._context.term()
