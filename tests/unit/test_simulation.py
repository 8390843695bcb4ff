"""Whole lives of a line under one virtual clock; a seed that fails replays exactly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import simulation

LIVES = 150


def life(seed: int, **options: Any) -> str:
    with tempfile.TemporaryDirectory(dir=simulation.fast_folder()) as folder:
        return simulation.simulate(seed, Path(folder), **options)


def test_in_150_simulated_lives_nothing_is_lost_doubled_or_wrongly_ok() -> None:
    first = int(os.environ.get("SIMULATION_SEED", "0"))
    for seed in range(first, first + LIVES):
        try:
            life(seed)
        except BaseException:
            print(f"python tests/simulation.py --seed {seed}")
            raise


@pytest.mark.parametrize("point", simulation.POINTS_OF_DEATH)
def test_fault_04_a_process_that_ends_at_any_named_point_costs_nothing(point: str) -> None:
    """After a write, before its sync, before what is synced is sent; before the commit, between
    commit and answer, between verdict and the PLC's word; while an outbox is trimmed."""
    died: Counter[str] = Counter()
    seed = 1000
    while died[point] < 20:
        life(seed, harms=(point,), died=died)
        seed += 1
        assert seed < 1200


def test_the_same_seed_gives_the_same_life_in_another_process_too() -> None:
    traces = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, simulation.__file__, "--seed", "5"],
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        traces += re.findall(r"^5 ([0-9a-f]{64})$", done.stdout, flags=re.MULTILINE)
    assert traces == [life(5)] * 2
    assert life(6) != traces[0]


def test_the_simulation_notices_an_edge_that_sends_what_is_not_on_its_disk() -> None:
    def goes_wrong(seed: int) -> bool:
        try:
            life(seed, honest=False)
        except Exception:
            return True
        return False

    assert any(goes_wrong(seed) for seed in range(40))


def test_a_life_that_goes_wrong_says_which_seed_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(*_: object) -> str:
        raise AssertionError

    monkeypatch.setattr(simulation, "simulate", wrong)
    monkeypatch.setattr(sys, "argv", ["simulation.py", "--seed", "77"])
    with pytest.raises(AssertionError):
        simulation.main()
    assert "--seed 77" in capsys.readouterr().err
