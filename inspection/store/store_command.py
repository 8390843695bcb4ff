"""``inspection store``: look through a station's records, or copy them, also while it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from inspection.clock import SystemClock
from inspection.errors import ConfigurationError, StoreError
from inspection.store import Reader
from inspection.store.check import check_store, pictures_missing, summary
from inspection.store.copies import copy_database
from inspection.store.periods import closed_periods


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="recompute every chain, seal and balance (exit code 1 where one is broken)"
    )
    check.add_argument("store", type=Path, metavar="STORE", help="the station's station.db")
    check.add_argument(
        "--period", type=Path, metavar="FILE", help="only this closed period or backup"
    )
    backup = actions.add_parser(
        "backup", help="copy the open period, and each closed one that is not there yet"
    )
    backup.add_argument("store", type=Path, metavar="STORE", help="the station's station.db")
    backup.add_argument("folder", type=Path, metavar="FOLDER", help="where the copies go")
    record = actions.add_parser("record", help="everything on record of one part, as JSON or PDF")
    record.add_argument("store", type=Path, metavar="STORE", help="the station's station.db")
    record.add_argument("part", metavar="PART", help="the part's id, such as a VIN")
    record.add_argument("--json", type=Path, metavar="FILE", help="where to write it as JSON")
    record.add_argument("--pdf", type=Path, metavar="FILE", help="where to write it as PDF")
    record.add_argument(
        "--evidence", metavar="FOLDER", help="the pictures; by default those beside the store"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "record":
        return _record(arguments)
    if arguments.action == "backup":
        return _backup(arguments.store, arguments.folder)
    findings = []
    for found in check_store(arguments.store, arguments.period):
        findings.append(found)
        print(
            f"{found.path.name}: period {found.period}, {found.runs} runs"
            f" ({len(found.open_runs)} open), {found.verdicts} verdicts, {found.records} records,"
            f" {found.results} results",
            flush=True,
        )
        for line in found.wrong:
            print(f"  WRONG {line}")
    print(summary(findings))
    if all(not found.wrong for found in findings) and (
        missing := pictures_missing(arguments.store, arguments.period)
    ):
        print(f"{len(missing)} pictures that results name have not arrived, or are lost")
    return int(any(found.wrong for found in findings))


def _record(arguments: argparse.Namespace) -> int:
    from inspection.evidence import EvidenceStore
    from inspection.record import as_json, as_pdf, part_record

    if arguments.json is None and arguments.pdf is None:
        raise ConfigurationError("name where to write it: --json FILE, --pdf FILE or both")
    store: Path = arguments.store
    record = part_record(Reader(store), arguments.part, SystemClock().wall_ns())
    pictures = EvidenceStore(arguments.evidence or str(store.parent / "evidence"))
    made: list[tuple[Path, bytes]] = []
    if arguments.json is not None:
        made.append((arguments.json, as_json(record)))
    if arguments.pdf is not None:
        made.append((arguments.pdf, as_pdf(record, pictures.get)))
    for file, data in made:
        try:
            file.write_bytes(data)
        except OSError as error:
            raise StoreError(f"{file}: cannot be written: {error.strerror}") from None
        print(f"{file}: {len(record.runs)} runs of part {record.part}")
    return 0


def _backup(store: Path, folder: Path) -> int:
    if not store.exists():
        raise StoreError(f"{store}: there is no store")
    if folder.resolve() == store.parent.resolve():
        raise StoreError(f"{folder}: is the store's own folder: name another, best on another disk")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made: {error.strerror}") from None
    # The closed ones first: one that is closed meanwhile is then still in the open one's copy.
    for file in closed_periods(store):
        target = folder / file.name
        if target.exists():
            print(f"{file.name}: is there already")
            continue
        copy_database(file, target)
        print(f"{file.name}: copied", flush=True)
    copy_database(store, folder / store.name)
    print(f"{store.name}: copied, {(folder / store.name).stat().st_size} bytes")
    return 0
