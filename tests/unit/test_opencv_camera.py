"""Camera ``opencv``: a video file, and a live stream from a server of this test's own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.cameras import open_camera
from inspection import imaging
from inspection.errors import CameraError, ConfigurationError

WIDTH, HEIGHT = 96, 64


def flat(level: int) -> np.ndarray[Any, Any]:
    return np.full((HEIGHT, WIDTH, 3), level, np.uint8)


def level(shot: Any) -> int:
    return round(float(shot.image.mean()))


class Stream:
    """Motion JPEG over HTTP: what is shown is what ``level`` says at that moment, 25 times a
    second."""

    def __init__(self) -> None:
        self.level = 10
        self.lag_s = 0.0
        self.on = True
        self.paused = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://user:secret@127.0.0.1:{self.port}/video.mjpg"

    def end(self) -> None:
        self.on = False
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in it
        self._listener.close()

    def begin_again(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.on = True
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        listener = self._listener
        while self.on:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._show, args=(connection,), daemon=True).start()

    def _show(self, connection: socket.socket) -> None:
        waiting: list[tuple[float, bytes]] = []
        try:
            connection.recv(4096)
            connection.sendall(
                b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n"
            )
            while self.on:
                _, data = imaging.cv2.imencode(".jpg", flat(self.level))
                waiting.append((time.monotonic() + self.lag_s, data.tobytes()))
                while waiting and waiting[0][0] <= time.monotonic():
                    _, jpeg = waiting.pop(0)
                    if self.paused:
                        continue
                    head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    connection.sendall(head.encode() + jpeg + b"\r\n")
                time.sleep(0.04)
        except OSError:
            pass
        finally:
            connection.close()


@pytest.fixture
def stream() -> Iterator[Stream]:
    stream = Stream()
    yield stream
    stream.end()


def video(path: Path, levels: list[int]) -> Path:
    code = imaging.cv2.VideoWriter.fourcc(*"FFV1")
    writer = imaging.cv2.VideoWriter(str(path), code, 10, (WIDTH, HEIGHT))
    for each in levels:
        writer.write(flat(each))
    writer.release()
    return path


def test_a_video_gives_each_picture_once_and_then_none(tmp_path: Path) -> None:
    file = video(tmp_path / "bodies.mkv", [50, 100, 150])
    with open_camera("opencv", {"file": str(file)}) as camera:
        shots = [camera.shoot("body", "view") for _ in range(3)]
        assert [level(shot) for shot in shots] == [50, 100, 150]
        assert shots[2].frame == "3 picture=3"
        with pytest.raises(CameraError, match="no picture after number 3"):
            camera.shoot("body", "view")


def test_a_video_may_begin_again(tmp_path: Path) -> None:
    file = video(tmp_path / "bodies.mkv", [50, 100])
    with open_camera("opencv", {"file": str(file), "repeat": True}) as camera:
        shots = [camera.shoot("body", "view") for _ in range(5)]
    assert [level(shot) for shot in shots] == [50, 100, 50, 100, 50]
    assert shots[4].frame == "5 picture=1"


def test_a_file_that_is_no_video_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "text.mkv").write_text("no video")
    with pytest.raises(CameraError, match=r"text\.mkv.*no video"):
        open_camera("opencv", {"file": str(tmp_path / "text.mkv")})
    with pytest.raises(ConfigurationError, match="there is no file"):
        open_camera("opencv", {"file": str(tmp_path / "nowhere.mkv")})


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "exactly one of file, url and device"),
        ({"device": 0, "url": "rtsp://camera/1", "latency_ms": 1}, "exactly one"),
        ({"url": "rtsp://camera/1"}, "latency_ms"),
        ({"device": 0}, "latency_ms"),
        ({"url": "/etc/passwd", "latency_ms": 1}, "no rtsp://"),
    ],
)
def test_settings_that_name_no_source_are_refused(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        open_camera("opencv", settings)


def test_a_device_that_is_not_there_is_a_missing_camera() -> None:
    with pytest.raises(CameraError, match="device 255"):
        open_camera("opencv", {"device": 255, "latency_ms": 100})


def test_a_live_picture_shows_what_was_there_after_the_order(stream: Stream) -> None:
    """What lies in sockets and buffers while nobody asks is thrown away."""
    with open_camera("opencv", {"url": stream.url, "latency_ms": 300}) as camera:
        for wanted in (60, 120, 180, 240):
            time.sleep(0.2)
            stream.level = wanted
            shot = camera.shoot("body", "view")
            assert abs(level(shot) - wanted) <= 2
            assert abs(shot.captured_ns - time.time_ns()) < 1_000_000_000


def test_a_stream_that_lags_less_than_it_may_shows_no_old_picture(stream: Stream) -> None:
    stream.lag_s = 0.5
    with open_camera("opencv", {"url": stream.url, "latency_ms": 900}) as camera:
        for wanted in (60, 180):
            stream.level = wanted
            assert abs(level(camera.shoot("body", "view")) - wanted) <= 2


def test_a_stream_that_stops_is_no_picture_and_comes_back(stream: Stream) -> None:
    settings = {"url": stream.url, "latency_ms": 100, "timeout_ms": 500}
    with open_camera("opencv", settings) as camera:
        first = camera.shoot("body", "view")
        stream.end()
        with pytest.raises(CameraError, match=r"127\.0\.0\.1.*check power") as caught:
            camera.shoot("body", "view")
        assert "secret" not in str(caught.value)
        stream.begin_again()
        until = time.monotonic() + 15
        while not camera.present():
            assert time.monotonic() < until
            time.sleep(0.1)
        again = camera.shoot("body", "view")
        assert (first.frame[:2], again.frame[:2]) == ("1 ", "2 ")


def test_a_stream_nobody_serves_is_a_missing_camera() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/video.mjpg"
        with pytest.raises(CameraError, match="cannot be opened"):
            open_camera("opencv", {"url": url, "latency_ms": 100})
