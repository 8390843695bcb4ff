"""People, repairs, challenge parts and a bypass on a line of real processes."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from oracle_of_people import examine_people

from inspection import messages as m
from inspection import wire
from inspection.errors import ConfigurationError
from inspection.messages import Action, Fault, Reason, Role
from inspection.station.config import read_station
from inspection.station.people import PersonEntry, hashed, write_people
from inspection.testing import boards
from inspection.testing.line import Line, free_ports

PASSWORD = "correct horse"
POINTS = [f"v0-r{row}c{column}" for row in range(boards.GRID) for column in range(boards.GRID)]
DARK, OTHER = (1, 2), (3, 3)
P12, P33 = "v0-r1c2", "v0-r3c3"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boards.model(tmp_path_factory.mktemp("model") / "darkness")


class Peer:
    """One end of a conversation with the station: asks until it is answered."""

    def __init__(self, endpoint: str, out: wire.Lane[Any], back: wire.Lane[Any]) -> None:
        self.out, self.back = out, back
        self.hints: list[m.VerdictReady] = []
        self._context = zmq.Context()
        self._endpoint = endpoint
        self._socket = self._connect()

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(self._endpoint)
        return socket

    def send(self, message: Any) -> None:
        self._socket.send(self.out.encode(message))

    def ask(self, message: Any, timeout_s: float = 60) -> Any:
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            self.send(message)
            again = time.monotonic() + 1
            while time.monotonic() < again:
                if not self._socket.poll(100):
                    continue
                answer = self.back.decode(self._socket.recv())
                if isinstance(answer, m.VerdictReady):
                    self.hints.append(answer)
                elif _key(answer) == _key(message):
                    return answer
        raise TimeoutError(f"no answer to {message}")

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


def _key(message: Any) -> Any:
    for name in ("request_id", "seq", "counter"):
        if hasattr(message, name):
            return name, getattr(message, name)
    return None


class Floor:
    """A station and an edge as processes; the PLC and the people are the test."""

    def __init__(
        self,
        folder: Path,
        package: Path,
        more: str = "",
        edge_evidence: dict[str, Any] | None = None,
    ) -> None:
        self.images = folder / "images"
        self.images.mkdir()
        plan = boards.write_plan(folder / "plan", deadline_ms=20_000)
        text = plan.read_text()
        plan.write_text(f"{more}\n{text}" if more else text)
        self.line = Line(
            folder / "line",
            plans=[plan],
            models={"darkness": package},
            cameras=boards.camera(self.images),
            parts=[],
            plan=boards.PLAN,
            edge_timeout_ms=10_000,
            edge_evidence=edge_evidence,
        )
        (port,) = free_ports(1)
        self.people_endpoint = f"tcp://127.0.0.1:{port}"
        config = self.line.config("station")
        listen = f'[listen]\npeople = "{self.people_endpoint}"\n'
        config.write_text(
            'people = "people.toml"\n' + config.read_text().replace("[listen]\n", listen)
        )
        write_people(
            self.line.folder / "people.toml",
            [
                PersonEntry(name=name, roles=(role,), password=hashed(PASSWORD))
                for name, role in (("anna", Role.QUALITY), ("otto", Role.OPERATOR))
            ],
        )
        self.seq = 0
        self.requests = 0
        self.line.start("station", *self.line.edges)
        self.plc = Peer(self.line.endpoints["plc"], wire.PLC_TO_STATION, wire.STATION_TO_PLC)
        self.page = Peer(self.people_endpoint, wire.PEOPLE_TO_STATION, wire.STATION_TO_PEOPLE)

    @property
    def database(self) -> Path:
        return self.line.folder / "station" / "station.db"

    def rows(self, query: str, *values: Any) -> list[Any]:
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as database:
            return database.execute(query, values).fetchall()

    def status(self) -> m.Status:
        self.seq += 1
        status = self.plc.ask(m.Heartbeat(plc="plc-1", counter=self.seq))
        assert isinstance(status, m.Status)
        return status

    def until_fault(self, fault: Fault) -> m.Status:
        until = time.monotonic() + 60
        while (status := self.status()).fault is not fault:
            assert time.monotonic() < until, status
            time.sleep(0.1)
        return status

    def request(self, kind: Any, **fields: Any) -> Any:
        self.seq += 1
        return self.plc.ask(kind(plc="plc-1", seq=self.seq, **fields))

    def inspect(self, part: str, *dark: tuple[int, int], **begin: Any) -> m.PartVerdict:
        """A part with these dark tiles through the line; the verdict."""
        boards.write_part(self.images, part, boards.board(*dark))
        begun = self.request(m.Begin, part=part, plan=boards.PLAN, **begin)
        assert isinstance(begun, m.Begun), begun
        return self.verdict(part, begun.run)

    def verdict(self, part: str, run: str | None = None) -> m.PartVerdict:
        until = time.monotonic() + 60
        while True:
            answer = self.request(m.GetVerdict, part=part, run=run)
            if answer.result_valid:
                assert isinstance(answer, m.PartVerdict)
                return answer
            assert time.monotonic() < until
            time.sleep(0.05)

    def token(self, user: str = "anna") -> str:
        self.requests += 1
        login = m.Login(request_id=f"{self.requests:032x}", user=user, password=PASSWORD)
        answer = self.page.ask(login)
        assert isinstance(answer, m.LoggedIn), answer
        return answer.token

    def word(self, token: str, verdict: m.PartVerdict, point: str, action: Action) -> m.Decide:
        self.requests += 1
        ((record,),) = self.rows(
            "SELECT record FROM result WHERE run_id = ? AND point_id = ?", verdict.run, point
        )
        return m.Decide(
            token=token,
            request_id=f"{self.requests:032x}",
            run=verdict.run,
            point=point,
            expected_seq=verdict.verdict_seq,
            expected_record=record,
            action=action,
        )

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What somebody types on the station's machine."""
        return subprocess.run(
            [
                *(sys.executable, "-m", "inspection", words[0]),
                *(str(self.line.config("station")), *words[1:], "--password-stdin"),
            ],
            input=f"{PASSWORD}\n",
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ},
        )

    def close(self) -> None:
        self.plc.close()
        self.page.close()
        self.line.close()
        assert examine_people(self.database, dict.fromkeys(POINTS, "major")) == []


@pytest.fixture
def floor(tmp_path: Path, package: Path) -> Iterator[Floor]:
    floor = Floor(tmp_path, package)
    yield floor
    floor.close()


def test_a_decision_reaches_the_plc_and_a_repaired_part_becomes_ok(floor: Floor) -> None:
    floor.until_fault(Fault.NONE)
    first = floor.inspect("B1", DARK)
    assert (first.nok, first.points_nok) == (True, 1)
    refused = floor.command("decide", first.run, P12, "overrule", "--user", "otto")
    assert refused.returncode == 1
    assert "NOT_AUTHORISED" in refused.stderr
    done = floor.command(
        "decide", first.run, P12, "overrule", "--user", "anna", "--comment", "a shadow"
    )
    assert (done.returncode, done.stderr) == (0, "")
    after = floor.verdict("B1")
    assert (after.ok, after.ok_by_machine, after.ok_by_person) == (True, len(POINTS) - 1, 1)
    assert [(hint.run, hint.verdict_seq) for hint in floor.plc.hints][-1] == (
        first.run,
        after.verdict_seq,
    )
    assert after.verdict_seq > first.verdict_seq

    broken = floor.inspect("B2", DARK, OTHER)
    assert broken.points_nok == 2
    said = floor.command(
        "decide", broken.run, P12, "repaired", "--user", "otto", "--method", "rewelded"
    )
    assert said.returncode == 0, said.stderr
    again = floor.inspect("B2", OTHER, repair_of=broken.run, points=(P12,))
    # What was not repaired is not forgotten ...
    assert (again.nok, again.points_nok, again.planned) == (True, 1, len(POINTS))
    looked_at = floor.rows("SELECT point_id FROM result WHERE run_id = ?", again.run)
    assert looked_at == [(P12,)]
    # ... until it is repaired and looked at as well.
    repaired = m.Decide(
        token=floor.token("otto"),
        request_id="a" * 32,
        run=again.run,
        point=P33,
        expected_seq=again.verdict_seq,
        expected_record=floor.word("-", broken, P33, Action.REPAIRED).expected_record,
        action=Action.REPAIRED,
        method="rewelded",
    )
    assert isinstance(floor.page.ask(repaired), m.Decided)
    last = floor.inspect("B2", repair_of=again.run)
    assert (last.ok, last.points_ok, last.ok_by_machine) == (True, len(POINTS), len(POINTS))


def test_a_station_killed_between_a_decision_and_its_answer_holds_it_exactly_once(
    floor: Floor,
) -> None:
    floor.until_fault(Fault.NONE)
    places = [(0, 0), (1, 1), (2, 2), (3, 3)]
    verdict = floor.inspect("B1", *places)
    assert verdict.points_nok == len(places)
    rng = random.Random(5)
    for done, (row, column) in enumerate(places, start=1):
        word = floor.word(floor.token(), verdict, f"v0-r{row}c{column}", Action.OVERRULE)
        floor.page.send(word)
        time.sleep(rng.uniform(0, 0.02))
        floor.line.kill("station")
        before = len(floor.rows("SELECT 1 FROM decision"))
        floor.line.start("station")
        decided = floor.page.ask(word)
        assert isinstance(decided, m.Decided), (before, decided)
        assert floor.page.ask(word) == decided
        assert len(floor.rows("SELECT 1 FROM decision")) == done
        verdict = floor.verdict("B1")
        assert verdict.verdict_seq == decided.verdict_seq
        assert verdict.ok_by_person == done
    assert verdict.ok


def test_a_missed_challenge_takes_ready_away_and_holds_what_comes_after(
    tmp_path: Path, package: Path
) -> None:
    floor = Floor(
        tmp_path,
        package,
        '[challenge]\nparts = ["RABBIT-1", "RABBIT-2"]\ninterval_minutes = 60\n'
        f'defects = {{ "{P12}" = "defect" }}\n',
    )
    floor.until_fault(Fault.CHALLENGE_DUE)
    early = floor.inspect("B0")
    assert (early.hold, early.held_because) == (True, Reason.CHALLENGE_DUE)
    assert floor.inspect("RABBIT-1", DARK).nok
    floor.until_fault(Fault.NONE)
    assert floor.inspect("B1").ok
    missed = floor.inspect("RABBIT-2")
    assert (missed.ok, missed.held_because) == (False, Reason.CHALLENGE_PART)
    assert P12 in floor.until_fault(Fault.CHALLENGE_FAILED).text
    late = floor.inspect("B2")
    assert (late.hold, late.points_ok, late.held_because) == (
        True,
        len(POINTS),
        Reason.CHALLENGE_FAILED,
    )
    assert floor.rows("SELECT part_id, passed FROM challenge") == [("RABBIT-1", 1), ("RABBIT-2", 0)]
    floor.close()


def test_a_bypassed_line_holds_every_part_also_after_a_restart(floor: Floor) -> None:
    floor.until_fault(Fault.NONE)
    refused = floor.command("bypass", "lamp broken", "--for", "2h", "--user", "otto")
    assert "NOT_AUTHORISED" in refused.stderr
    begun = floor.command("bypass", "lamp broken", "--for", "2h", "--user", "anna")
    assert begun.returncode == 0, begun.stderr
    floor.line.kill("station")
    floor.line.start("station")
    status = floor.until_fault(Fault.BYPASSED)
    assert "anna" in status.text
    assert "lamp broken" in status.text
    held = floor.inspect("B1")
    assert (held.hold, held.points_not_inspected) == (True, len(POINTS))
    assert held.held_because is Reason.BYPASSED
    ended = floor.command("bypass", "lamp replaced", "--end", "--user", "anna")
    assert ended.returncode == 0, ended.stderr
    floor.until_fault(Fault.NONE)
    assert floor.inspect("B2").ok


def test_a_known_defect_that_no_model_can_name_stops_the_start(
    tmp_path: Path, package: Path
) -> None:
    plan = boards.write_plan(tmp_path / "plan")
    challenge = f'parts = ["R1"]\ninterval_minutes = 60\ndefects = {{ "{P12}" = "rust" }}\n'
    plan.write_text(f"[challenge]\n{challenge}\n{plan.read_text()}")
    line = Line(
        tmp_path / "line",
        plans=[plan],
        models={"darkness": package},
        cameras={},
        parts=[],
        plan=boards.PLAN,
    )
    with pytest.raises(ConfigurationError, match="'rust' at v0-r1c2 is no class of model"):
        read_station(line.config("station"))
