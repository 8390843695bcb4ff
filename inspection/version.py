"""Which software this is, as precisely as it can be told."""

from __future__ import annotations

import subprocess
from pathlib import Path

from inspection import __version__


def code_version() -> str:
    """The version of this software, with the commit where it runs from a checkout."""
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return __version__
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=checkout,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return f"{__version__}+unknown"
    return f"{__version__}+{found.stdout.strip()}"
