"""The proof of the pages under load in its short form: it runs, and does what it says."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "proofs"))

import ui_load

pytest.importorskip("playwright")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
def test_two_people_click_through_all_pages_and_decide(tmp_path: Path) -> None:
    report = tmp_path / "load.json"
    arguments = "--bodies 3 --people 2 --think 0.1 --minutes -1 --decisions 4 --json"
    ui_load.main([*arguments.split(), str(report)])  # how quick they are is for an idle machine
    told = json.loads(report.read_text("utf-8"))
    assert told["results"] == 15_000
    assert set(ui_load.PAGES) < set(told["by_click_ms"])
    assert told["decision_ms"]["n"] + len(told["not_taken"]) >= 4
    assert len(told["server_mb"]) == 5
