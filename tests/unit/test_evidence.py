"""Pictures by their hash: stored whole or not at all, believed only while they are unchanged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from inspection import png
from inspection.errors import StoreError
from inspection.evidence import OK_RESERVE_BYTES, RESERVE_BYTES, EvidenceStore

DATA = b"a picture"
NAME = hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("as_url", [False, True])
def test_a_picture_comes_back_as_it_was_stored(tmp_path: Path, as_url: bool) -> None:
    store = EvidenceStore(f"file://{tmp_path}/evidence" if as_url else tmp_path / "evidence")
    store.put(NAME, DATA)
    store.put(NAME, DATA)
    assert store.get(NAME) == DATA
    files = [path for path in (tmp_path / "evidence").rglob("*") if path.is_file()]
    assert [path.name for path in files] == [NAME]


def test_a_picture_is_not_stored_under_another_hash(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="other bytes"):
        EvidenceStore(tmp_path).put("0" * 64, DATA)
    assert list(tmp_path.rglob("*")) == []


def test_a_picture_that_changed_on_disk_is_no_evidence(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path)
    store.put(NAME, DATA)
    (tmp_path / NAME[:2] / NAME).write_bytes(b"A picture")
    assert store.get(NAME) is None


def test_half_a_picture_left_by_a_power_cut_is_written_again(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path)
    (tmp_path / NAME[:2]).mkdir()
    (tmp_path / NAME[:2] / NAME).write_bytes(DATA[:3])
    store.put(NAME, DATA)
    assert store.get(NAME) == DATA


def test_a_picture_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert EvidenceStore(tmp_path / "nowhere").get(NAME) is None


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be stored"):
        EvidenceStore(tmp_path / "file").put(NAME, DATA)


def test_a_picture_named_by_what_it_holds_is_checked_by_it(tmp_path: Path) -> None:
    head, scanlines = png.header(2, 2, 1), b"\2\1\2\2\3\4"
    name, data = png.name(head, scanlines), png.pack(head, scanlines)
    store = EvidenceStore(tmp_path)
    store.put(name, data)
    assert store.get(name) == data
    with pytest.raises(StoreError, match="other bytes"):
        store.put("0" * 64, data)
    other = png.pack(head, b"\2\1\2\2\3\5")
    (tmp_path / name[:2] / name).write_bytes(other)
    assert store.get(name) is None


def test_the_last_of_the_disk_is_left_to_results_and_the_last_but_one_to_what_is_not_ok(
    tmp_path: Path,
) -> None:
    free = [OK_RESERVE_BYTES + len(DATA)]
    store = EvidenceStore(tmp_path / "evidence", free=lambda _: free[0])
    store.put(NAME, DATA, ok=True)
    other = hashlib.sha256(b"another").hexdigest()
    free[0] = OK_RESERVE_BYTES
    with pytest.raises(StoreError, match="no room for pictures of OK points"):
        store.put(other, b"another", ok=True)
    store.put(other, b"another")
    free[0] = RESERVE_BYTES
    with pytest.raises(StoreError, match="no room for pictures in"):
        store.put(hashlib.sha256(b"third").hexdigest(), b"third")
    assert store.get(NAME) == DATA
    store.put(NAME, DATA)
    assert store.get(other) == b"another", "what is there takes no further room"
