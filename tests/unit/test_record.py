"""One part's record: it accounts for every planned point, and can be held against the store."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pypdf
import pytest
from test_station_people import OK_NOK, Floor, floor

from inspection import __main__ as command
from inspection import messages as m
from inspection.errors import StoreError
from inspection.imaging import encode_png
from inspection.messages import Action, Verdict
from inspection.record import PartRecord, as_json, as_pdf, part_record
from inspection.store.parts import parts_like, proof
from inspection.store.writer import chain_next, chain_start

__all__ = ["floor"]


def document(record: PartRecord) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(as_json(record))
    return found


def text_of(pdf: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def test_every_planned_point_of_every_run_is_accounted_for(floor: Floor) -> None:
    first = floor.inspected(OK_NOK)
    floor.decide("anna", first, "p1", Action.REPAIRED, method="welded anew")
    floor.inspected((None, Verdict.OK), points=("p1",), repair_of=first)
    floor.inspected((Verdict.REVIEW, None), part="part-2")
    for part, runs in (("part-1", 2), ("part-2", 1)):
        told = document(part_record(floor.reader, part, 10**18))
        assert len(told["runs"]) == runs
        for run in told["runs"]:
            named = [point["point"] for point in run["points"]] + run["without_a_record"]
            assert sorted(named) == ["p0", "p1"]
            balance = run["balance"]
            assert balance["planned"] == sum(
                balance[term] for term in ("ok", "nok", "review", "not_inspected", "open")
            )
    (_, again) = document(part_record(floor.reader, "part-1", 10**18))["runs"]
    assert (again["goes_on_from"], again["covers"]) == (first, ["p1"])


def test_the_record_is_proved_by_digests_chains_and_seals_of_the_store(floor: Floor) -> None:
    run = floor.inspected(OK_NOK)
    floor.decide("anna", run, "p1", Action.OVERRULE, comment="a reflection")
    (told,) = document(part_record(floor.reader, "part-1", 10**18))["runs"]
    head = chain_start(run)
    for record in told["records"]:
        head = chain_next(head, record["sha256"])
        assert record["chain"] == head
    assert told["records"]
    assert [each["verdict"] for each in told["verdicts"]] == ["NOK", "OK"]
    assert len({each["seal"] for each in told["verdicts"]}) == 2
    (word,) = told["words"]
    assert (word["person"], word["action"], word["comment"]) == (
        "anna",
        "overrule",
        "a reflection",
    )
    assert proof(floor.reader, "run-9").records == ()


def test_a_pdf_names_what_is_not_ok_and_shows_its_picture(floor: Floor) -> None:
    run = floor.inspected((Verdict.OK, Verdict.NOK))
    floor.decide("anna", run, "p1", Action.CONFIRM, comment="Riß <b>tief</b> 焊点")
    floor.person(
        m.Look(
            token="ben",
            request_id="c" * 32,
            purpose=m.LookPurpose.BLIND,
            run=run,
            point="p1",
            method=m.LookMethod.ULTRASONIC,
            word=m.LookWord.DEFECT,
            value_mm=2.5,
        )
    )
    record = part_record(floor.reader, "part-1", 10**18)
    (only,) = record.runs
    points = tuple(dataclasses.replace(point, evidence="d" * 64) for point in only.points)
    record = dataclasses.replace(record, runs=(dataclasses.replace(only, points=points),))
    picture = encode_png(np.full((20, 30, 3), 90, np.uint8))
    pdf = as_pdf(record, lambda _: picture)
    text = text_of(pdf)
    assert "Part part-1: NOK" in text
    assert "2 planned = 1 OK + 1 NOK + 0 REVIEW + 0 NOT_INSPECTED + 0 open" in text
    for said in ("p1", "NOK", "Riß <b>tief</b> ??", "2.5 mm", "OK: 1 points"):
        assert said in text, said
    assert len(pypdf.PdfReader(io.BytesIO(pdf)).pages[0].images) == 1
    assert as_pdf(record, lambda _: picture) == pdf, "the same record gives another file"
    assert "no picture here" in text_of(as_pdf(record, lambda _: None))
    assert "picture unreadable" in text_of(as_pdf(record, lambda _: b"no picture"))


def test_a_part_is_found_by_how_its_id_begins(floor: Floor) -> None:
    for part in ("WVW-1", "WVW-2", "WAU-1"):
        floor.inspected(part=part)
    assert parts_like(floor.reader, "WVW") == ["WVW-1", "WVW-2"]
    assert parts_like(floor.reader, "W", limit=1) == ["WAU-1"]
    assert parts_like(floor.reader, "WVW-2") == ["WVW-2"]
    assert parts_like(floor.reader, "w") == []


def test_a_part_that_is_not_on_record_is_said_so(floor: Floor) -> None:
    floor.inspected()
    with pytest.raises(StoreError, match="nothing is on record of part part-9"):
        part_record(floor.reader, "part-9", 0)


def test_the_command_writes_both_files_and_says_what_is_missing(
    floor: Floor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    floor.inspected()
    store, out = str(floor.folder / "station.db"), tmp_path / "out"
    out.mkdir()
    files = ["--json", str(out / "a.json"), "--pdf", str(out / "a.pdf")]
    assert command.main(["store", "record", store, "part-1", *files]) == 0
    assert json.loads((out / "a.json").read_bytes())["part"] == "part-1"
    assert (out / "a.pdf").read_bytes().startswith(b"%PDF")
    assert command.main(["store", "record", store, "part-1"]) == 2
    assert "--json FILE" in capsys.readouterr().err
    assert command.main(["store", "record", store, "part-9", *files]) != 0
    assert "part-9" in capsys.readouterr().err
    missing = ["--json", str(out / "no" / "a.json")]
    assert command.main(["store", "record", store, "part-1", *missing]) != 0
    assert "cannot be written" in capsys.readouterr().err
