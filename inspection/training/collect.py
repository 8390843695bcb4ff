"""Kept crops of production as a data set: what people said of them, or else the machine, and how
likely it was that they were kept.

The label of a crop is the standing decision on its point, and the decider is whoever gave it: what
was said after a repair is of another state of the part, and not of this picture. Points on which
people disagree, wait for a second person, or could not tell are left out and counted. With
``machine`` the crops nobody decided on come too, labelled by what the machine said of them: NOK by
the class it found, OK as OK, REVIEW not at all.

``inclusion`` is the probability with which the crop was kept (1 for what was not OK; for OK points
the share that their results name, `inspection.drawing`), times the share of the crops named by such
results that arrived. It does not say how likely it was that somebody decided on it.

The same store gives the same data set: rows come in the order of run and point, pictures are named
by what they show, and a second call into the same folder writes the same files again.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET

from inspection.decisions import Decision, PointState
from inspection.errors import DataError
from inspection.evidence import EvidenceStore
from inspection.ledger import Entry
from inspection.messages import Action, Inspected, Standing, Verdict
from inspection.plan import Plan
from inspection.store.reader import PointRow, Reader
from inspection.training.layouts.index import RECORDED

MACHINE = "machine"
OK_LABEL = "ok"
LOOKED_AT = (Verdict.OK, Verdict.NOK, Verdict.REVIEW)
COLUMNS = ("image", "part", "label", "group", "time", *RECORDED)
INDEX, CROPS = "index.csv", "crops"


class _Label(NamedTuple):
    """What a crop is called, and by whom."""

    label: str
    decider: str


def collect(store: str, evidence: str | None, out: Path, *, machine: bool = False) -> list[str]:
    """Write the decided crops of a station, with ``machine`` the undecided ones too, and an index
    of them to ``out``, a new folder or one that was collected before. Returns what a person should
    know. Raises `StoreError` where the store cannot be read and `DataError` where ``out`` cannot be
    written or there is no crop to write."""
    path = Path(store.removeprefix("sqlite:///").removeprefix("file://"))
    reader = Reader(path)
    files = EvidenceStore(evidence or path.parent / "evidence")
    begun = {row.run: row.begun_ns for row in reader.runs()}
    left_out: Counter[str] = Counter()
    named: Counter[tuple[Verdict, float]] = Counter()
    there: Counter[tuple[Verdict, float]] = Counter()
    found: defaultdict[str, list[tuple[PointRow, float, _Label]]] = defaultdict(list)
    plans: dict[str, Plan | None] = {}
    counts: Counter[Verdict] = Counter()
    try:
        _make(out)
        for run in sorted(begun):
            decisions, sealed = reader.sealed_words(run)
            shares = _shares(reader, run)
            for point in sorted(reader.points(run=run), key=lambda point: point.point):
                counts[point.verdict] += 1
                words = decisions.get(point.point, ())
                if point.evidence is None or point.verdict not in LOOKED_AT:
                    # An OK point that was not drawn is no loss: its share stands for it.
                    if words or point.verdict in (Verdict.NOK, Verdict.REVIEW):
                        left_out["no picture of the point was kept"] += 1
                    continue
                share = shares.get((point.point, point.attempt), 1.0)
                named[point.verdict, share] += 1
                data = files.get(point.evidence)
                if data is None:
                    left_out["not in the evidence store, or changed there"] += 1
                    continue  # counted, and in the inclusion probability of the others
                there[point.verdict, share] += 1
                if point.plan_hash not in plans:
                    plans[point.plan_hash] = reader.plan(point.plan_hash)
                label = _label(point, words, plans[point.plan_hash], sealed, machine=machine)
                if isinstance(label, str):
                    left_out[label] += 1
                    continue
                file = out / _name(point.evidence)
                file.parent.mkdir(parents=True, exist_ok=True)
                if not file.exists() or file.read_bytes() != data:
                    file.write_bytes(data)
                found[point.evidence].append((point, share, label))
        rows = []
        repeated = 0
        for entries in found.values():
            # A crop of the same pixels may stand for several points; an index has it once.
            point, share, label = entries[0]
            if len({each.label for _, _, each in entries}) > 1:
                left_out["the very same picture has several labels"] += len(entries)
                continue
            repeated += len(entries) - 1
            stratum = (point.verdict, share)
            arrived = there[stratum] / named[stratum]
            rows.append(_row(point, label, share * arrived, begun[point.run]))
        if not rows:
            raise DataError(_nothing(path, counts, left_out, machine=machine))
        (out / INDEX).write_bytes(_table(rows))
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from None
    return _said(reader, out, rows, counts, there, left_out, repeated)


def _make(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if strangers := sorted(p.name for p in out.iterdir() if p.name not in (INDEX, CROPS)):
        raise DataError(
            f"{out}: holds {strangers[0]} already, which is no collection: name a new folder with"
            " --out"
        )


def _shares(reader: Reader, run: str) -> dict[tuple[str, int], float]:
    """By point and attempt, the probability that an OK result names."""
    return {
        (entry.point, record.answer.attempt): entry.inclusion
        for record in reader.records(run)
        for entry in record.answer.points
        if isinstance(entry, Inspected) and entry.inclusion is not UNSET
    }


def _label(
    point: PointRow,
    words: tuple[Decision, ...],
    plan: Plan | None,
    sealed: bool,
    *,
    machine: bool,
) -> _Label | str:
    """The label, or why there is none."""
    if words and not sealed:
        return "decisions on its run are not as they were written"
    if words and plan is None:
        return "decided by a plan that is not on record"
    said = _before_repair(words)
    if said and plan is not None:
        return _decided(point, said, plan)
    if words:
        return "only a repair was reported"
    if not machine:
        return "nobody has decided (--machine takes what the machine said)"
    match point.verdict:
        case Verdict.OK:
            return _Label(OK_LABEL, MACHINE)
        case Verdict.NOK:
            return _Label(point.finding, MACHINE)
    return _Label("", MACHINE)


def _before_repair(words: tuple[Decision, ...]) -> tuple[Decision, ...]:
    repairs = [word.number for word in words if word.action is Action.REPAIRED]
    return tuple(word for word in words if not repairs or word.number < min(repairs))


def _decided(point: PointRow, words: tuple[Decision, ...], plan: Plan) -> _Label | str:
    severity = next(each.severity for each in plan.points if each.id == point.point)
    entry = Entry(point.point, point.verdict, point.reason, point.finding, point.class_severity)
    state = PointState(point.point, severity, entry)
    for word in words:
        state = state.said(word)
    judged = state.judged(plan.deciding)
    if judged.standing is Standing.DISAGREEMENT:
        return "people disagree"
    if judged.standing is Standing.SECOND_PERSON_NEEDED:
        return "a second person is needed"
    by = judged.by
    if point.verdict is Verdict.OK and judged.entry.verdict is Verdict.OK:
        # Whoever confirms an OK changes nothing, and has said it all the same.
        by = tuple(sorted({w.person for w in state.words if w.action is Action.CONFIRM}))
    if not by:
        return "people cannot tell"
    if judged.entry.verdict is Verdict.OK:
        return _Label(OK_LABEL, "+".join(by))
    if not judged.entry.finding:
        return "a defect, and nobody has said which"
    return _Label(judged.entry.finding, "+".join(by))


def _row(point: PointRow, label: _Label, inclusion: float, begun_ns: int) -> Mapping[str, str]:
    assert point.evidence is not None  # noqa: S101 - only those are collected
    return {
        "image": _name(point.evidence),
        "part": point.part,
        "label": label.label,
        "group": point.view,
        "time": datetime.fromtimestamp(begun_ns / 1e9, UTC).isoformat(timespec="milliseconds"),
        "decider": label.decider,
        "inclusion": f"{inclusion:.6g}",
        "verdict": point.verdict.value,
        "run": point.run,
        "view": point.view,
        "point": point.point,
        "package": point.package or "",
        "plan": point.plan_hash,
    }


def _table(rows: list[Mapping[str, str]]) -> bytes:
    stream = io.StringIO(newline="")
    table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return stream.getvalue().encode("utf-8")


def _name(evidence: str) -> str:
    return f"{CROPS}/{evidence[:2]}/{evidence}.png"


def _nothing(path: Path, counts: Counter[Verdict], left_out: Counter[str], *, machine: bool) -> str:
    why = "; ".join(f"{count} {what}" for what, count in sorted(left_out.items()))
    hint = "name the pictures with --evidence" if machine else "decide, or take --machine"
    return (
        f"{path}: no crop of its {counts[Verdict.NOK]} NOK, {counts[Verdict.REVIEW]} REVIEW and"
        f" {counts[Verdict.OK]} OK points can be collected ({why or 'none was kept'}): {hint}"
    )


def _said(
    reader: Reader,
    out: Path,
    rows: list[Mapping[str, str]],
    counts: Counter[Verdict],
    there: Counter[tuple[Verdict, float]],
    left_out: Counter[str],
    repeated: int,
) -> list[str]:
    of = Counter(row["verdict"] for row in rows)
    machine = sum(row["decider"] == MACHINE for row in rows)
    verdicts = f"{of['NOK']} NOK, {of['REVIEW']} REVIEW and {of['OK']} OK"
    said = [
        f"{out}: {len(rows)} crops of {reader.station()}: {verdicts}",
        f"{len(rows) - machine} were decided by people, {machine} by the machine",
    ]
    if machine:
        said.append(
            "labels by the machine are what it found; look at them before anything is trained on"
            " them"
        )
    ok = sum(count for (verdict, _), count in there.items() if verdict is Verdict.OK)
    said.append(
        f"{ok} crops of {counts[Verdict.OK]} OK points are kept"
        + ("" if ok else ": these data say nothing of the others")
    )
    said += [f"left out: {count} crops: {why}" for why, count in sorted(left_out.items())]
    if repeated:
        said.append(f"{repeated} points show the very same picture as another one in the index")
    return said
