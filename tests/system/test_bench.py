"""The real benchmark for a moment: everything balances. How fast it is, is not judged here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from inspection.package import bundled_package
from inspection.testing.bench_command import FAST
from inspection.testing.bench_line import Options, bench


@pytest.mark.parametrize("rate", [0.0, 200.0])
def test_a_measured_line_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, rate: float
) -> None:
    slow = 1.0 if shutil.which("cc") else 0.0
    options = Options(
        package=bundled_package(FAST),
        seconds=1.0,
        rate=rate,
        burst=2 if rate else 1,
        pairs=1,
        sync_delay_ms=slow,
        views=6,
    )
    found = bench(tmp_path / "bench", options)
    assert (found["lost"], found["duplicated"]) == (0, 0)
    assert found["points"] > 0
    assert found["onnx_points_per_second"] > 0
    assert found["cpu_ms_per_point"]["onnx"] > 0
    planned = found["bodies"] * options.views * 20
    assert sum(found[f"points_{name}"] for name in ("ok", "nok", "review", "not_inspected")) == (
        planned
    )
    if not rate:
        assert found["points_ok"] == planned
    for stage in ("grab", "align", "crop", "gate", "infer", "policy", "outbox", "wire", "commit"):
        assert found["stage_ms"][stage]["p50"] >= 0
    assert set(found["rss_mb"]) == {"station", "edge-cam1", "edge-cam2", "plc"}
