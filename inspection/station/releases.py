"""Which packages a station has released, and how a release in a registry becomes one here.

A name that is configured as a registry's folder follows its file ``current``: what is released
there is read and checked on a thread of its own and is a candidate here. `Station` makes it the
released one, the only one that orders name from then on, once every edge that needs it has it
ready; until then the one before goes on. What this station has got to is kept in a file of its own,
so that a restart does not jump to a package that some edge refuses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from inspection.durable import write_whole
from inspection.errors import PackageError
from inspection.log import get_logger
from inspection.messages import ModelRef
from inspection.package import read_reference
from inspection.policy import UNREADABLE
from inspection.registry import find_version, pointer_mark, pointer_of, resolve, was_released
from inspection.station.acceptance import Released
from inspection.trust import open_trusted

MEMORY = "released.json"
"""In a station's directory: what it had released last, by name."""
LOOK_NS = 300_000_000
AGAIN_NS = 30_000_000_000
"""When a release that could not be read is tried again: it may have been still on its way here."""
REMEMBERED = 1000

Fits = Callable[[str, Released], str]
"""Why a model of that name cannot be used with the plans; empty where it can."""


def read_released(folder: Path, trusted: Sequence[Path]) -> Released:
    """What a station needs of a package; with ``trusted`` keys all of it is read and must be
    signed by one. Raises `PackageError`."""
    if not trusted:
        return Released(*read_reference(resolve(folder)))
    package = open_trusted(folder, trusted)
    return Released(package.manifest, package.policy, package.ref)


def went_on_with(memory: Path, name: str, folder: Path, trusted: Sequence[Path]) -> Released | None:
    """What a station had released last under a name, where the registry's present release cannot
    be used; None where that is not known, or not usable either."""
    ref = _memory_of(memory).get(name)
    return None if ref is None else _of_before(folder, ref, trusted)


def _of_before(folder: Path, ref: ModelRef, trusted: Sequence[Path]) -> Released | None:
    place = pointer_of(folder).parent
    path = find_version(place, ref) if was_released(place, ref) else None
    if path is None:
        return None
    try:
        found = read_released(path, trusted)
    except PackageError as error:
        get_logger().error("release of before not usable", fault=str(error))
        return None
    return found if found.ref == ref else None


def _memory_of(file: Path) -> dict[str, ModelRef]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, ModelRef])
    except FileNotFoundError:
        return {}
    except UNREADABLE as error:
        get_logger().error("released models forgotten", file=str(file), fault=str(error))
        return {}


@dataclass
class _Followed:
    folder: Path
    mark: object = None
    pending: bool = False
    again_ns: int = 0


class Releases:
    """Released models by the name that plans use. ``folders`` are the configured ones; those of a
    registry are followed. ``memory`` is where it is kept which were released last."""

    def __init__(
        self,
        released: Mapping[str, Released],
        *,
        folders: Mapping[str, Path] | None = None,
        trusted: Sequence[Path] = (),
        fits: Fits = lambda *_: "",
        memory: Path | None = None,
    ) -> None:
        self.current = dict(released)
        self.candidates: dict[str, Released] = {}
        self._trusted = tuple(trusted)
        self._fits = fits
        self._memory = memory
        self._log = get_logger()
        self._known = {model.ref: model for model in released.values()}
        self._unknown: set[ModelRef] = set()
        self._look_ns = 0
        self._jobs: SimpleQueue[tuple[str, Path]] = SimpleQueue()
        self._read: SimpleQueue[tuple[str, Released | str]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._followed = {
            name: _Followed(folder)
            for name, folder in (folders or {}).items()
            if pointer_of(folder).is_file()
        }
        self._go_on()

    def look(self, now_ns: int) -> list[tuple[str, str]]:
        """See what the registries release now; (kind, text) of each event worth a record."""
        news: list[tuple[str, str]] = []
        if now_ns < self._look_ns or not self._followed:
            return news
        self._look_ns = now_ns + LOOK_NS
        while True:
            try:
                name, read = self._read.get_nowait()
            except Empty:
                break
            self._followed[name].pending = False
            fault = read if isinstance(read, str) else self._offer(name, read)
            if fault:
                self._followed[name].again_ns = now_ns + AGAIN_NS
                news.append(("model_refused", f"model {name}: {fault}"))
            elif name in self.candidates:
                news.append(("model_found", f"model {name}: {_told(self.candidates[name])}"))
        for name, followed in self._followed.items():
            mark = pointer_mark(followed.folder)
            again = 0 < followed.again_ns <= now_ns
            if not followed.pending and (mark != followed.mark or again):
                followed.mark, followed.pending, followed.again_ns = mark, True, 0
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="models", daemon=True)
                    self._thread.start()
                self._jobs.put((name, followed.folder))
        return news

    def release(self, name: str) -> str:
        """Make the candidate the released one; what happened, in words."""
        before, model = self.current[name], self.candidates.pop(name)
        self.current[name] = model
        self._remember()
        return f"model {name}: {_told(model)} instead of {_told(before)}"

    def find(self, name: str, ref: ModelRef) -> Released | None:
        """What was released under a name and has this reference: now, or at some time by the
        registry's record, as an answer may need that was ordered before a restart."""
        if name not in self.current:
            return None
        current = self.current[name]
        if ref == current.ref:
            return current
        if ref in self._known or ref in self._unknown:
            return self._known.get(ref)
        followed = self._followed.get(name)
        found = None if followed is None else _of_before(followed.folder, ref, self._trusted)
        if found is not None:
            self._known[ref] = found
            return found
        if len(self._unknown) < REMEMBERED:
            self._unknown.add(ref)
        return None

    # ------------------------------------------------------------------------------ internal

    def _offer(self, name: str, model: Released) -> str:
        """Take up what a registry releases; why not, if not."""
        self.candidates.pop(name, None)
        if model.ref == self.current[name].ref:
            return ""
        if fault := self._fits(name, model):
            return fault
        self._known[model.ref] = model
        self._unknown.discard(model.ref)
        self.candidates[name] = model
        return ""

    def _go_on(self) -> None:
        """Where the station had got to before it was restarted."""
        if self._memory is None or not self._followed:
            return
        remembered = _memory_of(self._memory)
        for name in self._followed:
            ref = remembered.get(name)
            newer = self.current.get(name)
            if ref is None or newer is None or newer.ref == ref:
                continue
            before = self.find(name, ref)
            if before is not None and not self._fits(name, before):
                self.current[name], self.candidates[name] = before, newer
        self._remember()

    def _remember(self) -> None:
        if self._memory is None:
            return
        refs = {name: self.current[name].ref for name in self._followed}
        try:
            write_whole(self._memory, msgspec.json.format(msgspec.json.encode(refs)) + b"\n")
        except OSError as error:
            # After a restart the registry alone then says what is released.
            self._log.error("released models not kept", file=str(self._memory), fault=str(error))

    def _work(self) -> None:
        while True:
            name, folder = self._jobs.get()
            try:
                self._read.put((name, read_released(folder, self._trusted)))
            except PackageError as error:
                self._read.put((name, str(error)))
            except Exception as error:  # noqa: BLE001  a fault of ours is no reason to stop the line
                self._read.put((name, f"{folder}: could not be read: {error!r}"))


def _told(model: Released) -> str:
    return (
        f"version {model.manifest.version} ({model.ref.package[:12]}), policy"
        f" {model.policy.version} ({model.ref.policy[:12]})"
    )
