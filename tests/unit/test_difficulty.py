"""Rendered welds are hard, and which they are is fixed.

The probe of ``make welds`` on a smaller sample and on crops as they are, not enlarged. Being weaker
than that one it proves nothing by itself, but it notices when the welds have become easy.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import rendered_welds

from inspection.imaging import CropSpec
from inspection.training.data import read_dataset
from inspection.training.layouts import rendered
from inspection.training.recipe import (
    DatasetDescription,
    Rendered,
    RenderedSplit,
    read_description,
)

DESCRIPTIONS = (rendered_welds.STANDARD, rendered_welds.SHIFTED)
NONE = RenderedSplit(parts=0, defects=0.5)
SOME = RenderedSplit(parts=4, defects=0.5)
SCENES = {
    "standard": "0b530ded5105617e7574b3590ffb04411771f7a362ee9ab9333dd7e2d4227f76",
    "shifted": "e14a756d9d4f49b390169c348ea73b68493b4d850bfa6bacba2a8f69542a59c3",
}


def sample(description: DatasetDescription, **changes: object) -> DatasetDescription:
    """A small set of the same kind, from another seed than the real ones."""
    settings: dict[str, object] = {
        "seed": 12, "domain": rendered.recipe_of(description).domain, "welds": 25, "train": NONE,
        "validation": NONE, "test": NONE, **changes,
    }  # fmt: skip
    told = Rendered(**settings)  # type: ignore[arg-type]
    fields = {name: getattr(description, name) for name in description.__struct_fields__}
    return DatasetDescription(**{**fields, "rendered": told})


def test_a_linear_probe_holds_back_a_tenth_of_the_good_welds_at_one_escape_in_a_hundred(
    tmp_path: Path,
) -> None:
    description = sample(
        read_description(rendered_welds.STANDARD),
        train=RenderedSplit(parts=18, defects=0.5),
        test=RenderedSplit(parts=20, defects=0.45),
    )
    rendered.render_missing(description, tmp_path / "welds")
    dataset = read_dataset(description, tmp_path / "welds")
    assert dataset.split is not None
    spec = CropSpec(width=128, height=128, channels=3)
    eye = rendered_welds.Eye(spec, side_px=128)
    train, test = eye.see(dataset, dataset.split.train), eye.see(dataset, dataset.split.test)
    probe = rendered_welds.fit_probe(train, len(description.class_names), decay=0.1)
    bad = int((test.labels > 0).sum())
    assert bad >= 180
    escapes, overkill = rendered_welds.at_escapes(probe, test, bad // 100)
    assert escapes.errors <= 0.01 * bad
    assert overkill.lower >= rendered_welds.HARD
    # It is no straw man: where more may escape, it does tell good from bad.
    _, generous = rendered_welds.at_escapes(probe, test, bad // 3)
    assert generous.rate is not None
    assert generous.rate < 0.2


@pytest.mark.parametrize("path", DESCRIPTIONS, ids=lambda path: path.stem)
def test_the_same_seeds_draw_the_scenes_they_always_drew(path: Path) -> None:
    """Who changes what is drawn changes this, and trains and measures anew."""
    description = sample(read_description(path), seed=7, welds=5, train=SOME, test=SOME)
    told = rendered.recipe_of(description)
    assert rendered.scenes(told) == SCENES[told.domain]


def test_a_set_on_file_has_the_scenes_that_it_names() -> None:
    """The smaller one; `make welds` looks through both."""
    told = rendered.recipe_of(read_description(rendered_welds.SHIFTED))
    assert rendered.scenes(told) == told.scenes, "rendered_welds.py --fix-scenes, and train anew"


def test_the_sets_on_file_are_large_enough_to_claim_anything_of() -> None:
    standard, shifted = (rendered.recipe_of(read_description(path)) for path in DESCRIPTIONS)
    assert (standard.domain, shifted.domain) == ("standard", "shifted")
    assert standard.seed != shifted.seed
    # Nothing of the shifted set is ever trained or chosen on.
    assert (shifted.train.parts, shifted.validation.parts) == (0, 0)
    welds = standard.test.parts * standard.welds
    assert welds * standard.test.defects >= 2 * rendered_welds.DEFECTS_NEEDED
    assert welds * (1 - standard.test.defects) >= 1.1 * rendered_welds.GOOD_NEEDED


def test_fixing_the_scenes_writes_their_hash_into_the_description(tmp_path: Path) -> None:
    path = tmp_path / "set.toml"
    text = rendered_welds.SHIFTED.read_text("utf-8")
    path.write_text(text.replace("parts = 240", "parts = 1"), "utf-8")
    found = rendered_welds.fix_scenes(path)
    told = rendered.recipe_of(read_description(path))
    assert told.scenes == found == rendered.scenes(told)
    assert rendered_welds.fix_scenes(path) == found
    path.write_text(path.read_text("utf-8").replace("scenes =", "# scenes ="), "utf-8")
    with pytest.raises(SystemExit, match="needs a line scenes"):
        rendered_welds.fix_scenes(path)
