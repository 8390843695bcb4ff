"""What a report counts: pure functions of scores, labels and verdicts, and the structs they fill.

Scores are rows of class probabilities; ``defective`` says what is true of each. The probability of
a defect is one minus the score of the OK class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from inspection.messages import Verdict
from inspection.policy import Policy
from inspection.statistics import CONFIDENCE, Rate, rate
from inspection.training.data import LabelledPoint, Picture
from inspection.training.evaluate import Judged, Rates

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

RESAMPLES = 400
"""Of whole parts, for the interval of an AUROC; it moves by about 5 % of its width beyond that."""

BINS = 15
"""Of a reliability diagram, of equal width, as in Guo et al. (2017)."""

EDGE = 1e-6
"""Scores are taken no nearer to 0 and 1 than this before their log-odds are drawn or compared."""


class Seen(NamedTuple):
    """A judged point together with where it came from."""

    picture: Picture
    point: LabelledPoint
    judged: Judged

    @property
    def counted(self) -> bool:
        """Whether it is in the rates: labelled, and not borderline."""
        return self.point.label is not None and not self.point.borderline


class Auroc(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Area under the ROC curve; None where one side is empty. The interval comes from resampling
    whole parts (percentile bootstrap); where no pair is in the wrong order it has no width and
    says nothing, and is None."""

    value: float | None
    lower: float | None
    upper: float | None
    positives: int
    negatives: int


class OperatingPoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What overkill a limit on escapes costs: the lowest threshold of the OK class at which no
    more than ``escapes_allowed`` of the defective points of this very data pass. Chosen on the
    data it is measured on, hence optimistic; REVIEW counts as not OK."""

    escapes_allowed: float
    ok_min: float
    escapes: Rate
    overkill: Rate


class Prices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a verdict costs, in any one unit: a defective point called OK, a good one called NOK, a
    look by a person; and which share of all points in production is defective. NOT_INSPECTED
    costs a look."""

    miss: Annotated[float, Meta(ge=0)] = 100.0
    false_alarm: Annotated[float, Meta(ge=0)] = 5.0
    review: Annotated[float, Meta(ge=0)] = 1.0
    prevalence: Annotated[float, Meta(gt=0, lt=1)] = 0.01


class CostPoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One threshold of the OK class: rates counted on this data, and the expected cost of 1,000
    points in production. ``review`` is of all points in production."""

    ok_min: float
    escapes: float
    overkill: float
    review: float
    cost: float


class CostCurve(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``nok_min`` as in the policy; ``present`` is its own threshold, ``cheapest`` the cheapest one
    on this data, which is no advice: a threshold chosen on the test is no longer tested."""

    prices: Prices
    present: CostPoint
    cheapest: CostPoint
    points: tuple[CostPoint, ...]


class Bin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Points whose probability of a defect lies from ``low`` to ``high``: what the model said on
    average, and what was true."""

    low: float
    high: float
    said: float
    defective: Rate


class Reliability(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Expected calibration error (Naeini et al. 2015; Guo et al. 2017): ``ece_defect`` of the
    probability of a defect, which the policy uses, ``ece_class`` of the strongest class; None
    where there is nothing to count."""

    ece_defect: float | None
    ece_class: float | None
    bins: tuple[Bin, ...]


class Shown(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A picture in the report. ``margin`` is the distance to the nearest threshold in log-odds."""

    picture: str
    part: str
    group: str
    point: str
    label: str
    verdict: str
    finding: str
    scores: dict[str, float]
    margin: float | None


class Gallery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some of ``of`` pictures, the worst first."""

    title: str
    explains: str
    of: int
    shown: tuple[Shown, ...]


def auroc(
    values: Array, positive: Mask, parts: Sequence[str] | None = None, seed: int = 0
) -> Auroc:
    """Area under the ROC curve of ``values`` (higher: more positive), ties counting one half
    (Mann and Whitney 1947). With ``parts`` also an interval."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return Auroc(value=None, lower=None, upper=None, positives=positives, negatives=negatives)
    levels, level = np.unique(values, return_inverse=True)
    value = _area(level, len(levels), positive, np.ones(len(values)))
    lower = upper = None
    if parts is not None and value < 1.0:
        names, part = np.unique(np.asarray(parts, dtype=object).astype(str), return_inverse=True)
        rng = np.random.default_rng(seed)
        areas = []
        for _ in range(RESAMPLES):
            drawn = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
            weights = drawn[part].astype(np.float64)
            if weights[positive].sum() and weights[~positive].sum():
                areas.append(_area(level, len(levels), positive, weights))
        if areas:
            side = (1 - CONFIDENCE) / 2
            lower, upper = (float(q) for q in np.quantile(areas, [side, 1 - side]))
    return Auroc(value=value, lower=lower, upper=upper, positives=positives, negatives=negatives)


def _area(level: npt.NDArray[np.intp], levels: int, positive: Mask, weights: Array) -> float:
    above = np.bincount(level[positive], weights[positive], levels)
    below = np.bincount(level[~positive], weights[~positive], levels)
    won = above * (np.cumsum(below) - below / 2)
    return float(won.sum() / (above.sum() * below.sum()))


def operating_points(
    ok_scores: Array, defective: Mask, allowed: Sequence[float] = (0.05, 0.01, 0.0)
) -> tuple[OperatingPoint, ...]:
    """Overkill where no more than each of these shares of the defective points are called OK. A
    score that equals the threshold is OK, as in a policy; empty where one side is empty."""
    bad, good = np.sort(ok_scores[defective])[::-1], ok_scores[~defective]
    if not len(bad) or not len(good):
        return ()
    found = []
    for share in allowed:
        may_pass = math.floor(share * len(bad) + 1e-9)
        # Just above the first defective score that must not pass.
        limit = float(np.nextafter(bad[may_pass], np.inf)) if may_pass < len(bad) else 0.0
        found.append(
            OperatingPoint(
                escapes_allowed=share,
                ok_min=limit,
                escapes=rate(int((bad >= limit).sum()), len(bad)),
                overkill=rate(int((good < limit).sum()), len(good)),
            )
        )
    return tuple(found)


def cost_curve(
    scores: Array,
    valid: Mask,
    defective: Mask,
    classes: Sequence[str],
    policy: Policy,
    prices: Prices,
    steps: int = 80,
) -> CostCurve | None:
    """Rates and expected cost over thresholds of the OK class, evenly spaced in log-odds.
    ``scores`` (N, classes) of points that are not ``valid`` are never OK nor NOK: a person looks.
    None where there is no defective or no good point."""
    if defective.all() or not defective.any():
        return None
    ok = classes.index(policy.ok_class)
    limits = np.array([policy.nok_min.get(name, np.inf) for name in classes])
    nok = valid & (scores >= limits).any(axis=1)
    candidates = valid & ~nok
    n_bad, n_good = int(defective.sum()), int((~defective).sum())
    share = prices.prevalence

    def at(ok_min: float) -> CostPoint:
        passed = candidates & (scores[:, ok] >= ok_min)
        review = ~passed & ~nok
        escapes = float((passed & defective).sum()) / n_bad
        overkill = float((~passed & ~defective).sum()) / n_good
        false_alarms = float((nok & ~defective).sum()) / n_good
        looked = (
            share * float((review & defective).sum()) / n_bad
            + (1 - share) * float((review & ~defective).sum()) / n_good
        )
        each = (
            share * escapes * prices.miss
            + (1 - share) * false_alarms * prices.false_alarm
            + looked * prices.review
        )
        return CostPoint(
            ok_min=ok_min, escapes=escapes, overkill=overkill, review=looked, cost=1000 * each
        )

    span = float(log_odds(np.array([1 - 1e-4]))[0])
    grid = 1 / (1 + np.exp(-np.linspace(-span, span, steps + 1)))
    points = tuple(at(float(limit)) for limit in grid)
    return CostCurve(
        prices=prices,
        present=at(policy.ok_min),
        cheapest=min(points, key=lambda point: (point.cost, -point.ok_min)),
        points=points,
    )


def reliability(
    scores: Array, labels: Sequence[str], classes: Sequence[str], ok: str
) -> Reliability:
    """Calibration of scores (N, classes) against true classes; a class the model does not know is
    simply never the one it named."""
    if not len(scores):
        return Reliability(ece_defect=None, ece_class=None, bins=())
    said = 1 - scores[:, list(classes).index(ok)]
    truth = np.array([label != ok for label in labels])
    strongest = scores.argmax(axis=1)
    right = np.array([classes[k] == label for k, label in zip(strongest, labels, strict=True)])
    bins = []
    for low, high, inside in _bins(said):
        errors, trials = int(truth[inside].sum()), int(inside.sum())
        bins.append(
            Bin(
                low=low,
                high=high,
                said=float(said[inside].mean()),
                defective=rate(errors, trials),
            )
        )
    return Reliability(
        ece_defect=_ece(said, truth), ece_class=_ece(scores.max(axis=1), right), bins=tuple(bins)
    )


def _bins(values: Array) -> list[tuple[float, float, Mask]]:
    place = np.minimum((values * BINS).astype(int), BINS - 1)
    return [(k / BINS, (k + 1) / BINS, place == k) for k in range(BINS) if bool((place == k).any())]


def _ece(said: Array, truth: Mask) -> float:
    gaps = [
        inside.sum() * abs(float(said[inside].mean()) - float(truth[inside].mean()))
        for _, _, inside in _bins(said)
    ]
    return float(sum(gaps) / len(said))


def log_odds(scores: Array) -> Array:
    """Log-odds, with scores kept `EDGE` away from 0 and 1."""
    inside = np.clip(scores, EDGE, 1 - EDGE)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def margin(scores: Mapping[str, float], policy: Policy) -> float:
    """How far, in log-odds, the scores are from the nearest threshold of the policy."""
    pairs = [(scores[policy.ok_class], policy.ok_min)]
    pairs += [(scores[name], limit) for name, limit in policy.nok_min.items()]
    both = log_odds(np.array(pairs))
    return float(np.abs(both[:, 0] - both[:, 1]).min())


def rates_by(seen: Sequence[Seen], ok_class: str, values: Sequence[str]) -> dict[str, Rates]:
    """Escapes and overkill of the counted points for each value of something, given in the order
    of ``seen``."""
    counts: dict[str, list[int]] = {}
    for entry, value in zip(seen, values, strict=True):
        if entry.counted:
            row = counts.setdefault(value, [0, 0, 0, 0])
            good = entry.point.label == ok_class
            passed = entry.judged.judgement.verdict is Verdict.OK
            row[2 * good] += passed is not good
            row[2 * good + 1] += 1
    return {
        value: Rates(escapes=rate(row[0], row[1]), overkill=rate(row[2], row[3]))
        for value, row in sorted(counts.items())
    }


def galleries(
    seen: Sequence[Seen], classes: Sequence[str], policy: Policy, most: int = 12
) -> tuple[tuple[Gallery, ...], tuple[tuple[Seen, ...], ...]]:
    """The pictures a person should look at, and the points they show, in the same order."""
    ok = policy.ok_class
    index = {name: k for k, name in enumerate(classes)}
    counted = [entry for entry in seen if entry.counted]
    scored = [entry for entry in counted if _usable(entry)]

    def passed(entry: Seen) -> bool:
        return entry.judged.judgement.verdict is Verdict.OK

    def good(entry: Seen) -> bool:
        return entry.point.label == ok

    def ok_score(entry: Seen) -> float:
        return entry.judged.scores[index[ok]] if _usable(entry) else -1.0

    def named(entry: Seen) -> str:
        return classes[int(np.argmax(entry.judged.scores))]

    def away(entry: Seen) -> float:
        return margin(dict(zip(classes, entry.judged.scores, strict=True)), policy)

    choices = (
        (
            "Escapes",
            "Defective, and called OK. The most confident first.",
            sorted((e for e in counted if not good(e) and passed(e)), key=lambda e: -ok_score(e)),
        ),
        (
            "False alarms",
            "Good, and not called OK. Those that look least good to the model first.",
            sorted((e for e in counted if good(e) and not passed(e)), key=ok_score),
        ),
        (
            "Most confident errors",
            (
                "The strongest class is not the true one, whatever the verdict: the place to look"
                " for wrong labels. The most confident first."
            ),
            sorted(
                (e for e in scored if named(e) != e.point.label),
                key=lambda e: -max(e.judged.scores),
            ),
        ),
        (
            "Lowest margins",
            "Right, but nearest to a threshold: the next to go wrong.",
            sorted((e for e in scored if good(e) == passed(e)), key=away),
        ),
    )
    listed = []
    for title, explains, entries in choices:
        shown = [
            Shown(
                picture=entry.picture.path.name,
                part=entry.picture.part,
                group=entry.picture.group,
                point=entry.point.id,
                label=str(entry.point.label),
                verdict=entry.judged.judgement.verdict.value,
                finding=entry.judged.judgement.finding,
                scores=dict(zip(classes, entry.judged.scores, strict=False)),
                margin=away(entry) if _usable(entry) else None,
            )
            for entry in entries[:most]
        ]
        listed.append(Gallery(title=title, explains=explains, of=len(entries), shown=tuple(shown)))
    return tuple(listed), tuple(tuple(entries[:most]) for _, _, entries in choices)


def _usable(entry: Seen) -> bool:
    """Whether the scores are numbers; a score that cannot be believed sorts nowhere."""
    return bool(entry.judged.scores) and all(map(math.isfinite, entry.judged.scores))


def usable(entry: Seen) -> bool:
    """Whether the point was looked at and its scores can be believed."""
    return _usable(entry) and entry.judged.judgement.verdict is not Verdict.NOT_INSPECTED
