"""What the People page shows: the log as a table, and how reviewers work. No Streamlit here."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from inspection.messages import Action
from inspection.shifts import Calendar
from inspection.store.log import LogEntry

HOUR_NS = 3600 * 10**9
GAP_NS = HOUR_NS // 6
"""Between two decisions of one sitting; whoever pauses longer is doing something else."""
LETTERS = 4


@dataclass(frozen=True, slots=True)
class Reviewer:
    """How somebody decides: how many points, how many an hour of sitting at it (None where that
    cannot be told), and what share of them was called good."""

    name: str
    decisions: int
    an_hour: float | None
    overruled: float


def reviewers(entries: Iterable[LogEntry], *, key: bytes | None) -> list[Reviewer]:
    """Everybody who has decided, most decisions first; by pseudonyms made with the key, where one
    is given. A pseudonym is the same each time and cannot be turned back without the key."""
    times: dict[str, list[int]] = {}
    said: dict[str, Counter[str]] = {}
    for each in entries:
        if each.kind == "decision":
            times.setdefault(each.person, []).append(each.when_ns)
            said.setdefault(each.person, Counter())[each.what.split(" ")[0]] += 1
    found = []
    for person, moments in times.items():
        moments.sort()
        gaps = [b - a for a, b in itertools.pairwise(moments) if b - a <= GAP_NS]
        actions = said[person]
        clear = sum(actions[a.value] for a in (Action.CONFIRM, Action.OVERRULE, Action.RECLASSIFY))
        found.append(
            Reviewer(
                name=person if key is None else pseudonym(person, key),
                decisions=len(moments),
                an_hour=len(gaps) * HOUR_NS / sum(gaps) if sum(gaps) else None,
                overruled=actions[Action.OVERRULE.value] / clear if clear else 0.0,
            )
        )
    return sorted(found, key=lambda each: (-each.decisions, each.name))


def pseudonym(name: str, key: bytes) -> str:
    """A name that stands for a person and for nobody who does not hold the key."""
    told = hmac.new(key, name.casefold().encode(), hashlib.sha256).hexdigest()
    return f"R-{told[:LETTERS].upper()}"


def table(entries: Sequence[LogEntry], calendar: Calendar) -> pd.DataFrame:
    """The log as rows, times by the clock on the wall."""
    return pd.DataFrame(
        {
            "time": [
                calendar.local(each.when_ns).isoformat(sep=" ", timespec="seconds")
                for each in entries
            ],
            "person": [each.person for each in entries],
            "kind": [each.kind for each in entries],
            "what": [each.what for each in entries],
            "part": [each.part for each in entries],
            "point": [each.point for each in entries],
            "run": [each.run for each in entries],
        }
    )
