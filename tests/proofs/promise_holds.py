"""The promise of a policy, kept: deployments whose true escape rate is known.

    python tests/proofs/promise_holds.py [--deployments N] [--seed N] [--json FILE]

Each case is a distribution of scores, of defects over parts and of good points. A deployment is a
sample from it, on which thresholds are chosen; then the true escape rate at ``ok_min`` is computed
from the distribution itself, nothing is estimated. Costs are such that the lowest threshold with
the promise is taken, the worst for it. A promise is broken where it was made and the true rate is
above the limit; that may happen in a share ``1 - confidence`` of the deployments, and an exact
binomial test says whether it happened more often than that.

Beside it the rule that many use, the lowest threshold at which no more than the limit escaped of
those counted, on the same samples: it breaks the promise about every other time.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from circuit_boards import commit
from scipy.special import expit, logit, ndtr
from scipy.stats import binomtest

from inspection.training.calibrate import Array, Labels
from inspection.training.promise import Choice, Costs, Promise, choose

GOOD, GOOD_SPREAD = 3.0, 1.5
DEFECT, DEFECT_SPREAD = -2.0, 2.0
"""Log-odds of the OK score: normal, with this mean and standard deviation."""

EAGER = Costs(miss=0.0, prevalence=0.5)
"""The lower the threshold, the cheaper."""

SAMPLING = 0.001
"""How improbable a share must be before it is more than sampling error."""


class Sample(NamedTuple):
    """One deployment: OK scores of good points and of defects, the part of each defect, and the
    OK scores through a second graph, if there is one."""

    good: Array
    defects: Array
    part_of: Labels
    other_good: Array | None = None
    other_defects: Array | None = None


class Case(NamedTuple):
    """A distribution: how to draw from it and its true escape rate at a threshold."""

    limit: float
    draw: Callable[[np.random.Generator], Sample]
    escape_rate: Callable[[float], float]
    sizes_matter: bool = True

    @property
    def promise(self) -> Promise:
        return Promise(limit=self.limit, sizes_matter=self.sizes_matter)


def tail(threshold: float, mean: float = DEFECT, spread: float = DEFECT_SPREAD) -> float:
    """P(score >= threshold) of a score whose log-odds are normal."""
    return float(ndtr((mean - logit(threshold)) / spread))


def good(rng: np.random.Generator, count: int = 150) -> Array:
    return np.asarray(expit(rng.normal(GOOD, GOOD_SPREAD, count)))


def apart(defects: int, points: int = 220) -> Callable[[np.random.Generator], Sample]:
    """One defect a part."""

    def draw(rng: np.random.Generator) -> Sample:
        scores = expit(rng.normal(DEFECT, DEFECT_SPREAD, defects))
        return Sample(good(rng, points - defects), scores, np.arange(defects))

    return draw


STEP = 0.1


def tied(rng: np.random.Generator) -> Sample:
    """Scores in steps of 0.1, good ones too."""
    sample = apart(150)(rng)
    return Sample(rounded(sample.good), rounded(sample.defects), sample.part_of)


def rounded(scores: Array) -> Array:
    return np.asarray(np.round(scores / STEP).astype(np.int64) / round(1 / STEP))


def tied_rate(threshold: float) -> float:
    steps = round(1 / STEP)
    first = next(step for step in range(steps + 1) if step / steps >= threshold)
    return 1.0 if first == 0 else tail((first - 0.5) * STEP)


def together(share: float, mean_more: float) -> Callable[[np.random.Generator], Sample]:
    """Parts with one defect and Poisson more; the part makes ``share`` of a score's variance."""

    def draw(rng: np.random.Generator) -> Sample:
        sizes = 1 + rng.poisson(mean_more, 200)
        part_of = np.repeat(np.arange(len(sizes)), sizes)
        of_part = rng.normal(0, 1, len(sizes))[part_of]
        own = rng.normal(0, 1, len(part_of))
        logits = math.sqrt(share) * of_part + math.sqrt(1 - share) * own
        return Sample(good(rng), expit(DEFECT + DEFECT_SPREAD * logits), part_of)

    return draw


LARGE, LARGE_SHARE, LARGE_MEAN = 3, 0.3, -0.5


def large_worse(rng: np.random.Generator) -> Sample:
    """Three parts of ten have three defects, and theirs look more like good; one fate a part."""
    large = rng.random(200) < LARGE_SHARE
    sizes = np.where(large, LARGE, 1)
    part_of = np.repeat(np.arange(len(sizes)), sizes)
    logits = rng.normal(np.where(large, LARGE_MEAN, DEFECT), DEFECT_SPREAD)[part_of]
    return Sample(good(rng), expit(logits), part_of)


def large_worse_rate(threshold: float) -> float:
    large = LARGE * LARGE_SHARE
    total = large + 1 - LARGE_SHARE
    return (large * tail(threshold, LARGE_MEAN) + (1 - LARGE_SHARE) * tail(threshold)) / total


HIDDEN = 0.0505


def hidden(rng: np.random.Generator) -> Sample:
    """Nearly all defects are plain, and a little more than the limit look just like good."""
    scores = np.where(rng.random(60) < HIDDEN, 0.9, 0.1)
    return Sample(np.full(150, 0.9), scores, np.arange(60))


def two_graphs(rng: np.random.Generator) -> Sample:
    """The second graph adds noise, and is a little fonder of good."""
    sample = apart(100)(rng)
    more = [rng.normal(0.3, 0.5, len(some)) for some in (sample.good, sample.defects)]
    others = [expit(logit(s) + m) for s, m in zip(sample[:2], more, strict=True)]
    return Sample(*sample[:3], *others)


def two_graphs_rate(threshold: float) -> float:
    return max(tail(threshold), tail(threshold, DEFECT + 0.3, math.hypot(DEFECT_SPREAD, 0.5)))


CASES: dict[str, Case] = {
    "few defects": Case(0.05, apart(70), tail),
    "1 % of 500": Case(0.01, apart(500, 650), tail),
    "ties": Case(0.05, tied, tied_rate),
    "correlated in a part": Case(0.05, together(0.5, 0.7), tail),
    "correlated, a part one trial": Case(0.05, together(0.5, 0.7), tail, sizes_matter=False),
    "one fate a part, one trial": Case(0.05, together(1.0, 0.7), tail, sizes_matter=False),
    "one fate a part": Case(0.05, together(1.0, 0.7), tail),
    "parts with many are worse": Case(0.05, large_worse, large_worse_rate),
    "1 defect in 40": Case(0.05, apart(65, 2600), tail),
    "hidden among good": Case(0.05, hidden, lambda t: 1.0 if t <= 0.1 else HIDDEN * (t <= 0.9)),
    "two graphs": Case(0.05, two_graphs, two_graphs_rate),
}


class Outcome(NamedTuple):
    """What became of the deployments of a case."""

    deployments: int
    proven: int
    broken: int
    naive_broken: int

    def too_often(self, risk: float) -> float:
        """How probable so many broken promises are where each is broken with ``risk``."""
        return float(binomtest(self.broken, self.deployments, risk, "greater").pvalue)


def deploy(case: Case, deployments: int, seed: int) -> Outcome:
    """Draw, choose, and look at the truth."""
    rng = np.random.default_rng(seed)
    proven = broken = naive_broken = 0
    for _ in range(deployments):
        sample = case.draw(rng)
        choice = chosen(sample, case.promise)
        proven += choice.proven
        broken += choice.proven and case.escape_rate(choice.ok_min) > case.limit
        naive_broken += case.escape_rate(naive(sample, case.limit)) > case.limit
    return Outcome(deployments, proven, broken, naive_broken)


def chosen(sample: Sample, promise: Promise) -> Choice:
    labels = np.concatenate([np.zeros(len(sample.good), np.int64), np.ones_like(sample.part_of)])
    # Good points lie in parts with defects, too.
    parts = [*(str(i) for i in range(len(sample.good))), *map(str, sample.part_of.tolist())]
    others = []
    if sample.other_good is not None and sample.other_defects is not None:
        others.append(table(sample.other_good, sample.other_defects))
    scores = table(sample.good, sample.defects)
    return choose(scores, labels, parts, EAGER, promise, other_scores=others)


def table(good_scores: Array, defects: Array) -> Array:
    ok = np.concatenate([good_scores, defects])
    return np.stack([ok, 1 - ok], axis=1)


def naive(sample: Sample, limit: float) -> float:
    """Just above the first defect that must not come out OK any more."""
    descending = np.sort(sample.defects)[::-1]
    return float(np.nextafter(descending[int(limit * len(descending))], 1.0))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="the promise of a policy, on known distributions")
    parser.add_argument("--deployments", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    lines, failed = [], 0
    for name, case in CASES.items():
        started = time.monotonic()
        outcome = deploy(case, options.deployments, options.seed)
        too_often = outcome.too_often(0.05)
        failed |= too_often < SAMPLING
        lines.append(
            json.dumps(
                {
                    "claim": f"promise kept, {name}",
                    "commit": commit(),
                    "seed": options.seed,
                    "limit": case.limit,
                    "sizes_matter": case.sizes_matter,
                    "risk": 0.05,
                    **outcome._asdict(),
                    "share_broken": outcome.broken / outcome.deployments,
                    "p_of_so_many": too_often,
                    "seconds": round(time.monotonic() - started, 1),
                }
            )
        )
        print(lines[-1], flush=True)
    if options.json is not None:
        options.json.write_text("\n".join(lines) + "\n", "utf-8")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
