"""CURVE on sockets: encrypted, both sides known, and nobody let in by default.

libzmq asks a ZAP handler (https://rfc.zeromq.org/spec/27/) whether a key may connect, and, left to
itself, lets everybody in where there is none. Here the handler is a socket of the station's own
loop: as long as frames are read it answers, and `ZAP_ENFORCE_DOMAIN` refuses whoever comes while
it does not. libzmq asks only once a connection; so the station also looks every message's key up.
"""

from __future__ import annotations

import time
from typing import Any

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from inspection.errors import ConfigurationError
from inspection.keys import Allowed, AllowList, ClientKeys, KeyPair, KeyRole, fingerprint
from inspection.log import get_logger

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
)
LOOK_S = 0.1
SAY_AGAIN_S = 30.0
"""A peer that fails does so several times a second, for days: each kind is written so often."""
SAY_MOST = 20
"""Refusals written in that time at most: whoever tries new keys shall not fill the disk."""


def serve_with(socket: zmq.Socket[bytes], own: KeyPair, role: KeyRole) -> None:
    """Make a socket a CURVE server that lets in keys of this role; before it is bound."""
    socket.curve_secretkey = own.secret.encode("ascii")
    socket.curve_publickey = own.public.encode("ascii")
    socket.curve_server = True
    socket.zap_domain = role.value.encode("ascii")
    # Without it libzmq accepts any key where no handler answers.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def connect_with(socket: zmq.Socket[bytes], keys: ClientKeys | None) -> None:
    """Make a socket a CURVE client that talks to this station only; before it connects."""
    if keys is None:
        return
    socket.curve_secretkey = keys.own.secret.encode("ascii")
    socket.curve_publickey = keys.own.public.encode("ascii")
    socket.curve_serverkey = keys.station.encode("ascii")


class Gatekeeper:
    """Answers libzmq's questions of who may connect, from the list of allowed keys.

    To be polled with the sockets of the same context; `answer` when it has something. Any error
    there is the caller's to end on: a station that cannot tell who is there must not go on.
    """

    def __init__(self, context: zmq.Context[Any], allowed: AllowList) -> None:
        self.allowed = allowed
        self._log = get_logger()
        self._said: set[str] = set()
        self._unsaid = 0
        self._since = time.monotonic()
        self.socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self.socket.linger = 0
        try:
            self.socket.bind(ZAP_ENDPOINT)
        except zmq.ZMQError as error:
            self.socket.close()
            raise ConfigurationError(f"keys: cannot answer who may connect: {error}") from None

    def answer(self) -> None:
        """Answer everything that is asked. Raises `zmq.ZMQError` where it cannot."""
        while True:
            try:
                asked = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            version, request = asked[0], asked[1] if len(asked) > 1 else b""
            entry, why = self._judge(asked)
            code, text = (b"400", b"not allowed") if entry is None else (b"200", b"")
            name = b"" if entry is None else entry.public.encode("ascii")
            if entry is None:
                self._tell(why)
            self.socket.send_multipart((version, request, code, text, name, b""))

    def _judge(self, asked: list[bytes]) -> tuple[Allowed | None, str]:
        if len(asked) != 7 or asked[0] != b"1.0" or asked[5] != b"CURVE" or len(asked[6]) != 32:
            return None, "a peer without a key"
        key = z85.encode(asked[6]).decode("ascii")
        self.allowed.refresh()
        entry = self.allowed.keys.get(key)
        who = f"key {key} ({fingerprint(key)}) from {asked[3].decode('ascii', 'replace')}"
        if entry is None:
            return None, f"{who}: {self.allowed.fault or 'is not in the list, or revoked'}"
        domain = asked[2].decode("ascii", "replace")
        if entry.role.value != domain:
            return None, f"{who}: may connect as {entry.role.value}, not as {domain}"
        return entry, ""

    def _tell(self, why: str) -> None:
        now = time.monotonic()
        if now - self._since >= SAY_AGAIN_S:
            if self._unsaid:
                self._log.warning("connections refused", unsaid=self._unsaid)
            self._said.clear()
            self._unsaid, self._since = 0, now
        if why in self._said or len(self._said) >= SAY_MOST:
            self._unsaid += 1
            return
        self._said.add(why)
        self._log.warning("connection refused", text=why)

    def close(self) -> None:
        self.socket.close(linger=0)


class Handshakes:
    """Why connections of a process's sockets do not come about: a wrong key looks just like a
    station that is switched off, unless somebody says so."""

    def __init__(self) -> None:
        self._log = get_logger()
        self._said: dict[tuple[str, int, int], tuple[float, int]] = {}
        self._looked = float("-inf")
        self._monitors: dict[zmq.Socket[bytes], tuple[str, zmq.Socket[bytes]]] = {}

    def watch(self, socket: zmq.Socket[bytes], name: str) -> None:
        """From now on, until `forget`."""
        events = 0
        for event in _FAILURES:
            events |= event
        self._monitors[socket] = name, socket.get_monitor_socket(events)

    def forget(self, socket: zmq.Socket[bytes]) -> None:
        """Before a watched socket is closed."""
        if socket in self._monitors:
            name, monitor = self._monitors.pop(socket)
            self._report(name, monitor)
            socket.disable_monitor()
            monitor.close(linger=0)

    def report(self) -> None:
        """Write what has happened since last time into the log; never blocks. Looks ten times a
        second at most, however often it is called."""
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        for name, monitor in self._monitors.values():
            self._report(name, monitor)

    def _report(self, name: str, monitor: zmq.Socket[bytes]) -> None:
        while True:
            try:
                event = parse_monitor_message(monitor.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            kind, value, now = int(event["event"]), int(event["value"]), time.monotonic()
            last, count = self._said.get((name, kind, value), (float("-inf"), 0))
            if now - last < SAY_AGAIN_S:
                self._said[name, kind, value] = (last, count + 1)
                continue
            self._said[name, kind, value] = (now, 0)
            self._log.warning(
                "handshake failed",
                socket=name,
                endpoint=event["endpoint"].decode("ascii", "replace"),
                text=_explained(kind, value),
                unsaid=count,
            )


def _explained(kind: int, value: int) -> str:
    if kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return f"the key is not allowed (ZAP {value}): see 'inspection keys list' at the station"
    if kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
        if value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            return "one side has [keys] and the other has none"
        if value == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC:
            return "the peer does not have the right public key of the station"
        return f"no handshake that is understood (protocol error {value:#x})"
    return "the peer hung up: is the public key of the station the right one?"
