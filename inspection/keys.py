"""Who may connect: CURVE key pairs and the station's list of allowed keys, as files.

Each process has a key pair of its own: ``NAME.key``, which nobody else may read, and ``NAME.pub``,
which is handed out. The station lists the public keys it allows; edges, PLCs and pages hold the
station's public key, so that they know whom they are talking to. `inspection.curve` puts them on
sockets. ``docs/security.md`` says how they are made, exchanged, replaced and revoked.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import zmq
from msgspec import Meta, Struct

from inspection.config import read_config, resolve
from inspection.durable import sync_folder
from inspection.errors import ConfigurationError, Problem
from inspection.messages import Id

# The characters of Z85 (https://rfc.zeromq.org/spec/32/): 32 bytes are 40 of them, and none needs
# an escape within quotes.
_Z85 = r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}"

PublicKey = Annotated[str, Meta(pattern=rf"^{_Z85}(?![\s\S])")]
"""A CURVE public key in Z85."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class KeyRole(enum.StrEnum):
    """What the holder of a key may connect to; each plane of the station is a ZAP domain."""

    EDGE = "edge"
    PLC = "plc"
    PEOPLE = "people"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A process's own keys, in Z85. The secret shows in no message and no log line."""

    public: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What an edge, a PLC or a page connects with."""

    own: KeyPair
    station: str


class ClientKeysFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[keys]`` of whoever connects to a station. Paths are relative to the file."""

    own: str
    """The file of the own private key (``NAME.key``)."""
    station: str
    """The file of the station's public key (``NAME.pub``)."""


class StationKeysFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[keys]`` of a station. Paths are relative to the file."""

    own: str
    """The file of the station's private key (``NAME.key``)."""
    allowed: str
    """The list of allowed keys (TOML)."""


# ------------------------------------------------------------------------------------ key files


def new_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """A new key pair as ``NAME.key`` and ``NAME.pub``; returns both paths. Raises
    `ConfigurationError` where one of them is there already."""
    public, secret = (key.decode("ascii") for key in zmq.curve_keypair())
    paths = folder / f"{name}.key", folder / f"{name}.pub"
    said = f"# CURVE private key of {name}: stays here, and only its owner may read it.\n"
    handed = f"# CURVE public key of {name}: to be handed out.\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, mode, text in (
            (paths[0], 0o600, f'{said}secret = "{secret}"\n'),
            (paths[1], 0o644, f'{handed}public = "{public}"\n'),
        ):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "w", encoding="ascii", errors="replace") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(folder)
    except FileExistsError as error:
        raise ConfigurationError(
            f"{error.filename}: is there already: a key is not replaced, choose another name"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot write keys: {error.strerror}") from None
    return paths


def read_private(path: Path) -> KeyPair:
    """A private key with the public one that belongs to it.

    Raises `ConfigurationError`, which never quotes the file, where others may read it.
    """
    data = read_secret(path, "private key")
    found = re.findall(rf'^secret = "({_Z85})"\s*$', data.decode("ascii", "replace"), re.MULTILINE)
    if len(found) != 1:
        raise ConfigurationError(
            f'{path}: no CURVE private key (a line secret = "..."): make a pair with'
            " 'inspection keys new'"
        )
    return KeyPair(zmq.curve_public(found[0].encode("ascii")).decode("ascii"), found[0])


def read_public(path: Path) -> str:
    """A public key. Raises `ConfigurationError`."""
    try:
        text = path.read_bytes()[:4096].decode("ascii", "replace")
    except OSError as error:
        raise ConfigurationError(f"{path}: public key: {error.strerror}") from None
    found = re.findall(rf'^public = "({_Z85})"\s*$', text, re.MULTILINE)
    if len(found) != 1:
        raise ConfigurationError(f'{path}: no CURVE public key (a line public = "...")')
    key: str = found[0]
    return key


def read_secret(path: Path, what: str) -> bytes:
    """The bytes of a file that only its owner may read. Raises `ConfigurationError`, without any
    of them, where it is missing or where group or others can read it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConfigurationError(
                    f"{path}: {what}: others may read it (mode {mode:o}): chmod 600 {path}, and"
                    " make a new one if anybody has"
                )
            return file.read(1 << 20)
    except OSError as error:
        raise ConfigurationError(f"{path}: {what}: {error.strerror}") from None


def fingerprint(public: str) -> str:
    """What two people read to each other to compare a key: 16 digits of its SHA-256."""
    digits = hashlib.sha256(public.encode("ascii")).hexdigest()[:16]
    return " ".join(digits[at : at + 4] for at in range(0, 16, 4))


# ---------------------------------------------------------------------------- the list of allowed


class Allowed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key of the list, and as whom it may speak."""

    public: PublicKey
    role: KeyRole
    id: Id
    """The ``edge`` or ``plc`` its messages must name. Two keys may have the same while one
    replaces the other."""
    cameras: tuple[Id, ...] = ()
    """The cameras an edge may offer."""
    revoked: str | None = None
    """When and why it was revoked. It stays in the list, so that it is not let in again by
    mistake."""


class AllowedFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The list of allowed keys, ``[[key]]``."""

    key: tuple[Allowed, ...] = ()


HEADER = """\
# Keys that may connect to this station. Written by 'inspection keys allow' and 'revoke', and read
# again by the running station whenever it changes.
"""


def read_allowed(path: Path) -> tuple[Allowed, ...]:
    """The list, revoked keys included. Raises `ConfigurationError` where it is wrong or where
    others may change it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(f"{path}: list of allowed keys: {error.strerror}") from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(
            f"{path}: others may change who is allowed (mode {mode:o}): chmod 644 {path}"
        )
    entries = read_config(path, AllowedFile).key
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        if entry.public in seen:
            raise ConfigurationError(
                Problem(str(path), None, f"key[{number}].public", "is in the list twice")
            )
        seen.add(entry.public)
        if (entry.role is KeyRole.EDGE) != bool(entry.cameras):
            wrong = "is missing: name the cameras of this edge"
            if entry.cameras:
                wrong = f"belongs to an edge, and this is {entry.role.value}"
            raise ConfigurationError(Problem(str(path), None, f"key[{number}].cameras", wrong))
    return entries


def write_allowed(path: Path, entries: Iterable[Allowed]) -> None:
    """Replace the list in one step. Raises `ConfigurationError`."""
    write_entries(path, HEADER, "key", entries, 0o644)


def write_entries(
    path: Path, header: str, table: str, entries: Iterable[Struct], mode: int
) -> None:
    """A TOML file of one array of tables, replaced in one step and durably. Texts, lists of texts
    and nothing else. Raises `ConfigurationError`."""
    lines = [header]
    for entry in entries:
        lines.append(f"[[{table}]]\n")
        for name, value in msgspec.to_builtins(entry).items():
            # What JSON escapes TOML escapes in the same way, and every other character may stand.
            if value is not None:
                said = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
                lines.append(f"{name} = {said}\n")
        lines.append("\n")
    aside = path.with_name(f".{path.name}.part")
    try:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("".join(lines).rstrip("\n") + "\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None


class AllowList:
    """The list as it stands on disk at this moment.

    Raises `ConfigurationError` where it is wrong at the start. Later a list that is missing or
    wrong allows nobody: `fault` says why, and whoever mends it need not restart anything.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self.fault = ""
        self.keys: Mapping[str, Allowed] = {}
        """The keys allowed when `refresh` was last called."""
        read_allowed(path)
        self.refresh()

    def refresh(self) -> bool:
        """Read the list again if its file has changed; whether it has."""
        stamp: tuple[int, ...] = ()
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        except OSError as error:
            self.fault = f"{self._path}: {error.strerror}"
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self.keys = {}
        if stamp:
            try:
                entries = read_allowed(self._path)
            except ConfigurationError as error:
                self.fault = str(error)
                return True
            self.keys = {entry.public: entry for entry in entries if entry.revoked is None}
            self.fault = ""
        return True


# ------------------------------------------------------------------------------- configurations


def station_keys(
    path: Path, keys: StationKeysFile | None, endpoints: Mapping[str, str]
) -> tuple[KeyPair, AllowList] | None:
    """The station's own key and its list; None where it has none and no other machine can reach
    it. ``endpoints`` by the names of their fields. Raises `ConfigurationError`."""
    if keys is None:
        for name, endpoint in endpoints.items():
            loopback_only(endpoint, path, name)
        return None
    _curve_there()
    return _own(path, keys.own), AllowList(resolve(path, keys.allowed))


def client_keys(
    path: Path, keys: ClientKeysFile | None, endpoints: Mapping[str, str]
) -> ClientKeys | None:
    """The same for whoever connects to a station."""
    if keys is None:
        for name, endpoint in endpoints.items():
            loopback_only(endpoint, path, name)
        return None
    _curve_there()
    return ClientKeys(_own(path, keys.own), read_public(resolve(path, keys.station)))


def _own(path: Path, own: str) -> KeyPair:
    file = resolve(path, own)
    if re.fullmatch(_Z85, own) and not file.exists():
        message = (
            "must name the file of a key, not be one; make a new pair, as this one has been in a"
            " configuration"
        )
        raise ConfigurationError(Problem(str(path), None, "keys.own", message))
    return read_private(file)


def loopback_only(endpoint: str, file: Path, field: str) -> None:
    """Refuse an endpoint that another machine can reach: it would be open to anybody."""
    host = urlsplit(endpoint).netloc.rpartition(":")[0]
    if host not in LOOPBACK:
        message = (
            f"{endpoint} can be reached from other machines: give the file a table [keys], or use"
            " 127.0.0.1"
        )
        raise ConfigurationError(Problem(str(file), None, field, message))


def _curve_there() -> None:
    if not zmq.has("curve"):
        raise ConfigurationError("this libzmq was built without CURVE: install pyzmq's wheel")
