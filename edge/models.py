"""The model packages of an edge: each ready to judge or with a fault, and changed while it works.

A name that is configured as a registry's folder follows its file ``current``. What is released
there is opened, checked, replayed and warmed up on a thread of its own, beside the packages that
judge meanwhile. Which of those that are loaded judges a view, the order says (`Order.models`); so
two are held at once for as long as the station may still ask for either, and nothing is exchanged
under a view.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import cast

import numpy as np
from msgspec import UNSET

from edge.inference import Inference
from inspection import runtimes
from inspection.errors import ModelHung, PackageError
from inspection.imaging import Frame
from inspection.log import get_logger
from inspection.messages import ModelRef, ModelState
from inspection.package import Package, read_reference
from inspection.registry import find_version, pointer_mark, pointer_of, resolve
from inspection.runtimes import Model, Outputs, Preference
from inspection.trust import open_trusted

LOOK_NS = 200_000_000
"""How often the registries are looked at."""
AGAIN_NS = 30_000_000_000
"""When a package that was refused is tried again: it may have been still on its way here."""
HANG_S = 10.0
"""An inference that takes so long hangs; the largest batch of a usable model takes a tenth."""
LOW_PRIORITY = 10


@dataclass
class _Slot:
    """One configured name."""

    folder: Path
    follows: bool
    loaded: dict[ModelRef, Model] = field(default_factory=dict)
    named: ModelRef | None = None
    """What is released as far as this edge has got: the newest that it can judge with."""
    target: ModelRef | None = None
    """What the registry names."""
    fault: str = ""
    mark: object = None
    again_ns: int = 0
    """With a fault: when to look again though the registry has not changed."""
    leaving: dict[ModelRef, int | None] = field(default_factory=dict)
    """Packages that are not wanted any more, with the ping that was the first not to name them."""
    pending: set[ModelRef] = field(default_factory=set)
    not_before_ns: dict[ModelRef, int] = field(default_factory=dict)
    """Packages the station asks for that could not be had: when to try again."""


@dataclass(frozen=True)
class _Job:
    name: str
    ref: ModelRef
    path: Path


class Models:
    """The packages an edge was configured with; those that can be are ready on return, or with
    ``later`` as soon as `look` finds them opened.

    All but the opening of packages happens on the thread of whoever calls.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        *,
        threads: int = 1,
        trusted: Sequence[Path] = (),
        batch: int = 32,
        hang_s: float = HANG_S,
        preference: Preference = runtimes.NO_PREFERENCE,
        later: bool = False,
    ) -> None:
        self._threads = threads
        self._trusted = tuple(trusted)
        self._batch = batch
        self._hang_s = hang_s
        self._preference = preference
        self._log = get_logger()
        self.in_use: Callable[[], Collection[ModelRef]] = lambda: ()
        """The packages that orders in hand name."""
        self._asked: Mapping[str, tuple[ModelRef, ...]] | None = None
        self._look_ns = 0
        self._jobs: SimpleQueue[_Job | Model | None] = SimpleQueue()
        self._opened: SimpleQueue[tuple[_Job, Model | str]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._slots: dict[str, _Slot] = {}
        for name, folder in folders.items():
            follows = pointer_of(folder).is_file() or later
            slot = self._slots[name] = _Slot(folder, follows=follows)
            if later:
                slot.mark = "not looked at yet"
                continue
            slot.mark = pointer_mark(folder)
            try:
                model = self._open(folder)
            except PackageError as error:
                # Reported, not raised: the other models go on, and the station knows why not.
                self._refused(name, slot, str(error), None)
                continue
            slot.target = slot.named = model.package.ref
            slot.loaded[slot.named] = model
            self._ready(name, model)

    @property
    def states(self) -> list[ModelState]:
        """What the station is told."""
        return [self._state(name, slot) for name, slot in self._slots.items()]

    def get(self, name: str, wanted: ModelRef | None) -> tuple[Model | None, str]:
        """The model of that name if it is the very one that is wanted; else None and why."""
        slot = self._slots.get(name)
        if slot is None:
            return None, f"model {name} is not configured on this edge"
        model = None if wanted is None else slot.loaded.get(wanted)
        if model is not None:
            return model, ""
        if not slot.loaded:
            return None, slot.fault
        return None, f"model {name} is another version than the station has released"

    # ---------------------------------------------------------------------------- following

    def look(self, now_ns: int) -> bool:
        """See what is released now and what has been opened since; whether `states` changed."""
        if now_ns < self._look_ns:
            return False
        self._look_ns = now_ns + LOOK_NS
        before = self.states
        self._take_opened()
        for name, slot in self._slots.items():
            if slot.follows:
                self._follow(name, slot, now_ns)
        self._look_for_asked(now_ns)
        self._part()
        return self.states != before

    def say(self, counter: int) -> Sequence[ModelState]:
        """What the ping of this number tells the station."""
        for slot in self._slots.values():
            for ref, first in slot.leaving.items():
                if first is None:
                    slot.leaving[ref] = counter
        return self.states

    def heard(self, counter: int, asked: Mapping[str, tuple[ModelRef, ...]]) -> None:
        """What the station, having read that ping, may still order."""
        self._asked = asked
        in_use = set(self.in_use())
        for name, slot in self._slots.items():
            for ref, first in list(slot.leaving.items()):
                told = first is not None and first <= counter
                if told and ref not in asked.get(name, ()) and ref not in in_use:
                    del slot.leaving[ref]
                    # What a session holds is given back where that delays nobody.
                    self._give(slot.loaded.pop(ref))
                    self._log.info("model given up", model=name, package=ref.package[:12])
        self._part()

    def close(self) -> None:
        """Let the thread end that opens packages."""
        self._jobs.put(None)

    # ------------------------------------------------------------------------------ internal

    def _state(self, name: str, slot: _Slot) -> ModelState:
        ready = [ref for ref in slot.loaded if ref not in slot.leaving]
        ref = slot.named if slot.named in ready else next(iter(ready), None)
        also = tuple(other for other in ready if other != ref) if slot.follows else UNSET
        return ModelState(name=name, ref=ref, fault=slot.fault[:500], also=also)

    def _follow(self, name: str, slot: _Slot, now_ns: int) -> None:
        mark = pointer_mark(slot.folder)
        if slot.fault and slot.again_ns == 0:
            slot.again_ns = now_ns + AGAIN_NS
        if mark == slot.mark and not (slot.fault and now_ns >= slot.again_ns):
            return
        slot.mark, slot.again_ns = mark, 0
        try:
            path = resolve(slot.folder)
            slot.target = read_reference(path)[2]
        except PackageError as error:
            self._refused(name, slot, str(error), None)
            return
        if slot.target in slot.loaded:
            self._take_over(name, slot)
        elif slot.target not in slot.pending:
            self._log.info("model found", model=name, package=slot.target.package[:12])
            self._ask_for(slot, _Job(name, slot.target, path))

    def _look_for_asked(self, now_ns: int) -> None:
        """Packages that the station asks for and this edge was not told of by its registry: it has
        started since, or the station is not convinced of what is newer."""
        for name, refs in (self._asked or {}).items():
            slot = self._slots.get(name)
            if slot is None or not slot.follows:
                continue
            for ref in refs:
                if ref in slot.loaded or ref in slot.pending:
                    continue
                if now_ns < slot.not_before_ns.get(ref, 0):
                    continue
                slot.not_before_ns[ref] = now_ns + AGAIN_NS
                path = find_version(pointer_of(slot.folder).parent, ref)
                if path is None:
                    self._log.error("model not here", model=name, package=ref.package[:12])
                else:
                    self._ask_for(slot, _Job(name, ref, path))

    def _ask_for(self, slot: _Slot, job: _Job) -> None:
        slot.pending.add(job.ref)
        self._give(job)

    def _give(self, job: _Job | Model) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="models", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _take_opened(self) -> None:
        while True:
            try:
                job, opened = self._opened.get_nowait()
            except Empty:
                return
            slot = self._slots[job.name]
            slot.pending.discard(job.ref)
            if isinstance(opened, str):
                self._refused(job.name, slot, opened, job.ref)
                continue
            slot.not_before_ns.pop(job.ref, None)
            slot.loaded[job.ref] = opened
            self._ready(job.name, opened)
            if job.ref == slot.target:
                self._take_over(job.name, slot)

    def _take_over(self, name: str, slot: _Slot) -> None:
        slot.named, slot.fault = slot.target, ""
        if slot.named is not None:
            slot.leaving.pop(slot.named, None)
            self._log.info("model offered", model=name, package=slot.named.package[:12])

    def _part(self) -> None:
        """Packages that neither the registry nor the station wants are on their way out."""
        if self._asked is None:
            return
        in_use = set(self.in_use())
        for name, slot in self._slots.items():
            wanted = {slot.named, *self._asked.get(name, ()), *in_use}
            for ref in slot.loaded:
                if ref in wanted:
                    slot.leaving.pop(ref, None)
                elif slot.follows:
                    slot.leaving.setdefault(ref, None)

    def _refused(self, name: str, slot: _Slot, fault: str, ref: ModelRef | None) -> None:
        if ref in (None, slot.target):
            slot.fault = fault
        self._log.error("model refused", model=name, fault=fault)

    def _ready(self, name: str, model: Model) -> None:
        self._log.info(
            "model ready",
            model=name,
            package=model.package.ref.package[:12],
            graph=model.graph,
            provider=model.provider,
        )

    # -------------------------------------------------------------------- the loading thread

    def _work(self) -> None:
        if self._threads == 1:
            # Behind the judging thread; not so where the engine makes threads of its own, because
            # they would keep this for ever.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY)
        while (job := self._jobs.get()) is not None:
            if not isinstance(job, _Job):
                job = None  # the last reference: here the session is closed
                continue
            # Python hands its lock over after this long: the judging thread would wait for it
            # after each of its crops.
            usual = sys.getswitchinterval()
            sys.setswitchinterval(0.0005)
            try:
                model = self._open(job.path)
                if model.package.ref != job.ref:
                    raise PackageError(f"{job.path}: was changed while it was opened")
                self._opened.put((job, model))
                del model
            except PackageError as error:
                self._opened.put((job, str(error)))
            except Exception as error:  # noqa: BLE001  a fault of ours is no reason to stop the line
                self._opened.put((job, f"{job.path}: could not be opened: {error!r}"))
            finally:
                sys.setswitchinterval(usual)

    def _open(self, folder: Path) -> Model:
        """A package opened, trusted, replayed and warmed up. Raises `PackageError`."""
        package = open_trusted(folder, self._trusted)
        model = runtimes.load(
            package, threads=self._threads, replay=False, preference=self._preference
        )
        watched = Watched(model, self._hang_s)
        try:
            runtimes.replay_golden(cast(Model, watched))
            warm_up(cast(Model, watched), self._batch)
        except ModelHung as error:
            raise PackageError(f"{package.path}: {error}") from None
        finally:
            watched.close()
        return model


class Watched:
    """A model whose inferences are ended after a time (`Model`)."""

    def __init__(self, model: Model, limit_s: float) -> None:
        self.package: Package = model.package
        self.provider, self.graph = model.provider, model.graph
        self._model, self._limit_s = model, limit_s
        self._inference = Inference()

    def outputs(self, crops: Frame) -> Outputs:
        """See `inspection.runtimes.Graph.outputs`."""
        return self._inference.outputs(self._model, crops, self._limit_s, lambda: None)

    def close(self) -> None:
        """Let its thread end."""
        self._inference.close()


def warm_up(model: Model, batch: int) -> None:
    """Run what will be run, once: an engine plans its memory for each size of a batch when it first
    meets it, and the first view should not pay for that."""
    spec = runtimes.crop_spec(model.package)
    for size in dict.fromkeys((batch, 1)):
        model.outputs(np.zeros((size, spec.height, spec.width, spec.channels), np.uint8))
