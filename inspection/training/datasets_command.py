"""``inspection datasets check|stats|split|import|export|collect``"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import msgspec

from inspection.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from inspection.training.data import Dataset

MOST = 10
"""Entries of a long list that are printed; ``--out`` has them all."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def command(name: str, text: str, *, data: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        if data:
            added.add_argument("data", type=Path, help="folder of the pictures")
            added.add_argument("--dataset", type=Path, help="description, if not in that folder")
            added.add_argument("--ok", metavar="CLASS", help="which class is the OK class")
            added.add_argument(
                "--part", metavar="REGEX", help="finds the part in a picture's path: first group"
            )
        added.set_defaults(work=_WORK[name])
        return added

    check = command("check", "say all that is wrong; exit code 1 where training would refuse")
    check.add_argument(
        "--out", type=Path, metavar="DIR", help="also look for label errors; write a page there"
    )
    command("stats", "count points by class, parts and sizes")
    split = command("split", "divide the parts, and write down how")
    split.add_argument("--out", type=Path, required=True, metavar="FILE", help="split.json")
    split.add_argument("--by", choices=("part", "time"), help="time: the newest parts are the test")
    split.add_argument("--seed", type=int)
    split.add_argument("--folds", type=int, metavar="K", help="K folds of test parts instead")
    imported = command(
        "import", "copy a data set of any layout into one with index and description"
    )
    imported.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    exported = command("export", "write a data set as other tools read it")
    exported.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    exported.add_argument("--to", required=True, choices=("coco", "fiftyone", "labelstudio"))
    collected = command("collect", "write the kept crops of production as a data set", data=False)
    collected.add_argument("--store", required=True, metavar="URL", help="the station's store")
    collected.add_argument("--evidence", metavar="URL", help="default: evidence/ beside the store")
    collected.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    collected.add_argument(
        "--machine",
        action="store_true",
        help="also what nobody has decided on, labelled by the machine",
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for."""
    code: int = arguments.work(arguments)
    return code


def _say(line: str) -> None:
    print(line, flush=True)


def _read(arguments: argparse.Namespace) -> Dataset:
    from inspection.training.data import read_dataset
    from inspection.training.discover import describe
    from inspection.training.recipe import read_description

    if arguments.dataset is not None:
        if arguments.ok is not None or arguments.part is not None:
            raise DataError(f"{arguments.dataset}: say there what --ok and --part would")
        description = read_description(arguments.dataset)
    else:
        description = describe(arguments.data, ok=arguments.ok, part=arguments.part)
    return read_dataset(description, arguments.data, _say)


def _check(arguments: argparse.Namespace) -> int:
    from inspection.training import findings as f
    from inspection.training.label_errors import find_label_errors, summary

    dataset = _read(arguments)
    findings, suspects = f.examine(dataset), None
    if arguments.out is not None:
        try:
            suspects = find_label_errors(dataset, progress=_say)
        except DataError as error:
            _say(f"label errors were not looked for: {error}")
        else:
            findings = f.with_label_errors(findings, dataset, suspects)
    for line in f.lines_of(findings, most=MOST):
        _say(line)
    if suspects is not None:
        for line in summary(suspects)[1:]:
            _say(line)
    if arguments.out is not None:
        page, _ = f.write_page(arguments.out, dataset, findings, suspects)
        _say(f"{page}: all of it, with pictures")
    return 1 if findings.refusal else 0


def _stats(arguments: argparse.Namespace) -> int:
    dataset = _read(arguments)
    points: Counter[str] = Counter()
    parts: defaultdict[str, set[str]] = defaultdict(set)
    pictures: defaultdict[str, set[Path]] = defaultdict(set)
    sizes: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for picture in dataset.pictures:
        for point in picture.points:
            label = "(counted apart)" if point.label is None or point.borderline else point.label
            points[label] += 1
            parts[label].add(picture.part)
            pictures[label].add(picture.path)
            sizes[label].append((point.region.width_px, point.region.height_px))
    rows: list[tuple[str, ...]] = [
        ("class", "points", "pictures", "parts", "smallest px", "median px", "largest px")
    ]
    for label in [*dataset.description.class_names, "(counted apart)"]:
        if not points[label]:
            if label in dataset.description.class_names:
                rows.append((label, "0", "0", "0", "-", "-", "-"))
            continue
        wide, high = zip(*sizes[label], strict=True)
        shown = [f"{of(wide):g} x {of(high):g}" for of in (min, median, max)]
        counts = (points[label], len(pictures[label]), len(parts[label]))
        rows.append((label, *map(str, counts), *shown))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        _say("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    _say(f"{len(dataset.pictures)} pictures, {len(dataset.parts)} parts, hash {dataset.sha256}")
    for warning in dataset.warnings:
        _say(f"warning: {warning}")
    return 0


def _split(arguments: argparse.Namespace) -> int:
    from inspection.training.data import folds, split_parts
    from inspection.training.duplicates import check_leaks, join_twins

    dataset = _read(arguments)
    join_twins(dataset)
    rule = dataset.description.split
    changed = {name: getattr(arguments, name) for name in ("by", "seed")}
    rule = msgspec.structs.replace(rule, **{k: v for k, v in changed.items() if v is not None})
    if arguments.folds is not None:
        found = {"folds": folds(dataset, arguments.folds, rule.seed)}
        sizes = [len(parts) for parts in found["folds"]]
        told = f"{len(sizes)} folds of {min(sizes)} to {max(sizes)} parts"
        data = msgspec.json.encode(found)
    else:
        split = split_parts(dataset, rule)
        check_leaks(dataset, split)
        shares = split._asdict()
        told = ", ".join(f"{len(parts)} {name}" for name, parts in shares.items() if parts)
        data = msgspec.json.encode({"dataset": dataset.sha256, **shares})
    for warning in dataset.warnings:
        _say(f"warning: {warning}")
    try:
        arguments.out.write_bytes(msgspec.json.format(data, indent=1) + b"\n")
    except OSError as error:
        raise DataError(f"{arguments.out}: cannot be written: {error.strerror}") from None
    _say(f"{arguments.out}: {told}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from inspection.training.exchange import write_index

    dataset = _read(arguments)
    for line in write_index(dataset, arguments.out):
        _say(line)
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from inspection.training.exchange import export

    dataset = _read(arguments)
    for line in export(dataset, arguments.to, arguments.out):
        _say(line)
    return 0


def _collect(arguments: argparse.Namespace) -> int:
    try:
        from inspection.training.collect import collect
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{error.name} is not installed: a store is read with"
            ' pip install "visual-inspection[train,station]"'
        ) from None
    for line in collect(
        arguments.store, arguments.evidence, arguments.out, machine=arguments.machine
    ):
        _say(line)
    return 0


_WORK = {
    "check": _check,
    "stats": _stats,
    "split": _split,
    "import": _import,
    "export": _export,
    "collect": _collect,
}
