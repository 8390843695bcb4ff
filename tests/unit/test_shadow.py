"""A candidate says what it would have said, behind everything that counts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from test_judge import make_order, ref_of

from edge.config import read_edge
from edge.darkroom import Darkroom
from edge.evidence_spool import EvidenceSpool
from edge.judge import Judge
from edge.models import LOOK_NS, Models
from edge.shadow import REPORT_NS, WAITING_VIEWS, Shadow
from inspection import imaging
from inspection.errors import ConfigurationError, DataError
from inspection.messages import Inspected, Reason, Verdict
from inspection.package import open_package
from inspection.shadow import SHADOW, ShadowReport, compare, decode_report, encode_report, told
from inspection.testing import boards
from inspection.testing.packages import Broken, build_package

NAME = "darkness"
POINTS = boards.GRID**2


class Edge:
    """A judge with a released model and a candidate beside it."""

    def __init__(self, folder: Path, candidate: Path) -> None:
        self.released = boards.model(folder / "released")
        self.models = Models({NAME: self.released})
        self.spool = EvidenceSpool(folder / "spool")
        self.shadow = Shadow({NAME: candidate}, edge="edge-1", hang_s=0.5)
        self.darkroom = Darkroom(self.spool)
        self.judge = Judge(self.models, self.darkroom, shadow=self.shadow)
        self.now = 10**12
        self.run = 0

    def loaded(self) -> Edge:
        until = time.monotonic() + 60
        while self.shadow._candidate(NAME) is None:
            assert time.monotonic() < until
            self.collect()
            time.sleep(0.005)
        return self

    def collect(self) -> None:
        self.now += LOOK_NS
        self.shadow.collect(self.spool, self.now)

    def view(self, image: imaging.Frame, *, begin: bool = True) -> list[Inspected]:
        self.run += 1
        order = msgspec.structs.replace(make_order(ref_of(self.models)), run=f"r{self.run}")
        said = self.judge.points(order, image)
        if begin:
            self.shadow.begin(order)
        return [entry for entry in said if isinstance(entry, Inspected)]

    def reports(self, views: int) -> list[ShadowReport]:
        """Wait until so many views were reported."""
        until = time.monotonic() + 60
        while True:
            self.now += REPORT_NS
            self.collect()
            kept = [k for k in self.spool.pending() if k.media_type == SHADOW]
            found = [decode_report(self.spool.get(k.sha256) or b"") for k in kept]
            if sum(len(report.views) for report in found) >= views:
                return found
            assert time.monotonic() < until, found
            time.sleep(0.005)

    def close(self) -> None:
        self.shadow.close()
        self.judge.close()
        self.models.close()


def candidate(folder: Path, *, steepness: float = 6.0, broken: Broken | None = None) -> Path:
    """A model that is less sure of itself: what the released calls OK it wants looked at."""
    return build_package(
        folder, size=boards.TILE, steepness=steepness, version="2", ok_min=0.95, broken=broken
    )


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(tmp_path, candidate(tmp_path / "candidate")).loaded()
    yield edge
    edge.close()


def test_it_says_what_it_would_have_said_of_the_same_crops(edge: Edge, tmp_path: Path) -> None:
    said = edge.view(boards.board((1, 2)))
    (report,) = edge.reports(1)
    (view,) = report.views
    assert view.released == open_package(edge.released).ref
    assert view.candidate == open_package(tmp_path / "candidate").ref
    assert [p.released for p in view.points] == [entry.verdict for entry in said]
    assert {p.verdict for p in view.points if p.released is Verdict.OK} == {Verdict.REVIEW}
    assert {p.verdict for p in view.points if p.released is Verdict.NOK} == {Verdict.NOK}
    # What the released model said is as if there were no candidate.
    alone = Judge(edge.models, edge.darkroom).points(
        msgspec.structs.replace(make_order(ref_of(edge.models)), run="r1"), boards.board((1, 2))
    )
    assert list(alone) == said


def test_it_begins_only_when_the_view_s_results_are_durable(edge: Edge) -> None:
    edge.view(boards.board(), begin=False)
    assert edge.shadow._thread is None
    edge.view(boards.board((1, 2)))
    (report,) = edge.reports(1)
    assert [view.run for view in report.views] == ["r2"]


def test_where_the_two_differ_the_crop_is_kept(edge: Edge) -> None:
    edge.view(boards.board((1, 2)))
    (report,) = edge.reports(1)
    point = next(p for p in report.views[0].points if p.point == "r0c0")
    assert point.evidence is not None
    picture = imaging.decode(edge.spool.get(point.evidence) or b"")
    assert (picture == boards.board((1, 2))[: boards.TILE, : boards.TILE]).all()


def test_what_it_has_no_time_for_is_dropped_and_counted(edge: Edge) -> None:
    # Nobody takes its results meanwhile, so that none of these is out of its hands.
    for _ in range(WAITING_VIEWS + 3):
        edge.view(boards.board())
    assert edge.shadow.dropped == {NAME: 3 * POINTS}
    reports = edge.reports(WAITING_VIEWS)
    assert compare(reports).dropped == {NAME: 3 * POINTS}
    edge.view(boards.board())
    edge.reports(WAITING_VIEWS + 1)
    assert edge.shadow.dropped == {NAME: 3 * POINTS}


def test_one_that_hangs_costs_nothing_but_its_own_word(tmp_path: Path) -> None:
    bad = candidate(tmp_path / "candidate", broken=Broken.HANGS_ON_WHITE)
    edge = Edge(tmp_path, bad).loaded()
    white = boards.board(shade=200)
    white[: boards.TILE, : boards.TILE] = 255
    assert {entry.verdict for entry in edge.view(white)} == {Verdict.OK}
    (report,) = edge.reports(1)
    assert {(p.verdict, p.reason) for p in report.views[0].points} == {
        (Verdict.NOT_INSPECTED, Reason.MODEL_OUTPUT_INVALID)
    }
    edge.close()


def test_one_with_another_input_cuts_crops_of_its_own(tmp_path: Path) -> None:
    other = build_package(tmp_path / "candidate", size=16, version="2")
    edge = Edge(tmp_path, other).loaded()
    edge.view(boards.board((1, 2)))
    (report,) = edge.reports(1)
    assert {p.point for p in report.views[0].points if p.verdict is Verdict.NOK} == {"r1c2"}
    edge.close()


def test_the_released_model_is_no_candidate_of_itself(tmp_path: Path) -> None:
    edge = Edge(tmp_path, boards.model(tmp_path / "same")).loaded()
    edge.view(boards.board())
    edge.collect()
    assert edge.shadow._thread is None
    edge.close()


def test_the_comparison_counts_each_point_once_and_names_what_changed(edge: Edge) -> None:
    for _ in range(3):
        edge.view(boards.board((1, 2)))
    reports = edge.reports(3)
    found = compare([*reports, *reports])
    (one,) = found.comparisons
    assert (one.views, one.compared, one.parts) == (3, 3 * POINTS, 1)
    assert one.verdicts == {"OK -> REVIEW": 3 * (POINTS - 1)}
    assert (one.disagreement.errors, one.disagreement.trials) == (3 * (POINTS - 1), 3 * POINTS)
    assert one.disagreement.lower < one.disagreement.errors / (3 * POINTS) < one.disagreement.upper
    text = told(found, limit=5)
    assert "agreement      3 of 75 = 4.000% (95% interval" in text
    assert f"OK -> REVIEW   {3 * (POINTS - 1)}" in text
    assert "and 67 more" in text
    assert f"evidence {one.changed[0].evidence}" in text


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    assert told(compare([])) == "no candidate has judged anything here"


def test_a_report_that_is_none_is_an_error(edge: Edge) -> None:
    edge.view(boards.board())
    (report,) = edge.reports(1)
    assert decode_report(encode_report(report)) == report
    for data in (b"", encode_report(report)[:-5], b"\x81\xa1a\x01"):
        with pytest.raises(DataError, match="no report of a candidate"):
            decode_report(data)


EDGE = """\
edge = "edge-1"
directory = "edge"
station = { edge = "tcp://127.0.0.1:1", evidence = "tcp://127.0.0.1:2" }
models = { darkness = "m" }
cameras = { cam1 = { driver = "folder" } }
"""


def test_a_candidate_is_named_for_a_model_that_is_there(tmp_path: Path) -> None:
    boards.model(tmp_path / "m")
    path = tmp_path / "edge.toml"
    path.write_text(f'{EDGE}[shadow]\ndarkness = "m"\n')
    assert read_edge(path).shadow == {NAME: tmp_path / "m"}
    for wrong, words in (('clip = "m"', "shadow.clip"), ('darkness = "n"', "shadow.darkness")):
        path.write_text(f"{EDGE}[shadow]\n{wrong}\n")
        with pytest.raises(ConfigurationError, match=words):
            read_edge(path)
