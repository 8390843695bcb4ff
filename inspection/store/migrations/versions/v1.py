"""The first schema that was released. Nothing leads to it."""

from __future__ import annotations

revision = "1"
down_revision = None


def upgrade() -> None:
    """A store of this version was created as it is."""
