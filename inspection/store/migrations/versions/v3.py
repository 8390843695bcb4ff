"""Sums by slot and point, second looks and studies.

Nothing that was there changes. The sums are those of the runs whose first verdict this period has
formed; periods that are closed stay as they are, and theirs are made when somebody asks.
"""

from __future__ import annotations

from alembic import op

from inspection.store import schema
from inspection.store.rollups import fill

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Create what is missing, with its triggers, as a new store has it; add up what is there."""
    connection = op.get_bind()
    schema.metadata.create_all(connection, checkfirst=True)
    fill(connection)
