"""What a model package does on labelled pictures: verdicts counted, rates with exact bounds.

It runs the package in its runtime and applies its policy, as an edge does; torch is not needed,
and training calls this too, on what it has just exported.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct

from inspection.errors import DataError, ImageError
from inspection.imaging import CropSpec, Frame, crop
from inspection.messages import Reason, Verdict
from inspection.policy import Judgement, judge
from inspection.runtimes import Model, crop_spec
from inspection.statistics import Rate, rate
from inspection.training.data import Dataset, LabelledPoint, Picture, load

BATCH = 50
"""Crops given to a model at once; scores do not depend on it beyond rounding."""


class Judged(NamedTuple):
    """One point, what is known of it and what was said of it. ``scores`` is empty where the
    picture could not be used, ``ood`` None also where the model does not say."""

    part: str
    group: str
    picture: str
    point: str
    label: str | None
    judgement: Judgement
    scores: tuple[float, ...]
    borderline: bool = False
    ood: float | None = None


class Rates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Escapes: defective points called OK. Overkill: good points that come out anything else."""

    escapes: Rate
    overkill: Rate


class Evaluation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Counts and rates. A rate over parts counts parts: points of one part are not independent.

    ``verdicts`` is true class by verdict, ``findings`` true class by the class named (empty where
    none was); ``counted_apart`` are points without a label and borderline ones, in neither rate;
    ``borderline`` are the latter, by true class and verdict. ``classes`` is for each class of
    defect how many came out OK, and for the OK class how many did not.
    ``parts_with_escape`` is of the parts that have a defective point, ``parts_released`` those of
    them of which every labelled point came out OK; ``parts_with_overkill`` is of the parts that
    have a good point, ``good_parts_held`` of the parts that have nothing but good points.
    """

    package: str
    policy: str
    parts: int
    pictures: int
    points: int
    counted_apart: int
    unreadable: int
    escapes: Rate
    overkill: Rate
    parts_with_escape: Rate
    parts_released: Rate
    parts_with_overkill: Rate
    good_parts_held: Rate
    classes: dict[str, Rate]
    borderline: dict[str, dict[str, int]]
    verdicts: dict[str, dict[str, int]]
    findings: dict[str, dict[str, int]]
    groups: dict[str, Rates]


def measure(model: Model, dataset: Dataset, parts: Collection[str]) -> Evaluation:
    """Judge all points of these parts and count. Pictures of the data set that nobody could read
    are in ``unreadable``; they have no points, because nothing tells where those would be."""
    pictures = dataset.of(parts)
    judged = list(judge_pictures(model, pictures))
    return summarise(
        judged,
        ok_class=model.package.manifest.ok_class,
        package=model.package.ref.package,
        policy=model.package.ref.policy,
        unreadable=len(dataset.unreadable),
    )


def judge_pictures(model: Model, pictures: Iterable[Picture]) -> Iterator[Judged]:
    """Every point of the pictures, in order. A picture that cannot be decoded gives
    NOT_INSPECTED for each of its points, as on a line."""
    for picture in pictures:
        place = (picture.part, picture.group, picture.path.name)
        try:
            frame = load(picture.path)
        except (ImageError, OSError) as error:
            reason = error.reason if isinstance(error, ImageError) else Reason.NO_IMAGE
            for point in picture.points:
                missed = Judgement(Verdict.NOT_INSPECTED, reason, "")
                yield Judged(*place, point.id, point.label, missed, (), point.borderline)
            continue  # each of its points has been answered for
        for point, judgement, scores, ood in _judge_frame(model, frame, picture.points):
            yield Judged(*place, point.id, point.label, judgement, scores, point.borderline, ood)


def judge_frame(
    model: Model, frame: Frame, points: Sequence[LabelledPoint]
) -> Iterator[tuple[LabelledPoint, Judgement, tuple[float, ...]]]:
    """Verdict and scores of the points of one frame."""
    for point, judgement, scores, _ in _judge_frame(model, frame, points):
        yield point, judgement, scores


def _judge_frame(
    model: Model, frame: Frame, points: Sequence[LabelledPoint]
) -> Iterator[tuple[LabelledPoint, Judgement, tuple[float, ...], float | None]]:
    package = model.package
    spec: CropSpec = crop_spec(package)
    for start in range(0, len(points), BATCH):
        some = points[start : start + BATCH]
        said = model.outputs(np.stack([crop(frame, point.region, spec) for point in some]))
        for point, (row, ood) in zip(some, said.rows(), strict=True):
            judgement = judge(row, package.manifest.class_names, package.policy, ood)
            yield point, judgement, tuple(row), ood


def summarise(
    judged: Sequence[Judged],
    *,
    ok_class: str,
    package: str = "",
    policy: str = "",
    unreadable: int = 0,
) -> Evaluation:
    """Count judged points, of one package or pooled over the folds of a cross-validation."""
    labelled = [entry for entry in judged if entry.label is not None and not entry.borderline]
    near: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for entry in judged:
        if entry.borderline:
            near[str(entry.label)][entry.judgement.verdict.value] += 1
    verdicts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    findings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    by_part: defaultdict[str, list[Judged]] = defaultdict(list)
    by_group: defaultdict[str, list[Judged]] = defaultdict(list)
    for entry in labelled:
        label = str(entry.label)
        verdicts[label][entry.judgement.verdict.value] += 1
        findings[label][entry.judgement.finding] += 1
        by_part[entry.part].append(entry)
        by_group[entry.group].append(entry)
    defective_parts = [
        points for points in by_part.values() if any(p.label != ok_class for p in points)
    ]
    apart = {entry.part for entry in judged if entry.label is None or entry.borderline}
    good_parts = [
        points
        for part, points in by_part.items()
        if part not in apart and all(p.label == ok_class for p in points)
    ]

    def escaped(entry: Judged) -> bool:
        return entry.label != ok_class and entry.judgement.verdict is Verdict.OK

    def overkilled(entry: Judged) -> bool:
        return entry.label == ok_class and entry.judgement.verdict is not Verdict.OK

    def released(points: Sequence[Judged]) -> bool:
        return all(point.judgement.verdict is Verdict.OK for point in points)

    with_good = [p for p in by_part.values() if any(e.label == ok_class for e in p)]
    total = _rates(labelled, ok_class, escaped, overkilled)
    return Evaluation(
        package=package,
        policy=policy,
        parts=len({entry.part for entry in judged}),
        pictures=len({(entry.part, entry.picture) for entry in judged}),
        points=len(judged),
        counted_apart=len(judged) - len(labelled),
        unreadable=unreadable,
        escapes=total.escapes,
        overkill=total.overkill,
        parts_with_escape=rate(
            sum(any(map(escaped, points)) for points in defective_parts), len(defective_parts)
        ),
        parts_released=rate(sum(map(released, defective_parts)), len(defective_parts)),
        parts_with_overkill=rate(
            sum(any(map(overkilled, points)) for points in with_good), len(with_good)
        ),
        good_parts_held=rate(sum(not released(points) for points in good_parts), len(good_parts)),
        classes={
            label: rate(
                sum(n for verdict, n in count.items() if (verdict == "OK") != (label == ok_class)),
                count.total(),
            )
            for label, count in sorted(verdicts.items())
        },
        borderline={label: dict(sorted(count.items())) for label, count in sorted(near.items())},
        verdicts={label: dict(sorted(count.items())) for label, count in sorted(verdicts.items())},
        findings={label: dict(sorted(count.items())) for label, count in sorted(findings.items())},
        groups={
            group: _rates(points, ok_class, escaped, overkilled)
            for group, points in sorted(by_group.items())
        },
    )


def _rates(
    points: Sequence[Judged],
    ok_class: str,
    escaped: Callable[[Judged], bool],
    overkilled: Callable[[Judged], bool],
) -> Rates:
    good = sum(entry.label == ok_class for entry in points)
    return Rates(
        escapes=rate(sum(map(escaped, points)), len(points) - good),
        overkill=rate(sum(map(overkilled, points)), good),
    )


def report(evaluation: Evaluation, ok_class: str) -> str:
    """An evaluation as lines for a person."""
    rows = [
        (
            f"{evaluation.points} points of {evaluation.pictures} pictures,"
            f" {evaluation.parts} parts; {evaluation.counted_apart} points counted apart;"
            f" {evaluation.unreadable} pictures unreadable"
        ),
        f"escapes, per point:    {evaluation.escapes}",
        f"overkill, per point:   {evaluation.overkill}",
        f"parts with an escape:  {evaluation.parts_with_escape}",
        f"... released whole:    {evaluation.parts_released}",
        f"parts with overkill:   {evaluation.parts_with_overkill}",
        f"good parts held:       {evaluation.good_parts_held}",
    ]
    width = max([len(label) for label in evaluation.verdicts] + [5])
    columns = [verdict.value for verdict in Verdict]
    rows.append(
        f"{'class':{width}}  " + "  ".join(f"{name:>13}" for name in columns) + "  wrongly called"
    )

    def counts(table: Mapping[str, Mapping[str, int]], label: str) -> str:
        return "  ".join(f"{table[label].get(name, 0):>13}" for name in columns)

    order = sorted(evaluation.verdicts, key=lambda label: (label != ok_class, label))
    rows += [
        f"{label:{width}}  {counts(evaluation.verdicts, label)}  {evaluation.classes[label]}"
        for label in order
    ]
    if evaluation.borderline:
        rows.append("borderline, in no rate: too near a limit to blame either answer")
        rows += [
            f"{label:{width}}  {counts(evaluation.borderline, label)}"
            for label in sorted(evaluation.borderline, key=lambda name: (name != ok_class, name))
        ]
    if len(evaluation.groups) > 1:
        rows += [
            f"group {group or '(none)'}: escapes {rates.escapes.errors} of"
            f" {rates.escapes.trials}, overkill {rates.overkill.errors} of {rates.overkill.trials}"
            for group, rates in evaluation.groups.items()
        ]
    return "\n".join(rows)


def write_json(path: Path, value: object) -> None:
    """Write what a command found, for other programs; raises `DataError` where that fails."""
    data = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    try:
        path.write_bytes(data)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None
