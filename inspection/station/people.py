"""Who a token stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from inspection.messages import Role


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has logged in."""

    name: str
    roles: frozenset[Role]


class People(Protocol):
    """Whoever issues tokens, as far as a decision asks."""

    def verify(self, token: str, now_ns: int) -> Person:
        """The person a token was issued to; raises `NotAuthorised`."""
