"""Key files, the list of allowed keys, and who may start without any."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edge.config import read_edge
from inspection import keys
from inspection.__main__ import main
from inspection.errors import ConfigurationError
from inspection.keys import AllowList, KeyRole, read_allowed, read_private, read_public
from inspection.station.config import read_station
from inspection.testing import boards

STATION = """\
station = "station-1"
directory = "station"
plans = ["plan/plan.toml"]
listen = {{ edge = "tcp://{host}:5551", evidence = "tcp://{host}:5552", plc = "tcp://{host}:5553" }}
models = {{ darkness = "model" }}
"""

EDGE = """\
edge = "edge-1"
directory = "edge"
station = {{ edge = "tcp://{host}:5551", evidence = "tcp://{host}:5552" }}
models = {{ darkness = "model" }}
cameras = {{ cam1 = {{ driver = "folder" }} }}
"""

PLC = """\
plc = "plc-1"
station = "tcp://{host}:5553"
plan = "board"
directory = "plc"
parts = ["P"]
"""


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plant")
    boards.write_plan(folder / "plan")
    boards.model(folder / "model")
    return folder


def inspect(*words: object) -> int:
    return main(["keys", *map(str, words)])


def test_a_private_key_can_be_read_by_its_owner_only_and_knows_its_public_key(
    tmp_path: Path,
) -> None:
    private, public = keys.new_pair(tmp_path, "edge-1")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    pair = read_private(private)
    assert pair.public == read_public(public)
    assert pair.secret not in repr(pair)
    assert pair.secret not in public.read_text()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_private_key_that_others_can_read_is_refused_without_a_word_of_it(
    tmp_path: Path, mode: int
) -> None:
    private, _ = keys.new_pair(tmp_path, "edge-1")
    secret = read_private(private).secret
    private.chmod(mode)
    with pytest.raises(ConfigurationError, match="others may read it") as error:
        read_private(private)
    assert secret not in str(error.value)


@pytest.mark.parametrize("text", ["", 'secret = "short"\n', "-----BEGIN PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="no CURVE private key") as error:
        read_private(path)
    assert not text or text.strip() not in str(error.value)


def test_a_key_pair_never_replaces_another(tmp_path: Path) -> None:
    private, _ = keys.new_pair(tmp_path, "edge-1")
    before = private.read_bytes()
    with pytest.raises(ConfigurationError, match="is there already"):
        keys.new_pair(tmp_path, "edge-1")
    assert private.read_bytes() == before


def test_allow_list_and_revoke_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    allowed = tmp_path / "allowed.toml"
    for name in ("edge-1", "plc-1"):
        assert inspect("new", name, "--out", tmp_path) == 0
    public = read_public(tmp_path / "edge-1.pub")
    allow = ("allow", tmp_path / "edge-1.pub", "--list", allowed)
    assert inspect(*allow, "--role", "edge", "--id", "edge-1", "--camera", "cam1") == 0
    assert inspect(*allow, "--role", "edge", "--id", "edge-1", "--camera", "cam1") == 2
    assert "is in the list already" in capsys.readouterr().err
    assert inspect("allow", tmp_path / "plc-1.pub", "--list", allowed, "--role", "plc",
                   "--id", "plc-1") == 0  # fmt: skip
    live = AllowList(allowed)
    assert live.keys[public].cameras == ("cam1",)
    assert inspect("revoke", "edge-1", "--why", 'stolen "laptop"', "--list", allowed) == 0
    assert live.refresh()
    assert [entry.role for entry in live.keys.values()] == [KeyRole.PLC]
    # It stays on record, and does not come back by mistake.
    capsys.readouterr()
    assert inspect(*allow, "--role", "edge", "--id", "edge-1", "--camera", "cam1") == 2
    assert "was revoked" in capsys.readouterr().err
    assert inspect("list", "--list", allowed) == 0
    assert 'stolen "laptop"' in capsys.readouterr().out
    assert inspect("revoke", "edge-1", "--why", "again", "--list", allowed) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--role", "edge", "--id", "e"), "an edge has one or more"),
        (("--role", "plc", "--id", "p", "--camera", "c"), "an edge has one or more"),
        (("--role", "plc", "--id", "../p"), "no identifier"),
    ],
)
def test_an_entry_that_says_too_little_or_too_much_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    keys.new_pair(tmp_path, "k")
    assert inspect("allow", tmp_path / "k.pub", "--list", tmp_path / "a.toml", *words) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "a.toml").exists()


def test_a_list_that_names_a_key_twice_or_that_others_may_change_is_refused(
    tmp_path: Path,
) -> None:
    _, public = keys.new_pair(tmp_path, "plc-1")
    entry = f'[[key]]\npublic = "{read_public(public)}"\nrole = "plc"\nid = "plc-1"\n'
    path = tmp_path / "allowed.toml"
    path.write_text(entry * 2)
    with pytest.raises(ConfigurationError, match="twice"):
        read_allowed(path)
    path.write_text(entry)
    path.chmod(0o664)
    with pytest.raises(ConfigurationError, match="others may change"):
        AllowList(path)


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "192.168.1.10", "[::]", "localhost.evil"])
def test_nothing_starts_on_an_endpoint_of_the_network_without_keys(
    plant: Path, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("station", STATION), ("edge", EDGE), ("plc", PLC)):
        path = plant / f"{name}.toml"
        path.write_text(text.format(host=host))
        assert main([name, str(path)]) == 2
        assert "give the file a table [keys]" in capsys.readouterr().err


def test_loopback_needs_no_keys(plant: Path) -> None:
    (plant / "s.toml").write_text(STATION.format(host="127.0.0.1"))
    (plant / "e.toml").write_text(EDGE.format(host="localhost"))
    assert read_station(plant / "s.toml").keys is None
    assert read_edge(plant / "e.toml").keys is None


def test_with_keys_any_address_will_do_and_a_readable_private_key_stops_the_start(
    plant: Path, tmp_path: Path
) -> None:
    for name in ("station", "edge-1"):
        keys.new_pair(tmp_path, name)
    keys.write_allowed(tmp_path / "allowed.toml", [])
    table = '[keys]\nown = "{own}"\n'
    own = f'allowed = "{tmp_path}/allowed.toml"\n'
    (plant / "s.toml").write_text(
        STATION.format(host="0.0.0.0") + table.format(own=tmp_path / "station.key") + own
    )
    (plant / "e.toml").write_text(
        EDGE.format(host="10.0.0.1")
        + table.format(own=tmp_path / "edge-1.key")
        + f'station = "{tmp_path}/station.pub"\n'
    )
    assert read_station(plant / "s.toml").keys is not None
    assert read_edge(plant / "e.toml").keys is not None
    for name in ("station", "edge-1"):
        (tmp_path / f"{name}.key").chmod(0o644)
    for read, file in ((read_station, "s.toml"), (read_edge, "e.toml")):
        with pytest.raises(ConfigurationError, match="others may read it"):
            read(plant / file)  # type: ignore[operator]


def test_a_private_key_written_into_a_configuration_is_refused_and_not_repeated(
    plant: Path, tmp_path: Path
) -> None:
    private, _ = keys.new_pair(tmp_path, "station")
    secret = read_private(private).secret
    table = f'[keys]\nown = "{secret}"\nallowed = "allowed.toml"\n'
    (plant / "s.toml").write_text(STATION.format(host="0.0.0.0") + table)
    with pytest.raises(ConfigurationError, match="must name the file of a key") as error:
        read_station(plant / "s.toml")
    assert secret not in str(error.value)
