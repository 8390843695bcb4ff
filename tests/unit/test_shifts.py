"""When shifts begin and end, on days of 23, 24 and 25 hours."""

from __future__ import annotations

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.errors import ConfigurationError
from inspection.shifts import SECOND_NS, Calendar, Shift, ShiftsFile

HOUR_NS = 3600 * SECOND_NS
BERLIN = ShiftsFile(zone="Europe/Berlin")


def ns(text: str, zone: str = "Europe/Berlin") -> int:
    moment = dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return int(moment.timestamp()) * SECOND_NS


def hours(shift: Shift) -> float:
    return (shift.end_ns - shift.begin_ns) / HOUR_NS


def test_a_moment_lies_in_the_shift_that_has_begun_last() -> None:
    calendar = Calendar(BERLIN)
    for text, name, day in (
        ("2026-11-25 06:00", "early", "2026-11-25"),
        ("2026-11-25 13:59", "early", "2026-11-25"),
        ("2026-11-25 14:00", "late", "2026-11-25"),
        ("2026-11-25 23:30", "night", "2026-11-25"),
        ("2026-11-26 05:59", "night", "2026-11-25"),
    ):
        shift = calendar.shift_at(ns(text))
        assert (shift.name, shift.day.isoformat()) == (name, day), text
        assert shift.begin_ns <= ns(text) < shift.end_ns


def test_a_night_in_which_clocks_change_is_an_hour_shorter_or_longer() -> None:
    calendar = Calendar(BERLIN)
    assert hours(calendar.shift_at(ns("2026-03-28 23:00"))) == 7
    assert hours(calendar.shift_at(ns("2026-10-24 23:00"))) == 9
    assert hours(calendar.shift_at(ns("2026-06-01 23:00"))) == 8


def test_a_shift_that_begins_in_the_hour_that_there_is_not_begins_an_hour_later() -> None:
    calendar = Calendar(ShiftsFile(zone="Europe/Berlin", begin={"a": "02:30", "b": "14:00"}))
    shift = calendar.shift_at(ns("2026-03-29 08:00"))
    assert (shift.name, calendar.local(shift.begin_ns).strftime("%H:%M")) == ("a", "03:30")


def test_one_shift_a_day_and_a_zone_off_by_a_quarter() -> None:
    calendar = Calendar(ShiftsFile(zone="Asia/Kathmandu", begin={"day": "07:15"}))
    shift = calendar.shift_at(ns("2026-11-25 07:14", "Asia/Kathmandu"))
    assert (shift.day.isoformat(), hours(shift)) == ("2026-11-24", 24)


zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
moments = st.integers(ns("2024-01-01 00:00"), ns("2028-01-01 00:00"))


@given(zones, moments, st.integers(0, 14 * 24))
def test_shifts_lie_end_to_end_and_leave_nothing_out(zone: str, since: int, long: int) -> None:
    calendar = Calendar(ShiftsFile(zone=zone))
    until = since + long * HOUR_NS
    found = calendar.shifts(since, until)
    assert bool(found) == (until > since)
    for one, two in itertools.pairwise(found):
        assert one.end_ns == two.begin_ns
    if found:
        assert found[0].begin_ns <= since
        assert found[-1].end_ns >= until
        assert [calendar.shift_at(shift.begin_ns) for shift in found] == found


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (ShiftsFile(zone="Europe/Atlantis"), "IANA"),
        (ShiftsFile(zone="../etc/passwd"), "IANA"),
        (ShiftsFile(begin={}), "at least one shift"),
        (ShiftsFile(begin={"early": "6 o'clock"}), "begin.early.*HH:MM"),
        (ShiftsFile(begin={"early": "24:00"}), "begin.early.*HH:MM"),
        (ShiftsFile(begin={"a": "06:00", "b": "06:00"}), "both begin at 06:00"),
    ],
)
def test_what_is_no_calendar_is_refused_with_what_to_write(file: ShiftsFile, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Calendar(file)
