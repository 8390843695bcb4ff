"""ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

# From 1.29 on ONNX Runtime reports its use to its maker over the internet, unless this is set
# before it is loaded: its function for the same comes after the first report.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

from inspection.errors import PackageError
from inspection.imaging import Frame
from inspection.package import MODEL, Manifest, Package
from inspection.runtimes import Outputs, Scores, Signature
from inspection.runtimes.graph_file import check_graph
from inspection.timing import ENGINE

PROVIDER = "CPUExecutionProvider"


def session(data: bytes, path: Path, threads: int) -> ort.InferenceSession:
    """A graph in ONNX Runtime. ``path`` is the file that it was read from, or would be; nothing
    is read from there, nor beside it. Raises `PackageError`."""
    try:
        check_graph(data)
    except PackageError as error:
        raise PackageError(f"{path}: {error}") from None
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
        "session.model_external_initializers_file_folder_path", str(path)
    )
    try:
        return ort.InferenceSession(data, options, providers=[PROVIDER])
    except Exception as error:  # noqa: BLE001  ONNX Runtime raises a class of its own for each status code
        raise PackageError(
            f"{path.parent}: ONNX Runtime refuses the graph: {_line(error)}"
        ) from None


class OnnxGraph:
    """A graph that has no package yet, for whoever makes one (`inspection.runtimes.Graph`)."""

    def __init__(self, data: bytes, path: Path, signature: Signature, threads: int = 1) -> None:
        self._place = path.parent
        self._signature = signature
        self._session = session(data, path, threads)
        inputs = {entry.name: entry for entry in self._session.get_inputs()}
        outputs = {entry.name for entry in self._session.get_outputs()}
        wanted = {signature.output_name, *filter(None, [signature.ood_name])}
        if set(inputs) != {signature.input_name} or not wanted <= outputs:
            raise PackageError(
                f"{self._place}: the graph has inputs {sorted(inputs)} and outputs"
                f" {sorted(outputs)}, the manifest says {signature.input_name!r} and"
                f" {' and '.join(repr(name) for name in sorted(wanted))}"
            )
        entry = inputs[signature.input_name]
        if entry.type != "tensor(uint8)" or entry.shape[1:] != list(signature.shape):
            raise PackageError(
                f"{self._place}: the graph takes {entry.type} {entry.shape}, the manifest says"
                f" uint8 [N, {', '.join(map(str, signature.shape))}]"
            )

    def scores(self, crops: Frame) -> Scores:
        """See `inspection.runtimes.Model.scores`."""
        return self._run(crops, [self._signature.output_name])[0]

    def outputs(self, crops: Frame) -> Outputs:
        """See `inspection.runtimes.Model.outputs`."""
        ood_name = self._signature.ood_name
        if ood_name is None:
            return Outputs(self.scores(crops), None)
        scores, ood = self._run(crops, [self._signature.output_name, ood_name])
        return Outputs(scores, ood)

    def _run(self, crops: Frame, names: list[str]) -> list[npt.NDArray[np.float32]]:
        try:
            with ENGINE.running():
                found = self._session.run(names, {self._signature.input_name: crops})
        except Exception as error:  # noqa: BLE001  as above
            raise PackageError(f"{self._place}: inference failed: {_line(error)}") from None
        classes = self._signature.classes
        shapes = [(len(crops), classes), (len(crops),)]
        results = [np.asarray(output) for output in found]
        for name, result, shape in zip(names, results, shapes, strict=False):
            if result.shape != shape or result.dtype != np.float32:
                raise PackageError(
                    f"{self._place}: the graph answered {result.dtype} of shape {result.shape}"
                    f" for {len(crops)} crops and {classes} classes ({name})"
                )
        return cast(list[npt.NDArray[np.float32]], results)


class OnnxModel(OnnxGraph):
    """A package's graph in ONNX Runtime, loaded from the bytes that were hashed (`Model`)."""

    def __init__(self, package: Package, threads: int = 1, graph: str = MODEL) -> None:
        self.package = package
        self.provider = PROVIDER
        self.graph = graph
        super().__init__(
            package.content[graph], package.path / graph, signature_of(package.manifest), threads
        )


def signature_of(manifest: Manifest) -> Signature:
    """What a manifest says of its graphs."""
    wanted = manifest.input
    return Signature(
        shape=(wanted.height, wanted.width, wanted.channels),
        classes=len(manifest.classes),
        input_name=manifest.input_name,
        output_name=manifest.output_name,
        ood_name=manifest.ood_name,
    )


def _line(error: Exception) -> str:
    """What ONNX Runtime says, on one line."""
    return " ".join(str(error).split())[:500]
