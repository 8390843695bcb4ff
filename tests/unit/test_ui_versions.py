"""Two versions beside each other: what they state, with bounds of our own making, and nothing that
was measured with another policy."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.package import bundled_package, read_manifest, read_policy, seal
from inspection.registry import LOG, Registry
from inspection.statistics import Rate, rate
from inspection.testing.packages import build_package
from ui.versions import Row, Version, at_hand, lower_of, measured, percent, side_by_side

WHO = {"author": "Q. Engineer", "why": "a <b>test</b>"}
NAME = "darkness"


def counted(escapes: int = 3, of: int = 300) -> dict[str, object]:
    """Figures as a manifest keeps them, with bounds that nobody should believe."""
    false = {"rate": 0.0, "lower": 0.0, "upper": 0.0, "at_most": 0.0, "confidence": 0.95}
    return {
        "escapes": {"errors": escapes, "trials": of, **false},
        "overkill": {"errors": 10, "trials": 5000, **false},
        "classes": {"defect": {"errors": escapes, "trials": of, **false}},
    }


def make(
    folder: Path, version: str, *, escapes: int = 3, ok_min: float = 0.9, data: str = "d" * 64
) -> Path:
    build_package(folder, ok_min=ok_min)
    manifest, _ = read_manifest(folder)
    policy, _ = read_policy(folder / "policy.json")
    metrics: dict[str, object] = {"test": counted(escapes)}
    new = msgspec.structs.replace(manifest, version=version, metrics=metrics, data_hash=data)
    seal(folder, new, policy)
    return folder


def one(place: Path) -> Version:
    found, wrong = at_hand([place])
    assert wrong == []
    (version,) = found
    return version


def row_of(rows: list[Row], what: str, of: str = "") -> Row:
    (found,) = [row for row in rows if (row.what, row.of) == (what, of)]
    return found


def test_rates_are_computed_from_counts_and_not_taken_from_the_package(tmp_path: Path) -> None:
    version = one(make(tmp_path / "a", "1"))
    told = measured(version)
    assert told.rates["escapes"] == rate(3, 300)
    assert told.rates["escapes"].upper > 0.02
    assert told.classes["defect"] == rate(3, 300)
    manifest, policy = version.manifest, version.policy
    assert policy is not None
    broken = {"test": {"escapes": {"errors": 7, "trials": 2}}}
    seal(tmp_path / "a", msgspec.structs.replace(manifest, metrics=broken), policy)
    wrong = measured(one(tmp_path / "a"))
    assert "7 errors of 2" in wrong.why
    assert not wrong.rates


def test_the_package_that_comes_along_states_its_figures() -> None:
    told = measured(one(bundled_package()))
    assert {"escapes", "overkill", "parts_released"} <= told.rates.keys()
    assert "crack" in told.classes
    assert all(each.lower <= (each.rate or 0) <= each.upper for each in told.rates.values())


def test_a_difference_is_said_only_where_the_intervals_are_apart(tmp_path: Path) -> None:
    a = one(make(tmp_path / "a", "1", escapes=3))
    near = one(make(tmp_path / "b", "2", escapes=5, ok_min=0.95))
    far = one(make(tmp_path / "c", "3", escapes=60))
    rows = side_by_side(a, near)
    escapes = row_of(rows, "rate", "escapes")
    assert (escapes.a, escapes.b, escapes.differs) == (rate(3, 300), rate(5, 300), False)
    assert row_of(rows, "ok_min").differs
    assert not row_of(rows, "data").differs
    assert row_of(rows, "package").differs
    assert row_of(rows, "graph", "model.onnx").a == row_of(rows, "graph", "model.onnx").b
    assert row_of(side_by_side(a, far), "class", "defect").differs


counts = st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, counts)
def test_lower_is_never_both_and_never_against_what_was_measured(
    one: tuple[int, int], two: tuple[int, int]
) -> None:
    a, b = rate(*one), rate(*two)
    found = lower_of(a, b)
    assert lower_of(b, a) == {None: None, "a": "b", "b": "a"}[found]
    if found is not None:
        lower, higher = (a, b) if found == "a" else (b, a)
        assert lower.rate is not None
        assert higher.rate is not None
        assert lower.rate < higher.rate


def test_a_registry_tells_which_is_released_by_whom_and_leaves_out_what_another_policy_measured(
    tmp_path: Path,
) -> None:
    registry = Registry(tmp_path / "registry")
    registry.add(make(tmp_path / "a", "1"), **WHO)
    registry.promote(NAME, "1", **WHO, details={})
    changed = tmp_path / "a"
    manifest, _ = read_manifest(changed)
    policy, _ = read_policy(changed / "policy.json")
    seal(changed, manifest, msgspec.structs.replace(policy, version=3, ok_min=0.97))
    _, version = registry.add(changed, **WHO)
    found, wrong = at_hand([tmp_path / "registry" / NAME])
    assert wrong == []
    first, second = sorted(found, key=lambda each: len(each.version))
    assert (first.version, second.version) == ("1", version)
    assert (first.current, second.current) == (True, False)
    assert first.package == second.package
    assert first.measured_with_this_policy
    assert not second.measured_with_this_policy
    rows = side_by_side(first, second)
    assert isinstance(row_of(rows, "rate", "escapes").a, Rate)
    assert row_of(rows, "rate", "escapes").b is None
    assert "Q. Engineer: a <b>test</b>" in str(row_of(rows, "released").a)
    assert row_of(rows, "released").b is None
    assert (row_of(rows, "policy.version").a, row_of(rows, "policy.version").b) == ("1", "3")


def test_what_cannot_be_read_is_told_and_the_others_are_there_all_the_same(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    for version in ("1", "2"):
        registry.add(make(tmp_path / version, version), **WHO)
    place = tmp_path / "registry" / NAME
    (place / "2" / "manifest.json").write_text("{")
    found, wrong = at_hand([place, tmp_path / "nowhere"])
    assert [each.version for each in found] == ["1"]
    assert len(wrong) == 2
    # A log that was changed tells nothing any more: not what is released, and not by whom.
    registry.promote(NAME, "1", **WHO, details={})
    log = place / LOG
    log.write_text(log.read_text().replace("Q. Engineer", "Nobody", 1))
    found, wrong = at_hand([place])
    assert (found[0].added, found[0].current) == (None, False)
    assert any(NAME in text for text in wrong)


@pytest.mark.parametrize(
    ("value", "down", "up"),
    [(0.0, "0.00 %", "0.00 %"), (0.007570, "0.75 %", "0.76 %"), (1.0, "100.00 %", "100.00 %"),
     (0.29, "29.00 %", "29.00 %"), (0.999999, "99.99 %", "100.00 %"), (1e-9, "0.00 %", "0.01 %")],
)  # fmt: skip
def test_a_bound_is_never_rounded_to_the_hopeful_side(value: float, down: str, up: str) -> None:
    assert percent(value) == down
    assert percent(value, up=True) == up
