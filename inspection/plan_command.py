"""``inspection plan``: check a plan before a station is given it, make a view of one from a good
picture, and learn what its pictures must be like."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from inspection.config import read_toml, resolve
from inspection.errors import ConfigurationError, PlanError
from inspection.messages import Severity
from inspection.plan import Plan, read_plan


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="name every mistake of a plan, or say what it asks for (exit code 2 or 0)"
    )
    check.add_argument("file", type=Path, metavar="FILE", help="the plan's TOML file")
    check.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="a model the station has; once for each. Without it, models are not checked",
    )
    learning = actions.add_parser(
        "learn", help="learn the limits of the quality gate from good pictures, into the plan"
    )
    learning.add_argument("file", type=Path, metavar="FILE", help="the plan's TOML file")
    learning.add_argument(
        "--pictures",
        type=Path,
        required=True,
        metavar="DIR",
        help="good pictures: VIEW.png in folders of any name, or any name in a folder VIEW",
    )
    _configure_teach(
        actions.add_parser("teach", help="make a view of a plan from one good picture of a part")
    )
    show_hash = actions.add_parser("hash", help="show the hash under which results name the plan")
    show_hash.add_argument("file", type=Path, metavar="FILE", help="the plan's TOML file")


def _configure_teach(teach: argparse.ArgumentParser) -> None:
    teach.add_argument("picture", type=Path, metavar="PICTURE", help="the part as it should stand")
    teach.add_argument("--plan", type=Path, required=True, metavar="FILE", help="its TOML file")
    teach.add_argument("--view", required=True, metavar="ID")
    teach.add_argument("--camera", required=True, metavar="ID")
    teach.add_argument(
        "--points", type=Path, required=True, metavar="CSV",
        help="the view's points; columns as in a plan, view may be left out",
    )  # fmt: skip
    teach.add_argument(
        "--datum", action="append", default=[], metavar="ID=X,Y",
        help="a mark to find the part by, pixels of PICTURE; two to sixteen",
    )  # fmt: skip
    teach.add_argument(
        "--distance", metavar="ID,ID=MM", help="how far two of the datums are apart: the scale"
    )
    teach.add_argument(
        "--target", metavar="PATTERN:COLUMNSxROWS:MM",
        help="chessboard or circles: scale and distortion from --target-picture",
    )  # fmt: skip
    teach.add_argument("--target-picture", type=Path, metavar="PICTURE")
    teach.add_argument("--overlay", type=Path, metavar="PNG", help="where to draw what was taught")
    add = teach.add_mutually_exclusive_group(required=True)
    add.add_argument("--add", action="store_true", help="add the view to the plan that is there")
    add.add_argument("--name", metavar="ID", help="make a new plan of this name")
    teach.add_argument("--version", default="1", metavar="TEXT", help="of a new plan (1)")
    teach.add_argument("--deadline-ms", type=int, default=60_000, help="of a new plan (60000)")
    teach.add_argument(
        "--kind", action="append", default=[], metavar="KIND=MODEL",
        help="of a new plan: the model that judges a kind of point; once for each",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "hash":
        print(read_plan(arguments.file).hash)
        return 0
    try:
        if arguments.action == "learn":
            return learn(arguments.file, arguments.pictures)
        if arguments.action == "teach":
            return teach(arguments)
        plan = read_plan(arguments.file, arguments.model)
    except PlanError as error:
        for problem in error.problems:
            print(problem)
        many = len(error.problems)
        file = arguments.plan if arguments.action == "teach" else arguments.file
        print(f"{file}: {many} mistake{'s' * (many > 1)}", file=sys.stderr)
        return 2
    print(summary(plan))
    return 0


def learn(file: Path, pictures: Path) -> int:
    """Learn the limits of all views of which there are pictures; those of the others stay."""
    # Here, because checking a plan needs no OpenCV.
    from inspection.learning import learn_limits, pictures_of

    toml = read_toml(file)
    plan = read_plan(file, limits=False)
    table = toml.data["plan"]
    if "taught" not in table:
        message = 'is missing: write taught = "taught" and make that folder; limits go there'
        raise PlanError(toml.problem(("plan", "taught"), message))
    found = pictures_of(pictures, [view.id for view in plan.views])
    counts = learn_limits(plan, resolve(file, table["taught"]), found)
    for view in plan.views:
        if view.id in counts:
            many, points = counts[view.id]
            print(f"view {view.id}: limits of {points} points from {many} pictures")
        else:
            print(f"view {view.id}: no pictures, left as it was")
    print(f"hash      {read_plan(file).hash}")
    return 0


def teach(arguments: argparse.Namespace) -> int:
    """Make a view of a plan, and draw what was made."""
    # Here, because checking a plan needs no OpenCV.
    from inspection import teaching
    from inspection.imaging import encode_png

    lesson = teaching.Lesson(
        picture=teaching.read_picture(arguments.picture),
        view=arguments.view,
        camera=arguments.camera,
        rows=arguments.points,
        datums=tuple(teaching.datum(text) for text in arguments.datum),
    )
    known = teaching.calibrated(
        lesson, arguments.distance, arguments.target, arguments.target_picture
    )
    drawing = arguments.overlay or arguments.plan.with_name(f"{lesson.view}-overlay.png")
    if drawing.exists():
        raise ConfigurationError(f"--overlay {drawing}: is there already")
    head = None
    if not arguments.add:
        kinds = teaching.kinds(arguments.kind)
        head = teaching.Head(arguments.name, arguments.version, arguments.deadline_ms, kinds)
    lesson = lesson._replace(calibration=known)
    plan = teaching.teach(lesson, arguments.plan, head)
    drawing.write_bytes(encode_png(teaching.overlay(lesson.picture, plan, lesson.view)))
    print(f"view {lesson.view}: {len(plan.points_of(lesson.view))} points")
    print(f"datums    {len(lesson.datums)}, found again wherever the part may stand")
    if known is not None:
        print(f"scale     {known.mm_per_px:.6g} mm per pixel")
        if known.distortion is not None:
            print(f"lens      k1 {known.distortion.k1:.4f}, k2 {known.distortion.k2:.4f},"
                  f" {known.rms_px:.2f} px left")  # fmt: skip
    print(f"hash      {plan.hash}")
    print(f"look at {drawing} before the plan is used")
    return 0


def summary(plan: Plan) -> str:
    """What a plan asks for, a few lines for the person who wrote it."""
    kinds = Counter(point.kind for point in plan.points)
    levels = Counter(point.severity for point in plan.points)
    lines = [
        f"plan      {plan.name}, version {plan.version}, deadline {plan.deadline_ms} ms",
        f"hash      {plan.hash}",
        f"points    {len(plan.points)}",
        *(
            f"  kind      {name}: {kinds[name]} (model {kind.model})"
            for name, kind in plan.kinds.items()
        ),
        *(
            f"  severity  {level}: {levels[level]} (undecided: {plan.severity[level]})"
            for level in Severity
        ),
        f"views     {len(plan.views)}",
        *(
            f"  view      {view.id}: {len(plan.points_of(view.id))} points, camera {view.camera},"
            f" {view.width_px} x {view.height_px} px, triggered by {view.trigger}"
            for view in plan.views
        ),
    ]
    return "\n".join(lines)
