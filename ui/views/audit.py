"""Audit: a share of what the machine calls OK is looked at again, and what that proves."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import streamlit as st
from msgspec import UNSET

from inspection import messages as m
from inspection.audit import Escapes, looks_needed, outgoing
from inspection.errors import StoreError
from inspection.messages import Fault, LookMethod, LookPurpose, LookWord, Role
from inspection.shifts import Shift
from inspection.statistics import rate
from inspection.store.looks import LookRow
from ui import audits, words
from ui.actions import NoAnswer, NotSent, Refused, new_request
from ui.audits import Candidate, Place, Sample
from ui.markup import Html, div, span, tag
from ui.pictures import LARGE_SIDE_PX
from ui.views.shared import Shared, begin, counter, forget, large, person, ready, show
from ui.words import say

SHIFTS_BACK_NS = 3 * 24 * 3600 * 10**9
WANTED = 50
TOO_FAST_NS = 400_000_000
"""Less than anybody needs to see a picture."""
KEYS = {LookWord.GOOD: "g", LookWord.DEFECT: "d", LookWord.CANNOT_TELL: "x"}
MARKS = {LookWord.GOOD: "✓", LookWord.DEFECT: "✕", LookWord.CANNOT_TELL: "?"}


@dataclass
class Desk:
    """What one browser session is at."""

    asked: Candidate | None = None
    share: float = 1.0
    stratum: str = ""
    last: Candidate | None = None
    turn: int = 0
    shown_ns: int = 0
    told: tuple[str, str] | None = None
    requests: dict[tuple[str, str, str], str] = field(default_factory=dict)


def page(shared: Shared) -> None:
    begin()
    desk = _desk()
    show(
        div("head", tag("h1", say("page.audit"))),
        tag("p", say("audit.what"), class_="meaning"),
    )
    if desk.told is not None:
        show(div(*desk.told))
        desk.told = None
    try:
        shift, wanted = _choice(shared)
        population = shared.audits.population(shift)
        salt = f"{shared.reader.station()} {shift.day.isoformat()} {shift.name}"
        sample = audits.samples(population, wanted, salt)
        said = audits.last_words(shared.reader, shift, visual=True)
        left, right = st.columns([58, 42], gap="medium")
        with left:
            _looking(shared, desk, sample, said)
        with right:
            _results(shared, shift, sample, said, population.unknown)
            _measured(shared, shift)
    except StoreError as error:
        show(div("alarm", f"✕ {error}."), tag("p", say("head.again"), class_="meaning"))
    ready("audit")


def _desk() -> Desk:
    if "audit-desk" not in st.session_state:
        st.session_state["audit-desk"] = Desk()
    desk: Desk = st.session_state["audit-desk"]
    return desk


def _choice(shared: Shared) -> tuple[Shift, int]:
    now_ns = time.time_ns()
    shifts = list(reversed(shared.calendar.shifts(now_ns - SHIFTS_BACK_NS, now_ns)))
    names = {f"{each.day.isoformat()} {each.name}": each for each in shifts}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="audit-top"):
        name = st.selectbox(
            say("audit.shift"), list(names), key="audit-shift", bind="query-params", width=220
        )
        wanted = st.number_input(
            say("audit.wanted"), 1, 5000, WANTED, key="audit-wanted", width=160
        )
    return names.get(name or "", shifts[0]), int(wanted)


# ------------------------------------------------------------------------------------- looking


def _looking(
    shared: Shared, desk: Desk, sample: Sequence[Sample], said: Mapping[Place, LookRow]
) -> None:
    asked = sum(len(each.chosen) for each in sample)
    given = sum((c.run, c.point) in said for each in sample for c in each.chosen)
    candidate = audits.following(sample, said)
    if not asked:
        show(div("empty", say("audit.none")))
        return
    st.progress(given / asked, text=say("audit.so_far", given=given, asked=asked))
    if candidate is None:
        show(div("done", tag("h2", say("audit.done"))))
        return
    if candidate != desk.asked:
        desk.asked, desk.turn, desk.shown_ns = candidate, desk.turn + 1, time.monotonic_ns()
    stratum = next(each for each in sample if candidate in each.chosen)
    desk.share, desk.stratum = min(1.0, stratum.looked_with), stratum.name
    picture = shared.pictures.get(candidate.evidence, LARGE_SIDE_PX)
    show(large(picture, say("picture.of", point=candidate.point)))
    show(
        tag("div", say("audit.ask"), class_="ask", data_turn=str(desk.turn)),
        div("line", span("id", f"{candidate.part} {candidate.point}"), span("", candidate.view)),
    )
    session = person()
    with st.container(key="answers", horizontal=True, gap="small"):
        for word, key in KEYS.items():
            st.button(
                f"{MARKS[word]} {say(f'audit.{word.value}')}",
                key=f"audit-{word.value}-{desk.turn}",
                shortcut=key,
                disabled=session is None
                or (not picture.source and word is not LookWord.CANNOT_TELL),
                on_click=_answer,
                args=(shared, desk.turn, word),
            )
        st.button(
            say("act.escape"),
            key=f"audit-escape-{desk.turn}",
            shortcut="e",
            disabled=session is None or desk.last is None,
            help=say("audit.escape.help"),
            on_click=_escape,
            args=(shared,),
        )
    if session is None:
        show(div("hint", say("why.no_login")))


def _answer(shared: Shared, turn: int, word: LookWord) -> None:
    begin()
    desk, session, speaks = _desk(), person(), counter(shared)
    candidate = desk.asked
    if candidate is None or desk.turn != turn:
        return
    if time.monotonic_ns() - desk.shown_ns < TOO_FAST_NS:
        desk.told = ("warning", say("why.too_fast"))
        return
    if session is None or speaks is None:
        desk.told = ("warning", say("why.no_login"))
        return
    place = (candidate.run, candidate.point, word.value)
    look = m.Look(
        request_id=desk.requests.setdefault(place, new_request()),
        token=session.token,
        purpose=LookPurpose.AUDIT,
        run=candidate.run,
        point=candidate.point,
        method=LookMethod.VISUAL,
        word=word,
        inclusion=desk.share,
        stratum=desk.stratum,
    )
    if _asked(lambda: speaks.look(look)):
        desk.requests.pop(place, None)
        desk.last = candidate if word is LookWord.DEFECT else None
        hint = say("audit.mark_escape") if desk.last is not None else ""
        told = say("audit.kept", part=candidate.part, point=candidate.point)
        desk.told = ("recorded", f"{told} {hint}".rstrip())


def _escape(shared: Shared) -> None:
    """The defect found last is an escape: a word on the point, which the part's verdict follows."""
    begin()
    desk, session, speaks = _desk(), person(), counter(shared)
    found = desk.last
    if found is None or session is None or speaks is None:
        return
    run = next((row for row in shared.reader.runs(part=found.part) if row.run == found.run), None)
    rows = shared.reader.points_at([(found.run, found.point)])
    if run is None or run.verdict_seq is None or not rows:
        return
    place = (found.run, found.point, "escape")
    word = m.Decide(
        request_id=desk.requests.setdefault(place, new_request()),
        token=session.token,
        run=found.run,
        point=found.point,
        expected_seq=run.verdict_seq,
        expected_record=rows[0].record,
        action=m.Action.ESCAPE,
        comment=say("audit.comment"),
    )
    if _asked(lambda: speaks.decide(word)):
        desk.requests.pop(place, None)
        desk.last = None
        told = say("audit.escaped", part=found.part, point=found.point)
        desk.told = ("recorded", told)


def _asked(ask: Callable[[], object]) -> bool:
    """Whether the station has written something down; what it said otherwise is told."""
    desk = _desk()
    try:
        ask()
    except NotSent:
        desk.told = ("alarm", say("told.not_sent"))
    except NoAnswer:
        desk.told = ("alarm", say("told.no_answer"))
    except Refused as refused:
        if refused.fault is Fault.NOT_AUTHORISED:
            forget()
            desk.told = ("alarm", say("told.log_in_again", text=refused))
        else:
            desk.told = ("alarm", say("told.refused", text=refused))
    else:
        return True
    return False


# ------------------------------------------------------------------------------------- results


def _results(
    shared: Shared,
    shift: Shift,
    sample: Sequence[Sample],
    said: Mapping[Place, LookRow],
    unknown: int,
) -> None:
    show(div("section", tag("h2", say("audit.result"))))
    found = audits.result(sample, said)
    rows = [
        tag(
            "tr",
            tag("th", say("audit.stratum")),
            tag("th", say("audit.called_ok")),
            tag("th", say("audit.kept_pictures")),
            tag("th", say("audit.looked_at")),
            tag("th", say("audit.bad")),
        )
    ]
    for each in sample:
        spoken = [said[c.run, c.point].word for c in each.chosen if (c.run, c.point) in said]
        bad = sum(word is not LookWord.GOOD for word in spoken)
        rows.append(
            tag(
                "tr",
                tag("td", say("audit.one_in", number=words.number(round(1 / each.inclusion)))),
                *(
                    tag("td", words.number(value))
                    for value in (each.points, each.kept, len(spoken), bad)
                ),
            )
        )
    show(tag("table", *rows, class_="figures"))
    stopped = sum(
        run.balance.nok
        for run in shared.reader.runs(since_ns=shift.begin_ns)
        if run.begun_ns < shift.end_ns
    )
    show(*_sentences(found, stopped))
    target = st.number_input(
        say("audit.target"), 0.0001, 50.0, 0.1, format="%.4f", key="audit-target", width=200
    )
    sizes = {each.name: float(each.points) for each in sample}
    needed = looks_needed(sizes, target / 100) if sizes else 0
    lines = [div("hint", say("audit.needed", looks=words.number(needed), target=f"{target:g}"))]
    if unknown:
        lines.append(div("warning", say("audit.unknown", points=words.points(unknown))))
    show(*lines, div("hint", say("audit.visible_only")))


def _sentences(found: Escapes, stopped: int) -> list[Html]:
    lines = []
    if found.rate is None:
        lines.append(div("sentence", say("audit.nothing_yet")))
    else:
        lines.append(
            div(
                "sentence",
                say(
                    "audit.at_most",
                    rate=f"{found.rate:.4%}",
                    at_most=f"{found.at_most:.4%}",
                    points=words.number(round(found.points)),
                ),
            )
        )
        through = outgoing(found, stopped)
        if through is not None:
            lines.append(div("sentence", say("audit.outgoing", share=f"{through:.2%}")))
    return lines


def _measured(shared: Shared, shift: Shift) -> None:
    """Measurements are kept and counted by themselves: another method sees other defects."""
    show(div("section", tag("h2", say("audit.measured"))))
    said = audits.last_words(shared.reader, shift, visual=False)
    bad = sum(look.word is not LookWord.GOOD for look in said.values())
    if said:
        found = rate(bad, len(said))
        show(
            div(
                "sentence",
                say(
                    "audit.measured.so_far",
                    bad=words.number(bad),
                    looked=words.number(len(said)),
                    at_most=f"{found.at_most:.2%}",
                ),
            )
        )
    session = person()
    if session is None or not {Role.QUALITY, Role.OPERATOR} & session.roles:
        show(div("hint", say("why.no_login")))
        return
    with st.form("audit-file", clear_on_submit=True):
        least = st.number_input(say("audit.least_mm"), 0.0, 50.0, 3.5, format="%.2f")
        file = st.file_uploader(say("audit.file"), type=["csv"])
        sent = st.form_submit_button(say("audit.import"))
    if sent and file is not None:
        _import(shared, file.getvalue(), least)


def _import(shared: Shared, data: bytes, least_mm: float) -> None:
    session, speaks = person(), counter(shared)
    read, wrong = audits.read_measurements(data, least_mm)
    kept = 0
    if session is None or speaks is None:
        show(div("alarm", say("why.no_login")))
        return
    for each in read:
        runs = [run for run in shared.reader.runs(part=each.part) if run.verdict is not None]
        if not runs:
            wrong.append(say("audit.no_part", line=each.line, part=each.part))
            continue
        look = m.Look(
            request_id=new_request(),
            token=session.token,
            purpose=LookPurpose.AUDIT,
            run=runs[0].run,
            point=each.point,
            method=LookMethod.ULTRASONIC,
            word=each.word,
            value_mm=UNSET if each.value_mm is None else each.value_mm,
        )
        try:
            speaks.look(look)
        except (NotSent, NoAnswer, Refused) as error:
            wrong.append(say("audit.refused_line", line=each.line, text=error))
            continue
        kept += 1
    show(div("recorded", say("audit.imported", count=words.number(kept))))
    if wrong:
        show(div("alarm", say("audit.wrong", count=words.number(len(wrong)))))
        show(*(div("detail", text) for text in wrong[:50]))
