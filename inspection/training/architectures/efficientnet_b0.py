"""EfficientNet-B0 (Tan and Le, 2019) of torchvision."""

from __future__ import annotations

from torch import nn

from inspection.imaging import CropSpec
from inspection.training.architectures import Options
from inspection.training.architectures.photographs import convolutions, from_torchvision

FEATURES = 1280


def build(classes: int, spec: CropSpec, options: Options) -> nn.Module:
    """See `inspection.training.architectures`; options are those of `photographs`."""
    return from_torchvision(
        "efficientnet_b0",
        spec,
        classes,
        options,
        "classifier",
        FEATURES,
        convolutions,
    )
