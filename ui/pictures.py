"""Pictures of points as a page shows them: checked, made small, and encoded anew.

Nothing that came from a camera reaches a browser as it is: every picture is decoded here, within
limits, and a PNG of our own making goes out, inside the page, so that one element is one message.
"""

from __future__ import annotations

import base64
import io
import threading
import warnings
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image

from inspection.evidence import EvidenceStore
from ui import words

MAX_SIDE_PX = 320
"""Twice the size on the page, for screens with small pixels."""
LARGE_SIDE_PX = 1200
"""Of the one picture that somebody decides on."""

MAX_PIXELS = 2**27
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
KEPT_CHARACTERS = 64 * 1024 * 1024
"""Of all pictures that are kept, so that a day of looking does not fill the memory."""


@dataclass(frozen=True, slots=True)
class Picture:
    """``source`` is a data URL, empty where there is nothing to show; ``why`` then says why. The
    size is that of the picture as it was kept."""

    source: str = ""
    width_px: int = 0
    height_px: int = 0
    fault: str = ""
    """A key of `ui.words.TEXTS`: whoever looks next may speak another language."""
    what: str = ""

    @property
    def why(self) -> str:
        return words.say(self.fault, what=self.what) if self.fault else ""


class Pictures:
    """Pictures by the hash of their evidence. Safe to share between threads."""

    def __init__(self, evidence: EvidenceStore) -> None:
        self._evidence = evidence
        self._kept: OrderedDict[tuple[str, int], Picture] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()

    def file(self, sha256: str) -> bytes | None:
        """The picture's file as it was kept; None where it is not here."""
        return self._evidence.get(sha256)

    def get(self, sha256: str | None, side_px: int = MAX_SIDE_PX) -> Picture:
        """The picture of that hash, no larger than that. What is missing is looked for again next
        time: pictures travel behind the results they belong to."""
        if sha256 is None:
            return Picture(fault="picture.none")
        key = (sha256, side_px)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        data = self.file(sha256)
        if data is None:
            return Picture(fault="picture.missing")
        try:
            picture = _encoded(data, side_px)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            # A file of that hash cannot become another, so this is final.
            picture = Picture(fault="picture.broken", what=type(error).__name__)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = picture
                self._characters += len(picture.source)
            while self._characters > KEPT_CHARACTERS:
                _, dropped = self._kept.popitem(last=False)
                self._characters -= len(dropped.source)
        return picture


def _encoded(data: bytes, side_px: int) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ValueError(f"{opened.width} x {opened.height} pixels are too many")
            width, height = opened.size
            opened.draft("RGB", (side_px, side_px))  # JPEG decodes to less at once
            image = opened.convert("L" if opened.mode in ("1", "L") else "RGB")
    image.thumbnail((side_px, side_px))
    out = io.BytesIO()
    image.save(out, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
    return Picture(source, width, height)
