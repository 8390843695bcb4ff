"""What no camera, model or answer may do to a worker: stop it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from test_judge import make_order
from workers import make_worker

from edge.cameras import Shot
from edge.config import CameraFile
from edge.worker import Worker
from inspection import png, wire
from inspection.errors import CameraError
from inspection.messages import Missed, Reason, ToneMap, ViewResult
from inspection.testing import boards

IN_TIME = 2**62


class OddCamera:
    """A driver that gives what its settings say."""

    class Settings(msgspec.Struct):
        gives: str
        file: str

    live = False

    def __init__(self, settings: OddCamera.Settings) -> None:
        if settings.gives == "nothing at all":
            raise RuntimeError("SDK: no such producer")
        if settings.gives == "a device that comes later" and not Path(settings.file).exists():
            raise CameraError("no device answers")
        self._gives = settings.gives
        self._frames = iter([7, 9, 9, 8, 9])

    def shoot(self, part: str, view: str) -> Shot:
        image = boards.board()
        match self._gives:
            case "numpy numbers":
                return Shot(image, np.str_("1"), np.int64(7))  # type: ignore[arg-type]
            case "no time":
                return Shot(image, "1", -5)
            case "no shot":
                return None  # type: ignore[return-value]
            case "an exception":
                raise RuntimeError("SDK: transfer failed")
            case "tone map linear":
                return Shot(image, "1", 1, tone_map="linear")
            case "a long name":
                return Shot(image, "x" * 5000, 1)
            case "a dark tile":
                return Shot(boards.board((1, 2)), "1", 1)
            case "old pictures":
                return Shot(image, f"{next(self._frames)} id=4", 1)
            case _:
                return Shot(image, "1", 1)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boards.model(tmp_path_factory.mktemp("model") / "good")


@pytest.fixture
def make(tmp_path: Path, package: Path) -> Iterator[Any]:
    made: list[Worker] = []

    def worker(gives: str) -> Worker:
        camera = CameraFile(
            driver="test_worker:OddCamera",
            settings={"gives": gives, "file": str(tmp_path / "device")},
        )
        made.append(make_worker(tmp_path, package, camera))
        return made[-1]

    yield worker
    for entry in made:
        entry.close()


def answer_to(worker: Worker, expires_ns: int = IN_TIME, **changed: Any) -> ViewResult:
    """Have an order carried out; what lies in the outbox then."""
    ref = worker._models.states[0].ref
    order = msgspec.structs.replace(make_order(ref), **changed)
    worker._carry_out(order, expires_ns)
    worker._outbox_thread.settle()
    (raw,) = worker._outbox.read(worker._outbox.next_seq - 1, 1, 2**30)
    result = wire.RECORD.decode(raw)
    assert isinstance(result, ViewResult)
    assert [entry.point for entry in result.points] == [task.point for task in order.points]
    return result


@pytest.mark.parametrize("gives", ["numpy numbers", "a long name", "a picture"])
def test_odd_but_usable_values_of_a_driver_are_used(make: Any, gives: str) -> None:
    result = answer_to(make(gives))
    assert not any(isinstance(entry, Missed) for entry in result.points)
    assert len(result.frame) <= 500


@pytest.mark.parametrize(
    ("gives", "wanted", "judged"),
    [
        ("a picture", None, True),
        ("tone map linear", ToneMap.LINEAR, True),
        ("tone map linear", ToneMap.SQUARE_ROOT, False),
        ("tone map linear", None, False),
        ("a picture", ToneMap.LINEAR, False),
    ],
)
def test_only_a_picture_by_the_plans_tone_map_is_judged(
    make: Any, gives: str, wanted: ToneMap | None, judged: bool
) -> None:
    result = answer_to(make(gives), **({} if wanted is None else {"tone_map": wanted}))
    for entry in result.points:
        assert isinstance(entry, Missed) is not judged
        assert judged or (entry.reason is Reason.IMAGE_UNREADABLE and "tone map" in entry.detail)


@pytest.mark.parametrize("gives", ["no time", "no shot", "an exception", "nothing at all"])
def test_whatever_a_driver_does_its_points_say_why_and_the_worker_goes_on(
    make: Any, gives: str
) -> None:
    worker = make(gives)
    for _ in range(2):
        result = answer_to(worker)
        assert all(
            isinstance(e, Missed) and e.reason is Reason.NO_IMAGE and e.detail
            for e in result.points
        )


def test_a_picture_whose_number_does_not_grow_is_of_no_view(make: Any) -> None:
    worker = make("old pictures")
    for judged in (True, True, False, False, True):
        result = answer_to(worker)
        for entry in result.points:
            assert isinstance(entry, Missed) is not judged
            assert judged or (entry.reason is Reason.NO_IMAGE and "after picture 9" in entry.detail)


def test_an_edge_without_its_camera_does_not_offer_it_and_finds_it_when_it_comes(
    make: Any, tmp_path: Path
) -> None:
    worker = make("a device that comes later")
    assert worker._cameras() == ()
    worker._look_for_cameras()
    assert worker._cameras() == ()
    (tmp_path / "device").touch()
    worker._look_again_ns = 0
    worker._look_for_cameras()
    assert worker._cameras() == ("cam1",)


def test_an_edge_does_not_offer_a_camera_that_was_unplugged_between_two_orders(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged = tmp_path / "plugged"
    monkeypatch.setattr("test_worker.OddCamera.present", lambda _: plugged.exists(), raising=False)
    plugged.touch()
    worker = make("a picture")
    said_hello = []
    monkeypatch.setattr(worker._link, "begin_anew", said_hello.append)
    for there in (True, False, False, True):
        plugged.touch() if there else plugged.unlink(missing_ok=True)
        worker._look_again_ns = 0
        worker._look_for_cameras()
        assert worker._cameras() == (("cam1",) if there else ())
    assert len(said_hello) == 2, "the station hears of each change once"


def test_an_order_whose_deadline_has_passed_is_late_and_not_photographed(make: Any) -> None:
    result = answer_to(make("a picture"), expires_ns=0)
    assert all(isinstance(e, Missed) and e.reason is Reason.LATE for e in result.points)
    assert result.frame == ""


def test_a_fault_of_the_judge_becomes_a_reason(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = make("a picture")

    def fail(*_: object) -> None:
        raise MemoryError("no memory for this view")

    monkeypatch.setattr(worker._judge, "decide", fail)
    result = answer_to(worker)
    assert all(isinstance(e, Missed) and e.reason is Reason.EDGE_FAILED for e in result.points)


def test_a_result_is_in_the_outbox_while_its_picture_is_stuck_and_names_it(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make("a dark tile")
    worker._judge._drawing = None  # no OK picture by chance beside it
    disk = threading.Event()
    pack = png.pack

    def stuck(head: bytes, scanlines: bytes) -> bytes:
        assert disk.wait(20)
        return pack(head, scanlines)

    with monkeypatch.context() as patch:
        patch.setattr(png, "pack", stuck)
        result = answer_to(worker)
        (name,) = {entry.evidence for entry in result.points if entry.evidence is not None}
        # A worker that dies now has said everything, and lost the picture.
        assert [kept.sha256 for kept in worker._spool.pending()] == []
        disk.set()
        assert worker._darkroom.drain(20)
    assert [kept.sha256 for kept in worker._spool.pending()] == [name]


def test_an_answer_too_large_to_send_becomes_one_that_is_not(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make("a picture")
    monkeypatch.setattr(wire.RECORD, "max_bytes", 6000)
    ref = worker._models.states[0].ref
    order = make_order(ref)
    said = tuple(
        Missed(point=task.point, reason=Reason.NO_IMAGE, detail="x" * 400) for task in order.points
    )
    raw = worker._record(order, "1", 1, said)
    result = wire.RECORD.decode(raw)
    assert isinstance(result, ViewResult)
    assert {entry.reason for entry in result.points} == {Reason.EDGE_FAILED}


def test_the_largest_answer_there_can_be_fits_the_outbox(make: Any) -> None:
    from edge.outbox import MAX_RECORD_BYTES

    assert wire.RECORD.max_bytes == MAX_RECORD_BYTES
