"""The fake GigE Vision camera for tests, which are skipped where it is not installed."""

from __future__ import annotations

import ctypes

import pytest

from inspection.errors import ConfigurationError
from inspection.testing import fake_gige


class FakeGigE(fake_gige.FakeGigE):
    """Skips the test where the program or the library is not installed."""

    def __init__(self, *arguments: str) -> None:
        try:
            ctypes.CDLL("libaravis-0.8.so.0")
            super().__init__(*arguments)
        except OSError as error:
            pytest.skip(f"{error} (Debian's libaravis-0.8-0)")
        except ConfigurationError as error:
            pytest.skip(str(error))
