"""``inspection render``: pictures of what the renderer draws, to look at.

``sheet`` is a contact sheet with a row for each class, ``view`` a whole view of the body side,
``weld`` one weld with its truth beside it as JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from inspection.errors import ConfigurationError
from inspection.imaging import Frame, encode_png
from inspection.rendering import body
from inspection.rendering.catalogue import DEFECTS, NAMES
from inspection.rendering.materials import Domain
from inspection.rendering.optics import encode_jpeg
from inspection.rendering.weld import DOMAINS, render_weld

CELL_PX = 168
LABEL_PX = 26
JPEG_QUALITY = 92


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    sheet = what.add_parser("sheet", help="a contact sheet: a row for each class")
    sheet.add_argument("--columns", type=int, default=8, help="welds of each class (8)")
    weld = what.add_parser("weld", help="one weld; what is true of it goes to standard output")
    weld.add_argument("label", choices=NAMES, metavar="CLASS", help=", ".join(NAMES))
    weld.add_argument("--size", type=int, help="side in pixels; by default as the camera sees it")
    for each in (sheet, weld):
        each.add_argument("--domain", choices=DOMAINS, default="standard")
    view = what.add_parser("view", help="a whole view of the body side")
    view.add_argument("view", help=f"v01 to {body.view_name(body.VIEWS)}")
    view.add_argument("--stance", type=int, default=0, help="how the body stands: any number")
    view.add_argument(
        "--defect", action="append", default=[], metavar="POINT=CLASS", help="may be repeated"
    )
    view.add_argument("--width", type=int, metavar="PIXELS", help="shrink the picture to this")
    for each in (sheet, weld, view):
        each.add_argument("--seed", type=int, default=0)
        each.add_argument("--out", type=Path, required=True, help="a .png or .jpg file")


def run(arguments: argparse.Namespace) -> int:
    """Render and write."""
    if arguments.out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ConfigurationError(f"--out {arguments.out}: must end in .png or .jpg")
    if arguments.seed < 0:
        raise ConfigurationError(f"--seed {arguments.seed}: must not be negative")
    if arguments.what == "sheet":
        frame = contact_sheet(arguments.seed, arguments.columns, arguments.domain)
    elif arguments.what == "view":
        frame = _view(arguments)
    else:
        if arguments.size is not None and not 32 <= arguments.size <= 2048:
            raise ConfigurationError(f"--size {arguments.size}: must be 32 to 2048")
        made = render_weld(
            arguments.seed, 0, 0, arguments.label, domain=arguments.domain, size_px=arguments.size
        )
        frame = made.image
        measures = {name: value if np.isfinite(value) else None
                    for name, value in made.measures._asdict().items()}  # fmt: skip
        print(json.dumps({"label": made.label, "borderline": made.borderline, **measures}))
    _write(arguments.out, frame)
    return 0


def contact_sheet(seed: int, columns: int, domain: str = "standard") -> Frame:
    """uint8 RGB: for each class a row of ``columns`` welds, each of another part, good ones in
    two rows."""
    if not 1 <= columns <= 40:
        raise ConfigurationError(f"--columns {columns}: must be 1 to 40")
    rows = []
    for number, label in enumerate((NAMES[0], NAMES[0], *DEFECTS)):
        cells = []
        for k in range(columns):
            part = number * columns + k
            image = render_weld(seed, part, 0, label, domain=_domain(domain)).image
            cells.append(cv2.resize(image, (CELL_PX, CELL_PX), interpolation=cv2.INTER_AREA))
        strip = np.full((LABEL_PX, CELL_PX * columns, 3), 255, np.uint8)
        cv2.putText(strip, label, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1,
                    cv2.LINE_AA)  # fmt: skip
        rows += [strip, np.hstack(cells)]
    return np.ascontiguousarray(np.vstack(rows))


def _domain(name: str) -> Domain:
    return next(domain for domain in DOMAINS if domain == name)


def _view(arguments: argparse.Namespace) -> Frame:
    points = body.points()
    if arguments.view not in points:
        raise ConfigurationError(
            f"there is no view {arguments.view!r}: v01 to {body.view_name(body.VIEWS)}"
        )
    if arguments.width is not None and not 64 <= arguments.width <= body.WIDTH_PX:
        raise ConfigurationError(f"--width {arguments.width}: must be 64 to {body.WIDTH_PX}")
    stand = body.Stand(arguments.view, arguments.seed, arguments.stance)
    frame = stand.render()
    for entry in arguments.defect:
        point, _, label = entry.partition("=")
        if point not in points[arguments.view] or label not in DEFECTS:
            raise ConfigurationError(
                f"--defect {entry}: write POINT=CLASS with one of the view's points"
                f" ({points[arguments.view][0]} ...) and one of {', '.join(DEFECTS)}"
            )
        patch = stand.patch(point, label)
        height, width = patch.image.shape[:2]
        frame[patch.top : patch.top + height, patch.left : patch.left + width] = patch.image
    if arguments.width is None:
        return frame
    size = (arguments.width, round(arguments.width * body.HEIGHT_PX / body.WIDTH_PX))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _write(path: Path, frame: Frame) -> None:
    data = encode_png(frame) if path.suffix.lower() == ".png" else encode_jpeg(frame, JPEG_QUALITY)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error.strerror}") from None
