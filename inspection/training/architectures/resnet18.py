"""ResNet-18 (He et al., 2016) of torchvision."""

from __future__ import annotations

from torch import nn

from inspection.imaging import CropSpec
from inspection.training.architectures import Options
from inspection.training.architectures.photographs import from_torchvision

FEATURES = 512


def build(classes: int, spec: CropSpec, options: Options) -> nn.Module:
    """See `inspection.training.architectures`; options are those of `photographs`."""
    return from_torchvision("resnet18", spec, classes, options, "fc", FEATURES, _features)


def _features(body: nn.Module) -> nn.Sequential:
    """All of it up to the pooling."""
    children = dict(body.named_children())
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return nn.Sequential(*(children[name] for name in names))
