"""Pictures on disk until the station has them.

Evidence travels on its own lane, behind results. Unlike results, pictures are kept only as far as
there is room: within a budget, and never in the last of the disk's free space, which is for
results. Where room is wanted, pictures of points that are OK go first, then the others, the oldest
of each first; all are counted, and a result may then name a picture that was never delivered.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from inspection import png
from inspection.durable import sync_folder
from inspection.errors import OutboxError
from inspection.wire import MIB

MAX_BYTES = 2048 * MIB
RESERVE_BYTES = 256 * MIB
"""Free space that pictures leave to results."""

_NAME = re.compile(r"([0-9a-f]{64})(\.ok)?\.([A-Za-z0-9][A-Za-z0-9_-]{0,63})")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_UNFINISHED = ".unfinished"
_DAMAGED = "damaged"


class Kept(NamedTuple):
    """A picture that waits: its name, what it is (the file's extension), its size in bytes, and
    whether it is of a point that is OK."""

    sha256: str
    media_type: str
    size: int
    ok: bool = False


class EvidenceSpool:
    """Files ``<sha256>.<media type>``, ``<sha256>.ok.<media type>`` for points that are OK, oldest
    first by a modification time that never repeats.

    Has one owner, as the outbox beside it has; its threads may put and send at the same time.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int = MAX_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        """Opens or creates the folder and sweeps out what was never finished; raises
        `OutboxError` where it cannot be used. ``free`` says how many bytes a folder's disk has."""
        self.dropped: Counter[str] = Counter()
        """Pictures given up for lack of room since the spool was opened: ``ok`` and ``other``."""
        self.damaged = 0
        """Pictures whose bytes had changed on disk; they lie in ``damaged/``."""
        self._directory = directory
        self._max_bytes = max_bytes
        self._reserve_bytes = reserve_bytes
        self._free = free
        self._lock = threading.RLock()
        self._putting = threading.Lock()
        self._kept: dict[str, Kept] = {}  # in the order they were put
        try:
            directory.mkdir(parents=True, exist_ok=True)
            found: list[tuple[int, Kept]] = []
            for path in directory.iterdir():
                if path.name.endswith(_UNFINISHED):
                    path.unlink()
                elif match := _NAME.fullmatch(path.name):
                    status = path.stat()
                    kept = Kept(match[1], match[3], status.st_size, match[2] is not None)
                    found.append((status.st_mtime_ns, kept))
            # A name that a process made and did not live to sync is about to be relied on.
            sync_folder(self._directory)
        except OSError as error:
            raise OutboxError(f"evidence {directory}: {error}: check the disk") from error
        found.sort()
        self._latest_ns = found[-1][0] if found else 0
        self._kept = {kept.sha256: kept for _, kept in found}
        self._bytes = sum(kept.size for kept in self._kept.values())

    def put(
        self, data: bytes, media_type: str, *, name: str | None = None, ok: bool = False
    ) -> str:
        """Keep a picture and return its name, which is the hash of its bytes where none is given
        (`inspection.png.name`); durable on return.

        ``media_type`` is an identifier such as ``png``. Raises `OutboxError` where there is no room
        or the disk does not take it; nothing is kept then.
        """
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise ValueError(f"media type {media_type!r} is no identifier such as 'png' or 'jpeg'")
        sha256 = hashlib.sha256(data).hexdigest() if name is None else name
        with self._putting:
            self._put(Kept(sha256, media_type, len(data), ok), data)
        return sha256

    def _put(self, new: Kept, data: bytes) -> None:
        sha256 = new.sha256
        with self._lock:
            before = self._kept.get(sha256)
            if before is not None:
                if before.ok and not new.ok:
                    self._promote(before)
                return
        if not self.make_room(new):
            raise OutboxError(
                f"evidence {self._directory}: no room for a picture of {len(data)} bytes beside"
                " what results may need: check the disk"
            )
        path = self._path(new)
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
        with self._lock:
            self._latest_ns = stamp
            self._kept[sha256] = new
            self._bytes += len(data)

    @property
    def count(self) -> int:
        """How many pictures wait."""
        return len(self._kept)

    def pending(self) -> Iterator[Kept]:
        """What waits now, what is not OK first, the oldest of each first; pictures may be put and
        forgotten meanwhile."""
        with self._lock:
            waiting = tuple(self._kept.values())
        yield from (kept for kept in waiting if not kept.ok)
        yield from (kept for kept in waiting if kept.ok)

    def get(self, sha256: str) -> bytes | None:
        """The picture, or None where there is none to send: it was dropped or forgotten, or its
        bytes have changed (then it is moved to ``damaged/`` and counted)."""
        with self._lock:
            kept = self._kept.get(sha256)
            if kept is None:
                return None
            path = self._path(kept)
            try:
                data = path.read_bytes()
            except OSError:
                data = b""
            if png.fits(sha256, data):
                return data
            self._take_out(kept)
            self.damaged += 1
            with contextlib.suppress(OSError):
                (self._directory / _DAMAGED).mkdir(exist_ok=True)
                path.replace(self._directory / _DAMAGED / path.name)
            return None

    def forget(self, sha256: str) -> None:
        """The station has this picture. Once more does no harm."""
        with self._lock:
            if kept := self._kept.get(sha256):
                self._take_out(kept)
                # Not synced: a file that comes back after a power cut is sent once more, no harm
                # done.
                with contextlib.suppress(OSError):
                    self._path(kept).unlink(missing_ok=True)

    def make_room(self, new: Kept | None = None) -> bool:
        """Give up pictures until budget and reserve are kept, with ``new`` on disk as well where
        that is given; whether they are. No picture of another point goes for one that is OK."""
        size = 0 if new is None else new.size
        if size > self._max_bytes:
            return False
        with self._lock:
            # The OK ones first, whatever their age: the sort keeps the order within each.
            candidates = sorted(self._kept.values(), key=lambda kept: not kept.ok)
            for kept in candidates:
                if self._fits(size):
                    return True
                if new is not None and new.ok and not kept.ok:
                    return False
                self.forget(kept.sha256)
                self.dropped["ok" if kept.ok else "other"] += 1
            return self._fits(size)

    def _fits(self, size: int) -> bool:
        if self._bytes + size > self._max_bytes:
            return False
        try:
            return self._free(self._directory) - size >= self._reserve_bytes
        except OSError:
            return True  # the write that follows says what is wrong

    def _promote(self, kept: Kept) -> None:
        """A picture of an OK point is of another point as well."""
        better = kept._replace(ok=False)
        with contextlib.suppress(OSError):
            self._path(kept).replace(self._path(better))
            self._kept[kept.sha256] = better

    def _take_out(self, kept: Kept) -> None:
        del self._kept[kept.sha256]
        self._bytes -= kept.size

    def _path(self, kept: Kept) -> Path:
        return self._directory / f"{kept.sha256}{'.ok' if kept.ok else ''}.{kept.media_type}"
