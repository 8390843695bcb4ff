"""Recipes and descriptions: what is wrong, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspection.errors import RecipeError
from inspection.training.fit import read_both
from inspection.training.recipe import line_of, read_description, read_recipe

ROOT = Path(__file__).resolve().parents[2]

RECIPE = """\
name = "demo"
version = "1"
dataset = "dataset.toml"
architecture = "cells"

[input]
width = 48
height = 48
channels = 1
margin = 0.25

[fit]
steps = 10
"""

DESCRIPTION = """\
name = "set"
layout = "folders"
source = "drawn"
licence = "CC0"

[[classes]]
name = "good"

[[classes]]
name = "crack"
severity = "critical"
"""


def written(folder: Path, text: str, name: str = "recipe.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_recipe_is_read_and_missing_tables_have_their_defaults(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, RECIPE))
    assert (recipe.fit.steps, recipe.fit.batch, recipe.sampling.kind) == (10, 32, "points")
    assert recipe.synthesis is None


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("steps = 10", "steps = 0", r"recipe\.toml:13: fit\.steps: .*>= 1"),
        ("steps = 10", "step = 10", r"recipe\.toml:\d+: fit\.step.*`steps?`"),
        ("margin = 0.25", 'margin = "wide"', r"recipe\.toml:10: input\.margin: "),
        ('version = "1"', "version = 1", r"recipe\.toml:2: version: "),
        ('version = "1"', "", r"recipe\.toml: version: .*missing"),
        ('name = "demo"', 'name = "../demo"', r"recipe\.toml:1: name: "),
        ("[fit]", "[fit", r"recipe\.toml:12: no valid TOML"),
        ('architecture = "cells"', 'architecture = "cells"\ncolour = 1', r":5: colour: .*unknown"),
        ("[fit]", "[sampling]\nreal = 0.6\nsynthetic = 0.4\n[fit]", r":13: sampling\.real: "),
        (
            "[fit]",
            '[sampling]\nkind = "windows"\nsynthetic = 0.4\n[fit]',
            r":14: sampling\.synthetic: .*without a \[synthesis\]",
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_named_with_file_line_and_field(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in RECIPE
    with pytest.raises(RecipeError, match=expected):
        read_recipe(written(tmp_path, RECIPE.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('severity = "critical"', "", r"classes: exactly one class"),
        ('name = "good"', 'name = "good"\nseverity = "minor"', r"classes: exactly one .*none"),
        ('name = "crack"', 'name = "good"', r"two classes have the name 'good'"),
        ('name = "crack"', 'name = "crack"\ncode = "good"', r"two classes have the code 'good'"),
        ('licence = "CC0"', "licence = 'CC0'\npart = '('", r":5: part: no regular expression"),
        ('licence = "CC0"', "licence = 'CC0'\npart = 'a'", r":5: part: needs a group"),
        ('severity = "critical"', 'severity = "awful"', r"dataset\.toml:\d+: classes.*severity: "),
        (
            '[[classes]]\nname = "good"',
            '[split]\nvalidation = 0.5\ntest = 0.5\n[[classes]]\nname = "good"',
            r":8: split\.test: .*none to train",
        ),
    ],
)
def test_a_mistake_in_a_description_is_named_with_file_line_and_field(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in DESCRIPTION
    with pytest.raises(RecipeError, match=expected):
        read_description(written(tmp_path, DESCRIPTION.replace(old, new), "dataset.toml"))


def test_a_recipe_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        read_recipe(tmp_path / "recipe.toml")
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "recipe.toml")


def test_windows_need_a_description_with_tiles(tmp_path: Path) -> None:
    written(tmp_path, DESCRIPTION, "dataset.toml")
    recipe = written(tmp_path, RECIPE + '[sampling]\nkind = "windows"\n')
    with pytest.raises(RecipeError, match=r"needs a \[tiles\] table"):
        read_both(recipe)


def test_the_class_order_of_scores_begins_with_the_ok_class(tmp_path: Path) -> None:
    turned = DESCRIPTION.replace('name = "good"\n\n', 'name = "a"\nseverity = "minor"\n\n').replace(
        'name = "crack"\nseverity = "critical"', 'name = "z"'
    )
    description = read_description(written(tmp_path, turned, "dataset.toml"))
    assert description.class_names == ("z", "a")


def test_the_line_of_a_field_is_the_nearest_that_is_there() -> None:
    assert line_of(RECIPE, "fit.steps") == 13
    assert line_of(RECIPE, "fit.batch") == 12
    assert line_of(RECIPE, "seed") is None


@pytest.mark.parametrize("recipe", sorted(ROOT.glob("models/*/recipe.toml")), ids=str)
def test_every_recipe_of_the_project_can_be_read(recipe: Path) -> None:
    told = read_recipe(recipe)
    assert told.name == recipe.parent.name
    if told.dataset:  # without one it is trained on whatever data it is given
        _, _, description = read_both(recipe)
        assert len(description.class_names) >= 2
