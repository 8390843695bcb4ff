"""``inspection schemas``: the messages of the PLC as JSON Schema, generated from the structs.

One JSON Schema document with both directions, so that it can never say something else than the
software does; a test compares the committed ``docs/plc/schemas.json`` with it.
"""

from __future__ import annotations

import argparse
import typing
from pathlib import Path
from typing import Any

import msgspec

from inspection import messages, wire
from inspection.errors import ConfigurationError

FILE = "schemas.json"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs/plc"),
        metavar="DIR",
        help=f"folder that gets {FILE} (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    file: Path = arguments.out / FILE
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        file.write_bytes(document())
    except OSError as error:
        raise ConfigurationError(f"--out: cannot write {file}: {error.strerror}") from None
    print(file)
    return 0


def document() -> bytes:
    """The JSON Schema (2020-12) of both directions, as the bytes of the file."""
    to_station, to_plc = lane_types("PLC_TO_STATION"), lane_types("STATION_TO_PLC")
    references, definitions = msgspec.json.schema_components(
        (*to_station, *to_plc), ref_template="#/$defs/{name}"
    )
    for kind in (*to_station, *to_plc):
        _require_protocol(definitions[kind.__name__])
    for codes in (messages.Fault, messages.Reason):
        if codes.__name__ in definitions:
            _name_codes(definitions[codes.__name__], codes)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"PLC and inspection station, protocol {messages.PROTOCOL}",
        "description": (
            "Every frame is one JSON object in UTF-8 without a byte order mark, of at most"
            f" {wire.PLC_TO_STATION.max_bytes} bytes. Fields that are not listed here are ignored:"
            " a newer peer may send more."
        ),
        "anyOf": [
            {"$ref": "#/$defs/PlcToStation"},
            {"$ref": "#/$defs/StationToPlc"},
        ],
        "$defs": {
            "PlcToStation": {"anyOf": list(references[: len(to_station)])},
            "StationToPlc": {"anyOf": list(references[len(to_station) :])},
            **dict(sorted(definitions.items())),
        },
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def lane_types(lane: str) -> tuple[type[messages.Message], ...]:
    """The messages of a lane of `inspection.wire`, by its name; from the lane's own annotation, so
    that a message added there is added here."""
    (union,) = typing.get_args(typing.get_type_hints(wire)[lane])
    return typing.get_args(union) or (union,)


def _require_protocol(definition: dict[str, Any]) -> None:
    # The struct has a default, so that our own code need not write it; on the wire it must stand.
    definition["properties"]["protocol"] = {"const": messages.PROTOCOL}
    definition["required"] = ["type", "protocol", *definition["required"][1:]]


def _name_codes(definition: dict[str, Any], codes: type[messages.Fault | messages.Reason]) -> None:
    definition.pop("enum", None)
    definition["oneOf"] = [{"const": code.value, "title": code.name} for code in codes]
