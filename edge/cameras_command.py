"""``inspection cameras``: what cameras are there, and what one of a configuration sees."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge.cameras import DRIVERS, Camera, Shot, open_camera, seen
from edge.config import CameraFile, read_edge
from inspection import imaging, log
from inspection.errors import CameraError, ConfigurationError, ImageError


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="the cameras each driver sees, and which drivers are usable")
    grab = actions.add_parser("grab", help="take one picture and write it as PNG")
    watch = actions.add_parser("watch", help="take pictures and show what of each can be told")
    for action in (grab, watch):
        action.add_argument("config", type=Path, help="the edge worker's configuration (TOML)")
        action.add_argument("camera", metavar="CAMERA", help="its name in that configuration")
        action.add_argument("--part", default="part", help="for cameras that choose by the part")
        action.add_argument("--view", default="view", help="for cameras that choose by the view")
    grab.add_argument("file", type=Path, metavar="FILE", help="where to write the picture")
    watch.add_argument("--count", type=int, metavar="N", help="end after so many (else Ctrl-C)")


def run(arguments: argparse.Namespace) -> int:
    log.configure("cameras")
    if arguments.action == "list":
        print("\n".join(listing()))
        return 0
    camera = camera_of(arguments.config, arguments.camera)
    with open_camera(camera.driver, camera.settings) as opened:
        if arguments.action == "grab":
            return _grab(opened, arguments)
        return _watch(opened, arguments)


def listing() -> Iterator[str]:
    """A line for each camera, as it has to stand in a configuration; a driver that sees none, or
    cannot be used, says so."""
    for name in sorted(DRIVERS):
        try:
            cameras = seen(name)
        except ConfigurationError as error:
            yield f"{name:10} not usable here: {error}"
            continue
        if cameras is None:
            yield f"{name:10} takes what its settings name"
        elif not cameras:
            yield f"{name:10} sees no camera"
        for camera in cameras or ():
            settings = ", ".join(f"{key} = {json.dumps(v)}" for key, v in camera.settings.items())
            yield f"{name:10} {settings:32} {camera.what}"


def camera_of(config: Path, name: str) -> CameraFile:
    """The camera of that name in an edge's configuration."""
    cameras = read_edge(config).cameras
    if name not in cameras:
        raise ConfigurationError(
            f"{config}: there is no camera {name!r}: it has {', '.join(sorted(cameras))}"
        )
    return cameras[name]


def told(shot: Shot) -> str:
    """What of a picture a person wants to know who sets a camera up."""
    height, width = shot.image.shape[:2]
    kind = "RGB" if shot.image.ndim == 3 else "grey"
    dark, bright = (float(np.mean(shot.image <= 2)), float(np.mean(shot.image >= 253)))
    return (
        f"frame {shot.frame}: {width} x {height} {kind}, mean {shot.image.mean():.0f} of 255,"
        f" black {dark:.1%}, white {bright:.1%}"
    )


def _grab(camera: Camera, arguments: argparse.Namespace) -> int:
    shot = camera.shoot(arguments.part, arguments.view)
    try:
        arguments.file.write_bytes(imaging.encode_png(shot.image))
    except OSError as error:
        raise ConfigurationError(f"{arguments.file}: cannot be written: {error.strerror}") from None
    print(told(shot))
    print(f"written to {arguments.file}")
    return 0


def _watch(camera: Camera, arguments: argparse.Namespace) -> int:
    pictures = failures = 0
    before = time.monotonic()
    try:
        while arguments.count is None or pictures + failures < arguments.count:
            try:
                shot = camera.shoot(arguments.part, arguments.view)
            except (CameraError, ImageError) as error:
                failures += 1
                print(f"no picture: {error}", flush=True)
                time.sleep(0.2)
                continue
            pictures += 1
            now = time.monotonic()
            print(f"+{(now - before) * 1000:6.0f} ms  {told(shot)}", flush=True)
            before = now
    except KeyboardInterrupt:
        pass
    print(f"{pictures} pictures, {failures} orders without one", file=sys.stderr)
    return 0 if failures == 0 else 1
