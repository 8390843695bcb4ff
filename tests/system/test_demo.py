"""The first thing a visitor runs, for real: few views, and models that are known to be wrong."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inspection import messages as m
from inspection.rendering import body
from inspection.store import Reader
from inspection.testing.packages import build_package
from ui.actions import Counter, new_request
from ui.configuration import read_ui

VIEWS = 2
POINTS = sum(len(points) for points in list(body.points().values())[:VIEWS])
KEYS = {
    "parts", "runs_ok", "runs_nok", "runs_hold", "runs_false_alarm", "planned", "ok", "nok",
    "review", "not_inspected", "escapes", "overkill", "lost", "duplicated", "points_per_second",
    "verdict_latency_ms",
}  # fmt: skip

Command = Callable[..., list[str]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A home of its own; the pictures of one test serve the next."""
    home = str(tmp_path_factory.mktemp("home"))
    return {**os.environ, "HOME": home, "XDG_CACHE_HOME": home}


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """``inspection demo`` with a model that says OK to everything, or to nothing."""
    folder = tmp_path_factory.mktemp("models")
    for name, ok_min in (("blind", 0.0), ("strict", 1.0)):
        build_package(folder / name, name=name, channels=3, ok_min=ok_min, nok_min=1.0)

    def words(model: str, *more: str | Path, views: int = VIEWS) -> list[str]:
        asked = ["--parts", "2", "--views", str(views), "--model", folder / model, *more]
        return [sys.executable, "-m", "inspection", "demo", *map(str, asked)]

    return words


def headless(
    words: list[str], report: Path, environment: dict[str, str]
) -> tuple[int, str, dict[str, object]]:
    done = subprocess.run(
        [*words, "--headless", "--json", str(report)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout, json.loads(report.read_text())


def test_a_model_that_stops_everything_passes_with_all_its_false_alarms_counted(
    tmp_path: Path, command: Command, environment: dict[str, str]
) -> None:
    code, text, said = headless(command("strict"), tmp_path / "demo.json", environment)
    assert code == 0, text
    assert set(said) >= KEYS
    assert said["planned"] == 2 * POINTS
    assert said["planned"] == said["ok"] + said["nok"] + said["review"] + said["not_inspected"]
    assert (said["lost"], said["duplicated"], said["escapes"]) == (0, 0, 0)
    assert (said["parts"], said["runs_false_alarm"], said["runs_false_ok"]) == (2, 1, 0)
    assert said["overkill"] == said["good_points"] == 2 * POINTS - said["defective_points"]
    latency = [said["verdict_latency_ms"][key] for key in ("p50", "p99", "p99.9", "max")]
    assert latency == sorted(latency)
    assert 0 < latency[0] < 60_000
    assert said["points_per_second"] > 0
    assert "PASSED" in text
    # What ONNX Runtime and Streamlit would report to their makers they keep in the user's folders.
    home = Path(environment["HOME"])
    assert {path.name for path in home.iterdir()} == {"visual-inspection"}
    # No terminal: whole lines, and none of its control characters.
    assert not set(text) & {"\r", "\033"}


def test_a_model_that_sees_nothing_fails_and_the_body_it_released_is_named(
    tmp_path: Path, command: Command, environment: dict[str, str]
) -> None:
    code, text, said = headless(command("blind"), tmp_path / "demo.json", environment)
    assert code == 1
    assert said["ok"] == said["planned"] == 2 * POINTS
    assert 1 <= said["escapes"] == said["defective_points"] <= 50
    assert (said["runs_ok"], said["runs_false_ok"], said["good_bodies_ok"]) == (2, 1, 1)
    assert (said["overkill"], said["runs_false_alarm"]) == (0, 0)
    assert "FAILED" in text
    assert "BODY-0002 has" in text


# ----------------------------------------------------------------------------------- Ctrl-C


@contextlib.contextmanager
def terminal(words: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The command in a session of its own, as a terminal would have it."""
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def read_until(process: subprocess.Popen[str], wanted: str) -> str:
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if wanted in line:
            return said
    raise AssertionError(f"{wanted!r} was never said:\n{said}")


def ctrl_c(process: subprocess.Popen[str]) -> tuple[int, str]:
    """To the whole session, twice, because people are impatient."""
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.3)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


def left_behind(session: int) -> list[str]:
    """Processes of a session that still run after some seconds: multiprocessing has one of its own
    that ends when its parent has ended."""
    until = time.monotonic() + 10
    while (found := running(session)) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def running(session: int) -> list[str]:
    """Processes of a session (the sixth field of ``stat``)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(state[3]) == session and state[0] != "Z":
                found.append((entry / "cmdline").read_text().replace("\0", " "))
    return found


def a_visitor_decides(said: str, line: Path) -> m.Decided:
    """Log in with what the demonstration has printed, and confirm one of the model's doubts."""
    printed = re.search(r"log in as (\w+) or (\w+), password (\w+)", said)
    assert printed, said
    station = read_ui(line / "ui.toml").file.station
    assert station is not None
    counter = Counter(station.people, None)
    session = counter.login(printed[1], printed[3])
    reader = Reader(line / "station" / "station.db")
    run = reader.runs()[0]
    point = reader.points(run=run.run)[0]
    assert run.verdict_seq is not None
    word = m.Decide(
        token=session.token,
        request_id=new_request(),
        run=run.run,
        point=point.point,
        expected_seq=run.verdict_seq,
        expected_record=point.record,
        action=m.Action.CONFIRM,
    )
    decided = counter.decide(word)
    counter.close()
    return decided


def test_the_pages_stay_with_the_rendered_pictures_until_ctrl_c(
    tmp_path: Path, command: Command, environment: dict[str, str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words = command("strict", "--port", port, "--folder", tmp_path / "kept")
    with terminal(words, environment) as process:
        said = read_until(process, "until Ctrl-C")
        assert "PASSED" in said
        assert f"http://localhost:{port}" in said
        with urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=20) as page:
            assert page.status == 200
        until = time.monotonic() + 30
        pictures = tmp_path / "kept" / "line" / "station" / "evidence"
        while not [path for path in pictures.rglob("*") if path.is_file()]:
            assert time.monotonic() < until, "no picture of a point that is not OK has come"
            time.sleep(0.1)
        assert a_visitor_decides(said, tmp_path / "kept" / "line").run_verdict
        code, rest = ctrl_c(process)
        assert code == 0, rest
        assert "Traceback" not in rest
        assert left_behind(process.pid) == []


@pytest.mark.parametrize("moment", ["Drawing the bodies", "Watch the line at"])
def test_ctrl_c_in_the_middle_leaves_no_process_behind(
    tmp_path: Path, command: Command, environment: dict[str, str], moment: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    drawing = moment.startswith("Drawing")
    if drawing:
        environment = {**environment, "XDG_CACHE_HOME": str(tmp_path)}
    views = 8 if drawing else VIEWS
    words = command("strict", "--port", port, views=views)
    with terminal(words, environment) as process:
        read_until(process, moment)
        time.sleep(1.0 if drawing else 0.0)
        code, rest = ctrl_c(process)
        assert code == 130, rest
        assert "Traceback" not in rest
        assert "there is no summary" in rest
        assert left_behind(process.pid) == []
