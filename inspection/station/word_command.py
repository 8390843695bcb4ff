"""``inspection decide`` and ``inspection bypass``: what a person says to a station, from its own
machine and where there is no page to say it on."""

from __future__ import annotations

import argparse
import getpass
import re
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import zmq

from inspection import messages as m
from inspection import wire
from inspection.config import read_config
from inspection.curve import connect_with
from inspection.errors import ConfigurationError, InspectionError, NotAuthorised
from inspection.keys import ClientKeys, read_private, read_public
from inspection.messages import Action
from inspection.station.config import StationFile, database_of
from inspection.store import Reader

ANSWER_S = 10.0
RETRY_S = 1.0
SECOND_NS = 10**9
UNITS_S = {"m": 60, "h": 3600}


def add_station(parser: argparse.ArgumentParser) -> None:
    """The arguments by which the station is found and the person known."""
    parser.add_argument("config", type=Path, metavar="STATION.toml", help="the station's file")
    parser.add_argument("--user", default=getpass.getuser(), help="who says it (default: you)")
    parser.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input"
    )
    parser.add_argument("--key", type=Path, help="own private key, where the station has keys")
    parser.add_argument("--station-key", type=Path, help="the station's public key")


class Counter:
    """A person at a station: logs in, asks, and asks again until there is an answer."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.file = read_config(arguments.config, StationFile)
        if self.file.listen.people is None:
            raise ConfigurationError(f"{arguments.config}: listen.people: is missing: add it")
        self.store = database_of(arguments.config.parent / self.file.directory)
        self.request: str = getattr(arguments, "request", None) or secrets.token_hex(16)
        if not re.fullmatch("[0-9a-f]{32}", self.request):
            raise ConfigurationError("--request: 32 hexadecimal digits")
        keys = None
        if arguments.key is not None and arguments.station_key is not None:
            keys = ClientKeys(read_private(arguments.key), read_public(arguments.station_key))
        elif self.file.keys is not None:
            raise ConfigurationError("the station has keys: give --key and --station-key")
        self._keys = keys
        self._endpoint: str = self.file.listen.people
        self._user: str = arguments.user
        self._password = (
            sys.stdin.readline().rstrip("\n")
            if arguments.password_stdin
            else getpass.getpass(f"password of {arguments.user}: ")
        )

    def ask(self, build: Any) -> Any:
        """The answer to the message that ``build`` makes of a token and a request number. Raises
        `NotAuthorised` or `InspectionError` with the station's words where it declines."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = context.socket(zmq.DEALER)
        try:
            socket.linger = 0
            connect_with(socket, self._keys)
            socket.connect(self._endpoint)
            login = m.Login(
                request_id=secrets.token_hex(16), user=self._user, password=self._password
            )
            token = _answered(socket, login).token
            return _answered(socket, build(token, self.request))
        except TimeoutError:
            raise InspectionError(
                f"{self._endpoint}: no answer within {ANSWER_S:.0f} s. It may be on record all the"
                f" same, as request {self.request}"
            ) from None
        finally:
            socket.close(linger=0)
            context.term()


def _answered(socket: zmq.Socket[bytes], message: Any) -> Any:
    """Send until answered: the same request is never carried out twice."""
    frame = wire.PEOPLE_TO_STATION.encode(message)
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until:
        socket.send(frame)
        again = time.monotonic() + RETRY_S
        while (left := again - time.monotonic()) > 0:
            if not socket.poll(max(1, int(left * 1000))):
                continue
            answer = wire.STATION_TO_PEOPLE.decode(socket.recv())
            if isinstance(answer, m.Refused):
                raise InspectionError(f"{answer.fault.name}: {answer.text}")
            if answer.request_id != message.request_id:
                continue
            if isinstance(answer, m.Declined):
                kind = NotAuthorised if isinstance(message, m.Login) else InspectionError
                raise kind(f"{answer.fault.name}: {answer.text}")
            return answer
    raise TimeoutError


# ------------------------------------------------------------------------------------ decide


def configure_decide(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``inspection decide``."""
    add_station(parser)
    parser.add_argument("run", help="the run, as the page or the log shows it")
    parser.add_argument("point")
    parser.add_argument("action", choices=[action.value for action in Action])
    parser.add_argument("--finding", default="", help="class of the defect")
    parser.add_argument("--method", default="", help="how it was repaired, or inspected by hand")
    parser.add_argument("--comment", default="", help="why")
    parser.add_argument(
        "--request", metavar="HEX", help="number of an earlier try that was not answered"
    )
    parser.add_argument("--seq", type=int, help="the verdict looked at (default: the latest)")
    parser.add_argument("--record", type=int, help="the record looked at (default: what counts)")


def run_decide(arguments: argparse.Namespace) -> int:
    """Say one word on one point."""
    counter = Counter(arguments)
    seq, record = _looked_at(counter.store, arguments)

    def build(token: str, request: str) -> m.Decide:
        return m.Decide(
            token=token,
            request_id=request,
            run=arguments.run,
            point=arguments.point,
            expected_seq=seq,
            expected_record=record,
            action=Action(arguments.action),
            finding=arguments.finding,
            comment=arguments.comment,
            method=arguments.method,
        )

    decided = counter.ask(build)
    print(
        f"point {decided.point}: {decided.verdict.value} ({decided.standing.value});"
        f" run {decided.run}: {decided.run_verdict.value}, verdict {decided.verdict_seq}"
    )
    return 0


def _looked_at(store: Path, arguments: argparse.Namespace) -> tuple[int, int]:
    """The verdict and the record that the person is taken to have looked at."""
    seq, record = arguments.seq, arguments.record
    reader = Reader(store)
    if seq is None:
        seq = next((r.verdict_seq for r in reader.runs() if r.run == arguments.run), None)
    if record is None:
        found = reader.points_at({(arguments.run, arguments.point)})
        record = found[0].record if found else None
    if seq is None or record is None:
        raise InspectionError(
            f"run {arguments.run}, point {arguments.point}: no verdict on record, or the point was"
            " not looked at in this run: give --seq and --record"
        )
    return seq, record


# ------------------------------------------------------------------------------------ bypass


def configure_bypass(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``inspection bypass``."""
    add_station(parser)
    parser.add_argument("reason", help="why nothing is inspected, or why it is again")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--for", dest="time", metavar="TIME", help="how long, as 90m or 4h")
    what.add_argument("--end", action="store_true", help="inspect again from now on")


def run_bypass(arguments: argparse.Namespace) -> int:
    """Begin a bypass, or end it."""
    ahead_s = 0 if arguments.end else _seconds(arguments.time)
    until_ns = time.time_ns() + ahead_s * SECOND_NS

    def build(token: str, request: str) -> m.Bypass | m.Unbypass:
        if arguments.end:
            return m.Unbypass(token=token, request_id=request, reason=arguments.reason)
        return m.Bypass(token=token, request_id=request, reason=arguments.reason, until_ns=until_ns)

    state = Counter(arguments).ask(build)
    if state.active:
        ends = time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(state.until_ns / SECOND_NS))
        print(f"nothing is inspected and every part is held until {ends}")
    else:
        print("the station inspects again")
    return 0


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,4})([mh])", text)
    if found is None:
        raise ConfigurationError(f"--for {text}: write minutes as 90m or hours as 4h")
    return int(found[1]) * UNITS_S[found[2]]
