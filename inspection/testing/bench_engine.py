"""What bare ONNX Runtime does: the model's graph on noise, as fast as it goes, in a process of its
own. ``python -m inspection.testing.bench_engine PACKAGE BATCH``

It loads the model and writes a line; for each number of seconds that it then reads it runs for so
long and writes how many points it judged in how many seconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from inspection import runtimes
from inspection.package import open_package


def main(package: Path, batch: int) -> None:
    model = runtimes.load(open_package(package), threads=1)
    spec = runtimes.crop_spec(model.package)
    shape = (batch, spec.height, spec.width, spec.channels)
    crops = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for _ in range(5):
        model.scores(crops)
    print(model.graph, flush=True)
    for wanted in sys.stdin:
        begun, points = time.monotonic(), 0
        while time.monotonic() - begun < float(wanted):
            model.scores(crops)
            points += batch
        print(points, time.monotonic() - begun, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
