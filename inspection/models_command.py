"""``inspection models COMMAND``: from a package somebody made to one that a line uses, and back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import NamedTuple

import msgspec

from inspection import gate as gates
from inspection import providers, shadow, signing
from inspection.backtest import backtest
from inspection.backtest import report as backtest_report
from inspection.config import resolve as resolve_beside
from inspection.errors import ConfigurationError, DataError, PackageError, RegistryError
from inspection.evidence import EvidenceStore
from inspection.package import Package, open_package, released
from inspection.registry import Registry, resolve
from inspection.runtimes import PROVIDERS, load, replay_golden
from inspection.statistics import rate, upper_bound
from inspection.store.reader import Reader

REGISTRY = "registry"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their arguments."""
    commands = parser.add_subparsers(dest="models_command", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(models_run=run)
        return added

    def registry(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--registry", default=REGISTRY, metavar="URL", help="folder or fsspec URL"
        )
        added.add_argument("--cache", type=Path, help="where packages of a URL are copied to")

    def said(added: argparse.ArgumentParser) -> None:
        added.add_argument("--author", required=True, help="who does this")
        added.add_argument("--why", required=True, help="the reason, for the record")

    def keys(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--key", type=Path, action="append", default=[], help="public key (several allowed)"
        )

    what = "package folder, NAME (its current version) or NAME@VERSION"

    added = command("list", _list, "show which versions there are and which is current")
    added.add_argument("name", nargs="?", help="only this model")
    registry(added)
    keys(added)
    added = command("log", _log, "show who did what, when and why")
    added.add_argument("name")
    registry(added)
    added = command("add", _add, "take a package into the registry")
    added.add_argument("package", type=Path)
    registry(added)
    said(added)
    added = command("keygen", _keygen, "make a key pair to sign with")
    added.add_argument("name", help="whose key it is; verifying says this name")
    added.add_argument("--out", type=Path, default=Path(), help="folder for both files")
    added = command("sign", _sign, "sign a package and its policy")
    added.add_argument("package", type=Path)
    added.add_argument("--key", type=Path, required=True, help="private key")
    added = command("verify", _verify, "check hashes, signature and golden pictures")
    added.add_argument("package", help=what)
    registry(added)
    keys(added)
    added.add_argument("--provider", choices=sorted(PROVIDERS), help="replay on this provider")
    added.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="of the provider"
    )
    added.add_argument(
        "--tolerance", type=float, help="of a score there (default: the package's own)"
    )
    added.add_argument("--out", type=Path, help="folder of a copy that is verified there, too")
    added.add_argument("--version", help="version of that copy")
    added = command("compare", _compare, "show two packages side by side")
    added.add_argument("a", help=what)
    added.add_argument("b", help=what)
    added.add_argument("--data", type=Path, help="judge the same points with both")
    added.add_argument("--dataset", type=Path, metavar="TOML", help="description of the data")
    registry(added)
    added = command("promote", _promote, "make a version the current one, if it passes the gate")
    added.add_argument("package", help=what + "; a folder is added first")
    added.add_argument("--gate", type=Path, required=True, help="gate file (TOML)")
    added.add_argument("--data", type=Path, help="measure here instead of believing the manifest")
    added.add_argument("--dataset", type=Path, metavar="TOML", help="description of the data")
    registry(added)
    said(added)
    added = command("rollback", _rollback, "back to the version released before")
    added.add_argument("name")
    added.add_argument("--to", metavar="VERSION", help="to this one, released earlier")
    registry(added)
    said(added)
    added = command("escapes", _escapes, "put past escapes into a package's golden set")
    added.add_argument("package", type=Path)
    added.add_argument("escapes", type=Path, help="folder of crops (PNG)")
    added.add_argument("--out", type=Path, required=True, help="folder of the new package")
    added.add_argument("--version", required=True, help="version of the new package")
    added = command("shadow", _shadow, "what candidates said beside the released models")
    added.add_argument("--store", required=True, help="the station's station.db")
    added.add_argument("--evidence", help="folder or URL (default: beside the store)")
    added.add_argument("--model", help="only this model, by the name that plans use")
    added.add_argument("--json", type=Path, metavar="FILE", help="write the result here as JSON")
    added = command("backtest", _backtest, "what a package would have said of production")
    added.add_argument("package", help=what)
    added.add_argument("--store", required=True, help="the station's station.db")
    added.add_argument("--evidence", help="folder or URL (default: beside the store)")
    added.add_argument("--old", type=Path, action="append", default=[], help="package that judged")
    added.add_argument("--runs", type=int, help="only so many runs, the newest")
    added.add_argument("--json", type=Path, metavar="FILE", help="write the result here as JSON")
    registry(added)


def run(arguments: argparse.Namespace) -> int:
    """Run one of them."""
    code: int = arguments.models_run(arguments)
    return code


def _registry(arguments: argparse.Namespace) -> Registry:
    return Registry(arguments.registry, cache=arguments.cache)


def _folder(text: str, arguments: argparse.Namespace) -> Path:
    """The package that somebody means: a folder, else a name in the registry."""
    path = Path(text)
    if path.is_dir():
        return released(resolve(path))
    name, _, version = text.partition("@")
    return _registry(arguments).fetch(name, version or None)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _test_figures(package: Package) -> Mapping[str, object] | None:
    found = package.manifest.metrics.get("test")
    return found if isinstance(found, dict) else None


def _bound(package: Package, name: str) -> str:
    count = gates.counts(_test_figures(package))[0].get(name)
    if count is None or not count.trials:
        return "not measured"
    return f"<= {upper_bound(count.errors, count.trials):.2%}"


# ---------------------------------------------------------------------------------- registry


def _list(arguments: argparse.Namespace) -> int:
    registry = _registry(arguments)
    rows = [("model", "version", "current", "package", "escapes", "overkill", "signed", "added")]
    code = 0
    for name in [arguments.name] if arguments.name else registry.names():
        for entry in registry.entries(name):
            try:
                folder = registry.fetch(name, entry.version)
                package = open_package(folder)
                escapes, overkill = _bound(package, "escapes"), _bound(package, "overkill")
                signer = _signer(folder, arguments.key)
            except (PackageError, RegistryError, DataError) as error:
                print(f"{name} {entry.version}: {error}", file=sys.stderr)
                escapes = overkill = signer = "DAMAGED"
                code = 1
            current = "current" if entry.current else ""
            when = entry.added.when
            row = (name, entry.version, current, entry.ref.package[:12])
            rows.append((*row, escapes, overkill, signer, when))
    print(_table(rows) if len(rows) > 1 else f"{arguments.registry}: no model here yet")
    return code


def _signer(folder: Path, keys: Sequence[Path]) -> str:
    if not signing.signed(folder):
        return "no"
    if not keys:
        return "not checked: no --key"
    try:
        return f"by {signing.verify_package(folder, keys)}"
    except PackageError:
        return "by nobody known"


def _log(arguments: argparse.Namespace) -> int:
    for entry in _registry(arguments).log(arguments.name):
        print(f"{entry.when}  {entry.action} {entry.version}  {entry.author}: {entry.why}")
    return 0


def _add(arguments: argparse.Namespace) -> int:
    folder = released(arguments.package)
    name, version = _registry(arguments).add(folder, author=arguments.author, why=arguments.why)
    print(f"{name} {version} is in the registry")
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    version = _registry(arguments).rollback(
        arguments.name, arguments.to, author=arguments.author, why=arguments.why
    )
    print(f"{arguments.name}: {version} is current")
    return 0


def _promote(arguments: argparse.Namespace) -> int:
    gate = gates.read_gate(arguments.gate)
    registry = _registry(arguments)
    path = Path(arguments.package)
    if path.is_dir():
        folder = released(path)
        name, version = registry.add(folder, author=arguments.author, why=arguments.why)
    else:
        name, _, version = arguments.package.partition("@")
        if not version:
            raise ConfigurationError(f"{name}: say which version: {name}@VERSION, or a folder")
    folder = registry.fetch(name, version)
    package = open_package(folder)
    model = load(package)  # replays the golden pictures
    figures = _test_figures(package)
    source = "metrics of the manifest"
    if arguments.data is not None:
        _, _, figures = _measured(folder, package, arguments)
        source = f"measured on {arguments.data.name}"
    checks = gates.check_limits(gate, figures)
    if gate.golden is not None:
        escapes = gates.read_escapes(resolve_beside(arguments.gate, gate.golden.escapes))
        checks += gates.check_escapes(model, escapes)
    if keys := gates.keys_of(arguments.gate, gate):
        try:
            text, passed = f"signed by {signing.verify_package(folder, keys)}", True
        except PackageError as error:
            text, passed = str(error), False
        checks.append(gates.Check(name="signature", passed=passed, text=text))
    failed = [check.text for check in checks if not check.passed]
    for check in checks:
        print(("ok      " if check.passed else "REFUSED ") + check.text)
    if failed:
        raise RegistryError(
            f"{name} {version} is not promoted, {len(failed)} of {len(checks)} demands of"
            f" {arguments.gate} fail: {'; '.join(failed)}"
        )
    details: dict[str, object] = {
        "gate": msgspec.to_builtins(gate),
        "figures": source,
        "checks": [check.text for check in checks],
    }
    registry.promote(name, version, author=arguments.author, why=arguments.why, details=details)
    print(f"{name}: {version} is current")
    return 0


def _escapes(arguments: argparse.Namespace) -> int:
    package = open_package(released(arguments.package))
    escapes = gates.read_escapes(arguments.escapes)
    new = gates.with_escapes(package, escapes, arguments.out, arguments.version)
    print(f"{arguments.out}: {new} of {len(escapes)} past escapes were new to the golden set")
    return 0


# ---------------------------------------------------------------------------------- signature


def _keygen(arguments: argparse.Namespace) -> int:
    private, public = signing.keygen(arguments.out, arguments.name)
    print(f"{private}: keep to yourself\n{public}: hand out")
    return 0


def _sign(arguments: argparse.Namespace) -> int:
    folder = released(arguments.package)
    signing.sign_package(folder, arguments.key)
    print(f"{folder}: signed, model and policy")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    folder = _folder(arguments.package, arguments)
    package = open_package(folder)
    print(f"hashes: {len(package.content)} files are what the manifest says")
    if arguments.key:
        print(f"signature: by {signing.verify_package(folder, arguments.key)}")
    else:
        there = "there, by whom is not checked" if signing.signed(folder) else "none"
        print(f"signature: {there} (name public keys with --key)")
    if arguments.provider is not None:
        return _verify_on(package, arguments)
    worst = replay_golden(load(package, replay=False))
    print(f"golden: {len(package.golden.images)} pictures, scores differ by {worst:.2g} at most")
    return 0


def _verify_on(package: Package, arguments: argparse.Namespace) -> int:
    if (arguments.out is None) != (arguments.version is None):
        raise ConfigurationError("--out and --version go together")
    options = {}
    for text in arguments.option:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigurationError(f"--option {text}: say NAME=VALUE")
        options[name] = value
    tolerance = arguments.tolerance or providers.tolerance_of(package)
    found = providers.verify_on(package, arguments.provider, tolerance, options)
    print(f"golden on {found.provider}: scores differ by {found.golden:.2g} at most")
    if found.vectors is None:
        print("vectors: the package has none")
    else:
        print(f"vectors on {found.provider}: scores differ by {found.vectors:.2g} at most")
    if arguments.out is not None:
        providers.with_provider(
            package, found.provider, tolerance, arguments.out, arguments.version
        )
        print(f"{arguments.out}: verified on {found.provider}, too; sign and promote it")
    return 0


# ------------------------------------------------------------------------------------ compare


class _Point(NamedTuple):
    right: bool
    verdict: str


def _measured(
    folder: Path, package: Package, arguments: argparse.Namespace
) -> tuple[dict[tuple[str, str, str], _Point], str, Mapping[str, object]]:
    """Every labelled point of the data, judged: by (part, picture, point); the OK class; figures.
    Parts the package was trained or chosen on are left out."""
    # Here, because only this needs what reads data sets.
    from inspection.training.data import read_dataset
    from inspection.training.evaluate import judge_pictures, summarise
    from inspection.training.evaluate_command import DESCRIPTION, unseen
    from inspection.training.recipe import read_description

    description = read_description(arguments.dataset or folder / DESCRIPTION)
    dataset = read_dataset(description, arguments.data)
    parts = unseen(package, dataset)
    if not parts:
        raise DataError(f"{arguments.data}: the package was trained or chosen on every part here")
    judged = list(judge_pictures(load(package), dataset.of(parts)))
    ok_class = package.manifest.ok_class
    points = {
        (entry.part, entry.picture, entry.point): _Point(
            (entry.judgement.verdict.value == "OK") == (entry.label == ok_class),
            entry.judgement.verdict.value,
        )
        for entry in judged
        if entry.label is not None and not entry.borderline
    }
    figures = msgspec.to_builtins(
        summarise(judged, ok_class=ok_class, unreadable=len(dataset.unreadable))
    )
    return points, ok_class, figures


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value that A and B err alike, from the points on which exactly one errs
    (McNemar, Psychometrika 12, 1947; exact: binomial with one half). 1.0 where there is none."""
    n, k = only_a + only_b, min(only_a, only_b)
    tail = sum(comb(n, i) for i in range(k + 1))
    return min(1.0, float(Fraction(2 * tail, 1 << n)))


def _compare(arguments: argparse.Namespace) -> int:
    folders = [_folder(text, arguments) for text in (arguments.a, arguments.b)]
    packages = [open_package(folder) for folder in folders]
    figures: list[Mapping[str, object] | None] = [_test_figures(package) for package in packages]
    points: list[dict[tuple[str, str, str], _Point]] = []
    if arguments.data is not None:
        for index, (folder, package) in enumerate(zip(folders, packages, strict=True)):
            found, _, figures[index] = _measured(folder, package, arguments)
            points.append(found)
    rows: list[Sequence[str]] = [("", "A", "B")]
    rows.append(("model", *(f"{p.manifest.name} {p.manifest.version}" for p in packages)))
    rows.append(("package", *(p.ref.package[:12] for p in packages)))
    rows.append(("policy", *(f"{p.ref.policy[:12]} v{p.policy.version}" for p in packages)))
    rows.append(("data", *(p.manifest.data_hash[:12] for p in packages)))
    counted = [gates.counts(each) for each in figures]
    for kind, prefix in ((0, ""), (1, "class ")):
        names = dict.fromkeys(name for each in counted for name in each[kind])
        for name in names:
            cells = [each[kind].get(name) for each in counted]
            shown = ["not measured" if c is None else str(rate(c.errors, c.trials)) for c in cells]
            rows.append((prefix + name, *shown))
    print(_table(rows))
    if not points:
        same = packages[0].manifest.data_hash == packages[1].manifest.data_hash
        print(
            "each as its own manifest states it"
            + ("" if same else ", on other data: the figures are not comparable")
            + "; --data DIR judges the same points with both"
        )
        return 0
    a, b = points
    common = sorted(a.keys() & b.keys())
    if not common:
        raise DataError(f"{arguments.data}: no point that neither was trained on")
    only_a = sum(not a[key].right and b[key].right for key in common)
    only_b = sum(a[key].right and not b[key].right for key in common)
    print(
        f"on {len(common)} points unseen by both: {only_a} wrong with A alone, {only_b} with B"
        f" alone; McNemar's exact p = {mcnemar(only_a, only_b):.3g}"
        " (points of one part are not independent: p is too small where parts err as a whole)"
    )
    left = len(a.keys() ^ b.keys())
    if left:
        print(f"{left} points are in one column only: one of both was trained on them")
    return 0


# ----------------------------------------------------------------------------------- backtest


def _backtest(arguments: argparse.Namespace) -> int:
    store = Path(str(arguments.store).removeprefix("sqlite:///").removeprefix("file://"))
    olds = [open_package(released(path)) for path in arguments.old]
    new = open_package(_folder(arguments.package, arguments))
    here = {package.ref.package: package for package in [new, *olds]}
    registry = _registry(arguments)

    def find(package: str) -> Package | None:
        if package in here:
            return here[package]
        folder = registry.find(package)
        return None if folder is None else open_package(folder)

    evidence = EvidenceStore(arguments.evidence or store.parent / "evidence")
    result = backtest(Reader(store), evidence, find, new, limit=arguments.runs)
    print(backtest_report(result))
    if arguments.json is not None:
        data = msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n"
        try:
            arguments.json.write_bytes(data)
        except OSError as error:
            raise DataError(f"{arguments.json}: cannot be written: {error.strerror}") from None
    return 0


# ------------------------------------------------------------------------------------- shadow


def _shadow(arguments: argparse.Namespace) -> int:
    store = Path(str(arguments.store).removeprefix("sqlite:///").removeprefix("file://"))
    evidence = EvidenceStore(arguments.evidence or store.parent / "evidence")
    reports, missing = [], 0
    for sha256 in Reader(store).evidence_of(shadow.SHADOW):
        data = evidence.get(sha256)
        if data is None:
            missing += 1
            continue
        reports.append(shadow.decode_report(data))
    found = shadow.compare(reports)
    if arguments.model is not None:
        found = shadow.Report(
            comparisons=tuple(c for c in found.comparisons if c.model == arguments.model),
            dropped={m: n for m, n in found.dropped.items() if m == arguments.model},
        )
    print(shadow.told(found))
    if missing:
        print(f"{missing} reports are not in the evidence store, or have changed there")
    if arguments.json is not None:
        data = msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
        try:
            arguments.json.write_bytes(data)
        except OSError as error:
            raise DataError(f"{arguments.json}: cannot be written: {error.strerror}") from None
    return 0
