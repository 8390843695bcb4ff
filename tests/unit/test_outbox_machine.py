"""The outbox against a plain list, on a simulated disk where the power may go at any moment.

The disk (`inspection.testing.disk`) keeps apart what processes see and what is on the medium. A
power cut leaves, of what was never synced, any 512-byte sectors and any names, chosen at random; a
killed process leaves all that it wrote visible, and still nothing of it on the medium.
"""

from __future__ import annotations

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
from inspection.testing.disk import PowerCutError, SimulatedDisk

FOLDER = Path("/outbox")
SEGMENT_BYTES = 1500
CUTS = 10_000


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
