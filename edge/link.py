"""An edge's session with its station, without a socket.

`Link` is told what came in and what time it is, and says what to send. The rules: nothing is sent
that the outbox has not synced; the outbox forgets only what the station has committed; when
acknowledgements stay away the session is opened anew, and sending goes back to where the station
stands (go-back-N). An answer that carries another session's nonce is from the past and dropped.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import UNSET

from edge.outbox import Outbox
from inspection import wire
from inspection.errors import WireError
from inspection.log import get_logger
from inspection.messages import (
    Committed,
    Fault,
    Hello,
    Id,
    ModelRef,
    ModelState,
    Order,
    OrderRef,
    Ping,
    Pong,
    Refused,
    Results,
    Welcome,
)

MS = 1_000_000
PING_NS = 250 * MS
SILENCE_NS = 1500 * MS
"""A station that says nothing for so long is gone, whatever the socket believes."""
PATIENCE_NS = 4 * SILENCE_NS
"""What a new socket is given at most before the next one, twice as long each time nothing came: on
a slow wire connecting alone takes longer than `SILENCE_NS`."""
ACK_NS = 1000 * MS
"""A batch that is not acknowledged within this was lost."""
RETRY_NS = (100 * MS, 3000 * MS)
"""First and longest pause before another hello; an answer that takes longer is never heard."""
AWAY_NS = 500 * MS
"""A caller that was away for so long (an exposure) has not listened: silence counts from now."""
CONNECT_NS = 50 * MS
"""What a new socket is given before something is sent on it."""
BATCH_RECORDS = 64
BATCH_BYTES = 700 * 1024


class Offer(Protocol):
    """The models of an edge, which change while it works (`edge.models.Models`)."""

    @property
    def states(self) -> Sequence[ModelState]: ...

    def say(self, counter: int) -> Sequence[ModelState]: ...

    def heard(self, counter: int, asked: Mapping[str, tuple[ModelRef, ...]]) -> None: ...


class Link:
    """One edge's side of the conversation; see the module's docstring for the rules."""

    def __init__(
        self,
        edge: Id,
        cameras: Callable[[], tuple[Id, ...]],
        models: Sequence[ModelState] | Offer,
        outbox: Outbox,
        working: Callable[[], tuple[OrderRef, ...]],
    ) -> None:
        self._edge = edge
        self._cameras = cameras
        self._offer = None if isinstance(models, Sequence) else models
        self._states = tuple(models) if isinstance(models, Sequence) else ()
        self._outbox = outbox
        self._working = working
        self._log = get_logger()
        self._nonce = ""
        self.open = False
        self.must_reconnect = False
        """The socket must be replaced before the next frame is sent: after an error of protocol
        libzmq never connects it again, and does not say so."""
        self._credit = 0
        self._sent = 0
        self._progress_ns = 0
        self._heard_ns = 0
        self._pinged_ns = 0
        self._counter = 0
        self._retry_ns = 0
        self._socket_ns = 0
        self._asked_ns = 0
        self._pause_ns = RETRY_NS[0]
        self._patience_ns = SILENCE_NS

    def received(self, frame: bytes, now_ns: int) -> Order | None:
        """One frame from the station; an order in it is the caller's to carry out."""
        try:
            message = wire.STATION_TO_EDGE.decode(frame)
        except WireError as error:
            self._log.warning("frame not understood", text=str(error))
            return None
        match message:
            case Welcome() if message.nonce == self._nonce and not self.open:
                self._welcome(message, now_ns)
            case Committed() if message.nonce == self._nonce and self.open:
                self._heard_ns = now_ns
                self._committed(message.committed, message.credit, now_ns)
            case Pong() if message.nonce == self._nonce:
                self._heard_ns = now_ns
                if self._offer is not None and message.models is not UNSET:
                    self._offer.heard(message.counter, message.models)
            case Refused():
                self._refused(message, now_ns)
            case Order() if self.open:
                self._heard_ns = now_ns
                return message
            case _:
                pass  # of an earlier session
        return None

    def to_send(self, now_ns: int) -> list[bytes]:
        """The frames that are due."""
        if now_ns - self._asked_ns > AWAY_NS:
            self._heard_ns = self._progress_ns = now_ns
        self._asked_ns = now_ns
        if self.open and self._lost(now_ns):
            self.open = False
            return self._replace_socket(now_ns)
        if not self.open:
            return self._hello(now_ns)
        frames: list[bytes] = []
        if now_ns - self._pinged_ns >= PING_NS:
            self._pinged_ns = now_ns
            self._counter += 1
            ping = Ping(
                edge=self._edge,
                nonce=self._nonce,
                counter=self._counter,
                outbox_records=self._outbox.pending,
                working=self._working(),
                models=UNSET if self._offer is None else tuple(self._offer.say(self._counter)),
            )
            frames.append(wire.EDGE_TO_STATION.encode(ping))
        return frames + self._results(now_ns)

    def begin_anew(self, now_ns: int) -> None:
        """Say hello again: what this edge can do has changed."""
        self.open = False
        self._retry_ns = now_ns

    def ping_now(self) -> None:
        """What a ping says has changed: it shall not wait for its turn."""
        self._pinged_ns = -PING_NS

    def wait_ns(self, now_ns: int) -> int:
        """How long nothing is due, unless a frame comes in or the outbox grows."""
        due = self._pinged_ns + PING_NS if self.open else self._retry_ns
        return max(0, due - now_ns)

    def _lost(self, now_ns: int) -> bool:
        unanswered = self._sent >= self._outbox.first_seq
        if now_ns - self._heard_ns > SILENCE_NS:
            self._log.warning("station silent")
            return True
        if unanswered and now_ns - self._progress_ns > ACK_NS:
            self._log.warning("acknowledgement missing", sent=self._sent)
            return True
        return False

    def _replace_socket(self, now_ns: int) -> list[bytes]:
        self.must_reconnect = True
        self._socket_ns = now_ns
        self._retry_ns = now_ns + CONNECT_NS
        # Soon and often: one hello that comes before the socket is connected must not be the only
        # one that it ever gets.
        self._pause_ns = RETRY_NS[0]
        return []

    def _hello(self, now_ns: int) -> list[bytes]:
        if now_ns < self._retry_ns:
            return []
        if self._socket_ns and now_ns - self._socket_ns > self._patience_ns:
            self._patience_ns = min(2 * self._patience_ns, PATIENCE_NS)
            return self._replace_socket(now_ns)
        self._socket_ns = self._socket_ns or now_ns
        self._nonce = secrets.token_hex(16)
        # Jitter, so that the edges of a line do not all return at the same instant.
        self._retry_ns = now_ns + int(self._pause_ns * random.uniform(0.8, 1.2))  # noqa: S311
        self._pause_ns = min(self._pause_ns * 2, RETRY_NS[1])
        hello = Hello(
            edge=self._edge,
            outbox=self._outbox.outbox_id,
            nonce=self._nonce,
            first_seq=self._outbox.first_seq,
            next_seq=self._outbox.next_seq,
            cameras=self._cameras(),
            models=self._states if self._offer is None else tuple(self._offer.states),
            working=self._working(),
        )
        return [wire.EDGE_TO_STATION.encode(hello)]

    def _welcome(self, welcome: Welcome, now_ns: int) -> None:
        self.open = True
        self._pause_ns = RETRY_NS[0]
        self._patience_ns = SILENCE_NS
        self._heard_ns = self._progress_ns = self._pinged_ns = self._socket_ns = now_ns
        self._sent = welcome.committed
        self._log.info("station connected", station=welcome.station, committed=welcome.committed)
        self._committed(welcome.committed, welcome.credit, now_ns)

    def _committed(self, committed: int, credit: int, now_ns: int) -> None:
        self._credit = credit
        if committed >= self._outbox.first_seq:
            self._outbox.forget(committed)
            self._progress_ns = now_ns

    def _refused(self, refused: Refused, now_ns: int) -> None:
        if refused.fault is Fault.UNKNOWN_SESSION:
            if self.open:
                self._log.info("station was restarted")
                self.begin_anew(now_ns)
            return
        self._log.error("station refuses", fault=refused.fault.name, text=refused.text)
        self.open = False
        self._retry_ns = now_ns + RETRY_NS[1]

    def _results(self, now_ns: int) -> list[bytes]:
        frames: list[bytes] = []
        first_unanswered = self._outbox.first_seq
        while True:
            first = max(self._sent + 1, first_unanswered)
            if first == self._outbox.next_seq:
                return frames
            room = self._credit - (first - first_unanswered)
            records = (
                self._outbox.read(first, min(room, BATCH_RECORDS), BATCH_BYTES) if room > 0 else []
            )
            if not records:
                return frames
            if self._sent < first_unanswered:
                self._progress_ns = now_ns  # the clock of an acknowledgement starts with sending
            self._sent = first + len(records) - 1
            results = Results(
                outbox=self._outbox.outbox_id,
                nonce=self._nonce,
                first_seq=first,
                records=tuple(records),
            )
            frames.append(wire.EDGE_TO_STATION.encode(results))
