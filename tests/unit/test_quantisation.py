"""Eight bits: what the graph takes and what it skips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import nn

from inspection.imaging import Frame
from inspection.runtimes import Signature, open_graph
from inspection.training.quantise import quantise

SIDE = 16


class Normalising(nn.Module):
    """Crops (N, 16, 16, 3), normalised as wanted, and two convolutions."""

    def __init__(self, factor: list[float], offset: list[float]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.factor = nn.Buffer(torch.tensor(factor).view(-1, 1, 1))
        self.offset = nn.Buffer(torch.tensor(offset).view(-1, 1, 1))
        self.one_for_all = len(factor) == 1
        self.divisor, self.minus = factor[0], offset[0]
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        pixels = crops.permute(0, 3, 1, 2).to(torch.float32)
        if self.one_for_all:
            pixels = pixels / self.divisor - self.minus
        else:
            pixels = pixels / self.factor - self.offset
        seen = torch.relu(self.second(torch.relu(self.first(pixels))))
        return torch.softmax(seen.mean(dim=(2, 3)), dim=1)


def exported(network: nn.Module, folder: Path) -> bytes:
    program = torch.onnx.export(
        network.eval(),
        (torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8),),
        input_names=["crops"],
        output_names=["scores"],
        dynamic_shapes={"crops": {0: torch.export.Dim("n")}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(folder / "graph.onnx")
    return (folder / "graph.onnx").read_bytes()


def crops(count: int = 32) -> Frame:
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def scores(graph: bytes, seen: Frame) -> npt.NDArray[np.float32]:
    signature = Signature((SIDE, SIDE, 3), 8, "crops", "scores", None)
    return open_graph(graph, Path("graph.onnx"), signature).scores(seen)


def operations(graph: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(graph).graph.node]


@pytest.mark.parametrize(("divisor", "minus"), [(64.0, 2.0), (128.0, 127 / 128), (255.0, 0.0)])
def test_bytes_go_into_the_first_convolution_as_they_are(
    divisor: float, minus: float, tmp_path: Path
) -> None:
    graph = exported(Normalising([divisor], [minus]), tmp_path)
    made = quantise(graph, crops())
    assert "Div" in operations(graph)
    assert not {"Div", "Sub", "Cast"} & set(operations(made))
    seen = crops()[:8]
    assert np.abs(scores(made, seen) - scores(graph, seen)).max() < 0.01


@pytest.mark.parametrize(
    ("divisor", "minus"),
    [([58.0, 57.0, 57.5], [2.1, 2.0, 1.8]), ([64.0], [2.03])],
    ids=["another for each channel", "no whole grey level"],
)
def test_other_normalisation_stays_in_the_graph(
    divisor: list[float], minus: list[float], tmp_path: Path
) -> None:
    graph = exported(Normalising(divisor, minus), tmp_path)
    made = quantise(graph, crops())
    assert {"Div", "Sub"} <= set(operations(made))
    seen = crops()[:8]
    assert np.abs(scores(made, seen) - scores(graph, seen)).max() < 0.01
