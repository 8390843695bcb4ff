"""Static quantisation with ONNX Runtime's own tools, in a folder that is gone afterwards."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

import inspection.runtimes.onnx  # noqa: F401  sets what must be set before onnxruntime is loaded
from inspection.errors import PackageError
from inspection.imaging import Frame

# isort: split
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

BATCH = 16
WHOLE = 1e-4
"""How far the grey level of a normalised zero may be from a whole number: what is left of it after
rounding to float32."""

_ARITHMETIC = {
    "Div": lambda scale, offset, value: (scale / value, offset / value),
    "Mul": lambda scale, offset, value: (scale * value, offset * value),
    "Sub": lambda scale, offset, value: (scale, offset - value),
    "Add": lambda scale, offset, value: (scale, offset + value),
}
"""What each operation makes of ``scale * byte + offset``."""


class _Crops(CalibrationDataReader):  # type: ignore[misc]  # it has no types
    def __init__(self, crops: Frame, name: str) -> None:
        self._batches = iter([{name: crops[i : i + BATCH]} for i in range(0, len(crops), BATCH)])

    def get_next(self) -> dict[str, Frame] | None:
        return next(self._batches, None)


def quantise_nodes(
    graph: onnx.ModelProto, crops: Frame, nodes: Collection[str], input_name: str
) -> onnx.ModelProto:
    """The graph with these nodes in 8 bits: unsigned activations, signed weights with a scale for
    each output channel, ranges as seen on the crops. All other nodes stay as they are.

    Unsigned activations times signed weights are what VNNI multiplies; processors without it
    saturate in 16 bits, which is why a package names the instruction set. Where the normalised
    pixels are the pixels themselves in another scale, the first convolution takes the bytes of the
    crop as they are. Raises `PackageError`.
    """
    pixels = _normalised(graph.graph, input_name)
    kinds = sorted({node.op_type for node in graph.graph.node if node.name in nodes})
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "int8.onnx"
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it advises a preparation that the exporter has done
        try:
            quantize_static(
                graph,
                made,
                _Crops(crops, input_name),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=kinds,
                nodes_to_quantize=sorted(nodes),
                per_channel=True,
                reduce_range=False,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                calibration_providers=["CPUExecutionProvider"],
                extra_options={} if pixels is None else _as_they_are(pixels),
            )
        except Exception as error:  # noqa: BLE001  it raises whatever its numpy code does
            raise PackageError(f"the graph cannot be quantised: {error}"[:500]) from None
        finally:
            logging.disable(before)
        quantised = onnx.load(made)
    if pixels is not None:
        _skip_normalisation(quantised.graph, pixels)
    return quantised


class _Pixels(NamedTuple):
    """Normalised pixels that are ``scale * (byte - zero)``: the name of the bytes, transposed or
    not, and of the result."""

    bytes: str
    result: str
    scale: float
    zero: int


def _normalised(graph: onnx.GraphProto, input_name: str) -> _Pixels | None:
    """What becomes of the input before anything else is done with it; None where that is more than
    one factor and one whole number of grey levels, the same for all channels."""
    known = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    known |= {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in graph.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    name, raw, scale, offset = input_name, input_name, 1.0, 0.0
    while True:
        readers = [node for node in graph.node if name in node.input]
        if len(readers) != 1 or readers[0].op_type not in ("Transpose", "Cast", *_ARITHMETIC):
            break
        (node,) = readers
        if node.op_type == "Transpose" and raw == name:
            raw = node.output[0]
        elif node.op_type in _ARITHMETIC:
            value = known.get(node.input[1])
            if node.input[0] != name or value is None or value.size != 1:
                break
            scale, offset = _ARITHMETIC[node.op_type](scale, offset, float(value.reshape(())))
        name = node.output[0]
    zero = -offset / scale if scale > 0 else -1.0
    if name == input_name or not 0 <= zero <= 255 or abs(zero - round(zero)) > WHOLE:
        return None
    return _Pixels(raw, name, scale, round(zero))


def _as_they_are(pixels: _Pixels) -> dict[str, object]:
    """Options that give the normalised pixels the scale in which they are bytes."""
    chosen = {
        "quant_type": QuantType.QUInt8,
        "scale": np.array(pixels.scale, np.float32),
        "zero_point": np.array(pixels.zero, np.uint8),
    }
    return {"TensorQuantOverrides": {pixels.result: [chosen]}}


def _skip_normalisation(graph: onnx.GraphProto, pixels: _Pixels) -> None:
    """Read the bytes where they would be made floats, normalised and made the same bytes again."""
    made = {
        node.output[0]
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] == pixels.result
    }
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in made:
                node.input[place] = pixels.bytes
    wanted = {entry.name for entry in graph.output}
    while unused := [
        node
        for node in graph.node
        if not wanted & set(node.output)
        and not any(name in other.input for name in node.output for other in graph.node)
    ]:
        for node in unused:
            graph.node.remove(node)
