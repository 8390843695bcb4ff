"""Test vectors from frame and region to score, for whoever runs a model without this software.

A few small frames with regions on whole and fractional pixels, at the edges and beyond, growing and
shrinking; for each the SHA-256 of the crop and what the graph says. `docs/model-package.md` says
how a crop is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from inspection import imaging
from inspection.imaging import CropSpec, Frame, crop
from inspection.messages import Ood, Region, Score, Sha256
from inspection.package import MODEL, VECTORS, sha256
from inspection.runtimes import Graph

PICTURES_A_FRAME = 4


class Vector(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point: ``crop`` is the SHA-256 of the crop's bytes, row by row, channels together."""

    region: Region
    crop: Sha256
    scores: tuple[Score, ...]
    ood: Ood | None


class VectorFrame(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frame (PNG under ``golden/``) and its points."""

    file: str
    points: Annotated[tuple[Vector, ...], Meta(min_length=1)]


class Vectors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``golden/vectors.json``; the scores are those of ``graph``."""

    graph: str
    imaging_version: str
    frames: Annotated[tuple[VectorFrame, ...], Meta(min_length=1)]


def write_vectors(folder: Path, crops: Frame, spec: CropSpec, graph: Graph) -> Vectors:
    """Write frames and ``vectors.json`` below ``folder/golden``. The frames are put together from
    crops (N, height, width, channels), so that the scores are of all kinds."""
    frames = []
    for number, (frame, regions) in enumerate(_frames(crops, spec)):
        name = f"frame-{number}.png"
        (folder / "golden" / name).write_bytes(imaging.encode_png(frame))
        cut = np.stack([crop(frame, region, spec) for region in regions])
        points = [
            Vector(region=region, crop=sha256(one.tobytes()), scores=tuple(scores), ood=ood)
            for region, one, (scores, ood) in zip(
                regions, cut, graph.outputs(cut).rows(), strict=True
            )
        ]
        frames.append(VectorFrame(file=name, points=tuple(points)))
    vectors = Vectors(graph=MODEL, imaging_version=spec.imaging, frames=tuple(frames))
    data = msgspec.json.format(msgspec.json.encode(vectors), indent=2) + b"\n"
    (folder / VECTORS).write_bytes(data)
    return vectors


def _frames(crops: Frame, spec: CropSpec) -> list[tuple[Frame, list[Region]]]:
    """Pictures side by side in a colour frame a quarter larger, in one of half the size, and in a
    grey one of the very size."""
    some = crops[np.linspace(0, len(crops) - 1, min(PICTURES_A_FRAME, len(crops))).astype(int)]
    found = []
    for scale, colour in ((1.25, True), (0.5, True), (1.0, False)):
        width, height = round(spec.width * scale), round(spec.height * scale)
        wanted = CropSpec(width=max(width, 8), height=max(height, 8), channels=3 if colour else 1)
        tiles = []
        for picture in some:
            grey = picture[:, :, 0] if picture.shape[2] == 1 else picture
            whole = Region(
                left_px=0, top_px=0, width_px=picture.shape[1], height_px=picture.shape[0]
            )
            tiles.append(crop(grey, whole, wanted))
        strip = np.concatenate(tiles, axis=1)
        frame = np.ascontiguousarray(strip if colour else strip[:, :, 0])
        found.append((frame, _regions(frame, len(some), spec.margin)))
    return found


def _regions(frame: Frame, pictures: int, margin: float) -> list[Region]:
    """Each picture with its margin taken off, so that the model sees what it knows; then regions
    that round up and down, lie across the edges, and are smaller than a pixel."""
    height, width = frame.shape[0], frame.shape[1] / pictures
    inside = 1 + 2 * margin
    found = [
        Region(
            left_px=width * n + width * margin / inside,
            top_px=height * margin / inside,
            width_px=width / inside,
            height_px=height / inside,
        )
        for n in range(pictures)
    ]
    right = frame.shape[1]
    found += [
        Region(left_px=0.5, top_px=0.49, width_px=width / 2, height_px=height / 2 + 0.5),
        Region(left_px=right - 5.25, top_px=height - 4.5, width_px=width / 2, height_px=height / 3),
        Region(left_px=1.5, top_px=2.5, width_px=0.25, height_px=0.25),
        Region(left_px=0, top_px=0, width_px=right, height_px=height),
    ]
    return found
