"""A folder of pictures says itself what it is, or is refused with what to say instead."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from inspection.errors import DataError, RecipeError
from inspection.imaging import encode_png
from inspection.training.data import read_dataset
from inspection.training.defaults import crop_size, default_recipe, write_toml
from inspection.training.discover import describe
from inspection.training.recipe import (
    ANOMALY,
    GOOD_ALONE,
    one_kind_of_defect,
    read_description,
    read_recipe,
)

PATCH = np.full((40, 60), 90, np.uint8)


def folder(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(PATCH))
    return root


@pytest.mark.parametrize("name", ["ok", "OK", "good", "Normal", "free", "Defect free", "no_defect"])
def test_the_ok_class_is_known_by_its_name(tmp_path: Path, name: str) -> None:
    root = folder(tmp_path / "welds", f"{name}/a.png", "crack/b.png", "Loch groß/c.png")
    found = describe(root)
    assert (found.layout, found.ok_class) == ("folders", name)
    assert set(found.class_names) == {name, "crack", "Loch groß"}
    dataset = read_dataset(found, root)
    assert sorted(str(p.points[0].label) for p in dataset.pictures) == sorted(found.class_names)


def test_an_ok_class_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    root = folder(tmp_path / "welds", "weld/a.png", "crack/b.png")
    with pytest.raises(DataError, match=r"none is called like the OK class .*--ok CLASS"):
        describe(root)
    assert describe(root, ok="weld").ok_class == "weld"
    with pytest.raises(DataError, match=r"--ok spot: .* has no such class, only crack, weld"):
        describe(root, ok="spot")
    folder(root, "ok/c.png", "good/d.png")
    with pytest.raises(DataError, match=r"good and ok could both be the OK class"):
        describe(root)


@pytest.mark.parametrize("names", [("good/a.png",), ("train/good/a.png",)])
def test_good_pictures_alone_are_a_data_set_whose_defects_are_yet_to_come(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    root = folder(tmp_path / "welds", *names)
    found = describe(root)
    assert found.class_names == ("good", ANOMALY)
    dataset = read_dataset(found, root)
    assert [p.points[0].label for p in dataset.pictures] == ["good"]
    told = default_recipe(found, dataset.pictures)
    assert told.architecture in GOOD_ALONE
    write_toml(told, tmp_path / "recipe.toml")
    assert read_recipe(tmp_path / "recipe.toml") == told


def test_whatever_no_class_is_called_is_an_anomaly_where_there_is_such_a_class(
    tmp_path: Path,
) -> None:
    root = folder(tmp_path / "welds", "train/good/a.png", "test/good/b.png", "test/crack/c.png")
    found = one_kind_of_defect(describe(root))
    assert found.class_names == ("good", ANOMALY)
    labels = sorted(str(p.points[0].label) for p in read_dataset(found, root).pictures)
    assert labels == [ANOMALY, "good", "good"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), r"no folder with pictures: one folder a class"),
        (("good/a.png", "crack/b.png", "c.png"), r"1 pictures lie beside the folders .* c\.png"),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    root = tmp_path / "welds"
    root.mkdir()
    with pytest.raises(DataError, match=said):
        describe(folder(root, *names))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder: name the data with --data"):
        describe(tmp_path / "nowhere")


def test_mvtec_is_recognised_with_its_masks(tmp_path: Path) -> None:
    root = folder(
        tmp_path / "weld",
        "train/good/a_row0.png", "test/good/b_row0.png", "test/hole/c_row0.png",
        "test/hole/d_row0.png", "ground_truth/hole/c_row0_mask.png",
        "ground_truth/hole/d_row0.png",
    )  # fmt: skip
    found = describe(root, part=r"([a-z])_row")
    dataset = read_dataset(found, root)
    assert (found.layout, found.class_names) == ("mvtec", ("good", "hole"))
    assert dataset.parts == ["a", "b", "c", "d"]
    masked = {picture.part: picture.mask is not None for picture in dataset.pictures}
    assert masked == {"a": False, "b": False, "c": True, "d": True}


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "weld", "train/good/a.png", "test/hole/c.png")
    mask = root / "ground_truth" / "hole" / "c.png"
    mask.parent.mkdir(parents=True)
    mask.write_bytes(encode_png(PATCH[:10]))
    with pytest.raises(DataError, match=r"c\.png: its size is not that of"):
        read_dataset(describe(root), root)


def test_an_index_says_its_classes(tmp_path: Path) -> None:
    root = folder(tmp_path / "welds", "a.png", "b.png")
    (root / "index.csv").write_text(
        "image,part,region,label\na.png,P1,,io\nb.png,P2,,Riß\n", "utf-8"
    )
    found = describe(root)
    assert (found.layout, found.class_names) == ("index", ("io", "Riß"))
    (root / "index.csv").write_text("image,part,region\n")
    with pytest.raises(DataError, match=r"index\.csv:1: label: this column is missing"):
        describe(root)


def test_a_description_in_the_folder_says_all(tmp_path: Path) -> None:
    root = folder(tmp_path / "welds", "good/a.png", "crack/b.png")
    write_toml(describe(root), root / "dataset.toml")
    assert describe(root) == read_description(root / "dataset.toml")
    with pytest.raises(DataError, match="say there what --ok and --part would"):
        describe(root, ok="good")


@pytest.mark.parametrize("part", ["(", "weld"])
def test_a_part_that_is_no_expression_with_a_group_is_refused(tmp_path: Path, part: str) -> None:
    with pytest.raises(RecipeError, match=r"--part: (no regular|needs a group)"):
        describe(folder(tmp_path / "welds", "good/a.png", "crack/b.png"), part=part)


@pytest.mark.parametrize(
    ("size", "crop"),
    [
        ((60, 60), (224, 224)),
        ((128, 120), (224, 224)),
        ((640, 640), (224, 224)),
        ((280, 120), (352, 160)),
        ((100, 1000), (128, 384)),
    ],
)
def test_crops_have_as_many_pixels_as_the_photographs_the_network_knows(
    size: tuple[int, int], crop: tuple[int, int]
) -> None:
    assert crop_size(*size) == crop


def test_the_recipe_that_was_chosen_reads_back_as_it_is(tmp_path: Path) -> None:
    root = folder(tmp_path / "my welds", "good/a.png", "crack/b.png")
    dataset = read_dataset(describe(root), root)
    recipe = default_recipe(dataset.description, dataset.pictures)
    write_toml(recipe, tmp_path / "recipe.toml")
    assert read_recipe(tmp_path / "recipe.toml") == recipe
    assert recipe.name == "my-welds"
    few = recipe.fit.epochs or 0
    many = default_recipe(dataset.description, dataset.pictures * 20_000).fit.epochs or 0
    assert few > many  # a training of many pictures takes no longer than one of few
    assert msgspec.json.encode(recipe)
