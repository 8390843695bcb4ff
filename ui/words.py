"""What is said to people: verdicts, reasons and events in words, numbers and times in one form.

A verdict is always a word with a mark, so that its colour is never the only sign of it.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import NamedTuple

from inspection.messages import Reason, RunVerdict, Severity, Verdict

OK_MEANS = (
    "OK means that nothing visible is wrong; nugget size and cold welds are not visible. "
    "They need an ultrasonic or destructive test."
)

THIN_SPACE = "\u202f"
"""Between groups of digits: no reader takes it for a decimal sign, and no line breaks at it."""

VERDICT_MARKS: dict[Verdict, str] = {
    Verdict.OK: "✓",
    Verdict.NOK: "✕",
    Verdict.REVIEW: "?",
    Verdict.NOT_INSPECTED: "∅",
}
RUN_MARKS: dict[RunVerdict | None, str] = {
    RunVerdict.OK: "✓",
    RunVerdict.NOK: "✕",
    RunVerdict.HOLD: "‖",
    None: "…",
}
SEVERITY_MARKS: dict[Severity, str] = {
    Severity.MINOR: "▪",
    Severity.MAJOR: "▪▪",
    Severity.CRITICAL: "▪▪▪",
}


def run_word(verdict: RunVerdict | None) -> str:
    """A run's verdict with its mark; None while it is open."""
    return f"{RUN_MARKS[verdict]} {'open' if verdict is None else verdict.value}"


def verdict_word(verdict: Verdict) -> str:
    """A point's verdict with its mark."""
    return f"{VERDICT_MARKS[verdict]} {verdict.value}"


class Said(NamedTuple):
    """A reason in words."""

    short: str
    """A few words for a heading."""
    means: str
    do: str


REASONS: dict[Reason, Said] = {
    Reason.NONE: Said(
        "no reason given",
        "Nothing was found that would be wrong.",
        "Nothing to do.",
    ),
    Reason.DEFECT: Said(
        "defect",
        "The model sees a defect here.",
        "Look at the part, repair it, and have it inspected again.",
    ),
    Reason.UNCERTAIN: Said(
        "the model is not certain",
        "The model is sure neither that it is good nor that it is bad.",
        "Look at the picture, or at the part, and decide.",
    ),
    Reason.OUT_OF_DISTRIBUTION: Said(
        "unlike anything the model knows",
        "The picture differs from all that the model was trained on: it cannot be relied on here.",
        "Look at the picture: another material, lamp or part? Then decide.",
    ),
    Reason.NO_IMAGE: Said(
        "no picture",
        "The camera gave no picture when it was asked.",
        "Check the camera's power, cable and trigger.",
    ),
    Reason.IMAGE_UNREADABLE: Said(
        "picture unreadable",
        "What the camera gave is no whole picture.",
        "Check the camera's cable and network; take the picture again.",
    ),
    Reason.IMAGE_WRONG_SIZE: Said(
        "picture of another size",
        "The picture is not of the size that the plan says.",
        "Check the camera's resolution, or put the right size into the plan.",
    ),
    Reason.IMAGE_TOO_DARK: Said(
        "picture too dark",
        "The picture is black and without contrast.",
        "Check the lamp, the lens cap and the exposure.",
    ),
    Reason.IMAGE_TOO_BRIGHT: Said(
        "picture too bright",
        "The picture is white and without contrast.",
        "Check for glare and the exposure.",
    ),
    Reason.MISALIGNED: Said(
        "part not in place",
        "The part's marks are not where a part may stand, or the picture shows another view.",
        "Check that the right part stands in its place and that nothing covers the marks.",
    ),
    Reason.OUT_OF_FOCUS: Said(
        "picture blurred",
        "The picture is out of focus here, or the part moved while it was taken.",
        "Check the lens, the distance, the exposure time, and that the part stands still.",
    ),
    Reason.GLARE: Said(
        "glare",
        "A reflection covers the point.",
        "Check for new lamps or daylight, and for oil on the part.",
    ),
    Reason.WRONG_CONTENT: Said(
        "something else in the picture",
        "What the picture shows here is not the planned place, or something is in front of it.",
        "Look at the picture: check that the part stands right and that nothing is in the way.",
    ),
    Reason.FROZEN: Said(
        "camera frozen",
        "The camera gave the same picture twice: it does not show what is there now.",
        "Switch the camera off and on; if it happens again, have it replaced.",
    ),
    Reason.MODEL_UNAVAILABLE: Said(
        "model not loaded",
        "The edge could not load the model that the plan wants.",
        "Read the edge's log: the package may be missing, changed or refused by its own test.",
    ),
    Reason.MODEL_OUTPUT_INVALID: Said(
        "model gave no usable scores",
        "What the model computed are no probabilities, so they count for nothing.",
        "Keep the picture, tell whoever made the model, and go back to the last version.",
    ),
    Reason.MODEL_NOT_RELEASED: Said(
        "another model than released",
        "The edge judged with a model or policy that this station has not released.",
        "Install the released package on the edge, or release the new one at the station.",
    ),
    Reason.POLICY_DISAGREES: Said(
        "edge and station disagree",
        "The policy applied to the same scores at the station says something else than the edge.",
        "Compare the software versions of edge and station.",
    ),
    Reason.MODEL_HUNG: Said(
        "inference ended",
        "The model had not come back after the time that the edge gives it, and was stopped.",
        "If it happens again: keep the picture, tell whoever made the model, and go back to the"
        " last version.",
    ),
    Reason.EDGE_NOT_CONNECTED: Said(
        "edge not connected",
        "No edge with this camera was connected.",
        "Start the edge, or check its network to the station.",
    ),
    Reason.EDGE_LOST: Said(
        "edge lost",
        "The edge was asked, fell silent and could not be asked again.",
        "Check the edge's power and log; have the part inspected again.",
    ),
    Reason.EDGE_FAILED: Said(
        "edge failed",
        "The edge could not finish and did not say more.",
        "Read the edge's log of that time.",
    ),
    Reason.LATE: Said(
        "too late",
        "No answer came before the plan's deadline.",
        "If it happens again: give the plan more time, or the edge fewer points.",
    ),
    Reason.NOT_TRIGGERED: Said(
        "not triggered",
        "The PLC never asked for this view.",
        "Check the robot program and the PLC's sequence of views.",
    ),
    Reason.RUN_ENDED: Said(
        "run ended before",
        "The PLC ended the run before this view was asked for.",
        "Check why the cycle was cut short; have the part inspected again.",
    ),
    Reason.STATION_RESTARTED: Said(
        "station restarted",
        "The station's machine was restarted while the run was open.",
        "Have the part inspected again.",
    ),
    Reason.RECORD_UNREADABLE: Said(
        "record unreadable",
        "The edge's record of this point cannot be read.",
        "Have the part inspected again; check the edge's disk.",
    ),
    Reason.RECORD_LOST: Said(
        "record lost",
        "The edge's answer left this point out, or its record is gone.",
        "Have the part inspected again; check the edge's disk.",
    ),
    Reason.RECORD_CONFLICT: Said(
        "two different answers",
        "The same question was answered twice, and not in the same way.",
        "Have the part inspected again; check that no edge runs twice.",
    ),
    Reason.REPAIRED: Said(
        "repaired, not looked at since",
        "Somebody has repaired the part here, so that what was seen before no longer holds.",
        "Have the point inspected again, or inspect the part itself and say by which method.",
    ),
    Reason.DISAGREEMENT: Said(
        "people disagree",
        "One person said that it is a defect and another that it is none.",
        "Look at it together; whoever was wrong says so, and the point is settled.",
    ),
    Reason.BYPASSED: Said(
        "inspection bypassed",
        "Somebody had switched the inspection off when the part stood here.",
        "Inspect the part itself, or send it through the station again.",
    ),
    Reason.SUPERSEDED: Said(
        "a later run exists",
        "The part has been inspected again since, and only its latest run can make it OK.",
        "Look at the latest run of the part.",
    ),
    Reason.CHALLENGE_DUE: Said(
        "no challenge part in time",
        "No part with known defects had gone through the line within the time that the plan sets.",
        "Put a challenge part through the station, then inspect this part again.",
    ),
    Reason.CHALLENGE_FAILED: Said(
        "challenge part not detected",
        "The line had missed a known defect of a challenge part.",
        "Find out why, pass a challenge, then inspect this part again.",
    ),
    Reason.CHALLENGE_PART: Said(
        "a challenge part",
        "This part has known defects and is there to prove that the line finds them.",
        "Put it back on its shelf: it is never released.",
    ),
}


class EventWords(NamedTuple):
    """A kind of event in words, and whether somebody has to do something about it."""

    label: str
    attention: bool


EVENTS: dict[str, EventWords] = {
    "restored": EventWords("station started again", attention=False),
    "edge_connected": EventWords("edge connected", attention=False),
    "edge_lost": EventWords("edge lost", attention=True),
    "edge_refused": EventWords("edge refused", attention=True),
    "model_fault": EventWords("model not usable", attention=True),
    "model_found": EventWords("model release found", attention=False),
    "model_released": EventWords("model released", attention=False),
    "model_refused": EventWords("model release refused", attention=True),
    "request_refused": EventWords("request refused", attention=True),
    "frame_refused": EventWords("frame refused", attention=True),
    "records_lost": EventWords("records lost", attention=True),
    "unreadable": EventWords("record unreadable", attention=True),
    "gap": EventWords("records gone", attention=True),
    "orphan": EventWords("record of no order", attention=True),
    "conflict": EventWords("contradicting record", attention=True),
    "late_defect": EventWords("defect after the verdict", attention=True),
    "chain_broken": EventWords("records were changed", attention=True),
}


def event_words(kind: str) -> EventWords:
    """The words for a kind of event. One that this software does not know asks for attention."""
    return EVENTS.get(kind, EventWords(kind, attention=True))


# --------------------------------------------------------------------------- numbers and times


def number(value: int) -> str:
    """1 500 000"""
    return f"{value:,}".replace(",", THIN_SPACE)


def points(count: int) -> str:
    return f"{number(count)} point" if count == 1 else f"{number(count)} points"


def runs(count: int) -> str:
    return f"{number(count)} run" if count == 1 else f"{number(count)} runs"


def parts(count: int) -> str:
    return f"{number(count)} part" if count == 1 else f"{number(count)} parts"


def share(some: int, of: int, decimals: int = 4) -> str:
    """A share in percent, cut off and never rounded up: 100 % is said only where all of it is."""
    if of <= 0:
        return "–"
    scale = 10**decimals
    floored = some * 100 * scale // of  # whole numbers, because a float may round up on its own
    whole, rest = divmod(floored, scale)
    return f"{whole}.{rest:0{decimals}d}{THIN_SPACE}%" if decimals else f"{whole}{THIN_SPACE}%"


def duration(seconds: float) -> str:
    """How long, in the two units that matter."""
    whole = max(0, math.floor(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days {whole % 86400 // 3600} h"


def clock_time(ns: int, now_ns: int) -> str:
    """The time of day in this machine's time zone, with the date where it is not today's."""
    then, now = _local(ns), _local(now_ns)
    return then.strftime("%H:%M:%S" if then.date() == now.date() else "%Y-%m-%d %H:%M:%S")


def _local(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9).astimezone()
