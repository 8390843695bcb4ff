"""What training shows a network: windows, cells, augmentation, synthetic defects."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from inspection import imaging
from inspection.imaging import CropSpec
from inspection.messages import Region, Severity
from inspection.training.architectures import build
from inspection.training.data import Box, Dataset, read_dataset
from inspection.training.recipe import (
    ClassDescription,
    DatasetDescription,
    Fit,
    Recipe,
    Roles,
    Sampling,
    Synthesis,
    Tiles,
)
from inspection.training.sampling import (
    IGNORE,
    PointSampler,
    WindowSampler,
    augmentation,
    cell_targets,
)
from inspection.training.synthesis import Source, synthesise, topology
from inspection.training.torch_setup import import_torchvision

CLASSES = ("ok", "open", "short", "bite", "spur", "island", "hole")
ROLES = Roles(hole="hole", notch="bite", cut="open", island="island", bump="spur", bridge="short")
SPEC = CropSpec(width=48, height=48, channels=1, margin=0.25)
SIDE, TILE = 160, 32

DESCRIPTION = DatasetDescription(
    name="boards",
    layout="deeppcb",
    source="drawn here",
    licence="CC0",
    part=r"(\d+)_test",
    tiles=Tiles(width_px=TILE, height_px=TILE),
    classes=tuple(
        ClassDescription(name=name, severity=Severity.MAJOR if name != "ok" else None)
        for name in CLASSES
    ),
)


def design() -> imaging.Frame:
    """Tracks and a pad, dark on bright."""
    frame = np.full((SIDE, SIDE), 255, np.uint8)
    for x in (20, 50, 80):
        frame[:, x : x + 10] = 0
    cv2.circle(frame, (125, 80), 25, 0, -1)
    return frame


def board(root: Path, number: int) -> None:
    """A board with a hole in its pad and a cut track, and its template."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    frame = design()
    cv2.circle(frame, (120 + number, 80), 4, 255, -1)
    frame[100 + number : 106 + number, 20:30] = 255
    (root / "images" / f"{number}_test.png").write_bytes(imaging.encode_png(frame))
    (root / "images" / f"{number}_temp.png").write_bytes(imaging.encode_png(design()))
    (root / "annotations" / f"{number}.txt").write_text(
        f"{104 + number} 64 {136 + number} 96 hole\n8 {90 + number} 42 {116 + number} open\n"
    )


@pytest.fixture
def boards(tmp_path: Path) -> Dataset:
    for number in range(3):
        board(tmp_path, number)
    return read_dataset(DESCRIPTION, tmp_path)


def recipe(**sampling: object) -> Recipe:
    settings: dict[str, object] = {"kind": "windows", "real": 0.4, "synthetic": 0.3, **sampling}
    return Recipe(
        name="demo",
        version="1",
        dataset="dataset.toml",
        architecture="cells",
        input=SPEC,
        fit=Fit(steps=3, batch=24),
        sampling=Sampling(**settings),  # type: ignore[arg-type]
        synthesis=Synthesis(labels=ROLES, frames=4, defects=5),
    )


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ((slice(70, 90), slice(118, 130)), 0),  # inside the pad
        ((slice(40, 46), slice(20, 26)), 1),  # into a track from its side
        ((slice(40, 46), slice(20, 30)), 2),  # through a track
    ],
)
def test_a_removed_piece_is_a_hole_a_notch_or_a_cut(
    what: tuple[slice, slice], expected: int
) -> None:
    material = design() < 128
    removed = np.zeros_like(material)
    removed[what] = True
    assert topology(material, removed & material) == expected


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ((slice(10, 16), slice(110, 118)), 0),  # apart
        ((slice(40, 46), slice(30, 36)), 1),  # at the side of a track
        ((slice(40, 46), slice(30, 50)), 2),  # from track to track
    ],
)
def test_an_added_piece_is_an_island_a_bump_or_a_bridge(
    what: tuple[slice, slice], expected: int
) -> None:
    ground = design() >= 128
    added = np.zeros_like(ground)
    added[what] = True
    assert topology(ground, added & ground) == expected


def test_synthetic_defects_lie_in_their_boxes_and_nowhere_else() -> None:
    source = Source(design(), (), design())
    plan = Synthesis(labels=ROLES, frames=12, defects=6, lettering=0.0)
    made = synthesise([source], plan, np.random.default_rng(5))
    assert len(made) == 12
    drawn = [box for _, boxes in made for box in boxes]
    assert len(drawn) >= 24
    assert len({box.label for box in drawn}) >= 5
    for frame, boxes in made:
        changed = (frame < 128) != (design() < 128)
        for box in boxes:
            inside = changed[int(box.top) : int(box.bottom), int(box.left) : int(box.right)]
            assert inside.sum() >= 8, box
            changed[int(box.top) : int(box.bottom), int(box.left) : int(box.right)] = False
        assert changed.sum() <= 4  # compression alone


def test_the_same_seed_draws_the_same_defects() -> None:
    source = Source(design(), (Box(104, 64, 136, 96, "hole"),), design())
    plan = Synthesis(labels=ROLES, frames=3, defects=4, varied=0.5)
    first, second = (synthesise([source], plan, np.random.default_rng(1)) for _ in range(2))
    for (one, boxes), (other, same) in zip(first, second, strict=True):
        assert np.array_equal(one, other)
        assert boxes == same


def test_a_window_is_labelled_by_the_defect_whose_centre_it_holds(boards: Dataset) -> None:
    sampler = WindowSampler(boards, boards.pictures, recipe(), stride=8)
    seen: set[int] = set()
    for _ in range(6):
        batch = sampler.draw()
        assert batch.crops.shape == (24, 48, 48, 1)
        assert batch.crops.dtype == np.uint8
        assert batch.cells is not None
        assert batch.cells.shape == (24, 6, 6)
        seen |= set(batch.targets.tolist())
        good = batch.targets == 0
        # Of a good point, no cell well inside it is defective.
        assert not ((batch.cells[good][:, 2:4, 2:4] > 0) & (batch.cells[good][:, 2:4, 2:4] < IGNORE)
                    ).any()  # fmt: skip
        sampler.learn(np.ones(24, np.float32))
    assert {0, CLASSES.index("hole"), CLASSES.index("open")} <= seen


def test_cells_are_defective_at_the_core_of_a_box_good_outside_and_neither_between() -> None:
    region = Region(left_px=0, top_px=0, width_px=32, height_px=32)
    box = Box(0, 0, 32, 32, "hole")
    targets = cell_targets(region, [box], SPEC, 8, CLASSES)
    assert targets.shape == (6, 6)
    assert targets[2, 2] == targets[3, 3] == CLASSES.index("hole")
    assert targets[1, 1] == IGNORE
    far = cell_targets(region, [Box(100, 100, 120, 120, "hole")], SPEC, 8, CLASSES)
    assert (far == 0).all()


def test_what_was_called_defective_in_error_is_shown_again(boards: Dataset) -> None:
    sampler = WindowSampler(boards, boards.pictures, recipe(hard=0.9), stride=None)
    for _ in range(104):
        sampler.draw()
        sampler.learn(np.linspace(0, 9, 24).astype(np.float32))
    assert sampler._hard
    assert set(sampler.draw().targets.tolist()) <= {*range(7), IGNORE}


@pytest.mark.parametrize("size", [(24, 24), (24, 40)])
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_keeps_shape_and_type(size: tuple[int, int], channels: int) -> None:
    augment = augmentation(0, square=size[0] == size[1])
    crop = np.random.default_rng(0).integers(0, 256, (*size, channels)).astype(np.uint8)
    changed = [augment(crop) for _ in range(12)]
    assert all(c.shape == crop.shape and c.dtype == np.uint8 for c in changed)
    assert any(not np.array_equal(c, crop) for c in changed)


def test_points_are_drawn_in_the_shares_of_the_recipe(boards: Dataset) -> None:
    sampler = PointSampler(boards, boards.pictures, recipe(kind="points", defects=0.5), None)
    targets = np.concatenate([sampler.draw().targets for _ in range(20)])
    assert 0.4 < (targets > 0).mean() < 0.6
    sampler.learn(np.zeros(24, np.float32))


def test_every_architecture_takes_grey_and_colour_and_starts_without_an_opinion() -> None:
    import torch

    for name, side in (("cells", 48), ("efficientnet-lite0", 64)):
        for channels in (1, 3):
            spec = CropSpec(width=side, height=side, channels=channels, margin=0.25)
            network = build(name, 4, spec, {}).eval()
            with torch.inference_mode():
                logits = network(torch.full((2, channels, side, side), 128.0))
            assert logits.shape == (2, 4)
            assert torch.allclose(logits[:, 1:], logits[:, 1:2])


def test_torchvision_imports_beside_any_torch() -> None:
    assert import_torchvision() is import_torchvision()
