"""How unusual a point looks to a network: the distance of its embedding from all classes.

The Mahalanobis distance to the nearest class mean with one covariance for all classes (Lee et al.,
"A simple unified framework for detecting out-of-distribution samples", 2018). The covariance is
that of a probabilistic principal component analysis (Tipping and Bishop, 1999): full along the axes
with most variance, the same in all other directions, so that it can be had from fewer points than
the embedding has dimensions, and so that what no training point ever showed counts too.

The unit of the score: 1 is what 99 of 100 good validation points stay below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from inspection.errors import DataError
from inspection.imaging import Frame
from inspection.training.calibrate import Array, Labels

MOST_AXES = 64
POINTS_PER_AXIS = 10
MOST_POINTS = 1500
"""Of an embedding with more dimensions than `WIDE`, whose covariance would take minutes."""
WIDE = 512
FEWEST_POINTS = 20
QUANTILE = 0.99
RESIDUAL = 1e-8
"""Largest error of the decomposition, as a share of the largest eigenvalue. Decompositions have
come out wrong here without any error."""
BATCH = 64


@runtime_checkable
class Embeds(Protocol):
    """A network that says itself what its embedding is: ``classify(embed(crops))`` is its
    ``forward``."""

    def embed(self, crops: torch.Tensor) -> torch.Tensor:
        """``float32`` crops (N, channels, height, width) to (N, D)."""
        ...

    def classify(self, embedding: torch.Tensor) -> torch.Tensor:
        """(N, D) to logits (N, classes)."""
        ...


class Novelty(NamedTuple):
    """What the graph needs: ``means`` (classes, D), orthonormal ``axes`` (D, K) with their
    ``variances`` (K,), ``rest`` the variance in every other direction, ``scale`` the distance
    that counts as 1."""

    means: Array
    axes: Array
    variances: Array
    rest: float
    scale: float

    def distances(self, embeddings: Array) -> Array:
        """To the nearest class, in units of ``scale``; (N, D) to (N,)."""
        found = np.full(len(embeddings), np.inf)
        for mean in self.means:
            off = embeddings - mean
            along = off @ self.axes
            beside = np.maximum((off * off).sum(axis=1) - (along * along).sum(axis=1), 0.0)
            squared = (along * along / self.variances).sum(axis=1) + beside / self.rest
            found = np.minimum(found, squared)
        return np.asarray(np.sqrt(found) / self.scale)


class Unusual(nn.Module):
    """`Novelty.distances` as a part of the graph, in float32."""

    means: torch.Tensor
    axes: torch.Tensor
    weights: torch.Tensor

    def __init__(self, novelty: Novelty) -> None:
        super().__init__()
        self.register_buffer("means", torch.from_numpy(novelty.means.astype(np.float32)))
        self.register_buffer("axes", torch.from_numpy(novelty.axes.astype(np.float32)))
        weights = 1 / novelty.variances
        self.register_buffer("weights", torch.from_numpy(weights.astype(np.float32)))
        self.rest, self.scale = novelty.rest, novelty.scale

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        off = embeddings.unsqueeze(1) - self.means
        along = torch.matmul(off, self.axes).square()
        beside = (off.square().sum(dim=2) - along.sum(dim=2)).clamp(min=0.0)
        squared = (along * self.weights).sum(dim=2) + beside / self.rest
        return squared.amin(dim=1).sqrt() / self.scale


def head_of(network: nn.Module, classes: int) -> nn.Linear | None:
    """The layer that turns an embedding into logits: ``network.head``, or the last linear layer
    with an output for each class; None where there is none."""
    named = getattr(network, "head", None)
    if isinstance(named, nn.Linear):
        return named if named.out_features == classes else None
    linear = [
        module
        for module in network.modules()
        if isinstance(module, nn.Linear) and module.out_features == classes
    ]
    return linear[-1] if linear else None


def with_embedding(
    network: nn.Module, classes: int
) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]] | None:
    """A function from crops to logits and embedding, or None where the network has none."""
    if isinstance(network, Embeds):
        embeds = network

        def look(crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            embedding = embeds.embed(crops)
            return embeds.classify(embedding), embedding

        return look
    head = head_of(network, classes)
    if head is None:
        return None

    def tap(crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen: list[torch.Tensor] = []
        hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            logits = network(crops)
        finally:
            hook.remove()
        if len(seen) != 1 or seen[0].ndim != 2:
            raise DataError(
                "the network does not use its linear head once for each point: give it `embed` and"
                " `classify`, or no out-of-distribution score"
            )
        return cast(torch.Tensor, logits), seen[0]

    return tap


def embeddings(network: nn.Module, crops: Frame, classes: int) -> Array | None:
    """Of ``uint8`` crops (N, height, width, channels), in float64 (N, D); None where the network
    has none."""
    look = with_embedding(network, classes)
    if look is None:
        return None
    found = []
    with torch.inference_mode():
        for start in range(0, len(crops), BATCH):
            part = torch.from_numpy(crops[start : start + BATCH]).permute(0, 3, 1, 2).float()
            found.append(look(part)[1].numpy())
    return np.concatenate(found).astype(np.float64)


def fit_novelty(
    network: nn.Module,
    classes: int,
    train: tuple[Frame, Labels],
    validation: tuple[Frame, Labels],
) -> Novelty | None:
    """Fitted on the embeddings of training points, scaled on good validation points (label 0).
    Labels below 0 count for nothing. None where the network has no embedding.

    Raises `DataError` where there are too few points, or the decomposition fails.
    """
    network.eval()
    if with_embedding(network, classes) is None:
        return None
    (crops, labels), (others, other_labels) = train, validation
    crops, labels = crops[labels >= 0], labels[labels >= 0]
    good = others[other_labels == 0]
    if len(crops) < FEWEST_POINTS or not len(good):
        raise DataError(
            f"an out-of-distribution score needs {FEWEST_POINTS} training points and good"
            f" validation points; there are {len(crops)} and {len(good)}"
        )
    seen = embeddings(network, crops, classes)
    usual = embeddings(network, good, classes)
    assert seen is not None and usual is not None  # noqa: S101, PT018  asked above
    return scaled(fit(seen, labels), usual)


def fit(seen: Array, labels: Labels) -> Novelty:
    """Means, axes and variances of embeddings (N, D); the scale is still 1."""
    means = np.stack([seen[labels == k].mean(axis=0) for k in np.unique(labels)])
    centred = seen - means[np.searchsorted(np.unique(labels), labels)]
    if centred.shape[1] > WIDE and len(centred) > MOST_POINTS:
        centred = centred[np.linspace(0, len(centred) - 1, MOST_POINTS).astype(int)]
    count, size = centred.shape
    if not np.isfinite(centred).all():
        raise DataError("the network's embedding is no number for some training points")
    variance = float((centred * centred).sum()) / count
    if variance <= 0:
        raise DataError("the network's embedding is the same for all training points of a class")
    wide = size > count
    matrix = (centred @ centred.T if wide else centred.T @ centred) / count
    values, vectors = np.linalg.eigh(matrix)
    error = np.abs(matrix @ vectors - vectors * values).max()
    if not error <= RESIDUAL * values[-1]:
        raise DataError(
            f"the covariance of the embedding could not be decomposed (residual {error:.2g} of"
            f" {values[-1]:.2g}): run it again with one thread"
        )
    number = min(MOST_AXES, max(1, count // POINTS_PER_AXIS), size)
    number = min(number, int((values > 1e-9 * values[-1]).sum()))
    variances, axes = values[::-1][:number], vectors[:, ::-1][:, :number]
    if wide:
        axes = centred.T @ axes / np.sqrt(variances * count)
    rest = max(variance - float(variances.sum()), 0.0) / max(size - number, 1)
    return Novelty(means, axes, variances, max(rest, 1e-6 * variance / size), 1.0)


def scaled(novelty: Novelty, usual: Array) -> Novelty:
    """So that `QUANTILE` of these embeddings of good validation points have less than 1."""
    scale = float(np.quantile(novelty.distances(usual), QUANTILE, method="higher"))
    if not (np.isfinite(scale) and scale > 0):
        raise DataError(
            f"the distance of good validation points is {scale}: no scale to measure by"
        )
    return novelty._replace(scale=scale)


def choose_ood_max(ood: npt.ArrayLike, labels: Labels, overkill: float) -> float:
    """A limit from the scores an exported graph gave validation points: at most the share
    ``overkill`` of the good ones (label 0) lies above. Where they are too few to show so small a
    share, a quarter above the most unusual of them."""
    good = np.sort(np.asarray(ood, np.float64)[labels == 0])
    if not len(good) or not np.isfinite(good).all():
        raise DataError("no limit for unusual points: no good validation point has a valid score")
    above = int(overkill * len(good))
    limit = float(good[len(good) - 1 - above]) if above else 1.25 * float(good[-1])
    return round(max(limit, 1e-6), 6)
