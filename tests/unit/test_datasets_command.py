"""`inspection datasets`: all that is wrong is said, and no conversion loses a label."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest
from test_datasets_duplicates import jpeg, part
from test_datasets_layouts import coco, folders, index, mvtec, pairs, yolo

from inspection.__main__ import main
from inspection.imaging import encode_png
from inspection.training.data import Dataset, read_dataset, split_parts
from inspection.training.discover import describe
from inspection.training.findings import examine


def save(path: Path, number: int, side: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(part(number, side=side)))
    return path


def welds(root: Path, good: int = 14, bad: int = 10) -> Path:
    for number in range(good + bad):
        save(root / ("ok" if number < good else "Riß") / f"Teil {number} ä.png", number)
    return root


def run(*words: object, code: int = 0) -> None:
    assert main(["datasets", *map(str, words)]) == code


def test_a_sound_data_set_is_told_what_training_would_make_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("check", welds(tmp_path / "Schweiß punkte"), "--part", r"(Teil \d+)")
    said = capsys.readouterr().out
    assert "24 pictures of 24 parts; points: ok 14, Riß 10" in said
    assert "24 files = 24 used + 0 unreadable + 0 not used" in said
    assert re.search(r"training would take it; parts: \d+ train, \d+ validation, \d+ test", said)
    assert "warning" not in said


def test_everything_that_is_wrong_is_said_and_the_exit_code_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = welds(tmp_path / "welds")
    save(root / "Loch" / "Teil 99.png", 99)
    (root / "ok" / "Teil 98.png").write_bytes(b"nothing")
    deep = np.full((20, 20), 30_000, np.uint16)
    (root / "ok" / "Teil 97.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    clear = np.dstack([part(77, side=64)] * 3 + [np.full((64, 64), 128, np.uint8)])
    (root / "ok" / "Teil 96.png").write_bytes(cv2.imencode(".png", clear)[1].tobytes())
    (root / "ok" / "Teil 95.png").write_bytes(encode_png(jpeg(part(0, side=64))))
    (root / "ok" / "Teil 94.webp").write_bytes(b"RIFF")
    run("check", root, "--part", r"(Teil \d+)", code=1)
    said = capsys.readouterr().out
    assert "2 unreadable (1 of more than 8 bits):" in said
    assert "ok/Teil 98.png: " in said
    assert "ok/Teil 97.png: uint16 pixels" in said
    assert "1 pictures with transparency, which is dropped: ok/Teil 96.png" in said
    assert "ok/Teil 94.webp: WEBP pictures are not read" in said
    assert "class 'Loch' has a single example" in said
    assert "1 pairs of near-duplicates, 1 of different parts:" in said
    assert "ok/Teil 0 ä.png = ok/Teil 95.png" in said
    assert "training would refuse: " in said
    assert "class 'Loch' has 1 example ('Teil 99')" in said


def test_a_page_has_every_finding_with_its_pictures_and_needs_no_network(tmp_path: Path) -> None:
    root = welds(tmp_path / "welds", 16, 12)
    dark = cv2.convertScaleAbs(part(300, side=64), alpha=0.15)
    for number in range(16):  # ok ones are light, cracks dark; one of each lies in the wrong folder
        save(root / "ok" / f"Teil {number} ä.png", number)
    for number in range(16, 28):
        shade = cv2.convertScaleAbs(part(number, side=64), alpha=0.15)
        (root / "Riß" / f"Teil {number} ä.png").write_bytes(encode_png(shade))
    (root / "ok" / "Teil 50.png").write_bytes(encode_png(dark))
    save(root / "Riß" / "Teil 51 <b>.png", 51)
    run("check", root, "--part", r"(Teil \d+)", "--out", tmp_path / "out")
    page = (tmp_path / "out" / "check.html").read_text("utf-8")
    told = json.loads((tmp_path / "out" / "check.json").read_text("utf-8"))
    doubts = [(d["file"], d["label"], d["looks_like"]) for d in told["label_errors"]]
    assert set(doubts[:2]) == {
        ("ok/Teil 50.png", "ok", "Riß"),
        ("Riß/Teil 51 <b>.png", "Riß", "ok"),
    }
    assert len(doubts) <= 4
    assert page.count("data:image/jpeg;base64,") == len(doubts)
    assert "Teil 51 &lt;b&gt;.png" in page
    assert not re.search(r"(src|href)=.?https?:", page)
    assert told["files"]["found"] == 30


def test_stats_count_points_pictures_parts_and_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("stats", welds(tmp_path / "welds"), "--part", r"(Teil \d)")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1] == ["ok", "14", "14", "10", *["64", "x", "64", "64", "x", "64", "64", "x", "64"]]
    assert rows[2] == ["Riß", "10", "10", "2", *["64", "x", "64", "64", "x", "64", "64", "x", "64"]]


def test_a_split_is_written_as_training_would_make_it(tmp_path: Path) -> None:
    root, out = welds(tmp_path / "welds"), tmp_path / "split.json"
    run("split", root, "--part", r"(Teil \d+)", "--seed", 3, "--out", out)
    told = json.loads(out.read_text("utf-8"))
    dataset = read_dataset(describe(root, part=r"(Teil \d+)"), root)
    rule = type(dataset.description.split)(seed=3)
    assert told.pop("dataset") == dataset.sha256
    assert {k: tuple(v) for k, v in told.items()} == split_parts(dataset, rule)._asdict()
    run("split", root, "--part", r"(Teil \d+)", "--folds", 4, "--out", out)
    found = json.loads(out.read_text("utf-8"))["folds"]
    assert sorted(name for parts in found for name in parts) == dataset.parts
    run("split", root, "--part", r"(Teil \d+)", "--by", "time", "--out", out, code=1)


def what(dataset: Dataset) -> Counter[tuple[object, ...]]:
    """Everything of a data set that an import must keep."""
    return Counter(
        (picture.path.name, picture.part, picture.group, point.region, point.label)
        for picture in dataset.pictures
        for point in picture.points
    )


@pytest.mark.parametrize("layout", [folders, index, mvtec, coco, yolo, pairs])
def test_any_layout_imported_reads_back_with_the_same_points(
    tmp_path: Path, layout: object, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = layout(tmp_path / "Quelle ö"), tmp_path / "Ziel ü"  # type: ignore[operator]
    (root / "notes.txt").write_text("no picture")
    run("import", root, "--out", out)
    before, after = read_dataset(describe(root), root), read_dataset(describe(out), out)
    assert what(after) == what(before)
    assert after.description.class_names == before.description.class_names
    for one, other in zip(before.pictures, after.pictures, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()
        assert (one.mask is None, one.reference is None) == (
            other.mask is None,
            other.reference is None,
        )
    assert "notes.txt" in (out / "not-used.csv").read_text("utf-8")
    assert "files were not copied" in capsys.readouterr().out
    run("import", root, "--out", out, code=1)
    assert "holds something already" in capsys.readouterr().err


@pytest.mark.parametrize("layout", [folders, mvtec, coco, yolo])
def test_what_was_exported_to_coco_reads_back_with_the_same_labels(
    tmp_path: Path, layout: object
) -> None:
    root, out = layout(tmp_path / "welds ö"), tmp_path / "coco"  # type: ignore[operator]
    run("export", root, "--to", "coco", "--out", out)
    before = read_dataset(describe(root), root)
    after = read_dataset(describe(out, ok=before.description.ok_class), out)
    assert [p.points[0].label for p in after.pictures] == [
        p.points[0].label for p in before.pictures
    ]
    boxes = [[box[:4] for box in p.boxes] for p in before.pictures]
    if any(boxes):
        found = [[pytest.approx(box[:4]) for box in p.boxes] for p in after.pictures]
        assert boxes == found


def test_fiftyone_gets_classes_of_pictures_or_boxes(tmp_path: Path) -> None:
    root, out = folders(tmp_path / "welds"), tmp_path / "classes"
    run("export", root, "--to", "fiftyone", "--out", out)
    told = json.loads((out / "labels.json").read_text("utf-8"))
    assert told["classes"] == ["ok", "Riß"]
    assert sorted(told["labels"].values()) == [0, 0, 1, 1]
    assert {path.stem for path in (out / "data").iterdir()} == set(told["labels"])
    boxes = tmp_path / "boxes"
    run("export", coco(tmp_path / "coco"), "--to", "fiftyone", "--out", boxes)
    told = json.loads((boxes / "labels.json").read_text("utf-8"))
    (b,) = [labels for key, labels in told["labels"].items() if key.endswith("-b")]
    assert b[0]["bounding_box"] == pytest.approx([0.1, 1 / 3, 0.3, 1 / 6])
    assert told["classes"][b[0]["label"]] == "hole"
    assert [len(labels) for labels in told["labels"].values()].count(0) == 1


def test_label_studio_gets_tasks_and_the_interface_that_fits_them(tmp_path: Path) -> None:
    out = tmp_path / "studio"
    run("export", coco(tmp_path / "coco"), "--to", "labelstudio", "--out", out)
    tasks = json.loads((out / "tasks.json").read_text("utf-8"))
    shape = ET.parse(out / "interface.xml").getroot()
    controls = {tag.get("name"): tag.get("toName") for tag in shape if tag.get("toName")}
    classes = [tag.get("value") for tag in shape.iter("Choice")]
    assert classes == ["ok", "Riß", "hole"]
    for task in tasks:
        path = task["data"]["image"].partition("?d=")[2]
        assert (tmp_path / path).is_file()
        for entry in task["annotations"][0]["result"]:
            assert controls[entry["from_name"]] == entry["to_name"]
    (b,) = [t for t in tasks if t["data"]["image"].endswith("/b.png")]
    choice, box, _ = b["annotations"][0]["result"]
    assert choice["value"] == {"choices": ["hole"]}
    assert box["value"]["rectanglelabels"] == ["hole"]
    shares = [box["value"][side] for side in ("x", "y", "width", "height")]
    assert shares == pytest.approx([10, 100 / 3, 30, 100 / 6])


def test_findings_hold_every_list_in_full(tmp_path: Path) -> None:
    root = welds(tmp_path / "welds")
    for number in range(40):
        (root / "ok" / f"broken {number}.png").write_bytes(b"")
    findings = examine(read_dataset(describe(root), root))
    assert len(findings.unreadable) == 40
    assert findings.files.unreadable == 40
    with (root / "x.csv").open("w") as stream:
        csv.writer(stream).writerow(["nothing"])
    assert len(examine(read_dataset(describe(root), root)).ignored) == 1
