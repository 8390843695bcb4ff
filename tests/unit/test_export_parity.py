"""A graph that is not what was trained never becomes a package, and the refusal says what is wrong
with it; 8 bits are released only where they judge as well."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from exports import Made, make
from torch import nn

from inspection.errors import DataError
from inspection.messages import Verdict
from inspection.package import GOLDEN_INT8, MODEL, MODEL_INT8, open_package
from inspection.runtimes import load, replay_golden
from inspection.testing.packages import repolicy
from inspection.training.calibrate import Calibration, probabilities
from inspection.training.evaluate import measure
from inspection.training.export import finish, int8_instruction_set
from inspection.training.parity import SCORE_LIMIT
from inspection.training.sampling import points_of

needs_int8 = pytest.mark.skipif(
    int8_instruction_set() is None, reason="this processor saturates 8-bit products"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("made"))


class Wrong(nn.Module):
    """The network behind something that was not there when it was trained."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def changed(self, crops: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.network(self.changed(crops))


class Swapped(Wrong):
    def changed(self, crops: torch.Tensor) -> torch.Tensor:
        return torch.cat([crops[:, 2:3], crops[:, 1:2], crops[:, 0:1]], dim=1)


class OtherMean(Wrong):
    def changed(self, crops: torch.Tensor) -> torch.Tensor:
        return crops - 20.0


class OtherScale(Wrong):
    def changed(self, crops: torch.Tensor) -> torch.Tensor:
        return crops / 255.0


class Resized(Wrong):
    def changed(self, crops: torch.Tensor) -> torch.Tensor:
        small = F.interpolate(crops, (16, 16), mode="nearest")
        return F.interpolate(small, (32, 32), mode="nearest")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Swapped, "channel order swapped"),
        (OtherMean, "another mean or scale"),
        (OtherScale, "another mean or scale"),
        (Resized, "another resize"),
    ],
)
def test_a_graph_that_sees_other_pixels_is_refused_and_the_error_names_the_difference(
    made: Made, tmp_path: Path, wrong: type[Wrong], says: str
) -> None:
    out = tmp_path / "package"
    made.package(out, network=wrong(made.network))
    with pytest.raises(DataError, match=f"wrong export, {says}") as caught:
        made.parity(out)
    assert str(out / MODEL) in str(caught.value)
    assert "by more than 0.001" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda _: Calibration(1.0, 0.0), "the calibration is missing"),
        (lambda right: right._replace(temperature=1.0), "the temperature is missing"),
        (lambda right: right._replace(good_shift=0.0), "the shift of the OK class is missing"),
    ],
)
def test_a_graph_without_its_calibration_is_refused(
    made: Made, tmp_path: Path, change: Callable[[Calibration], Calibration], says: str
) -> None:
    made.package(tmp_path / "package", calibration=change(made.calibration))
    with pytest.raises(DataError, match=f"wrong export, {says}"):
        made.parity(tmp_path / "package")


@pytest.mark.parametrize("change", [{"width": 48, "height": 48}, {"margin": 0.25}])
def test_a_package_that_crops_otherwise_than_training_did_is_refused(
    made: Made, tmp_path: Path, change: dict[str, float]
) -> None:
    spec = msgspec.structs.replace(made.spec, **change)
    made.package(tmp_path / "package", spec=spec)
    with pytest.raises(DataError, match="wrong export, another resize: the package takes crops of"):
        made.parity(tmp_path / "package")


def test_the_right_export_passes_and_no_verdict_turns(made: Made, tmp_path: Path) -> None:
    made.package(tmp_path / "package", novelty=True)
    parity = made.parity(tmp_path / "package", novelty=True)
    assert parity.points == len(made.split.test)
    assert parity.fp32.worst <= SCORE_LIMIT / 10
    assert (parity.fp32.flips, parity.fp32.listed) == (0, ())
    assert parity.fp32.auroc is not None
    assert parity.fp32.auroc > 0.95
    assert parity.fp32.escapes.trials + parity.fp32.overkill.trials == parity.points
    assert parity.int8 is None
    assert not parity.int8_released


def test_a_verdict_that_rounding_turns_at_a_threshold_is_listed_and_no_error(
    made: Made, tmp_path: Path
) -> None:
    out = tmp_path / "package"
    made.package(out)
    crops, labels = points_of(made.dataset, made.dataset.of(made.split.test), made.spec)
    with torch.inference_mode():
        logits = made.network(torch.from_numpy(crops).permute(0, 3, 1, 2).float())
    true = probabilities(logits.double().numpy(), made.calibration)[:, 0]
    got = load(open_package(out)).scores(crops)[:, 0].astype(np.float64)
    worst = int(np.argmax(np.where(labels == 0, np.abs(got - true), 0)))
    assert got[worst] != true[worst]
    repolicy(out, ok_min=float(got[worst] + true[worst]) / 2, nok_min={"spot": 1.0})
    parity = made.parity(out)
    assert parity.fp32.flips >= 1
    turned = [flip for flip in parity.fp32.listed if flip.score_after == got[worst]]
    assert len(turned) == 1
    assert {turned[0].before, turned[0].after} == {Verdict.OK, Verdict.REVIEW}
    assert turned[0].label == "good"


def test_another_novelty_than_the_one_exported_is_refused(made: Made, tmp_path: Path) -> None:
    made.package(tmp_path / "package", novelty=True)
    other = dataclasses.replace(made, novelty=made.novelty._replace(scale=2 * made.novelty.scale))
    with pytest.raises(DataError, match="the out-of-distribution score differs"):
        other.parity(tmp_path / "package", novelty=True)
    with pytest.raises(DataError, match="say what it should be"):
        made.parity(tmp_path / "package")


@needs_int8
def test_a_worse_8_bit_graph_is_not_released_says_why_and_is_gone_from_the_package(
    made: Made, tmp_path: Path
) -> None:
    out = tmp_path / "package"
    # Ranges as seen on pictures that show nothing: what a real one shows is clipped.
    draft, graphs = made.package(out, int8_crops=np.full((16, 32, 32, 3), 120, np.uint8))
    assert graphs.int8 is not None
    parity = made.parity(out)
    assert not parity.int8_released
    assert any("AUROC" in why or "escapes" in why or "overkill" in why for why in parity.int8_why)
    assert f"INT8 not released: {parity.int8_why[0]}" in str(parity)
    evaluation = measure(load(open_package(out), graph=MODEL), made.dataset, made.split.validation)
    finish(draft, out, evaluation, None, 1.0, parity=parity, prefer_int8=True)
    assert not (out / MODEL_INT8).exists()
    assert not (out / GOLDEN_INT8).exists()
    package = open_package(out)
    assert {entry.graph for entry in package.manifest.verified_on} == {MODEL}
    assert load(package).graph == MODEL
    told = package.manifest.metrics["parity"]
    assert isinstance(told, dict)
    assert told["int8_why"] == list(parity.int8_why)


@needs_int8
def test_8_bits_are_not_released_on_a_handful_of_test_points(made: Made, tmp_path: Path) -> None:
    """Of so few, bounds are so wide that anything would stay inside them."""
    out = tmp_path / "package"
    made.package(out, int8_crops=made.train[0])
    parity = made.parity(out, parts=20)
    assert not parity.int8_released
    assert any(re.match(r"only \d+ defective test points, 30 are", w) for w in parity.int8_why)


@needs_int8
@pytest.mark.parametrize("prefer", [True, False])
def test_a_good_8_bit_graph_is_released_and_its_golden_pictures_replay(
    made: Made, tmp_path: Path, prefer: bool
) -> None:
    out = tmp_path / "package"
    draft, _ = made.package(out, novelty=True, int8_crops=made.train[0])
    parity = made.parity(out, novelty=True)
    assert parity.int8_released, parity.int8_why
    assert parity.int8 is not None
    # It is in 8 bits indeed: not the same numbers.
    assert parity.int8.worst > parity.fp32.worst
    evaluation = measure(load(open_package(out), graph=MODEL), made.dataset, made.split.validation)
    finish(draft, out, evaluation, None, 1.0, parity=parity, prefer_int8=prefer)
    package = open_package(out)
    golden = json.loads((out / GOLDEN_INT8).read_text())
    assert len(golden["images"]) == len(package.golden.images) >= 2
    assert replay_golden(load(package, graph=MODEL_INT8)) <= 0.01
    assert replay_golden(load(package, graph=MODEL)) <= 1e-3
    assert load(package).graph == (MODEL_INT8 if prefer else MODEL)


@needs_int8
def test_a_graph_exchanged_after_it_was_compared_is_not_sealed(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "package"
    draft, _ = made.package(out)
    parity = made.parity(out)
    evaluation = measure(load(open_package(out), graph=MODEL), made.dataset, made.split.validation)
    made.package(tmp_path / "other", network=Swapped(made.network))
    (out / MODEL).write_bytes((tmp_path / "other" / MODEL).read_bytes())
    with pytest.raises(DataError, match="is not the graph that was compared"):
        finish(draft, out, evaluation, None, 1.0, parity=parity)
