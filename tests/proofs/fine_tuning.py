"""Fine-tuning without a recipe against the plain baseline, on folds of parts of any data set.

    python tests/proofs/fine_tuning.py --data DIR [--ok CLASS] [--part REGEX] [--folds 3]

Each fold trains on the other parts and lets the exported package judge its own; the scores of all
folds are pooled. One JSON line a recipe: AUROC of defect against good, overkill at 5 % escapes with
the threshold laid on the test scores themselves, and the seconds each fold took, report included.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from circuit_boards import commit

from inspection.package import open_package
from inspection.runtimes import load
from inspection.training.data import folds as folds_by_part
from inspection.training.data import read_dataset
from inspection.training.discover import describe
from inspection.training.duplicates import join_twins
from inspection.training.evaluate import judge_pictures
from inspection.training.fit import train
from inspection.training.parity import auroc

BASELINE = Path(__file__).parents[2] / "models" / "baseline" / "recipe.toml"
ESCAPES = 0.05

Array = npt.NDArray[np.float64]


def overkill_at(good: Array, bad: Array, escapes: float) -> float:
    """Share of good points at or above the highest threshold that lets at most that share of the
    defects pass."""
    kept = np.sort(bad)[int(np.floor(escapes * len(bad)))]
    return float((good >= kept).mean())


def run(
    name: str, recipe: Path | None, data: Path, folds: int, ok: str | None, part: str | None
) -> tuple[dict[str, object], dict[tuple[str, str, str], float]]:
    dataset = read_dataset(describe(data, ok=ok, part=part), data)
    join_twins(dataset)
    ok_class = dataset.description.ok_class
    seconds: list[float] = []
    scores: dict[tuple[str, str, str], float] = {}
    labels: dict[tuple[str, str, str], str | None] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for k, parts in enumerate(folds_by_part(dataset, folds)):
            begun = time.monotonic()
            out = Path(scratch) / f"fold-{k}"
            train(
                recipe, data, out, test_parts=parts, ok=ok, part=part,
                progress=lambda line: print(line, file=sys.stderr, flush=True),
            )  # fmt: skip
            model = load(open_package(out))
            for judged in judge_pictures(model, dataset.of(parts)):
                place = (judged.part, judged.picture, judged.point)
                scores[place] = 1 - judged.scores[0]
                labels[place] = judged.label
            seconds.append(time.monotonic() - begun)
    good = np.array([s for place, s in scores.items() if labels[place] == ok_class])
    bad = np.array([s for place, s in scores.items() if labels[place] != ok_class])
    area = (
        auroc(np.concatenate([good, bad]), np.repeat([False, True], [len(good), len(bad)])) or 0.0
    )
    return {
        "claim": f"fine-tuning, {name}",
        "commit": commit(),
        "data": data.name,
        "parts": len(dataset.parts),
        "good": len(good),
        "defects": len(bad),
        "auroc": round(area, 4),
        "overkill_at_5_percent_escapes": round(overkill_at(good, bad, ESCAPES), 4),
        "seconds_a_fold": [round(s) for s in seconds],
    }, scores


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ok")
    parser.add_argument("--part")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--recipe", type=Path, help="instead of the one that is chosen")
    parser.add_argument("--only", choices=("chosen", "baseline"))
    told = parser.parse_args(argv)
    lines = []
    for name, recipe in (("chosen", told.recipe), ("baseline", BASELINE)):
        if told.only in (None, name):
            line, _ = run(name, recipe, told.data, told.folds, told.ok, told.part)
            lines.append(line)
            print(json.dumps(line), flush=True)
    if len(lines) < 2:
        return 0
    chosen, baseline = lines
    better = (
        chosen["auroc"] > baseline["auroc"]
        and chosen["overkill_at_5_percent_escapes"] < baseline["overkill_at_5_percent_escapes"]
    )
    return 0 if better else 1


if __name__ == "__main__":
    sys.exit(main())
