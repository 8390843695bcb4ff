"""The first thing a visitor runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_the_demonstration_ends_by_itself_and_balances(tmp_path: Path) -> None:
    report = tmp_path / "demo.json"
    command = ["demo", "--headless", "--parts", "6", "--seed", "3", "--json", str(report)]
    done = subprocess.run(
        [sys.executable, "-m", "inspection", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(report.read_text())
    assert said["planned"] == 600
    assert said["planned"] == said["ok"] + said["nok"] + said["review"] + said["not_inspected"]
    assert (said["escapes"], said["lost"], said["duplicated"]) == (0, 0, 0)
    assert (said["runs_ok"], said["runs_nok"]) == (3, 3)
    assert "6 parts" in done.stdout
