"""The same picture twice, under two names: what leaks from training into a test.

Which pictures show the same is told by `likeness`. Copies that were compressed again, lightened,
scaled, mirrored, turned by quarters or shifted a little are found, different welds of one design
under one camera are told apart. A copy that was cut, or turned by a few degrees, is not found.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from inspection.errors import DataError
from inspection.training.data import Dataset, Picture, Split, load
from inspection.training.likeness import Look, look_at, near_duplicates

MOST = 20_000
"""Pictures that are compared with each other; of more, none, and a warning says so."""
UNLOOKED = f"more than {MOST} pictures: near-duplicates among them were not looked for"
LISTED = 5


class Twins(NamedTuple):
    """Two pictures that show the same, and how alike their detail is."""

    one: Picture
    other: Picture
    likeness: float


def find_twins(
    pictures: Sequence[Picture], looks: Mapping[Path, Look] | None = None
) -> list[Twins]:
    """All pairs of near-duplicates; empty for more than `MOST` pictures. ``looks`` are what is kept
    of pictures that were read already."""
    if len(pictures) > MOST:
        return []
    known = looks or {}
    seen = [known.get(picture.path) or _look(picture.path) for picture in pictures]
    return [
        Twins(pictures[pair.first], pictures[pair.second], pair.likeness)
        for pair in near_duplicates(seen)
    ]


def guess_parts(dataset: Dataset) -> None:
    """Where nothing says which part a picture shows, near-duplicates are taken for pictures of one
    part, which is named for the first of them; a warning says that parts were guessed."""
    if _comparable(dataset):
        twins = find_twins(dataset.pictures, dataset.looks)
        leader = _leaders([p.part for p in dataset.pictures], twins)
        dataset.pictures = [replace(p, part=leader[p.part]) for p in dataset.pictures]
    parts = len(dataset.parts)
    dataset.warnings.append(
        f"parts were guessed: nothing says which part a picture shows, so {len(dataset.pictures)}"
        f" pictures were taken for {parts} parts, near-duplicates for one. If several pictures show"
        " one part, say so with --part, with 'part' in dataset.toml or with a column 'part', or"
        " test results are fiction" + (f"; {UNLOOKED}" if len(dataset.pictures) > MOST else "")
    )


def join_twins(dataset: Dataset) -> None:
    """Parts with near-duplicate pictures of each other are kept on one side of every split; a
    warning lists them."""
    if not _comparable(dataset):
        return
    found = find_twins(dataset.pictures, dataset.looks)
    twins = [pair for pair in found if pair.one.part != pair.other.part]
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


def _comparable(dataset: Dataset) -> bool:
    """Pictures of many points each, such as boards of one design, may look alike and differ in what
    counts; rendered ones, which nobody decoded, are different by construction."""
    return bool(dataset.looks) and all(len(picture.points) == 1 for picture in dataset.pictures)


def _look(path: Path) -> Look:
    data = path.read_bytes()
    return look_at(load(path), hashlib.sha256(data).digest())


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
