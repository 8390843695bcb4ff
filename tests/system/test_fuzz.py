"""Bad frames: the decoder alone, and every socket of a real station."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzing import fuzz

from inspection import messages as m
from inspection.errors import WireError
from inspection.station.station import INCOMING
from inspection.testing.fuzz import VALID, fuzzer


@pytest.mark.parametrize("socket", list(VALID))
@pytest.mark.parametrize("shape", list(fuzzer("edge", 0).shapes))
def test_fault_32_every_shape_of_nonsense_is_refused_in_words_or_is_a_message(
    socket: str, shape: str
) -> None:
    nonsense = fuzzer(socket, 5)
    for _ in range(30):
        for frame in nonsense.shapes[shape]():
            try:
                assert isinstance(INCOMING[socket].decode(frame), m.Message)
            except WireError as error:
                said = str(error)
            else:
                continue
            assert 0 < len(said) < 500  # a log line and an answer, whatever was sent


@pytest.mark.parametrize("socket", list(VALID))
def test_what_the_nonsense_is_made_of_is_right_itself(socket: str) -> None:
    for message in VALID[socket]:
        lane = INCOMING[socket]
        assert lane.decode(lane.encode(message)) == message


def test_fault_32_thousands_of_bad_frames_on_every_socket_cost_nothing_and_change_nothing(
    tmp_path: Path,
) -> None:
    damage = fuzz(tmp_path, 2000, seed=7)
    assert not damage.crashed
    assert damage.verdicts_changed == 0
    assert damage.rss_growth_mb < 20
    assert all(answers > 1000 for answers in damage.answers.values()), damage.answers
