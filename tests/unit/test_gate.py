"""A gate compares bounds, never point values, and believes no bound but its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspection.errors import ConfigurationError, DataError
from inspection.gate import Gate, Limits, check_limits, read_gate


def gate(escapes: float = 0.01) -> Gate:
    return Gate(limits=Limits(escapes_at_most=escapes, overkill_at_most=0.02))


def figures(escapes: int, trials: int) -> dict[str, object]:
    lie = {"errors": escapes, "trials": trials, "upper": 0.0}
    return {"escapes": lie, "overkill": {"errors": 0, "trials": 1000, "upper": 0.0}}


@pytest.mark.parametrize(("trials", "passes"), [(30, False), (298, False), (299, True)])
def test_no_escape_among_few_defects_does_not_pass(trials: int, passes: bool) -> None:
    assert [check.passed for check in check_limits(gate(), figures(0, trials))] == [passes, True]


def test_every_limit_that_fails_is_listed_with_its_bound() -> None:
    checks = check_limits(gate(), {"escapes": {"errors": 0, "trials": 30}})
    assert [check.passed for check in checks] == [False, False]
    assert "9.503%" in checks[0].text
    assert "nothing measured" in checks[1].text


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match="31 errors of 30"):
        check_limits(gate(), figures(31, 30))


def test_an_unknown_key_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text("[limits]\nescapes_at_most = 0.01\noverkill_at_most = 0.02\nescape = 1\n")
    with pytest.raises(ConfigurationError, match="escape"):
        read_gate(path)
