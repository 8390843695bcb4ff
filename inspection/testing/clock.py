"""A clock that stands still until it is told to go on."""

from __future__ import annotations


class FakeClock:
    """Both clocks move together with `advance`; `set_wall` is somebody setting the date, and
    `reboot` starts the monotonic clock anew under a new boot id."""

    def __init__(self, monotonic_ns: int = 0, wall_ns: int = 1_700_000_000_000_000_000) -> None:
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self._boots = 1

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def wall_ns(self) -> int:
        return self._wall_ns

    def boot_id(self) -> str:
        return f"{self._boots:032x}"

    def advance(self, *, ns: int = 0, ms: int = 0, s: int = 0) -> None:
        step = ns + ms * 1_000_000 + s * 1_000_000_000
        if step < 0:
            raise ValueError("a monotonic clock never goes back: set_wall does that")
        self._monotonic_ns += step
        self._wall_ns += step

    def set_wall(self, wall_ns: int) -> None:
        self._wall_ns = wall_ns

    def reboot(self) -> None:
        self._monotonic_ns = 0
        self._boots += 1
