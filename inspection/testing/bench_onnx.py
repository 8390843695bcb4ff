"""Bare inference, for comparison: the same graph, batch and thread, and nothing around them.

``python -m inspection.testing.bench_onnx PACKAGE CROPS``: for each line of standard input, a number
of seconds, it infers so long and answers with a line of JSON. CROPS is a batch in a ``.npy`` file.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from inspection import runtimes
from inspection.package import open_package


def main() -> int:
    model = runtimes.load(open_package(Path(sys.argv[1])), threads=1)
    crops = np.load(sys.argv[2])
    model.outputs(crops)
    print("ready", flush=True)
    for line in sys.stdin:
        begun, cpu, points = time.monotonic(), time.process_time(), 0
        until = begun + float(line)
        while time.monotonic() < until:
            model.outputs(crops)
            points += len(crops)
        told = {
            "points": points,
            "seconds": time.monotonic() - begun,
            "cpu_s": time.process_time() - cpu,
        }
        print(json.dumps(told), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
