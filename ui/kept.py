"""Answers that everybody is shown alike: asked of the store once for all of them, and renewed
behind whoever looks again. No Streamlit here."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

T = TypeVar("T")

MOST = 64


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What was found, and when; wall clock."""

    value: T
    read_ns: int


@dataclass(slots=True)
class _Place:
    lock: threading.Lock = field(default_factory=threading.Lock)
    answer: Answer[object] | None = None
    made_s: float = 0.0


def in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="answer renewed behind", daemon=True).start()


class Kept:
    """Safe to share between threads. ``behind`` runs what is not waited for; ``seconds`` is a
    monotonic clock."""

    def __init__(
        self,
        *,
        behind: Callable[[Callable[[], None]], None] = in_a_thread,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._behind = behind
        self._seconds = seconds
        self._lock = threading.Lock()
        self._places: OrderedDict[Hashable, _Place] = OrderedDict()

    def get(
        self, key: Hashable, make: Callable[[], T], *, fresh_s: float, old_s: float
    ) -> Answer[T]:
        """The answer kept for a key. One older than ``fresh_s`` is given once more while ``make``
        is asked behind; one older than ``old_s`` is waited for, as the first is, and what ``make``
        raises is then raised. Of several that wait, one asks."""
        with self._lock:
            place = self._places.setdefault(key, _Place())
            self._places.move_to_end(key)
            while len(self._places) > MOST:
                self._places.popitem(last=False)
        age = self._seconds() - place.made_s
        if place.answer is None or age > old_s:
            with place.lock:
                if place.answer is None or self._seconds() - place.made_s > old_s:
                    self._make(place, make)
        elif age > fresh_s and place.lock.acquire(blocking=False):
            try:
                self._behind(lambda: self._renew(place, make))
            except BaseException:
                place.lock.release()
                raise
        return cast("Answer[T]", place.answer)

    def _renew(self, place: _Place, make: Callable[[], object]) -> None:
        try:
            self._make(place, make)
        finally:
            place.lock.release()

    def _make(self, place: _Place, make: Callable[[], object]) -> None:
        asked_s, asked_ns = self._seconds(), time.time_ns()
        value = make()
        place.answer, place.made_s = Answer(value, asked_ns), asked_s
