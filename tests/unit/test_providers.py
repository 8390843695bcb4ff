"""A package runs on the execution providers it was verified on, and on nothing else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.config import read_edge
from inspection import runtimes
from inspection.__main__ import main
from inspection.errors import ConfigurationError, DataError, PackageError
from inspection.imaging import decode
from inspection.package import (
    MODEL,
    VECTORS,
    Package,
    VerifiedOn,
    architecture,
    open_package,
    read_manifest,
    read_policy,
    seal,
)
from inspection.providers import verify_on, with_provider
from inspection.runtimes import PROVIDERS, Preference
from inspection.testing.packages import build_package
from inspection.training.vectors import write_vectors

HERE = runtimes.available("onnxruntime")
ABSENT = next(long for long in PROVIDERS.values() if long not in HERE)
CPU = PROVIDERS["cpu"]


def entry(provider: str, tolerance: float = 1e-5) -> VerifiedOn:
    return VerifiedOn(provider=provider, architecture=architecture(), tolerance=tolerance)


def package(folder: Path, *entries: VerifiedOn, vectors: bool = False) -> Package:
    build_package(folder)
    if vectors:
        made = open_package(folder)
        crops = [decode(made.content[f"golden/{i.file}"]) for i in made.golden.images]
        stacked = np.stack(crops)[..., np.newaxis]
        write_vectors(folder, stacked, runtimes.crop_spec(made), runtimes.load(made))
    manifest, _ = read_manifest(folder)
    policy, _ = read_policy(folder / "policy.json")
    verified = entries or manifest.verified_on
    seal(folder, msgspec.structs.replace(manifest, verified_on=verified), policy)
    return open_package(folder)


def test_a_package_verified_only_on_what_is_not_here_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=f"only for {ABSENT}"):
        runtimes.load(package(tmp_path / "m", entry(ABSENT)))


def test_a_fall_back_goes_to_one_that_is_listed(tmp_path: Path) -> None:
    model = runtimes.load(package(tmp_path / "m", entry(ABSENT), entry(CPU)))
    assert model.provider == CPU


def test_a_preference_for_what_is_not_listed_changes_nothing(tmp_path: Path) -> None:
    for short in PROVIDERS:
        model = runtimes.load(package(tmp_path / short), preference=Preference(short))
        assert model.provider == CPU


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_onnx_runtime_leaves_out_without_a_word_is_an_error(
    tmp_path: Path,
) -> None:
    with pytest.raises(PackageError, match="could not be loaded, ONNX Runtime took CPU"):
        runtimes.make(package(tmp_path / "m"), MODEL, ABSENT)


def test_golden_pictures_and_vectors_go_through_the_provider(tmp_path: Path) -> None:
    found = verify_on(package(tmp_path / "m", vectors=True), "cpu", 1e-5)
    assert (found.provider, found.golden, found.vectors) == (CPU, 0.0, 0.0)
    assert verify_on(package(tmp_path / "n"), "cpu", 1e-5).vectors is None


def test_a_vector_that_does_not_reproduce_is_named(tmp_path: Path) -> None:
    made = package(tmp_path / "m", vectors=True)
    content = dict(made.content)
    document = msgspec.json.decode(content[VECTORS])
    scores = document["frames"][0]["points"][0]["scores"]
    step = 0.001 if scores[0] < scores[1] else -0.001
    scores[0], scores[1] = scores[0] + step, scores[1] - step
    content[VECTORS] = msgspec.json.encode(document)
    changed = Package(
        made.path, made.manifest, made.policy, made.ref, made.golden, content, made.golden_int8
    )
    with pytest.raises(PackageError, match=r"frame-0.png: .* scores differ by 0.001"):
        verify_on(changed, "cpu", 1e-5)
    assert verify_on(changed, "cpu", 0.01).vectors == pytest.approx(0.001)


def test_a_copy_says_where_else_it_was_verified(tmp_path: Path) -> None:
    made = package(tmp_path / "m")
    ref = with_provider(made, ABSENT, 0.002, tmp_path / "n", "1-more")
    copy = open_package(tmp_path / "n")
    assert copy.ref == ref != made.ref
    assert copy.manifest.version == "1-more"
    assert copy.manifest.verified_on == (*made.manifest.verified_on, entry(ABSENT, 0.002))
    assert copy.policy.package == ref.package
    # What a machine without that provider runs is what it ran before.
    assert runtimes.load(copy).provider == CPU


def test_a_copy_is_a_version_of_its_own_and_says_something_new(tmp_path: Path) -> None:
    made = package(tmp_path / "m")
    with pytest.raises(DataError, match="a new version"):
        with_provider(made, ABSENT, 0.002, tmp_path / "n", "1")
    with pytest.raises(DataError, match="already"):
        with_provider(made, CPU, 0.002, tmp_path / "n", "2")
    with pytest.raises(DataError, match="exists already"):
        with_provider(made, ABSENT, 0.002, tmp_path, "2")


def test_the_command_verifies_on_a_provider(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package(tmp_path / "m", vectors=True)
    words = ["models", "verify", str(tmp_path / "m"), "--provider"]
    assert main([*words, "cpu"]) == 0
    said = capsys.readouterr().out
    assert f"golden on {CPU}: scores differ by 0 at most" in said
    assert f"vectors on {CPU}: scores differ by 0 at most" in said
    short = next(short for short, long in PROVIDERS.items() if long == ABSENT)
    assert main([*words, short]) == 1
    assert f"{ABSENT} is not in the ONNX Runtime that is installed here" in capsys.readouterr().err
    assert main([*words, "cpu", "--out", str(tmp_path / "n")]) != 0
    assert main([*words, "cpu", "--option", "device"]) != 0


@pytest.mark.skipif(
    PROVIDERS["openvino"] not in HERE, reason="needs onnxruntime-openvino in place of onnxruntime"
)
def test_openvino_gives_the_scores_on_record(tmp_path: Path) -> None:
    made = package(tmp_path / "m", vectors=True)
    found = verify_on(made, "openvino", 1e-3)
    with_provider(made, found.provider, 1e-3, tmp_path / "n", "2")
    model = runtimes.load(open_package(tmp_path / "n"), preference=Preference("openvino"))
    assert model.provider == PROVIDERS["openvino"]


EDGE = """\
edge = "edge-1"
directory = "edge"
station = { edge = "tcp://127.0.0.1:1", evidence = "tcp://127.0.0.1:2" }
models = { darkness = "m" }
cameras = { cam1 = { driver = "folder" } }
"""


def test_an_edge_is_told_what_to_run_on_and_how(tmp_path: Path) -> None:
    package(tmp_path / "m")
    path = tmp_path / "edge.toml"
    options = '[provider_options.tensorrt]\ndevice_id = "1"\ntrt_engine_cache_path = "cache"\n'
    path.write_text(f'provider = "tensorrt"\n{EDGE}{options}')
    cache = str(tmp_path / "cache")
    assert read_edge(path).preference == Preference(
        "tensorrt", {"tensorrt": {"device_id": "1", "trt_engine_cache_path": cache}}
    )
    path.write_text(f'provider = "abacus"\n{EDGE}')
    with pytest.raises(ConfigurationError, match="abacus"):
        read_edge(path)
