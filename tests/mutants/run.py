"""Plant defects one by one in a copy of the tree, and see which test catches each.

python tests/mutants/run.py [NAME...]

Exits with 1 where one survives or can no longer be planted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from defects import DEFECTS, Defect, plant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("inspection", "edge", "ui", "tests", "models", "pyproject.toml")
ENOUGH = 3
"""So many tests that fail are told; the rest is not waited for."""


def copy_tree(target: Path) -> None:
    """What the tests need, without what earlier runs have left in it."""
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.so")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            shutil.copy2(source, target / name)


def caught_by(tree: Path, defect: Defect) -> list[str]:
    """The names of tests that fail with the defect; empty where it survives."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rfE",
            "--tb=no",
            f"--maxfail={ENOUGH}",
            "-p",
            "no:cacheprovider",
            *defect.tests,
        ],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    failed = re.findall(r"^(?:FAILED|ERROR) \S*?::(\S+)", done.stdout, flags=re.MULTILINE)
    if done.returncode not in (0, 1) or bool(failed) != bool(done.returncode):
        raise RuntimeError(f"{defect.name}: pytest itself failed:\n{done.stdout}{done.stderr}")
    return [re.sub(r"\[.*", "", name) for name in failed]


def main(names: Sequence[str]) -> int:
    survived = 0
    for defect in DEFECTS:
        if names and defect.name not in names:
            continue
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
            tree = Path(folder)
            copy_tree(tree)
            plant(defect, tree)
            caught = list(dict.fromkeys(caught_by(tree, defect)))
        survived += not caught
        line = {
            "claim": "planted defect",
            "defect": defect.name,
            "caught": bool(caught),
            "by": caught,
            "seconds": round(time.monotonic() - begun, 1),
        }
        print(json.dumps(line), flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
