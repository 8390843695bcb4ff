"""How the file is opened: one connection that writes, any number that only read.

SQLite's write-ahead log has had a race between connections that write or checkpoint at the same
time (fixed in 3.51.3), so exactly one connection does either, and every reader opens the file with
``mode=ro``. A lock file keeps a second station out.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import NullPool, StaticPool


def open_for_writing(path: Path) -> sa.Engine:
    """An engine with a single connection that holds the write-ahead log and syncs each commit."""

    def connect() -> sqlite3.Connection:
        # isolation_level None: the driver starts no transactions of its own, see _begin.
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA busy_timeout=2000")
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError(f"journal mode is {mode}, not wal")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        # What a reader has let grow is given back once it has gone.
        connection.execute("PRAGMA journal_size_limit=16777216")
        return connection

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=StaticPool)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # IMMEDIATE: a transaction that begins by reading and then wants to write fails at once
        # when somebody else has written meanwhile, whatever the busy timeout.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def open_for_reading(path: Path, *, closed: bool = False) -> sa.Engine:
    """An engine whose connections cannot write, opened and closed with each use, so that no
    reader holds up the truncation of the write-ahead log. A file of a ``closed`` period never
    changes: it is read without any lock, also from a folder that cannot be written."""

    def connect() -> sqlite3.Connection:
        how = "mode=ro&immutable=1" if closed else "mode=ro"
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?{how}", uri=True, isolation_level=None
        )
        connection.execute("PRAGMA busy_timeout=2000")
        connection.execute("PRAGMA query_only=ON")
        return connection

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # One snapshot for all statements of a page, so that its figures belong together.
        connection.exec_driver_sql("BEGIN")

    return engine


def insert_into(table: sa.Table) -> str:
    """The statement that writes a row of all columns, for the driver."""
    names = ", ".join(column.name for column in table.columns)
    marks = ", ".join("?" * len(table.columns))
    return f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608  our own names


def rows(connection: sa.Connection, statement: sa.Executable) -> list[dict[str, Any]]:
    """All rows of a query as dictionaries."""
    return [dict(row) for row in connection.execute(statement).mappings()]
