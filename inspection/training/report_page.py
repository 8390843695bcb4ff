"""The page of a report: one HTML file with everything in it. No script, no font, no picture from
elsewhere, and a content policy that forbids them; names that come from files are text."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from inspection.statistics import Rate
from inspection.training.evaluate import Rates
from inspection.training.report_contents import Report
from inspection.training.report_figures import (
    Line,
    Place,
    Rule,
    Tick,
    chart,
    even_ticks,
    legend,
    rate_ticks,
    root,
)
from inspection.training.report_numbers import Auroc, Shown, log_odds
from inspection.training.report_runs import Disturbed, Robustness

VERDICTS = ("OK", "NOK", "REVIEW", "NOT_INSPECTED")


class Pictures(NamedTuple):
    """JPEG files for the page, in the order of the report's galleries and of its saliency; None
    where a picture could not be read. For saliency the crop and the crop with its map."""

    galleries: tuple[tuple[bytes | None, ...], ...]
    saliency: tuple[tuple[bytes, bytes], ...]


def page(report: Report, pictures: Pictures) -> str:
    """The whole file."""
    title = f"Report: {report.model} {report.version} on {report.dataset}"
    sections = (
        _first_page(report),
        _by_class(report),
        _confusion(report),
        _thresholds(report),
        _calibration(report),
        _galleries(report, pictures),
        _saliency(report, pictures),
        _robustness(report),
        _foreign(report),
        _speed(report),
        _provenance(report),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy"'
        " content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        + "\n".join(sections)
        + f"<footer>Written by visual-inspection {escape(report.software)}, {escape(report.made)}."
        " Every number stands in report.json beside this file.</footer></main></body></html>\n"
    )


# ---------------------------------------------------------------- numbers as text


def percent(share: float | None) -> str:
    """A fraction as a person reads it; more places where there would be only noughts."""
    if share is None:
        return "–"
    return f"{100 * share:.{3 if 0 < share < 0.001 else 2}f} %"


def count(number: int) -> str:
    """An integer with its thousands marked."""
    return f"{number:,}"


def decimal(value: float | None, places: int = 4) -> str:
    """A number with so many places, or a dash."""
    return "–" if value is None else f"{value:.{places}f}"


def _of(rate: Rate) -> str:
    return f"{count(rate.errors)} of {count(rate.trials)}"


def _interval(rate: Rate) -> str:
    return f"{percent(rate.lower)} to {percent(rate.upper)}"


def _rate_cells(rate: Rate) -> list[str]:
    """Count, rate, interval, bound."""
    if rate.rate is None:
        return ["none tried", "–", "–", "–"]
    return [_of(rate), f"<b>{percent(rate.rate)}</b>", _interval(rate), f"{percent(rate.at_most)}"]


RATE_HEADS = ("count", "rate", "95 % interval", "at most (95 %)")


def _table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
    style: str = "",
) -> str:
    """A table; heads and the first cell of a row are text, the other cells HTML made here."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{cell}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table class="{style}">{said}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _section(title: str, *content: str, explains: str = "", style: str = "") -> str:
    said = f'<p class="explains">{escape(explains)}</p>' if explains else ""
    return f'<section class="{style}"><h2>{escape(title)}</h2>{said}{"".join(content)}</section>'


def _strip(rate: Rate, style: str, largest: float) -> str:
    """A rate with its interval on one line of a table."""
    if rate.rate is None:
        return ""

    def x(share: float) -> float:
        return 4 + 112 * root(min(share, largest) / largest)

    mark = (
        f'<circle class="mark {style}" cx="{x(rate.rate):.1f}" cy="8" r="3.5"/>'
        if style == "escapes"
        else f'<rect class="mark {style}" x="{x(rate.rate) - 3:.1f}" y="5" width="6" height="6"/>'
    )
    return (
        '<svg viewBox="0 0 120 16" width="120" height="16" aria-hidden="true">'
        '<path class="grid" d="M4 8H116"/>'
        f'<path class="bar {style}" d="M{x(rate.lower):.1f} 8H{x(rate.upper):.1f}'
        f'M{x(rate.lower):.1f} 4v8M{x(rate.upper):.1f} 4v8"/>{mark}</svg>'
    )


# ---------------------------------------------------------------- the sections


def _first_page(report: Report) -> str:
    told = report.evaluation
    cards = [
        _card("Escapes", "defective points called OK", told.escapes, "escapes"),
        _card("Overkill", "good points not called OK", told.overkill, "overkill"),
        _card(
            "Bad parts released",
            "parts with a defect of which every point came out OK",
            told.parts_released,
            "escapes",
        ),
        _card(
            "Good parts held",
            "parts without a defect that are not OK",
            told.good_parts_held,
            "overkill",
        ),
    ]
    warnings = "".join(f"<li>{escape(text)}</li>" for text in report.warnings)
    rows = [
        ("Escapes per point", *_rate_cells(told.escapes)),
        ("Parts with an escape", *_rate_cells(told.parts_with_escape)),
        ("Parts with a defect released whole", *_rate_cells(told.parts_released)),
        ("Overkill per point", *_rate_cells(told.overkill)),
        ("Parts with overkill", *_rate_cells(told.parts_with_overkill)),
        ("Parts without a defect held", *_rate_cells(told.good_parts_held)),
    ]
    operating = [
        (
            _allowed(point.escapes_allowed),
            decimal(point.ok_min, 6),
            _of(point.escapes),
            percent(point.escapes.at_most),
            *_rate_cells(point.overkill),
        )
        for point in report.operating_points
    ]
    identity = [
        ("Model", f"{escape(report.model)} {escape(report.version)}"),
        ("Package", _hash(told.package)),
        ("Policy", f"{_hash(told.policy)} version {report.provenance.policy_version}"),
        ("Data set", f"{escape(report.dataset)} {_hash(report.data_hash)}"),
        (
            "Judged",
            (
                f"{count(told.points)} points of {count(told.pictures)} pictures,"
                f" {count(told.parts)} parts; {count(told.counted_apart)} points counted apart"
                f" (no label, or borderline); {count(told.unreadable)} pictures unreadable"
            ),
        ),
    ]
    return (
        '<section class="first"><header>'
        f'<p class="kind">Inspection report</p><h1>{escape(report.model)} {escape(report.version)}'
        f" <small>on {escape(report.dataset)}</small></h1></header>"
        '<p class="meaning"><b>OK means that nothing visible is wrong</b> in the picture of a'
        " point. It says nothing of what a camera does not show: not of nugget size, cold welds or"
        " interfacial failure, nor of defects unlike those tested here.</p>"
        f'<div class="cards">{"".join(cards)}</div>'
        + (
            f'<div class="box promise"><h3>Promise</h3><p>{escape(report.promise)}</p></div>'
            if report.promise
            else '<div class="box"><h3>Promise</h3><p>None was stated: the rates below are what was'
            " counted on this test, with their bounds.</p></div>"
        )
        + (
            f'<div class="box"><h3>Parity</h3><p>{escape(report.parity)}</p></div>'
            if report.parity
            else ""
        )
        + (
            f'<div class="box warn"><h3>⚠ Read this first</h3><ul>{warnings}</ul></div>'
            if warnings
            else '<div class="box"><h3>Warnings</h3><p>None: parts are known, every picture was'
            " read, no part was used in training.</p></div>"
        )
        + _table(("", *RATE_HEADS), rows, style="rates")
        + '<p class="note">Bounds are exact (Clopper and Pearson 1934). They take points as'
        " independent, which points of one part are not quite; rates over parts need not assume it."
        "</p>"
        + _table(("", "value"), identity, style="identity")
        + '<div class="signs"><p>Name</p><p>Date</p><p>Signature</p></div></section>'
        + _section(
            "How well defects are told from good points",
            f"<p>AUROC of defect against good: {_auroc(report.auroc)}"
            f" The strongest class is the true one for {percent(report.accuracy)} of the"
            " points.</p>",
            _table(
                (
                    "if at most ... escape",
                    "OK from",
                    "escapes",
                    "at most (95 %)",
                    *_overkill_heads(),
                ),
                operating,
            ),
            f'<p class="note">{count(report.without_scores)} labelled points had no usable scores'
            " and are not in this section; they are in every other.</p>",
            explains="Thresholds of the OK class alone, chosen on this very test for each row, and"
            " hence optimistic: they compare models, and promise nothing.",
        )
    )


def _overkill_heads() -> tuple[str, ...]:
    return ("overkill", "rate", "95 % interval", "at most (95 %)")


def _allowed(share: float) -> str:
    return f"{100 * share:g} %" if share else "none"


def _card(title: str, explains: str, rate: Rate, style: str) -> str:
    shape = "●" if style == "escapes" else "■"
    value = "not tried" if rate.rate is None else percent(rate.rate)
    bound = "" if rate.rate is None else f"at most {percent(rate.at_most)} (95 %)"
    counted = "" if rate.rate is None else _of(rate)
    return (
        f'<div class="card {style}"><h3><span aria-hidden="true">{shape}</span> {title}</h3>'
        f'<p class="value">{value}</p><p class="bound">{bound}</p>'
        f'<p class="note">{counted} {"· " if counted else ""}{explains}</p></div>'
    )


def _hash(text: str) -> str:
    return f'<code class="hash">{escape(text)}</code>'


def _auroc(found: Auroc) -> str:
    if found.value is None:
        return "not defined, one side is empty."
    between = (
        f" (95 % interval over parts {decimal(found.lower)} to {decimal(found.upper)})"
        if found.lower is not None
        else ""
    )
    return (
        f"<b>{decimal(found.value)}</b>{between}, {count(found.positives)} defective and"
        f" {count(found.negatives)} good points."
    )


def _by_class(report: Report) -> str:
    told = report.evaluation
    order = sorted(told.classes, key=lambda name: (name == report.ok_class, name))
    uppers = [rate.upper for name, rate in told.classes.items() if name != report.ok_class]
    largest = min(1.0, max([0.05, *uppers]))
    rows = [
        (
            name,
            escape(report.classes.get(name, "unknown to the model")),
            "overkill" if name == report.ok_class else "escapes",
            *_rate_cells(told.classes[name]),
            _strip(
                told.classes[name], "overkill" if name == report.ok_class else "escapes", largest
            ),
        )
        for name in order
    ]
    tables = [
        _table(
            ("class", "severity", "counts", *RATE_HEADS, f"0 to {100 * largest:.0f} %"),
            rows,
            caption="By true class",
        )
    ]
    tables += [
        _facet(f"By {name}", values)
        for name, values in report.by.items()
        if name != "severity" or len(values) > 2
    ]
    if set(report.by) <= {"severity"}:
        tables.append(
            '<p class="note">The data set tells no group, kind or camera of its points.</p>'
        )
    if told.borderline:
        tables.append(
            _table(
                ("borderline", *VERDICTS),
                [
                    (name, *(count(row.get(v, 0)) for v in VERDICTS))
                    for name, row in told.borderline.items()
                ],
                caption="In no rate: too near a limit to blame either answer",
            )
        )
    return _section(
        "Escapes and overkill by class and place",
        *tables,
        explains="Few points make wide intervals: a class with 30 defects and no escape may still"
        " let one in ten pass.",
    )


def _facet(caption: str, values: Mapping[str, Rates]) -> str:
    rows = [
        (
            name or "(none)",
            *_rate_cells(rates.escapes),
            *_rate_cells(rates.overkill),
        )
        for name, rates in values.items()
    ]
    return _table(
        ("", "escapes", *RATE_HEADS[1:], "overkill", *RATE_HEADS[1:]), rows, caption=caption
    )


def _confusion(report: Report) -> str:
    told = report.evaluation
    order = [name for name in report.classes if name in told.verdicts]
    order += sorted(set(told.verdicts) - set(order))
    heads = [*VERDICTS]
    named = [name for name in report.classes if name != report.ok_class]

    def cell(number: int, of: int, wrong: bool) -> str:
        depth = root(number / of) if of else 0.0
        mark = ' <span class="wrong" title="wrong">▲</span>' if wrong and number else ""
        text = count(number) if number else '<span class="none">·</span>'
        return f'<span class="cell" style="--depth:{depth:.2f}">{text}{mark}</span>'

    verdicts = [
        (
            name,
            *(
                cell(
                    told.verdicts[name].get(verdict, 0),
                    sum(told.verdicts[name].values()),
                    (verdict == "OK") != (name == report.ok_class),
                )
                for verdict in heads
            ),
        )
        for name in order
    ]
    findings = [
        (
            name,
            *(
                cell(
                    told.findings[name].get(finding, 0),
                    sum(told.findings[name].values()),
                    finding not in ("" if name == report.ok_class else name, name),
                )
                for finding in ("", *named)
            ),
        )
        for name in order
    ]
    return _section(
        "Confusion",
        _table(("true class", *heads), verdicts, caption="True class by verdict", style="matrix"),
        _table(
            ("true class", "none", *named),
            findings,
            caption="True class by the defect named (NOK and REVIEW name one)",
            style="matrix",
        ),
        explains="▲ marks what is wrong; the tint grows with the share of its row.",
    )


def _thresholds(report: Report) -> str:
    curve = report.costs
    if curve is None:
        return _section(
            "Thresholds and cost", "<p>Needs both good and defective points: none drawn.</p>"
        )

    def odds(score: float) -> float:
        return float(log_odds(np.array([score]))[0])

    ticks = [Tick(odds(at), f"{at:g}") for at in (0.0001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999)]
    lines = [
        Line(
            name,
            style,
            "none",
            tuple(Place(odds(point.ok_min), getattr(point, name)) for point in curve.points),
        )
        for name, style in (("escapes", "escapes"), ("overkill", "overkill"))
    ]
    cost = Line("cost", "cost", "none", tuple(Place(odds(p.ok_min), p.cost) for p in curve.points))
    rule = Rule("x", odds(curve.present.ok_min), "present", "policy")
    best = Rule("x", odds(curve.cheapest.ok_min), "ideal", "")
    largest = max(max(p.escapes, p.overkill) for p in curve.points)
    rates = chart(
        lines,
        title="Escapes and overkill against the threshold of the OK class",
        x_label="OK from this score on",
        y_label="rate",
        x_ticks=ticks,
        y_ticks=rate_ticks(largest),
        y_scale=root,
        rules=[rule],
        width=420,
    )
    costs = chart(
        [cost],
        title="Expected cost against the threshold of the OK class",
        x_label="OK from this score on",
        y_label="cost per 1,000 points",
        x_ticks=ticks,
        y_ticks=even_ticks(max(p.cost for p in curve.points)),
        y_scale=root,
        rules=[rule, best],
        width=420,
    )
    prices = curve.prices
    rows = [
        (
            name,
            decimal(point.ok_min, 6),
            percent(point.escapes),
            percent(point.overkill),
            percent(point.review),
            decimal(point.cost, 2),
        )
        for name, point in (
            ("the policy's threshold", curve.present),
            ("cheapest on this test", curve.cheapest),
        )
    ]
    return _section(
        "Thresholds and cost",
        f'<div class="charts"><figure>{rates}{legend(lines)}</figure>'
        f"<figure>{costs}{legend([cost])}</figure></div>",
        _table(("", "OK from", "escapes", "overkill", "reviewed", "cost per 1,000 points"), rows),
        f'<p class="note">Costs stated: a miss {prices.miss:g}, a false alarm'
        f" {prices.false_alarm:g}, a look by a person {prices.review:g}, with"
        f" {percent(prices.prevalence)} of the points in production defective. Point values,"
        " without bounds; NOK thresholds as in the policy. The cheapest threshold was found on the"
        " test and is no advice: a threshold taken from here is no longer tested.</p>",
        explains="What another threshold of the OK class would have given on this data.",
    )


def _calibration(report: Report) -> str:
    told = report.reliability
    if told.ece_defect is None:
        return _section("Calibration", "<p>No labelled point has usable scores.</p>")
    line = Line(
        "counted, with 95 % interval",
        "overkill",
        "square",
        tuple(
            Place(
                group.said,
                group.defective.rate or 0.0,
                group.defective.lower,
                group.defective.upper,
            )
            for group in told.bins
        ),
    )
    ideal = Line("what the model says", "ideal", "none", ())
    ticks = [Tick(k / 4, f"{25 * k} %") for k in range(5)]
    drawn = chart(
        [line],
        title="Reliability diagram",
        x_label="probability of a defect, as the model says",
        y_label="share that is defective",
        x_ticks=ticks,
        y_ticks=ticks,
        diagonal=True,
        height=280,
    )
    rows = [
        (
            f"{percent(group.low)} to {percent(group.high)}",
            percent(group.said),
            *_rate_cells(group.defective),
        )
        for group in told.bins
    ]
    key = legend([line._replace(places=()), ideal])
    return _section(
        "Calibration",
        f"<p>Expected calibration error <b>{decimal(told.ece_defect)}</b> of the probability of a"
        f" defect, {decimal(told.ece_class)} of the strongest class (15 bins of equal width).</p>",
        f'<div class="charts"><figure>{drawn}{key}</figure>'
        f"{_table(('says', 'on average', 'defective', *RATE_HEADS[1:]), rows)}</div>",
        explains="Of the points to which the model gives 30 %, three in ten should be defective."
        " The mixture of this test counts: with fewer defects, fewer are defective at the same"
        " score.",
    )


def _galleries(report: Report, pictures: Pictures) -> str:
    parts = []
    for gallery, images in zip(report.galleries, pictures.galleries, strict=True):
        head = f"{gallery.title}: {count(len(gallery.shown))} of {count(gallery.of)} shown"
        if not gallery.of:
            parts.append(f"<h3>{escape(gallery.title)}: none</h3>")
            continue
        figures = "".join(
            _picture(shown, image, report.ok_class)
            for shown, image in zip(gallery.shown, images, strict=True)
        )
        parts.append(
            f'<h3>{escape(head)}</h3><p class="explains">{escape(gallery.explains)}</p>'
            f'<div class="gallery">{figures}</div>'
        )
    return _section("Hardest and most surprising pictures", *parts)


def _image(data: bytes | None, text: str) -> str:
    if data is None:
        return '<div class="blind">cannot be read</div>'
    coded = base64.b64encode(data).decode("ascii")
    return f'<img alt="{escape(text, quote=True)}" src="data:image/jpeg;base64,{coded}">'


def _picture(shown: Shown, image: bytes | None, ok_class: str) -> str:
    strongest = sorted(shown.scores.items(), key=lambda item: -item[1])[:2]
    if ok_class in shown.scores and ok_class not in dict(strongest):
        strongest.append((ok_class, shown.scores[ok_class]))
    scores = "".join(
        f"<li><span>{escape(name)}</span> {decimal(score, 3)}</li>" for name, score in strongest
    )
    group = f" · {escape(shown.group)}" if shown.group else ""
    return (
        f"<figure>{_image(image, f'{shown.picture}, {shown.label}')}<figcaption>"
        f"<b>{escape(shown.label)}</b> → {escape(shown.verdict)}"
        f"{f' ({escape(shown.finding)})' if shown.finding else ''}"
        f'<ul class="scores">{scores}</ul>'
        f'<span class="name">{escape(shown.picture)} · {escape(shown.point)}<br>'
        f"{escape(shown.part)}{group}</span></figcaption></figure>"
    )


def _saliency(report: Report, pictures: Pictures) -> str:
    told = report.saliency
    title = "Where the model looks"
    if told is None:
        return _section(title, "<p>No defect was found that could be explained.</p>")
    figures = "".join(
        f'<figure class="pair">{_image(crop, looked.picture)}'
        f"{_image(overlay, f'where it looks in {looked.picture}')}<figcaption>"
        f"<b>{escape(looked.label)}</b> {decimal(looked.score, 3)}; falls by"
        f" {decimal(looked.largest_fall, 1)}"
        + (
            ""
            if looked.on_defect is None
            else ", on the mark"
            if looked.on_defect
            else ", ▲ beside the mark"
        )
        + f'<br><span class="name">{escape(looked.picture)} · {escape(looked.point)}<br>'
        f"{escape(looked.part)}</span></figcaption></figure>"
        for looked, (crop, overlay) in zip(told.pictures, pictures.saliency, strict=True)
    )
    missed = told.missed_mark
    pointing = (
        f"<p>Of {count(missed.trials)} pictures whose defect is marked in the data, the most"
        f" sensitive place lies beside the mark in {count(missed.errors)}"
        f" ({percent(missed.rate)}, 95 % interval {_interval(missed)}). A missing or misplaced"
        " point has its cause where nothing is marked.</p>"
        if missed.trials
        else ""
    )
    return _section(
        title,
        pointing,
        f'<div class="gallery">{figures}</div>',
        explains="Occlusion sensitivity (Zeiler and Fergus 2014) of the deployed graph: a square of"
        f" {told.square_px} pixels of the model's input is covered with the mean colour, every"
        f" {told.step_px} pixels; warm is where that takes most from the log-odds of the true"
        " class, the outline is half of the most. For each class the surest picture and the"
        " least sure.",
    )


def _robustness(report: Report) -> str:
    told = report.robustness
    title = "Robustness"
    if told is None:
        return _section(title, "<p>Not measured.</p>")
    charts = "".join(f"<figure>{_disturbed(entry, told)}</figure>" for entry in told.disturbances)
    summary = [
        (
            entry.name,
            escape(entry.unit),
            _held(entry.escapes_hold_to, entry),
            _held(entry.overkill_hold_to, entry),
            "yes" if entry.moves else "no",
        )
        for entry in told.disturbances
    ]
    details = [
        (
            entry.name,
            f"{strength.strength:g}",
            *_rate_cells(strength.escapes),
            _judged(strength.escapes_inside),
            *_rate_cells(strength.overkill),
            _judged(strength.overkill_inside),
        )
        for entry in told.disturbances
        for strength in entry.strengths
    ]
    fewer = (
        f" ({count(told.wanted)} were asked for; fewer were there, or would have taken too long)"
        if told.points < told.wanted
        else ""
    )
    lines = [Line("escapes", "escapes", "circle", ()), Line("overkill", "overkill", "square", ())]
    return _section(
        title,
        f"<p>Sample: {count(told.points)} points{fewer}, {count(told.defective)} of them defective,"
        f" of {count(told.parts)} parts, every class as often as can be. Undisturbed: escapes"
        f" {_of(told.clean.escapes)}, interval {_interval(told.clean.escapes)}; overkill"
        f" {_of(told.clean.overkill)}, interval {_interval(told.clean.overkill)}.</p>",
        _table(
            ("", "strength in", "escapes hold up to", "overkill holds up to", "moves the point"),
            summary,
        ),
        legend([*lines, Line("upper end of the undisturbed interval", "limit", "none", ())]),
        f'<div class="charts small">{charts}</div>',
        "<details><summary>All numbers</summary>"
        + _table(
            (
                "",
                "strength",
                "escapes",
                *RATE_HEADS[1:],
                "inside",
                "overkill",
                *RATE_HEADS[1:],
                "inside",
            ),
            details,
        )
        + "</details>",
        explains="Frames are disturbed before anything is cut out of them, as a camera would. A"
        " rate holds up to a strength while it stays, at this and every smaller one, at or below"
        " the upper end of the undisturbed sample's 95 % interval. What moves a point makes it"
        " defective where place or size is judged: overkill is then right.",
    )


def _judged(inside: bool) -> str:
    return "yes" if inside else '<span class="wrong">▲ no</span>'


def _held(strength: float | None, entry: Disturbed) -> str:
    if strength is None:
        return f'<span class="wrong">▲ not even {entry.strengths[0].strength:g}</span>'
    last = entry.strengths[-1].strength
    return f"<b>{strength:g}</b>" + (" (all tried)" if strength == last else "")


def _disturbed(entry: Disturbed, told: Robustness) -> str:
    lines = []
    for name in ("escapes", "overkill"):
        clean: Rate = getattr(told.clean, name)
        rates: list[Rate] = [clean, *(getattr(s, name) for s in entry.strengths)]
        lines.append(
            Line(
                name,
                name,
                "circle" if name == "escapes" else "square",
                tuple(
                    Place(k, rate.rate, rate.lower, rate.upper)
                    for k, rate in enumerate(rates)
                    if rate.rate is not None
                ),
            )
        )
    lines = [line for line in lines if line.places]
    largest = max((place.high or 0.0) for line in lines for place in line.places)
    rules = [
        Rule("y", getattr(told.clean, line.name).upper, f"limit {line.style}") for line in lines
    ]
    ticks = [Tick(-0.4, ""), Tick(0, "0")]
    ticks += [Tick(k + 1, f"{s.strength:g}") for k, s in enumerate(entry.strengths)]
    ticks.append(Tick(len(entry.strengths) + 0.4, ""))
    return f"<h4>{escape(entry.name)}</h4>" + chart(
        lines,
        title=f"Escapes and overkill under {entry.name}",
        x_label=entry.unit,
        y_label="rate",
        x_ticks=ticks,
        y_ticks=rate_ticks(largest),
        y_scale=root,
        rules=rules,
        height=200,
    )


def _foreign(report: Report) -> str:
    told = report.out_of_distribution
    title = "Pictures of something else"
    if told is None:
        return _section(title, "<p>Not measured.</p>")
    rows = [
        (
            kind.name,
            *_rate_cells(kind.called_ok),
            "–" if kind.auroc_ood is None else decimal(kind.auroc_ood.value),
            decimal(kind.auroc_confidence.value),
        )
        for kind in told.kinds
    ]
    return _section(
        title,
        (
            ""
            if told.has_score
            else "<p><b>This package has no out-of-distribution score.</b> What it does with"
            " foreign pictures rests on its classes alone.</p>"
        ),
        _table(
            (
                "made of the test's crops",
                "called OK",
                *RATE_HEADS[1:],
                "AUROC of the score",
                "AUROC of 1 - strongest class",
            ),
            rows,
        ),
        explains=f"{count(told.points)} crops of the test, made into pictures that show no such"
        " point; none should come out OK. AUROC: how well a score tells them from the test's own.",
    )


def _speed(report: Report) -> str:
    told = report.speed
    title = "Speed"
    if told is None:
        return _section(title, "<p>Not measured.</p>")
    rows = [
        (
            f"{row.threads} thread{'s' if row.threads > 1 else ''}, batch {row.batch}",
            decimal(row.p50_ms, 2),
            decimal(row.p99_ms, 2),
            decimal(row.p999_ms, 2),
            count(row.calls),
            f"<b>{count(round(row.crops_per_s))}</b>",
        )
        for row in told.rows
    ]
    return _section(
        title,
        f"<p>{escape(told.processor)}, {told.cores} cores; {escape(told.provider)}. On average"
        f" {decimal(told.busy, 1)} processes were busy when this began.</p>",
        _table(("", "p50 ms", "p99 ms", "p99.9 ms", "calls", "crops/s"), rows),
        explains="The graph alone, in the runtime that the edge uses. A dash: too few calls to say"
        " (p99 needs 100, p99.9 needs 1,000).",
    )


def _provenance(report: Report) -> str:
    told = report.provenance
    rows = [
        ("Data source", escape(told.data_source)),
        ("Data licence", escape(told.data_licence)),
        *([("Notes on the data", escape(told.data_notes))] if told.data_notes else []),
        *((f"Licence: {what}", escape(licence)) for what, licence in told.licences.items()),
        ("Tested on", _hash(report.data_hash)),
        (
            "Trained on",
            _hash(told.trained_on)
            + (" (the same files)" if told.trained_on == report.data_hash else " (other files)"),
        ),
        ("Recipe", _hash(told.recipe_hash)),
        ("Code", escape(told.code_version)),
        ("Model made", escape(told.created)),
        ("Imaging version", escape(told.imaging_version)),
        ("Verified on", escape("; ".join(told.verified_on))),
        (
            "Policy",
            (
                f"version {told.policy_version} by {escape(told.policy_author)},"
                f" {escape(told.policy_created)}: {escape(told.policy_why)}"
            ),
        ),
        (
            "Thresholds",
            f"OK from {decimal(report.ok_min, 6)}; NOK from "
            + ", ".join(f"{escape(k)} {decimal(v, 6)}" for k, v in report.nok_min.items()),
        ),
    ]
    files = [(name, _hash(digest)) for name, digest in told.files.items()]
    return _section(
        "Where model and data come from",
        _table(("", ""), rows, style="identity"),
        f"<details><summary>{count(len(files))} files of the package</summary>"
        + _table(("file", "SHA-256"), files, style="identity")
        + "</details>",
    )


STYLE = """
:root{--paper:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--tint:#f4f6f8;--escapes:#b3380b;
--overkill:#1f5fbf;--cost:#6b3fa0;--warn:#8a5a00;--warn-paper:#fff6df;--cell:31,95,191}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e8ebee;--soft:#a3adb8;
--line:#39424c;--tint:#1d2228;--escapes:#ff9466;--overkill:#7db4ff;--cost:#c9a6f5;--warn:#f0c165;
--warn-paper:#2d2614;--cell:125,180,255}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Noto Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1080px;margin:0 auto;padding:28px 24px 60px}
h1{font-size:30px;line-height:1.2;margin:0 0 14px}h1 small{font-weight:400;color:var(--soft);
font-size:20px}
h2{font-size:21px;margin:44px 0 6px;padding-top:14px;border-top:2px solid var(--line)}
h3{font-size:16px;margin:22px 0 4px}h4{margin:0 0 2px;font-size:14px}
p{margin:6px 0}
.kind{letter-spacing:.09em;text-transform:uppercase;font-size:12px;color:var(--soft);margin:0}
.explains{color:var(--soft);max-width:75ch}.note{color:var(--soft);font-size:13px;max-width:95ch}
.meaning{border-left:4px solid var(--ink);padding:4px 0 4px 12px;max-width:85ch}
.cards{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;margin:16px 0}
.card{border:1px solid var(--line);border-top:4px solid currentColor;border-radius:6px;
padding:10px 14px;background:var(--tint)}
.card h3{margin:0;font-size:14px}.card .value{font-size:28px;font-weight:650;line-height:1.2;
margin:4px 0 0}.card .bound{margin:0;font-weight:600}.card p{color:var(--ink)}
.card .note{color:var(--soft);margin:4px 0 0;line-height:1.35}
.card.escapes{color:var(--escapes)}.card.overkill{color:var(--overkill)}
.box{border:1px solid var(--line);border-radius:6px;padding:8px 14px;margin:10px 0}
.box h3{margin:0;font-size:14px}.box ul{margin:4px 0;padding-left:20px}
.promise{border:2px solid var(--ink)}.warn{background:var(--warn-paper);border-color:var(--warn)}
.warn h3{color:var(--warn)}
.wide{overflow-x:auto}
table{border-collapse:collapse;margin:10px 0 14px;font-size:14px}
caption{text-align:left;white-space:nowrap;font-weight:600;padding:4px 0}
th,td{padding:4px 10px;border-bottom:1px solid var(--line);text-align:right;vertical-align:middle;
white-space:nowrap}
thead th{color:var(--soft);font-weight:500;font-size:13px;border-bottom:1.5px solid var(--soft);
vertical-align:bottom}
th:first-child{text-align:left}tbody th{font-weight:500}
.identity td{text-align:left;white-space:normal}.identity thead{display:none}
.matrix td{padding:2px}.matrix thead th{white-space:normal;max-width:112px;
padding:4px 6px;font-size:12px}
.cell{display:block;padding:3px 8px;min-width:48px;border-radius:3px;
background:rgba(var(--cell),calc(var(--depth)*.38))}
.none{color:var(--soft)}.wrong{color:var(--escapes);font-weight:600}
.hash{font:12px ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.signs{display:grid;grid-template-columns:2fr 1fr 2fr;gap:24px;margin:34px 0 0}
.signs p{border-top:1px solid var(--ink);padding-top:3px;font-size:12px;color:var(--soft)}
.charts{display:flex;flex-wrap:wrap;gap:18px 26px;align-items:flex-start}
.charts figure{margin:0;flex:1 1 400px;max-width:530px}
.charts.small figure{flex:1 1 300px;max-width:336px}
.chart{width:100%;height:auto;display:block}
.chart text,.tick{fill:var(--soft);font-size:10.5px}.chart .label{fill:var(--ink);font-size:11px}
.axis{stroke:var(--soft);fill:none;stroke-width:1}.grid{stroke:var(--line);fill:none;stroke-width:.8}
.line{fill:none;stroke-width:1.8;stroke:currentColor}.bar{fill:none;stroke-width:1.2;opacity:.75}
.line.escapes,.bar.escapes,.rule.limit.escapes{stroke:var(--escapes)}
.line.overkill,.bar.overkill,.rule.limit.overkill{stroke:var(--overkill)}
.line.overkill{stroke-dasharray:6 3}.line.cost{stroke:var(--cost)}
.mark.escapes{fill:var(--escapes)}.mark.overkill{fill:var(--overkill)}
.rule{fill:none;stroke:var(--soft);stroke-width:1}.rule.present{stroke:var(--ink);stroke-width:1.4}
.rule.ideal,.line.ideal{stroke:var(--soft);stroke-dasharray:2 3}
.rule.limit,.line.limit{stroke-dasharray:1.5 3;stroke-width:1.3}.line.limit{stroke:var(--soft)}
.legend{font-size:13px;margin:4px 0 8px}.key{margin-right:18px;white-space:nowrap}
.key svg{vertical-align:middle}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:16px 14px;
margin:10px 0}
.gallery figure{margin:0;break-inside:avoid}.gallery img,.blind{width:100%;aspect-ratio:1;
object-fit:contain;border-radius:4px;background:var(--tint);display:block}
.gallery .pair{grid-column:span 2;display:grid;grid-template-columns:1fr 1fr;gap:4px}
.gallery .pair figcaption{grid-column:span 2}
.blind{display:grid;place-items:center;color:var(--soft);border:1px dashed var(--soft)}
figcaption{font-size:13px;line-height:1.35;padding-top:4px}
.scores{list-style:none;margin:2px 0;padding:0}.scores li{display:flex;
justify-content:space-between;gap:8px}
.name{color:var(--soft);font-size:11.5px;overflow-wrap:anywhere}
details{margin:8px 0}summary{cursor:pointer;font-weight:600}
footer{margin-top:40px;border-top:1px solid var(--line);padding-top:8px;color:var(--soft);
font-size:12px}
@media (max-width:760px){.cards{grid-template-columns:1fr 1fr}}
@media print{@page{size:A4;margin:14mm}
:root{--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--tint:#fff;--escapes:#9a2f08;
--overkill:#174a97;--cost:#55307f;--warn:#6b4600;--warn-paper:#fff;--cell:31,95,191}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
body{font-size:10pt}main{max-width:none;padding:0}.first{break-after:page}
h2{break-after:avoid}table,figure,.box{break-inside:avoid}table{font-size:8.5pt}
th,td{padding:2px 6px}.wide{overflow:visible}
.cell{min-width:0;padding:2px 4px}.matrix thead th{max-width:56px;font-size:7pt;
overflow-wrap:anywhere}
.cards{grid-template-columns:repeat(4,1fr)}}
"""
