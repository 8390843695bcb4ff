"""The C client of docs/plc against real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import c_client
import msgspec
import pytest

from inspection.testing.line import free_ports
from inspection.testing.plc import Outcome
from inspection.testing.plc_station import SCENARIOS, Judged

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


def test_the_client_does_what_it_must_in_every_scenario_of_the_simulated_station(
    tmp_path: Path, program: Path
) -> None:
    (port,) = free_ports(1)
    report = tmp_path / "plc" / "report.jsonl"
    names = list(SCENARIOS)
    client = c_client.Client(
        program,
        tmp_path / "plc",
        f"tcp://127.0.0.1:{port}",
        [f"P{number}" for number in range(len(names))],
        plan="door",
        timeout_ms=7000,
        views=("v0", "v1"),
    )
    words = ["--port", str(port), "--trigger", "plc", "--wait", "200", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "inspection", "plc", "station", *words, "--actions", str(report)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert client.process.wait(60) == 0, (tmp_path / "plc" / "client.log").read_text()
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    judged = [msgspec.json.decode(line, type=Judged) for line in lines]
    assert {entry.scenario for entry in judged} == set(names)
    assert [entry for entry in judged if entry.passed is not True] == []
    assert done.returncode == 0, done.stderr
    with report.open() as file:
        did = [msgspec.json.decode(line, type=Outcome) for line in file]
    assert [outcome.action for outcome in did[:3]] == ["RELEASE", "DIVERT", "HOLD"]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["tcp://127.0.0.1:1", "plc-c", "door", "."], 2),
        (["tcp://127.0.0.1:1", "plc-c", "door", ".", "soon"], 2),
        (["nonsense", "plc-c", "door", ".", "1000"], 1),
    ],
)
def test_wrong_arguments_of_the_client_end_it(program: Path, words: list[str], status: int) -> None:
    done = subprocess.run([program, *words], input=b"", capture_output=True, check=False)
    assert done.returncode == status
    assert done.stderr


def test_a_part_is_held_where_the_retentive_memory_cannot_be_written(
    tmp_path: Path, program: Path
) -> None:
    """A folder stands where the file would be written: even root cannot."""
    (port,) = free_ports(1)
    (tmp_path / "plc" / "memory.part").mkdir(parents=True)
    endpoint = f"tcp://127.0.0.1:{port}"
    client = c_client.Client(program, tmp_path / "plc", endpoint, ["P0", "P1"], plan="door")
    words = ["--port", str(port), "--scenario", "ok", "--wait", "8"]
    done = subprocess.run(
        [sys.executable, "-m", "inspection", "plc", "station", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert client.process.wait(30) == 1
    (line,) = (tmp_path / "plc" / "report.jsonl").read_text().splitlines()
    outcome = msgspec.json.decode(line, type=Outcome)
    assert (outcome.action, outcome.part) == ("HOLD", "P0")
    assert outcome.reason == "the retentive memory cannot be written"
    assert "never played" in done.stderr  # nothing was sent for the part
