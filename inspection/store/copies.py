"""Whole copies of a store's files, also while it is in use."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from inspection.durable import sync_folder
from inspection.errors import StoreError


def copy_database(source: Path, target: Path) -> None:
    """A whole copy of a store that may be in use, through SQLite's backup: a copy of the file alone
    would lack what is still in the write-ahead log. There whole, or not at all.

    Raises `StoreError`.
    """
    unfinished = target.with_name(target.name + ".unfinished")
    try:
        unfinished.unlink(missing_ok=True)
        reading = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
        try:
            writing = sqlite3.connect(unfinished)
            try:
                # In one step: between two of them the station would write, and it would begin anew.
                reading.backup(writing, pages=-1)
                writing.execute("PRAGMA journal_mode=DELETE")
                check = writing.execute("PRAGMA quick_check(1)").fetchone()[0]
            finally:
                writing.close()
        finally:
            reading.close()
        if check != "ok":
            raise StoreError(f"{source}: is damaged ({check}): restore a backup")
        descriptor = os.open(unfinished, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        unfinished.replace(target)
        sync_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        unfinished.unlink(missing_ok=True)
        raise StoreError(f"{source}: cannot be copied to {target}: {error}") from None
