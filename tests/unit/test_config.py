"""Configuration files, log lines and clocks: what a person gets to read when one is wrong."""

from __future__ import annotations

import enum
import io
import json
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from inspection import log
from inspection.clock import Clock, SystemClock
from inspection.config import TomlPath, dotted, key_lines, read_config, read_toml, resolve
from inspection.errors import ConfigurationError, Problem
from inspection.messages import Id, Reason
from inspection.testing.clock import FakeClock


class Colour(enum.StrEnum):
    MONO = "mono"
    RGB = "rgb"


class Camera(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: Id
    width_px: Annotated[int, Meta(ge=1, le=100)]
    colour: Colour = Colour.MONO
    gain: Annotated[float, Meta(ge=0, le=10)] = 1.0


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.seconds == 0:
            raise ValueError("seconds must not be 0: leave it out instead")


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Id
    cameras: tuple[Camera, ...] = ()
    models: dict[Id, Limits] = {}
    nested: dict[str, dict[str, list[int]]] = {}
    limits: Limits = Limits()


def problem_of(folder: Path, text: str | bytes) -> Problem:
    file = folder / "station.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        read_config(file, Settings)
    (problem,) = caught.value.problems
    assert problem.file == str(file)
    return problem


CAMERA = '[[cameras]]\nid = "a"\nwidth_px = 5\n'


def test_a_configuration_becomes_a_struct(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    text = 'name = "s"\r\n[[cameras]]\r\nid = "a"\r\nwidth_px = 5\r\ncolour = "rgb"\r\n'
    for start in ("", "\ufeff"):
        file.write_bytes((start + text).encode())
        camera = Camera(id="a", width_px=5, colour=Colour.RGB)
        assert read_config(file, Settings) == Settings(name="s", cameras=(camera,))


@pytest.mark.parametrize(
    ("text", "line", "field", "message"),
    [
        ("", None, "name", "is missing"),
        ('name = "s"\nnmae = "t"', 2, "nmae", "did you mean name?"),
        ("\nname = 5", 2, "name", "must be text in quotes, not a whole number"),
        ('name = "a b"', 1, "name", "no identifier"),
        ('name = "s"\n' + CAMERA + CAMERA + "wdth_px = 1", 8, "cameras[1].wdth_px", "width_px"),
        ('name = "s"\n' + CAMERA + '[[cameras]]\nid = "b"', 5, "cameras[1].width_px", "is missing"),
        ('name = "s"\n' + CAMERA + "gain = 11", 5, "cameras[0].gain", "must be at most 10"),
        ('name = "s"\n' + CAMERA + "gain = nan", 5, "cameras[0].gain", "nan is no finite number"),
        ('name = "s"\n' + CAMERA + 'colour = "red"', 5, "cameras[0].colour", '"mono", "rgb"'),
        ('name = "s"\n[cameras]\nid = "a"', 2, "cameras", "must be a list, not a table"),
        (
            'name = "s"\ncameras = [\n  {id = "a", width_px = 5},\n  {id = "b", width_px = ""},\n]',
            4,
            "cameras[1].width_px",
            "must be a whole number, not text",
        ),
        (
            'name = "s"\n[models.a]\n[models.b]\nseconds = "x"',
            4,
            "models.b.seconds",
            "must be a number or nothing, not text",
        ),
        (
            'name = "s"\n[models.a]\n[models.b]\nfirst = 1',
            4,
            "models.b.first",
            "possible here are seconds",
        ),
        ('name = "s"\n[models.a]\n[models."b c"]\n', 3, 'models."b c"', "no identifier"),
        (
            'name = "s"\n[nested]\nfine = {x = [1]}\nwrong = {fine = [1], x = [1, "2"]}',
            4,
            "nested.wrong.x[1]",
            "must be a whole number",
        ),
        ('name = "s"\n[limits]\nseconds = 0', 2, "limits", "leave it out instead"),
        ('name = "s"\nlimits = 5', 2, "limits", "must be a table"),
    ],
)
def test_a_mistake_is_named_with_line_and_field(
    tmp_path: Path, text: str, line: int | None, field: str, message: str
) -> None:
    problem = problem_of(tmp_path, text)
    assert (problem.line, problem.field) == (line, field)
    assert message in problem.message


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (b'name = "s"\nname = "t"\n', 2, "not TOML: cannot overwrite a value"),
        (b"\n\nname = ", 3, "not TOML"),
        (b"name = [1,\n2\n", 2, "not TOML"),
        (b"name = " + b"1" * 5000, None, "not TOML"),
        (b'\nname = "\xe4"', 2, "UTF-8"),
        (b"name = " + b"[" * 100_000, None, "nested too deeply"),
        (b"\x00", 1, "not TOML"),
    ],
    ids=["twice", "no value", "no end", "endless number", "latin-1", "deep", "nul"],
)
def test_a_file_that_is_no_toml_is_named_with_its_line(
    tmp_path: Path, text: bytes, line: int | None, message: str
) -> None:
    problem = problem_of(tmp_path, text)
    assert problem.line == line
    assert message in problem.message


@pytest.mark.parametrize("name", ["nowhere.toml", ".", "nul\0byte", "x" * 300])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_config(tmp_path / name, Settings)
    assert str(tmp_path / name) in str(caught.value)


def test_a_file_too_large_to_be_a_configuration_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspection.config.MAX_BYTES", 10)
    (tmp_path / "a.toml").write_text('name = "station"')
    with pytest.raises(ConfigurationError, match="is it the right file"):
        read_config(tmp_path / "a.toml", Settings)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet="[]{}\"'=.,#\n ab1", max_size=60).map(str.encode))
def test_no_bytes_at_all_raise_anything_but_a_configuration_error(
    tmp_path_factory: pytest.TempPathFactory, text: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "noise.toml"
    file.write_bytes(text)
    with pytest.raises(ConfigurationError):
        read_config(file, Settings)


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path: Path) -> None:
    assert resolve(Path("etc/station.toml"), "plans/a.toml") == Path("etc/plans/a.toml")
    assert resolve(Path("etc/station.toml"), str(tmp_path)) == tmp_path


# ---------------------------------------------------------------- lines

TANGLED = '''\
# a comment with [brackets] = and "quotes
top = 1 # more

"quoted key" . 'and.dotted' = { a = [1, [2,
  3], { deep = "}]#" }], "b\\u0063" = 1979-05-27 07:32:00Z }
text = """
[not.a.table]
key = "not a key" \\"""
""""
raw = \'\'\'
also = 'not'
\'\'\'
list = [ # comment ]
  "one", # two
  'th]ree',

  """
  four""",
]
[a.b]
x = 1
[ a . b . "c d" ]
x = -1.5e3
[[a.t]]
y = 1
[[a.t]]
y = 2
  [a.t.sub]
  z = true
  [[a.t.more]]
  z = 1
  [[a.t.more]]
  z = 2
[a]
own = inf
'''


def walk(data: Any, path: TomlPath = ()) -> Iterator[TomlPath]:
    if path:
        yield path
    entries = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in entries:
        if isinstance(value, dict | list):
            yield from walk(value, (*path, key))
        else:
            yield (*path, key)


def test_every_key_of_a_tangled_file_has_its_line() -> None:
    lines = key_lines(TANGLED)
    assert set(lines) == set(walk(tomllib.loads(TANGLED)))
    expected = {
        ("top",): 2,
        ("quoted key", "and.dotted", "a", 1): 4,
        ("quoted key", "and.dotted", "a", 1, 1): 5,
        ("quoted key", "and.dotted", "a", 2, "deep"): 5,
        ("quoted key", "and.dotted", "bc"): 5,
        ("text",): 6,
        ("raw",): 10,
        ("list", 0): 14,
        ("list", 1): 15,
        ("list", 2): 17,
        ("a", "b", "x"): 21,
        ("a", "b", "c d", "x"): 23,
        ("a", "t", 0, "y"): 25,
        ("a", "t", 1): 26,
        ("a", "t", 1, "sub", "z"): 29,
        ("a", "t", 1, "more", 1): 32,
        ("a",): 34,
    }
    assert {path: lines[path] for path in expected} == expected


VALUES = st.recursive(
    st.integers(-5, 5) | st.booleans() | st.text(alphabet="a\"'\\\n#[]{}=,.é", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet='a".]#é', max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def inline(value: Any, gap: str) -> str:
    if isinstance(value, list):
        return f"[{gap}{f',{gap}'.join(inline(item, gap) for item in value)}{gap}]"
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {inline(item, gap)}" for key, item in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, str) and "'" not in value and "\n" not in value:
        return f"'{value}'"
    return json.dumps(value)


@settings(deadline=None)
@given(
    st.dictionaries(st.text(alphabet="abé.", max_size=3), VALUES, max_size=4),
    st.sampled_from(["", " ", "\n", " # ]\n"]),
)
def test_every_key_that_tomllib_finds_has_a_line(data: dict[str, Any], gap: str) -> None:
    text = "".join(f"{json.dumps(key)} = {inline(value, gap)}\n" for key, value in data.items())
    assert tomllib.loads(text) == data
    lines = key_lines(text)
    assert set(lines) == set(walk(data))
    for key in data:
        assert text.splitlines()[lines[key,] - 1].startswith(json.dumps(key))


def test_the_line_of_what_is_missing_is_that_of_the_table_around_it(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TANGLED)
    toml = read_toml(tmp_path / "a.toml")
    assert toml.line(("a", "t", 1, "sub", "missing")) == 28
    assert toml.line(("missing",)) is None


def test_a_field_is_written_as_it_could_be_in_toml() -> None:
    assert dotted(("view", 0, "width_px")) == "view[0].width_px"
    assert dotted(("kinds", "a b\x1b")) == 'kinds."a b\\u001b"'


# ---------------------------------------------------------------- log lines


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    log.configure("edge-left")
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    structlog.reset_defaults()


def test_a_log_line_is_one_json_object_with_what_was_bound(logged: Any) -> None:
    log.get_logger().bind(run="r1").warning("late", points=3, reason=Reason.LATE)
    (line,) = logged()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "late",
        "process": "edge-left",
        "run": "r1",
        "points": 3,
        "reason": "LATE",
    }


@pytest.mark.parametrize(
    "value",
    [
        Unshowable(),
        {Unshowable(): 1, (1, 2): {3}},
        float("nan"),
        float("-inf"),
        b"\xff" * 10_000_000,
        "\udcff",
        "line\nbreak\x1b[31m",
        10**5000,
        -(2**70),
        ValueError(Unshowable()),
        Path("/tmp"),
        Limits(seconds=1.0),
        "x" * 10_000_000,
        list(range(100_000)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_value_is_too_strange_for_a_log_line(logged: Any, value: Any) -> None:
    log.get_logger().info("strange", value=value)
    (line,) = logged()
    assert line["event"] == "strange"
    assert len(json.dumps(line)) < 10_000


def test_a_value_that_holds_itself_can_be_logged(logged: Any) -> None:
    value: list[Any] = []
    value.append(value)
    log.get_logger().info("strange", value=value)
    assert len(logged()) == 1


def test_an_exception_is_logged_with_its_traceback_on_the_same_line(logged: Any) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        log.get_logger().exception("failed")
    (line,) = logged()
    assert line["level"] == "error"
    assert "ValueError: broken" in line["exception"]


def test_a_line_that_cannot_be_delivered_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    log.configure("station")
    closed = io.StringIO()
    closed.close()
    for stderr in (Full(), closed, None):
        monkeypatch.setattr("sys.stderr", stderr)
        log.get_logger().info("unheard")
    structlog.reset_defaults()


def test_a_person_at_a_terminal_gets_readable_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    log.configure("station")
    log.get_logger().info("ready", views=3, value=Unshowable())
    structlog.reset_defaults()
    assert "ready" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


# ---------------------------------------------------------------- clocks


def test_the_system_clock_is_that_of_the_machine() -> None:
    clock: Clock = SystemClock()
    before = time.monotonic_ns()
    assert before <= clock.monotonic_ns() <= time.monotonic_ns()
    assert abs(clock.wall_ns() - time.time_ns()) < 10**9
    assert len(clock.boot_id()) == 32
    assert clock.boot_id() == SystemClock().boot_id()


@pytest.mark.parametrize("content", [None, "", "nonsense", "ä"])
def test_without_a_boot_id_of_the_kernel_each_process_is_its_own(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "boot_id"
    if content is not None:
        file.write_text(content, "utf-8")
    first, second = SystemClock(file), SystemClock(file)
    assert first.boot_id() == first.boot_id() != second.boot_id()


def test_a_fake_clock_moves_only_when_told_to() -> None:
    clock = FakeClock()
    kept: Clock = clock
    boot, wall = kept.boot_id(), kept.wall_ns()
    clock.advance(s=1, ms=1, ns=1)
    assert kept.monotonic_ns() == kept.wall_ns() - wall == 1_001_000_001
    clock.set_wall(5)
    assert (kept.wall_ns(), kept.monotonic_ns()) == (5, 1_001_000_001)
    clock.reboot()
    assert kept.monotonic_ns() == 0
    assert kept.boot_id() != boot
    with pytest.raises(ValueError, match="never goes back"):
        clock.advance(ms=-1)


def test_structs_of_this_file_refuse_what_they_do_not_know() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "a", "other": 1}, Settings)
