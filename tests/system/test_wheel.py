"""The wheel, installed alone in an empty environment outside the checkout, runs a line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inspection.testing import boards
from inspection.testing.line import Line
from inspection.testing.oracle import judge_line

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel with extras edge and station only."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", folder / "env", cwd=folder)
    python = folder / "env" / "bin" / "python"
    run(
        *(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--constraint", ROOT / "constraints.txt", f"{wheel}[edge,station]"),
        cwd=folder,
    )
    return python


@pytest.mark.parametrize(
    "module", ["torch", "torchvision", "streamlit", "albumentations", "onnx", "psycopg", "pandas"]
)
def test_an_edge_and_a_station_are_installed_without(python: Path, module: str) -> None:
    code = f"import importlib.util; print(importlib.util.find_spec({module!r}))"
    assert run(python, "-c", code, cwd=python.parent).strip() == "None"


def test_edge_and_station_run_from_the_wheel_alone(python: Path, tmp_path: Path) -> None:
    package = boards.model(tmp_path / "model")
    parts = ["P1", "P2"]
    boards.write_part(tmp_path / "images", "P1", boards.board())
    boards.write_part(tmp_path / "images", "P2", boards.board((0, 0)))
    with Line(
        tmp_path / "line",
        plans=[boards.write_plan(tmp_path / "plan")],
        models={"darkness": package},
        cameras=boards.camera(tmp_path / "images"),
        parts=parts,
        plan=boards.PLAN,
        python=str(python),
    ) as line:
        line.start()
        assert line.wait("plc", 60) == 0
        assert judge_line(line, parts, boards.GRID**2) == {"P1": "OK", "P2": "NOK"}


def test_the_edge_imports_neither_torch_nor_streamlit_nor_a_database(python: Path) -> None:
    code = (
        "import sys, edge.worker;"
        "print([m for m in ('torch', 'streamlit', 'sqlalchemy', 'fsspec') if m in sys.modules])"
    )
    assert run(python, "-c", code, cwd=python.parent).strip() == "[]"


def test_the_wheel_carries_the_body_and_a_model_that_judges_its_golden_pictures_rightly(
    python: Path,
) -> None:
    code = (
        "from pathlib import Path; import inspection; from inspection.plan import read_plan;"
        "from inspection.rendering import body; print(len(read_plan(body.PLAN).points));"
        "from inspection.package import bundled_package, open_package;"
        "from inspection.runtimes import load; found = load(open_package(bundled_package()));"
        "print(Path(inspection.__file__).parent in found.package.path.parents)"
    )
    assert run(python, "-c", code, cwd=python.parent).split() == ["1248", "True"]


def test_help_needs_nothing_but_the_core(python: Path) -> None:
    assert "station" in run(python, "-m", "inspection", "--help", cwd=python.parent)


def test_a_command_whose_extra_is_missing_says_which_to_install(python: Path) -> None:
    done = subprocess.run(
        [str(python), "-m", "inspection", "train", "recipe.toml"],
        capture_output=True,
        text=True,
        cwd=python.parent,
        check=False,
    )
    assert done.returncode == 2
    assert "visual-inspection[train]" in done.stderr
    assert "Traceback" not in done.stderr
