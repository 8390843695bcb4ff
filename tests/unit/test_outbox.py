"""The outbox on a real disk: order of writes, damage, failures, and a process that is killed."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edge.outbox import MAX_RECORD_BYTES, LocalFileSystem, Outbox
from inspection import wire
from inspection.errors import OutboxError, WireError
from inspection.messages import Gap

HEADER_BYTES = 24


def record(seq: int, size: int = 20) -> bytes:
    """Content that belongs to one number and no other."""
    return (b"record %d " % seq * (size // 8 + 1))[:size]


def fill(outbox: Outbox, count: int, group: int = 1, size: int = 20) -> None:
    for first in range(1, count + 1, group):
        wanted = range(first, min(first + group, count + 1))
        assert outbox.append([record(seq, size) for seq in wanted]) == wanted


def everything(outbox: Outbox) -> list[bytes]:
    return outbox.read(outbox.oldest_seq, 10**6, 10**9)


def is_gap(payload: bytes) -> bool:
    try:
        return isinstance(wire.RECORD.decode(payload), Gap)
    except WireError:
        return False


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("seg-*.log"))


class Unsynced(LocalFileSystem):
    """For tests that open an outbox thousands of times: syncs cost time and prove nothing there."""

    def sync(self, descriptor: int) -> None: ...

    def sync_data(self, descriptor: int) -> None: ...

    def sync_folder(self, path: Path) -> None: ...


class Recorded(LocalFileSystem):
    """Tells which calls were made, and fails those it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails: dict[str, Callable[[], None]] = {}

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fails:
            self.fails[name]()

    def write(self, descriptor: int, data: bytes) -> int:
        self._call("write")
        return super().write(descriptor, data)

    def sync_data(self, descriptor: int) -> None:
        self._call("sync_data")
        super().sync_data(descriptor)

    def sync_folder(self, path: Path) -> None:
        self._call("sync_folder")
        super().sync_folder(path)

    def open_to_append(self, path: Path) -> int:
        self._call("open_to_append")
        return super().open_to_append(path)

    def remove(self, path: Path) -> None:
        self._call("remove")
        super().remove(path)


def no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def io_error() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


# ---------------------------------------------------------------- what it promises


def test_records_are_numbered_from_one_without_gaps(tmp_path: Path) -> None:
    with Outbox(tmp_path / "outbox") as outbox:
        assert (outbox.first_seq, outbox.next_seq, outbox.pending) == (1, 1, 0)
        assert outbox.append([b"a", b"b"]) == range(1, 3)
        assert outbox.append([]) == range(3, 3)
        assert outbox.append([b""]) == range(3, 4)
        assert everything(outbox) == [b"a", b"b", b""]
        assert (outbox.first_seq, outbox.next_seq, outbox.pending) == (1, 4, 3)
        assert outbox.read(4, 10, 100) == []


def test_everything_is_there_after_a_restart_under_the_same_id(tmp_path: Path) -> None:
    with Outbox(tmp_path, segment_bytes=300) as outbox:
        fill(outbox, 50, group=3)
        name = outbox.outbox_id
    assert len(segments(tmp_path)) > 5
    with Outbox(tmp_path, segment_bytes=300) as outbox:
        assert outbox.outbox_id == name
        assert everything(outbox) == [record(seq) for seq in range(1, 51)]
        assert outbox.append([b"next"]) == range(51, 52)
        assert outbox.gaps == ()


def test_each_new_folder_is_another_outbox(tmp_path: Path) -> None:
    with Outbox(tmp_path / "a") as one, Outbox(tmp_path / "b") as other:
        assert one.outbox_id != other.outbox_id
        assert len(one.outbox_id) == 32
        int(one.outbox_id, 16)


def test_a_group_is_one_write_and_one_sync_and_the_sync_comes_last(tmp_path: Path) -> None:
    disk = Recorded()
    with Outbox(tmp_path, fs=disk) as outbox:
        disk.calls.clear()
        outbox.append([record(seq) for seq in range(1, 65)])
        assert disk.calls == ["write", "sync_data"]


def test_a_new_segment_is_in_its_folder_before_anything_is_in_it(tmp_path: Path) -> None:
    disk = Recorded()
    with Outbox(tmp_path, segment_bytes=100, fs=disk) as outbox:
        outbox.append([record(1, 90)])
        disk.calls.clear()
        outbox.append([record(2, 90)])
        assert disk.calls == ["open_to_append", "sync_folder", "write", "sync_data"]


def test_a_second_worker_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with Outbox(tmp_path) as outbox:
        with pytest.raises(OutboxError, match=str(tmp_path)):
            Outbox(tmp_path)
        outbox.append([b"the first goes on"])
    with Outbox(tmp_path) as outbox:
        assert everything(outbox) == [b"the first goes on"]


def test_a_read_is_limited_in_records_and_in_bytes_but_never_stuck(tmp_path: Path) -> None:
    with Outbox(tmp_path, segment_bytes=200) as outbox:
        fill(outbox, 30, size=50)
        for first in range(1, 31):
            assert outbox.read(first, 7, 10**6) == [
                record(seq, 50) for seq in range(first, min(first + 7, 31))
            ]
        assert len(outbox.read(1, 64, 100)) == 2
        assert len(outbox.read(3, 64, 149)) == 2
        assert outbox.read(5, 64, 1) == [record(5, 50)]
        assert outbox.read(5, 0, 1) == []


def test_asking_for_records_it_does_not_hold_is_an_error(tmp_path: Path) -> None:
    with Outbox(tmp_path, segment_bytes=100) as outbox:
        fill(outbox, 10)
        outbox.forget(10)
        for first in (0, outbox.oldest_seq - 1, 12):
            with pytest.raises(OutboxError, match="holds records"):
                outbox.read(first, 1, 100)
        assert outbox.fatal is None


def test_a_record_beyond_the_limit_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with Outbox(tmp_path) as outbox:
        with pytest.raises(ValueError, match="over"):
            outbox.append([b"small", bytes(MAX_RECORD_BYTES + 1)])
        assert outbox.append([bytes(MAX_RECORD_BYTES)]) == range(1, 2)


# ---------------------------------------------------------------- forgetting


def test_only_segments_that_are_committed_as_a_whole_are_dropped(tmp_path: Path) -> None:
    with Outbox(tmp_path, segment_bytes=100) as outbox:  # two records a segment
        fill(outbox, 9)
        outbox.forget(3)
        assert (outbox.oldest_seq, outbox.first_seq, outbox.pending) == (3, 4, 6)
        assert everything(outbox) == [record(seq) for seq in range(3, 10)]
        outbox.forget(1)
        assert (outbox.first_seq, outbox.pending) == (4, 6), "an older answer changes nothing"
        outbox.forget(4)
        assert (outbox.oldest_seq, outbox.first_seq) == (5, 5)
        outbox.forget(9)
        assert (outbox.oldest_seq, outbox.first_seq, outbox.pending) == (9, 10, 0)


def test_numbers_never_go_back_also_when_everything_is_forgotten(tmp_path: Path) -> None:
    expected = 1
    for _ in range(4):
        with Outbox(tmp_path, segment_bytes=60) as outbox:
            assert outbox.append([b"x" * 40]) == range(expected, expected + 1)
            expected += 1
            outbox.forget(outbox.next_seq - 1)
            assert outbox.pending == 0
    assert len(segments(tmp_path)) == 1


def test_a_committed_number_never_written_is_another_outboxs_answer(tmp_path: Path) -> None:
    with Outbox(tmp_path) as outbox:
        fill(outbox, 3)
        with pytest.raises(OutboxError, match="another outbox"):
            outbox.forget(4)
        assert outbox.append([b"goes on"]) == range(4, 5)
        assert everything(outbox) == [record(1), record(2), record(3), b"goes on"]


def test_what_was_committed_may_come_back_only_if_it_shared_a_segment(tmp_path: Path) -> None:
    with Outbox(tmp_path, segment_bytes=100) as outbox:
        fill(outbox, 9)
        outbox.forget(7)
    with Outbox(tmp_path, segment_bytes=100) as outbox:
        assert (outbox.oldest_seq, outbox.first_seq, outbox.pending) == (7, 7, 3)


# ---------------------------------------------------------------- damage


def copy_of(folder: Path, to: Path, name: str, data: bytes) -> Path:
    """The outbox in ``folder`` with one file replaced."""
    to.mkdir(parents=True)
    for path in folder.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(data if path.name == name else path.read_bytes())
    return to


@pytest.mark.parametrize("segment_bytes", [8 << 20, 250])
def test_an_outbox_cut_at_any_byte_is_an_exact_prefix_and_goes_on(
    tmp_path: Path, segment_bytes: int
) -> None:
    original = tmp_path / "original"
    with Outbox(original, segment_bytes=segment_bytes) as outbox:
        for seq in range(1, 14):
            outbox.append([record(seq, size=seq * 3 % 17)])
    last = segments(original)[-1]
    before = int(last.stem.removeprefix("seg-")) - 1
    data = last.read_bytes()
    ends = [0]
    for seq in range(before + 1, 14):
        ends.append(ends[-1] + HEADER_BYTES + seq * 3 % 17)
    assert ends[-1] == len(data)
    for length in range(len(data) + 1):
        folder = copy_of(original, tmp_path / "cut" / str(length), last.name, data[:length])
        whole = before + sum(end <= length for end in ends[1:])
        with Outbox(folder, segment_bytes=segment_bytes, fs=Unsynced()) as outbox:
            kept = [record(seq, size=seq * 3 % 17) for seq in range(1, whole + 1)]
            assert everything(outbox) == kept
            assert outbox.gaps == ()
            assert outbox.append([b"after"]) == range(whole + 1, whole + 2)
        with Outbox(folder, segment_bytes=segment_bytes, fs=Unsynced()) as outbox:
            assert everything(outbox) == [*kept, b"after"]
        shutil.rmtree(folder)


def test_one_flipped_bit_anywhere_costs_one_record_and_leaves_a_gap(tmp_path: Path) -> None:
    original = tmp_path / "original"
    sizes = [3, 0, 11, 7, 1]
    payloads = [record(seq, size) for seq, size in enumerate(sizes, start=1)]
    with Outbox(original) as outbox:
        for payload in payloads:
            outbox.append([payload])
    (segment,) = segments(original)
    data = segment.read_bytes()
    ends = [sum(sizes[: n + 1]) + HEADER_BYTES * (n + 1) for n in range(len(sizes))]
    for bit in range(0, len(data) * 8, 3):  # each bit of some bytes, some bits of each byte
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        lost = sum(end <= bit // 8 for end in ends)
        folder = copy_of(original, tmp_path / "flipped" / str(bit), segment.name, bytes(changed))
        with Outbox(folder, fs=Unsynced()) as outbox:
            found = everything(outbox)
            assert outbox.gaps == (lost + 1,)
            assert is_gap(found.pop(lost))
            assert found == payloads[:lost] + payloads[lost + 1 :]
            assert outbox.append([b"after"]) == range(6, 7)
        (kept,) = (folder / "quarantine").iterdir()
        assert kept.read_bytes() == changed
        with Outbox(folder, fs=Unsynced()) as outbox:
            assert outbox.gaps == (), "a gap is written once"
            assert len(everything(outbox)) == 6
        shutil.rmtree(folder)


def test_damage_in_an_older_segment_costs_only_what_it_hit(tmp_path: Path) -> None:
    chance = random.Random(7)
    original = tmp_path / "original"
    with Outbox(original, segment_bytes=1000) as outbox:
        fill(outbox, 200, group=4, size=60)
    for attempt in range(60):
        segment = chance.choice(segments(original)[:-1])
        data = bytearray(segment.read_bytes())
        start = chance.randrange(len(data))
        stop = min(len(data), start + chance.choice([1, 8, 100, 512]))
        data[start:stop] = bytes(stop - start) if attempt % 2 else chance.randbytes(stop - start)
        folder = copy_of(original, tmp_path / str(attempt), segment.name, bytes(data))
        first = int(segment.stem.removeprefix("seg-"))
        hit = range(first + start // 84, first + (stop - 1) // 84 + 1)
        with Outbox(folder, segment_bytes=1000, fs=Unsynced()) as outbox:
            found = everything(outbox)
            assert len(found) == 200
            for seq, payload in enumerate(found, start=1):
                if payload != record(seq, 60):
                    assert seq in hit
                    assert is_gap(payload)
                    assert seq in outbox.gaps


def test_a_missing_or_shortened_older_segment_is_told_record_by_record(tmp_path: Path) -> None:
    with Outbox(tmp_path, segment_bytes=100) as outbox:  # two records a segment
        fill(outbox, 9)
    files = segments(tmp_path)
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes()[:-1])
    with Outbox(tmp_path, segment_bytes=100) as outbox:
        assert outbox.gaps == (3, 4, 6)
        found = everything(outbox)
        assert [seq for seq, payload in enumerate(found, 1) if is_gap(payload)] == [3, 4, 6]
        assert [payload for payload in found if not is_gap(payload)] == [
            record(seq) for seq in (1, 2, 5, 7, 8, 9)
        ]


def test_a_stray_segment_far_away_is_refused_by_name(tmp_path: Path) -> None:
    with Outbox(tmp_path) as outbox:
        fill(outbox, 3)
    (tmp_path / f"seg-{10**15:020d}.log").touch()
    with pytest.raises(OutboxError, match=r"seg-0{19}1\.log"):
        Outbox(tmp_path)


def test_frames_inside_a_damaged_record_do_not_come_to_life(tmp_path: Path) -> None:
    with Outbox(tmp_path / "other") as other:
        fill(other, 5)
    (foreign,) = segments(tmp_path / "other")
    folder = tmp_path / "outbox"
    with Outbox(folder) as outbox:
        fill(outbox, 3)
        own = segments(folder)[0].read_bytes()
        outbox.append([foreign.read_bytes() + own + outbox._frame(500, b"forged")])
        outbox.append([b"last"])
    (segment,) = segments(folder)
    data = bytearray(segment.read_bytes())
    data[len(own) + 5] ^= 0xFF  # the length of the record with frames inside
    segment.write_bytes(data)
    with Outbox(folder) as outbox:
        found = everything(outbox)
        assert is_gap(found[3])
        assert found[:3] + found[4:] == [record(1), record(2), record(3), b"last"]


def test_an_interrupted_recovery_is_done_again_from_the_beginning(tmp_path: Path) -> None:
    with Outbox(tmp_path) as outbox:
        fill(outbox, 3)
    (segment,) = segments(tmp_path)
    damaged = bytearray(segment.read_bytes())
    damaged[-1] ^= 1
    segment.write_bytes(damaged)
    kept = tmp_path / "quarantine" / f"{segment.stem}-{zlib.crc32(damaged):08x}.log"
    kept.parent.mkdir()
    kept.with_name(f"{kept.name}.unfinished").write_bytes(b"half a copy")
    segment.with_name(f"{segment.name}.unfinished").write_bytes(b"half a segment")
    with Outbox(tmp_path) as outbox:
        assert outbox.gaps == (3,)
        assert everything(outbox)[:2] == [record(1), record(2)]
    assert kept.read_bytes() == damaged
    assert not list(tmp_path.rglob("*.unfinished"))


def test_a_block_the_disk_refuses_to_read_costs_only_its_records(tmp_path: Path) -> None:
    class BadBlock(Unsynced):
        def read(self, path: Path, offset: int, length: int) -> bytes:
            if path.name.startswith("seg-") and offset < 8192 and offset + length > 4096:
                io_error()
            return super().read(path, offset, length)

    with Outbox(tmp_path) as outbox:
        fill(outbox, 100, group=10, size=100)
    disk = BadBlock()
    outbox = Outbox(tmp_path, fs=disk)
    lost = set(outbox.gaps)
    outbox.close()
    assert lost == set(range(4096 // 124 + 1, 8191 // 124 + 2))
    with Outbox(tmp_path) as outbox:
        for seq, payload in enumerate(everything(outbox), start=1):
            assert is_gap(payload) if seq in lost else payload == record(seq, 100)


def test_a_record_that_rots_while_it_waits_is_never_sent(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    fill(outbox, 3)
    (segment,) = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    assert outbox.read(1, 2, 1000) == [record(1), record(2)]
    with pytest.raises(OutboxError, match="record 3 has changed on disk"):
        outbox.read(1, 3, 1000)
    assert outbox.fatal is not None
    outbox.close()
    with Outbox(tmp_path) as outbox:
        assert outbox.gaps == (3,)


def test_any_flipped_bit_of_the_id_leaves_the_id(tmp_path: Path) -> None:
    with Outbox(tmp_path) as outbox:
        fill(outbox, 2)
        name = outbox.outbox_id
    path = tmp_path / "outbox-id"
    data = path.read_bytes()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with Outbox(tmp_path, fs=Unsynced()) as outbox:
            assert outbox.outbox_id == name


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "outbox-id").unlink(), "outbox-id is missing"),
        (lambda folder: (folder / "outbox-id").write_bytes(b"junk"), "outbox-id is damaged"),
        (lambda folder: segments(folder)[0].unlink(), "all segments are missing"),
    ],
)
def test_an_outbox_that_has_lost_its_identity_or_its_place_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    with Outbox(tmp_path) as outbox:
        fill(outbox, 2)
    spoil(tmp_path)
    with pytest.raises(OutboxError, match=says) as caught:
        Outbox(tmp_path)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(OutboxError, match=says):
        Outbox(tmp_path)


def test_a_folder_whose_making_was_interrupted_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "seg-00000000000000000001.log").touch()
    (tmp_path / "outbox-id.unfinished").write_bytes(b"half an i")
    with Outbox(tmp_path) as outbox:
        assert outbox.append([b"a"]) == range(1, 2)
    assert not list(tmp_path.glob("*.unfinished"))


def test_a_folder_that_cannot_be_made_is_one_readable_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match="file"):
        Outbox(tmp_path / "file" / "outbox")


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("call", "failure"),
    [("write", no_space), ("write", io_error), ("sync_data", io_error), ("sync_data", no_space)],
)
def test_a_failed_write_or_sync_is_final_and_never_tried_again(
    tmp_path: Path, call: str, failure: Callable[[], None]
) -> None:
    disk = Recorded()
    outbox = Outbox(tmp_path, fs=disk)
    fill(outbox, 2)
    disk.calls.clear()
    disk.fails[call] = failure
    with pytest.raises(OutboxError, match="could not make results durable"):
        outbox.append([b"lost"])
    del disk.fails[call]
    for use in (
        lambda: outbox.append([b"again"]),
        lambda: outbox.read(1, 1, 1),
        lambda: outbox.forget(1),
    ):
        with pytest.raises(OutboxError, match="could not make results durable"):
            use()
    assert disk.calls.count(call) == 1
    outbox.close()
    with Outbox(tmp_path) as outbox:
        assert everything(outbox) == [record(1), record(2)]
        assert outbox.append([b"other content"]) == range(3, 4)


@pytest.mark.parametrize("taken", [0, 1, HEADER_BYTES, HEADER_BYTES + 3])
def test_a_short_write_is_final_and_leaves_a_whole_outbox(tmp_path: Path, taken: int) -> None:
    class Short(Recorded):
        short = False

        def write(self, descriptor: int, data: bytes) -> int:
            return super().write(descriptor, data[:taken] if self.short else data)

    disk = Short()
    outbox = Outbox(tmp_path, fs=disk)
    fill(outbox, 2)
    disk.short = True
    with pytest.raises(OutboxError, match="short write"):
        outbox.append([b"lost"])
    assert outbox.fatal is not None
    outbox.close()
    with Outbox(tmp_path) as outbox:
        assert everything(outbox) == [record(1), record(2)]


@pytest.mark.parametrize("call", ["open_to_append", "sync_folder"])
def test_a_failure_to_begin_a_segment_is_final(tmp_path: Path, call: str) -> None:
    disk = Recorded()
    outbox = Outbox(tmp_path, segment_bytes=60, fs=disk)
    fill(outbox, 1, size=40)
    disk.fails[call] = io_error
    with pytest.raises(OutboxError, match="could not begin a new segment"):
        outbox.append([b"lost"])
    assert outbox.fatal is not None
    outbox.close()
    with Outbox(tmp_path) as outbox:
        assert everything(outbox) == [record(1, 40)]
        assert outbox.append([b"next"]) == range(2, 3)


@pytest.mark.parametrize("call", ["remove", "sync_folder"])
def test_a_failure_to_drop_a_segment_is_final_and_loses_nothing(tmp_path: Path, call: str) -> None:
    disk = Recorded()
    outbox = Outbox(tmp_path, segment_bytes=100, fs=disk)
    fill(outbox, 9)
    disk.fails[call] = io_error
    with pytest.raises(OutboxError, match="could not drop"):
        outbox.forget(4)
    outbox.close()
    with Outbox(tmp_path) as outbox:
        assert outbox.read(5, 100, 10**6) == [record(seq) for seq in range(5, 10)]


def test_a_closed_outbox_accepts_nothing(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.close()
    outbox.close()
    with pytest.raises(OutboxError, match="closed"):
        outbox.append([b"x"])


# ---------------------------------------------------------------- real processes

WRITER = """
import random, resource, signal, sys
from pathlib import Path
from edge.outbox import Outbox
from inspection.errors import OutboxError

folder, seed, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
chance = random.Random(seed)
outbox = Outbox(folder, segment_bytes=20_000)
while True:
    first = outbox.next_seq
    group = range(first, first + chance.randint(1, 9))
    try:
        outbox.append([b"record %d " % seq * (seq % 40 + 1) for seq in group])
    except OutboxError as error:
        print("stopped", flush=True)
        sys.exit(str(error))
    print(outbox.next_seq - 1, flush=True)
    if chance.random() < 0.05:
        outbox.forget(max(outbox.next_seq - 300, outbox.oldest_seq - 1))
"""


def writer(folder: Path, seed: int, limit: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(seed), str(limit)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    )


def check_written(outbox: Outbox, promised: int) -> None:
    assert outbox.next_seq > promised
    assert outbox.gaps == ()
    for seq, payload in enumerate(everything(outbox), start=outbox.oldest_seq):
        assert payload == b"record %d " % seq * (seq % 40 + 1)


def test_a_process_killed_at_any_time_has_kept_all_it_promised(tmp_path: Path) -> None:
    seed = int(os.environ.get("OUTBOX_SEED", str(random.randrange(10**6))))
    print(f"OUTBOX_SEED={seed}")
    chance = random.Random(seed)
    promised = 0
    for round_ in range(12):
        process = writer(tmp_path, seed + round_)
        assert process.stdout is not None
        assert process.stderr is not None
        promised = int(process.stdout.readline())
        time.sleep(chance.uniform(0, 0.15))
        process.kill()
        answers = process.stdout.read().splitlines()
        if answers:
            promised = int(answers[-1])
        process.wait()
        process.stdout.close()
        process.stderr.close()
        with Outbox(tmp_path, segment_bytes=20_000) as outbox:
            check_written(outbox, promised)
    assert promised > 100


def test_a_disk_that_is_full_stops_the_worker_with_one_line_and_loses_nothing(
    tmp_path: Path,
) -> None:
    process = writer(tmp_path, seed=1, limit=10_001)
    answer, complaint = process.communicate(timeout=60)
    *numbers, last = answer.splitlines()
    assert last == "stopped"
    assert process.returncode == 1
    assert complaint.count("\n") == 1
    assert "check the disk" in complaint
    with Outbox(tmp_path) as outbox:
        check_written(outbox, int(numbers[-1]))
        assert outbox.next_seq == int(numbers[-1]) + 1


def modules_after(imports: Sequence[str]) -> set[str]:
    code = f"import sys, {', '.join(imports)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_an_edge_needs_neither_torch_nor_streamlit_nor_a_database() -> None:
    loaded = modules_after(["edge.outbox", "edge.evidence_spool", "edge.cameras.folder"])
    assert not loaded & {"torch", "streamlit", "sqlalchemy", "onnx"}
    assert "cv2" not in modules_after(["edge.outbox", "edge.evidence_spool"])
