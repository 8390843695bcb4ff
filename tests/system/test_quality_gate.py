"""The proof of the quality gate on one view: what cannot be seen is never OK, what can be is let
through."""

from __future__ import annotations

import quality_gate
from quality_gate import KINDS, Work, claims, prove_view

from inspection.rendering.catalogue import DEFECTS


def test_what_cannot_be_seen_is_never_ok_and_what_can_be_seen_reaches_the_model() -> None:
    found = prove_view(Work("v30", stances=2, times=2, spoiled=2, defects=1, learnt=3))
    spoiled, good, defects = claims(found)
    assert found.spoiled == dict.fromkeys(KINDS, 2)
    assert all(found.unseen[kind] for kind in KINDS)
    assert spoiled["holds"], spoiled
    assert found.good > 80
    assert good["holds"], good
    assert found.defects == dict.fromkeys(DEFECTS, 1)
    assert defects["holds"], defects


def test_the_proof_counts_what_a_gate_that_refuses_nothing_lets_through() -> None:
    found = quality_gate.Found()
    found.unseen["black"], found.ok["black"] = 24, 1
    found.good, found.refused["W0001 blurred"] = 1000, 1
    found.defects["crack"], found.defects_refused["crack"] = 50, 1
    assert [claim["holds"] for claim in claims(found)] == [False, False, False]
