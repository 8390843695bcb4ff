"""Limits of a gauge from the plan to the verdict: what they need, what the edge says, what the
station believes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec import UNSET, structs
from test_judge import judge as judging
from test_judge import make_order, ref_of

from inspection import gauge
from inspection.errors import PlanError
from inspection.messages import (
    Gauged,
    GaugeLimits,
    GaugeTask,
    Inspected,
    Reason,
    Verdict,
    ViewResult,
)
from inspection.package import open_package
from inspection.plan import Kind, decode_plan, encode_plan, read_plan
from inspection.station.acceptance import Released, accept
from inspection.testing import boards

LIMITS = GaugeLimits(diameter_min_mm=4.5, diameter_max_mm=7.5, offset_max_mm=2.5)
GOOD = Gauged(
    x_mm=0.3, y_mm=-0.4, diameter_mm=5.9, roundness_mm=0.2,
    centre_pm_mm=0.1, diameter_pm_mm=0.2, roundness_pm_mm=0.1,
)  # fmt: skip
TOML = """
[plan]
name = "door"
version = "1"
deadline_ms = 5000
[kinds.weld]
model = "darkness"
gauge = {{ {limits} }}
[[view]]
id = "v0"
camera = "cam1"
width_px = 200
height_px = 200
{calibration}
[[point]]
id = "P1"
view = "v0"
kind = "weld"
left_px = 10
top_px = 10
width_px = 100
height_px = 100
severity = "major"
"""


def plan_file(folder: Path, limits: str, calibration: str = "mm_per_px = 0.1") -> Path:
    path = folder / "plan.toml"
    path.write_text(TOML.format(limits=limits, calibration=calibration), "utf-8")
    return path


def test_limits_and_calibration_become_a_task_of_the_point(tmp_path: Path) -> None:
    plan = read_plan(plan_file(tmp_path, "diameter_min_mm = 4.5, diameter_max_mm = 7.5"))
    (point,) = plan.points
    asked = plan.gauge_of(point)
    assert asked == GaugeTask(
        mm_per_px=0.1, limits=GaugeLimits(diameter_min_mm=4.5, diameter_max_mm=7.5)
    )
    assert decode_plan(encode_plan(plan)) == plan


@pytest.mark.parametrize(
    ("calibration", "said"),
    [("", "measure the view's"), ("mm_per_px = 0.5", "too coarse")],
)
def test_limits_in_millimetres_are_refused_without_a_fit_calibration(
    tmp_path: Path, calibration: str, said: str
) -> None:
    with pytest.raises(PlanError) as caught:
        read_plan(plan_file(tmp_path, "offset_max_mm = 2.5", calibration))
    (problem,) = caught.value.problems
    assert problem.field == "view[0].mm_per_px"
    assert said in problem.message
    good = msgspec.json.decode(encode_plan(read_plan(plan_file(tmp_path, "offset_max_mm = 2.5"))))
    good["views"][0].pop("mm_per_px")
    with pytest.raises(PlanError, match="mm_per_px"):
        decode_plan(msgspec.json.encode(good))


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("", "at least one"),
        ("diameter_mm = 4", "diameter_mm"),
        ("offset_max_mm = 0", "greater than 0"),
        ('offset_max_mm = "2"', "must be a number"),
        ("diameter_min_mm = 7, diameter_max_mm = 5", "less than"),
    ],
)
def test_limits_that_mean_nothing_are_named(tmp_path: Path, limits: str, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        read_plan(plan_file(tmp_path, limits))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boards.model(tmp_path_factory.mktemp("model") / "good")


def test_the_edge_calls_nothing_ok_that_it_could_not_measure(tmp_path: Path, package: Path) -> None:
    judged, models = judging(tmp_path, {"darkness": package})
    order = make_order(ref_of(models))
    asked = GaugeTask(mm_per_px=0.1, limits=GaugeLimits(offset_max_mm=1000.0))
    first, *others = order.points
    order = structs.replace(order, points=(structs.replace(first, gauge=asked), *others))
    said = judged.points(order, boards.board())
    one, *rest = said
    assert isinstance(one, Inspected)
    assert (one.verdict, one.reason) == (Verdict.REVIEW, Reason.NOT_MEASURED)
    assert one.gauge is UNSET
    assert one.evidence is not None
    assert all(isinstance(each, Inspected) and each.verdict is Verdict.OK for each in rest)


@pytest.mark.parametrize(
    ("measured", "verdict", "reason"),
    [
        (GOOD, Verdict.OK, Reason.NONE),
        (structs.replace(GOOD, x_mm=4.0), Verdict.NOK, Reason.OUTSIDE_LIMITS),
        (structs.replace(GOOD, x_mm=2.45), Verdict.REVIEW, Reason.NEAR_LIMIT),
    ],
)
def test_the_edge_says_what_was_measured_and_the_station_believes_it(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch,
    measured: Gauged, verdict: Verdict, reason: Reason,
) -> None:  # fmt: skip
    monkeypatch.setattr(gauge, "measure", lambda image, tasks: [measured] * len(tasks))
    judged, models = judging(tmp_path, {"darkness": package})
    order = make_order(ref_of(models))
    plan = read_plan(plan_file(tmp_path, "offset_max_mm = 2.5"))
    task = structs.replace(order.points[0], point="P1", gauge=plan.gauge_of(plan.points[0]))
    (one,) = judged.points(structs.replace(order, points=(task,)), boards.board())
    assert isinstance(one, Inspected)
    assert (one.verdict, one.reason, one.gauge) == (verdict, reason, measured)
    opened = open_package(package)
    released = {"darkness": Released(opened.manifest, opened.policy, ref_of(models))}
    for said, expected in (
        (one, (verdict, reason)),
        (structs.replace(one, gauge=UNSET, verdict=Verdict.OK, reason=Reason.NONE),
         (Verdict.NOT_INSPECTED, Reason.POLICY_DISAGREES)),
    ):  # fmt: skip
        answer = ViewResult(
            run="r", part="p", plan=plan.hash, view="v0", attempt=1, edge="e", camera="cam1",
            frame="f", captured_ns=1, points=(said,),
        )  # fmt: skip
        (entry,), _ = accept(answer, plan, released, ["P1"])
        assert (entry.verdict, entry.reason) == expected


def test_other_limits_make_another_plan_and_none_the_plan_of_old(tmp_path: Path) -> None:
    one = read_plan(plan_file(tmp_path, "offset_max_mm = 2.5"))
    other = read_plan(plan_file(tmp_path, "offset_max_mm = 2.4"))
    assert one.hash != other.hash
    without = structs.replace(one, kinds={"weld": Kind(model="darkness")})
    assert b"gauge" not in encode_plan(without)
