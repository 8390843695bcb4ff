"""torchvision beside a torch it was not built for.

torchvision's wheel is linked against CUDA. Beside a CPU-only torch its compiled operators do not
load, and its import dies because it registers fake kernels for operators nobody has defined
(``operator torchvision::nms does not exist``). Nothing here calls those operators; to declare
their schemas before the import is enough.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[torch.library.Library] = []  # a library that is collected takes its schemas along


def import_torchvision() -> ModuleType:
    """The torchvision module, whichever wheel is installed. Where its operators load, nothing is
    declared; raises `ImportError` where there is no torchvision."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)  # type: ignore[no-untyped-call]
    _libraries.append(library)
    return importlib.import_module("torchvision")


def use_threads(count: int) -> None:
    """How many cores training uses, whatever the machine has: results depend on it, through the
    order of sums."""
    torch.set_num_threads(count)
