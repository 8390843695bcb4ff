"""A small residual network that measures: what is wrong anywhere in a point, and whether the point
has the right size in the right place.

A crack is a matter of a few pixels, a weld off its place one of the whole crop. So there are two
ways to the verdict. Cells of 8 px say what they see, and the most suspect one counts, as in
`cells`. The same cells say how much of each belongs to the weld, to another weld and to no sheet at
all; areas, centres and overlaps of these shares are what a gauge would read (moments of an image:
Hu, "Visual Pattern Recognition by Moment Invariants", 1962). A small perceptron judges them beside
a coarse map of the crop, and in training it also has to say the measures of the point: learning to
measure is what teaches it to tell 4.6 mm from 4.4 mm.

Two strided convolutions with a block between them see lines of one pixel wherever they lie. With
the option ``patch`` one convolution of so many pixels and a stride of 4 takes their place: what
lies in a patch is kept at a third of the time (as in Dosovitskiy et al., "An Image is Worth 16x16
Words", 2021, with patches that overlap).

Residual blocks are as in He et al. (2016), the last scale of each starting at zero (Goyal et al.,
2017); the cells see the coarse map too (Lin et al., "Feature Pyramid Networks", 2017).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from inspection.errors import RecipeError
from inspection.imaging import CropSpec
from inspection.training.architectures import CellClassifier, Look, Options, take
from inspection.training.architectures.cells import GOOD_BIAS, Block
from inspection.training.data import ZONES

DEFAULTS = {
    "patch": 1,
    "line_channels": 16,
    "line_blocks": 1,
    "fine_channels": 32,
    "fine_blocks": 1,
    "cell_channels": 48,
    "cell_blocks": 2,
    "coarse_channels": 64,
    "coarse_blocks": 2,
    "measures": 4,
}
STRIDE = 8
PLACE_CHANNELS = 8
HIDDEN = 128
DROPOUT = 0.1
ZONE_BIAS = -2.0
"""Start with the belief that a cell belongs to nothing."""
GRID_CELLS = 256
"""Of a crop of 128 px, for which the factors of `Readings` were chosen."""
READINGS = 14
"""How many numbers `Readings` gives."""


def _joined(before: int, after: int, size: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def _patches(before: int, after: int, size: int) -> nn.Sequential:
    if size % 4:
        raise RecipeError(f"options.patch: {size} px: take 1 for none, or a multiple of 4")
    convolution = nn.Conv2d(before, after, size, stride=4, padding=(size - 4) // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


class Readings(nn.Module):
    """Areas, roots of areas, centre and spread of the weld's share of the cells, and by how much it
    reaches into other welds and beyond the sheet: (N, 3, rows, columns) to (N, `READINGS`). The
    factors bring all of them to about 1."""

    x: torch.Tensor
    y: torch.Tensor

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        across = (torch.arange(columns) - (columns - 1) / 2) / (columns / 2)
        down = (torch.arange(rows) - (rows - 1) / 2) / (rows / 2)
        self.register_buffer("x", across.view(1, 1, 1, columns), persistent=False)
        self.register_buffer("y", down.view(1, 1, rows, 1), persistent=False)
        self.cells = rows * columns

    def forward(self, shares: torch.Tensor) -> torch.Tensor:
        own, other, beyond = shares[:, :1], shares[:, 1:2], shares[:, 2:3]
        grid = GRID_CELLS / self.cells
        areas = shares.sum(dim=(2, 3)) * grid
        size = own.sum(dim=(2, 3)).clamp(min=0.5)
        x = (own * self.x).sum(dim=(2, 3)) / size
        y = (own * self.y).sum(dim=(2, 3)) / size
        spread_x = (own * self.x * self.x).sum(dim=(2, 3)) / size - x * x
        spread_y = (own * self.y * self.y).sum(dim=(2, 3)) / size - y * y
        both, over = own * other, own * beyond
        crossed = torch.cat([both.sum(dim=(2, 3)), over.sum(dim=(2, 3))], dim=1) * grid
        roots = torch.cat([areas[:, :2] / 16, crossed], dim=1)
        return torch.cat(
            [
                areas / 20,
                (roots + 1e-3).sqrt(),  # a root's slope has no bound at 0
                3 * x,
                3 * y,
                3 * (x * x + y * y + 1e-6).sqrt(),
                10 * spread_x,
                10 * spread_y,
                2 * both.amax(dim=(2, 3)),
                2 * over.amax(dim=(2, 3)),
            ],
            dim=1,
        )


class Gauge(CellClassifier):
    """See the module's docstring."""

    stride = STRIDE

    def __init__(self, classes: int, spec: CropSpec, options: Options) -> None:
        super().__init__()
        wanted = take(options, DEFAULTS)
        if spec.width % 16 or spec.height % 16:
            raise RecipeError("input: width and height must be multiples of 16 for 'gauge'")
        line, fine = wanted["line_channels"], wanted["fine_channels"]
        cell, coarse = wanted["cell_channels"], wanted["coarse_channels"]
        patch = wanted["patch"]
        lines = [
            _joined(spec.channels, line, 3, 2),
            *(Block(line) for _ in range(wanted["line_blocks"])),
            _joined(line, fine, 3, 2),
        ]
        self.fine = nn.Sequential(
            *(lines if patch == 1 else [_patches(spec.channels, fine, patch)]),
            *(Block(fine) for _ in range(wanted["fine_blocks"])),
        )
        self.middle = nn.Sequential(
            _joined(fine, cell, 3, 2), *(Block(cell) for _ in range(wanted["cell_blocks"]))
        )
        self.coarse = nn.Sequential(
            _joined(cell, coarse, 3, 2), *(Block(coarse) for _ in range(wanted["coarse_blocks"]))
        )
        self.lateral = nn.Conv2d(coarse, cell, 1)
        self.joined = Block(cell)
        self.classes = classes
        self.cell_heads = nn.Conv2d(cell, classes + len(ZONES), 1)
        self.readings = Readings(spec.height // STRIDE, spec.width // STRIDE)
        self.place = _joined(coarse, PLACE_CHANNELS, 1, 1)
        places = PLACE_CHANNELS * (spec.width // 16) * (spec.height // 16)
        self.hidden = nn.Sequential(
            nn.Linear(places + 2 * coarse + cell + READINGS, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT)
        )
        self.head = nn.Linear(HIDDEN, classes)
        self.measures = nn.Linear(HIDDEN, wanted["measures"])
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        nn.init.normal_(self.cell_heads.weight, std=0.01)
        with torch.no_grad():
            bias = torch.zeros(classes + len(ZONES))
            bias[0], bias[classes:] = GOOD_BIAS, ZONE_BIAS
            self.cell_heads.bias = nn.Parameter(bias)

    def look(self, crops: torch.Tensor) -> Look:
        middle = self.middle(self.fine(crops / 64.0 - 2.0))
        coarse = self.coarse(middle)
        context = F.interpolate(self.lateral(coarse), scale_factor=2.0, mode="nearest")
        middle = self.joined(F.relu(middle + context))
        heads = self.cell_heads(middle)
        cells, zones = heads[:, : self.classes], heads[:, self.classes :]
        seen = [
            self.place(coarse).flatten(1),
            coarse.mean(dim=(2, 3)),
            coarse.amax(dim=(2, 3)),
            middle.amax(dim=(2, 3)),
            self.readings(torch.sigmoid(zones)),
        ]
        hidden = self.hidden(torch.cat(seen, dim=1))
        evidence = (cells[:, 1:] - cells[:, :1]).amax(dim=(2, 3))
        local = torch.cat([torch.zeros_like(evidence[:, :1]), evidence], dim=1)
        return Look(self.head(hidden) + local, cells, self.measures(hidden), zones)


def build(classes: int, spec: CropSpec, options: Options) -> nn.Module:
    """See `inspection.training.architectures`."""
    return Gauge(classes, spec, options)
