"""A training's own folder, ``OUT.training/`` beside the package it makes: what it needs to go on
after a kill, and figures for TensorBoard.

::

    weld.training/
      state.pt                 the last check: weights, optimiser, generators; gone once all is done
      tensorboard/             events: tensorboard --logdir weld.training/tensorboard

``state.pt`` is replaced in one step and holds tensors and plain values only, so that reading one
runs no code. It is bound to recipe, data and split by a fingerprint: a training goes on only as
itself.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from inspection.errors import DataError

FILE = "state.pt"
EVENTS = "tensorboard"


class State:
    """The state of one training on disk. ``folder`` is made on the first write."""

    def __init__(self, folder: Path, fingerprint: str, *, writes: bool = True) -> None:
        self._folder, self._fingerprint, self._writes = folder, fingerprint, writes
        self._events: Any = None

    def read(self, device: torch.device) -> dict[str, Any] | None:
        """What `write` was last given, with its tensors on the device; None where there is none.
        Raises `DataError` where it belongs to another training or is damaged."""
        file = self._folder / FILE
        if not file.exists():
            return None
        try:
            held: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
            fingerprint = held.pop("fingerprint")
        except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise DataError(
                f"{file}: cannot be read ({' '.join(str(error).split())[:200]}): remove it to begin"
                " anew"
            ) from None
        if fingerprint != self._fingerprint:
            raise DataError(
                f"{file}: belongs to a training with another recipe, other data or another number"
                " of processes: remove it to begin anew, or name another folder with --out"
            )
        return held

    def write(self, values: Mapping[str, Any]) -> None:
        """Replace the state: after a kill there is the old one or the new one."""
        file = self._folder / FILE
        fresh = file.with_suffix(".new")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with fresh.open("wb") as stream:
                torch.save({**values, "fingerprint": self._fingerprint}, stream)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(file)
        except OSError as error:
            raise DataError(f"{file}: cannot be written: {error.strerror}") from None

    def note(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of a step, for TensorBoard."""
        if not self._writes:
            return
        if self._events is None:
            from tensorboardX import SummaryWriter

            self._events = SummaryWriter(str(self._folder / EVENTS), write_to_disk=True)
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)
        self._events.flush()

    @contextlib.contextmanager
    def until_done(self) -> Iterator[None]:
        """Once the block has ended without an error, there is nothing left to go on with."""
        try:
            yield
        finally:
            if self._events is not None:
                self._events.close()
        if self._writes:
            (self._folder / FILE).unlink(missing_ok=True)
