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
from msgspec import UNSET

from edge.evidence_spool import EvidenceSpool
from edge.inference import Inference
from edge.models import HANG_S, Models
from edge.shadow import Shadow
from inspection import imaging, runtimes
from inspection.errors import ImageError, ModelHung, OutboxError, PackageError
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
from inspection.runtimes import Model

EVIDENCE_LIMIT = 7 * 2**20
"""Larger pictures do not pass the evidence lane."""

PNG = "png"

T = TypeVar("T")


def missed(points: Iterable[PointTask], reason: Reason, detail: str) -> list[Inspected | Missed]:
    """The same reason for all of these points."""
    return [Missed(point=task.point, reason=reason, detail=detail[:500]) for task in points]


class Judge:
    """Judges the points of an order in a picture of its view.

    ``between`` is called between two inferences, and while one takes long, so that a worker with
    much to do still shows that it is alive. An inference that takes longer than ``hang_s`` is
    ended; once `stuck`, nothing can be judged any more.
    """

    def __init__(
        self,
        models: Models,
        spool: EvidenceSpool,
        *,
        batch: int = 32,
        between: Callable[[], None] = lambda: None,
        hang_s: float = HANG_S,
        shadow: Shadow | None = None,
    ) -> None:
        self._models = models
        self._spool = spool
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
                self._one_point(model, task, crop, row, ood)
                for task, crop, (row, ood) in zip(batch, crops, said.rows(), strict=True)
            ]
            yield from entries
            if self._shadow is not None:
                self._shadow.offer(order, name, model.package, batch, image, crops, entries)
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
