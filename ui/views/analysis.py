"""Analysis: what goes wrong most, whether it has changed, and what people made of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import altair as alt
import pandas as pd
import streamlit as st

from inspection.control_charts import (
    LEAST_EVENTS,
    Chart,
    Fired,
    best_chart,
    between,
    fired,
    g_chart,
    i_chart,
    mr_chart,
    u_chart,
)
from inspection.drift import LEAST_SLOTS
from inspection.errors import StoreError
from inspection.messages import Verdict
from inspection.plan import Plan
from inspection.store.gauge_rows import gauge_rows
from inspection.store.looks import looks
from inspection.store.reader import RunRow
from inspection.store.rollups import PointCount, SlotRow, point_counts, slots
from inspection.store.score_rows import score_rows
from ui import analysis, drifting, gauging, words
from ui.analysis import MOST_GUN_POINTS, Bar, By, Score, Subgroup
from ui.drifting import Compared, Drift
from ui.kept import Answer
from ui.markup import Html, div, span, tag
from ui.views.shared import Shared, begin, chosen_window, ready, show
from ui.words import say

HOUR_NS = 3600 * 10**9
WINDOWS: dict[str, int | None] = {"8 h": 8, "24 h": 24, "7 d": 168, "30 d": 720, "all": None}
WINDOW = "24 h"
MOST_RUNS = 3000
"""Bodies of one control chart."""
RECENT_RUNS = 200
BARS = 20
DRIFTS = 12
TREND_RUNS = 100
PER = ("points", "body")
SUBGROUPS = (1, 2, 5, 10, 20)
SERIES: dict[str, tuple[Verdict, ...]] = {
    "nok": (Verdict.NOK,),
    "review": (Verdict.REVIEW,),
    "missed": (Verdict.NOT_INSPECTED,),
}
COLOURS = {"NOK": "#d6453b", "REVIEW": "#d99a1e", "NOT_INSPECTED": "#8b6fd0"}
LEAST_BASE = 20
LEAST_MEASURED, MOST_MEASURED = 5, 500


def page(shared: Shared) -> None:
    begin()
    with st.container(key="top", horizontal=True, vertical_alignment="center", gap="small"):
        show(div("head", tag("h1", say("page.analysis"))))
        window = chosen_window(WINDOWS, WINDOW, "analysis-window")
    try:
        read = _runs(shared, window)
        runs = read.value
        show(div("hint", say("head.read", when=words.clock_time(read.read_ns, time.time_ns()))))
        plan_hash = _plan(runs)
        if not plan_hash:
            show(div("empty", say("analysis.nothing")))
        else:
            mine = [run for run in runs if run.plan_hash == plan_hash]
            left, right = st.columns(2, gap="medium")
            with left:
                _pareto(shared, plan_hash, window)
            with right:
                _control(mine)
            left, right = st.columns(2, gap="medium")
            with left:
                _repeated(shared, plan_hash, window, mine)
                _judged(shared, plan_hash, window, mine)
            with right:
                _trend(shared, plan_hash)
            _drift(shared, plan_hash)
    except StoreError as error:
        show(div("alarm", f"✕ {error}."), tag("p", say("head.again"), class_="meaning"))
    ready("analysis")


FRESH = {"fresh_s": 20.0, "old_s": 90.0}


def _runs(shared: Shared, window: str) -> Answer[list[RunRow]]:
    return shared.kept.get(
        ("runs", window),
        lambda: shared.reader.runs(limit=MOST_RUNS, since_ns=_since_ns(window)),
        **FRESH,
    )


def _sums(shared: Shared, window: str) -> tuple[list[PointCount], list[SlotRow]]:
    def make() -> tuple[list[PointCount], list[SlotRow]]:
        since_ns, until_ns = _since_ns(window), time.time_ns() + 1
        return (
            point_counts(shared.reader, since_ns, until_ns),
            slots(shared.reader, since_ns, until_ns),
        )

    return shared.kept.get(("sums", window), make, **FRESH).value


def _compared(shared: Shared, plan_hash: str, plan: Plan) -> Compared:
    return shared.kept.get(
        ("drift", plan_hash),
        lambda: drifting.compared(shared.reader, plan_hash, plan, shared.models, time.time_ns()),
        **FRESH,
    ).value


def _since_ns(window: str) -> int:
    hours = WINDOWS.get(window)
    return 0 if hours is None else time.time_ns() - hours * HOUR_NS


def _plan(runs: Sequence[RunRow]) -> str:
    """The plan whose bodies are looked at: those of different plans cannot be added up."""
    names = {run.plan_hash: f"{run.plan} {run.plan_hash[:8]}" for run in runs}
    if len(names) < 2:
        return next(iter(names), "")
    chosen: str | None = st.selectbox(
        say("analysis.plan"), list(names), format_func=names.__getitem__, key="analysis-plan"
    )
    return chosen or ""


# -------------------------------------------------------------------------------------- Pareto


def _pareto(shared: Shared, plan_hash: str, window: str) -> None:
    show(div("section", tag("h2", say("analysis.pareto"))))
    chosen = st.segmented_control(
        say("analysis.by"),
        [by.value for by in By],
        default=By.CLASS.value,
        required=True,
        format_func=lambda value: say(f"analysis.by.{value}"),
        key="analysis-by",
        bind="query-params",
        label_visibility="collapsed",
    )
    by = By(chosen or By.CLASS.value)
    all_counts, all_sums = _sums(shared, window)
    counts = [each for each in all_counts if each.plan_hash == plan_hash]
    sums = [row for row in all_sums if row.plan_hash == plan_hash]
    plan = shared.plan(plan_hash)
    bars = analysis.pareto(counts, by, {} if plan is None else {plan_hash: plan}, shared.calendar)
    points = sum(row.planned for row in sums)
    bodies = sum(row.runs for row in sums)
    show(
        div(
            "hint",
            say(
                "analysis.of",
                bad=words.number(sum(bar.total for bar in bars)),
                points=words.number(points),
                bodies=words.number(bodies),
            ),
        )
    )
    if not bars:
        show(div("empty", say("analysis.none_bad")))
        return
    event = st.altair_chart(_bars(bars[:BARS]), key=f"analysis-bars-{by.value}", on_select="rerun")
    if len(bars) > BARS:
        show(div("hint", say("analysis.more", count=words.number(len(bars) - BARS))))
    table = analysis.pareto_table(bars, by.value)
    _export(table, f"pareto-{by.value}")
    picked = event["selection"].get("bar", []) if event else []
    name = str(picked[0].get("name", "")) if picked else ""
    bar = next((each for each in bars if each.name == name), None)
    if bar is not None:
        _where(shared, bar, plan_hash)


def _bars(bars: Sequence[Bar]) -> Any:
    rows = [
        {"name": bar.name, "verdict": verdict, "count": count, "order": place}
        for place, bar in enumerate(bars)
        for verdict, count in (
            ("NOK", bar.nok),
            ("REVIEW", bar.review),
            ("NOT_INSPECTED", bar.missed),
        )
    ]
    names = [bar.name for bar in bars]
    labels = alt.Axis(labelLimit=220, labelOverlap=False)
    chart = (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar()
        .encode(
            x=alt.X("sum(count):Q", title=None, axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y("name:N", sort=names, title=None, axis=labels),
            color=alt.Color(
                "verdict:N",
                scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())),
                legend=alt.Legend(orient="top", title=None),
            ),
            order=alt.Order("verdict:N"),
            tooltip=["name:N", "verdict:N", "sum(count):Q"],
        )
        .add_params(alt.selection_point(name="bar", fields=["name"]))
    )
    totals = pd.DataFrame(
        {"name": names, "total": [bar.total for bar in bars], "share": [b.share for b in bars]}
    )
    line = (
        alt.Chart(totals)
        .mark_text(align="left", dx=4, color="#7a848c")
        .encode(
            x=alt.X("total:Q"),
            y=alt.Y("name:N", sort=names),
            text=alt.Text("share:Q", format=".0%"),
            tooltip=[alt.Tooltip("share:Q", format=".1%", title=say("analysis.so_far"))],
        )
    )
    return alt.layer(chart, line).properties(height=alt.Step(22))


def _where(shared: Shared, bar: Bar, plan_hash: str) -> None:
    """The newest bodies on which it happened, each with the way to its picture."""
    runs = [run for run in shared.reader.runs(limit=RECENT_RUNS) if run.plan_hash == plan_hash]
    wanted = set(bar.points)
    found = [
        each
        for each in shared.reader.suspect_rows([run.run for run in runs][:50])
        if each.point in wanted
    ][:20]
    links = [
        tag(
            "a",
            f"{each.part} {each.point} {words.verdict_word(each.verdict)} {each.finding}",
            href=f"/parts?part={each.part}&run={each.run}&point={each.point}",
            target="_self",
        )
        for each in found
    ]
    show(
        div("title", say("analysis.where", name=bar.name)),
        div("links", *(div("", link) for link in links))
        if links
        else div("empty", say("analysis.where.none")),
    )


# ------------------------------------------------------------------------------- control chart


def _control(runs: Sequence[RunRow]) -> None:
    show(div("section", tag("h2", say("analysis.control"))))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        what = st.segmented_control(
            say("analysis.series"),
            list(SERIES),
            default="nok",
            required=True,
            format_func=lambda name: say(f"analysis.series.{name}"),
            key="analysis-series",
            bind="query-params",
            label_visibility="collapsed",
        )
        size = st.selectbox(
            say("analysis.together"),
            SUBGROUPS,
            format_func=words.parts,
            key="analysis-size",
            width=140,
            label_visibility="collapsed",
        )
        per = st.segmented_control(
            say("analysis.per"),
            PER,
            default=PER[0],
            required=True,
            format_func=lambda name: say(f"analysis.per.{name}"),
            key="analysis-per",
            bind="query-params",
            label_visibility="collapsed",
        )
    groups = analysis.subgroups(runs, SERIES[what or "nok"], int(size or 1))
    if len(groups) < 4:
        show(div("empty", say("analysis.too_few", count=words.number(len(groups)))))
        return
    base = max(2, min(len(groups), max(LEAST_BASE, len(groups) // 2)))
    counts, sizes = [each.count for each in groups], [each.points for each in groups]
    if per == "body":
        chart = u_chart(counts, [each.bodies for each in groups], base)
    else:
        chart = _chart(counts, sizes, base)
    # A gap ends with the body on which it happened again.
    shown = [each for each in groups if each.count][1:] if chart.kind == "g" else groups
    found = fired(chart)
    st.altair_chart(_control_chart(chart, shown, found), key="analysis-control")
    about = say(
        f"analysis.about.{chart.kind[0]}",
        base=words.number(chart.base),
        spread=f"{chart.spread:.2f}",
        least=f"{LEAST_EVENTS:g}",
    )
    show(div("hint", about))
    show(*_sentences(found, shown))
    table = pd.DataFrame(
        {
            "part": [each.part for each in shown],
            "value": chart.values,
            "centre": chart.centre,
            "lower": chart.lower,
            "upper": chart.upper,
        }
    )
    _export(table, f"control-{what}")


def _chart(counts: Sequence[int], sizes: Sequence[int], base: int) -> Chart:
    """A p' chart with limits from the base, or a g chart where events are few. Its limits come from
    the gaps that end in the base."""
    chart = best_chart(counts, sizes, base)
    if chart.kind != "g":
        return chart
    gaps, known = between(counts), len(between(counts[:base]))
    return g_chart(gaps, known) if known >= 2 else chart


def _control_chart(
    chart: Chart, groups: Sequence[Subgroup | Score], found: Sequence[Fired], height: int = 260
) -> Any:
    bad = {alarm.at for alarm in found}
    frame = pd.DataFrame(
        {
            "n": range(len(chart.values)),
            "part": [each.part for each in groups],
            "value": chart.values,
            "lower": chart.lower,
            "upper": chart.upper,
            "centre": [chart.centre] * len(chart.values),
            "alarm": [index in bad for index in range(len(chart.values))],
        }
    )
    form = {"p'": ".3%", "u'": ".2f", "g": ".0f"}.get(chart.kind, ".3f")
    axis = alt.Axis(format=".2%") if chart.kind == "p'" else alt.Axis()
    x = alt.X("n:Q", title=None, axis=alt.Axis(labels=False, ticks=False))
    limits = [
        alt.Chart(frame)
        .mark_line(strokeDash=[5, 3], color="#8a949c", interpolate="step")
        .encode(x=x, y=alt.Y(f"{name}:Q", title=None, axis=axis))
        for name in ("lower", "upper")
    ]
    centre = alt.Chart(frame).mark_line(color="#8a949c").encode(x=x, y="centre:Q")
    line = alt.Chart(frame).mark_line(color="#3f8ad6", strokeWidth=1.2).encode(x=x, y="value:Q")
    marks = (
        alt.Chart(frame)
        .mark_point(filled=True, opacity=1)
        .encode(
            x=x,
            y="value:Q",
            shape=alt.condition(alt.datum.alarm, alt.value("triangle-up"), alt.value("circle")),
            color=alt.condition(alt.datum.alarm, alt.value("#d6453b"), alt.value("#3f8ad6")),
            size=alt.condition(alt.datum.alarm, alt.value(110), alt.value(22)),
            tooltip=["part:N", alt.Tooltip("value:Q", format=form)],
        )
    )
    return alt.layer(*limits, centre, line, marks).properties(height=height)


def _sentences(found: Sequence[Fired], groups: Sequence[Subgroup | Score]) -> list[Html]:
    """The newest alarm of each rule, in words."""
    newest: dict[tuple[int, bool], Fired] = {}
    for alarm in found:
        newest[alarm.rule, alarm.above] = alarm
    if not newest:
        return [div("sentence", say("analysis.stable"))]
    lines = []
    for alarm in sorted(newest.values(), key=lambda each: -each.at):
        side = say("analysis.above" if alarm.above else "analysis.below")
        said = say(
            f"analysis.rule.{alarm.rule}",
            part=groups[alarm.at].part,
            first=groups[alarm.first].part,
            side=side,
        )
        lines.append(div("sentence alarmed", span("mark", "▲ "), said))
    return lines


# ---------------------------------------------------------------------- repeated, decided, trend


def _repeated(shared: Shared, plan_hash: str, window: str, runs: Sequence[RunRow]) -> None:
    recent = sorted(runs, key=lambda run: -run.number)[:RECENT_RUNS]
    found = shared.kept.get(
        ("repeated", plan_hash, window),
        lambda: analysis.repeated(
            recent,
            shared.reader.suspects([run.run for run in recent]),
            count=shared.alarm.defects,
            within=shared.alarm.bodies,
        ),
        **FRESH,
    ).value
    show(
        div(
            "section",
            tag("h2", say("analysis.repeated")),
            span(
                "hint",
                say(
                    "analysis.repeated.hint",
                    count=shared.alarm.defects,
                    within=shared.alarm.bodies,
                ),
            ),
        )
    )
    if not found:
        show(div("empty", say("analysis.repeated.none", count=words.number(len(recent)))))
        return
    show(
        *(
            div(
                "sentence alarmed",
                span("mark", "▲ "),
                tag(
                    "a",
                    say("analysis.repeated.at", point=each.point, count=each.defects),
                    href=f"/parts?part={each.part}&run={each.run}&point={each.point}",
                    target="_self",
                ),
            )
            for each in found[:12]
        )
    )


def _judged(shared: Shared, plan_hash: str, window: str, runs: Sequence[RunRow]) -> None:
    show(div("section", tag("h2", say("analysis.judged"))))
    told = shared.kept.get(
        ("judged", plan_hash, window),
        lambda: analysis.judged(shared.reader.words([run.run for run in runs])),
        **FRESH,
    ).value
    if not told.overkill.trials and not told.escapes:
        show(div("empty", say("analysis.judged.none")))
        return
    overkill = told.overkill
    show(
        div(
            "sentence",
            say(
                "analysis.overkill",
                good=words.number(overkill.errors),
                all=words.number(overkill.trials),
                share=f"{overkill.rate:.1%}" if overkill.rate is not None else "–",
                lower=f"{overkill.lower:.1%}",
                upper=f"{overkill.upper:.1%}",
            ),
        ),
        div("sentence", say("analysis.escapes", count=words.number(told.escapes))),
        div("hint", say("analysis.judged.hint")),
    )


def _trend(shared: Shared, plan_hash: str) -> None:
    show(div("section", tag("h2", say("analysis.trend"))))
    plan = shared.plan(plan_hash)
    if plan is None:
        return
    guns: dict[str, list[str]] = {}
    for each in plan.points:
        if each.gun:
            guns.setdefault(each.gun, []).append(each.id)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        gun = None
        if guns:
            gun = st.selectbox(
                say("analysis.trend.gun"),
                sorted(guns),
                index=None,
                placeholder=say("analysis.trend.any_gun"),
                key="analysis-gun",
                bind="query-params",
            )
        point = st.selectbox(
            say("analysis.trend.point"),
            [each.id for each in plan.points if gun is None or each.gun == gun],
            index=None,
            placeholder=say("parts.any_point.hint"),
            key="analysis-point",
            bind="query-params",
        )
    if point:
        past = shared.reader.past(point, runs=TREND_RUNS, plan_hash=plan_hash)
        _trend_chart(analysis.scores(past, shared.models), point)
        _measured(shared, point)
        rows_of = gauge_rows(shared.reader, point, bodies=TREND_RUNS, plan_hash=plan_hash)
        for name in gauging.NAMES if rows_of else ():
            show(div("title", say(f"gauge.{name}")))
            _individuals(gauging.series(rows_of, name)[-MOST_MEASURED:], point, f"-{name}")
    elif gun:
        points = drifting.evenly(guns[gun], MOST_GUN_POINTS)
        rows = score_rows(shared.reader, plan_hash, points, bodies=TREND_RUNS)
        show(div("hint", say("analysis.trend.of_gun", count=words.number(len(points)))))
        _trend_chart(analysis.gun_scores(rows, points, shared.models), points[0])
    else:
        show(div("empty", say("analysis.trend.choose")))


def _trend_chart(series: Sequence[Score], point: str) -> None:
    """The scores of some bodies and whether they rise, with the way to the newest picture."""
    told = analysis.trend_of(series)
    if told is None:
        show(div("empty", say("analysis.trend.few")))
        return
    frame = pd.DataFrame(
        {
            "n": range(len(series)),
            "part": [each.part for each in series],
            "value": [each.value for each in series],
        }
    )
    st.altair_chart(
        alt.Chart(frame)
        .mark_line(point=True, color="#3f8ad6", strokeWidth=1)
        .encode(
            x=alt.X("n:Q", title=None, axis=alt.Axis(labels=False, ticks=False)),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, 1])),
            tooltip=["part:N", alt.Tooltip("value:Q", format=".3f")],
        )
        .properties(height=200),
        key="analysis-trend",
    )
    rises = told.p_value < 0.01 and told.slope > 0
    show(
        div(
            "sentence alarmed" if rises else "sentence",
            say(
                "analysis.trend.rises" if rises else "analysis.trend.flat",
                bodies=words.parts(len(series)),
                slope=f"{told.slope * 100:+.3f}",
                p=f"{told.p_value:.2g}",
            ),
        ),
        _to_part(series[-1], point),
    )


def _measured(shared: Shared, point: str) -> None:
    """What was measured at a point, as charts of individuals and of moving ranges."""
    _individuals(analysis.measured(looks(shared.reader, point=point))[-MOST_MEASURED:], point)


def _individuals(series: Sequence[Score], point: str, key: str = "") -> None:
    """Charts of individuals and of moving ranges of values in millimetres."""
    if len(series) < LEAST_MEASURED:
        show(
            div(
                "hint",
                say(
                    "analysis.measured.few",
                    count=words.number(len(series)),
                    least=LEAST_MEASURED,
                ),
            )
        )
        return
    values = [each.value for each in series]
    base = max(2, min(len(values), max(LEAST_BASE, len(values) // 2)))
    individuals, ranges = i_chart(values, base), mr_chart(values, base)
    found = fired(individuals)
    show(div("title", say("analysis.measured", base=words.number(base))))
    st.altair_chart(_control_chart(individuals, series, found, 180), key=f"analysis-i{key}")
    show(*_sentences(found, series), div("title", say("analysis.measured.ranges")))
    jumps = fired(ranges)
    st.altair_chart(_control_chart(ranges, series[1:], jumps, 110), key=f"analysis-mr{key}")
    if jumps:
        show(*_sentences(jumps, series[1:]))
    show(_to_part(series[-1], point))
    table = pd.DataFrame(
        {
            "part": [each.part for each in series],
            "value_mm": values,
            "moving_range_mm": [None, *ranges.values],
        }
    )
    _export(table, f"measured{key}")


def _to_part(last: Score, point: str) -> Html:
    return div(
        "links",
        tag(
            "a",
            say("analysis.trend.newest", part=last.part, point=point),
            href=f"/parts?part={quote(last.part)}&run={quote(last.run)}&point={quote(point)}",
            target="_self",
        ),
    )


# --------------------------------------------------------------------------------------- drift


def _drift(shared: Shared, plan_hash: str) -> None:
    plan = shared.plan(plan_hash)
    if plan is None:
        return
    show(div("section", tag("h2", say("analysis.drift"))))
    told = _compared(shared, plan_hash, plan)
    before, now = told.slots
    old, new = told.bodies
    if not told.drifts and not before and min(old, new) < drifting.LEAST_BODIES:
        show(
            div(
                "empty",
                say(
                    "analysis.drift.few",
                    least=LEAST_SLOTS,
                    period=drifting.PERIOD_SLOTS,
                    bodies=drifting.LEAST_BODIES,
                ),
            )
        )
        return
    rests_on = []
    if before:
        rests_on.append(say("analysis.drift.counts", before=before, now=now))
    if min(old, new) >= drifting.LEAST_BODIES:
        rests_on.append(say("analysis.drift.scores", old=old, new=new))
    if any(each.what == drifting.TRAINING for each in told.drifts):
        rests_on.append(say("analysis.drift.training"))
    asked = words.number(len(told.drifts))
    show(
        div("hint", " ".join((*rests_on, say("analysis.drift.hint", asked=asked)))),
        *(_drifted(each) for each in told.alarms[:DRIFTS]),
    )
    if not told.alarms:
        show(div("sentence", say("analysis.drift.none")))
    if told.drifts:
        with st.expander(say("analysis.drift.all", count=asked)):
            table = pd.DataFrame(
                {
                    say("analysis.drift.unit"): [_unit(each) for each in told.drifts],
                    say("analysis.drift.what"): [_asked(each) for each in told.drifts],
                    say("analysis.drift.before"): [each.before for each in told.drifts],
                    say("analysis.drift.now"): [each.now for each in told.drifts],
                    "p": [each.p_value for each in told.drifts],
                }
            )
            st.dataframe(table, hide_index=True, height=300)
            _export(table, "drift")


def _drifted(each: Drift) -> Html:
    """An alarm in words, with the way to the sums that it is about."""
    score = each.what in (drifting.SCORE, drifting.TRAINING)
    sentence = {drifting.SCORE: "scored", drifting.TRAINING: "trained"}.get(each.what, "count")
    said = say(
        f"analysis.drift.{sentence}",
        unit=_unit(each),
        what=each.what,
        now=f"{each.now:.3f}" if score else f"{each.now:.3%}",
        before=f"{each.before:.3f}" if score else f"{each.before:.3%}",
        p=f"{each.p_value:.1g}",
    )
    # Streamlit writes into the address, and takes from there, what a choice is called on the page.
    where = f"/analysis?analysis-by={quote(say(f'analysis.by.{each.unit.kind}'))}"
    if score:
        where = f"/analysis?analysis-point={quote(each.unit.points[0])}"
    link = tag("a", said, href=where, target="_self")
    return div("sentence alarmed", span("mark", "▲ "), link)


def _unit(each: Drift) -> str:
    return say(f"analysis.drift.{each.unit.kind}", name=each.unit.name)


def _asked(each: Drift) -> str:
    named = {drifting.SCORE: "score", drifting.TRAINING: "rank"}.get(each.what)
    return each.what if named is None else say(f"analysis.drift.{named}")


def _export(table: pd.DataFrame, name: str) -> None:
    with st.container(horizontal=True, gap="small", key=f"export-{name}"):
        for label, made, mime in (
            ("CSV", lambda: analysis.as_csv(table), "text/csv"),
            ("Parquet", lambda: analysis.as_parquet(table), "application/octet-stream"),
        ):
            st.download_button(
                label,
                data=made,
                file_name=f"{name}.{label.lower()}",
                mime=mime,
                on_click="ignore",
                key=f"{name}-{label}",
                type="tertiary",
            )
