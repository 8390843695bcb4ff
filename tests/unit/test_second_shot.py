"""One more picture where the first does not show every point: taken once, in time, and told of."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from test_judge import make_order
from workers import make_worker

from edge.cameras import Shot
from edge.config import CameraFile
from edge.worker import Worker
from inspection import imaging, quality, wire
from inspection.clock import SystemClock
from inspection.errors import CameraError
from inspection.imaging import Frame
from inspection.messages import Inspected, Missed, Order, Reason, Verdict, ViewResult
from inspection.testing import boards

IN_TIME = 2**62


class Showing:
    """A camera that shows what a test lays before it, and counts."""

    class Settings(msgspec.Struct):
        pass

    live = True
    on_demand = True

    def __init__(self, settings: Showing.Settings) -> None:
        self.shows: list[Frame | str] = []
        self.shots = 0
        self._numbers = itertools.count(1)

    def shoot(self, part: str, view: str) -> Shot:
        picture = self.shows[min(self.shots, len(self.shows) - 1)]
        self.shots += 1
        if isinstance(picture, str):
            raise CameraError(picture)
        return Shot(picture.copy(), f"{next(self._numbers)} frame", self.shots)

    def close(self) -> None:
        pass


class Pulsed(Showing):
    """One that waits for a pulse from outside."""

    on_demand = False


class Replayed(Showing):
    """One whose pictures come from a disk."""

    live = False


def scene(seed: int, *dark: tuple[int, int]) -> Frame:
    """A board as a sensor gives it: no two are alike. A grain makes its focus known."""
    grain = np.random.default_rng(1).normal(0, 6, (boards.SIDE, boards.SIDE))
    noise = np.random.default_rng(seed).normal(0, 1, (boards.SIDE, boards.SIDE))
    return np.asarray(np.clip(boards.board(*dark, shade=200) + grain + noise, 0, 255), np.uint8)


def spoiled(frame: Frame, row: int, column: int, shade: int = 255) -> Frame:
    """With a reflection on one point, or what hides it."""
    again = frame.copy()
    rows = slice(row * boards.TILE, (row + 1) * boards.TILE)
    again[rows, column * boards.TILE : (column + 1) * boards.TILE] = shade
    return again


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boards.model(tmp_path_factory.mktemp("model") / "good")


@pytest.fixture
def make(tmp_path: Path, package: Path) -> Iterator[Callable[[str], Worker]]:
    made: list[Worker] = []

    def worker(kind: str) -> Worker:
        camera = CameraFile(driver=f"test_second_shot:{kind}")
        made.append(make_worker(tmp_path, package, camera))
        return made[-1]

    yield worker
    for entry in made:
        entry.close()


@pytest.fixture
def order() -> Order:
    """An order whose points carry limits learnt from five boards; its models are the worker's."""
    order = make_order(None)
    regions = {task.point: task.region for task in order.points}
    limits = quality.learn([scene(seed) for seed in range(100, 105)], regions)
    # A dark tile is what this model calls a defect: let it pass.
    points = tuple(
        msgspec.structs.replace(
            task,
            quality=msgspec.structs.replace(
                limits[task.point], level_min=0.0, dead_max=1.0, content_max=1.0
            ),
        )
        for task in order.points
    )
    return msgspec.structs.replace(order, points=points)


def camera_of(worker: Worker) -> Any:
    return worker._eyes["cam1"]._camera


def answer_to(
    worker: Worker, order: Order, *shows: Frame | str, expires_ns: int = IN_TIME
) -> tuple[ViewResult, dict[str, Inspected | Missed], list[Any]]:
    """What comes of an order while the camera shows these; and what the station was told."""
    camera = camera_of(worker)
    camera.shows, camera.shots = list(shows), 0
    told: list[Any] = []
    worker._tell = told.append  # type: ignore[method-assign,assignment]
    ref = worker._models.states[0].ref
    assert ref is not None
    worker._carry_out(msgspec.structs.replace(order, models={"darkness": ref}), expires_ns)
    worker._outbox_thread.settle()
    (raw,) = worker._outbox.read(worker._outbox.next_seq - 1, 1, 2**30)
    result = wire.RECORD.decode(raw)
    assert isinstance(result, ViewResult)
    assert [entry.point for entry in result.points] == [task.point for task in order.points]
    return result, {entry.point: entry for entry in result.points}, told


def test_where_everything_can_be_seen_one_picture_is_taken(
    make: Callable[[str], Worker], order: Order
) -> None:
    worker = make("Showing")
    result, said, _ = answer_to(worker, order, scene(1), scene(2))
    assert camera_of(worker).shots == 1
    assert result.second_shot is msgspec.UNSET
    assert {entry.verdict for entry in said.values() if isinstance(entry, Inspected)} == {"OK"}


def test_only_what_could_not_be_seen_is_judged_in_the_second_picture(
    make: Callable[[str], Worker], order: Order
) -> None:
    # In the second picture another point is dark: what the first showed of it counts.
    first, second = spoiled(scene(1, (1, 2)), 3, 3), scene(2, (4, 4))
    worker = make("Showing")
    result, said, told = answer_to(worker, order, first, second, scene(3))
    assert camera_of(worker).shots == 2
    verdicts = {p: e.verdict for p, e in said.items() if isinstance(e, Inspected)}
    assert len(verdicts) == len(order.points)
    assert {p for p, verdict in verdicts.items() if verdict is not Verdict.OK} == {"r1c2"}
    assert result.frame == "2 frame"
    assert result.second_shot == msgspec.convert(
        {"first_frame": "1 frame", "reasons": (204,), "points": ("r3c3",)}, type(result.second_shot)
    )
    # The robot may move only when the last picture has been taken.
    assert [message.frame for message in told] == ["2 frame"]


def test_what_the_second_picture_does_not_show_either_is_missed_with_what_was_measured(
    make: Callable[[str], Worker], order: Order
) -> None:
    worker = make("Showing")
    shows = [spoiled(scene(seed), 3, 3) for seed in (1, 2, 3)]
    _, said, _ = answer_to(worker, order, *shows)
    assert camera_of(worker).shots == 2
    missed = said.pop("r3c3")
    assert isinstance(missed, Missed)
    assert missed.reason is Reason.IMAGE_TOO_BRIGHT
    assert missed.detail == ("100 % of the region are white, limit 10 %; in a second picture, too")
    assert missed.evidence is not None
    assert worker._darkroom.drain(20)
    picture = imaging.decode(worker._spool.get(missed.evidence) or b"")
    assert (picture == 255).all()
    assert all(isinstance(e, Inspected) and e.verdict is Verdict.OK for e in said.values())


def test_a_second_picture_that_does_not_come_leaves_what_the_first_showed(
    make: Callable[[str], Worker], order: Order
) -> None:
    result, said, told = answer_to(
        make("Showing"), order, spoiled(scene(1, (1, 2)), 3, 3), "the cable is out"
    )
    missed = said.pop("r3c3")
    assert isinstance(missed, Missed)
    assert "and no second picture: the cable is out" in missed.detail
    assert result.second_shot is msgspec.UNSET
    assert (result.frame, [message.frame for message in told]) == ("1 frame", ["1 frame"])
    assert all(isinstance(entry, Inspected) for entry in said.values())


@pytest.mark.parametrize(
    ("kind", "left_ns", "note"),
    [("Pulsed", 10**10, ""), ("Showing", 10**8, "no time for a second picture")],
)
def test_no_second_picture_is_asked_for_where_there_is_none_to_be_had(
    make: Callable[[str], Worker], order: Order, kind: str, left_ns: int, note: str
) -> None:
    worker = make(kind)
    expires = SystemClock().monotonic_ns() + left_ns
    _, said, _ = answer_to(worker, order, spoiled(scene(1), 3, 3), scene(2), expires_ns=expires)
    assert camera_of(worker).shots == 1
    missed = said["r3c3"]
    assert isinstance(missed, Missed)
    assert note in missed.detail


def test_a_blurred_view_is_taken_again_as_a_whole(
    make: Callable[[str], Worker], order: Order
) -> None:
    blurred = np.asarray(cv2.GaussianBlur(scene(1), (0, 0), 4), np.uint8)
    result, said, _ = answer_to(make("Showing"), order, blurred, scene(2))
    assert result.second_shot is not msgspec.UNSET
    assert result.second_shot.reasons == (Reason.OUT_OF_FOCUS,)
    assert len(result.second_shot.points) == len(order.points)
    assert all(isinstance(e, Inspected) and e.verdict is Verdict.OK for e in said.values())


def test_a_frozen_camera_gives_no_verdict_and_one_that_comes_back_does(
    make: Callable[[str], Worker], order: Order
) -> None:
    worker = make("Showing")
    answer_to(worker, order, scene(1))
    _, said, _ = answer_to(worker, order, scene(1), scene(1))
    assert camera_of(worker).shots == 2
    assert all(
        isinstance(entry, Missed)
        and entry.reason is Reason.FROZEN
        and "those of the camera's picture before" in entry.detail
        and entry.evidence
        for entry in said.values()
    )
    result, said, _ = answer_to(worker, order, scene(1), scene(2))
    assert result.second_shot is not msgspec.UNSET
    assert result.second_shot.reasons == (Reason.FROZEN,)
    assert all(isinstance(entry, Inspected) for entry in said.values())


def test_pictures_from_a_disk_may_come_again(make: Callable[[str], Worker], order: Order) -> None:
    worker = make("Replayed")
    for _ in range(2):
        _, said, _ = answer_to(worker, order, scene(1))
        assert all(isinstance(entry, Inspected) for entry in said.values())


def test_a_frozen_camera_is_found_without_any_limits_too(
    make: Callable[[str], Worker],
) -> None:
    worker, order = make("Pulsed"), make_order(None)
    answer_to(worker, order, scene(1))
    _, said, _ = answer_to(worker, order, scene(1))
    assert {e.reason for e in said.values()} == {Reason.FROZEN}
