"""ConvNeXt-tiny (Liu et al., 2022) of torchvision: for GPUs."""

from __future__ import annotations

from torch import nn

from inspection.imaging import CropSpec
from inspection.training.architectures import Options
from inspection.training.architectures.photographs import convolutions, from_torchvision

FEATURES = 768


def build(classes: int, spec: CropSpec, options: Options) -> nn.Module:
    """See `inspection.training.architectures`; options are those of `photographs`."""
    return from_torchvision(
        "convnext_tiny",
        spec,
        classes,
        options,
        "classifier",
        FEATURES,
        convolutions,
    )
