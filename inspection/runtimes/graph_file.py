"""What a graph may contain, read from its bytes before any engine does.

ONNX Runtime reads weights from other files, runs operators of other makers where a library brings
them, and loops for as long as a graph says. A classifier needs none of it, so none of it is let
through. The reader knows just enough of protobuf (https://protobuf.dev/programming-guides/encoding)
and of ``onnx.proto`` to find it, and no more: an edge has no ``onnx`` package.
"""

from __future__ import annotations

from collections.abc import Iterator

from inspection.errors import PackageError

STANDARD = frozenset({"", "ai.onnx"})
"""The operator domains that the ONNX standard itself defines."""

ENDLESS = frozenset({"Loop", "Scan"})

_DEPTH = 16

# Field numbers of onnx.proto, of each message the fields that hold another one.
_PARTS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
_TRAINING_INFO, _FUNCTIONS = 20, 25
_OP_TYPE, _DOMAIN = 4, 7
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


def check_graph(data: bytes) -> None:
    """Raises `PackageError` where the bytes are no ONNX model, or one that keeps weights in other
    files, names operators beyond the standard's, defines its own, or may loop for ever."""
    try:
        _check(memoryview(data), "ModelProto", 0)
    except (IndexError, ValueError):
        raise PackageError("the graph is no ONNX file, or cut off") from None


def _check(data: memoryview, message: str, depth: int) -> None:
    if depth > _DEPTH:
        raise PackageError("the graph holds graphs within graphs: too deep")
    for number, value in _fields(data):
        part = _PARTS[message].get(number)
        if part is not None:
            if isinstance(value, memoryview):
                _check(value, part, depth + 1)
        elif message == "TensorProto":
            # The number counts, not the value: 0, "no other file", is not written.
            if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0):
                raise PackageError(
                    "the graph keeps weights in another file: save them in the graph itself"
                )
        elif message == "ModelProto" and number in (_TRAINING_INFO, _FUNCTIONS):
            raise PackageError("the graph defines functions or training of its own: inline them")
        elif message == "NodeProto" and isinstance(value, memoryview):
            text = bytes(value).decode("utf-8", "replace")
            if number == _DOMAIN and text not in STANDARD:
                raise PackageError(
                    f"the graph has an operator of domain {text[:80]!r}: only operators of the ONNX"
                    " standard are run"
                )
            if number == _OP_TYPE and text in ENDLESS:
                raise PackageError(f"the graph has an operator {text}, which may never end")


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message as they come: numbers of variable length, or bytes. Raises
    `IndexError` or `ValueError` where the bytes are no message."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
                yield tag >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(data, at)
            case 5:
                size = 4
            case kind:
                raise ValueError(f"wire type {kind}")
        if size > end - at:
            raise ValueError("cut off")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
