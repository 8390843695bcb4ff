"""Static quantisation with ONNX Runtime's own tools, in a folder that is gone afterwards."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection
from pathlib import Path

import onnx

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
    saturate in 16 bits, which is why a package names the instruction set. Raises `PackageError`.
    """
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
            )
        except Exception as error:  # noqa: BLE001  it raises whatever its numpy code does
            raise PackageError(f"the graph cannot be quantised: {error}"[:500]) from None
        finally:
            logging.disable(before)
        return onnx.load(made)
