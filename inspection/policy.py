"""Scores to a verdict. Pure: the edge applies it, the station recomputes it and refuses a
difference, evaluation and back-test use the same function.

A policy lies beside a model package as ``policy.json`` and names the package it was fitted for.
It can be changed without a new model; each change is a new version.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from inspection.errors import PackageError
from inspection.messages import Reason, Score, Seq, Sha256, Text, Verdict

SUM_TOLERANCE = 1e-3
"""How far probabilities may miss a sum of one (float32 softmax over few classes: about 1e-6)."""

UNREADABLE = (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a damaged JSON file can raise; msgspec lets the last two through as they are."""


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds of one model package.

    A point is NOK as soon as one defect class reaches its ``nok_min``; otherwise OK if the OK
    class reaches ``ok_min``; otherwise REVIEW. NOK is asked first, so that overlapping thresholds
    fail closed. With ``ood_max`` a point that is no NOK and more unusual than that is REVIEW; None
    does not ask.
    """

    version: Seq
    package: Sha256
    ok_class: Annotated[str, Meta(min_length=1, max_length=64)]
    ok_min: Score
    nok_min: dict[str, Score]
    ood_max: Annotated[float, Meta(gt=0)] | None = None
    author: Text
    created: Text
    why: Text


class Judgement(NamedTuple):
    """What a policy says of one point."""

    verdict: Verdict
    reason: Reason
    finding: str
    """The strongest defect class where the verdict is NOK or REVIEW, else empty."""


def valid_scores(scores: Sequence[float], classes: int) -> bool:
    """Whether these are probabilities over ``classes``. Written so that NaN fails: every
    comparison must hold, none must merely not fail."""
    return (
        len(scores) == classes
        and all(math.isfinite(score) and 0.0 <= score <= 1.0 for score in scores)
        and abs(math.fsum(scores) - 1.0) <= SUM_TOLERANCE
    )


def valid_ood(ood: float | None) -> bool:
    """Whether this is an out-of-distribution score. Written so that NaN fails, as above."""
    return ood is not None and math.isfinite(ood) and ood >= 0.0


def judge(
    scores: Sequence[float], classes: Sequence[str], policy: Policy, ood: float | None = None
) -> Judgement:
    """The verdict on one point from its class probabilities, in the order of ``classes``, and from
    how unusual it looks (None where the model does not say).

    Anything that is not a probability vector is NOT_INSPECTED(MODEL_OUTPUT_INVALID): a score that
    cannot be believed is no look at the point at all. The same holds, NOK apart, for an ``ood``
    that is missing or no number where the policy asks for it.
    """
    if not valid_scores(scores, len(classes)):
        return Judgement(Verdict.NOT_INSPECTED, Reason.MODEL_OUTPUT_INVALID, "")
    ok_score = 0.0
    strongest, strongest_score, defect = "", -1.0, False
    for name, score in zip(classes, scores, strict=True):
        if name == policy.ok_class:
            ok_score = score
            continue
        reached = score >= policy.nok_min[name]
        # Among several classes over their limit the strongest is named; a class over its limit
        # beats a stronger one that is not.
        if (reached, score) > (defect, strongest_score):
            strongest, strongest_score, defect = name, score, reached
    if defect:
        return Judgement(Verdict.NOK, Reason.DEFECT, strongest)
    if policy.ood_max is not None:
        if ood is None or not valid_ood(ood):
            return Judgement(Verdict.NOT_INSPECTED, Reason.MODEL_OUTPUT_INVALID, "")
        if ood > policy.ood_max:
            return Judgement(Verdict.REVIEW, Reason.OUT_OF_DISTRIBUTION, strongest)
    if ok_score >= policy.ok_min:
        return Judgement(Verdict.OK, Reason.NONE, "")
    return Judgement(Verdict.REVIEW, Reason.UNCERTAIN, strongest)


def check_policy(policy: Policy, classes: Sequence[str], package: str) -> None:
    """Raises `PackageError` unless the policy belongs to this package and covers its classes."""
    if policy.package != package:
        raise PackageError(
            f"policy.json was fitted for package {policy.package[:12]}, not for {package[:12]}:"
            " fit or copy the policy of this package"
        )
    if policy.ok_class not in classes:
        raise PackageError(f"policy.json: ok_class {policy.ok_class!r} is no class of the model")
    defects = set(classes) - {policy.ok_class}
    if set(policy.nok_min) != defects:
        raise PackageError(
            f"policy.json: nok_min must name exactly the defect classes {sorted(defects)},"
            f" not {sorted(policy.nok_min)}"
        )


def encode_policy(policy: Policy) -> bytes:
    """The bytes of ``policy.json``; their SHA-256 is the policy's hash."""
    return msgspec.json.format(msgspec.json.encode(policy), indent=2) + b"\n"


def read_policy(path: Path) -> tuple[Policy, str]:
    """A policy and its hash. Raises `PackageError` where the file is missing or not a policy."""
    try:
        raw = path.read_bytes()
        return msgspec.json.decode(raw, type=Policy), hashlib.sha256(raw).hexdigest()
    except FileNotFoundError:
        raise PackageError(f"{path}: no policy beside the model package") from None
    except UNREADABLE as error:
        raise PackageError(f"{path}: {error}") from None
