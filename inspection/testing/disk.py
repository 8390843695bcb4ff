"""A disk for an outbox to write on whose power can be cut between any two calls, and inside them.

What was synced survives; of what was not, each sector of 512 bytes survives or does not, as chance
has it, and so does each name in a folder.
"""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

SECTOR = 512


class PowerCutError(BaseException):
    """Not an `OSError`: nothing in the process may handle it."""


class Content:
    """A file: what processes read, and what is on the medium."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.medium = b""
        self.dropped: set[int] = set()
        """Sectors that a failed sync has marked clean: the next sync skips them, silently."""

    def write(self, data: bytes) -> None:
        start = len(self.seen)
        self.seen += data
        self.dropped -= set(range(start // SECTOR, len(self.seen) // SECTOR + 1))

    def truncate(self, size: int) -> None:
        del self.seen[size:]
        self.seen += bytes(size - len(self.seen))
        self.dropped = {sector for sector in self.dropped if sector < size // SECTOR}

    def sync(self) -> None:
        sectors = range(0, len(self.seen), SECTOR)
        old = self.medium.ljust(len(self.seen), b"\0")
        self.medium = b"".join(
            (old if at // SECTOR in self.dropped else bytes(self.seen))[at : at + SECTOR]
            for at in sectors
        )[: len(self.seen)]

    def sync_fails(self) -> None:
        self.dropped = set(range(len(self.seen) // SECTOR + 1))

    def lose_power(self, chance: random.Random) -> None:
        sizes = sorted((len(self.seen), len(self.medium)))
        size = chance.choice([*sizes, chance.randint(*sizes)])
        new, old = bytes(self.seen).ljust(size, b"\0"), self.medium.ljust(size, b"\0")
        kept = b"".join(
            (new if at // SECTOR not in self.dropped and chance.random() < 0.5 else old)[
                at : at + SECTOR
            ]
            for at in range(0, size, SECTOR)
        )[:size]
        self.seen, self.medium, self.dropped = bytearray(kept), kept, set()


class SimulatedDisk:
    """See `edge.outbox.FileSystem`. ``cut_in`` calls from now the power goes, in the middle of
    whatever is asked for then."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.cut_in: int | None = None
        self.sync_fails = False
        """The next sync reports an error, and what it should have written never will be."""
        self.honest = True
        """Without it, a sync reports success and does nothing."""
        self._seen: dict[Path, Content] = {}
        self._medium: dict[Path, Content] = {}
        self._open: dict[int, Content] = {}
        self._locks: dict[int, Path] = {}
        self._next = 3

    def lose_power(self) -> None:
        kept: dict[Path, Content] = {}
        for path in sorted({*self._seen, *self._medium}):
            name_seen = self._seen.get(path)
            choice = name_seen if self.chance.random() < 0.5 else self._medium.get(path)
            if choice is not None:
                kept[path] = choice
        for content in dict.fromkeys(kept.values()):
            content.lose_power(self.chance)
        self._seen, self._medium = kept, dict(kept)
        self.kill()

    def kill(self) -> None:
        """The process ends; what it wrote can still be read."""
        self._open.clear()
        self._locks.clear()
        self.cut_in = None
        self.sync_fails = False

    def spoil_tail(self, data: bytes) -> None:
        """As an interrupted write leaves it: bytes after the last frame of the last segment."""
        last = max(path for path in self._seen if path.name.startswith("seg-"))
        self._seen[last].write(data)

    def _call(self) -> None:
        if self.cut_in is not None:
            self.cut_in -= 1
            if self.cut_in < 0:
                raise PowerCutError

    def _descriptor(self) -> int:
        self._next += 1
        return self._next

    def make_folder(self, path: Path) -> None:  # noqa: ARG002  part of the protocol
        self._call()

    def lock(self, path: Path) -> int:
        if path in self._locks.values():
            raise BlockingIOError
        descriptor = self._descriptor()
        self._locks[descriptor] = path
        return descriptor

    def names(self, folder: Path) -> list[str]:
        return [path.name for path in self._seen if path.parent == folder]

    def size(self, path: Path) -> int:
        return len(self._seen[path].seen)

    def read(self, path: Path, offset: int, length: int) -> bytes:
        return bytes(self._seen[path].seen[offset : offset + length])

    def open_to_append(self, path: Path) -> int:
        self._call()
        descriptor = self._descriptor()
        self._open[descriptor] = self._seen.setdefault(path, Content())
        return descriptor

    def write(self, descriptor: int, data: bytes) -> int:
        content = self._open[descriptor]
        try:
            self._call()
        except PowerCutError:
            content.write(data[: self.chance.randint(0, len(data))])
            raise
        content.write(data)
        return len(data)

    def sync_data(self, descriptor: int) -> None:
        content = self._open[descriptor]
        try:
            self._call()
        except PowerCutError:
            if self.chance.random() < 0.3:
                content.sync()
            raise
        if self.sync_fails:
            self.sync_fails = False
            content.sync_fails()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.honest:
            content.sync()

    def sync(self, descriptor: int) -> None:
        self.sync_data(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        self._call()
        self._open[descriptor].truncate(size)

    def close(self, descriptor: int) -> None:
        self._open.pop(descriptor, None)
        self._locks.pop(descriptor, None)

    def rename(self, source: Path, target: Path) -> None:
        self._call()
        self._seen[target] = self._seen.pop(source)

    def remove(self, path: Path) -> None:
        self._call()
        del self._seen[path]

    def sync_folder(self, path: Path) -> None:
        self._call()
        for name in {*self._seen, *self._medium}:
            if name.parent != path:
                continue
            if name in self._seen:
                self._medium[name] = self._seen[name]
            else:
                del self._medium[name]
