"""Taught views: pictures in the plan's folder are part of the plan, of its hash and of orders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec import UNSET

from inspection import imaging
from inspection.errors import PlanError
from inspection.plan import Plan, decode_plan, encode_plan, read_plan

TOML = """\
[plan]
name = "door"
version = "1"
deadline_ms = 5000
points = "points.csv"

[kinds.spot-weld]
model = "spot-weld"

[[view]]
id = "left"
camera = "camera-1"
width_px = 640
height_px = 480
overview = "taught/left.png"

[[view.datum]]
id = "a"
x_px = 100.5
y_px = 90
picture = "taught/left.a.png"

[[view.datum]]
id = "b"
x_px = 500
y_px = 400
picture = "taught/left.b.png"
"""
CSV = (
    "id,view,kind,left_px,top_px,width_px,height_px,severity\nP1,left,spot-weld,10,20,64,64,major\n"
)


def png(width: int, height: int, seed: int = 0) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width), np.uint8)
    return imaging.encode_png(noise)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "taught").mkdir()
    (tmp_path / "plan.toml").write_text(TOML)
    (tmp_path / "points.csv").write_text(CSV)
    (tmp_path / "taught" / "left.png").write_bytes(png(40, 30))
    (tmp_path / "taught" / "left.a.png").write_bytes(png(96, 96, 1))
    (tmp_path / "taught" / "left.b.png").write_bytes(png(96, 96, 2))
    return tmp_path


def read(folder: Path) -> Plan:
    return read_plan(folder / "plan.toml")


def problems(folder: Path) -> list[str]:
    with pytest.raises(PlanError) as caught:
        read(folder)
    return [str(problem) for problem in caught.value.problems]


def test_a_taught_view_says_how_it_is_aligned(folder: Path) -> None:
    plan = read(folder)
    how = plan.view("left").alignment
    assert how is not UNSET
    assert [(mark.id, mark.x_px, mark.y_px) for mark in how.marks] == [
        ("a", 100.5, 90.0),
        ("b", 500.0, 400.0),
    ]
    assert how.marks[1].picture == png(96, 96, 2)
    assert how.overview == png(40, 30)
    assert decode_plan(encode_plan(plan)) == plan


def test_the_hash_changes_with_every_taught_picture_and_not_with_its_name(folder: Path) -> None:
    before = read(folder).hash
    for name, data in (("left.png", png(40, 30, 9)), ("left.b.png", png(96, 96, 9))):
        path = folder / "taught" / name
        old = path.read_bytes()
        path.write_bytes(data)
        assert read(folder).hash != before
        path.write_bytes(old)
    (folder / "taught").rename(folder / "pictures")
    (folder / "plan.toml").write_text(TOML.replace("taught/", "pictures/"))
    assert read(folder).hash == before


def test_a_view_that_was_not_taught_has_no_alignment_and_its_old_hash(folder: Path) -> None:
    untaught = "\n".join(
        line for line in TOML.splitlines() if "picture =" not in line and "overview" not in line
    )
    (folder / "plan.toml").write_text(untaught)
    plan = read(folder)
    assert plan.view("left").alignment is UNSET
    assert b"picture" not in plan.document
    assert b"overview" not in plan.document


def test_every_mistake_of_the_taught_pictures_is_named_at_once(folder: Path) -> None:
    (folder / "taught" / "left.png").write_bytes(png(30, 40))
    (folder / "taught" / "left.a.png").unlink()
    (folder / "taught" / "left.b.png").write_bytes(b"\xff\xd8 a JPEG")
    said = problems(folder)
    assert len(said) == 3
    assert "plan.toml:15: view[0].overview: " in said[0]
    assert said[0].endswith("has 30 x 40 px, that of this view has 40 x 30")
    assert "plan.toml:21: view[0].datum[0].picture: " in said[1]
    assert said[1].endswith("there is no such file")
    assert "plan.toml:27: view[0].datum[1].picture: " in said[2]
    assert said[2].endswith("is no PNG file")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("left.a.png", png(20, 20), "has 20 x 20 px, 48 to 256 on each side are possible"),
        ("left.a.png", png(256, 256), "of 256 x 256 px around the datum reaches outside the view"),
        ("left.a.png", png(96, 96)[:-20], "ends early"),
        ("left.a.png", png(96, 96)[:900] + b"x" + png(96, 96)[901:], "damaged PNG"),
        ("left.png", imaging.encode_png(np.zeros((30, 40, 3), np.uint8)), "no grey PNG of 8 bits"),
        ("left.png", b"\x89PNG\r\n\x1a\n" + bytes(200_000), "131072 are possible"),
    ],
)
def test_a_picture_that_cannot_be_used_is_named(
    folder: Path, name: str, data: bytes, said: str
) -> None:
    (folder / "taught" / name).write_bytes(data)
    (only,) = problems(folder)
    assert said in only


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('overview = "taught/left.png"\n', "has pictures of its datums, but no overview"),
        ('picture = "taught/left.b.png"\n', "some of its datums have no picture"),
        (TOML[TOML.index('\n[[view.datum]]\nid = "b"') :], "has 1 datums, 2 to 16 are needed"),
    ],
)
def test_a_view_that_is_taught_in_part_is_refused(folder: Path, line: str, said: str) -> None:
    (folder / "plan.toml").write_text(TOML.replace(line, ""))
    (only,) = problems(folder)
    assert said in only


def test_more_than_an_order_can_carry_is_refused(folder: Path) -> None:
    many = TOML
    for k in range(8):
        name = f"left.{k}.png"
        (folder / "taught" / name).write_bytes(png(256, 256, k))
        many += f'[[view.datum]]\nid = "m{k}"\nx_px = 300\ny_px = 200\npicture = "taught/{name}"\n'
    (folder / "plan.toml").write_text(many)
    (only,) = problems(folder)
    assert "are possible" in only
    assert "smaller or fewer" in only


def test_a_plan_from_a_store_that_is_taught_in_part_is_refused(folder: Path) -> None:
    document = encode_plan(read(folder))
    start = document.index(b',"overview":"')
    cut = document[:start] + document[document.index(b'"', start + 13) + 1 :]
    with pytest.raises(PlanError, match="no overview"):
        decode_plan(cut)


def test_millimetres_and_distortion_are_part_of_a_view(folder: Path) -> None:
    more = "height_px = 480\nmm_per_px = 0.1\ndistortion = [-0.08, 0.01]\n"
    (folder / "plan.toml").write_text(TOML.replace("height_px = 480\n", more))
    view = read(folder).view("left")
    assert (view.mm_per_px, view.distortion) == (0.1, (-0.08, 0.01))
    for wrong, said in (
        ("mm_per_px = 0", "must be greater than 0"),
        ("distortion = [1]", "a list of two numbers"),
        ('distortion = [1, "x"]', "must be a number"),
        ("distortion = [11, 0]", "outside -10 to 10"),
    ):
        text = TOML.replace("height_px = 480\n", f"height_px = 480\n{wrong}\n")
        (folder / "plan.toml").write_text(text)
        (only,) = problems(folder)
        assert said in only
