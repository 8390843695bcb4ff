"""Frames that nobody should send: every shape of nonsense that a decoder has ever choked on.

`Fuzzer` makes endless different ones for a lane, from a seed, starting from messages that are
right. What it makes may by chance be a message after all: then it must do what such a message does,
and no more.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from inspection import messages as m

LARGEST = 14 * 1024
"""Of a frame: under the limit of every lane, so that the station itself has to look at it."""

BAD_TEXTS = (
    "",
    "'; DROP TABLE verdict; --",
    "../../etc/passwd",
    "a\0b",
    "\u202eKO",
    "<script>alert(1)</script>",
    "x" * 10_000,
    "P1\n",
    "-rf",
    "\ud7ff\ufffe",
    "NaN",
)
BAD_NUMBERS = (-1, 0, 2**63, 2**64 - 1, -(2**63), 1.5, math.nan, math.inf, -math.inf, True, False)

Frames = tuple[bytes, ...]
"""The parts of one message: more than one is itself a mistake."""


class Fuzzer:
    """Bad frames for one lane. ``valid`` are messages that may travel on it."""

    def __init__(self, valid: Sequence[m.Message], *, json: bool, seed: int) -> None:
        self._rng = random.Random(seed)  # noqa: S311  nonsense is no secret
        self._valid = [msgspec.to_builtins(message) for message in valid]
        self._json = json
        self.shapes: Mapping[str, Callable[[], Frames]] = {
            "empty": lambda: (b"",),
            "one byte": lambda: (self._rng.randbytes(1),),
            "the byte msgpack never uses": lambda: (b"\xc1",),
            "nothing": lambda: (self._encode(None),),
            "random bytes": lambda: (self._rng.randbytes(self._rng.randrange(600)),),
            "two parts": lambda: (self._right(), self._right()),
            "an empty part before": lambda: (b"", self._right()),
            "cut short": self._cut_short,
            "more behind": lambda: (self._right() + self._rng.randbytes(9),),
            "flipped bit": self._flipped,
            "spliced": self._spliced,
            "an array of four billion": lambda: (self._header(b"\xdd", b"[" * 20),),
            "a text of four gigabytes": lambda: (self._header(b"\xdb", b'"' + b"x" * 99),),
            "bytes of four gigabytes": lambda: (self._header(b"\xc6", b'"\\u00'),),
            "a map of four billion": lambda: (self._header(b"\xdf", b'{"a":' * 9),),
            "an extension of four gigabytes": lambda: (self._header(b"\xc9", b"//"),),
            "deep arrays": lambda: (self._deep(b"\x91", b"["),),
            "deep maps": lambda: (self._deep(b"\x81\xa1a", b'{"a":'),),
            "deep inside a field": self._deep_field,
            "a key twice": self._key_twice,
            "text that is not UTF-8": self._not_utf8,
            "true for a number": lambda: self._changed(self._rng.choice([True, False])),
            "a number out of range": lambda: self._changed(self._rng.choice(BAD_NUMBERS)),
            "a number for text": lambda: self._changed(7),
            "null for a value": lambda: self._changed(None),
            "a list for a value": lambda: self._changed([[], {}, 1]),
            "a map for a value": lambda: self._changed({"type": "Begin", "protocol": 1}),
            "hostile text": lambda: self._changed(self._rng.choice(BAD_TEXTS)),
            "a missing field": self._missing,
            "an unknown type": lambda: self._set("type", self._rng.choice(["", "Ok", "__class__"])),
            "another protocol": lambda: self._set("protocol", self._rng.choice([0, 2, -1, 2**31])),
            "an unknown field": lambda: self._set("x" * self._rng.randrange(1, 40), [1, 2]),
        }
        """By name, each makes one message of its shape."""

    def one(self) -> Frames:
        """The next message."""
        frames = self.shapes[self._rng.choice(list(self.shapes))]()
        return tuple(frame[:LARGEST] for frame in frames)

    # --------------------------------------------------------------------------------- inside

    def _encode(self, value: Any) -> bytes:
        if self._json:
            return msgspec.json.encode(value)
        return msgspec.msgpack.encode(value)

    def _object(self) -> dict[str, Any]:
        return dict(self._rng.choice(self._valid))

    def _right(self) -> bytes:
        return self._encode(self._object())

    def _cut_short(self) -> Frames:
        frame = self._right()
        return (frame[: self._rng.randrange(len(frame))],)

    def _flipped(self) -> Frames:
        frame = bytearray(self._right())
        for _ in range(self._rng.randint(1, 4)):
            frame[self._rng.randrange(len(frame))] ^= 1 << self._rng.randrange(8)
        return (bytes(frame),)

    def _spliced(self) -> Frames:
        one, two = self._right(), self._right()
        return (one[: self._rng.randrange(len(one))] + two[self._rng.randrange(len(two)) :],)

    def _header(self, kind: bytes, text: bytes) -> bytes:
        """As long as its first bytes claim it to be, it is not."""
        return text if self._json else kind + b"\xff\xff\xff\xff" + self._rng.randbytes(30)

    def _deep(self, packed: bytes, text: bytes) -> bytes:
        piece = text if self._json else packed
        return piece * (LARGEST // len(piece))

    def _deep_field(self) -> Frames:
        value: Any = 1
        for _ in range(self._rng.choice([9, 100, 400])):
            value = [value] if self._rng.random() < 0.5 else {"a": value}
        return self._changed(value)

    def _key_twice(self) -> Frames:
        message = self._object()
        key = self._rng.choice(list(message))
        if self._json:
            frame = self._encode(message)
            return (frame[:-1] + b"," + self._encode({key: BAD_TEXTS[1]})[1:],)
        pairs = [*message.items(), (key, self._rng.choice(BAD_NUMBERS))]
        body = b"".join(self._encode(key) + self._encode(value) for key, value in pairs)
        return (b"\xde" + len(pairs).to_bytes(2, "big") + body,)

    def _not_utf8(self) -> Frames:
        frame = self._right()
        at = frame.find(b"type")
        return (frame[:at] + b"\xff\xfe\xc0\x80"[: self._rng.randint(1, 4)] + frame[at + 4 :],)

    def _changed(self, value: Any) -> Frames:
        """A message with another value somewhere, at the top or inside."""
        message = msgspec.to_builtins(self._object())
        place: Any = message
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = self._rng.choice(list(keys))
            inner = place[key]
            if isinstance(inner, dict | list) and inner and self._rng.random() < 0.7:
                place = inner
                continue
            place[key] = value
            break
        return (self._encode(message),)

    def _set(self, key: str, value: Any) -> Frames:
        return (self._encode({**self._object(), key: value}),)

    def _missing(self) -> Frames:
        message = self._object()
        del message[self._rng.choice(list(message))]
        return (self._encode(message),)


_HASH = "a" * 64
_NONCE = "2" * 32
_MODEL = m.ModelRef(package=_HASH, policy=_HASH)

VALID: Mapping[str, Sequence[m.Message]] = {
    "edge": (
        m.Hello(
            edge="edge-fuzz",
            outbox="f" * 32,
            nonce=_NONCE,
            first_seq=1,
            next_seq=3,
            cameras=("cam-fuzz",),
            models=(m.ModelState(name="darkness", ref=_MODEL),),
            working=(m.OrderRef(run="r", view="v0", attempt=1),),
        ),
        m.Results(
            outbox="f" * 32,
            nonce=_NONCE,
            first_seq=1,
            records=(
                msgspec.msgpack.encode(
                    m.ViewResult(
                        run="r",
                        part="P1",
                        plan=_HASH,
                        view="v0",
                        attempt=1,
                        edge="edge-fuzz",
                        camera="cam-fuzz",
                        frame="1",
                        captured_ns=1,
                        points=(
                            m.Inspected(
                                point="p",
                                verdict=m.Verdict.OK,
                                reason=m.Reason.NONE,
                                finding="",
                                scores=(1.0, 0.0),
                                model=_MODEL,
                            ),
                        ),
                    )
                ),
            ),
        ),
        m.FrameTaken(run="r", view="v0", attempt=1, frame="1"),
        m.Ping(edge="edge-fuzz", nonce=_NONCE, counter=1, outbox_records=0),
    ),
    "evidence": (m.Evidence(edge="edge-fuzz", sha256=_HASH, media_type="image.png", data=b"x"),),
    "plc": (
        m.Begin(plc="plc-fuzz", seq=1, part="F1", plan="no-such-plan"),
        m.TriggerView(plc="plc-fuzz", seq=2, run="r", view="v0"),
        m.End(plc="plc-fuzz", seq=3, run="r"),
        m.GetVerdict(plc="plc-fuzz", seq=4, part="F1"),
        m.Ack(plc="plc-fuzz", seq=5, run="r", verdict_seq=1),
        m.Heartbeat(plc="plc-fuzz", counter=1),
    ),
    "people": (
        m.Login(request_id=_NONCE, user="anna", password="guessed"),  # noqa: S106  nobody's
        m.Decide(
            token="no-token",  # noqa: S106
            request_id=_NONCE,
            run="r",
            point="p",
            expected_seq=1,
            expected_record=1,
            action=m.Action.OVERRULE,
            finding="",
            comment="",
            method="",
        ),
        m.Bypass(token="no-token", request_id=_NONCE, reason="none", until_ns=1),  # noqa: S106
    ),
}
"""Messages to start from, by the station's sockets."""


def fuzzer(socket: str, seed: int) -> Fuzzer:
    """Bad frames for one of the station's sockets."""
    return Fuzzer(VALID[socket], json=socket == "plc", seed=seed)
