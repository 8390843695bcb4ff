"""The card of a model: what it saw, how it did, what it cannot see. Written by training, from
what was counted; nobody has to remember to be honest."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from inspection.training.calibrate import Calibration, Limits
from inspection.training.data import Dataset, Split, count_labels
from inspection.training.evaluate import Evaluation
from inspection.training.recipe import Recipe

if TYPE_CHECKING:
    from inspection.training.export import Draft  # which writes cards

LISTED = 60
"""Parts that are named one by one."""


def card(
    recipe: Recipe,
    dataset: Dataset,
    split: Split,
    calibration: Calibration,
    limits: Limits,
    validation: Evaluation,
    test: Evaluation | None,
    *,
    weights: str,
    precision: str,
    seconds: float,
    promised: str = "",
    novelty: bool = False,
) -> str:
    """Markdown. ``promised`` is what was promised of the thresholds on validation parts,
    ``novelty`` whether the package says how unusual a point is."""
    description = dataset.description
    sections = [
        f"# {recipe.name} {recipe.version}",
        "A classifier of crops: "
        + ", ".join(
            f"{entry.name} ({entry.severity.value})" if entry.severity else f"{entry.name} (good)"
            for entry in description.classes
        )
        + ".",
        (
            "**OK means that nothing visible is wrong in the picture of this point.** It says"
            " nothing of what a camera does not show, nor of defects unlike those listed here."
        ),
        "## What it saw",
        (
            f"Data set {description.name} ({description.source}; licence {description.licence}),"
            f" SHA-256 `{dataset.sha256}`."
        ),
        *([description.notes] if description.notes else []),
        _counts(dataset, split),
        "No part is in two of these. Pictures that could not be used: "
        + (
            "none."
            if not dataset.unreadable
            else f"{len(dataset.unreadable)}.\n\n"
            + "\n".join(
                f"- `{entry.path.relative_to(dataset.root).as_posix()}`: {entry.why}"
                for entry in dataset.unreadable
            )
        ),
        *(f"Warning: {warning}." for warning in dataset.warnings),
        _how(recipe, weights, precision, seconds),
        (
            f"Input: {recipe.input.width} x {recipe.input.height} pixels,"
            f" {'grey' if recipe.input.channels == 1 else 'colour'}, of the point with"
            f" {recipe.input.margin:.0%} of its size as margin on each side. No reference picture"
            " is used when judging."
        ),
        "## How it did",
        (
            "Escapes are defective points called OK; overkill is good points that come out NOK,"
            " REVIEW or NOT_INSPECTED. Bounds are exact (Clopper-Pearson) and take points as"
            " independent; rates over parts do not need that."
        ),
        *(
            ["### Test parts, looked at once", _table(test)]
            if test is not None
            else ["No part was left for a test: what follows is optimistic."]
        ),
        "### Validation parts, on which calibration and thresholds were chosen",
        _table(validation),
        (
            f"Temperature {calibration.temperature:.4f}, shift towards good"
            f" {calibration.good_shift:+.4f}; OK from {limits.ok_min:.6f}, NOK from"
            f" {limits.nok_min:.6f}, REVIEW between."
        ),
        *([f"On validation parts: {promised}"] if promised else []),
        "## What it does not see",
        (
            "Parts of other designs, other cameras, lamps and magnifications than in the data above"
            " are unknown to it, "
            + (
                "and it sends a point to a person only where it looks much more unusual than good"
                " ones do"
                if novelty
                else "and it does not notice that they are"
            )
            + ". Its rates hold for pictures like those of the test parts and for nothing else."
        ),
        f"Test parts: {_listed(split.test)}.",
        f"Validation parts: {_listed(split.validation)}.",
    ]
    return "\n\n".join(sections) + "\n"


def normal_card(
    draft: Draft, validation: Evaluation | None, test: Evaluation | None, seconds: float
) -> str:
    """Of a model of good points, which says what it may be believed on instead of a promise;
    ``validation`` is None where no defect is known."""
    recipe, dataset, split = draft.recipe, draft.dataset, draft.split
    description, said = dataset.description, draft.guarantee
    assert said is not None  # noqa: S101  of such a model there is one
    released = "**Released as `anomaly-only`**: " if draft.anomaly_only else ""
    sections = [
        f"# {recipe.name} {recipe.version}",
        (
            f"A model of good points (`{recipe.architecture}`): it says how unlike them a point is."
            " It names no kind of defect."
        ),
        (
            f"{released}no defect has shown what its limit lets pass. It judges only where a plan"
            " permits that for a kind of point, and what is unusual goes to a person, never to NOK."
            if validation is None
            else f"{released}{draft.promised}"
        ),
        (
            "**OK means that nothing visible is unusual in the picture of this point.** Of what a"
            " camera does not show it says nothing."
        ),
        "## What it saw",
        (
            f"Data set {description.name} ({description.source}; licence {description.licence}),"
            f" SHA-256 `{dataset.sha256}`."
        ),
        *([description.notes] if description.notes else []),
        _counts(dataset, split),
        *(f"Warning: {warning}." for warning in dataset.warnings),
        *(
            f"Unreadable: `{entry.path.relative_to(dataset.root).as_posix()}`: {entry.why}"
            for entry in dataset.unreadable
        ),
        (
            f"Input: {recipe.input.width} x {recipe.input.height} pixels, with"
            f" {recipe.input.margin:.0%} of the point's size as margin. Learnt in one pass, in"
            f" {seconds:.0f} s."
        ),
        "## What may be said of its limit",
        f"By good points alone: {said.statement}.",
        (
            "This holds for parts like those it saw (exchangeable with them) and for false alarms."
            " What share of defects it finds nobody can say who has not shown it any."
        ),
        *(
            [
                "These are said to be good, stand out from all others and were set aside: "
                + ", ".join(said.doubtful)
                + "."
            ]
            if said.doubtful
            else []
        ),
        *(["## Test parts, looked at once", _table(test)] if test is not None else []),
        *(
            ["## Validation parts, on which thresholds were chosen", _table(validation)]
            if validation is not None
            else []
        ),
        f"OK from {draft.limits.ok_min:.6f}, NOK from {draft.limits.nok_min:.6f}, REVIEW between.",
        f"Test parts: {_listed(split.test)}.",
    ]
    return "\n\n".join(sections) + "\n"


def _listed(parts: Sequence[str]) -> str:
    """All of them, or where they are too many to read, how many from which to which."""
    if len(parts) > LISTED:
        return f"{len(parts)}, from {parts[0]} to {parts[-1]}"
    return ", ".join(parts) or "none"


def _counts(dataset: Dataset, split: Split) -> str:
    names = [*dataset.description.class_names, None]
    rows = [
        "| split | parts | pictures | " + " | ".join(n or "counted apart" for n in names) + " |",
        "|---" * (3 + len(names)) + "|",
    ]
    for title, parts in split._asdict().items():
        pictures = dataset.of(parts)
        counts = count_labels(pictures)
        cells = " | ".join(str(counts[name]) for name in names)
        rows.append(f"| {title} | {len(parts)} | {len(pictures)} | {cells} |")
    groups = sorted({picture.group for picture in dataset.pictures} - {""})
    more = f"\n\nGroups: {', '.join(groups)}." if groups else ""
    return "\n".join(rows) + more


def _how(recipe: Recipe, weights: str, precision: str, seconds: float) -> str:
    said = [
        f"Architecture `{recipe.architecture}`, "
        + (f"starting from {weights}." if weights else "trained from nothing but this data."),
        (
            f"{_length(recipe)} of {recipe.fit.batch} crops in {precision}, seed"
            f" {recipe.seed}; {seconds:.0f} s in all."
        ),
    ]
    if recipe.sampling.kind == "windows":
        said.append(
            "In training, points lie at random positions of the pictures; defect-free reference"
            " pictures of training parts are used as good examples."
        )
    if recipe.synthesis is not None:
        said.append(
            f"**Synthetic defects were used in training**: {recipe.synthesis.frames} pictures of"
            f" training parts with up to {recipe.synthesis.defects} drawn defects each, some in the"
            " outline of real training defects; also drawn lettering and varied designs without"
            " defect. None is in validation or test."
        )
    return " ".join(said)


def _length(recipe: Recipe) -> str:
    if recipe.fit.steps is not None:
        return f"{recipe.fit.steps} steps"
    return f"{recipe.fit.epochs:g} epochs in batches"


def _table(evaluation: Evaluation) -> str:
    verdicts: Collection[str] = ("OK", "NOK", "REVIEW", "NOT_INSPECTED")
    rows = [
        f"- escapes per point: {evaluation.escapes}",
        f"- overkill per point: {evaluation.overkill}",
        f"- parts with an escape: {evaluation.parts_with_escape}",
        f"- defective parts released whole: {evaluation.parts_released}",
        f"- parts with overkill: {evaluation.parts_with_overkill}",
        f"- parts without any defect that were held: {evaluation.good_parts_held}",
        "",
        "| true class | " + " | ".join(verdicts) + " | wrongly called | class named |",
        "|---" * (3 + len(verdicts)) + "|",
    ]
    for label, counts in evaluation.verdicts.items():
        cells = " | ".join(str(counts.get(verdict, 0)) for verdict in verdicts)
        named = ", ".join(
            f"{finding or 'none'} {count}"
            for finding, count in sorted(
                evaluation.findings[label].items(), key=lambda item: -item[1]
            )
        )
        rows.append(f"| {label} | {cells} | {evaluation.classes[label]} | {named} |")
    if evaluation.borderline:
        rows += [
            "",
            "Borderline, in none of these rates: too near a limit to blame either answer.",
            "",
            "| true class | " + " | ".join(verdicts) + " |",
            "|---" * (1 + len(verdicts)) + "|",
            *(
                f"| {label} | " + " | ".join(str(counts.get(v, 0)) for v in verdicts) + " |"
                for label, counts in evaluation.borderline.items()
            ),
        ]
    return "\n".join(rows)
