"""Pictures by their hash: stored whole or not at all, believed only while they are unchanged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from inspection.errors import StoreError
from inspection.evidence import EvidenceStore

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
