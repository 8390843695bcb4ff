"""Pictures between the judge and the disk: named at once, developed behind, counted when lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.darkroom import Darkroom
from edge.evidence_spool import EvidenceSpool
from inspection import imaging, png
from inspection.errors import OutboxError
from inspection.imaging import Frame

SIDE = 32
SIZE = SIDE * (SIDE + 1)


def picture(level: int) -> Frame:
    return np.full((SIDE, SIDE), level, np.uint8)


class Gate:
    """Holds the darkroom's thread at its first picture until it is opened."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()
        self.order: list[bytes] = []
        pack = png.pack

        def held(head: bytes, scanlines: bytes) -> bytes:
            self.reached.set()
            assert self.opened.wait(20)
            self.order.append(scanlines)
            return pack(head, scanlines)

        patch.setattr(png, "pack", held)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


def test_a_picture_is_found_under_the_name_it_was_given(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path)
    chance = np.random.default_rng(1)
    images = [chance.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(20)]
    with Darkroom(spool) as darkroom:
        named = {darkroom.keep(image, ok=n % 2 == 0): image for n, image in enumerate(images)}
    assert len(named) == len(images)
    for name, image in named.items():
        data = EvidenceSpool(tmp_path).get(name)
        assert data is not None
        assert np.array_equal(imaging.decode(data), image)
    assert not darkroom.lost


def test_a_picture_is_copied_when_it_is_handed_in(tmp_path: Path, gate: Gate) -> None:
    image = picture(7)
    with Darkroom(spool := EvidenceSpool(tmp_path)) as darkroom:
        name = darkroom.keep(image)
        image[:] = 9
        gate.opened.set()
    data = spool.get(name)
    assert data is not None
    assert (imaging.decode(data) == 7).all()


def test_beyond_what_may_wait_ok_pictures_are_given_up_first_and_each_is_counted(
    tmp_path: Path, gate: Gate
) -> None:
    spool = EvidenceSpool(tmp_path)
    with Darkroom(spool, waiting_bytes=3 * SIZE) as darkroom:
        held = darkroom.keep(picture(0))
        assert gate.reached.wait(20)
        ok = [darkroom.keep(picture(level), ok=True) for level in (1, 2, 3, 4)]
        assert darkroom.lost == {"ok": 1}
        bad = [darkroom.keep(picture(level)) for level in (11, 12, 13, 14)]
        assert darkroom.lost == {"ok": 4, "other": 1}
        assert not darkroom.drain(0.01)
        gate.opened.set()
        assert darkroom.drain(20)
    assert {kept.sha256 for kept in spool.pending()} == {held, *bad[:3]}
    assert not {*ok} & {kept.sha256 for kept in spool.pending()}


def test_what_is_not_ok_is_developed_before_what_is(tmp_path: Path, gate: Gate) -> None:
    with Darkroom(spool := EvidenceSpool(tmp_path)) as darkroom:
        darkroom.keep(picture(0))
        assert gate.reached.wait(20)
        for level in (1, 2, 3):
            darkroom.keep(picture(level), ok=True)
        for level in (11, 12):
            darkroom.keep(picture(level))
        darkroom.keep(picture(3))  # the same pixels, now of a point that is not OK
        gate.opened.set()
        assert darkroom.drain(20)
    assert [lines[1] for lines in gate.order] == [0, 11, 12, 3, 1, 2]
    assert [kept.ok for kept in spool.pending()] == [False] * 4 + [True] * 2


@pytest.mark.parametrize("error", [OutboxError("no room"), RuntimeError("a fault of ours")])
def test_a_picture_that_fails_is_counted_and_the_next_one_is_developed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    spool = EvidenceSpool(tmp_path)
    put = spool.put

    def fails(*_: object, **__: object) -> str:
        raise error

    with Darkroom(spool) as darkroom:
        monkeypatch.setattr(spool, "put", fails)
        darkroom.keep(picture(1))
        darkroom.keep(picture(2), ok=True)
        assert darkroom.drain(20)
        assert darkroom.lost == {"ok": 1, "other": 1}
        monkeypatch.setattr(spool, "put", put)
        name = darkroom.keep(picture(3))
    assert [kept.sha256 for kept in spool.pending()] == [name]


def test_room_for_results_is_made_while_no_picture_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.darkroom.LOOK_S", 0.01)
    free = [2**40]
    spool = EvidenceSpool(tmp_path, free=lambda _: free[0])
    spool.put(b"waits for the station", "png")
    with Darkroom(spool):
        free[0] = 0
        for _ in range(2000):
            if not list(spool.pending()):
                break
            threading.Event().wait(0.01)
        assert spool.dropped == {"other": 1}
