"""Model packages: what is believed, what is refused, and that golden pictures are replayed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec
import numpy as np
import pytest

from inspection import runtimes
from inspection.errors import PackageError
from inspection.imaging import Frame, crop
from inspection.messages import Region, Severity, Verdict
from inspection.package import (
    MANIFEST,
    POLICY,
    encode_manifest,
    open_package,
    read_manifest,
    read_reference,
    released,
    sha256,
)
from inspection.policy import judge
from inspection.testing.packages import Broken, build_package, repolicy


def shade(level: int, side: int = 32, channels: int = 1) -> Frame:
    return np.full((1, side, side, channels), level, np.uint8)


def verdict(model: runtimes.Model, crops: Frame) -> Verdict:
    (scores,) = model.scores(crops).tolist()
    return judge(scores, model.package.manifest.class_names, model.package.policy).verdict


def rewrite(folder: Path, **changes: object) -> None:
    """Change the manifest and let the policy follow, as whoever made the package could."""
    manifest, _ = read_manifest(folder)
    raw = encode_manifest(msgspec.structs.replace(manifest, **changes))
    (folder / MANIFEST).write_bytes(raw)
    repolicy(folder, package=sha256(raw))


# ---------------------------------------------------------------- a good one


@pytest.mark.parametrize("sees", ["darkness", "bright_square"])
@pytest.mark.parametrize(("size", "channels"), [(32, 1), (64, 3)])
def test_a_good_package_opens_and_reproduces_its_golden_pictures(
    tmp_path: Path, sees: str, size: int, channels: int
) -> None:
    folder = build_package(
        tmp_path / "model",
        sees="darkness" if sees == "darkness" else "bright_square",
        size=size,
        channels=channels,
    )
    package = open_package(folder)
    assert package.manifest.class_names == ("ok", "defect")
    assert package.manifest.ok_class == "ok"
    assert package.manifest.severity_of("defect") is Severity.MAJOR
    assert package.ref.package == package.policy.package
    model = runtimes.load(package)
    assert runtimes.replay_golden(model) <= 1e-5
    manifest, policy, ref = read_reference(folder)
    assert (manifest, policy, ref) == (package.manifest, package.policy, package.ref)


def test_the_darker_the_crop_the_surer_the_defect(tmp_path: Path) -> None:
    model = runtimes.load(open_package(build_package(tmp_path / "model")))
    assert verdict(model, shade(20)) is Verdict.NOK
    assert verdict(model, shade(145)) is Verdict.REVIEW
    assert verdict(model, shade(230)) is Verdict.OK
    scores = [float(model.scores(shade(level))[0, 1]) for level in range(0, 256, 15)]
    assert scores == sorted(scores, reverse=True)


def test_a_bright_square_is_seen_wherever_it_is(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model", sees="bright_square", size=64, channels=3)
    model = runtimes.load(open_package(folder))
    clean = shade(40, 64, 3)
    assert verdict(model, clean) is Verdict.OK
    for left, top in ((0, 0), (20, 35), (48, 48)):
        marked = clean.copy()
        marked[:, top : top + 16, left : left + 16] = 250
        assert verdict(model, marked) is Verdict.NOK


def test_many_crops_at_once_score_as_they_do_alone(tmp_path: Path) -> None:
    model = runtimes.load(open_package(build_package(tmp_path / "model")))
    crops = np.concatenate([shade(level) for level in range(0, 250, 10)])
    together = model.scores(crops)
    assert together.shape == (25, 2)
    assert together.dtype == np.float32
    alone = np.concatenate([model.scores(crops[n : n + 1]) for n in range(25)])
    assert np.allclose(together, alone, atol=1e-6)


def test_the_crop_of_the_package_fits_its_model(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model", size=40, channels=3, margin=0.25)
    model = runtimes.load(open_package(folder))
    spec = runtimes.crop_spec(model.package)
    frame = np.full((100, 100), 200, np.uint8)
    region = Region(left_px=10, top_px=10, width_px=30, height_px=20)
    assert verdict(model, crop(frame, region, spec)[np.newaxis]) is Verdict.OK


def test_the_same_recipe_gives_the_same_package(tmp_path: Path) -> None:
    one, other = (open_package(build_package(tmp_path / name)) for name in ("a", "b"))
    assert one.ref == other.ref
    assert open_package(build_package(tmp_path / "c", size=40)).ref.package != one.ref.package


def test_new_thresholds_change_the_policy_and_not_the_package(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model")
    before = open_package(folder).ref
    repolicy(folder, version=2, ok_min=0.99, why="fewer escapes")
    after = open_package(folder).ref
    assert after.package == before.package
    assert after.policy != before.policy
    runtimes.load(open_package(folder))


# ---------------------------------------------------------------- broken ones

SAYS = {
    Broken.CHANGED_BYTE: "changed since the package was made",
    Broken.MISSING_FILE: "No such file",
    Broken.STRAY_FILE: "'weights.bin' is not listed",
    Broken.SYMLINK: "'model.onnx' is a symbolic link",
    Broken.SYMLINKED_FOLDER: "'golden' is a symbolic link",
    Broken.OUTSIDE: "leads out of the package",
    Broken.NO_POLICY: "no policy beside",
    Broken.FOREIGN_POLICY: "fitted for package ffffffffffff",
    Broken.POLICY_CLASSES: "nok_min must name exactly",
    Broken.TASK: "task 'anomaly' is not known",
    Broken.RUNTIME: "runtime 'abacus'",
    Broken.IMAGING_VERSION: "imaging version 0",
    Broken.ARCHITECTURE: "only for CPUExecutionProvider on riscv128",
    Broken.GOLDEN_SCORES: "does not reproduce",
    Broken.GOLDEN_PICTURE: "the PNG file ends early",
    Broken.NOT_A_GRAPH: "no ONNX file",
    Broken.EXTERNAL_DATA: "keeps weights in another file",
    Broken.CUSTOM_DOMAIN: "operator of domain 'com.elsewhere'",
    Broken.FUNCTIONS: "defines functions",
    Broken.ENDLESS: "operator Loop, which may never end",
    Broken.EMPTY: "refuses the graph",
    Broken.CUT_OFF: "cut off",
    Broken.PICKLE: "no ONNX file",
    Broken.INPUT_SHAPE: "the graph takes",
    Broken.OUTPUT_SHAPE: "of shape (1, 3) for 1 crops and 2 classes",
    Broken.NAN: "no valid scores",
}


def test_every_broken_variant_is_tried() -> None:
    on_white = {Broken.NAN_ON_WHITE, Broken.HANGS_ON_WHITE, Broken.STUCK_ON_WHITE}
    hanging = {Broken.HANGS}  # tried in test_inference.py, where somebody looks at the time
    assert set(SAYS) == set(Broken) - on_white - hanging


@pytest.mark.parametrize("broken", sorted(SAYS), ids=lambda broken: Broken(broken).name)
def test_a_broken_package_never_judges_and_says_why(
    tmp_path: Path, broken: Broken, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = build_package(tmp_path / "model", broken=broken)
    with pytest.raises(PackageError) as caught:
        runtimes.load(open_package(folder))
    assert SAYS[broken] in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_one_changed_byte_anywhere_in_any_file_is_noticed(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model")
    chance = np.random.default_rng(0)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name == POLICY:
            continue
        data = path.read_bytes()
        for _ in range(30):
            changed = bytearray(data)
            changed[chance.integers(len(data))] ^= 1 << int(chance.integers(8))
            path.write_bytes(changed)
            with pytest.raises(PackageError):
                open_package(folder)
        path.write_bytes(data)
    open_package(folder)


def test_nan_for_one_picture_only_is_no_verdict_for_that_picture(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model", broken=Broken.NAN_ON_WHITE)
    model = runtimes.load(open_package(folder))
    crops = np.concatenate([shade(200), shade(255)])
    fine, white = model.scores(crops).tolist()
    classes, policy = model.package.manifest.class_names, model.package.policy
    assert judge(fine, classes, policy).verdict is Verdict.OK
    assert judge(white, classes, policy).verdict is Verdict.NOT_INSPECTED


def test_weights_in_another_file_are_refused_from_within_the_package_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a graph given as bytes, ONNX Runtime looks for them below the working directory.
    folder = build_package(tmp_path / "model", broken=Broken.EXTERNAL_DATA)
    monkeypatch.chdir(folder)
    with pytest.raises(PackageError, match="keeps weights in another file"):
        runtimes.load(open_package(folder), replay=False)


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "golden/../../outside", "a\0b", "..", "", ".", "golden"]
)
def test_a_listed_name_that_is_no_file_in_the_package_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_bytes(b"outside")
    folder = build_package(tmp_path / "model")
    manifest, _ = read_manifest(folder)
    rewrite(folder, files={**manifest.files, name: sha256(b"outside")})
    with pytest.raises(PackageError):
        open_package(folder)


def test_a_pipe_in_the_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model")
    (folder / "CARD.md").unlink()
    os.mkfifo(folder / "CARD.md")
    with pytest.raises(PackageError, match="no plain file"):
        open_package(folder)


def test_a_device_that_nobody_listed_is_a_stray_file(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        with pytest.raises(PackageError, match="'socket' is not listed"):
            open_package(folder)


def test_a_folder_without_a_manifest_is_no_package(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(PackageError, match="no model package here"):
            open_package(place)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"format": 1', b'"format": 2'),
        (b'"severity": null', b'"severity": "minor"'),
        (b'"severity": "major"', b'"severity": null'),
        (b'"severity": "major"', b'"severity": "fatal"'),
        (b'"name": "defect"', b'"name": "ok"'),
        (b'"name": "darkness"', b'"name": "../darkness"'),
        (b'"model.onnx"', b'"graph.onnx"'),
        (b'"golden/golden.json"', b'"golden/g.json"'),
        (b'"width": 32', b'"width": 0'),
        (b'"tolerance": 0.00001', b'"tolerance": 1'),
        (b'"metrics"', b'"numbers"'),
        (b"{", b"["),
        (b'"test"', b'"te\xfe"'),
        (b'"metrics": {}', b'"metrics": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ],
)
def test_a_manifest_with_a_mistake_is_refused(tmp_path: Path, before: bytes, after: bytes) -> None:
    folder = build_package(tmp_path / "model")
    raw = (
        (folder / MANIFEST).read_bytes().replace(b"1e-5", b"0.00001").replace(b"1e-05", b"0.00001")
    )
    assert before in raw
    (folder / MANIFEST).write_bytes(raw.replace(before, after, 1))
    for read in (open_package, read_reference):
        with pytest.raises(PackageError, match=r"manifest\.json"):
            read(folder)


def test_a_policy_and_a_manifest_that_disagree_on_ok_are_refused(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model")
    repolicy(folder, ok_class="defect", nok_min={"ok": 0.5})
    for read in (open_package, read_reference):
        with pytest.raises(PackageError, match="different OK classes"):
            read(folder)


def test_a_looser_policy_does_not_hide_scores_that_moved(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model", broken=Broken.GOLDEN_SCORES)
    repolicy(folder, ok_min=1.0, nok_min={"defect": 1.0})
    with pytest.raises(PackageError, match="does not reproduce"):
        runtimes.load(open_package(folder))


def test_crops_of_another_shape_are_an_error_and_the_model_goes_on(tmp_path: Path) -> None:
    model = runtimes.load(open_package(build_package(tmp_path / "model")))
    with pytest.raises(PackageError, match="inference failed"):
        model.scores(shade(100, side=16))
    assert verdict(model, shade(230)) is Verdict.OK


# ------------------------------------------------------------- which of a model's versions


def test_the_released_package_of_a_folder_is_its_highest_version(tmp_path: Path) -> None:
    for version in ("2", "10", "9"):
        build_package(tmp_path / version)
    (tmp_path / "recipe.toml").write_text("")
    (tmp_path / "11").mkdir()  # a training that has not ended is no version yet
    assert released(tmp_path) == tmp_path / "10"
    build_package(tmp_path / "10.2")
    build_package(tmp_path / "10.10")
    assert released(tmp_path) == tmp_path / "10.10"
    build_package(tmp_path / "11-rc1")
    assert released(tmp_path) == tmp_path / "11-rc1"
    (tmp_path / "11").rmdir()
    build_package(tmp_path / "11")
    assert released(tmp_path) == tmp_path / "11"


def test_a_package_itself_is_what_is_released_of_it(tmp_path: Path) -> None:
    assert released(build_package(tmp_path / "2")) == tmp_path / "2"


def test_a_folder_without_any_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="no model package here, nor a folder with one"):
        released(tmp_path)
    with pytest.raises(PackageError, match="No such file"):
        released(tmp_path / "nowhere")


# ---------------------------------------------------------------- heat maps


def test_a_package_without_a_heat_map_is_written_as_before_there_were_any(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model")
    assert b"heat" not in (folder / MANIFEST).read_bytes()
    model = runtimes.load(open_package(folder))
    assert model.outputs(shade(40)).heat is None


def test_a_heat_map_comes_with_the_scores_point_by_point(tmp_path: Path) -> None:
    model = runtimes.load(open_package(build_package(tmp_path / "model", heat=True)))
    said = model.outputs(np.concatenate([shade(0), shade(255), shade(51)]))
    one, two, three = said.heat_maps()
    assert one is not None
    assert two is not None
    assert three is not None
    assert (one.shape, one.dtype) == ((32, 32), np.float32)
    assert [float(heat.mean()) for heat in (one, two, three)] == pytest.approx([1, 0, 0.8])
    assert said.ood is None


def test_a_heat_map_the_graph_does_not_give_is_refused_before_it_judges(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model")
    rewrite(folder, heat_name="heat")
    with pytest.raises(PackageError, match="'heat'"):
        runtimes.load(open_package(folder))


def test_an_output_that_is_no_heat_map_is_no_answer(tmp_path: Path) -> None:
    folder = build_package(tmp_path / "model")
    rewrite(folder, heat_name="scores")
    with pytest.raises(PackageError, match="scores"):
        runtimes.load(open_package(folder))
