"""Pictures on disk until the station has them.

Evidence travels on its own lane, behind results, and a picture is written before the record that
names it. Unlike results, pictures are kept only as far as there is room: over the budget the
oldest go first, counted, and a result may then name a picture that was never delivered.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from inspection.durable import sync_folder
from inspection.errors import OutboxError
from inspection.wire import MIB

MAX_BYTES = 2048 * MIB

_NAME = re.compile(r"([0-9a-f]{64})\.([A-Za-z0-9][A-Za-z0-9_-]{0,63})")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_UNFINISHED = ".unfinished"
_DAMAGED = "damaged"


class Kept(NamedTuple):
    """A picture that waits: its hash, what it is (the file's extension) and its size in bytes."""

    sha256: str
    media_type: str
    size: int


class EvidenceSpool:
    """Files ``<sha256>.<media type>``, oldest first by a modification time that never repeats.

    Has one owner, as the outbox beside it has, and is not safe from several threads.
    """

    def __init__(self, directory: Path, *, max_bytes: int = MAX_BYTES) -> None:
        """Opens or creates the folder and sweeps out what was never finished; raises
        `OutboxError` where it cannot be used."""
        self.dropped = 0
        """Pictures given up for lack of room since the spool was opened."""
        self.damaged = 0
        """Pictures whose bytes had changed on disk; they lie in ``damaged/``."""
        self._directory = directory
        self._max_bytes = max_bytes
        self._kept: dict[str, Kept] = {}  # in the order they were put
        try:
            directory.mkdir(parents=True, exist_ok=True)
            found: list[tuple[int, Kept]] = []
            for path in directory.iterdir():
                if path.name.endswith(_UNFINISHED):
                    path.unlink()
                elif match := _NAME.fullmatch(path.name):
                    status = path.stat()
                    kept = Kept(match[1], match[2], status.st_size)
                    found.append((status.st_mtime_ns, kept))
            # A name that a process made and did not live to sync is about to be relied on.
            sync_folder(self._directory)
        except OSError as error:
            raise OutboxError(f"evidence {directory}: {error}: check the disk") from error
        found.sort()
        self._latest_ns = found[-1][0] if found else 0
        self._kept = {kept.sha256: kept for _, kept in found}
        self._bytes = sum(kept.size for kept in self._kept.values())

    def put(self, data: bytes, media_type: str) -> str:
        """Keep a picture and return its hash; durable on return, so that a record may name it.

        ``media_type`` is an identifier such as ``png``. Raises `OutboxError` where the disk does
        not take it; nothing is kept then.
        """
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise ValueError(f"media type {media_type!r} is no identifier such as 'png' or 'jpeg'")
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 in self._kept:
            return sha256
        path = self._directory / f"{sha256}.{media_type}"
        unfinished = path.with_name(path.name + _UNFINISHED)
        # The order must survive a restart, a coarse clock and a clock that is set back.
        stamp = max(time.time_ns(), self._latest_ns + 1)
        try:
            with unfinished.open("wb") as file:
                file.write(data)
                file.flush()
                os.utime(file.fileno(), ns=(stamp, stamp))
                os.fsync(file.fileno())
            unfinished.replace(path)
            sync_folder(self._directory)
        except OSError as error:
            for leftover in (unfinished, path):
                with contextlib.suppress(OSError):
                    leftover.unlink(missing_ok=True)
            raise OutboxError(f"evidence {self._directory}: {error}: check the disk") from error
        self._latest_ns = stamp
        self._kept[sha256] = Kept(sha256, media_type, len(data))
        self._bytes += len(data)
        self._make_room(newest=sha256)
        return sha256

    def pending(self) -> Iterator[Kept]:
        """What waits now, oldest first; pictures may be put and forgotten meanwhile."""
        return iter(tuple(self._kept.values()))

    def get(self, sha256: str) -> bytes | None:
        """The picture, or None where there is none to send: it was dropped or forgotten, or its
        bytes have changed (then it is moved to ``damaged/`` and counted)."""
        kept = self._kept.get(sha256)
        if kept is None:
            return None
        path = self._path(kept)
        try:
            data = path.read_bytes()
        except OSError:
            data = b""
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
        self._take_out(kept)
        self.damaged += 1
        with contextlib.suppress(OSError):
            (self._directory / _DAMAGED).mkdir(exist_ok=True)
            path.replace(self._directory / _DAMAGED / path.name)
        return None

    def forget(self, sha256: str) -> None:
        """The station has this picture. Once more does no harm."""
        if kept := self._kept.get(sha256):
            self._take_out(kept)
            # Not synced: a file that comes back after a power cut is sent once more, no harm done.
            with contextlib.suppress(OSError):
                self._path(kept).unlink(missing_ok=True)

    def _make_room(self, newest: str) -> None:
        for kept in tuple(self._kept.values()):
            if self._bytes <= self._max_bytes or kept.sha256 == newest:
                return
            self.forget(kept.sha256)
            self.dropped += 1

    def _take_out(self, kept: Kept) -> None:
        del self._kept[kept.sha256]
        self._bytes -= kept.size

    def _path(self, kept: Kept) -> Path:
        return self._directory / f"{kept.sha256}.{kept.media_type}"
