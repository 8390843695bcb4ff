"""``inspection keys COMMAND``: who may connect to a station."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from inspection.config import IDENTIFIER_RULE
from inspection.errors import ConfigurationError
from inspection.keys import (
    Allowed,
    KeyRole,
    fingerprint,
    new_pair,
    read_allowed,
    read_public,
    write_allowed,
)
from inspection.messages import ID_PATTERN


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their arguments."""
    commands = parser.add_subparsers(dest="keys_command", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(keys_run=run)
        return added

    def listed(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--list",
            type=Path,
            default=Path("allowed.toml"),
            metavar="FILE",
            help="the station's list of allowed keys (default: %(default)s)",
        )

    added = command("new", _new, "make a key pair, on the machine that will use it")
    added.add_argument("name", help="whose it is: the station, an edge, a PLC")
    added.add_argument("--out", type=Path, default=Path(), help="folder for both files")
    added = command("allow", _allow, "put a public key into the station's list")
    added.add_argument("public", type=Path, help="the file NAME.pub")
    added.add_argument(
        "--role", required=True, choices=[role.value for role in KeyRole], help="what it may be"
    )
    added.add_argument("--id", required=True, help="the edge's or PLC's name in its messages")
    added.add_argument(
        "--camera", action="append", default=[], help="camera of an edge (several allowed)"
    )
    listed(added)
    added = command("revoke", _revoke, "shut a key out, at once")
    added.add_argument("who", help="public key, its file, or the id of all its keys")
    added.add_argument("--why", required=True, help="the reason, for the record")
    listed(added)
    added = command("list", _list, "show who may connect")
    listed(added)


def run(arguments: argparse.Namespace) -> int:
    """Run one of them."""
    code: int = arguments.keys_run(arguments)
    return code


def _new(arguments: argparse.Namespace) -> int:
    _identifier("name", arguments.name)
    private, public = new_pair(arguments.out, arguments.name)
    print(f"{private}  stays here")
    print(f"{public}  to hand out: {fingerprint(read_public(public))}")
    return 0


def _allow(arguments: argparse.Namespace) -> int:
    _identifier("--id", arguments.id)
    for camera in arguments.camera:
        _identifier("--camera", camera)
    role = KeyRole(arguments.role)
    if (role is KeyRole.EDGE) != bool(arguments.camera):
        raise ConfigurationError("--camera: an edge has one or more, nobody else has any")
    public = read_public(arguments.public)
    entries = read_allowed(arguments.list) if arguments.list.exists() else ()
    for entry in entries:
        if entry.public == public:
            state = "was revoked: make a new pair" if entry.revoked else "is in the list already"
            raise ConfigurationError(f"{arguments.public}: {state} (as {entry.id})")
    new = Allowed(public=public, role=role, id=arguments.id, cameras=tuple(arguments.camera))
    write_allowed(arguments.list, (*entries, new))
    print(f"{arguments.list}: {role.value} {new.id} may connect with {fingerprint(public)}")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    entries = read_allowed(arguments.list)
    who = arguments.who
    public = read_public(Path(who)) if Path(who).is_file() else who
    now = datetime.now(UTC).isoformat(timespec="seconds")
    said = f"{now}: {arguments.why}"
    changed = tuple(
        msgspec.structs.replace(entry, revoked=said)
        if entry.revoked is None and public in (entry.public, entry.id)
        else entry
        for entry in entries
    )
    gone = [new for old, new in zip(entries, changed, strict=True) if old != new]
    if not gone:
        raise ConfigurationError(f"{arguments.list}: {who} is not in the list, or revoked already")
    write_allowed(arguments.list, changed)
    for entry in gone:
        print(
            f"{arguments.list}: {entry.role.value} {entry.id} is shut out"
            f" ({fingerprint(entry.public)})"
        )
    return 0


def _list(arguments: argparse.Namespace) -> int:
    for entry in read_allowed(arguments.list):
        state = f"revoked {entry.revoked}" if entry.revoked else ", ".join(entry.cameras)
        print(
            f"{entry.role.value:6}  {entry.id:24}  {fingerprint(entry.public)}  {entry.public}"
            f"  {state}".rstrip()
        )
    return 0


def _identifier(field: str, name: str) -> None:
    if not re.match(ID_PATTERN, name):
        raise ConfigurationError(f"{field}: {name[:80]!r} is no identifier: {IDENTIFIER_RULE}")
