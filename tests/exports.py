"""A small network trained here on a few coloured pictures, and packages made of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from inspection.imaging import CropSpec, Frame, encode_png
from inspection.training.calibrate import Calibration, Labels, Limits
from inspection.training.data import Dataset, Split, read_dataset, split_parts
from inspection.training.export import Draft, Graphs, export_graphs, outputs, write_draft
from inspection.training.novelty import Novelty, choose_ood_max, fit_novelty
from inspection.training.parity import Parity, check_parity, shots
from inspection.training.recipe import read_description, read_recipe
from inspection.training.sampling import points_of

DESCRIPTION = """\
name = "spots"
layout = "folders"
source = "drawn here"
licence = "CC0"
part = '(p[0-9]+)'

[split]
validation = 0.3
test = 0.3

[[classes]]
name = "good"

[[classes]]
name = "spot"
severity = "major"
"""

RECIPE = """\
name = "spots"
version = "1"
dataset = "dataset.toml"
architecture = "cells"

[input]
width = 32
height = 32
channels = 3

[fit]
steps = 1

[sampling]
kind = "points"
"""

PARTS = 240


class Small(nn.Module):
    """Two convolutions, a mean, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU()
        )
        self.head = nn.Linear(16, 2)

    def embed(self, crops: torch.Tensor) -> torch.Tensor:
        return self.body((crops - 120.0) / 60.0).amax(dim=(2, 3))

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        return self.head(embedding)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.classify(self.embed(crops))


def picture(rng: np.random.Generator, spot: bool, side: int = 48) -> Frame:
    """Noise around grey; with a spot that is redder than it is blue."""
    frame = rng.integers(100, 140, (side, side, 3)).astype(np.int64)
    if spot:
        top, left = rng.integers(6, side - 18, 2)
        frame[top : top + 12, left : left + 12] += np.array([70, 0, -60])
    return np.clip(frame, 0, 255).astype(np.uint8)


def foreign(count: int, side: int = 32) -> Frame:
    """What no training picture looks like: broad black and white stripes, (N, side, side, 3)."""
    rng = np.random.default_rng(7)
    found = np.zeros((count, side, side, 3), np.uint8)
    for one in found:
        wide = int(rng.integers(2, 6))
        one[np.arange(side) // wide % 2 == 0] = 255
    return found


@dataclass(frozen=True)
class Made:
    """All that a package is made of."""

    folder: Path
    network: Small
    dataset: Dataset
    split: Split
    calibration: Calibration
    novelty: Novelty
    train: tuple[Frame, Labels]
    held: tuple[Frame, Labels]
    spec: CropSpec

    def draft(self, ood_max: float | None = None) -> Draft:
        source = self.folder / "recipe.toml"
        described = self.folder / "dataset.toml"
        return Draft(
            recipe=read_recipe(source),
            recipe_path=source,
            description=read_description(described),
            description_path=described,
            dataset=self.dataset,
            split=self.split,
            calibration=self.calibration,
            limits=Limits(0.9, 0.5),
            precision="float32",
            ood_max=ood_max,
        )

    def package(
        self,
        out: Path,
        *,
        network: nn.Module | None = None,
        calibration: Calibration | None = None,
        spec: CropSpec | None = None,
        novelty: bool = False,
        int8_crops: Frame | None = None,
    ) -> tuple[Draft, Graphs]:
        """Export and draft; what is given replaces what is right."""
        out.mkdir()
        draft = self.draft()
        if spec is not None:
            draft = replace(draft, recipe=msgspec.structs.replace(draft.recipe, input=spec))
        crops, labels = self.held
        if spec is not None:
            crops, labels = points_of(self.dataset, self.dataset.of(self.split.validation), spec)
        graphs = export_graphs(
            network or self.network,
            calibration or self.calibration,
            spec or self.spec,
            2,
            out,
            novelty=self.novelty if novelty else None,
            int8_crops=int8_crops,
        )
        said = outputs(graphs.fp32, crops)
        if said.ood is not None:
            draft = replace(draft, ood_max=choose_ood_max(said.ood, labels, 0.0))
        write_draft(network or self.network, draft, out, crops, labels, graphs=graphs)
        return draft, graphs

    def parity(self, out: Path, *, novelty: bool = False, parts: int | None = None) -> Parity:
        """The gate, on all test parts or so many of them."""
        return check_parity(
            self.network,
            self.calibration,
            self.spec,
            out,
            shots(self.dataset.of(sorted(self.split.test)[:parts])),
            novelty=self.novelty if novelty else None,
        )


def make(folder: Path) -> Made:
    """Draw, read, split, train for a second or two."""
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "dataset.toml").write_text(DESCRIPTION)
    rng = np.random.default_rng(3)
    for number in range(PARTS):
        kind = "spot" if number % 2 else "good"
        path = folder / "data" / kind / f"p{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(picture(rng, bool(number % 2))))
    description = read_description(folder / "dataset.toml")
    dataset = read_dataset(description, folder / "data")
    split = split_parts(dataset, description.split)
    spec = read_recipe(folder / "recipe.toml").input
    train, held = (points_of(dataset, dataset.of(parts), spec) for parts in split[:2])
    torch.manual_seed(0)
    network = Small()
    pixels = torch.from_numpy(train[0]).permute(0, 3, 1, 2).float()
    wanted = torch.from_numpy(train[1])
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(80):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(pixels), wanted, label_smoothing=0.1).backward()
        optimiser.step()
    network.eval()
    # Softer than what would be fitted to so easy a task, so that small differences show.
    calibration = Calibration(1.5, 0.3)
    novelty = fit_novelty(network, 2, train, held)
    assert novelty is not None
    return Made(folder, network, dataset, split, calibration, novelty, train, held, spec)
