"""Every planted defect still fits the code, and its tests exist. `make mutants` runs them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "mutants"))

from defects import DEFECTS, Change, Defect, StaleDefectError, plant  # noqa: E402


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_can_be_planted_and_makes_a_program(defect: Defect, tmp_path: Path) -> None:
    for file in {change.file for change in defect.changes}:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, tmp_path / file)
    plant(defect, tmp_path)
    for change in defect.changes:
        text = (tmp_path / change.file).read_text("utf-8")
        assert text != (ROOT / change.file).read_text("utf-8")
        compile(text, change.file, "exec")
    assert [name for name in defect.tests if not (ROOT / name).exists()] == []


def test_a_defect_whose_text_has_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    defect = Defect("gone", (Change("a.py", "x = 2", "x = 3"),), ())
    with pytest.raises(StaleDefectError, match=r"gone: a\.py holds 0 times"):
        plant(defect, tmp_path)
