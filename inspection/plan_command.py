"""``inspection plan``: check a plan before a station is given it, and learn what its pictures must
be like."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from inspection.config import read_toml, resolve
from inspection.errors import PlanError
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
    show_hash = actions.add_parser("hash", help="show the hash under which results name the plan")
    show_hash.add_argument("file", type=Path, metavar="FILE", help="the plan's TOML file")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "hash":
        print(read_plan(arguments.file).hash)
        return 0
    try:
        if arguments.action == "learn":
            return learn(arguments.file, arguments.pictures)
        plan = read_plan(arguments.file, arguments.model)
    except PlanError as error:
        for problem in error.problems:
            print(problem)
        many = len(error.problems)
        print(f"{arguments.file}: {many} mistake{'s' * (many > 1)}", file=sys.stderr)
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
