"""From good points to a package: what `inspection.training.fit.train` does with a `Normality`.

Parts with a defect are never learnt from. Where none is known, every good part is used, and the
limit has the guarantee that good parts alone can give (`normality`): the package is released as
``anomaly-only``, and a plan must permit it. Known defects are divided between validation and test,
and the thresholds are chosen on validation parts under the same promise as a classifier's
(`promise`); as long as that is not proven the stricter of the two limits holds, and the package
stays ``anomaly-only``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inspection.errors import DataError
from inspection.imaging import Frame
from inspection.training import calibrate, export
from inspection.training.architectures import Normality
from inspection.training.card import normal_card
from inspection.training.data import Dataset, Picture, Split, units_of
from inspection.training.duplicates import check_leaks
from inspection.training.evaluate import Evaluation, judge_pictures, measure, summarise
from inspection.training.normality import Guarantee, calibration_units
from inspection.training.parity import check_parity, shots
from inspection.training.promise import Choice, choose
from inspection.training.recipe import SplitRule
from inspection.training.sampling import points_of
from inspection.training.torch_setup import use_threads

if TYPE_CHECKING:
    from inspection.training.fit import Task

LEARNT_MOST = 1000
"""Good points that are learnt from at most, evenly drawn; more say nothing new of what is usual."""
NEVER = 1.0
"""A score that none reaches: without a known defect nothing is called NOK, a person must look."""
MADE_UP = 4
"""Golden pictures that are not good: negatives of good ones, which no defect looks like."""

Progress = Callable[[str], None]


class Made(NamedTuple):
    """A package that lies in its unfinished folder, and what it did."""

    split: Split
    validation: Evaluation
    test: Evaluation | None
    choice: Choice | None
    guarantee: Guarantee


def split_good(
    dataset: Dataset,
    rule: SplitRule,
    test_parts: Collection[str] | None = None,
    wanted: float = 0.01,
) -> Split:
    """Parts with a defect to validation and test, good ones to training as well; without known
    defects good ones are for training alone, and for the limit (``calibration``) where they are
    enough for what is ``wanted``. ``test_parts`` are the test whatever the rule says. Raises
    `DataError`."""
    ok = dataset.description.ok_class
    known = set(dataset.parts)
    if test_parts is not None and (unknown := sorted(set(test_parts) - known)):
        raise DataError(f"{dataset.root}: no part {unknown[0]!r} to test on")
    flawed = {
        picture.part
        for picture in dataset.pictures
        for point in picture.points
        if point.label not in (None, ok)
    }
    held = {dataset.together.get(part, part) for part in test_parts or ()}
    units = [unit for unit in units_of(dataset) if unit[0] not in held]
    order = sorted(units)
    random.Random(rule.seed).shuffle(order)  # noqa: S311  reproducible, not secret
    bad = [unit for unit in order if flawed & set(unit)]
    good = [unit for unit in order if not flawed & set(unit)]
    lots: dict[str, list[tuple[str, ...]]] = {"train": [], "validation": [], "test": []}
    share = 0.0 if test_parts is not None else rule.test
    if bad:
        tested = 0 if test_parts is not None else len(bad) // 2
        lots["test"], lots["validation"] = bad[:tested], bad[tested:]
        tested, checked = round(len(good) * share), max(1, round(len(good) * rule.validation))
        lots["test"] = lots["test"] + good[:tested]
        lots["validation"] = lots["validation"] + good[tested : tested + checked]
        good = good[tested + checked :]
    aside = calibration_units(len(good), wanted)
    lots["calibration"], lots["train"] = good[:aside], good[aside:]
    if not lots["train"]:
        raise DataError(f"{dataset.root}: no good part is left to learn from: add some")
    found = {name: tuple(sorted(p for unit in lot for p in unit)) for name, lot in lots.items()}
    test = found["test"] if test_parts is None else tuple(sorted(test_parts))
    return Split(found["train"], found["validation"], test, found["calibration"])


def _units(dataset: Dataset, pictures: Sequence[Picture]) -> list[str]:
    """The unit of each labelled point, as `points_of` lists them."""
    return [
        dataset.together.get(picture.part, picture.part)
        for picture in pictures
        for point in picture.points
        if point.label is not None and not point.borderline
    ]


def good_points(dataset: Dataset, parts: Collection[str], task: Task) -> tuple[Frame, list[str]]:
    """Crops of these parts and the unit of each."""
    pictures = [picture for picture in dataset.of(parts) if picture.points]
    units = _units(dataset, pictures)
    crops, _ = points_of(dataset, pictures, task.recipe.input)
    if len(crops) <= LEARNT_MOST:
        return crops, units
    some = np.linspace(0, len(crops) - 1, LEARNT_MOST).round().astype(int)
    return crops[some], [units[i] for i in some]


def make(
    task: Task,
    made: Path,
    test_parts: Collection[str] | None,
    progress: Progress,
    begun: float,
) -> Made:
    """Learn, set the limit, and write the package ``made``. Raises `DataError`."""
    told, description, dataset, network = (
        task.recipe,
        task.description,
        task.dataset,
        task.network,
    )
    assert isinstance(network, Normality)  # noqa: S101  who calls has asked
    use_threads(told.fit.threads)
    split = split_good(dataset, description.split, test_parts, told.thresholds.overkill)
    check_leaks(dataset, split)
    progress(
        f"{len(dataset.pictures)} pictures of {len(dataset.parts)} parts: {len(split.train)} to"
        f" learn from, {len(split.calibration)} for the limit, {len(split.validation)} to"
        f" validate, {len(split.test)} to test; {len(dataset.unreadable)} unreadable"
    )
    crops, units = good_points(dataset, split.train, task)
    held = good_points(dataset, split.calibration, task) if split.calibration else None
    network.eval()
    said = network.learn(crops, units, told.thresholds.overkill, held)
    progress(f"the limit: {said.statement}")
    for name in said.doubtful:
        progress(
            f"warning: {name} is said to be good, stands out from all others and was set aside:"
            " look at it"
        )
    seen, labels = _golden_crops(crops)
    choice, calibration = None, calibrate.Calibration(1.0, 0.0)
    checked = dataset.of(split.validation)
    if checked:
        seen, labels = points_of(dataset, checked, told.input)
        calibration = calibrate.calibrate(_logits(network, seen), labels)
    graphs = export.export_graphs(network, calibration, told.input, 2, made)
    at_limit = 1 / (1 + np.exp(-calibration.good_shift))
    limits = calibrate.Limits(round(float(at_limit), 9), NEVER)
    why = f"without defects: {said.statement}"
    if checked and told.promise is not None and (labels > 0).any():
        choice = choose(
            export.outputs(graphs.fp32, seen).scores.astype(np.float64),
            labels,
            _units(dataset, checked),
            told.costs,
            told.promise,
        )
        strict = choice.ok_min if choice.proven else max(choice.ok_min, limits.ok_min)
        limits = calibrate.Limits(strict, choice.nok_min)
        why = f"on known defects: {choice.statement}"
        progress(f"on validation parts: {choice.statement}")
    progress(f"OK from {limits.ok_min:.6f}, NOK from {limits.nok_min:.6f}, REVIEW between")
    draft = export.Draft(
        recipe=told,
        recipe_path=task.recipe_path,
        description=description,
        description_path=task.description_path,
        dataset=dataset,
        split=split,
        calibration=calibration,
        limits=limits,
        precision="float32",
        promised=why,
        guarantee=said,
        anomaly_only=choice is None or not choice.proven,
    )
    model = export.write_draft(network, draft, made, seen, labels, graphs=graphs)
    unreadable: list[str] = []
    compared = dataset.of(split.test or split.validation or split.calibration or split.train)
    parity = check_parity(
        network, calibration, told.input, made, shots(compared, unreadable), unreadable=unreadable
    )
    progress(str(parity))
    validation = measure(model, dataset, split.validation)
    test = None
    if split.test:
        test = summarise(
            list(judge_pictures(model, dataset.of(split.test))),
            ok_class=description.ok_class,
            package=model.package.ref.package,
            policy=model.package.ref.policy,
            unreadable=len(dataset.unreadable),
        )
    seconds = time.monotonic() - begun
    text = normal_card(draft, validation if checked else None, test, seconds)
    export.finish(draft, made, validation, test, seconds, parity=parity, text=text)
    return Made(split, validation, test, choice, said)


def _golden_crops(crops: Frame) -> tuple[Frame, calibrate.Labels]:
    """Good crops, and the negatives of some, which must not come out OK."""
    some = crops[np.linspace(0, len(crops) - 1, min(MADE_UP, len(crops))).astype(int)]
    labels = np.array([0] * len(crops) + [1] * len(some), np.int64)
    return np.concatenate([crops, 255 - some]), labels


def _logits(network: Normality, crops: Frame) -> calibrate.Array:
    from inspection.training.fit import logits_of

    return logits_of(network, crops)
