"""Line: is every planned point accounted for, what was the last part, and what is not OK on it.

Everything is in one fragment that runs again every two seconds, so that all numbers on the page
are of the same moment. What has to survive that (the chosen part, the page of pictures) is in the
session by the id of its run: a position in a list would mean another part as soon as one is added.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import streamlit as st

from inspection.ledger import Balance
from inspection.messages import Verdict
from inspection.store.reader import Absence, PointRow, Production, RunRow
from ui import words
from ui.markup import Html, code, div, join, span, tag
from ui.pictures import Picture
from ui.queries import AbsenceGroup, Found, NotOk, Snapshot, grouped, only
from ui.views.shared import (
    Shared,
    begin,
    chosen_window,
    ready,
    running_word,
    scores,
    show,
    started,
    stopped,
)
from ui.words import say

HOUR_NS = 3600 * 10**9
REFRESH_S = 2
SILENT_S = 60
"""An open part and a station that has written nothing for so long do not go together."""

PARTS_A_PAGE = 12
TILES_A_PAGE = 24
TOP_SCORES = 3
GROUPS_SHOWN = 12
PARTS_OF_A_GROUP = 5
POINTS_LISTED = 400
EVENTS_SHOWN = 10

WINDOWS: dict[str, float | None] = {"1 h": 1, "8 h": 8, "24 h": 24, "all": None}
WINDOW = "8 h"
COLUMNS = (
    ("part", "column.part"),
    ("plan", "column.plan"),
    ("time", "column.begun"),
    ("verdict", "column.verdict"),
    ("count", "column.ok"),
    ("count", "column.nok"),
    ("count", "column.review"),
    ("count", "column.missed"),
    ("plc", "column.plc"),
)
NOT_OK = (Verdict.NOK, Verdict.REVIEW, Verdict.NOT_INSPECTED)


def page(shared: Shared) -> None:
    st.session_state.setdefault("run", st.query_params.get("run"))
    st.fragment(run_every=REFRESH_S)(_live)(shared)


def _live(shared: Shared) -> None:
    started()
    begin()
    now_ns = time.time_ns()
    with st.container(key="top", horizontal=True, vertical_alignment="center", gap="small"):
        head = st.empty()
        window = chosen_window(WINDOWS, WINDOW, "window", on_change=_first_pages)
    snapshot = shared.line.look(WINDOWS.get(window))
    if isinstance(snapshot, str):
        head.html(div("head", tag("h1", shared.title or say("page.line"))).text)
        show(_unknown(snapshot), stopped(now_ns))
        return
    head.html(_head(shared.title, snapshot, now_ns).text)
    show(*_warnings(snapshot, now_ns), stopped(now_ns))
    show(_numbers(snapshot.production, _hours(snapshot, WINDOWS.get(window), now_ns)))
    show(_health(snapshot, now_ns))
    show(_contradictions(snapshot.not_ok), tag("p", say("ok.means"), class_="meaning"))
    with st.container(key="lower"):
        left, right = st.columns([43, 57], gap="medium")
        with left:
            _parts(snapshot, window, now_ns)
            show(_events(snapshot, now_ns))
        with right:
            _not_ok(shared, snapshot)
    ready("line")


# -------------------------------------------------------------------------------------- head


def _head(title: str, snapshot: Snapshot, now_ns: int) -> Html:
    if snapshot.newest_ns is None:
        data = say("head.nothing")
    else:
        when = words.clock_time(snapshot.newest_ns, now_ns)
        data = say("head.last", when=when, age=words.duration(_age_s(snapshot, now_ns)))
    state = running_word(snapshot.running)
    return div(
        "head",
        tag("h1", title or say("page.line")),
        span("station", snapshot.station),
        span("state" if snapshot.running else "state gone", state),
        span("age", data),
        *_challenged(snapshot, now_ns),
        span("read", say("head.read", when=words.clock_time(snapshot.read_ns, now_ns))),
    )


def _challenged(snapshot: Snapshot, now_ns: int) -> Iterator[Html]:
    """When the line last proved that it finds defects, where it is asked to."""
    if snapshot.challenge is not None and snapshot.challenge.passed:
        when = words.clock_time(snapshot.challenge.finished_ns, now_ns)
        yield span("age", say("head.challenge", part=snapshot.challenge.part, when=when))


def _age_s(snapshot: Snapshot, now_ns: int) -> float:
    return 0.0 if snapshot.newest_ns is None else (now_ns - snapshot.newest_ns) / 1e9


def _warnings(snapshot: Snapshot, now_ns: int) -> Iterator[Html]:
    """What is between the page and the truth: an unreadable store, a station that is not there."""
    open_runs = snapshot.production.open_runs
    age_s = _age_s(snapshot, now_ns)
    if snapshot.fault:
        age = words.duration((now_ns - snapshot.read_ns) / 1e9)
        when = words.clock_time(snapshot.read_ns, now_ns)
        yield div("alarm", say("head.fault", fault=snapshot.fault, when=when, age=age))
    elif snapshot.running is False:
        still = say("head.still_open", runs=words.runs(open_runs)) if open_runs else ""
        yield div("alarm", say("head.no_station"), still)
    elif open_runs and age_s > SILENT_S:
        silent = words.duration(age_s)
        yield div("warning", say("head.silent", age=silent))
    if snapshot.bypass is not None:
        since = words.clock_time(snapshot.bypass.since_ns, now_ns)
        until = words.clock_time(snapshot.bypass.until_ns, now_ns)
        yield div(
            "alarm",
            say(
                "head.bypassed",
                since=since,
                until=until,
                person=snapshot.bypass.person,
                why=snapshot.bypass.why,
            ),
        )
    if snapshot.challenge is not None and not snapshot.challenge.passed:
        when = words.clock_time(snapshot.challenge.finished_ns, now_ns)
        missed = words.points(snapshot.challenge.missed)
        yield div(
            "alarm",
            say(
                "head.challenge_failed",
                part=snapshot.challenge.part,
                when=when,
                missed=missed,
            ),
        )
    if age_s < -SILENT_S:
        ahead = words.duration(-age_s)
        yield div("warning", say("head.ahead", ahead=ahead))


def _unknown(why: str) -> Html:
    return join(div("alarm", f"✕ {why}."), tag("p", say("head.again"), class_="meaning"))


# ----------------------------------------------------------------------------------- numbers


def _hours(snapshot: Snapshot, window: float | None, now_ns: int) -> float:
    """How long the line has been at work in the window, as far as its runs say."""
    oldest_ns = min((run.begun_ns for run in snapshot.runs), default=now_ns)
    # Of more runs than are listed, only the window's own length is known.
    known = (now_ns - oldest_ns) / HOUR_NS
    if len(snapshot.runs) < snapshot.production.runs:
        known = math.inf
    hours = min(known, math.inf if window is None else window)
    return hours if math.isfinite(hours) else 0.0


def _health(snapshot: Snapshot, now_ns: int) -> Html:
    """Whether edges and PLC are there, as the station wrote it down last."""
    told = [
        span(
            "edge" if each.connected else "edge gone",
            say(
                "line.edge.there" if each.connected else "line.edge.gone",
                edge=each.edge,
                when=words.clock_time(each.since_ns, now_ns),
            ),
        )
        for each in snapshot.health.edges
    ]
    taken = snapshot.health.taken_ns
    if taken is not None:
        age = words.duration(max(0.0, (now_ns - taken) / 1e9))
        told.append(span("edge", say("line.plc.took", age=age)))
    elif snapshot.production.runs:
        told.append(span("edge gone", say("line.plc.never")))
    return div("health", *told) if told else Html("")


def _numbers(production: Production, hours: float) -> Html:
    total = production.total
    terms = (
        ("ok", f"{words.VERDICT_MARKS[Verdict.OK]} OK", total.ok),
        ("nok", f"{words.VERDICT_MARKS[Verdict.NOK]} NOK", total.nok),
        ("review", f"{words.VERDICT_MARKS[Verdict.REVIEW]} REVIEW", total.review),
        (
            "missed",
            f"{words.VERDICT_MARKS[Verdict.NOT_INSPECTED]} NOT_INSPECTED",
            total.not_inspected,
        ),
        ("open", f"… {say('open')}", total.open),
    )
    equation = [
        _term("planned", say("line.planned"), words.number(total.planned)),
        span("sign", "="),
    ]
    for place, (name, label, count) in enumerate(terms):
        equation += [span("sign", "+")] if place else []
        equation.append(_term(name, label, words.number(count)))
    judged = production.parts_ok + production.parts_nok + production.parts_hold
    settled = total.planned - total.open
    return div(
        "numbers",
        div(
            "panel balance",
            div("title", say("line.points")),
            div("equation", *equation),
            _proof(total),
        ),
        div(
            "panel",
            div("title", say("line.coverage")),
            div("big coverage", _coverage(production.closed)),
            div("small", say("line.closed_runs")),
            div("small", say("line.with_open", share=_coverage(total))),
        ),
        div(
            "panel parts",
            div("title", say("line.parts", count=words.number(judged + production.parts_open))),
            div(
                "equation",
                _term("ok", "✓ OK", words.number(production.parts_ok)),
                _term("nok", "✕ NOK", words.number(production.parts_nok)),
                _term("review", "‖ HOLD", words.number(production.parts_hold)),
                _term("open", f"… {say('open')}", words.number(production.parts_open)),
            ),
            div("small", say("line.in_runs", runs=words.runs(production.runs))),
        ),
        div(
            "panel",
            div("title", say("line.yield")),
            div("big yield", words.share(production.first_ok, production.first_runs, 1)),
            div("small", say("line.first_ok", count=words.number(production.first_ok))),
            div("small", say("line.first_judged", count=words.number(production.first_runs))),
        ),
        div(
            "panel",
            div("title", say("line.an_hour")),
            div("big hourly", _an_hour(judged, hours)),
            div("small", say("line.points_an_hour", count=_an_hour(settled, hours))),
            div(
                "small",
                say(
                    "line.rates",
                    nok=words.share(total.nok, settled, 2),
                    review=words.share(total.review, settled, 2),
                ),
            ),
        ),
    )


def _an_hour(count: int, hours: float) -> str:
    return words.number(round(count / hours)) if hours > 0 else "–"


def _term(class_: str, label: str, value: str) -> Html:
    return div(f"term {class_}", tag("b", value), tag("span", label))


def _proof(total: Balance) -> Html:
    if total.exact:
        return div("small proof", say("line.exact"))
    settled = total.ok + total.nok + total.review + total.not_inspected + total.open
    settled_text, planned = words.number(settled), words.number(total.planned)
    return div("alarm proof", say("line.inexact", settled=settled_text, planned=planned))


def _coverage(balance: Balance) -> str:
    return words.share(balance.ok + balance.nok + balance.review, balance.planned)


def _contradictions(not_ok: NotOk) -> Html:
    if not not_ok.contradictions:
        return Html("")
    named = ", ".join(run.part for run in not_ok.contradictions[:5])
    parts = words.parts(len(not_ok.contradictions))
    return div("alarm", say("line.contradict", parts=parts, named=named))


# ------------------------------------------------------------------------------------- parts


def _parts(snapshot: Snapshot, window: str, now_ns: int) -> None:
    runs = snapshot.runs
    if not runs:
        ago = say("line.no_part") if window == "all" else say("line.no_part_in", window=window)
        show(div("section", tag("h2", say("line.last_parts"))), div("empty", ago))
        return
    page = _page("parts_page", len(runs), PARTS_A_PAGE)
    show(
        div("section", tag("h2", say("line.last_parts")), span("hint", say("line.choose"))),
        div(
            "row names",
            *(
                tag("span", say(name), class_=class_, title=say(f"{name}.help"))
                for class_, name in COLUMNS
            ),
        ),
    )
    chosen = st.session_state.run
    with st.container(key="parts", gap=None):
        for run in runs[page * PARTS_A_PAGE : (page + 1) * PARTS_A_PAGE]:
            with st.container(key=f"row-{run.run}", gap=None):
                st.button(
                    code(run.part),
                    key=f"part-{run.run}",
                    type="primary" if run.run == chosen else "tertiary",
                    on_click=_choose,
                    args=(run.run,),
                    width="stretch",
                )
                show(_row(run, now_ns))
    _pager("parts_page", len(runs), PARTS_A_PAGE, say("line.newer"), say("line.older"))


def _row(run: RunRow, now_ns: int) -> Html:
    balance = run.balance
    verdict = run.verdict.value if run.verdict else "open"
    if run.verdict is None:
        plc = span("plc", "")
    elif run.acknowledged:
        plc = tag("span", say("line.taken"), class_="plc", title=say("line.taken.help"))
    else:
        plc = tag("span", say("line.waits"), class_="plc waits", title=say("line.waits.help"))
    return div(
        "row",
        span("part", ""),
        tag("span", run.plan, class_="plan", title=run.plan),
        span("time", words.clock_time(run.begun_ns, now_ns)),
        span(f"word verdict-{verdict}", words.run_word(run.verdict)),
        span("count", words.number(balance.ok)),
        _count(balance.nok),
        _count(balance.review),
        _count(balance.not_inspected),
        plc,
    )


def _count(points: int) -> Html:
    return span("count some" if points else "count none", words.number(points))


def _choose(run: str | None) -> None:
    """Choose a part, or, where it is chosen already, none."""
    st.session_state.run = None if run == st.session_state.run else run
    st.session_state.tiles_page = 0
    if st.session_state.run is None:
        st.query_params.pop("run", None)
    else:
        st.query_params["run"] = st.session_state.run


def _first_pages() -> None:
    st.session_state.parts_page = st.session_state.tiles_page = 0


def _page(key: str, items: int, a_page: int) -> int:
    """The current page; the last one where there are fewer pages than there were."""
    last = max(0, (items - 1) // a_page)
    page = min(max(0, int(st.session_state.get(key, 0))), last)
    st.session_state[key] = page
    return page


def _turn(key: str, by: int) -> None:
    st.session_state[key] = int(st.session_state.get(key, 0)) + by


def _pager(key: str, items: int, a_page: int, back: str, on: str) -> None:
    pages = -(-items // a_page)
    if pages < 2:
        return
    page = _page(key, items, a_page)
    with st.container(key=f"{key}-turn", horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            f"‹ {back}",
            key=f"{key}-back",
            disabled=page == 0,
            on_click=_turn,
            args=(key, -1),
            type="tertiary",
        )
        first, last = page * a_page + 1, min(items, (page + 1) * a_page)
        show(span("hint", say("line.range", first=first, last=last, count=words.number(items))))
        st.button(
            f"{on} ›",
            key=f"{key}-on",
            disabled=page == pages - 1,
            on_click=_turn,
            args=(key, 1),
            type="tertiary",
        )


# ------------------------------------------------------------------------------------ not OK


def _not_ok(shared: Shared, snapshot: Snapshot) -> None:
    parts = {run.run: run for run in snapshot.runs}
    chosen = parts.get(st.session_state.run or "")
    of_parts = only(
        snapshot.not_ok, lambda run: chosen is None or run == chosen.run, verdicts=NOT_OK
    )
    show(
        div(
            "section",
            tag("h2", say("line.not_ok")),
            span("hint", say("line.only", part=chosen.part) if chosen else _all_parts(snapshot)),
        )
    )
    with st.container(key="filters", horizontal=True, vertical_alignment="center", gap="small"):
        verdicts = st.segmented_control(
            say("line.verdicts"),
            [verdict.value for verdict in NOT_OK],
            default=[verdict.value for verdict in NOT_OK],
            selection_mode="multi",
            format_func=lambda value: _filter_label(Verdict(value), of_parts),
            key="verdicts",
            bind="query-params",
            label_visibility="collapsed",
            on_change=_first_pages,
        )
        if chosen:
            st.button(say("line.show_all"), key="all-parts", on_click=_choose, args=(None,))
    if st.session_state.run and not chosen:
        show(div("empty", say("line.chosen_gone")))
    shown = only(of_parts, lambda _: True, [Verdict(value) for value in verdicts or []])
    if not verdicts:
        show(div("empty", say("line.none_chosen")))
        return
    if not shown.found and not shown.absences:
        show(div("empty", say("line.nothing")))
    if shown.found:
        page = _page("tiles_page", len(shown.found), TILES_A_PAGE)
        found = shown.found[page * TILES_A_PAGE : (page + 1) * TILES_A_PAGE]
        rows = shared.line.points(found)
        show(
            div(
                "tiles",
                *(
                    _tile(shared, each, row, parts[each.suspect.run])
                    for each, row in zip(found, rows, strict=True)
                ),
            )
        )
        _pager("tiles_page", len(shown.found), TILES_A_PAGE, say("line.back"), say("line.more"))
    if shown.absences:
        show(_absences(shared, grouped(shown.absences), parts, listed=chosen is not None))


def _all_parts(snapshot: Snapshot) -> str:
    not_ok = snapshot.not_ok
    if not_ok.runs < snapshot.production.runs:
        return say("line.newest", runs=words.runs(not_ok.runs))
    return say("line.all_above")


def _filter_label(verdict: Verdict, not_ok: NotOk) -> str:
    if verdict is Verdict.NOT_INSPECTED:
        count = sum(absence.points for absence in not_ok.absences)
    else:
        count = sum(each.suspect.verdict is verdict for each in not_ok.found)
    # "NOT_INSPECTED" in Markdown: an underscore inside a word stays what it is.
    return f"{words.verdict_word(verdict)} {words.number(count)}"


def _tile(shared: Shared, found: Found, row: PointRow | None, run: RunRow) -> Html:
    suspect = found.suspect
    class_ = f"tile verdict-{suspect.verdict.value}"
    severity = words.severity_word(found.severity)
    head = div(
        "line",
        span("id", suspect.point),
        span("severity", severity),
    )
    if row is None:
        picture = _picture(Picture(fault="line.unreadable"), suspect.point)
        return div(class_, picture, div("said", head, words.verdict_word(suspect.verdict)))
    said = words.reason(row.reason)
    return div(
        class_,
        _picture(shared.pictures.get(row.evidence), row.point),
        div(
            "said",
            head,
            div(
                "line",
                span("word", f"{words.verdict_word(row.verdict)} {row.finding}"),
            ),
            div("where", f"{run.part} · {row.view}"),
            div("scores", *scores(row, shared.classes.get(row.package or "", ()), TOP_SCORES)),
            tag("div", said.means, span("do", f" {said.do}"), class_="why"),
            div("detail", row.detail) if row.detail else Html(""),
        ),
    )


def _picture(picture: Picture, point: str) -> Html:
    if not picture.source:
        return div("picture none", picture.why)
    small = max(picture.width_px, picture.height_px) <= 160
    size = say("picture.size", width=picture.width_px, height=picture.height_px)
    image = tag(
        "img",
        src=picture.source,
        alt=say("picture.of", point=point),
        title=size,
        class_="pixels" if small else "photo",
    )
    return div("picture", image)


def _absences(
    shared: Shared, groups: list[AbsenceGroup], parts: dict[str, RunRow], *, listed: bool
) -> Html:
    total = sum(group.points for group in groups)
    more = len(groups) - GROUPS_SHOWN
    return div(
        "absences",
        tag(
            "h3",
            f"{words.VERDICT_MARKS[Verdict.NOT_INSPECTED]}"
            f" {say('line.missing', points=words.points(total))}",
        ),
        *(_group(shared, group, parts, listed=listed) for group in groups[:GROUPS_SHOWN]),
        div("hint", say("line.more_groups", count=words.number(more))) if more > 0 else Html(""),
    )


def _group(shared: Shared, group: AbsenceGroup, parts: dict[str, RunRow], *, listed: bool) -> Html:
    first = group.absences[0]
    said = words.reason(first.reason)
    title = say(
        "line.group_runs" if group.runs > 1 else "line.group",
        points=words.points(group.points),
        view=first.view,
        runs=words.runs(group.runs),
        short=said.short,
    )
    evidence = next((each.evidence for each in group.absences if each.evidence), None)
    more = group.runs - PARTS_OF_A_GROUP
    return div(
        "group",
        _picture(shared.pictures.get(evidence), first.first) if evidence else Html(""),
        div(
            "said",
            div("line", tag("b", title), span("code", say("line.reason", code=int(first.reason)))),
            tag("div", said.means, span("do", f" {said.do}"), class_="why"),
            *(
                div(
                    "missing",
                    span("id", parts[each.run].part),
                    span("ids", _ids(shared, each, listed=listed)),
                    span("detail", _details(each)),
                )
                for each in group.absences[:PARTS_OF_A_GROUP]
            ),
            div("hint", say("line.more_parts", count=words.number(more))) if more > 0 else Html(""),
        ),
    )


def _ids(shared: Shared, absence: Absence, *, listed: bool) -> Html:
    """The points of an absence: all of them where one part is looked at, else first and last."""
    if absence.points == 1:
        return span("", absence.first)
    if listed:
        ids = shared.line.absent_points(absence, limit=POINTS_LISTED)
        more = absence.points - len(ids)
        if ids:
            every = join(*(join(span("", name), " ") for name in ids))
            return join(every, say("line.and_more", count=words.number(more)) if more > 0 else "")
    between = ", " if absence.points == 2 else " … "
    range_ = join(span("", absence.first), between, span("", absence.last))
    return join(range_, f" ({words.points(absence.points)})")


def _details(absence: Absence) -> str:
    if absence.details > 1:
        return say("line.other_texts", detail=absence.detail, count=absence.details - 1)
    return absence.detail


# ------------------------------------------------------------------------------------ events


def _events(snapshot: Snapshot, now_ns: int) -> Html:
    parts = {run.run: run.part for run in snapshot.runs}
    lines = []
    for event in snapshot.events[:EVENTS_SHOWN]:
        said = words.event_words(event.kind)
        about = say("line.about", part=parts[event.run]) if event.run in parts else ""
        lines.append(
            div(
                "event attention" if said.attention else "event",
                span("time", words.clock_time(event.happened_ns, now_ns)),
                span("kind", f"{'▲' if said.attention else '·'} {said.label}"),
                span("text", f"{event.text}{about}"),
            )
        )
    if not lines:
        lines.append(div("empty", say("line.silence")))
    return join(div("section", tag("h2", say("line.events"))), div("events", *lines))
