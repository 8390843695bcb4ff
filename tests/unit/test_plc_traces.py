"""The recorded conversations are what the station says today."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from inspection import wire
from inspection.__main__ import main
from inspection.testing import plc_traces

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "plc" / "traces"


@pytest.mark.parametrize("name", plc_traces.TRACES)
def test_a_trace_is_recorded_as_it_is_committed(name: str) -> None:
    recorded = plc_traces.record(name)
    assert (FOLDER / f"{name}.jsonl").read_bytes() == recorded, "run: inspection plc traces"


def test_every_file_is_a_trace_of_messages_of_the_protocol() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(plc_traces.TRACES)
    lanes = {"plc": wire.PLC_TO_STATION, "station": wire.STATION_TO_PLC}
    for path in FOLDER.iterdir():
        first, *lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
        assert first["trace"] == path.stem
        assert first["shows"]
        for line in lines:
            if "event" not in line:
                lanes[line["from"]].decode(msgspec.json.encode(line["message"]))


def test_the_command_writes_every_trace(tmp_path: Path) -> None:
    assert main(["plc", "traces", "--out", str(tmp_path / "traces")]) == 0
    for path in FOLDER.iterdir():
        assert (tmp_path / "traces" / path.name).read_bytes() == path.read_bytes()
