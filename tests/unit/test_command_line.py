"""The one command: what it says, how it ends, and what it does not import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import msgspec
import pytest

from inspection import __version__, schemas_command, wire
from inspection import messages as m
from inspection.__main__ import COMMANDS, EXTRAS, main
from inspection.errors import ConfigurationError, PackageError, Problem, StoreError, WireError

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "streamlit", "onnxruntime", "cv2", "numpy", "sqlalchemy", "zmq", "PIL", "fsspec")

PLAN = """\
[plan]
name = "door"
version = "1"
deadline_ms = 5000
[kinds.spot-weld]
model = "spot-weld"
[[view]]
id = "left"
camera = "camera-1"
width_px = 640
height_px = 480
[[point]]
id = "P1"
view = "left"
kind = "spot-weld"
left_px = 10
top_px = 20
width_px = 64
height_px = 64
severity = "major"
"""


def python(code: str, *arguments: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
        **kwargs,
    )


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Puts a function in the place of ``inspection station``."""

    def install(run: Callable[[], int]) -> None:
        module = ModuleType("station_stand_in")
        module.configure = lambda parser: parser.add_argument("file", nargs="?")  # type: ignore[attr-defined]
        module.run = lambda arguments: run()  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "inspection.station.command", module)

    return install


def raising(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


# ---------------------------------------------------------------- what help says


def test_help_and_the_checks_of_a_plan_import_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    done = python(
        "import sys\n"
        "from inspection.__main__ import main\n"
        "assert main(['--help']) == 0\n"
        "assert main(['plan', 'check', sys.argv[1]]) == 0\n"
        f"print('imported:', sorted(set({HEAVY!r}) & set(sys.modules)))\n",
        str(tmp_path / "plan.toml"),
    )
    assert done.stdout.splitlines()[-1:] == ["imported: []"], done.stderr


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"{name} " in said for name in COMMANDS)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"inspection {__version__}\n"


@pytest.mark.parametrize("words", [[], ["weld"], ["plan"], ["plan", "check"], ["--fast"]])
def test_a_command_nobody_knows_shows_how_it_is_called(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert "usage: inspection" in capsys.readouterr().err


# ---------------------------------------------------------------- how a command ends


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            ConfigurationError(Problem("plan.toml", 12, "name", "is missing")),
            2,
            "inspection station: plan.toml:12: name: is missing\n",
        ),
        (
            ConfigurationError([Problem("a", None, "", "one"), Problem("a", 2, "", "two")]),
            2,
            "inspection station: a: one (and 1 more)\n",
        ),
        (StoreError("disk\nfull"), 1, "inspection station: disk full\n"),
        (PackageError("changed"), 1, "inspection station: changed\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_failure_is_one_readable_line_and_a_code(
    command: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    command(raising(error))
    assert main(["station", "station.toml"]) == code
    assert capsys.readouterr().err == said


def test_the_code_of_a_command_is_the_code_of_the_process(
    command: Callable[[Callable[[], int]], None],
) -> None:
    command(lambda: 5)
    assert main(["station"]) == 5


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [
        ("edge", "onnxruntime", "edge"),
        ("edge", "cv2", "edge"),
        ("station", "sqlalchemy.orm", "station"),
        ("ui", "streamlit", "ui"),
        ("ui", "sqlalchemy", "ui"),
        ("train", "torch", "train"),
        ("train", "numpy", "train"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    missing: str,
    extra: str,
) -> None:
    module = ModuleType("stand_in")
    module.configure = lambda _: None  # type: ignore[attr-defined]
    module.run = lambda _: raising(  # type: ignore[attr-defined]
        ModuleNotFoundError(f"No module named {missing!r}", name=missing)
    )()
    monkeypatch.setitem(sys.modules, COMMANDS[name].module_path, module)
    assert main([name]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"inspection {name}: {missing.partition('.')[0]} is not installed:"
        f' pip install "visual-inspection[{extra}]" brings it\n'
    )


def test_a_broken_installation_is_not_explained_away(
    command: Callable[[Callable[[], int]], None],
) -> None:
    command(raising(ModuleNotFoundError("No module named 'inspection.x'", name="inspection.x")))
    with pytest.raises(ModuleNotFoundError):
        main(["station"])


def test_every_extra_named_is_one_the_package_has() -> None:
    project = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["project"]
    assert set(EXTRAS.values()) <= set(project["optional-dependencies"])
    assert project["scripts"]["inspection"] == "inspection.__main__:main"


def test_a_reader_that_went_away_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "inspection", "plan", "check", str(tmp_path / "plan.toml")],
            stdout=writing,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


# ---------------------------------------------------------------- inspection plan


def test_plan_check_says_what_a_plan_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(PLAN)
    assert main(["plan", "hash", str(file)]) == 0
    plan_hash = capsys.readouterr().out.strip()
    assert main(["plan", "check", str(file), "--model", "spot-weld"]) == 0
    said = capsys.readouterr().out
    for part in (
        "door, version 1, deadline 5000 ms",
        plan_hash,
        "spot-weld: 1 ",
        "major: 1 ",
        "minor: 0 ",
        "left: 1 points, camera camera-1, 640 x 480 px",
    ):
        assert part in said


def test_plan_check_names_every_mistake_on_a_line_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(PLAN.replace("5000", "5").replace("640", "64").replace("major", "bad"))
    assert main(["plan", "check", str(file), "--model", "clip"]) == 2
    said = capsys.readouterr()
    places = [line.split(": ")[0] for line in said.out.splitlines()]
    assert places == [f"{file}:{line}" for line in (4, 6, 16, 20)]
    assert said.err == f"{file}: 4 mistakes\n"


def test_plan_hash_of_a_wrong_plan_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "hash", str(tmp_path / "none.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# ---------------------------------------------------------------- inspection schemas


def test_the_committed_schemas_are_those_of_the_structs() -> None:
    committed = (ROOT / "docs" / "plc" / "schemas.json").read_bytes()
    assert committed == schemas_command.document(), "run: inspection schemas"


def test_the_committed_asyncapi_document_is_that_of_the_structs_and_the_handshake() -> None:
    committed = (ROOT / "docs" / "plc" / "asyncapi.json").read_bytes()
    assert committed == schemas_command.asyncapi(), "run: inspection schemas"


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    described = msgspec.json.decode(schemas_command.asyncapi())
    schemas = msgspec.json.decode(schemas_command.document())
    found = re.findall(r'"\$ref": *"([^"]*)#([^"]*)"', schemas_command.asyncapi().decode())
    assert len(found) > 50
    for file, pointer in found:
        place = {"": described, "schemas.json": schemas}[file]
        for step in pointer.strip("/").split("/"):
            place = place[step]
        assert place


def test_the_asyncapi_document_says_what_answers_what_and_what_comes_unasked() -> None:
    described = msgspec.json.decode(schemas_command.asyncapi())
    operations = described["operations"]
    for kind in schemas_command.lane_types("PLC_TO_STATION"):
        assert operations[f"on{kind.__name__}"]["reply"]["messages"]
    assert [name for name, entry in operations.items() if entry["action"] == "send"] == [
        "sendVerdictReady"
    ]
    begun = operations["onBegin"]["reply"]["messages"]
    assert [entry["$ref"].rpartition("/")[2] for entry in begun] == ["Begun", "Refusal"]


def test_schemas_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    assert main(["schemas", "--out", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "schemas.json").read_bytes() == schemas_command.document()
    assert (tmp_path / "new" / "asyncapi.json").read_bytes() == schemas_command.asyncapi()


def test_schemas_bring_the_page_beside_them_up_to_date(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "plc.md").read_text("utf-8")
    (tmp_path / "plc.md").write_text(page.replace("| READY | 255 |", "| READY | 254 |"), "utf-8")
    assert main(["schemas", "--out", str(tmp_path / "plc")]) == 0
    assert (tmp_path / "plc.md").read_text("utf-8") == page


def test_schemas_that_cannot_be_written_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["schemas", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture(scope="module")
def accepts() -> Callable[[str], bool]:
    schema = msgspec.json.decode(schemas_command.document())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    return lambda text: validator.is_valid(msgspec.json.decode(text))


def test_schemas_accept_what_the_station_accepts_and_refuse_what_it_refuses(
    accepts: Callable[[str], bool],
) -> None:
    begin = '{"type":"Begin","protocol":1,"plc":"p","seq":1,"part":"VIN1","plan":"door"}'
    wire.PLC_TO_STATION.decode(begin.encode())
    assert accepts(begin)
    assert accepts(begin.replace("{", '{"newer":1,', 1))
    for old, new in (
        ('"protocol":1,', ""),
        ('"protocol":1', '"protocol":2'),
        ('"seq":1', '"seq":0'),
        ('"Begin"', '"Start"'),
        ('"VIN1"', '"../VIN"'),
        (',"plan":"door"', ""),
    ):
        assert not accepts(begin.replace(old, new))
        with pytest.raises(WireError):
            wire.PLC_TO_STATION.decode(begin.replace(old, new).encode())


def test_schemas_name_the_fault_codes() -> None:
    faults = msgspec.json.decode(schemas_command.document())["$defs"]["Fault"]["oneOf"]
    assert {"const": 111, "title": "RUN_OPEN"} in faults
    assert len(faults) == len(m.Fault)
