"""Whoever has only the page on model packages, OpenCV and ONNX Runtime gets the same verdicts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from exports import Made, make

from inspection.package import VECTORS, open_package
from inspection.policy import judge

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = '''
"""Written after docs/model-package.md, without this software."""
import hashlib, json, math, os, pathlib, platform, sys
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import cv2, numpy as np, onnxruntime

package = pathlib.Path(sys.argv[1])
manifest = json.loads((package / "manifest.json").read_bytes())
policy = json.loads((package / "policy.json").read_bytes())
assert policy["package"] == hashlib.sha256((package / "manifest.json").read_bytes()).hexdigest()
for name, wanted in manifest["files"].items():
    assert hashlib.sha256((package / name).read_bytes()).hexdigest() == wanted, name
names = [entry["name"] for entry in manifest["classes"]]
spec = manifest["input"]


def read(name):
    pixels = cv2.imread(str(package / "golden" / name), cv2.IMREAD_UNCHANGED)
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, ::-1])


def edges(start, size, margin):
    low = math.floor(start - margin * size + 0.5)
    high = math.floor(start + (1 + margin) * size + 0.5)
    return low, max(high, low + 1)


def crop(frame, region):
    rows, columns = frame.shape[:2]
    left, right = edges(region["left_px"], region["width_px"], spec["margin"])
    top, bottom = edges(region["top_px"], region["height_px"], spec["margin"])
    inside = frame[max(top, 0) : min(bottom, rows), max(left, 0) : min(right, columns)]
    over = max(-top, 0), max(bottom - rows, 0), max(-left, 0), max(right - columns, 0)
    patch = cv2.copyMakeBorder(inside, *over, cv2.BORDER_REPLICATE)
    if patch.shape[:2] != (spec["height"], spec["width"]):
        shrinks = patch.shape[0] * patch.shape[1] > spec["height"] * spec["width"]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        patch = cv2.resize(patch, (spec["width"], spec["height"]), interpolation=how)
    if patch.ndim == 3 and spec["channels"] == 1:
        patch = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)
    if patch.ndim == 2:
        patch = np.repeat(patch[:, :, None], spec["channels"], axis=2)
    return np.ascontiguousarray(patch)


def verdict(scores, ood):
    if len(scores) != len(names) or not all(0 <= score <= 1 for score in scores):
        return "NOT_INSPECTED"
    if not abs(sum(scores) - 1) <= 0.001:
        return "NOT_INSPECTED"
    of = dict(zip(names, scores))
    if any(of[name] >= limit for name, limit in policy["nok_min"].items()):
        return "NOK"
    if policy["ood_max"] is not None:
        if ood is None or not (math.isfinite(ood) and ood >= 0):
            return "NOT_INSPECTED"
        if ood > policy["ood_max"]:
            return "REVIEW"
    return "OK" if of[policy["ok_class"]] >= policy["ok_min"] else "REVIEW"


def session(name):
    return onnxruntime.InferenceSession(str(package / name), providers=["CPUExecutionProvider"])


def run(graph, crops):
    wanted = [manifest["output_name"]]
    if manifest["ood_name"] is not None:
        wanted.append(manifest["ood_name"])
    found = graph.run(wanted, {manifest["input_name"]: np.stack(crops)})
    scores = found[0].tolist()
    return scores, found[1].tolist() if len(found) > 1 else [None] * len(scores)


def close(got, wanted, tolerance):
    scores, ood = got
    assert max(abs(a - b) for a, b in zip(scores, wanted["scores"], strict=True)) <= tolerance
    if wanted["ood"] is not None:
        assert abs(ood - wanted["ood"]) <= tolerance * max(1, wanted["ood"])


tolerances = {entry["graph"]: entry["tolerance"] for entry in manifest["verified_on"]}
golden = {"model.onnx": "golden.json", "model-int8.onnx": "int8.json"}
for name, tolerance in tolerances.items():
    images = json.loads((package / "golden" / golden[name]).read_bytes())["images"]
    crops = [read(image["file"]).reshape(spec["height"], spec["width"], -1) for image in images]
    for got, image in zip(zip(*run(session(name), crops)), images, strict=True):
        close(got, image, tolerance)
        assert verdict(*got) == verdict(image["scores"], image["ood"])

vectors = json.loads((package / "golden" / "vectors.json").read_bytes())
graph, said = session(vectors["graph"]), []
for frame in vectors["frames"]:
    pixels = read(frame["file"])
    crops = [crop(pixels, point["region"]) for point in frame["points"]]
    for one, point in zip(crops, frame["points"], strict=True):
        assert hashlib.sha256(one.tobytes()).hexdigest() == point["crop"], point
    for got, point in zip(zip(*run(graph, crops)), frame["points"], strict=True):
        close(got, point, tolerances[vectors["graph"]])
        said.append(verdict(*got))
assert "inspection" not in sys.modules
print(json.dumps(said))
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def package(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "package"
    made.package(out, novelty=True, int8_crops=made.train[0])
    return out


def replay(program: Path, package: Path) -> subprocess.CompletedProcess[str]:
    # -I: neither the working directory nor the environment lends it this software's modules.
    return subprocess.run(
        [sys.executable, "-I", str(program), str(package)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_program_without_this_software_gets_the_same_crops_scores_and_verdicts(
    package: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = replay(program, package)
    assert done.returncode == 0, done.stderr
    opened = open_package(package)
    vectors = json.loads(opened.content[VECTORS])
    wanted = [
        judge(point["scores"], opened.manifest.class_names, opened.policy, point["ood"]).verdict
        for frame in vectors["frames"]
        for point in frame["points"]
    ]
    assert json.loads(done.stdout) == [verdict.name for verdict in wanted]
    assert len(set(wanted)) > 1


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("pixels[:, :, ::-1]", "pixels"),
        ("cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR", "cv2.INTER_LINEAR"),
        ("cv2.BORDER_REPLICATE", "cv2.BORDER_REFLECT"),
        ("size + 0.5)", "size)"),
    ],
)
def test_the_vectors_notice_each_step_done_otherwise(
    package: Path, tmp_path: Path, right: str, wrong: str
) -> None:
    assert right in PROGRAM
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace(right, wrong))
    done = replay(program, package)
    assert done.returncode != 0
    assert "AssertionError" in done.stderr


def test_the_vectors_hold_regions_of_every_kind(package: Path) -> None:
    vectors = json.loads((package / VECTORS).read_bytes())
    points = [point for frame in vectors["frames"] for point in frame["points"]]
    regions = [point["region"] for point in points]
    assert any(region["left_px"] % 1 for region in regions)
    assert any(region["width_px"] < 1 for region in regions)
    assert len({tuple(point["scores"]) for point in points}) > 5
    assert all(point["ood"] is not None for point in points)


def test_the_page_names_every_field_that_the_program_reads(package: Path) -> None:
    page = (ROOT / "docs" / "model-package.md").read_text("utf-8")
    manifest = json.loads((package / "manifest.json").read_bytes())
    for field in ("verified_on", "input_name", "output_name", "ood_name", "imaging_version"):
        assert field in manifest
        assert f"`{field}`" in page
    policy = json.loads((package / "policy.json").read_bytes())
    for field in ("package", "ok_class", "ok_min", "nok_min", "ood_max"):
        assert field in policy
        assert f"`{field}`" in page
