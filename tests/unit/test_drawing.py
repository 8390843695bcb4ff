"""Which OK points have their picture kept: by chance that nobody can choose and anybody with the
key can recompute."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import EvidenceFile, ModelShares
from inspection.drawing import NOTHING, Drawing, Shares, margin, own_key, read_key
from inspection.errors import ConfigurationError
from inspection.messages import Verdict
from inspection.policy import Policy, judge

KEY = bytes(range(32))
POLICY = Policy(
    version=1,
    package="0" * 64,
    ok_class="ok",
    ok_min=0.9,
    nok_min={"crack": 0.5, "hole": 0.4},
    ood_max=2.0,
    author="",
    created="",
    why="",
)
CLASSES = ("ok", "crack", "hole")


def test_a_draw_is_the_keyed_hash_of_run_point_and_attempt() -> None:
    drawing = Drawing(KEY, Shares())
    for n in range(200):
        said = f"run-{n}\0W{n}\x001".encode()
        digest = hashlib.blake2b(said, key=KEY, digest_size=8).digest()
        share = int.from_bytes(digest, "big") / 2**64
        assert drawing.drawn(f"run-{n}", f"W{n}", 1, min(1.0, share * 1.0001 + 1e-12))
        assert not drawing.drawn(f"run-{n}", f"W{n}", 1, share * 0.9999)


def test_the_share_drawn_is_the_share_asked_for_and_another_key_draws_others() -> None:
    points = [(f"r{run}", f"W{point}") for run in range(200) for point in range(200)]
    one, other = Drawing(KEY, Shares()), Drawing(KEY[::-1], Shares())
    drawn = {place for place in points if one.drawn(*place, 1, 0.05)}
    also = {place for place in points if other.drawn(*place, 1, 0.05)}
    # 2,000 expected, standard deviation 43.6: five of them either way.
    assert abs(len(drawn) - 2000) < 218
    assert abs(len(also) - 2000) < 218
    assert len(drawn & also) < 200
    assert {place for place in points if one.drawn(*place, 1, 0.01)} < drawn
    assert drawn != {place for place in points if one.drawn(*place, 2, 0.05)}


def test_all_and_none_are_all_and_none() -> None:
    drawing = Drawing(KEY, NOTHING)
    assert all(drawing.drawn("r", str(n), 1, 1.0) for n in range(1000))
    assert not any(drawing.drawn("r", str(n), 1, 0.0) for n in range(1000))


@pytest.mark.parametrize(
    ("scores", "ood", "left"),
    [
        ((1.0, 0.0, 0.0), 0.0, 1.0),
        ((0.95, 0.05, 0.0), 0.0, 0.5),
        ((0.9, 0.05, 0.05), 0.0, 0.0),
        ((0.99, 0.01, 0.0), 1.9, 0.05),
        ((1.0, 0.0, 0.0), None, 1.0),
    ],
)
def test_the_margin_is_what_is_left_up_to_the_nearest_limit(
    scores: tuple[float, ...], ood: float | None, left: float
) -> None:
    assert margin(scores, CLASSES, POLICY, ood) == pytest.approx(left)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 3))
def test_an_ok_point_has_a_margin_from_nought_to_one(ok: float, crack: float, ood: float) -> None:
    crack *= 1 - ok
    scores = (ok, crack, 1 - ok - crack if 1 - ok - crack > 0 else 0.0)
    if judge(scores, CLASSES, POLICY, ood).verdict is Verdict.OK:
        assert 0 <= margin(scores, CLASSES, POLICY, ood) <= 1


def test_each_model_may_have_shares_of_its_own_and_near_points_are_drawn_more_often() -> None:
    file = EvidenceFile(ok_share=0.01, models={"clip": ModelShares(ok_share=0.5)})
    drawing = file.drawing(KEY)
    assert drawing.share("weld", 0.9) == 0.01
    assert drawing.share("weld", 0.2) == 0.1
    assert drawing.share("clip", 0.9) == 0.5
    assert drawing.share("clip", 0.2) == 0.1


def test_an_edge_makes_one_key_and_keeps_it(tmp_path: Path) -> None:
    place = tmp_path / "edge" / "evidence-key"
    key = own_key(place)
    assert (own_key(place), read_key(place), len(key)) == (key, key, 32)
    assert place.stat().st_mode & 0o077 == 0
    assert own_key(tmp_path / "other") != key


@pytest.mark.parametrize("content", ["", "abc", "ab" * 31, "zz" * 32, "é" * 64])
def test_a_key_that_is_none_is_refused_with_its_file(tmp_path: Path, content: str) -> None:
    place = tmp_path / "key"
    place.write_text(content, "utf-8")
    for read in (read_key, own_key):
        with pytest.raises(ConfigurationError, match="key"):
            read(place)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_key(tmp_path / "nowhere")
