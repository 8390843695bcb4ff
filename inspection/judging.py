"""`inspection.policy.judge` and `inspection.drawing.margin` for all points of a view at once.

The same answers, to the last bit (a test draws them by the thousand): most points are well inside
all limits, which is seen of all of them together, and every other one is asked by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from inspection.messages import Reason, Verdict
from inspection.policy import SUM_TOLERANCE, Judgement, Policy, judge

Floats = npt.NDArray[np.floating]

_OK = Judgement(Verdict.OK, Reason.NONE, "")


def judge_all(
    scores: Floats, classes: Sequence[str], policy: Policy, ood: Floats | None = None
) -> list[Judgement]:
    """The verdicts on N points from their class probabilities (N, classes) and, where the model
    gives it, from how unusual each looks (N,)."""
    plain = np.zeros(len(scores), bool)
    if scores.shape[1] == len(classes) and (ood is not None or policy.ood_max is None):
        plain = _plainly_ok(scores.astype(np.float64), classes, policy)
        if policy.ood_max is not None and ood is not None:
            plain &= (ood >= 0) & (ood.astype(np.float64) <= policy.ood_max)
    if plain.all():
        return [_OK] * len(scores)
    unusual = [None] * len(scores) if ood is None else ood.tolist()
    return [
        _OK if inside else judge(row, classes, policy, one)
        for inside, row, one in zip(plain.tolist(), scores.tolist(), unusual, strict=True)
    ]


def _plainly_ok(rows: Floats, classes: Sequence[str], policy: Policy) -> npt.NDArray[np.bool_]:
    below = [math.inf if name == policy.ok_class else policy.nok_min[name] for name in classes]
    return np.asarray(
        (rows[:, classes.index(policy.ok_class)] >= policy.ok_min)
        & ((rows < below) & (rows >= 0) & (rows <= 1)).all(axis=1)
        # Half the tolerance: that this sum is rounded differently does not matter then.
        & (np.abs(rows.sum(axis=1) - 1) <= SUM_TOLERANCE / 2)
    )


def margins(
    scores: Floats, classes: Sequence[str], policy: Policy, ood: Floats | None = None
) -> Floats:
    """How far each of N points that are OK is from not being OK, 0 to 1 (N,)."""
    rows = scores.astype(np.float64)
    ok = classes.index(policy.ok_class)
    room = np.array([policy.nok_min.get(name, 1.0 - policy.ok_min) for name in classes])
    above = room - rows
    above[:, ok] = rows[:, ok] - policy.ok_min
    # Where there is no room, nothing is left; where there is all but none, it is any amount.
    with np.errstate(over="ignore"):
        shares = np.divide(above, room, out=np.zeros_like(above), where=room > 0)
    left = np.minimum(shares.min(axis=1), 1.0)
    if policy.ood_max is not None and ood is not None:
        left = np.minimum(left, (policy.ood_max - ood.astype(np.float64)) / policy.ood_max)
    return np.asarray(np.maximum(left, 0.0))
