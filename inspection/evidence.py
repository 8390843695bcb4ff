"""Pictures by name, through fsspec: a folder by default, an object store by URL. A name is the
SHA-256 of the file's bytes, or of what a PNG file holds (`inspection.png`). What is read is
checked: a picture that changed is not shown as evidence of anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from inspection import png
from inspection.durable import sync_folder
from inspection.errors import StoreError
from inspection.wire import MIB

RESERVE_BYTES = 1024 * MIB
"""Free space that pictures leave to results, on a disk of the station's own ..."""
OK_RESERVE_BYTES = 2 * RESERVE_BYTES
"""... and that those of OK points leave to the others as well."""


class EvidenceStore:
    """One folder of pictures. ``url`` is a path or an fsspec URL; ``free`` says how many bytes the
    disk of a local folder has."""

    def __init__(
        self,
        url: str | Path,
        *,
        free: Callable[[str], int] = lambda root: shutil.disk_usage(root).free,
    ) -> None:
        self._free = free
        self._files: Any
        self._files, self._root = fsspec.core.url_to_fs(str(url), auto_mkdir=True)

    def _path(self, sha256: str) -> str:
        # Two levels, because folders with a million files are slow everywhere.
        return f"{self._root}/{sha256[:2]}/{sha256}"

    def put(self, sha256: str, data: bytes, *, ok: bool = False) -> None:
        """Store a picture durably under its name; ``ok`` says that it is of an OK point. Raises
        `StoreError` where the name is not that of the bytes, where they cannot be stored, or where
        results may need the room."""
        if not png.fits(sha256, data):
            raise StoreError(f"evidence {sha256[:12]} has other bytes than its name says")
        path = self._path(sha256)
        try:
            if self.get(sha256) is not None:
                return
            self._leave_room(len(data), ok=ok)
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
        return data if png.fits(sha256, data) else None

    def _leave_room(self, size: int, *, ok: bool) -> None:
        if not isinstance(self._files, LocalFileSystem):
            return
        self._files.makedirs(self._root, exist_ok=True)
        reserve = OK_RESERVE_BYTES if ok else RESERVE_BYTES
        if self._free(self._root) - size < reserve:
            raise StoreError(
                f"no room for pictures{' of OK points' if ok else ''} in {self._root}: less than"
                f" {reserve // MIB} MiB are free, which are kept for results"
                f"{' and other pictures' if ok else ''}: make room, or put evidence elsewhere"
            )
