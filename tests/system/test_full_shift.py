"""The shift of `make proof`, a short one: real sockets, outboxes and store, and a kill."""

from __future__ import annotations

from pathlib import Path

from full_shift import Options, shift


def test_a_short_shift_through_sockets_loses_nothing_and_survives_a_kill(tmp_path: Path) -> None:
    found = shift(tmp_path, Options(bodies=6, points=600, rate=3000))
    assert found["results"] == 3600
    promises = ("lost", "duplicated", "false_ok", "wrong")
    assert {name: found[name] for name in promises} == dict.fromkeys(promises, 0)
    assert found["results_per_second"] > 100
    assert found["coverage_ms"]["max"] > 0
    assert 0 < found["startup_after_kill_s"] < 60
