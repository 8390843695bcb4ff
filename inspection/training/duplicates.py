"""The same picture twice, under two names: what leaks from training into a test.

Pictures are compared as thumbnails of 48 px without their slow changes of brightness, by normalised
correlation (Lewis, "Fast Normalized Cross-Correlation", 1995). Copies that were compressed again,
lightened or scaled correlate by .997 and more; different welds of one design under one camera stay
below. A copy that was cut or turned is not found.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from inspection.errors import DataError
from inspection.training.data import Dataset, Picture, Split, load

SIDE_PX, SLOW_PX = 48, 6.0
SAME = 0.997
MOST = 20_000
"""Pictures that are compared with each other; of more, none, and a warning says so."""
UNLOOKED = f"more than {MOST} pictures: near-duplicates among them were not looked for"
BLOCK = 1024
LISTED = 5
FLAT = 4.0
"""Grey levels a pixel, root of the mean square: a thumbnail with less shows nothing to compare."""

Thumbnail = npt.NDArray[np.float32]


class Twins(NamedTuple):
    """Two pictures that show the same, and their correlation."""

    one: Picture
    other: Picture
    correlation: float


def find_twins(pictures: Sequence[Picture]) -> list[Twins]:
    """All pairs of near-duplicates; empty for more than `MOST` pictures."""
    if len(pictures) > MOST:
        return []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        found = list(pool.map(_thumbnail, [picture.path for picture in pictures]))
    kept = [i for i, thumbnail in enumerate(found) if thumbnail is not None]
    table = np.array([found[i] for i in kept], np.float32).reshape(len(kept), SIDE_PX**2)
    twins = []
    for start in range(0, len(kept), BLOCK):
        block = table[start : start + BLOCK] @ table[: start + BLOCK].T
        for row, column in np.argwhere(block >= SAME):
            first, second = start + int(row), int(column)
            if second < first:
                one, other = pictures[kept[second]], pictures[kept[first]]
                twins.append(Twins(one, other, float(block[row, column])))
    return twins


def guess_parts(dataset: Dataset) -> None:
    """Where nothing says which part a picture shows, near-duplicates are taken for pictures of one
    part, which is named for the first of them; a warning says that parts were guessed."""
    if any(len(picture.points) != 1 for picture in dataset.pictures):
        return
    leader = _leaders([p.part for p in dataset.pictures], find_twins(dataset.pictures))
    dataset.pictures = [replace(p, part=leader[p.part]) for p in dataset.pictures]
    parts = len(dataset.parts)
    dataset.warnings.append(
        f"nothing says which part a picture shows: {len(dataset.pictures)} pictures were taken for"
        f" {parts} parts, near-duplicates for one. If several pictures show one part, say so with"
        " --part or 'part' in the description, or test results are fiction"
        + (f"; {UNLOOKED}" if len(dataset.pictures) > MOST else "")
    )


def join_twins(dataset: Dataset) -> None:
    """Parts with near-duplicate pictures of each other are kept on one side of every split; a
    warning lists them."""
    if any(len(picture.points) != 1 for picture in dataset.pictures):
        return
    twins = [pair for pair in find_twins(dataset.pictures) if pair.one.part != pair.other.part]
    if twins:
        dataset.together = {
            part: leader
            for part, leader in _leaders(dataset.parts, twins).items()
            if part != leader
        }
        dataset.warnings.append(
            f"{len(twins)} pairs of near-duplicate pictures belong to different parts; these parts"
            f" are kept on one side of the split: {_listed(dataset, twins)}"
        )
    if len(dataset.pictures) > MOST:
        dataset.warnings.append(UNLOOKED)


def check_leaks(dataset: Dataset, split: Split) -> None:
    """Raises `DataError` where a part, or parts that show the same, are in two splits."""
    where: defaultdict[str, set[str]] = defaultdict(set)
    for name, parts in split._asdict().items():
        for part in parts:
            where[dataset.together.get(part, part)].add(name)
    leaks = {leader: names for leader, names in where.items() if len(names) > 1}
    if not leaks:
        return
    leader, names = next(iter(leaks.items()))
    same = sorted({leader, *(p for p, first in dataset.together.items() if first == leader)})
    raise DataError(
        f"{dataset.root}: {', '.join(same)} show the same and would be in"
        f" {' and in '.join(sorted(names))} ({len(leaks)} such groups): what is tested would have"
        " been trained on. Hold out all of them or none"
    )


def _thumbnail(path: Path) -> Thumbnail | None:
    frame = load(path)
    grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= cv2.GaussianBlur(small, (0, 0), SLOW_PX)
    small -= small.mean()
    norm = float(np.linalg.norm(small))
    return None if norm < FLAT * SIDE_PX else (small / norm).ravel()


def _leaders(parts: Sequence[str], twins: Sequence[Twins]) -> dict[str, str]:
    """For every part the first of those it is joined to (union-find, Tarjan 1975)."""
    leader = {part: part for part in parts}

    def first(part: str) -> str:
        while leader[part] != part:
            leader[part] = leader[leader[part]]
            part = leader[part]
        return part

    for pair in twins:
        low, high = sorted((first(pair.one.part), first(pair.other.part)))
        leader[high] = low
    return {part: first(part) for part in parts}


def _listed(dataset: Dataset, twins: Sequence[Twins]) -> str:
    names = [
        " = ".join(p.path.relative_to(dataset.root).as_posix() for p in (pair.one, pair.other))
        for pair in twins[:LISTED]
    ]
    more = len(twins) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")
