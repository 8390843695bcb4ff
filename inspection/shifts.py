"""Shifts of a plant: when each begins and ends, by local time.

Figures are by shift because people are. On the two days of the year on which clocks change, a shift
is an hour shorter or longer than usual; it begins and ends when the clock on the wall says so. A
night shift belongs to the day on which it began.
"""

from __future__ import annotations

import datetime as dt
import itertools
from bisect import bisect_right
from collections.abc import Mapping
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta, Struct, field

from inspection.errors import ConfigurationError

SECOND_NS = 10**9
THREE = {"early": "06:00", "late": "14:00", "night": "22:00"}


class ShiftsFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[shifts]`` of a configuration."""

    zone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    """A name of the IANA time zone database, such as ``Europe/Berlin``."""
    begin: dict[str, str] = field(default_factory=THREE.copy)
    """The name of each shift and when it begins, ``HH:MM``; it ends when the next one begins."""


class Shift(NamedTuple):
    """One shift of one day."""

    name: str
    day: dt.date
    """The local day on which it began."""
    begin_ns: int
    end_ns: int
    """Wall clock, nanoseconds since 1970 (UTC); the end is the next one's beginning."""


class Calendar:
    """When shifts begin. Raises `ConfigurationError` for what is no calendar."""

    def __init__(self, file: ShiftsFile | None = None) -> None:
        file = ShiftsFile() if file is None else file
        try:
            self.zone = ZoneInfo(file.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigurationError(
                f"zone {file.zone!r} is no time zone: write a name of the IANA database such as"
                " Europe/Berlin"
            ) from None
        if not file.begin:
            raise ConfigurationError("begin: name at least one shift and when it begins")
        self._begin = sorted((_time(name, text), name) for name, text in file.begin.items())
        times = [time for time, _ in self._begin]
        for (one, first), (two, second) in itertools.pairwise(self._begin):
            if one == two:
                raise ConfigurationError(f"shifts {first} and {second} both begin at {one:%H:%M}")
        self.names = tuple(name for _, name in self._begin)
        """In the order in which they begin after midnight."""
        self.times: Mapping[str, dt.time] = dict(zip(self.names, times, strict=True))

    def shift_at(self, wall_ns: int) -> Shift:
        """The shift in which a moment lies."""
        day = self.local(wall_ns).date()
        begun = self._begun(day - dt.timedelta(days=1), day + dt.timedelta(days=1))
        at = bisect_right(begun, wall_ns, key=lambda each: each[0]) - 1
        (begin_ns, name, its_day), (end_ns, *_) = begun[at], begun[at + 1]
        return Shift(name, its_day, begin_ns, end_ns)

    def shifts(self, since_ns: int, until_ns: int) -> list[Shift]:
        """All shifts that have a part in a time, oldest first; none where it is empty."""
        found: list[Shift] = []
        at = since_ns
        while at < until_ns:
            found.append(self.shift_at(at))
            at = found[-1].end_ns
        return found

    def local(self, wall_ns: int) -> dt.datetime:
        """A moment as the clock on the wall shows it."""
        return dt.datetime.fromtimestamp(wall_ns // SECOND_NS, self.zone)

    def _begun(self, first: dt.date, last: dt.date) -> list[tuple[int, str, dt.date]]:
        """Beginnings from the first day to the last and one after them, in their order."""
        days = [first + dt.timedelta(days=n) for n in range((last - first).days + 2)]
        found = []
        for day in days:
            for time, name in self._begin:
                moment = dt.datetime.combine(day, time, self.zone)
                found.append((int(moment.timestamp()) * SECOND_NS, name, day))
        # Where clocks are set forward, a time that there is not falls on a later one.
        return sorted(found)


def _time(name: str, text: str) -> dt.time:
    try:
        return dt.datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007  a time of every day
    except ValueError:
        raise ConfigurationError(
            f"begin.{name}: {text!r} is no time of day: write HH:MM such as 06:00"
        ) from None
