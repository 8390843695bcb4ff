"""Splits: by part and by time, never torn by a near-duplicate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_datasets_duplicates import jpeg, part

from inspection.errors import DataError
from inspection.imaging import Frame, encode_png
from inspection.messages import Region
from inspection.training.data import (
    Dataset,
    LabelledPoint,
    Picture,
    folds,
    read_dataset,
    split_parts,
)
from inspection.training.discover import describe
from inspection.training.duplicates import check_leaks, join_twins
from inspection.training.recipe import SplitRule

WHOLE = Region(left_px=0, top_px=0, width_px=9, height_px=9)


def save(path: Path, frame: Frame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(frame))
    return path


def welds(root: Path, good: int = 12, bad: int = 8) -> Path:
    """Parts with one picture each, all different."""
    for number in range(good + bad):
        kind = "ok" if number < good else "Riß"
        save(root / kind / f"part {number}_a.png", part(number, side=80))
    return root


def dataset_of(root: Path, expression: str | None = r"(part \d+)_") -> Dataset:
    dataset = read_dataset(describe(root, part=expression), root)
    join_twins(dataset)
    return dataset


def test_parts_that_show_the_same_are_never_divided(tmp_path: Path) -> None:
    root = welds(tmp_path / "welds")
    for number in range(10):
        save(root / "ok" / f"part {number + 100}_b.png", jpeg(part(number, side=80)))
    dataset = dataset_of(root)
    split = split_parts(dataset, SplitRule(validation=0.25, test=0.25))
    check_leaks(dataset, split)
    for shares in split:
        numbers = {int(name.split()[1]) for name in shares}
        assert {n + 100 for n in numbers if n < 10} == {n for n in numbers if n >= 100}
    (warning,) = dataset.warnings
    assert "10 pairs of near-duplicate pictures belong to different parts" in warning


def test_without_a_part_near_duplicates_are_one_and_the_warning_says_that_it_is_a_guess(
    tmp_path: Path,
) -> None:
    root = welds(tmp_path / "welds", good=3, bad=3)
    save(root / "ok" / "zz.png", jpeg(part(0, side=80)))
    dataset = dataset_of(root, None)
    assert len(dataset.parts) == 6
    shown = {p.part for p in dataset.pictures if p.path.stem in ("zz", "part 0_a")}
    assert shown == {"ok/part 0_a"}
    (warning,) = dataset.warnings
    assert "parts were guessed" in warning
    assert "7 pictures were taken for 6 parts" in warning


def test_a_class_with_one_picture_is_refused_by_name_and_file(tmp_path: Path) -> None:
    root = welds(tmp_path / "welds")
    save(root / "Loch groß" / "part 77_a.png", part(77))
    with pytest.raises(
        DataError, match=r"class 'Loch groß' has 1 example \('part 77'\): .*add examples of other"
    ):
        split_parts(dataset_of(root), SplitRule())


def test_a_class_of_two_parts_is_learnt_from_one_and_checked_on_the_other(tmp_path: Path) -> None:
    root = welds(tmp_path / "welds", good=60)
    for number in (200, 201):
        save(root / "Loch" / f"part {number}_a.png", part(number, side=80))
    dataset = dataset_of(root)
    for seed in range(5):
        split = split_parts(dataset, SplitRule(seed=seed))
        rare = {"part 200", "part 201"}
        assert len(rare & set(split.train)) == 1
        assert len(rare & set(split.validation)) == 1
        assert 0.1 <= len(split.test) / len(dataset.parts) <= 0.25


def timed(root: Path, times: list[str]) -> Path:
    rows = ["image,part,label,time"]
    for number, time in enumerate(times):
        save(root / f"{number}.png", part(number, side=80))
        rows.append(f"{number}.png,P{number:02d},{'ok' if number % 2 else 'crack'},{time}")
    (root / "index.csv").write_text("\n".join(rows) + "\n", "utf-8")
    return root


def test_by_time_the_newest_parts_are_the_test(tmp_path: Path) -> None:
    times = [f"2026-03-{20 - number:02d}T06:00:00Z" for number in range(20)]
    dataset = dataset_of(timed(tmp_path / "welds", times), None)
    split = split_parts(dataset, SplitRule(by="time", test=0.25))
    assert split.test == ("P00", "P01", "P02", "P03", "P04")
    assert not dataset.warnings


@pytest.mark.parametrize(
    ("time", "said"),
    [("", r"has no time, but the split is by time"), ("3rd of May", r"index\.csv:3: time: ")],
)
def test_a_time_that_is_missing_or_none_is_refused(tmp_path: Path, time: str, said: str) -> None:
    root = timed(tmp_path / "welds", ["2026-03-01", time, "2026-03-02", "2026-03-03T00:00+02:00"])
    with pytest.raises(DataError, match=said):
        split_parts(dataset_of(root, None), SplitRule(by="time", test=0.25))


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from(["good", "crack", "hole"])),
        min_size=6,
        max_size=60,
    ),
    st.integers(2, 5),
    st.integers(0, 3),
)
def test_every_part_is_tested_in_exactly_one_fold(
    shown: list[tuple[int, str]], count: int, seed: int
) -> None:
    dataset = Dataset(description=None, root=Path())  # type: ignore[arg-type]
    for number, (name, label) in enumerate(shown):
        point = LabelledPoint("whole", WHOLE, label)
        dataset.pictures.append(Picture(Path(f"{number}.png"), f"p{name}", "", (point,)))
    if count > len(dataset.parts):
        with pytest.raises(DataError, match="cannot make"):
            folds(dataset, count, seed)
        return
    found = folds(dataset, count, seed)
    assert sorted(part for parts in found for part in parts) == dataset.parts
    assert found == folds(dataset, count, seed)
    assert all(found)


def test_folds_spread_rare_classes(tmp_path: Path) -> None:
    dataset = dataset_of(welds(tmp_path / "welds", good=30, bad=6))
    for parts in folds(dataset, 3):
        labels = [p.points[0].label for p in dataset.of(parts)]
        assert (labels.count("Riß"), labels.count("ok")) == (2, 10)


def test_folds_keep_near_duplicates_together(tmp_path: Path) -> None:
    root = welds(tmp_path / "welds")
    save(root / "ok" / "part 100_b.png", jpeg(part(0, side=80)))
    found = folds(dataset_of(root), 4, seed=3)
    (home,) = [parts for parts in found if "part 0" in parts]
    assert "part 100" in home
    assert np.ptp([len(parts) for parts in found]) <= 2
