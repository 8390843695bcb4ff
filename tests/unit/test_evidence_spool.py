"""Pictures that wait for the station."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge.evidence_spool import EvidenceSpool
from inspection.errors import OutboxError


def names(spool: EvidenceSpool) -> list[str]:
    return [kept.sha256 for kept in spool.pending()]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_picture_is_kept_under_the_hash_of_its_bytes(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path / "edge" / "evidence")
    name = spool.put(b"picture", "png")
    assert name == sha256(b"picture")
    assert spool.get(name) == b"picture"
    (kept,) = spool.pending()
    assert kept == (name, "png", 7, False)
    assert (tmp_path / "edge" / "evidence" / f"{name}.png").read_bytes() == b"picture"


def test_pictures_wait_in_the_order_they_were_put_also_after_a_restart(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path)
    put = [spool.put(b"picture %d" % n, "jpeg" if n % 2 else "png") for n in range(100)]
    assert names(spool) == put
    spool.forget(put[3])
    put.pop(3)
    again = EvidenceSpool(tmp_path)
    assert names(again) == put
    assert [kept.media_type for kept in again.pending()][:4] == ["png", "jpeg", "png", "png"]
    later = again.put(b"later", "png")
    assert names(EvidenceSpool(tmp_path)) == [*put, later]


def test_a_clock_that_is_set_back_does_not_change_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([5_000_000_000, 3_000_000_000, 3_000_000_000, 1_000_000_000])
    monkeypatch.setattr("time.time_ns", lambda: next(times))
    put = []
    for n in range(4):
        put.append(EvidenceSpool(tmp_path).put(b"%d" % n, "png"))
    assert names(EvidenceSpool(tmp_path)) == put


def test_the_same_picture_twice_is_kept_once(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path)
    assert spool.put(b"same", "png") == spool.put(b"same", "png")
    assert len(names(spool)) == 1
    assert EvidenceSpool(tmp_path).put(b"same", "png") == names(spool)[0]
    assert len(list(tmp_path.iterdir())) == 1


def test_file_then_name_are_on_disk_before_put_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = EvidenceSpool(tmp_path)
    steps: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        steps.append("sync folder" if path == tmp_path.resolve() else "sync file")
        real_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    spool.put(b"picture", "png")
    assert steps == ["sync file", "rename", "sync folder"]


def test_what_was_never_finished_is_swept_and_what_is_not_ours_is_left(tmp_path: Path) -> None:
    (tmp_path / f"{'a' * 64}.png.unfinished").write_bytes(b"half")
    (tmp_path / "readme.txt").write_text("not ours")
    spool = EvidenceSpool(tmp_path)
    assert names(spool) == []
    assert [path.name for path in tmp_path.iterdir()] == ["readme.txt"]


def test_a_damaged_picture_is_moved_aside_and_never_sent(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path)
    good, bad, gone = (spool.put(data, "png") for data in (b"good", b"bad", b"gone"))
    (tmp_path / f"{bad}.png").write_bytes(b"bax")
    (tmp_path / f"{gone}.png").unlink()
    assert spool.get(bad) is None
    assert spool.get(gone) is None
    assert spool.get(good) == b"good"
    assert spool.damaged == 2
    assert names(spool) == [good]
    assert (tmp_path / "damaged" / f"{bad}.png").read_bytes() == b"bax"
    assert names(EvidenceSpool(tmp_path)) == [good]


def test_a_forgotten_picture_is_gone_and_forgetting_twice_is_fine(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path)
    name = spool.put(b"picture", "png")
    spool.forget(name)
    spool.forget(name)
    spool.forget("f" * 64)
    assert spool.get(name) is None
    assert names(spool) == []
    assert list(tmp_path.iterdir()) == []


def test_over_the_budget_the_oldest_go_first_and_are_counted(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path, max_bytes=100)
    put = [spool.put(bytes([n]) * 40, "png") for n in range(5)]
    assert names(spool) == put[3:]
    assert spool.dropped == {"other": 3}
    with pytest.raises(OutboxError, match="no room"):
        spool.put(b"x" * 150, "png")
    assert names(spool) == put[3:], "nothing goes for what has no room in any case"
    small = EvidenceSpool(tmp_path, max_bytes=100).put(b"small", "png")
    assert names(EvidenceSpool(tmp_path, max_bytes=100)) == [*put[3:], small]


def test_pictures_of_ok_points_go_first_whatever_their_age(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path, max_bytes=200)
    bad = [spool.put(b"bad %d" % n + b"." * 35, "png") for n in range(2)]
    good = [spool.put(b"ok %d" % n + b"." * 36, "png", ok=True) for n in range(3)]
    assert names(spool) == [*bad, *good], "what is not OK is sent first, too"
    assert names(EvidenceSpool(tmp_path)) == [*bad, *good], "and after a restart"
    bad.append(spool.put(b"bad 2" + b"." * 35, "png"))
    assert names(spool) == [*bad, *good[1:]]
    good.append(spool.put(b"ok 3" + b"." * 36, "png", ok=True))
    assert names(spool) == [*bad, *good[2:]]
    bad += [spool.put(b"bad %d" % n + b"." * 35, "png") for n in (3, 4)]
    assert names(spool) == bad
    assert spool.dropped == {"ok": 4}
    with pytest.raises(OutboxError, match="no room"):
        spool.put(b"ok 4" + b"." * 36, "png", ok=True)
    assert names(spool) == bad, "nothing goes for a picture of an OK point"
    spool.put(b"bad 5" + b"." * 35, "png")
    assert spool.dropped == {"ok": 4, "other": 1}


def test_a_picture_of_an_ok_point_and_of_another_is_one_of_another(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path)
    name = spool.put(b"the same pixels", "png", ok=True)
    assert spool.put(b"the same pixels", "png") == name
    assert spool.put(b"the same pixels", "png", ok=True) == name
    for opened in (spool, EvidenceSpool(tmp_path)):
        assert [(kept.sha256, kept.ok) for kept in opened.pending()] == [(name, False)]
        assert opened.get(name) == b"the same pixels"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_last_of_the_disk_is_left_to_results_whoever_else_fills_it(tmp_path: Path) -> None:
    room = [10_000]
    taken: list[int] = []

    def free(folder: Path) -> int:
        return room[0] - sum(path.stat().st_size for path in folder.iterdir()) - sum(taken)

    spool = EvidenceSpool(tmp_path, reserve_bytes=1000, free=free)
    bad = [spool.put(bytes([n]) * 1000, "png") for n in range(4)]
    good = [spool.put(bytes([n]) * 1001, "png", ok=True) for n in range(4)]
    assert names(spool) == [*bad, *good]
    taken.append(2990)  # a log file, an update
    assert spool.make_room()
    assert names(spool) == [*bad, *good[-2:]]
    taken.append(4500)
    assert spool.make_room()
    assert names(spool) == bad[-1:]
    assert spool.dropped == {"ok": 4, "other": 3}
    taken.append(5000)
    assert not spool.make_room(), "pictures cannot help any more"
    assert names(spool) == []


DISK_BYTES = 8 * 2**20


def test_a_full_disk_takes_every_result_and_loses_ok_pictures_first(tmp_path: Path) -> None:
    """A real file system of 8 MiB, mounted for one process of its own."""
    script = tmp_path / "fill.py"
    script.write_text(FILL, "utf-8")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size={DISK_BYTES} tmpfs {disk} || exit 77; exec {sys.executable}"
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} {script} {disk}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode in (1, 77) and "Traceback" not in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["results", "2000", "bad", "30", "dropped", "ok", "only"]


FILL = """
import os, sys
from pathlib import Path
from edge.evidence_spool import EvidenceSpool
from edge.outbox import Outbox
from inspection.errors import OutboxError

disk = Path(sys.argv[1])
spool = EvidenceSpool(disk / "evidence", reserve_bytes=3 * 2**20)
outbox = Outbox(disk / "outbox")
bad, results = [], 0
for turn in range(2000):
    spool.put(os.urandom(60_000), "png", ok=True)
    if turn % 70 == 0 or turn == 1999:
        bad.append(spool.put(os.urandom(60_000), "png"))
    outbox.append([os.urandom(1000)])
    results += 1
assert len(outbox.read(1, 64, 2**20)) == 64
outbox.close()
assert Outbox(disk / "outbox").next_seq == results + 1
assert spool.dropped["ok"] > 1000, spool.dropped
assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > 2**19
there = {kept.sha256 for kept in spool.pending()}
print("results", results, "bad", sum(name in there for name in bad))
print("dropped", *(kind for kind in spool.dropped), "only")
"""


def test_pictures_may_come_and_go_while_the_waiting_ones_are_walked(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path)
    put = [spool.put(b"%d" % n, "png") for n in range(5)]
    seen = []
    for kept in spool.pending():
        seen.append(kept.sha256)
        spool.forget(kept.sha256)
        spool.put(b"new %d" % len(seen), "png")
    assert seen == put
    assert len(names(spool)) == 5


def test_a_disk_that_takes_nothing_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = EvidenceSpool(tmp_path)
    before = spool.put(b"before", "png")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutboxError, match="No space left"):
            spool.put(b"picture", "png")
    assert names(spool) == [before]
    assert [path.name for path in tmp_path.iterdir()] == [f"{before}.png"]
    assert spool.get(spool.put(b"picture", "png")) == b"picture"


def test_a_folder_that_cannot_be_used_is_one_readable_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match="check the disk"):
        EvidenceSpool(tmp_path / "file" / "evidence")


@pytest.mark.parametrize("media_type", ["", "image/png", "../png", "p.ng", "png\n", ".png"])
def test_a_media_type_that_could_be_a_path_is_refused(tmp_path: Path, media_type: str) -> None:
    with pytest.raises(ValueError, match="identifier"):
        EvidenceSpool(tmp_path).put(b"x", media_type)
    assert list(tmp_path.iterdir()) == []


def test_any_order_of_putting_forgetting_and_restarting_keeps_what_was_not_forgotten(
    tmp_path: Path,
) -> None:
    chance = random.Random(3)
    spool, model = EvidenceSpool(tmp_path), list[str]()
    for n in range(300):
        match chance.choice(["put", "put", "forget", "restart"]):
            case "put":
                name = spool.put(b"%d" % chance.randrange(n + 1), "png")
                if name not in model:
                    model.append(name)
            case "forget" if model:
                spool.forget(model.pop(chance.randrange(len(model))))
            case "restart":
                spool = EvidenceSpool(tmp_path)
        assert names(spool) == model
    assert all(spool.get(name) is not None for name in model)


def test_several_threads_may_put_the_same_pictures_while_another_sends(tmp_path: Path) -> None:
    spool = EvidenceSpool(tmp_path)
    pictures = [b"picture %d" % n for n in range(30)]
    sent: set[str] = set()

    def send() -> None:
        while len(sent) < len(pictures):
            for kept in spool.pending():
                if spool.get(kept.sha256) is not None:
                    sent.add(kept.sha256)

    with ThreadPoolExecutor(4) as threads:
        sending = threads.submit(send)
        for putting in [threads.submit(put_all, spool, pictures, n % 2 == 0) for n in range(3)]:
            putting.result()
        sending.result()
    assert sent == {sha256(picture) for picture in pictures}
    assert spool.damaged == 0
    assert sorted(names(EvidenceSpool(tmp_path))) == sorted(sent)


def put_all(spool: EvidenceSpool, pictures: list[bytes], ok: bool) -> None:
    for picture in pictures:
        spool.put(picture, "png", ok=ok)
