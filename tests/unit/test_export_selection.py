"""Which of a package's graphs runs on this machine."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from inspection import runtimes
from inspection.errors import PackageError
from inspection.package import (
    GOLDEN,
    GOLDEN_INT8,
    MODEL,
    MODEL_INT8,
    POLICY,
    Package,
    VerifiedOn,
    architecture,
    instruction_sets,
    open_package,
    read_manifest,
    seal,
)
from inspection.policy import read_policy
from inspection.testing.packages import build_package

ROOT = Path(__file__).resolve().parents[2]
NEVER = "no_such_set"
"""An instruction set that no processor has."""


def entry(graph: str = MODEL, instruction_set: str = "", **changes: object) -> VerifiedOn:
    made = VerifiedOn(
        provider="CPUExecutionProvider",
        architecture=architecture(),
        tolerance=1e-3,
        graph=graph,
        instruction_set=instruction_set,
    )
    return msgspec.structs.replace(made, **changes)


def package(folder: Path, *entries: VerifiedOn) -> Package:
    """A package with two graphs (the same one twice: which is chosen is the question)."""
    build_package(folder)
    (folder / MODEL_INT8).write_bytes((folder / MODEL).read_bytes())
    (folder / GOLDEN_INT8).write_bytes((folder / GOLDEN).read_bytes())
    manifest, _ = read_manifest(folder)
    policy, _ = read_policy(folder / POLICY)
    seal(folder, msgspec.structs.replace(manifest, verified_on=entries), policy)
    return open_package(folder)


def test_the_first_graph_listed_that_this_processor_can_run_is_run(tmp_path: Path) -> None:
    first = package(tmp_path / "a", entry(MODEL_INT8), entry(MODEL))
    assert runtimes.load(first).graph == MODEL_INT8
    other = package(tmp_path / "b", entry(MODEL), entry(MODEL_INT8))
    assert runtimes.load(other).graph == MODEL


def test_without_the_instruction_set_the_next_one_listed_runs(tmp_path: Path) -> None:
    made = package(tmp_path / "a", entry(MODEL_INT8, NEVER), entry(MODEL))
    assert runtimes.load(made).graph == MODEL
    assert runtimes.verified(made).graph == MODEL
    with pytest.raises(PackageError, match=rf"model-int8\.onnx is not verified.*with {NEVER}"):
        runtimes.load(made, graph=MODEL_INT8)


@pytest.mark.skipif(not instruction_sets(), reason="this system does not say what it can do")
def test_with_the_instruction_set_it_runs(tmp_path: Path) -> None:
    able = min(instruction_sets())
    made = package(tmp_path / "a", entry(MODEL_INT8, able), entry(MODEL))
    assert runtimes.load(made).graph == MODEL_INT8


@pytest.mark.parametrize(
    "unfit",
    [
        {"instruction_set": NEVER},
        {"architecture": "riscv128"},
        {"provider": "AbacusExecutionProvider"},
    ],
)
def test_a_machine_that_satisfies_no_entry_runs_nothing_and_the_error_lists_them(
    tmp_path: Path, unfit: dict[str, str]
) -> None:
    made = package(tmp_path / "a", entry(MODEL_INT8, **unfit), entry(MODEL, **unfit))
    with pytest.raises(PackageError, match="not verified for CPUExecutionProvider") as caught:
        runtimes.load(made)
    assert next(iter(unfit.values())) in str(caught.value)


def test_a_graph_asked_for_by_name_is_run_or_refused(tmp_path: Path) -> None:
    made = package(tmp_path / "a", entry(MODEL_INT8), entry(MODEL))
    assert runtimes.load(made, graph=MODEL).graph == MODEL
    assert runtimes.load(made, graph=MODEL_INT8).graph == MODEL_INT8
    one = package(tmp_path / "b", entry(MODEL))
    with pytest.raises(PackageError, match=r"model-int8\.onnx is not in the package's verified_on"):
        runtimes.load(one, graph=MODEL_INT8)


def test_each_graph_has_golden_scores_and_a_tolerance_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    made = package(folder, entry(MODEL), entry(MODEL_INT8, tolerance=0.01))
    moved = [
        msgspec.structs.replace(
            image, scores=(abs(image.scores[0] - 0.005), 1 - abs(image.scores[0] - 0.005))
        )
        for image in made.golden.images
    ]
    raw = msgspec.json.encode(msgspec.structs.replace(made.golden, images=tuple(moved)))
    (folder / GOLDEN_INT8).write_bytes(raw)
    seal(folder, made.manifest, made.policy)
    changed = open_package(folder)
    assert 0.004 < runtimes.replay_golden(runtimes.load(changed, graph=MODEL_INT8)) < 0.006
    assert runtimes.replay_golden(runtimes.load(changed, graph=MODEL)) < 1e-5
    (folder / GOLDEN).write_bytes(raw)
    seal(folder, made.manifest, made.policy)
    with pytest.raises(PackageError, match="does not reproduce"):
        runtimes.load(open_package(folder), graph=MODEL)


@pytest.mark.parametrize("missing", [MODEL_INT8, GOLDEN_INT8])
def test_a_listed_graph_without_file_or_golden_scores_is_refused(
    tmp_path: Path, missing: str
) -> None:
    folder = tmp_path / "a"
    made = package(folder, entry(MODEL), entry(MODEL_INT8))
    (folder / missing).unlink()
    seal(folder, made.manifest, made.policy)
    with pytest.raises(PackageError, match=f"verified_on names .*{missing} is not listed"):
        open_package(folder)


def test_a_graph_of_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"verified_on.graph 'model-fp16.onnx' is none of"):
        package(tmp_path / "a", entry("model-fp16.onnx"))


def test_what_a_processor_can_do_is_read_as_linux_says_it(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\n\nprocessor\t: 1\n")
    assert instruction_sets(told) == {"fpu", "avx2", "avx512_vnni"}
    told.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n")
    assert "asimddp" in instruction_sets(told)
    told.write_text("model name\t: flags of nothing\n")
    assert instruction_sets(told) == frozenset()
    assert instruction_sets(tmp_path / "nowhere") == frozenset()


def test_a_package_of_before_there_were_several_graphs_still_opens() -> None:
    made = open_package(ROOT / "models" / "spot-weld" / "1")
    assert [one.graph for one in made.manifest.verified_on] == [MODEL]
    assert (made.manifest.ood_name, made.policy.ood_max, made.golden_int8) == (None, None, None)
    if architecture() == made.manifest.verified_on[0].architecture:
        model = runtimes.load(made)
        assert model.graph == MODEL
        assert runtimes.replay_golden(model) <= made.manifest.verified_on[0].tolerance
