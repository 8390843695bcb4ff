"""Whole lines of real processes on loopback."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from inspection import imaging, wire
from inspection import messages as m
from inspection.clock import SystemClock
from inspection.keys import read_allowed, write_allowed
from inspection.messages import Fault, Reason, Verdict
from inspection.signing import keygen, sign_package
from inspection.station.people import (
    People,
    PersonEntry,
    hashed,
    station_secret,
    write_people,
)
from inspection.testing import boards
from inspection.testing.line import Line, free_ports
from inspection.testing.oracle import judge_line
from inspection.testing.packages import Broken

POINTS = boards.GRID * boards.GRID


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boards.model(tmp_path_factory.mktemp("model") / "darkness")


def parts_with_some_defects(images: Path, count: int) -> list[str]:
    """Every third board has a dark tile."""
    parts = [f"B{number:03d}" for number in range(count)]
    for number, part in enumerate(parts):
        boards.write_part(images, part, boards.board(*([(1, 2)] if number % 3 == 0 else [])))
    return parts


def make_line(
    folder: Path, package: Path, parts: list[str], *, edge_model: Path | None = None, **options
) -> Line:
    plan_options = {k: options.pop(k) for k in ("deadline_ms", "views", "trigger") if k in options}
    plan = boards.write_plan(folder / "plan", **plan_options)
    views = options.pop("plc_views", ())
    return Line(
        folder / "line",
        plans=[plan],
        models={"darkness": package},
        cameras=boards.camera(folder / "images", **options.pop("camera", {})),
        parts=parts,
        plan=boards.PLAN,
        edge_models={"darkness": edge_model or package},
        views=views,
        **options,
    )


def test_good_parts_are_released_defective_ones_diverted_and_everything_balances(
    tmp_path: Path, package: Path
) -> None:
    parts = parts_with_some_defects(tmp_path / "images", 9)
    with make_line(tmp_path, package, parts) as line:
        line.start()
        assert line.wait("plc", 60) == 0
        verdicts = judge_line(line, parts, POINTS)
        assert [verdicts[part] for part in parts] == ["NOK", "OK", "OK"] * 3
        actions = {outcome.part: outcome.action for outcome in line.outcomes()}
        assert [actions[part] for part in parts] == ["DIVERT", "RELEASE", "RELEASE"] * 3
        assert all(outcome.acknowledged for outcome in line.outcomes())
        # The picture of every point that is not OK arrives, behind the results.
        wanted = {p.evidence for p in line.reader.points(verdicts=[Verdict.NOK])}
        line.until(lambda: line.reader.counts()["evidence"] == len(wanted), 20, "evidence")
        for name in ("edge-cam1", "station"):
            assert line.stop(name) == 0


def test_a_line_works_with_every_connection_encrypted_and_says_who_is_shut_out(
    tmp_path: Path, package: Path
) -> None:
    parts = parts_with_some_defects(tmp_path / "images", 6)
    with make_line(tmp_path, package, parts, keys=True) as line:
        line.start()
        assert line.wait("plc", 60) == 0
        verdicts = judge_line(line, parts, POINTS)
        assert [verdicts[part] for part in parts] == ["NOK", "OK", "OK"] * 2
        wanted = {p.evidence for p in line.reader.points(verdicts=[Verdict.NOK])}
        line.until(lambda: line.reader.counts()["evidence"] == len(wanted), 20, "evidence")
        allowed = line.folder / "keys" / "allowed.toml"
        entries = [entry for entry in read_allowed(allowed) if entry.id != "edge-cam1"]
        write_allowed(allowed, entries)
        # The edge tries again on a new connection, and both logs say why it stays outside.
        line.until(lambda: "connection refused" in line.log("station"), 20, "refusal")
        line.until(lambda: "the key is not allowed" in line.log("edge-cam1"), 20, "refusal")
        kinds = [event.kind for event in line.reader.events()]
        assert "key_revoked" in kinds
        for name in ("edge-cam1", "station"):
            assert line.stop(name) == 0


def test_whoever_is_allowed_only_after_the_start_is_let_in_without_a_restart(
    tmp_path: Path, package: Path
) -> None:
    parts = parts_with_some_defects(tmp_path / "images", 2)
    with make_line(tmp_path, package, parts, keys=True) as line:
        allowed = line.folder / "keys" / "allowed.toml"
        entries = read_allowed(allowed)
        write_allowed(allowed, [])
        line.start()
        for name in ("edge-cam1", "plc"):
            line.until(lambda name=name: "the key is not allowed" in line.log(name), 20, "refusal")
        write_allowed(allowed, entries)
        assert line.wait("plc", 60) == 0
        assert list(judge_line(line, parts, POINTS).values()) == ["NOK", "OK"]
        # The pictures too, whose socket was refused at first like the other.
        line.until(lambda: line.reader.counts()["evidence"] > 0, 20, "evidence")


def test_people_log_in_at_a_running_station_and_stay_so_over_its_restart(
    tmp_path: Path, package: Path
) -> None:
    with make_line(tmp_path, package, []) as line:
        (port,) = free_ports(1)
        config = line.config("station").read_text()
        people = f'[listen]\npeople = "tcp://127.0.0.1:{port}"\n'
        config = 'people = "people.toml"\n' + config.replace("[listen]\n", people)
        line.config("station").write_text(config)
        anna = PersonEntry(name="anna", roles=(m.Role.ML,), password=hashed("correct horse"))
        write_people(line.folder / "people.toml", [anna])
        line.start("station")
        context = zmq.Context()
        page = context.socket(zmq.DEALER)
        page.connect(f"tcp://127.0.0.1:{port}")
        login = m.Login(request_id="1" * 32, user="anna", password="correct horse")
        page.send(wire.PEOPLE_TO_STATION.encode(login))
        assert page.poll(20_000)
        answer = wire.STATION_TO_PEOPLE.decode(page.recv())
        assert isinstance(answer, m.LoggedIn)
        page.close(linger=0)
        context.term()
        line.kill("station")
        secret = station_secret(line.folder / "station" / "tokens.secret")
        after = People(line.folder / "people.toml", secret, SystemClock().boot_id())
        assert after.verify(answer.token, SystemClock().monotonic_ns()).roles == {m.Role.ML}


@pytest.mark.parametrize("victim", ["station", "edge-cam1", "plc"])
def test_a_process_killed_in_the_middle_and_restarted_leaves_everything_accounted_for(
    tmp_path: Path, package: Path, victim: str
) -> None:
    parts = parts_with_some_defects(tmp_path / "images", 16)
    options = {"deadline_ms": 4000, "timeout_ms": 15_000, "camera": {"delay_ms": 40}}
    with make_line(tmp_path, package, parts, **options) as line:
        line.start()
        rng = random.Random(victim)
        for kill in (3, 8):
            line.until(lambda kill=kill: len(line.outcomes()) >= kill, 60, "parts done")
            # Anywhere within a part's time on the line.
            line.until(lambda: rng.random() < 0.2, 5, "a moment")
            line.kill(victim)
            line.start(victim)
        assert line.wait("plc", 120) == 0
        verdicts = judge_line(line, parts, POINTS)
        defective = parts[::3]
        assert all(verdicts.get(part) != "OK" for part in defective)
        good = [part for part in parts if part not in defective]
        # A kill costs at most the parts in front of it: the rest is as it would have been.
        assert sum(verdicts.get(part) == "OK" for part in good) >= len(good) - 2


def test_pictures_that_are_no_pictures_hold_their_part_with_the_reason(
    tmp_path: Path, package: Path
) -> None:
    good = imaging.encode_png(boards.board())
    noise = random.Random(1).randbytes(3000)
    small = imaging.encode_png(boards.board()[:-1])
    bad: dict[str, tuple[bytes | None, Reason]] = {
        "missing": (None, Reason.NO_IMAGE),
        "empty": (b"", Reason.IMAGE_UNREADABLE),
        "truncated": (good[: len(good) // 2], Reason.IMAGE_UNREADABLE),
        "noise": (noise, Reason.IMAGE_UNREADABLE),
        "small": (small, Reason.IMAGE_WRONG_SIZE),
        "black": (imaging.encode_png(boards.board(shade=0) * 0), Reason.IMAGE_TOO_DARK),
        "white": (imaging.encode_png(boards.board() | 255), Reason.IMAGE_TOO_BRIGHT),
    }
    parts = ["good-1", *bad, "good-2"]
    for part in ("good-1", "good-2"):
        boards.write_part(tmp_path / "images", part, boards.board())
    for part, (data, _) in bad.items():
        folder = tmp_path / "images" / part
        folder.mkdir()
        if data is not None:
            (folder / "v0.png").write_bytes(data)
    with make_line(tmp_path, package, parts) as line:
        line.start()
        assert line.wait("plc", 60) == 0
        verdicts = judge_line(line, parts, POINTS)
        assert verdicts == {part: "HOLD" if part in bad else "OK" for part in parts}
        runs = {row.part: row.run for row in line.reader.runs()}
        for part, (_, reason) in bad.items():
            points = line.reader.points(run=runs[part])
            assert {point.reason for point in points} == {reason}, part
            assert all(point.detail for point in points), part
        assert line.running("edge-cam1")
        assert line.running("station")


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (Broken.CHANGED_BYTE, "changed since the package was made"),
        (Broken.GOLDEN_SCORES, "does not reproduce"),
        (Broken.NAN, "no valid scores"),
    ],
)
def test_an_edge_with_a_bad_model_runs_and_says_why_and_its_parts_are_held(
    tmp_path: Path, package: Path, broken: Broken, says: str
) -> None:
    boards.write_part(tmp_path / "images", "P1", boards.board())
    bad = boards.model(tmp_path / "bad", broken=broken)
    options = {"ready_timeout_ms": 8000, "edge_model": bad}
    with make_line(tmp_path, package, ["P1"], **options) as line:
        line.start()
        assert line.wait("plc", 30) == 0
        (outcome,) = line.outcomes()
        assert outcome.action == "HOLD"
        assert says in outcome.reason
        # A PLC that begins nevertheless gets HOLD, and the reason for every point.
        plc = RawPlc(line)
        begun = plc.ask(m.Begin(plc="plc-2", seq=1, part="P1", plan=boards.PLAN))
        verdict = plc.verdict(begun, seq=2)
        assert (verdict.ok, verdict.hold, verdict.points_not_inspected) == (False, True, POINTS)
        points = line.reader.points(run=begun.run)
        assert {point.reason for point in points} == {Reason.MODEL_UNAVAILABLE}
        assert all(says in point.detail for point in points)
        assert line.running("edge-cam1")
        plc.close()


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "not signed at the edge"])
def test_a_part_is_ok_only_by_a_model_that_a_trusted_key_has_signed(
    tmp_path: Path, signed: bool
) -> None:
    boards.write_part(tmp_path / "images", "P1", boards.board())
    private, public = keygen(tmp_path / "keys", "quality")
    package = boards.model(tmp_path / "signed")
    sign_package(package, private)
    unsigned = boards.model(tmp_path / "unsigned")  # the very same files
    options = {"trust": [public], "ready_timeout_ms": 8000}
    edge_model = package if signed else unsigned
    with make_line(tmp_path, package, ["P1"], edge_model=edge_model, **options) as line:
        line.start()
        assert line.wait("plc", 60) == 0
        (outcome,) = line.outcomes()
        assert outcome.action == ("RELEASE" if signed else "HOLD")
        assert ("not signed" in outcome.reason) is not signed


def test_a_model_that_gives_nan_in_the_middle_of_a_run_makes_no_ok(tmp_path: Path) -> None:
    nan = boards.model(tmp_path / "nan", broken=Broken.NAN_ON_WHITE)
    image = boards.board()
    image[: boards.TILE, : boards.TILE] = 255
    boards.write_part(tmp_path / "images", "P1", image)
    boards.write_part(tmp_path / "images", "P2", boards.board())
    with make_line(tmp_path, nan, ["P1", "P2"]) as line:
        line.start()
        assert line.wait("plc", 30) == 0
        assert judge_line(line, ["P1", "P2"], POINTS) == {"P1": "HOLD", "P2": "OK"}
        (point,) = line.reader.points(verdicts=[Verdict.NOT_INSPECTED])
        assert (point.point, point.reason) == ("v0-r0c0", Reason.MODEL_OUTPUT_INVALID)
        assert "nan" in point.detail


def test_views_triggered_by_the_plc_are_taken_one_by_one_and_end_closes_the_run(
    tmp_path: Path, package: Path
) -> None:
    parts = ["P1", "P2"]
    for part in parts:
        boards.write_part(tmp_path / "images", part, boards.board(), boards.board())
    options = {"views": 2, "trigger": "plc", "plc_views": ("v0", "v1")}
    with make_line(tmp_path, package, parts, **options) as line:
        line.start()
        assert line.wait("plc", 60) == 0
        assert judge_line(line, parts, 2 * POINTS) == {"P1": "OK", "P2": "OK"}


def test_a_begin_that_cannot_be_is_refused_by_code_and_the_line_goes_on(
    tmp_path: Path, package: Path
) -> None:
    for part in ("P1", "P2"):
        boards.write_part(tmp_path / "images", part, boards.board())
    with make_line(tmp_path, package, ["P1"], camera={"delay_ms": 800}) as line:
        line.start("station", "edge-cam1")
        line.until(lambda: "edge connected" in line.log("station"), 20, "edge connected")
        plc = RawPlc(line)

        def begin(seq: int, part: str, plan: str = boards.PLAN) -> m.Message:
            return plc.ask(m.Begin(plc="plc-2", seq=seq, part=part, plan=plan))

        unknown = begin(1, "P2", "no-such-plan")
        begun = begin(2, "P2")
        again = begin(2, "P2")
        open_run = begin(3, "P2")
        reused = begin(2, "P1")
        assert [getattr(answer, "fault", None) for answer in (unknown, open_run, reused)] == [
            Fault.UNKNOWN_PLAN,
            Fault.RUN_OPEN,
            Fault.SEQ_REUSED,
        ]
        assert again == begun
        assert plc.verdict(begun, seq=4).ok
        assert len(line.reader.runs()) == 1
        refusals = [e.text for e in line.reader.events() if e.kind == "request_refused"]
        assert len(refusals) == 3
        plc.close()


@pytest.mark.parametrize("name", ["station", "edge-cam1", "plc"])
def test_each_process_stops_cleanly_on_ctrl_c_with_and_without_the_others(
    tmp_path: Path, package: Path, name: str
) -> None:
    parts = parts_with_some_defects(tmp_path / "images", 40)
    with make_line(tmp_path, package, parts, camera={"delay_ms": 50}) as line:
        line.start(name)
        line.until(lambda: f"{name.partition('-')[0]} started" in line.log(name), 20, "started")
        assert line.stop(name) == 0
        line.start()
        line.until(lambda: len(line.outcomes()) >= 2, 30, "parts done")
        assert line.stop(name) == 0
        assert "Traceback" not in line.log(name)


def test_without_any_edge_the_part_is_held_at_the_deadline(tmp_path: Path, package: Path) -> None:
    boards.write_part(tmp_path / "images", "P1", boards.board())
    with make_line(tmp_path, package, ["P1"], deadline_ms=500) as line:
        line.start("station")
        plc = RawPlc(line)
        begun = plc.ask(m.Begin(plc="plc-2", seq=1, part="P1", plan=boards.PLAN))
        assert plc.verdict(begun, seq=2).hold
        points = line.reader.points(run=begun.run)
        assert {point.reason for point in points} == {Reason.EDGE_NOT_CONNECTED}
        plc.close()


def test_a_second_station_on_the_same_folder_is_refused_and_the_first_goes_on(
    tmp_path: Path, package: Path
) -> None:
    with make_line(tmp_path, package, ["P1"]) as line:
        line.start("station")
        plc = RawPlc(line)
        assert isinstance(plc.ask(m.Heartbeat(plc="p", counter=1)), m.Status)
        second = Line.__new__(Line)
        second.__dict__.update({**line.__dict__, "_processes": {}})
        second.start("station")
        assert second.wait("station", 20) != 0
        assert "another station" in line.log("station")
        assert isinstance(plc.ask(m.Heartbeat(plc="p", counter=2)), m.Status)
        plc.close()


def test_garbage_and_oversize_frames_on_every_socket_of_the_station_stop_nothing(
    tmp_path: Path, package: Path
) -> None:
    parts = parts_with_some_defects(tmp_path / "images", 6)
    with make_line(tmp_path, package, parts) as line:
        line.start("station", "edge-cam1")
        line.until(lambda: "edge connected" in line.log("station"), 20, "edge connected")
        rng = random.Random(5)
        context = zmq.Context()
        for name, endpoint in line.endpoints.items():
            host, port = endpoint.removeprefix("tcp://").split(":")
            with socket.create_connection((host, int(port))) as raw:
                raw.sendall(rng.randbytes(2000))
            attacker = context.socket(zmq.DEALER)
            attacker.linger = 0
            attacker.connect(endpoint)
            for size in (0, 1, 10, 1000, 15_000):
                attacker.send(rng.randbytes(size))
            attacker.send_multipart([b"two", b"frames"])
            refusals = 0
            while refusals < 6 and attacker.poll(3000):
                frame = attacker.recv()
                lane = wire.STATION_TO_PLC if name == "plc" else wire.STATION_TO_EDGE
                if name == "evidence":
                    lane = wire.STATION_TO_EVIDENCE
                assert isinstance(lane.decode(frame), m.Refused | m.Refusal)
                refusals += 1
            assert refusals == 6, name
            attacker.send(bytes(20 * 2**20))  # over every limit: libzmq cuts the connection
            attacker.close()
        context.term()
        line.start("plc")
        assert line.wait("plc", 60) == 0
        judge_line(line, parts, POINTS)


@pytest.mark.parametrize("speaks", ["noise", "wrong protocol", "oversize"])
def test_an_edge_and_a_plc_survive_a_station_that_talks_nonsense(
    tmp_path: Path, package: Path, speaks: str
) -> None:
    """Somebody else listens where the station should; then the real one comes back."""
    parts = parts_with_some_defects(tmp_path / "images", 3)
    with make_line(tmp_path, package, parts) as line:
        context = zmq.Context()
        fakes = []
        for endpoint in line.endpoints.values():
            fake = context.socket(zmq.ROUTER)
            fake.linger = 0
            fake.bind(endpoint)
            fakes.append(fake)
        line.start("edge-cam1", "plc")
        rng = random.Random(9)
        say: Callable[[], bytes] = {
            "noise": lambda: rng.randbytes(rng.randrange(2000)),
            "wrong protocol": lambda: b'{"protocol": 2, "type": "Status"}',
            "oversize": lambda: bytes(2 * 2**20),
        }[speaks]
        heard = dict.fromkeys(line.endpoints, 0)
        names = dict(zip(fakes, line.endpoints, strict=True))
        poller = zmq.Poller()
        for fake in fakes:
            poller.register(fake, zmq.POLLIN)
        until = time.monotonic() + 40
        while min(heard["edge"], heard["plc"]) < 3:
            assert time.monotonic() < until, f"they gave up: {heard}"
            for fake, _ in poller.poll(1000):
                peer, *_ = fake.recv_multipart()
                fake.send_multipart([peer, say()])
                heard[names[fake]] += 1
        for fake in fakes:
            fake.close()
        context.term()
        line.start("station")
        assert line.wait("plc", 60) == 0
        judge_line(line, parts, POINTS)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("station", ("plans = [", 'plan = ["x"]\nplans = ['), "plan"),
        ("station", ("tcp://127.0.0.1", "tcp://0.0.0.0"), "can be reached from other machines"),
        ("edge-cam1", ("driver = ", 'drive = "x"\ndriver = '), "drive"),
        ("edge-cam1", ('driver = "folder"', 'driver = "folders"'), "folder"),
        ("plc", ('plc = "plc-1"', 'plc = "../plc"'), "plc"),
    ],
)
def test_a_wrong_configuration_ends_with_one_readable_line(
    tmp_path: Path, package: Path, name: str, change: tuple[str, str], says: str
) -> None:
    (tmp_path / "images").mkdir()
    with make_line(tmp_path, package, ["P1"]) as line:
        path = line.config(name)
        text = path.read_text()
        assert change[0] in text
        path.write_text(text.replace(*change, 1))
        line.start(name)
        assert line.wait(name, 20) == 2
        (said,) = line.log(name).strip().splitlines()
        assert says in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text + "v0-r0c0,v0,tile,0,0,32,32,major\n", "v0-r0c0"),
        (lambda text: text.replace("r1c1,v0,tile,32,32,32", "r1c1,v0,tile,150,32,32"), "left_px"),
        (lambda text: text.replace("r1c1,v0,tile,32", "r1c1,v0,tile,wide"), "wide"),
    ],
    ids=["duplicate point", "region outside its view", "unreadable line"],
)
def test_a_station_does_not_start_with_a_plan_it_cannot_trust(
    tmp_path: Path, package: Path, spoil: Callable[[str], str], says: str
) -> None:
    (tmp_path / "images").mkdir()
    with make_line(tmp_path, package, ["P1"]) as line:
        points = tmp_path / "plan" / "points.csv"
        spoiled = spoil(points.read_text())
        assert spoiled != points.read_text()
        points.write_text(spoiled)
        line.start("station")
        assert line.wait("station", 20) == 2
        (said,) = line.log("station").strip().splitlines()
        assert says in said
        assert "points.csv:" in said


def test_a_plan_with_an_unknown_model_is_refused_by_file_and_line(
    tmp_path: Path, package: Path
) -> None:
    (tmp_path / "images").mkdir()
    with make_line(tmp_path, package, ["P1"]) as line:
        plan = tmp_path / "plan" / "plan.toml"
        plan.write_text(plan.read_text().replace('model = "darkness"', 'model = "light"'))
        line.start("station")
        assert line.wait("station", 20) == 2
        assert "plan.toml:" in line.log("station")
        assert "light" in line.log("station")


class RawPlc:
    """A PLC program of the simplest kind: one socket, one request at a time."""

    def __init__(self, line: Line) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.connect(line.endpoints["plc"])

    def ask(self, message: m.Message) -> m.Message:
        self._socket.send(wire.PLC_TO_STATION.encode(message))
        while self._socket.poll(15_000):
            answer = wire.STATION_TO_PLC.decode(self._socket.recv())
            if not isinstance(answer, m.VerdictReady):
                return answer
        raise TimeoutError(f"no answer to {message}")

    def verdict(self, begun: m.Message, seq: int) -> m.PartVerdict:
        assert isinstance(begun, m.Begun)
        question = m.GetVerdict(plc="plc-2", seq=seq, part=begun.part, run=begun.run)
        while True:
            answer = self.ask(question)
            assert isinstance(answer, m.PartVerdict)
            if answer.result_valid:
                return answer

    def close(self) -> None:
        self._socket.close()
        self._context.term()
