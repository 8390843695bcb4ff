"""Messages and the bytes they become: nothing gets through that is not a message of its lane."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspection import messages as m
from inspection import wire
from inspection.errors import TooLarge, WireError, WrongProtocol
from inspection.schemas_command import lane_types
from inspection.testing.strategies import message_types, messages, of, orders, view_results

LANES: dict[str, wire.Lane[Any]] = {
    name: lane for name, lane in vars(wire).items() if isinstance(lane, wire.Lane)
}
JSON_LANES = {"PLC_TO_STATION", "STATION_TO_PLC"}
BEGIN = m.Begin(plc="plc-1", seq=1, part="VIN1", plan="door")
BEGIN_BYTES = wire.PLC_TO_STATION.encode(BEGIN)


def lane_of(message: m.Message) -> wire.Lane[Any]:
    return next(lane for name, lane in LANES.items() if type(message) in lane_types(name))


# ---------------------------------------------------------------- what gets through


def test_every_message_has_a_lane() -> None:
    travelling = {kind for name in LANES for kind in lane_types(name)}
    assert travelling == set(message_types())


def test_plc_lanes_are_json_and_all_others_msgpack() -> None:
    ping = m.Ping(edge="e", nonce="0" * 32, counter=1, outbox_records=0)
    assert json.loads(BEGIN_BYTES)["type"] == "Begin"
    assert msgspec.msgpack.decode(wire.EDGE_TO_STATION.encode(ping))["type"] == "Ping"


@settings(deadline=None, max_examples=300)
@given(messages())
def test_every_message_survives_its_lane(message: m.Message) -> None:
    lane = lane_of(message)
    frame = lane.encode(message)
    assert lane.decode(frame) == message
    assert lane.encode(lane.decode(frame)) == frame


@settings(deadline=None)
@given(messages())
def test_a_message_means_the_same_in_both_codecs(message: m.Message) -> None:
    as_json, as_msgpack = msgspec.json, msgspec.msgpack
    assert as_json.decode(as_json.encode(message), type=type(message)) == message
    assert as_msgpack.decode(as_msgpack.encode(message), type=type(message)) == message


@settings(deadline=None)
@given(of(m.Begin), st.text(alphabet="abc", min_size=1, max_size=5))
def test_a_field_of_a_newer_peer_is_ignored(message: m.Begin, name: str) -> None:
    newer = {**json.loads(wire.PLC_TO_STATION.encode(message)), name: {"any": [1, None]}}
    assert wire.PLC_TO_STATION.decode(json.dumps(newer).encode()) == message


@settings(deadline=None)
@given(orders().flatmap(lambda order: st.tuples(st.just(order), view_results(order))))
def test_the_strategy_answers_every_point_of_an_order_exactly_once(
    pair: tuple[m.Order, m.ViewResult],
) -> None:
    order, result = pair
    assert [entry.point for entry in result.points] == [task.point for task in order.points]
    assert wire.RECORD.decode(wire.RECORD.encode(result)) == result


# ---------------------------------------------------------------- what does not


@pytest.mark.parametrize("name", sorted(LANES))
@settings(deadline=None, max_examples=60)
@given(noise=st.binary(max_size=200))
def test_noise_is_refused_on_every_lane(name: str, noise: bytes) -> None:
    with pytest.raises(WireError):
        LANES[name].decode(noise)


@settings(deadline=None, max_examples=200)
@given(messages(), st.data())
def test_a_cut_frame_is_refused(message: m.Message, data: st.DataObject) -> None:
    lane = lane_of(message)
    frame = lane.encode(message)
    with pytest.raises(WireError):
        lane.decode(frame[: data.draw(st.integers(0, len(frame) - 1))])


@settings(deadline=None, max_examples=300)
@given(messages(), st.data())
def test_a_frame_with_flipped_bits_is_a_message_or_refused_never_a_crash(
    message: m.Message, data: st.DataObject
) -> None:
    lane = lane_of(message)
    frame = bytearray(lane.encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = lane.decode(bytes(frame))
    except WireError:
        return
    assert isinstance(found, m.Message)


@settings(deadline=None)
@given(messages(), st.sampled_from(sorted(LANES)))
def test_a_message_is_refused_on_every_lane_but_its_own(message: m.Message, name: str) -> None:
    codec = msgspec.json if name in JSON_LANES else msgspec.msgpack
    frame = codec.encode(message)
    if type(message) in lane_types(name):
        assert LANES[name].decode(frame) == message
    else:
        with pytest.raises(WireError, match=re.escape(type(message).__name__)):
            LANES[name].decode(frame)


@pytest.mark.parametrize("name", sorted(LANES))
def test_a_frame_over_the_limit_is_refused_unread(name: str) -> None:
    lane = LANES[name]
    with pytest.raises(TooLarge, match=str(lane.max_bytes)):
        lane.decode(b"{" * (lane.max_bytes + 1))


def test_a_message_over_the_limit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(TooLarge, match="Refusal"):
        wire.STATION_TO_PLC.encode(m.Refusal(seq=1, fault=m.Fault.MALFORMED, text="x" * 20_000))


def test_a_full_view_with_every_class_still_fits_its_record() -> None:
    # 1000 points are the limit of a plan; a record that could not be sent would never be committed.
    ref = m.ModelRef(package="f" * 64, policy="f" * 64)
    points = tuple(
        m.Inspected(
            point=f"{number:064}",
            verdict=m.Verdict.NOK,
            reason=m.Reason.DEFECT,
            finding="a-defect-class",
            scores=(1 / 7,) * 7,
            model=ref,
            evidence="f" * 64,
        )
        for number in range(m.MAX_POINTS_PER_VIEW)
    )
    result = m.ViewResult(
        run="r" * 64,
        part="p" * 64,
        plan="f" * 64,
        view="v" * 64,
        attempt=1,
        edge="e" * 64,
        camera="c" * 64,
        frame="f" * 500,
        captured_ns=2**62,
        points=points,
    )
    assert wire.RECORD.decode(wire.RECORD.encode(result)) == result


@pytest.mark.parametrize("protocol", ["2", "0", "-1", "1.5", '"1"', "null", "true", "1e400"])
def test_another_protocol_is_refused_never_guessed_at(protocol: str) -> None:
    frame = BEGIN_BYTES.replace(b'"protocol":1', f'"protocol":{protocol}'.encode())
    with pytest.raises(WireError):
        wire.PLC_TO_STATION.decode(frame)


def test_another_protocol_says_who_must_be_upgraded() -> None:
    with pytest.raises(WrongProtocol, match="protocol 2, but this side speaks 1"):
        wire.PLC_TO_STATION.decode(BEGIN_BYTES.replace(b'"protocol":1', b'"protocol":2'))


def test_another_protocol_is_named_even_where_its_fields_are_strange() -> None:
    with pytest.raises(WrongProtocol):
        wire.PLC_TO_STATION.decode(b'{"type":"BeginAll","protocol":2,"parts":[1]}')


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"null",
        b"[]",
        b'"Begin"',
        b"{}",
        b'{"type":"Begin"}',
        b'{"protocol":1}',
        b'{"type":["Begin"],"protocol":1}',
        BEGIN_BYTES + b"{}",
        BEGIN_BYTES[:-1] + b',"seq":null}',
        b"\xef\xbb\xbf" + BEGIN_BYTES,
        BEGIN_BYTES.decode().encode("utf-16"),
        BEGIN_BYTES.replace(b"VIN1", b"VIN\xff"),
        BEGIN_BYTES.replace(b"VIN1", b"VIN1\\n"),
        BEGIN_BYTES.replace(b"VIN1", b"VIN1\\u0000"),
        BEGIN_BYTES.replace(b"VIN1", b"..\\/VIN1"),
        BEGIN_BYTES.replace(b"VIN1", b"<b>"),
        BEGIN_BYTES.replace(b"VIN1", b""),
        BEGIN_BYTES.replace(b"VIN1", b"V" * 65),
        BEGIN_BYTES.replace(b'"seq":1', b'"seq":0'),
        BEGIN_BYTES.replace(b'"seq":1', b'"seq":-1'),
        BEGIN_BYTES.replace(b'"seq":1', b'"seq":1.5'),
        BEGIN_BYTES.replace(b'"seq":1', b'"seq":9007199254740993'),
        BEGIN_BYTES.replace(b'"seq":1', b'"seq":"1"'),
        b'{"type":"Begin","protocol":1,"plc":' + b"[" * 10_000,
        b"[" * 10_000,
    ],
)
def test_a_malformed_request_is_refused_with_a_sentence(frame: bytes) -> None:
    with pytest.raises(WireError) as caught:
        wire.PLC_TO_STATION.decode(frame)
    assert str(caught.value)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.01, 1.01])
def test_a_score_that_is_no_probability_never_crosses_the_wire(score: float) -> None:
    inspected = m.Inspected(
        point="P1",
        verdict=m.Verdict.OK,
        reason=m.Reason.NONE,
        finding="",
        scores=(0.5,),
        model=m.ModelRef(package="0" * 64, policy="0" * 64),
    )
    result = m.ViewResult(
        run="r",
        part="p",
        plan="0" * 64,
        view="v",
        attempt=1,
        edge="e",
        camera="c",
        frame="",
        captured_ns=0,
        points=(msgspec.structs.replace(inspected, scores=(score,)),),
    )
    with pytest.raises(WireError):
        wire.RECORD.decode(wire.RECORD.encode(result))


@settings(deadline=None)
@given(st.text(max_size=70))
def test_an_identifier_is_nothing_that_could_be_a_path_or_markup(text: str) -> None:
    try:
        accepted = msgspec.convert(text, m.Id)
    except msgspec.ValidationError:
        return
    assert accepted.isascii()
    assert not set(accepted) & set("/\\<>&'\"\n\0 ")
    assert accepted[0] not in ".-_"
    assert len(accepted) <= 64


@pytest.mark.parametrize(
    "text", ["a\n", "a\n\n", "", ".", "..", "-a", "_a", "a/b", "a b", "ä", "a" * 65, "a\0"]
)
def test_these_are_no_identifiers(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, m.Id)


# ---------------------------------------------------------------- numbers a PLC program knows


def test_the_codes_a_plc_program_knows_never_change() -> None:
    # A code may be added here with a release; none may change or go.
    faults = {
        "NONE": 0,
        "MALFORMED": 100,
        "PROTOCOL": 101,
        "TOO_LARGE": 102,
        "SEQ_REUSED": 103,
        "UNKNOWN_SESSION": 104,
        "UNKNOWN_PLAN": 110,
        "RUN_OPEN": 111,
        "UNKNOWN_RUN": 112,
        "RUN_CLOSED": 113,
        "UNKNOWN_VIEW": 114,
        "VIEW_NOT_YOURS": 115,
        "NO_VERDICT": 116,
        "STALE_VERDICT": 117,
        "EDGE_MISSING": 200,
        "MODEL_MISSING": 201,
        "STORE_FAILED": 202,
        "VIEW_FAILED": 203,
        "NOT_REINSPECTABLE": 120,
        "CHALLENGE_DUE": 210,
        "CHALLENGE_FAILED": 211,
        "BYPASSED": 212,
        "NOT_AUTHORISED": 300,
        "STALE": 301,
        "UNKNOWN_POINT": 302,
        "NOT_POSSIBLE": 303,
        "REQUEST_REUSED": 304,
    }
    reasons = {
        "NONE": 0,
        "DEFECT": 100,
        "UNCERTAIN": 101,
        "OUT_OF_DISTRIBUTION": 102,
        "NO_IMAGE": 200,
        "IMAGE_UNREADABLE": 201,
        "IMAGE_WRONG_SIZE": 202,
        "IMAGE_TOO_DARK": 203,
        "IMAGE_TOO_BRIGHT": 204,
        "MISALIGNED": 205,
        "MODEL_UNAVAILABLE": 300,
        "MODEL_OUTPUT_INVALID": 301,
        "MODEL_NOT_RELEASED": 302,
        "POLICY_DISAGREES": 303,
        "MODEL_HUNG": 304,
        "EDGE_NOT_CONNECTED": 400,
        "EDGE_LOST": 401,
        "EDGE_FAILED": 402,
        "LATE": 500,
        "NOT_TRIGGERED": 501,
        "RUN_ENDED": 502,
        "STATION_RESTARTED": 503,
        "RECORD_UNREADABLE": 600,
        "RECORD_LOST": 601,
        "RECORD_CONFLICT": 602,
        "REPAIRED": 700,
        "DISAGREEMENT": 701,
        "BYPASSED": 702,
        "SUPERSEDED": 703,
        "CHALLENGE_DUE": 800,
        "CHALLENGE_FAILED": 801,
        "CHALLENGE_PART": 802,
    }
    assert faults.items() <= {fault.name: fault.value for fault in m.Fault}.items()
    assert reasons.items() <= {reason.name: reason.value for reason in m.Reason}.items()


def test_severities_are_ordered() -> None:
    assert sorted(m.Severity, key=lambda level: level.rank) == ["minor", "major", "critical"]


# ---------------------------------------------------------------- evidence


def test_what_results_say_of_their_pictures_is_left_out_where_there_is_nothing_to_say() -> None:
    ref = m.ModelRef(package="a" * 64, policy="b" * 64)
    plain = m.Inspected(
        point="W1", verdict=m.Verdict.OK, reason=m.Reason.NONE, finding="", scores=(1.0,), model=ref
    )
    raw = msgspec.msgpack.encode(plain)
    assert b"inclusion" not in raw
    assert b"heat" not in raw
    told = msgspec.structs.replace(plain, evidence="c" * 64, inclusion=0.01, heat="d" * 64)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=m.Inspected) == told
    assert len(msgspec.msgpack.encode(msgspec.structs.replace(plain, inclusion=0.01))) == (
        len(raw) + 19
    )


@pytest.mark.parametrize("inclusion", [0.0, -0.1, 1.5, float("nan"), "1", None])
def test_a_probability_that_is_none_is_no_message(inclusion: object) -> None:
    ref = {"package": "a" * 64, "policy": "b" * 64}
    said = {
        "is": "inspected",
        "point": "W1",
        "verdict": "OK",
        "reason": 0,
        "finding": "",
        "scores": [1.0],
        "model": ref,
        "inclusion": inclusion,
    }
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(said), type=m.Inspected)
