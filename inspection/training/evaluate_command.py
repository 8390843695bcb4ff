"""``inspection evaluate PACKAGE --data DIR [--json FILE]``"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from inspection.errors import DataError
from inspection.package import Package, open_package
from inspection.runtimes import load
from inspection.training.data import Dataset, read_dataset
from inspection.training.evaluate import measure, report, write_json
from inspection.training.recipe import read_description

DESCRIPTION, SPLIT = "dataset.toml", "split.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("package", type=Path, help="folder of a model package")
    parser.add_argument("--data", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts here as JSON")
    parser.add_argument(
        "--dataset",
        type=Path,
        metavar="TOML",
        help="description of the data (default: the one the package was trained by)",
    )
    parser.add_argument(
        "--all-parts",
        action="store_true",
        help="also those the package was trained or chosen on; the result is then no test",
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure the package and print, or write, what came out."""
    package = open_package(arguments.package)
    description = read_description(arguments.dataset or arguments.package / DESCRIPTION)
    known = {entry.name for entry in package.manifest.classes}
    if unknown := sorted(set(description.class_names) - known):
        raise DataError(
            f"{arguments.package}: has no class {unknown[0]!r}, which the data set has:"
            " name another description with --dataset"
        )
    dataset = read_dataset(description, arguments.data)
    for warning in dataset.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for unreadable in dataset.unreadable:
        print(f"unreadable: {unreadable.path}: {unreadable.why}", file=sys.stderr)
    parts = dataset.parts
    if not arguments.all_parts:
        parts = unseen(package, dataset)
        left_out = len(dataset.parts) - len(parts)
        if left_out:
            print(f"{left_out} parts left out: the package was trained or chosen on them")
        if not parts:
            raise DataError(
                f"{arguments.data}: the package was trained or chosen on every part here: measure"
                " on others, or say --all-parts and call the result no test"
            )
    evaluation = measure(load(package), dataset, parts)
    print(report(evaluation, package.manifest.ok_class))
    if arguments.json is not None:
        write_json(arguments.json, evaluation)
    return 0


def unseen(package: Package, dataset: Dataset) -> list[str]:
    """Parts that the package was neither trained nor chosen on. They are told by name: pictures
    that were renamed cannot be recognised."""
    if SPLIT not in package.content:
        return dataset.parts
    split = msgspec.json.decode(package.content[SPLIT], type=dict[str, list[str]])
    seen = {*split.get("train", ()), *split.get("validation", ())}
    return [part for part in dataset.parts if part not in seen]
