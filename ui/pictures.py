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

MAX_SIDE_PX = 320
"""Twice the size on the page, for screens with small pixels."""

MAX_PIXELS = 2**27
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
KEPT = 512


@dataclass(frozen=True, slots=True)
class Picture:
    """``source`` is a data URL, empty where there is nothing to show; ``why`` then says why."""

    source: str = ""
    width_px: int = 0
    height_px: int = 0
    why: str = ""


class Pictures:
    """Pictures by the hash of their evidence. Safe to share between threads."""

    def __init__(self, evidence: EvidenceStore) -> None:
        self._evidence = evidence
        self._kept: OrderedDict[str, Picture] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sha256: str | None) -> Picture:
        """The picture of that hash. What is missing is looked for again next time: pictures travel
        behind the results they belong to."""
        if sha256 is None:
            return Picture(why="The edge kept no picture of this point.")
        with self._lock:
            if sha256 in self._kept:
                self._kept.move_to_end(sha256)
                return self._kept[sha256]
        data = self._evidence.get(sha256)
        if data is None:
            return Picture(why="The picture is not here: still on its way, lost, or changed since.")
        try:
            picture = _encoded(data)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            # A file of that hash cannot become another, so this is final.
            picture = Picture(why=f"The picture cannot be shown: {type(error).__name__}.")
        with self._lock:
            self._kept[sha256] = picture
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return picture


def _encoded(data: bytes) -> Picture:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ValueError(f"{opened.width} x {opened.height} pixels are too many")
            width, height = opened.size
            opened.draft("RGB", (MAX_SIDE_PX, MAX_SIDE_PX))  # JPEG decodes to less at once
            image = opened.convert("L" if opened.mode in ("1", "L") else "RGB")
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    out = io.BytesIO()
    image.save(out, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
    return Picture(source, width, height)
