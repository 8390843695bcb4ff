"""What networks for photographs have in common: a body that was trained on other pictures, pooling,
and a new head.

Maximum beside average pooling: small defects want the maximum, diffuse ones the mean. The head
starts at zero, and batch normalisation follows new pictures with momentum 0.1; both are worth
several points where examples are few. Options turn each of them off, for comparison.

``frozen`` first stages stay as they are: they see edges and textures, which are the same in every
photograph, and since their maps are the largest, not to learn them makes training three times as
fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from inspection.errors import RecipeError
from inspection.imaging import CropSpec
from inspection.training.architectures import Options
from inspection.training.torch_setup import import_torchvision

NONE, IMAGENET = "none", "imagenet"
DEFAULTS: dict[str, str | float] = {
    "pooling": "max+average",
    "head": "zero",
    "momentum": 0.1,
    "dropout": 0.2,
    "weights": NONE,
    "frozen": 0,
}
CHOICES = {"pooling": ("max+average", "average"), "head": ("zero", "random")}
SMALLEST_PX = 32
"""Bodies shrink a crop 32 times."""
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of ImageNet, in grey levels: what torchvision's weights were trained with."""


class Photographs(nn.Module):
    """Crops of one or three channels to logits; ``features`` takes them normalised, three channels,
    and returns (N, width, rows, columns)."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(
        self,
        body: nn.Module,
        features: Callable[[torch.Tensor], torch.Tensor],
        width: int,
        classes: int,
        options: dict[str, Any],
        *,
        stages: Sequence[nn.Module],
        mean: tuple[float, ...] = MEAN,
        deviation: tuple[float, ...] = DEVIATION,
    ) -> None:
        super().__init__()
        if options["frozen"] > len(stages):
            raise RecipeError(f"options.frozen: the body has {len(stages)} stages")
        frozen = stages[: options["frozen"]]
        self._frozen = [module for stage in frozen for module in stage.modules()]
        for stage in frozen:
            stage.requires_grad_(requires_grad=False)
        for module in body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = options["momentum"]
        self.body = body
        self._features = features
        self._maximum = options["pooling"] == "max+average"
        self.dropout = nn.Dropout(options["dropout"])
        self.head = nn.Linear(width * (2 if self._maximum else 1), classes)
        if options["head"] == "zero":
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> Photographs:
        """Frozen stages also keep the statistics of their batch normalisation."""
        super().train(mode)
        for module in self._frozen:
            module.training = False
        return self

    def embed(self, crops: torch.Tensor) -> torch.Tensor:
        """Pooled features (N, any number) of crops as in `inspection.training.architectures`."""
        if crops.shape[1] == 1:
            crops = crops.expand(-1, 3, -1, -1)
        found = self._features((crops - self.mean) / self.deviation)
        mean = found.mean(dim=(2, 3))
        return torch.cat([mean, found.amax(dim=(2, 3))], dim=1) if self._maximum else mean

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        """Logits of pooled features."""
        logits: torch.Tensor = self.head(self.dropout(embedding))
        return logits

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """See `inspection.training.architectures`."""
        return self.classify(self.embed(crops))


def checked(name: str, spec: CropSpec, options: Options, **defaults: str | float) -> dict[str, Any]:
    """Options over their defaults; raises `RecipeError` for one that nobody knows or that cannot
    be, and for crops too small for such a body."""
    if min(spec.width, spec.height) < SMALLEST_PX:
        raise RecipeError(
            f"input: {name} needs crops of at least {SMALLEST_PX} x {SMALLEST_PX} pixels"
        )
    known = DEFAULTS | defaults
    for key, value in options.items():
        if key not in known:
            raise RecipeError(f"options.{key}: {name} knows {', '.join(known)}")
        if value not in CHOICES.get(key, (value,)):
            raise RecipeError(f"options.{key}: {value!r} is none of {', '.join(CHOICES[key])}")
        if key in ("momentum", "dropout") and not (
            isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
        ):
            raise RecipeError(f"options.{key}: must be a number from 0 to below 1, not {value!r}")
        if key == "frozen" and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise RecipeError(f"options.frozen: a number of stages from 0 on, not {value!r}")
        if key == "weights" and not (isinstance(value, str) and value):
            raise RecipeError(
                f"options.weights: {NONE!r}, {IMAGENET!r} or a file with a state dictionary"
            )
    return known | dict(options)


def read_weights(body: nn.Module, file: str, *, skip: str = "") -> None:
    """Take a state dictionary from a file, but for entries that begin with ``skip`` (the old head).
    Raises `RecipeError` where the file is none or does not fit."""
    try:
        state = torch.load(Path(file), map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  torch raises whatever a bad file makes it
        raise RecipeError(
            f"options.weights: {file}: no state dictionary of torch:"
            f" {' '.join(str(error).split())[:200]}"
        ) from None
    own = body.state_dict()
    wanted = {k for k in own if not (skip and k.startswith(skip)) and not k.endswith("tracked")}
    fits = {k: v for k, v in state.items() if k in wanted and v.shape == own[k].shape}
    if missing := sorted(wanted - set(fits)):
        raise RecipeError(
            f"options.weights: {file}: {len(missing)} of {len(wanted)} tensors are missing or of"
            f" another shape, such as {missing[0]}"
        )
    body.load_state_dict(fits, strict=False)


def from_torchvision(
    model: str,
    spec: CropSpec,
    classes: int,
    options: Options,
    head: str,
    width: int,
    features: Callable[[nn.Module], nn.Sequential],
) -> Photographs:
    """A body of torchvision's without its head (the attribute ``head``). Its own ImageNet weights
    are fetched over the network where a recipe says ``weights = "imagenet"``; a file needs none."""
    wanted = checked(model, spec, options)
    models = import_torchvision().models
    try:
        body: nn.Module = models.get_model(
            model, weights="DEFAULT" if wanted["weights"] == IMAGENET else None
        )
    except OSError as error:
        raise RecipeError(
            f"options.weights: torchvision's own cannot be fetched ({error}): name a file with them"
        ) from None
    if wanted["weights"] not in (NONE, IMAGENET):
        read_weights(body, wanted["weights"], skip=f"{head}.")
    setattr(body, head, nn.Identity())
    trunk = features(body)
    return Photographs(body, trunk, width, classes, wanted, stages=list(trunk))


def convolutions(body: nn.Module) -> nn.Sequential:
    """What most of torchvision's bodies call ``features``."""
    return cast(nn.Sequential, body.features)
