"""What good points look like, learnt from good points alone; and a limit with a known guarantee.

Three terms, each a distance from what was seen, are added as logarithms, with constant weights, so
that a point is unusual if it is so in one or in all of them:

- *patches*: the distance of each patch from the nearest one in a memory (PatchCore: Roth et al.,
  "Towards total recall in industrial anomaly detection", 2022), or from the Gaussian of its own
  position (PaDiM: Defard et al., 2021); their generalised mean of order `ORDER` stands for the
  point, which lies between the largest (a small defect) and the mean (a diffuse one);
- *whole*: the Mahalanobis distance of mean and deviation of all features over the point. A memory
  of patches is blind to what is absent (a missing weld is all bare metal, and that is known);
- *places*: the same of what lies in which of 4 x 4 places.

**The limit.** Good units (parts) are exchangeable with those to come. With a score s fitted on some
of them and n others, the false alarm rate of "s(x) is above the j-th largest of the others" with
j = floor(alpha (n + 1)) is at most alpha: split conformal prediction (Vovk et al., 2005; as a test
for outliers: Bates et al., "Testing for outliers with conformal p-values", 2023). Where there are
few, none can be spared: of n units, s_i is fitted without the unit i and R_i is what it says of it;
a point is called unusual if fewer than j of the n differences s_i(x) - R_i are at most 0: the
jackknife+, whose rate is at most 2 alpha (Barber, Candès, Ramdas, Tibshirani, "Predictive
inference with the jackknife+", 2021, theorem 1). All n fits are in one graph: the memory of "all
but i" is the memory without the rows of i. So nothing that is fitted may depend on all units: the
projection is drawn, not learnt, and the weights are constants. A unit's score is that of its worst
point: the guarantee is of parts, and what holds for parts holds for points all the more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from msgspec import Struct

from inspection.errors import DataError
from inspection.training.calibrate import Array

ORDER = 6
"""Of the generalised mean over patches."""
WEIGHTS = {"patches": 3.0, "whole": 1.0, "places": 0.25}
"""Of the logarithms of the terms."""
PLACES = 4
"""Rows and columns of the places."""
DIMENSIONS = 64
"""Patches are projected to so many (Johnson and Lindenstrauss, 1984)."""
WHOLE_RIDGE, WHOLE_AXES = 0.05, 64
PLACE_RIDGE, PLACE_AXES = 0.3, 16
PATCH_RIDGE, PATCH_AXES = 0.3, 8
JACKKNIFE_MOST = 60
"""Units up to which each is left out in turn. With more, half of them promise the same."""
CALIBRATION_MOST = 300
FEWEST_UNITS = 5
ENOUGH = 200
"""Good units from which on a limit of 1 % stands on a hundred that were not learnt from."""
CANDIDATES = 30_000
"""Patches among which the rows of a memory are selected; more are drawn from."""
RESIDUAL = 1e-6
OUTSTANDING = 5.0
"""A good unit so many robust deviations above the median is worth a look: it may be a defect."""

Floats = npt.NDArray[np.float32]
Method = Literal["jackknife+", "split conformal"]


class Guarantee(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be said of a limit that stands on good units alone: of good parts to come at most
    the share ``bound`` is not OK. ``wanted`` is what was asked for, ``level`` the alpha that could
    be had; ``missing`` so many more good units would give what was asked for. ``doubtful`` are
    units that stand out so far from the other good ones that they were set aside until somebody has
    looked: were they good after all, so many more would be called unusual, which ``bound`` counts.
    """

    method: Method
    units: int
    calibrated_on: int
    wanted: float
    level: float
    bound: float
    missing: int
    doubtful: tuple[str, ...] = ()

    @property
    def statement(self) -> str:
        """For card, report and policy."""
        said = (
            f"at most {self.bound:.1%} of good parts are called unusual ({self.method} on"
            f" {self.calibrated_on} good parts, alpha {self.level:.1%}"
            + (f"; {self.wanted:.1%} was wanted" if self.bound > self.wanted else "")
            + ")"
        )
        if self.missing:
            said += f"; {self.missing} more good parts are needed for what was wanted"
        return said + "; nothing is promised of defects"


def calibration_units(units: int, wanted: float) -> int:
    """How many of so many good units are held out to set the limit, where the share ``wanted`` may
    be called unusual; 0 where each is left out in turn."""
    if units <= JACKKNIFE_MOST:
        return 0
    return min(units // 2, max(CALIBRATION_MOST, math.ceil(1 / wanted) - 1))


def guarantee(
    units: int,
    wanted: float,
    held: int | None = None,
    doubtful: Sequence[str] = (),
    aside: int | None = None,
) -> Guarantee:
    """What can be had of so many good units, ``held`` of them held out (None: as
    `calibration_units` says; 0: none, the jackknife+). ``aside`` of the units that set the limit
    are ``doubtful`` (None: all of these) and do not."""
    held = calibration_units(units, wanted) if held is None else held
    number, factor = (held, 1.0) if held else (units, 2.0)
    aside = len(doubtful) if aside is None else aside
    counted = number - aside
    rank = rank_of(wanted / factor, counted)
    return Guarantee(
        method="split conformal" if held else "jackknife+",
        units=units,
        calibrated_on=counted,
        wanted=wanted,
        level=rank / (counted + 1),
        bound=min(1.0, factor * (rank + aside) / (number + 1)),
        missing=max(0, max(ENOUGH, 2 * (math.ceil(1 / wanted) - 1)) - units),
        doubtful=tuple(doubtful),
    )


def rank_of(level: float, number: int) -> int:
    """Which of the ``number`` differences, from the smallest on, decides."""
    return max(1, math.floor(level * (number + 1) + 1e-9))


class Gaussians(NamedTuple):
    """M of them over D dimensions, each full along its A axes of most variance and the same in all
    others, after division by ``deviations``: ``means`` and ``deviations`` (M, D), ``axes``
    (M, D, A), ``variances`` (M, A), ``rest`` (M,)."""

    means: Floats
    deviations: Floats
    axes: Floats
    variances: Floats
    rest: Floats

    def distances(self, found: Array) -> Array:
        """Of (N, D) from each: (N, M); what the graph computes, in float64."""
        off = (found[:, None] - self.means) / self.deviations.astype(np.float64)
        along = np.einsum("nmd,mda->nma", off, self.axes.astype(np.float64))
        beside = np.maximum((off**2).sum(axis=2) - (along**2).sum(axis=2), 0.0)
        return np.asarray(np.sqrt((along**2 / self.variances).sum(axis=2) + beside / self.rest))


def gaussian(seen: Array, ridge: float, most_axes: int) -> Gaussians:
    """One, of (N, D). The covariance of the dimensions divided by their deviations is drawn towards
    the unit matrix by the share ``ridge``: it can be had from fewer examples than dimensions.
    Raises `DataError` where the decomposition is wrong, which has happened without an error."""
    mean, deviation = seen.mean(axis=0), seen.std(axis=0)
    usual = float(np.median(deviation[deviation > 0])) if (deviation > 0).any() else 1.0
    deviation = np.maximum(deviation, 0.01 * usual)
    scaled = (seen - mean) / deviation
    count, size = scaled.shape
    wide = size > count
    matrix = (scaled @ scaled.T if wide else scaled.T @ scaled) / count
    values, vectors = np.linalg.eigh(matrix)
    top = max(float(values[-1]), 1e-12)
    if not np.abs(matrix @ vectors - vectors * values).max() <= RESIDUAL * top:
        raise DataError("the covariance of the features could not be decomposed: use one thread")
    number = max(1, min(most_axes, int((values > 1e-9 * top).sum()), count - 1))
    variances, axes = values[::-1][:number], vectors[:, ::-1][:, :number]
    if wide:
        axes = scaled.T @ axes / np.sqrt(np.maximum(variances * count, 1e-12))
    left = max(float(np.trace(matrix) - variances.sum()), 0.0) / max(size - number, 1)
    shape = np.zeros((size, most_axes))
    shape[:, :number] = axes
    full = np.ones(most_axes)
    full[:number] = (1 - ridge) * variances + ridge
    # An axis of zeros counts for nothing, whatever its variance.
    return Gaussians(
        mean[None].astype(np.float32),
        deviation[None].astype(np.float32),
        shape[None].astype(np.float32),
        full[None].astype(np.float32),
        np.array([(1 - ridge) * left + ridge], np.float32),
    )


def together(some: Sequence[Gaussians]) -> Gaussians:
    """Several as one table."""
    return Gaussians(*(np.concatenate(parts) for parts in zip(*some, strict=True)))


def projection(size: int, seed: int = 0) -> Floats:
    """Random, and the same for ever: (size, `DIMENSIONS`). Drawn, because one that was learnt would
    know the units it must not know; by PCG64, whose numbers NumPy keeps from version to version."""
    drawn = np.random.Generator(np.random.PCG64(seed)).standard_normal((size, DIMENSIONS))
    return (drawn / math.sqrt(DIMENSIONS)).astype(np.float32)


def coreset(patches: Floats, number: int, seed: int = 0) -> Floats:
    """So many of (N, D) that every other one lies near one of them: greedily, each time the one
    farthest from those chosen (Gonzalez, 1985; Roth et al., 2022). Of fewer than ``number`` all,
    some of them twice."""
    rng = np.random.default_rng(seed)
    if len(patches) > CANDIDATES:
        patches = patches[rng.choice(len(patches), CANDIDATES, replace=False)]
    table = torch.from_numpy(np.ascontiguousarray(patches))
    squares = table.square().sum(dim=1)
    chosen = [int(rng.integers(len(table)))]
    nearest = torch.full_like(squares, torch.inf)
    for _ in range(number - 1):
        row = table[chosen[-1]]
        nearest = torch.minimum(nearest, squares - 2 * (table @ row) + row.square().sum())
        chosen.append(int(nearest.argmax()))
    return patches[chosen]


def outstanding(scores: Array, names: Sequence[str]) -> list[str]:
    """The units whose score lies far above those of the others, the farthest first."""
    middle = float(np.median(scores))
    deviation = 1.4826 * float(np.median(np.abs(scores - middle)))
    off = (scores - middle) / max(deviation, 1e-9)
    return [names[int(i)] for i in np.argsort(-off) if off[i] > OUTSTANDING]
