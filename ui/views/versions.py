"""Parts of the Models page: what a version states of itself, and two of them side by side."""

from __future__ import annotations

import streamlit as st

from inspection.statistics import Rate
from ui import versions, words
from ui.markup import Html, div, join, span, tag
from ui.versions import Row, Version
from ui.views.shared import show
from ui.words import say

RATES = (
    "escapes",
    "overkill",
    "parts_with_escape",
    "parts_released",
    "parts_with_overkill",
    "good_parts_held",
)


def name_of(version: Version) -> str:
    """For a list to choose from."""
    now = f" · {say('versions.current')}" if version.current else ""
    return f"{version.manifest.name} {version.version} ({version.package[:12]}){now}"


def figures(version: Version) -> None:
    """What was counted on test parts, with bounds, and the card."""
    told = versions.measured(version)
    if told.why:
        show(div("alarm", f"✕ {told.why}"))
    if not told.rates and not told.classes:
        show(div("empty", say("versions.none")))
    elif not version.measured_with_this_policy:
        show(div("warning", f"▲ {say('versions.other_policy')}"))
    if told.rates or told.classes:
        left, right = st.columns(2, gap="medium")
        with left:
            show(div("section", tag("h2", say("versions.test"))))
            lines = [(say(f"versions.rate.{name}"), told.rates.get(name)) for name in RATES]
            lines += [
                (say("versions.int8", what=say(f"versions.rate.{name}")), each)
                for name, each in told.int8.items()
            ]
            show(_rates(lines), div("hint", say("versions.bounds")))
        with right:
            show(div("section", tag("h2", say("versions.by_class"))))
            worst = sorted(told.classes.items(), key=lambda item: -item[1].upper)
            show(_rates(list(worst)), div("hint", say("versions.class.hint")))
    show(div("section", tag("h2", say("models.card"))))
    show(tag("pre", version.card, class_="card") if version.card else _no_card())


def _no_card() -> Html:
    return div("empty", say("models.no_card"))


def _rates(lines: list[tuple[str, Rate | None]]) -> Html:
    head = tag(
        "tr",
        *(tag("th", say(f"versions.head.{name}")) for name in ("what", "of", "rate", "bounds")),
        tag("th", say("versions.head.at_most")),
    )
    rows = [
        tag(
            "tr",
            tag("td", name),
            *(tag("td", text) for text in _numbers(each)),
        )
        for name, each in lines
    ]
    return div("scrolled", tag("table", head, *rows, class_="figures"))


def _numbers(each: Rate | None) -> tuple[str, str, str, str]:
    if each is None or each.rate is None:
        return (say("versions.not_measured"), "–", "–", "–")
    return (
        say("versions.counted", errors=words.number(each.errors), of=words.number(each.trials)),
        percent(round(each.rate, 4)),  # to the nearest, as the card has it; only bounds lean
        f"{percent(each.lower)} – {percent(each.upper, up=True)}",
        percent(each.at_most, up=True),
    )


def percent(value: float, *, up: bool = False) -> str:
    """A fraction in percent, in the language of the page."""
    return versions.percent(value, up=up, sign=say("decimal.sign"))


def compare(known: list[Version], chosen: Version) -> tuple[Version, Version] | None:
    """The chosen version beside another; returns both, or None where there is no other."""
    others = [each for each in known if each.key != chosen.key]
    if not others:
        show(div("empty", say("versions.only_one")))
        return None
    same_name = [each for each in others if each.manifest.name == chosen.manifest.name]
    first = next((each for each in same_name if each.current), (same_name or others)[-1])
    keys = {each.key: each for each in others}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        beside = st.selectbox(
            say("versions.beside"),
            list(keys),
            index=list(keys).index(first.key),
            format_func=lambda key: name_of(keys[key]),
            key="models-beside",
            bind="query-params",
            width=420,
        )
        differing = st.toggle(say("versions.differing"), key="models-differing")
    other = keys.get(beside or "", first)
    for each in (chosen, other):
        if not each.measured_with_this_policy and versions.measured(each).rates:
            text = say("versions.other_policy.of", version=each.key)
            show(div("warning", f"▲ {text}"))
    if chosen.manifest.data_hash != other.manifest.data_hash:
        show(div("warning", f"▲ {say('versions.other_data')}"))
    rows = versions.side_by_side(chosen, other)
    comparable = chosen.manifest.data_hash == other.manifest.data_hash
    show(
        div(
            "scrolled",
            tag(
                "table",
                *_lines([row for row in rows if row.differs or not differing], comparable),
                _speed(),
                class_="figures compared",
                data_versions=f"{chosen.key} {other.key}",
            ),
        ),
        div("hint", say("versions.apart.hint")),
    )
    return chosen, other


def _lines(rows: list[Row], comparable: bool) -> list[Html]:
    head = tag("tr", *(tag("th", text) for text in ("", "A", "B", say("versions.difference"))))
    lines = [head]
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            title = tag("th", say(f"versions.group.{group}"), colspan="4")
            lines.append(tag("tr", title))
        lines.append(
            tag(
                "tr",
                tag("td", _what(row)),
                _cell(row.a),
                _cell(row.b),
                tag("td", _difference(row, comparable)),
                class_="differs" if row.differs else "same",
            )
        )
    return lines


def _what(row: Row) -> str:
    if row.what == "class":
        return row.of
    if row.what == "rate":
        return say(f"versions.rate.{row.of}")
    name = say(f"versions.what.{row.what}")
    return f"{name}: {row.of}" if row.of else name


def _cell(each: Rate | str | None) -> Html:
    if isinstance(each, Rate):
        counted, share, bounds, _ = _numbers(each)
        return tag("td", span("rate", share), join(" ", bounds), div("hint", counted))
    return tag("td", say("versions.not_stated") if each is None else each)


def _difference(row: Row, comparable: bool) -> str:
    if isinstance(row.a, Rate) and isinstance(row.b, Rate):
        if not comparable:
            return say("versions.not_comparable")
        lower = versions.lower_of(row.a, row.b)
        return (
            say("versions.not_apart") if lower is None else say("versions.lower", of=lower.upper())
        )
    if row.a is None or row.b is None:
        return "" if row.a == row.b else "≠"
    return "≠" if row.differs else "="


def _speed() -> Html:
    return tag("tr", tag("td", say("versions.what.speed")), tag("td", say("versions.speed"),
               colspan="3"))  # fmt: skip


def problems(wrong: list[str]) -> None:
    """What could not be read of the folders that ui.toml names."""
    for text in wrong:
        show(div("warning", f"▲ {text}"))
