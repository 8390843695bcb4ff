"""A model package's report: what a quality engineer reads before signing, as one HTML file that
needs nothing beside it, and the same numbers as JSON.

::

    from inspection.training.report import write_report
    write_report(package_dir, dataset, parts, out_dir)      # report.html, report.json

Escapes and overkill come before accuracy, and no rate stands without its exact bound. The package
runs in its own runtime; torch is not needed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import cv2
import msgspec
import numpy as np

from inspection.errors import DataError, ImageError
from inspection.imaging import Frame, crop
from inspection.messages import Verdict
from inspection.package import Package, open_package
from inspection.runtimes import Model, crop_spec
from inspection.runtimes import load as load_model
from inspection.training.data import Dataset, load
from inspection.training.evaluate import Rates, judge_pictures, summarise
from inspection.training.report_contents import Provenance, Report
from inspection.training.report_numbers import (
    Array,
    CostCurve,
    Prices,
    Seen,
    auroc,
    cost_curve,
    galleries,
    operating_points,
    rates_by,
    reliability,
    usable,
)
from inspection.training.report_page import Pictures, page
from inspection.training.report_runs import (
    out_of_distribution,
    robustness,
    saliency,
    speed,
)
from inspection.version import code_version

HTML, JSON = "report.html", "report.json"
SPLIT = "split.json"
"""In a package: which parts it was trained and chosen on."""


class Stated(Protocol):
    """What can say in one sentence what it stands for: a choice of thresholds, a parity check."""

    @property
    def statement(self) -> str: ...


def write_report(
    package_dir: Path,
    dataset: Dataset,
    parts: Collection[str],
    out_dir: Path,
    *,
    choice: Stated | None = None,
    parity: Stated | None = None,
    prices: Prices | None = None,
    threads: int = 1,
    sample: int = 2000,
    seconds: float = 60.0,
    latency_seconds: float = 0.6,
    seed: int = 0,
) -> Report:
    """Judge the pictures of these parts as an edge would, and write ``report.html`` and
    ``report.json`` into ``out_dir`` (created; a report that lies there is replaced).

    ``choice`` states what was promised when the thresholds were chosen, ``parity`` how the exported
    graph compares with what was trained; without them the report says that nothing was stated.
    ``sample`` points at most are disturbed for the robustness, fewer where that would take longer
    than ``seconds``; ``latency_seconds`` is spent on each batch and number of threads, nothing is
    measured where it is 0.

    Raises `PackageError` where the package may not be trusted and `DataError` where there is
    nothing to judge, or nowhere to write to.
    """
    package = open_package(package_dir)
    model = load_model(package, threads=threads)
    pictures = dataset.of(parts)
    if not any(picture.points for picture in pictures):
        raise DataError(f"{dataset.root}: no point among {len(set(parts))} parts to report on")
    seen = [
        Seen(picture, point, judged)
        for picture in pictures
        for point, judged in zip(picture.points, judge_pictures(model, [picture]), strict=True)
    ]
    report, shown = _report(
        package,
        model,
        dataset,
        seen,
        promise="" if choice is None else choice.statement,
        parity="" if parity is None else parity.statement,
        prices=prices or Prices(),
        sample=sample,
        seconds=seconds,
        latency_seconds=latency_seconds,
        seed=seed,
    )
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        data = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
        (out_dir / JSON).write_bytes(data)
        (out_dir / HTML).write_text(page(report, shown), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{out_dir}: the report cannot be written: {error.strerror}") from None
    return report


def _report(
    package: Package,
    model: Model,
    dataset: Dataset,
    seen: Sequence[Seen],
    *,
    promise: str,
    parity: str,
    prices: Prices,
    sample: int,
    seconds: float,
    latency_seconds: float,
    seed: int,
) -> tuple[Report, Pictures]:
    manifest, policy = package.manifest, package.policy
    classes, ok = manifest.class_names, manifest.ok_class
    counted = [entry for entry in seen if entry.counted]
    scored = [entry for entry in counted if usable(entry)]
    scores = np.array([entry.judged.scores for entry in scored], np.float64)
    scores = scores.reshape(len(scored), len(classes))
    labels = [str(entry.point.label) for entry in scored]
    defective = np.array([label != ok for label in labels], bool)
    ok_scores = scores[:, classes.index(ok)]
    listed, points = galleries(seen, classes, policy)
    looks, maps = saliency(model, seen)
    spec = crop_spec(package)
    shown = Pictures(
        galleries=tuple(tuple(_crop(model, entry) for entry in entries) for entries in points),
        saliency=tuple(
            (_jpeg(picture), _jpeg(_overlay(picture, falls))) for picture, falls in maps
        ),
    )
    timed = None
    if latency_seconds > 0 and scored:
        some = [
            crop(load(entry.picture.path), entry.point.region, spec)
            for entry in scored[:: max(1, len(scored) // 64)][:64]
        ]
        timed = speed(package, np.stack(some), seconds=latency_seconds)
    description = dataset.description
    return (
        Report(
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            software=code_version(),
            model=manifest.name,
            version=manifest.version,
            classes={c.name: c.severity.value if c.severity else "good" for c in manifest.classes},
            ok_class=ok,
            ok_min=policy.ok_min,
            nok_min=policy.nok_min,
            dataset=description.name,
            data_hash=dataset.sha256,
            warnings=_warnings(package, dataset, seen),
            promise=promise,
            parity=parity,
            evaluation=summarise(
                [entry.judged for entry in seen],
                ok_class=ok,
                package=package.ref.package,
                policy=package.ref.policy,
                unreadable=len(dataset.unreadable),
            ),
            accuracy=(
                float(
                    np.mean(
                        [classes[k] == n for k, n in zip(scores.argmax(1), labels, strict=True)]
                    )
                )
                if scored
                else None
            ),
            without_scores=len(counted) - len(scored),
            auroc=auroc(-ok_scores, defective, [entry.picture.part for entry in scored], seed),
            operating_points=operating_points(ok_scores, defective),
            by=_by(package, seen),
            costs=_costs(package, counted, prices),
            reliability=reliability(scores, labels, classes, ok),
            galleries=listed,
            saliency=looks if looks.pictures else None,
            robustness=(
                robustness(model, seen, size=sample, seconds=seconds, seed=seed)
                if sample > 0
                else None
            ),
            out_of_distribution=out_of_distribution(model, seen, seed=seed),
            speed=timed,
            provenance=_provenance(package, dataset),
        ),
        shown,
    )


def _by(package: Package, seen: Sequence[Seen]) -> dict[str, dict[str, Rates]]:
    """Escapes and overkill by whatever the data set knows of a point beside its class: the group
    (a camera, a lot, a sheet), and kind and camera where its layout gives them."""
    ok = package.manifest.ok_class
    facets = {
        "group": [entry.picture.group for entry in seen],
        "kind": [str(getattr(entry.point, "kind", "") or "") for entry in seen],
        "camera": [str(getattr(entry.picture, "camera", "") or "") for entry in seen],
    }
    found = {
        name: rates_by(seen, ok, values) for name, values in facets.items() if set(values) - {""}
    }
    severities = [
        severity.value if (severity := package.manifest.severity_of(str(entry.point.label))) else ok
        for entry in seen
    ]
    return {"severity": rates_by(seen, ok, severities), **found}


def _costs(package: Package, counted: Sequence[Seen], prices: Prices) -> CostCurve | None:
    manifest = package.manifest
    classes, ok = manifest.class_names, manifest.ok_class
    nothing = (0.0,) * len(classes)
    return cost_curve(
        np.array([e.judged.scores if usable(e) else nothing for e in counted], np.float64).reshape(
            len(counted), len(classes)
        ),
        np.array([usable(entry) for entry in counted], bool),
        np.array([entry.point.label != ok for entry in counted], bool),
        classes,
        package.policy,
        prices,
    )


def _warnings(package: Package, dataset: Dataset, seen: Sequence[Seen]) -> tuple[str, ...]:
    """What must stand on page one: whatever makes the numbers say less than they seem to."""
    manifest = package.manifest
    said = list(dataset.warnings)
    judged_parts = {entry.picture.part for entry in seen}
    if SPLIT in package.content:
        split = msgspec.json.decode(package.content[SPLIT], type=dict[str, list[str]])
        known = {*split.get("train", ()), *split.get("validation", ())} & judged_parts
        if known:
            said.append(
                f"{len(known)} of {len(judged_parts)} parts were used to train or choose this"
                " model: these numbers are no test"
            )
    else:
        said.append("the package does not say which parts it was trained on: see that none is here")
    unknown = sorted({str(e.point.label) for e in seen if e.counted} - set(manifest.class_names))
    if unknown:
        said.append(f"classes the model does not know, counted as defective: {', '.join(unknown)}")
    counted = {str(entry.point.label) for entry in seen if entry.counted}
    missing = [name for name in manifest.class_names if name not in counted]
    if missing:
        said.append(f"classes of the model without a single test point: {', '.join(missing)}")
    if dataset.unreadable:
        names = ", ".join(entry.path.name for entry in dataset.unreadable[:5])
        said.append(f"{len(dataset.unreadable)} pictures could not be read: {names}")
    blind = sum(e.judged.judgement.verdict is Verdict.NOT_INSPECTED for e in seen)
    if blind:
        said.append(f"{blind} points came out NOT_INSPECTED")
    return tuple(said)


def _provenance(package: Package, dataset: Dataset) -> Provenance:
    manifest, policy, description = package.manifest, package.policy, dataset.description
    return Provenance(
        created=manifest.created,
        code_version=manifest.code_version,
        recipe_hash=manifest.recipe_hash,
        trained_on=manifest.data_hash,
        imaging_version=manifest.imaging_version,
        licences=manifest.licences,
        verified_on=tuple(
            f"{entry.provider} on {entry.architecture}, within {entry.tolerance:g}"
            for entry in manifest.verified_on
        ),
        policy_version=policy.version,
        policy_author=policy.author,
        policy_created=policy.created,
        policy_why=policy.why,
        data_source=description.source,
        data_licence=description.licence,
        data_notes=description.notes,
        files=dict(manifest.files),
    )


def _crop(model: Model, entry: Seen) -> bytes | None:
    """A JPEG of what the model saw, or None where there was nothing to see."""
    try:
        frame = load(entry.picture.path)
    except (ImageError, OSError):
        return None  # the page says so in its place
    return _jpeg(crop(frame, entry.point.region, crop_spec(model.package)))


def _jpeg(picture: Frame) -> bytes:
    pixels = picture if picture.shape[2] == 1 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not done:
        raise DataError(f"a crop of shape {picture.shape} cannot be encoded")
    return data.tobytes()


def _overlay(picture: Frame, falls: Array) -> Frame:
    """The crop in grey, warm where covering it takes away the finding, with a line around what
    counts for at least half of the most: readable without colour too."""
    grey = picture if picture.shape[2] == 1 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    base = np.repeat(grey.reshape(*picture.shape[:2], 1), 3, axis=2).astype(np.float64)
    most = max(float(falls.max()), 1e-9)
    strength = (np.clip(falls, 0, None) / most)[:, :, np.newaxis] ** 1.5
    mixed = base * (1 - 0.6 * strength) + np.array([255.0, 120.0, 0.0]) * 0.6 * strength
    drawn = np.clip(mixed, 0, 255).astype(np.uint8)
    outlines, _ = cv2.findContours(
        (falls >= most / 2).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    scale = max(1, round(min(drawn.shape[:2]) / 128))
    cv2.drawContours(drawn, outlines, -1, (0, 0, 0), 2 * scale)
    cv2.drawContours(drawn, outlines, -1, (255, 255, 255), scale)
    return np.ascontiguousarray(drawn)
