"""A registry of packages: nothing in it changes, everything is recorded, one is current."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from inspection.errors import PackageError, RegistryError
from inspection.package import MANIFEST, open_package, read_manifest, read_policy, seal
from inspection.registry import Registry, resolve
from inspection.testing.packages import build_package, repolicy

WHO = {"author": "Q. Engineer", "why": "a test"}
NAME = "darkness"


def make(folder: Path, version: str, *, ok_min: float = 0.9) -> Path:
    build_package(folder, ok_min=ok_min)
    manifest, _ = read_manifest(folder)
    policy, _ = read_policy(folder / "policy.json")
    seal(folder, msgspec.structs.replace(manifest, version=version), policy)
    return folder


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packages")
    return {version: make(folder / version, version) for version in ("1", "2", "3")}


@pytest.fixture(params=["file", "memory"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    url = {
        "file": (tmp_path / "registry").as_uri(),
        "memory": f"memory://registry-{uuid.uuid4().hex}",
    }[request.param]
    return Registry(url, cache=tmp_path / "cache")


def filled(registry: Registry, packages: dict[str, Path], *promoted: str) -> Registry:
    for path in packages.values():
        registry.add(path, **WHO)
    for version in promoted:
        registry.promote(NAME, version, **WHO, details={})
    return registry


def test_what_is_added_comes_back_as_it_was(registry: Registry, packages: dict[str, Path]) -> None:
    filled(registry, packages)
    assert registry.names() == [NAME]
    assert [entry.version for entry in registry.entries(NAME)] == ["1", "2", "3"]
    for version, path in packages.items():
        assert open_package(registry.fetch(NAME, version)).ref == open_package(path).ref
    assert registry.current(NAME) is None
    with pytest.raises(RegistryError, match="nothing is released"):
        registry.fetch(NAME)


def test_who_when_and_why_are_kept(registry: Registry, packages: dict[str, Path]) -> None:
    filled(registry, packages, "1", "2")
    registry.rollback(NAME, author="Shift lead", why="too many calls")
    log = registry.log(NAME)
    assert [(e.action, e.version) for e in log] == [
        ("add", "1"),
        ("add", "2"),
        ("add", "3"),
        ("promote", "1"),
        ("promote", "2"),
        ("rollback", "1"),
    ]
    assert (log[-1].author, log[-1].why) == ("Shift lead", "too many calls")
    assert log[-1].details == {"instead_of": "2"}
    assert log[0].when.endswith("+00:00")


@pytest.mark.parametrize("nobody", [{"author": " ", "why": "x"}, {"author": "x", "why": ""}])
def test_nothing_is_done_without_an_author_and_a_reason(
    registry: Registry, packages: dict[str, Path], nobody: dict[str, str]
) -> None:
    with pytest.raises(RegistryError, match="who does this and why"):
        registry.add(packages["1"], **nobody)
    filled(registry, packages, "1", "2")
    with pytest.raises(RegistryError, match="who does this and why"):
        registry.promote(NAME, "3", **nobody, details={})
    with pytest.raises(RegistryError, match="who does this and why"):
        registry.rollback(NAME, **nobody)
    assert registry.current(NAME).version == "2"


def test_the_same_package_twice_is_one_entry_and_another_under_its_version_is_refused(
    registry: Registry, packages: dict[str, Path], tmp_path: Path
) -> None:
    assert registry.add(packages["1"], **WHO) == (NAME, "1")
    assert registry.add(packages["1"], **WHO) == (NAME, "1")
    assert len(registry.log(NAME)) == 1
    other = build_package(tmp_path / "other", margin=0.5)  # version 1 as well
    with pytest.raises(RegistryError, match="is another package"):
        registry.add(other, **WHO)


def test_a_new_policy_is_an_entry_of_its_own_and_can_be_rolled_back(
    registry: Registry, tmp_path: Path
) -> None:
    path = make(tmp_path / "package", "1")
    registry.add(path, **WHO)
    registry.promote(NAME, "1", **WHO, details={})
    repolicy(path, version=2, ok_min=0.5)
    assert registry.add(path, **WHO) == (NAME, "1+policy.2")
    assert registry.log(NAME)[-1].action == "policy"
    registry.promote(NAME, "1+policy.2", **WHO, details={})
    assert open_package(registry.fetch(NAME)).policy.ok_min == 0.5
    assert registry.rollback(NAME, **WHO) == "1"
    assert open_package(registry.fetch(NAME)).policy.ok_min == 0.9
    repolicy(path, version=2, ok_min=0.6)
    with pytest.raises(RegistryError, match="has another policy"):
        registry.add(path, **WHO)


def test_rolling_back_twice_goes_further_back_and_not_forth_again(
    registry: Registry, packages: dict[str, Path]
) -> None:
    filled(registry, packages, "1", "2", "3")
    assert registry.rollback(NAME, **WHO) == "2"
    assert registry.rollback(NAME, **WHO) == "1"
    with pytest.raises(RegistryError, match="no way back"):
        registry.rollback(NAME, **WHO)
    assert registry.rollback(NAME, "3", **WHO) == "3"
    assert registry.current(NAME).version == "3"


def test_there_is_no_way_back_to_what_was_never_released(
    registry: Registry, packages: dict[str, Path]
) -> None:
    filled(registry, packages, "1", "2")
    with pytest.raises(RegistryError, match="never released"):
        registry.rollback(NAME, "3", **WHO)
    assert registry.current(NAME).version == "2"


def test_a_roll_back_takes_less_than_ten_seconds(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    first = root / "models" / "spot-weld" / "1"  # of a real size
    registry = Registry(tmp_path / "registry")
    name, version = registry.add(first, **WHO)
    second = tmp_path / "second"
    for file, data in open_package(first).content.items():
        (second / file).parent.mkdir(parents=True, exist_ok=True)
        (second / file).write_bytes(data)
    seal(
        second,
        msgspec.structs.replace(read_manifest(first)[0], version="2"),
        read_policy(first / "policy.json")[0],
    )
    registry.add(second, **WHO)
    registry.promote(name, version, **WHO, details={})
    registry.promote(name, "2", **WHO, details={})
    start = time.monotonic()
    registry.rollback(name, **WHO)
    package = open_package(resolve(tmp_path / "registry" / name))
    assert time.monotonic() - start < 10
    assert package.manifest.version == version


def test_a_changed_package_is_neither_released_nor_rolled_back_to(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    registry = filled(Registry(tmp_path / "registry"), packages, "1", "2")
    repolicy(tmp_path / "registry" / NAME / "1", ok_min=0.0)  # whole in itself
    repolicy(tmp_path / "registry" / NAME / "3", ok_min=0.0)
    for change in (
        lambda: registry.rollback(NAME, **WHO),
        lambda: registry.promote(NAME, "3", **WHO, details={}),
        lambda: registry.fetch(NAME, "1"),
    ):
        with pytest.raises(RegistryError, match="was changed"):
            change()
    assert registry.current(NAME).version == "2"


def test_a_damaged_copy_in_the_cache_is_fetched_again(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    registry = Registry(f"memory://{uuid.uuid4().hex}", cache=tmp_path / "cache")
    filled(registry, packages, "1")
    copy = registry.fetch(NAME)
    (copy / "model.onnx").write_bytes(b"damaged")
    assert open_package(registry.fetch(NAME)).ref == open_package(packages["1"]).ref


def test_a_changed_remote_package_never_reaches_the_cache(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    import fsspec

    url = f"memory://{uuid.uuid4().hex}"
    registry = filled(Registry(url, cache=tmp_path / "cache"), packages, "1")
    shutil_free = registry.fetch(NAME)
    for path in sorted(shutil_free.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    shutil_free.rmdir()
    files, root = fsspec.core.url_to_fs(url)
    files.pipe_file(f"{root}/{NAME}/1/CARD.md", b"praise")
    with pytest.raises(PackageError, match=r"CARD\.md: changed"):
        registry.fetch(NAME)
    assert list((tmp_path / "cache").glob("[!.]*-*")) == [
        path for path in (tmp_path / "cache").glob("[!.]*-*") if path != shutil_free
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:1] + lines[2:],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [lines[0].replace(b"a test", b"a jest"), *lines[1:]],
        lambda lines: [*lines[:-1], b"{}\n"],
    ],
    ids=["removed", "swapped", "edited", "replaced"],
)
def test_a_changed_log_is_noticed(
    packages: dict[str, Path],
    tmp_path: Path,
    change: Callable[[list[bytes]], list[bytes]],
) -> None:
    registry = filled(Registry(tmp_path / "registry"), packages, "1")
    log = tmp_path / "registry" / NAME / "log.jsonl"
    log.write_bytes(b"".join(change(log.read_bytes().splitlines(keepends=True))))
    with pytest.raises(RegistryError, match=r"log\.jsonl"):
        registry.entries(NAME)


def test_a_release_that_is_cut_out_of_the_log_is_noticed_by_current(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    registry = filled(Registry(tmp_path / "registry"), packages, "1")
    log = tmp_path / "registry" / NAME / "log.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(RegistryError, match="not in the log"):
        registry.current(NAME)


def test_a_configuration_names_the_registry_and_gets_what_is_released(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "registry" / NAME
    registry = filled(Registry(tmp_path / "registry"), packages, "1")
    assert resolve(folder) == resolve(folder / "current") == folder / "1"
    registry.promote(NAME, "2", **WHO, details={})
    assert resolve(folder) == folder / "2"
    assert resolve(packages["3"]) == packages["3"]
    open_package(resolve(folder))


@pytest.mark.parametrize("damage", [b"", b"2", b'{"version": "../../etc"}'])
def test_a_damaged_pointer_is_refused_and_a_roll_back_writes_it_anew(
    packages: dict[str, Path], tmp_path: Path, damage: bytes
) -> None:
    folder = tmp_path / "registry" / NAME
    registry = filled(Registry(tmp_path / "registry"), packages, "1", "2")
    (folder / "current").write_bytes(damage)
    with pytest.raises(PackageError):
        resolve(folder)
    with pytest.raises(RegistryError, match="rollback"):
        registry.current(NAME)
    registry.rollback(NAME, "1", **WHO)
    assert resolve(folder) == folder / "1"
    assert "unfinished" not in [entry.action for entry in registry.log(NAME)]


# ------------------------------------------------------------------------- killed at any step


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Run in a child that is killed, as by SIGKILL, just before or after its n-th step that
    reaches the disk: before for even steps, after for odd ones. True if it got to its end."""
    child = os.fork()
    if child == 0:
        count = 0

        def deadly(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object) -> object:
                nonlocal count
                if count == step:
                    os._exit(9)
                count += 1
                result = real(*arguments)
                if count == step:
                    os._exit(9)
                count += 1
                return result

            return call

        os.fsync, os.replace = deadly(os.fsync), deadly(os.replace)
        try:
            work()
        except BaseException:
            os._exit(7)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 0


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_a_release_that_is_killed_at_any_step_leaves_the_old_or_the_new_version(
    packages: dict[str, Path], tmp_path: Path, action: str
) -> None:
    old, new = ("2", "3") if action == "promote" else ("2", "1")
    seen = set()
    for step in range(100):
        folder = tmp_path / str(step)
        registry = filled(Registry(folder), packages, "1", "2")
        ended = killed_at(
            step,
            lambda registry=registry: (
                registry.promote(NAME, "3", **WHO, details={})
                if action == "promote"
                else registry.rollback(NAME, **WHO)
            ),
        )
        now = resolve(folder / NAME).name
        open_package(folder / NAME / now)
        assert registry.current(NAME).version == now
        assert now in (old, new)
        seen.add(now)
        # Whatever was left, the next one goes through, and the log says what did not happen.
        registry.promote(NAME, "3", **WHO, details={})
        assert registry.current(NAME).version == "3"
        assert registry.rollback(NAME, **WHO) != "3"
        actions = [entry.action for entry in registry.log(NAME)]
        cut_off = now == old and actions.count(action) > {"promote": 3, "rollback": 1}[action]
        assert ("unfinished" in actions) == cut_off
        if ended:
            break
    else:
        pytest.fail("more steps than there can be")
    assert ended
    assert seen == {old, new}
    assert step > 8


def test_an_add_that_is_killed_at_any_step_is_done_or_can_be_done_again(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    for step in range(200):
        folder = tmp_path / str(step)
        registry = Registry(folder)
        registry.add(packages["1"], **WHO)
        ended = killed_at(step, lambda registry=registry: registry.add(packages["2"], **WHO))
        assert {entry.version for entry in registry.entries(NAME)} <= {"1", "2"}
        assert registry.add(packages["2"], **WHO) == (NAME, "2")
        assert open_package(registry.fetch(NAME, "2")).ref == open_package(packages["2"]).ref
        if ended:
            break
    assert ended
    assert step > 10


def test_a_folder_that_somebody_put_there_by_hand_is_no_entry_and_not_overwritten(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    registry = filled(Registry(tmp_path / "registry"), {"1": packages["1"]})
    stray = tmp_path / "registry" / NAME / "2"
    stray.mkdir()
    (stray / MANIFEST).write_text(json.dumps({}))
    assert [entry.version for entry in registry.entries(NAME)] == ["1"]
    with pytest.raises(RegistryError, match="not in the log"):
        registry.add(packages["2"], **WHO)
    assert (stray / MANIFEST).read_text() == "{}"
