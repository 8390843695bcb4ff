"""Whose packages a line uses: where keys are named, only what one of them has signed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from inspection.config import resolve as beside
from inspection.package import Package, open_package
from inspection.registry import resolve


class TrustFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[trust]``. Paths are relative to the file."""

    keys: Annotated[list[str], Meta(min_length=1)]
    """Public keys (``NAME.pub`` of ``inspection models keygen``). Every package and every policy
    must carry a signature of one of them."""


def trusted_keys(path: Path, trust: TrustFile | None) -> tuple[Path, ...]:
    """The key files of a configuration; none where it does not ask for signatures. Raises
    `ConfigurationError` for one that cannot be used."""
    if trust is None:
        return ()
    from inspection import signing  # needs the extra ``verify``, and only where keys are named

    keys = tuple(beside(path, key) for key in trust.keys)
    for key in keys:
        signing.fingerprint(key)
    return keys


def open_trusted(folder: Path, keys: Sequence[Path]) -> Package:
    """A package, or the current one of a registry's folder, whole and, with ``keys``, signed.

    What is returned holds the very bytes that were checked. Raises `PackageError`.
    """
    package = open_package(resolve(folder))
    if keys:
        from inspection import signing

        signing.verify_opened(package, keys)
    return package
