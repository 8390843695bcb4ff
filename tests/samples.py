"""A plan of two points and answers to it."""

from __future__ import annotations

from inspection import wire
from inspection.ledger import Entry
from inspection.messages import (
    Inspected,
    Missed,
    ModelRef,
    Reason,
    Region,
    Severity,
    Verdict,
    ViewResult,
)
from inspection.plan import Kind, Plan, Point, View

RUN = "run-1"
MODEL = ModelRef(package="a" * 64, policy="b" * 64)
PLAN = Plan(
    name="plan",
    version="1",
    deadline_ms=1000,
    views=(View(id="v0", camera="cam1", width_px=20, height_px=10),),
    kinds={"weld": Kind(model="m")},
    points=tuple(
        Point(
            id=f"p{number}",
            view="v0",
            kind="weld",
            region=Region(left_px=10 * number, top_px=0, width_px=10, height_px=10),
            severity=Severity.MAJOR,
        )
        for number in range(2)
    ),
)
SCORES = {
    Verdict.OK: (0.99, 0.01),
    Verdict.NOK: (0.02, 0.98),
    Verdict.REVIEW: (0.6, 0.4),
}
REASONS = {
    Verdict.OK: Reason.NONE,
    Verdict.NOK: Reason.DEFECT,
    Verdict.REVIEW: Reason.UNCERTAIN,
}


def answer(
    *,
    run: str = RUN,
    part: str = "part-1",
    attempt: int = 1,
    verdicts: tuple[Verdict | None, ...] = (Verdict.OK, Verdict.OK),
    edge: str = "edge-1",
    model: ModelRef = MODEL,
    plan: Plan = PLAN,
) -> ViewResult:
    """An edge's answer; None stands for a point that could not be looked at."""
    points = tuple(
        Missed(point=f"p{number}", reason=Reason.NO_IMAGE, detail="no picture")
        if verdict is None
        else Inspected(
            point=f"p{number}",
            verdict=verdict,
            reason=REASONS[verdict],
            finding="" if verdict is Verdict.OK else "defect",
            scores=SCORES[verdict],
            model=model,
        )
        for number, verdict in enumerate(verdicts)
    )
    return ViewResult(
        run=run,
        part=part,
        plan=plan.hash,
        view="v0",
        attempt=attempt,
        edge=edge,
        camera="cam1",
        frame="1",
        captured_ns=1,
        points=points,
    )


def raw_of(message: ViewResult) -> bytes:
    return wire.RECORD.encode(message)


def entries_of(message: ViewResult) -> list[Entry]:
    """What a station that believes everything would make of an answer."""
    return [
        Entry(point.point, Verdict.NOT_INSPECTED, point.reason)
        if isinstance(point, Missed)
        else Entry(point.point, point.verdict, point.reason, point.finding)
        for point in message.points
    ]
