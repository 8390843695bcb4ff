"""Networks that learn from good points alone, in one pass and without gradients: ``patchcore`` and
``padim``, which differ in how a patch is compared (`inspection.training.normality`).

Features are those of EfficientNet-Lite0 after its stages at an eighth block and at the eleventh,
both at stride 16, each averaged over 3 x 3 neighbours. `Normal.learn` fits all the rest; logits are
0 for good and, for unusual, by how many deviations the limit is exceeded, so that an even chance is
the limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from inspection.errors import DataError, RecipeError
from inspection.imaging import CropSpec, Frame
from inspection.training.architectures import Normality, Options
from inspection.training.architectures.efficientnet_lite0 import body_of
from inspection.training.architectures.photographs import IMAGENET, SMALLEST_PX
from inspection.training.calibrate import Array
from inspection.training.normality import (
    DIMENSIONS,
    FEWEST_UNITS,
    ORDER,
    PATCH_AXES,
    PATCH_RIDGE,
    PLACE_AXES,
    PLACE_RIDGE,
    PLACES,
    WEIGHTS,
    WHOLE_AXES,
    WHOLE_RIDGE,
    Gaussians,
    Guarantee,
    coreset,
    gaussian,
    guarantee,
    outstanding,
    projection,
    rank_of,
    together,
)

BLOCKS = (7, 10)
"""Blocks of the body, counted from 0, whose outputs are the features: 80 and 112 channels."""
FEATURES = 192
STRIDE = 16
GREY, RANGE = 127.0, 128.0
MEMORY, FEWEST_ROWS = 400, 8
"""Rows of the memory, and the fewest of each unit where every unit has its own."""
DEFAULTS: dict[str, int | str | bool] = {
    "weights": IMAGENET,
    "memory": MEMORY,
    "mirrored": True,
}
BOUND = 15.0
"""Of the logit, which is bent so that it never reaches it: a probability of exactly 1 would say
more than can be known, and two points beyond it could not be told apart."""
TINY = 1e-12
BATCH = 16
HEAT_ZOOM = 4


class Seen(NamedTuple):
    """Of N points: patches (N, P, `DIMENSIONS`), whole (N, 2 * `FEATURES`), places (N, any)."""

    patches: torch.Tensor
    whole: torch.Tensor
    places: torch.Tensor


class Distance(nn.Module):
    """`Gaussians.distances`, squared, in the graph: (N, D) to (N, M). One pass of one matrix."""

    means: torch.Tensor
    scales: torch.Tensor
    axes: torch.Tensor
    weights: torch.Tensor
    rest: torch.Tensor

    def __init__(self, gaussians: Gaussians) -> None:
        super().__init__()
        _keep(self, gaussians)

    def forward(self, found: torch.Tensor) -> torch.Tensor:
        off = (found.unsqueeze(0) - self.means.unsqueeze(1)) * self.scales.unsqueeze(1)
        along = torch.matmul(off, self.axes).square()  # (M, N, A)
        beside = (off.square().sum(dim=2) - along.sum(dim=2)).clamp(min=0.0)
        squared = (along * self.weights.unsqueeze(1)).sum(dim=2)
        return (squared + beside * self.rest.unsqueeze(1)).transpose(0, 1)


class Memory(nn.Module):
    """Squared distance of patches (N, P, D) from the nearest row: of all (N, P), and of all but
    those of each of K units (N, P, K). ``rows`` is (K, any number, D); K = 1 leaves none out."""

    rows: torch.Tensor
    squares: torch.Tensor

    def __init__(self, rows: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.units, self.each = rows.shape[:2]
        flat = np.ascontiguousarray(rows.reshape(-1, rows.shape[2]))
        self.register_buffer("rows", torch.from_numpy(flat.T.copy()))
        self.register_buffer("squares", torch.from_numpy((flat**2).sum(axis=1)))

    def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        products = torch.matmul(patches, self.rows)
        nearest = self.squares - 2 * products
        own = patches.square().sum(dim=2)
        if self.units == 1:
            squared = (nearest.amin(dim=2) + own).clamp(min=0.0)
            return squared, squared.unsqueeze(2)
        count = nearest.shape[1]
        of_unit = nearest.reshape(-1, count, self.units, self.each).amin(dim=3)
        least, which = torch.topk(of_unit, 2, dim=2, largest=False)
        first = (least[:, :, :1] + own.unsqueeze(2)).clamp(min=0.0)
        second = (least[:, :, 1:] + own.unsqueeze(2)).clamp(min=0.0)
        units = torch.arange(self.units)
        return first.squeeze(2), torch.where(which[:, :, :1] == units, second, first)


class Positions(nn.Module):
    """The same of the Gaussians of positions: of all K fits the mean (N, P), and each (N, P, K).
    Patches are averaged two by two before, which leaves a quarter of the positions."""

    means: torch.Tensor
    scales: torch.Tensor
    axes: torch.Tensor
    weights: torch.Tensor
    rest: torch.Tensor

    def __init__(self, grid: tuple[int, int], gaussians: Gaussians) -> None:
        super().__init__()
        self.grid = grid
        _keep(self, gaussians)  # (K, positions, ...)

    def forward(self, patches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = halved(patches, self.grid).transpose(0, 1)  # (positions, N, D)
        off = (found.unsqueeze(0) - self.means.unsqueeze(2)) * self.scales.unsqueeze(2)
        along = torch.matmul(off, self.axes).square()
        beside = (off.square().sum(dim=3) - along.sum(dim=3)).clamp(min=0.0)
        squared = (along * self.weights.unsqueeze(2)).sum(dim=3)
        squared = (squared + beside * self.rest.unsqueeze(2)).permute(2, 1, 0)
        return squared.mean(dim=2), squared


def _keep(module: nn.Module, gaussians: Gaussians) -> None:
    """Their numbers as buffers, those that are divided by as their reciprocals."""
    for name, values in (
        ("means", gaussians.means),
        ("scales", 1 / gaussians.deviations),
        ("axes", gaussians.axes),
        ("weights", 1 / gaussians.variances),
        ("rest", 1 / gaussians.rest),
    ):
        module.register_buffer(name, torch.from_numpy(np.array(values, np.float32)))


def halved(patches: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Patches (N, rows * columns, D) averaged two by two."""
    size = patches.shape[2]
    maps = patches.transpose(1, 2).reshape(-1, size, *grid)
    return F.avg_pool2d(maps, 2).flatten(2).transpose(1, 2)


class Normal(Normality):
    """See the module's docstring."""

    drawn: torch.Tensor
    places: torch.Tensor
    limits: torch.Tensor

    def __init__(self, classes: int, spec: CropSpec, options: Options, *, gaussian: bool) -> None:
        super().__init__()
        if classes != 2:
            raise RecipeError("a model of good points has two classes: good and not good")
        if min(spec.width, spec.height) < SMALLEST_PX or spec.width % 32 or spec.height % 32:
            raise RecipeError("input: width and height must be multiples of 32 px")
        wanted = _checked(options)
        self.body = body_of(str(wanted["weights"])).eval().requires_grad_(requires_grad=False)
        self.gaussian = gaussian
        self.memory_rows = int(wanted["memory"])
        self.mirrored = bool(wanted["mirrored"])
        self.grid = (spec.height // STRIDE, spec.width // STRIDE)
        self.register_buffer("drawn", torch.from_numpy(projection(FEATURES)))
        self.register_buffer("places", _places(self.grid))
        self.patches: Memory | Positions | None = None
        self.register_buffer("limits", torch.zeros(1))
        self.guarantee: Guarantee | None = None

    def see(self, crops: torch.Tensor) -> Seen:
        """What the terms are of, of crops as in `inspection.training.architectures`."""
        if crops.shape[1] == 1:
            crops = crops.expand(-1, 3, -1, -1)
        body = self.body
        found = body._swish(body._bn0(body._conv_stem((crops - GREY) / RANGE)))  # noqa: SLF001
        kept = []
        for number, block in enumerate(body._blocks[: BLOCKS[-1] + 1]):  # noqa: SLF001
            found = block(found)
            if number in BLOCKS:
                kept.append(found)
        maps = torch.cat(kept, dim=1)
        flat = maps.flatten(2)
        mean = flat.mean(dim=2)
        spread = ((flat - mean.unsqueeze(2)).square().mean(dim=2) + TINY).sqrt()
        smooth = F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)
        patches = torch.matmul(smooth.flatten(2).transpose(1, 2), self.drawn)
        places = torch.matmul(self.places, patches).flatten(1)
        return Seen(patches, torch.cat([mean, spread], dim=1), places)

    def scores(self, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
        """By each of the fits (N, K), the larger the more unusual; and the squared distance of each
        patch (N, P)."""
        if self.patches is None:
            raise DataError("the model has learnt nothing yet")
        nearest, squared = self.patches(seen.patches)
        local = ((squared * squared.square()).mean(dim=1) + TINY).log() / ORDER
        whole, places = (
            0.5 * (term(found) + TINY).log()
            for term, found in ((self.whole_term, seen.whole), (self.place_term, seen.places))
        )
        total = WEIGHTS["patches"] * local + WEIGHTS["whole"] * whole + WEIGHTS["places"] * places
        return total, nearest

    def look(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Normality.look`; the heat is a half where a patch is as far off as 1 of 1,000 good
        ones."""
        scores, nearest = self.scores(self.see(crops))
        above = scores - self.limits
        if self.rank > 1:
            above = torch.topk(above, self.rank, dim=1, largest=False).values[:, -1]
        else:
            above = above.amin(dim=1)
        steps = above / self.deviation
        bent = BOUND * steps / (BOUND + steps.abs())
        rows, columns = self.grid
        if self.gaussian:
            rows, columns = rows // 2, columns // 2
        heat = (0.5 * nearest.sqrt() / self.usual).reshape(-1, 1, rows, columns)
        heat = F.interpolate(heat, scale_factor=HEAT_ZOOM, mode="bilinear", align_corners=False)
        logits = torch.stack([torch.zeros_like(bent), bent], dim=1)
        return logits, heat.squeeze(1).clamp(0.0, 1.0)

    def learn(
        self,
        crops: Frame,
        units: Sequence[str],
        wanted: float,
        held: tuple[Frame, Sequence[str]] | None = None,
    ) -> Guarantee:
        """See `Normality.learn`."""
        names, number = _numbered(units)
        total = len(names) + (0 if held is None else len(set(held[1])))
        if total < FEWEST_UNITS or len(names) < 2:
            raise DataError(
                f"{total} good parts: {FEWEST_UNITS} at least are needed, and twenty to be of use:"
                " add pictures of other good parts"
            )
        turned = [self._seen(crops)]
        if self.mirrored:
            turned += [self._seen(np.flip(crops, axes)) for axes in ((2,), (1,), (1, 2))]
        if held is None:
            aside: list[str] = []
            worst, own, nearest = self._left_out(turned, number)
            if doubtful := self._doubtful(worst, names):
                stays = ~np.isin(np.array(units), doubtful)
                names, number = _numbered([unit for unit in units if unit not in doubtful])
                turned = [_some(seen, stays) for seen in turned]
                worst, own, nearest = self._left_out(turned, number)
                aside = doubtful
            said = guarantee(total, wanted, 0, aside)
            self.rank = rank_of(said.level, said.calibrated_on)
            limits = worst
        else:
            plain = self._seen(held[0])
            owners, of = _numbered(held[1])
            # The other way round first: what these say of those that are to be learnt from.
            self._fit([plain], of, left_out=False)
            worst, _, _ = self._said(turned[0], number)
            aside = self._doubtful(worst, names)
            stays = ~np.isin(np.array(units), aside)
            self._fit([_some(seen, stays) for seen in turned], number[stays], left_out=False)
            worst, own, nearest = self._said(plain, of)
            late = self._doubtful(worst, owners)
            worst = worst[~np.isin(np.array(owners), late)]
            aside = [*aside, *late]
            said = guarantee(total, wanted, len(owners), aside, len(late))
            rank = rank_of(said.level, said.calibrated_on)
            limits, self.rank = np.sort(worst)[::-1][rank - 1 : rank], 1
        self.limits = torch.from_numpy(limits.astype(np.float32))
        self.deviation = max(float(own.std()), 1e-3)
        self.usual = max(float(np.sqrt(np.quantile(nearest, 0.999))), 1e-6)
        self.guarantee = said
        return said

    def _doubtful(self, worst: Array, names: Sequence[str]) -> list[str]:
        """Units to set aside until somebody has looked: a defect that was learnt, or that had set
        the limit, would let its like pass. Never so many that too few are left."""
        return outstanding(worst, names)[: max(0, len(names) - FEWEST_UNITS)]

    def _left_out(
        self, turned: Sequence[Seen], number: npt.NDArray[np.int64]
    ) -> tuple[Array, Array, Array]:
        """Fit leaving out each unit in turn; what is said of each unit, point and patch by the fit
        that never saw it."""
        self._fit(turned, number, left_out=True)
        return self._said(turned[0], number, left_out=True)

    def _fit(
        self, turned: Sequence[Seen], number: npt.NDArray[np.int64], *, left_out: bool
    ) -> None:
        units = range(int(number.max()) + 1) if left_out else (-1,)
        self._fit_patches(turned, number, len(units))
        whole = np.stack([seen.whole.numpy() for seen in turned], axis=1).astype(np.float64)
        where = turned[0].places.numpy().astype(np.float64)
        fits = []
        for unit in units:
            rest = number != unit
            some = whole[rest].reshape(-1, whole.shape[2])
            fits.append(
                (
                    gaussian(some, WHOLE_RIDGE, WHOLE_AXES),
                    gaussian(where[rest], PLACE_RIDGE, PLACE_AXES),
                )
            )
        self.whole_term = Distance(together([fit[0] for fit in fits]))
        self.place_term = Distance(together([fit[1] for fit in fits]))

    def _said(
        self, seen: Seen, number: npt.NDArray[np.int64], *, left_out: bool = False
    ) -> tuple[Array, Array, Array]:
        """Of each unit (its worst point), each point, and each patch (squared distances)."""
        assert self.patches is not None  # noqa: S101  just fitted
        with torch.inference_mode():
            scores = self.scores(seen)[0].numpy().astype(np.float64)
            nearest = self.patches(seen.patches)[1].numpy()
        if not np.isfinite(scores).all():
            raise DataError("the good pictures are all the same, or no numbers: nothing to learn")
        of = number if left_out else np.zeros_like(number)
        own = scores[np.arange(len(scores)), of]
        worst = np.array([own[number == k].max() for k in range(int(number.max()) + 1)])
        return worst, own, nearest[np.arange(len(nearest)), :, of]

    def _fit_patches(
        self, turned: Sequence[Seen], number: npt.NDArray[np.int64], units: int
    ) -> None:
        if self.gaussian:
            found = halved(turned[0].patches, self.grid).numpy().astype(np.float64)
            fits = []
            for unit in range(units) if units > 1 else (-1,):
                stays = found[number != unit]
                fits.append(
                    together(
                        [
                            gaussian(stays[:, place], PATCH_RIDGE, PATCH_AXES)
                            for place in range(found.shape[1])
                        ]
                    )
                )
            self.patches = Positions(
                self.grid, Gaussians(*(np.stack(parts) for parts in zip(*fits, strict=True)))
            )
            return
        rows = max(FEWEST_ROWS, self.memory_rows // units)
        tables = []
        for unit in range(units):
            here = number == unit if units > 1 else np.ones(len(number), np.bool_)
            patches = np.concatenate([seen.patches.numpy()[here] for seen in turned])
            tables.append(coreset(patches.reshape(-1, DIMENSIONS), rows))
        self.patches = Memory(np.stack(tables))

    def _seen(self, crops: Frame) -> Seen:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(crops), BATCH):
                part = torch.from_numpy(np.ascontiguousarray(crops[start : start + BATCH]))
                pixels = part.permute(0, 3, 1, 2).float()
                parts.append(self.see(pixels.contiguous(memory_format=torch.channels_last)))
        return Seen(*(torch.cat(some) for some in zip(*parts, strict=True)))


def _numbered(units: Sequence[str]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The units by name, and the number of each."""
    names, number = np.unique(np.array(units), return_inverse=True)
    return names.tolist(), number.astype(np.int64)


def _some(seen: Seen, stays: npt.NDArray[np.bool_]) -> Seen:
    chosen = torch.from_numpy(stays)
    return Seen(*(part[chosen] for part in seen))


def _places(grid: tuple[int, int]) -> torch.Tensor:
    """Averages cells (rows, columns) over `PLACES` x `PLACES` places: (places, cells)."""
    rows, columns = (min(PLACES, side) for side in grid)
    row = np.arange(grid[0]) * rows // grid[0]
    column = np.arange(grid[1]) * columns // grid[1]
    place = (row[:, None] * columns + column).ravel()
    table = (place == np.arange(rows * columns)[:, None]).astype(np.float32)
    return torch.from_numpy(table / table.sum(axis=1, keepdims=True))


def _checked(options: Options) -> dict[str, int | float | str | bool]:
    for name, value in options.items():
        if name not in DEFAULTS:
            raise RecipeError(f"options.{name}: this architecture knows {', '.join(DEFAULTS)}")
        if name == "weights" and not (isinstance(value, str) and value):
            raise RecipeError(f"options.weights: {IMAGENET!r} or a file with a state dictionary")
        if name == "mirrored" and not isinstance(value, bool):
            raise RecipeError(f"options.mirrored: true or false, not {value!r}")
        whole = isinstance(value, int) and not isinstance(value, bool)
        if name == "memory" and not (whole and 16 <= int(value) <= 20_000):
            raise RecipeError(f"options.memory: 16 to 20,000 rows, not {value!r}")
    return {**DEFAULTS, **options}


def build_patchcore(classes: int, spec: CropSpec, options: Options) -> Normal:
    """See `inspection.training.architectures`; options are `DEFAULTS`."""
    return Normal(classes, spec, options, gaussian=False)


def build_padim(classes: int, spec: CropSpec, options: Options) -> Normal:
    """See `inspection.training.architectures`; options are `DEFAULTS`."""
    return Normal(classes, spec, options, gaussian=True)
