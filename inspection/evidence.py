"""Pictures by the SHA-256 of their bytes, through fsspec: a folder by default, an object store by
URL. What is read is checked: a picture that changed is not shown as evidence of anything."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from inspection.durable import sync_folder
from inspection.errors import StoreError


class EvidenceStore:
    """One folder of pictures. ``url`` is a path or an fsspec URL."""

    def __init__(self, url: str | Path) -> None:
        self._files: Any
        self._files, self._root = fsspec.core.url_to_fs(str(url), auto_mkdir=True)

    def _path(self, sha256: str) -> str:
        # Two levels, because folders with a million files are slow everywhere.
        return f"{self._root}/{sha256[:2]}/{sha256}"

    def put(self, sha256: str, data: bytes) -> None:
        """Store a picture durably under the hash of its bytes. Raises `StoreError` where the hash
        is not that of the bytes, or where they cannot be stored."""
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreError(f"evidence {sha256[:12]} has other bytes than its name says")
        path = self._path(sha256)
        try:
            if self.get(sha256) is not None:
                return
            # Written aside and renamed: no reader ever finds half a picture under the name.
            aside = f"{path}.part"
            with self._files.open(aside, "wb") as file:
                file.write(data)
                file.flush()
                if hasattr(file, "fileno"):
                    os.fsync(file.fileno())
            self._files.mv(aside, path)
            if isinstance(self._files, LocalFileSystem):
                # A name is durable only when its folder is, and a new folder when its parent is.
                sync_folder(f"{self._root}/{sha256[:2]}")
                sync_folder(self._root)
        except OSError as error:
            raise StoreError(f"evidence cannot be stored in {self._root}: {error}") from None

    def get(self, sha256: str) -> bytes | None:
        """The bytes of a picture; None where there is none or where they have changed."""
        try:
            data: bytes = self._files.cat_file(self._path(sha256))
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None
