"""``inspection models``: what a release needs, step by step, as a person types it."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pytest

from inspection.__main__ import main
from inspection.imaging import decode, encode_png
from inspection.messages import Verdict
from inspection.models_command import mcnemar
from inspection.package import open_package, read_manifest, read_policy, seal
from inspection.policy import judge
from inspection.runtimes import load
from inspection.testing.packages import build_package

WHO = ("--author", "Q. Engineer", "--why", "a test")
GATE = """\
[limits]
escapes_at_most = 0.01
overkill_at_most = 0.02
"""


def make(folder: Path, version: str, *, defects: int = 400, ok_min: float = 0.9) -> Path:
    """A package whose manifest tells of a test with no escape among so many defects."""
    build_package(folder, ok_min=ok_min)
    manifest, _ = read_manifest(folder)
    policy, _ = read_policy(folder / "policy.json")
    test = {"escapes": {"errors": 0, "trials": defects}, "overkill": {"errors": 1, "trials": 900}}
    seal(folder, msgspec.structs.replace(manifest, version=version, metrics={"test": test}), policy)
    return folder


def models(*words: object) -> int:
    return main(["models", *map(str, words)])


@pytest.fixture
def registry(tmp_path: Path) -> tuple[str, str]:
    return ("--registry", str(tmp_path / "registry"))


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    (tmp_path / "gate.toml").write_text(GATE)
    return tmp_path / "gate.toml"


def current(registry: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert models("list", *registry) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    (row,) = [row for row in rows[1:] if row[2] == "current"]  # an empty cell leaves no word
    return row[1]


def test_a_version_is_promoted_through_the_gate_and_rolled_back(
    tmp_path: Path, registry: tuple[str, str], gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in ("1", "2"):
        package = make(tmp_path / version, version)
        assert models("add", package, *registry, *WHO) == 0
        assert models("promote", f"darkness@{version}", "--gate", gate, *registry, *WHO) == 0
    assert current(registry, capsys) == "2"
    assert models("rollback", "darkness", *registry, *WHO) == 0
    assert current(registry, capsys) == "1"
    assert models("log", "darkness", *registry) == 0
    said = capsys.readouterr().out
    assert said.count("Q. Engineer") == 5
    assert [word in said for word in ("add", "promote", "rollback", "a test")] == [True] * 4


def test_too_few_defects_do_not_pass_and_the_current_version_stays(
    tmp_path: Path, registry: tuple[str, str], gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, weak = make(tmp_path / "1", "1"), make(tmp_path / "2", "2", defects=30)
    assert models("promote", good, "--gate", gate, *registry, *WHO) == 0
    assert models("promote", weak, "--gate", gate, *registry, *WHO) == 1
    told = capsys.readouterr()
    assert "9.503%" in told.out + told.err
    assert current(registry, capsys) == "1"


@pytest.mark.parametrize("left_out", ["--author", "--why"])
def test_nothing_is_released_without_who_and_why(
    tmp_path: Path, registry: tuple[str, str], gate: Path, left_out: str
) -> None:
    words = list(WHO)
    at = words.index(left_out)
    del words[at : at + 2]
    package = make(tmp_path / "1", "1")
    assert models("promote", package, "--gate", gate, *registry, *words) == 2


def test_a_signature_is_asked_for_where_the_gate_says_so(
    tmp_path: Path, registry: tuple[str, str], gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models("keygen", "quality", "--out", tmp_path) == 0
    assert models("keygen", "stranger", "--out", tmp_path) == 0
    public, private = sorted(tmp_path.glob("quality*"), key=lambda p: p.suffix != ".pub")
    gate.write_text(f'{GATE}\n[signature]\nkeys = ["{public.name}"]\n')
    package = make(tmp_path / "1", "1")
    assert models("promote", package, "--gate", gate, *registry, *WHO) == 1
    stranger = next(p for p in tmp_path.glob("stranger*") if p.suffix != ".pub")
    foreign = shutil.copytree(package, tmp_path / "foreign")
    assert models("sign", foreign, "--key", stranger) == 0
    assert models("verify", foreign, "--key", public) == 1
    assert models("sign", package, "--key", private) == 0
    assert models("verify", package, "--key", public) == 0
    other = ("--registry", str(tmp_path / "other"))
    assert models("promote", package, "--gate", gate, *other, *WHO) == 0
    (package / "CARD.md").write_text("changed")
    capsys.readouterr()
    assert models("verify", package, "--key", public) == 1
    assert "CARD.md: changed since" in capsys.readouterr().err


def test_a_past_escape_must_be_in_the_golden_set_and_not_come_out_ok(
    tmp_path: Path, registry: tuple[str, str], gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    escapes = tmp_path / "escapes"
    escapes.mkdir()
    dark = np.full((32, 32), 60, np.uint8)
    dark[8:12, 8:12] = 90
    (escapes / "weld-17.png").write_bytes(encode_png(dark))
    gate.write_text(f'{GATE}\n[golden]\nescapes = "escapes"\n')
    package = make(tmp_path / "1", "1")
    assert models("promote", package, "--gate", gate, *registry, *WHO) == 1
    told = capsys.readouterr()
    assert "weld-17" in told.out + told.err
    assert "is not in the golden set" in told.out + told.err
    better = tmp_path / "1.1"
    assert models("escapes", package, escapes, "--out", better, "--version", "1.1") == 0
    made = open_package(better)
    assert len(made.golden.images) == len(open_package(package).golden.images) + 1
    frame = decode(made.content[f"golden/{made.golden.images[-1].file}"])
    assert np.array_equal(frame, dark)
    assert models("promote", better, "--gate", gate, *registry, *WHO) == 0
    bright = np.full((32, 32), 250, np.uint8)
    (escapes / "weld-18.png").write_bytes(encode_png(bright))
    model = load(made)
    said = model.scores(bright[np.newaxis, :, :, np.newaxis])[0].tolist()
    assert judge(said, made.manifest.class_names, made.policy).verdict is Verdict.OK
    lenient = tmp_path / "1.2"
    assert models("escapes", better, escapes, "--out", lenient, "--version", "1.2") == 0
    assert models("promote", lenient, "--gate", gate, *registry, *WHO) == 1
    told = capsys.readouterr()
    assert "comes out OK" in told.out + told.err
    assert current(registry, capsys) == "1.1"


def test_two_packages_are_compared_point_by_point(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second is so strict that grey plates, which are good, come out REVIEW."""
    data = tmp_path / "plates"
    for label, levels in (("ok", (250, 245, 175, 170, 165)), ("defect", (10, 20, 30))):
        (data / label).mkdir(parents=True)
        for number, level in enumerate(levels):
            rng = np.random.default_rng(level)
            plate = np.clip(rng.normal(level, 3, (32, 32)), 0, 255).astype(np.uint8)
            (data / label / f"{label}{number}.png").write_bytes(encode_png(plate))
    (tmp_path / "dataset.toml").write_text(
        'name = "plates"\nlayout = "folders"\nsource = "drawn"\nlicence = "CC0"\n'
        'part = "([a-z]+[0-9])$"\n[[classes]]\nname = "ok"\n[[classes]]\nname = "defect"\n'
        'severity = "major"\n'
    )
    mild, strict = make(tmp_path / "1", "1", ok_min=0.6), make(tmp_path / "2", "2", ok_min=0.98)
    words = ("--data", data, "--dataset", tmp_path / "dataset.toml")
    assert models("compare", mild, strict, *words) == 0
    said = capsys.readouterr().out
    assert "0.25" in said  # three points on which only the strict one errs: 2 / 2**3


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1), (0, 5, Fraction(2, 32)), (5, 0, Fraction(2, 32)), (2, 8, Fraction(112, 1024))],
)
def test_mcnemar_is_exact(only_a: int, only_b: int, p: int | Fraction) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(float(p))
