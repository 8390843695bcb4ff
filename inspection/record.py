"""One part's record: everything that is on record of it, for whoever must prove it later.

As JSON it is whole: every run, every planned point with what counted there, every word of a person,
and the digests, chains and seals by which it can be held against the store. As PDF it is for
reading: the balance of each run, what was not OK with its pictures, and what people said.
"""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inspection import __version__
from inspection.errors import ConfigurationError, StoreError
from inspection.ledger import Balance
from inspection.messages import LookPurpose, Verdict
from inspection.plan import Plan
from inspection.store import Reader
from inspection.store.looks import LookRow, looks
from inspection.store.parts import Proof, proof
from inspection.store.reader import PointRow, RunRow, TermsRow, WordRow

FORMAT = 1
POINTS_WITH_PICTURES = 200
"""Of a PDF; the rest is listed without."""
PICTURE_MM = 26


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a part; ``plan`` is None where it cannot be read any more. A planned point of
    which nothing is on record is in ``missing``."""

    run: RunRow
    plan: Plan | None
    terms: TermsRow | None
    points: tuple[PointRow, ...]
    missing: tuple[str, ...]
    words: tuple[WordRow, ...]
    looks: tuple[LookRow, ...]
    proof: Proof


@dataclass(frozen=True, slots=True)
class PartRecord:
    """All runs of a part, oldest first, and when they were read."""

    station: str
    part: str
    runs: tuple[RunRecord, ...]
    read_ns: int


def part_record(reader: Reader, part: str, now_ns: int) -> PartRecord:
    """Everything on record of a part. Raises `StoreError` where the store cannot be read or has
    nothing of it."""
    rows = sorted(reader.runs(part=part), key=lambda row: row.number)
    if not rows:
        raise StoreError(f"{reader.path}: nothing is on record of part {part}")
    ids = [row.run for row in rows]
    words, terms = reader.words(ids), reader.terms(ids)
    seen = [look for look in looks(reader, since_ns=rows[0].begun_ns) if look.part == part]
    # In a study or an audit nobody is to know what it was about: these are told elsewhere.
    seen = [look for look in seen if look.purpose is not LookPurpose.STUDY]
    found = []
    for row in rows:
        plan = reader.plan(row.plan_hash)
        points = tuple(reader.points(run=row.run))
        planned = [] if plan is None else [point.id for point in plan.points]
        there = {point.point for point in points}
        found.append(
            RunRecord(
                run=row,
                plan=plan,
                terms=terms.get(row.run),
                points=points,
                missing=tuple(name for name in planned if name not in there),
                words=tuple(word for word in words if word.run == row.run),
                looks=tuple(look for look in seen if look.run == row.run),
                proof=proof(reader, row.run),
            )
        )
    return PartRecord(reader.station(), part, tuple(found), now_ns)


# ---------------------------------------------------------------------------------------- JSON


def as_json(record: PartRecord) -> bytes:
    """The record as JSON: UTF-8, two spaces, keys in a fixed order, times as ISO 8601 in UTC."""
    document = {
        "format": FORMAT,
        "station": record.station,
        "part": record.part,
        "read": _time(record.read_ns),
        "software": __version__,
        "runs": [_run(each) for each in record.runs],
    }
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def _run(each: RunRecord) -> dict[str, Any]:
    run = each.run
    return {
        "run": run.run,
        "plan": {"name": run.plan, "hash": run.plan_hash},
        "begun": _time(run.begun_ns),
        "closed": None if run.closed_ns is None else _time(run.closed_ns),
        "verdict": None if run.verdict is None else run.verdict.value,
        "verdict_seq": run.verdict_seq,
        "acknowledged": run.acknowledged,
        "balance": _balance(run.balance),
        "goes_on_from": None if each.terms is None else each.terms.repair_of,
        "covers": None
        if each.terms is None or each.terms.covers is None
        else sorted(each.terms.covers),
        "points": [_point(point) for point in each.points],
        "without_a_record": list(each.missing),
        "words": [_word(word) for word in each.words],
        "second_looks": [_look(look) for look in each.looks],
        "records": [
            {"number": number, "sha256": digest, "chain": chain}
            for number, digest, chain in each.proof.records
        ],
        "verdicts": [
            {"verdict_seq": seq, "verdict": said, "seal": seal}
            for seq, said, seal in each.proof.verdicts
        ],
    }


def _balance(balance: Balance) -> dict[str, int]:
    return {
        "planned": balance.planned,
        "ok": balance.ok,
        "nok": balance.nok,
        "review": balance.review,
        "not_inspected": balance.not_inspected,
        "open": balance.open,
    }


def _point(point: PointRow) -> dict[str, Any]:
    return {
        "point": point.point,
        "view": point.view,
        "attempt": point.attempt,
        "verdict": point.verdict.value,
        "reason": int(point.reason),
        "reason_name": point.reason.name,
        "finding": point.finding,
        "severity_of_class": None if point.class_severity is None else point.class_severity.value,
        "detail": point.detail,
        "scores": None if point.scores is None else list(point.scores),
        "model": point.package,
        "policy": point.policy,
        "picture": point.evidence,
        "record": point.record,
    }


def _word(word: WordRow) -> dict[str, Any]:
    return {
        "number": word.number,
        "point": word.point,
        "person": word.person,
        "roles": sorted(role.value for role in word.roles),
        "action": word.action.value,
        "finding": word.finding,
        "method": word.method,
        "comment": word.comment,
        "looked_at_verdict": word.seq_before,
        "verdict_seq": word.verdict_seq,
        "decided": _time(word.decided_ns),
    }


def _look(look: LookRow) -> dict[str, Any]:
    return {
        "number": look.number,
        "point": look.point,
        "person": look.person,
        "purpose": look.purpose.value,
        "method": look.method.value,
        "word": look.word.value,
        "finding": look.finding,
        "value_mm": look.value_mm,
        "comment": look.comment,
        "looked": _time(look.looked_ns),
    }


def _time(ns: int) -> str:
    return dt.datetime.fromtimestamp(ns / 1e9, dt.UTC).isoformat(timespec="milliseconds")


# ----------------------------------------------------------------------------------------- PDF


def as_pdf(
    record: PartRecord,
    picture: Callable[[str], bytes | None],
    classes: Mapping[str, Sequence[str]] | None = None,
) -> bytes:
    """The record as a PDF of A4 pages. ``picture`` gives the file of a picture by its hash, or
    None; ``classes`` the names of the classes by the hash of the model package. Characters that the
    standard fonts of PDF do not have are shown as question marks."""
    # Takes a while to import, and few ask for it.
    try:
        from reportlab.lib.pagesizes import A4
        from reportlab.lib.units import mm
        from reportlab.platypus import PageBreak, SimpleDocTemplate
    except ImportError:
        raise ConfigurationError(
            "a PDF needs the package reportlab: pip install 'visual-inspection[ui]'"
        ) from None

    out = io.BytesIO()
    title = f"Part {record.part}"
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        title=_plain(title),
        author=_plain(record.station),
        leftMargin=18 * mm,
        rightMargin=18 * mm,
        topMargin=16 * mm,
        bottomMargin=16 * mm,
        invariant=True,  # the same record gives the same file
    )
    writer = _Writer(picture, classes or {})
    story: list[Any] = writer.head(record)
    for number, each in enumerate(record.runs):
        story += [PageBreak()] if number else []
        story += writer.run(each)
    document.build(story, onFirstPage=writer.foot(record), onLaterPages=writer.foot(record))
    return out.getvalue()


class _Writer:
    """Makes the pieces of a document."""

    def __init__(
        self, picture: Callable[[str], bytes | None], classes: Mapping[str, Sequence[str]]
    ) -> None:
        from reportlab.lib.styles import getSampleStyleSheet

        styles = getSampleStyleSheet()
        self._title, self._heading, self._body = (
            styles["Title"],
            styles["Heading2"],
            styles["BodyText"],
        )
        self._picture = picture
        self._classes = classes

    def head(self, record: PartRecord) -> list[Any]:
        last = record.runs[-1].run
        verdict = "open" if last.verdict is None else last.verdict.value
        return [
            self._text(f"Part {record.part}: {verdict}", self._title),
            self._text(
                f"Station {record.station}, read {_time(record.read_ns)}, software {__version__}."
                " OK means that nothing visible is wrong; nugget size and cold welds are not"
                " visible."
            ),
        ]

    def run(self, each: RunRecord) -> list[Any]:
        run, balance = each.run, each.run.balance
        verdict = "open" if run.verdict is None else run.verdict.value
        story = [
            self._text(f"Run {run.run}: {verdict}", self._heading),
            self._text(
                f"Plan {run.plan} {run.plan_hash[:16]}, begun {_time(run.begun_ns)}"
                + ("" if run.closed_ns is None else f", closed {_time(run.closed_ns)}")
                + ("" if run.verdict_seq is None else f", verdict number {run.verdict_seq}")
                + (", taken by the PLC" if run.acknowledged else ", not taken by a PLC")
            ),
            self._text(
                f"{balance.planned} planned = {balance.ok} OK + {balance.nok} NOK +"
                f" {balance.review} REVIEW + {balance.not_inspected} NOT_INSPECTED +"
                f" {balance.open} open"
            ),
        ]
        models = sorted({f"{p.package} / {p.policy}" for p in each.points if p.package})
        story += [self._text(f"Model package / policy: {name}") for name in models]
        bad = [point for point in each.points if point.verdict is not Verdict.OK]
        if bad or each.missing:
            story.append(self._text("Not OK", self._heading))
            story.append(self._table(bad))
            story += [self._text(f"{name}: nothing is on record") for name in each.missing]
        if each.words:
            story.append(self._text("What people said", self._heading))
            story += [self._text(_said(word)) for word in each.words]
        if each.looks:
            story.append(self._text("Second looks", self._heading))
            story += [self._text(_looked(look)) for look in each.looks]
        ok = [point.point for point in each.points if point.verdict is Verdict.OK]
        story.append(self._text(f"OK: {len(ok)} points", self._heading))
        story.append(self._text(", ".join(ok) or "none"))
        if each.proof.records:
            _, _, chain = each.proof.records[-1]
            story.append(self._text(f"Chain of {len(each.proof.records)} records, head {chain}"))
        if each.proof.verdicts:
            story.append(self._text(f"Seal of the latest verdict {each.proof.verdicts[-1][2]}"))
        return story

    def _table(self, points: Sequence[PointRow]) -> Any:
        from reportlab.lib import colors
        from reportlab.lib.units import mm
        from reportlab.platypus import Table, TableStyle

        rows: list[list[Any]] = [["Point", "Verdict", "What was seen", "Picture"]]
        for number, point in enumerate(points):
            shown = self._image(point) if number < POINTS_WITH_PICTURES else ""
            said = (point.finding, point.detail, self._scores(point))
            rows.append(
                [
                    self._text(f"{point.point} ({point.view})"),
                    self._text(f"{point.verdict.value} {int(point.reason)} {point.reason.name}"),
                    self._text("; ".join(filter(None, said))),
                    shown,
                ]
            )
        table = Table(rows, colWidths=[42 * mm, 40 * mm, 62 * mm, 30 * mm], repeatRows=1)
        table.setStyle(
            TableStyle(
                [
                    ("GRID", (0, 0), (-1, -1), 0.4, colors.grey),
                    ("VALIGN", (0, 0), (-1, -1), "TOP"),
                    ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
                ]
            )
        )
        return table

    def _scores(self, point: PointRow) -> str:
        if point.scores is None:
            return ""
        names = self._classes.get(point.package or "", ())
        named = len(names) == len(point.scores)
        best = sorted(enumerate(point.scores), key=lambda item: -item[1])[:2]
        return ", ".join(
            f"{names[at] if named else f'class {at}'} {int(score * 1000) / 1000:.3f}"
            for at, score in best
        )

    def _image(self, point: PointRow) -> Any:
        from PIL import Image as Opened
        from reportlab.lib.units import mm
        from reportlab.platypus import Image

        data = None if point.evidence is None else self._picture(point.evidence)
        if data is None:
            return self._text("no picture here")
        try:
            with Opened.open(io.BytesIO(data), formats=("PNG", "JPEG")) as opened:
                width, height = opened.size
                small = opened.convert("RGB")
                small.thumbnail((400, 400))
        except (OSError, ValueError, SyntaxError, Opened.DecompressionBombError):
            return self._text("picture unreadable")
        out = io.BytesIO()
        small.save(out, "PNG")
        out.seek(0)
        scale = PICTURE_MM * mm / max(width, height)
        return Image(out, width * scale, height * scale)

    def _text(self, text: str, style: Any = None) -> Any:
        from xml.sax.saxutils import escape

        from reportlab.platypus import Paragraph

        return Paragraph(escape(_plain(text)), style or self._body)

    def foot(self, record: PartRecord) -> Callable[[Any, Any], None]:
        """What stands at the bottom of each page."""

        def draw(canvas: Any, document: Any) -> None:
            canvas.setFont("Helvetica", 8)
            canvas.drawString(51, 28, _plain(f"{record.station} · {record.part}"))
            canvas.drawRightString(545, 28, str(document.page))

        return draw


def _said(word: WordRow) -> str:
    roles = ", ".join(sorted(role.value for role in word.roles))
    who = f"{_time(word.decided_ns)} {word.person} ({roles})"
    parts = [
        f"{who}: {word.point} {word.action.value}",
        word.finding,
        word.method,
        word.comment,
        f"verdict number {word.verdict_seq}",
    ]
    return "; ".join(filter(None, parts))


def _looked(look: LookRow) -> str:
    value = "" if look.value_mm is None else f"{look.value_mm:g} mm"
    who = f"{_time(look.looked_ns)} {look.person}"
    parts = [
        f"{who}: {look.point} {look.word.value} ({look.purpose.value}, {look.method.value})",
        look.finding,
        value,
        look.comment,
    ]
    return "; ".join(filter(None, parts))


def _plain(text: str) -> str:
    """What the standard fonts can show: Windows-1252, without control characters."""
    known = text.encode("cp1252", "replace").decode("cp1252")
    return "".join(each if each.isprintable() else " " for each in known)
