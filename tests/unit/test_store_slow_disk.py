"""A disk that is slow, or fails, under a station's commits. SQLite asks the C library to sync, and
the library asked here is one of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Where the file named by SYNC_FAILS exists, syncing fails; otherwise it takes SYNC_MS longer. */
static int ask(const char *name, int descriptor) {
    static int (*real)(int);
    const char *fails = getenv("SYNC_FAILS"), *slow = getenv("SYNC_MS");
    if (fails && access(fails, F_OK) == 0) { errno = EIO; return -1; }
    if (slow) usleep(1000 * atoi(slow));
    real = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(descriptor);
}
int fdatasync(int descriptor) { return ask("fdatasync", descriptor); }
int fsync(int descriptor) { return ask("fsync", descriptor); }
"""

SCRIPT = """
import json, pathlib, sys, time
sys.path[:0] = {paths!r}
from samples import answer
from test_periods import Shift
from test_store_faults import acknowledged, status
from inspection.store.check import check_store
from inspection.messages import Verdict
fails = pathlib.Path({fails!r})
bench = Shift(pathlib.Path({folder!r}))
bench.hello()
took, runs = [], []
for number in range(12):
    run = bench.begin(f"part-{{number}}").run
    if number == 6 and {fail}:
        fails.touch()
        bench.sent += 1
        said = answer(run=run, part="part-6")
        assert acknowledged(bench.results(said, first_seq=bench.sent)) == []
        assert not status(bench).ready
        assert acknowledged(bench.results(said, first_seq=bench.sent)) == []
        fails.unlink()
        bench.sent -= 1
        status(bench)
        bench.nonce = "6" * 32
        welcome, *_ = bench.hello(first_seq=1, next_seq=bench.sent + 2)
        assert welcome.committed == bench.sent, welcome
    begun = time.monotonic()
    assert acknowledged(bench.answer(run, f"part-{{number}}"))
    took.append((time.monotonic() - begun) * 1000)
    runs.append(bench.verdict(run, part=f"part-{{number}}").ok)
counts = bench.reader.counts()
bench.store.close()
wrong = [line for found in check_store(bench.folder / "station.db") for line in found.wrong]
print(json.dumps({{"took": took, "ok": runs, "wrong": wrong, "counts": counts}}))
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shim")
    (folder / "sync.c").write_text(SHIM)
    built = folder / "sync.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(built), str(folder / "sync.c"), "-ldl"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no C compiler here")
    return built


def work(shim: Path, folder: Path, *, slow_ms: int = 0, fail: bool = False) -> dict:
    folder.mkdir()
    fails = folder / "fails"
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path]
    script = SCRIPT.format(paths=paths, folder=str(folder / "s"), fails=str(fails), fail=fail)
    (folder / "s").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "LD_PRELOAD": str(shim),
            "SYNC_FAILS": str(fails),
            **({"SYNC_MS": str(slow_ms)} if slow_ms else {}),
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("slow_ms", [4, 100, 250])
def test_fault_14_a_slow_disk_delays_acknowledgements_and_loses_nothing(
    shim: Path, tmp_path: Path, slow_ms: int
) -> None:
    found = work(shim, tmp_path / "slow", slow_ms=slow_ms)
    assert found["ok"] == [True] * 12
    assert found["wrong"] == []
    # Nothing is acknowledged before its sync has returned.
    assert min(found["took"]) >= slow_ms
    assert sorted(found["took"])[6] < 4 * slow_ms + 500


def test_fault_13_a_commit_whose_sync_fails_is_not_acknowledged_and_done_again_whole(
    shim: Path, tmp_path: Path
) -> None:
    found = work(shim, tmp_path / "fails", fail=True)
    assert found["ok"] == [True] * 12
    assert found["wrong"] == []
    assert found["counts"]["record"] == 12
