"""From a picture to what is said of each point: crop, quality gate, model, policy, evidence.

Every point of an order comes out exactly once, as `Inspected` or as `Missed` with the reason. No
picture, no model and no exception of a driver changes that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from msgspec import UNSET

from edge.evidence_spool import EvidenceSpool
from inspection import imaging, quality, runtimes
from inspection.errors import ImageError, OutboxError, PackageError
from inspection.imaging import Frame
from inspection.log import get_logger
from inspection.messages import (
    Inspected,
    Missed,
    ModelRef,
    ModelState,
    Order,
    PointTask,
    QualityLimits,
    Reason,
    Verdict,
)
from inspection.policy import judge, valid_ood, valid_scores
from inspection.runtimes import Model
from inspection.trust import open_trusted

EVIDENCE_LIMIT = 7 * 2**20
"""Larger pictures do not pass the evidence lane."""

KEPT_CROPS = 2**26
"""Bytes of crops that are kept from the gate to the model; what is beyond is made again."""

PNG = "png"

T = TypeVar("T")


class Models:
    """The packages an edge was configured with: each either ready to judge or with a fault."""

    def __init__(
        self, folders: Mapping[str, Path], *, threads: int = 1, trusted: Sequence[Path] = ()
    ) -> None:
        self._models: dict[str, Model] = {}
        self.states: list[ModelState] = []
        log = get_logger()
        for name, folder in folders.items():
            try:
                model = runtimes.load(open_trusted(folder, trusted), threads=threads)
            except PackageError as error:
                # Reported, not raised: the other models go on, and the station knows why not.
                log.error("model refused", model=name, fault=str(error))
                self.states.append(ModelState(name=name, ref=None, fault=str(error)[:500]))
                continue
            self._models[name] = model
            self.states.append(ModelState(name=name, ref=model.package.ref))
            log.info(
                "model ready",
                model=name,
                package=model.package.ref.package[:12],
                graph=model.graph,
                provider=model.provider,
            )

    def get(self, name: str, wanted: ModelRef | None) -> tuple[Model | None, str]:
        """The model of that name if it is the very one that is wanted; else None and why."""
        state = next((state for state in self.states if state.name == name), None)
        if state is None:
            return None, f"model {name} is not configured on this edge"
        if state.ref is None:
            return None, state.fault
        if state.ref != wanted:
            return None, f"model {name} is another version than the station has released"
        return self._models[name], ""


def missed(points: Iterable[PointTask], reason: Reason, detail: str) -> list[Inspected | Missed]:
    """The same reason for all of these points."""
    return [Missed(point=task.point, reason=reason, detail=detail[:500]) for task in points]


@dataclass(frozen=True, slots=True)
class Batch:
    """Points that can be judged in a picture, and their crops where these are kept."""

    model: Model
    tasks: Sequence[PointTask]
    image: Frame
    crops: Frame | None

    def seen(self) -> Frame:
        """Their crops, (n, height, width, channels)."""
        if self.crops is not None:
            return self.crops
        spec = runtimes.crop_spec(self.model.package)
        return np.stack([imaging.crop(self.image, task.region, spec) for task in self.tasks])


@dataclass(frozen=True, slots=True)
class Refused:
    """A point that cannot be judged in a picture, and what was seen of it."""

    task: PointTask
    reason: Reason
    detail: str
    seen: Frame


@dataclass(frozen=True, slots=True)
class Look:
    """What a picture is worth for the points of an order, before any model has seen it."""

    batches: Sequence[Batch] = ()
    refused: Sequence[Refused] = ()
    said: Sequence[Inspected | Missed] = ()
    """Of points that no picture helps."""


class Judge:
    """Judges the points of an order in a picture of its view.

    ``between`` is called between two inferences, so that a worker with much to do still shows
    that it is alive.
    """

    def __init__(
        self,
        models: Models,
        spool: EvidenceSpool,
        *,
        batch: int = 32,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._models = models
        self._spool = spool
        self._batch = batch
        self._between = between

    def points(self, order: Order, image: Frame) -> tuple[Inspected | Missed, ...]:
        """What is said of each point of the order, in the order's sequence."""
        return self.decide(order, [self.look(order, image)])

    def look(self, order: Order, image: Frame, frozen: str = "") -> Look:
        """Whether the picture shows each point of the order well enough to be judged.

        ``frozen`` says why the picture is none of this moment, where it is not: then it is good for
        no point.
        """
        try:
            gated = any(task.quality is not UNSET for task in order.points)
            imaging.check_frame(image, order.width_px, order.height_px, whole=gated)
        except ImageError as error:
            return Look(refused=[Refused(t, error.reason, str(error), image) for t in order.points])
        said: list[Inspected | Missed] = []
        batches: list[Batch] = []
        kept = 0
        for name in dict.fromkeys(task.model for task in order.points):
            tasks = [task for task in order.points if task.model == name]
            model, fault = self._models.get(name, order.models.get(name))
            if model is None:
                said += missed(tasks, Reason.MODEL_UNAVAILABLE, fault)
                continue
            spec = runtimes.crop_spec(model.package)
            for some in _batched(tasks, self._batch):
                crops = np.stack([imaging.crop(image, task.region, spec) for task in some])
                kept += crops.nbytes
                batches.append(Batch(model, some, image, crops if kept <= KEPT_CROPS else None))
        why = self._gate(batches)
        if frozen:
            refusal = quality.Refusal(Reason.FROZEN, frozen)
            why = {task.point: refusal for batch in batches for task in batch.tasks}
        if not why:
            return Look(batches, (), said)
        passed: list[Batch] = []
        refused: list[Refused] = []
        for batch in batches:
            stays = [task.point not in why for task in batch.tasks]
            if all(stays):
                passed.append(batch)
                continue
            crops = batch.seen()
            for task, crop in zip(batch.tasks, crops, strict=True):
                if task.point in why:
                    refused.append(Refused(task, *why[task.point], crop))
            if any(stays):
                tasks = [task for task in batch.tasks if task.point not in why]
                passed.append(Batch(batch.model, tasks, image, crops[np.array(stays)]))
        return Look(passed, refused, said)

    def _gate(self, batches: Sequence[Batch]) -> dict[str, quality.Refusal]:
        """The points that cannot be judged, and why. All points of the view are measured together,
        whatever their model: together they show whether the picture is blurred."""
        tasks: list[PointTask] = []
        limits: list[QualityLimits] = []
        measured = []
        for batch in batches:
            limited = [task for task in batch.tasks if task.quality is not UNSET]
            if not limited:
                continue
            if batch.crops is not None and quality.fits(runtimes.crop_spec(batch.model.package)):
                crops = batch.crops
                if len(limited) < len(batch.tasks):
                    crops = crops[[task.quality is not UNSET for task in batch.tasks]]
            else:
                crops = quality.crops(batch.image, (task.region for task in limited))
            measured.append(quality.measure(crops))
            tasks += limited
            limits += [task.quality for task in limited if task.quality is not UNSET]
        if not tasks:
            return {}
        found = quality.refused(quality.together(measured), limits)
        return {t.point: why for t, why in zip(tasks, found, strict=True) if why is not None}

    def decide(self, order: Order, looks: Sequence[Look]) -> tuple[Inspected | Missed, ...]:
        """What is said of each point of the order, in the order's sequence: by the first look that
        could see it; of what none could see, why not, with the last look's picture."""
        said: dict[str, Inspected | Missed] = {}
        for look in looks:
            for entry in look.said:
                said.setdefault(entry.point, entry)
            for batch in look.batches:
                for entry in self._one_batch(batch):
                    said.setdefault(entry.point, entry)
        last: dict[int, str | None] = {}
        for refused in (each for look in reversed(looks) for each in look.refused):
            if refused.task.point in said:
                continue
            if id(refused.seen) not in last:  # one picture may stand for all points
                last[id(refused.seen)] = self._keep(refused.seen)
            said[refused.task.point] = Missed(
                point=refused.task.point,
                reason=refused.reason,
                detail=refused.detail[:500],
                evidence=last[id(refused.seen)],
            )
        return tuple(said[task.point] for task in order.points)

    def _one_batch(self, batch: Batch) -> Iterator[Inspected | Missed]:
        model, crops = batch.model, batch.seen()
        try:
            said = model.outputs(crops)
        except PackageError as error:
            yield from missed(batch.tasks, Reason.MODEL_OUTPUT_INVALID, str(error))
            return
        for task, crop, (row, ood) in zip(batch.tasks, crops, said.rows(), strict=True):
            yield self._one_point(model, task, crop, row, ood)
        self._between()

    def _one_point(
        self,
        model: Model,
        task: PointTask,
        crop: Frame,
        scores: Sequence[float],
        ood: float | None,
    ) -> Inspected | Missed:
        judgement = judge(scores, model.package.manifest.class_names, model.package.policy, ood)
        if judgement.verdict is Verdict.NOT_INSPECTED:
            detail = "the model gave no probabilities: " + ", ".join(f"{s:.3g}" for s in scores)
            if valid_scores(scores, len(scores)):
                detail = f"the model did not say how unusual the point is: {ood}"
            return Missed(
                point=task.point,
                reason=judgement.reason,
                detail=detail[:500],
                evidence=self._keep(crop),
            )
        return Inspected(
            point=task.point,
            verdict=judgement.verdict,
            reason=judgement.reason,
            finding=judgement.finding,
            scores=tuple(scores),
            model=model.package.ref,
            evidence=None if judgement.verdict is Verdict.OK else self._keep(crop),
            # No number would make the record unreadable; where the policy asks, it is no verdict.
            ood=ood if ood is not None and valid_ood(ood) else UNSET,
        )

    def _keep(self, image: Frame) -> str | None:
        """Evidence, durable before the record that names it; None where it cannot be kept. A
        verdict is never lost for want of its picture."""
        try:
            data = imaging.encode_png(image[:, :, 0] if image.shape[-1] == 1 else image)
            if len(data) > EVIDENCE_LIMIT:
                return None
            return self._spool.put(data, PNG)
        except (ImageError, OutboxError, OSError) as error:
            get_logger().error("evidence not kept", fault=str(error))
            return None


def _batched(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
