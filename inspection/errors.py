"""Everything that can go wrong, as one tree, by whose fault it is and what to do next.

::

    InspectionError
    ├── ConfigurationError   a file a person wrote is wrong: fix the named line, start again
    │   ├── PlanError        ... the inspection plan or its points
    │   └── RecipeError      ... a training recipe
    ├── DataError            a data set cannot be used as it is
    ├── PackageError         a model package may not be trusted: it is not loaded
    │   └── ModelHung        ... an inference with it did not come back in time
    ├── RegistryError        a registry of packages refuses, or its record does not hold
    ├── ImageError           a picture cannot be judged; carries the reason for its points
    ├── CameraError          a camera gave no picture
    ├── WireError            bytes from a peer that are no message; the peer is told, nothing stops
    │   ├── TooLarge
    │   └── WrongProtocol
    ├── NotAuthorised        whoever asks may not do this; nothing is done, and it is written down
    ├── StoreError           the store cannot promise durability: stop answering OK
    └── OutboxError          the outbox cannot promise durability: stop judging

Every message says what is wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspection.messages import Reason


class InspectionError(Exception):
    """Base of all errors raised on purpose; its text is meant for a person on the shop floor."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in one file: where it is and what is wrong with it."""

    file: str
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return (
            f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"
        )


class ConfigurationError(InspectionError):
    """A file a person wrote is wrong. ``problems`` holds every mistake, not only the first."""

    def __init__(self, problems: str | Problem | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            self.problems: Sequence[Problem] = ()
            super().__init__(problems)
            return
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        more = len(self.problems) - 1
        rest = f" (and {more} more)" if more > 0 else ""
        super().__init__(f"{self.problems[0]}{rest}")


class PlanError(ConfigurationError):
    """The inspection plan or its points cannot be used."""


class RecipeError(ConfigurationError):
    """A training recipe cannot be used."""


class DataError(InspectionError):
    """A data set cannot be used as it is."""


class PackageError(InspectionError):
    """A model package may not be trusted."""


class ModelHung(PackageError):
    """An inference did not come back in time; ``ended`` says whether the engine let go of it."""

    def __init__(self, message: str, *, ended: bool) -> None:
        super().__init__(message)
        self.ended = ended


class RegistryError(InspectionError):
    """A registry of model packages refuses something, or its own record has been changed."""


class ImageError(InspectionError):
    """A picture cannot be judged; ``reason`` is what each of its points will say."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CameraError(InspectionError):
    """A camera gave no picture for a trigger."""


class WireError(InspectionError):
    """Bytes that are no message of this protocol."""


class TooLarge(WireError):
    """A frame over the size limit of its lane."""


class WrongProtocol(WireError):
    """A message of a protocol version this side does not speak."""


class NotAuthorised(InspectionError):
    """Whoever asks may not do this: an unknown, expired or forged token, a missing role, or a key
    that speaks for somebody else."""


class StoreError(InspectionError):
    """The store cannot promise that what it was given is durable."""


class OutboxError(InspectionError):
    """The outbox cannot promise that what it was given is durable."""
