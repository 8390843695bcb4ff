"""A small residual network that measures: what is wrong anywhere in a point, and whether the point
has the right size in the right place.

A crack is a matter of a few pixels, a weld off its place one of the whole crop. So there are two
ways to the verdict. Cells of 8 px say what they see, and the most suspect one counts, as in
`cells`. Beside it a coarse map of the crop, flattened so that it knows where things are, joined by
its mean and maximum, gives the classes and, in training only, the measures of the point. Learning
to measure is what teaches it to tell 4.6 mm from 4.4 mm.

The stem folds 4 x 4 pixels into channels (Ridnik et al., "TResNet", 2021); residual blocks as in He
et al. (2016), the last scale of each starting at zero (Goyal et al., 2017).
"""

from __future__ import annotations

import torch
from torch import nn

from inspection.errors import RecipeError
from inspection.imaging import CropSpec
from inspection.training.architectures import CellClassifier, Look, Options, take
from inspection.training.architectures.cells import GOOD_BIAS, Block

DEFAULTS = {
    "fine_channels": 16,
    "fine_blocks": 1,
    "cell_channels": 32,
    "cell_blocks": 2,
    "coarse_channels": 64,
    "coarse_blocks": 2,
    "measures": 4,
}
FOLD = 4
STRIDE = 8
PLACE_CHANNELS = 16
HIDDEN = 128
DROPOUT = 0.1


def _joined(before: int, after: int, size: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


class Gauge(CellClassifier):
    """See the module's docstring."""

    stride = STRIDE

    def __init__(self, classes: int, spec: CropSpec, options: Options) -> None:
        super().__init__()
        wanted = take(options, DEFAULTS)
        if spec.width % 16 or spec.height % 16:
            raise RecipeError("input: width and height must be multiples of 16 for 'gauge'")
        fine, cell, coarse = (wanted[f"{name}_channels"] for name in ("fine", "cell", "coarse"))
        self.fine = nn.Sequential(
            _joined(FOLD**2 * spec.channels, fine, 3, 1),
            *(Block(fine) for _ in range(wanted["fine_blocks"])),
        )
        self.middle = nn.Sequential(
            _joined(fine, cell, 3, 2), *(Block(cell) for _ in range(wanted["cell_blocks"]))
        )
        self.coarse = nn.Sequential(
            _joined(cell, coarse, 3, 2), *(Block(coarse) for _ in range(wanted["coarse_blocks"]))
        )
        self.cell_head = nn.Conv2d(cell, classes, 1)
        self.place = _joined(coarse, PLACE_CHANNELS, 1, 1)
        places = PLACE_CHANNELS * (spec.width // 16) * (spec.height // 16)
        self.hidden = nn.Sequential(
            nn.Linear(places + 2 * coarse, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT)
        )
        self.head = nn.Linear(HIDDEN, classes)
        self.measures = nn.Linear(HIDDEN, wanted["measures"])
        for head in (self.cell_head, self.head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.cell_head.bias[0] = GOOD_BIAS  # type: ignore[index]

    def look(self, crops: torch.Tensor) -> Look:
        fine = self.fine(_folded(crops) / 64.0 - 2.0)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        cells = self.cell_head(middle)
        seen = [self.place(coarse).flatten(1), coarse.mean(dim=(2, 3)), coarse.amax(dim=(2, 3))]
        hidden = self.hidden(torch.cat(seen, dim=1))
        evidence = (cells[:, 1:] - cells[:, :1]).amax(dim=(2, 3))
        local = torch.cat([torch.zeros_like(evidence[:, :1]), evidence], dim=1)
        return Look(self.head(hidden) + local, cells, self.measures(hidden))


def _folded(crops: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) to (N, 16 C, H / 4, W / 4). As `torch.nn.functional.pixel_unshuffle` but for
    the order of the channels, and several times faster where they lie last in memory."""
    n, channels, height, width = crops.shape
    rows, columns = height // FOLD, width // FOLD
    x = crops.permute(0, 2, 3, 1).reshape(n, rows, FOLD, columns, FOLD, channels)
    x = x.permute(0, 1, 3, 2, 4, 5).reshape(n, rows, columns, FOLD * FOLD * channels)
    return x.permute(0, 3, 1, 2)


def build(classes: int, spec: CropSpec, options: Options) -> nn.Module:
    """See `inspection.training.architectures`."""
    return Gauge(classes, spec, options)
