"""Where pictures are developed: named at once, packed and put on disk by a thread of their own.

Whoever judges hands a picture in and gets its name, which is that of its pixels
(`inspection.png`); no result waits for compression or for a disk. What may be lost is the picture,
never the result: a name in a record whose picture never arrives is a picture that is missing, and
each way of losing one is counted here.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from typing import NamedTuple

import numpy as np

from edge.evidence_spool import EvidenceSpool
from inspection import png
from inspection.closing import Closing
from inspection.errors import OutboxError
from inspection.imaging import Frame
from inspection.log import get_logger

PNG = "png"
PICTURE_LIMIT = 7 * 2**20 - 2**16
"""Bytes of scanlines; a larger picture would not pass the evidence lane if it did not compress."""
WAITING_BYTES = 64 * 2**20
"""What may wait to be packed; beyond it pictures are given up, those of OK points first."""
LOOK_S = 2.0
"""How often room on the disk is looked after while nothing comes."""
CLOSING_S = 10.0


class _Undeveloped(NamedTuple):
    head: bytes
    scanlines: bytes
    ok: bool


class Darkroom(Closing):
    """Pictures on their way into the spool. `keep` may be called from any one thread."""

    def __init__(self, spool: EvidenceSpool, *, waiting_bytes: int = WAITING_BYTES) -> None:
        self.lost: Counter[str] = Counter()
        """Pictures that a record names and that never reached the spool: ``ok`` and ``other``."""
        self._spool = spool
        self._limit = waiting_bytes
        self._bytes = 0
        # Two lines, because what is not OK is developed first.
        self._waiting: dict[bool, OrderedDict[str, _Undeveloped]] = {
            False: OrderedDict(),
            True: OrderedDict(),
        }
        self._changed = threading.Condition()
        self._busy = False
        self._closing = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="darkroom")
        self._thread.start()

    def keep(self, image: Frame, *, ok: bool = False) -> str:
        """The name under which the picture will be found: ``uint8`` of shape (height, width), or
        with 1 or 3 channels in RGB order. It is copied. One that is too large for the evidence lane
        is made smaller by leaving out rows and columns. ``ok`` is for pictures of points that are
        OK, which give way to the others."""
        head, scanlines = _scanlines(image)
        name = png.name(head, scanlines)
        with self._changed:
            if self._take_in(name, _Undeveloped(head, scanlines, ok)):
                self._changed.notify_all()
        return name

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything handed in is on disk or given up; whether it is."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while self._busy or any(self._waiting.values()):
                if not self._changed.wait(max(0.0, end - time.monotonic())):
                    return False
        return True

    def close(self) -> None:
        """Develop what waits, for `CLOSING_S` at most, and end the thread."""
        self.drain(CLOSING_S)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(LOOK_S)

    def _take_in(self, name: str, picture: _Undeveloped) -> bool:
        mine, others = self._waiting[picture.ok], self._waiting[not picture.ok]
        if name in mine or (picture.ok and name in others):
            return False
        if not picture.ok and name in others:
            self._drop(name, others)  # the same pixels, of a point that matters more
        size = len(picture.scanlines)
        if not picture.ok:
            oks = self._waiting[True]
            while self._bytes + size > self._limit and oks:
                self._drop(next(iter(oks)), oks)
                self.lost["ok"] += 1
        if self._bytes + size > self._limit:
            self.lost["ok" if picture.ok else "other"] += 1
            return False
        mine[name] = picture
        self._bytes += size
        return True

    def _drop(self, name: str, line: OrderedDict[str, _Undeveloped]) -> None:
        self._bytes -= len(line.pop(name).scanlines)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                if not any(self._waiting.values()):
                    if self._closing:
                        return
                    self._changed.wait(LOOK_S)
                line = self._waiting[False] or self._waiting[True]
                name = next(iter(line), None)
                picture = line[name] if name is not None else None
                if name is not None:
                    self._drop(name, line)
                self._busy = True
            try:
                if name is None or picture is None:
                    self._spool.make_room()
                else:
                    data = png.pack(picture.head, picture.scanlines)
                    self._spool.put(data, PNG, name=name, ok=picture.ok)
            except Exception as error:  # noqa: BLE001  no fault here may end the thread
                if picture is not None:
                    self.lost["ok" if picture.ok else "other"] += 1
                expected = isinstance(error, OutboxError)
                log = get_logger()
                (log.error if expected else log.exception)("evidence not kept", fault=str(error))


def _scanlines(image: Frame) -> tuple[bytes, bytes]:
    """The picture as its PNG file will hold it: header and filtered lines."""
    pixels = image if image.ndim == 3 else image[:, :, np.newaxis]
    height, width, channels = pixels.shape
    if channels not in (1, 3):
        pixels, channels = pixels[:, :, :1], 1
    step = 1
    while -(-height // step) * (1 + -(-width // step) * channels) > PICTURE_LIMIT:
        step += 1
    pixels = pixels[::step, ::step]
    height, width = pixels.shape[:2]
    lines = np.empty((height, 1 + width * channels), np.uint8)
    lines[:, 0] = png.FILTER_UP
    flat = pixels.reshape(height, width * channels)
    lines[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=lines[1:, 1:])  # modulo 256, as the filter wants it
    return png.header(width, height, channels), lines.tobytes()
