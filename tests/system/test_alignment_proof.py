"""`tests/proofs/alignment.py` over two views; the proof takes all of them.

The two that are hardest to tell: on v21 the flange shines otherwise than on the body it was taught
from, on v24 seven places along an edge look more like the slot than the slot does.
"""

from __future__ import annotations

import json
from pathlib import Path

import alignment as proof


def test_displaced_views_are_judged_as_well_and_wrong_ones_are_refused(tmp_path: Path) -> None:
    report = tmp_path / "proof.json"
    assert proof.main(["--view", "v21", "v24", "--processes", "2", "--json", str(report)]) == 0
    placed, judged, kept_out = map(json.loads, report.read_text("utf-8").splitlines())
    assert (placed["pictures"], placed["refused"]) == (10, 0)
    assert placed["mean_px"] <= 2
    assert placed["max_px"] <= 5
    counted = judged["defective_points"] + judged["good_points"] + judged["left_the_picture"]
    assert counted == placed["points"] > 0
    assert judged["escapes"] == 0
    assert kept_out["pictures"] == 2 * 3 + 2
    assert kept_out["taken_for_the_view"] == []
