"""What stands in a report: the structs behind ``report.json`` and its page."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from inspection.training.evaluate import Evaluation, Rates
from inspection.training.report_numbers import (
    Auroc,
    CostCurve,
    Gallery,
    OperatingPoint,
    Reliability,
)
from inspection.training.report_runs import OutOfDistribution, Robustness, Saliency, Speed


class Provenance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where model and data come from, and under what licences."""

    created: str
    code_version: str
    recipe_hash: str
    trained_on: str
    imaging_version: str
    licences: dict[str, str]
    verified_on: tuple[str, ...]
    policy_version: int
    policy_author: str
    policy_created: str
    policy_why: str
    data_source: str
    data_licence: str
    data_notes: str
    files: dict[str, str]


class Report(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``report.json``. Rates are fractions; ``docs/report.md`` says what each field means."""

    format: Literal[1] = 1
    made: str
    software: str
    model: str
    version: str
    classes: dict[str, str]
    ok_class: str
    ok_min: float
    nok_min: dict[str, float]
    dataset: str
    data_hash: str
    warnings: tuple[str, ...]
    promise: str
    parity: str
    evaluation: Evaluation
    accuracy: float | None
    without_scores: int
    auroc: Auroc
    operating_points: tuple[OperatingPoint, ...]
    by: dict[str, dict[str, Rates]]
    costs: CostCurve | None
    reliability: Reliability
    galleries: tuple[Gallery, ...]
    saliency: Saliency | None
    robustness: Robustness | None
    out_of_distribution: OutOfDistribution | None
    speed: Speed | None
    provenance: Provenance
