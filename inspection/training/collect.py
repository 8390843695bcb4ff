"""Kept crops of production as a data set: what the machine said of them, and how likely it was that
they were kept.

The store holds no human decision, so the decider of every crop is the machine that judged it, and
only NOK has a label (the class it found): REVIEW means that nobody decided, and such a crop is
counted apart until a person has filled its label in. An edge keeps the crops of NOK and REVIEW
points and none of OK ones. The store records no inclusion probability either; it is worked out as
in a back-test: of all points of a verdict, the share whose crop is there.
"""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from inspection.errors import DataError
from inspection.evidence import EvidenceStore
from inspection.messages import Verdict
from inspection.store.reader import PointRow, Reader
from inspection.training.layouts.index import RECORDED

DECIDER = "machine"
KEPT = (Verdict.NOK, Verdict.REVIEW)
COLUMNS = ("image", "part", "label", "group", "time", *RECORDED)


def collect(store: str, evidence: str | None, out: Path) -> list[str]:
    """Write the crops of a station's NOK and REVIEW points, and an index of them, to the new folder
    ``out``. Returns what a person should know. Raises `StoreError` where the store cannot be read
    and `DataError` where ``out`` cannot be written or there is no crop at all."""
    path = Path(store.removeprefix("sqlite:///").removeprefix("file://"))
    reader = Reader(path)
    files = EvidenceStore(evidence or path.parent / "evidence")
    begun = {row.run: row.begun_ns for row in reader.runs()}
    points = reader.points(verdicts=KEPT)
    asked = Counter(point.verdict for point in points)
    there: list[tuple[PointRow, str]] = []
    missing: Counter[str] = Counter()
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise DataError(f"{out}: holds something already: name a new folder with --out")
        for point in points:
            data = None if point.evidence is None else files.get(point.evidence)
            if point.evidence is None or data is None:
                missing[point.verdict] += 1
                continue  # counted, and in the inclusion probability of the others
            name = f"crops/{point.evidence[:2]}/{point.evidence}.png"
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(data)
            there.append((point, name))
        if not there:
            raise DataError(
                f"{path}: no crop of its {sum(asked.values())} NOK and REVIEW points is in the"
                " evidence store: name it with --evidence"
            )
        kept = Counter(point.verdict for point, _ in there)
        with (out / "index.csv").open("w", encoding="utf-8", newline="") as stream:
            table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            table.writeheader()
            # A crop of the same bytes may stand for several points; an index has it once.
            for point, name in {name: (point, name) for point, name in there}.values():
                table.writerow(
                    {
                        "image": name,
                        "part": point.part,
                        "label": point.finding if point.verdict is Verdict.NOK else "",
                        "group": point.view,
                        "time": _time(begun.get(point.run)),
                        "decider": DECIDER,
                        "inclusion": f"{kept[point.verdict] / asked[point.verdict]:.6g}",
                        "verdict": point.verdict.value,
                        "run": point.run,
                        "view": point.view,
                        "point": point.point,
                        "package": point.package or "",
                        "plan": point.plan_hash,
                    }
                )
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from None
    ok = sum(row.balance.ok for row in reader.runs())
    counts = f"{kept[Verdict.NOK]} NOK and {kept[Verdict.REVIEW]} REVIEW"
    said = [
        f"{out}: {len(there)} crops of {reader.station()}: {counts}",
        "all were decided by the machine: no person's decision is in the store",
        f"of {ok} OK points no crop is kept: these data say nothing of them",
        "the labels are what the machine found; look at them before anything is trained on them",
    ]
    if missing:
        said.append(f"{sum(missing.values())} crops are not in the evidence store, or changed")
    return said


def _time(begun_ns: int | None) -> str:
    if begun_ns is None:
        return ""
    return datetime.fromtimestamp(begun_ns / 1e9, UTC).isoformat(timespec="milliseconds")
