"""Small model packages that are real: an ONNX graph, golden pictures that it reproduces, a
manifest that pins them, a policy. And the same packages broken, each in one known way.

Needs the ``onnx`` package to write the graph, not torch.
"""

from __future__ import annotations

import enum
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import onnx
from msgspec import UNSET
from onnx import TensorProto, helper

from inspection import imaging, runtimes
from inspection.imaging import Frame
from inspection.messages import Severity
from inspection.package import (
    CARD,
    FORMAT,
    GOLDEN,
    MANIFEST,
    MODEL,
    POLICY,
    GoldenImage,
    GoldenSet,
    Manifest,
    ModelClass,
    ModelInput,
    VerifiedOn,
    architecture,
    encode_manifest,
    open_package,
    read_manifest,
    seal,
    sha256,
)
from inspection.policy import Policy, encode_policy, read_policy

OK_CLASS, DEFECT_CLASS = "ok", "defect"
STEEPNESS = 20.0
"""Logit per unit of what the model looks at (0 to 1), around one half."""

Sees = Literal["darkness", "bright_square"]


class Broken(enum.StrEnum):
    """What is wrong with a package. All must be refused before they judge, but those that fail on a
    white picture, which is not among the golden ones."""

    CHANGED_BYTE = "one byte of model.onnx was changed"
    MISSING_FILE = "a listed file is missing"
    STRAY_FILE = "a file is not listed"
    SYMLINK = "model.onnx is a symbolic link"
    SYMLINKED_FOLDER = "golden is a symbolic link to a folder elsewhere"
    OUTSIDE = "a listed name leads out of the folder"
    NO_POLICY = "policy.json is missing"
    FOREIGN_POLICY = "policy.json was fitted for another package"
    POLICY_CLASSES = "policy.json names other classes"
    TASK = "the task is not known"
    RUNTIME = "the runtime is not known"
    IMAGING_VERSION = "made with another imaging version"
    ARCHITECTURE = "verified on another processor architecture only"
    GOLDEN_SCORES = "the golden scores do not reproduce"
    GOLDEN_PICTURE = "a golden picture is not readable"
    NOT_A_GRAPH = "model.onnx is no graph, and the manifest agrees"
    EXTERNAL_DATA = "the graph keeps its weights in another file"
    CUSTOM_DOMAIN = "an operator comes from elsewhere than the ONNX standard"
    FUNCTIONS = "the graph defines an operator of its own"
    ENDLESS = "the graph holds a loop that never ends"
    EMPTY = "model.onnx has no bytes"
    CUT_OFF = "model.onnx ends early, and the manifest agrees"
    PICKLE = "model.onnx is a Python pickle"
    INPUT_SHAPE = "the graph takes another size than the manifest says"
    OUTPUT_SHAPE = "the graph gives three scores for two classes"
    NAN = "the graph gives NaN for every picture"
    NAN_ON_WHITE = "the graph gives NaN for a white picture, and only then"
    HANGS_ON_WHITE = "the graph computes for minutes on a white picture, operator by operator"
    STUCK_ON_WHITE = "the graph computes for minutes on a white picture, in a single operator"
    HANGS = "the graph computes for minutes on any picture"


def build_package(
    folder: Path,
    *,
    name: str = "darkness",
    sees: Sees = "darkness",
    size: int = 32,
    channels: int = 1,
    margin: float = 0.0,
    ok_min: float = 0.9,
    nok_min: float = 0.5,
    steepness: float = STEEPNESS,
    version: str = "1",
    heat: bool = False,
    broken: Broken | None = None,
    anomaly_only: bool = False,
) -> Path:
    """Write a package into ``folder`` (created) and return it.

    The model has classes ``ok`` and ``defect`` (major). With ``sees="darkness"`` the probability
    of a defect is one half for a crop of mean grey level 127.5 and grows as it darkens; with
    ``"bright_square"`` it is one half where the brightest square of a quarter of the crop's side
    has that mean, and grows as it brightens; how fast, ``steepness`` says, so that two such models
    can be told apart by their scores. With ``heat`` it also says of each pixel how dark it is, 0 to
    1. ``anomaly_only`` is how it says that it was released. The same arguments always give the same
    package.
    """
    (folder / "golden").mkdir(parents=True)
    (folder / MODEL).write_bytes(_graph_file(sees, size, channels, steepness, broken, heat=heat))
    (folder / CARD).write_text(f"# {name}\n\nMade for tests; it sees {sees.replace('_', ' ')}.\n")
    pictures = _golden_pictures(size, channels)
    for file, picture in pictures.items():
        (folder / "golden" / file).write_bytes(imaging.encode_png(picture))
    # Any valid scores, until the runtime has said what they are.
    _write_golden(folder, dict.fromkeys(pictures, (0.5, 0.5)))
    manifest = Manifest(
        format=FORMAT,
        name=name,
        version=version,
        task="classifier",
        runtime="onnxruntime",
        classes=(
            ModelClass(name=OK_CLASS, severity=None),
            ModelClass(name=DEFECT_CLASS, severity=Severity.MAJOR),
        ),
        input=ModelInput(width=size, height=size, channels=channels, margin=margin),
        input_name="image",
        output_name="scores",
        heat_name="heat" if heat else UNSET,
        release="anomaly-only" if anomaly_only else UNSET,
        imaging_version="1",
        data_hash=sha256(b"no data"),
        recipe_hash=sha256(b"no recipe"),
        code_version="test",
        created="2026-01-01T00:00:00Z",
        metrics={},
        licences={"weights": "Apache-2.0"},
        verified_on=(
            VerifiedOn(
                provider="CPUExecutionProvider", architecture=architecture(), tolerance=1e-5
            ),
        ),
        files={},
    )
    policy = Policy(
        version=1,
        package="0" * 64,
        ok_class=OK_CLASS,
        ok_min=ok_min,
        nok_min={DEFECT_CLASS: nok_min},
        author="test",
        created="2026-01-01T00:00:00Z",
        why="made for tests",
    )
    seal(folder, manifest, policy)
    if broken not in _CANNOT_RUN:
        model = runtimes.load(open_package(folder), replay=False)
        crops = np.stack([picture.reshape(size, size, channels) for picture in pictures.values()])
        scores = model.scores(crops).tolist()
        _write_golden(
            folder, {file: tuple(row) for file, row in zip(pictures, scores, strict=True)}
        )
        seal(folder, manifest, policy)
    if broken in _BREAKERS:
        _BREAKERS[broken](folder)
    return folder


def repolicy(folder: Path, **changes: object) -> None:
    """Replace fields of a package's policy, as a release of new thresholds does."""
    policy, _ = read_policy(folder / POLICY)
    (folder / POLICY).write_bytes(encode_policy(msgspec.structs.replace(policy, **changes)))


# ---------------------------------------------------------------- the graph

_CANNOT_RUN = {
    Broken.NOT_A_GRAPH,
    Broken.EXTERNAL_DATA,
    Broken.CUSTOM_DOMAIN,
    Broken.FUNCTIONS,
    Broken.ENDLESS,
    Broken.EMPTY,
    Broken.CUT_OFF,
    Broken.PICKLE,
    Broken.INPUT_SHAPE,
    Broken.OUTPUT_SHAPE,
    Broken.NAN,
    Broken.HANGS,
}


def _graph_file(
    sees: Sees, size: int, channels: int, steepness: float, broken: Broken | None, *, heat: bool
) -> bytes:
    match broken:
        case Broken.NOT_A_GRAPH:
            return b"no graph"
        case Broken.EMPTY:
            return b""
        case Broken.PICKLE:
            return pickle.dumps({"weights": [1.0]})
        case Broken.CUT_OFF:
            whole = _graph(sees, size, channels, steepness, None)
            return whole[: len(whole) * 9 // 10]
    return _graph(sees, size, channels, steepness, broken, heat=heat)


def _graph(
    sees: Sees,
    size: int,
    channels: int,
    steepness: float,
    broken: Broken | None,
    *,
    heat: bool = False,
) -> bytes:
    constants = {
        "steepness": np.float32(-steepness if sees == "darkness" else steepness),
        "levels": np.float32(255.0),
        "half": np.float32(0.5),
        "one": np.float32(1.0),
        "white": np.float32(0.99),
        "nothing": np.float32(0.0),
    }
    nodes = [helper.make_node("Cast", ["image"], ["grey_levels"], to=TensorProto.FLOAT)]
    nodes.append(helper.make_node("Div", ["grey_levels", "levels"], ["brightness"]))
    nodes.append(
        helper.make_node("ReduceMean", ["brightness"], ["mean"], axes=[1, 2, 3], keepdims=0)
    )
    if sees == "darkness":
        nodes.append(helper.make_node("Identity", ["mean"], ["seen"]))
    else:
        side = max(size // 4, 1)
        nodes += [
            helper.make_node("ReduceMean", ["brightness"], ["grey"], axes=[3], keepdims=1),
            helper.make_node("Transpose", ["grey"], ["plane"], perm=[0, 3, 1, 2]),
            helper.make_node("AveragePool", ["plane"], ["squares"], kernel_shape=[side, side]),
            helper.make_node("ReduceMax", ["squares"], ["seen"], axes=[1, 2, 3], keepdims=0),
        ]
    nodes += [
        helper.make_node("Sub", ["seen", "half"], ["above"]),
        helper.make_node("Mul", ["above", "steepness"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["clean"]),
    ]
    defect = "clean"
    if broken in (Broken.NAN, Broken.NAN_ON_WHITE):
        # The logarithm of a negative number is NaN, and NaN times nothing still is.
        start = "white" if broken is Broken.NAN_ON_WHITE else "nothing"
        other = "mean" if broken is Broken.NAN_ON_WHITE else "one"
        nodes += [
            helper.make_node("Sub", [start, other], ["below"]),
            helper.make_node("Log", ["below"], ["logarithm"]),
            helper.make_node("Mul", ["logarithm", "nothing"], ["nothing_or_nan"]),
            helper.make_node("Add", ["clean", "nothing_or_nan"], ["p_defect"]),
        ]
        defect = "p_defect"
    if broken in (Broken.HANGS_ON_WHITE, Broken.STUCK_ON_WHITE, Broken.HANGS):
        nodes += _for_minutes(broken)
        defect = "p_defect"
    nodes += [
        helper.make_node("Sub", ["one", defect], ["p_ok"]),
        helper.make_node("Unsqueeze", [defect, "last"], ["defect_column"]),
        helper.make_node("Unsqueeze", ["p_ok", "last"], ["ok_column"]),
    ]
    columns = ["ok_column", "defect_column"]
    if broken is Broken.OUTPUT_SHAPE:
        columns.append("defect_column")
    nodes.append(helper.make_node("Concat", columns, ["scores"], axis=1))
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", len(columns)])]
    if heat:
        nodes += [
            helper.make_node("ReduceMean", ["brightness"], ["lightness"], axes=[3], keepdims=0),
            helper.make_node("Sub", ["one", "lightness"], ["heat"]),
        ]
        outputs.append(helper.make_tensor_value_info("heat", TensorProto.FLOAT, ["N", size, size]))
    weights = [
        onnx.numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()
    ]
    weights.append(onnx.numpy_helper.from_array(np.asarray([1], np.int64), "last"))
    if broken in (Broken.HANGS_ON_WHITE, Broken.STUCK_ON_WHITE, Broken.HANGS):
        many = {"square": [1200, 1200], "boxes": [1, 400_000, 4], "scored": [1, 1, 400_000]}
        for key, shape in many.items():
            weights.append(onnx.numpy_helper.from_array(np.asarray(shape, np.int64), key))
    if broken is Broken.EXTERNAL_DATA:
        weight = weights[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "golden/golden.json"), ("offset", "0"), ("length", "4")):
            entry = weight.external_data.add()
            entry.key, entry.value = key, value
    side = size * 2 if broken is Broken.INPUT_SHAPE else size
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", side, side, channels])],
        outputs,
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if broken is Broken.CUSTOM_DOMAIN:
        model.opset_import.append(helper.make_opsetid("com.elsewhere", 1))
        model.graph.node[0].domain = "com.elsewhere"
    if broken is Broken.FUNCTIONS:
        model.functions.append(
            helper.make_function(
                "",
                "Sigmoid",
                ["x"],
                ["y"],
                [helper.make_node("Identity", ["x"], ["y"])],
                [helper.make_opsetid("", 13)],
            )
        )
    if broken is Broken.ENDLESS:
        model.graph.node.extend(_endless())
    data: bytes = model.SerializeToString()
    return data


def _for_minutes(broken: Broken) -> list[onnx.NodeProto]:
    """``p_defect`` from ``clean`` by way of a branch that computes for minutes; on white pictures
    only, unless the model hangs on all. Nothing in it is constant, so that nothing is computed
    beforehand."""

    def out(name: str) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)]

    if broken is Broken.STUCK_ON_WHITE:
        # Each box is compared with each that was taken before, in one operator.
        nodes = [
            helper.make_node("Expand", ["brightest", "boxes"], ["all_boxes"]),
            helper.make_node("Expand", ["brightest", "scored"], ["all_scores"]),
            helper.make_node(
                "NonMaxSuppression", ["all_boxes", "all_scores", "most", "one"], ["kept"]
            ),
            helper.make_node("Cast", ["kept"], ["kept_numbers"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["kept_numbers"], ["long"], keepdims=0),
        ]
        most = helper.make_node(
            "Constant",
            [],
            ["most"],
            value=helper.make_tensor("most", TensorProto.INT64, [1], [400_000]),
        )
        nodes.insert(0, most)
    else:
        nodes = [helper.make_node("Expand", ["brightest", "square"], ["matrix_0"])]
        for number in range(2000):
            nodes.append(
                helper.make_node(
                    "MatMul", [f"matrix_{number}", "matrix_0"], [f"matrix_{number + 1}"]
                )
            )
        nodes.append(helper.make_node("ReduceMax", ["matrix_2000"], ["long"], keepdims=0))
    nodes.append(helper.make_node("Add", ["clean", "long"], ["slow"]))
    slow = helper.make_graph(nodes, "slow", [], out("slow"))
    quick = helper.make_graph(
        [helper.make_node("Identity", ["clean"], ["quick"])], "quick", [], out("quick")
    )
    limit = "nothing" if broken is Broken.HANGS else "white"
    return [
        helper.make_node("ReduceMax", ["mean"], ["brightest"], keepdims=0),
        helper.make_node("Greater", ["brightest", limit], ["is_white"]),
        helper.make_node("If", ["is_white"], ["p_defect"], then_branch=slow, else_branch=quick),
    ]


def _endless() -> list[onnx.NodeProto]:
    """A loop whose condition stays true."""
    truth = helper.make_tensor("truth", TensorProto.BOOL, [], [True])
    body = helper.make_graph(
        [helper.make_node("Constant", [], ["go_on"], value=truth)],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("before", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])],
    )
    start = helper.make_node("Constant", [], ["start"], value=truth)
    return [start, helper.make_node("Loop", ["", "start"], [], body=body)]


def _golden_pictures(size: int, channels: int) -> dict[str, Frame]:
    """Pictures from dark to bright, with a gradient, and one with a bright square on dark."""
    shape = (size, size) if channels == 1 else (size, size, channels)
    row = np.linspace(-20, 20, size)
    pictures: dict[str, Frame] = {}
    for level in (30, 110, 150, 225):
        grey = np.clip(level + row[np.newaxis, :] + row[:, np.newaxis] / 2, 0, 255)
        picture = grey if channels == 1 else np.repeat(grey[:, :, np.newaxis], channels, axis=2)
        pictures[f"level-{level}.png"] = np.ascontiguousarray(picture.astype(np.uint8))
    square = np.full(shape, 40, np.uint8)
    square[size // 4 : size // 2, size // 4 : size // 2] = 240
    pictures["square.png"] = square
    return pictures


# ---------------------------------------------------------------- the files, and breaking them


def _write_golden(folder: Path, scores: dict[str, tuple[float, ...]]) -> None:
    golden = GoldenSet(
        images=tuple(GoldenImage(file=file, scores=row) for file, row in scores.items())
    )
    (folder / GOLDEN).write_bytes(msgspec.json.encode(golden))


def _reseal(folder: Path, **changes: object) -> None:
    """As whoever makes a wrong package would: all hashes fit, but the content is wrong."""
    manifest, _ = read_manifest(folder)
    policy, _ = read_policy(folder / POLICY)
    seal(folder, msgspec.structs.replace(manifest, **changes), policy)


def _change_byte(folder: Path) -> None:
    data = bytearray((folder / MODEL).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / MODEL).write_bytes(data)


def _link(path: Path) -> None:
    elsewhere = path.parent.parent / f"{path.parent.name}-elsewhere-{path.name}"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def _lead_outside(folder: Path) -> None:
    outside = folder.parent / f"{folder.name}-outside.bin"
    outside.write_bytes(b"outside")
    manifest, _ = read_manifest(folder)
    files = {**manifest.files, f"../{outside.name}": sha256(b"outside")}
    raw = encode_manifest(msgspec.structs.replace(manifest, files=files))
    (folder / MANIFEST).write_bytes(raw)
    repolicy(folder, package=sha256(raw))


def _verify_elsewhere(folder: Path) -> None:
    manifest, _ = read_manifest(folder)
    _reseal(
        folder,
        verified_on=tuple(
            msgspec.structs.replace(entry, architecture="riscv128")
            for entry in manifest.verified_on
        ),
    )


def _change_golden_scores(folder: Path) -> None:
    golden = msgspec.json.decode((folder / GOLDEN).read_bytes(), type=GoldenSet)
    # By more than any tolerance, by too little for another verdict.
    _write_golden(
        folder,
        {
            image.file: (
                image.scores
                if index
                else (abs(image.scores[0] - 0.02), abs(abs(image.scores[0] - 0.02) - 1.0))
            )
            for index, image in enumerate(golden.images)
        },
    )
    _reseal(folder)


def _spoil_golden_picture(folder: Path) -> None:
    picture = next((folder / "golden").glob("*.png"))
    picture.write_bytes(picture.read_bytes()[:-20])
    _reseal(folder)


_BREAKERS: dict[Broken | None, Callable[[Path], None]] = {
    Broken.CHANGED_BYTE: _change_byte,
    Broken.MISSING_FILE: lambda folder: (folder / CARD).unlink(),
    Broken.STRAY_FILE: lambda folder: (folder / "weights.bin").touch(),
    Broken.SYMLINK: lambda folder: _link(folder / MODEL),
    Broken.SYMLINKED_FOLDER: lambda folder: _link(folder / "golden"),
    Broken.OUTSIDE: _lead_outside,
    Broken.NO_POLICY: lambda folder: (folder / POLICY).unlink(),
    Broken.FOREIGN_POLICY: lambda folder: repolicy(folder, package="f" * 64),
    Broken.POLICY_CLASSES: lambda folder: repolicy(folder, nok_min={"scratch": 0.5}),
    Broken.TASK: lambda folder: _reseal(folder, task="anomaly"),
    Broken.RUNTIME: lambda folder: _reseal(folder, runtime="abacus"),
    Broken.IMAGING_VERSION: lambda folder: _reseal(folder, imaging_version="0"),
    Broken.ARCHITECTURE: _verify_elsewhere,
    Broken.GOLDEN_SCORES: _change_golden_scores,
    Broken.GOLDEN_PICTURE: _spoil_golden_picture,
}
