"""From every schema version that was released to the one of this software.

One file a version under ``versions/``, named and numbered by the schema version it leads to. They
run at the start of a station, in one transaction: the store is of the new version afterwards, or
as it was. Before that the store is copied whole beside itself. Closed periods stay as they are.

The version of a store is in ``store_info`` and nowhere else: Alembic's own table is there only
while it works.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from inspection import __version__
from inspection.errors import StoreError
from inspection.store import schema
from inspection.store.copies import copy_database

_BOOKMARK = "alembic_version"


def migrate(path: Path, connection: sa.Connection, found: int, now_ns: int) -> Path:
    """Bring the store at ``path``, open in ``connection``, from version ``found`` to this
    software's; where the copy of what it was is.

    Raises `StoreError` where there is no way from that version, or a step fails.
    """
    kept = path.with_name(f"{path.stem}.schema-{found}{path.suffix}")
    copy_database(path, kept)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    try:
        with connection.begin():
            command.stamp(config, str(found))
            command.upgrade(config, str(schema.SCHEMA_VERSION))
            connection.exec_driver_sql(f"DROP TABLE {_BOOKMARK}")
            _set_version(connection, found, now_ns, kept)
    except (CommandError, sa.exc.DatabaseError) as error:
        said = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StoreError(
            f"{path}: cannot be brought from schema version {found} to {schema.SCHEMA_VERSION}:"
            f" {said}. It is as it was, and copied to {kept}"
        ) from None
    return kept


def _set_version(connection: sa.Connection, found: int, now_ns: int, kept: Path) -> None:
    """The one row that a migration changes; an event keeps what it said before."""
    info = connection.execute(sa.select(schema.store_info)).one()
    trigger = connection.exec_driver_sql(
        "SELECT sql FROM sqlite_master WHERE name = 'store_info_no_update'"
    ).scalar_one()
    connection.exec_driver_sql("DROP TRIGGER store_info_no_update")
    connection.execute(
        schema.store_info.update().values(
            schema_version=schema.SCHEMA_VERSION, software=__version__
        )
    )
    connection.exec_driver_sql(trigger)
    text = (
        f"schema version {found} (software {info.software}) to {schema.SCHEMA_VERSION}"
        f" ({__version__}); the store as it was is in {kept.name}"
    )
    connection.execute(
        schema.event.insert(),
        {
            "station_id": info.station_id,
            "kind": "migrated",
            "run_id": None,
            "text": text,
            "happened_ns": now_ns,
        },
    )
