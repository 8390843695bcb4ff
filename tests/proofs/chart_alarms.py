"""How often control charts cry wolf, by simulation.

    python tests/proofs/chart_alarms.py [--points N] [--seed N] [--json FILE]

A stable process is charted: bodies of 5,000 points with a share of NOK that varies from body to
body more than the binomial distribution says, and with one that does not; rates; rare events;
measured values. Limits come from a base of 2,000 subgroups, so that what is measured is the rules
and not how well limits can be estimated. Each rule may fire as often as
`inspection.control_charts.ALARMS` says, within four standard errors (alarms of rules 2 to 4 come in
runs: their error is that of blocks); the g chart at most as often. A plain p chart of the varying
process is shown beside it: why these charts are Laney's. The last figure is what limits from only
25 subgroups cost.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inspection.control_charts import ALARMS, Chart, fired, g_chart, i_chart, p_chart, u_chart
from inspection.version import code_version

BASE = 2000
BLOCK = 250
POINTS = 5000


def binomial(rng: np.random.Generator, count: int, extra: float) -> tuple[list[int], list[int]]:
    """NOK of bodies; ``extra`` is the standard deviation of the share itself."""
    shares = np.clip(rng.normal(0.02, extra, count), 0.0, 1.0)
    return rng.binomial(POINTS, shares).tolist(), [POINTS] * count


def rates(chart: Chart) -> dict[int, tuple[float, float]]:
    """How often each rule fires after the base, and the standard error of that."""
    count = len(chart.values) - chart.base
    hits = np.zeros((5, count))
    for alarm in fired(chart):
        if alarm.at >= chart.base:
            hits[alarm.rule, alarm.at - chart.base] = 1
    blocks = hits[:, : count // BLOCK * BLOCK].reshape(5, -1, BLOCK).mean(axis=2)
    error: npt.NDArray[Any] = blocks.std(axis=1, ddof=1) / math.sqrt(blocks.shape[1])
    return {rule: (float(hits[rule].mean()), float(error[rule])) for rule in ALARMS}


def plain(chart: Chart) -> float:
    """How often a p chart with binomial limits would have called."""
    return float(np.mean([abs(z) * chart.spread > 3 for z in chart.z[chart.base :]]))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    count = BASE + arguments.points
    rng = np.random.default_rng(arguments.seed)
    varying = p_chart(*binomial(rng, count, 0.004), BASE)
    charts = {
        "p' of shares that vary": varying,
        "p' of shares that do not": p_chart(*binomial(rng, count, 0.0), BASE),
        "u' of rates that vary": u_chart(
            rng.poisson(np.clip(rng.normal(100, 20, count), 1, None)).tolist(), [1] * count, BASE
        ),
        "I of measured values": i_chart(rng.normal(5.0, 0.2, count).tolist(), BASE),
        "g of rare events": g_chart((rng.geometric(0.01, count) - 1).tolist(), BASE),
    }
    found: dict[str, Any] = {}
    wrong = []
    for name, chart in charts.items():
        told = rates(chart)
        found[name] = {str(rule): round(value, 5) for rule, (value, _) in told.items()}
        for rule, (value, error) in told.items():
            if chart.kind == "g":
                if rule == 1 and value > ALARMS[1] + 4 * error:
                    wrong.append(f"{name}: {value:.5f}")
            # Counts are no continuous values: what a step of one count makes is no error.
            elif abs(value - ALARMS[rule]) > 4 * error + 0.1 * ALARMS[rule] + 0.0004:
                wrong.append(f"{name}, rule {rule}: {value:.5f} instead of {ALARMS[rule]:.5f}")
    few = [rates(p_chart(*binomial(rng, 25 + BLOCK * 8, 0.004), 25))[1][0] for _ in range(60)]
    line = {
        "claim": "chart alarms",
        "commit": code_version(),
        "stated": {str(rule): value for rule, value in ALARMS.items()},
        "found": found,
        "plain_p_chart": round(plain(varying), 4),
        "rule_1_with_a_base_of_25": round(float(np.mean(few)), 4),
        "subgroups": arguments.points,
        "wrong": wrong,
    }
    print(json.dumps(line))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(line) + "\n", "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
