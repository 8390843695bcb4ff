"""The outbox's own thread: the worker goes on, and nothing is read that is not yet durable."""

from __future__ import annotations

import select
import threading
from pathlib import Path

import pytest

from edge.outbox import LocalFileSystem, Outbox
from edge.outbox_thread import MOST_WAITING, OutboxThread
from inspection.errors import OutboxError
from inspection.messages import OrderRef

READ = (100, 2**20)


class SlowDisk(LocalFileSystem):
    """Its sync waits for `let_go`, and fails once told to."""

    def __init__(self) -> None:
        self.let_go = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.syncs = 0
        self.fails = False

    def sync_data(self, descriptor: int) -> None:
        self.begun.release()
        assert self.let_go.acquire(timeout=60)
        self.syncs += 1
        if self.fails:
            raise OSError(5, "Input/output error")
        super().sync_data(descriptor)


def ref(number: int) -> OrderRef:
    return OrderRef(run="run", view=f"v{number}", attempt=1)


def test_a_record_can_be_read_only_once_the_disk_has_it(tmp_path: Path) -> None:
    disk = SlowDisk()
    with Outbox(tmp_path, fs=disk) as outbox, OutboxThread(outbox) as thread:
        thread.put(ref(1), b"one")
        assert disk.begun.acquire(timeout=60)
        assert (outbox.next_seq, outbox.pending, outbox.read(1, *READ)) == (1, 0, [])
        assert thread.durable() == []
        disk.let_go.release()
        thread.settle()
        assert outbox.read(1, *READ) == [b"one"]
        assert [done for done, _ in thread.durable()] == [ref(1)]
        assert thread.durable() == []


def test_whatever_waits_while_the_disk_works_shares_the_next_sync(tmp_path: Path) -> None:
    disk = SlowDisk()
    with Outbox(tmp_path, fs=disk) as outbox, OutboxThread(outbox) as thread:
        thread.put(ref(0), b"0")
        assert disk.begun.acquire(timeout=60)
        for number in range(1, 21):
            thread.put(ref(number), b"%d" % number)
        disk.let_go.release(2)
        thread.settle()
        assert disk.syncs == 2
        assert outbox.read(1, *READ) == [b"%d" % number for number in range(21)]


def test_a_failed_sync_reaches_the_worker_and_nothing_of_its_group_is_kept(tmp_path: Path) -> None:
    disk = SlowDisk()
    with Outbox(tmp_path, fs=disk) as outbox, OutboxThread(outbox) as thread:
        thread.put(ref(1), b"kept")
        disk.let_go.release()
        thread.settle()
        thread.durable()
        disk.fails = True
        thread.put(ref(2), b"lost")
        disk.let_go.release()
        assert select.select([thread], [], [], 60)[0], "the worker's poll must wake"
        with pytest.raises(OutboxError, match="Input/output error"):
            thread.durable()
        with pytest.raises(OutboxError):
            thread.put(ref(3), b"never")
        with pytest.raises(OutboxError):
            thread.settle()
        with pytest.raises(OutboxError):
            outbox.read(1, *READ)
    with Outbox(tmp_path) as again:
        assert again.read(1, *READ) == [b"kept"]


def test_a_disk_that_does_not_keep_up_makes_the_worker_wait(tmp_path: Path) -> None:
    disk = SlowDisk()
    with Outbox(tmp_path, fs=disk) as outbox, OutboxThread(outbox) as thread:
        thread.put(ref(0), b"x")
        assert disk.begun.acquire(timeout=60)  # alone in its group, whatever comes next
        put = threading.Semaphore(0)

        def work() -> None:
            for number in range(1, MOST_WAITING + 2):
                thread.put(ref(number), b"x")
                put.release()

        worker = threading.Thread(target=work)
        worker.start()
        for _ in range(MOST_WAITING):
            assert put.acquire(timeout=60)
        assert not put.acquire(timeout=0.2)
        disk.let_go.release(10)
        assert put.acquire(timeout=60)
        worker.join(60)
        thread.settle()
        assert outbox.next_seq == MOST_WAITING + 3


def test_closing_finishes_what_was_handed_in(tmp_path: Path) -> None:
    with Outbox(tmp_path) as outbox:
        thread = OutboxThread(outbox)
        for number in range(50):
            thread.put(ref(number), b"%d" % number)
        thread.close()
        thread.close()
        assert outbox.next_seq == 51


def test_reading_and_forgetting_go_on_while_records_are_written(tmp_path: Path) -> None:
    """Small segments, so that they begin and go while another thread looks."""
    total = 400
    with Outbox(tmp_path, segment_bytes=300) as outbox, OutboxThread(outbox) as thread:
        worker = threading.Thread(
            target=lambda: [thread.put(ref(n), b"%06d" % n) for n in range(1, total + 1)]
        )
        worker.start()
        first, seen = 1, []
        while len(seen) < total:
            assert select.select([thread], [], [], 60)[0]
            thread.durable()
            records = outbox.read(first, 7, 2**20)
            while records:
                seen += records
                first += len(records)
                outbox.forget(first - 1)
                records = outbox.read(first, 7, 2**20)
        worker.join(60)
        assert seen == [b"%06d" % n for n in range(1, total + 1)]
