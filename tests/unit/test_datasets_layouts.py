"""Layouts that other tools write are read as they stand, and no file of a folder is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from test_datasets_duplicates import part

from inspection.errors import DataError
from inspection.imaging import encode_png
from inspection.training.data import Dataset, count_files, read_dataset
from inspection.training.discover import describe
from inspection.training.recipe import DatasetDescription, Severity, Tiles, read_description

HIGH, WIDE = 60, 100


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(part(seed)[:HIGH, :WIDE]))
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def labels(dataset: Dataset) -> dict[str, str | None]:
    return {picture.path.name: picture.points[0].label for picture in dataset.pictures}


def coco(root: Path, **more: Any) -> Path:
    names = ("gut ü 1.png", "b.png", "c.png")
    for number, name in enumerate(names):
        save(root / "images" / name, number)
    table = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(names)],
        "categories": [
            {"id": 0, "name": "welds", "supercategory": "none"},
            {"id": 1, "name": "Riß"},
            {"id": 2, "name": "hole"},
        ],
        "annotations": [
            {"id": 10, "image_id": 1, "category_id": 2, "bbox": [10, 20, 30, 10]},
            {"id": 11, "image_id": 1, "category_id": 1, "bbox": [60, 0, 40.5, 10]},
            {"id": 12, "image_id": 2, "category_id": 1, "bbox": [0, 0, 100, 60]},
        ],
        **more,
    }
    write(root / "annotations" / "instances.json", json.dumps(table, ensure_ascii=False))
    return root


def yolo(root: Path, rows: str = "1 0.25 0.5 0.3 0.2\n0 0.8 0.5 0.2 0.2\n") -> Path:
    write(root / "data.yaml", "train: images/train\nnames: [Riß, hole, never]\n")
    for number, (split, name, text) in enumerate(
        [("train", "a 1", ""), ("train", "b", rows), ("val", "c", "0 0.1 0.1 0.4 0.1 0.4 0.6\n")]
    ):
        save(root / "images" / split / f"{name}.png", number)
        write(root / "labels" / split / f"{name}.txt", text)
    return root


def test_coco_pictures_have_the_label_of_their_worst_box_and_none_is_good(tmp_path: Path) -> None:
    root = coco(tmp_path / "weld set")
    found = describe(root)
    assert (found.layout, found.class_names) == ("coco", ("ok", "Riß", "hole"))
    dataset = read_dataset(found, root)
    assert labels(dataset) == {"gut ü 1.png": "ok", "b.png": "hole", "c.png": "Riß"}
    (shown,) = [p for p in dataset.pictures if p.path.name == "b.png"]
    assert shown.boxes[0] == (10, 20, 40, 30, "hole")
    assert shown.boxes[1] == (60, 0, 100, 10, "Riß")  # cut to the picture
    worse = tuple(
        c if c.name != "Riß" else type(c)(name="Riß", severity=Severity.CRITICAL)
        for c in found.classes
    )
    settings = {f: getattr(found, f) for f in found.__struct_fields__} | {"classes": worse}
    assert labels(read_dataset(DatasetDescription(**settings), root))["b.png"] == "Riß"
    tiles = settings | {"tiles": Tiles(width_px=50, height_px=60)}
    points = [
        [point.label for point in picture.points]
        for picture in read_dataset(DatasetDescription(**tiles), root).pictures
    ]
    assert points == [["hole", "Riß"], [None, "Riß"], ["ok", "ok"]]


def test_coco_with_an_annotated_good_class_takes_that_one(tmp_path: Path) -> None:
    good = [{"id": 1, "name": "Good"}, {"id": 2, "name": "hole"}]
    root = coco(tmp_path / "set", categories=good)
    assert describe(root).class_names == ("Good", "hole")
    assert labels(read_dataset(describe(root), root))["gut ü 1.png"] == "Good"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"annotations": [{"id": 5, "image_id": 9, "category_id": 1}]}, "5: there is no image 9"),
        (
            {"annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [90, 0, 30, 9]}]},
            r"instances\.json: annotation 5: .* is no box in a picture of 100 x 60",
        ),
        (
            {"annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 2]}]},
            r"annotation 5: bbox: .* is not \[left, top, width, height\]",
        ),
        ({"images": [{"id": "x"}], "annotations": []}, r"no COCO file: .*file_name"),
        ({"images": [{"id": 1, "file_name": "../../x.png"}]}, r"there is no image 2|leads out"),
    ],
)
def test_a_mistake_in_coco_is_named(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    root = coco(tmp_path / "set")
    description = describe(root)
    with pytest.raises(DataError, match=said):
        read_dataset(description, coco(root, **more))


def test_a_picture_that_coco_lists_and_nobody_has_is_listed(tmp_path: Path) -> None:
    root = coco(tmp_path / "set")
    (root / "images" / "c.png").unlink()
    dataset = read_dataset(describe(root), root)
    (missing,) = dataset.unreadable
    assert missing.path.name == "c.png"
    assert "not there" in missing.why
    assert count_files(dataset).missing == 1


def test_yolo_boxes_and_polygons_are_read_and_an_empty_file_is_good(tmp_path: Path) -> None:
    root = yolo(tmp_path / "weld set")
    found = describe(root)
    assert (found.layout, found.class_names) == ("yolo", ("ok", "Riß", "hole"))
    dataset = read_dataset(found, root)
    assert labels(dataset) == {"a 1.png": "ok", "b.png": "hole", "c.png": "Riß"}
    b, c = dataset.pictures[1].boxes, dataset.pictures[2].boxes
    assert b[0][:4] == pytest.approx((10, 24, 40, 36))
    assert c[0][:4] == pytest.approx((10, 6, 40, 36))


def test_a_yolo_picture_without_label_file_is_not_taken_for_a_good_one(tmp_path: Path) -> None:
    root = yolo(tmp_path / "set")
    (root / "labels" / "val" / "c.txt").unlink()
    dataset = read_dataset(describe(root), root)
    (unknown,) = dataset.unreadable
    assert "nothing says whether it is good" in unknown.why
    assert "c.png" not in labels(dataset)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("0 0.5 0.5 0.2\n", r"b\.txt:1: .* is not 'class x y width height'"),
        ("\n0 a b c d\n", r"b\.txt:2: "),
        ("7 0.5 0.5 0.2 0.2\n", r"b\.txt:1: class 7 has no name"),
        ("0 0.5 0.5 1.5 0.2\n", r"b\.txt:1: .* is no box in a picture"),
        ("0 nan 0.5 0.2 0.2\n", r"b\.txt:1: .* is no box in a picture"),
    ],
)
def test_a_mistake_in_yolo_is_named_with_its_line(tmp_path: Path, rows: str, said: str) -> None:
    root = yolo(tmp_path / "set", rows)
    with pytest.raises(DataError, match=said):
        read_dataset(describe(root), root)


def test_folders_of_classes_may_lie_in_folders_of_splits(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number, name in enumerate(["train/ok/a", "train/Riß/b", "valid/ok/c", "test/Riß/d e"]):
        save(root / f"{name}.png", number)
    found = describe(root)
    assert (found.layout, found.class_names) == ("folders", ("ok", "Riß"))
    dataset = read_dataset(found, root)
    assert labels(dataset) == {"a.png": "ok", "b.png": "Riß", "c.png": "ok", "d e.png": "Riß"}
    assert dataset.split is None


def test_a_table_of_a_spreadsheet_is_an_index(tmp_path: Path) -> None:
    root = tmp_path / "Schweißpunkte"
    save(root / "bilder" / "Punkt ä 1.png", 1)
    save(root / "bilder" / "Punkt ä 2.png", 2)
    rows = ["\ufeffimage;label;Schicht", "bilder/Punkt ä 1.png;i.O.;früh"]
    write(root / "Etiketten.csv", "\n".join([*rows, "bilder/Punkt ä 2.png;Riß;spät"]))
    dataset = read_dataset(describe(root), root)
    assert dataset.description.ok_class == "i.O."
    assert labels(dataset) == {"Punkt ä 1.png": "i.O.", "Punkt ä 2.png": "Riß"}
    said = "; ".join(dataset.warnings)
    assert "not used: 'Schicht'" in said
    assert "parts were guessed" in said


def test_what_could_be_two_layouts_is_refused(tmp_path: Path) -> None:
    root = coco(yolo(tmp_path / "set"))
    with pytest.raises(DataError, match="could be read as coco and as yolo"):
        describe(root)
    one = tmp_path / "tables"
    for name in ("a.csv", "b.csv"):
        write(one / name, "image,label\n")
    with pytest.raises(DataError, match=r"a\.csv and b\.csv could both be the index"):
        describe(one)


def mvtec(root: Path) -> Path:
    for number, name in enumerate(["train/good/a", "test/good/b", "test/Riß/c", "test/Riß/d"]):
        save(root / f"{name}.png", number)
    save(root / "ground_truth" / "Riß" / "c_mask.png", 9)
    return root


def folders(root: Path) -> Path:
    for number, name in enumerate(["ok/a", "ok/b c", "Riß/d", "Riß/e"]):
        save(root / f"{name}.png", number)
    return root


def index(root: Path) -> Path:
    rows = ["image,part,label"]
    for number in range(4):
        save(root / f"{number}.png", number)
        rows.append(f"{number}.png,P{number},{'Riß' if number % 2 else 'ok'}")
    rows.append("nowhere.png,P9,ok")
    write(root / "index.csv", "\n".join(rows))
    return root


def pairs(root: Path) -> Path:
    for number in range(3):
        save(root / "images" / f"{number}_test.png", number)
        save(root / "images" / f"{number}_temp.png", number)
        write(root / "annotations" / f"{number}.txt", "10 10 20 20 1\n" if number else "")
    write(
        root / "dataset.toml",
        'name = "p"\nlayout = "deeppcb"\nsource = ""\nlicence = ""\n'
        '[tiles]\nwidth_px = 20\nheight_px = 20\n[[classes]]\nname = "ok"\n'
        '[[classes]]\nname = "Riß"\ncode = "1"\nseverity = "major"\n',
    )
    return root


@pytest.mark.parametrize("layout", [folders, index, mvtec, coco, yolo, pairs])
def test_every_file_is_used_or_listed_with_a_reason(tmp_path: Path, layout: Any) -> None:
    root = layout(tmp_path / "Ordner mit Umlauten äöü ß")
    shown = next(p for p in sorted(root.rglob("*.png")) if "ground_truth" not in p.parts)
    home = shown.parent
    deep = np.full((30, 30), 40_000, np.uint16)
    (home / "tief 16 bit.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    (home / "kaputt.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (home / "leer.jpg").write_bytes(b"")
    (home / "bild.webp").write_bytes(b"RIFF")
    (home / "Notizen.md").write_text("nichts")
    clear = np.dstack([part(77)[:HIGH, :WIDE]] * 3 + [np.full((HIGH, WIDE), 128, np.uint8)])
    shown.write_bytes(cv2.imencode(".png", clear)[1].tobytes())
    dataset = read_dataset(describe(root), root)
    files = count_files(dataset)
    assert files.found == sum(path.is_file() for path in root.rglob("*"))
    assert files.found == files.used + files.unreadable + files.ignored
    assert all(entry.why for entry in [*dataset.unreadable, *dataset.ignored])
    listed = {e.path.name: e.why for e in [*dataset.unreadable, *dataset.ignored]}
    assert {"tief 16 bit.png", "kaputt.png", "leer.jpg", "bild.webp", "Notizen.md"} <= set(listed)
    assert "WEBP pictures are not read" in listed["bild.webp"]
    if layout in (folders, mvtec):
        assert "tone map" in listed["tief 16 bit.png"]
    assert dataset.alpha == [shown]
    assert files.missing == (layout is index)


def test_a_rendered_set_accounts_for_its_files_too(tmp_path: Path) -> None:
    from inspection.training.layouts import rendered

    path = Path(__file__).parents[2] / "datasets" / "rendered-spot-weld" / "standard.toml"
    description = read_description(path)
    assert description.rendered is not None
    few = type(description.rendered.train)(parts=1, defects=0.5)
    none = type(few)(parts=0, defects=0.5)
    told = {f: getattr(description.rendered, f) for f in description.rendered.__struct_fields__}
    told |= {"train": few, "validation": none, "test": none, "welds": 4}
    settings = {f: getattr(description, f) for f in description.__struct_fields__}
    settings["rendered"] = type(description.rendered)(**told)
    small = DatasetDescription(**settings)
    rendered.render_missing(small, tmp_path / "welds")
    dataset = read_dataset(small, tmp_path / "welds")
    files = count_files(dataset)
    assert files.found == files.used + files.unreadable + files.ignored
    assert files.used >= 4
