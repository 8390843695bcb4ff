"""All that crosses a process boundary, as frozen structs.

Edge and station exchange these as msgpack, the PLC sends and gets the same structs as UTF-8 JSON
(see `inspection.wire`). Every message carries ``type`` (its name) and ``protocol`` (the major
version; additions do not change it, because a reader ignores fields it does not know).

Identifiers match `ID_PATTERN`: they become file names and show on pages, so nothing that could be
a path, markup or a control character is an identifier at all.
"""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

PROTOCOL = 1
"""Major version of the messages. A peer with another one is refused, never guessed at."""

# `$` would also match before a trailing newline, in Python and only there.
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?![\s\S])"

Id = Annotated[str, Meta(pattern=ID_PATTERN, max_length=64)]
Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}(?![\s\S])")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?![\s\S])")]
Score = Annotated[float, Meta(ge=0, le=1)]
Ood = Annotated[float, Meta(ge=0)]
"""How unusual a point looks to its model; 1 is what 99 of 100 good validation points stay below."""
Probability = Annotated[float, Meta(gt=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Seq = Annotated[int, Meta(ge=1, le=2**53)]
Nanoseconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Text = Annotated[str, Meta(max_length=500)]
ServiceLevel = Annotated[int, Meta(ge=0, le=255)]
"""How much may be expected of a station, in the manner of OPC UA: 255 all, 0 nothing."""

MAX_POINTS_PER_VIEW = 1000
MAX_CLASSES = 200
THUMBNAIL_PX = 16
"""Side of the reference that a point's content is compared with."""


class Verdict(enum.StrEnum):
    """What is said of a point. There is no fifth value; absence is `NOT_INSPECTED`."""

    OK = "OK"
    NOK = "NOK"
    REVIEW = "REVIEW"
    NOT_INSPECTED = "NOT_INSPECTED"


class RunVerdict(enum.StrEnum):
    """What is said of a run."""

    OK = "OK"
    NOK = "NOK"
    HOLD = "HOLD"


class Severity(enum.StrEnum):
    """How bad a defect at a point, or of a class, would be; `rank` orders them."""

    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return ("minor", "major", "critical").index(self.value)


class ToneMap(enum.StrEnum):
    """How samples of more than 8 bits become 8 (`inspection.imaging.tone_map`)."""

    LINEAR = "linear"
    SQUARE_ROOT = "square-root"


class Reason(enum.IntEnum):
    """Why a point has its verdict. The numbers are fixed for ever: PLC programs know them."""

    NONE = 0
    # 1xx: REVIEW and NOK, said by the model and its policy
    DEFECT = 100
    UNCERTAIN = 101
    OUT_OF_DISTRIBUTION = 102
    # ... by the gauge
    OUTSIDE_LIMITS = 103
    NEAR_LIMIT = 104
    NOT_MEASURED = 105
    # 2xx: the picture
    NO_IMAGE = 200
    IMAGE_UNREADABLE = 201
    IMAGE_WRONG_SIZE = 202
    IMAGE_TOO_DARK = 203
    IMAGE_TOO_BRIGHT = 204
    MISALIGNED = 205
    OUT_OF_FOCUS = 206
    GLARE = 207
    WRONG_CONTENT = 208
    FROZEN = 209
    # 3xx: the model
    MODEL_UNAVAILABLE = 300
    MODEL_OUTPUT_INVALID = 301
    MODEL_NOT_RELEASED = 302
    POLICY_DISAGREES = 303
    MODEL_HUNG = 304
    # 4xx: the edge
    EDGE_NOT_CONNECTED = 400
    EDGE_LOST = 401
    EDGE_FAILED = 402
    # 5xx: the run
    LATE = 500
    NOT_TRIGGERED = 501
    RUN_ENDED = 502
    STATION_RESTARTED = 503
    # 6xx: the record
    RECORD_UNREADABLE = 600
    RECORD_LOST = 601
    RECORD_CONFLICT = 602
    # 7xx: people
    REPAIRED = 700
    DISAGREEMENT = 701
    BYPASSED = 702
    SUPERSEDED = 703
    # 8xx: the guard over the line
    CHALLENGE_DUE = 800
    CHALLENGE_FAILED = 801
    CHALLENGE_PART = 802


class Fault(enum.IntEnum):
    """Why the station refuses or holds. The numbers are fixed for ever: PLC programs know them."""

    NONE = 0
    # 1xx: the request
    MALFORMED = 100
    PROTOCOL = 101
    TOO_LARGE = 102
    SEQ_REUSED = 103
    UNKNOWN_SESSION = 104
    SEQ_TOO_HIGH = 105
    WRONG_KEY = 106
    UNKNOWN_PLAN = 110
    RUN_OPEN = 111
    UNKNOWN_RUN = 112
    RUN_CLOSED = 113
    UNKNOWN_VIEW = 114
    VIEW_NOT_YOURS = 115
    NO_VERDICT = 116
    STALE_VERDICT = 117
    NOT_REINSPECTABLE = 120
    # 2xx: the station is not ready
    EDGE_MISSING = 200
    MODEL_MISSING = 201
    STORE_FAILED = 202
    VIEW_FAILED = 203
    CHALLENGE_DUE = 210
    CHALLENGE_FAILED = 211
    BYPASSED = 212
    # 3xx: a person's request
    NOT_AUTHORISED = 300
    STALE = 301
    UNKNOWN_POINT = 302
    NOT_POSSIBLE = 303
    REQUEST_REUSED = 304
    TRY_LATER = 305


class Role(enum.StrEnum):
    """What a person may do."""

    OPERATOR = "operator"
    QUALITY = "quality"
    ML = "ml"
    ADMIN = "admin"


class LookPurpose(enum.StrEnum):
    """What a second look is for."""

    AUDIT = "AUDIT"
    """A share of what the machine calls OK."""
    BLIND = "BLIND"
    """A second person's word on what a first one has decided, without knowing it."""
    STUDY = "STUDY"
    """A question of a study of agreement."""


class LookMethod(enum.StrEnum):
    """How a second look was made. What a picture shows and what a probe measures are two things."""

    VISUAL = "VISUAL"
    ULTRASONIC = "ULTRASONIC"
    DESTRUCTIVE = "DESTRUCTIVE"


class LookWord(enum.StrEnum):
    """What a second look says."""

    GOOD = "GOOD"
    DEFECT = "DEFECT"
    CANNOT_TELL = "CANNOT_TELL"


class Action(enum.StrEnum):
    """What a person says of a point; `inspection.decisions` holds what follows from it."""

    CONFIRM = "confirm"
    """The machine is right; said of a suspicion (REVIEW): it is a defect."""
    OVERRULE = "overrule"
    """There is no defect; of a point without a usable picture only with the ``method`` by which
    the part itself was looked at."""
    RECLASSIFY = "reclassify"
    """There is a defect, and it is ``finding``."""
    CANNOT_TELL = "cannot_tell"
    """Not to be told from this picture; takes back what the same person said before."""
    REPAIRED = "repaired"
    """The part was repaired here, by ``method``: what was seen before no longer holds."""
    ESCAPE = "escape"
    """A defect was found later at a point that had been called OK."""


class Standing(enum.StrEnum):
    """How a point stands after a decision."""

    SETTLED = "settled"
    SECOND_PERSON_NEEDED = "second_person_needed"
    DISAGREEMENT = "disagreement"


class Message(Struct, frozen=True, kw_only=True, tag_field="type", tag=True):
    """Base of everything sent as one frame."""

    protocol: int = PROTOCOL


# ---------------------------------------------------------------- edge and station


class Region(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An axis-parallel rectangle in a view, in pixels; (left, top) is the top left corner of the
    top left pixel, so that a region of the whole picture is (0, 0, width, height)."""

    left_px: Annotated[float, Meta(ge=0, le=1_000_000)]
    top_px: Annotated[float, Meta(ge=0, le=1_000_000)]
    width_px: Annotated[float, Meta(gt=0, le=1_000_000)]
    height_px: Annotated[float, Meta(gt=0, le=1_000_000)]


class ModelRef(Struct, frozen=True, kw_only=True):
    """A released model: the hash of its manifest and the hash of the policy beside it."""

    package: Sha256
    policy: Sha256


class ModelState(Struct, frozen=True, kw_only=True):
    """A model package an edge was configured with, and whether it may judge with it.

    With a ``fault`` beside a ``ref``, a newer package was refused and the one before goes on."""

    name: Id
    ref: ModelRef | None
    fault: Text = ""
    also: tuple[ModelRef, ...] | UnsetType = UNSET
    """Further packages of this name that are loaded and may be ordered; unset where the edge does
    not follow a registry, so that what it has now is all that it will ever have."""


class QualityLimits(Struct, frozen=True, kw_only=True):
    """What a picture of a point must be like to be judged (`inspection.quality` measures it).
    Grey levels are 0 to 255, shares 0 to 1."""

    reference: Annotated[bytes, Meta(min_length=THUMBNAIL_PX**2, max_length=THUMBNAIL_PX**2)]
    """What good pictures show: grey levels of 16 x 16 cells, row by row."""
    level_min: Annotated[float, Meta(ge=0)]
    level_max: Annotated[float, Meta(ge=0)]
    focus_min: Annotated[float, Meta(ge=0)]
    soft_below: Annotated[float, Meta(ge=0)]
    """A picture with more than half of its points below this is blurred as a whole."""
    shadows_max: Score
    highlights_max: Score
    glare_max: Score
    dead_max: Score
    content_max: Score


Limit = Annotated[float, Meta(gt=0, le=1000)]
Measure = Annotated[float, Meta(ge=-1000, le=1000)]
Uncertainty = Annotated[float, Meta(ge=0, le=1000)]


class GaugeLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How big, how far from its planned place and how much out of round an imprint may be, in
    millimetres; what is left out has no limit."""

    diameter_min_mm: Limit | UnsetType = UNSET
    diameter_max_mm: Limit | UnsetType = UNSET
    offset_max_mm: Limit | UnsetType = UNSET
    roundness_max_mm: Limit | UnsetType = UNSET


class GaugeTask(Struct, frozen=True, kw_only=True):
    """Measure the imprint; ``mm_per_px`` is the plan's calibration of the view."""

    mm_per_px: Annotated[float, Meta(gt=0, le=1000)]
    limits: GaugeLimits


class Gauged(Struct, frozen=True, kw_only=True):
    """What a gauge measured at a point, in millimetres: the centre of the imprint from the planned
    place (to the right and down in the picture), the mean diameter, and roundness, the largest
    minus the smallest diameter. ``pm`` is how far each (of the centre: each coordinate) may be
    wrong, in 99 of 100 cases."""

    x_mm: Measure
    y_mm: Measure
    diameter_mm: Limit
    roundness_mm: Uncertainty
    centre_pm_mm: Uncertainty
    diameter_pm_mm: Uncertainty
    roundness_pm_mm: Uncertainty


class Mark(Struct, frozen=True, kw_only=True):
    """A datum mark: where it lies in the reference picture and what it looks like there, a grey
    PNG cut from it around that place (`inspection.taught.corner`)."""

    id: Id
    x_px: Annotated[float, Meta(ge=0, le=1_000_000)]
    y_px: Annotated[float, Meta(ge=0, le=1_000_000)]
    picture: Annotated[bytes, Meta(max_length=128 * 1024)]


class Alignment(Struct, frozen=True, kw_only=True):
    """How to find where the part lies in a picture of a view: its marks, and the whole reference
    picture much reduced (grey PNG, `inspection.alignment.overview`)."""

    marks: Annotated[tuple[Mark, ...], Meta(min_length=2, max_length=16)]
    overview: Annotated[bytes, Meta(max_length=128 * 1024)]


class Stance(Struct, frozen=True, kw_only=True):
    """How a part lay in a picture, against the reference picture: moved by so many pixels at the
    picture's centre, turned clockwise and enlarged about it. ``residual_px`` is the largest
    distance left at a mark or, where that is more, by what the rest of the picture says, root mean
    square over it; ``likeness`` to the reference picture is 1 where they are equal."""

    shift_x_px: float
    shift_y_px: float
    turn_deg: float
    scale: float
    residual_px: Annotated[float, Meta(ge=0)]
    likeness: Annotated[float, Meta(ge=-1, le=1)]


class PointTask(Struct, frozen=True, kw_only=True):
    """One point an order asks for."""

    point: Id
    model: Id
    region: Region
    quality: QualityLimits | UnsetType = UNSET
    """Without it a point is judged in whatever picture its view gives."""
    anomaly_only: bool | UnsetType = UNSET
    """True where the plan permits a model whose thresholds stand on good pictures alone."""
    gauge: GaugeTask | UnsetType = UNSET
    """Without it nothing is measured."""


class OrderRef(Struct, frozen=True, kw_only=True):
    """Names one order."""

    run: Id
    view: Id
    attempt: Seq


class Hello(Message, frozen=True):
    """An edge opens a session: what its outbox still holds, what it can do, and which orders it
    still has in hand (so that the station repeats only those that died with a process)."""

    edge: Id
    outbox: Hex32
    nonce: Hex32
    first_seq: Seq
    next_seq: Seq
    cameras: tuple[Id, ...]
    models: tuple[ModelState, ...]
    working: tuple[OrderRef, ...] = ()


class Welcome(Message, frozen=True):
    """The station accepts a session. ``committed`` is the last sequence number it has durably;
    an answer with another nonce belongs to an earlier session and is dropped."""

    station: Id
    nonce: Hex32
    committed: Count
    credit: Count


class Results(Message, frozen=True):
    """Consecutive outbox records from ``first_seq`` on, each an encoded `ViewResult` or `Gap`.

    They stay bytes here, so that one that cannot be read neither blocks nor hides its neighbours.
    """

    outbox: Hex32
    nonce: Hex32
    first_seq: Seq
    records: Annotated[tuple[bytes, ...], Meta(min_length=1, max_length=64)]


class Committed(Message, frozen=True):
    """Everything up to ``committed`` is durable at the station; the outbox may forget it."""

    nonce: Hex32
    committed: Count
    credit: Count


class Order(Message, frozen=True):
    """Photograph this view and judge these points. Complete in itself, so that an edge needs no
    state of its own: ``models`` names, for each model of the points, the only package and policy
    whose verdict will count."""

    run: Id
    part: Id
    plan: Sha256
    view: Id
    camera: Id
    attempt: Seq
    remaining_ms: Count
    width_px: Seq
    height_px: Seq
    points: Annotated[tuple[PointTask, ...], Meta(min_length=1, max_length=MAX_POINTS_PER_VIEW)]
    models: dict[Id, ModelRef]
    tone_map: ToneMap | UnsetType = UNSET
    """The only tone map whose pictures count; unset for a camera of 8 bits."""
    alignment: Alignment | UnsetType = UNSET
    """Unset where the plan's view has no taught marks: then each region is looked at as planned."""


class FrameTaken(Message, frozen=True):
    """The picture of an order is in memory; a robot may move. Only a hint: not durable."""

    run: Id
    view: Id
    attempt: Seq
    frame: Text


class Ping(Message, frozen=True):
    """Sent by an edge from its working loop, so that a worker that hangs falls silent. The station
    sends an order again that is neither ``working`` nor answered: frames can be lost."""

    edge: Id
    nonce: Hex32
    counter: Count
    outbox_records: Count
    working: tuple[OrderRef, ...] = ()
    models: tuple[ModelState, ...] | UnsetType = UNSET
    """As in `Hello`, and in place of it from now on; unset where nothing can change."""


class Pong(Message, frozen=True):
    """The station's answer to a `Ping`."""

    nonce: Hex32
    counter: Count
    models: dict[Id, tuple[ModelRef, ...]] | UnsetType = UNSET
    """What may still be ordered, by model: the released package first. An edge keeps these loaded;
    one that its `Ping` of this counter no longer named and that is not here is ordered no more."""


class Inspected(Struct, frozen=True, kw_only=True, tag_field="is", tag="inspected"):
    """What model and policy say of a point; ``scores`` in the order of the manifest's classes.
    ``ood`` is left out, not null, where the model has no such output, as in all older records."""

    point: Id
    verdict: Verdict
    reason: Reason
    finding: Text
    scores: Annotated[tuple[Score, ...], Meta(min_length=1, max_length=MAX_CLASSES)]
    model: ModelRef
    evidence: Sha256 | None = None
    """Name of the crop (see `Evidence`); its file may come later, or be lost."""
    ood: Ood | UnsetType = UNSET
    inclusion: Probability | UnsetType = UNSET
    """Of an OK point: the probability with which its picture is kept (`inspection.drawing`),
    whether it was or not. Unset where none are kept, and where every picture is (NOK, REVIEW)."""
    heat: Sha256 | UnsetType = UNSET
    """Name of the heat map, where the model has one and the point is not OK."""
    gauge: Gauged | UnsetType = UNSET
    """Unset where the plan has no limits for it, and where nothing could be measured."""


class Missed(Struct, frozen=True, kw_only=True, tag_field="is", tag="missed"):
    """A point the plan asked for and nobody could look at."""

    point: Id
    reason: Reason
    detail: Text = ""
    evidence: Sha256 | None = None


class SecondShot(Struct, frozen=True, kw_only=True):
    """One more picture was taken, because some points could not be judged in the first. What is
    said of ``points`` is of the second picture, everything else of the first."""

    first_frame: Text
    reasons: Annotated[tuple[Reason, ...], Meta(min_length=1, max_length=100)]
    """Why not in the first: each reason once."""
    points: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=MAX_POINTS_PER_VIEW)]


class ViewResult(Message, frozen=True):
    """All that came of one order: one outbox record. Exactly one entry for each point ordered.
    ``frame`` and ``captured_ns`` are of the last picture that was taken.

    The station writes records of the same form, with attempt 0, for points nobody looked at.
    """

    run: Id
    part: Id
    plan: Sha256
    view: Id
    attempt: Count
    edge: Id
    camera: Id
    frame: Text
    captured_ns: Nanoseconds
    points: Annotated[
        tuple[Inspected | Missed, ...], Meta(min_length=1, max_length=MAX_POINTS_PER_VIEW)
    ]
    second_shot: SecondShot | UnsetType = UNSET
    stance: Stance | UnsetType = UNSET
    """Where the regions were moved to; unset where none was measured."""


class Gap(Message, frozen=True):
    """Records of this outbox that are truly gone (a damaged disk); their points stay open."""

    detail: Text


class Evidence(Message, frozen=True):
    """A picture named by results, on its own lane. ``sha256`` is of ``data``, or of what ``data``,
    a PNG file, holds (`inspection.png`): then a result could name it before it was packed."""

    edge: Id
    sha256: Sha256
    media_type: Id
    data: bytes
    ok: bool | UnsetType = UNSET
    """True for a picture of OK points only: where room is short it gives way to the others."""


class EvidenceStored(Message, frozen=True):
    """The picture is stored; the edge may forget it."""

    sha256: Sha256


class Refused(Message, frozen=True):
    """A frame that could not be used, with the code and a sentence for a person."""

    fault: Fault
    text: Text


# ---------------------------------------------------------------- PLC and station


class Begin(Message, frozen=True):
    """A part stands in the station: open a run. Idempotent by (plc, seq).

    With ``repair_of``, the part's latest run, only ``points`` are looked at again (those that are
    not OK where they are left out), and the verdict is on the whole part."""

    plc: Id
    seq: Seq
    part: Id
    plan: Id
    repair_of: Id | UnsetType = UNSET
    points: (
        Annotated[tuple[Id, ...], Meta(min_length=1, max_length=MAX_POINTS_PER_VIEW)] | UnsetType
    ) = UNSET


class TriggerView(Message, frozen=True):
    """The PLC says that the part stands for this view."""

    plc: Id
    seq: Seq
    run: Id
    view: Id


class End(Message, frozen=True):
    """No more pictures: views not yet triggered become NOT_INSPECTED. `Busy` while a picture may be
    being taken, then `Ended`. The verdict follows as soon as what was photographed is judged, at
    the deadline at the latest."""

    plc: Id
    seq: Seq
    run: Id


class GetVerdict(Message, frozen=True):
    """The latest verdict of a run or, with ``run`` null or left out, of the part's latest run."""

    plc: Id
    seq: Seq
    part: Id
    run: Id | None = None


class Ack(Message, frozen=True):
    """The PLC has taken this verdict."""

    plc: Id
    seq: Seq
    run: Id
    verdict_seq: Seq


class Heartbeat(Message, frozen=True):
    """The PLC is alive; answered by `Status`."""

    plc: Id
    counter: Count


class Begun(Message, frozen=True):
    """The run is open and every planned point has its row."""

    seq: Seq
    run: Id
    part: Id
    plan: Id
    plan_hash: Sha256
    planned: Count
    deadline_ms: Count
    repair_of: Id | UnsetType = UNSET
    covered: Count | UnsetType = UNSET
    """How many of the planned points a re-inspection looks at ..."""
    views: tuple[Id, ...] | UnsetType = UNSET
    """... and the views it needs for that; the others must not be triggered."""


class Acquired(Message, frozen=True):
    """The picture of the view has been taken: the robot may move."""

    seq: Seq
    run: Id
    view: Id
    frame: Text


class Busy(Message, frozen=True):
    """Accepted and not done yet: ask again with the same sequence number."""

    seq: Seq
    run: Id


class Ended(Message, frozen=True):
    """No more pictures are taken: the part may move, and the verdict can be asked for."""

    seq: Seq
    run: Id


class PartVerdict(Message, frozen=True):
    """The answer to `GetVerdict`. While ``result_valid`` exactly one of ``ok``, ``nok`` and
    ``hold`` is true; anything else is a fault and the PLC holds."""

    seq: Seq
    run: Id
    part: Id
    plan: Id
    plan_hash: Sha256
    verdict_seq: Count
    result_valid: bool
    ok: bool
    nok: bool
    hold: bool
    planned: Count
    points_ok: Count
    points_nok: Count
    points_review: Count
    points_not_inspected: Count
    points_open: Count
    ok_by_machine: Count | UnsetType = UNSET
    ok_by_person: Count | UnsetType = UNSET
    """Of ``points_ok``, by whose word."""
    held_because: Reason | UnsetType = UNSET
    """Why a run is held whatever its points are; NONE where nothing but its points counts."""


class VerdictReady(Message, frozen=True):
    """Unasked, and only a hint: it is time to ask."""

    run: Id
    part: Id
    verdict_seq: Seq


class Acknowledged(Message, frozen=True):
    """The acknowledgement of a verdict is on record."""

    seq: Seq
    run: Id
    verdict_seq: Seq


class Status(Message, frozen=True):
    """The station is alive. ``ready`` means that a part begun now can become OK; otherwise
    ``fault`` and ``text`` say what is missing. ``heartbeat`` moves with every answer;
    ``last_seq`` is the highest sequence number on record for this PLC. ``service_level`` has fixed
    bands (`inspection.station.handshake.BANDS`); older stations leave it out."""

    counter: Count
    heartbeat: Count
    ready: bool
    fault: Fault
    text: Text
    last_seq: Count
    service_level: ServiceLevel | UnsetType = UNSET


class Refusal(Message, frozen=True):
    """The request is not carried out. ``seq`` is 0 where it could not be read."""

    seq: Count
    fault: Fault
    text: Text
    run: Id | None = None


# ---------------------------------------------------------------- people and station

Token = Annotated[str, Meta(min_length=1, max_length=8192)]
"""What the station gave a person at login."""


class Login(Message, frozen=True):
    """Somebody wants a token. On the network only over an encrypted connection."""

    request_id: Hex32
    user: Id
    password: Annotated[str, Meta(min_length=1, max_length=1000)]

    def __repr__(self) -> str:
        # A message ends up in log lines and tracebacks; its password must not.
        return f"Login(request_id={self.request_id!r}, user={self.user!r}, password=...)"


class LoggedIn(Message, frozen=True):
    """The token, for how long it holds, and what its holder may do as of now."""

    request_id: Hex32
    user: Id
    roles: tuple[Role, ...]
    token: Token
    valid_ms: Count


class Decide(Message, frozen=True):
    """A person's word on one point of a closed run. Idempotent by ``request_id``.

    ``expected_seq`` and ``expected_record`` are the verdict and the record that the person looked
    at (0 where the point has none): what has changed since is not decided on. ``expected_word`` is
    the number of the last word on the point that the person knew of (0: none); where it is given,
    what somebody else has said since is not decided on either, unless it is kept from a second
    person.
    """

    token: Token
    request_id: Hex32
    run: Id
    point: Id
    expected_seq: Seq
    expected_record: Count
    action: Action
    finding: Text = ""
    comment: Text = ""
    method: Text = ""
    expected_word: Count | UnsetType = UNSET


class Decided(Message, frozen=True):
    """The decision is on record. ``verdict_seq`` is the run's latest verdict after it."""

    request_id: Hex32
    run: Id
    point: Id
    verdict: Verdict
    standing: Standing
    verdict_seq: Seq
    run_verdict: RunVerdict


class Look(Message, frozen=True):
    """What a person, or a measurement that a person types in, says of a point of a closed run for
    an audit, blind after somebody else's word, or in a study of agreement. It is kept and changes
    no verdict. Idempotent by ``request_id``.

    ``inclusion`` is the probability with which the point came into an audit, ``stratum`` where it
    was drawn from; ``study``, ``item`` and ``trial`` say which question of a study it answers;
    ``value_mm`` is what was measured.
    """

    token: Token
    request_id: Hex32
    purpose: LookPurpose
    run: Id
    point: Id
    method: LookMethod
    word: LookWord
    finding: Text = ""
    value_mm: Annotated[float, Meta(ge=0, le=1000)] | UnsetType = UNSET
    study: Annotated[str, Meta(pattern=f"(?:{ID_PATTERN})|^$")] = ""
    item: Annotated[str, Meta(pattern=f"(?:{ID_PATTERN})|^$")] = ""
    trial: Annotated[int, Meta(ge=0, le=1000)] = 0
    inclusion: Probability | UnsetType = UNSET
    stratum: Text = ""
    comment: Text = ""


class LookKept(Message, frozen=True):
    """The look is on record under this number."""

    request_id: Hex32
    number: Count


class PlanStudy(Message, frozen=True):
    """A study of agreement as it is planned, before its first look; ``document`` is JSON. Its name
    can be used once. Idempotent by ``request_id``."""

    token: Token
    request_id: Hex32
    study: Id
    document: Annotated[str, Meta(min_length=2, max_length=250_000)]


class StudyKept(Message, frozen=True):
    """The study is on record."""

    request_id: Hex32
    study: Id


class Bypass(Message, frozen=True):
    """Nothing is inspected until ``until_ns`` (wall clock), and every part is held: somebody named
    answers for it. Idempotent by ``request_id``."""

    token: Token
    request_id: Hex32
    reason: Annotated[str, Meta(min_length=1, max_length=300)]
    until_ns: Nanoseconds


class Unbypass(Message, frozen=True):
    """Inspect again before the bypass ends by itself."""

    token: Token
    request_id: Hex32
    reason: Annotated[str, Meta(max_length=300)] = ""


class BypassState(Message, frozen=True):
    """The answer to `Bypass` and `Unbypass`."""

    request_id: Hex32
    active: bool
    until_ns: Nanoseconds


class Declined(Message, frozen=True):
    """A person's request is not carried out, and nothing has changed."""

    request_id: Hex32
    fault: Fault
    text: Text
