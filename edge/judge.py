"""From a picture to what is said of each point: crop, model, policy, evidence.

Every point of an order comes out exactly once, as `Inspected` or as `Missed` with the reason. No
picture, no model and no exception of a driver changes that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from msgspec import UNSET, UnsetType, structs

from edge.evidence_spool import EvidenceSpool
from inspection import imaging, runtimes
from inspection.alignment import Pose, locate
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
    Reason,
    Region,
    Stance,
    Verdict,
)
from inspection.policy import judge, valid_ood, valid_scores
from inspection.runtimes import Model
from inspection.trust import open_trusted

EVIDENCE_LIMIT = 7 * 2**20
"""Larger pictures do not pass the evidence lane."""

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
        self.stance: Stance | UnsetType = UNSET
        """How the part lay in the picture judged last, where that was measured."""

    def points(self, order: Order, image: Frame) -> tuple[Inspected | Missed, ...]:
        """What is said of each point of the order, in the order's sequence."""
        self.stance = UNSET
        said: dict[str, Inspected | Missed] = {}
        try:
            imaging.check_frame(image, order.width_px, order.height_px)
            tasks_in_place, said = self._aligned(order, image)
        except ImageError as error:
            sha256 = self._keep(image)
            return tuple(
                Missed(
                    point=task.point, reason=error.reason, detail=str(error)[:500], evidence=sha256
                )
                for task in order.points
            )
        for name in dict.fromkeys(task.model for task in tasks_in_place):
            tasks = [task for task in tasks_in_place if task.model == name]
            for entry in self._one_model(order, name, tasks, image):
                said[entry.point] = entry
        return tuple(said[task.point] for task in order.points)

    def _aligned(
        self, order: Order, image: Frame
    ) -> tuple[list[PointTask], dict[str, Inspected | Missed]]:
        """The points with their regions where the part lies, and those that the picture does not
        show any more. Raises `ImageError` (MISALIGNED) where the part is not in place."""
        if order.alignment is UNSET:
            return list(order.points), {}
        pose = locate(image, order.alignment)
        self.stance = pose.stance
        moved = [structs.replace(task, region=pose.moved(task.region)) for task in order.points]
        height, width = image.shape[:2]
        outside = [task for task in moved if not _inside(task.region, width, height)]
        if not outside:
            return moved, {}
        sha256 = self._keep(image)
        said: dict[str, Inspected | Missed] = {
            task.point: Missed(
                point=task.point,
                reason=Reason.MISALIGNED,
                detail=f"the part lies so that the point is out of the picture: {_place(pose)}",
                evidence=sha256,
            )
            for task in outside
        }
        return [task for task in moved if task.point not in said], said

    def _one_model(
        self, order: Order, name: str, tasks: Sequence[PointTask], image: Frame
    ) -> Iterator[Inspected | Missed]:
        model, fault = self._models.get(name, order.models.get(name))
        if model is None:
            yield from missed(tasks, Reason.MODEL_UNAVAILABLE, fault)
            return
        spec = runtimes.crop_spec(model.package)
        for batch in _batched(tasks, self._batch):
            crops = np.stack([imaging.crop(image, task.region, spec) for task in batch])
            try:
                said = model.outputs(crops)
            except PackageError as error:
                yield from missed(batch, Reason.MODEL_OUTPUT_INVALID, str(error))
                continue
            for task, crop, (row, ood) in zip(batch, crops, said.rows(), strict=True):
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


def _batched(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
