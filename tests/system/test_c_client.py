"""The C client of docs/plc against real processes."""

from __future__ import annotations

from pathlib import Path

import c_client
import pytest

pytestmark = pytest.mark.skipif(bool(c_client.why_not_here()), reason=c_client.why_not_here())


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return c_client.build(tmp_path_factory.mktemp("client"), "-fsanitize=address,undefined", "-g")


def test_a_client_on_a_wire_that_is_cut_misses_no_verdict_takes_none_twice_and_none_stale(
    tmp_path: Path, program: Path
) -> None:
    went = c_client.shift(tmp_path, program, parts=15, cuts=6, kills=1, seed=3)
    assert went.clean, went
    assert went.cuts >= 3
    assert went.actions["DIVERT"] >= 4
    assert went.actions["RELEASE"] >= 8
    # Only the part that stood there while the client was killed may be held.
    assert went.actions["HOLD"] <= went.kills
