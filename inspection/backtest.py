"""What a new package or policy would have said of production.

First the kept crops are given to the package that judged them: its scores must come out bit by
bit, or else crop, package or machine is not what it was and nothing that follows would mean
anything. Then the new package judges.

- The same model with another policy needs no picture: the store has the scores of every point, OK
  ones too, and the result is a count, not an estimate.
- Another model needs crops. An edge keeps those of all NOK and REVIEW points, and of a share of the
  OK ones that each OK result names (`inspection.drawing`). So each verdict, and each share of OK,
  is a stratum. Of one of which all crops are there, they are a census (weight 1); of any other, the
  crops that are there stand for all its points with weight 1 / (kept / all), which is 1 / share but
  for the luck of the draw (Horvitz and Thompson, J. Am. Stat. Assoc. 47, 1952, with Hajek's scaling
  to the known number of points); crops that are lost (no room, never delivered) count as if they
  had been lost by chance, and the report says so. Of a stratum without crops nothing is claimed.
  How many were drawn is held against the share: a draw that is not by chance would show.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from msgspec import Struct, UnsetType

from inspection import imaging
from inspection.errors import DataError, ImageError
from inspection.evidence import EvidenceStore
from inspection.gauging import GAUGE_REASONS
from inspection.imaging import Frame
from inspection.messages import Inspected, Verdict
from inspection.package import Package
from inspection.policy import judge
from inspection.runtimes import Model, crop_spec, load
from inspection.store.reader import PointRow, Reader

EDGE_BATCH = 32
"""Crops an edge gives to a model at once (`edge.judge.Judge`). In another batch the last bit of a
score may differ, so a crop that does not reproduce alone is tried at its place in its batch."""
SCORES_AT_ONCE = 32
SHOWN = 20


class Change(Struct, frozen=True, kw_only=True):
    """A point whose verdict would be another. ``weight`` is how many points it stands for."""

    run: str
    part: str
    view: str
    point: str
    was: Verdict
    now: Verdict
    finding: str
    weight: float


class Stratum(Struct, frozen=True, kw_only=True):
    """All points of one verdict and share: how many, how many could be judged anew, and what came
    out. ``inclusion`` is None where none could. ``share`` is the probability of being kept that the
    results name, None where they name none; ``drawn`` of the points name a picture."""

    points: int
    judged: int
    inclusion: float | None
    now: dict[str, int]
    share: float | None = None
    drawn: int = 0

    @property
    def by_chance(self) -> bool:
        """Whether so many can have been drawn by the share: within five standard deviations."""
        if self.share is None:
            return True
        spread = math.sqrt(self.points * self.share * (1 - self.share))
        return abs(self.drawn - self.points * self.share) <= 5 * spread + 1


class Backtest(Struct, frozen=True, kw_only=True):
    """What came of it. ``reproduced`` crops gave their old scores bit by bit, ``in_batch`` of them
    only at their place in a batch as the edge made it. ``unjudged`` says of what could not be used
    why, and of how many points."""

    old: tuple[str, ...]
    new_package: str
    new_policy: str
    from_scores: bool
    runs: int
    points: int
    reproduced: int
    in_batch: int
    verdicts_recomputed: int
    strata: dict[str, Stratum]
    changes: tuple[Change, ...]
    unjudged: dict[str, int]


class _Key(NamedTuple):
    """A stratum: a verdict, and the probability of being kept that its results name."""

    verdict: Verdict
    share: float | None

    def __str__(self) -> str:
        return self.verdict.value if self.share is None else f"{self.verdict} {self.share:g}"


@dataclass(slots=True)
class _Place:
    """One entry of a record: what the edge said, its place in its batch, and the batch's size."""

    said: Inspected
    index: int
    size: int


@dataclass(slots=True)
class _Found:
    points: Counter[_Key] = field(default_factory=Counter)
    drawn: Counter[_Key] = field(default_factory=Counter)
    now: defaultdict[_Key, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    changes: list[tuple[PointRow, _Key, Verdict, str]] = field(default_factory=list)
    unjudged: Counter[str] = field(default_factory=Counter)
    reproduced: int = 0
    in_batch: int = 0
    recomputed: int = 0
    runs: int = 0


def backtest(
    reader: Reader,
    evidence: EvidenceStore,
    find_old: Callable[[str], Package | None],
    new: Package,
    *,
    since_ns: int = 0,
    limit: int | None = None,
) -> Backtest:
    """Judge again what a store has, newest runs first, ``limit`` of them.

    ``find_old`` gives the package of a hash, or None. Raises `DataError` where a kept crop does not
    give its old scores, a recorded verdict is not that of its scores and policy, no crop could be
    tried at all, or there is nothing to judge.
    """
    newest = load(new)
    models: dict[str, Model | None] = {}
    found = _Found()
    policy_only = True
    for row in reader.runs(limit=limit, since_ns=since_ns):
        found.runs += 1
        places = dict(_places(reader, row.run))
        crops: dict[str, list[tuple[PointRow, _Place, Frame]]] = defaultdict(list)
        for point in reader.points(run=row.run):
            place = places.get((point.point, point.attempt))
            key = _key(point, place)
            found.points[key] += 1
            found.drawn[key] += point.evidence is not None
            if place is None or point.package is None:
                found.unjudged["not inspected by a model"] += 1
                continue
            if point.package not in models:
                old = find_old(point.package)
                models[point.package] = None if old is None else load(old)
            model = models[point.package]
            if model is None:
                found.unjudged[f"package {point.package[:12]} is not at hand"] += 1
                continue
            _recompute(found, model.package, point, place.said)
            policy_only &= point.package == new.ref.package
            crop = _crop(evidence, point, model.package)
            if isinstance(crop, str):
                if point.package != new.ref.package:
                    found.unjudged[f"{key}: {crop}"] += 1
                else:
                    _judge(found, new, point, place, place.said.scores, _ood(place.said))
                continue
            crops[point.package].append((point, place, crop))
        for package, some in crops.items():
            old_model = models[package]
            assert old_model is not None  # noqa: S101 - only those are in there
            _reproduce(found, old_model, some)
            if package == new.ref.package:
                for point, place, _ in some:
                    _judge(found, new, point, place, place.said.scores, _ood(place.said))
            else:
                _anew(found, newest, some)
    total = sum(found.points.values())
    if not total:
        raise DataError(f"{reader.path}: no results here: nothing to back-test on")
    if not found.reproduced:
        why = "; ".join(f"{n} {what}" for what, n in found.unjudged.items()) or "none was kept"
        raise DataError(
            f"{reader.path}: no crop of {total} points could be given to the package that judged"
            f" it, so nothing says that this would be a fair comparison ({why})"
        )
    return _result(found, models, new, policy_only)


def _places(reader: Reader, run: str) -> Iterator[tuple[tuple[str, int], _Place]]:
    """Every inspected point of a run by (point, attempt), with its place in the edge's batches: an
    edge goes through the points of one model in the order's sequence, which is the record's."""
    for record in reader.records(run):
        by_model: defaultdict[str, list[Inspected]] = defaultdict(list)
        for entry in record.answer.points:
            if isinstance(entry, Inspected):
                by_model[entry.model.package].append(entry)
        for entries in by_model.values():
            for number, entry in enumerate(entries):
                start = number - number % EDGE_BATCH
                size = min(EDGE_BATCH, len(entries) - start)
                yield (entry.point, record.answer.attempt), _Place(entry, number - start, size)


def _crop(evidence: EvidenceStore, point: PointRow, package: Package) -> Frame | str:
    """The kept crop, or why there is none."""
    if point.evidence is None:
        return "no picture was kept"
    data = evidence.get(point.evidence)
    if data is None:
        return "the picture is not in the evidence store, or has changed there"
    try:
        frame = imaging.decode(data)
    except ImageError as error:
        return f"the picture cannot be read: {error}"
    crop = frame.reshape(*frame.shape[:2], -1)
    spec = crop_spec(package)
    if crop.shape != (spec.height, spec.width, spec.channels):
        return "the picture is not what the model saw"
    return crop


def _recompute(found: _Found, package: Package, point: PointRow, said: Inspected) -> None:
    """The recorded verdict is that of the recorded scores, where the policy is at hand too."""
    if said.model != package.ref or said.reason in GAUGE_REASONS:
        return  # what a gauge decided does not follow from scores
    names = package.manifest.class_names
    verdict = judge(said.scores, names, package.policy, _ood(said)).verdict
    if verdict is not point.verdict:
        raise DataError(
            f"run {point.run}, point {point.point}: recorded as {point.verdict}, but scores and"
            f" policy give {verdict}: the store or the policy is not what it was"
        )
    found.recomputed += 1


def _reproduce(found: _Found, model: Model, some: Sequence[tuple[PointRow, _Place, Frame]]) -> None:
    rows = _scores(model, [crop for _, _, crop in some])
    for (point, place, crop), (row, _) in zip(some, rows, strict=True):
        if row != place.said.scores:
            batch = np.zeros((place.size, *crop.shape), np.uint8)
            batch[place.index] = crop
            row = tuple(model.scores(batch)[place.index].tolist())
            if row != place.said.scores:
                worst = max(abs(a - b) for a, b in zip(row, place.said.scores, strict=True))
                raise DataError(
                    f"run {point.run}, point {point.point}: the kept crop does not give the old"
                    f" scores again (they differ by {worst:.3g}): package, runtime or processor is"
                    " not the one that judged it, and a comparison would mean nothing"
                )
            found.in_batch += 1
        found.reproduced += 1


def _anew(found: _Found, model: Model, some: Sequence[tuple[PointRow, _Place, Frame]]) -> None:
    spec = crop_spec(model.package)
    shape = (spec.height, spec.width, spec.channels)
    fits = [(point, place, crop) for point, place, crop in some if crop.shape == shape]
    if left := len(some) - len(fits):
        found.unjudged["the new model takes crops of another size"] += left
    rows = _scores(model, [crop for _, _, crop in fits])
    for (point, place, _), (row, ood) in zip(fits, rows, strict=True):
        _judge(found, model.package, point, place, row, ood)


def _ood(said: Inspected) -> float | None:
    return None if isinstance(said.ood, UnsetType) else said.ood


def _scores(model: Model, crops: Sequence[Frame]) -> list[tuple[tuple[float, ...], float | None]]:
    rows: list[tuple[tuple[float, ...], float | None]] = []
    for start in range(0, len(crops), SCORES_AT_ONCE):
        batch = np.stack(crops[start : start + SCORES_AT_ONCE])
        rows += [(tuple(row), ood) for row, ood in model.outputs(batch).rows()]
    return rows


def _judge(
    found: _Found,
    package: Package,
    point: PointRow,
    place: _Place,
    scores: Sequence[float],
    ood: float | None,
) -> None:
    judgement = judge(scores, package.manifest.class_names, package.policy, ood)
    key = _key(point, place)
    found.now[key][judgement.verdict.value] += 1
    if judgement.verdict is not point.verdict:
        found.changes.append((point, key, judgement.verdict, judgement.finding))


def _key(point: PointRow, place: _Place | None) -> _Key:
    share = None if place is None else place.said.inclusion
    # Only an OK point is drawn; what the station has made of it since has its own verdict.
    if isinstance(share, UnsetType) or point.verdict is not Verdict.OK:
        share = None
    return _Key(point.verdict, share)


def _result(
    found: _Found, models: Mapping[str, Model | None], new: Package, policy_only: bool
) -> Backtest:
    strata = {}
    order = list(Verdict)
    for key in sorted(found.points, key=lambda key: (order.index(key.verdict), key.share or 0)):
        judged, points = found.now[key].total(), found.points[key]
        strata[str(key)] = Stratum(
            points=points,
            judged=judged,
            inclusion=judged / points if judged else None,
            now=dict(sorted(found.now[key].items())),
            share=key.share,
            drawn=found.drawn[key],
        )
    return Backtest(
        old=tuple(sorted(name for name, model in models.items() if model is not None)),
        new_package=new.ref.package,
        new_policy=new.ref.policy,
        from_scores=policy_only,
        runs=found.runs,
        points=sum(found.points.values()),
        reproduced=found.reproduced,
        in_batch=found.in_batch,
        verdicts_recomputed=found.recomputed,
        strata=strata,
        changes=tuple(
            Change(
                run=point.run,
                part=point.part,
                view=point.view,
                point=point.point,
                was=point.verdict,
                now=now,
                finding=finding,
                weight=1 / (strata[str(key)].inclusion or 1.0),
            )
            for point, key, now, finding in found.changes
        ),
        unjudged=dict(found.unjudged),
    )


def report(result: Backtest) -> str:
    """A back-test as lines for a person."""
    lines = [
        f"{result.points} points of {result.runs} runs;"
        f" {result.reproduced} kept crops gave their old scores bit by bit"
        + (f" ({result.in_batch} of them only in a batch like theirs)" if result.in_batch else "")
        + f"; {result.verdicts_recomputed} recorded verdicts are those of their scores",
        "the same model with another policy: judged from the recorded scores, every point"
        if result.from_scores
        else "another model: judged from kept crops; those of each verdict and share stand for all"
        " points that have it",
    ]
    for name, stratum in result.strata.items():
        if not stratum.by_chance:
            lines.append(
                f"{name}: {stratum.drawn} of {stratum.points} points were drawn, which chance does"
                " not do: somebody chose, or results are missing; believe no weight below"
            )
        if stratum.inclusion is None:
            lines.append(
                f"{name}: none of {stratum.points} points could be judged anew:"
                " nothing is said of them"
            )
            continue
        weight = 1 / stratum.inclusion
        came = ", ".join(f"{verdict} {n * weight:g}" for verdict, n in stratum.now.items())
        lines.append(f"{name}: {stratum.points} points ({_kept(stratum)}), would be {came}")
    moves = Counter[tuple[str, str]]()
    weights = Counter[tuple[str, str]]()
    for change in result.changes:
        moves[change.was.value, change.now.value] += 1
        weights[change.was.value, change.now.value] += change.weight  # type: ignore[assignment]
    lines += [
        f"changes {was} to {now}: {count} points seen, {weights[was, now]:g} weighted"
        for (was, now), count in sorted(moves.items())
    ] or ["no verdict would change"]
    lines += [
        f"  part {c.part} view {c.view} point {c.point}: {c.was} to {c.now}"
        + (f" ({c.finding})" if c.finding else "")
        for c in result.changes[:SHOWN]
    ]
    if len(result.changes) > SHOWN:
        lines.append(f"  and {len(result.changes) - SHOWN} more: --json lists all")
    lines += [f"left out: {count} points: {why}" for why, count in result.unjudged.items()]
    return "\n".join(lines)


def _kept(stratum: Stratum) -> str:
    """Which of a stratum's points were judged anew, for a person."""
    if stratum.judged == stratum.points:
        return "a census"
    weight = stratum.points / stratum.judged
    said = f"{stratum.judged} judged anew, each stands for {weight:.3g}"
    if stratum.share is None:
        return f"{said}, as if the others had been lost by chance"
    if lost := stratum.drawn - stratum.judged:
        said += f", as if {lost} more that were drawn had been lost by chance"
    return f"{said}; drawn with probability {stratum.share:g}"
