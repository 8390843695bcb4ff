"""The bytes of every message as earlier releases wrote them: old and new processes must understand
each other, and a message read from an outbox must be the message that was written.

``python tests/golden/test_golden_messages.py`` writes files for messages that have none yet. It
never replaces one: bytes that no longer fit need a new protocol version, or a decision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from inspection import messages as m
from inspection.testing.strategies import message_types

FOLDER = Path(__file__).parent / "messages"
CODECS: dict[str, Any] = {"json": msgspec.json, "msgpack": msgspec.msgpack}

RUN, PLAN = "door-20250301-0001", "0123456789abcdef" * 4
OUTBOX, NONCE = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"
REF = m.ModelRef(package="a" * 64, policy="b" * 64)
REGION = m.Region(left_px=10.5, top_px=20.0, width_px=64.0, height_px=64.0)

SAMPLES: list[m.Message] = [
    m.Hello(
        edge="edge-1",
        outbox=OUTBOX,
        nonce=NONCE,
        first_seq=1,
        next_seq=3,
        cameras=("camera-1",),
        models=(
            m.ModelState(name="spot-weld", ref=REF),
            m.ModelState(name="clip", ref=None, fault="golden pictures do not reproduce"),
        ),
    ),
    m.Welcome(station="door", nonce=NONCE, committed=0, credit=32),
    m.Results(outbox=OUTBOX, nonce=NONCE, first_seq=1, records=(b"\x80", b"\x00\xff")),
    m.Committed(nonce=NONCE, committed=2, credit=30),
    m.Order(
        run=RUN,
        part="VIN1",
        plan=PLAN,
        view="left",
        camera="camera-1",
        attempt=1,
        remaining_ms=7900,
        width_px=2448,
        height_px=2048,
        points=(m.PointTask(point="SW-1", model="spot-weld", region=REGION),),
        models={"spot-weld": REF},
    ),
    m.FrameTaken(run=RUN, view="left", attempt=1, frame="frame-17"),
    m.Ping(edge="edge-1", nonce=NONCE, counter=7, outbox_records=2),
    m.Pong(nonce=NONCE, counter=7),
    m.ViewResult(
        run=RUN,
        part="VIN1",
        plan=PLAN,
        view="left",
        attempt=1,
        edge="edge-1",
        camera="camera-1",
        frame="frame-17",
        captured_ns=1_700_000_000_000_000_000,
        points=(
            m.Inspected(
                point="SW-1",
                verdict=m.Verdict.NOK,
                reason=m.Reason.DEFECT,
                finding="missing",
                scores=(0.125, 0.875),
                model=REF,
                evidence="c" * 64,
            ),
            m.Inspected(
                point="SW-2",
                verdict=m.Verdict.OK,
                reason=m.Reason.NONE,
                finding="",
                scores=(1.0, 0.0),
                model=REF,
            ),
            m.Missed(
                point="SW-3",
                reason=m.Reason.IMAGE_TOO_DARK,
                detail="mean 3 of 255",
                evidence="c" * 64,
            ),
        ),
    ),
    m.Gap(detail="record 17 of the outbox has a wrong checksum"),
    m.Evidence(edge="edge-1", sha256="c" * 64, media_type="png", data=b"\x89PNG\r\n"),
    m.EvidenceStored(sha256="c" * 64),
    m.Refused(fault=m.Fault.MALFORMED, text="no message: input data was truncated"),
    m.Begin(plc="plc-1", seq=1, part="VIN1", plan="door"),
    m.TriggerView(plc="plc-1", seq=2, run=RUN, view="left"),
    m.End(plc="plc-1", seq=3, run=RUN),
    m.GetVerdict(plc="plc-1", seq=4, part="VIN1", run=RUN),
    m.Ack(plc="plc-1", seq=5, run=RUN, verdict_seq=1),
    m.Heartbeat(plc="plc-1", counter=9),
    m.Begun(seq=1, run=RUN, part="VIN1", plan="door", plan_hash=PLAN, planned=3, deadline_ms=8000),
    m.Acquired(seq=2, run=RUN, view="left", frame="frame-17"),
    m.Busy(seq=2, run=RUN),
    m.Ended(seq=3, run=RUN),
    m.PartVerdict(
        seq=4,
        run=RUN,
        part="VIN1",
        plan="door",
        plan_hash=PLAN,
        verdict_seq=1,
        result_valid=True,
        ok=False,
        nok=True,
        hold=False,
        planned=3,
        points_ok=1,
        points_nok=1,
        points_review=0,
        points_not_inspected=1,
        points_open=0,
    ),
    m.VerdictReady(run=RUN, part="VIN1", verdict_seq=1),
    m.Acknowledged(seq=5, run=RUN, verdict_seq=1),
    m.Status(
        counter=9,
        heartbeat=1001,
        ready=False,
        fault=m.Fault.EDGE_MISSING,
        text="no edge with camera-2",
        last_seq=5,
    ),
    m.Refusal(seq=6, fault=m.Fault.RUN_OPEN, text="VIN1 is being inspected", run=RUN),
    m.Decide(
        token="token-1",
        request_id=NONCE,
        run=RUN,
        point="SW-1",
        expected_seq=1,
        expected_record=17,
        action=m.Action.OVERRULE,
        comment="a reflection",
    ),
    m.Decided(
        request_id=NONCE,
        run=RUN,
        point="SW-1",
        verdict=m.Verdict.OK,
        standing=m.Standing.SETTLED,
        verdict_seq=2,
        run_verdict=m.RunVerdict.HOLD,
    ),
    m.Look(
        token="token-1",
        request_id=NONCE,
        purpose=m.LookPurpose.AUDIT,
        run=RUN,
        point="SW-1",
        method=m.LookMethod.ULTRASONIC,
        word=m.LookWord.DEFECT,
        finding="small",
        value_mm=3.9,
        inclusion=0.01,
        stratum="near",
    ),
    m.LookKept(request_id=NONCE, number=4),
    m.PlanStudy(token="token-1", request_id=NONCE, study="msa-1", document="{}"),
    m.StudyKept(request_id=NONCE, study="msa-1"),
    m.Bypass(token="token-1", request_id=NONCE, reason="camera in repair", until_ns=1_700_000_000),
    m.Unbypass(token="token-1", request_id=NONCE, reason="camera is back"),
    m.BypassState(request_id=NONCE, active=True, until_ns=1_700_000_000),
    m.Declined(request_id=NONCE, fault=m.Fault.STALE, text="look at it again"),
    m.Login(request_id=NONCE, user="anna", password="correct horse"),
    m.LoggedIn(
        request_id=NONCE,
        user="anna",
        roles=(m.Role.OPERATOR, m.Role.QUALITY),
        token="bm90.aW5n",
        valid_ms=36_000_000,
    ),
]


def golden(message: m.Message, codec: str) -> Path:
    return FOLDER / f"{type(message).__name__}.{codec}"


def test_every_message_has_a_sample_and_every_file_a_message() -> None:
    assert sorted(type(sample).__name__ for sample in SAMPLES) == [
        kind.__name__ for kind in message_types()
    ]
    expected = {golden(sample, codec) for sample in SAMPLES for codec in CODECS}
    assert set(FOLDER.iterdir()) == expected


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_message_is_written_and_read_as_it_always_was(sample: m.Message, codec: str) -> None:
    data = golden(sample, codec).read_bytes()
    assert CODECS[codec].decode(data, type=type(sample)) == sample
    assert CODECS[codec].encode(sample) == data


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for new in SAMPLES:
        for name, codec in CODECS.items():
            if not golden(new, name).exists():
                golden(new, name).write_bytes(codec.encode(new))
