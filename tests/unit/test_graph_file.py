"""What is found in a graph before any engine reads it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from inspection import runtimes
from inspection.errors import PackageError
from inspection.package import MODEL, POLICY, open_package, read_manifest, seal
from inspection.policy import read_policy
from inspection.runtimes import graph_file
from inspection.runtimes.graph_file import check_graph
from inspection.testing.packages import build_package


def weight() -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.zeros(4, np.float32), "w")


def elsewhere(location: str = "weights.bin") -> onnx.TensorProto:
    tensor = weight()
    onnx.external_data_helper.set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    return tensor


def model(*nodes: onnx.NodeProto, initializer: list[onnx.TensorProto] | None = None) -> bytes:
    graph = helper.make_graph(list(nodes), "g", [], [], initializer or [])
    data: bytes = helper.make_model(graph).SerializeToString()
    return data


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (build_package(tmp_path_factory.mktemp("m") / "model") / MODEL).read_bytes()


def test_the_field_numbers_are_those_of_onnx() -> None:
    for message, parts in graph_file._PARTS.items():
        fields = getattr(onnx, message).DESCRIPTOR.fields
        # Every message that can hold operators or weights is looked into, wherever it may stand.
        inside = {
            field.number: field.message_type.name
            for field in fields
            if field.message_type is not None and field.message_type.name in graph_file._PARTS
        }
        assert parts == inside, message
    names = {
        (onnx.ModelProto, "training_info"): graph_file._TRAINING_INFO,
        (onnx.ModelProto, "functions"): graph_file._FUNCTIONS,
        (onnx.NodeProto, "op_type"): graph_file._OP_TYPE,
        (onnx.NodeProto, "domain"): graph_file._DOMAIN,
        (onnx.TensorProto, "external_data"): graph_file._EXTERNAL_DATA,
        (onnx.TensorProto, "data_location"): graph_file._DATA_LOCATION,
    }
    for (kind, name), number in names.items():
        assert kind.DESCRIPTOR.fields_by_name[name].number == number


def test_a_graph_of_the_standard_passes(whole: bytes) -> None:
    check_graph(whole)
    check_graph(model(helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx")))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (model(initializer=[elsewhere()]), "another file"),
        (model(helper.make_node("Constant", [], ["c"], value=elsewhere())), "another file"),
        (
            model(
                helper.make_node(
                    "If",
                    ["c"],
                    ["y"],
                    then_branch=helper.make_graph([], "then", [], [], [elsewhere()]),
                )
            ),
            "another file",
        ),
        (
            model(
                helper.make_node(
                    "If",
                    ["c"],
                    ["y"],
                    else_branch=helper.make_graph(
                        [helper.make_node("Evil", [], ["y"], domain="com.elsewhere")], "e", [], []
                    ),
                )
            ),
            "com.elsewhere",
        ),
        (model(helper.make_node("EPContext", [], ["y"], domain="com.microsoft")), "com.microsoft"),
        (model(helper.make_node("Scan", [], ["y"])), "Scan"),
    ],
    ids=["weights", "constant", "branch weights", "branch domain", "vendor domain", "scan"],
)
def test_what_a_graph_may_not_contain_is_found_wherever_it_stands(data: bytes, says: str) -> None:
    with pytest.raises(PackageError, match=says):
        check_graph(data)


def test_graphs_within_graphs_without_end_are_refused() -> None:
    def field(number: int, content: bytes) -> bytes:
        length, size = len(content), b""
        while length >= 0x80:
            size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
        return bytes([number << 3 | 2]) + size + bytes([length]) + content

    graph = b""
    for _ in range(10_000):  # a node with an attribute that is a graph with a node ...
        graph = field(1, field(5, field(6, graph)))
    with pytest.raises(PackageError, match="too deep"):
        check_graph(field(7, graph))


@pytest.mark.parametrize("where", ["beside", "above", "absolute", "symbolic link", "hard link"])
def test_weights_in_another_file_are_refused_wherever_that_lies(tmp_path: Path, where: str) -> None:
    folder = build_package(tmp_path / "model")
    outside = tmp_path / "weights.bin"
    outside.write_bytes(np.float32(-20).tobytes())
    inside = folder / "golden" / "weights.bin"
    location = "golden/weights.bin"
    match where:
        case "beside":
            inside.write_bytes(outside.read_bytes())
        case "above":
            location = "../weights.bin"
        case "absolute":
            location = str(outside)
        case "symbolic link":
            inside.symlink_to(outside)
        case "hard link":
            os.link(outside, inside)
    graph = onnx.load(folder / MODEL)
    tensor = next(entry for entry in graph.graph.initializer if entry.name == "steepness")
    onnx.external_data_helper.set_external_data(tensor, location, 0, 4)
    tensor.ClearField("raw_data")
    (folder / MODEL).write_bytes(graph.SerializeToString())
    manifest, _ = read_manifest(folder)
    policy, _ = read_policy(folder / POLICY)
    seal(folder, msgspec.structs.replace(manifest), policy)
    with pytest.raises(PackageError, match=r"another file|symbolic link"):
        runtimes.load(open_package(folder), replay=False)


def test_a_weight_that_claims_eighty_gigabytes_is_refused_before_they_are_spent(
    tmp_path: Path,
) -> None:
    folder = build_package(tmp_path / "model")
    graph = onnx.load(folder / MODEL)
    tensor = next(entry for entry in graph.graph.initializer if entry.name == "steepness")
    tensor.dims[:] = [20_000_000_000]
    (folder / MODEL).write_bytes(graph.SerializeToString())
    manifest, _ = read_manifest(folder)
    policy, _ = read_policy(folder / POLICY)
    seal(folder, manifest, policy)
    with pytest.raises(PackageError, match="refuses the graph"):
        runtimes.load(open_package(folder))


LOAD = """
import sys
from pathlib import Path
from edge.command import limit_memory
from inspection import runtimes
from inspection.errors import PackageError
from inspection.package import open_package
limit_memory(int(sys.argv[2]))
try:
    runtimes.load(open_package(Path(sys.argv[1])))
except PackageError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.parametrize("gigabytes", [0, 80])
def test_a_graph_that_computes_eighty_gigabytes_is_a_refused_model_and_no_dead_worker(
    tmp_path: Path, gigabytes: int
) -> None:
    folder = build_package(tmp_path / "model")
    graph = onnx.load(folder / MODEL)
    (scores,) = (node for node in graph.graph.node if "scores" in node.output)
    scores.output[:] = ["small"]
    size = np.asarray([max(1, gigabytes * 250_000_000)], np.int64)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(size, "size"))
    graph.graph.node.extend(
        [
            helper.make_node("ConstantOfShape", ["size"], ["huge"]),
            helper.make_node("ReduceMax", ["huge"], ["zero"], keepdims=0),
            helper.make_node("Add", ["small", "zero"], ["scores"]),
        ]
    )
    (folder / MODEL).write_bytes(graph.SerializeToString())
    manifest, _ = read_manifest(folder)
    policy, _ = read_policy(folder / POLICY)
    seal(folder, manifest, policy)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), "4096"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if gigabytes:
        assert done.stderr.startswith("refused: "), done.stderr
        assert done.returncode == 1
    else:
        assert (done.returncode, done.stderr) == (0, "")


@given(st.data())
@settings(max_examples=300)
def test_no_bytes_do_more_than_be_refused(whole: bytes, data: st.DataObject) -> None:
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PackageError):
        check_graph(bytes(changed[: data.draw(st.integers(0, len(changed)))]))


def test_a_graph_cut_off_anywhere_is_no_other_error(whole: bytes) -> None:
    refused = 0
    for length in range(len(whole)):
        try:
            check_graph(whole[:length])
        except PackageError:
            refused += 1
    assert refused > len(whole) * 0.9
    assert TensorProto.EXTERNAL == 1  # what data_location says of another file
