"""Who a token stands for: people with passwords and roles, and what the station gives them.

A token is signed with a secret of the station and says who logged in until when. What its holder
may do is read from the list of people at that moment: whoever is taken out of it, or gets another
password, is out at once, whatever tokens there are. Times are of the monotonic clock, so that
nobody prolongs a token by setting a clock, and a token does not outlive a reboot.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import argon2
import msgspec
from msgspec import Meta, Struct

from inspection.config import read_config
from inspection.durable import sync_folder
from inspection.errors import ConfigurationError, NotAuthorised, Problem
from inspection.keys import read_secret, write_entries
from inspection.messages import Id, Role

SECOND_NS = 1_000_000_000
VALID_NS = 10 * 3600 * SECOND_NS
"""A shift and its handing over."""

FREE_FAILURES = 5
LONGEST_WAIT_S = 300
REMEMBERED_FAILURES = 1000
BURST = 5
"""Passwords tried at once, and after that one a second: each costs the station's one thread what
a password is meant to cost."""

SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 200

# What OWASP's Password Storage Cheat Sheet asks of Argon2id at least; more would hold the line up.
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

HEADER = """\
# People who may log in at this station. Written by 'inspection people', and read again by the
# running station whenever it changes.
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has logged in."""

    name: str
    roles: frozenset[Role]


class Throttled(NotAuthorised):
    """Too many attempts: not even looked at."""


class PersonEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One person of the list."""

    name: Id
    roles: Annotated[tuple[Role, ...], Meta(min_length=1)]
    password: Annotated[str, Meta(pattern=r"^\$argon2id\$", max_length=300)]
    """An Argon2id hash, as ``inspection people add`` writes it."""


class PeopleFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The list of people, ``[[person]]``."""

    person: tuple[PersonEntry, ...] = ()


class _Claims(Struct, frozen=True, array_like=True):
    name: str
    password: str
    """Of which password, as the first digits of its hash's SHA-256."""
    boot: str
    issued_ns: int
    expires_ns: int


def read_people(path: Path) -> tuple[PersonEntry, ...]:
    """The list of people. Raises `ConfigurationError` where it is wrong, or others may read it."""
    read_secret(path, "list of people")
    entries = read_config(path, PeopleFile).person
    for number, entry in enumerate(entries):
        if any(other.name == entry.name for other in entries[:number]):
            message = f"{entry.name} is in the list twice"
            raise ConfigurationError(Problem(str(path), None, f"person[{number}].name", message))
    return entries


def write_people(path: Path, entries: Iterable[PersonEntry]) -> None:
    """Replace the list in one step. Raises `ConfigurationError`."""
    write_entries(path, HEADER, "person", entries, 0o600)


def hashed(password: str) -> str:
    """What the list holds of a password. Raises `ConfigurationError` for one that is too short."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ConfigurationError(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
        )
    return _HASHER.hash(_normal(password))


def station_secret(path: Path) -> bytes:
    """The secret that tokens are signed with; made where there is none yet. Raises
    `ConfigurationError` where others may read it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(f"{path}: secret of tokens: {error.strerror}") from None
    secret = read_secret(path, "secret of tokens").strip()
    if len(secret) != 64:
        raise ConfigurationError(
            f"{path}: damaged: delete it, a new one is made and everybody logs in again"
        )
    return secret


class People:
    """Issues tokens and reads them. Raises `ConfigurationError` where the list cannot be used at
    the start; where that happens later, nobody is authorised until it is mended.

    ``now_ns`` is of the monotonic clock, and ``boot`` says since when that has been running.
    """

    def __init__(self, path: Path, secret: bytes, boot: str) -> None:
        self._path = path
        self._secret = secret
        self._boot = boot
        self._stamp: tuple[int, ...] | None = None
        self._entries: dict[str, PersonEntry] = {}
        self._nobody = _HASHER.hash(secrets.token_hex(16))
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._tries: tuple[float, int] = (BURST, 0)
        read_people(path)

    def login(self, user: str, password: str, now_ns: int) -> str:
        """A token for whoever knows a user's password. Raises `NotAuthorised`, in the same words
        and after the same work whether there is no such user or another password; `Throttled`
        where there were too many failures, without looking."""
        self._throttle(user, now_ns)
        entry = self._list().get(user)
        known = self._nobody if entry is None else entry.password
        try:
            _HASHER.verify(known, _normal(password))
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            entry = None
        if entry is None:
            self._failed(user, now_ns)
            raise NotAuthorised("user name or password is wrong")
        self._failures.pop(user, None)
        claims = _Claims(user, _digest(entry), self._boot, now_ns, now_ns + VALID_NS)
        payload = msgspec.msgpack.encode(claims)
        return f"{_text(payload)}.{_text(self._sign(payload))}"

    def verify(self, token: str, now_ns: int) -> Person:
        """The person a token was issued to; raises `NotAuthorised`."""
        said, _, signature = token.partition(".")
        try:
            payload, signed = _bytes(said), _bytes(signature)
        except (binascii.Error, ValueError):
            raise NotAuthorised("no token of this station: log in") from None
        if not hmac.compare_digest(signed, self._sign(payload)):
            raise NotAuthorised("no token of this station: log in")
        # Only now is it worth reading: before, anybody may have written it.
        claims = msgspec.msgpack.decode(payload, type=_Claims)
        if claims.boot != self._boot or not claims.issued_ns <= now_ns < claims.expires_ns:
            raise NotAuthorised("the login has expired: log in again")
        entry = self._list().get(claims.name)
        if entry is None or not hmac.compare_digest(_digest(entry), claims.password):
            raise NotAuthorised("the login no longer holds: log in again")
        return Person(entry.name, frozenset(entry.roles))

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._secret, b"person\0" + payload, "sha256")

    def _list(self) -> dict[str, PersonEntry]:
        """The people as the file has them now; nobody where it cannot be used."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._stamp = stamp
                self._entries = {}
                self._entries = {entry.name: entry for entry in read_people(self._path)}
        except OSError:
            self._stamp, self._entries = None, {}
        except ConfigurationError:
            self._entries = {}
        return self._entries

    def _throttle(self, user: str, now_ns: int) -> None:
        _, until_ns = self._failures.get(user, (0, 0))
        if now_ns < until_ns:
            wait = -(-(until_ns - now_ns) // SECOND_NS)
            raise Throttled(f"too many failures: try again in {wait} s")
        left, at_ns = self._tries
        left = min(float(BURST), left + (now_ns - at_ns) / SECOND_NS)
        if left < 1:
            raise Throttled("too many attempts at this station: try again in a second")
        self._tries = left - 1, now_ns

    def _failed(self, user: str, now_ns: int) -> None:
        count = self._failures.pop(user, (0, 0))[0] + 1
        wait_s = 0 if count < FREE_FAILURES else min(2 ** (count - FREE_FAILURES), LONGEST_WAIT_S)
        self._failures[user] = count, now_ns + wait_s * SECOND_NS
        if len(self._failures) > REMEMBERED_FAILURES:
            self._failures.popitem(last=False)


def _digest(entry: PersonEntry) -> str:
    return hashlib.sha256(entry.password.encode("utf-8")).hexdigest()[:32]


def _normal(password: str) -> bytes:
    """The same characters, however a keyboard composes them."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
