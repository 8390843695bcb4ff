"""What every page is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ui.pictures import Pictures
from ui.queries import Line


@dataclass(frozen=True, slots=True)
class Shared:
    """Opened once for all browsers."""

    line: Line
    pictures: Pictures
    classes: Mapping[str, tuple[str, ...]]
    """Names of the classes in the order of the scores, by the hash of the model package."""
    title: str
