"""Reading labelled pictures and splitting them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection import imaging
from inspection.errors import DataError
from inspection.messages import Region, Severity
from inspection.training.data import (
    Box,
    Dataset,
    LabelledPoint,
    Picture,
    label_of,
    read_dataset,
    split_parts,
    tile,
)
from inspection.training.recipe import ClassDescription, DatasetDescription, SplitRule, Tiles

CLASSES = (
    ClassDescription(name="good"),
    ClassDescription(name="crack", severity=Severity.CRITICAL, code="1"),
)


def describe(layout: str, **more: object) -> DatasetDescription:
    settings: dict[str, object] = {
        "name": "set",
        "layout": layout,
        "source": "drawn here",
        "licence": "CC0",
        "classes": CLASSES,
        **more,
    }
    return DatasetDescription(**settings)  # type: ignore[arg-type]


def picture(path: Path, side: int = 40, shade: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imaging.encode_png(np.full((side, side), shade, np.uint8)))
    return path


def folders(root: Path) -> Path:
    for part in range(4):
        for row in range(2):
            picture(root / "good" / f"p{part}_row{row}.png", shade=10 * part + row)
            picture(root / "1" / f"q{part}_row{row}.png", shade=200 + 2 * part + row)
    return root


def test_a_folder_is_a_class(tmp_path: Path) -> None:
    dataset = read_dataset(describe("folders", part=r"/(\w+)_row"), folders(tmp_path))
    assert [p.points[0].label for p in dataset.pictures] == ["crack"] * 8 + ["good"] * 8
    assert dataset.parts == [f"{letter}{n}" for letter in "pq" for n in range(4)]
    assert dataset.warnings == []


def test_without_an_expression_for_the_part_a_warning_says_so(tmp_path: Path) -> None:
    dataset = read_dataset(describe("folders"), folders(tmp_path))
    assert len(dataset.parts) == 16
    assert len(dataset.warnings) == 1
    assert "part" in dataset.warnings[0]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_picture_is_listed_and_never_dropped_in_silence(
    tmp_path: Path, content: bytes
) -> None:
    folders(tmp_path)
    broken = tmp_path / "good" / "broken.png"
    broken.write_bytes(content)
    dataset = read_dataset(describe("folders"), tmp_path)
    assert [entry.path for entry in dataset.unreadable] == [broken]
    assert dataset.unreadable[0].why
    assert len(dataset.pictures) == 16


def test_a_folder_that_is_no_class_is_refused_by_name(tmp_path: Path) -> None:
    picture(folders(tmp_path) / "cracks" / "x.png")
    with pytest.raises(DataError, match="'cracks' is no class"):
        read_dataset(describe("folders"), tmp_path)


def test_a_class_without_its_folder_is_refused_by_name(tmp_path: Path) -> None:
    picture(tmp_path / "good" / "x.png")
    with pytest.raises(DataError, match="no folder '1' for class 'crack'"):
        read_dataset(describe("folders"), tmp_path)


def test_a_part_expression_that_finds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="finds nothing"):
        read_dataset(describe("folders", part=r"(body\d+)"), folders(tmp_path))


def test_an_unknown_layout_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="layout 'mosaic' is none of"):
        read_dataset(describe("mosaic"), tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        read_dataset(describe("folders"), tmp_path / "nowhere")
    (tmp_path / "good").mkdir()
    (tmp_path / "1").mkdir()
    with pytest.raises(DataError, match="no readable picture"):
        read_dataset(describe("folders"), tmp_path)


def index(root: Path, *rows: str, header: str = "image,part,region,label,group") -> Path:
    picture(root / "a.png")
    picture(root / "b.png")
    (root / "index.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


def test_an_index_names_points_parts_and_groups(tmp_path: Path) -> None:
    root = index(tmp_path, "a.png,A,0 0 20 20,good,g", "a.png,A,20 20 20 20,1,g", "b.png,B,,,h")
    dataset = read_dataset(describe("index"), root)
    first, second = dataset.pictures
    assert [point.label for point in first.points] == ["good", "crack"]
    assert (first.part, first.group, second.part, second.group) == ("A", "g", "B", "h")
    assert first.points[1].region == Region(left_px=20, top_px=20, width_px=20, height_px=20)
    assert second.points[0].label is None
    assert second.points[0].region.width_px == 40


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("a.png,A,0 0 20,good,g", r"index\.csv:3: region"),
        ("a.png,A,30 0 20 20,good,g", r"index\.csv:3: region: .* reaches out"),
        ("a.png,A,nan 0 20 20,good,g", r"index\.csv:3: region"),
        ("a.png,A,0 0 20 20,bad,g", r"index\.csv:3: label: 'bad'"),
        ("a.png,,0 0 20 20,good,g", r"index\.csv:3: part"),
        ("b.png,Z,0 0 20 20,good,g", r"index\.csv:3: part"),
        ("a.png,A,0 0 20 20", r"index\.csv:3: .* number of cells"),
        (",A,0 0 20 20,good,g", r"index\.csv:3: image"),
        ("../a.png,A,0 0 20 20,good,g", r"index\.csv:3: image: .* leads out"),
    ],
)
def test_a_mistake_in_an_index_is_named_with_line_and_column(
    tmp_path: Path, row: str, expected: str
) -> None:
    with pytest.raises(DataError, match=expected):
        read_dataset(describe("index"), index(tmp_path, "b.png,B,,good,h", row))


def test_an_index_without_a_column_is_refused(tmp_path: Path) -> None:
    root = index(tmp_path, "a.png,A,,good", header="image,part,region,lable")
    with pytest.raises(DataError, match="label: this column is missing"):
        read_dataset(describe("index"), root)


def test_a_missing_picture_of_an_index_is_listed(tmp_path: Path) -> None:
    dataset = read_dataset(
        describe("index"), index(tmp_path, "a.png,A,,good,", "missing.png,M,,1,")
    )
    assert [entry.path.name for entry in dataset.unreadable] == ["missing.png"]


def pairs(root: Path, annotation: str = "10 10 20 20 1\n") -> Path:
    picture(root / "images" / "00001_test.png")
    picture(root / "images" / "00001_temp.png")
    (root / "annotations").mkdir()
    (root / "annotations" / "00001.txt").write_text(annotation)
    return root


PAIRS = describe("deeppcb", part=r"(\d+)_test", tiles=Tiles(width_px=20, height_px=20))


def test_a_pair_becomes_points_with_its_template_as_reference(tmp_path: Path) -> None:
    (found,) = read_dataset(PAIRS, pairs(tmp_path)).pictures
    assert found.reference == tmp_path / "images" / "00001_temp.png"
    labels = {point.id: point.label for point in found.points}
    assert labels == {"r00c00": "crack", "r00c01": "good", "r01c00": "good", "r01c01": "good"}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("10 10 20 20\n", r"00001\.txt:1: .* is not"),
        ("1 1 2 2 1\n10 x 20 20 1\n", r"00001\.txt:2: .* is not"),
        ("10 10 20 20 9\n", r"00001\.txt:1: type: '9'"),
        ("10 10 20 50 1\n", r"00001\.txt:1: .* no box"),
        ("20 10 10 20 1\n", r"00001\.txt:1: .* no box"),
        ("nan 10 10 20 1\n", r"00001\.txt:1: .* no box"),
    ],
)
def test_a_mistake_in_an_annotation_is_named_with_its_line(
    tmp_path: Path, annotation: str, expected: str
) -> None:
    with pytest.raises(DataError, match=expected):
        read_dataset(PAIRS, pairs(tmp_path, annotation))


def test_a_picture_without_annotation_is_not_taken_for_a_good_one(tmp_path: Path) -> None:
    pairs(tmp_path)
    picture(tmp_path / "images" / "00002_test.png")
    dataset = read_dataset(PAIRS, tmp_path)
    assert dataset.parts == ["00001"]
    assert [entry.path.name for entry in dataset.unreadable] == ["00002_test.png"]


def test_a_region_is_defective_only_if_it_holds_a_centre() -> None:
    region = Region(left_px=0, top_px=0, width_px=64, height_px=64)
    inside, reaching, outside = (
        Box(50, 50, 77, 77, "crack"),  # centre at 63.5
        Box(50, 50, 78, 78, "crack"),  # centre at 64
        Box(64, 0, 80, 20, "crack"),
    )
    assert label_of(region, [inside], "good") == "crack"
    assert label_of(region, [reaching], "good") is None
    assert label_of(region, [outside], "good") == "good"
    assert label_of(region, [reaching, inside], "good") == "crack"


@given(st.integers(8, 200), st.integers(8, 200), st.integers(8, 64), st.integers(8, 64))
def test_tiles_cover_every_pixel_and_none_leaves_the_picture(
    width: int, height: int, wide: int, high: int
) -> None:
    covered = np.zeros((height, width), bool)
    points = tile(width, height, (wide, high), (), "good")
    for point in points:
        left, top = int(point.region.left_px), int(point.region.top_px)
        right = left + int(point.region.width_px)
        bottom = top + int(point.region.height_px)
        assert right <= width
        assert bottom <= height
        covered[top:bottom, left:right] = True
    assert covered.all()
    assert len({point.id for point in points}) == len(points)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), min_size=1, max_size=80),
    st.integers(0, 5),
    st.floats(0.05, 0.4),
    st.floats(0.0, 0.4),
    st.booleans(),
)
def test_train_validation_and_test_never_share_a_part(
    shown: list[tuple[int, str]], seed: int, validation: float, test: float, named: bool
) -> None:
    both = tuple(
        LabelledPoint(f"p{k}", Region(left_px=0, top_px=0, width_px=9, height_px=9), label)
        for k, label in enumerate(("good", "crack"))
    )
    dataset = Dataset(describe("folders"), Path())
    for number, (part, group) in enumerate(shown):
        path = Path(f"{number}.png")
        dataset.pictures.append(Picture(path, f"part{part}", f"{group}{part}", both))
    chosen = dataset.parts[::3] if named else None
    rule = SplitRule(validation=validation, test=test, seed=seed)
    try:
        split = split_parts(dataset, rule, chosen)
    except DataError:
        return  # too few parts to divide; said, not guessed
    everything = [*split.train, *split.validation, *split.test]
    assert len(everything) == len(set(everything))
    assert sorted(everything) == dataset.parts
    if chosen is not None:
        assert split.test == tuple(sorted(chosen))
    assert split == split_parts(dataset, rule, chosen)
    shown_in = [{p.path for p in dataset.of(parts)} for parts in split[:3]]
    train, check, final = shown_in
    assert train.isdisjoint(check)
    assert train.isdisjoint(final)
    assert check.isdisjoint(final)


def test_a_split_without_an_example_of_a_class_is_refused(tmp_path: Path) -> None:
    for part in range(6):
        picture(tmp_path / "good" / f"p{part}.png", shade=part)
    picture(tmp_path / "1" / "only.png")
    dataset = read_dataset(describe("folders"), tmp_path)
    with pytest.raises(DataError, match="no 'crack' point among"):
        split_parts(dataset, SplitRule(validation=0.3, test=0.0))


def test_a_test_part_nobody_knows_is_refused(tmp_path: Path) -> None:
    dataset = read_dataset(describe("folders"), folders(tmp_path))
    with pytest.raises(DataError, match="no part 'p9'"):
        split_parts(dataset, SplitRule(), ["p9"])


def test_the_data_hash_changes_with_a_label_and_with_a_pixel(tmp_path: Path) -> None:
    first = read_dataset(PAIRS, pairs(tmp_path)).sha256
    assert read_dataset(PAIRS, tmp_path).sha256 == first
    (tmp_path / "annotations" / "00001.txt").write_text("11 10 20 20 1\n")
    second = read_dataset(PAIRS, tmp_path).sha256
    picture(tmp_path / "images" / "00001_temp.png", shade=91)
    third = read_dataset(PAIRS, tmp_path).sha256
    assert len({first, second, third}) == 3
