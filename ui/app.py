"""The script that Streamlit runs for each browser: opens what the pages share, says who is there,
shows one page."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st
from PIL import Image, ImageDraw

from inspection.clock import SystemClock
from inspection.evidence import EvidenceStore
from inspection.store import Reader
from ui import words
from ui.audits import Audits
from ui.configuration import read_ui
from ui.kept import Kept
from ui.pictures import Pictures
from ui.queries import Line
from ui.studies import Studies
from ui.views import agreement, analysis, audit, line, login, models, parts, people, review
from ui.views.shared import Plans, Shared, begin, started
from ui.waiting import Waiting
from ui.words import say

STYLE = Path(__file__).with_name("style.css")


@st.cache_resource(show_spinner=False)
def shared(path: str) -> Shared:
    """What all browsers share: one reader of the store, one cache of pictures. Nothing in it is of
    one person or of one browser."""
    config = read_ui(Path(path))
    reader, clock = Reader(config.store), SystemClock()
    return Shared(
        reader=reader,
        line=Line(reader, clock),
        waiting=Waiting(reader, clock),
        pictures=Pictures(EvidenceStore(config.evidence)),
        studies=Studies(reader, config.models),
        models=config.models,
        classes=config.classes,
        places=config.places,
        title=config.file.title,
        station=None if config.file.station is None else config.file.station.people,
        keys=config.keys,
        calendar=config.calendar,
        plans=Plans(reader),
        audits=Audits(reader),
        reviewers_key=config.reviewers_key,
        alarm=config.file.alarm,
        kept=Kept(),
    )


@st.cache_resource(show_spinner=False)
def icon() -> Image.Image:
    """A weld nugget with its imprint, for the browser's tab."""
    image = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(image)
    draw.ellipse((4, 4, 60, 60), fill="#1f5fa8")
    draw.ellipse((18, 18, 46, 46), outline="#ffffff", width=6)
    return image


def language() -> None:
    """The choice of language; what the browser asks for until somebody chooses."""
    st.session_state.setdefault("language", words.preferred(st.context.locale))
    st.selectbox(
        say("language"),
        list(words.LANGUAGES),
        format_func=lambda name: words.LANGUAGES[name],
        key="language",
        label_visibility="collapsed",
        width=104,
    )


def main() -> None:
    started()
    opened = shared(sys.argv[1])

    def line_page() -> None:
        line.page(opened)

    def review_page() -> None:
        review.page(opened)

    def parts_page() -> None:
        parts.page(opened)

    def agreement_page() -> None:
        agreement.page(opened)

    def analysis_page() -> None:
        analysis.page(opened)

    def audit_page() -> None:
        audit.page(opened)

    def people_page() -> None:
        people.page(opened)

    def models_page() -> None:
        models.page(opened)

    begin()
    st.set_page_config(page_title=opened.title or say("page.line"), page_icon=icon(), layout="wide")
    st.html(STYLE)
    with st.container(key="person", horizontal=True, vertical_alignment="center", gap="small"):
        language()
        login.box(opened)
    front = st.Page(line_page, title=say("page.line"), default=True)

    def line_by_its_name() -> None:
        st.switch_page(front, query_params=st.query_params.to_dict())

    pages = [
        front,
        # The first page has no address of its own for Streamlit; people type one all the same.
        st.Page(line_by_its_name, title=say("page.line"), url_path="line", visibility="hidden"),
        st.Page(review_page, title=say("page.review"), url_path="review"),
        st.Page(audit_page, title=say("page.audit"), url_path="audit"),
        st.Page(parts_page, title=say("page.parts"), url_path="parts"),
        st.Page(analysis_page, title=say("page.analysis"), url_path="analysis"),
        st.Page(models_page, title=say("page.models"), url_path="models"),
        st.Page(people_page, title=say("page.people"), url_path="people"),
        st.Page(agreement_page, title=say("page.agreement"), url_path="agreement"),
    ]
    st.navigation(pages, position="top").run()


main()
