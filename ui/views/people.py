"""People: who changed what, and how reviewers work."""

from __future__ import annotations

import time

import streamlit as st

from inspection.errors import StoreError
from inspection.store.log import log
from ui import people, words
from ui.analysis import as_csv
from ui.markup import div, tag
from ui.views.shared import Shared, begin, chosen_window, person, ready, show
from ui.words import say

DAY_NS = 24 * 3600 * 10**9
WINDOWS: dict[str, int | None] = {"24 h": 1, "7 d": 7, "30 d": 30, "all": None}
MOST_ROWS = 2000


def page(shared: Shared) -> None:
    begin()
    now_ns = time.time_ns()
    with st.container(key="top", horizontal=True, vertical_alignment="center", gap="small"):
        show(div("head", tag("h1", say("page.people"))))
        window = chosen_window(WINDOWS, "7 d", "people-window")
    days = WINDOWS.get(window)
    session = person()
    if session is None:
        show(div("warning", say("people.log_in")))
        ready("people")
        return
    show(div("hint", say("people.you", name=session.user, roles=", ".join(sorted(session.roles)))))
    try:
        entries = log(shared.reader, since_ns=0 if days is None else now_ns - days * DAY_NS)
    except StoreError as error:
        show(div("alarm", f"✕ {error}."), tag("p", say("head.again"), class_="meaning"))
        ready("people")
        return
    left, right = st.columns([66, 34], gap="medium")
    with left:
        kinds = sorted({each.kind for each in entries})
        show(div("section", tag("h2", say("people.log", count=words.number(len(entries))))))
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            chosen = st.multiselect(
                say("people.kinds"), kinds, key="people-kinds", placeholder=say("people.all")
            )
            text = st.text_input(say("people.find"), key="people-find")
        shown = [
            each
            for each in entries
            if (not chosen or each.kind in chosen)
            and text.casefold() in f"{each.person} {each.what} {each.part} {each.point}".casefold()
        ]
        st.dataframe(people.table(shown[:MOST_ROWS], shared.calendar), hide_index=True, height=460)
        if len(shown) > MOST_ROWS:
            show(div("hint", say("people.newest", count=words.number(MOST_ROWS))))
        st.download_button(
            "CSV",
            data=lambda: as_csv(people.table(shown, shared.calendar)),
            file_name="people.csv",
            mime="text/csv",
            on_click="ignore",
            key="people-csv",
            type="tertiary",
        )
    with right:
        show(div("section", tag("h2", say("people.reviewers"))))
        rows = [
            tag(
                "tr",
                tag("td", each.name),
                tag("td", words.number(each.decisions)),
                tag("td", "–" if each.an_hour is None else words.number(round(each.an_hour))),
                tag("td", f"{each.overruled:.0%}"),
            )
            for each in people.reviewers(entries, key=shared.reviewers_key)
        ]
        if rows:
            names = ("reviewer", "decisions", "an_hour", "good")
            head = tag("tr", *(tag("th", say(f"people.{name}")) for name in names))
            show(tag("table", head, *rows, class_="figures"))
        else:
            show(div("empty", say("analysis.judged.none")))
        key = "people.named" if shared.reviewers_key is None else "people.pseudonyms"
        show(div("hint", say(key)))
    ready("people")
