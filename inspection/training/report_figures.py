"""Charts as inline SVG, drawn without any library: they follow the page's light or dark colours,
print, and need no script. Lines differ in mark and dash as well as in colour.

Rates are drawn on a square-root scale, on which 0.1 % and 50 % can both be read, and 0 has a place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Literal, NamedTuple

WIDTH, HEIGHT = 340.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 22.0, 12.0, 44.0

Mark = Literal["circle", "square", "none"]


class Place(NamedTuple):
    """A point of a line, with the ends of its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


class Line(NamedTuple):
    """``style`` is a class of the page's style sheet, which gives colour and dash."""

    name: str
    style: str
    mark: Mark
    places: tuple[Place, ...]


class Tick(NamedTuple):
    """A place on an axis and what stands there."""

    at: float
    text: str


class Rule(NamedTuple):
    """A straight line across a chart: at an x or at a y."""

    axis: Literal["x", "y"]
    at: float
    style: str
    text: str = ""


def chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_ticks: Sequence[Tick],
    y_ticks: Sequence[Tick],
    y_scale: Callable[[float], float] = lambda value: value,
    rules: Sequence[Rule] = (),
    diagonal: bool = False,
    width: float = WIDTH,
    height: float = HEIGHT,
) -> str:
    """One chart. Axes reach from the first to the last tick; what lies outside is drawn at the
    edge. ``title`` is read out where a picture cannot be seen."""
    x_low, x_high = x_ticks[0].at, x_ticks[-1].at
    y_low, y_high = y_scale(y_ticks[0].at), y_scale(y_ticks[-1].at)

    def x(value: float) -> float:
        share = (value - x_low) / ((x_high - x_low) or 1)
        return LEFT + min(max(share, 0.0), 1.0) * (width - LEFT - RIGHT)

    def y(value: float) -> float:
        share = (y_scale(value) - y_low) / ((y_high - y_low) or 1)
        return height - BOTTOM - min(max(share, 0.0), 1.0) * (height - TOP - BOTTOM)

    floor = height - BOTTOM
    drawn = [
        (
            f'<svg viewBox="0 0 {width:g} {height:g}" role="img" class="chart"'
            f' style="max-width:{width * 1.25:g}px"><title>{escape(title)}</title>'
        )
    ]
    for tick in y_ticks:
        at = y(tick.at)
        drawn.append(f'<path class="grid" d="M{LEFT:g} {at:.1f}H{width - RIGHT:g}"/>')
        drawn.append(_text(LEFT - 5, at + 3.5, tick.text, "end"))
    for tick in x_ticks:
        at = x(tick.at)
        drawn.append(f'<path class="axis" d="M{at:.1f} {floor:g}v4"/>')
        drawn.append(_text(at, floor + 15, tick.text, "middle"))
    drawn.append(f'<path class="axis" d="M{LEFT:g} {TOP:g}V{floor:g}H{width - RIGHT:g}"/>')
    drawn.append(_text((LEFT + width - RIGHT) / 2, height - 8, x_label, "middle", "label"))
    middle = (TOP + floor) / 2
    drawn.append(
        f'<text class="label" text-anchor="middle" transform="translate(10 {middle:g})'
        f' rotate(-90)">{escape(y_label)}</text>'
    )
    if diagonal:
        drawn.append(
            f'<path class="rule ideal" d="M{x(x_low):.1f} {y(x_low):.1f}'
            f'L{x(x_high):.1f} {y(x_high):.1f}"/>'
        )
    for rule in rules:
        if rule.axis == "x":
            at = x(rule.at)
            drawn.append(f'<path class="rule {rule.style}" d="M{at:.1f} {TOP:g}V{floor:g}"/>')
            anchor, aside = ("end", -4) if at > width * 0.6 else ("start", 4)
            drawn.append(_text(at + aside, TOP + 8, rule.text, anchor))
        else:
            at = y(rule.at)
            drawn.append(
                f'<path class="rule {rule.style}" d="M{LEFT:g} {at:.1f}H{width - RIGHT:g}"/>'
            )
            drawn.append(_text(width - RIGHT - 2, at - 3, rule.text, "end"))
    for shift, line in zip(_shifts(lines), lines, strict=True):
        at_all = [(x(place.x) + shift, y(place.y)) for place in line.places]
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py in at_all)
        drawn.append(f'<path class="line {line.style}" d="M{path}"/>')
        for place, (px, py) in zip(line.places, at_all, strict=True):
            if place.low is not None and place.high is not None:
                top, bottom = y(place.high), y(place.low)
                drawn.append(
                    f'<path class="bar {line.style}" d="M{px:.1f} {top:.1f}V{bottom:.1f}'
                    f'M{px - 2.5:.1f} {top:.1f}h5M{px - 2.5:.1f} {bottom:.1f}h5"/>'
                )
            drawn.append(_mark(line, px, py))
    return "".join([*drawn, "</svg>"])


def _shifts(lines: Sequence[Line]) -> list[float]:
    """Lines with intervals stand a little beside each other, so that no bar hides another."""
    bars = any(place.low is not None for line in lines for place in line.places)
    return [(k - (len(lines) - 1) / 2) * 5 if bars else 0.0 for k in range(len(lines))]


def _mark(line: Line, x: float, y: float) -> str:
    if line.mark == "circle":
        return f'<circle class="mark {line.style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    if line.mark == "square":
        return (
            f'<rect class="mark {line.style}" x="{x - 2.8:.1f}" y="{y - 2.8:.1f}"'
            ' width="5.6" height="5.6"/>'
        )
    return ""


def _text(x: float, y: float, text: str, anchor: str, style: str = "tick") -> str:
    if not text:
        return ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{style}" {place}>{escape(text)}</text>'


def legend(lines: Sequence[Line]) -> str:
    """What the lines of a chart are, with their marks and dashes."""
    entries = [
        (
            '<span class="key"><svg viewBox="0 0 26 10" width="26" height="10" aria-hidden="true">'
            f'<path class="line {line.style}" d="M1 5H25"/>{_mark(line, 13, 5)}</svg>'
            f" {escape(line.name)}</span>"
        )
        for line in lines
    ]
    return f'<p class="legend">{" ".join(entries)}</p>'


def rate_ticks(largest: float) -> list[Tick]:
    """For an axis of rates on the square-root scale, up to the first tick above the largest."""
    steps = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
    top = next((step for step in steps if step >= largest), 1.0)
    wanted = {
        0.01: (0.001, 0.003, 0.01),
        0.02: (0.002, 0.01, 0.02),
        0.05: (0.005, 0.02, 0.05),
        0.1: (0.01, 0.04, 0.1),
        0.25: (0.01, 0.05, 0.1, 0.25),
        0.5: (0.02, 0.1, 0.25, 0.5),
        1.0: (0.02, 0.1, 0.25, 0.5, 1.0),
    }[top]
    return [Tick(0.0, "0"), *(Tick(at, f"{100 * at:g} %") for at in wanted)]


def even_ticks(largest: float, count: int = 4) -> list[Tick]:
    """Round numbers from 0 to at least the largest."""
    if largest <= 0:
        return [Tick(0.0, "0"), Tick(1.0, "1")]
    size = 10 ** math.floor(math.log10(largest / count))
    step = next(size * f for f in (1, 2, 2.5, 5, 10) if size * f * count >= largest)
    return [Tick(step * k, f"{step * k:g}") for k in range(count + 1)]


root = math.sqrt
"""The scale of rates."""
