"""Whether a picture is of this moment: no two pictures of a sensor are alike."""

from __future__ import annotations

from numpy.lib.stride_tricks import as_strided

from inspection.imaging import Frame

SAMPLES = 128
"""Rows, about, of each picture of which so many pixels are compared, from the upper left to the
lower right: pixels that lie side by side cost a fraction of what scattered ones do."""
ROWS = 4
"""So many sampled rows that are those of the picture before have not been photographed anew."""


class Memory:
    """What the last picture of one camera was, sampled: 50 kB and not 15 MB.

    Thousands of samples with a sensor's noise are never equal by chance, so they stand for all.
    Rows of one value, black or clipped, say nothing.
    """

    def __init__(self) -> None:
        self._last: Frame | None = None

    def compare(self, image: Frame) -> str:
        """Why this picture is none of this moment, or nothing; it is remembered."""
        grid = _sampled(image)
        last, self._last = self._last, grid
        if last is None or last.shape != grid.shape:
            return ""
        same = (grid == last).reshape(len(grid), -1).all(axis=1)
        if not same.any():
            return ""
        rows = grid.reshape(len(grid), -1)
        same &= (rows != rows[:, :1]).any(axis=1)
        count = int(same.sum())
        if count < min(ROWS, len(grid)):
            return ""
        return (
            f"{count} of {len(grid)} sampled rows are, pixel by pixel, those of the camera's"
            " picture before: a sensor never gives the same twice"
        )


def _sampled(image: Frame) -> Frame:
    height, width = image.shape[:2]
    every, long = max(1, height // SAMPLES), min(width, SAMPLES)
    rows = -(-height // every)
    aside = (width - long) // max(1, rows - 1)
    down, right, *rest = image.strides
    slanted = as_strided(
        image,
        (rows, long, *image.shape[2:]),
        (every * down + aside * right, right, *rest),
        writeable=False,
    )
    return slanted.copy()
