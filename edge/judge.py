"""From a picture to what is said of each point: crop, model, policy, evidence.

Every point of an order comes out exactly once, as `Inspected` or as `Missed` with the reason. No
picture, no model and no exception of a driver changes that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
from msgspec import UNSET, UnsetType

from edge.darkroom import Darkroom
from edge.inference import Inference
from edge.models import HANG_S, Models
from edge.shadow import Shadow
from inspection import imaging, runtimes
from inspection.drawing import Drawing, margin
from inspection.errors import ImageError, ModelHung, PackageError
from inspection.imaging import Frame
from inspection.log import get_logger
from inspection.messages import (
    Inspected,
    Missed,
    Order,
    PointTask,
    Reason,
    Verdict,
)
from inspection.policy import judge, valid_ood, valid_scores
from inspection.runtimes import Model, Scores

T = TypeVar("T")


def missed(points: Iterable[PointTask], reason: Reason, detail: str) -> list[Inspected | Missed]:
    """The same reason for all of these points."""
    return [Missed(point=task.point, reason=reason, detail=detail[:500]) for task in points]


class Judge:
    """Judges the points of an order in a picture of its view.

    ``between`` is called between two inferences, and while one takes long, so that a worker with
    much to do still shows that it is alive. An inference that takes longer than ``hang_s`` is
    ended; once `stuck`, nothing can be judged any more. ``drawing`` says which points that are OK
    have their picture kept, too; none without it.
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
    ) -> None:
        self._models = models
        self._darkroom = darkroom
        self._drawing = drawing
        self._batch = batch
        self._between = between
        self._hang_s = hang_s
        self._shadow = shadow
        self._inference = Inference()
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
        self._until_s = time.monotonic() + remaining_s
        try:
            imaging.check_frame(image, order.width_px, order.height_px)
        except ImageError as error:
            sha256 = self._keep(image)
            return tuple(
                Missed(point=task.point, reason=error.reason, detail=str(error), evidence=sha256)
                for task in order.points
            )
        said: dict[str, Inspected | Missed] = {}
        for name in dict.fromkeys(task.model for task in order.points):
            tasks = [task for task in order.points if task.model == name]
            for entry in self._one_model(order, name, tasks, image):
                said[entry.point] = entry
        return tuple(said[task.point] for task in order.points)

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
            limit_s = self._until_s - time.monotonic()
            if limit_s <= 0:
                yield from missed(batch, Reason.LATE, "its deadline passed before it was judged")
                continue
            try:
                said = self._inference.outputs(
                    model, crops, min(limit_s, self._hang_s), self._between
                )
            except ModelHung as error:
                reason = Reason.LATE if limit_s < self._hang_s else Reason.MODEL_HUNG
                get_logger().error("inference ended", model=name, fault=str(error))
                yield from missed(batch, reason, str(error))
                continue
            except PackageError as error:
                yield from missed(batch, Reason.MODEL_OUTPUT_INVALID, str(error))
                continue
            entries = [
                self._one_point(order, model, task, crop, row, ood, heat)
                for task, crop, (row, ood), heat in zip(
                    batch, crops, said.rows(), said.heat_maps(), strict=True
                )
            ]
            yield from entries
            if self._shadow is not None:
                self._shadow.offer(order, name, model.package, batch, image, crops, entries)
            self._between()

    def _one_point(
        self,
        order: Order,
        model: Model,
        task: PointTask,
        crop: Frame,
        scores: Sequence[float],
        ood: float | None,
        heat: Scores | None,
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
        evidence, inclusion = self._picture(
            order, task, crop, model, judgement.verdict, scores, ood
        )
        return Inspected(
            point=task.point,
            verdict=judgement.verdict,
            reason=judgement.reason,
            finding=judgement.finding,
            scores=tuple(scores),
            model=model.package.ref,
            evidence=evidence,
            # No number would make the record unreadable; where the policy asks, it is no verdict.
            ood=ood if ood is not None and valid_ood(ood) else UNSET,
            inclusion=inclusion,
            heat=self._heat_map(heat) if judgement.verdict is not Verdict.OK else UNSET,
        )

    def _picture(
        self,
        order: Order,
        task: PointTask,
        crop: Frame,
        model: Model,
        verdict: Verdict,
        scores: Sequence[float],
        ood: float | None,
    ) -> tuple[str | None, float | UnsetType]:
        """The name of the point's picture where it is kept, and with what probability an OK one
        is. Everything that is not OK is."""
        if verdict is not Verdict.OK:
            return self._keep(crop), UNSET
        if self._drawing is None:
            return None, UNSET
        package = model.package
        left = margin(scores, package.manifest.class_names, package.policy, ood)
        share = self._drawing.share(task.model, left)
        if not share:
            return None, UNSET
        drawn = self._drawing.drawn(order.run, task.point, order.attempt, share)
        return (self._darkroom.keep(crop, ok=True) if drawn else None), share

    def _keep(self, image: Frame) -> str:
        """The name under which the picture will be found, unless it is lost on the way."""
        return self._darkroom.keep(image)

    def _heat_map(self, heat: Scores | None) -> str | UnsetType:
        """The name of a heat map's picture, where there is one that can be shown."""
        if heat is None or not np.isfinite(heat).all():
            return UNSET
        grey = np.rint(np.clip(heat, 0.0, 1.0) * 255.0).astype(np.uint8)
        return self._darkroom.keep(grey)


def _batched(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
