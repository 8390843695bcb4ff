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


def test_faults_20_and_48_a_client_on_a_cut_wire_misses_no_verdict_takes_none_twice_none_stale(
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


def play(program: Path, folder: Path, *runs: tuple[str, str]) -> list[Outcome]:
    """The client, started once for each (memory, part), against one station that says OK;
    nothing is left of the memory before."""
    (port,) = free_ports(1)
    words = ["--port", str(port), "--scenario", ",".join("ok" for _ in runs), "--wait", "60"]
    with subprocess.Popen(
        [sys.executable, "-m", "inspection", "plc", "station", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as station:
        try:
            for memory, part in runs:
                place = folder / "plc"
                place.mkdir(exist_ok=True)
                (place / "memory").write_text(memory)
                client = c_client.Client(
                    program, place, f"tcp://127.0.0.1:{port}", [part], plan="door"
                )
                assert client.process.wait(30) == 0
            said, _ = station.communicate(timeout=30)
            assert "FAILED" not in said
        finally:
            station.kill()
    with (folder / "plc" / "report.jsonl").open() as file:
        return [msgspec.json.decode(line, type=Outcome) for line in file]


def test_fault_48_a_part_that_stood_there_during_a_restart_is_held_and_its_verdict_taken(
    tmp_path: Path, program: Path
) -> None:
    memory = "next_seq 8\nlast_verdict_seq 5\nbegin_seq 7\npart P0\n"
    (outcome,) = play(program, tmp_path, (memory, "P0"))
    assert (outcome.action, outcome.acknowledged) == ("HOLD", True)
    assert outcome.reason == "restarted while the part stood here"


@pytest.mark.parametrize("damaged", ["", "\0\0\0\0", "next_seq 0\n", "next_seq 12\nlast_verd"])
def test_fault_48_a_client_whose_memory_is_lost_goes_on_where_the_station_stands(
    tmp_path: Path, program: Path, damaged: str
) -> None:
    first, second = play(program, tmp_path, ("", "P0"), (damaged, "P1"))
    assert (first.action, second.action) == ("RELEASE", "RELEASE")
    assert second.verdict_seq > first.verdict_seq
