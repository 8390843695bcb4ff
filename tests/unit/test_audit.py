"""Audits: what a few looks prove of many points, and that nobody chooses where to look."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.audit import INSIDE, NEAR, Stratum, drawn, escapes, looks_needed, outgoing
from inspection.messages import LookWord
from inspection.statistics import upper_bound
from ui.audits import Candidate, Population, following, read_measurements, result, samples

PROOF = Path(__file__).resolve().parents[1] / "proofs" / "audit_bounds.py"


def test_one_stratum_has_the_exact_bound_of_its_looks() -> None:
    found = escapes([Stratum(INSIDE, 1_000_000, 300, 0)])
    assert (found.rate, found.estimate) == (0.0, 0.0)
    assert found.at_most == pytest.approx(upper_bound(0, 300))
    assert found.at_most < 0.01


def test_a_look_stands_for_as_many_points_as_its_stratum_has_for_each() -> None:
    found = escapes([Stratum(NEAR, 1_000, 100, 2), Stratum(INSIDE, 99_000, 99, 1)])
    assert found.estimate == pytest.approx(1_000 * 2 / 100 + 99_000 / 99)
    assert found.rate == pytest.approx(found.estimate / 100_000)
    assert found.at_most > (found.rate or 0)


def test_without_a_look_anything_may_be_and_a_stratum_without_one_counts_whole() -> None:
    nothing = escapes([Stratum(INSIDE, 500, 0, 0)])
    assert (nothing.rate, nothing.at_most) == (None, 1.0)
    assert escapes([]).rate is None
    half = escapes([Stratum(NEAR, 500, 0, 0), Stratum(INSIDE, 500, 500, 0)])
    assert half.at_most > 0.5


def test_what_got_through_is_of_all_defects() -> None:
    found = escapes([Stratum(INSIDE, 10_000, 100, 1)])
    assert outgoing(found, 300) == pytest.approx(100 / 400)
    assert outgoing(escapes([Stratum(INSIDE, 10, 1, 0)]), 0) is None
    assert outgoing(escapes([]), 5) is None


@given(st.floats(0.001, 0.5), st.integers(1, 3))
def test_so_many_looks_as_are_said_to_be_needed_are(at_most: float, strata: int) -> None:
    sizes = {f"s{k}": 1e5 for k in range(strata)}
    needed = looks_needed(sizes, at_most)
    level = 1 - 0.05 / strata
    assert upper_bound(0, max(1, needed // strata), level) <= at_most
    assert needed <= strata or upper_bound(0, (needed - 1) // strata, level) > at_most


def test_a_bound_of_one_in_a_hundred_needs_299_looks() -> None:
    assert looks_needed({"all": 1e6}, 0.01) == 299
    with pytest.raises(ValueError, match="no rate"):
        looks_needed({"all": 1.0}, 0.0)
    with pytest.raises(ValueError, match="3 defects of 2"):
        escapes([Stratum("x", 10, 2, 3)])


@given(
    st.sets(st.tuples(st.text(min_size=1), st.text(min_size=1)), max_size=30), st.integers(0, 40)
)
def test_the_same_are_drawn_again_whatever_the_order(
    places: set[tuple[str, str]], wanted: int
) -> None:
    one = drawn(sorted(places), wanted, "salt")
    assert one == drawn(sorted(places, reverse=True), wanted, "salt")
    assert len(one) == min(wanted, len(places))
    assert set(one) <= places
    assert one == drawn(sorted(places), 40, "salt")[:wanted]


def test_the_bound_of_an_audit_covers_the_truth() -> None:
    done = subprocess.run(
        [sys.executable, str(PROOF), "--shifts", "40"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["found"]
    for name, said in found.items():
        if name != "few looks":  # forty shifts of forty looks are no average
            assert said["estimate"] == pytest.approx(said["truth"], rel=0.5, abs=2e-4)


# ------------------------------------------------------------------------------ for the page


def population() -> Population:
    made = Population()
    for share, kept in ((0.1, 20), (0.01, 5)):
        made.points[share] = round(kept / share)
        made.candidates[share] = [
            Candidate("run", "part", f"{share}-{k}", "v", "e" * 64, share) for k in range(kept)
        ]
    return made


def test_strata_are_asked_in_turn_until_all_that_was_drawn_has_been_looked_at() -> None:
    sample = samples(population(), 8, "shift")
    assert [(each.points, each.kept, len(each.chosen)) for each in sample] == [
        (200, 20, 8),
        (500, 5, 5),
    ]
    assert sample[0].looked_with == pytest.approx(0.1 * 8 / 20)
    said: dict[tuple[str, str], object] = {}
    asked = []
    while (candidate := following(sample, said)) is not None:  # type: ignore[arg-type]
        asked.append(candidate.point)
        said[candidate.run, candidate.point] = object()
    assert len(asked) == len(set(asked)) == 13


def test_who_cannot_tell_has_not_seen_that_it_is_good() -> None:
    class Said:
        def __init__(self, word: LookWord) -> None:
            self.word = word

    sample = samples(population(), 5, "shift")
    said = {
        (each.run, each.point): Said(LookWord.CANNOT_TELL if k == 0 else LookWord.GOOD)
        for k, each in enumerate(sample[0].chosen)
    }
    found = result(sample, said)  # type: ignore[arg-type]
    assert (found.looked_at, found.defects) == (5, 1)


def test_a_file_of_measurements_is_read_and_each_wrong_line_named() -> None:
    text = (
        "part;point;nugget_mm;word\n"
        "VIN1;p1;4,2;\n"
        "VIN1;p2;3.0;\n"
        "VIN1;p3;;GOOD\n"
        "VIN1;p4;thick;\n"
        ";p5;4.0;\n"
        "VIN1;p6;;perhaps\n"
        "VIN1;p7;;\n"
        "VIN1;p1;4.0;\n"
    )
    read, wrong = read_measurements(text.encode("utf-8-sig"), 3.5)
    assert [(each.point, each.word, each.value_mm) for each in read] == [
        ("p1", LookWord.GOOD, 4.2),
        ("p2", LookWord.DEFECT, 3.0),
        ("p3", LookWord.GOOD, None),
    ]
    assert [said.split(":")[0] for said in wrong] == [f"line {n}" for n in (5, 6, 7, 8, 9)]
    assert "no number" in wrong[0]
    assert "twice" in wrong[4]
    assert "not UTF-8" in read_measurements(b"\xff\xfe", 3.5)[1][0]
    assert "are needed" in read_measurements(b"a,b\n1,2\n", 3.5)[1][0]
    assert "no least diameter" in read_measurements(b"part,point,nugget_mm\nV,p,4\n", None)[1][0]
