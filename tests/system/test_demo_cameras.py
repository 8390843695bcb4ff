"""The demonstration with real SDKs: each camera is lost and found again in mid-run, and everything
balances."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_gige import FakeGigE

from inspection.rendering import body
from inspection.testing.packages import build_package

VIEWS = 2
POINTS = sum(len(points) for points in list(body.points().values())[:VIEWS])
PARTS = 6


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = str(tmp_path_factory.mktemp("home"))
    return {**os.environ, "HOME": home, "XDG_CACHE_HOME": home}


@pytest.mark.parametrize("camera", ["basler", "aravis"])
def test_a_camera_that_is_lost_and_found_again_in_mid_run_costs_no_point_its_record(
    camera: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    if camera == "basler":
        pytest.importorskip("pypylon", reason="pypylon is not installed (extra basler)")
    else:
        FakeGigE().close()  # skips where it is not installed
    model = build_package(tmp_path / "strict", name="strict", channels=3, ok_min=1.0, nok_min=1.0)
    asked = ["--parts", PARTS, "--views", VIEWS, "--camera", camera, "--headless"]
    files = ["--model", model, "--json", tmp_path / "demo.json", "--folder", tmp_path / "demo"]
    done = subprocess.run(
        [sys.executable, "-m", "inspection", "demo", *map(str, [*asked, *files])],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((tmp_path / "demo.json").read_text())
    assert said["planned"] == PARTS * POINTS
    assert said["planned"] == said["ok"] + said["nok"] + said["review"] + said["not_inspected"]
    assert (said["lost"], said["duplicated"], said["escapes"], said["ok"]) == (0, 0, 0, 0)
    assert said["not_inspected"] > 0, "no camera was away"
    assert said["nok"] + said["review"] > 0, "no camera was there"
    assert said["cameras_found_again"] >= 1
