"""Bytes to messages and back, and nothing else of a socket.

A `Lane` is one direction between two kinds of process: which messages may travel on it, how they
are written and how large a frame may be. Decoding checks, in this order, size, shape, protocol
version and every field; what fails raises a `WireError` whose text can be sent back and logged.

Unknown fields are ignored (a newer peer may say more); unknown types, enum values and protocol
versions are not.
"""

from __future__ import annotations

from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from inspection import messages as m
from inspection.errors import TooLarge, WireError, WrongProtocol

KIB = 1024
MIB = 1024 * KIB
QUOTED = 400
"""Characters of a decoder's complaint that are worth a log line."""


class _Header(msgspec.Struct):
    protocol: int
    type: str


M = TypeVar("M", bound=m.Message)


class Lane(Generic[M]):
    """One direction of one conversation. ``max_bytes`` is also what its socket must enforce."""

    def __init__(self, types: Any, *, json: bool = False, max_bytes: int = MIB) -> None:
        codec: Any = msgspec.json if json else msgspec.msgpack
        self.max_bytes = max_bytes
        self._encode = codec.Encoder().encode
        self._decode = codec.Decoder(types).decode
        self._header = codec.Decoder(_Header).decode

    def encode(self, message: M) -> bytes:
        """One frame. Raises `TooLarge` before anything is sent: libzmq would cut the connection at
        the receiver's limit and tell the sender nothing."""
        frame: bytes = self._encode(message)
        if len(frame) > self.max_bytes:
            raise TooLarge(
                f"{type(message).__name__} of {len(frame)} bytes is over this lane's limit"
                f" of {self.max_bytes}"
            )
        return frame

    def decode(self, frame: bytes) -> M:
        """One message, or a `WireError` that says what is wrong with the frame."""
        if len(frame) > self.max_bytes:
            raise TooLarge(f"frame of {len(frame)} bytes is over the limit of {self.max_bytes}")
        try:
            header = self._header(frame)
        except RecursionError:
            raise WireError("nested too deeply") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WireError(f"no message: {str(error)[:QUOTED]}") from None
        if header.protocol != m.PROTOCOL:
            raise WrongProtocol(
                f"protocol {header.protocol}, but this side speaks {m.PROTOCOL}: upgrade the older"
            )
        try:
            message: M = self._decode(frame)
        except RecursionError:
            raise WireError("nested too deeply") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            # An unknown type is quoted whole, however long the sender made it.
            raise WireError(f"{header.type[:40]}: {str(error)[:QUOTED]}") from None
        return message


FromEdge: TypeAlias = m.Hello | m.Results | m.FrameTaken | m.Ping
ToEdge: TypeAlias = m.Welcome | m.Committed | m.Order | m.Pong | m.Refused
Record: TypeAlias = m.ViewResult | m.Gap
ToEvidence: TypeAlias = m.EvidenceStored | m.Refused
FromPlc: TypeAlias = m.Begin | m.TriggerView | m.End | m.GetVerdict | m.Ack | m.Heartbeat
ToPlc: TypeAlias = (
    m.Begun
    | m.Acquired
    | m.Busy
    | m.Ended
    | m.PartVerdict
    | m.VerdictReady
    | m.Acknowledged
    | m.Status
    | m.Refusal
)
FromPeople: TypeAlias = m.Login | m.Decide | m.Look | m.PlanStudy | m.Bypass | m.Unbypass
ToPeople: TypeAlias = (
    m.LoggedIn | m.Decided | m.LookKept | m.StudyKept | m.BypassState | m.Declined | m.Refused
)

EDGE_TO_STATION: Lane[FromEdge] = Lane(FromEdge, max_bytes=4 * MIB)
STATION_TO_EDGE: Lane[ToEdge] = Lane(ToEdge)
# Holds the largest answer there can be: MAX_POINTS_PER_VIEW points with MAX_CLASSES scores each.
RECORD: Lane[Record] = Lane(Record, max_bytes=3 * MIB)
EVIDENCE_TO_STATION: Lane[m.Evidence] = Lane(m.Evidence, max_bytes=8 * MIB)
STATION_TO_EVIDENCE: Lane[ToEvidence] = Lane(ToEvidence)
PLC_TO_STATION: Lane[FromPlc] = Lane(FromPlc, json=True, max_bytes=16 * KIB)
STATION_TO_PLC: Lane[ToPlc] = Lane(ToPlc, json=True, max_bytes=16 * KIB)
# Holds the plan of a study.
PEOPLE_TO_STATION: Lane[FromPeople] = Lane(FromPeople, max_bytes=MIB)
STATION_TO_PEOPLE: Lane[ToPeople] = Lane(ToPeople, max_bytes=64 * KIB)
