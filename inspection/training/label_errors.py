"""Labels that are probably wrong: what a model that never saw the part takes for another class.

Confident learning (Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset
Labels", 2021): probabilities are cross-validated, here by part; a class is confidently another's
where its probability reaches the mean that it has on pictures which bear its label. The model is a
logistic regression on features of an EfficientNet-Lite0 that nobody trained on these pictures
(ImageNet weights), which takes seconds and cannot learn a wrong label by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from torch import nn

from inspection.errors import DataError
from inspection.imaging import CropSpec
from inspection.training.architectures import build
from inspection.training.data import Dataset, LabelledPoint, Picture, folds
from inspection.training.sampling import points_of

ARCHITECTURE = "efficientnet-lite0"
SIDE_PX = 160
AT_ONCE = 64
FOLDS = 5
DECAY = 0.1
STEPS = 60

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Progress = Callable[[str], None]


class Suspect(NamedTuple):
    """A point whose label is probably wrong, the class it looks like, and the probability of
    both."""

    picture: Picture
    point: LabelledPoint
    label: str
    looks_like: str
    of_label: float
    of_other: float


class Suspects(NamedTuple):
    """The most suspicious first; how many points were looked at; and classes that could not be
    cross-validated, because fewer than two parts show them."""

    found: list[Suspect]
    points: int
    left_out: tuple[str, ...]


def find_label_errors(
    dataset: Dataset, *, seed: int = 0, progress: Progress | None = None
) -> Suspects:
    """Probable label errors among the labelled points of a data set. Raises `DataError` where there
    are fewer than two parts."""
    names = dataset.description.class_names
    counted = [
        (picture, point)
        for picture in dataset.pictures
        for point in picture.points
        if point.label is not None and not point.borderline
    ]
    features, labels = _features(dataset, progress)
    parts = [picture.part for picture, _ in counted]
    shown = {
        label: {parts[n] for n in np.flatnonzero(labels == k)} for k, label in enumerate(names)
    }
    left_out = tuple(label for label in names if len(shown[label]) < 2)
    usable = np.array([names[k] not in left_out for k in labels], bool)
    if len(names) - len(left_out) < 2:
        raise DataError(f"{dataset.root}: fewer than two classes are shown by two parts each")
    fold_of = {
        part: number
        for number, group in enumerate(folds(dataset, min(FOLDS, len(set(parts))), seed))
        for part in group
    }
    number = np.array([fold_of[part] for part in parts])
    scores = np.zeros((len(labels), len(names)))
    for fold in sorted(set(number[usable])):
        held = (number == fold) & usable
        scores[held] = _probabilities(
            features[~held & usable], labels[~held & usable], features[held], len(names)
        )
    found = [
        Suspect(
            *counted[n],
            names[labels[n]],
            names[other],
            float(scores[n, labels[n]]),
            float(scores[n, other]),
        )
        for n, other in confident_errors(scores, labels, usable)
    ]
    found.sort(key=lambda suspect: suspect.of_label - suspect.of_other)
    return Suspects(found, int(usable.sum()), left_out)


def confident_errors(
    scores: npt.NDArray[np.float64], labels: Labels, usable: npt.NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Which rows of ``scores`` (N, classes; cross-validated probabilities) are confidently of
    another class than their label, and of which."""
    classes = scores.shape[1]
    limits = np.full(classes, np.inf)
    for k in range(classes):
        of_class = usable & (labels == k)
        if of_class.any():
            limits[k] = scores[of_class, k].mean()
    found = []
    for row in np.flatnonzero(usable):
        confident = np.where(scores[row] >= limits, scores[row], -1.0)
        best = int(confident.argmax())
        if confident[best] > max(0.0, scores[row, labels[row]]) and best != labels[row]:
            found.append((int(row), best))
    return found


def _features(dataset: Dataset, progress: Progress | None) -> tuple[Floats, Labels]:
    """Features and class indices of all labelled points, in the order of the pictures."""
    spec = CropSpec(width=SIDE_PX, height=SIDE_PX, channels=3)
    network = build(ARCHITECTURE, 2, spec, {}).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    features, labels = [], []
    pictures = [p for p in dataset.pictures if any(_counts(point) for point in p.points)]
    for start in range(0, len(pictures), AT_ONCE):
        crops, found = points_of(dataset, pictures[start : start + AT_ONCE], spec)
        labels.append(found)
        for first in range(0, len(crops), AT_ONCE):
            x = torch.from_numpy(crops[first : first + AT_ONCE]).permute(0, 3, 1, 2).float()
            with torch.inference_mode():
                seen = network.embed(x.contiguous(memory_format=torch.channels_last))
            features.append(seen.numpy())
        if progress is not None and (start // AT_ONCE) % 4 == 3:
            progress(f"{start + AT_ONCE} of {len(pictures)} pictures looked at for label errors")
    return np.concatenate(features), np.concatenate(labels)


def _counts(point: LabelledPoint) -> bool:
    return point.label is not None and not point.borderline


def _probabilities(
    train: Floats, targets: Labels, test: Floats, classes: int
) -> npt.NDArray[np.float64]:
    """Of a logistic regression by L-BFGS from zero. Classes without a target get none."""
    known = sorted(set(targets.tolist()))
    mean, scale = train.mean(axis=0), np.maximum(train.std(axis=0), 1e-3)
    x = torch.from_numpy((train - mean) / scale)
    y = torch.from_numpy(np.searchsorted(known, targets))
    linear = nn.Linear(x.shape[1], len(known))
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimiser = torch.optim.LBFGS(
        linear.parameters(), max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        found = F.cross_entropy(linear(x), y) + DECAY / 2 * linear.weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    scores = np.zeros((len(test), classes))
    with torch.inference_mode():
        logits = linear(torch.from_numpy((test - mean) / scale)).double()
        scores[:, known] = logits.softmax(dim=1).numpy()
    return scores


def summary(suspects: Suspects) -> Sequence[str]:
    """What a person should know of them, a line each."""
    told = f"{len(suspects.found)} of {suspects.points} labels are probably wrong"
    if not suspects.left_out:
        return [told]
    few = f"not looked at, because fewer than two parts show them: {', '.join(suspects.left_out)}"
    return [told, few]
