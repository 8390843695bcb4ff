"""``inspection schemas``: the messages of the PLC as JSON Schema and AsyncAPI, from the structs.

One JSON Schema document with both directions and one AsyncAPI document around it, which adds what
answers what; and the blocks of the PLC's page that come from the table of the handshake. None of
them can say something else than the software does: tests compare the committed files.
"""

from __future__ import annotations

import argparse
import typing
from pathlib import Path
from typing import Any

import msgspec

from inspection import messages, wire
from inspection.errors import ConfigurationError
from inspection.station import handshake

FILE = "schemas.json"
ASYNCAPI = "asyncapi.json"
PAGE = "plc.md"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs/plc"),
        metavar="DIR",
        help=f"folder that gets {FILE} and {ASYNCAPI}; a {PAGE} beside the folder is brought up to"
        " date (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.out
    page = folder.parent / PAGE
    files = {folder / FILE: document(), folder / ASYNCAPI: asyncapi()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if page.exists():
            files[page] = handshake.fill(page.read_text("utf-8")).encode()
        for file, content in files.items():
            file.write_bytes(content)
            print(file)
    except OSError as error:
        raise ConfigurationError(f"--out: cannot write {folder}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{page}: {error}") from None
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


def asyncapi() -> bytes:
    """The AsyncAPI 3.0 document of the station's side, as the bytes of the file: which messages it
    receives, what it answers each with, and what it sends unasked."""
    to_station, to_plc = lane_types("PLC_TO_STATION"), lane_types("STATION_TO_PLC")
    channel = {"$ref": "#/channels/plc"}
    operations: dict[str, Any] = {
        f"on{kind.__name__}": {
            "action": "receive",
            "channel": channel,
            "summary": _first_sentence(kind),
            "messages": [_in_channel(kind.__name__)],
            "reply": {
                "channel": channel,
                "messages": [_in_channel(name) for name in handshake.replies(kind.__name__)],
            },
        }
        for kind in to_station
    }
    answers = {name for kind in to_station for name in handshake.replies(kind.__name__)}
    for kind in to_plc:
        if kind.__name__ not in answers:
            operations[f"send{kind.__name__}"] = {
                "action": "send",
                "channel": channel,
                "summary": _first_sentence(kind),
                "messages": [_in_channel(kind.__name__)],
            }
    described = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Inspection station, the PLC's side",
            "version": str(messages.PROTOCOL),
            "description": (
                "JSON in UTF-8 over ZeroMQ: the station binds a ROUTER, a PLC connects a DEALER,"
                f" one message a frame of at most {wire.PLC_TO_STATION.max_bytes} bytes. An answer"
                " echoes `seq` of its question. The rules are in plc.md."
            ),
        },
        "defaultContentType": "application/json",
        "servers": {
            "station": {
                "host": "127.0.0.1:5703",
                "protocol": "zmtp",
                "description": "`listen.plc` of the station's configuration",
            }
        },
        "channels": {
            "plc": {
                "address": None,
                "messages": {
                    kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"}
                    for kind in (*to_station, *to_plc)
                },
            }
        },
        "operations": operations,
        "components": {
            "messages": {
                kind.__name__: {
                    "name": kind.__name__,
                    "summary": _first_sentence(kind),
                    "payload": {
                        "schemaFormat": "application/schema+json;version=draft-2020-12",
                        "schema": {"$ref": f"{FILE}#/$defs/{kind.__name__}"},
                    },
                }
                for kind in (*to_station, *to_plc)
            }
        },
    }
    return msgspec.json.format(msgspec.json.encode(described), indent=2) + b"\n"


def _in_channel(message: str) -> dict[str, str]:
    return {"$ref": f"#/channels/plc/messages/{message}"}


def _first_sentence(kind: type[messages.Message]) -> str:
    words = " ".join((kind.__doc__ or "").split())
    return words.partition(". ")[0].rstrip(".")


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
