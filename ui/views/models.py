"""Models: what judges, how well, and what another policy would have said of real results."""

from __future__ import annotations

import time

import altair as alt
import pandas as pd
import streamlit as st

from inspection.errors import StoreError
from inspection.messages import Verdict
from inspection.policy import Policy
from ui import models, words
from ui.markup import Html, div, tag
from ui.models import RUNS_WHERE, Past, WhatIf, Where
from ui.versions import Version, at_hand
from ui.views import shadows, versions
from ui.views.shared import Shared, begin, ready, show
from ui.words import say

FRESH = {"fresh_s": 60.0, "old_s": 180.0}


def page(shared: Shared) -> None:
    begin()
    with st.container(key="top", horizontal=True, vertical_alignment="center", gap="small"):
        show(div("head", tag("h1", say("page.models"))))
        view = st.segmented_control(
            say("models.view"),
            list(VIEWS),
            default=VIEWS[0],
            required=True,
            format_func=lambda name: say(f"models.view.{name}"),
            key="models-view",
            bind="query-params",
            label_visibility="collapsed",
        )
    known, wrong = _at_hand(shared)
    versions.problems(wrong)
    if not known:
        show(div("empty", say("models.none")))
        ready("models")
        return
    by_key = {each.key: each for each in known}
    key = st.selectbox(
        say("models.package"),
        list(by_key),
        format_func=lambda name: versions.name_of(by_key[name]),
        index=next((at for at, each in enumerate(known) if each.current), 0),
        key="models-package",
        bind="query-params",
        width=420,
    )
    chosen = by_key.get(key or "", known[0])
    try:
        match view:
            case "figures":
                versions.figures(chosen)
            case "compare":
                if (both := versions.compare(known, chosen)) is not None:
                    _on_record(shared, *both)
            case "shadow":
                refs = {f"{each.package} {each.policy_hash}": each for each in known}
                shadows.agreement(shared, refs)
            case _:
                left, right = st.columns([52, 48], gap="medium")
                with left:
                    _what_if(shared, chosen)
                with right:
                    _where(shared)
                    _release()
    except StoreError as error:
        show(div("alarm", f"✕ {error}."), tag("p", say("head.again"), class_="meaning"))
    ready("models")


VIEWS = ("what_if", "figures", "compare", "shadow")


def _at_hand(shared: Shared) -> tuple[list[Version], list[str]]:
    return shared.kept.get("at hand", lambda: at_hand(shared.places), **FRESH).value


def _past(shared: Shared, package: str, classes: int) -> Past:
    return shared.kept.get(
        ("past", package), lambda: models.past_of(shared.reader, package, classes), **FRESH
    ).value


def _ran(shared: Shared) -> list[Where]:
    return shared.kept.get(
        "ran", lambda: models.where(shared.reader, shared.reader.runs(limit=RUNS_WHERE)), **FRESH
    ).value


def _on_record(shared: Shared, a: Version, b: Version) -> None:
    """What two policies of one model say of the same scores."""
    if a.package != b.package or a.policy is None or b.policy is None:
        return
    past = _past(shared, a.package, len(a.classes))
    if len(past.scores):
        told = models.what_if(past, a.classes, a.policy, b.policy)
        head = say("versions.on_record", points=words.points(len(past.scores)))
        show(div("section", tag("h2", head)), *_sentences(told))


def _what_if(shared: Shared, known: Version) -> None:
    package = known.package
    show(div("section", tag("h2", say("models.what_if"))))
    policy = known.policy
    if policy is None:
        show(div("empty", say("models.no_policy")))
        return
    past = _past(shared, package, len(known.classes))
    if not len(past.scores):
        show(div("empty", say("models.no_results")))
        return
    now_ns = time.time_ns()
    show(
        div(
            "hint",
            say(
                "models.results",
                points=words.points(len(past.scores)),
                runs=words.runs(past.runs),
                since=words.clock_time(past.since_ns, now_ns),
                until=words.clock_time(past.until_ns, now_ns),
                decided=words.number(past.decided),
            ),
        )
    )
    strictest = max(policy.nok_min.values(), default=1.0)
    ok_min = st.slider(
        say("models.ok_min", now=f"{policy.ok_min:.3f}"), 0.0, 1.0, float(policy.ok_min), 0.001,
        key=f"models-ok-{package}", format="%.3f",
    )  # fmt: skip
    nok_min = st.slider(
        say("models.nok_min", now=f"{strictest:.3f}"), 0.0, 1.0, float(strictest), 0.001,
        key=f"models-nok-{package}", format="%.3f",
    )  # fmt: skip
    same = ok_min == policy.ok_min and nok_min == strictest
    then = policy if same else models.changed(policy, ok_min, nok_min)
    told = models.what_if(past, known.classes, policy, then)
    show(*_sentences(told))
    _costs(past, known, policy, ok_min)


def _sentences(told: WhatIf) -> list[Html]:
    if not told.moved:
        return [div("sentence", say("models.same"))]
    changes = [
        f"{told.to(verdict):+d} {verdict.value}"
        for verdict in (Verdict.OK, Verdict.REVIEW, Verdict.NOK)
        if told.to(verdict)
    ]
    lines = [
        div(
            "sentence",
            say("models.moved", count=words.number(sum(told.moved.values())))
            + (f" {', '.join(changes)}." if changes else ""),
        )
    ]
    for count, key in (
        (told.stopped, "models.stopped"),
        (told.released, "models.released"),
        (told.spared, "models.spared"),
        (told.troubled, "models.troubled"),
    ):
        if count:
            bad = "sentence alarmed" if key == "models.released" else "sentence"
            lines.append(div(bad, say(key, count=words.number(count))))
    lines.append(div("hint", say("models.decided_only")))
    return lines


def _costs(past: Past, known: Version, policy: Policy, ok_min: float) -> None:
    with st.container(horizontal=True, gap="small"):
        escape = st.number_input(
            say("models.cost.escape"), 0.0, 1e6, 100.0, key="models-escape", width=180
        )
        alarm = st.number_input(
            say("models.cost.alarm"), 0.0, 1e6, 1.0, key="models-alarm", width=180
        )
    curve = models.cost_curve(
        past, known.classes.index(policy.ok_class), escape=escape, alarm=alarm
    )
    if not curve:
        show(div("empty", say("models.cost.none")))
        return
    frame = pd.DataFrame(curve, columns=["ok_min", "cost"])
    line = (
        alt.Chart(frame)
        .mark_line(color="#1f5fa8", interpolate="step-after")
        .encode(
            x=alt.X("ok_min:Q", title="ok_min"),
            y=alt.Y("cost:Q", title=None),
            tooltip=["ok_min:Q", "cost:Q"],
        )
    )
    marks = pd.DataFrame(
        {"at": [policy.ok_min, ok_min], "which": [say("models.now"), say("models.tried")]}
    )
    rules = (
        alt.Chart(marks)
        .mark_rule(strokeWidth=1.5, color="#8a949c")
        .encode(
            x="at:Q",
            strokeDash=alt.StrokeDash("which:N", legend=alt.Legend(title=None, orient="top")),
        )
    )
    st.altair_chart(alt.layer(line, rules).properties(height=220), key="models-cost")


def _where(shared: Shared) -> None:
    show(div("section", tag("h2", say("models.where"))))
    now_ns = time.time_ns()
    rows = _ran(shared)
    if not rows:
        show(div("empty", say("models.no_results")))
        return
    head = tag("tr", *(tag("th", say(f"models.where.{name}")) for name in _WHERE))
    lines = []
    for each in rows:
        known = shared.models.get(each.package)
        name = each.package[:12] if known is None else f"{known.name} {known.version}"
        cells = (
            each.edge,
            name,
            each.policy[:12],
            words.clock_time(each.first_ns, now_ns),
            words.clock_time(each.last_ns, now_ns),
        )
        lines.append(tag("tr", *(tag("td", cell) for cell in cells)))
    show(
        div("scrolled", tag("table", head, *lines, class_="figures")),
        div("hint", say("models.where.hint", runs=words.runs(RUNS_WHERE))),
    )


_WHERE = ("edge", "package", "policy", "first", "last")


def _release() -> None:
    show(
        div("section", tag("h2", say("models.release"))),
        div("hint", say("models.release.hint")),
        tag(
            "pre",
            "inspection models promote PACKAGE --registry REGISTRY --gate GATE ...\n"
            "inspection models rollback NAME --registry REGISTRY ...",
            class_="card",
        ),
    )
