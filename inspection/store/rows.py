"""Rows of the store as what they stand for."""

from __future__ import annotations

from typing import Any

from inspection.ledger import Entry
from inspection.messages import Reason, Severity, Verdict


def entry_of(row: Any) -> Entry:
    """A row of ``result`` as a line of the ledger. Raises `ValueError` where it holds what is not
    known here."""
    return Entry(
        point=row.point_id,
        verdict=Verdict(row.verdict),
        reason=Reason(row.reason),
        finding=row.finding,
        class_severity=None if row.class_severity is None else Severity(row.class_severity),
    )
