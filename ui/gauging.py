"""What gauges measured, for people: the words at a point, and series for control charts."""

from __future__ import annotations

from collections.abc import Sequence

from inspection.gauging import NAMES, offset
from inspection.messages import Gauged
from inspection.store.gauge_rows import GaugeRow
from ui.analysis import Score
from ui.words import say


def measures(gauged: Gauged) -> str:
    """All that was measured at a point, with how far it may be wrong."""
    return say(
        "gauge.values",
        diameter=f"{gauged.diameter_mm:.2f}",
        diameter_pm=f"{gauged.diameter_pm_mm:.2f}",
        x=f"{gauged.x_mm:+.2f}",
        y=f"{gauged.y_mm:+.2f}",
        centre_pm=f"{gauged.centre_pm_mm:.2f}",
        roundness=f"{gauged.roundness_mm:.2f} ± {gauged.roundness_pm_mm:.2f}",
    )


def series(rows: Sequence[GaugeRow], name: str) -> list[Score]:
    """One of `NAMES` body by body, for a chart of individuals. `KeyError` for another name."""
    values = {
        "diameter": [row.gauged.diameter_mm for row in rows],
        "offset": [offset(row.gauged)[0] for row in rows],
        "roundness": [row.gauged.roundness_mm for row in rows],
    }[name]
    return [
        Score(row.part, row.run, row.begun_ns, value)
        for row, value in zip(rows, values, strict=True)
    ]


__all__ = ["NAMES", "measures", "series"]
