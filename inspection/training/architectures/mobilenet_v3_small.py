"""MobileNetV3-small (Howard et al., 2019) of torchvision: fast in fp32, gains nothing in INT8."""

from __future__ import annotations

from torch import nn

from inspection.imaging import CropSpec
from inspection.training.architectures import Options
from inspection.training.architectures.photographs import convolutions, from_torchvision

FEATURES = 576


def build(classes: int, spec: CropSpec, options: Options) -> nn.Module:
    """See `inspection.training.architectures`; options are those of `photographs`."""
    return from_torchvision(
        "mobilenet_v3_small",
        spec,
        classes,
        options,
        "classifier",
        FEATURES,
        convolutions,
    )
