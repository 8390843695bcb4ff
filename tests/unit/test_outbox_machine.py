"""The outbox against a plain list, on a simulated disk where the power may go at any moment.

The disk keeps apart what processes see and what is on the medium. A power cut leaves, of what was
never synced, any 512-byte sectors and any names, chosen at random; a killed process leaves all
that it wrote visible, and still nothing of it on the medium.
"""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.outbox import Outbox
from inspection import wire
from inspection.errors import OutboxError, WireError
from inspection.messages import Gap

FOLDER = Path("/outbox")
SEGMENT_BYTES = 1500
SECTOR = 512
CUTS = 4000


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

    def make_folder(self, path: Path) -> None:
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


def is_gap(payload: bytes) -> bool:
    try:
        return isinstance(wire.RECORD.decode(payload), Gap)
    except WireError:
        return False


class Line:
    """An outbox, what it should hold, and every content that was ever readable under a number."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self.model: list[bytes] = []
        """Record n at n - 1: all that `append` returned for or that could be read since."""
        self.committed = 0
        self.offered: list[bytes] = []
        """The group that was being appended when the power went."""
        self.outbox = Outbox(FOLDER, segment_bytes=SEGMENT_BYTES, fs=disk)

    def append(self, group: list[bytes]) -> None:
        self.offered = group
        numbers = self.outbox.append(group)
        assert numbers == range(len(self.model) + 1, len(self.model) + 1 + len(group))
        self.model += group
        self.offered = []

    def forget(self, committed: int) -> None:
        self.committed = max(self.committed, committed)
        self.outbox.forget(committed)
        assert self.outbox.first_seq > committed

    def recover(self) -> None:
        """Opens again, however often the power goes meanwhile, and compares."""
        while True:
            try:
                self.outbox = Outbox(FOLDER, segment_bytes=SEGMENT_BYTES, fs=self.disk)
                break
            except PowerCutError:
                self.disk.lose_power()
        known = len(self.model)
        assert self.outbox.next_seq - 1 >= known, "a promised record is gone"
        surplus = self.outbox.read(known + 1, 10**6, 10**9)
        assert len(surplus) <= len(self.offered)
        for payload, offered in zip(surplus, self.offered, strict=False):
            # Nobody was promised these; that they are whole or known to be lost is enough.
            assert payload == offered or is_gap(payload)
        assert all(number > known for number in self.outbox.gaps)
        self.model += surplus
        self.offered = []
        self.check()

    def check(self) -> None:
        first = self.outbox.oldest_seq
        assert first <= self.committed + 1, "an uncommitted record was dropped"
        assert first <= self.outbox.first_seq <= self.committed + 1
        assert self.outbox.pending == len(self.model) + 1 - self.outbox.first_seq
        assert self.outbox.next_seq == len(self.model) + 1
        assert self.outbox.read(first, 10**6, 10**9) == self.model[first - 1 :]


def payload(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice([0, 1, 30, 300, 700]))


def one_life(seed: int, *, honest: bool = True) -> int:
    """A few shifts of appending and forgetting, each ended by a power cut or a kill."""
    chance = random.Random(seed)
    disk = SimulatedDisk(chance)
    disk.honest = honest
    disk.cut_in = chance.randint(0, 20)
    cuts = 0
    line: Line | None = None
    while cuts < 5:
        try:
            if line is None:
                line = Line(disk)
            disk.cut_in = chance.randint(0, 12)
            while True:
                line.append([payload(chance) for _ in range(chance.randint(1, 6))])
                if chance.random() < 0.3 and len(line.model) > 3:
                    line.forget(chance.randint(line.committed, len(line.model)))
        except PowerCutError:
            cuts += 1
            if chance.random() < 0.7:
                disk.lose_power()
            disk.kill()
            if line is not None:
                disk.cut_in = chance.choice([None, chance.randint(0, 12)])
                line.recover()
    return cuts


def test_no_power_cut_loses_a_promised_record_or_reuses_a_number() -> None:
    seed = int(os.environ.get("OUTBOX_SEED", "0"))
    cuts = 0
    while cuts < CUTS:
        try:
            cuts += one_life(seed)
        except BaseException:
            print(f"OUTBOX_SEED={seed}")
            raise
        seed += 1


def test_the_simulation_notices_an_outbox_that_does_not_sync() -> None:
    def violated(seed: int) -> bool:
        try:
            one_life(seed, honest=False)
        except (AssertionError, OutboxError):
            return True
        return False

    assert sum(violated(seed) for seed in range(50)) > 25


def test_after_a_failed_sync_nothing_is_read_that_the_disk_does_not_hold() -> None:
    # The kernel marks pages clean whose write failed: they can be read until the power goes, and
    # no later sync writes them.
    for seed in range(300):
        chance = random.Random(seed)
        disk = SimulatedDisk(chance)
        line = Line(disk)
        for _ in range(chance.randint(0, 4)):
            line.append([payload(chance)])
        disk.sync_fails = True
        with pytest.raises(OutboxError):
            line.append([payload(chance) for _ in range(3)])
        disk.kill()
        line.recover()
        line.append([payload(chance)])
        disk.lose_power()
        line.recover()


class OutboxMachine(RuleBasedStateMachine):
    """Nothing is lost, nothing is reordered, nothing comes twice."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.disk = SimulatedDisk(random.Random(seed))
        self.line = Line(self.disk)

    @rule(group=st.lists(st.binary(max_size=600), max_size=8))
    def append(self, group: list[bytes]) -> None:
        self.line.append(group)

    @precondition(lambda self: self.line.model)
    @rule(data=st.data(), limit=st.integers(1, 20), max_bytes=st.integers(0, 2000))
    def read(self, data: st.DataObject, limit: int, max_bytes: int) -> None:
        outbox, model = self.line.outbox, self.line.model
        first = data.draw(st.integers(outbox.oldest_seq, outbox.next_seq))
        found = outbox.read(first, limit, max_bytes)
        assert found == model[first - 1 : first - 1 + len(found)]
        assert len(found) <= limit
        assert sum(map(len, found[1:])) <= max_bytes
        assert found or first == outbox.next_seq

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        self.line.forget(data.draw(st.integers(0, len(self.line.model))))

    @rule(beyond=st.integers(1, 5))
    def another_outboxs_answer(self, beyond: int) -> None:
        with pytest.raises(OutboxError):
            self.line.outbox.forget(len(self.line.model) + beyond)

    @rule()
    def a_second_worker(self) -> None:
        with pytest.raises(OutboxError):
            Outbox(FOLDER, fs=self.disk)

    @rule()
    def restart(self) -> None:
        self.line.outbox.close()
        self.line.recover()

    @rule()
    def kill(self) -> None:
        self.disk.kill()
        self.line.recover()

    @rule()
    def power_cut(self) -> None:
        self.disk.lose_power()
        self.line.recover()

    @rule(
        group=st.lists(st.binary(max_size=900), min_size=1, max_size=6),
        call=st.integers(0, 5),
        again=st.none() | st.integers(0, 8),
        power=st.booleans(),
    )
    def interrupted(self, group: list[bytes], call: int, again: int | None, power: bool) -> None:
        """The power goes, or the process is killed, at any call while records are written."""
        self.disk.cut_in = call
        try:
            self.line.append(group)
            self.line.forget(len(self.line.model))
        except PowerCutError:
            if power:
                self.disk.lose_power()
        self.disk.kill()
        self.disk.cut_in = again
        self.line.recover()
        self.disk.cut_in = None

    @rule(payload=st.binary(min_size=1, max_size=900), share=st.floats(0, 1, exclude_max=True))
    def torn_tail(self, payload: bytes, share: float) -> None:
        """A frame whose write did not come to its end leaves nothing behind."""
        outbox = self.line.outbox
        frame = outbox._frame(outbox.next_seq, payload)
        self.disk.kill()
        self.disk.spoil_tail(frame[: int(len(frame) * share)])
        self.line.recover()

    @rule()
    def failed_sync(self) -> None:
        self.disk.sync_fails = True
        with pytest.raises(OutboxError):
            self.line.append([b"not to be found again"])
        assert self.line.outbox.fatal is not None
        self.line.offered = []
        self.disk.kill()
        self.line.recover()

    @invariant()
    def holds_what_it_should(self) -> None:
        if hasattr(self, "line"):
            self.line.check()


OutboxMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, print_blob=True
)
TestOutboxIsAListThatSurvives = OutboxMachine.TestCase
