"""What a spot weld can be, and where the limits are.

Names follow AWS D8.1M:2021 (Specification for Automotive Weld Quality, Resistance Spot Welding of
Steel) and ISO 6520-2:2013 (Classification of geometric imperfections in metallic materials,
welding with pressure) where these have one; only "edge weld" has been checked against the text
of a standard so far. The limits are this renderer's own: plants set theirs
by sheet thickness, and a plan or a recipe says which apply.
"""

from __future__ import annotations

from typing import NamedTuple

from inspection.messages import Severity


class WeldClass(NamedTuple):
    """A class, and what the two standards call it (empty where they have no term)."""

    name: str
    severity: Severity | None
    aws: str
    iso: str


GOOD = "good"

CLASSES = (
    WeldClass(GOOD, None, "", ""),
    WeldClass("missing", Severity.CRITICAL, "missing weld", ""),
    WeldClass("small-imprint", Severity.MAJOR, "undersized weld", "incorrect weld diameter"),
    WeldClass("off-centre", Severity.MAJOR, "mislocated weld", ""),
    WeldClass("edge-weld", Severity.MAJOR, "edge weld", "weld at the edge"),
    WeldClass("overlap", Severity.MAJOR, "overlapping weld", ""),
    WeldClass("expulsion", Severity.MAJOR, "surface expulsion", "spatter"),
    WeldClass("burn-through", Severity.CRITICAL, "hole", "burn-through"),
    WeldClass("crack", Severity.CRITICAL, "surface crack", "surface crack"),
    WeldClass("pick-up", Severity.MINOR, "", "adhering electrode material"),
    WeldClass("surface-damage", Severity.MINOR, "surface damage", "surface imperfection"),
)
NAMES = tuple(entry.name for entry in CLASSES)
DEFECTS = NAMES[1:]

FIELD_MM = 16.0
"""Side of the square region that a plan gives a spot weld."""

DIAMETER_MIN_MM = 4.5
"""An imprint narrower than this is small; the mean of its largest and smallest diameter counts."""
OFFSET_MAX_MM = 2.5
"""A weld whose centre lies further than this from the planned place is off centre."""
EDGE_MIN = 1.0
"""Distance from the centre to the nearest sheet edge in imprint radii: below it the imprint is not
fully contained within the sheet (the definition of an edge weld in AWS D8.1M)."""
SPACING_MIN = 1.0
"""Distance to the next weld's centre in sums of the two imprint radii: below it they overlap."""
BORDER = 0.05
"""Welds with a measure within this share of its limit are reported apart: not even two people with
callipers would agree on them."""
