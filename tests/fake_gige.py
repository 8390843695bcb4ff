"""Aravis' own fake GigE Vision camera, as a process that can be killed and started again."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import time

import pytest

PROGRAM = "arv-fake-gv-camera-0.8"


class FakeGigE:
    """Skips the test where the program or the library is not installed."""

    address = "127.0.0.1"

    def __init__(self, *arguments: str) -> None:
        if shutil.which(PROGRAM) is None:
            pytest.skip(f"{PROGRAM} is not installed (Debian's aravis-tools)")
        try:
            ctypes.CDLL("libaravis-0.8.so.0")
        except OSError as error:
            pytest.skip(f"{error} (Debian's libaravis-0.8-0)")
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.begin()

    def begin(self) -> None:
        """Switch it on."""
        command = [PROGRAM, "-i", self.address, *self._arguments]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(0.3)
        assert self._process.poll() is None, "the fake camera did not start"

    def end(self) -> None:
        """Pull the plug."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
