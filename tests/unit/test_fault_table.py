"""docs/faults.md names tests that exist, one or more for every fault."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAULTS = 52


def test_every_fault_has_a_test_and_every_test_named_exists() -> None:
    text = (ROOT / "docs" / "faults.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", text, flags=re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, FAULTS + 1))
    defined: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        defined |= set(re.findall(r"^ *def (test_\w+)", path.read_text("utf-8"), re.MULTILINE))
    for number, tests in rows:
        named = re.findall(r"`(\w+)`", tests)
        assert named, number
        assert [name for name in named if name not in defined] == [], number


def test_the_number_in_the_name_of_a_test_is_that_of_its_line() -> None:
    text = (ROOT / "docs" / "faults.md").read_text("utf-8")
    for number, name in re.findall(r"`(?=test_fault_(\d\d))(\w+)`", text):
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {int(number)} |")]
        assert name in line
