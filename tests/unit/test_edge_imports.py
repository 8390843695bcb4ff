"""An edge computer needs neither the training, nor the pages, nor the database."""

from __future__ import annotations

import subprocess
import sys


def test_the_worker_is_imported_without_torch_streamlit_and_sqlalchemy() -> None:
    code = (
        "import sys, edge.worker, inspection.runtimes.onnx\n"
        "heavy = {'torch', 'torchvision', 'streamlit', 'sqlalchemy', 'pandas', 'scipy', 'onnx'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
