"""``inspection people COMMAND``: who may log in at a station, and as what."""

from __future__ import annotations

import argparse
import getpass
import re
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from inspection.config import IDENTIFIER_RULE
from inspection.errors import ConfigurationError
from inspection.messages import ID_PATTERN, Role
from inspection.station.people import PersonEntry, hashed, read_people, write_people


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their arguments."""
    commands = parser.add_subparsers(dest="people_command", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(people_run=run)
        added.add_argument(
            "--file",
            type=Path,
            default=Path("people.toml"),
            help="the station's list of people (default: %(default)s)",
        )
        return added

    def asked(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--password-stdin", action="store_true", help="read the password from standard input"
        )

    added = command("add", _add, "let somebody log in")
    added.add_argument("name")
    added.add_argument(
        "--role",
        required=True,
        action="append",
        choices=[role.value for role in Role],
        help="what they may do (several allowed)",
    )
    asked(added)
    added = command("password", _password, "give somebody another password; their logins end")
    added.add_argument("name")
    asked(added)
    added = command("remove", _remove, "take somebody out, at once")
    added.add_argument("name")
    command("list", _list, "show who may log in")


def run(arguments: argparse.Namespace) -> int:
    """Run one of them."""
    code: int = arguments.people_run(arguments)
    return code


def _add(arguments: argparse.Namespace) -> int:
    if not re.match(ID_PATTERN, arguments.name):
        raise ConfigurationError(f"{arguments.name[:80]!r} is no identifier: {IDENTIFIER_RULE}")
    entries = read_people(arguments.file) if arguments.file.exists() else ()
    if any(entry.name == arguments.name for entry in entries):
        raise ConfigurationError(
            f"{arguments.file}: {arguments.name} is in the list already: remove them first, or use"
            " 'inspection people password'"
        )
    roles = tuple(dict.fromkeys(Role(role) for role in arguments.role))
    new = PersonEntry(name=arguments.name, roles=roles, password=_ask(arguments))
    write_people(arguments.file, (*entries, new))
    print(f"{arguments.file}: {new.name} may log in as {', '.join(roles)}")
    return 0


def _password(arguments: argparse.Namespace) -> int:
    entries = _with(arguments)
    password = _ask(arguments)
    write_people(
        arguments.file,
        [
            msgspec.structs.replace(entry, password=password)
            if entry.name == arguments.name
            else entry
            for entry in entries
        ],
    )
    print(f"{arguments.file}: {arguments.name} has a new password")
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    entries = _with(arguments)
    write_people(arguments.file, [entry for entry in entries if entry.name != arguments.name])
    print(f"{arguments.file}: {arguments.name} may no longer log in")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    for entry in read_people(arguments.file):
        print(f"{entry.name:24}  {', '.join(entry.roles)}")
    return 0


def _with(arguments: argparse.Namespace) -> tuple[PersonEntry, ...]:
    entries = read_people(arguments.file)
    if not any(entry.name == arguments.name for entry in entries):
        raise ConfigurationError(f"{arguments.file}: there is no {arguments.name} in the list")
    return entries


def _ask(arguments: argparse.Namespace) -> str:
    """A password, hashed; never an argument, which every process of the machine could read."""
    if arguments.password_stdin:
        return hashed(sys.stdin.readline().rstrip("\r\n"))
    password = getpass.getpass(f"Password of {arguments.name}: ")
    if getpass.getpass("Again: ") != password:
        raise ConfigurationError("the two passwords differ")
    return hashed(password)
