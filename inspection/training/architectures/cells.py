"""A small residual network over cells of 8 px, for small defects on fine structure.

Its stem folds 4 x 4 pixels into channels (Ridnik et al., "TResNet", 2021), which keeps one-pixel
detail at a sixteenth of the positions; residual blocks as in He et al. (2016), with the last scale
of each block starting at zero (Goyal et al., 2017). About 0.3 million weights with the defaults,
and 60 million multiplications for a crop of 96 px.

The margin of the crop is context: cells there are computed and trained, and do not count when the
point is judged.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from inspection.errors import RecipeError
from inspection.imaging import CropSpec
from inspection.training.architectures import CellClassifier, Look, Options, take

DEFAULTS = {"fine_channels": 32, "fine_blocks": 2, "coarse_channels": 64, "coarse_blocks": 3}
STRIDE = 8
GOOD_BIAS = 3.0
"""Start with the belief that a cell is good: nearly all are."""


class Block(nn.Module):
    """Two 3 x 3 convolutions and a way around them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(x + self.second_norm(self.second(y)))


class Cells(CellClassifier):
    """See the module's docstring."""

    stride = STRIDE

    def __init__(self, classes: int, spec: CropSpec, options: Options) -> None:
        super().__init__()
        wanted = take(options, DEFAULTS)
        if spec.width % STRIDE or spec.height % STRIDE:
            raise RecipeError(f"input: width and height must be multiples of {STRIDE} for 'cells'")
        share = spec.margin / (1 + 2 * spec.margin)
        # Half a cell of margin more or less cannot hide a defect: its box is larger than that.
        self.inset_rows = round(share * spec.height / STRIDE)
        self.inset_columns = round(share * spec.width / STRIDE)
        fine, coarse = wanted["fine_channels"], wanted["coarse_channels"]
        self.features = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * spec.channels, fine, 3, padding=1, bias=False),
            nn.BatchNorm2d(fine),
            nn.ReLU(),
            *(Block(fine) for _ in range(wanted["fine_blocks"])),
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(coarse),
            nn.ReLU(),
            *(Block(coarse) for _ in range(wanted["coarse_blocks"])),
        )
        self.head = nn.Conv2d(coarse, classes, 1)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias = nn.Parameter(torch.zeros(classes))
            self.head.bias[0] = GOOD_BIAS

    def look(self, crops: torch.Tensor) -> Look:
        cells = self.cells(crops)
        return Look(self.pool(cells), cells)

    def cells(self, crops: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(crops / 127.5 - 1.0))
        return logits

    def pool(self, cells: torch.Tensor) -> torch.Tensor:
        """For each defect, how far it exceeds "good" in the cell where it does so most; 0 for
        good itself."""
        rows, columns = self.inset_rows, self.inset_columns
        inner = cells[:, :, rows : cells.shape[2] - rows, columns : cells.shape[3] - columns]
        evidence = (inner[:, 1:] - inner[:, :1]).amax(dim=(2, 3))
        return torch.cat([torch.zeros_like(evidence[:, :1]), evidence], dim=1)


def build(classes: int, spec: CropSpec, options: Options) -> nn.Module:
    """See `inspection.training.architectures`."""
    return Cells(classes, spec, options)
