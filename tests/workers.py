"""An edge worker of a test's own: one camera, one model, a station that nobody has started."""

from __future__ import annotations

from pathlib import Path

from edge.config import CameraFile, EdgeConfig, EdgeFile, StationEndpoints
from edge.worker import Worker
from inspection.clock import SystemClock
from inspection.testing.line import free_ports


def make_worker(folder: Path, package: Path, camera: CameraFile) -> Worker:
    """A worker that keeps its records below ``folder`` and knows the package as ``darkness``."""
    edge, evidence = free_ports(2)
    file = EdgeFile(
        edge="edge-1",
        directory="",
        station=StationEndpoints(
            edge=f"tcp://127.0.0.1:{edge}", evidence=f"tcp://127.0.0.1:{evidence}"
        ),
        cameras={"cam1": camera},
        models={"darkness": str(package)},
    )
    config = EdgeConfig(
        file=file,
        directory=folder / "edge",
        models={"darkness": package},
        cameras={"cam1": camera},
    )
    return Worker(config, SystemClock())
