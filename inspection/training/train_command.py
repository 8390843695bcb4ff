"""``inspection train [RECIPE] [--data DIR] [--out DIR]``"""

from __future__ import annotations

import argparse
from pathlib import Path

from inspection.errors import DataError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "recipe",
        type=Path,
        nargs="?",
        help="recipe.toml (default: one is chosen by what the data are, and kept in the package)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of the pictures (default: data/ beside the data set's description; for a"
        " rendered set a folder in the cache, which is filled)",
    )
    parser.add_argument(
        "--out", type=Path, help="new folder for the package (default: VERSION/ beside the recipe)"
    )
    parser.add_argument("--ok", metavar="CLASS", help="which class is the OK class")
    parser.add_argument(
        "--part",
        metavar="REGEX",
        help="finds the part in a picture's path: its first group is the part's name",
    )
    parser.add_argument(
        "--test-parts",
        type=Path,
        metavar="FILE",
        help="hold out and test on exactly the parts named in this file, one a line",
    )
    parser.add_argument(
        "--devices",
        default="1",
        metavar="N",
        help="processes, one a GPU, or on a CPU so many (default 1); 'auto' takes every GPU",
    )
    parser.add_argument(
        "--nodes",
        type=int,
        default=1,
        metavar="N",
        help="machines; start the same command on each, with torchrun or under Slurm",
    )
    parser.add_argument(
        "--accelerator",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="default: a GPU where there is one",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train, write the package, print what it did."""
    from inspection.training.evaluate import report
    from inspection.training.fit import read_both, several, train
    from inspection.training.layouts import rendered
    from inspection.training.recipe import read_recipe

    def say(line: str) -> None:
        print(line, flush=True)

    data, out = arguments.data, arguments.out
    recipe = None
    if arguments.recipe is not None:
        recipe = read_recipe(arguments.recipe)
        out = out or arguments.recipe.parent / recipe.version
        if recipe.dataset:
            _, description_path, description = read_both(arguments.recipe)
            if description.rendered is not None:
                data = rendered.provide(description, data, progress=say)
            data = data or description_path.parent / "data"
    if data is None or out is None:
        missing = "--data DIR" if data is None else "--out DIR"
        raise DataError(f"{missing} is missing: without a recipe nothing else says it")
    parts = None
    if arguments.test_parts is not None:
        try:
            lines = arguments.test_parts.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{arguments.test_parts}: cannot be read: {error}") from None
        parts = [line.strip() for line in lines if line.strip()]

    fabric = several(_count(arguments.devices), arguments.nodes, arguments.accelerator)
    fabric.launch()
    trained = train(
        arguments.recipe,
        data,
        out,
        test_parts=parts,
        ok=arguments.ok,
        part=arguments.part,
        progress=say,
        fabric=fabric,
    )
    if trained.validation.points:
        print("validation parts:")
        print(report(trained.validation, trained.ok_class))
    if trained.test is not None:
        print("test parts:")
        print(report(trained.test, trained.ok_class))
    print(f"{trained.path}: made in {trained.seconds:.0f} s; read CARD.md before using it")
    return 0


def _count(text: str) -> int | str:
    if text == "auto":
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise DataError(f"--devices {text}: a number from 1 on, or auto")
