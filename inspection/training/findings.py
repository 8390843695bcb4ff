"""What is wrong with a data set, all of it, before anybody trains on it."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np

from inspection import imaging
from inspection.errors import DataError
from inspection.imaging import CropSpec
from inspection.messages import Region
from inspection.training.data import (
    Dataset,
    Files,
    count_files,
    count_labels,
    load,
    split_parts,
)
from inspection.training.duplicates import Twins, check_leaks, find_twins, join_twins
from inspection.training.label_errors import Suspect, Suspects

SIXTEEN_BIT = "tone map"
"""What `imaging.decode` says of more than 8 bits."""
MOST_SHOWN = 300
SIDE_PX = 200

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;
color:#1c2733}h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse}
td,th{padding:.25em .8em;border-bottom:1px solid #dde3ea;text-align:left;vertical-align:top}
.no{background:#fdecea;padding:.6em 1em}.yes{background:#e9f6ec;padding:.6em 1em}
figure{display:inline-block;margin:.5em;vertical-align:top;width:210px;font-size:13px;
overflow-wrap:anywhere}img{max-width:200px;max-height:200px;image-rendering:auto}"""


class Listed(msgspec.Struct, frozen=True):
    """A file and what is said of it."""

    file: str
    why: str


class Doubt(msgspec.Struct, frozen=True):
    """A probable label error."""

    file: str
    point: str
    label: str
    looks_like: str
    probability_of_label: float
    probability_of_other: float


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `inspection datasets check` has to say. ``refusal`` is why training would refuse
    the data, empty where it would not."""

    layout: str
    ok_class: str
    sha256: str
    pictures: int
    parts: int
    points: dict[str, int]
    points_apart: int
    files: Files
    unreadable: list[Listed]
    ignored: list[Listed]
    sixteen_bit: int
    alpha: list[str]
    single: list[str]
    duplicates: list[tuple[str, str]]
    across_parts: int
    warnings: list[str]
    split: dict[str, int]
    refusal: str
    label_errors: list[Doubt] | None = None


def examine(dataset: Dataset) -> Findings:
    """All findings but label errors."""
    description = dataset.description
    twins = find_twins(dataset.pictures, dataset.looks) if _one_point_each(dataset) else []
    join_twins(dataset)
    counts = count_labels(dataset.pictures)
    refusal, split = "", {}
    try:
        found = split_parts(dataset, description.split)
        check_leaks(dataset, found)
        split = {name: len(parts) for name, parts in found._asdict().items() if parts}
    except DataError as error:
        refusal = str(error)

    def short(path: Path) -> str:
        return path.relative_to(dataset.root).as_posix()

    return Findings(
        layout=description.layout,
        ok_class=description.ok_class,
        sha256=dataset.sha256,
        pictures=len(dataset.pictures),
        parts=len(dataset.parts),
        points={name: counts[name] for name in description.class_names},
        points_apart=counts[None],
        files=count_files(dataset),
        unreadable=[Listed(short(entry.path), entry.why) for entry in dataset.unreadable],
        ignored=[Listed(short(entry.path), entry.why) for entry in dataset.ignored],
        sixteen_bit=sum(SIXTEEN_BIT in entry.why for entry in dataset.unreadable),
        alpha=[short(path) for path in dataset.alpha],
        single=[name for name in description.class_names if counts[name] == 1],
        duplicates=[(short(pair.one.path), short(pair.other.path)) for pair in twins],
        across_parts=sum(pair.one.part != pair.other.part for pair in twins),
        warnings=list(dataset.warnings),
        split=split,
        refusal=refusal,
    )


def with_label_errors(findings: Findings, dataset: Dataset, suspects: Suspects) -> Findings:
    """The same findings and probable label errors."""
    doubts = [
        Doubt(
            s.picture.path.relative_to(dataset.root).as_posix(),
            s.point.id,
            s.label,
            s.looks_like,
            round(s.of_label, 4),
            round(s.of_other, 4),
        )
        for s in suspects.found
    ]
    return msgspec.structs.replace(findings, label_errors=doubts)


def lines_of(findings: Findings, *, most: int) -> list[str]:
    """The findings in words; of long lists the first ``most`` entries and how many more."""
    f, files = findings, findings.files
    lines = [
        f"layout {f.layout}, OK class {f.ok_class!r}, hash {f.sha256[:16]}",
        f"{f.pictures} pictures of {f.parts} parts; points: "
        + ", ".join(f"{name} {count}" for name, count in f.points.items())
        + (f", counted apart {f.points_apart}" if f.points_apart else ""),
        f"{files.found} files = {files.used} used + {files.unreadable} unreadable"
        f" + {files.ignored} not used"
        + (f"; {files.missing} named and not there" if files.missing else ""),
    ]
    if f.unreadable:
        deep = f" ({f.sixteen_bit} of more than 8 bits)" if f.sixteen_bit else ""
        lines.append(f"{len(f.unreadable)} unreadable{deep}:")
        lines += _indented(f"{entry.file}: {entry.why}" for entry in f.unreadable)[:most]
        lines += _more(len(f.unreadable), most)
    if pictures := [entry for entry in f.ignored if entry.why != "no picture"]:
        lines.append(f"{len(pictures)} pictures that are not used:")
        lines += _indented(f"{entry.file}: {entry.why}" for entry in pictures)[:most]
        lines += _more(len(pictures), most)
    if f.alpha:
        lines.append(f"{len(f.alpha)} pictures with transparency, which is dropped: {f.alpha[0]}")
    lines += [f"class {name!r} has a single example" for name in f.single]
    if f.duplicates:
        lines.append(
            f"{len(f.duplicates)} pairs of near-duplicates, {f.across_parts} of different parts:"
        )
        lines += _indented(f"{one} = {other}" for one, other in f.duplicates)[:most]
        lines += _more(len(f.duplicates), most)
    lines += [f"warning: {warning}" for warning in f.warnings]
    if f.label_errors is not None:
        lines.append(f"{len(f.label_errors)} labels are probably wrong:")
        lines += _indented(
            f"{d.file} {d.point}: {d.label}, looks like {d.looks_like}"
            f" ({d.probability_of_other:.2f} against {d.probability_of_label:.2f})"
            for d in f.label_errors
        )[:most]
        lines += _more(len(f.label_errors), most)
    if f.refusal:
        lines.append(f"training would refuse: {f.refusal}")
    else:
        shares = ", ".join(f"{count} {name}" for name, count in f.split.items())
        lines.append(f"training would take it; parts: {shares}")
    return lines


def write_page(
    out: Path, dataset: Dataset, findings: Findings, suspects: Suspects | None
) -> Sequence[Path]:
    """Write ``check.html``, one file with its pictures in it, and ``check.json``, with every list
    in full, below ``out``. Raises `DataError` where that cannot be."""
    twins = find_twins(dataset.pictures, dataset.looks) if findings.duplicates else []
    body = [f"<h1>Data set {html.escape(dataset.description.name)}</h1>"]
    kind, said = ("no", "Training would refuse it") if findings.refusal else ("yes", "Usable")
    body.append(f'<p class="{kind}"><b>{said}.</b> {html.escape(findings.refusal)}</p>')
    told = lines_of(msgspec.structs.replace(findings, label_errors=None), most=MOST_SHOWN)
    body.append("<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in told) + "</ul>")
    if suspects is not None:
        body.append("<h2>Labels that are probably wrong</h2>")
        body.append(
            "<p>A model that never saw the part takes these for another class. It may be wrong, and"
            " nothing was changed: look at each.</p>"
        )
        body += [_suspect(dataset, suspect) for suspect in suspects.found[:MOST_SHOWN]]
        body += _more(len(suspects.found), MOST_SHOWN)
    if twins:
        body.append("<h2>Near-duplicates</h2>")
        body += [_twin(dataset, pair) for pair in twins[: MOST_SHOWN // 2]]
        body += _more(len(twins), MOST_SHOWN // 2)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Data set</title>'
        f"<style>{STYLE}</style><body>{''.join(body)}</body></html>"
    )
    written = (out / "check.html", out / "check.json")
    try:
        out.mkdir(parents=True, exist_ok=True)
        written[0].write_text(page, "utf-8")
        written[1].write_bytes(msgspec.json.format(msgspec.json.encode(findings), indent=1))
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from None
    return written


def _one_point_each(dataset: Dataset) -> bool:
    return all(len(picture.points) == 1 for picture in dataset.pictures)


def _indented(texts: Iterable[str]) -> list[str]:
    return [f"  {text}" for text in texts]


def _more(count: int, most: int) -> list[str]:
    return [f"  and {count - most} more"] if count > most else []


def _suspect(dataset: Dataset, suspect: Suspect) -> str:
    name = suspect.picture.path.relative_to(dataset.root).as_posix()
    return (
        f"<figure>{_image(suspect.picture.path, suspect.point.region)}<figcaption>"
        f"{html.escape(name)}<br>labelled <b>{html.escape(suspect.label)}</b>"
        f" ({suspect.of_label:.2f}), looks like <b>{html.escape(suspect.looks_like)}</b>"
        f" ({suspect.of_other:.2f})</figcaption></figure>"
    )


def _twin(dataset: Dataset, pair: Twins) -> str:
    shown = (
        f"<figure>{_image(p.path, p.points[0].region)}<figcaption>"
        f"{html.escape(p.path.relative_to(dataset.root).as_posix())}<br>part"
        f" {html.escape(p.part)}</figcaption></figure>"
        for p in (pair.one, pair.other)
    )
    return f"<div>{''.join(shown)}</div>"


def _image(path: Path, region: Region) -> str:
    """A region as it is, but for its size, within the page."""
    scale = min(1.0, SIDE_PX / max(region.width_px, region.height_px))
    spec = CropSpec(
        width=max(8, round(region.width_px * scale)),
        height=max(8, round(region.height_px * scale)),
        channels=3,
    )
    crop = imaging.crop(load(path), region, spec)
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(crop[:, :, ::-1]))
    if not done:
        raise DataError(f"{path}: cannot be shown")
    text = base64.b64encode(data.tobytes()).decode("ascii")
    return f'<img alt="" src="data:image/jpeg;base64,{text}">'
