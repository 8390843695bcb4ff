"""Aravis' own fake GigE Vision camera, as a process that can be switched off and on again."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
import weakref
from pathlib import Path

from inspection.closing import Closing
from inspection.errors import ConfigurationError

PROGRAM = "arv-fake-gv-camera-0.8"
STARTS_S = 0.3


class FakeGigE(Closing):
    """Raises `ConfigurationError` where the program is not installed. Its port is fixed, so that
    there can be only one on a machine: while another of this class exists, this one waits."""

    address = "127.0.0.1"

    def __init__(self, *arguments: str) -> None:
        if shutil.which(PROGRAM) is None:
            raise ConfigurationError(
                f"{PROGRAM} is not installed: apt-get install aravis-tools brings it"
            )
        lock = Path(tempfile.gettempdir()) / f"{PROGRAM}.lock"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._give_up = weakref.finalize(self, os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.begin()

    def begin(self) -> None:
        """Switch it on. Raises `ConfigurationError` where it does not start: something else has its
        port."""
        command = [PROGRAM, "-i", self.address, *self._arguments]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(STARTS_S)
        if process.poll() is not None:
            raise ConfigurationError(f"{PROGRAM} ended with {process.returncode}")
        self._process = process

    def end(self) -> None:
        """Pull the plug."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Switch it off for good, and let the next one have the port."""
        self.end()
        self._give_up()
