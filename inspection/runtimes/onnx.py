"""ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from typing import cast

import numpy as np

# From 1.29 on ONNX Runtime reports its use to its maker over the internet, unless this is set
# before it is loaded: its function for the same comes after the first report.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

from inspection.errors import PackageError
from inspection.imaging import Frame
from inspection.package import MODEL, Package
from inspection.runtimes import Scores


class OnnxModel:
    """A graph in ONNX Runtime, loaded from the bytes that were hashed (`Model`)."""

    def __init__(self, package: Package, threads: int = 1) -> None:
        self.package = package
        self.provider = "CPUExecutionProvider"
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Its errors come as exceptions; a second, coloured line on stderr helps nobody.
        options.log_severity_level = 4
        # A thread that spins between views takes the core from its neighbours' work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # ONNX Runtime would look for weights in other files below the working directory, where
        # nobody has checked them. Below a file there are none.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(package.path / MODEL)
        )
        try:
            self._session = ort.InferenceSession(
                package.content[MODEL], options, providers=[self.provider]
            )
        except Exception as error:  # noqa: BLE001  ONNX Runtime raises a class of its own for each status code
            raise PackageError(
                f"{package.path}: ONNX Runtime refuses the graph: {_line(error)}"
            ) from None
        manifest = package.manifest
        inputs = {entry.name: entry for entry in self._session.get_inputs()}
        outputs = {entry.name for entry in self._session.get_outputs()}
        if set(inputs) != {manifest.input_name} or manifest.output_name not in outputs:
            raise PackageError(
                f"{package.path}: the graph has inputs {sorted(inputs)} and outputs"
                f" {sorted(outputs)}, the manifest says {manifest.input_name!r} and"
                f" {manifest.output_name!r}"
            )
        wanted = [manifest.input.height, manifest.input.width, manifest.input.channels]
        entry = inputs[manifest.input_name]
        if entry.type != "tensor(uint8)" or entry.shape[1:] != wanted:
            raise PackageError(
                f"{package.path}: the graph takes {entry.type} {entry.shape}, the manifest says"
                f" uint8 [N, {', '.join(map(str, wanted))}]"
            )

    def scores(self, crops: Frame) -> Scores:
        """See `inspection.runtimes.Model.scores`."""
        manifest = self.package.manifest
        try:
            (output,) = self._session.run([manifest.output_name], {manifest.input_name: crops})
        except Exception as error:  # noqa: BLE001  as above
            raise PackageError(f"{self.package.path}: inference failed: {_line(error)}") from None
        result = np.asarray(output)
        if result.shape != (len(crops), len(manifest.classes)) or result.dtype != np.float32:
            raise PackageError(
                f"{self.package.path}: the graph answered {result.dtype} of shape {result.shape}"
                f" for {len(crops)} crops and {len(manifest.classes)} classes"
            )
        return cast(Scores, result)


def _line(error: Exception) -> str:
    """What ONNX Runtime says, on one line."""
    return " ".join(str(error).split())[:500]
