"""What every page is given, and what every page does alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from inspection.keys import ClientKeys
from inspection.plan import Plan
from inspection.shifts import Calendar
from inspection.store import Reader
from inspection.store.reader import PointRow
from ui import words
from ui.actions import Counter, Session
from ui.audits import Audits
from ui.configuration import AlarmFile, Known
from ui.kept import Kept
from ui.markup import Html, div, join, span, tag
from ui.pictures import Picture, Pictures
from ui.queries import Line
from ui.studies import Studies
from ui.waiting import Waiting
from ui.words import say

PIXELS_PX = 160
"""A picture no larger than this is enlarged without smoothing: each square is a pixel."""


class Plans:
    """Plans by their hash: what a hash names does not change. Safe to share between threads."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[str, Plan] = {}

    def get(self, plan_hash: str) -> Plan | None:
        """See `Shared.plan`."""
        if plan_hash not in self._known:
            found = self._reader.plan(plan_hash)
            if found is None:
                return None
            self._known[plan_hash] = found
        return self._known[plan_hash]


@dataclass(frozen=True, slots=True)
class Shared:
    """Opened once for all browsers."""

    reader: Reader
    line: Line
    waiting: Waiting
    pictures: Pictures
    studies: Studies
    models: Mapping[str, Known]
    """By the hash of the model package."""
    classes: Mapping[str, tuple[str, ...]]
    """Names of the classes in the order of the scores, by the hash of the model package."""
    places: tuple[Path, ...]
    """Folders of packages and registries, for what is released while the pages run."""
    title: str
    station: str | None
    """Where people log in; None where the pages only show."""
    keys: ClientKeys | None
    calendar: Calendar
    plans: Plans
    audits: Audits
    reviewers_key: bytes | None
    """What pseudonyms of reviewers are made with; None where they are named."""
    alarm: AlarmFile
    kept: Kept

    def plan(self, plan_hash: str) -> Plan | None:
        """A plan on record, decoded once; None where there is none of that hash. Raises
        `StoreError`."""
        return self.plans.get(plan_hash)


def begin() -> None:
    """What every run of a page, of a fragment and of a callback begins with: its language."""
    words.speak(st.session_state.get("language") or words.preferred(st.context.locale))


def person() -> Session | None:
    """Who has logged in, in this browser session; None where nobody has, or no longer."""
    session: Session | None = st.session_state.get("person")
    if session is not None and time.monotonic_ns() >= session.until_ns:
        forget()
        return None
    return session


def forget() -> None:
    """Log out."""
    st.session_state.pop("person", None)


def counter(shared: Shared) -> Counter | None:
    """Where this browser session speaks to the station; None where ui.toml names none."""
    if shared.station is None:
        return None
    if "counter" not in st.session_state:
        st.session_state.counter = Counter(shared.station, shared.keys)
    found: Counter = st.session_state.counter
    return found


def show(*content: Html) -> None:
    """Pieces of markup; nothing at all where there are none."""
    if text := join(*content).text:
        st.html(text)


def chosen_window(
    choices: Iterable[str], default: str, key: str, on_change: Callable[[], None] | None = None
) -> str:
    """How far back a page looks; it is in the address."""
    chosen = st.segmented_control(
        say("line.window"),
        list(choices),
        default=default,
        required=True,
        format_func=lambda name: say("window.all") if name == "all" else name,
        key=key,
        bind="query-params",
        label_visibility="collapsed",
        on_change=on_change,
    )
    return chosen or default


def large(picture: Picture, alt: str, class_: str = "large") -> Html:
    """A picture that somebody looks at closely; a small one keeps its pixels."""
    if not picture.source:
        return div("large none", picture.why)
    pixels = max(picture.width_px, picture.height_px) <= PIXELS_PX
    image = tag("img", src=picture.source, alt=alt, class_="pixels" if pixels else "photo")
    return div(class_, div("framed", image))


def scores(row: PointRow, names: Sequence[str], most: int) -> list[Html]:
    """The strongest classes, the strongest first; by number where nobody told their names."""
    if row.scores is None:
        return []
    ranked = sorted(enumerate(row.scores), key=lambda item: -item[1])[:most]
    named = len(names) == len(row.scores)
    return [
        tag(
            "div",
            span("name", names[index] if named else say("class.number", number=index)),
            # Cut off: 1.00 is said of a full 1 only.
            span("value", f"{int(score * 1000) / 1000:.3f}"),
            class_="score",
            style=f"--share: {score:.0%}",
        )
        for index, score in ranked
    ]


def started() -> None:
    """What the server's run of a page or of its fragment begins with: see `ready`."""
    st.session_state.started_ns = time.perf_counter_ns()


def ready(page: str) -> None:
    """Say, at a page's end, that all of it is there and how long the server took (milliseconds):
    for whoever measures that, as `tests/proofs/ui_load.py` does."""
    took_ms = (time.perf_counter_ns() - st.session_state.started_ns) / 1e6
    now_ms = time.time_ns() // 1_000_000
    mark = {"data_page": page, "data_ready": str(now_ms), "data_took": f"{took_ms:.1f}"}
    show(tag("span", "", class_="ready", **mark))


def running_word(running: bool | None) -> str:
    """Whether the station runs, in words; nothing where the system does not tell."""
    if running is None:
        return ""
    return say("head.running" if running else "head.gone")


def stopped(now_ns: int) -> Html:
    """A warning that style.css shows after 15 s, unless it has been replaced by then: a browser
    whose server has died must not go on saying that its numbers are two seconds old."""
    return tag("div", say("head.stopped"), class_="alarm stopped", data_drawn=str(now_ns))
