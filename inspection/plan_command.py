"""``inspection plan``: check a plan before a station is given it."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

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
    show_hash = actions.add_parser("hash", help="show the hash under which results name the plan")
    show_hash.add_argument("file", type=Path, metavar="FILE", help="the plan's TOML file")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "hash":
        print(read_plan(arguments.file).hash)
        return 0
    try:
        plan = read_plan(arguments.file, arguments.model)
    except PlanError as error:
        for problem in error.problems:
            print(problem)
        many = len(error.problems)
        print(f"{arguments.file}: {many} mistake{'s' * (many > 1)}", file=sys.stderr)
        return 2
    print(summary(plan))
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
