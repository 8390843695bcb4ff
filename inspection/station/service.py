"""The station's sockets, and the loop around them.

One thread, a ROUTER socket for each kind of peer. Frames are taken in bunches, so that one commit
serves many; the answers go out after it. Nothing here decides anything but who is heard: with keys,
a frame counts only while the key it came under is in the list, and an answer goes only to such a
key.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import cast

import zmq

from inspection import wire
from inspection.curve import Gatekeeper, Handshakes, serve_with
from inspection.errors import ConfigurationError, NotAuthorised
from inspection.keys import Allowed, AllowList, KeyPair, KeyRole
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


REMEMBERED_PEERS = 4096

ROLES = {
    "edge": KeyRole.EDGE,
    "evidence": KeyRole.EDGE,
    "plc": KeyRole.PLC,
    "people": KeyRole.PEOPLE,
}
"""Whose keys each socket takes."""


class Service:
    """Binds the station's endpoints and serves until told to stop. Without ``keys`` the sockets
    are open to whoever can reach them."""

    def __init__(self, listen: Listen, keys: tuple[KeyPair, AllowList] | None = None) -> None:
        if zmq.zmq_version_info() < (4, 3, 5):
            raise ConfigurationError(f"libzmq {zmq.zmq_version()} has known holes: use 4.3.5")
        self._context = zmq.Context()
        self._log = get_logger()
        self._stopped = False
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._poller = zmq.Poller()
        self._handshakes = Handshakes()
        self._peers: OrderedDict[tuple[str, bytes], str] = OrderedDict()
        """Under which key each peer was last heard."""
        self._gate: Gatekeeper | None = None
        self._dropped = 0
        self._list_fault = ""
        self._seen: Mapping[str, Allowed] = {}
        """The keys that were allowed when the peers were last compared with them."""
        if keys is not None:
            try:
                self._gate = Gatekeeper(self._context, keys[1])
                self._poller.register(self._gate.socket, zmq.POLLIN)
            except ConfigurationError:
                self.close()
                raise
        for name, endpoint, limit in (
            ("edge", listen.edge, wire.EDGE_TO_STATION.max_bytes),
            ("plc", listen.plc, wire.PLC_TO_STATION.max_bytes),
            ("evidence", listen.evidence, wire.EVIDENCE_TO_STATION.max_bytes),
            ("people", listen.people, wire.PEOPLE_TO_STATION.max_bytes),
        ):
            if endpoint is None:
                continue
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
            if keys is not None:
                serve_with(socket, keys[0], ROLES[name])
            self._handshakes.watch(socket, name)
            self._sockets[name] = socket
            self._poller.register(socket, zmq.POLLIN)
            try:
                socket.bind(endpoint)
            except zmq.ZMQError as error:
                self.close()
                raise ConfigurationError(f"listen.{name}: {endpoint}: {error.strerror}") from None

    def stop(self) -> None:
        """Leave the loop soon; safe in a signal handler."""
        self._stopped = True

    def serve(self, station: Station) -> None:
        """Serve until `stop`. Raises `NotAuthorised` where it can no longer tell who is there."""
        while not self._stopped:
            # Never longer than a signal may wait.
            self.step(station, min(station.wait_ns() // 1_000_000 + 1, 200))

    def step(self, station: Station, wait_ms: int) -> None:
        """Wait for frames, at most so long, and deal with those that are there."""
        try:
            self._poller.poll(wait_ms)
            if self._gate is not None:
                self._gate.answer()
        except zmq.ZMQError as error:
            # Nobody would check the next key: whoever is connected is sent away as well.
            for socket in self._sockets.values():
                self._handshakes.forget(socket)
                socket.close(linger=0)
            raise NotAuthorised(f"nobody can tell who connects, so nobody may: {error}") from error
        self._handshakes.report()
        if self._gate is not None:
            self._look_at_list(self._gate.allowed, station)
        frames, senders = self._take()
        for name, peer, frame in station.work(frames, senders):
            if self._gate is not None and not self._may_hear(self._gate.allowed, name, peer):
                continue
            # Gone or not reading: whatever it needs to know it will ask for again.
            with contextlib.suppress(zmq.ZMQError):
                self._sockets[name].send_multipart((peer, frame), zmq.NOBLOCK)

    def _take(self) -> tuple[list[tuple[str, bytes, bytes]], list[Allowed | None]]:
        taken: list[tuple[str, bytes, bytes]] = []
        senders: list[Allowed | None] = []
        for name, socket in self._sockets.items():
            bunch = EVIDENCE_BUNCH if name == "evidence" else BUNCH
            size = 0
            for _ in range(bunch):
                # Asked in vain for most sockets: the flag costs a tenth of an exception.
                arrived = cast(int, socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN
                if size > BUNCH_BYTES or not arrived:
                    break
                try:
                    if self._gate is None:
                        sender = None
                        peer, *frames = socket.recv_multipart(zmq.NOBLOCK)
                    else:
                        parts = socket.recv_multipart(zmq.NOBLOCK, copy=False)
                        peer, *frames = (part.bytes for part in parts)
                        sender = self._sender(self._gate.allowed, name, peer, parts[-1])
                        if sender is None:
                            continue
                except zmq.Again:
                    break
                size += sum(map(len, frames))
                # A message of several frames is no message of ours; an empty one is none either.
                taken.append((name, peer, frames[0] if len(frames) == 1 else b""))
                senders.append(sender)
        return taken, senders

    def _sender(
        self, allowed: AllowList, name: str, peer: bytes, part: zmq.Frame
    ) -> Allowed | None:
        """Under whose key a frame came; None where that key is not in the list at this moment."""
        try:
            key = str(part.get("User-Id"))
        except zmq.ZMQError:
            key = ""
        entry = allowed.keys.get(key)
        if entry is None or entry.role is not ROLES[name]:
            if self._dropped % 1000 == 0:
                text = f"{name}: a frame under a key that is not allowed, or no longer"
                self._log.warning("frame dropped", text=text, key=key, dropped=self._dropped + 1)
            self._dropped += 1
            return None
        self._peers[name, peer] = key
        self._peers.move_to_end((name, peer))
        if len(self._peers) > REMEMBERED_PEERS:
            self._peers.popitem(last=False)
        return entry

    def _may_hear(self, allowed: AllowList, name: str, peer: bytes) -> bool:
        allowed.refresh()
        return self._peers.get((name, peer), "") in allowed.keys

    def _look_at_list(self, allowed: AllowList, station: Station) -> None:
        """Take up what has changed in the list of allowed keys: whoever is no longer in it is cut
        off now, not at its next handshake."""
        allowed.refresh()
        if allowed.keys is self._seen:
            return
        self._seen = allowed.keys
        for (name, peer), key in list(self._peers.items()):
            if key not in allowed.keys:
                del self._peers[name, peer]
                station.cut(name, peer)
                station.report("key_revoked", f"{name}: key {key} is no longer allowed")
                self._log.warning("key revoked", socket=name, key=key)
        if allowed.fault != self._list_fault:
            self._list_fault = allowed.fault
            if allowed.fault:
                station.report("keys_unusable", allowed.fault)
                self._log.error("nobody is allowed", text=allowed.fault)

    def close(self) -> None:
        """Close all sockets at once; what was not sent is asked for again."""
        for socket in self._sockets.values():
            self._handshakes.forget(socket)
            socket.close(linger=0)
        if self._gate is not None:
            self._gate.close()
        self._context.term()
