"""Reading what a person wrote: TOML into a struct, every mistake with its file, line and field.

`read_config` refuses whatever its struct does not know. msgspec names the field of a mistake but
not its line, and ``tomllib`` keeps no positions, so `key_lines` goes over the text once more and
notes on which line each key stands; `Toml.line` looks there. `inspection.plan` uses the same.
"""

from __future__ import annotations

import bisect
import contextlib
import difflib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Meta
from msgspec import inspect as shapes

from inspection.errors import ConfigurationError, Problem
from inspection.messages import ID_PATTERN

T = TypeVar("T", bound=msgspec.Struct)

Endpoint = Annotated[str, Meta(pattern=r"^tcp://[^/\s]+:[0-9]{1,5}(?![\s\S])")]
"""A ZeroMQ address, ``tcp://HOST:PORT``."""

TomlPath: TypeAlias = tuple[str | int, ...]
"""Where a value is: keys of tables and, from 0, positions in arrays."""

MAX_BYTES = 64 << 20
"""A file beyond this was not written by a person; it is refused before it fills the memory."""

IDENTIFIER_RULE = (
    "use 1 to 64 letters (A-Z, a-z), digits, dots, hyphens and underscores, a letter or digit first"
)

_SPOKEN = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
    "datetime": "a date and time",
    "date": "a date",
    "time": "a time",
}


@dataclass(frozen=True, slots=True)
class Toml:
    """A TOML file that could be read, and where its keys stand."""

    file: str
    data: dict[str, Any]
    lines: Mapping[TomlPath, int]

    def line(self, path: TomlPath) -> int | None:
        """Line of a key, counted from 1; where it does not exist, of the closest table around it
        (for ``[a.b]`` the line of that header); None for what is missing from the file itself."""
        for length in range(len(path), 0, -1):
            if (line := self.lines.get(path[:length])) is not None:
                return line
        return None

    def problem(self, path: TomlPath, message: str) -> Problem:
        return Problem(self.file, self.line(path), dotted(path), message)


def read_config(path: Path, struct: type[T]) -> T:
    """A TOML file as a struct; raises `ConfigurationError` where it is not one.

    Numbers that are not finite are refused wherever they stand: NaN passes every "at most".
    """
    toml = read_toml(path)
    if problems := [
        toml.problem(where, f"{value} is no finite number") for where, value in _infinite(toml.data)
    ]:
        raise ConfigurationError(problems)
    try:
        return msgspec.convert(toml.data, struct)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_located(toml, struct, str(error))) from None
    except RecursionError:
        raise ConfigurationError(Problem(toml.file, None, "", "nested too deeply")) from None


def resolve(path: Path, relative: str) -> Path:
    """A path written in the configuration file ``path``: relative to that file's directory, so
    that a configuration means the same from wherever it is started."""
    return path.parent / relative


def read_bytes(path: Path) -> bytes:
    """All bytes of a file a person wrote; raises `ConfigurationError` where that cannot be."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigurationError(Problem(str(path), None, "", "there is no such file")) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(Problem(str(path), None, "", f"cannot be read: {why}")) from None
    if len(data) > MAX_BYTES:
        raise ConfigurationError(
            Problem(
                str(path), None, "", f"larger than {MAX_BYTES >> 20} MiB: is it the right file?"
            )
        )
    return data


def read_toml(path: Path) -> Toml:
    """A TOML file; raises `ConfigurationError` with the line where it is none."""
    file, raw = str(path), read_bytes(path)
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = "not UTF-8 text: save the file with the encoding UTF-8"
        raise ConfigurationError(Problem(file, line, "", message)) from None
    try:
        return Toml(file, tomllib.loads(text), key_lines(text))
    except ValueError as error:  # TOMLDecodeError is one; so is a number of too many digits
        raise ConfigurationError(_syntax(file, text, str(error))) from None
    except RecursionError:
        raise ConfigurationError(Problem(file, None, "", "nested too deeply")) from None


def dotted(path: TomlPath) -> str:
    """``view[0].width_px``; a key that could not stand bare in TOML is quoted."""
    said = ""
    for step in path:
        if isinstance(step, int):
            said += f"[{step}]"
        else:
            bare = re.fullmatch(_BARE, step)
            said += ("." if said else "") + (step if bare else json.dumps(step))
    return said


def shown(value: object) -> str:
    """A value as a message may quote it: on one line, and not endless."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def unknown(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is none of the known ones."""
    names = sorted(known)
    if close := difflib.get_close_matches(name, names, n=1):
        return f"unknown: did you mean {close[0]}?"
    return f"unknown: possible here are {', '.join(names)}" if names else "unknown: remove it"


# ---------------------------------------------------------------- where a key stands

_VOID = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
_TEXT = re.compile(
    "|".join((r'"""(?:\\.|[^\\])*?"{3,5}', r"'''.*?'{3,5}", _BASIC.pattern, _LITERAL.pattern)),
    re.DOTALL,
)
_SCALAR = re.compile(r"[^\s,\]}#]+(?: \d[^\s,\]}#]*)?")  # a date may hold one space


def key_lines(text: str) -> dict[TomlPath, int]:
    """The line of every key, table and array element of a TOML text that ``tomllib`` accepted.

    Because the text is known to be right, this need not check it: it only has to see where
    strings, comments and brackets end. What it cannot follow leaves later keys without a line.
    """
    finder = _KeyLines(text)
    with contextlib.suppress(_Lost):  # a mistake without its line still has its file and field
        finder.document()
    return finder.lines


class _Lost(Exception):
    """The text goes on in a way the locator does not know."""


class _KeyLines:
    def __init__(self, text: str) -> None:
        self.lines: dict[TomlPath, int] = {}
        self._text = text
        self._at = 0
        self._breaks = [found.start() for found in re.finditer("\n", text)]
        self._elements: dict[TomlPath, int] = {}

    def document(self) -> None:
        table: TomlPath = ()
        while self._skip(_VOID) < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> TomlPath:
        line, array = self._line(), self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        *around, last = self._key()
        self._skip(_SPACE)
        self._at += 2 if array else 1
        path = (*self._enter((), around, line), last)
        if not array:
            self.lines[path] = line
            return path
        self.lines.setdefault(path, line)
        index = self._elements.get(path, 0)
        self._elements[path] = index + 1
        self.lines[*path, index] = line
        return (*path, index)

    def _pair(self, table: TomlPath) -> None:
        line = self._line()
        *around, last = self._key()
        path = (*self._enter(table, around, line), last)
        self.lines[path] = line
        self._skip(_SPACE)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _enter(self, path: TomlPath, keys: list[str], line: int) -> TomlPath:
        for key in keys:
            path = (*path, key)
            self.lines.setdefault(path, line)
            if path in self._elements:  # a header goes into the latest element of an array
                path = (*path, self._elements[path] - 1)
        return path

    def _key(self) -> list[str]:
        keys = []
        while True:
            self._skip(_SPACE)
            opening = self._text[self._at : self._at + 1]
            if opening == '"':
                keys.append(tomllib.loads(f"key = {self._take(_BASIC)}")["key"])
            elif opening == "'":
                keys.append(self._take(_LITERAL)[1:-1])
            else:
                keys.append(self._take(_BARE))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _value(self, path: TomlPath) -> None:
        opening = self._text[self._at : self._at + 1]
        if opening == "[":
            self._at += 1
            index = 0
            while not self._closes("]"):
                self.lines[*path, index] = self._line()
                self._value((*path, index))
                index += 1
                self._comma()
        elif opening == "{":
            self._at += 1
            while not self._closes("}"):
                self._pair(path)
                self._comma()
        elif opening in ('"', "'"):
            self._take(_TEXT)
        else:
            self._take(_SCALAR)

    def _closes(self, bracket: str) -> bool:
        self._skip(_VOID)
        found = self._text.startswith(bracket, self._at)
        self._at += found
        return found

    def _comma(self) -> None:
        self._skip(_VOID)
        self._at += self._text.startswith(",", self._at)

    def _line(self) -> int:
        return bisect.bisect_left(self._breaks, self._at) + 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        if found := pattern.match(self._text, self._at):
            self._at = found.end()
        return self._at

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise _Lost
        self._at = found.end()
        return found.group()


# ---------------------------------------------------------------- what is wrong, in words


def _syntax(file: str, text: str, said: str) -> Problem:
    """A complaint of ``tomllib``, which puts the place at the end of the sentence."""
    line = None
    if found := re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", said):
        said = said[: found.start()]
        line = int(found[1]) if found[1] else text.rstrip("\n").count("\n") + 1
    return Problem(file, line, "", f"not TOML: {said[:1].lower()}{said[1:]}")


def _infinite(data: object, path: TomlPath = ()) -> Iterator[tuple[TomlPath, float]]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _infinite(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _infinite(value, (*path, index))
    elif isinstance(data, float) and not math.isfinite(data):
        yield path, data


def _located(toml: Toml, struct: type[msgspec.Struct], said: str) -> Problem:
    """A complaint of msgspec such as "Expected `int`, got `str` - at `$.views[0].width_px`"."""
    what, _, place = said.rpartition(" - at `") if " - at `" in said else (said, "", "$`")
    steps = re.findall(r"\[(\d+|\.\.\.)\]|([^.\[\]$`]+)", place.removeprefix("key` in `"))
    trail: list[str | int | None] = [
        None if index == "..." else int(index) if index else name for index, name in steps
    ]
    if place.startswith("key` in `"):
        trail.append(None)
    path = _named(toml.data, struct, said, trail)
    shape = _shape_at(shapes.type_info(struct), path)
    if found := re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL):
        fields = shape.fields if isinstance(shape, shapes.StructType) else ()
        known = [field.encode_name for field in fields]
        return toml.problem((*path, found[1]), unknown(found[1], known))
    if found := re.fullmatch(r"Object missing required field `(.*)`", what):
        return toml.problem((*path, found[1]), "is missing")
    return toml.problem(path, _in_words(what, shape))


def _named(
    data: dict[str, Any], struct: type[msgspec.Struct], said: str, trail: list[str | int | None]
) -> TomlPath:
    """The path with its mapping keys, which msgspec leaves out (``$.kinds[...]``): each key is
    asked about alone, and the one that draws the same complaint is meant."""
    path: TomlPath = ()
    for step in trail:
        if step is not None:
            path = (*path, step)
            continue
        mapping: Any = data
        for key in path:
            mapping = mapping[key]
        for key, value in mapping.items():
            alone = _replaced(data, path, {key: value})
            try:
                msgspec.convert(alone, struct)
            except msgspec.ValidationError as error:
                if str(error) == said:
                    data, path = alone, (*path, key)
                    break
        else:
            return path
    return path


def _replaced(data: Any, path: TomlPath, value: Any) -> Any:
    if not path:
        return value
    copy = data.copy()
    copy[path[0]] = _replaced(data[path[0]], path[1:], value)
    return copy


def _shape_at(shape: shapes.Type, path: TomlPath) -> shapes.Type | None:
    """The type of the value at ``path``, or None where several would be possible."""
    if isinstance(shape, shapes.UnionType):
        options = [kind for kind in shape.types if not isinstance(kind, shapes.NoneType)]
        return _shape_at(options[0], path) if len(options) == 1 else None
    if isinstance(shape, shapes.Metadata):
        return _shape_at(shape.type, path)
    if not path:
        return shape
    step, rest = path[0], path[1:]
    if isinstance(shape, shapes.StructType):
        for field in shape.fields:
            if field.encode_name == step:
                return _shape_at(field.type, rest)
    elif isinstance(shape, shapes.DictType):
        return _shape_at(shape.value_type, rest)
    elif isinstance(shape, shapes.VarTupleType | shapes.ListType):
        return _shape_at(shape.item_type, rest)
    return None


def _in_words(what: str, shape: shapes.Type | None) -> str:
    if ID_PATTERN in what or repr(ID_PATTERN) in what:
        return f"no identifier: {IDENTIFIER_RULE}"
    if what.startswith("Invalid enum value") and isinstance(shape, shapes.EnumType):
        choices = ", ".join(json.dumps(member.value) for member in shape.cls)
        return (
            f"{what.removeprefix('Invalid enum value ')} is not possible: choose one of {choices}"
        )
    if found := re.fullmatch(r"Expected `([^`]*)`, got `([^`]*)`", what):
        wanted = " or ".join(_SPOKEN.get(name, name) for name in found[1].split(" | "))
        return f"must be {wanted}, not {_SPOKEN.get(found[2], found[2])}"
    if found := re.fullmatch(r"Expected `(?:int|float)` ([<>]=?) (.*)", what):
        sign = {">=": "at least", "<=": "at most", ">": "greater than", "<": "less than"}[found[1]]
        return f"must be {sign} {found[2]}"
    return what
