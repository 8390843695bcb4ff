"""Results on disk until the station has them: what `append` has returned for survives a power cut.

A folder of segments ``seg-<number of the first record>.log``, each a row of frames::

    magic 4 | length 4 | number 8 | crc of the payload 4 | crc of this header 4 | payload

Records are numbered from 1 without gaps, for ever: a number that was once readable never stands
for other content, also after every segment has been forgotten and after a crash. Both checksums
start from the outbox's own id, so that no other outbox's bytes, and no bytes inside a payload,
pass for a frame of this one. The header has a checksum of its own so that a damaged length
neither swallows the records behind it nor passes for an interrupted write.

Opening recovers. A last frame that is shorter than its own length was being written when the
power went; nobody was promised anything, and it is cut off. Every other unreadable frame may be a
record the station was told of: the segment is kept in ``quarantine/``, what can be read is saved,
and a `Gap` takes the number of each record that cannot, so that the loss is told and the number
not used again. Where the end of the last segment is unreadable through and through, nothing there
says how many records it held; it counts as one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import struct
import threading
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

from inspection import wire
from inspection.closing import Closing
from inspection.errors import OutboxError
from inspection.messages import Gap

SEGMENT_BYTES = 8 * wire.MIB
MAX_RECORD_BYTES = wire.RECORD.max_bytes
MAX_LOST_RECORDS = 1_000_000
"""More missing numbers than this between two segments come from a stray file, not from a disk."""

_MAGIC = b"\x9aOBX"
_HEADER = struct.Struct("<4sIQII")
_CHECKED = struct.Struct("<IQI")
_SEGMENT_NAME = re.compile(r"seg-(\d{20})\.log")
_ID_LINE = re.compile(rb"([0-9a-f]{32}) ([0-9a-f]{8})")
_ID, _LOCK, _QUARANTINE, _UNFINISHED = "outbox-id", "lock", "quarantine", ".unfinished"
_BLOCK = 4096


class FileSystem(Protocol):
    """The few calls an outbox makes, so that a test can cut the power between any two of them.

    All raise `OSError`. What was written survives a power cut once `sync_data` or `sync` of the
    file has returned, a new, renamed or removed name once `sync_folder` has.
    """

    def make_folder(self, path: Path) -> None:
        """Create a folder and its parents, durably; fine where it exists."""
        ...

    def lock(self, path: Path) -> int:
        """Take an exclusive lock; `BlockingIOError` where another holds it. `close` gives it up."""
        ...

    def names(self, folder: Path) -> list[str]: ...

    def size(self, path: Path) -> int: ...

    def read(self, path: Path, offset: int, length: int) -> bytes: ...

    def open_to_append(self, path: Path) -> int:
        """A descriptor that writes at the end; creates the file."""
        ...

    def write(self, descriptor: int, data: bytes) -> int:
        """One write; returns how many bytes were taken, which may be fewer."""
        ...

    def sync_data(self, descriptor: int) -> None: ...

    def sync(self, descriptor: int) -> None: ...

    def truncate(self, descriptor: int, size: int) -> None: ...

    def close(self, descriptor: int) -> None: ...

    def rename(self, source: Path, target: Path) -> None:
        """Replaces ``target`` at once."""
        ...

    def remove(self, path: Path) -> None: ...

    def sync_folder(self, path: Path) -> None: ...


class LocalFileSystem:
    """The real one (`FileSystem`)."""

    def make_folder(self, path: Path) -> None:
        if path.is_dir():
            return
        self.make_folder(path.parent)
        path.mkdir(exist_ok=True)
        self.sync_folder(path.parent)

    def lock(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def names(self, folder: Path) -> list[str]:
        return [entry.name for entry in folder.iterdir()]

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def read(self, path: Path, offset: int, length: int) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def open_to_append(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, descriptor: int, data: bytes) -> int:
        return os.write(descriptor, data)

    def sync_data(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def sync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def remove(self, path: Path) -> None:
        path.unlink()

    def sync_folder(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(slots=True)
class _Segment:
    """One file: where each of its frames starts, and where the last one ends."""

    path: Path
    first: int
    starts: array[int]
    size: int

    @property
    def after(self) -> int:
        """The number that follows its last record."""
        return self.first + len(self.starts)

    def end(self, index: int) -> int:
        """Where frame ``index`` ends."""
        return self.starts[index + 1] if index + 1 < len(self.starts) else self.size


class _Header(NamedTuple):
    length: int
    seq: int
    crc: int


class _Survey(NamedTuple):
    """What a segment's bytes hold: for each record, in order, its payload or None where it cannot
    be read, where its frame starts, and where the last complete frame ends."""

    payloads: list[memoryview | None]
    starts: array[int]
    end: int


class Outbox(Closing):
    """Numbered records, durable once `append` has returned, kept until `forget`.

    Has one owner: a second one for the same folder is refused. One thread may append while another
    reads and forgets; what is being made durable cannot be read yet. Any failure to write or sync
    is final (`fatal`): a second sync may report success for data that the kernel has already
    dropped, so the process ends and recovery starts from the disk.
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        fs: FileSystem | None = None,
    ) -> None:
        """Opens or creates the folder; raises `OutboxError` where it is in use, belongs to no
        outbox any more, or cannot be made durable."""
        self.fatal: OutboxError | None = None
        """Why this outbox will never accept anything again; None while it lives."""
        self.gaps: tuple[int, ...] = ()
        """Numbers of the records that opening found lost; each now reads as a `Gap`."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._fs = fs if fs is not None else LocalFileSystem()
        self._segments: list[_Segment] = []
        self._descriptor = -1
        self._lock = -1
        self._index = threading.Lock()
        """Held while a record appears in `_segments` and while records are looked up there."""
        try:
            self._fs.make_folder(directory)
            self._lock = self._fs.lock(directory / _LOCK)
            self._open()
        except BlockingIOError:
            raise OutboxError(
                f"outbox {directory} is in use by another worker: give each worker its own folder"
            ) from None
        except OSError as error:
            self._release()
            raise OutboxError(f"outbox {directory}: {error}: check the disk") from error
        except OutboxError:
            self._release()
            raise
        self._committed = self.oldest_seq - 1

    # ------------------------------------------------------------ what it holds

    @property
    def outbox_id(self) -> str:
        """128 random bits as hexadecimal digits, made once with the folder: a wiped disk comes
        back as another outbox and can never use old numbers for new results."""
        return self._id

    @property
    def first_seq(self) -> int:
        """The oldest record not known to be committed (`next_seq` where there is none). Not kept
        on disk: after a restart it is `oldest_seq`, until the station has answered."""
        return self._committed + 1

    @property
    def next_seq(self) -> int:
        """The number the next record will have."""
        return self._segments[-1].after

    @property
    def pending(self) -> int:
        """How many records are not known to be committed."""
        return self.next_seq - self.first_seq

    @property
    def oldest_seq(self) -> int:
        """The oldest record that can still be read; committed ones stay as long as they share a
        segment with others."""
        return self._segments[0].first

    # ------------------------------------------------------------ use

    def append(self, payloads: Sequence[bytes]) -> range:
        """Make a group of records durable and return their numbers.

        One write and one fdatasync for the whole group. Only after it has returned may any of
        them be sent. After an `OutboxError` none of them was accepted and the outbox is `fatal`.
        """
        self._alive()
        first = self.next_seq
        if not payloads:
            return range(first, first)
        if any(len(payload) > MAX_RECORD_BYTES for payload in payloads):
            raise ValueError(f"an outbox record is over {MAX_RECORD_BYTES} bytes")
        frames = [self._frame(first + i, payload) for i, payload in enumerate(payloads)]
        group = b"".join(frames)
        segment = self._segments[-1]
        if segment.size and segment.size + len(group) > self._segment_bytes:
            segment = self._begin_segment(first)
        try:
            written = self._fs.write(self._descriptor, group)
            if written != len(group):
                raise OSError(errno.ENOSPC, f"short write ({written} of {len(group)} bytes)")
            self._fs.sync_data(self._descriptor)
        except OSError as error:
            # Not a second try: what may or may not be on disk is taken out of sight, so that after
            # a restart nothing is read from the kernel's memory that the disk does not hold.
            with contextlib.suppress(OSError):
                self._fs.truncate(self._descriptor, segment.size)
            self._die("could not make results durable", error)
        with self._index:
            for frame in frames:
                segment.starts.append(segment.size)
                segment.size += len(frame)
        return range(first, first + len(frames))

    def read(self, first: int, limit: int, max_bytes: int) -> list[bytes]:
        """Consecutive records from number ``first`` on: at most ``limit``, and at most
        ``max_bytes`` of payload in all, but never none of those there are, so that a large one
        cannot stop the line. Empty where ``first`` is `next_seq`."""
        self._alive()
        with self._index:
            return self._read(first, limit, max_bytes)

    def _read(self, first: int, limit: int, max_bytes: int) -> list[bytes]:
        if not self.oldest_seq <= first <= self.next_seq:
            raise OutboxError(
                f"outbox {self._directory} holds records {self.oldest_seq} to {self.next_seq - 1},"
                f" not {first}"
            )
        records: list[bytes] = []
        left = max_bytes
        at = bisect_right(self._segments, first, key=lambda segment: segment.first) - 1
        for segment in self._segments[at:]:
            begin = end = first + len(records) - segment.first
            while end < len(segment.starts) and len(records) + end - begin < limit:
                left -= segment.end(end) - segment.starts[end] - _HEADER.size
                if left < 0 and (records or end > begin):
                    break
                end += 1
            if end > begin:
                records += self._load(segment, begin, end)
            if end < len(segment.starts):
                break
        return records

    def forget(self, committed: int) -> None:
        """Everything up to number ``committed`` is durable at the station.

        Drops the segments that hold nothing else, oldest first; the one being written always
        stays, because its name carries the number on. A lower number than before changes nothing.
        """
        self._alive()
        if committed >= self.next_seq:
            raise OutboxError(
                f"outbox {self._directory} was told that record {committed} is committed, but has"
                f" written only {self.next_seq - 1}: that answer belongs to another outbox, or"
                " this disk was set back; find out which before going on"
            )
        self._committed = max(self._committed, committed)
        try:
            while len(self._segments) > 1 and self._segments[0].after - 1 <= committed:
                self._fs.remove(self._segments[0].path)
                # One by one: a power cut must not leave an older segment without a newer one.
                self._fs.sync_folder(self._directory)
                del self._segments[0]
        except OSError as error:
            self._die("could not drop a committed segment", error)

    def close(self) -> None:
        """Gives the folder back. Everything is on disk already."""
        if self.fatal is None:
            self.fatal = OutboxError(f"outbox {self._directory} is closed")
        self._release()

    # ------------------------------------------------------------ inside

    def _alive(self) -> None:
        if self.fatal is not None:
            raise OutboxError(str(self.fatal)) from self.fatal

    def _die(self, what: str, error: Exception) -> NoReturn:
        self.fatal = OutboxError(
            f"outbox {self._directory} {what}: {error}; check the disk and start the worker again"
        )
        raise self.fatal from error

    def _release(self) -> None:
        for descriptor in (self._descriptor, self._lock):
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    self._fs.close(descriptor)
        self._descriptor = self._lock = -1

    def _frame(self, seq: int, payload: bytes) -> bytes:
        crc = zlib.crc32(payload, self._salt)
        check = zlib.crc32(_CHECKED.pack(len(payload), seq, crc), self._salt)
        return _HEADER.pack(_MAGIC, len(payload), seq, crc, check) + payload

    def _header(self, data: bytes | memoryview, offset: int) -> _Header | None:
        """The frame header at ``offset``, or None where there is none."""
        if len(data) - offset < _HEADER.size:
            return None
        magic, length, seq, crc, check = _HEADER.unpack_from(data, offset)
        if magic != _MAGIC or zlib.crc32(_CHECKED.pack(length, seq, crc), self._salt) != check:
            return None
        return _Header(length, seq, crc)

    def _load(self, segment: _Segment, begin: int, end: int) -> list[bytes]:
        """Payloads of the segment's frames ``begin`` to ``end``, checked once more: a record that
        rotted since it was written must not be sent, and becomes a gap at the next start."""
        start, stop = segment.starts[begin], segment.end(end - 1)
        records: list[bytes] = []
        try:
            data = self._fs.read(segment.path, start, stop - start)
            for index in range(begin, end):
                header = self._header(data, segment.starts[index] - start)
                at = segment.starts[index] - start + _HEADER.size
                payload = data[at : segment.end(index) - start]
                if (
                    header is None
                    or (header.seq, header.length) != (segment.first + index, len(payload))
                    or zlib.crc32(payload, self._salt) != header.crc
                ):
                    raise OSError(errno.EIO, f"record {segment.first + index} has changed on disk")
                records.append(payload)
        except OSError as error:
            self._die("cannot read back what it wrote", error)
        return records

    def _begin_segment(self, first: int) -> _Segment:
        """A new, empty segment, whose name is durable before anything is written to it."""
        path = self._path(first)
        try:
            full, self._descriptor = self._descriptor, -1
            self._fs.close(full)
            self._descriptor = self._fs.open_to_append(path)
            self._fs.sync_folder(self._directory)
        except OSError as error:
            self._die("could not begin a new segment", error)
        segment = _Segment(path, first, array("Q"), 0)
        self._segments.append(segment)
        return segment

    def _write_file(self, path: Path, data: bytes) -> None:
        """A whole file that after a power cut is there as it should be, or not at all."""
        unfinished = path.with_name(path.name + _UNFINISHED)
        descriptor = self._fs.open_to_append(unfinished)
        try:
            self._fs.truncate(descriptor, 0)
            if self._fs.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, f"short write to {unfinished}")
            self._fs.sync(descriptor)
        finally:
            self._fs.close(descriptor)
        self._fs.rename(unfinished, path)
        self._fs.sync_folder(path.parent)

    # ------------------------------------------------------------ recovery

    def _open(self) -> None:
        names = self._fs.names(self._directory)
        for name in names:
            if name.endswith(_UNFINISHED):
                self._fs.remove(self._directory / name)
        firsts = sorted(int(match[1]) for name in names if (match := _SEGMENT_NAME.fullmatch(name)))
        if _ID in names:
            self._id = self._read_id()
        elif not firsts or (firsts == [1] and self._fs.size(self._path(1)) == 0):
            # The first segment before the id: an outbox with an id and no segment has lost its
            # place in the sequence, and this order tells it from one that was never used.
            firsts = [1]
            self._fs.close(self._fs.open_to_append(self._path(1)))
            self._fs.sync_folder(self._directory)
            self._id = secrets.token_hex(16)
            line = f"{self._id} {zlib.crc32(self._id.encode()):08x}\n"
            self._write_file(self._directory / _ID, (line * 2).encode())
        else:
            raise OutboxError(self._unusable(f"{_ID} is missing"))
        if not firsts:
            raise OutboxError(self._unusable("all segments are missing"))
        self._salt = zlib.crc32(bytes.fromhex(self._id))
        # Names that a process made and did not live to sync must outlast what is built on them.
        self._fs.sync_folder(self._directory)
        for first, following in zip(firsts, [*firsts[1:], None], strict=True):
            self._segments.append(self._recover(first, following))
        last = self._segments[-1]
        self._descriptor = self._fs.open_to_append(last.path)
        self._fs.truncate(self._descriptor, last.size)
        # A process that was killed may have left records in memory only; they can be read from
        # now on, so they must be on disk from now on.
        self._fs.sync(self._descriptor)

    def _path(self, first: int) -> Path:
        return self._directory / f"seg-{first:020d}.log"

    def _unusable(self, what: str) -> str:
        return (
            f"outbox {self._directory}: {what}, so its records cannot be told from another's: keep"
            " a copy of the folder, remove it, and start again; the points of the results in it"
            " stay open"
        )

    def _read_id(self) -> str:
        path = self._directory / _ID
        # Twice in the file: one damaged byte does not cost the records.
        for match in _ID_LINE.finditer(self._read_all(path)):
            if zlib.crc32(match[1]) == int(match[2], 16):
                return match[1].decode("ascii")
        raise OutboxError(self._unusable(f"{_ID} is damaged"))

    def _read_all(self, path: Path) -> bytes:
        """A whole file; blocks that the disk refuses to give back read as zeros."""
        size = self._fs.size(path)
        try:
            return self._fs.read(path, 0, size)
        except OSError:
            blocks: list[bytes] = []
            for offset in range(0, size, _BLOCK):
                length = min(_BLOCK, size - offset)
                try:
                    blocks.append(self._fs.read(path, offset, length))
                except OSError:
                    blocks.append(bytes(length))
            return b"".join(blocks)

    def _survey(self, data: bytes, first: int) -> _Survey:
        """Find every record, stepping over what cannot be read."""
        view = memoryview(data)
        payloads: list[memoryview | None] = []
        starts = array("Q")
        offset = 0
        while offset < len(data):
            expected = first + len(payloads)
            header = self._header(data, offset)
            if header is None or header.seq != expected:
                if len(data) - offset < _HEADER.size:
                    break  # the beginning of a frame: its write was interrupted
                offset, found = self._next_header(data, offset, expected)
                payloads.extend([None] * (found - expected))
                starts.extend([offset] * (found - expected))
                continue
            start, end = offset + _HEADER.size, offset + _HEADER.size + header.length
            if end > len(data):
                break  # a frame whose write was interrupted
            payload = view[start:end]
            whole = zlib.crc32(payload, self._salt) == header.crc
            payloads.append(payload if whole else None)
            starts.append(offset)
            offset = end
        return _Survey(payloads, starts, offset)

    def _next_header(self, data: bytes, damaged: int, expected: int) -> tuple[int, int]:
        """Where the next readable header is and its number; the end of the data and the number
        after the damaged record where there is none."""
        offset = data.find(_MAGIC, damaged + 1)
        while offset >= 0:
            header = self._header(data, offset)
            # A number that cannot stand here, so soon after the damage, is not of this place.
            most = expected + (offset - damaged) // _HEADER.size
            if header is not None and expected < header.seq <= most:
                return offset, header.seq
            offset = data.find(_MAGIC, offset + 1)
        return len(data), expected + 1

    def _recover(self, first: int, following: int | None) -> _Segment:
        """A segment as it may be read from now on; ``following`` is the first number of the next
        one, None for the last."""
        path = self._path(first)
        data = self._read_all(path)
        payloads, starts, end = self._survey(data, first)
        expected = len(payloads) if following is None else following - first
        if len(payloads) == expected and None not in payloads:
            return _Segment(path, first, starts, end)
        if expected - len(payloads) > MAX_LOST_RECORDS:
            raise OutboxError(
                f"outbox {self._directory}: {expected - len(payloads)} records are missing after"
                f" {path.name}: remove the segment files that do not belong here"
            )
        del payloads[expected:]
        payloads.extend([None] * (expected - len(payloads)))
        quarantine = self._directory / _QUARANTINE
        self._fs.make_folder(quarantine)
        # Named by content, so that a recovery that is itself interrupted can be done again.
        self._write_file(quarantine / f"{path.stem}-{zlib.crc32(data):08x}.log", data)
        frames: list[bytes] = []
        lost: list[int] = []
        for seq, payload in enumerate(payloads, start=first):
            if payload is None:
                lost.append(seq)
                detail = (
                    f"record {seq} of outbox {self._id} cannot be read: the power was cut while it"
                    " was written, or the disk is damaged"
                )
                frames.append(self._frame(seq, wire.RECORD.encode(Gap(detail=detail))))
            else:
                frames.append(self._frame(seq, bytes(payload)))
        self._write_file(path, b"".join(frames))
        self.gaps += tuple(lost)
        segment = _Segment(path, first, array("Q"), 0)
        for frame in frames:
            segment.starts.append(segment.size)
            segment.size += len(frame)
        return segment
