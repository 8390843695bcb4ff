"""The hot swap of `make proof`, a short one, and what else a line does when a model changes."""

from __future__ import annotations

from pathlib import Path

import hot_swap


def test_the_model_changes_under_a_running_line_and_no_view_notices(tmp_path: Path) -> None:
    found = hot_swap.swap(tmp_path, views=600, every=50, views_a_part=50)
    assert found["views"] == 600
    promises = dict.fromkeys(hot_swap.PROMISES, 0)
    assert {name: found[name] for name in promises} == promises
    assert found["changes"] == found["changed_over"] == 10
    assert found["refused"] == 1
    assert found["refusals_told"] == 2  # once for each edge
    assert set(found["judged_by"]) == {"1", "2"}
    assert found["model_changes_seen"] >= 5
