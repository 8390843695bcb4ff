"""A part on a real line, and what another policy or model would have said of it afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from inspection.__main__ import main
from inspection.drawing import Drawing, Shares, read_key
from inspection.messages import Verdict
from inspection.package import open_package
from inspection.registry import Registry
from inspection.testing import boards
from inspection.testing.line import Line
from inspection.testing.packages import build_package, repolicy

PARTS = ("B0", "B1", "B2")
DARK = {"B0": [(1, 2), (3, 3)], "B1": [], "B2": [(0, 0)]}
POINTS = boards.GRID * boards.GRID


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A line that has judged three boards, three tiles of them dark, and one in between: the
    package's policy calls it NOK from one half on."""
    folder = tmp_path_factory.mktemp("backtest")
    package = boards.model(folder / "package")
    for part in PARTS:
        board = boards.board(*DARK[part])
        if part == "B1":  # grey: probably a defect, not surely
            tile = board[: boards.TILE, : boards.TILE]
            board[: boards.TILE, : boards.TILE] = tile // 225 * 0 + 118
        boards.write_part(folder / "images", part, board)
    with Line(
        folder / "line",
        plans=[boards.write_plan(folder / "plan")],
        models={"darkness": package},
        cameras=boards.camera(folder / "images"),
        parts=PARTS,
        plan=boards.PLAN,
    ) as line:
        line.start()
        assert line.wait("plc", 60) == 0
        wanted = {p.evidence for p in line.reader.points(verdicts=[Verdict.NOK])}
        assert len(wanted) >= 2
        line.until(lambda: line.reader.counts()["evidence"] == len(wanted), 20, "evidence")
        for name in ("edge-cam1", "station"):
            line.stop(name)
        yield line


def store(line: Line) -> str:
    return str(line.folder / "station" / "station.db")


def old(line: Line) -> Path:
    return line.folder.parent / "package"


def backtest(line: Line, package: Path, tmp_path: Path, *more: str) -> dict[str, object]:
    out = tmp_path / "backtest.json"
    code = main(
        [
            "models",
            "backtest",
            str(package),
            "--store",
            store(line),
            "--json",
            str(out),
            "--registry",
            str(tmp_path / "registry"),
            *more,
        ]
    )
    assert code == 0
    return json.loads(out.read_bytes())


def test_the_package_that_judged_gives_its_old_scores_and_changes_nothing(
    line: Line, tmp_path: Path
) -> None:
    result = backtest(line, old(line), tmp_path)
    assert result["points"] == len(PARTS) * POINTS
    assert result["reproduced"] == 4
    assert result["verdicts_recomputed"] == len(PARTS) * POINTS
    assert result["changes"] == []
    assert result["from_scores"] is True
    assert result["strata"]["OK"]["now"] == {"OK": len(PARTS) * POINTS - 4}


def test_another_policy_flips_exactly_the_point_between_both(line: Line, tmp_path: Path) -> None:
    (grey,) = [p for p in line.reader.points(verdicts=[Verdict.NOK]) if p.part == "B1"]
    lenient = shutil.copytree(old(line), tmp_path / "lenient")
    repolicy(lenient, version=2, nok_min={"defect": 0.9})
    result = backtest(line, lenient, tmp_path, "--old", str(old(line)))
    (change,) = result["changes"]
    assert (change["part"], change["point"]) == ("B1", grey.point)
    assert (change["was"], change["now"], change["weight"]) == ("NOK", "REVIEW", 1.0)
    # From recorded scores: also what was OK, of which no picture was kept, is judged anew.
    strict = shutil.copytree(old(line), tmp_path / "strict")
    repolicy(strict, version=2, ok_min=1.0)
    result = backtest(line, strict, tmp_path)
    assert {(c["was"], c["now"]) for c in result["changes"]} == {("OK", "REVIEW")}
    assert len(result["changes"]) == len(PARTS) * POINTS - 4


def test_another_model_is_asked_about_kept_crops_only_and_the_report_says_so(
    line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry(tmp_path / "registry")
    registry.add(old(line), author="test", why="it judged")
    other = build_package(tmp_path / "other", name="squares", sees="bright_square")
    result = backtest(line, other, tmp_path)  # the one that judged comes from the registry
    assert result["old"] == [open_package(old(line)).ref.package]
    assert result["reproduced"] == 4
    assert result["from_scores"] is False
    # Dark tiles have no bright square; the grey one is all but one.
    moves = sorted((c["part"], c["was"], c["now"]) for c in result["changes"])
    assert moves == [("B0", "NOK", "OK")] * 2 + [("B1", "NOK", "REVIEW"), ("B2", "NOK", "OK")]
    assert result["strata"]["OK"]["inclusion"] is None
    said = capsys.readouterr().out
    assert f"OK: none of {len(PARTS) * POINTS - 4} points could be judged anew" in said
    assert "NOK: 4 points (a census), would be OK 3, REVIEW 1" in said


def test_lost_crops_are_stood_for_by_those_that_are_kept(line: Line, tmp_path: Path) -> None:
    other = build_package(tmp_path / "other", name="squares", sees="bright_square")
    evidence = shutil.copytree(line.folder / "station" / "evidence", tmp_path / "evidence")
    points = line.reader.points(verdicts=[Verdict.NOK])
    gone = next(p.evidence for p in points if p.part == "B1")
    (evidence / gone[:2] / gone).unlink()
    more = ["--old", str(old(line)), "--evidence", str(evidence)]
    result = backtest(line, other, tmp_path, *more)
    assert result["strata"]["NOK"] == {
        "points": 4,
        "judged": 3,
        "inclusion": 0.75,
        "now": {"OK": 3},
        "share": None,
        "drawn": 4,
    }
    assert [change["weight"] for change in result["changes"]] == pytest.approx([4 / 3] * 3)
    assert (
        "NOK: the picture is not in the evidence store, or has changed there"
        in (result["unjudged"])
    )


def test_a_package_that_would_not_give_the_old_scores_ends_the_back_test(
    line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from inspection.backtest import backtest as run
    from inspection.errors import DataError
    from inspection.evidence import EvidenceStore

    impostor = open_package(build_package(tmp_path / "impostor", sees="bright_square"))
    evidence = EvidenceStore(line.folder / "station" / "evidence")
    with pytest.raises(DataError, match="does not give the old scores"):
        run(line.reader, evidence, lambda _: impostor, impostor)


def test_scores_that_differ_in_their_last_bit_are_not_the_old_scores(
    line: Line, tmp_path: Path
) -> None:
    import numpy as np

    from inspection import backtest as module
    from inspection.runtimes import load

    package = open_package(old(line))
    point = line.reader.points(verdicts=[Verdict.NOK])[0]
    places = dict(module._places(line.reader, point.run))
    place = places[point.point, point.attempt]
    evidence = module.EvidenceStore(line.folder / "station" / "evidence")
    crop = module._crop(evidence, point, package)
    found = module._Found()
    module._reproduce(found, load(package), [(point, place, crop)])
    assert found.reproduced == 1
    first = float(np.nextafter(np.float32(place.said.scores[0]), np.float32(2)))
    said = msgspec.structs.replace(place.said, scores=(first, *place.said.scores[1:]))
    with pytest.raises(module.DataError, match="does not give the old scores"):
        module._reproduce(
            found, load(package), [(point, module._Place(said, place.index, place.size), crop)]
        )


def test_without_the_package_that_judged_there_is_no_back_test(
    line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = build_package(tmp_path / "other", name="squares", sees="bright_square")
    code = main(
        [
            "models",
            "backtest",
            str(other),
            "--store",
            store(line),
            "--registry",
            str(tmp_path / "registry"),
        ]
    )
    assert code == 1
    assert "is not at hand" in capsys.readouterr().err


def test_ok_points_are_judged_anew_by_those_that_were_drawn_weighted_by_their_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = boards.model(tmp_path / "package")
    parts = [f"P{number}" for number in range(8)]
    for part in parts:
        boards.write_part(tmp_path / "images", part, boards.board((1, 2)))
    with Line(
        tmp_path / "line",
        plans=[boards.write_plan(tmp_path / "plan")],
        models={"darkness": package},
        cameras=boards.camera(tmp_path / "images"),
        parts=parts,
        plan=boards.PLAN,
        edge_evidence={"ok_share": 0.25, "near_share": 1.0},
    ) as line:
        line.start()
        assert line.wait("plc", 60) == 0
        points = line.reader.points()
        wanted = {point.evidence for point in points if point.evidence is not None}
        line.until(lambda: line.reader.counts()["evidence"] == len(wanted), 20, "evidence")
        for name in ("edge-cam1", "station"):
            assert line.stop(name) == 0
        ok = [point for point in points if point.verdict is Verdict.OK]
        drawn = sum(point.evidence is not None for point in ok)
        # 192 points at 0.25 with a key of the edge's own: 48 expected, standard deviation 6.
        assert len(ok) == len(parts) * (POINTS - 1)
        assert 48 - 30 <= drawn <= 48 + 30
        key = read_key(line.folder / "edge-cam1" / "evidence-key")
        drawing = Drawing(key, Shares())
        for point in ok:
            chosen = drawing.drawn(point.run, point.point, point.attempt, 0.25)
            assert chosen is (point.evidence is not None)
        other = build_package(tmp_path / "other", name="squares", sees="bright_square")
        result = backtest(line, other, tmp_path, "--old", str(package))
        assert result["strata"]["OK 0.25"] == {
            "points": len(ok),
            "judged": drawn,
            "inclusion": drawn / len(ok),
            "now": {"NOK": drawn},
            "share": 0.25,
            "drawn": drawn,
        }
        weights = [c["weight"] for c in result["changes"] if c["was"] == "OK"]
        assert sum(weights) == pytest.approx(len(ok))
        assert "drawn with probability 0.25" in capsys.readouterr().out


def test_a_draw_that_is_not_by_chance_shows() -> None:
    from inspection.backtest import Stratum

    def stratum(drawn: int, share: float | None = 0.01) -> Stratum:
        return Stratum(
            points=10_000, judged=drawn, inclusion=drawn / 10_000, now={}, share=share, drawn=drawn
        )

    assert all(stratum(drawn).by_chance for drawn in (60, 100, 140))
    assert not any(stratum(drawn).by_chance for drawn in (0, 40, 160, 10_000))
    assert stratum(0, None).by_chance
