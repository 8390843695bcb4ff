"""Review: what waits for a person, one question at a time, one key an answer.

What somebody looks at is held still: the picture, the record and the verdict that a decision will
say it was about stay as they were shown until that person goes on. If the point has changed since,
the page says so, and the station refuses what was meant for another state. Buttons carry the number
of the showing they belong to, so that a key pressed twice is never an answer to the next question.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from inspection import messages as m
from inspection.decisions import allowed
from inspection.errors import StoreError
from inspection.messages import Action, Fault, RunVerdict, Standing, Verdict
from inspection.store.reader import PastRow, PointRow, WordRow
from ui import words
from ui.actions import Counter, NoAnswer, NotSent, Refused, Session, new_request
from ui.configuration import Known
from ui.markup import Html, code, div, span, tag
from ui.pictures import LARGE_SIDE_PX, Picture
from ui.views.shared import (
    PIXELS_PX,
    Shared,
    begin,
    counter,
    forget,
    person,
    ready,
    running_word,
    show,
    started,
    stopped,
)
from ui.waiting import Detail, Item, Member, Need, Queue, asked_of, similar
from ui.words import say

REFRESH_S = 3
TOO_FAST_NS = 200_000_000
"""Nobody sees a picture and answers within this time: a key that was held down or hit twice."""
SIMILAR_SHOWN = 12
IDS_SHOWN = 60
LONGEST_TEXT = 500

KEYS = {
    Action.CONFIRM: "D",
    Action.OVERRULE: "G",
    Action.CANNOT_TELL: "X",
    Action.ESCAPE: "E",
}
UNDO, NEXT, PREVIOUS, SIMILAR = "Z", "N", "P", "B"
CLASS_KEYS = "123456789"
ALL = "all"


@dataclass(frozen=True, slots=True)
class Said:
    """A word that is on record: what taking it back needs to say."""

    run: str
    part: str
    point: str
    record: int
    verdict_seq: int
    action: Action


@dataclass(slots=True)
class Table:
    """What one browser session has before it. Nothing of it is shared."""

    desk: str = field(default_factory=new_request)
    """A name for this place, so that two people are not asked the same."""
    detail: Detail | None = None
    turn: int = 0
    shown_ns: int = 0
    ahead: Detail | None = None
    """What comes next, read while the person looks at what is there."""
    passed: dict[tuple[str, str], None] = field(default_factory=dict)
    trail: list[tuple[str, str]] = field(default_factory=list)
    done: list[tuple[Said, ...]] = field(default_factory=list)
    batch: tuple[Item, ...] = ()
    pending: Pending | None = None
    told: list[tuple[str, str]] = field(default_factory=list)
    """(class, text) of what is to be said at the next drawing."""
    requests: dict[tuple[object, ...], str] = field(default_factory=dict)
    """Numbers of what was asked and not answered: the same is asked with the same number."""
    typed: dict[str, str] = field(default_factory=dict)
    """The texts of the question, as they were last drawn: Streamlit forgets those of a widget that
    one drawing leaves out."""
    kept: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    """Texts of questions that come back."""

    def lay(self, detail: Detail | None) -> None:
        """Show this from now on, with the texts that were kept for it."""
        self.turn += 1
        self.detail, self.batch = detail, ()
        self.shown_ns = time.monotonic_ns()
        self.typed = {} if detail is None else self.kept.pop(detail.item.key, {})

    def keep(self) -> None:
        """Keep the texts typed so far for when the same question is shown again."""
        if self.detail is not None:
            self.kept[self.detail.item.key] = {
                name: st.session_state.get(f"{name}-{self.turn}", self.typed.get(name, ""))
                for name in ("comment", "method")
            }


@dataclass(slots=True)
class Pending:
    """What was said and is not answered yet. Meanwhile the next question is shown: the picture is
    what a person waits for, and a station that proves a body's 5,000 points takes its time."""

    detail: Detail
    asked: list[tuple[Item, Member]]
    word: Word
    outcome: Outcome
    asking: threading.Thread
    turn: int = 0
    """Of the question that is shown meanwhile."""

    @property
    def keys(self) -> set[tuple[str, str]]:
        return {item.key for item, _ in self.asked}


def page(shared: Shared) -> None:
    st.fragment(run_every=REFRESH_S)(_live)(shared)


def _table() -> Table:
    if "table" not in st.session_state:
        st.session_state.table = Table()
    table: Table = st.session_state.table
    return table


def _live(shared: Shared) -> None:
    started()
    begin()
    now_ns = time.time_ns()
    queue = shared.waiting.look()
    if isinstance(queue, str):
        show(
            div("head", tag("h1", say("page.review"))),
            div("alarm", f"✕ {queue}."),
            tag("p", say("head.again"), class_="meaning"),
            stopped(now_ns),
        )
        return
    table, session = _table(), person()
    user = None if session is None else session.user
    asked = list(asked_of(queue, user, Need))
    _bar(shared, queue, asked, now_ns)
    show(*_warnings(shared, queue, session, now_ns), stopped(now_ns))
    chosen = st.session_state.get("need") or ALL
    listed = [item for item in asked if chosen in (ALL, item.need)]
    if table.detail is None:
        _lay_next(shared, table, listed)
    if table.detail is None and table.pending is not None:
        _hear(shared, table)  # before it is said that nothing waits any more
        st.rerun()
    told = st.empty()
    _tell(told, table)
    if table.detail is None:
        _nothing(shared, table, listed)
    else:
        if session is not None:
            shared.waiting.hold(table.desk, table.detail.item)
        _question(shared, table, queue, session)
        ready("review")
        _read_ahead(shared, table, listed)
    if table.pending is not None:
        shown = table.turn
        _hear(shared, table)
        if table.turn != shown:
            st.rerun()
        _tell(told, table)


def _tell(place: DeltaGenerator, table: Table) -> None:
    """What is to be said above the question: what became of the last answer, or that it is on its
    way."""
    lines = list(table.told)
    if table.pending is not None:
        first, _ = table.pending.asked[0]
        action = say(f"act.{table.pending.word.action.value}").rstrip(" …")
        text = say("told.sending", action=action, part=first.part, point=first.point)
        lines.append(("hint", text))
    with place.container():
        show(*(div(class_, text) for class_, text in lines))


def _lay_next(shared: Shared, table: Table, listed: Sequence[Item]) -> None:
    """Take up the most urgent question that was neither passed over nor set aside."""
    item = _next(shared, table, listed)
    if item is None:
        return
    ahead = table.ahead
    if ahead is not None and _same_question(ahead.item, item):
        table.lay(replace(ahead, item=item))
        return
    try:
        table.lay(shared.waiting.detail(item))
    except StoreError as error:
        table.told = [("alarm", say("told.unreadable", fault=error))]


def _next(shared: Shared, table: Table, listed: Sequence[Item]) -> Item | None:
    """The most urgent that this person has not passed over; one that somebody else has before him
    only where there is no other."""
    held = shared.waiting.held(table.desk)
    said = set() if table.pending is None else table.pending.keys
    mine = (each for each in listed if each.key not in table.passed and each.key not in said)
    first = next(mine, None)
    if first is None or first.key not in held:
        return first
    return next((each for each in mine if each.key not in held), first)


def _same_question(one: Item, other: Item) -> bool:
    """Whether all that is shown of two states of an item is the same: another point of the part may
    have been decided between them."""
    rest = replace(one, verdict_seq=other.verdict_seq, part_waits=other.part_waits)
    return rest == other


def _read_ahead(shared: Shared, table: Table, listed: Sequence[Item]) -> None:
    """Have the next question and its pictures at hand before they are asked for."""
    here = None if table.detail is None else table.detail.item
    item = _next(shared, table, [each for each in listed if each != here])
    if item is None or (table.ahead is not None and _same_question(table.ahead.item, item)):
        return
    try:
        table.ahead = shared.waiting.detail(item)
    except StoreError:
        table.ahead = None
        return
    if table.ahead.row is not None:
        shared.pictures.get(table.ahead.row.evidence, LARGE_SIDE_PX)
    for past in (*table.ahead.good, *table.ahead.history):
        shared.pictures.get(past.row.evidence)


# -------------------------------------------------------------------------------------- head


def _bar(shared: Shared, queue: Queue, asked: Sequence[Item], now_ns: int) -> None:
    points = sum(item.count for item in asked)
    with st.container(key="top", horizontal=True, vertical_alignment="center", gap="small"):
        show(
            div(
                "head",
                tag("h1", say("page.review")),
                span("age waiting", say("review.waiting", points=words.points(points))),
                span("hint", say("review.of_runs", runs=words.runs(queue.runs))),
                span(
                    "hint", say("review.cut", count=words.number(len(asked))) if queue.cut else ""
                ),
                span(
                    "hint",
                    say("review.unread", runs=words.runs(queue.unread)) if queue.unread else "",
                ),
                span("state" if queue.running else "state gone", running_word(queue.running)),
                span("read", say("head.read", when=words.clock_time(queue.read_ns, now_ns))),
            )
        )
        with st.popover(say("review.find"), key="find"):
            _find_form(shared)
    counts = {need: sum(item.need is need for item in asked) for need in Need}
    st.segmented_control(
        say("review.filter"),
        [ALL, *(need.value for need in Need)],
        default=ALL,
        required=True,
        format_func=lambda name: (
            f"{say('need.all')} {words.number(len(asked))}"
            if name == ALL
            else f"{words.NEED_MARKS[name]} {say(f'need.{name}')} {counts[Need(name)]}"
        ),
        key="need",
        label_visibility="collapsed",
        on_change=_other_filter,
    )


def _other_filter() -> None:
    _table().lay(None)


def _warnings(shared: Shared, queue: Queue, session: Session | None, now_ns: int) -> list[Html]:
    """What is between the person and a decision."""
    when = words.clock_time(queue.read_ns, now_ns)
    age = words.duration((now_ns - queue.read_ns) / 1e9)
    if queue.fault:
        return [div("alarm", say("head.fault", fault=queue.fault, when=when, age=age))]
    if queue.running is False:
        return [div("alarm", say("review.no_decisions", when=when, age=age))]
    if shared.station is None:
        return [div("warning", say("login.nowhere"))]
    if session is None:
        return [div("warning", say("review.log_in"))]
    return []


def _nothing(shared: Shared, table: Table, listed: Sequence[Item]) -> None:
    with st.container(key="nothing"):
        show(div("done", tag("h2", f"✓ {say('review.done')}"), say("review.done.more")))
        if listed:
            show(div("hint", say("review.only_passed")))
            st.button(say("review.from_start"), key="from-start", on_click=table.passed.clear)
        _undo_button(shared, table)


def _find_form(shared: Shared) -> None:
    show(div("hint", say("review.find.hint")))
    with st.form("find-form", border=False):
        st.text_input(say("review.part"), key="find-part", max_chars=64)
        st.text_input(say("review.point"), key="find-point", max_chars=64)
        st.form_submit_button(say("review.find.go"), on_click=_find, args=(shared,))


def _find(shared: Shared) -> None:
    begin()
    table = _table()
    part = st.session_state.get("find-part", "").strip()
    point = st.session_state.get("find-point", "").strip()
    try:
        item = shared.waiting.find(part, point)
        if item is None:
            table.told = [("warning", say("review.find.none"))]
            return
        _remember(table)
        table.lay(shared.waiting.detail(item))
        table.told = []
    except StoreError as error:
        table.told = [("alarm", say("told.unreadable", fault=error))]


def _remember(table: Table) -> None:
    """Put what is on the table where "back" finds it."""
    if table.detail is not None:
        table.trail.append(table.detail.item.key)


# --------------------------------------------------------------------------------- the question


def _question(shared: Shared, table: Table, queue: Queue, session: Session | None) -> None:
    detail = table.detail
    if detail is None:
        return
    if _has_changed(shared, detail.item):
        show(div("warning", say("review.changed")))
        st.button(
            say("review.look_again"), key=f"again-{table.turn}", on_click=_again, args=(shared,)
        )
    with st.container(key="desk"):
        left, rest = st.columns([47, 53], gap="small")
        with left:
            show(_large(shared, detail))
            _buttons(shared, table, queue, session)
        with rest:
            middle, right = st.columns([29, 24], gap="small")
        with middle:
            show(*_facts(shared, detail, session))
        with right:
            show(_good(shared, detail))
            show(_history(shared, detail))
        if table.batch:
            with rest:  # where it is seen at once, beside what it is like
                _batch(shared, table)


def _has_changed(shared: Shared, item: Item) -> bool:
    """Whether the point no longer stands as it is shown."""
    try:
        now = shared.waiting.item(item.run, item.point)
    except StoreError:
        return False  # the head says that the store cannot be read
    if now is None:
        return True
    if now.count != item.count and 1 not in (now.count, item.count):
        return True
    same_record = 0 in (now.record, item.record) or now.record == item.record
    return not same_record or (now.entry.verdict, now.spoken) != (item.entry.verdict, item.spoken)


def _again(shared: Shared) -> None:
    begin()
    table = _table()
    if table.detail is not None:
        table.told = []
        table.keep()
        _lay_anew(shared, table, table.detail.item)


def _lay_anew(shared: Shared, table: Table, item: Item) -> None:
    """Show a point as it now stands; the next one where it is gone."""
    try:
        now = shared.waiting.item(item.run, item.point)
        table.lay(None if now is None else shared.waiting.detail(now))
    except StoreError as error:
        table.told.append(("alarm", say("told.unreadable", fault=error)))


def _large(shared: Shared, detail: Detail) -> Html:
    row, item = detail.row, detail.item
    picture = shared.pictures.get(None if row is None else row.evidence, LARGE_SIDE_PX)
    if not picture.source:
        return div("large none", picture.why)
    model = None if row is None else shared.models.get(row.package or "")
    margin = 0.0 if model is None or item.seen is Verdict.NOT_INSPECTED else model.margin
    region = Html("")
    if margin:
        inset = f"--inset: {margin / (1 + 2 * margin):.2%}"
        region = tag("div", class_="region", style=inset, title=say("review.region"))
    return div("large", div("framed", _image(picture, item.point), region))


def _image(picture: Picture, point: str) -> Html:
    return tag(
        "img",
        src=picture.source,
        alt=say("picture.of", point=point),
        title=say("picture.size", width=picture.width_px, height=picture.height_px),
        class_="pixels" if max(picture.width_px, picture.height_px) <= PIXELS_PX else "photo",
    )


def _facts(shared: Shared, detail: Detail, session: Session | None) -> list[Html]:
    item, row, now_ns = detail.item, detail.row, time.time_ns()
    entry = item.entry
    when = words.clock_time(item.begun_ns, now_ns)
    facts = [
        tag("div", _ask(item), class_=f"ask verdict-{entry.verdict.value}"),
        div(
            "line",
            span("id", item.point if item.count == 1 else words.points(item.count)),
            span("severity", words.severity_word(item.severity)),
        ),
        div(
            "line",
            span(
                f"word verdict-{entry.verdict.value}",
                f"{words.verdict_word(entry.verdict)} {entry.finding}",
            ),
            span("id part", item.part),
        ),
        div("where", say("review.place", view=item.view, when=when)),
    ]
    if item.part_waits > 1:
        waits = words.points(item.part_waits)
        facts.append(div("where", say("review.part_waits", points=waits)))
    said = words.reason(entry.reason)
    facts.append(div("why", tag("b", f"{said.short}. "), said.means, span("do", f" {said.do}")))
    if row is not None and row.detail:
        facts.append(div("detail", row.detail))
    if row is not None and row.scores is not None:
        facts.append(_scores(row, shared.models.get(row.package or "")))
    if item.need is Need.NOT_INSPECTED and item.count > 1:
        ids = ", ".join(member.point for member in detail.members[:IDS_SHOWN])
        more = len(detail.members) - IDS_SHOWN
        more_text = f" {say('line.and_more', count=words.number(more))}" if more > 0 else ""
        points = words.points(len(detail.members))
        facts.append(div("ids", say("review.members", points=points, ids=ids) + more_text))
    facts.append(_said(detail, session, now_ns))
    return facts


def _ask(item: Item) -> str:
    if item.need is not None:
        return say(f"ask.{item.need.value}")
    if item.spoken:
        return say("ask.nothing.by", verdict=words.verdict_word(item.entry.verdict))
    return say("ask.nothing")


def _scores(row: PointRow, model: Known | None) -> Html:
    """Every class with its score and the limit from which it decides, the strongest first."""
    scores = row.scores or ()
    named = model is not None and len(model.classes) == len(scores)
    policy = None
    if model is not None and model.policy is not None and model.policy_hash == row.policy:
        policy = model.policy
    lines = []
    for index, score in sorted(enumerate(scores), key=lambda pair: -pair[1])[:6]:
        name = model.classes[index] if model is not None and named else ""
        limit, limit_text = None, ""
        if policy is not None and name == policy.ok_class:
            limit = policy.ok_min
            limit_text = say("review.ok_from", limit=f"{limit:.3f}")
        elif policy is not None and name in policy.nok_min:
            limit = policy.nok_min[name]
            limit_text = say("review.nok_from", limit=f"{limit:.3f}")
        reached = limit is not None and score >= limit
        lines.append(
            tag(
                "div",
                span("name", name or say("class.number", number=index)),
                span("limit", f"{'≥ ' if reached else ''}{limit_text}"),
                # Cut off: 1.00 is said of a full 1 only.
                span("value", f"{int(score * 1000) / 1000:.3f}"),
                class_="score reached" if reached else "score",
                style=f"--share: {score:.1%}; --limit: {-1 if limit is None else limit:.1%}",
            )
        )
    unknown = div("hint", say("review.limits_unknown")) if policy is None else Html("")
    return div("scores", div("title", say("review.scores")), *lines, unknown)


def _said(detail: Detail, session: Session | None, now_ns: int) -> Html:
    """What people said. Whoever is to judge as the second person is not told by the first."""
    if detail.item.need is Need.SECOND:
        mine = "" if session is None else session.user.casefold()
        shown = [word for word in detail.words if word.person.casefold() == mine]
        blind = div("hint", say("review.second.blind"))
    else:
        shown, blind = list(detail.words), Html("")
    if not shown and not blind.text:
        return Html("")
    lines = [_word(word, now_ns) for word in shown]
    return div("said-before", div("title", say("review.said")), blind, *lines)


def _word(word: WordRow, now_ns: int) -> Html:
    action = (
        say("review.took_back")
        if word.action is Action.CANNOT_TELL
        else say(f"act.{word.action.value}").removesuffix(", but …").removesuffix(", aber …")
    )
    said = " ".join(text for text in (action, word.finding, word.method) if text)
    return div(
        "spoken",
        span("time", words.clock_time(word.decided_ns, now_ns)),
        tag("b", word.person),
        span("", f" {said}"),
        div("comment", word.comment) if word.comment else Html(""),
    )


def _good(shared: Shared, detail: Detail) -> Html:
    title = div("title", say("review.good"))
    if not detail.good:
        return div("good", title, div("empty", say("review.good.none")))
    return div("good", title, div("pair", *(_past_picture(shared, each) for each in detail.good)))


def _past_picture(shared: Shared, past: PastRow) -> Html:
    picture = shared.pictures.get(past.row.evidence)
    when = words.clock_time(past.begun_ns, time.time_ns())
    shown = _image(picture, past.row.point) if picture.source else span("none", picture.why)
    return div("small-picture", shown, div("where", f"{past.row.part} · {when}"))


def _history(shared: Shared, detail: Detail) -> Html:
    title = div("title", say("review.history"))
    if not detail.history:
        return div("history", title, div("empty", say("review.history.none")))
    cells = []
    for past in detail.history:
        verdict = past.row.verdict
        picture = shared.pictures.get(past.row.evidence) if past.row.evidence else Picture()
        cells.append(
            tag(
                "div",
                _image(picture, past.row.point) if picture.source else Html(""),
                span(f"word verdict-{verdict.value}", words.VERDICT_MARKS[verdict]),
                class_=f"cell verdict-{verdict.value}",
                title=f"{words.verdict_word(verdict)} {past.row.finding} · {past.row.part}",
            )
        )
    return div("history", title, div("cells", *cells))


# -------------------------------------------------------------------------------------- answers


def _buttons(shared: Shared, table: Table, queue: Queue, session: Session | None) -> None:
    detail, turn = table.detail, table.turn
    if detail is None:
        return
    with st.container(key="answers", horizontal=True, gap="small"):
        for action, key in KEYS.items():
            why = _why_not(shared, queue, session, detail.item, action)
            st.button(
                say(f"act.{action.value}"),
                key=f"{action.value}-{turn}",
                shortcut=key,
                type="primary" if action in (Action.CONFIRM, Action.OVERRULE) else "secondary",
                help=why or say(f"act.{action.value}.help"),
                disabled=bool(why),
                on_click=_decide,
                args=(shared, turn, action),
            )
    with st.container(key="moves", horizontal=True, gap="small"):
        back = not table.trail
        st.button(
            say("act.previous"),
            key=f"back-{turn}",
            shortcut=PREVIOUS,
            disabled=back,
            type="tertiary",
            on_click=_go_back,
            args=(shared, turn),
        )
        st.button(
            say("act.next"),
            key=f"next-{turn}",
            shortcut=NEXT,
            type="tertiary",
            on_click=_pass_over,
            args=(turn,),
        )
        _undo_button(shared, table)
        alike = similar(queue, detail.item, SIMILAR_SHOWN) if detail.item.need else []
        st.button(
            say("review.similar.off")
            if table.batch
            else say("review.similar", count=words.number(len(alike))),
            key=f"similar-{turn}",
            shortcut=SIMILAR,
            disabled=not alike and not table.batch,
            type="tertiary",
            on_click=_take_similar,
            args=(turn, tuple(alike)),
        )
    _classes(shared, queue, table, session)
    with st.container(key="texts", horizontal=True, gap="small"):
        st.session_state.setdefault(f"comment-{turn}", table.typed.get("comment", ""))
        table.typed["comment"] = st.text_input(
            say("review.comment"),
            key=f"comment-{turn}",
            max_chars=LONGEST_TEXT,
            placeholder=f"{say('review.comment')}: {say('review.comment.hint')}",
            label_visibility="collapsed",
        )
        if detail.item.seen is Verdict.NOT_INSPECTED:
            known = table.typed.get("method") or st.session_state.get("method", "")
            st.session_state.setdefault(f"method-{turn}", known)
            table.typed["method"] = st.text_input(
                say("review.method"),
                key=f"method-{turn}",
                max_chars=LONGEST_TEXT,
                placeholder=f"{say('review.method')}: {say('review.method.hint')}",
                label_visibility="collapsed",
            )


def _classes(shared: Shared, queue: Queue, table: Table, session: Session | None) -> None:
    """One key a class: what is a defect, but another one than the machine named."""
    detail, turn = table.detail, table.turn
    if detail is None:
        return
    why = _why_not(shared, queue, session, detail.item, Action.RECLASSIFY)
    names = _defect_classes(shared, detail)
    if not names:
        return
    with st.container(key="classes", horizontal=True, gap="small"):
        show(span("hint", say("act.reclassify")))
        for number, name in enumerate(names):
            st.button(
                code(name),
                key=f"class-{turn}-{number}",
                shortcut=CLASS_KEYS[number] if number < len(CLASS_KEYS) else None,
                help=why or say("act.reclassify.help", name=code(name)),
                disabled=bool(why),
                on_click=_decide,
                args=(shared, turn, Action.RECLASSIFY, name),
            )


def _defect_classes(shared: Shared, detail: Detail) -> list[str]:
    known = None if detail.row is None else shared.models.get(detail.row.package or "")
    models = list(shared.models.values()) if known is None else [known]
    return list(dict.fromkeys(name for model in models for name in model.severities))


def _why_not(
    shared: Shared, queue: Queue, session: Session | None, item: Item, action: Action
) -> str:
    """Why a button is not offered. Only courtesy: the station decides what is allowed."""
    if queue.running is False:
        return say("why.no_station")
    if shared.station is None:
        return say("login.nowhere")
    if session is None:
        return say("why.no_login")
    if not allowed(action, session.roles):
        return say("why.role")
    unseen = item.seen is Verdict.NOT_INSPECTED
    sensible = {
        Action.CONFIRM: not unseen and item.seen is not Verdict.OK,
        Action.OVERRULE: item.seen is not Verdict.OK,
        Action.RECLASSIFY: item.seen is not Verdict.OK,
        Action.ESCAPE: Verdict.OK in (item.seen, item.entry.verdict),
        Action.CANNOT_TELL: True,
        Action.REPAIRED: True,
    }
    return "" if sensible[action] else say("why.makes_no_sense")


def _undo_button(shared: Shared, table: Table) -> None:
    st.button(
        say("act.undo"),
        key=f"undo-{table.turn}",
        shortcut=UNDO,
        help=say("act.undo.help"),
        disabled=not table.done,
        type="tertiary",
        on_click=_undo,
        args=(shared,),
    )


def _pass_over(turn: int) -> None:
    table = _table()
    if table.turn != turn or table.detail is None:
        return
    _remember(table)
    table.passed[table.detail.item.key] = None
    table.told = []
    table.lay(None)


def _go_back(shared: Shared, turn: int) -> None:
    begin()
    table = _table()
    if table.turn != turn or not table.trail:
        return
    run, point = table.trail.pop()
    table.told = []
    try:
        item = shared.waiting.item(run, point)
        if item is not None:
            table.passed.pop(item.key, None)
            table.lay(shared.waiting.detail(item))
    except StoreError as error:
        table.told = [("alarm", say("told.unreadable", fault=error))]


# --------------------------------------------------------------------------------- several at once


def _take_similar(turn: int, items: tuple[Item, ...]) -> None:
    table = _table()
    if table.turn == turn:
        table.batch = () if table.batch else items


def _batch(shared: Shared, table: Table) -> None:
    show(div("section", tag("h2", say("review.similar", count=len(table.batch)))))
    show(div("hint", say("review.similar.hint")))
    rows = {(row.run, row.point): row for row in shared.waiting.rows(table.batch)}
    with st.container(key="batch", horizontal=True, gap="small"):
        for number, item in enumerate(table.batch):
            row = rows.get(item.key)
            picture = shared.pictures.get(None if row is None else row.evidence)
            with st.container(key=f"alike-{number}", gap=None, width=132):
                shown = _image(picture, item.point) if picture.source else span("", picture.why)
                show(div("small-picture", shown, div("where", item.part)))
                st.checkbox(code(item.point), value=True, key=f"take-{table.turn}-{number}")
    chosen = 1 + len(_taken(table))
    show(div("hint", say("review.similar.all", points=words.points(chosen))))


def _taken(table: Table) -> list[Item]:
    return [
        item
        for number, item in enumerate(table.batch)
        if st.session_state.get(f"take-{table.turn}-{number}", True)
    ]


# ----------------------------------------------------------------------------------- to the station


def _decide(shared: Shared, turn: int, action: Action, finding: str = "") -> None:
    """Say one word on what is on the table, and on what was taken along."""
    begin()
    table, session, speaks = _table(), person(), counter(shared)
    if table.turn != turn or table.detail is None:
        return  # the answer to a question that is no longer asked
    if time.monotonic_ns() - table.shown_ns < TOO_FAST_NS:
        table.told = [("warning", say("why.too_fast"))]
        return
    if session is None or speaks is None:
        table.told = [("warning", say("why.no_login"))]
        return
    item = table.detail.item
    comment = st.session_state.get(f"comment-{turn}", "").strip()
    method = st.session_state.get(f"method-{turn}", "").strip()
    if item.seen is Verdict.NOT_INSPECTED:
        if action is not Action.CANNOT_TELL and not method:
            table.told = [("warning", say("why.method"))]
            return
        st.session_state["method"] = method
    asked: list[tuple[Item, Member]] = [(item, member) for member in table.detail.members]
    asked += [(each, Member(each.point, each.record, each.word)) for each in _taken(table)]
    word, outcome = Word(action, finding, comment, method), Outcome()
    _hear(shared, table, back=False)
    asking = threading.Thread(
        target=_ask_all, args=(speaks, table, session, asked, word, outcome), daemon=True
    )
    asking.start()
    table.pending = Pending(table.detail, asked, word, outcome, asking)
    table.told = []
    _remember(table)
    table.lay(None)
    table.pending.turn = table.turn


def _hear(shared: Shared, table: Table, *, back: bool = True) -> None:
    """Wait for the answer to what was said, and take it in. A question that was not answered as it
    was meant comes back with its text: with ``back`` at once, unless the person is further on."""
    pending = table.pending
    if pending is None:
        return
    pending.asking.join()
    outcome, item = pending.outcome, pending.detail.item
    for part in dict.fromkeys(each.part for each, _ in pending.asked):
        shared.waiting.said(part)
    if outcome.recorded:
        table.done.append(tuple(outcome.recorded))
    table.told = outcome.told(pending.word.action)
    if pending.word.action is Action.CANNOT_TELL:
        table.passed.update(dict.fromkeys(pending.keys))
    table.pending = None
    if not outcome.complete:
        table.kept[item.key] = {"comment": pending.word.comment, "method": pending.word.method}
        # What was shown meanwhile has a turn of its own, laid after this one was put away.
        if back and table.turn <= pending.turn + 1:
            if table.trail and table.trail[-1] == item.key:
                table.trail.pop()
            if outcome.unanswered:
                table.lay(pending.detail)
            else:
                _lay_anew(shared, table, item)
    if outcome.log_in_again:
        forget()  # the last: from here Streamlit may begin anew


@dataclass(frozen=True, slots=True)
class Word:
    """What somebody says."""

    action: Action
    finding: str = ""
    comment: str = ""
    method: str = ""


@dataclass(slots=True)
class Outcome:
    """What became of it."""

    recorded: list[Said] = field(default_factory=list)
    last: m.Decided | None = None
    refused: list[Refused] = field(default_factory=list)
    unanswered: str = ""
    """A key of the words for why nobody answered."""
    log_in_again: bool = False

    @property
    def complete(self) -> bool:
        return not self.refused and not self.unanswered

    def told(self, action: Action) -> list[tuple[str, str]]:
        """(class, text) for the person, the bad news first."""
        lines = []
        if self.unanswered:
            lines.append(("alarm", say(self.unanswered)))
        if self.refused:
            first = self.refused[0]
            count = len(self.refused)
            if first.fault is Fault.NOT_AUTHORISED:
                text = say("told.log_in_again", text=first)
            elif count > 1:
                text = say("told.refused_many", points=words.points(count), text=first)
            else:
                key = "told.stale" if first.fault is Fault.STALE else "told.refused"
                text = say(key, text=first)
            lines.append(("alarm", text))
        if self.recorded:
            lines.append(("recorded", self._recorded(action)))
        return lines

    def _recorded(self, action: Action) -> str:
        said, name = self.recorded[-1], say(f"act.{action.value}").rstrip(" …")
        if len(self.recorded) > 1 or self.last is None:
            points = words.points(len(self.recorded))
            return say("told.recorded_many", action=name, points=points)
        verdict = words.verdict_word(self.last.verdict)
        text = say(
            "told.recorded",
            action=name,
            part=said.part,
            point=said.point,
            verdict=verdict,
            run_verdict=words.run_word(RunVerdict(self.last.run_verdict)),
        )
        if self.last.standing is Standing.SECOND_PERSON_NEEDED:
            text += say("told.second")
        if self.last.standing is Standing.DISAGREEMENT:
            text += say("told.disagreement")
        return text


def _ask_all(
    speaks: Counter,
    table: Table,
    session: Session,
    asked: Sequence[tuple[Item, Member]],
    word: Word,
    outcome: Outcome,
) -> None:
    """Say a word on each of some points. What is not answered ends it: the rest was not asked. Runs
    beside the page, so that it touches nothing of Streamlit's."""
    outcome.unanswered = "told.no_answer"  # unless all that follows comes to its end
    for item, member in asked:
        place = (item.run, member, item.verdict_seq, word)
        request = table.requests.setdefault(place, new_request())
        try:
            decided = speaks.decide(
                m.Decide(
                    token=session.token,
                    request_id=request,
                    run=item.run,
                    point=member.point,
                    expected_seq=item.verdict_seq,
                    expected_record=member.record,
                    action=word.action,
                    finding=word.finding,
                    comment=word.comment,
                    method=word.method,
                    expected_word=member.word,
                )
            )
        except NotSent:
            outcome.unanswered = "told.not_sent"
            return
        except NoAnswer:
            return
        except Refused as refused:
            del table.requests[place]
            outcome.refused.append(refused)
            if refused.fault is Fault.NOT_AUTHORISED:
                # Where the role would do, it is the login that no longer holds.
                outcome.log_in_again = allowed(word.action, session.roles)
                break
            continue
        del table.requests[place]
        outcome.last = decided
        outcome.recorded.append(
            Said(
                run=item.run,
                part=item.part,
                point=member.point,
                record=member.record,
                verdict_seq=decided.verdict_seq,
                action=word.action,
            )
        )
    outcome.unanswered = ""


def _undo(shared: Shared) -> None:
    """Take back what was said last: a further word, as `inspection.decisions` has it."""
    begin()
    table, session, speaks = _table(), person(), counter(shared)
    turn = table.turn
    _hear(shared, table)
    if table.turn != turn:
        return  # nothing was written down: there is nothing to take back
    if not table.done:
        table.told = [("warning", say("told.nothing_to_undo"))]
        return
    if session is None or speaks is None:
        table.told = [("warning", say("why.no_login"))]
        return
    last = table.done[-1]
    refused: list[Refused] = []
    for said in last:
        if said.action is Action.CANNOT_TELL:
            continue  # there is nothing to take back: it only waits on
        place = ("undo", said)
        request = table.requests.setdefault(place, new_request())
        try:
            speaks.decide(
                m.Decide(
                    token=session.token,
                    request_id=request,
                    run=said.run,
                    point=said.point,
                    expected_seq=said.verdict_seq,
                    expected_record=said.record,
                    action=Action.CANNOT_TELL,
                )
            )
        except (NotSent, NoAnswer) as error:
            key = "told.not_sent" if isinstance(error, NotSent) else "told.no_answer"
            table.told = [("alarm", say(key))]
            return
        except Refused as error:
            refused.append(error)
        table.requests.pop(place, None)
    table.done.pop()
    for part in dict.fromkeys(said.part for said in last):
        shared.waiting.said(part)
    first = last[0]
    table.told = [
        ("alarm", say("told.refused", text=refused[0]))
        if refused
        else ("recorded", say("told.taken_back", part=first.part, point=first.point))
    ]
    for said in last:
        table.passed.pop((said.run, said.point), None)
    try:
        item = shared.waiting.item(first.run, first.point)
        if item is not None:
            table.lay(shared.waiting.detail(item))
    except StoreError as error:
        table.told.append(("alarm", say("told.unreadable", fault=error)))
