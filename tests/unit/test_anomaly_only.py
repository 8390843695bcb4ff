"""A model that no defect was shown to judges only where the plan permits it: asked three times."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec import UNSET, UnsetType
from samples import PLAN, answer
from test_judge import judge, make_order, ref_of
from test_station import RELEASED

from inspection.errors import PackageError
from inspection.messages import Inspected, Missed, Order, Reason, Verdict
from inspection.package import MANIFEST, open_package
from inspection.plan import Kind, Plan
from inspection.station.acceptance import Released, accept
from inspection.station.config import why_unfit
from inspection.testing import boards
from inspection.testing.packages import build_package

ALONE = Released(
    manifest=msgspec.structs.replace(RELEASED.manifest, anomaly_only=True),
    policy=RELEASED.policy,
    ref=RELEASED.ref,
)
PERMITTING = msgspec.structs.replace(PLAN, kinds={"weld": Kind(model="m", anomaly_only=True)})


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "package"
    return build_package(folder, sees="darkness", size=boards.TILE, anomaly_only=True)


def permitting(order: Order, said: bool | UnsetType) -> Order:
    tasks = tuple(msgspec.structs.replace(t, anomaly_only=said) for t in order.points)
    return msgspec.structs.replace(order, points=tasks)


@pytest.mark.parametrize("said", [UNSET, False])
def test_an_edge_does_not_judge_with_it_unless_the_order_permits(
    tmp_path: Path, package: Path, said: bool | UnsetType
) -> None:
    judged, models = judge(tmp_path, {"darkness": package})
    entries = judged.points(permitting(make_order(ref_of(models)), said), boards.board())
    for entry in entries:
        assert isinstance(entry, Missed)
        assert entry.reason is Reason.MODEL_UNAVAILABLE
        assert "anomaly_only = true" in entry.detail


def test_an_edge_judges_with_it_where_the_order_permits(tmp_path: Path, package: Path) -> None:
    judged, models = judge(tmp_path, {"darkness": package})
    entries = judged.points(permitting(make_order(ref_of(models)), True), boards.board())
    assert {type(entry) for entry in entries} == {Inspected}


def test_only_the_kinds_that_permit_it_are_judged(tmp_path: Path, package: Path) -> None:
    judged, models = judge(tmp_path, {"darkness": package})
    order = permitting(make_order(ref_of(models)), True)
    first = msgspec.structs.replace(order.points[0], anomaly_only=UNSET)
    order = msgspec.structs.replace(order, points=(first, *order.points[1:]))
    entries = {entry.point: entry for entry in judged.points(order, boards.board())}
    assert [p for p, entry in entries.items() if isinstance(entry, Missed)] == [first.point]
    assert len(entries) == len(order.points)


@pytest.mark.parametrize("plan", [PLAN, PERMITTING])
def test_a_station_believes_it_only_where_the_plan_permits(plan: Plan) -> None:
    result = answer(verdicts=(Verdict.OK, Verdict.OK))
    entries, _ = accept(result, plan, {"m": ALONE}, ["p0", "p1"])
    wanted = Verdict.OK if plan is PERMITTING else Verdict.NOT_INSPECTED
    assert {entry.verdict for entry in entries} == {wanted}


def test_a_station_does_not_start_with_a_plan_that_does_not_permit_it() -> None:
    text = why_unfit(PLAN, "m", ALONE)
    assert "kinds.weld" in text
    assert "anomaly_only = true" in text
    assert why_unfit(PERMITTING, "m", ALONE) == ""
    assert why_unfit(PLAN, "m", RELEASED) == ""
    assert why_unfit(PLAN, "another", ALONE) == ""


def test_a_release_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    package = build_package(tmp_path / "package", anomaly_only=True)
    file = package / MANIFEST
    file.write_text(file.read_text().replace('"anomaly-only"', '"approved"'))
    with pytest.raises(PackageError, match="approved"):
        open_package(package)
