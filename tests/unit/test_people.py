"""People log in, and what their tokens are worth."""

from __future__ import annotations

import io
import itertools
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_station import Bench

from inspection import messages as m
from inspection import wire
from inspection.__main__ import main
from inspection.errors import ConfigurationError, NotAuthorised
from inspection.evidence import EvidenceStore
from inspection.messages import Fault, Role
from inspection.station.people import (
    BURST,
    FREE_FAILURES,
    LONGEST_WAIT_S,
    SECOND_NS,
    VALID_NS,
    People,
    PersonEntry,
    Throttled,
    hashed,
    read_people,
    station_secret,
    write_people,
)
from inspection.station.station import Station

BOOT = "b" * 32
SECRET = b"s" * 64
NOW = 100 * SECOND_NS
ANNA = PersonEntry(name="anna", roles=(Role.QUALITY,), password=hashed("correct horse"))
BEN = PersonEntry(name="ben", roles=(Role.OPERATOR, Role.ADMIN), password=hashed("battery staple"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_people(tmp_path / "people.toml", [ANNA, BEN])
    return tmp_path / "people.toml"


@pytest.fixture
def people(file: Path) -> People:
    return People(file, SECRET, BOOT)


def test_a_token_says_who_logged_in_and_what_they_may_do(people: People) -> None:
    anna = people.verify(people.login("anna", "correct horse", NOW), NOW + 1)
    assert (anna.name, anna.roles) == ("anna", {Role.QUALITY})
    ben = people.verify(people.login("ben", "battery staple", NOW), NOW)
    assert ben.roles == {Role.OPERATOR, Role.ADMIN}


@pytest.mark.parametrize(
    ("user", "password"),
    [("anna", "battery staple"), ("anna", ""), ("nobody", "correct horse"), ("anna ", "x\ud800")],
)
def test_a_wrong_password_and_an_unknown_user_get_the_same_words(
    people: People, user: str, password: str
) -> None:
    with pytest.raises(NotAuthorised) as error:
        people.login(user, password, NOW)
    assert str(error.value) == "user name or password is wrong"


def test_a_wrong_password_and_an_unknown_user_take_the_same_time(people: People) -> None:
    def taken(user: str, now: int) -> float:
        begun = time.process_time()
        with pytest.raises(NotAuthorised, match="wrong"):
            people.login(user, "wrong", now)
        return time.process_time() - begun

    known, unknown = [], []
    for turn in range(1, FREE_FAILURES):
        known.append(taken("anna", 10 * turn * NOW))
        unknown.append(taken("nobody", 10 * turn * NOW))
    assert 1 / 3 < statistics.median(known) / statistics.median(unknown) < 3


def test_a_password_is_the_same_however_its_characters_are_composed(file: Path) -> None:
    entry = msgspec.structs.replace(ANNA, password=hashed("caf\u00e9 am Tor"))
    write_people(file, [entry])
    assert People(file, SECRET, BOOT).login("anna", "cafe\u0301 am Tor", NOW)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_token_with_any_character_changed_is_worth_nothing(
    people: People, issued: list[str], data: st.DataObject
) -> None:
    if not issued:  # once for all examples: a password costs what it should
        issued.append(people.login("anna", "correct horse", NOW))
    (token,) = issued
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters().filter(lambda c: c != token[at]))
    try:
        person = people.verify(token[:at] + other + token[at + 1 :], NOW)
    except NotAuthorised:
        return
    # Base64 has spare bits at the end of each half: another spelling of the very same bytes.
    assert person == people.verify(token, NOW)
    half = token.index(".") if at < token.index(".") else len(token)
    assert half - at <= 3


@pytest.fixture
def issued() -> list[str]:
    return []


@pytest.mark.parametrize("token", ["", ".", "a.b", "\u00e4.\u00e4", "A" * 8000, "e30=.e30="])
def test_what_is_no_token_is_refused(people: People, token: str) -> None:
    with pytest.raises(NotAuthorised, match="no token"):
        people.verify(token, NOW)


def test_a_token_of_another_station_is_refused(people: People, file: Path) -> None:
    foreign = People(file, b"t" * 64, BOOT).login("anna", "correct horse", NOW)
    with pytest.raises(NotAuthorised, match="no token"):
        people.verify(foreign, NOW)


def test_a_token_ends_with_its_time_and_with_the_boot(people: People, file: Path) -> None:
    token = people.login("anna", "correct horse", NOW)
    people.verify(token, NOW + VALID_NS - 1)
    for now in (NOW + VALID_NS, NOW - 1, 0):
        with pytest.raises(NotAuthorised, match="expired"):
            people.verify(token, now)
    with pytest.raises(NotAuthorised, match="expired"):
        People(file, SECRET, "c" * 32).verify(token, NOW)
    # A restart of the station alone ends nothing.
    assert People(file, SECRET, BOOT).verify(token, NOW).name == "anna"


def test_whoever_is_taken_out_of_the_list_is_out_at_once(people: People, file: Path) -> None:
    token = people.login("anna", "correct horse", NOW)
    write_people(file, [BEN])
    with pytest.raises(NotAuthorised):
        people.verify(token, NOW)
    with pytest.raises(NotAuthorised):
        people.login("anna", "correct horse", NOW)


def test_a_new_password_ends_earlier_logins_and_a_new_role_holds_at_once(
    people: People, file: Path
) -> None:
    token = people.login("anna", "correct horse", NOW)
    write_people(file, [msgspec.structs.replace(ANNA, roles=(Role.OPERATOR,))])
    assert people.verify(token, NOW).roles == {Role.OPERATOR}
    write_people(file, [msgspec.structs.replace(ANNA, password=hashed("another one"))])
    with pytest.raises(NotAuthorised, match="no longer holds"):
        people.verify(token, NOW)


@pytest.mark.parametrize("damage", ["missing", "no TOML", "readable by others"])
def test_a_list_that_cannot_be_used_authorises_nobody_until_it_is_mended(
    people: People, file: Path, damage: str
) -> None:
    token = people.login("anna", "correct horse", NOW)
    good = file.read_text()
    if damage == "missing":
        file.rename(file.with_suffix(".away"))
    elif damage == "no TOML":
        file.write_text("[[person]\n")
    else:
        file.chmod(0o640)
    with pytest.raises(NotAuthorised):
        people.verify(token, NOW)
    if damage == "missing":
        file.with_suffix(".away").rename(file)
    file.write_text(good)
    file.chmod(0o600)
    assert people.verify(token, NOW).name == "anna"


@pytest.mark.parametrize("user", ["anna", "nobody"])
def test_failures_make_a_user_wait_longer_and_longer_also_with_the_right_password(
    people: People, user: str
) -> None:
    tried = [NOW]
    now = NOW
    while len(tried) < FREE_FAILURES + 12:
        now += SECOND_NS
        try:
            people.login(user, "wrong", now)
        except Throttled:
            continue
        except NotAuthorised:
            tried.append(now)
    waits = [(b - a) // SECOND_NS for a, b in itertools.pairwise(tried)]
    assert waits[: FREE_FAILURES + 2] == [1] * (FREE_FAILURES + 1) + [2]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT_S
    with pytest.raises(Throttled, match="try again in 299 s"):
        people.login(user, "correct horse", now + SECOND_NS)
    now += LONGEST_WAIT_S * SECOND_NS
    if user == "anna":
        assert people.login("anna", "correct horse", now)
        # A success begins anew.
        for later in (1, 2, 3):
            with pytest.raises(NotAuthorised, match="wrong"):
                people.login("anna", "wrong", now + later * SECOND_NS)


def test_no_more_passwords_are_tried_than_the_station_has_time_for(people: People) -> None:
    tried = 0
    for number in range(20):
        try:
            people.login(f"user-{number}", "wrong", NOW)
        except Throttled:
            continue
        except NotAuthorised:
            tried += 1
    assert tried == BURST
    with pytest.raises(NotAuthorised, match="wrong"):
        people.login("somebody", "wrong", NOW + SECOND_NS)


@pytest.mark.parametrize(
    "text",
    [
        '[[person]]\nname = "anna"\nroles = ["quality"]\npassword = "plain text"\n',
        '[[person]]\nname = "anna"\nroles = []\npassword = "$argon2id$x"\n',
        '[[person]]\nname = "anna"\nroles = ["boss"]\npassword = "$argon2id$x"\n',
        '[[person]]\nname = "an na"\nroles = ["quality"]\npassword = "$argon2id$x"\n',
        '[[person]]\nname = "anna"\nroles = ["quality"]\npassword = "$argon2id$x"\n' * 2,
    ],
)
def test_a_list_that_is_wrong_stops_the_start_without_its_secrets(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "people.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError) as error:
        People(path, SECRET, BOOT)
    assert "plain text" not in str(error.value)


def test_a_list_or_a_secret_that_others_may_read_stops_the_start(
    tmp_path: Path, file: Path
) -> None:
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="others may read it"):
        People(file, SECRET, BOOT)
    secret = station_secret(tmp_path / "state" / "tokens.secret")
    assert station_secret(tmp_path / "state" / "tokens.secret") == secret
    (tmp_path / "state" / "tokens.secret").chmod(0o640)
    with pytest.raises(ConfigurationError, match="others may read it") as error:
        station_secret(tmp_path / "state" / "tokens.secret")
    assert secret.decode() not in str(error.value)


def test_people_are_added_listed_and_removed_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "people.toml")

    def command(*words: str, password: str = "") -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        return main(["people", words[0], "--file", path, *words[1:]])

    add = ("add", "anna", "--role", "quality", "--role", "ml", "--password-stdin")
    assert command(*add, password="short") == 2
    assert not Path(path).exists()
    assert command(*add, password="correct horse") == 0
    assert "correct horse" not in Path(path).read_text()
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert command(*add, password="correct horse") == 2
    people = People(Path(path), SECRET, BOOT)
    people.login("anna", "correct horse", NOW)
    assert command("password", "anna", "--password-stdin", password="battery staple") == 0
    people.login("anna", "battery staple", NOW)
    capsys.readouterr()
    assert command("list") == 0
    assert capsys.readouterr().out.split() == ["anna", "quality,", "ml"]
    assert command("remove", "anna") == 0
    assert read_people(Path(path)) == ()
    assert command("remove", "anna") == 2
    assert command("add", "../anna", "--role", "ml", "--password-stdin", password="x" * 12) == 2


# ------------------------------------------------------------------------------- at the station


class Desk(Bench):
    """A station at which people log in."""

    def start(self) -> None:
        super().start()
        write_people(self.folder / "people.toml", [ANNA])
        self.station = Station(
            station_id="station-1",
            plans={self.plan.name: self.plan},
            released={},
            store=self.store,
            evidence=EvidenceStore(self.folder / "evidence"),
            clock=self.clock,
            people=People(self.folder / "people.toml", SECRET, self.clock.boot_id()),
        )

    def person(self, message: Any) -> Any:
        frame = wire.PEOPLE_TO_STATION.encode(message)
        ((_, _, raw),) = self.station.work([("people", b"page", frame)])
        return wire.STATION_TO_PEOPLE.decode(raw)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


def login(user: str = "anna", password: str = "correct horse") -> m.Login:
    return m.Login(request_id="1" * 32, user=user, password=password)


def test_whoever_logs_in_gets_a_token_and_it_is_on_record(desk: Desk) -> None:
    answer = desk.person(login())
    assert isinstance(answer, m.LoggedIn)
    assert (answer.user, answer.roles) == ("anna", (Role.QUALITY,))
    assert answer.token.count(".") == 1
    assert ("login", "anna logged in") in [(e.kind, e.text) for e in desk.reader.events()]


def test_whoever_may_not_is_declined_and_that_is_on_record_without_the_password(
    desk: Desk,
) -> None:
    for user in ("anna", "nobody"):
        answer = desk.person(login(user, "hunter2-hunter2"))
        assert isinstance(answer, m.Declined)
        assert answer.fault is Fault.NOT_AUTHORISED
        assert answer.text == "user name or password is wrong"
    events = [event for event in desk.reader.events() if event.kind == "login_refused"]
    assert len(events) == 2
    assert "hunter2" not in "".join(event.text for event in events)
    for _ in range(10):
        last = desk.person(login("anna", "hunter2-hunter2"))
    assert last.fault is Fault.TRY_LATER


def test_a_station_without_people_lets_nobody_in(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    frame = wire.PEOPLE_TO_STATION.encode(login())
    ((_, _, raw),) = bench.station.work([("people", b"page", frame)])
    answer = wire.STATION_TO_PEOPLE.decode(raw)
    assert isinstance(answer, m.Declined)
    assert answer.fault is Fault.NOT_AUTHORISED
    bench.store.close()


def test_a_password_does_not_show_in_what_a_message_looks_like() -> None:
    assert "correct horse" not in repr(login())
