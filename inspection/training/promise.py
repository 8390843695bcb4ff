"""Thresholds from costs under a promise: at most so many defective points come out OK.

Method: "Learn then Test" (Angelopoulos, Bates, Candès, Jordan, Lei, arXiv 2110.01052) with
fixed-sequence testing. Thresholds of the OK class are tried from the safest on; each has the null
hypothesis "more than the limit escapes", and the first that is not rejected ends the sequence.
Among those rejected, which have the promise, the cheapest is taken.

**Ties and the grid.** Whatever grid is tried, the risk is kept, so the grid may be the scores
themselves. With a lower threshold never fewer defects come out OK, of those counted as of those to
come. Let t be the largest threshold at which the true rate reaches the limit (the rate is
continuous from below, so there is one). A threshold that breaks the promise lies at t or below;
there at least as many escapes are counted as at t; so it is accepted only if the test at t rejects,
and t is a number of the distribution, not of the sample. Scores equal to a threshold reach it, as
in `inspection.policy.judge`, and counts are made with the very number that the policy will hold.

**What counts as an escape here.** A defective point whose OK score reaches ``ok_min``, whatever the
other scores or the out-of-distribution check would have made of it. The promise therefore leans on
neither, and changing ``nok_min`` never breaks it. The true rate is at most what is tested.

**Independence is by part.** One bad picture spoils every point of a part. The intra-cluster
correlation that a design effect needs cannot be estimated where hardly anything escapes, so none is
assumed: it may be anything, and a part with many defects may be better or worse than others. With
m defects in part p, of which E escape, and M the most a part has, the sum of E / M over parts has
the part's weight m / M in place of a trial; `_Trials` says how that is tested. So:

- one defect a part: a trial a part, with the exact binomial p-value (Clopper and Pearson 1934). So
  too where few parts have more than one: a part then fails if any of its defects escapes. Unequal
  rates do no harm, because equal ones are the worst case (Hoeffding, Ann. Math. Stat. 27, 1956).
- otherwise ``independent = floor(defects / M)`` and Hoeffding's bound in its sharp form (JASA 58,
  1963, theorem 1), which for no escape is the exact binomial one. More cannot be had without an
  assumption: where no part with M defects happens to fail, all that escapes may be in such parts.
- one odd part with very many defects would make M useless. Above a cap each defect is held to
  escape, and the limit shrinks by as much. The cap follows from the numbers of defects alone.
- who knows that parts with many defects are no worse than others (``sizes_matter=False``) may count
  every part with a defect as one trial; the statement then names the assumption.

It holds for parts whose defects are like those here in kind and in number; it knows nothing of a
defect nobody has seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct
from scipy.special import bdtr, betaincinv, xlogy

from inspection.errors import ConfigurationError, DataError
from inspection.policy import SUM_TOLERANCE
from inspection.statistics import trials_needed
from inspection.training.calibrate import TINY, Array, Labels, log_odds

CURVE_POINTS = 200
FEW_MORE = 1.5
"""Up to so many defects a part on average, the worst may stand for all. With more, the mean says
more: most escapes are one defect of several."""

LEAST_NOK = 0.5
"""A class is called NOK by at least an even chance; so at most one class is."""

Mask = npt.NDArray[np.bool_]
Cost = Annotated[float, Meta(ge=0)]


class Costs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a verdict costs, in any one unit; by default a review costs 1. A defective point called
    NOK and a good one called OK cost nothing.

    ``miss``: a defective point called OK. ``false_alarm``: a good point called NOK (a good weld is
    reworked). ``review``: a point a person has to look at, for ``review_minutes``.
    ``points_per_shift``: by default 300 bodies of 5,000 welds. ``prevalence``: defective points of
    all points in production; where it is None the share in the data stands in, at least 1 %,
    which is nearly always too high, makes a miss weigh more, and so errs towards REVIEW.
    """

    miss: Cost = 100.0
    false_alarm: Cost = 5.0
    review: Cost = 1.0
    review_minutes: Cost = 0.5
    points_per_shift: Annotated[int, Meta(ge=1)] = 1_500_000
    prevalence: Annotated[float, Meta(gt=0, lt=1)] | None = None

    def __post_init__(self) -> None:
        for name in ("miss", "false_alarm", "review", "review_minutes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigurationError(f"costs: {name} must be a number from 0")
        if not self.points_per_shift >= 1:
            raise ConfigurationError("costs: points_per_shift must be at least 1")
        if self.prevalence is not None and not 0 < self.prevalence < 1:
            raise ConfigurationError("costs: prevalence must lie between 0 and 1")


class Promise(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of the defective points at most ``limit`` come out OK; the method that says so is wrong in
    at most ``1 - confidence`` of the cases it is used in. ``sizes_matter=False`` assumes that of a
    part with many defects no larger share escapes than of one with few."""

    limit: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    confidence: Annotated[float, Meta(ge=0.8, lt=1)] = 0.95
    sizes_matter: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.limit < 1:
            raise ConfigurationError("promise: limit must lie between 0 and 1, as in 0.01 for 1 %")
        if not 0.8 <= self.confidence < 1:
            raise ConfigurationError("promise: confidence must be at least 0.8 and below 1")


class Counts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands behind a choice. ``escapes`` of ``defects`` points reach the threshold;
    ``independent`` is what they count for, ``failed`` how much of that escaped (of part weights,
    hence not always whole), ``parts`` those that have a defect."""

    points: int
    defects: int
    parts: int
    independent: int
    escapes: int
    failed: float


class Expected(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to expect of thresholds; shares, and no bounds. ``escapes`` is what calibrated scores
    expect, but no less than was counted and no more than the upper bound of that; ``overkill`` good
    points not called OK, ``false_alarms`` those called NOK; ``review`` of all points in
    production; ``cost`` per point."""

    escapes: float
    overkill: float
    false_alarms: float
    review: float
    cost: float
    review_minutes_per_shift: float


class CostCurve(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each threshold of the OK class would give, ``nok_min`` held where it was chosen; fields
    as in `Expected`, one entry a threshold, ascending. ``proven`` are those with the promise."""

    threshold: tuple[float, ...]
    escapes: tuple[float, ...]
    overkill: tuple[float, ...]
    review: tuple[float, ...]
    cost: tuple[float, ...]
    proven: tuple[bool, ...]


class Proof(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the data prove of a threshold of the OK class.

    ``bound`` is the one-sided upper bound of the escape rate at this very threshold. It is below
    the limit where ``proven``; the promise is the limit, not the bound, because a threshold may
    have been chosen on the same points. ``more_defects`` independent ones without an escape would
    prove the limit at this threshold; 0 where it is proven.
    """

    ok_min: float
    promise: Promise
    proven: bool
    statement: str
    counts: Counts
    bound: float
    p_value: float
    more_defects: int


class Choice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds, and what may be said of them. ``nok_min`` holds for every defect class."""

    ok_min: float
    nok_min: float
    proof: Proof
    costs: Costs
    prevalence: float
    expected: Expected
    curve: CostCurve

    @property
    def proven(self) -> bool:
        """Whether the escape rate is promised to stay below the limit."""
        return self.proof.proven

    @property
    def statement(self) -> str:
        """One sentence for card and report."""
        return self.proof.statement

    @property
    def counts(self) -> Counts:
        return self.proof.counts


def choose(
    scores: Array,
    labels: Labels,
    parts: Sequence[str],
    costs: Costs,
    promise: Promise,
    *,
    ood: Mask | None = None,
    other_scores: Sequence[Array] = (),
) -> Choice:
    """The cheapest thresholds that keep the promise, or, where the data cannot prove it, the
    cheapest at which no more than the limit was counted to escape.

    ``scores`` (N, classes): calibrated probabilities as the exported graph gives them, the OK class
    first. ``labels`` (N,): the true class. ``parts`` (N,): the part of each point. ``ood`` (N,):
    the points that are held back as out of distribution; it counts in the costs alone.
    ``other_scores``: the same points through other graphs of the package; the promise must pass for
    every one (intersection-union test, Berger 1982, which needs no correction), costs are those of
    the first.

    Raises `DataError` where these are no probabilities, do not fit each other, or are empty.
    """
    graphs = [np.asarray(table, np.float64) for table in (scores, *other_scores)]
    labels = np.asarray(labels)
    held = np.zeros(len(labels), np.bool_) if ood is None else np.asarray(ood)
    _check(graphs, labels, parts, held)
    defective = labels != 0
    trials = _Trials.of(np.asarray(parts, dtype=np.str_)[defective], promise)
    risk = 1 - promise.confidence

    candidates = _candidates(np.concatenate([table[:, 0] for table in graphs]))
    failed = np.stack([trials.failed(table[defective, 0], candidates) for table in graphs])
    p_values = trials.p_value(failed).max(axis=0)
    # From the safest on, until the first that is not rejected.
    proven = np.logical_and.accumulate((p_values <= risk)[::-1])[::-1]

    prevalence = costs.prevalence or float(np.clip(defective.mean(), 0.01, 0.5))
    escapes = np.max(
        [
            _escapes(table[:, 0], defective, candidates, trials.bound(some, promise.confidence))
            for table, some in zip(graphs, failed, strict=True)
        ],
        axis=0,
    )
    released = _share_reaching(graphs[0][~defective & ~held, 0], candidates, (~defective).sum())
    price = prevalence * (costs.miss * escapes + costs.review * (1 - escapes)) + (
        1 - prevalence
    ) * costs.review * (1 - released)
    counted = np.max(
        [_share_reaching(table[defective, 0], candidates, defective.sum()) for table in graphs],
        axis=0,
    )
    allowed = proven if proven.any() else counted <= promise.limit
    # The highest threshold can always be chosen: nothing is safer.
    allowed = np.append(allowed[:-1], True)
    price = np.where(allowed, price, np.inf)
    at = len(price) - 1 - int(np.argmin(price[::-1]))  # of equal prices the safest
    ok_min = float(candidates[at])
    nok_min = _nok_min(graphs[0], defective, held, ok_min, prevalence, costs)

    some = np.unique(np.linspace(0, len(candidates) - 1, CURVE_POINTS).round().astype(np.int64))
    some = np.union1d(some, [at])
    rows = _expected(
        graphs[0], defective, held, candidates[some], escapes[some], nok_min, prevalence, costs
    )
    here = rows[int(np.searchsorted(some, at))]
    return Choice(
        ok_min=ok_min,
        nok_min=nok_min,
        proof=_proof(graphs, labels, trials, failed[:, at], ok_min, promise),
        costs=costs,
        prevalence=prevalence,
        expected=here,
        curve=CostCurve(
            threshold=tuple(candidates[some].tolist()),
            escapes=tuple(row.escapes for row in rows),
            overkill=tuple(row.overkill for row in rows),
            review=tuple(row.review for row in rows),
            cost=tuple(row.cost for row in rows),
            proven=tuple(proven[some].tolist()),
        ),
    )


def prove(
    scores: Array,
    labels: Labels,
    parts: Sequence[str],
    ok_min: float,
    promise: Promise,
    *,
    other_scores: Sequence[Array] = (),
) -> Proof:
    """What these points prove of one threshold that was fixed before anyone looked at them; of one
    that was found by trying several here, nothing. Arguments and errors as those of `choose`."""
    graphs = [np.asarray(table, np.float64) for table in (scores, *other_scores)]
    labels = np.asarray(labels)
    _check(graphs, labels, parts, np.zeros(len(labels), np.bool_))
    if not 0 <= ok_min <= 1:
        raise DataError(f"ok_min: a threshold lies between 0 and 1, not at {ok_min}")
    defective = labels != 0
    trials = _Trials.of(np.asarray(parts, dtype=np.str_)[defective], promise)
    failed = [trials.failed(table[defective, 0], np.array([ok_min])) for table in graphs]
    return _proof(graphs, labels, trials, np.concatenate(failed), ok_min, promise)


def _proof(
    graphs: Sequence[Array],
    labels: Labels,
    trials: _Trials,
    failed: Array,
    ok_min: float,
    promise: Promise,
) -> Proof:
    """Of the graph in which most escaped; ``failed`` is of each graph."""
    worst = int(np.argmax(failed))
    most = float(failed[worst])
    defective = labels != 0
    counts = Counts(
        points=len(labels),
        defects=int(defective.sum()),
        parts=trials.parts,
        independent=trials.independent,
        escapes=int((graphs[worst][defective, 0] >= ok_min).sum()),
        failed=round(most, 6),
    )
    p_value = float(trials.p_value(np.array([most]))[0])
    proven = p_value <= 1 - promise.confidence
    bound = float(trials.bound(np.array([most]), promise.confidence)[0])
    more = 0 if proven else trials.more(most, promise)
    return Proof(
        ok_min=ok_min,
        promise=promise,
        proven=proven,
        statement=_statement(promise, counts, ok_min, bound, more, proven, len(graphs)),
        counts=counts,
        bound=bound,
        p_value=p_value,
        more_defects=more,
    )


class _Trials(NamedTuple):
    """How the defects of parts are counted as independent trials.

    A part with m defects, of which the share r is to escape, has the weight w = min(m, cap) / cap.
    ``level`` is the limit for the weighted mean of r. Defects above the cap, the share ``excess``
    of all, are held to escape: rate <= (1 - excess) * weighted mean + excess.

    Where every weight is 1 and few parts have more than one defect (``exact``), a part is one trial
    that its worst defect decides. Else, with Y the weight times the
    share that was counted to escape, and x = exp(-theta) for any theta > 0: as x ** y is convex,
    E x ** Y <= 1 - r + r x ** w, and as y ** w is concave, that is at most
    (1 - r + r x) ** w. The product over parts is, by Jensen, at most (1 - level (1 - x)) ** sum(w)
    if the promise is broken, and the best theta gives P(sum Y <= s) <= exp(-N KL(s / N, level))
    with N = sum(w): Hoeffding's bound, with weights in place of trials.
    """

    part_of: npt.NDArray[np.int64]
    """Of each defect, the number of its part."""
    weight: Array
    """Of each defect: what it adds to the sum if it escapes."""
    parts: int
    independent: int
    level: float
    excess: float
    exact: bool

    @classmethod
    def of(cls, part_names: npt.NDArray[np.str_], promise: Promise) -> _Trials:
        """From the part of each defect."""
        _, part_of, sizes = np.unique(part_names, return_inverse=True, return_counts=True)
        total, best = int(sizes.sum()), (-1.0, 1, promise.limit, 0.0)
        for cap in np.unique(sizes).tolist() if promise.sizes_matter else ():
            excess = float(np.maximum(sizes - cap, 0).sum()) / total
            if excess >= promise.limit:
                continue  # so many could escape unseen that nothing would be proven
            level = (promise.limit - excess) / (1 - excess)
            # How strongly no escape would speak against the null hypothesis.
            strength = -math.log1p(-level) * math.floor(np.minimum(sizes, cap).sum() / cap)
            best = max(best, (strength, cap, level, excess))
        _, cap, level, excess = best
        counted = np.minimum(sizes, cap)
        return cls(
            part_of.astype(np.int64),
            (counted / cap / sizes)[part_of],
            len(sizes),
            int(counted.sum()) // cap,
            level,
            excess,
            cap == 1 and total < FEW_MORE * len(sizes) + 1,
        )

    def failed(self, ok_scores: Array, thresholds: Array) -> Array:
        """How much of ``count`` escapes at each threshold. ``ok_scores``: one for each defect."""
        if self.exact:
            worst = np.full(self.parts, -np.inf)
            np.maximum.at(worst, self.part_of, ok_scores)
            return self.parts - np.searchsorted(np.sort(worst), thresholds).astype(np.float64)
        order = np.argsort(ok_scores, kind="stable")
        from_here = np.append(np.cumsum(self.weight[order][::-1])[::-1], 0.0)
        return np.asarray(from_here[np.searchsorted(ok_scores[order], thresholds)])

    def p_value(
        self, failed: Array, level: float | Array | None = None, count: int | None = None
    ) -> Array:
        """Of the null hypothesis that more than ``level`` escapes."""
        level = self.level if level is None else level
        count = self.independent if count is None else count
        if count == 0:
            return np.ones_like(failed)
        if self.exact:
            return np.asarray(bdtr(np.minimum(failed, count), count, level))
        share = np.minimum(failed / count, level)
        apart = xlogy(share, share / level) + xlogy(1 - share, (1 - share) / (1 - level))
        return np.asarray(np.exp(-count * apart))

    def bound(self, failed: Array, confidence: float) -> Array:
        """The largest rates of escapes that are not refuted."""
        if self.independent == 0:
            return np.ones_like(failed)
        values, back = np.unique(failed, return_inverse=True)
        if self.exact:
            below = np.minimum(values, self.independent - 1)
            rates = betaincinv(below + 1, self.independent - below, confidence)
            rates[values >= self.independent] = 1.0
        else:
            low, high = np.minimum(values / self.independent, 1.0), np.ones_like(values)
            for _ in range(32):
                middle = np.clip((low + high) / 2, TINY, 1 - TINY)
                refuted = self.p_value(values, middle) <= 1 - confidence
                low, high = np.where(refuted, low, middle), np.where(refuted, middle, high)
            rates = high
        return np.asarray(((1 - self.excess) * rates + self.excess)[back])

    def more(self, failed: float, promise: Promise) -> int:
        """How many more independent defects, none of which escapes, prove the limit."""
        if self.exact:
            needed = trials_needed(self.level, int(failed), promise.confidence)
        else:
            risk, low, high = 1 - promise.confidence, 0, 1
            while self.p_value(np.array(failed), count=high) > risk:
                low, high = high, 2 * high
            while high - low > 1:
                middle = (low + high) // 2
                proves = self.p_value(np.array(failed), count=middle) <= risk
                low, high = (low, middle) if proves else (middle, high)
            needed = high
        return max(1, needed - self.independent)


def _candidates(ok_scores: Array) -> Array:
    """Thresholds between neighbouring scores, on the scale of log-odds because scores crowd near
    0 and 1; and 1, the safest there is. Rounded as a policy will hold them, ascending."""
    odds = log_odds(np.unique(np.concatenate([[0.0], ok_scores])))
    between = 1 / (1 + np.exp(-(odds[1:] + odds[:-1]) / 2))
    return np.unique(np.append(between.round(9), 1.0))


def _share_reaching(scores: Array, thresholds: Array, of: int) -> Array:
    reached = len(scores) - np.searchsorted(np.sort(scores), thresholds)
    return np.asarray(reached / max(of, 1))


def _escapes(ok_scores: Array, defective: Mask, thresholds: Array, bounds: Array) -> Array:
    """What to reckon with: as many escapes as calibrated scores expect (a point with OK score p is
    defective with probability 1 - p), because few defects make a count too rosy; but no fewer than
    were counted and no more than the count allows."""
    counted = _share_reaching(ok_scores[defective], thresholds, int(defective.sum()))
    ascending = np.sort(ok_scores)
    doubts = np.append(np.cumsum((1 - ascending)[::-1])[::-1], 0.0)
    expected = doubts[np.searchsorted(ascending, thresholds)] / max(float(doubts[0]), TINY)
    return np.maximum(counted, np.minimum(expected, bounds))


def _nok_min(
    scores: Array, defective: Mask, held: Mask, ok_min: float, prevalence: float, costs: Costs
) -> float:
    """From which score on a point that is not OK is cheaper called NOK than looked at."""
    strongest = scores[:, 1:].max(axis=1)
    open_points = (scores[:, 0] < ok_min) | held
    candidates = _candidates(strongest[open_points & (strongest >= LEAST_NOK)])
    candidates = np.unique(np.append(candidates[candidates > LEAST_NOK], LEAST_NOK))
    caught = _share_reaching(strongest[defective & open_points], candidates, defective.sum())
    goods = ~defective
    counted = _share_reaching(strongest[goods & open_points], candidates, goods.sum())
    order = np.argsort(strongest[open_points], kind="stable")
    good_mass = scores[open_points, 0][order]
    mass = np.append(np.cumsum(good_mass[::-1])[::-1], 0.0)
    expected = mass[np.searchsorted(strongest[open_points][order], candidates)] / max(
        float(scores[:, 0].sum()), TINY
    )
    alarms = np.maximum(counted, expected)
    price = (1 - prevalence) * (costs.false_alarm - costs.review) * alarms
    price -= prevalence * costs.review * caught
    return float(candidates[len(price) - 1 - int(np.argmin(price[::-1]))])


def _expected(
    scores: Array,
    defective: Mask,
    held: Mask,
    thresholds: Array,
    escapes: Array,
    nok_min: float,
    prevalence: float,
    costs: Costs,
) -> list[Expected]:
    """What each threshold gives together with ``nok_min``. NOK is asked first, as in a policy."""
    nok = scores[:, 1:].max(axis=1) >= nok_min
    goods, defects = int((~defective).sum()), int(defective.sum())
    alarms = float((nok & ~defective).sum()) / max(goods, 1)
    caught = float((nok & defective).sum()) / max(defects, 1)
    may = ~nok & ~held
    released = _share_reaching(scores[may & ~defective, 0], thresholds, goods)
    missed = np.minimum(escapes, 1 - caught)
    review = prevalence * (1 - caught - missed) + (1 - prevalence) * (1 - alarms - released)
    cost = (
        prevalence * costs.miss * missed
        + (1 - prevalence) * costs.false_alarm * alarms
        + costs.review * review
    )
    minutes = costs.points_per_shift * costs.review_minutes * review
    overkill = 1 - released if goods else np.zeros(len(thresholds))
    return [
        Expected(
            escapes=float(missed[i]),
            overkill=float(overkill[i]),
            false_alarms=alarms,
            review=max(0.0, float(review[i])),
            cost=float(cost[i]),
            review_minutes_per_shift=max(0.0, float(minutes[i])),
        )
        for i in range(len(thresholds))
    ]


def _statement(
    promise: Promise,
    counts: Counts,
    ok_min: float,
    bound: float,
    more: int,
    proven: bool,
    graphs: int,
) -> str:
    """One sentence for card and report. Only a proven limit is called "at most"."""
    limit = f"{promise.limit * 100:g} %"
    sure = f"{promise.confidence * 100:g} % confidence"
    both = f" in the worst of {graphs} graphs" if graphs > 1 else ""
    found = (
        f"{counts.escapes} of {counts.defects} defects reach the threshold of {ok_min:.6g}{both},"
        f" {counts.failed:.3g} of {counts.independent} counted as independent"
        f" ({counts.parts} parts with a defect)"
    )
    if not promise.sizes_matter:
        found += ", if parts with many defects are no worse than others"
    if proven:
        return f"Escapes are at most {limit} of the defective points, with {sure}: {found}."
    return (
        f"An escape rate of {limit} is not proven with {sure}: {found}, which leaves rates up to"
        f" {bound * 100:.3g} % possible; {more} more independent defects without an escape would"
        " prove it."
    )


def _check(graphs: Sequence[Array], labels: Labels, parts: Sequence[str], held: Mask) -> None:
    """Raises `DataError` unless all these belong together."""
    first = graphs[0]
    if first.ndim != 2 or len(first) == 0 or first.shape[1] < 2:
        raise DataError(f"scores: need points by classes, two classes at least, not {first.shape}")
    for number, table in enumerate(graphs):
        which = "scores" if number == 0 else f"other_scores[{number - 1}]"
        if table.shape != first.shape:
            raise DataError(f"{which}: shape {table.shape}, but scores have {first.shape}")
        # Written so that NaN fails.
        believable = (table >= 0).all(axis=1) & (table <= 1).all(axis=1)
        believable &= np.abs(table.sum(axis=1) - 1) <= SUM_TOLERANCE
        if not believable.all():
            at = int(np.argmin(believable))
            raise DataError(f"{which}: row {at} is no probability vector: {table[at].tolist()}")
    for what, count in (("labels", len(labels)), ("parts", len(parts)), ("ood", len(held))):
        if count != len(first):
            raise DataError(f"{what}: {count} for {len(first)} points")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= first.shape[1]:
        raise DataError(f"labels: must be classes 0 to {first.shape[1] - 1}, 0 being OK")
    if held.dtype != np.bool_:
        raise DataError("ood: say of each point whether it is held back, true or false")
