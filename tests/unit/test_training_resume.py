"""A training that was killed ends as if it had never stopped; one that learns no more stops."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from inspection.errors import DataError
from inspection.imaging import encode_png
from inspection.package import open_package
from inspection.training import export
from inspection.training.fit import Trained, train

ROOT = Path(__file__).parents[2]
SIDE, PARTS, CHECKS = 32, 16, 4

RECIPE = """\
name = "dots"
version = "1"
architecture = "{architecture}"
seed = 5

[input]
width = {side}
height = {side}
channels = 1

[fit]
steps = 8
batch = 8
checks = 4
learning_rate = 1e-2
averaging = 0.5
precision = "float32"
patience = {patience}

[sampling]
hard = 0.5
"""


def recipe(folder: Path, architecture: str = "cells", patience: int = 0, side: int = SIDE) -> Path:
    file = folder / "recipe.toml"
    file.write_text(RECIPE.format(architecture=architecture, patience=patience, side=side))
    return file


def pictures(root: Path) -> Path:
    """Good parts are even, defective ones have a dark dot somewhere."""
    rng = np.random.default_rng(3)
    for number in range(2 * PARTS):
        frame = rng.integers(180, 220, (SIDE, SIDE)).astype(np.uint8)
        label = "good" if number % 2 else "dot"
        if label == "dot":
            row, column = rng.integers(6, 20, 2)
            frame[row : row + 8, column : column + 8] = 30
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f"P{number // 2:02d}_{number % 2}.png").write_bytes(encode_png(frame))
    return root


def run(file: Path, data: Path, out: Path, stop_at_check: int | None = None) -> Trained:
    """Train; a Ctrl-C comes right after the given check was written."""
    seen = 0

    def progress(line: str) -> None:
        nonlocal seen
        if line.startswith("step "):
            seen += 1
            # The line comes before the state is written, hence the next check's.
            if stop_at_check is not None and seen == stop_at_check + 1:
                raise KeyboardInterrupt

    return train(file, data, out, part=r"(P\d+)_", progress=progress)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("pictures") / "dots")


@pytest.mark.parametrize("stopped_after", [1, 2, 3])
def test_a_stopped_training_goes_on_to_the_very_same_model(
    data: Path, tmp_path: Path, stopped_after: int
) -> None:
    file = recipe(tmp_path)
    whole = run(file, data, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(file, data, tmp_path / "torn", stopped_after)
    assert (tmp_path / "torn.training" / "state.pt").is_file()
    assert not any((tmp_path / "torn").iterdir())
    torn = run(file, data, tmp_path / "torn")
    for name in ("model.onnx", "golden/golden.json"):
        one, other = (open_package(made.path).content[name] for made in (whole, torn))
        assert one == other
    for one, other in ((whole.validation, torn.validation), (whole.test, torn.test)):
        assert one is not None
        assert other is not None
        assert (one.verdicts, one.findings) == (other.verdicts, other.findings)


def test_photographs_go_on_to_the_same_model_too(data: Path, tmp_path: Path) -> None:
    """Dropout, augmentation and batch normalisation all have a state of their own."""
    file = recipe(tmp_path, "mobilenet-v3-small")
    whole = run(file, data, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(file, data, tmp_path / "torn", 2)
    torn = run(file, data, tmp_path / "torn")
    one, other = (open_package(made.path).content["model.onnx"] for made in (whole, torn))
    assert one == other


def test_a_stop_while_the_package_is_written_leaves_no_half_of_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    file = recipe(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(export, "finish", stopped)
        run(file, data, tmp_path / "out")
    assert not any((tmp_path / "out").iterdir())
    said: list[str] = []
    train(file, data, tmp_path / "out", part=r"(P\d+)_", progress=said.append)
    assert "going on after step 8 of 8" in said
    assert open_package(tmp_path / "out").manifest.metrics["test"]
    assert not (tmp_path / "out.training" / "package").exists()


def test_a_network_whose_novelty_cannot_be_exported_goes_without(
    data: Path, tmp_path: Path
) -> None:
    """After a few steps a body's channels hardly vary, and float32 cannot hold their distances."""
    file = recipe(tmp_path, "mobilenet-v3-small")
    file.write_text(file.read_text() + "\n[export]\nnovelty = true\n")
    said: list[str] = []
    train(file, data, tmp_path / "out", part=r"(P\d+)_", progress=said.append)
    assert any(line.startswith("warning: no out-of-distribution score") for line in said)
    package = open_package(tmp_path / "out")
    assert package.manifest.ood_name is None
    assert package.policy.ood_max is None


def test_a_killed_process_leaves_a_state_that_the_next_one_takes_up(
    data: Path, tmp_path: Path
) -> None:
    file = recipe(tmp_path)
    file.write_text(
        file.read_text().replace("steps = 8", "steps = 4000").replace("= 4\n", "= 400\n")
    )
    command = [
        sys.executable, "-m", "inspection", "train", str(file), "--data", str(data),
        "--out", str(tmp_path / "out"), "--part", r"(P\d+)_", "--accelerator", "cpu",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        state = tmp_path / "out.training" / "state.pt"
        until = time.monotonic() + 120
        while not state.exists() and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    held = torch.load(state, weights_only=True)
    assert held["step"] % 10 == 0
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        train(
            file, data, tmp_path / "out", part=r"(P\d+)_",
            progress=lambda line: _stop_once_going(line, said),
        )  # fmt: skip
    assert any(re.match(r"going on after step \d+0 of 4000", line) for line in said)


def _stop_once_going(line: str, said: list[str]) -> None:
    said.append(line)
    if line.startswith("step "):
        raise KeyboardInterrupt


def test_a_state_of_another_training_is_refused_and_a_damaged_one_too(
    data: Path, tmp_path: Path
) -> None:
    file = recipe(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(file, data, tmp_path / "out", 1)
    state = tmp_path / "out.training" / "state.pt"
    file.write_text(file.read_text().replace("seed = 5", "seed = 6"))
    with pytest.raises(DataError, match=r"state\.pt: belongs to a training with another recipe"):
        run(file, data, tmp_path / "out")
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"state\.pt: cannot be read .*remove it to begin anew"):
        run(file, data, tmp_path / "out")


def test_a_finished_training_leaves_figures_and_no_state(data: Path, tmp_path: Path) -> None:
    run(recipe(tmp_path), data, tmp_path / "out")
    aside = tmp_path / "out.training"
    assert not (aside / "state.pt").exists()
    (events,) = (aside / "tensorboard").iterdir()
    written = events.read_bytes()
    for name in (b"loss", b"rate", b"validation/loss", b"validation/escapes"):
        assert name in written


def test_the_card_says_how_long_it_was_and_what_is_promised(data: Path, tmp_path: Path) -> None:
    file = recipe(tmp_path)
    text = file.read_text().replace("steps = 8", "epochs = 1.5")
    file.write_text(f"{text}\n[promise]\nlimit = 0.1\n\n[export]\nint8 = true\n")
    said: list[str] = []
    train(file, data, tmp_path / "out", part=r"(P\d+)_", progress=said.append)
    card = (tmp_path / "out" / "CARD.md").read_text()
    assert "1.5 epochs in batches of 8 crops" in card
    assert "An escape rate of 10 % is not proven with 95 % confidence" in card
    assert "escape rate of 10 %" in open_package(tmp_path / "out").policy.why
    report = (tmp_path / "out.report" / "report.html").read_text()
    assert "An escape rate of 10 % is not proven" in report
    # Sixteen parts leave nothing for the ranges of an 8-bit graph.
    assert any(line.startswith("warning: no 8-bit graph") for line in said)


def test_training_stops_where_validation_gets_no_better_and_keeps_the_best(
    data: Path, tmp_path: Path
) -> None:
    file = recipe(tmp_path, patience=2)
    text = (
        file.read_text().replace("steps = 8", "steps = 400").replace("checks = 4", "checks = 200")
    )
    file.write_text(text)
    said: list[str] = []
    train(file, data, tmp_path / "out", part=r"(P\d+)_", progress=said.append)
    (stopped,) = [line for line in said if line.startswith("no better")]
    steps = int(re.findall(r"step (\d+) of 400", stopped)[0])
    assert steps < 400


@pytest.mark.slow
def test_two_processes_train_one_model_together(data: Path, tmp_path: Path) -> None:
    file = recipe(tmp_path)
    command = [
        sys.executable, "-m", "inspection", "train", str(file), "--data", str(data),
        "--out", str(tmp_path / "out"), "--part", r"(P\d+)_",
        "--devices", "2", "--accelerator", "cpu",
    ]  # fmt: skip
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("made in") == 1  # one of them writes and speaks
    package = open_package(tmp_path / "out")
    assert json.loads(package.content["split.json"])["train"]
    assert package.manifest.metrics["test"]


def test_devices_that_are_not_there_are_refused(data: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [
        sys.executable, "-m", "inspection", "train", "--data", str(data),
        "--out", str(tmp_path / "out"), "--devices", "2", "--accelerator", "cuda",
    ]  # fmt: skip
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "--devices 2" in done.stderr
    assert "Traceback" not in done.stderr
