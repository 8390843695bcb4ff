"""``inspection ui CONFIG``: serve the pages on this machine.

Streamlit runs in this very process: one process to stop, and none left behind however it ends.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import threading
import time
from pathlib import Path

from inspection import log
from inspection.errors import ConfigurationError, InspectionError, Problem
from ui.configuration import ADDRESS, UiConfig, read_ui

APP = Path(__file__).with_name("app.py")

FLAGS = {
    "server.address": ADDRESS,
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.maxUploadSize": "1",
    "server.disconnectedSessionTTL": "30",
    "server.enableCORS": "true",
    "server.enableXsrfProtection": "true",
    "browser.serverAddress": ADDRESS,
    "browser.gatherUsageStats": "false",
    # After every run of a page Streamlit would have all objects of the process looked through,
    # which took two thirds of its time with 10,000 items waiting; Python does it when it must.
    "runner.postScriptGC": "false",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.toolbarMode": "minimal",
    "runner.magicEnabled": "false",
    "logger.hideWelcomeMessage": "true",
    "logger.level": "warning",
    "theme.baseFontSize": "14",
    "theme.baseRadius": "4px",
    "theme.light.primaryColor": "#1f5fa8",
    "theme.light.backgroundColor": "#fbfbfa",
    "theme.light.secondaryBackgroundColor": "#f0f1f0",
    "theme.light.textColor": "#1d2124",
    "theme.dark.primaryColor": "#7db4f0",
    "theme.dark.backgroundColor": "#15181b",
    "theme.dark.secondaryBackgroundColor": "#20252a",
    "theme.dark.textColor": "#dfe3e6",
}
"""Given on the command line, so that no file of Streamlit's somewhere on the machine outranks
them. No font or picture is named that would come from elsewhere."""


HOSTS = (ADDRESS, "localhost")
"""Names a browser may have reached this server by; another one belongs to a page that has its own
name resolve to this machine in order to read along."""


class StructuredLogger(logging.Logger):
    """Writes what Streamlit and its server say in the same form as everything else."""

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        if record.levelno < logging.WARNING:
            return  # the server asks for INFO whatever it is told
        say = log.get_logger()
        write = say.error if record.levelno >= logging.ERROR else say.warning
        write("server", logger=record.name, text=record.getMessage(), exc_info=record.exc_info)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="what to show and on which port (TOML)")


def run(arguments: argparse.Namespace) -> int:
    path: Path = arguments.config.absolute()
    config = read_ui(path)
    _check_port(path, config)
    Signals().keep_until_served()
    log.configure("ui")
    logger = log.get_logger()
    options = [f"--{name}={value}" for name, value in FLAGS.items()]
    options += [f"--server.allowedHosts={host}" for host in HOSTS]
    options.append(f"--server.port={config.file.port}")
    url = f"http://{ADDRESS}:{config.file.port}"
    logger.info("ui started", url=url, store=str(config.store), evidence=config.evidence)
    # Before Streamlit is imported, because only loggers made from here on are of this class.
    logging.setLoggerClass(StructuredLogger)
    from streamlit.web import cli

    try:
        cli.main(["run", str(APP), *options, "--", str(path)], standalone_mode=False)
    except SystemExit as leaving:
        if leaving.code not in (0, None):
            raise InspectionError(f"the server did not start on {url}") from None
    logger.info("ui stopped")
    return 0


class Signals:
    """Ctrl-C and SIGTERM that come while the server is still starting.

    The server stops cleanly on either, but listens to them only once it runs; an exception out of
    nowhere before would leave it half started. So one that comes earlier is kept and sent again.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._came: int | None = None

    def keep_until_served(self) -> None:
        """Keep signals from now on; returns at once."""
        for number in self.NUMBERS:
            signal.signal(number, self._keep)
        threading.Thread(target=self._hand_over, daemon=True).start()

    def _keep(self, number: int, _: object) -> None:
        self._came = number

    def _hand_over(self) -> None:
        while any(signal.getsignal(number) == self._keep for number in self.NUMBERS):
            time.sleep(0.05)
        if self._came is not None:
            os.kill(os.getpid(), self._came)


def _check_port(path: Path, config: UiConfig) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, config.file.port))
        except OSError as error:
            why = f"{config.file.port} on {ADDRESS} cannot be used: {error.strerror}"
            raise ConfigurationError(Problem(str(path), None, "port", why)) from None
