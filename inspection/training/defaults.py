"""What is chosen where nobody said anything: a recipe for photographs, made from what the data are.

It is written out like any other recipe, so that what was chosen can be read and changed.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import tomli_w

from inspection.errors import DataError
from inspection.imaging import CropSpec
from inspection.training.data import Picture
from inspection.training.promise import Costs, Promise
from inspection.training.recipe import (
    ANOMALY,
    DatasetDescription,
    Export,
    Fit,
    Recipe,
    Sampling,
    Thresholds,
)

STEP_PX = 32
"""Bodies shrink a crop 32 times; other sizes waste their border."""
SIDE_PX = 224
"""Points are enlarged or reduced to this: a body that was trained on photographs 224 px wide knows
what small defects look like at that size. On crops of circuit boards 72 px wide there are half as
many false alarms with 224 px as with 160."""
ELONGATED = 1.5
"""From this ratio of sides on a crop keeps the shape of the points."""
EPOCHS = (4.0, 40.0)
SHOWN = 24_000
"""Crops shown in a training, within the bounds of `EPOCHS`: about a quarter of an hour on two cores
at 224 px."""
NORMAL_PX = 256
"""Of a model of good points, whatever the shape of a point: its patches are compared with others at
the same scale."""
FALSE_ALARMS = 0.01
"""Of good parts, wanted of such a model."""
LIMIT = 0.05
"""Of the escapes: what some sixty independent defects without an escape can prove. A plant that
has more of them asks for less."""
PREVALENCE = 0.02
"""One defect in fifty points is usual where nothing is known; data sets have far more."""
FROZEN = 4
"""First stages of the body that stay as they are: twice as fast."""


def default_recipe(description: DatasetDescription, pictures: Sequence[Picture]) -> Recipe:
    """The recipe for labelled pictures of which nothing else is known.

    Crops have as many pixels as the photographs that EfficientNet-Lite0 was trained on, 224 x 224,
    and three channels, which grey pictures have in equal parts. Raises `DataError` where there is
    nothing to choose for.
    """
    regions = [point.region for picture in pictures for point in picture.points]
    if not regions:
        raise DataError(f"data set {description.name}: no points to choose a recipe for")
    wide = median(region.width_px for region in regions)
    high = median(region.height_px for region in regions)
    labelled = sum(point.label is not None for picture in pictures for point in picture.points)
    shares = 1 - description.split.validation - description.split.test
    training = max(1.0, labelled * shares)
    epochs = min(max(SHOWN / training, EPOCHS[0]), EPOCHS[1])
    width, height = crop_size(wide, high)
    if ANOMALY in description.class_names:
        return Recipe(
            name=_name(description.name),
            version="1",
            dataset="dataset.toml",
            architecture="patchcore",
            input=CropSpec(width=NORMAL_PX, height=NORMAL_PX, channels=3),
            thresholds=Thresholds(overkill=FALSE_ALARMS),
            promise=Promise(limit=LIMIT),
            costs=Costs(prevalence=PREVALENCE),
        )
    return Recipe(
        name=_name(description.name),
        version="1",
        dataset="dataset.toml",
        architecture="efficientnet-lite0",
        options={"frozen": FROZEN},
        input=CropSpec(width=width, height=height, channels=3),
        fit=Fit(
            epochs=round(epochs, 1),
            batch=32,
            learning_rate=1e-3,
            body_rate=0.3,
            weight_decay=0.02,
            averaging=0.99,
            checks=max(4, min(20, round(epochs))),
            threads=min(2, os.cpu_count() or 1),
        ),
        sampling=Sampling(defects=0.5, hard=0.0),
        promise=Promise(limit=LIMIT),
        costs=Costs(prevalence=PREVALENCE),
        export=Export(int8=True, novelty=True),
    )


def crop_size(wide: float, high: float) -> tuple[int, int]:
    """Width and height of crops of points of that size, in pixels."""
    ratio = wide / high
    if 1 / ELONGATED < ratio < ELONGATED:
        ratio = 1.0
    ratio = min(max(ratio, 1 / 3), 3.0)
    width, height = SIDE_PX * math.sqrt(ratio), SIDE_PX / math.sqrt(ratio)
    return (
        max(2, round(width / STEP_PX)) * STEP_PX,
        max(2, round(height / STEP_PX)) * STEP_PX,
    )


def write_toml(value: Recipe | DatasetDescription, path: Path) -> None:
    """A recipe or description as a file that reads back equal; fields at their default are left
    out where that is empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tomli_w.dumps(_without_none(msgspec.to_builtins(value))).encode())


def _without_none(value: Any) -> Any:
    """TOML has no None: a field that is left out has its default."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(entry) for entry in value]
    return value


def _name(text: str) -> str:
    """A name that a package may have."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "model"
