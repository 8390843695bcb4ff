"""Inference on a thread of its own, ended when it takes too long.

A thread that is inside an engine can do nothing else, not even say that it is alive. So it is not
the worker's: that one waits, speaks with the station meanwhile, and at the end of its patience has
the engine end the run. What comes in later than that counts for nothing.
"""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from inspection.errors import ModelHung
from inspection.imaging import Frame
from inspection.runtimes import Model, Outputs

PAUSE_S = 0.1
"""How long the waiting thread goes without doing anything else."""
GRACE_S = 2.0
"""What an engine is given to end a run that it was told to end: it looks between two operators, and
one operator of a real model takes milliseconds."""


class Inference:
    """Runs models, one inference at a time, on a thread that dies with the process.

    ``stuck`` is true once an engine did not even end when told to: its thread is lost, nothing can
    be judged any more, and the process should end. ``bell`` is a descriptor: while it is readable,
    whoever waits for an inference does something else.
    """

    def __init__(self, *, grace_s: float = GRACE_S, bell: int | None = None) -> None:
        self.stuck = False
        self._grace_s = grace_s
        self._done_bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        for descriptor in (self._done_bell, bell):
            if descriptor is not None:
                self._poll.register(descriptor, select.POLLIN)
        self._thread: threading.Thread | None = None
        self._work: SimpleQueue[tuple[Model, Frame] | None] = SimpleQueue()
        self._done: SimpleQueue[Outputs | Exception] = SimpleQueue()

    def outputs(
        self, model: Model, crops: Frame, limit_s: float, meanwhile: Callable[[], None]
    ) -> Outputs:
        """As `Model.outputs`. ``meanwhile`` is called when the bell rings, and now and then where
        it takes long; raises `ModelHung` where it takes longer than ``limit_s``, and whatever the
        model raises."""
        if self.stuck:
            raise ModelHung("an inference before this one never ended", ended=False)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work_on, name="inference", daemon=True)
            self._thread.start()
        until = time.monotonic() + limit_s
        self._work.put((model, crops))
        while True:
            left = until - time.monotonic()
            if left <= 0:
                break
            if self._is_done(min(PAUSE_S, left)):
                return _result(self._done.get())
            meanwhile()
        ended = self._end(model, meanwhile)
        name = f"{model.package.manifest.name} {model.package.manifest.version}"
        if not ended:
            self.stuck = True
            text = f"{name}: an inference did not end after {limit_s:.1f} s, nor when told to"
            raise ModelHung(text, ended=False)
        raise ModelHung(f"{name}: an inference was ended after {limit_s:.1f} s", ended=True)

    def close(self) -> None:
        """Let the thread end, once it is out of the engine."""
        self._work.put(None)
        if self._thread is None:
            os.close(self._done_bell)

    def _end(self, model: Model, meanwhile: Callable[[], None]) -> bool:
        """Tell the engine to end the run; whether it did."""
        until = time.monotonic() + self._grace_s
        while time.monotonic() < until:
            # Again and again: told before the run has begun, the engine does not remember.
            model.stop()
            if self._is_done(PAUSE_S / 2):
                self._done.get()  # whatever it is, it is too late
                return True
            meanwhile()
        return False

    def _is_done(self, wait_s: float) -> bool:
        """Whether there is an answer, after waiting so long or until the bell rings."""
        for descriptor, _ in self._poll.poll(math.ceil(wait_s * 1000)):
            if descriptor == self._done_bell:
                os.eventfd_read(self._done_bell)
                return True
        return False

    def _work_on(self) -> None:
        while (job := self._work.get()) is not None:
            model, crops = job
            try:
                self._done.put(model.outputs(crops))
            except Exception as error:  # noqa: BLE001  for the thread that waits, whatever it is
                self._done.put(error)
            os.eventfd_write(self._done_bell, 1)
        os.close(self._done_bell)


def _result(said: Outputs | Exception) -> Outputs:
    if isinstance(said, Exception):
        raise said
    return said
