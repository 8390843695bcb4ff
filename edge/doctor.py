"""What an edge needs, looked at piece by piece: each finding says what to do.

Nothing is sent to the station and nothing is written into the worker's outbox. The cameras are
opened and take pictures, so that the worker has to be stopped for that part.
"""

from __future__ import annotations

import ctypes
import enum
import fcntl
import os
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zmq
from zmq.utils.monitor import parse_monitor_message

from edge.cameras import Shot, open_camera
from edge.config import CameraFile, EdgeConfig
from inspection import imaging, runtimes
from inspection.curve import connect_with
from inspection.errors import CameraError, ConfigurationError, ImageError, PackageError
from inspection.keys import ClientKeys, fingerprint
from inspection.messages import Region, Verdict
from inspection.policy import judge
from inspection.runtimes import Model
from inspection.trust import open_trusted

GIB = 1 << 30
DISK_LEAST, DISK_LITTLE = GIB, 5 * GIB
SYNC_SLOW_MS = 30.0
"""A disk that takes longer to promise a record holds up the verdicts."""
BLACK_MEAN, WHITE_MEAN = 8.0, 247.0
PEER_S = 3.0
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


class Level(enum.StrEnum):
    """How bad a finding is; only `WRONG` keeps an edge from working."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


class Finding(NamedTuple):
    """One thing that was looked at."""

    level: Level
    subject: str
    text: str
    remedy: str = ""
    """What to do; empty where all is well."""


def examine(
    config: EdgeConfig, *, shots: int = 3, part: str = "part", view: str = "view"
) -> Iterator[Finding]:
    """Every finding, as it is made. ``part`` and ``view`` are for cameras that choose by them."""
    models: dict[str, Model] = {}
    yield from _models(config, models)
    if worker_runs(config.directory):
        yield Finding(
            Level.WARNING,
            "cameras",
            "not looked at: this edge's worker is running and has them",
            "stop the worker and call the doctor again",
        )
    else:
        for name, camera in config.cameras.items():
            yield from _camera(name, camera, models, shots, part, view)
    yield clock()
    yield from disk(config.directory)
    if config.keys is not None:
        yield Finding(
            Level.OK,
            "keys",
            f"own key {fingerprint(config.keys.own.public)}, station's key"
            f" {fingerprint(config.keys.station)}",
        )
    for what, endpoint in (
        ("station", config.file.station.edge),
        ("station, evidence", config.file.station.evidence),
    ):
        yield peer(what, endpoint, config.keys)


# ---------------------------------------------------------------------------- models


def _models(config: EdgeConfig, models: dict[str, Model]) -> Iterator[Finding]:
    for name, folder in config.models.items():
        try:
            package = open_trusted(folder, config.trusted)
            model = runtimes.load(
                package, threads=config.file.threads, preference=config.preference
            )
        except PackageError as error:
            yield Finding(
                Level.WRONG,
                f"model {name}",
                str(error),
                "copy the package again from where it was released",
            )
            continue
        models[name] = model
        yield Finding(
            Level.OK,
            f"model {name}",
            f"package {package.ref.package[:12]}, {model.graph} by {model.provider}: golden"
            " pictures reproduce",
        )


# ---------------------------------------------------------------------------- cameras


def _camera(
    name: str,
    file: CameraFile,
    models: Mapping[str, Model],
    shots: int,
    part: str,
    view: str,
) -> Iterator[Finding]:
    subject = f"camera {name}"
    try:
        camera = open_camera(file.driver, file.settings)
    except ConfigurationError as error:
        yield Finding(Level.WRONG, subject, str(error), "correct the configuration or install it")
        return
    except CameraError as error:
        yield Finding(
            Level.WRONG, subject, str(error), "see what is there: inspection cameras list"
        )
        return
    taken: list[Shot] = []
    took_ms: list[float] = []
    faults: list[str] = []
    with camera:
        for _ in range(shots):
            begun = time.perf_counter()
            try:
                taken.append(camera.shoot(part, view))
            except (CameraError, ImageError) as error:
                faults.append(str(error))
            took_ms.append((time.perf_counter() - begun) * 1000)
    if taken:
        height, width = taken[0].image.shape[:2]
        yield Finding(
            Level.OK, subject, f"{file.driver}, {width} x {height} px, frame {taken[-1].frame}"
        )
        yield from _picture(subject, taken[-1])
    verdicts = sum(_judged(shot, model) for shot in taken for model in models.values())
    text = (
        f"{shots} triggers out, {len(taken)} pictures in, {verdicts} of"
        f" {len(taken) * len(models)} verdicts out, {statistics.median(took_ms):.0f} ms a picture"
    )
    if faults:
        yield Finding(
            Level.WRONG,
            f"trigger {name}",
            f"{text}: {faults[0]}",
            "watch it while you trigger: inspection cameras watch (docs/cameras.md, Triggers)",
        )
    elif verdicts < len(taken) * len(models):
        yield Finding(Level.WRONG, f"trigger {name}", text, "look at the findings on the models")
    else:
        yield Finding(Level.OK, f"trigger {name}", text)


def _picture(subject: str, shot: Shot) -> Iterator[Finding]:
    mean = float(np.mean(shot.image))
    if mean < BLACK_MEAN:
        yield Finding(
            Level.WARNING,
            subject,
            f"the picture is all but black (mean {mean:.1f} of 255)",
            "take off the lens cap, switch on the light, or expose longer",
        )
    elif mean > WHITE_MEAN:
        yield Finding(
            Level.WARNING,
            subject,
            f"the picture is all but white (mean {mean:.1f} of 255)",
            "expose shorter or lower the gain",
        )


def _judged(shot: Shot, model: Model) -> bool:
    """Whether the model says anything at all of a piece of the picture; what, does not matter."""
    height, width = shot.image.shape[:2]
    spec = runtimes.crop_spec(model.package)
    region = Region(left_px=0, top_px=0, width_px=width, height_px=height)
    try:
        crops = imaging.crop(shot.image, region, spec)[np.newaxis]
        rows = list(model.outputs(crops).rows())
    except PackageError:
        return False
    (scores, ood), manifest = rows[0], model.package.manifest
    judgement = judge(scores, manifest.class_names, model.package.policy, ood)
    return judgement.verdict is not Verdict.NOT_INSPECTED


def worker_runs(directory: Path) -> bool:
    """Whether the worker of this folder holds its outbox."""
    lock = directory / "outbox" / "lock"
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


# ---------------------------------------------------------------------------- the box


def clock() -> Finding:
    """Whether the kernel's clock is kept by somebody."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = ctypes.create_string_buffer(512)  # struct timex, all zero: only ask
    state = libc.adjtimex(timex)
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if state == -1:
        return Finding(
            Level.WARNING,
            "clock",
            f"{now}; whether it is synchronised cannot be told ({os.strerror(ctypes.get_errno())})",
            "compare it with the station's",
        )
    if state == _TIME_ERROR:
        return Finding(
            Level.WARNING,
            "clock",
            f"{now}, synchronised with nothing: the times in the record will drift",
            "set up chrony or systemd-timesyncd with a time server of the plant",
        )
    return Finding(Level.OK, "clock", f"{now}, synchronised")


def disk(directory: Path) -> Iterator[Finding]:
    """Room for results and pictures, and how long the disk takes to promise one."""
    place = directory
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / GIB:.1f} GiB free for {directory}"
    remedy = "make room, or put the directory on another disk"
    if free < DISK_LEAST:
        yield Finding(Level.WRONG, "disk", text, remedy)
    elif free < DISK_LITTLE:
        yield Finding(Level.WARNING, "disk", text, remedy)
    else:
        yield Finding(Level.OK, "disk", text)
    probe = place / f".doctor-{os.getpid()}"
    try:
        took_ms = _sync_ms(probe)
    except OSError as error:
        yield Finding(
            Level.WRONG,
            "disk",
            f"{place}: cannot be written: {error.strerror}",
            "let the worker's user write there",
        )
        return
    text = f"a record is safe on it after {took_ms:.1f} ms (median of 20)"
    if took_ms > SYNC_SLOW_MS:
        yield Finding(Level.WARNING, "disk", text, "put the directory on an SSD of this machine")
    else:
        yield Finding(Level.OK, "disk", text)


def _sync_ms(probe: Path) -> float:
    took: list[float] = []
    try:
        with probe.open("wb", buffering=0) as file:
            for _ in range(20):
                begun = time.perf_counter()
                file.write(b"\0" * 4096)
                os.fdatasync(file.fileno())
                took.append((time.perf_counter() - begun) * 1000)
    finally:
        probe.unlink(missing_ok=True)
    return statistics.median(took)


# ---------------------------------------------------------------------------- the station


def peer(what: str, endpoint: str, keys: ClientKeys | None) -> Finding:
    """Whether a station answers there and, with keys, lets this edge in. Sends no message."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    connect_with(socket, keys)
    monitor = socket.get_monitor_socket()
    try:
        socket.connect(endpoint)
        return _peer(what, endpoint, monitor)
    finally:
        socket.disable_monitor()
        monitor.close(linger=0)
        socket.close(linger=0)
        context.term()


def _peer(what: str, endpoint: str, monitor: zmq.Socket[bytes]) -> Finding:
    until = time.monotonic() + PEER_S
    connected = False
    while (left := until - time.monotonic()) > 0 and monitor.poll(int(left * 1000) + 1):
        event = parse_monitor_message(monitor.recv_multipart())["event"]
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            return Finding(Level.OK, what, f"answers at {endpoint}")
        if event in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
            return Finding(
                Level.WRONG,
                what,
                f"{endpoint} answers and does not let this edge in",
                "compare the fingerprints of the keys, and allow this edge's at the station:"
                " inspection keys (docs/security.md)",
            )
        connected = connected or event == zmq.EVENT_CONNECTED
    if connected:
        return Finding(
            Level.WRONG,
            what,
            f"something listens at {endpoint}, but it does not answer as a station",
            "check host and port, and that either both sides have [keys] or neither has",
        )
    return Finding(
        Level.WRONG,
        what,
        f"nobody listens at {endpoint}",
        "start the station, check host and port, and the firewall between",
    )
