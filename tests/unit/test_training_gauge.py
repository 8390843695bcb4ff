"""The network that measures: what it reads off a weld is what callipers would."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from inspection.errors import RecipeError
from inspection.imaging import CropSpec
from inspection.training.architectures import CellClassifier, build
from inspection.training.architectures.gauge import READINGS, Readings
from inspection.training.calibrate import Calibration
from inspection.training.data import ZONES
from inspection.training.export import Exported, to_onnx
from inspection.training.fit import _loss
from inspection.training.recipe import Fit, Recipe, Sampling
from inspection.training.sampling import IGNORE

CLASSES = 5
CELLS, FINE = 16, 40
"""Cells of a crop, and subdivisions of one to draw a disc with."""
SMALL = {
    "fine_channels": 8, "fine_blocks": 1, "cell_channels": 8, "cell_blocks": 1,
    "coarse_channels": 8, "coarse_blocks": 1,
}  # fmt: skip


def gauge(width: int = 64, height: int = 64, channels: int = 3) -> CellClassifier:
    torch.manual_seed(0)
    spec = CropSpec(width=width, height=height, channels=channels)
    network = build("gauge", CLASSES, spec, SMALL)
    assert isinstance(network, CellClassifier)
    return network


# ------------------------------------------------------------------------------------ readings


def disc(x: float, y: float, radius: float) -> torch.Tensor:
    """Share of each cell that a disc covers; place and radius in cells, from the crop's middle."""
    at = (np.arange(CELLS * FINE) + 0.5) / FINE - CELLS / 2
    inside = np.hypot(at[np.newaxis, :] - x, at[:, np.newaxis] - y) < radius
    return torch.from_numpy(inside.reshape(CELLS, FINE, CELLS, FINE).mean(axis=(1, 3))).float()


def right_of(x: float) -> torch.Tensor:
    """All that lies right of a vertical line, in cells from the crop's middle."""
    share = np.clip(np.arange(CELLS) + 1 - CELLS / 2 - x, 0, 1)
    return torch.from_numpy(np.tile(share, (CELLS, 1))).float()


def read(own: torch.Tensor, other: torch.Tensor | None = None, beyond: torch.Tensor | None = None
         ) -> list[float]:  # fmt: skip
    nothing = torch.zeros(CELLS, CELLS)
    layers = [nothing if layer is None else layer for layer in (own, other, beyond)]
    found = Readings(CELLS, CELLS)(torch.stack(layers)[None])
    assert found.shape == (1, READINGS)
    return [float(value) for value in found[0]]


@pytest.mark.parametrize("radius", [1.5, 2.25, 3.5])
@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (2.3, -1.1)])
def test_the_diameter_and_the_place_of_a_disc_are_read_off_its_cells(
    radius: float, x: float, y: float
) -> None:
    found = read(disc(x, y, radius))
    area = math.pi * radius**2
    assert found[0] * 20 == pytest.approx(area, rel=0.01)
    # The root of the area goes with the diameter: a hair more where there is little.
    diameter = 2 * math.sqrt((found[3] ** 2 - 1e-3) * 16 / math.pi)
    assert diameter == pytest.approx(2 * radius, rel=0.005)
    half = CELLS / 2
    assert found[7] / 3 * half == pytest.approx(x, abs=0.02)
    assert found[8] / 3 * half == pytest.approx(y, abs=0.02)
    assert found[9] / 3 * half == pytest.approx(math.hypot(x, y), abs=0.03)


def test_a_disc_is_as_wide_as_high_and_an_ellipse_is_not() -> None:
    found = read(disc(0.5, 0.5, 3.0))
    expected = 10 * (3.0 / 8) ** 2 / 4  # the second moment of a disc is a quarter of r squared
    assert found[10] == pytest.approx(expected, rel=0.05)
    assert found[11] == pytest.approx(expected, rel=0.05)
    wide = read(torch.cat([disc(0, 0, 3.0)[::2].repeat_interleave(1, 0), torch.zeros(8, CELLS)]))
    assert wide[10] > 2 * wide[11]


def test_an_overlap_is_read_from_the_cells_that_both_cover() -> None:
    own = disc(0, 0, 3.0)
    apart = read(own, other=disc(6.6, 0, 3.0))
    assert apart[5] == pytest.approx(math.sqrt(1e-3), abs=0.02)
    assert apart[12] < 0.05
    half = read(own, other=right_of(0.0))
    assert half[5] ** 2 == pytest.approx(math.pi * 9 / 2, rel=0.01)
    assert half[12] == pytest.approx(2.0)
    assert half[6] == pytest.approx(math.sqrt(1e-3), abs=1e-4)  # nothing beyond the sheet


def test_how_far_it_reaches_beyond_the_sheet_grows_as_the_edge_comes_nearer() -> None:
    own = disc(0, 0, 3.0)
    found = [read(own, beyond=right_of(x)) for x in (4.0, 2.0, 1.0, 0.0)]
    over = [row[6] for row in found]
    assert over[0] == pytest.approx(math.sqrt(1e-3), abs=1e-4)
    assert over == sorted(over)
    assert over[-1] ** 2 == pytest.approx(math.pi * 9 / 2, rel=0.01)
    segment = 9 * math.acos(2 / 3) - 2 * math.sqrt(9 - 4)  # of a disc of 3, 2 from its centre
    assert over[1] ** 2 == pytest.approx(segment, rel=0.02)
    # An edge elsewhere changes nothing of what is read off the weld itself.
    for row in found:
        assert row[7:12] == pytest.approx(found[0][7:12])


def test_nothing_at_all_reads_as_numbers() -> None:
    assert all(math.isfinite(value) for value in read(torch.zeros(CELLS, CELLS)))
    shares = torch.zeros(1, 3, CELLS, CELLS, requires_grad=True)
    Readings(CELLS, CELLS)(shares).sum().backward()
    assert shares.grad is not None
    assert shares.grad.isfinite().all()


# ------------------------------------------------------------------------------------ the network


@pytest.mark.parametrize(("width", "height", "channels"), [(64, 64, 3), (96, 32, 1)])
def test_it_says_classes_cells_measures_and_zones(width: int, height: int, channels: int) -> None:
    network = gauge(width, height, channels).eval()
    crops = torch.full((2, channels, height, width), 128.0)
    with torch.inference_mode():
        look = network.look(crops)
        assert torch.equal(network(crops), look.logits)
    rows, columns = height // network.stride, width // network.stride
    assert look.logits.shape == (2, CLASSES)
    assert look.cells.shape == (2, CLASSES, rows, columns)
    assert look.zones is not None
    assert look.zones.shape == (2, len(ZONES), rows, columns)
    assert look.measures is not None
    assert look.measures.shape == (2, 4)


def test_it_starts_with_the_belief_that_all_is_good_and_belongs_to_nobody() -> None:
    network = gauge().eval()
    crops = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 3, 64, 64))).float()
    with torch.inference_mode():
        look = network.look(crops)
    assert (look.cells.argmax(dim=1) == 0).all()
    assert (look.logits.argmax(dim=1) == 0).all()
    assert look.zones is not None
    assert (look.zones.sigmoid() < 0.5).all()


def test_one_suspect_cell_is_enough() -> None:
    """Whatever the rest of the crop says: the most suspect cell counts as it is."""
    network = gauge().eval()
    crops = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, 64, 64))).float()
    with torch.inference_mode():
        look = network.look(crops)
        evidence = (look.cells[:, 1:] - look.cells[:, :1]).amax(dim=(2, 3))
    # The head starts at zero, so that nothing else is in the verdict yet.
    assert torch.allclose(look.logits[:, 1:], evidence, atol=1e-5)
    assert not look.logits[:, 0].any()


@pytest.mark.parametrize(("width", "height"), [(72, 64), (64, 40)])
def test_an_input_that_does_not_divide_into_cells_is_refused(width: int, height: int) -> None:
    with pytest.raises(RecipeError, match="multiples of 16 for 'gauge'"):
        gauge(width, height)


def test_an_option_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(RecipeError, match=r"options\.needle"):
        build("gauge", CLASSES, CropSpec(width=64, height=64, channels=3), {"needle": 1})


def test_the_exported_graph_says_what_torch_says(tmp_path: Path) -> None:
    network = gauge()
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for weights in network.parameters():  # every way through it must matter
            weights.add_(0.1 * torch.randn(weights.shape))
        for _ in range(4):
            network(torch.from_numpy(rng.integers(0, 256, (8, 3, 64, 64))).float())
    network.eval()
    recipe = Recipe(
        name="demo",
        version="1",
        dataset="dataset.toml",
        architecture="gauge",
        input=CropSpec(width=64, height=64, channels=3),
        fit=Fit(steps=1),
    )
    calibration = Calibration(1.7, -0.4)
    graph = to_onnx(network, calibration, recipe, CLASSES)
    assert b"inspection/training" not in graph, "a graph says nothing of the machine that made it"
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    for count in (1, 3):
        crops = rng.integers(0, 256, (count, 64, 64, 3)).astype(np.uint8)
        (found,) = session.run(None, {session.get_inputs()[0].name: crops})
        with torch.inference_mode():
            module = Exported(network, calibration, CLASSES).eval()
            expected = module(torch.from_numpy(crops)).numpy()
        assert found.shape == (count, CLASSES)
        assert np.allclose(found, expected, atol=1e-4)
        assert np.ptp(expected) > 0.01, "a graph that says nothing proves nothing"


# ----------------------------------------------------------------------------------- its loss


def loss_of(sampling: Sampling, measures: list[float], zones: float | None = None) -> float:
    network = gauge().eval()
    crops = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64))).float()
    shares = None if zones is None else torch.full((2, len(ZONES), 8, 8), zones)
    with torch.no_grad():
        loss, losses = _loss(
            network,
            crops,
            torch.zeros(2, dtype=torch.int64),
            torch.full((2, 8, 8), IGNORE, dtype=torch.int64),
            shares,
            np.array([measures, measures], np.float32),
            sampling,
        )
    assert losses.shape == (2,)
    return float(loss)


def test_a_measure_that_is_not_there_teaches_nothing() -> None:
    sampling = Sampling(cells=1.0, measures=1.0)
    none = loss_of(Sampling(cells=1.0, measures=0.0), [1.0] * 4)
    one = loss_of(sampling, [9.0, math.nan, math.nan, math.nan])
    assert one > none + 1
    assert math.isfinite(one)


def test_a_batch_without_any_measure_can_be_learnt_from() -> None:
    assert math.isfinite(loss_of(Sampling(cells=1.0, measures=1.0), [math.nan] * 4))


def test_wrong_zones_cost_more_than_right_ones_if_they_count() -> None:
    counted, ignored = (Sampling(cells=1.0, zones=weight) for weight in (4.0, 0.0))
    # It starts with the belief that a cell belongs to nobody.
    assert loss_of(counted, [1.0] * 4, zones=1.0) > loss_of(counted, [1.0] * 4, zones=0.0) + 1
    assert loss_of(ignored, [1.0] * 4, zones=1.0) == loss_of(ignored, [1.0] * 4, zones=0.0)


# ---------------------------------------------------------------------------------- the fast stem


@pytest.mark.parametrize("size", [4, 8, 12])
def test_a_stem_of_patches_keeps_the_grid_of_cells(size: int) -> None:
    torch.manual_seed(0)
    spec = CropSpec(width=64, height=48, channels=3)
    network = build("gauge", CLASSES, spec, {**SMALL, "patch": size})
    assert isinstance(network, CellClassifier)
    look = network.look(torch.randint(0, 256, (2, 3, 48, 64)).float())
    assert look.cells.shape == (2, CLASSES, 6, 8)
    assert look.logits.shape == (2, CLASSES)


def test_a_patch_that_does_not_tile_is_refused() -> None:
    spec = CropSpec(width=64, height=64, channels=3)
    with pytest.raises(RecipeError, match=r"options\.patch: 6 px"):
        build("gauge", CLASSES, spec, {**SMALL, "patch": 6})
