"""Log lines: one JSON object a line on stderr, or coloured text where a person is watching.

`configure` is called once, by the process; everything else asks `get_logger` and binds what it
knows (``log.bind(run=run, view=view)``). Logging never stops the line: a value that cannot be
written is described instead, and a line that cannot be delivered (a full disk, a reader that went
away) is dropped, because the record of a run is in the store and not here.
"""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import math
import sys
from collections.abc import Mapping
from typing import Any, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

MAX_TEXT = 2000
"""Characters of one value; a picture that slips into a log line shall not fill the disk."""
MAX_DEPTH = 4
MAX_ITEMS = 100


def configure(process: str) -> None:
    """Set logging up for this process; ``process`` ("station", "edge-left") is in every line."""

    def name_process(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    watched = sys.stderr is not None and sys.stderr.isatty()
    render: Processor = structlog.dev.ConsoleRenderer() if watched else _json_line
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            name_process,
            structlog.processors.format_exc_info,
            _only_plain_values,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_Stderr,
        cache_logger_on_first_use=False,
    )


def get_logger() -> FilteringBoundLogger:
    return cast(FilteringBoundLogger, structlog.get_logger())


class _Stderr:
    """Writes whole lines to whatever stderr is at that moment."""

    def __init__(self, *_: object) -> None: ...

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    log = debug = info = warning = error = critical = exception = fatal = msg


def _json_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    first = {name: event.pop(name, None) for name in ("timestamp", "level", "event", "process")}
    return json.dumps({**first, **event})


def _only_plain_values(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {_text(key): _plain(value) for key, value in event.items()}


def _plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON can hold it; what JSON cannot hold becomes its description."""
    try:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, enum.Enum):
            return value.name
        if isinstance(value, int):
            # Many readers of JSON hold numbers as doubles, and Python refuses to write huge ones.
            return int(value) if abs(value) < 2**63 else _text(hex(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(float(value))
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, BaseException):
            return _text(f"{type(value).__name__}: {value}")
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if depth < MAX_DEPTH:
            if isinstance(value, Mapping):
                some = list(value.items())[:MAX_ITEMS]
                return {_text(key): _plain(item, depth + 1) for key, item in some}
            if isinstance(value, list | tuple | set | frozenset):
                return [_plain(item, depth + 1) for item in list(value)[:MAX_ITEMS]]
        return _text(repr(value))
    except Exception:  # noqa: BLE001 - any object may come by here, and its methods may do anything
        return f"<{type(value).__name__} that cannot be shown>"


def _text(value: Any) -> str:
    # A lone surrogate (a file name that is no UTF-8) would stop any writer further down.
    text = str(value)[: MAX_TEXT + 1].encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
