"""A part of the Models page: what candidates would have said of production."""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import urlencode

import streamlit as st

from inspection.messages import ModelRef
from inspection.shadow import Changed, Comparison
from ui import shadows, words
from ui.markup import Html, div, span, tag
from ui.shadows import Told
from ui.versions import Version
from ui.views.shared import Shared, show
from ui.views.versions import percent
from ui.words import say

KEPT_S = 60
A_PAGE = 20


def _told(shared: Shared) -> Told:
    return shared.kept.get(
        "shadow",
        lambda: shadows.told(shared.reader, shared.pictures.file),
        fresh_s=KEPT_S,
        old_s=3 * KEPT_S,
    ).value


def agreement(shared: Shared, known: Mapping[str, Version]) -> None:
    """Agreement of candidates with what was released, and every point of which they differ.
    Raises `StoreError`."""
    told = _told(shared)
    if not told.report.comparisons:
        show(div("empty", say("shadow.none")))
    else:
        now_ns = time.time_ns()
        key = "shadow.newest" if told.cut else "shadow.all"
        show(
            div(
                "hint",
                say(
                    key,
                    count=words.number(told.reports),
                    since=words.clock_time(told.since_ns, now_ns),
                    until=words.clock_time(told.until_ns, now_ns),
                ),
            )
        )
    if told.missing:
        show(div("warning", f"▲ {say('shadow.missing', count=words.number(told.missing))}"))
    if told.broken:
        show(div("alarm", f"✕ {say('shadow.broken', count=words.number(told.broken))}"))
    for model, count in told.report.dropped.items():
        if count:
            text = say("shadow.dropped", count=words.number(count), model=model)
            show(div("warning", f"▲ {text}"))
    comparisons = told.report.comparisons
    if not comparisons:
        return
    number = 0
    if len(comparisons) > 1:
        number = st.selectbox(
            say("shadow.which"),
            range(len(comparisons)),
            format_func=lambda index: _pair(comparisons[index], known),
            key="models-shadow",
            width=640,
        )
    _one(shared, comparisons[number], known)


def _pair(each: Comparison, known: Mapping[str, Version]) -> str:
    released, candidate = _name(each.released, known), _name(each.candidate, known)
    return f"{each.model}: {released} → {candidate}"


def _name(ref: ModelRef, known: Mapping[str, Version]) -> str:
    found = known.get(f"{ref.package} {ref.policy}")
    return f"{ref.package[:12]} / {ref.policy[:12]}" if found is None else found.key


def _one(shared: Shared, told: Comparison, known: Mapping[str, Version]) -> None:
    off = told.disagreement
    agreed = off.trials - off.errors
    share = 1.0 - (off.rate or 0.0)
    bounds = f"{percent(1 - off.upper)} – {percent(1 - off.lower, up=True)}"
    parts = told.parts_disagreeing
    show(
        div("section", tag("h2", _pair(told, known))),
        div(
            "numbers",
            _panel(
                "shadow.agreement",
                percent(share),
                say(
                    "shadow.of",
                    count=words.number(agreed),
                    points=words.points(off.trials),
                    bounds=bounds,
                ),
            ),
            _panel(
                "shadow.changed",
                words.number(off.errors),
                say("shadow.below"),
            ),
            _panel(
                "shadow.parts",
                f"{words.number(parts.errors)} / {words.number(parts.trials)}",
                f"{percent(parts.lower)} – {percent(parts.upper, up=True)} (95 %)",
            ),
        ),
    )
    if not told.changed:
        show(div("sentence", f"✓ {say('shadow.same')}"))
        return
    truth = shadows.truths(shared.reader, told.changed)
    right = shadows.judged(told.changed, truth)
    if right.candidate or right.released:
        show(
            div(
                "sentence",
                say(
                    "shadow.judged",
                    candidate=words.number(right.candidate),
                    released=words.number(right.released),
                ),
            )
        )
    else:
        show(div("hint", say("shadow.not_judged")))
    change = st.pills(
        say("shadow.only"),
        list(told.verdicts),
        format_func=lambda name: f"{name.replace('->', '→')} · {words.number(told.verdicts[name])}",
        key="models-change",
    )
    points = shadows.of_change(told.changed, change)
    pages = -(-len(points) // A_PAGE)
    at = 1
    if pages > 1:
        at = int(
            st.number_input(
                say("shadow.page", count=words.number(pages)),
                1, pages, 1, key=f"models-shadow-page-{change}", width=160,
            )
        )  # fmt: skip
    head = tag("tr", *(tag("th", say(f"shadow.head.{name}")) for name in _HEAD))
    shown = points[(at - 1) * A_PAGE : at * A_PAGE]
    rows = [_row(shared, each, truth.get((each.run, each.point))) for each in shown]
    show(div("scrolled", tag("table", head, *rows, class_="figures shadows")))


_HEAD = ("picture", "part", "point", "released", "candidate", "finding", "people")


def _panel(key: str, big: str, small: str) -> Html:
    return div("panel", div("title", say(key)), div("big", big), div("small", small))


def _row(shared: Shared, each: Changed, bad: bool | None) -> Html:
    query = urlencode({"part": each.part, "run": each.run, "point": each.point})
    picture = shared.pictures.get(each.evidence)
    image = (
        tag("img", src=picture.source, alt=each.point, class_="thumb")
        if picture.source
        else span("hint", picture.why)
    )
    said = "–" if bad is None else say("shadow.defect" if bad else "shadow.good")
    return tag(
        "tr",
        tag("td", image),
        tag("td", tag("a", each.part, href=f"/parts?{urlencode({'part': each.part})}")),
        tag("td", tag("a", each.point, href=f"/parts?{query}", data_point=each.point)),
        tag("td", words.verdict_word(each.released)),
        tag("td", words.verdict_word(each.verdict)),
        tag("td", each.finding or each.released_finding or "–"),
        tag("td", said),
    )
