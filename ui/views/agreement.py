"""Agreement: studies of how well people and the machine judge, from the plan to the evaluation.

Whoever judges sees a picture and nothing else: no id, no score, no verdict, no answer of before.
The evaluation is kept from everybody until all appraisers are through, but for who has the role
quality and is not one of them.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlencode

import streamlit as st
from msgspec import UNSET

from inspection import messages as m
from inspection.agreement import (
    KAPPA_GOOD,
    KAPPA_POOR,
    LIMITS,
    Appraiser,
    Disagreement,
    Grade,
    Judged,
    Kappa,
    Measure,
    Rated,
)
from inspection.errors import DataError, StoreError
from inspection.gauge_study import GaugeStudy, Type1, anova
from inspection.messages import Fault, Role
from inspection.study_plan import (
    BORDERLINE_LEAST,
    BORDERLINE_MOST,
    SYSTEM,
    StudyItem,
    StudyPlan,
    choose,
    encode,
    read_values,
)
from ui import words
from ui.actions import NoAnswer, NotSent, Refused, Session, new_request
from ui.markup import Html, div, join, span, tag
from ui.pictures import LARGE_SIDE_PX
from ui.studies import (
    Answer,
    Capture,
    Evaluation,
    Listed,
    Progress,
    answers_csv,
    evaluated,
    figures_csv,
    gauge,
    is_appraiser,
    may_see,
    next_for,
    planned,
    progress,
    values_of,
)
from ui.views.shared import Shared, begin, counter, forget, large, person, ready, show
from ui.words import say

TOO_FAST_NS = 200_000_000
"""Nobody sees a picture and answers within this time: a key that was held down or hit twice."""
KEYS = {Judged.GOOD: "G", Judged.DEFECT: "D", Judged.CANNOT_TELL: "X"}
AGAIN = "Z"
MARKS = {Judged.GOOD: "✓", Judged.DEFECT: "✕", Judged.CANNOT_TELL: "?"}
GRADE_MARKS = {Grade.ACCEPTABLE: "✓", Grade.MARGINAL: "▲", Grade.UNACCEPTABLE: "✕"}
SHOWN = 48
"""Pictures of disagreements on one page."""


@dataclass(slots=True)
class Desk:
    """What one browser session has before it. Nothing of it is shared."""

    turn: int = 0
    shown_ns: int = 0
    asked: tuple[str, StudyItem, int] | None = None
    """(study, item, trial) that the keys answer."""
    last: tuple[str, StudyItem, int] | None = None
    correcting: bool = False
    told: tuple[str, str] | None = None
    """(class, text) of what is to be said at the next drawing."""
    requests: dict[tuple[object, ...], str] = field(default_factory=dict)
    """Numbers of what was asked and not answered: the same is asked with the same number."""
    draft: StudyPlan | None = None
    short: int = 0
    """Parts of the draft of which the machine has too few captures."""


def page(shared: Shared) -> None:
    desk = _desk()
    try:
        studies = shared.studies.listed()
    except StoreError as error:
        _head()
        show(div("alarm", f"✕ {say('agree.unreadable', fault=error)}"))
        return
    chosen = st.query_params.get("study", "")
    _head()
    if desk.told is not None:
        show(div(*desk.told))
        desk.told = None
    if not chosen:
        _list(shared, studies)
        _planning(shared, desk)
        ready("agreement")
        return
    st.button(
        f"← {say('agree.back')}", key="all-studies", type="tertiary", on_click=_go, args=("",)
    )
    listed = next((each for each in studies if each.study == chosen), None)
    if listed is None:
        show(div("warning", say("agree.gone", study=chosen)))
    elif listed.plan is None:
        show(div("alarm", say("agree.broken", study=listed.study, fault=listed.fault)))
    else:
        _study(shared, desk, listed, listed.plan)
    ready("agreement")


def _desk() -> Desk:
    if "study-desk" not in st.session_state:
        st.session_state["study-desk"] = Desk()
    desk: Desk = st.session_state["study-desk"]
    return desk


def _head() -> None:
    show(
        div("head", tag("h1", say("page.agreement"))),
        tag("p", say("agree.what"), class_="meaning"),
    )


def _go(study: str) -> None:
    if study:
        st.query_params["study"] = study
    else:
        st.query_params.pop("study", None)
    desk = _desk()
    desk.asked = desk.last = desk.draft = None
    desk.correcting = False
    desk.turn += 1


# ------------------------------------------------------------------------------------------- list


def _list(shared: Shared, studies: Sequence[Listed]) -> None:
    show(div("section", tag("h2", say("agree.studies"))))
    if not studies:
        show(div("empty", say("agree.none")))
        return
    now_ns = time.time_ns()
    for number, each in enumerate(studies):
        with st.container(key=f"study-{number}", horizontal=True, vertical_alignment="center"):
            st.button(say("agree.open"), key=f"open-{each.study}", on_click=_go, args=(each.study,))
            show(_line(shared, each, now_ns))


def _line(shared: Shared, each: Listed, now_ns: int) -> Html:
    when = words.clock_time(each.planned_ns, now_ns)
    by = say("agree.by", person=each.person, when=when)
    if each.plan is None:
        wrong = say("agree.broken", study=each.study, fault=each.fault)
        return div("study", span("id", each.study), span("hint", wrong))
    plan = each.plan
    return div(
        "study",
        span("id", each.study),
        tag("b", plan.title),
        span("", say("agree.kind.variables" if plan.measured else "agree.kind.attribute")),
        span("hint", _size(plan)),
        span("hint", by),
        span(
            "hint", _so_far(plan, () if plan.measured else shared.studies.answers(each.study, plan))
        ),
    )


def _size(plan: StudyPlan) -> str:
    if plan.measured:
        return say("agree.size.values", values=words.number(len(plan.values)))
    return say("agree.size", items=len(plan.items), borderline=plan.borderline, trials=plan.trials)


def _so_far(plan: StudyPlan, answers: Sequence[Answer]) -> str:
    return " · ".join(
        say("agree.progress", name=name, given=each.given, asked=each.asked)
        for name, each in progress(plan, answers).items()
    )


# --------------------------------------------------------------------------------------- planning


def _planning(shared: Shared, desk: Desk) -> None:
    session = person()
    with st.expander(say("agree.plan"), expanded=desk.draft is not None, key="planning"):
        if session is None or Role.QUALITY not in session.roles:
            show(div("hint", say("agree.plan.role")))
            return
        show(div("hint", say("agree.plan.sealed")))
        if desk.draft is not None:
            _draft(shared, desk, desk.draft)
            return
        kinds = ("agree.plan.words", "agree.plan.values")
        kind = st.segmented_control(
            say("agree.studies"),
            kinds,
            default=kinds[0],
            required=True,
            format_func=say,
            key="plan-kind",
            label_visibility="collapsed",
        )
        if kind == kinds[0]:
            _plan_words(shared, session)
        else:
            _plan_values(shared)


def _plan_words(shared: Shared, session: Session) -> None:
    st.session_state.setdefault("plan-seed", secrets.randbelow(1_000_000))
    with st.form("plan-words", border=False):
        first, second, third = st.columns(3)
        with first:
            st.text_input(say("agree.plan.id"), key="plan-id", max_chars=64)
            st.text_input(say("agree.plan.title"), key="plan-title", max_chars=120)
            st.text_input(say("agree.plan.appraisers"), key="plan-appraisers", max_chars=1000)
        with second:
            st.number_input(
                say("agree.plan.items"), 2, 500, 50, key="plan-items",
                help=say("agree.plan.items.help"),
            )  # fmt: skip
            st.slider(
                say("agree.plan.borderline"), 0, 100, 40, 5, key="plan-borderline",
                help=say("agree.plan.borderline.help"),
            )  # fmt: skip
            st.number_input(say("agree.plan.trials"), 1, 10, 3, key="plan-trials")
        with third:
            st.number_input(say("agree.plan.seed"), 0, 10**9, key="plan-seed")
            st.text_input(
                say("agree.plan.reference_by"), session.user, key="plan-by", max_chars=200
            )
            st.checkbox(
                say("agree.plan.decided"), key="plan-decided", help=say("agree.plan.decided.help")
            )
            st.checkbox(
                say("agree.plan.system"), key="plan-system", help=say("agree.plan.system.help")
            )
            st.checkbox(
                say("agree.plan.measure"), key="plan-measure", help=say("agree.plan.measure.help")
            )
        st.form_submit_button(say("agree.plan.choose"), on_click=_choose, args=(shared,))


def _choose(shared: Shared) -> None:
    """Draw parts for a study and lay the plan before whoever asked."""
    begin()
    desk, state = _desk(), st.session_state
    try:
        found = shared.studies.candidates(decided=bool(state["plan-decided"]))
        chosen = choose(
            found,
            items=int(state["plan-items"]),
            borderline=state["plan-borderline"] / 100,
            seed=int(state["plan-seed"]),
        )
        names = [name.strip() for name in state["plan-appraisers"].split(",")]
        draft = planned(
            chosen,
            title=state["plan-title"].strip(),
            appraisers=[name for name in names if name],
            trials=int(state["plan-trials"]),
            seed=int(state["plan-seed"]),
            system=bool(state["plan-system"]),
            reference_by=state["plan-by"].strip(),
            with_values=bool(state["plan-measure"]),
        )
        encode(draft)
        captured = shared.studies.captures(draft) if draft.system else []
    except (DataError, StoreError) as error:
        desk.told = ("warning", say("agree.plan.wrong", fault=error))
        return
    desk.short = len(evaluated(draft, [], captured).short)
    desk.draft = draft
    state["draft-id"] = state["plan-id"].strip()
    state["draft-wanted"] = int(state["plan-items"])


def _plan_values(shared: Shared) -> None:
    with st.form("plan-values", border=False):
        first, second = st.columns(2)
        with first:
            st.text_input(say("agree.plan.id"), key="plan-id", max_chars=64)
            st.text_input(say("agree.plan.title"), key="plan-title", max_chars=120)
            st.file_uploader(say("agree.plan.file"), type="csv", key="plan-file", max_upload_size=1)
        with second:
            st.text_input(say("agree.plan.unit"), "mm", key="plan-unit", max_chars=16)
            st.number_input(
                say("agree.plan.tolerance"), 0.0, value=0.0, format="%.6g", key="plan-tolerance"
            )
            st.number_input(
                say("agree.plan.reference_value"), value=None, format="%.6g", key="plan-reference"
            )
        st.form_submit_button(say("agree.plan.keep"), on_click=_keep_values, args=(shared,))


def _keep_values(shared: Shared) -> None:
    begin()
    desk, state = _desk(), st.session_state
    file = state.get("plan-file")
    try:
        plan = StudyPlan(
            title=state["plan-title"].strip(),
            values=read_values(b"" if file is None else file.getvalue()),
            unit=state["plan-unit"].strip(),
            tolerance=state["plan-tolerance"] or None,
            reference_value=state["plan-reference"],
        )
        gauge(plan)
        _keep(shared, state["plan-id"].strip(), plan)
    except (DataError, ValueError) as error:
        desk.told = ("warning", say("agree.plan.wrong", fault=error))


def _draft(shared: Shared, desk: Desk, draft: StudyPlan) -> None:
    count = len(draft.items)
    share = draft.borderline / count
    references = [item.reference for item in draft.items]
    show(
        div(
            "recorded",
            say(
                "agree.plan.chosen",
                items=count,
                borderline=draft.borderline,
                share=percent(share, 0),
                good=references.count(Judged.GOOD),
                defect=references.count(Judged.DEFECT),
                unknown=references.count(None),
            ),
        )
    )
    if count < st.session_state.get("draft-wanted", 0):
        show(div("warning", say("agree.plan.few", items=count)))
    if not BORDERLINE_LEAST <= share <= BORDERLINE_MOST:
        show(div("warning", say("agree.plan.not_borderline", share=percent(share, 0))))
    if desk.short:
        show(
            div(
                "warning",
                say("agree.plan.short", count=desk.short, items=count, trials=draft.trials),
            )
        )
    pictures = [_small(shared, item.evidence, "", Html("")) for item in draft.items[:SHOWN]]
    show(div("pair", *pictures))
    with st.container(horizontal=True):
        st.button(
            say("agree.plan.keep"),
            key="keep-plan",
            type="primary",
            on_click=_keep_draft,
            args=(shared,),
        )
        st.button(say("agree.plan.drop"), key="drop-plan", on_click=_drop_draft)


def _drop_draft() -> None:
    _desk().draft = None


def _keep_draft(shared: Shared) -> None:
    begin()
    desk = _desk()
    if desk.draft is not None:
        _keep(shared, st.session_state.get("draft-id", ""), desk.draft)


def _keep(shared: Shared, study: str, plan: StudyPlan) -> None:
    """Have a plan sealed by the station."""
    desk, session, speaks = _desk(), person(), counter(shared)
    if session is None or speaks is None:
        desk.told = ("warning", say("why.no_login"))
        return
    document = encode(plan)
    place = ("plan", study, document)
    request = desk.requests.setdefault(place, new_request())
    try:
        speaks.plan_study(
            m.PlanStudy(request_id=request, token=session.token, study=study, document=document)
        )
    except (NotSent, NoAnswer) as error:
        desk.told = ("alarm", say(_unanswered(error)))
        return
    except Refused as refused:
        del desk.requests[place]
        desk.told = ("alarm", say("agree.plan.wrong", fault=refused))
        return
    del desk.requests[place]
    desk.draft = None
    _go(study)
    desk.told = ("recorded", say("agree.plan.kept", study=study))


def _unanswered(error: NotSent | NoAnswer) -> str:
    return "told.not_sent" if isinstance(error, NotSent) else "told.no_answer"


# ------------------------------------------------------------------------------------- one study


def _study(shared: Shared, desk: Desk, listed: Listed, plan: StudyPlan) -> None:
    now_ns = time.time_ns()
    when = words.clock_time(listed.planned_ns, now_ns)
    drawn = "" if plan.measured else say("agree.seed", seed=plan.seed)
    show(
        div(
            "study",
            span("id", listed.study),
            tag("b", plan.title),
            span("hint", _size(plan)),
            span("hint", say("agree.by", person=listed.person, when=when)),
            span("hint", drawn),
        )
    )
    if plan.measured:
        _gauge_page(plan)
        return
    try:
        answers = shared.studies.answers(listed.study, plan)
    except StoreError as error:
        show(div("alarm", f"✕ {say('agree.unreadable', fault=error)}"))
        return
    tabs = ("appraise", "panel", "evaluate")
    session = person()
    mine = session is not None and is_appraiser(plan, session.user)
    tab = st.segmented_control(
        say("page.agreement"),
        tabs,
        default="appraise" if mine else "evaluate",
        required=True,
        format_func=lambda name: say(f"agree.tab.{name}"),
        key=f"tab-{listed.study}-{mine}",
        label_visibility="collapsed",
        on_change=_other_tab,
    )
    if tab == "evaluate":
        _evaluation(shared, listed, plan, answers)
    else:
        _judging(shared, desk, listed, plan, answers, panel=tab == "panel")


def _other_tab() -> None:
    desk = _desk()
    desk.asked = desk.last = None
    desk.correcting = False
    desk.turn += 1


def _judging(
    shared: Shared,
    desk: Desk,
    listed: Listed,
    plan: StudyPlan,
    answers: Sequence[Answer],
    *,
    panel: bool,
) -> None:
    """One picture and three keys."""
    session = person()
    if session is None:
        desk.asked = None
        show(div("warning", say("agree.log_in")))
        return
    if panel == is_appraiser(plan, session.user):
        desk.asked = None
        names = ", ".join(plan.appraisers)
        text = say("agree.not_panel") if panel else say("agree.not_yours", names=names)
        show(div("warning", text))
        return
    following, so_far = next_for(plan, answers, session.user, panel=panel)
    if desk.correcting and desk.last is not None:
        asked: tuple[str, StudyItem, int] | None = desk.last
        show(div("warning", say("agree.correcting")))
    else:
        asked = None if following is None else (listed.study, *following)
    if asked != desk.asked:
        desk.asked = asked
        desk.turn += 1
        desk.shown_ns = time.monotonic_ns()
    if asked is None:
        done = say("agree.panel.none") if not so_far.asked else _through(so_far)
        show(div("done", tag("h2", f"✓ {done}")))
        return
    _question(shared, desk, plan, asked[1], asked[2], so_far)


def _through(so_far: Progress) -> str:
    return say("agree.done", given=so_far.given, asked=so_far.asked)


def _question(
    shared: Shared, desk: Desk, plan: StudyPlan, item: StudyItem, trial: int, so_far: Progress
) -> None:
    left, right = st.columns([62, 38], gap="medium")
    with left:
        picture = shared.pictures.get(item.evidence, LARGE_SIDE_PX)
        show(large(picture, say("agree.picture"), "large judged"))
    with right:
        ask = say("agree.ask" if trial else "agree.ask.panel")
        place = say("agree.trial", trial=trial, trials=plan.trials) if trial else ""
        count = say("agree.so_far", given=so_far.given, asked=so_far.asked)
        # The number in an attribute lets a test, and whoever looks closely, see a new question.
        show(tag("div", ask, class_="ask", data_turn=str(desk.turn)))
        if plan.with_values:
            place = f"{item.part} {item.point} · {place}"
        show(div("line", span("", place), span("so-far", count)))
        st.progress(so_far.given / so_far.asked)
        if plan.with_values and trial:
            st.number_input(
                say("agree.measured"), 0.0, 1000.0, None, format="%.3f", key=f"value-{desk.turn}"
            )
        with st.container(key="answers", horizontal=True, gap="small"):
            for judged, key in KEYS.items():
                st.button(
                    f"{MARKS[judged]} {say(f'agree.{judged.value}')}",
                    key=f"judge-{judged.value}-{desk.turn}",
                    shortcut=key,
                    type="secondary",
                    disabled=not picture.source and judged is not Judged.CANNOT_TELL,
                    on_click=_answer,
                    args=(shared, desk.turn, judged),
                )
        _again_button(desk)
        if not plan.with_values:
            show(div("hint", say("agree.blind")))


def _again_button(desk: Desk) -> None:
    st.button(
        say("agree.again"),
        key=f"again-{desk.turn}",
        shortcut=AGAIN,
        type="tertiary",
        help=say("agree.again.help"),
        disabled=desk.last is None or desk.correcting,
        on_click=_correct,
    )


def _correct() -> None:
    desk = _desk()
    desk.correcting = desk.last is not None


def _answer(shared: Shared, turn: int, judged: Judged) -> None:
    """Have one answer written down."""
    begin()
    desk, session, speaks = _desk(), person(), counter(shared)
    if desk.turn != turn or desk.asked is None:
        return  # the answer to a question that is no longer asked
    if time.monotonic_ns() - desk.shown_ns < TOO_FAST_NS:
        desk.told = ("warning", say("agree.too_fast"))
        return
    if session is None or speaks is None:
        desk.told = ("warning", say("why.no_login"))
        return
    study, item, trial = desk.asked
    value = st.session_state.get(f"value-{turn}")
    place = (study, item.item, trial, judged, value, desk.turn)
    request = desk.requests.setdefault(place, new_request())
    try:
        speaks.look(
            m.Look(
                request_id=request,
                token=session.token,
                purpose=m.LookPurpose.STUDY,
                run=item.run,
                point=item.point,
                method=m.LookMethod.VISUAL if value is None else m.LookMethod.ULTRASONIC,
                word=WORDS[judged],
                value_mm=UNSET if value is None else value,
                study=study,
                item=item.item,
                trial=trial,
            )
        )
    except (NotSent, NoAnswer) as error:
        desk.told = ("alarm", say(_unanswered(error)))
        return
    except Refused as refused:
        del desk.requests[place]
        if refused.fault is Fault.NOT_AUTHORISED:
            forget()
            desk.told = ("alarm", say("told.log_in_again", text=refused))
        else:
            desk.told = ("alarm", say("told.refused", text=refused))
        return
    del desk.requests[place]
    desk.last, desk.asked, desk.correcting = desk.asked, None, False
    desk.told = ("recorded", say("agree.kept", word=say(f"agree.{judged.value}")))


WORDS = {
    Judged.GOOD: m.LookWord.GOOD,
    Judged.DEFECT: m.LookWord.DEFECT,
    Judged.CANNOT_TELL: m.LookWord.CANNOT_TELL,
}


# ------------------------------------------------------------------------------------- evaluation


def _evaluation(shared: Shared, listed: Listed, plan: StudyPlan, answers: Sequence[Answer]) -> None:
    show(div("hint", _so_far(plan, answers)))
    session = person()
    user = None if session is None else session.user
    if not may_see(plan, answers, user, frozenset() if session is None else session.roles):
        show(div("warning", say("agree.hidden")))
        return
    try:
        captured = shared.studies.captures(plan) if plan.system else []
    except StoreError as error:
        show(div("alarm", f"✕ {say('agree.unreadable', fault=error)}"))
        return
    found = evaluated(plan, answers, captured)
    for each in _left_out(plan, found):
        show(each)
    if found.study.given:
        for row in found.study.appraisers:
            show(div("sentence", _sentence(row)))
        show(div("section", tag("h2", say("agree.appraisers"))), _appraisers(found))
        show(div("section", tag("h2", say("agree.kappas"))), _kappas(found))
        _disagreements(shared, plan, found, captured)
    if plan.with_values:
        _measured(plan, answers)
    with st.container(key="exports", horizontal=True):
        st.download_button(
            say("agree.export.answers"),
            answers_csv(listed.study, plan, answers, captured).encode("utf-8-sig"),
            f"{listed.study}-judgements.csv",
            "text/csv",
            key="export-answers",
            on_click="ignore",
        )
        st.download_button(
            say("agree.export.figures"),
            figures_csv(listed.study, found).encode("utf-8-sig"),
            f"{listed.study}-figures.csv",
            "text/csv",
            key="export-figures",
            on_click="ignore",
        )


def _left_out(plan: StudyPlan, found: Evaluation) -> Iterable[Html]:
    study = found.study
    if study.given < study.expected:
        yield div("warning", say("agree.partial", given=study.given, asked=study.expected))
    if found.unknown:
        yield div("warning", say("agree.unknown", count=len(found.unknown)))
    if found.split:
        yield div("warning", say("agree.split", count=len(found.split)))
    if found.short:
        text = say("agree.short", count=len(found.short), trials=plan.trials)
        short = ", ".join(
            f"{item.part} {item.point} ({found.short[item.item]})"
            for item in plan.items
            if item.item in found.short
        )
        yield div("warning", text, div("ids", short))
    if found.corrected:
        yield div("hint", say("agree.corrected", count=found.corrected))


def _sentence(each: Appraiser) -> str:
    if not each.items:
        return say("agree.says.nothing", name=_name(each.name))
    if each.open_items:
        why = say("agree.says.open", count=each.open_items)
    else:
        why = say("agree.says.shown" if each.shown else "agree.says.not_shown")
    return say("agree.says", name=_name(each.name), grade=_grade(each.grade), why=why)


def _name(name: str) -> str:
    return f"⚙ {name}" if name == SYSTEM else name


def _grade(grade: Grade) -> str:
    return f"{GRADE_MARKS[grade]} {say(f'agree.grade.{grade.value}')}"


def _appraisers(found: Evaluation) -> Html:
    head = ["appraiser", "verdict", *(measure.value for measure in Measure), "within",
            "reference", "cannot_tell"]  # fmt: skip
    cells = []
    for name in head:
        limits = Html("")
        if name in tuple(Measure):
            good, poor = LIMITS[Measure(name)]
            text = say(f"agree.limits.{name}", good=percent(good, 0), poor=percent(poor, 0))
            limits = div("hint", text)
        cells.append(tag("th", say(f"agree.col.{name}"), limits))
    rows = [tag("tr", *cells)]
    for each in found.study.appraisers:
        unfinished = (
            div("hint", say("agree.unfinished", count=each.open_items))
            if each.open_items
            else Html("")
        )
        count = say("agree.of", some=each.cannot_tell, all=each.decisions)
        rows.append(
            tag(
                "tr",
                tag("td", tag("b", _name(each.name)), unfinished),
                tag("td", _verdict(each)),
                *(tag("td", *_figure(figure)) for figure in each.rated),
                tag("td", *_kappa(each.within)),
                tag("td", *_kappa(each.reference)),
                tag("td", count),
            )
        )
    return div("scrolled", tag("table", *rows, class_="figures"))


def _verdict(each: Appraiser) -> Html:
    if not each.items:
        return span("hint", "–")
    return span(f"grade {each.grade.value}", _grade(each.grade))


def _figure(figure: Rated) -> Sequence[Html]:
    counted = figure.over_decisions
    if counted.rate is None:
        return (div("hint", say("agree.nothing")),)
    value = div(
        f"grade {figure.grade.value}",
        f"{GRADE_MARKS[figure.grade]} {percent(counted.rate)}",
        span("hint", f" {say('agree.of', some=counted.errors, all=counted.trials)}"),
    )
    interval = say("agree.interval", lower=percent(counted.lower), upper=percent(counted.upper))
    if figure.shown:
        told = say("agree.shown")
    else:
        told = say("agree.not_shown")
        if figure.grade is not Grade.UNACCEPTABLE:
            told += ": " + (
                say("agree.needed.never")
                if figure.needed is None
                else say(f"agree.needed.{figure.measure.value}", count=words.number(figure.needed))
            )
    return value, div("hint", interval), div("hint", told)


def _kappa(kappa: Kappa) -> Sequence[Html]:
    if kappa.value is None:
        return (span("hint", say("agree.kappa.none")),)
    letter = "A" if kappa.value > KAPPA_GOOD else "C" if kappa.value < KAPPA_POOR else "B"
    bounds = f"{decimal(kappa.lower, 2)} … {decimal(kappa.upper, 2)}"
    return (
        div(f"kappa {letter}", f"{letter} {decimal(kappa.value, 2)}"),
        div("hint", bounds),
    )


def _kappas(found: Evaluation) -> Html:
    study = found.study
    names = [each.name for each in study.appraisers]
    head = tag("tr", tag("th", ""), *(tag("th", _name(name)) for name in names),
               tag("th", say("agree.reference")))  # fmt: skip
    rows = [head]
    for each in study.appraisers:
        cells = []
        for name in names:
            pair = study.pairs.get((each.name, name)) or study.pairs.get((name, each.name))
            cells.append(tag("td", *(_kappa(pair) if pair is not None else ("",))))
        rows.append(
            tag("tr", tag("th", _name(each.name)), *cells, tag("td", *_kappa(each.reference)))
        )
    overall = study.overall
    value = "–" if overall.value is None else (
        f"{decimal(overall.value, 2)} ({decimal(overall.lower, 2)} … {decimal(overall.upper, 2)})"
    )  # fmt: skip
    text = say(
        "agree.overall",
        kappa=value,
        agreed=say("agree.of", some=study.agreed.errors, all=study.agreed.trials),
        correct=study.correct.errors,
    )
    return join(
        div("scrolled", tag("table", *rows, class_="figures matrix")),
        div("hint", say("agree.kappas.hint", letters="A, B, C")),
        div("sentence", text),
    )


@dataclass(frozen=True, slots=True)
class Filter:
    """Which disagreements are shown: all (without a name), or one figure of one appraiser."""

    name: str = ""
    measure: Measure | None = None

    def takes(self, each: Disagreement) -> bool:
        if self.measure is None:
            return True
        wanted = Judged.DEFECT if self.measure is Measure.MISS else Judged.GOOD
        said = each.said.get(self.name, ())
        if each.reference is not wanted:
            return False
        missed = Judged.GOOD in said
        return missed if self.measure is Measure.MISS else any(w is not Judged.GOOD for w in said)


def _disagreements(
    shared: Shared, plan: StudyPlan, found: Evaluation, captured: Sequence[Capture]
) -> None:
    study = found.study
    show(div("section", tag("h2", say("agree.disagreements"))))
    if not study.disagreements:
        show(div("empty", say("agree.disagreements.none")))
        return
    options = [Filter()] + [
        Filter(each.name, measure)
        for each in study.appraisers
        for measure in (Measure.MISS, Measure.FALSE_ALARM)
    ]
    counts = {option: sum(option.takes(each) for each in study.disagreements) for option in options}

    def label(number: int) -> str:
        option = options[number]
        if option.measure is None:
            return say("agree.filter.all", count=counts[option])
        key = f"agree.filter.{option.measure.value}"
        return say(key, name=_name(option.name), count=counts[option])

    chosen = st.pills(
        say("agree.filter"),
        [
            number
            for number, option in enumerate(options)
            if counts[option] or option.measure is None
        ],
        default=0,
        required=True,
        format_func=label,
        key="disagreements",
        label_visibility="collapsed",
    )
    items = {item.item: item for item in plan.items}
    runs: dict[str, dict[int, Capture]] = {}
    for each in captured:
        runs.setdefault(each.item, {})[each.trial] = each
    shown = [each for each in study.disagreements if options[chosen or 0].takes(each)]
    tiles = [
        _tile(shared, items[each.item], each, runs.get(each.item, {})) for each in shown[:SHOWN]
    ]
    show(div("tiles", *tiles))


def _tile(shared: Shared, item: StudyItem, each: Disagreement, runs: dict[int, Capture]) -> Html:
    lines = []
    for name, said in each.said.items():
        if name == SYSTEM:
            marks = [
                _to_part(runs[trial].run, item.point, f" {_said(word)}")
                for trial, word in enumerate(said, 1)
                if trial in runs
            ]
        else:
            marks = [span("", f" {_said(word)}") for word in said]
        lines.append(div("spoken", tag("b", _name(name)), *marks))
    truth = "" if each.reference is None else say(f"agree.{each.reference.value}")
    where = say("agree.to_part", part=item.part, point=item.point)
    more = span("hint", say("agree.borderline")) if item.borderline else Html("")
    picture = shared.pictures.get(item.evidence)
    image = (
        tag("img", src=picture.source, alt=say("picture.of", point=item.point), class_="photo")
        if picture.source
        else span("none", picture.why)
    )
    return div(
        "tile",
        div("picture", image),
        div(
            "said",
            div("line", tag("b", say("agree.item", item=item.item)), more),
            div("", say("agree.truth", word=truth)),
            *lines,
            _to_part(item.run, item.point, where),
        ),
    )


def _said(word: Judged) -> str:
    return f"{MARKS[word]} {say(f'agree.{word.value}')}"


def _to_part(run: str, point: str, text: str) -> Html:
    """A link to the picture and its whole record, beside this page: a page that is loaded anew
    forgets who has logged in."""
    query = urlencode({"run": run, "point": point})
    return tag("a", text, href=f"/parts?{query}", target="_blank", rel="noopener")


def _small(shared: Shared, evidence: str, name: str, more: Html) -> Html:
    picture = shared.pictures.get(evidence)
    image = (
        tag("img", src=picture.source, alt=say("agree.picture"), class_="photo")
        if picture.source
        else span("none", picture.why)
    )
    return div("small-picture", image, div("where", name), more)


# -------------------------------------------------------------------------------- measured values


def _gauge_page(plan: StudyPlan) -> None:
    try:
        found = gauge(plan)
    except ValueError as error:
        show(div("alarm", say("agree.broken", study=plan.title, fault=error)))
        return
    if isinstance(found, Type1):
        show(*_type_1(plan, found))
    else:
        show(*_gauge(plan, found))


def _measured(plan: StudyPlan, answers: Sequence[Answer]) -> None:
    """What the appraisers measured beside their words."""
    try:
        found = anova(values_of(plan, answers))
    except ValueError as error:
        show(div("section", tag("h2", say("agree.gauge"))))
        show(div("hint", say("agree.measured.not_yet", fault=error)))
        return
    show(*_gauge(plan, found))


def _type_1(plan: StudyPlan, found: Type1) -> Iterable[Html]:
    yield div("section", tag("h2", say("agree.type1", count=found.count)))
    key = "agree.type1.capable" if found.capable else "agree.type1.not"
    text = say(key, cg=decimal(found.cg, 2), cgk=decimal(found.cgk, 2))
    yield div("sentence", f"{'✓' if found.capable else '✕'} {text}")
    yield div(
        "hint",
        say(
            "agree.type1.numbers",
            mean=significant(found.mean),
            deviation=significant(found.deviation),
            bias=significant(found.bias),
            p=chance(found.bias_p),
            reference=significant(found.reference),
            unit=plan.unit,
        ),
    )


def _gauge(plan: StudyPlan, found: GaugeStudy) -> Iterable[Html]:
    yield div("section", tag("h2", say("agree.gauge")))
    grade = Grade(found.grade.value)
    text = say(f"agree.gauge.says.{grade.value}", grr=percent(found.grr_share), ndc=found.ndc)
    yield div("sentence", f"{GRADE_MARKS[grade]} {text}")
    tolerated = found.of_tolerance(found.grr)
    if tolerated is not None:
        yield div("sentence", say("agree.gauge.of_tolerance", share=percent(tolerated)))
    size = say(
        "agree.gauge.size", parts=found.parts, appraisers=found.appraisers, trials=found.trials
    )
    yield div("hint", size)
    if found.av is None:
        yield div("hint", say("agree.gauge.alone"))
    rows = [
        tag(
            "tr",
            tag("th", say("agree.gauge.source")),
            tag("th", f"{say('agree.gauge.deviation')} ({plan.unit})"),
            tag("th", say("agree.gauge.share")),
            tag("th", say("agree.gauge.tolerance")),
        )
    ]
    for name in ("ev", "av", "interaction", "grr", "pv", "tv"):
        deviation = getattr(found, name)
        if deviation is None:
            continue
        share = found.of_tolerance(deviation)
        rows.append(
            tag(
                "tr",
                tag("th", say(f"agree.gauge.{name}")),
                tag("td", significant(deviation)),
                tag("td", percent(found.share(deviation))),
                tag("td", "–" if share is None else percent(share)),
            )
        )
    yield div("scrolled", tag("table", *rows, class_="figures"))
    yield div("section", tag("h2", say("agree.table")))
    rows = [
        tag("tr", tag("th", ""), *(tag("th", text) for text in (
            say("agree.table.ss"), say("agree.table.df"), say("agree.table.ms"), "F", "p")))
    ]  # fmt: skip
    for source in found.table:
        rows.append(
            tag(
                "tr",
                tag("th", say(f"agree.table.{source.name}")),
                tag("td", significant(source.sum_of_squares)),
                tag("td", str(source.freedom)),
                tag("td", significant(source.mean_square) if source.name != "total" else ""),
                tag("td", "" if source.f is None else decimal(source.f, 3)),
                tag("td", "" if source.p is None else chance(source.p)),
            )
        )
        if source.name == "both" and found.pooled and source.p is not None:
            pooled = say("agree.gauge.pooled", p=chance(source.p))
    yield div("scrolled", tag("table", *rows, class_="figures"))
    if found.pooled and any(each.name == "both" and each.p is not None for each in found.table):
        yield div("hint", pooled)


# ---------------------------------------------------------------------------------------- numbers


def decimal(value: float, places: int) -> str:
    if not math.isfinite(value):
        return "∞" if value > 0 else "–"
    rounded = round(value, places) + 0.0  # never -0.00
    return f"{rounded:.{places}f}".replace(".", say("decimal.sign"))


def chance(p: float | None) -> str:
    """A p-value, which is never nought."""
    if p is None:
        return "–"
    return f"< {decimal(0.001, 3)}" if p < 0.001 else decimal(p, 3)


def significant(value: float) -> str:
    return f"{value:.5g}".replace(".", say("decimal.sign"))


def percent(value: float, places: int = 1) -> str:
    return f"{decimal(100 * value, places)}{words.THIN_SPACE}%" if math.isfinite(value) else "–"
