"""``inspection inspect PACKAGE IMAGE... [--json FILE]``"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
from msgspec import Struct

from inspection.errors import DataError, ImageError
from inspection.messages import Reason, Region, Verdict
from inspection.package import open_package
from inspection.runtimes import load
from inspection.training.data import LabelledPoint, tile
from inspection.training.data import load as load_frame
from inspection.training.evaluate import judge_frame, write_json
from inspection.training.recipe import DatasetDescription

DESCRIPTION = "dataset.toml"


class Finding(Struct, frozen=True, kw_only=True):
    """One point of one picture. ``region`` and ``scores`` are None where there is no picture."""

    image: str
    point: str
    region: Region | None
    verdict: Verdict
    reason: Reason
    finding: str
    detail: str
    scores: dict[str, float] | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("package", type=Path, help="folder of a model package")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="pictures to judge")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here as JSON")
    parser.add_argument(
        "--tile",
        type=int,
        nargs=2,
        metavar=("WIDTH", "HEIGHT"),
        help="divide each picture into points of this size (default: as the package's data set"
        " was, or the whole picture as one point)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Judge; prints every point that is not OK and a line for each picture. Returns 1 if a picture
    could not be judged."""
    package = open_package(arguments.package)
    size = tuple(arguments.tile) if arguments.tile else None
    if size is not None and min(size) < 1:
        raise DataError("--tile: width and height are counted in pixels from 1")
    if size is None and DESCRIPTION in package.content:
        description = msgspec.toml.decode(package.content[DESCRIPTION], type=DatasetDescription)
        if description.tiles is not None:
            size = (description.tiles.width_px, description.tiles.height_px)
    model = load(package)
    names = package.manifest.class_names
    findings: list[Finding] = []
    failed = 0
    for path in arguments.images:
        try:
            frame = load_frame(path)
        except (ImageError, OSError) as error:
            reason = error.reason if isinstance(error, ImageError) else Reason.NO_IMAGE
            findings.append(_missed(path, reason, str(error)))
            print(f"{path}: {Verdict.NOT_INSPECTED}: {error}")
            failed += 1
            continue  # said, counted, and in the results as not inspected
        height, width = frame.shape[:2]
        if size is None:
            whole = Region(left_px=0, top_px=0, width_px=width, height_px=height)
            points: tuple[LabelledPoint, ...] = (LabelledPoint("whole", whole, None),)
        else:
            points = tile(width, height, (size[0], size[1]), (), package.manifest.ok_class)
        judged = list(judge_frame(model, frame, points))
        for point, judgement, scores in judged:
            findings.append(
                Finding(
                    image=str(path),
                    point=point.id,
                    region=point.region,
                    verdict=judgement.verdict,
                    reason=judgement.reason,
                    finding=judgement.finding,
                    detail="",
                    scores=dict(zip(names, scores, strict=True)),
                )
            )
            if judgement.verdict is not Verdict.OK:
                place = point.region
                print(
                    f"{path}: {point.id} at {place.left_px:g} {place.top_px:g}"
                    f" {place.width_px:g} {place.height_px:g}: {judgement.verdict}"
                    f" {judgement.finding}"
                    f" ({max(scores[1:], default=0.0):.3f}, good {scores[0]:.3f})"
                )
        counts = [f"{v} {sum(j.verdict is v for _, j, _ in judged)}" for v in Verdict]
        print(f"{path}: {len(judged)} points: {', '.join(counts)}")
    if arguments.json is not None:
        write_json(arguments.json, findings)
    return 1 if failed else 0


def _missed(path: Path, reason: Reason, detail: str) -> Finding:
    return Finding(
        image=str(path),
        point="",
        region=None,
        verdict=Verdict.NOT_INSPECTED,
        reason=reason,
        finding="",
        detail=detail,
        scores=None,
    )
