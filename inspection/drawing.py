"""Which points that are OK have their picture kept, and with what probability.

A point that is OK is in a stratum: its model, and whether it was near to not being OK. Each stratum
has a share. The draw is by BLAKE2b keyed with a secret, over run, point and attempt, before
anything of the picture is known to be kept: whoever has the key can say of every point whether it
was drawn, and whoever has not cannot choose which parts are looked at. The share goes into every OK
result, drawn or not: with it, each picture stands for ``1 / share`` points (Horvitz and Thompson,
J. Am. Stat. Assoc. 47, 1952).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from inspection.durable import sync_folder
from inspection.errors import ConfigurationError
from inspection.messages import Score
from inspection.policy import Policy

KEY_BYTES = 32
_DIGEST_BYTES = 8


class Shares(Struct, frozen=True, kw_only=True):
    """What share of the OK points of a stratum is kept; 0 keeps none, and no result says so."""

    ok_share: Score = 0.01
    """Of points well inside."""
    near_share: Score = 0.1
    """Of points whose `margin` is below ``near_margin``."""
    near_margin: Annotated[float, Meta(ge=0, le=1)] = 0.5


NOTHING = Shares(ok_share=0.0, near_share=0.0)


def margin(
    scores: Sequence[float], classes: Sequence[str], policy: Policy, ood: float | None = None
) -> float:
    """How far an OK point is from not being OK, 0 (at a limit) to 1: the least of what is left up
    to each limit of the policy, as a share of all that there can be."""
    left = 1.0
    for name, score in zip(classes, scores, strict=True):
        if name == policy.ok_class:
            room = 1.0 - policy.ok_min
            share = (score - policy.ok_min) / room if room > 0 else 0.0
        else:
            limit = policy.nok_min[name]
            share = (limit - score) / limit if limit > 0 else 0.0
        left = min(left, share)
    if policy.ood_max is not None and ood is not None:
        left = min(left, (policy.ood_max - ood) / policy.ood_max)
    return max(left, 0.0)


class Drawing:
    """The draw. ``by_model`` holds the shares of models that have shares of their own."""

    def __init__(
        self, key: bytes, shares: Shares, by_model: Mapping[str, Shares] | None = None
    ) -> None:
        self._keyed = hashlib.blake2b(key=key, digest_size=_DIGEST_BYTES)
        self._shares = shares
        self._by_model = dict(by_model or {})

    def share(self, model: str, left: float) -> float:
        """The probability with which such a point is kept; ``left`` is its `margin`."""
        shares = self._by_model.get(model, self._shares)
        return shares.near_share if left < shares.near_margin else shares.ok_share

    def drawn(self, run: str, point: str, attempt: int, share: float) -> bool:
        """Whether this point is: its hash, read as a number from 0 to 1, is below the share."""
        digest = self._keyed.copy()
        # No identifier holds a zero byte: no two points give the same bytes.
        digest.update(f"{run}\0{point}\0{attempt}".encode())
        number = int.from_bytes(digest.digest(), "big")
        return number < share * 2.0 ** (8 * _DIGEST_BYTES)


def read_key(path: Path) -> bytes:
    """A key from a file of 64 hexadecimal digits. Raises `ConfigurationError`."""
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"key {path}: cannot be read: {error}") from None
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"key {path}: {len(key)} bytes, not {KEY_BYTES}: make one with `openssl rand -hex 32`"
        )
    return key


def own_key(path: Path) -> bytes:
    """The key in that file, made where there is none yet. Raises `ConfigurationError`."""
    if not path.exists():
        unfinished = path.with_name(path.name + ".unfinished")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                unfinished.unlink()
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(KEY_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise ConfigurationError(
                f"key {path}: cannot be made: {error}: check the disk"
            ) from None
    return read_key(path)
