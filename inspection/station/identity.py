"""Whether a message's sender is who the message says. Pure.

A key in the list lets a process connect; it does not let it speak for another one. The names that
messages carry are claims, the key that a frame came under is not.
"""

from __future__ import annotations

from typing import Any

from inspection import messages as m
from inspection.keys import Allowed


def why_impostor(message: Any, sender: Allowed | None, session_of: str | None) -> str:
    """Why a message is not its sender's to send; empty where it is, or where the socket is without
    keys. ``session_of`` is the edge whose session the message belongs to, None where it is of none.
    """
    if sender is None:
        return ""
    claimed = sender.id
    match message:
        case m.Hello() | m.Ping() | m.Evidence():
            claimed = message.edge
        case m.Results() | m.FrameTaken():
            claimed = sender.id if session_of is None else session_of
        case m.Begin() | m.TriggerView() | m.End() | m.GetVerdict() | m.Ack() | m.Heartbeat():
            claimed = message.plc
    if claimed != sender.id:
        return f"the key of {sender.role.value} {sender.id} spoke for {claimed}"
    if isinstance(message, m.Hello) and (more := set(message.cameras) - set(sender.cameras)):
        return f"the key of edge {sender.id} is not for camera {min(more)}"
    return ""
