"""Results, verdicts and everything said about them: appended, committed, then acknowledged.

`Store` is the one writer, the station; `Reader` opens the same file read-only for everybody else.
"""

from inspection.store.reader import Reader
from inspection.store.writer import Store, StoredRun

__all__ = ["Reader", "Store", "StoredRun"]
