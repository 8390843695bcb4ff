"""Time, as an argument: whoever needs a clock is given one, so that a test can hold it still.

Deadlines are measured on the monotonic clock, which nobody can set back; the wall clock only goes
into records that people read. Monotonic values compare only within one boot of one machine, so a
record that holds one also holds `boot_id`.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Protocol

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    def monotonic_ns(self) -> int:
        """Nanoseconds since some moment of this boot; never goes back."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC; jumps when somebody sets the clock."""

    def boot_id(self) -> str:
        """32 hexadecimal digits that change when the machine starts anew."""


class SystemClock:
    """The machine's clocks.

    Where the kernel gives no boot id, one is drawn for this process: its monotonic values then
    compare with nobody else's, which errs on the safe side.
    """

    def __init__(self, boot_id_file: Path = BOOT_ID_FILE) -> None:
        try:
            self._boot_id = uuid.UUID(boot_id_file.read_text("ascii").strip()).hex
        except (OSError, ValueError):
            self._boot_id = uuid.uuid4().hex

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()

    def boot_id(self) -> str:
        return self._boot_id
