"""Whether edges and PLC are there, as far as the store knows: from what the station wrote down."""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlalchemy as sa

from inspection.store import schema
from inspection.store.reader import Reader

LOOKED_AT = 500
"""Of the newest events; an edge that was neither lost nor found in so many has been there all the
time, or never."""
_EDGE = re.compile(r"(?:the key of )?edge ([A-Za-z0-9][A-Za-z0-9._-]{0,63}) ")


@dataclass(frozen=True, slots=True)
class EdgeHealth:
    """An edge: whether it was connected last, and since when it is or is not."""

    edge: str
    connected: bool
    since_ns: int


@dataclass(frozen=True, slots=True)
class Health:
    """Edges by their names, and when a PLC last took a verdict (None: never in the open period)."""

    edges: tuple[EdgeHealth, ...]
    taken_ns: int | None


def health(reader: Reader) -> Health:
    """What the open period says. Raises `StoreError`."""
    event, ack = schema.event, schema.acknowledgement
    period = next(reader.periods())
    events, ((taken,),) = period.rows(
        sa.select(event.c.kind, event.c.text, event.c.happened_ns)
        .order_by(event.c.number.desc())
        .limit(LOOKED_AT),
        sa.select(sa.func.max(ack.c.acknowledged_ns)),
    )
    found: dict[str, EdgeHealth] = {}
    for kind, text, happened_ns in events:
        match = _EDGE.match(text) if kind in ("edge_connected", "edge_lost") else None
        if match and match[1] not in found:
            found[match[1]] = EdgeHealth(match[1], kind == "edge_connected", happened_ns)
    edges = tuple(found[name] for name in sorted(found))
    return Health(edges, None if taken is None else int(taken))
