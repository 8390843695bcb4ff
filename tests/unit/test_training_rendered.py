"""A rendered data set: drawn once, part by part, and read like any other."""

from __future__ import annotations

import itertools
import math
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.errors import DataError
from inspection.rendering.catalogue import CLASSES as CATALOGUE
from inspection.rendering.catalogue import DEFECTS, FIELD_MM, GOOD, NAMES
from inspection.rendering.imprint import PAINTERS
from inspection.rendering.weld import CROSSED, draw_part, draw_weld
from inspection.training.data import ZONES, load, read_dataset, split_parts
from inspection.training.layouts import rendered
from inspection.training.layouts.rendered import (
    FAR,
    FIRST,
    RECIPE,
    SPLITS,
    WELDS,
    WeldFile,
    labels,
    part_name,
    render_missing,
    scenes,
    targets,
)
from inspection.training.recipe import (
    ClassDescription,
    DatasetDescription,
    Rendered,
    RenderedSplit,
    SplitRule,
)

CLASSES = tuple(ClassDescription(name=entry.name, severity=entry.severity) for entry in CATALOGUE)
TINY = Rendered(
    seed=2,
    domain="standard",
    welds=12,
    train=RenderedSplit(parts=2, defects=0.9),
    validation=RenderedSplit(parts=1, defects=0.9),
    test=RenderedSplit(parts=1, defects=0.9),
)


def describe(recipe: Rendered = TINY, **changes: object) -> DatasetDescription:
    settings: dict[str, object] = {
        "name": "welds",
        "layout": "rendered",
        "source": "drawn here",
        "licence": "CC0",
        "classes": CLASSES,
        "rendered": recipe,
        **changes,
    }
    return DatasetDescription(**settings)  # type: ignore[arg-type]


def with_test_parts(count: int) -> Rendered:
    """A recipe of nothing but test parts."""
    split = RenderedSplit(parts=count, defects=0.9)
    none = RenderedSplit(parts=0, defects=0.9)
    return Rendered(seed=2, domain="standard", welds=2, train=none, validation=none, test=split)


def silent(_: str) -> None:
    pass


def bytes_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny set. Whoever changes something in it, changes a copy."""
    root = tmp_path_factory.mktemp("drawn") / "welds"
    render_missing(describe(), root, progress=silent)
    return root


def truth_of(root: Path) -> list[tuple[Path, WeldFile]]:
    return [
        (file.parent, weld)
        for file in sorted(root.glob(f"*/{WELDS}"))
        for weld in msgspec.json.decode(file.read_bytes(), type=list[WeldFile])
    ]


# -------------------------------------------------------------------------------- what is drawn


def test_every_part_has_a_folder_with_a_picture_of_each_weld(drawn: Path) -> None:
    names = {part_name(s, k) for s in SPLITS for k in range(getattr(TINY, s).parts)}
    assert {path.name for path in drawn.iterdir()} == {RECIPE, *names}
    for split in SPLITS:
        for part in range(getattr(TINY, split).parts):
            folder = drawn / part_name(split, part)
            welds = [weld for where, weld in truth_of(drawn) if where == folder]
            assert [weld.label for weld in welds] == labels(TINY, split, part)
            listed = [f for w in welds for f in (w.file, w.mask, w.zones) if f is not None]
            assert {path.name for path in folder.iterdir()} == {WELDS, *listed}


def test_a_picture_has_the_size_that_is_written_of_it(drawn: Path) -> None:
    for folder, weld in truth_of(drawn):
        assert load(folder / weld.file).shape == (weld.size_px, weld.size_px, 3)


def test_a_mask_is_there_where_a_defect_has_pixels_and_nowhere_else(drawn: Path) -> None:
    seen = set()
    for folder, weld in truth_of(drawn):
        if not weld.borderline:  # what crosses a line by a hair may not fill a pixel
            assert (weld.mask is not None) == (weld.label in {*PAINTERS, *CROSSED}), weld
        if weld.mask is not None:
            mask = load(folder / weld.mask)
            assert mask.shape == (weld.size_px, weld.size_px)
            assert set(np.unique(mask)) == {0, 255}
            seen.add(weld.label)
    assert len(seen) >= 5, "the set is too small to say anything"


def test_zones_are_kept_for_training_alone(drawn: Path) -> None:
    for folder, weld in truth_of(drawn):
        assert (weld.zones is not None) == folder.name.startswith("train")


def test_the_own_zone_is_as_large_as_the_imprint_is_said_to_be(drawn: Path) -> None:
    own, measured = 1 << ZONES.index("own"), 0
    for folder, weld in truth_of(drawn):
        if weld.zones is None:
            continue
        bits = load(folder / weld.zones)
        assert bits.shape == (weld.size_px, weld.size_px)
        assert int(bits.max()) < 1 << len(ZONES)
        area_mm2 = np.count_nonzero(bits & own) * (FIELD_MM / weld.size_px) ** 2
        inside = weld.offset_mm + weld.diameter_mm / 2 < FIELD_MM / 2 - 0.3
        if weld.label == "missing":
            assert area_mm2 == 0
        elif inside:
            assert 2 * math.sqrt(area_mm2 / math.pi) == pytest.approx(weld.diameter_mm, rel=0.03)
            measured += 1
    assert measured >= 10


def test_an_edge_weld_reaches_beyond_the_sheet_and_an_overlapping_one_into_another(
    drawn: Path,
) -> None:
    own, other, beyond = (1 << bit for bit in range(3))
    met: Counter[str] = Counter()
    for folder, weld in truth_of(drawn):
        if weld.zones is None or weld.borderline or weld.label in {"missing", "burn-through"}:
            continue  # a hole burnt through it is no sheet either
        bits = load(folder / weld.zones)
        reaches = {
            "edge-weld": bool((bits & (own | beyond) == own | beyond).any()),
            "overlap": bool((bits & (own | other) == own | other).any()),
        }
        assert [name for name, there in reaches.items() if there] == (
            [weld.label] if weld.label in reaches else []
        )
        met[weld.label] += 1
    assert met["edge-weld"]
    assert met["overlap"]


# -------------------------------------------------------------------------- and taken up again


def test_a_set_that_is_there_is_not_drawn_again(drawn: Path, tmp_path: Path) -> None:
    root = tmp_path / "welds"
    shutil.copytree(drawn, root)
    said: list[str] = []
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    render_missing(describe(), root, progress=said.append)
    assert said == []
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_an_interrupted_run_goes_on_where_it_was(drawn: Path, tmp_path: Path) -> None:
    root = tmp_path / "welds"
    shutil.copytree(drawn, root)
    # Killed while it drew one part, and, in an earlier version, in the middle of another.
    whole, half = root / part_name("test", 0), root / part_name("train", 1)
    whole.rename(root / f".{whole.name}")
    (root / f".{whole.name}" / WELDS).unlink()
    (half / WELDS).unlink()
    (half / "999-torn.jpg").write_bytes(b"")
    kept = root / part_name("train", 0)
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    found = read_dataset(describe(), root).split  # whoever wants only the rest can have it
    assert found is not None
    assert (found.train, found.test) == ((), ())
    assert found.validation
    said: list[str] = []
    render_missing(describe(), root, progress=said.append)
    assert f"{2 * TINY.welds} welds of 2 parts" in said[0]
    assert bytes_of(root) == bytes_of(drawn)
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == before


def test_two_who_draw_the_same_set_do_not_tear_each_others_parts(
    drawn: Path, tmp_path: Path
) -> None:
    root = tmp_path / "welds"
    with ThreadPoolExecutor(2) as both:
        said: list[str] = []
        for _ in range(2):
            both.submit(render_missing, describe(), root, progress=said.append)
    assert sum("rendering" in line for line in said) == 1, said
    for folder, weld in truth_of(drawn):
        assert (root / folder.name / weld.file).read_bytes() == (folder / weld.file).read_bytes()


def test_a_folder_with_nothing_but_a_torn_split_says_how_to_go_on(
    drawn: Path, tmp_path: Path
) -> None:
    root = tmp_path / "welds"
    root.mkdir()
    shutil.copy(drawn / "recipe.json", root)
    shutil.copytree(drawn / part_name("train", 0), root / part_name("train", 0))
    with pytest.raises(DataError, match=r"holds 1 of 2 parts of train.*without --data"):
        read_dataset(describe(), root)


def test_only_the_splits_asked_for_are_drawn(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(with_test_parts(1), train=RenderedSplit(parts=3, defects=0.5))
    render_missing(describe(recipe), tmp_path, ["test"], progress=silent)
    assert {path.name for path in tmp_path.iterdir()} == {RECIPE, part_name("test", 0)}
    dataset = read_dataset(describe(recipe), tmp_path)
    assert dataset.split is not None
    assert dataset.split[:3] == ((), (), (part_name("test", 0),))


def test_a_folder_of_another_recipe_is_refused(drawn: Path) -> None:
    other = describe(msgspec.structs.replace(TINY, seed=3))
    for use in (render_missing, read_dataset):
        with pytest.raises(DataError, match=r"another recipe .*recipe\.json.*another folder"):
            use(other, drawn)


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"sun")
    for use in (render_missing, read_dataset):
        with pytest.raises(DataError, match="holds other things"):
            use(describe(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_set_goes_into_the_cache_unless_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mine = rendered.cache(describe())
    assert mine.parent.parent == tmp_path
    assert rendered.cache(describe(notes="said otherwise")) == mine
    assert rendered.cache(describe(msgspec.structs.replace(TINY, seed=3))) != mine
    named = tmp_path / "named"
    assert rendered.provide(describe(with_test_parts(0)), named) == named
    assert rendered.provide(describe(with_test_parts(0)), None).is_relative_to(tmp_path)


def test_a_set_with_other_classes_than_the_renderers_is_refused_by_name() -> None:
    short = describe(classes=CLASSES[:-1])
    strange = describe(
        classes=(*CLASSES, ClassDescription(name="rust", severity=CATALOGUE[1].severity))
    )
    with pytest.raises(DataError, match="'surface-damage'"):
        rendered.recipe_of(short)
    with pytest.raises(DataError, match="'rust'"):
        rendered.recipe_of(strange)


# ---------------------------------------------------------------------------------- and is read


def test_what_is_read_is_what_was_drawn(drawn: Path) -> None:
    dataset = read_dataset(describe(), drawn)
    truth = {folder / weld.file: weld for folder, weld in truth_of(drawn)}
    assert {picture.path for picture in dataset.pictures} == set(truth)
    assert dataset.unreadable == []
    for picture in dataset.pictures:
        weld = truth[picture.path]
        (point,) = picture.points
        assert (point.label, point.borderline) == (weld.label, weld.borderline)
        assert (point.region.width_px, point.region.height_px) == (weld.size_px, weld.size_px)
        assert np.array_equal(point.measures, targets(weld), equal_nan=True)
        assert picture.part == picture.path.parent.name
        for kept, name in ((picture.mask, weld.mask), (picture.zones, weld.zones)):
            assert (None if kept is None else kept.name) == name
    assert {picture.group for picture in dataset.of([part_name("train", 0)])} == {
        draw_part(TINY.seed, FIRST["train"], TINY.domain).steel.name
    }


def test_the_split_is_the_sets_own(drawn: Path) -> None:
    dataset = read_dataset(describe(), drawn)
    assert dataset.split is not None
    for split, parts in zip(SPLITS, dataset.split[:3], strict=True):
        assert parts == tuple(part_name(split, k) for k in range(getattr(TINY, split).parts))


def test_a_class_that_a_split_of_its_own_lacks_is_refused(drawn: Path) -> None:
    dataset = read_dataset(describe(), drawn)
    assert dataset.split is not None
    shown = {p.label for x in dataset.of(dataset.split.train) for p in x.points if not p.borderline}
    (first, *_) = (name for name in NAMES if name not in shown)
    with pytest.raises(DataError, match=f"no '{first}' point among the 2 parts for training"):
        split_parts(dataset, SplitRule())


def test_a_torn_list_of_welds_is_an_error_that_says_what_to_remove(
    drawn: Path, tmp_path: Path
) -> None:
    shutil.copytree(drawn, tmp_path / "welds")
    torn = tmp_path / "welds" / part_name("test", 0) / WELDS
    torn.write_bytes(torn.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"welds\.json: .*remove the folder"):
        read_dataset(describe(), tmp_path / "welds")


def weld(**changes: object) -> WeldFile:
    settings: dict[str, object] = {
        "file": "x.jpg", "mask": None, "zones": None, "label": GOOD, "borderline": False,
        "size_px": 160, "diameter_mm": 5.4, "offset_mm": 0.5, "edge_ratio": 1.5,
        "spacing_ratio": 2.0, "extent_mm": 0.0, **changes,
    }  # fmt: skip
    return WeldFile(**settings)  # type: ignore[arg-type]


def test_measures_are_in_units_of_their_limits_and_bounded() -> None:
    assert targets(weld()) == pytest.approx((1.2, 0.2, 1.5, 2.0))
    # No edge, no neighbour: as far as anything is told apart; and so is what lies beyond that.
    assert targets(weld(edge_ratio=None, spacing_ratio=9.0, offset_mm=99.0))[1:] == (FAR, FAR, FAR)


def test_a_weld_that_is_not_there_has_no_measures() -> None:
    gone = weld(label="missing", diameter_mm=0.0, edge_ratio=None, spacing_ratio=None)
    assert len(targets(gone)) == 4
    assert all(math.isnan(value) for value in targets(gone))


# ------------------------------------------------------------------------------ what is random


def test_defects_have_the_share_of_the_recipe_and_their_classes_equal_ones() -> None:
    recipe = Rendered(
        seed=7, domain="standard", welds=25, train=RenderedSplit(parts=800, defects=0.3)
    )
    count = Counter(label for part in range(800) for label in labels(recipe, "train", part))
    total = count.total()
    assert count[GOOD] / total == pytest.approx(0.7, abs=0.012)  # four deviations
    assert set(count) == set(NAMES)
    for name in DEFECTS:
        assert count[name] / total == pytest.approx(0.03, abs=0.005), name


@given(st.sampled_from(SPLITS), st.integers(0, 50), st.integers(0, 2**31))
def test_a_part_does_not_depend_on_how_many_others_there_are(
    split: str, part: int, seed: int
) -> None:
    few, many = (
        Rendered(seed=seed, domain="standard", welds=5,
                 **{split: RenderedSplit(parts=count, defects=0.5)})  # type: ignore[arg-type]
        for count in (51, 90_000)
    )  # fmt: skip
    assert labels(few, split, part) == labels(many, split, part)


def test_no_weld_of_one_split_is_in_another_however_large_they_are() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"parts": 90_001, "defects": 0.5}, RenderedSplit)
    numbers = [range(FIRST[split], FIRST[split] + 90_000) for split in SPLITS]
    for one, following in itertools.pairwise(numbers):
        assert one.stop <= following.start
    # A number is all that tells parts apart, and it does.
    welds = {repr(draw_weld(5, FIRST[s] + k, 0, GOOD)) for s in SPLITS for k in range(3)}
    assert len(welds) == 9


def test_the_same_recipe_has_the_same_scenes_and_another_one_others() -> None:
    found = scenes(TINY)
    assert len(found) == 64
    assert scenes(TINY) == found
    assert scenes(msgspec.structs.replace(TINY, scenes="what stands in the file")) == found
    for change in (
        {"seed": 3},
        {"domain": "shifted"},
        {"welds": 11},
        {"train": RenderedSplit(parts=2, defects=0.1)},
        {"test": RenderedSplit(parts=2, defects=0.9)},
    ):
        assert scenes(msgspec.structs.replace(TINY, **change)) != found, change
