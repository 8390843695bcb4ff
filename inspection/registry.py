"""Released model packages: which there are, which one is current, and who said so when and why.

::

    registry/
      spot-weld/
        1/  2/  2+policy.3/   packages, never changed once they lie here
        current               names the released one; replaced in one step
        log.jsonl             one line for every add, policy, promote and rollback, each with the
                              SHA-256 of the line before

The folder may be an fsspec URL; packages of a remote registry are copied into a local cache and
checked there. A release is logged before ``current`` is replaced, so nothing is ever released
without a record; a release that was cut off in between has not happened, and the next command
writes that down.

A new policy of the same model is an entry of its own (``VERSION+policy.N``): so thresholds are
released and rolled back as models are.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from inspection.durable import sync_folder
from inspection.errors import PackageError, RegistryError
from inspection.messages import ModelRef, Sha256
from inspection.package import (
    MANIFEST,
    MODEL_SIGNATURE,
    POLICY,
    POLICY_SIGNATURE,
    Package,
    open_package,
    read_reference,
    sha256,
)
from inspection.policy import UNREADABLE

CURRENT, LOG, LOCK = "current", "log.jsonl", ".lock"

Action = Literal["add", "policy", "promote", "rollback", "unfinished"]

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


class LogEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of ``log.jsonl``. ``previous`` is the SHA-256 of the line before, of the first one
    that of the name. "unfinished" takes back the release logged just before it."""

    action: Action
    version: str
    package: Sha256
    policy: Sha256
    author: str
    why: str
    when: str
    details: dict[str, object]
    previous: Sha256


class Pointer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``current``: the released version, its hashes, and the log's line (as SHA-256) behind it."""

    version: str
    package: Sha256
    policy: Sha256
    entry: Sha256


@dataclass(frozen=True, slots=True)
class Entry:
    """A version in a registry and how it came there."""

    name: str
    version: str
    ref: ModelRef
    added: LogEntry
    current: bool


@dataclass(frozen=True, slots=True)
class _History:
    """A log that holds together: its bytes, entries, and the hash of each line."""

    raw: bytes
    entries: Sequence[LogEntry]
    hashes: Sequence[str]
    head: str

    def added(self) -> dict[str, LogEntry]:
        return {e.version: e for e in self.entries if e.action in ("add", "policy")}

    def releases(self) -> list[tuple[LogEntry, str]]:
        """Releases that took place, with the hashes of their lines, oldest first."""
        found: list[tuple[LogEntry, str]] = []
        for entry, line in zip(self.entries, self.hashes, strict=True):
            if entry.action in ("promote", "rollback"):
                found.append((entry, line))
            elif entry.action == "unfinished" and found:
                found.pop()
        return found

    def unfinished(self, pointer: Pointer | None) -> LogEntry | None:
        """The last release if ``current`` was never made to name it."""
        releases = self.releases()
        if releases and (pointer is None or releases[-1][1] != pointer.entry):
            return releases[-1][0]
        return None


def resolve(folder: Path) -> Path:
    """The package that a configuration means: of a registry's folder (``registry/NAME``, or its
    file ``current``) the released version, of any other path that path.

    Raises `PackageError` where ``current`` is damaged or names what is not there.
    """
    pointer_file = pointer_of(folder)
    if not pointer_file.is_file():
        return folder
    try:
        pointer = msgspec.json.decode(pointer_file.read_bytes(), type=Pointer)
    except UNREADABLE as error:
        raise PackageError(
            f"{pointer_file}: {error}: write it anew with 'inspection models rollback'"
        ) from None
    package = pointer_file.parent / pointer.version
    if not _VERSION.fullmatch(pointer.version) or not package.is_dir():
        raise PackageError(f"{pointer_file}: names version {pointer.version!r}, which is not here")
    if read_reference(package)[2] != ModelRef(package=pointer.package, policy=pointer.policy):
        raise PackageError(f"{package}: is not what {pointer_file} was made for: it was changed")
    return package


def pointer_of(folder: Path) -> Path:
    """Where the file ``current`` of a registry's folder lies; a configuration may name either."""
    return folder if folder.name == CURRENT else folder / CURRENT


def pointer_mark(folder: Path) -> object:
    """Changes when the file ``current`` is replaced; None where there is none."""
    try:
        status = pointer_of(folder).stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def versions(folder: Path) -> list[Path]:
    """The packages that lie in a registry's folder; none where it is no such folder."""
    try:
        return sorted(path for path in folder.iterdir() if (path / MANIFEST).is_file())
    except OSError:
        return []


def find_version(folder: Path, ref: ModelRef) -> Path | None:
    """The version in a registry's folder (``registry/NAME``) that is this package with this policy;
    None where it is not here."""
    for path in versions(folder):
        with contextlib.suppress(PackageError):
            if read_reference(path)[2] == ref:
                return path
    return None


def was_released(folder: Path, ref: ModelRef) -> bool:
    """Whether a registry's folder has it on record that this was released at some time; not where
    its log does not hold together."""
    head, found = sha256(folder.name.encode()), False
    try:
        for line in (folder / LOG).read_bytes().splitlines(keepends=True):
            entry = msgspec.json.decode(line, type=LogEntry)
            if entry.previous != head:
                return False
            head = sha256(line)
            released = entry.action in ("promote", "rollback")
            found |= released and ref == ModelRef(package=entry.package, policy=entry.policy)
    except UNREADABLE:
        return False
    return found


class Registry:
    """A registry at a path or fsspec URL. Raises `RegistryError` for what it refuses and where
    its record does not hold together, `PackageError` for a package that cannot be believed."""

    def __init__(self, url: str | Path, *, cache: Path | None = None) -> None:
        self._files = _Files(str(url))
        self._cache = (
            cache
            or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
            / "visual-inspection"
            / "packages"
        )

    # ------------------------------------------------------------------------------- reading

    def names(self) -> list[str]:
        """The models there are, sorted."""
        return [name for name in self._files.folders("") if self._files.exists(f"{name}/{LOG}")]

    def log(self, name: str) -> list[LogEntry]:
        """All that was ever done, oldest first; refused where a line was changed or lost."""
        return list(self._history(name).entries)

    def current(self, name: str) -> Pointer | None:
        """What is released, or None where nothing is."""
        return self._pointer(name, self._history(name))

    def entries(self, name: str) -> list[Entry]:
        """All versions, in the order in which they were added."""
        history = self._history(name)
        pointer = self._pointer(name, history)
        return [
            Entry(
                name=name,
                version=version,
                ref=ModelRef(package=entry.package, policy=entry.policy),
                added=entry,
                current=pointer is not None and pointer.version == version,
            )
            for version, entry in history.added().items()
        ]

    def fetch(self, name: str, version: str | None = None) -> Path:
        """A local folder with a version, by default the current one, whose hashes are those that
        were logged when it was added."""
        history = self._history(name)
        if version is None:
            pointer = self._pointer(name, history)
            if pointer is None:
                raise RegistryError(f"{name}: nothing is released: promote a version first")
            version = pointer.version
        return self._fetch(name, version, self._added(name, history, version))

    def find(self, package: str) -> Path | None:
        """A local folder of the package with this hash, whichever its policy; None if not here."""
        for name in self.names():
            for entry in self.entries(name):
                if entry.ref.package == package:
                    return self.fetch(name, entry.version)
        return None

    # ------------------------------------------------------------------------------- changing

    def add(self, path: Path, *, author: str, why: str) -> tuple[str, str]:
        """Take in a package; returns its name and its version here. What is there already is
        left as it is: the same package and policy once more changes nothing."""
        _said(author, why)
        package = open_package(path)
        name, version = package.manifest.name, package.manifest.version
        with self._changing(name):
            history = self._history(name, new=True)
            added = history.added()
            for known, entry in added.items():
                if (entry.package, entry.policy) == (package.ref.package, package.ref.policy):
                    return name, known
            action: Action = "add"
            if version in added:
                if added[version].package != package.ref.package:
                    raise RegistryError(
                        f"{name} {version} is in the registry and is another package:"
                        " give this one a version of its own"
                    )
                action, version = "policy", f"{version}+policy.{package.policy.version}"
                if version in added:
                    raise RegistryError(
                        f"{name} {version} is in the registry and has another policy:"
                        " give the new policy a version of its own"
                    )
            if not _VERSION.fullmatch(version) or version in (CURRENT, LOG):
                raise RegistryError(f"{path}: version {version!r} cannot be the name of a folder")
            self._files.put_package(f"{name}/{version}", _bytes_of(package))
            self._append(name, history, action, version, package.ref, author, why, {})
        return name, version

    def promote(
        self, name: str, version: str, *, author: str, why: str, details: dict[str, object]
    ) -> None:
        """Make a version the current one. ``details`` says which gate it passed and how: asking
        `inspection.gate` is the caller's part, and this is its record."""
        _said(author, why)
        self._release(name, version, "promote", author, why, details)

    def rollback(self, name: str, to: str | None = None, *, author: str, why: str) -> str:
        """Back to the version released before the present one, or to one released earlier; returns
        it. Checks hashes and runs no model, so that it takes no time."""
        _said(author, why)
        history = self._history(name)
        pointer = self._pointer(name, history, damaged_is_none=True)
        releases = history.releases()
        if history.unfinished(pointer) is not None and pointer is not None:
            releases = releases[:-1]
        released = [entry.version for entry, _ in releases]
        if to is None:
            # A roll-back takes back what it left: doing it twice goes further, not forth again.
            stack: list[str] = []
            for entry, _ in releases:
                if entry.action == "rollback":
                    while stack and stack[-1] != entry.version:
                        stack.pop()
                if not stack or stack[-1] != entry.version:
                    stack.append(entry.version)
            if len(stack) < 2:
                raise RegistryError(f"{name}: nothing was released before: there is no way back")
            to = stack[-2]
        elif to not in released:
            raise RegistryError(
                f"{name} {to} was never released, so there is no way back to it: promote it;"
                f" released were {', '.join(dict.fromkeys(released)) or 'none'}"
            )
        self._release(name, to, "rollback", author, why, {})
        return to

    def _release(
        self,
        name: str,
        version: str,
        action: Action,
        author: str,
        why: str,
        details: dict[str, object],
    ) -> None:
        with self._changing(name):
            history = self._history(name)
            entry = self._added(name, history, version)
            self._fetch(name, version, entry)
            pointer = self._pointer(name, history, damaged_is_none=action == "rollback")
            # A damaged pointer does not tell whether the last release took place.
            damaged = pointer is None and self._files.exists(f"{name}/{CURRENT}")
            if not damaged and (cut_off := history.unfinished(pointer)) is not None:
                history = self._append(
                    name,
                    history,
                    "unfinished",
                    cut_off.version,
                    ModelRef(package=cut_off.package, policy=cut_off.policy),
                    author,
                    f"the {cut_off.action} before was cut off and has not happened",
                    {},
                )
            ref = ModelRef(package=entry.package, policy=entry.policy)
            if pointer is not None:
                details = {"instead_of": pointer.version, **details}
            history = self._append(name, history, action, version, ref, author, why, details)
            new = Pointer(
                version=version, package=ref.package, policy=ref.policy, entry=history.head
            )
            self._files.write(
                f"{name}/{CURRENT}", msgspec.json.format(msgspec.json.encode(new)) + b"\n"
            )

    # ------------------------------------------------------------------------------- the log

    def _history(self, name: str, *, new: bool = False) -> _History:
        if not _VERSION.fullmatch(name):
            raise RegistryError(f"{name!r} cannot be the name of a model")
        raw = self._files.read(f"{name}/{LOG}")
        if raw is None:
            if not new:
                known = ", ".join(self.names()) or "none"
                raise RegistryError(f"{self._files}: no model {name} here; there are: {known}")
            raw = b""
        place = f"{self._files}/{name}/{LOG}"
        head, entries, hashes = sha256(name.encode()), [], []
        for number, line in enumerate(raw.splitlines(keepends=True), 1):
            try:
                entry = msgspec.json.decode(line, type=LogEntry)
            except UNREADABLE as error:
                raise RegistryError(f"{place}:{number}: {error}: restore the log") from None
            if entry.previous != head:
                raise RegistryError(
                    f"{place}:{number}: does not follow the line before: the log was changed;"
                    " restore it from a copy"
                )
            head = sha256(line)
            entries.append(entry)
            hashes.append(head)
        return _History(raw, entries, hashes, head)

    def _append(
        self,
        name: str,
        history: _History,
        action: Action,
        version: str,
        ref: ModelRef,
        author: str,
        why: str,
        details: dict[str, object],
    ) -> _History:
        entry = LogEntry(
            action=action,
            version=version,
            package=ref.package,
            policy=ref.policy,
            author=author,
            why=why,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            details=details,
            previous=history.head,
        )
        line = msgspec.json.encode(entry) + b"\n"
        # Written whole and aside: a power cut leaves the old log or the new one, no torn line.
        raw = history.raw + line
        self._files.write(f"{name}/{LOG}", raw)
        if self._files.read(f"{name}/{LOG}") != raw:
            raise RegistryError(f"{name}: somebody else wrote to the log just now: try again")
        head = sha256(line)
        return _History(raw, [*history.entries, entry], [*history.hashes, head], head)

    def _pointer(
        self, name: str, history: _History, *, damaged_is_none: bool = False
    ) -> Pointer | None:
        raw = self._files.read(f"{name}/{CURRENT}")
        place = f"{self._files}/{name}/{CURRENT}"
        try:
            if raw is None:
                return None
            pointer = msgspec.json.decode(raw, type=Pointer)
            released = {
                line: entry for entry, line in zip(history.entries, history.hashes, strict=True)
            }.get(pointer.entry)
            if released is None or (released.version, released.package, released.policy) != (
                pointer.version,
                pointer.package,
                pointer.policy,
            ):
                raise RegistryError(f"{place}: names a release that is not in the log")
            return pointer
        except (*UNREADABLE, RegistryError) as error:
            if damaged_is_none:
                return None
            raise RegistryError(
                f"{place}: {error}: 'inspection models rollback {name} --to VERSION' writes it anew"
            ) from None

    def _added(self, name: str, history: _History, version: str) -> LogEntry:
        added = history.added()
        if version not in added:
            raise RegistryError(
                f"{name} {version} is not in the registry; there are: {', '.join(added) or 'none'}"
            )
        return added[version]

    # ------------------------------------------------------------------------------- packages

    def _fetch(self, name: str, version: str, entry: LogEntry) -> Path:
        wanted = ModelRef(package=entry.package, policy=entry.policy)
        place = f"{name}/{version}"
        local = self._files.local(place)
        if local is not None:
            if open_package(local).ref != wanted:
                raise RegistryError(f"{local}: is not what was added as {place}: it was changed")
            return local
        target = self._cache / f"{wanted.package[:32]}-{wanted.policy[:32]}"
        if target.is_dir():
            with contextlib.suppress(PackageError):
                if open_package(target).ref == wanted:
                    return target
            shutil.rmtree(target)  # a damaged copy: the registry has the real one
        self._cache.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".fetching-", dir=self._cache))
        try:
            self._files.download(place, aside)
            if open_package(aside).ref != wanted:
                raise RegistryError(f"{self._files}/{place}: is not what was added: it was changed")
            aside.rename(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return target

    @contextlib.contextmanager
    def _changing(self, name: str) -> Iterator[None]:
        """One writer at a time on a local folder. An object store has no locks: there, two at the
        same moment are noticed when the log is read back, or not at all; see docs/release.md."""
        folder = self._files.local(name)
        if folder is None:
            yield
            return
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _said(author: str, why: str) -> None:
    if not author.strip() or not why.strip():
        raise RegistryError("say who does this and why: neither may be empty")


def _bytes_of(package: Package) -> dict[str, bytes]:
    """All files of a package, those that were hashed, the manifest last."""
    content = dict(package.content)
    for name in (MODEL_SIGNATURE, POLICY_SIGNATURE):
        if (package.path / name).is_file():
            content[name] = (package.path / name).read_bytes()
    for name, expected in ((POLICY, package.ref.policy), (MANIFEST, package.ref.package)):
        content[name] = (package.path / name).read_bytes()
        if sha256(content[name]) != expected:
            raise PackageError(f"{package.path / name}: changed while it was read: try again")
    return content


class _Files:
    """Files below one root, written so that each is whole or not there."""

    def __init__(self, url: str) -> None:
        # Here, because an edge that only resolves a path has no fsspec.
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        self._fs: Any
        self._fs, root = fsspec.core.url_to_fs(url)
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)
        self._url = url.rstrip("/")

    def __str__(self) -> str:
        return self._url

    def local(self, name: str) -> Path | None:
        """Where a file lies, if on this machine."""
        return Path(self._root) / name if self._local else None

    def exists(self, name: str) -> bool:
        return bool(self._fs.exists(f"{self._root}/{name}"))

    def folders(self, name: str) -> list[str]:
        path = f"{self._root}/{name}".rstrip("/")
        try:
            found = self._fs.ls(path, detail=True, refresh=True)
        except FileNotFoundError:
            return []
        names = [str(e["name"]).rstrip("/") for e in found if e["type"] == "directory"]
        return sorted(name.rpartition("/")[2] for name in names)

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, None where there is none; `RegistryError` where it is unreadable."""
        try:
            data: bytes = self._fs.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RegistryError(f"{self._url}/{name}: cannot be read: {error}") from None
        return data

    def write(self, name: str, data: bytes) -> None:
        """Replace a file in one step: rename on a file system, one put in an object store."""
        try:
            if not self._local:
                self._fs.pipe_file(f"{self._root}/{name}", data)
                return
            path = Path(self._root) / name
            aside = path.with_name(f".{path.name}.part")
            _write(aside, data)
            os.replace(aside, path)  # noqa: PTH105 - as the tests of power cuts name it
            sync_folder(path.parent)
        except OSError as error:
            raise RegistryError(f"{self._url}/{name}: cannot be written: {error}") from None

    def put_package(self, name: str, content: dict[str, bytes]) -> None:
        """Write a new folder. One left over by an add that was cut off is accepted if it is the
        same, byte by byte; on an object store the manifest comes last and makes it whole."""
        try:
            if not self._local:
                there = self.read(f"{name}/{MANIFEST}")
                if there is not None and there != content[MANIFEST]:
                    raise RegistryError(self._stray(name))
                for file, data in content.items():
                    self._fs.pipe_file(f"{self._root}/{name}/{file}", data)
                return
            target = Path(self._root) / name
            if target.exists():
                there_now = {
                    path.relative_to(target).as_posix(): path.read_bytes()
                    for path in target.rglob("*")
                    if path.is_file()
                }
                if there_now != content:
                    raise RegistryError(self._stray(name))
                return
            aside = target.with_name(f".{target.name}.part")
            shutil.rmtree(aside, ignore_errors=True)
            for file, data in content.items():
                (aside / file).parent.mkdir(parents=True, exist_ok=True)
                _write(aside / file, data)
            for folder in [*(p for p in aside.rglob("*") if p.is_dir()), aside]:
                sync_folder(folder)
            os.replace(aside, target)  # noqa: PTH105
            sync_folder(target.parent)
            sync_folder(target.parent.parent)
        except OSError as error:
            raise RegistryError(f"{self._url}/{name}: cannot be written: {error}") from None

    def _stray(self, name: str) -> str:
        return f"{self._url}/{name}: lies there and is not in the log: look at it and remove it"

    def download(self, name: str, target: Path) -> None:
        """Copy a folder; every file found, so that a stray one is noticed."""
        prefix = f"{self._root}/{name}/"
        for found in self._fs.find(prefix.rstrip("/")):
            inside = str(found)[str(found).index(prefix) + len(prefix) :]
            file = target / inside
            if ".." in Path(inside).parts:
                raise RegistryError(f"{self._url}/{name}: {inside!r} leads out of the package")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.read(f"{name}/{inside}") or b"")


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
