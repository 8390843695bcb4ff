"""Parts: from a part's id to each of its points, its picture, what judged it, what people said."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from inspection.errors import StoreError
from inspection.messages import Verdict
from inspection.plan import Plan, Point
from inspection.record import as_json, as_pdf, part_record
from inspection.store import Reader
from inspection.store.gauge_rows import gauge_rows
from inspection.store.looks import LookRow, looks
from inspection.store.parts import parts_like
from inspection.store.reader import PastRow, PointRow, RunRow, WordRow
from ui import words
from ui.body_drawing import SHAPES, Drawing, drawn
from ui.gauging import measures
from ui.markup import Html, code, div, join, span, tag
from ui.pictures import LARGE_SIDE_PX, Picture
from ui.views.shared import Shared, begin, large, ready, scores, show
from ui.words import say

NEWEST = 15
PAST_RUNS = 12
TOP_SCORES = 4
COLOURS = {
    Verdict.OK.value: "#4c9a6a",
    Verdict.NOK.value: "#d6453b",
    Verdict.REVIEW.value: "#d99a1e",
    Verdict.NOT_INSPECTED.value: "#8b6fd0",
    "open": "#8a949c",
}
HEIGHT_PX = 380


def page(shared: Shared) -> None:
    begin()
    asked = st.query_params
    show(div("head", tag("h1", say("page.parts"))))
    left, right = st.columns([24, 76], gap="medium")
    try:
        with left:
            part = _search(shared.reader, asked.get("part", ""), asked.get("run", ""))
        with right:
            if part:
                _part(shared, part, asked.get("run", ""), asked.get("point", ""))
            else:
                show(div("empty", say("parts.none")))
    except StoreError as error:
        show(div("alarm", f"✕ {error}."), tag("p", say("head.again"), class_="meaning"))
    ready("parts")


# -------------------------------------------------------------------------------------- search


def _search(reader: Reader, part: str, run: str) -> str:
    """The part that is looked at: the one in the address, unless another is chosen."""
    if not part and run:
        part = next((row.part for row in reader.runs() if row.run == run), "")
    text = st.text_input(say("parts.search"), key="parts-search", placeholder=say("parts.example"))
    typed = text.strip()
    if typed:
        found = parts_like(reader, typed)
        hint = say("parts.found", count=words.number(len(found)))
    else:
        found = list(dict.fromkeys(row.part for row in reader.runs(limit=4 * NEWEST)))[:NEWEST]
        hint = say("parts.newest")
    show(div("hint", hint if found else say("parts.nothing", text=typed)))
    if typed in found and typed != part:
        part = typed
        _go(part=part)
    for name in found:
        st.button(
            code(name),
            key=f"parts-{name}",
            type="primary" if name == part else "tertiary",
            on_click=_go,
            kwargs={"part": name},
            width="stretch",
        )
    return part


def _go(**place: str) -> None:
    """Show another place: it is in the address, so that it can be sent to somebody."""
    st.query_params.from_dict(place)


# ---------------------------------------------------------------------------------------- part


def _part(shared: Shared, part: str, run: str, point: str) -> None:
    rows = shared.reader.runs(part=part)
    if not rows:
        show(div("empty", say("parts.unknown", part=part)))
        return
    row = next((each for each in rows if each.run == run), rows[0])
    _title(shared, part, rows, row)
    plan = shared.plan(row.plan_hash)
    points = _points(shared, row)
    said = shared.reader.words([row.run])
    if plan is None:
        show(div("alarm", say("parts.no_plan")))
        return
    chosen = _body(plan, points, said, part, row, point)
    if chosen:
        _point(shared, plan, row, chosen, points.get(chosen), said)


def _points(shared: Shared, row: RunRow) -> Mapping[str, PointRow]:
    """The entries that count. Those of a run that has its verdict change no more but by a record
    that came late, which counts for nothing; all of its points are looked at in turn."""
    if row.verdict is None:
        return {each.point: each for each in shared.reader.points(run=row.run)}
    return _closed(shared, row.run)


@st.cache_resource(ttl=600, show_spinner=False, max_entries=16)
def _closed(_shared: Shared, run: str) -> Mapping[str, PointRow]:
    return {each.point: each for each in _shared.reader.points(run=run)}


def _title(shared: Shared, part: str, rows: Sequence[RunRow], row: RunRow) -> None:
    now_ns = time.time_ns()
    balance = row.balance
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="parts-title"):
        show(
            div(
                "head",
                tag("h1", part),
                span(
                    f"word verdict-{row.verdict.value if row.verdict else 'open'}",
                    words.run_word(row.verdict),
                ),
                span("age", words.clock_time(row.begun_ns, now_ns)),
                span("station", f"{row.plan} {row.plan_hash[:8]}"),
                span(
                    "age",
                    say(
                        "parts.balance",
                        planned=words.number(balance.planned),
                        ok=words.number(balance.ok),
                        nok=words.number(balance.nok),
                        review=words.number(balance.review),
                        missed=words.number(balance.not_inspected),
                        open=words.number(balance.open),
                    ),
                ),
            )
        )
        st.download_button(
            "JSON",
            data=lambda: as_json(part_record(shared.reader, part, time.time_ns())),
            file_name=f"{part}.json",
            mime="application/json",
            on_click="ignore",
            help=say("parts.json.help"),
            key="parts-json",
        )
        st.download_button(
            "PDF",
            data=lambda: as_pdf(
                part_record(shared.reader, part, time.time_ns()),
                shared.pictures.file,
                shared.classes,
            ),
            file_name=f"{part}.pdf",
            mime="application/pdf",
            on_click="ignore",
            help=say("parts.pdf.help"),
            key="parts-pdf",
        )
    if len(rows) > 1:
        names = {each.run: each for each in rows}
        st.segmented_control(
            say("parts.runs"),
            list(names),
            default=row.run,
            required=True,
            format_func=lambda name: _run_label(names[name], now_ns),
            key=f"parts-run-{part}-{row.run}",
            on_change=_other_run,
            args=(part, row.run),
        )


def _run_label(row: RunRow, now_ns: int) -> str:
    return f"{words.run_word(row.verdict)} {words.clock_time(row.begun_ns, now_ns)}"


def _other_run(part: str, run: str) -> None:
    _go(part=part, run=st.session_state[f"parts-run-{part}-{run}"])


# ---------------------------------------------------------------------------------------- body


def _body(
    plan: Plan,
    points: Mapping[str, PointRow],
    said: Sequence[WordRow],
    part: str,
    row: RunRow,
    point: str,
) -> str:
    """The drawing and the list of what is not OK; the point that is chosen in either."""
    drawing = drawn(plan)
    spoken = {word.point for word in said}
    listed = [p for p in points.values() if p.verdict is not Verdict.OK or p.point in spoken]
    listed.sort(key=_urgency)
    names = [each.point for each in listed]
    point = point or next(iter(names), "")
    left, right = st.columns([62, 38], gap="medium")
    with left:
        event = st.altair_chart(
            _chart(drawing, points, point), key=f"parts-body-{row.run}", on_select="rerun"
        )
    with right:
        show(div("section", tag("h2", say("parts.not_ok", count=words.number(len(names))))))
        table = pd.DataFrame(
            {
                say("parts.point"): names,
                say("column.verdict"): [words.verdict_word(p.verdict) for p in listed],
                say("parts.finding"): [p.finding or words.reason(p.reason).short for p in listed],
            }
        )
        picked = st.dataframe(
            table,
            hide_index=True,
            height=200,
            on_select="rerun",
            selection_mode="single-row",
            key=f"parts-list-{row.run}",
        )
        every = sorted(each.id for each in plan.points)
        typed = st.selectbox(
            say("parts.any_point"),
            every,
            index=None,
            placeholder=say("parts.any_point.hint"),
            key=f"parts-any-{row.run}",
        )
    rows_picked: list[int] = list(picked["selection"]["rows"]) if picked else []
    candidates = {
        "chart": _clicked(event, "chosen"),
        "good": _clicked(event, "good"),
        "list": names[rows_picked[0]] if rows_picked and rows_picked[0] < len(names) else "",
        "any": typed or "",
    }
    # Of all ways to choose, the one that has changed since the page was last drawn.
    key = f"parts-before-{row.run}"
    before: dict[str, str] = st.session_state.get(key, {})
    changed = [name for name, value in candidates.items() if value and value != before.get(name)]
    st.session_state[key] = candidates
    if changed and candidates[changed[-1]] != point:
        _go(part=part, run=row.run, point=candidates[changed[-1]])
        st.rerun()
    return point


def _urgency(point: PointRow) -> tuple[int, str]:
    order = (Verdict.NOK, Verdict.REVIEW, Verdict.NOT_INSPECTED, Verdict.OK)
    return order.index(point.verdict), point.point


def _clicked(event: Any, name: str) -> str:
    chosen = event["selection"].get(name, []) if event else []
    return str(chosen[0].get("point", "")) if chosen else ""


def _chart(drawing: Drawing, points: Mapping[str, PointRow], chosen: str) -> Any:
    rows = []
    for placed in drawing.points:
        found = points.get(placed.point)
        verdict = "open" if found is None else found.verdict.value
        rows.append(
            {
                "point": placed.point,
                "view": placed.view,
                "x": placed.x,
                "y": placed.y,
                "verdict": verdict,
                "finding": "" if found is None else found.finding,
            }
        )
    frame = pd.DataFrame(rows, columns=["point", "view", "x", "y", "verdict", "finding"])
    kinds = list(SHAPES)
    wide, high = (
        alt.Scale(domain=[-0.02 * side, 1.02 * side]) for side in (drawing.width, drawing.height)
    )
    x, y = alt.X("x:Q", axis=None, scale=wide), alt.Y("y:Q", axis=None, scale=high)
    is_ok = frame["verdict"] == Verdict.OK.value
    # Nearly all of a body's 5,000 points: of each one nothing but its place is computed.
    good = (
        alt.Chart(frame.loc[is_ok, ["point", "x", "y"]])
        .mark_circle(size=22, opacity=0.9, color=COLOURS[Verdict.OK.value])
        .encode(x=x, y=y, tooltip=alt.Tooltip("point:N"))
        .add_params(alt.selection_point(name="good", fields=["point"], nearest=False))
    )
    marks = (
        alt.Chart(frame[~is_ok])
        .mark_point(filled=True, opacity=0.9, size=110)
        .encode(
            x=x,
            y=y,
            shape=alt.Shape(
                "verdict:N",
                scale=alt.Scale(domain=kinds, range=[SHAPES[kind] for kind in kinds]),
                legend=alt.Legend(orient="top", title=None),
            ),
            color=alt.Color(
                "verdict:N",
                scale=alt.Scale(domain=kinds, range=[COLOURS[kind] for kind in kinds]),
                legend=alt.Legend(orient="top", title=None),
            ),
            tooltip=["point:N", "view:N", "verdict:N", "finding:N"],
        )
        .add_params(alt.selection_point(name="chosen", fields=["point"], nearest=False))
    )
    ring = (
        alt.Chart(frame[frame["point"] == chosen])
        .mark_point(shape="circle", size=420, strokeWidth=2.5, color="#1f78d1")
        .encode(x=x, y=y)
    )
    return alt.layer(good, marks, ring).properties(height=HEIGHT_PX)


# --------------------------------------------------------------------------------------- point


def _point(
    shared: Shared,
    plan: Plan,
    row: RunRow,
    name: str,
    found: PointRow | None,
    said: Sequence[WordRow],
) -> None:
    planned = next((each for each in plan.points if each.id == name), None)
    if planned is None:
        show(div("empty", say("parts.no_point", point=name)))
        return
    now_ns = time.time_ns()
    of_point = [word for word in said if word.point == name]
    seen = [each for each in looks(shared.reader, since_ns=row.begun_ns) if each.run == row.run]
    picture, facts = st.columns([46, 54], gap="medium")
    with picture:
        shown = Picture(fault="picture.none") if found is None else _large(shared, found)
        show(large(shown, say("picture.of", point=name)))
    with facts:
        show(_facts(shared, planned, name, found))
        if plan.kinds[planned.kind].gauge is not None:
            measured = gauge_rows(shared.reader, name, bodies=1, run=row.run)
            show(*(div("detail", f"{say('gauge.measures')}: {measures(each.gauged)}")
                   for each in measured))  # fmt: skip
        show(*_spoken(of_point, [each for each in seen if each.point == name], now_ns))
    past = shared.reader.past(name, before=row.number, runs=PAST_RUNS, plan_hash=row.plan_hash)
    show(_history(shared, past, now_ns))


def _large(shared: Shared, found: PointRow) -> Picture:
    return shared.pictures.get(found.evidence, LARGE_SIDE_PX)


def _facts(shared: Shared, planned: Point, name: str, found: PointRow | None) -> Html:
    lines = [
        div(
            "line",
            span("id", name),
            span("severity", words.severity_word(planned.severity)),
        )
    ]
    if found is None:
        lines.append(div("alarm", say("parts.no_record")))
    else:
        reason = words.reason(found.reason)
        names = shared.classes.get(found.package or "", ())
        lines += [
            div(
                f"line verdict-{found.verdict.value}",
                span("word", f"{words.verdict_word(found.verdict)} {found.finding}"),
            ),
            tag("div", reason.means, span("do", f" {reason.do}"), class_="why"),
            div("detail", found.detail) if found.detail else Html(""),
            div("scores", *scores(found, names, TOP_SCORES)),
        ]
    facts = [
        (say("parts.view"), planned.view),
        (say("parts.kind"), planned.kind),
        (say("parts.gun"), planned.gun or ""),
        (say("parts.program"), planned.program or ""),
        (say("parts.stack"), planned.stack or ""),
        (say("parts.place"), _place(planned)),
    ]
    if found is not None:
        facts += [
            (say("parts.model"), _short(found.package)),
            (say("parts.policy"), _short(found.policy)),
            (say("parts.picture"), _short(found.evidence)),
            (say("parts.record"), str(found.record)),
            (say("parts.attempt"), str(found.attempt)),
        ]
    lines.append(
        tag(
            "dl",
            *(join(tag("dt", label), tag("dd", value)) for label, value in facts if value),
            class_="facts",
        )
    )
    return div("point-facts", *lines)


def _short(value: str | None) -> str:
    return "" if value is None else value[:16]


def _place(point: Point) -> str:
    known = [("x", point.x), ("y", point.y), ("z", point.z)]
    return ", ".join(f"{axis} {value:.1f} mm" for axis, value in known if value is not None)


def _spoken(said: Sequence[WordRow], seen: Sequence[LookRow], now_ns: int) -> list[Html]:
    lines = [
        div(
            "spoken",
            say(
                "parts.word",
                when=words.clock_time(word.decided_ns, now_ns),
                person=word.person,
                action=say(f"act.{word.action.value}"),
                finding=word.finding,
            ),
            span("detail", f" {word.method} {word.comment}".rstrip()),
        )
        for word in said
    ]
    lines += [
        div(
            "spoken",
            say(
                "parts.look",
                when=words.clock_time(look.looked_ns, now_ns),
                person=look.person,
                word=look.word.value,
                method=look.method.value,
            ),
            span("detail", f" {look.finding} {look.comment}".rstrip()),
        )
        for look in seen
    ]
    return [div("title", say("parts.said")), *lines] if lines else []


def _history(shared: Shared, past: Sequence[PastRow], now_ns: int) -> Html:
    if not past:
        return Html("")
    cells = []
    for each in past:
        row = each.row
        picture = shared.pictures.get(row.evidence)
        image = (
            tag("img", src=picture.source, alt="", class_="pixels")
            if picture.source
            else span("none", "")
        )
        told = f"{row.part} · {words.clock_time(each.begun_ns, now_ns)} · {row.finding}"
        cells.append(
            tag(
                "div",
                image,
                span(f"word verdict-{row.verdict.value}", words.VERDICT_MARKS[row.verdict]),
                class_="cell",
                title=told,
            )
        )
    return join(div("title", say("parts.history", count=len(past))), div("cells", *cells))
