"""The arithmetic of ``inspection bench line``, and its report. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from inspection.timing import STAGES, CommitTimes, ViewTimes

MS = 1e6
"""Nanoseconds."""

Key = tuple[str, str, int]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all do not exceed (nearest rank). NaN of
    nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float], *, most: bool = False) -> dict[str, float]:
    """p50, p99 and p99.9, and the largest where it is asked for, to a thousandth."""
    found = {
        "p50": percentile(values, 0.5),
        "p99": percentile(values, 0.99),
        "p99.9": percentile(values, 0.999),
    }
    if most:
        found["max"] = max(values, default=math.nan)
    return {name: round(value, 3) for name, value in found.items()}


def stages(
    views: Iterable[ViewTimes], commits: Mapping[Key, CommitTimes], verdicts_ms: Sequence[float]
) -> dict[str, dict[str, float]]:
    """Milliseconds of each stage. ``outbox`` is from the record to its sync, ``wire`` from there to
    the station, ``commit`` the station's transaction, ``verdict`` from the last commit of a run to
    the PLC's having its verdict."""
    each: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for view in views:
        for stage, taken_ns in view.laps_ns.items():
            each[stage].append(taken_ns / MS)
        each["outbox"].append((view.synced_ns - view.handed_ns) / MS)
        commit = commits.get((view.run, view.view, view.attempt))
        if commit is not None:
            each["wire"].append((commit.taken_ns - view.synced_ns) / MS)
            each["commit"].append((commit.committed_ns - commit.taken_ns) / MS)
    each["verdict"] = list(verdicts_ms)
    return {stage: spread(values) for stage, values in each.items()}


def view_latencies_ms(
    views: Iterable[ViewTimes], commits: Mapping[Key, CommitTimes]
) -> list[float]:
    """From the picture in memory to its points' committed verdicts, for every view of which both
    are known."""
    return [
        (commit.committed_ns - view.framed_ns) / MS
        for view in views
        if view.framed_ns
        and (commit := commits.get((view.run, view.view, view.attempt))) is not None
    ]


def outside_engine_ms(cpu_s: float, engine_ns: int, points: int) -> float:
    """Processor time a point, of all processes, that is not spent in the inference engine."""
    return (cpu_s * 1e3 - engine_ns / MS) / max(1, points)


def ratio(pairs: Sequence[Mapping[str, float]]) -> float:
    """The median of line over bare engine, pair by pair."""
    return statistics.median(p["points_per_second"] / p["onnx_points_per_second"] for p in pairs)


def report(measured: Mapping[str, Any]) -> str:
    """What a person reads."""
    pairs = ", ".join(str(pair["ratio"]) for pair in measured["pairs"])
    engine = f"two processes of one thread, batch {measured['batch']}, {measured['graph']}"
    lines = [
        f"points per second            {measured['points_per_second']:.0f}",
        f"bare ONNX Runtime            {measured['onnx_points_per_second']:.0f}   ({engine})",
        f"ratio                        {measured['ratio']:.2f}   (pair by pair: {pairs})",
        f"CPU outside ONNX Runtime     {measured['cpu_ms_per_point_outside_onnx']:.3f} ms a point",
        *(f"  {name:<26} {value:.3f}" for name, value in measured["cpu_ms_per_point"].items()),
        "",
        f"{'stage, ms':<28} {'p50':>9} {'p99':>9} {'p99.9':>9}",
    ]
    rows = {f"  {stage}": measured["stage_ms"][stage] for stage in STAGES}
    rows["view, frame to commit"] = measured["view_latency_ms"]
    rows["verdict, last frame to PLC"] = measured["verdict_latency_ms"]
    for name, values in rows.items():
        lines.append(
            f"{name:<28} {values['p50']:>9.2f} {values['p99']:>9.2f} {values['p99.9']:>9.2f}"
            + (f"   max {values['max']:.2f}" if "max" in values else "")
        )
    memory = ", ".join(f"{name} {size:.0f}" for name, size in measured["rss_mb"].items())
    counted = ("views", "points", "lost", "duplicated")
    lines += ["", f"resident memory, MB          {memory}"]
    lines.append(", ".join(f"{name} {measured[name]}" for name in counted))
    return "\n".join(lines)
