"""Results become durable on a thread of their own, while the worker judges the next view.

A disk takes milliseconds for a sync, and the longer it takes the more records wait for the next
one: what waits is written as one group with one sync. Nothing is sent meanwhile that is not
durable, because only durable records can be read from the outbox.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque

from edge.outbox import Outbox
from inspection.closing import Closing
from inspection.messages import OrderRef

GROUP = 64
"""Records of one sync."""
MOST_WAITING = 64
"""Records that may wait: with a disk that no longer keeps up the worker waits too, instead of
filling its memory with what would be lost with it."""


class OutboxThread(Closing):
    """Appends to an outbox, of which it is the only one that does.

    `fileno` becomes readable when something has become durable or has failed. Whatever `append`
    raised is raised again by `put`, `durable` and `settle`, for ever: the worker must not go on.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._changed = threading.Condition()
        self._waiting: deque[tuple[OrderRef, bytes]] = deque()
        self._in_hand = 0
        self._durable: list[tuple[OrderRef, int]] = []
        self._fault: BaseException | None = None
        self._closed = False
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        return self._bell

    def put(self, ref: OrderRef, payload: bytes) -> None:
        """Hand a record in; it is neither durable nor sent when this returns."""
        with self._changed:
            self._changed.wait_for(lambda: self._fault or len(self._waiting) < MOST_WAITING)
            self._check()
            self._waiting.append((ref, payload))
            self._changed.notify_all()

    def durable(self) -> list[tuple[OrderRef, int]]:
        """What has become durable since the last call, and when (monotonic, nanoseconds)."""
        with self._changed:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._bell)
            self._check()
            done, self._durable = self._durable, []
        return done

    def settle(self) -> None:
        """Return once everything handed in is durable."""
        with self._changed:
            self._changed.wait_for(lambda: self._fault or (not self._waiting and not self._in_hand))
            self._check()

    def close(self) -> None:
        """Finish what was handed in, unless the outbox has failed, and end the thread."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        os.close(self._bell)

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                count = min(GROUP, len(self._waiting))
                group = [self._waiting.popleft() for _ in range(count)]
                self._in_hand = count
                self._changed.notify_all()
            try:
                self._outbox.append([payload for _, payload in group])
            except BaseException as error:  # noqa: BLE001  for the worker, whatever it is
                with self._changed:
                    self._fault = error
                    self._changed.notify_all()
                    os.eventfd_write(self._bell, 1)
                return
            now = time.monotonic_ns()
            with self._changed:
                self._in_hand = 0
                self._durable += [(ref, now) for ref, _ in group]
                self._changed.notify_all()
                os.eventfd_write(self._bell, 1)
