"""Answers that everybody is shown alike."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from inspection.errors import StoreError
from ui.kept import MOST, Kept


class Desk:
    """Answers by a clock of its own, and whatever is to be done behind, when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.behind: list[Callable[[], None]] = []
        self.asked = 0
        self.fault = ""
        self.kept = Kept(behind=self.behind.append, seconds=lambda: self.now_s)

    def make(self) -> int:
        self.asked += 1
        if self.fault:
            raise StoreError(self.fault)
        return self.asked

    def get(self, key: str = "a") -> int:
        return self.kept.get(key, self.make, fresh_s=20, old_s=90).value


def test_a_fresh_answer_is_given_again_and_an_older_one_is_renewed_behind() -> None:
    desk = Desk()
    assert [desk.get(), desk.get("b"), desk.get()] == [1, 2, 1]
    desk.now_s += 30
    assert [desk.get(), desk.get()] == [1, 1]
    (renew,) = desk.behind  # once, however many look
    renew()
    assert desk.get() == 3
    desk.now_s += 30
    desk.get()
    assert len(desk.behind) == 2


def test_an_old_answer_is_waited_for_and_what_went_wrong_is_said_then() -> None:
    desk = Desk()
    desk.get()
    desk.fault = "the store is gone"
    desk.now_s += 30
    assert desk.get() == 1
    with pytest.raises(StoreError):
        desk.behind.pop()()
    assert desk.get() == 1  # and is tried again
    with pytest.raises(StoreError):
        desk.behind.pop()()
    desk.now_s += 61
    with pytest.raises(StoreError, match="the store is gone"):
        desk.get()
    desk.fault = ""
    assert desk.get() == desk.asked


def test_of_several_who_wait_for_the_first_answer_one_asks() -> None:
    go, asked = threading.Event(), []

    def slow() -> str:
        asked.append(1)
        go.wait(10)
        return "told"

    kept = Kept()
    told: list[str] = []
    people = [
        threading.Thread(
            target=lambda: told.append(kept.get("a", slow, fresh_s=20, old_s=90).value)
        )
        for _ in range(5)
    ]
    for each in people:
        each.start()
    go.set()
    for each in people:
        each.join()
    assert (told, asked) == (["told"] * 5, [1])


def test_what_nobody_asked_for_again_is_let_go() -> None:
    desk = Desk()
    for number in range(MOST + 1):
        desk.get(str(number))
    assert desk.get(str(MOST)) == MOST + 1
    assert desk.get("0") == MOST + 2
