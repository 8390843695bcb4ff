"""All points of a view at once are judged as each would be by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inspection.drawing import margin
from inspection.judging import judge_all, margins
from inspection.messages import Verdict
from inspection.policy import Policy, judge

CLASSES = ("crack", "ok", "hole")


def policy(ok_min: float, crack: float, hole: float, ood_max: float | None) -> Policy:
    return Policy(
        version=1,
        package="0" * 64,
        ok_class="ok",
        ok_min=ok_min,
        nok_min={"crack": crack, "hole": hole},
        ood_max=ood_max,
        author="",
        created="",
        why="",
    )


shares = st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]) | st.floats(0, 1)
policies = st.builds(policy, shares, shares, shares, st.none() | st.sampled_from([0.5, 2.0]))


@st.composite
def answers(draw: st.DrawFn, classes: int = 3) -> npt.NDArray[np.float32]:
    """Rows of probabilities, some of them spoiled."""
    count = draw(st.integers(1, 6))
    weights = draw(hnp.arrays(np.float32, (count, classes), elements=st.floats(0, 1, width=32)))
    rows = weights / np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1e-6))
    for _ in range(draw(st.integers(0, 2))):
        row, column = draw(st.integers(0, count - 1)), draw(st.integers(0, classes - 1))
        wrong = st.sampled_from([np.nan, np.inf, -0.5, 0.0, 1.0, 1.5]) | st.floats(width=32)
        rows[row, column] = draw(wrong)
    return rows


unusual = st.none() | st.floats(width=32) | st.sampled_from([0.0, 0.5, 2.0])


def spread(value: float | None, rows: npt.NDArray[Any]) -> npt.NDArray[np.float32] | None:
    return None if value is None else np.full(len(rows), value, np.float32)


@settings(max_examples=1000)
@given(answers(), policies, unusual)
def test_many_points_are_judged_as_each_by_itself(
    rows: npt.NDArray[np.float32], by: Policy, value: float | None
) -> None:
    ood = spread(value, rows)
    one = None if ood is None else float(ood[0])
    alone = [judge(row, CLASSES, by, one) for row in rows.tolist()]
    assert judge_all(rows, CLASSES, by, ood) == alone


@settings(max_examples=1000)
@given(answers(), policies, unusual)
def test_the_margins_of_points_that_are_ok_are_those_of_each_by_itself(
    rows: npt.NDArray[np.float32], by: Policy, value: float | None
) -> None:
    ood = spread(value, rows)
    found = margins(rows, CLASSES, by, ood)
    for k, judgement in enumerate(judge_all(rows, CLASSES, by, ood)):
        if judgement.verdict is Verdict.OK and (value is None or value >= 0):
            one = None if ood is None else float(ood[k])
            assert found[k] == margin(rows[k].tolist(), CLASSES, by, one)


@given(answers(classes=2), policies)
def test_the_wrong_number_of_classes_is_no_look_at_any_point(
    rows: npt.NDArray[np.float32], by: Policy
) -> None:
    said = {judgement.verdict for judgement in judge_all(rows, CLASSES, by)}
    assert said == {Verdict.NOT_INSPECTED}
