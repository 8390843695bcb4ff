"""HTML of a page, with every text from outside escaped in one place.

`tag` escapes all it is given unless that is `Html` already, which only this module makes; so no
text from the store can become markup by being forgotten. Streamlit's own elements take Markdown,
and `code` is how a text goes through that unchanged.
"""

from __future__ import annotations

import html
import re
from typing import NamedTuple

VOID = {"img", "br"}


class Html(NamedTuple):
    """Markup whose texts have been escaped."""

    text: str


def tag(name: str, *content: str | Html, **attributes: str) -> Html:
    """One element. ``class_`` is written ``class``; other underscores become hyphens."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
    )
    inside = join(*content).text
    return Html(f"<{name}{written}>" if name in VOID else f"<{name}{written}>{inside}</{name}>")


def div(class_: str, *content: str | Html) -> Html:
    return tag("div", *content, class_=class_)


def span(class_: str, *content: str | Html) -> Html:
    return tag("span", *content, class_=class_)


def join(*content: str | Html) -> Html:
    """Several pieces one after the other."""
    return Html(
        "".join(each.text if isinstance(each, Html) else html.escape(each) for each in content)
    )


def code(text: str) -> str:
    """Markdown that shows a text exactly, whatever it holds: a code span, fenced with more
    backticks than the text has in a row."""
    one_line = " ".join(text.split()) or "–"
    longest = max((len(run) for run in re.findall("`+", one_line)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {one_line} {fence}" if longest else f"{fence}{one_line}{fence}"
