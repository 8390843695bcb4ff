"""``inspection train RECIPE [--data DIR] [--out DIR]``"""

from __future__ import annotations

import argparse
from pathlib import Path

from inspection.errors import DataError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("recipe", type=Path, help="recipe.toml")
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of the pictures (default: data/ beside the data set's description; for a"
        " rendered set a folder in the cache, which is filled)",
    )
    parser.add_argument(
        "--out", type=Path, help="new folder for the package (default: VERSION/ beside the recipe)"
    )
    parser.add_argument(
        "--test-parts",
        type=Path,
        metavar="FILE",
        help="hold out and test on exactly the parts named in this file, one a line",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train, write the package, print what it did."""
    from inspection.training.evaluate import report
    from inspection.training.fit import read_both, train
    from inspection.training.layouts import rendered

    recipe, description_path, description = read_both(arguments.recipe)

    def say(line: str) -> None:
        print(line, flush=True)

    if description.rendered is not None:
        data = rendered.provide(description, arguments.data, progress=say)
    else:
        data = arguments.data or description_path.parent / "data"
    out = arguments.out or arguments.recipe.parent / recipe.version
    parts = None
    if arguments.test_parts is not None:
        try:
            lines = arguments.test_parts.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{arguments.test_parts}: cannot be read: {error}") from None
        parts = [line.strip() for line in lines if line.strip()]

    trained = train(arguments.recipe, data, out, test_parts=parts, progress=say)
    print("validation parts:")
    print(report(trained.validation, description.ok_class))
    if trained.test is not None:
        print("test parts:")
        print(report(trained.test, description.ok_class))
    print(f"{trained.path}: made in {trained.seconds:.0f} s; read CARD.md before using it")
    return 0
