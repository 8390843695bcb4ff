"""The script that Streamlit runs for each browser: opens what the pages share, shows one page."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st
from PIL import Image, ImageDraw

from inspection.clock import SystemClock
from inspection.evidence import EvidenceStore
from inspection.store import Reader
from ui.configuration import read_ui
from ui.pictures import Pictures
from ui.queries import Line
from ui.views import line
from ui.views.shared import Shared

STYLE = Path(__file__).with_name("style.css")


@st.cache_resource(show_spinner=False)
def shared(path: str) -> Shared:
    """What all browsers share: one reader of the store, one cache of pictures."""
    config = read_ui(Path(path))
    return Shared(
        line=Line(Reader(config.store), SystemClock()),
        pictures=Pictures(EvidenceStore(config.evidence)),
        classes=config.classes,
        title=config.file.title,
    )


@st.cache_resource(show_spinner=False)
def icon() -> Image.Image:
    """A weld nugget with its imprint, for the browser's tab."""
    image = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(image)
    draw.ellipse((4, 4, 60, 60), fill="#1f5fa8")
    draw.ellipse((18, 18, 46, 46), outline="#ffffff", width=6)
    return image


def main() -> None:
    opened = shared(sys.argv[1])

    def line_page() -> None:
        line.page(opened)

    st.set_page_config(page_title=opened.title or "Line", page_icon=icon(), layout="wide")
    st.html(STYLE)
    pages = [st.Page(line_page, title="Line", url_path="line", default=True)]
    st.navigation(pages, position="hidden").run()


main()
