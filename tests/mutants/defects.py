"""Defects worth planting: each would lose a result, count one twice or say OK by mistake.

A defect is a change of exact text. Where the text is no longer there, nobody knows any more whether
the suite would notice: `plant` fails, and the defect must be written anew for the code as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Change(NamedTuple):
    """Text that stands exactly once in a file, and what to put in its place."""

    file: str
    old: str
    new: str


class Defect(NamedTuple):
    """``tests`` are the files that are run to catch it, the quick ones."""

    name: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]


STATION = ("tests/unit/test_station.py", "tests/unit/test_station_attacked.py")
OUTBOX = ("tests/unit/test_outbox.py", "tests/unit/test_outbox_machine.py")
STORE = ("tests/unit/test_store.py",)

DEFECTS = (
    Defect(
        "acknowledge before commit",
        (
            Change(
                "inspection/station/station.py",
                "            self._break(error)\n            return self._while_broken(frames)\n"
                "        self._write_times()\n        return self._out\n",
                "            told = self._out\n            self._break(error)\n"
                "            return told\n        self._write_times()\n        return self._out\n",
            ),
        ),
        STATION,
    ),
    Defect(
        "no dedup",
        (
            Change(
                "inspection/station/station.py",
                "            if seq <= session.committed:\n",
                "            if False:\n",
            ),
            Change(
                "inspection/station/station.py",
                "        if known is not None:\n            if known != hashlib.sha256(raw)",
                "        if False:\n            if known != hashlib.sha256(raw)",
            ),
        ),
        STATION,
    ),
    Defect(
        "no fsync",
        (Change("edge/outbox.py", "            self._fs.sync_data(self._descriptor)\n", ""),),
        OUTBOX,
    ),
    Defect(
        "no fsync in the store",
        (
            Change(
                "inspection/store/database.py",
                "PRAGMA synchronous=FULL",
                "PRAGMA synchronous=OFF",
            ),
        ),
        STORE,
    ),
    Defect(
        "send before fsync",
        (
            Change("edge/outbox.py", "            self._fs.sync_data(self._descriptor)\n", ""),
            Change(
                "edge/outbox.py",
                "        self._committed = max(self._committed, committed)\n",
                "        self._fs.sync_data(self._descriptor)\n"
                "        self._committed = max(self._committed, committed)\n",
            ),
        ),
        OUTBOX,
    ),
    Defect(
        "stale session accepted by the edge",
        (
            Change(
                "edge/link.py",
                "case Welcome() if message.nonce == self._nonce and not self.open:",
                "case Welcome() if not self.open:",
            ),
            Change(
                "edge/link.py",
                "case Committed() if message.nonce == self._nonce and self.open:",
                "case Committed() if self.open:",
            ),
        ),
        ("tests/unit/test_link.py",),
    ),
    Defect(
        "stale session accepted by the station",
        (
            Change(
                "inspection/station/station.py",
                "if session.peer == peer and session.hello.nonce == nonce:",
                "if session.peer == peer:",
            ),
        ),
        STATION,
    ),
    Defect(
        "NaN compared",
        (
            Change(
                "inspection/policy.py",
                "all(math.isfinite(score) and 0.0 <= score <= 1.0 for score in scores)",
                "not any(score < 0.0 or score > 1.0 for score in scores)",
            ),
            Change(
                "inspection/policy.py",
                "and abs(math.fsum(scores) - 1.0) <= SUM_TOLERANCE",
                "and not abs(math.fsum(scores) - 1.0) > SUM_TOLERANCE",
            ),
        ),
        ("tests/unit/test_policy.py", "tests/unit/test_judge.py"),
    ),
    Defect(
        "OK as default of a run",
        (
            Change(
                "inspection/ledger.py",
                "        held = True\n    if not held:\n",
                "        held = held or entry is not None\n    if not held:\n",
            ),
        ),
        ("tests/unit/test_ledger.py",),
    ),
    Defect(
        "OK as default of a point",
        (
            Change(
                "inspection/station/acceptance.py",
                "            entries[name] = _absent(name, Reason.RECORD_LOST)\n",
                "            entries[name] = Entry(name, Verdict.OK, Reason.NONE)\n",
            ),
        ),
        STATION,
    ),
    Defect(
        "sequence outside the transaction",
        (
            Change(
                "inspection/store/writer.py",
                "            self._insert(schema.outbox, outbox_id=outbox, edge_id=edge,"
                " committed=committed)\n",
                "            self._insert(schema.outbox, outbox_id=outbox, edge_id=edge,"
                " committed=committed)\n"
                '        self._db.exec_driver_sql("COMMIT")\n'
                '        self._db.exec_driver_sql("BEGIN IMMEDIATE")\n',
            ),
        ),
        STORE,
    ),
)


class StaleDefectError(Exception):
    """The code has changed, and this defect can no longer be planted."""


def plant(defect: Defect, tree: Path) -> None:
    """Make the changes of a defect in a copy of the tree. Raises `StaleDefectError`."""
    for change in defect.changes:
        path = tree / change.file
        text = path.read_text("utf-8")
        if (count := text.count(change.old)) != 1:
            raise StaleDefectError(
                f"{defect.name}: {change.file} holds {count} times, not once: {change.old!r}"
            )
        path.write_text(text.replace(change.old, change.new), "utf-8")
