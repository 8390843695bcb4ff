"""What is closed at the end of a ``with`` block, however that comes."""

from __future__ import annotations

import abc
from types import TracebackType
from typing import Self


class Closing(abc.ABC):
    """A thing that must be given back: by `close`, or by leaving its ``with`` block."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give it back. Twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
