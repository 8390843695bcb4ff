"""A candidate judges the crops that the released model has judged, when there is time.

It runs on a thread of its own behind all others, and begins with a view only when that view's
results are on their way to the disk. What comes in faster than it can look at is dropped and
counted. What it says goes to the station as evidence of its own kind (`inspection.shadow`) and
counts for nothing.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

import msgspec
import numpy as np

from edge.evidence_spool import EvidenceSpool
from edge.inference import Inference
from edge.models import HANG_S, LOW_PRIORITY, Models
from inspection import imaging, runtimes
from inspection.errors import ImageError, OutboxError, PackageError
from inspection.imaging import Frame
from inspection.log import get_logger
from inspection.messages import (
    Inspected,
    Missed,
    ModelRef,
    Order,
    PointTask,
    Reason,
    Verdict,
)
from inspection.package import Package
from inspection.policy import Judgement, judge, valid_ood, valid_scores
from inspection.runtimes import Model, Preference
from inspection.shadow import SHADOW, ShadowPoint, ShadowReport, ShadowView, encode_report

WAITING_VIEWS = 8
"""Views whose crops are kept for the candidates at most."""
VIEWS_A_REPORT = 32
REPORT_NS = 5_000_000_000
"""A view is reported after so long, however few there are."""


class _Said(NamedTuple):
    """One batch of a view: its crops as the candidate wants them, and what the released said."""

    name: str
    model: Model
    tasks: Sequence[PointTask]
    crops: Frame
    entries: Sequence[Inspected]


class _Job(NamedTuple):
    order: Order
    batches: tuple[_Said, ...]


@dataclass
class _Done:
    """What came of a view; ``pictures`` (PNG) by point, where the two did not agree."""

    view: ShadowView
    pictures: dict[str, bytes] = field(default_factory=dict)


class Shadow:
    """The candidates of an edge, by the name of the model that each may follow."""

    def __init__(
        self,
        folders: Mapping[str, Path],
        *,
        edge: str,
        threads: int = 1,
        trusted: Sequence[Path] = (),
        batch: int = 32,
        hang_s: float = HANG_S,
        preference: Preference = runtimes.NO_PREFERENCE,
    ) -> None:
        self._models = Models(
            folders,
            threads=threads,
            trusted=trusted,
            batch=batch,
            hang_s=hang_s,
            preference=preference,
            later=True,
        )
        self._names = tuple(folders)
        self._edge = edge
        self._threads = threads
        self._hang_s = hang_s
        self._process = secrets.token_hex(16)
        self._number = 0
        self._looks = 0
        self.dropped: Counter[str] = Counter()
        """Points that a candidate had no time for, by model."""
        self._offered: list[_Said] = []
        self._order: Order | None = None
        self._waiting = 0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: SimpleQueue[list[_Done]] = SimpleQueue()
        self._views: list[ShadowView] = []
        self._since_ns = 0
        self._thread: threading.Thread | None = None

    def offer(
        self,
        order: Order,
        name: str,
        released: Package,
        tasks: Sequence[PointTask],
        image: Frame,
        crops: Frame,
        entries: Sequence[Inspected | Missed],
    ) -> None:
        """A batch of a view has been judged. Nothing is begun before `begin`."""
        if order is not self._order:
            # Of the one before nothing was begun: it came to no results.
            self._order = order
            self._offered.clear()
        if name not in self._names:
            return
        model = self._candidate(name)
        judged = [n for n, entry in enumerate(entries) if isinstance(entry, Inspected)]
        if model is None or model.package.ref == released.ref or not judged:
            return
        if self._waiting >= WAITING_VIEWS:
            self.dropped[name] += len(judged)
            return
        spec = runtimes.crop_spec(model.package)
        if spec != runtimes.crop_spec(released):
            # Here and now, because the camera may use its buffer again.
            crops = np.stack([imaging.crop(image, task.region, spec) for task in tasks])
        self._offered.append(
            _Said(
                name,
                model,
                [tasks[n] for n in judged],
                crops if len(judged) == len(entries) else crops[judged],
                [entry for entry in entries if isinstance(entry, Inspected)],
            )
        )

    def begin(self, order: Order) -> None:
        """The results of an order were handed to the outbox: its crops may be looked at."""
        if not self._offered or order is not self._order:
            return
        self._waiting += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
            self._thread.start()
        self._jobs.put(_Job(order, tuple(self._offered)))
        self._offered.clear()

    def collect(self, spool: EvidenceSpool, now_ns: int, *, all_of_it: bool = False) -> None:
        """Take what the candidates have said, and give it to the spool from time to time."""
        self._models.look(now_ns)
        # Nobody asks for an older candidate.
        self._looks += 1
        self._models.say(self._looks)
        self._models.heard(self._looks, {})
        while True:
            try:
                done = self._done.get_nowait()
            except Empty:
                break
            self._waiting -= 1
            for each in done:
                if not self._views:
                    self._since_ns = now_ns
                self._views.append(_with_pictures(each, spool))
        late = now_ns - self._since_ns >= REPORT_NS or all_of_it
        if len(self._views) >= VIEWS_A_REPORT or (self._views and late):
            self._number += 1
            report = ShadowReport(
                edge=self._edge,
                process=self._process,
                number=self._number,
                views=tuple(self._views),
                dropped=dict(self.dropped),
            )
            self._views.clear()
            try:
                spool.put(encode_report(report), SHADOW)
            except OutboxError as error:
                get_logger().error("candidate's results not kept", fault=str(error))

    def close(self) -> None:
        """Let the threads end."""
        self._jobs.put(None)
        self._models.close()

    # ------------------------------------------------------------------------------ internal

    def _candidate(self, name: str) -> Model | None:
        ref: ModelRef | None = next(s.ref for s in self._models.states if s.name == name)
        return None if ref is None else self._models.get(name, ref)[0]

    def _work(self) -> None:
        if self._threads == 1:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_PRIORITY + 5)
        inference = Inference()  # its thread is made by this one, and stands as far behind
        while (job := self._jobs.get()) is not None:
            done: list[_Done] = []
            try:
                done = [self._judge(inference, job.order, said) for said in job.batches]
            except Exception:  # noqa: BLE001  a fault of a candidate is no fault of the line
                get_logger().exception("candidate failed", run=job.order.run, view=job.order.view)
            self._done.put(done)
        inference.close()

    def _judge(self, inference: Inference, order: Order, said: _Said) -> _Done:
        package = said.model.package
        classes = package.manifest.class_names
        judged: list[tuple[Judgement, list[float], float | None]]
        try:
            outputs = inference.outputs(said.model, said.crops, self._hang_s, lambda: None)
            judged = [
                (judge(scores, classes, package.policy, ood), scores, ood)
                for scores, ood in outputs.rows()
            ]
        except PackageError as error:
            get_logger().error("candidate failed", model=said.name, fault=str(error))
            none = Judgement(Verdict.NOT_INSPECTED, Reason.MODEL_OUTPUT_INVALID, "")
            judged = [(none, [], None)] * len(said.tasks)
        points: list[ShadowPoint] = []
        pictures: dict[str, bytes] = {}
        for entry, crop, (judgement, scores, ood) in zip(
            said.entries, said.crops, judged, strict=True
        ):
            points.append(
                ShadowPoint(
                    point=entry.point,
                    released=entry.verdict,
                    released_finding=entry.finding,
                    verdict=judgement.verdict,
                    reason=judgement.reason,
                    finding=judgement.finding,
                    scores=tuple(scores) if valid_scores(scores, len(classes)) else (),
                    ood=ood if valid_ood(ood) else None,
                    evidence=entry.evidence,
                )
            )
            if judgement.verdict is not entry.verdict and entry.evidence is None:
                try:
                    grey = crop[:, :, 0] if crop.shape[-1] == 1 else crop
                    pictures[entry.point] = imaging.encode_png(grey)
                except ImageError as error:
                    get_logger().error("evidence not kept", fault=str(error))
        view = ShadowView(
            run=order.run,
            part=order.part,
            view=order.view,
            attempt=order.attempt,
            model=said.name,
            released=said.entries[0].model,
            candidate=package.ref,
            points=tuple(points),
        )
        return _Done(view, pictures)


def _with_pictures(done: _Done, spool: EvidenceSpool) -> ShadowView:
    """The view with the names of the pictures that were kept for it."""
    names: dict[str, str] = {}
    for point, data in done.pictures.items():
        try:
            names[point] = spool.put(data, "png")
        except OutboxError as error:
            get_logger().error("evidence not kept", fault=str(error))
    if not names:
        return done.view
    points = tuple(
        msgspec.structs.replace(point, evidence=names[point.point])
        if point.point in names
        else point
        for point in done.view.points
    )
    return msgspec.structs.replace(done.view, points=points)
