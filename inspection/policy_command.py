"""``inspection policy show|set|what-if``: the thresholds of a package, changed without training.

A policy is never overwritten. Every version, the one in force included, lies with its very bytes in
a folder beside the package, because a package may hold nothing that its manifest does not list::

    models/spot-weld/1/              the package; policy.json in it is the version in force
    models/spot-weld/1.policies/     000001.json, 000002.json ...: who, when and why is in each

``set`` first writes the new version there and then replaces ``policy.json`` in one step, so that a
package is at no moment without a whole policy. If it dies in between, the number is used up and the
old version stays in force. Two people at once come one after the other; ``--if-version`` makes the
second one's change fail instead of resting on thresholds he has not seen.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
from msgspec import Struct

from inspection.clock import Clock, SystemClock
from inspection.durable import sync_folder
from inspection.errors import ConfigurationError, DataError, PackageError
from inspection.messages import Verdict
from inspection.package import POLICY, Package, open_package, released
from inspection.policy import Policy, check_policy, encode_policy, judge, read_policy

if TYPE_CHECKING:
    from inspection.training.calibrate import Array, Labels
    from inspection.training.evaluate import Evaluation, Judged
    from inspection.training.promise import Choice, Costs, Proof

LOCK = "lock"
LONGEST = 500


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="show the policy in force and the versions before it")
    change = actions.add_parser(
        "set", help="put a new version in force: other thresholds, the same model"
    )
    what_if = actions.add_parser(
        "what-if", help="what other thresholds, or other costs, would do; changes nothing"
    )
    for action in (show, change, what_if):
        action.add_argument(
            "package", type=Path, help="folder of a model package, or the one its versions lie in"
        )
    change.add_argument("--author", required=True, metavar="NAME", help="who decided it")
    change.add_argument("--why", required=True, metavar="TEXT", help="and for which reason")
    change.add_argument(
        "--if-version", type=int, metavar="N", help="only if version N is the one in force"
    )
    for action in (change, what_if):
        action.add_argument("--ok-min", metavar="X", help="OK from this score of the OK class")
        action.add_argument(
            "--nok-min",
            action="append",
            default=[],
            metavar="CLASS=X",
            help="NOK from this score of a defect class; once for each class to change",
        )
        action.add_argument("--data", type=Path, help="labelled pictures to count before and after")
        action.add_argument(
            "--dataset",
            type=Path,
            metavar="TOML",
            help="description of the data (default: the one the package was trained by)",
        )
        action.add_argument(
            "--all-parts",
            action="store_true",
            help="also those the package was trained or chosen on; the counts are then no test",
        )
        action.add_argument("--points-per-shift", type=int, metavar="N")
        action.add_argument("--review-minutes", type=float, metavar="X", help="per point, default")
        action.add_argument(
            "--prevalence",
            type=float,
            metavar="X",
            help="share of defective points in production (default: that in the data)",
        )
        action.add_argument("--json", type=Path, metavar="FILE", help="write the comparison here")
    what_if.add_argument("--cost-miss", type=float, metavar="X", help="of a defect called OK")
    what_if.add_argument("--cost-false-alarm", type=float, metavar="X", help="of a good one NOK")
    what_if.add_argument("--cost-review", type=float, metavar="X", help="of a point looked at")
    what_if.add_argument(
        "--limit", type=float, metavar="X", help="escape rate to promise, as in 0.01 for 1 %%"
    )
    what_if.add_argument("--confidence", type=float, metavar="X", help="of the promise")
    what_if.add_argument(
        "--trial-a-part",
        action="store_true",
        help="count each part with a defect as one trial: assumes that parts with many defects are"
        " no worse than others",
    )


def run(arguments: argparse.Namespace) -> int:
    """Do it. Raises `PackageError`, `ConfigurationError` or `DataError`."""
    folder = released(arguments.package)
    package = open_package(folder)
    if arguments.action == "show":
        print(shown(package))
        return 0
    if arguments.action == "set":
        return _set(package, arguments, SystemClock())
    return _what_if(package, arguments)


# ---------------------------------------------------------------- versions


class Version(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy and the SHA-256 of its bytes."""

    policy: Policy
    sha256: str


def history_folder(package: Path) -> Path:
    """Where all versions of a package's policy are kept."""
    whole = package.resolve()
    return whole.with_name(f"{whole.name}.policies")


def history(package: Path) -> list[Version]:
    """All versions that were written with `replace_policy`, and those they replaced, ascending.
    Raises `PackageError` where one is damaged."""
    found = []
    for path in _version_files(history_folder(package)):
        policy, digest = read_policy(path)
        if _file_of(policy.version) != path.name:
            raise PackageError(f"{path}: holds version {policy.version}: restore the right file")
        found.append(Version(policy=policy, sha256=digest))
    return sorted(found, key=lambda version: version.policy.version)


def amended(
    policy: Policy,
    *,
    ok_min: float | None = None,
    nok_min: Mapping[str, float] | None = None,
) -> Policy:
    """The policy with these thresholds in place of its own; version and author are still the old.

    Raises `ConfigurationError` for a score outside 0 to 1 (NaN is), for a class that the model has
    not, and where nothing would change.
    """
    wanted = {} if nok_min is None else dict(nok_min)
    if unknown := sorted(set(wanted) - set(policy.nok_min)):
        raise ConfigurationError(
            f"--nok-min: {unknown[0]!r} is no defect class of this model, which has"
            f" {', '.join(sorted(policy.nok_min))}"
        )
    scores = {**wanted} if ok_min is None else {**wanted, policy.ok_class: ok_min}
    for name, score in scores.items():
        if not 0.0 <= score <= 1.0:
            raise ConfigurationError(f"{name}: a threshold lies between 0 and 1, not at {score}")
    new = msgspec.structs.replace(
        policy,
        ok_min=policy.ok_min if ok_min is None else float(ok_min),
        nok_min={**policy.nok_min, **{name: float(score) for name, score in wanted.items()}},
    )
    if new == policy:
        raise ConfigurationError(
            f"version {policy.version} has these thresholds: give others with --ok-min or --nok-min"
        )
    return new


def replace_policy(
    package: Path,
    *,
    author: str,
    why: str,
    clock: Clock,
    ok_min: float | None = None,
    nok_min: Mapping[str, float] | None = None,
    if_version: int | None = None,
) -> tuple[Version, Version]:
    """Put a new version in force; returns the one before and the new one. Durable on return.

    The package is opened and checked first: a damaged one, or one with the policy of another, gets
    no new thresholds. Raises `PackageError` for that and where the folders cannot be written,
    `ConfigurationError` as `amended` does, where author or reason are missing, and where another
    version than ``if_version`` is in force.
    """
    author, why = _said("--author", author), _said("--why", why)
    kept = history_folder(package)
    try:
        with _locked(kept):
            opened = open_package(package)
            before = Version(policy=opened.policy, sha256=opened.ref.policy)
            if if_version not in (None, before.policy.version):
                raise ConfigurationError(
                    f"{package}: version {before.policy.version} is in force, not {if_version}:"
                    f" {before.policy.author} changed it, {before.policy.why!r}; look at it first"
                )
            new = msgspec.structs.replace(
                amended(before.policy, ok_min=ok_min, nok_min=nok_min),
                version=max([before.policy.version, *_versions(kept)]) + 1,
                author=author,
                why=why,
                created=_written(clock),
            )
            raw = encode_policy(new)
            try:
                # What is written is what will be read; the types of a struct bind only there.
                check_policy(
                    msgspec.json.decode(raw, type=Policy),
                    opened.manifest.class_names,
                    opened.ref.package,
                )
            except msgspec.ValidationError as error:
                raise ConfigurationError(f"{package}: no such policy can be: {error}") from None
            in_force = (package / POLICY).read_bytes()
            if hashlib.sha256(in_force).hexdigest() != before.sha256:
                raise PackageError(f"{package / POLICY}: changed while it was read: try again")
            _keep(kept, before.policy.version, in_force)
            _keep(kept, new.version, raw)
            # The new file is made beside the package: what dies half written is then not in it.
            draft = kept / f".{new.version}.{os.getpid()}.new"
            try:
                _write(draft, raw)
                draft.replace(package / POLICY)
            finally:
                draft.unlink(missing_ok=True)
            sync_folder(package)
    except OSError as error:
        place = error.filename or package
        raise PackageError(f"{place}: cannot be written: {error.strerror}") from None
    return before, Version(policy=new, sha256=hashlib.sha256(raw).hexdigest())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the only right to write here; the kernel gives it back if the process dies."""
    folder.mkdir(exist_ok=True)
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _keep(folder: Path, version: int, raw: bytes) -> None:
    """Write a version to the history, unless it is there already with these very bytes."""
    path = folder / _file_of(version)
    if path.exists():
        if path.read_bytes() != raw:
            raise PackageError(
                f"{path}: another version {version} than that of the package, whose policy was"
                f" changed by other means: find out by whom, then move {path.parent} away"
            )
        return
    draft = folder / f".{version}.{os.getpid()}.kept"
    _write(draft, raw)
    draft.replace(path)
    sync_folder(folder)


def _write(path: Path, raw: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(handle, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _file_of(version: int) -> str:
    return f"{version:06d}.json"


def _version_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.glob("*.json")) if path.stem.isdecimal()]


def _versions(folder: Path) -> list[int]:
    return [int(path.stem) for path in _version_files(folder)]


def _said(option: str, text: str) -> str:
    """One line that a person wrote, for the record."""
    line = text.strip()
    if not line:
        raise ConfigurationError(f"{option}: must not be empty: it is what an audit will read")
    if len(line) > LONGEST or not line.isprintable():
        raise ConfigurationError(f"{option}: one line of at most {LONGEST} printable characters")
    return line


def _written(clock: Clock) -> str:
    now = datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(package: Package) -> str:
    """The policy in force, and the versions there were, as lines for a person."""
    policy = package.policy
    width = max(map(len, policy.nok_min))
    rows = [
        f"package    {package.manifest.name} {package.manifest.version}, {package.ref.package}",
        f"policy     version {policy.version}, {package.ref.policy}",
        f"OK from    {policy.ok_min:.9g} ({policy.ok_class})",
        *(
            f"NOK from   {score:<11.9g} {name:{width}}  {package.manifest.severity_of(name)}"
            for name, score in sorted(policy.nok_min.items())
        ),
        f"written    {policy.created} by {policy.author}: {policy.why}",
    ]
    versions = history(package.path)
    if versions:
        rows.append(f"versions   in {history_folder(package.path)}")
    for kept in versions:
        mark = "*" if kept.sha256 == package.ref.policy else " "
        told = kept.policy
        rows.append(
            f"  {mark} {told.version:>4}  {told.created}  OK from {told.ok_min:.9g}"
            f"  {told.author}: {told.why}"
        )
    return "\n".join(rows)


# ---------------------------------------------------------------- before and after


class Side(Struct, frozen=True, kw_only=True):
    """One policy on the labelled points. ``review`` is the share of points in production that
    would come out REVIEW at ``prevalence``."""

    policy: Policy
    evaluation: Evaluation
    review: float
    review_minutes_per_shift: float


class Comparison(Struct, frozen=True, kw_only=True):
    """Two policies on the same scores. ``changes`` is "verdict -> verdict", by true class."""

    prevalence: float
    before: Side
    after: Side
    changes: dict[str, dict[str, int]]
    choice: Choice | None
    proof: Proof | None


def compare(
    judged: Sequence[Judged],
    package: Package,
    after: Policy,
    costs: Costs,
    *,
    choice: Choice | None = None,
    proof: Proof | None = None,
) -> Comparison:
    """Apply the package's policy and another to the scores of points that were judged once."""
    from inspection.training.evaluate import summarise

    names, ok_class = package.manifest.class_names, package.manifest.ok_class
    sides = [_rejudged(judged, names, policy) for policy in (package.policy, after)]
    counted = [entry for entry in judged if entry.label is not None and not entry.borderline]
    if not counted:
        raise DataError("no point here has a label that counts: before and after cannot differ")
    defective = sum(entry.label != ok_class for entry in counted)
    prevalence = costs.prevalence
    if prevalence is None:
        prevalence = defective / len(counted)
    made = []
    for policy, entries in zip((package.policy, after), sides, strict=True):
        evaluation = summarise(
            entries,
            ok_class=ok_class,
            package=package.ref.package,
            policy=hashlib.sha256(encode_policy(policy)).hexdigest(),
        )
        review = 0.0
        for part, good in ((1 - prevalence, True), (prevalence, False)):
            some = [
                entry.judgement.verdict
                for entry in entries
                if entry.label is not None
                and not entry.borderline
                and (entry.label == ok_class) is good
            ]
            review += part * some.count(Verdict.REVIEW) / max(len(some), 1)
        made.append(
            Side(
                policy=policy,
                evaluation=evaluation,
                review=review,
                review_minutes_per_shift=review * costs.points_per_shift * costs.review_minutes,
            )
        )
    changes: dict[str, Counter[str]] = {}
    for old, new in zip(*sides, strict=True):
        if old.judgement.verdict is not new.judgement.verdict:
            step = f"{old.judgement.verdict} -> {new.judgement.verdict}"
            changes.setdefault(step, Counter())[old.label or "(no label)"] += 1
    return Comparison(
        prevalence=prevalence,
        before=made[0],
        after=made[1],
        changes={step: dict(sorted(count.items())) for step, count in sorted(changes.items())},
        choice=choice,
        proof=proof,
    )


def told(comparison: Comparison) -> str:
    """A comparison as lines for a person."""
    before, after = comparison.before, comparison.after
    rows = [
        (
            f"{before.evaluation.points} points of {before.evaluation.parts} parts, judged once;"
            f" review at {comparison.prevalence:.3%} defective points in production"
        ),
        f"{'':11}{'':7}{'OK from':>12}  NOK from",
    ]
    for name, side in (("before", before), ("after", after)):
        scores = side.policy.nok_min
        limits = ", ".join(f"{k} {v:.6g}" for k, v in sorted(scores.items()))
        if len(set(scores.values())) == 1:
            limits = f"{next(iter(scores.values())):.6g}"
        rows.append(f"{'':11}{name:7}{side.policy.ok_min:>12.9g}  {limits}")
    for what in ("escapes", "parts with an escape", "overkill"):
        field = what.replace("parts with an", "parts_with").replace(" ", "_")
        rows.append(what)
        rows += [
            f"{'':11}{name:7}{getattr(side.evaluation, field)}"
            for name, side in (("before", before), ("after", after))
        ]
    rows.append("review")
    rows += [
        f"{'':11}{name:7}{side.review:.3%} of points,"
        f" {side.review_minutes_per_shift:.0f} minutes per shift"
        for name, side in (("before", before), ("after", after))
    ]
    for step, count in comparison.changes.items():
        rows.append(f"{step}: " + ", ".join(f"{n} {label}" for label, n in count.items()))
    if not comparison.changes:
        rows.append("no verdict changes")
    return "\n".join(rows)


def _rejudged(judged: Sequence[Judged], names: Sequence[str], policy: Policy) -> list[Judged]:
    """The same points under another policy. What was no look at a point stays none."""
    return [
        entry._replace(judgement=judge(entry.scores, names, policy, entry.ood))
        if entry.scores
        else entry
        for entry in judged
    ]


# ---------------------------------------------------------------- the actions


def _set(package: Package, arguments: argparse.Namespace, clock: Clock) -> int:
    ok_min, nok_min = _thresholds(arguments)
    comparison, fixed = None, arguments.if_version
    if arguments.data is not None or arguments.dataset is not None:
        # Whatever is wrong with the data is said before anything is written.
        after = amended(package.policy, ok_min=ok_min, nok_min=nok_min)
        comparison = compare(_judged(package, arguments), package, after, _costs(arguments))
    elif arguments.json is not None:
        raise ConfigurationError("--json: there is a comparison to write only with --data")
    before, new = replace_policy(
        package.path,
        author=arguments.author,
        why=arguments.why,
        clock=clock,
        ok_min=ok_min,
        nok_min=nok_min,
        # Counted against this version, so put in force only in place of it.
        if_version=package.policy.version if fixed is None and comparison else fixed,
    )
    if comparison is not None:
        print(told(comparison))
        _write_json(arguments.json, comparison)
    old, policy = before.policy, new.policy
    print(f"version {policy.version} in force, {new.sha256}")
    print(f"version {old.version} kept in {history_folder(package.path)}")
    print("stations and edges read a policy when they start: start them again")
    if policy.ok_min < old.ok_min:
        print(
            f"warning: OK from {policy.ok_min:.9g} instead of {old.ok_min:.9g}: what the card says"
            " of the escape rate was said of the higher one",
            file=sys.stderr,
        )
    return 0


def _what_if(package: Package, arguments: argparse.Namespace) -> int:
    from inspection.training.promise import Promise, choose, prove

    ok_min, nok_min = _thresholds(arguments)
    by_hand = ok_min is not None or bool(nok_min)
    costly = ("cost_miss", "cost_false_alarm", "cost_review")
    by_cost = any(getattr(arguments, name) is not None for name in costly)
    given = {"limit": arguments.limit, "confidence": arguments.confidence}
    given = {name: value for name, value in given.items() if value is not None}
    if (by_hand and by_cost) or not (by_hand or by_cost or given):
        raise ConfigurationError(
            "what-if: either thresholds (--ok-min, --nok-min) or what they are to be chosen by"
            " (--cost-miss, --cost-false-alarm, --cost-review, --limit)"
        )
    costs, promise = _costs(arguments), Promise(**given, sizes_matter=not arguments.trial_a_part)
    if by_hand:  # a mistake in it is said before minutes are spent on the pictures
        after = amended(package.policy, ok_min=ok_min, nok_min=nok_min)
    judged = _judged(package, arguments)
    scores, labels, parts = _arrays(judged, package)
    proof: Proof | None = None
    choice: Choice | None = None
    if by_hand:
        if given and len(labels):
            proof = prove(scores, labels, parts, after.ok_min, promise)
    else:
        choice = choose(scores, labels, parts, costs, promise)
        proof = choice.proof
        after = msgspec.structs.replace(
            package.policy,
            ok_min=choice.ok_min,
            nok_min=dict.fromkeys(package.policy.nok_min, choice.nok_min),
        )
    comparison = compare(judged, package, after, costs, choice=choice, proof=proof)
    print(told(comparison))
    if proof is not None:
        print(proof.statement)
        if by_hand:
            print("that holds if this threshold was not found by trying several on these points")
        if arguments.all_parts:
            print("no test: the package may have been trained or chosen on some of these parts")
    _write_json(arguments.json, comparison)
    return 0


def _thresholds(arguments: argparse.Namespace) -> tuple[float | None, dict[str, float]]:
    """``--ok-min`` and ``--nok-min`` as numbers."""
    ok_min = None if arguments.ok_min is None else _score("--ok-min", arguments.ok_min)
    nok_min: dict[str, float] = {}
    for told_of in cast("list[str]", arguments.nok_min):
        name, equals, value = told_of.rpartition("=")
        if not equals or not name:
            raise ConfigurationError(f"--nok-min {told_of}: write it as CLASS=X, as in crack=0.7")
        if name in nok_min:
            raise ConfigurationError(f"--nok-min: {name!r} is given twice")
        nok_min[name] = _score(f"--nok-min {name}", value)
    return ok_min, nok_min


def _score(option: str, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0.0 <= score <= 1.0:
        raise ConfigurationError(f"{option}: a threshold is a number from 0 to 1, not {text!r}")
    return score


def _costs(arguments: argparse.Namespace) -> Costs:
    from inspection.training.promise import Costs

    given = {
        "miss": getattr(arguments, "cost_miss", None),
        "false_alarm": getattr(arguments, "cost_false_alarm", None),
        "review": getattr(arguments, "cost_review", None),
        "review_minutes": arguments.review_minutes,
        "points_per_shift": arguments.points_per_shift,
        "prevalence": arguments.prevalence,
    }
    return Costs(**{name: value for name, value in given.items() if value is not None})


def _judged(package: Package, arguments: argparse.Namespace) -> list[Judged]:
    """Every labelled point of the data through the model, once."""
    from inspection.runtimes import load
    from inspection.training.data import read_dataset
    from inspection.training.evaluate import judge_pictures
    from inspection.training.evaluate_command import DESCRIPTION, unseen
    from inspection.training.layouts import rendered
    from inspection.training.recipe import read_description

    described = arguments.dataset or package.path / DESCRIPTION
    if not described.is_file():
        raise DataError(f"{described}: no description of the data: name one with --dataset")
    description = read_description(described)
    if unknown := sorted(set(description.class_names) - set(package.manifest.class_names)):
        raise DataError(
            f"{described}: class {unknown[0]!r} is none of the model: name another description"
            " with --dataset"
        )
    if description.ok_class != package.manifest.ok_class:
        raise DataError(
            f"{described}: the OK class is {description.ok_class!r}, that of the model"
            f" {package.manifest.ok_class!r}"
        )
    data = arguments.data
    if description.rendered is not None:
        data = rendered.provide(description, data, ("test",))
    elif data is None:
        raise DataError(f"data set {description.name}: name the folder of its pictures with --data")
    dataset = read_dataset(description, data)
    for warning in dataset.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for unreadable in dataset.unreadable:
        print(f"unreadable: {unreadable.path}: {unreadable.why}", file=sys.stderr)
    parts = dataset.parts if arguments.all_parts else unseen(package, dataset)
    if left_out := len(dataset.parts) - len(parts):
        print(f"{left_out} parts left out: the package was trained or chosen on them")
    if not parts:
        raise DataError(
            f"{data}: no part here that the package was not trained or chosen on: give others, or"
            " say --all-parts and call the result no test"
        )
    return list(judge_pictures(load(package), dataset.of(parts)))


def _arrays(judged: Sequence[Judged], package: Package) -> tuple[Array, Labels, list[str]]:
    """Scores with the OK class first, labels and parts of the points that count."""
    import numpy as np

    names, ok_class = package.manifest.class_names, package.manifest.ok_class
    order = sorted(range(len(names)), key=lambda at: names[at] != ok_class)
    number = {names[at]: place for place, at in enumerate(order)}
    some = [e for e in judged if e.label is not None and not e.borderline and e.scores]
    scores = np.array([entry.scores for entry in some], np.float64).reshape(len(some), len(names))
    labels = np.array([number[str(entry.label)] for entry in some], np.int64)
    return scores[:, order], labels, [entry.part for entry in some]


def _write_json(path: Path | None, comparison: Comparison) -> None:
    from inspection.training.evaluate import write_json

    if path is not None:
        write_json(path, comparison)
