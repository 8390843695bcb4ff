"""Periods, and every other table that version 1 did not have.

Nothing that was there changes. The one period there is began with the store and has no verdict
before it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from inspection.store import schema

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Create what is missing, with its indexes and triggers, as a new store has it."""
    connection = op.get_bind()
    schema.metadata.create_all(connection, checkfirst=True)
    info = connection.execute(sa.select(schema.store_info)).one()
    connection.execute(
        schema.period.insert(),
        {
            "number": 1,
            "station_id": info.station_id,
            "begun_ns": info.created_ns,
            "verdict_seq": 0,
            "seal": "",
        },
    )
