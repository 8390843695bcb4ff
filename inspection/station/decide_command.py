"""``inspection decide STATION.toml RUN POINT ACTION``."""

from inspection.station.word_command import configure_decide as configure
from inspection.station.word_command import run_decide as run

__all__ = ["configure", "run"]
