"""``inspection evaluate PACKAGE [--data DIR] [--json FILE] [--report DIR]``"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from inspection.errors import DataError
from inspection.package import Package, open_package, released
from inspection.runtimes import load
from inspection.training.data import Dataset, read_dataset
from inspection.training.evaluate import measure, report, write_json
from inspection.training.layouts import rendered
from inspection.training.recipe import DatasetDescription, read_description
from inspection.training.report import HTML, write_report

DESCRIPTION, SPLIT = "dataset.toml", "split.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "package", type=Path, help="folder of a model package, or the one its versions lie in"
    )
    parser.add_argument(
        "--data", type=Path, help="folder of the pictures (a rendered set is drawn if need be)"
    )
    parser.add_argument(
        "--seed", type=int, help="of a rendered set: draw its test parts from this seed instead"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts here as JSON")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write report.html and report.json here: all there is to say, in a few minutes",
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=2000,
        metavar="N",
        help="points the report disturbs to see how robust the model is (default: %(default)s)",
    )
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
    folder = released(arguments.package)
    package = open_package(folder)
    description = read_description(arguments.dataset or folder / DESCRIPTION)
    if arguments.seed is not None:
        description = _reseeded(description, arguments.seed)
    known = {entry.name for entry in package.manifest.classes}
    if unknown := sorted(set(description.class_names) - known):
        raise DataError(
            f"{arguments.package}: has no class {unknown[0]!r}, which the data set has:"
            " name another description with --dataset"
        )
    data = _data(arguments.data, description)
    dataset = read_dataset(description, data)
    for warning in dataset.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for unreadable in dataset.unreadable:
        print(f"unreadable: {unreadable.path}: {unreadable.why}", file=sys.stderr)
    parts = dataset.parts
    if not arguments.all_parts:
        parts = unseen(package, dataset)
        left_out = len(dataset.parts) - len(parts)
        if left_out and arguments.seed is None:
            print(f"{left_out} parts left out: the package was trained or chosen on them")
        if not parts:
            raise DataError(
                f"{data}: the package was trained or chosen on every part here: measure"
                " on others, or say --all-parts and call the result no test"
            )
    if arguments.report is not None:
        if arguments.sample < 0:
            raise DataError(f"--sample {arguments.sample}: must not be negative")
        evaluation = write_report(
            folder, dataset, parts, arguments.report, sample=arguments.sample
        ).evaluation
    else:
        evaluation = measure(load(package), dataset, parts)
    print(report(evaluation, package.manifest.ok_class))
    if arguments.report is not None:
        print(f"report: {arguments.report / HTML}")
    if arguments.json is not None:
        write_json(arguments.json, evaluation)
    return 0


def unseen(package: Package, dataset: Dataset) -> list[str]:
    """Parts that the package was neither trained nor chosen on. They are told by name: pictures
    that were renamed cannot be recognised."""
    if SPLIT not in package.content:
        return dataset.parts
    split = msgspec.json.decode(package.content[SPLIT], type=dict[str, list[str]])
    seen = {part for name in ("train", "validation", "calibration") for part in split.get(name, ())}
    return [part for part in dataset.parts if part not in seen]


def _reseeded(description: DatasetDescription, seed: int) -> DatasetDescription:
    """The same recipe with a seed that no training has seen."""
    if description.rendered is None:
        raise DataError(f"--seed: data set {description.name} is not rendered and has no seed")
    if seed < 0:
        raise DataError(f"--seed {seed}: must not be negative")
    told = msgspec.structs.replace(description.rendered, seed=seed, scenes="")
    return msgspec.structs.replace(description, rendered=told)


def _data(data: Path | None, description: DatasetDescription) -> Path:
    """The folder of the pictures; of a rendered set, with its test parts drawn."""
    if description.rendered is not None:
        return rendered.provide(description, data, ("test",))
    if data is None:
        raise DataError(f"data set {description.name}: name the folder of its pictures with --data")
    return data
