"""``inspection bypass STATION.toml REASON --for TIME``."""

from inspection.station.word_command import configure_bypass as configure
from inspection.station.word_command import run_bypass as run

__all__ = ["configure", "run"]
