"""From a picture to what is said of each point: crop, quality gate, model, policy, evidence.

Every point of an order comes out exactly once, as `Inspected` or as `Missed` with the reason. No
picture, no model and no exception of a driver changes that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from msgspec import UNSET, UnsetType, structs

from edge.darkroom import Darkroom
from edge.inference import Inference
from edge.models import HANG_S, Models
from edge.shadow import Shadow
from inspection import gauge, imaging, quality, runtimes
from inspection.alignment import Pose, locate
from inspection.drawing import Drawing
from inspection.errors import ImageError, ModelHung, PackageError
from inspection.gauging import joined, judge_gauged
from inspection.imaging import CropSpec, Frame
from inspection.judging import judge_all, margins
from inspection.log import get_logger
from inspection.messages import (
    Gauged,
    Inspected,
    Missed,
    Order,
    PointTask,
    QualityLimits,
    Reason,
    Region,
    Stance,
    Verdict,
)
from inspection.policy import Judgement, valid_ood, valid_scores
from inspection.runtimes import Model, Outputs, Scores
from inspection.timing import Laps

KEPT_CROPS = 2**26
"""Bytes of crops that are kept from the gate to the model; what is beyond is made again."""

NOT_PERMITTED = (
    "is released as anomaly-only: the plan must permit it for this kind of point"
    " (anomaly_only = true)"
)

T = TypeVar("T")


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
        return _crops(self.image, self.tasks, runtimes.crop_spec(self.model.package))


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
    stance: Stance | UnsetType = UNSET
    """How the part lies in the picture, where that was measured."""


class Judge:
    """Judges the points of an order in a picture of its view.

    ``between`` is called between two inferences, and during one when the descriptor ``bell`` is
    readable and where it takes long, so that a worker with much to do still shows that it is alive
    and sends what it has. An inference that takes longer than ``hang_s`` is ended; once `stuck`,
    nothing can be judged any more. ``drawing`` says which points that are OK have their picture
    kept, too; none without it.
    """

    def __init__(
        self,
        models: Models,
        darkroom: Darkroom,
        *,
        batch: int = 32,
        between: Callable[[], None] = lambda: None,
        hang_s: float = HANG_S,
        shadow: Shadow | None = None,
        drawing: Drawing | None = None,
        laps: Laps | None = None,
        bell: int | None = None,
    ) -> None:
        self._laps = laps or Laps()
        self._models = models
        self._darkroom = darkroom
        self._drawing = drawing
        self._batch = batch
        self._between = between
        self._hang_s = hang_s
        self._shadow = shadow
        self._inference = Inference(bell=bell)
        self._until_s = 0.0

    @property
    def stuck(self) -> bool:
        """Whether an engine did not let go of an inference even when told to."""
        return self._inference.stuck

    def close(self) -> None:
        """Let the thread end that inferences run on."""
        self._inference.close()

    def points(
        self, order: Order, image: Frame, remaining_s: float = float("inf")
    ) -> tuple[Inspected | Missed, ...]:
        """What is said of each point of the order, in the order's sequence. What is not judged
        after ``remaining_s`` is late."""
        return self.decide(order, [self.look(order, image)], remaining_s)

    def look(self, order: Order, image: Frame, frozen: str = "") -> Look:
        """Whether the picture shows each point of the order well enough to be judged.

        ``frozen`` says why the picture is none of this moment, where it is not: then it is good for
        no point.
        """
        try:
            gated = any(task.quality is not UNSET for task in order.points)
            imaging.check_frame(image, order.width_px, order.height_px, whole=gated)
            placed, refused, stance = self._aligned(order, image)
        except ImageError as error:
            return Look(refused=[Refused(t, error.reason, str(error), image) for t in order.points])
        self._laps.lap("align")
        said: list[Inspected | Missed] = []
        batches: list[Batch] = []
        kept = 0
        for name in dict.fromkeys(task.model for task in placed):
            tasks = [task for task in placed if task.model == name]
            model, fault = self._models.get(name, order.models.get(name))
            if model is None:
                said += missed(tasks, Reason.MODEL_UNAVAILABLE, fault)
                continue
            if model.package.manifest.anomaly_only:
                others = [task for task in tasks if task.anomaly_only is not True]
                said += missed(others, Reason.MODEL_UNAVAILABLE, f"model {name} {NOT_PERMITTED}")
                tasks = [task for task in tasks if task.anomaly_only is True]
            spec = runtimes.crop_spec(model.package)
            for some in _batched(tasks, self._batch):
                crops = _crops(image, some, spec)
                kept += crops.nbytes
                batches.append(Batch(model, some, image, crops if kept <= KEPT_CROPS else None))
        self._laps.lap("crop")
        why = self._gate(batches)
        if frozen:
            refusal = quality.Refusal(Reason.FROZEN, frozen)
            why = {task.point: refusal for batch in batches for task in batch.tasks}
        self._laps.lap("gate")
        if not why:
            return Look(batches, refused, said, stance)
        passed: list[Batch] = []
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
        return Look(passed, refused, said, stance)

    def _aligned(
        self, order: Order, image: Frame
    ) -> tuple[list[PointTask], list[Refused], Stance | UnsetType]:
        """The points with their regions where the part lies, those that the picture does not show
        any more, and how the part lies. Raises `ImageError` (MISALIGNED) where it is not in place.
        """
        if order.alignment is UNSET:
            return list(order.points), [], UNSET
        pose = locate(image, order.alignment)
        moved = [_moved(task, pose) for task in order.points]
        height, width = image.shape[:2]
        why = f"the part lies so that the point is out of the picture: {_place(pose)}"
        inside, outside = [], []
        for task in moved:
            if _inside(task.region, width, height):
                inside.append(task)
            else:
                outside.append(Refused(task, Reason.MISALIGNED, why, image))
        return inside, outside, pose.stance

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

    def decide(
        self, order: Order, looks: Sequence[Look], remaining_s: float = float("inf")
    ) -> tuple[Inspected | Missed, ...]:
        """What is said of each point of the order, in the order's sequence: by the first look that
        could see it; of what none could see, why not, with the last look's picture. What is not
        judged after ``remaining_s`` is late."""
        self._until_s = time.monotonic() + remaining_s
        said: dict[str, Inspected | Missed] = {}
        for look in looks:
            for entry in look.said:
                said.setdefault(entry.point, entry)
            for number, batch in enumerate(look.batches):
                if number:
                    self._between()
                for entry in self._one_batch(order, batch):
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

    def _one_batch(self, order: Order, batch: Batch) -> Iterator[Inspected | Missed]:
        model, crops = batch.model, batch.seen()
        limit_s = self._until_s - time.monotonic()
        if limit_s <= 0:
            yield from missed(batch.tasks, Reason.LATE, "its deadline passed before it was judged")
            return
        try:
            said = self._inference.outputs(model, crops, min(limit_s, self._hang_s), self._between)
        except ModelHung as error:
            reason = Reason.LATE if limit_s < self._hang_s else Reason.MODEL_HUNG
            name = model.package.manifest.name
            get_logger().error("inference ended", model=name, fault=str(error))
            yield from missed(batch.tasks, reason, str(error))
            return
        except PackageError as error:
            yield from missed(batch.tasks, Reason.MODEL_OUTPUT_INVALID, str(error))
            return
        self._laps.lap("infer")
        gauged = _gauged(batch)
        if gauged:
            self._laps.lap("gauge")
        entries = self._entries(order, batch, crops, said, gauged)
        self._laps.lap("policy")
        yield from entries
        if self._shadow is not None:
            name = batch.tasks[0].model
            self._shadow.offer(order, name, model.package, batch.tasks, batch.image, crops, entries)

    def _entries(
        self,
        order: Order,
        batch: Batch,
        crops: Frame,
        said: Outputs,
        gauged: Mapping[int, Gauged | None],
    ) -> list[Inspected | Missed]:
        package = batch.model.package
        names, policy = package.manifest.class_names, package.policy
        left = None if self._drawing is None else margins(said.scores, names, policy, said.ood)
        entries: list[Inspected | Missed] = []
        for k, (judgement, (scores, ood), heat) in enumerate(
            zip(
                judge_all(said.scores, names, policy, said.ood),
                said.rows(),
                said.heat_maps(),
                strict=True,
            )
        ):
            task = batch.tasks[k]
            measured = gauged.get(k) or UNSET
            if task.gauge is not UNSET:
                judgement = joined(judgement, judge_gauged(measured, task.gauge.limits))
            verdict = judgement.verdict
            evidence: str | None = None
            inclusion: float | UnsetType = UNSET
            heat_map: str | UnsetType = UNSET
            if verdict is not Verdict.OK:
                evidence = self._keep(crops[k])
                if verdict is Verdict.NOT_INSPECTED:
                    entries.append(_unbelievable(task, judgement, scores, ood, evidence))
                    continue
                heat_map = self._heat_map(heat)
            elif self._drawing is not None and left is not None:
                share = self._drawing.share(task.model, float(left[k]))
                if share:
                    inclusion = share
                    if self._drawing.drawn(order.run, task.point, order.attempt, share):
                        evidence = self._darkroom.keep(crops[k], ok=True)
            entries.append(
                Inspected(
                    point=task.point,
                    verdict=verdict,
                    reason=judgement.reason,
                    finding=judgement.finding,
                    scores=tuple(scores),
                    model=package.ref,
                    evidence=evidence,
                    # No number would make the record unreadable; where the policy asks, it is no
                    # verdict.
                    ood=ood if ood is not None and valid_ood(ood) else UNSET,
                    inclusion=inclusion,
                    heat=heat_map,
                    gauge=measured,
                )
            )
        return entries

    def _keep(self, image: Frame) -> str:
        """The name under which the picture will be found, unless it is lost on the way."""
        return self._darkroom.keep(image)

    def _heat_map(self, heat: Scores | None) -> str | UnsetType:
        """The name of a heat map's picture, where there is one that can be shown."""
        if heat is None or not np.isfinite(heat).all():
            return UNSET
        grey = np.rint(np.clip(heat, 0.0, 1.0) * 255.0).astype(np.uint8)
        return self._darkroom.keep(grey)


def _moved(task: PointTask, pose: Pose) -> PointTask:
    """The point where the part lies, and its calibration as far away as it lies."""
    region, asked = pose.moved(task.region), task.gauge
    if asked is UNSET:
        return structs.replace(task, region=region)
    here = structs.replace(asked, mm_per_px=asked.mm_per_px / pose.stance.scale)
    return structs.replace(task, region=region, gauge=here)


def _gauged(batch: Batch) -> dict[int, Gauged | None]:
    """What was measured, by the number of the task, of those that ask for it."""
    asked = [(k, task.region, task.gauge) for k, task in enumerate(batch.tasks)
             if task.gauge is not UNSET]  # fmt: skip
    if not asked:
        return {}
    found = gauge.measure(batch.image, [(region, task) for _, region, task in asked])
    return {k: one for (k, _, _), one in zip(asked, found, strict=True)}


def _unbelievable(
    task: PointTask,
    judgement: Judgement,
    scores: Sequence[float],
    ood: float | None,
    evidence: str,
) -> Missed:
    detail = "the model gave no probabilities: " + ", ".join(f"{s:.3g}" for s in scores)
    if valid_scores(scores, len(scores)):
        detail = f"the model did not say how unusual the point is: {ood}"
    return Missed(point=task.point, reason=judgement.reason, detail=detail[:500], evidence=evidence)


def _inside(region: Region, width: int, height: int) -> bool:
    """Whether `imaging.crop` finds every pixel of the region itself in the picture."""
    return (
        region.left_px >= -0.5
        and region.top_px >= -0.5
        and region.left_px + region.width_px < width + 0.5
        and region.top_px + region.height_px < height + 0.5
    )


def _place(pose: Pose) -> str:
    stance = pose.stance
    return (
        f"shifted by {stance.shift_x_px:.1f}, {stance.shift_y_px:.1f} px, turned by"
        f" {stance.turn_deg:.2f} degrees, scale {stance.scale:.3f}"
    )


def _crops(image: Frame, tasks: Iterable[PointTask], spec: CropSpec) -> Frame:
    return imaging.crops(image, [task.region for task in tasks], spec)


def _batched(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
