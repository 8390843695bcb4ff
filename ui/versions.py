"""The model packages at hand, each with what it states of itself, and two of them side by side.
No Streamlit here.

Rates are computed here from the counts in a manifest, as a gate does it: bounds that a package
states of itself are not believed. A count was measured with one policy; under another it says
nothing, and is then not shown as if it did.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from inspection import gate
from inspection.errors import DataError, PackageError, RegistryError
from inspection.package import CARD, GOLDEN_OF, POLICY, Manifest, read_manifest
from inspection.policy import Policy, read_policy
from inspection.registry import LOG, LogEntry, Registry, pointer_of, versions
from inspection.statistics import Rate, rate

MOST_CARD = 60_000
"""Characters of a model's card."""

Group = Literal["figures", "classes", "int8", "thresholds", "size", "provenance"]


@dataclass(frozen=True, slots=True)
class Version:
    """A package as it lies in its folder. ``policy`` is None where none lies beside it, ``added``
    where no registry tells how it came; ``releases`` are those of it that took place."""

    folder: Path
    version: str
    """In the registry; elsewhere its own."""
    package: str
    manifest: Manifest
    policy: Policy | None
    policy_hash: str
    graph_bytes: Mapping[str, int]
    card: str
    added: LogEntry | None = None
    releases: tuple[LogEntry, ...] = ()
    current: bool = False

    @property
    def key(self) -> str:
        """What a page's address names it by."""
        return f"{self.manifest.name}@{self.version}"

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.class_names

    @property
    def measured_with_this_policy(self) -> bool:
        """Whether the manifest's figures are of this policy: they are of the one that was fitted
        when the package was made, its first."""
        changed = self.added is not None and self.added.action == "policy"
        return self.policy is not None and self.policy.version == 1 and not changed


@dataclass(frozen=True, slots=True)
class Measured:
    """What was counted on test parts, with exact bounds; empty where nothing was. ``why`` names
    what is wrong with the counts, where they cannot be."""

    rates: Mapping[str, Rate] = field(default_factory=dict)
    classes: Mapping[str, Rate] = field(default_factory=dict)
    int8: Mapping[str, Rate] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a comparison. ``of`` is a rate's, class's or file's name; a cell is a rate, a text,
    or None where the version does not state it."""

    group: Group
    what: str
    of: str
    a: Rate | str | None
    b: Rate | str | None

    @property
    def differs(self) -> bool:
        """Of rates: whether their intervals have no value in common."""
        if isinstance(self.a, Rate) and isinstance(self.b, Rate):
            return lower_of(self.a, self.b) is not None
        return self.a != self.b


def at_hand(places: Iterable[Path]) -> tuple[list[Version], list[str]]:
    """All versions in folders of packages and registries, and what is wrong with those that cannot
    be read."""
    found: dict[str, Version] = {}
    wrong: list[str] = []
    for place in places:
        root = pointer_of(place).parent
        folders = versions(root)
        log: list[LogEntry] = []
        current = ""
        if folders and (root / LOG).is_file():
            registry = Registry(root.parent)
            try:
                log = registry.log(root.name)
                pointer = registry.current(root.name)
                current = "" if pointer is None else pointer.version
            except RegistryError as error:
                wrong.append(str(error))
                log = []
        for folder in folders or [place]:
            try:
                each = _version(folder, log, current, in_registry=bool(log))
            except PackageError as error:
                wrong.append(str(error))
                continue
            found.setdefault(each.key, each)
    return list(found.values()), wrong


def _version(folder: Path, log: Sequence[LogEntry], current: str, *, in_registry: bool) -> Version:
    manifest, package = read_manifest(folder)
    policy, policy_hash = None, ""
    if (folder / POLICY).exists():
        policy, policy_hash = read_policy(folder / POLICY)
    sizes = {}
    for name in GOLDEN_OF:
        if name in manifest.files:
            with contextlib.suppress(OSError):
                sizes[name] = (folder / name).stat().st_size
    try:
        card = (folder / CARD).read_text("utf-8", "replace")[:MOST_CARD]
    except OSError:
        card = ""
    version = folder.name if in_registry else manifest.version
    of_it = [entry for entry in log if entry.version == version]
    releases: list[LogEntry] = []
    for entry in of_it:
        if entry.action in ("promote", "rollback"):
            releases.append(entry)
        elif entry.action == "unfinished" and releases:
            releases.pop()
    return Version(
        folder=folder,
        version=version,
        package=package,
        manifest=manifest,
        policy=policy,
        policy_hash=policy_hash,
        graph_bytes=sizes,
        card=card,
        added=next((entry for entry in of_it if entry.action in ("add", "policy")), None),
        releases=tuple(releases),
        current=version == current,
    )


def measured(version: Version) -> Measured:
    """What the manifest counts on test parts, of the policy it was measured with."""
    test = version.manifest.metrics.get("test")
    parity = version.manifest.metrics.get("parity")
    eight = parity.get("int8") if isinstance(parity, dict) else None
    try:
        counted, by_class = gate.counts(test if isinstance(test, dict) else None)
        eight_bit, _ = gate.counts(eight if isinstance(eight, dict) else None)
    except DataError as error:
        return Measured(why=str(error))
    return Measured(_rates(counted), _rates(by_class), _rates(eight_bit))


def _rates(counts: Mapping[str, gate.Count]) -> dict[str, Rate]:
    return {name: rate(each.errors, each.trials) for name, each in counts.items()}


def lower_of(a: Rate, b: Rate) -> Literal["a", "b"] | None:
    """Which of two rates is shown to be lower: its 95 % interval ends where the other's has not
    begun. None where that is not shown, which does not say that they are equal."""
    if a.upper < b.lower:
        return "a"
    return "b" if b.upper < a.lower else None


def side_by_side(a: Version, b: Version) -> list[Row]:
    """Everything two versions state of themselves, in one order."""
    told = [measured(each) if each.measured_with_this_policy else Measured() for each in (a, b)]
    texts = [_texts(each) for each in (a, b)]
    by_group: tuple[tuple[Group, str, list[Mapping[str, Rate]]], ...] = (
        ("figures", "rate", [each.rates for each in told]),
        ("classes", "class", [each.classes for each in told]),
        ("int8", "rate", [each.int8 for each in told]),
    )
    rows = [
        Row(group, what, name, left.get(name), right.get(name))
        for group, what, (left, right) in by_group
        for name in dict.fromkeys([*left, *right])
    ]
    rows += [
        Row(*key, texts[0].get(key), texts[1].get(key))
        for key in dict.fromkeys([*texts[0], *texts[1]])
    ]
    order = ("figures", "classes", "int8", "thresholds", "size", "provenance")
    return sorted(rows, key=lambda row: order.index(row.group))


def _texts(version: Version) -> dict[tuple[Group, str, str], str]:
    found: dict[tuple[Group, str, str], str] = {}
    if (policy := version.policy) is not None:
        found["thresholds", "ok_min", ""] = f"{policy.ok_min:.4f}"
        for name, at in policy.nok_min.items():
            found["thresholds", "nok_min", name] = f"{at:.4f}"
        found["thresholds", "ood_max", ""] = (
            "–" if policy.ood_max is None else f"{policy.ood_max:.4g}"
        )
        found["thresholds", "policy.version", ""] = str(policy.version)
        found["thresholds", "policy.why", ""] = policy.why or "–"
        found["thresholds", "policy.author", ""] = f"{policy.author} {policy.created}".strip()
    manifest = version.manifest
    for name, size in version.graph_bytes.items():
        found["size", "graph", name] = f"{size / 1e6:.2f} MB"
    shape = manifest.input
    found["size", "input", ""] = (
        f"{shape.width} x {shape.height} x {shape.channels} px, margin {shape.margin:.0%}"
    )
    for graph in dict.fromkeys(each.graph for each in manifest.verified_on):
        found["size", "verified", graph] = "; ".join(
            " ".join(filter(None, (each.provider, each.architecture, each.instruction_set)))
            for each in manifest.verified_on
            if each.graph == graph
        )
    for what, text in (
        ("package", version.package[:12]),
        ("policy", version.policy_hash[:12] or "–"),
        ("data", manifest.data_hash[:12]),
        ("recipe", manifest.recipe_hash[:12]),
        ("code", manifest.code_version),
        ("created", manifest.created or "–"),
        ("imaging", manifest.imaging_version),
    ):
        found["provenance", what, ""] = text
    for of, text in manifest.licences.items():
        found["provenance", "licence", of] = text
    if version.added is not None:
        found["provenance", "added", ""] = _said(version.added)
    if version.releases:
        found["provenance", "released", ""] = _said(version.releases[-1])
    return found


def _said(entry: LogEntry) -> str:
    return f"{entry.when}, {entry.author}: {entry.why}"


def percent(value: float, *, up: bool = False, sign: str = ".") -> str:
    """A fraction in percent to two decimals; a bound errs to the safe side: an upper one is rounded
    up, all else down."""
    scaled = value * 10_000
    # What binary fractions add to a value that has two decimals is no reason to round it on.
    near = round(scaled)
    whole = near if abs(scaled - near) < 1e-6 else (math.ceil if up else math.floor)(scaled)
    return f"{whole // 100}{sign}{whole % 100:02d} %"
