"""Whether the bound of an audit covers the truth, by simulated shifts.

    python tests/proofs/audit_bounds.py [--shifts N] [--seed N] [--json FILE]

Each shift has points that the machine called OK, in two strata, with a true number of escapes;
pictures are kept and looked at with the probabilities of the edge and of the audit. The settings:
no escape, a few, many; escapes in one stratum only; few looks; looks at very different rates;
escapes that come together on the same bodies. In each the share of shifts whose true rate lies at
or below the bound must be 95 % at least. Beside it: how large the bound is, and how near the
estimate comes on average.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inspection.audit import INSIDE, NEAR, Stratum, escapes
from inspection.version import code_version


@dataclass(frozen=True)
class Setting:
    """A kind of shift: points, true escapes and share looked at of the two strata; ``together``
    escapes lie on one body of 500 points each."""

    name: str
    points: tuple[int, int]
    escapes: tuple[int, int]
    share: tuple[float, float]
    together: int = 1


SETTINGS = (
    Setting("none", (20_000, 400_000), (0, 0), (0.02, 0.002)),
    Setting("few", (20_000, 400_000), (10, 20), (0.02, 0.002)),
    Setting("many", (20_000, 400_000), (400, 1200), (0.02, 0.002)),
    Setting("near only", (20_000, 400_000), (200, 0), (0.02, 0.002)),
    Setting("inside only", (20_000, 400_000), (0, 800), (0.02, 0.002)),
    Setting("few looks", (2_000, 40_000), (20, 20), (0.01, 0.0005)),
    Setting("unequal looks", (20_000, 400_000), (100, 400), (0.2, 0.0005)),
    Setting("a few on each body", (20_000, 400_000), (100, 800), (0.02, 0.002), together=4),
)


def shift(rng: np.random.Generator, setting: Setting) -> tuple[float, Any]:
    """The true rate of escapes, and what the audit says."""
    strata = []
    for name, points, bad, share in zip(
        (NEAR, INSIDE), setting.points, setting.escapes, setting.share, strict=True
    ):
        truth = np.zeros(points, bool)
        bodies = rng.choice(points // 500, size=-(-bad // setting.together), replace=True)
        for number, body in enumerate(bodies):
            count = min(setting.together, bad - number * setting.together)
            inside = np.flatnonzero(~truth[body * 500 : (body + 1) * 500])
            truth[body * 500 + rng.choice(inside, size=count, replace=False)] = True
        looked = rng.random(points) < share
        strata.append(Stratum(name, float(points), int(looked.sum()), int(truth[looked].sum())))
    return sum(setting.escapes) / sum(setting.points), escapes(strata)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shifts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    rng = np.random.default_rng(arguments.seed)
    found: dict[str, Any] = {}
    wrong = []
    for setting in SETTINGS:
        told = [shift(rng, setting) for _ in range(arguments.shifts)]
        covered = sum(truth <= said.at_most for truth, said in told) / len(told)
        found[setting.name] = {
            "truth": round(told[0][0], 7),
            "covered": covered,
            "bound": round(float(np.mean([said.at_most for _, said in told])), 6),
            "estimate": round(float(np.mean([said.rate or 0.0 for _, said in told])), 7),
        }
        if covered < 0.95:
            wrong.append(f"{setting.name}: covered in {covered:.1%}")
    line = {
        "claim": "audit bounds",
        "commit": code_version(),
        "shifts": arguments.shifts,
        "found": found,
        "wrong": wrong,
    }
    print(json.dumps(line))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(line) + "\n", "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
