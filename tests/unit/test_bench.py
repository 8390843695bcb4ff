"""The benchmark's arithmetic, and what its arguments mean."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from inspection.errors import ConfigurationError
from inspection.testing import bench_command
from inspection.testing.bench_line import Stretch, figures, spread
from inspection.timing import CommitTimes, Laps, TimesFile, ViewTimes, read_times

MS = 1_000_000


def view(number: int, *, framed_ms: int = 0) -> ViewTimes:
    at = framed_ms * MS
    return ViewTimes(
        run="run",
        view=f"v{number}",
        attempt=1,
        points=20,
        heard_ns=at - 3 * MS,
        framed_ns=at,
        handed_ns=at + 10 * MS,
        synced_ns=at + 14 * MS,
        laps_ns={"grab": MS, "infer": 8 * MS},
        engine_cpu_ns=6 * MS,
    )


def commit(number: int, *, framed_ms: int = 0) -> CommitTimes:
    at = framed_ms * MS
    return CommitTimes("run", f"v{number}", 1, at + 15 * MS, at + 20 * MS)


def test_figures_follow_from_what_the_processes_wrote_down() -> None:
    cpu = {"edge-cam1": 0.010, "edge-cam2": 0.006, "station": 0.003, "plc": 0.001}
    stretch = Stretch(0, 100 * MS, cpu, 800.0)
    views = [view(1, framed_ms=10), view(2, framed_ms=40), view(3, framed_ms=900)]
    commits = [commit(1, framed_ms=10), commit(2, framed_ms=40), commit(3, framed_ms=900)]
    found = figures([stretch], views, commits, {"run": 70 * MS}, {("run", "v2"): 35 * MS})
    assert (found["views"], found["points"]) == (2, 40)  # the third came after the stretch
    assert found["points_per_second"] == 400.0
    assert found["ratio"] == 0.5
    assert found["cpu_ms_per_point"] == {
        "onnx": 0.3, "edges": 0.1, "station": 0.075, "plc": 0.025
    }  # fmt: skip
    assert found["cpu_ms_per_point_outside_onnx"] == 0.2
    assert found["view_latency_ms"]["p50"] == 20.0
    assert found["trigger_latency_ms"]["max"] == 25.0
    assert found["verdict_latency_ms"]["max"] == 30.0
    stages = {name: entry.get("p50") for name, entry in found["stage_ms"].items()}
    assert stages == {
        "grab": 1.0, "align": None, "crop": None, "gate": None, "infer": 8.0, "policy": None,
        "outbox": 4.0, "wire": 1.0, "commit": 5.0, "verdict": 10.0,
    }  # fmt: skip


def test_a_view_that_was_never_committed_counts_for_no_rate() -> None:
    stretch = Stretch(0, 100 * MS, {"edge-cam1": 0.0, "station": 0.0, "plc": 0.0}, 800.0)
    found = figures([stretch], [view(1), view(2)], [commit(1)], {}, {})
    assert found["points"] == 20


def test_the_ratio_is_the_median_of_the_pairs_and_each_is_told() -> None:
    cpu = {"edge-cam1": 0.0, "station": 0.0, "plc": 0.0}
    stretches = [Stretch(k * 100 * MS, (k + 1) * 100 * MS, cpu, onnx) for k, onnx in
                 enumerate((200.0, 400.0, 1000.0))]  # fmt: skip
    views = [view(k, framed_ms=100 * k + 10) for k in range(3)]
    commits = [commit(k, framed_ms=100 * k + 10) for k in range(3)]
    found = figures(stretches, views, commits, {}, {})
    assert found["ratios"] == [1.0, 0.5, 0.2]
    assert found["ratio"] == 0.5


def test_percentiles_are_values_that_were_measured() -> None:
    assert spread([]) == {}
    assert spread([7.0], worst=True) == {"p50": 7.0, "p99": 7.0, "p99.9": 7.0, "max": 7.0}
    hundred = [float(value) for value in range(1, 101)]
    assert spread(hundred[::-1]) == {"p50": 50.0, "p99": 99.0, "p99.9": 100.0}
    assert spread([float(v) for v in range(1, 1001)])["p99.9"] == 999.0


def test_rows_are_read_back_and_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "edge.times"
    with TimesFile(path) as file:
        file.write(view(1))
        file.write(view(2))
    assert list(read_times(path, ViewTimes)) == [view(1), view(2)]
    path.write_bytes(path.read_bytes()[:-5])
    assert list(read_times(path, ViewTimes)) == [view(1)]


def test_laps_of_one_stage_add_up_and_cost_nothing_when_off() -> None:
    laps = Laps(on=True)
    laps.start()
    laps.lap("crop")
    laps.lap("infer")
    first = laps.times["crop"]
    laps.lap("crop")
    assert set(laps.times) == {"crop", "infer"}
    assert laps.times["crop"] > first >= 0
    silent = Laps()
    silent.start()
    silent.lap("crop")
    assert silent.times == {}


def asked(*words: str) -> bench_command.Options:
    parser = argparse.ArgumentParser()
    bench_command.configure(parser)
    return bench_command.asked(parser.parse_args(["line", *words]))


def test_flat_out_is_measured_in_five_pairs_and_a_rate_in_one() -> None:
    assert (asked().rate, asked().pairs) == (0.0, 5)
    assert asked("--rate", "520").pairs == 1
    assert asked("--rate", "520", "--pairs", "3", "--burst", "4").burst == 4


@pytest.mark.parametrize(
    "words",
    [
        ["--seconds", "0"],
        ["--seconds", "nan"],
        ["--rate", "-5"],
        ["--pairs", "0"],
        ["--burst", "0", "--rate", "52"],
        ["--burst", "4"],
        ["--sync-delay-ms", "-1"],
        ["--json", "no/such/folder/file.json"],
    ],
)
def test_arguments_that_mean_nothing_are_refused_by_name(words: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=words[0]):
        asked(*words)
