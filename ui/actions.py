"""What a person asks of the station through a page: to be known, and to have a word written down.

One `Counter` a browser session, with a socket of its own. What it says is certain: `NotSent` where
nothing reached the station, `NoAnswer` where it may be on record all the same. The station ignores
a request that it knows and answers it again, so that whoever heard nothing asks with the same
number once more.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any

import zmq

from inspection import messages as m
from inspection import wire
from inspection.curve import connect_with
from inspection.errors import InspectionError, WireError
from inspection.keys import ClientKeys
from inspection.messages import Fault, Role

ANSWER_S = 5.0
"""Longer than a station takes on a slow disk; a person waits no longer without being told."""
CONNECT_S = 1.5
AGAIN_S = 1.0


class NotSent(InspectionError):
    """The station cannot be reached: nothing was asked of it."""


class NoAnswer(InspectionError):
    """The station was asked and has not answered: it may be on record or not."""


class Refused(InspectionError):
    """The station has refused, and nothing has changed."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has logged in. Lives in the memory of one browser session and nowhere else."""

    user: str
    roles: frozenset[Role]
    token: str
    until_ns: int
    """Until when the token holds, on this machine's monotonic clock."""

    def __repr__(self) -> str:
        # Ends up in log lines and tracebacks; its token must not.
        return f"Session({self.user!r})"


def new_request() -> str:
    """The number of a request that nobody has made yet."""
    return secrets.token_hex(16)


class Counter:
    """Where one browser session speaks to the station. Safe to share between threads."""

    def __init__(self, endpoint: str, keys: ClientKeys | None) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._lock = threading.Lock()

    def login(self, user: str, password: str) -> Session:
        """Who somebody is, by the station's word. Raises `Refused`, `NotSent` or `NoAnswer`."""
        answer = self._ask(m.Login(request_id=new_request(), user=user, password=password))
        until_ns = time.monotonic_ns() + answer.valid_ms * 1_000_000
        return Session(answer.user, frozenset(answer.roles), answer.token, until_ns)

    def decide(self, word: m.Decide) -> m.Decided:
        """Have a word written down. Raises `Refused`, `NotSent` or `NoAnswer`."""
        answer: m.Decided = self._ask(word)
        return answer

    def look(self, look: m.Look) -> m.LookKept:
        """Have a second look written down. Raises `Refused`, `NotSent` or `NoAnswer`."""
        answer: m.LookKept = self._ask(look)
        return answer

    def plan_study(self, study: m.PlanStudy) -> m.StudyKept:
        """Have a study written down as it is planned. Raises `Refused`, `NotSent` or `NoAnswer`."""
        answer: m.StudyKept = self._ask(study)
        return answer

    def close(self) -> None:
        """Give the socket back; the next question opens another."""
        with self._lock:
            self._drop()

    def __del__(self) -> None:
        # A session ends without a word, when its browser is closed.
        self._drop()
        self._context.destroy(linger=0)

    def _ask(self, message: Any) -> Any:
        frame = wire.PEOPLE_TO_STATION.encode(message)
        with self._lock:
            try:
                answer = self._answered(frame, message.request_id)
            except BaseException:
                # What may still lie in the socket must not reach a station that starts later.
                self._drop()
                raise
        if isinstance(answer, m.Declined | m.Refused):
            raise Refused(answer.fault, answer.text)
        return answer

    def _answered(self, frame: bytes, request_id: str) -> Any:
        until = time.monotonic() + ANSWER_S
        sent = False
        while (now := time.monotonic()) < until:
            socket = self._open()
            if not socket.poll(int(CONNECT_S * 1000), zmq.POLLOUT):
                self._drop()
                break
            socket.send(frame)
            sent = True
            again = min(until, now + AGAIN_S)
            while (left := again - time.monotonic()) > 0:
                if not socket.poll(max(1, int(left * 1000))):
                    continue
                try:
                    answer = wire.STATION_TO_PEOPLE.decode(socket.recv())
                except WireError:
                    continue
                if isinstance(answer, m.Refused) or answer.request_id == request_id:
                    return answer
        if sent:
            raise NoAnswer("the station has not answered")
        raise NotSent("the station cannot be reached")

    def _open(self) -> zmq.Socket[bytes]:
        if self._socket is None:
            socket = self._context.socket(zmq.DEALER)
            socket.linger = 0
            # A word is given to a station that is there, or not at all: none waits for its start.
            socket.setsockopt(zmq.IMMEDIATE, 1)
            connect_with(socket, self._keys)
            socket.connect(self._endpoint)
            self._socket = socket
        return self._socket

    def _drop(self) -> None:
        socket, self._socket = getattr(self, "_socket", None), None
        if socket is not None:
            socket.close(linger=0)
