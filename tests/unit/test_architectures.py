"""Networks for photographs: the same options for all, weights from a file, stages that stay."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from inspection.errors import RecipeError
from inspection.imaging import CropSpec
from inspection.training.architectures import ARCHITECTURES, build, pretrained, provenance
from inspection.training.architectures.photographs import Photographs
from inspection.training.recipe import GOOD_ALONE

SPEC = CropSpec(width=64, height=96, channels=3)
PHOTOGRAPHS = ["efficientnet-lite0", "resnet18", "mobilenet-v3-small", "efficientnet-b0"]


def photographs(name: str, **options: float | str | bool) -> Photographs:
    network = build(name, 3, SPEC, options)
    assert isinstance(network, Photographs)
    return network


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - GOOD_ALONE))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_architecture_turns_crops_into_logits(name: str, channels: int) -> None:
    if (name, channels) == ("convnext-tiny", 1):
        pytest.skip("as the others, and large")
    spec = CropSpec(width=64, height=96, channels=channels)
    network = build(name, 3, spec, {}).eval()
    with torch.inference_mode():
        logits = network(torch.full((2, channels, 96, 64), 90.0))
    assert logits.shape == (2, 3)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_frozen_stages_neither_learn_nor_follow_the_pictures(name: str) -> None:
    torch.manual_seed(0)
    network = photographs(name, frozen=2, weights="none").train()
    before = {key: value.clone() for key, value in network.body.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    crops = torch.rand(4, 3, 96, 64) * 255
    for _ in range(2):  # the head starts at zero: only from the second step on the body learns
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(crops), torch.tensor([0, 1, 2, 0])).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    after = network.body.state_dict()
    frozen = {id(module) for module in network._frozen}
    names = {key for key, module in network.body.named_modules() if id(module) in frozen}
    assert names
    changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert not {key for key in changed if key.rpartition(".")[0] in names}
    assert {key for key in changed if key.endswith("running_mean")}
    assert {key for key in changed if key.endswith("weight")}


def test_weights_come_from_a_file_without_its_head(tmp_path: Path) -> None:
    torch.manual_seed(1)
    from inspection.training.torch_setup import import_torchvision

    donor = import_torchvision().models.get_model("resnet18", weights=None)
    torch.save(donor.state_dict(), tmp_path / "weights.pt")
    network = photographs("resnet18", weights=str(tmp_path / "weights.pt"))
    assert torch.equal(
        network.body.state_dict()["conv1.weight"], donor.state_dict()["conv1.weight"]
    )
    assert provenance("resnet18", {"weights": str(tmp_path / "weights.pt")}) == (
        "the file weights.pt that the recipe names"
    )
    assert len(pretrained(network)) == len(list(network.body.parameters()))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("resnet18", {"weights": "nowhere.pt"}, r"options\.weights: nowhere\.pt: no state dict"),
        ("resnet18", {"frozen": 99}, r"options\.frozen: the body has 8 stages"),
        ("resnet18", {"frozen": -1}, r"options\.frozen: a number of stages from 0 on"),
        ("resnet18", {"pooling": "median"}, r"options\.pooling: 'median' is none of max\+average"),
        ("resnet18", {"dropout": 1.5}, r"options\.dropout: must be a number from 0 to below 1"),
        ("resnet18", {"depth": 3}, r"options\.depth: resnet18 knows pooling, head"),
        ("efficientnet-lite0", {"weights": 3}, r"options\.weights: 'none', 'imagenet' or a file"),
    ],
)
def test_an_option_that_cannot_be_is_refused(
    name: str, options: dict[str, int | float | str | bool], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        build(name, 3, SPEC, options)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(RecipeError, match=r"tensors are missing or of another shape, such as bn1"):
        photographs("resnet18", weights=str(tmp_path / "weights.pt"))


def test_crops_too_small_for_a_body_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"input: resnet18 needs crops of at least 32 x 32"):
        build("resnet18", 3, CropSpec(width=16, height=64, channels=3), {})
