"""A whole line on one machine, of real processes on loopback: station, edges and a PLC.

For the demonstration, for tests and for proofs. `Line` writes the configuration files a person
would write, into one folder, and starts the same commands a person would type.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from inspection.closing import Closing
from inspection.keys import Allowed, KeyRole, new_pair, read_public, write_allowed
from inspection.store.reader import Reader
from inspection.testing.forked import Forked
from inspection.testing.plc import Outcome
from inspection.testing.proxy import Proxy

STATION_ID = "station-1"


def free_ports(count: int) -> list[int]:
    """Ports nobody uses at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for entry in sockets:
            entry.bind(("127.0.0.1", 0))
        return [int(entry.getsockname()[1]) for entry in sockets]
    finally:
        for entry in sockets:
            entry.close()


_NO_OK = {"ok_share": 0.0, "near_share": 0.0}


class Line(Closing):
    """The processes of one line and the folder they work in.

    ``models`` maps the names that the plan uses to package folders; ``edge_models`` may give the
    edges other packages under the same names. With ``keys`` every connection is encrypted, and each
    process has a key of its own; with ``trust`` only packages are used that one of these public
    keys signed. Every camera of ``cameras`` is the only one of an edge of its own, with a driver
    and settings as in ``edge.toml``. With ``links`` edges and PLC reach the station through a proxy
    each; with ``warm`` the processes are forked from one that has imported everything, which saves
    a second of computing for each start. ``edge_evidence`` is the table ``evidence`` of
    ``edge.toml``; without it no picture of an OK point is kept, so that what is kept is known.
    With ``people`` the station has an endpoint where people log in, the pages are told of it, and
    whoever makes the line writes ``people.toml``. ``more`` are further settings by the name of a
    configuration, ``environment`` further variables of every process that is not ``warm``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        plans: Sequence[Path],
        models: Mapping[str, Path],
        cameras: Mapping[str, Mapping[str, Any]],
        parts: Sequence[str],
        plan: str,
        edge_models: Mapping[str, Path] | None = None,
        views: Sequence[str] = (),
        timeout_ms: int = 30_000,
        ready_timeout_ms: int = 60_000,
        edge_timeout_ms: int = 2000,
        ui_port: int = 8501,
        title: str = "",
        python: str = sys.executable,
        keys: bool = False,
        links: bool = False,
        warm: bool = False,
        trust: Sequence[Path] = (),
        edge_evidence: Mapping[str, Any] | None = None,
        more: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
        people: bool = False,
    ) -> None:
        self.folder = folder
        self._python = python
        self._warm = warm
        self._more = more or {}
        self._environment = environment or {}
        folder.mkdir(parents=True, exist_ok=True)
        lanes = ("edge", "evidence", "plc", *(["people"] if people else []))
        self.endpoints = {
            name: f"tcp://127.0.0.1:{port}"
            for name, port in zip(lanes, free_ports(len(lanes)), strict=True)
        }
        self.links: dict[str, Proxy] = {}
        """The cables, where ``links`` asks for them: by the name of an edge, its results;
        ``NAME-evidence``, its pictures; ``plc``."""
        if links:
            for name in cameras:
                self.links[f"edge-{name}"] = Proxy(self.endpoints["edge"])
                self.links[f"edge-{name}-evidence"] = Proxy(self.endpoints["evidence"])
            self.links["plc"] = Proxy(self.endpoints["plc"])
        self._processes: dict[str, subprocess.Popen[bytes] | Forked] = {}
        self.edges = [f"edge-{name}" for name in cameras]
        station_keys: dict[str, Any] = {}
        client_keys: dict[str, dict[str, Any]] = {n: {} for n in (*self.edges, "plc", "ui")}
        trusted = {"trust": {"keys": [str(path.resolve()) for path in trust]}} if trust else {}
        if keys:
            station_keys, client_keys = _make_keys(folder, cameras)
        self._write(
            "station",
            {
                **station_keys,
                **trusted,
                **({"people": "people.toml"} if people else {}),
                "station": STATION_ID,
                "directory": "station",
                "plans": [str(path.resolve()) for path in plans],
                "edge_timeout_ms": edge_timeout_ms,
                "turns": [],  # one file, so that whoever judges the line has it whole
                "listen": self.endpoints,
                "models": {name: str(path.resolve()) for name, path in models.items()},
            },
        )
        used = models if edge_models is None else edge_models
        for name, camera in cameras.items():
            driver = {"driver": camera["driver"], "settings": dict(camera["settings"])}
            self._write(
                f"edge-{name}",
                {
                    **client_keys[f"edge-{name}"],
                    **trusted,
                    "edge": f"edge-{name}",
                    "directory": f"edge-{name}",
                    "station": {
                        "edge": self._through(f"edge-{name}", "edge"),
                        "evidence": self._through(f"edge-{name}-evidence", "evidence"),
                    },
                    "models": {key: str(path.resolve()) for key, path in used.items()},
                    "cameras": {name: driver},
                    "evidence": _NO_OK if edge_evidence is None else dict(edge_evidence),
                },
            )
        self._write(
            "plc",
            {
                **client_keys["plc"],
                "plc": "plc-1",
                "station": self._through("plc", "plc"),
                "plan": plan,
                "directory": "plc",
                "parts": list(parts),
                "views": list(views),
                "timeout_ms": timeout_ms,
                "ready_timeout_ms": ready_timeout_ms,
            },
        )
        self._write(
            "ui",
            {
                "store": "station/station.db",
                "evidence": "station/evidence",
                "port": ui_port,
                "title": title,
                "models": [str(path.resolve()) for path in models.values()],
                **({"station": {"people": self.endpoints["people"]}} if people else {}),
                **(client_keys["ui"] if people else {}),
            },
        )

    def _through(self, link: str, endpoint: str) -> str:
        proxy = self.links.get(link)
        return self.endpoints[endpoint] if proxy is None else proxy.endpoint

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        told = {**content, **self._more.get(name, {})}
        self.config(name).write_text(toml(told), "utf-8")

    def config(self, name: str) -> Path:
        """The configuration file of a process: ``station``, ``plc``, ``ui`` or an edge's name."""
        return self.folder / f"{name}.toml"

    # ------------------------------------------------------------------------------ processes

    def start(self, *names: str) -> None:
        """Start processes by the names of their configurations; all but the UI without names."""
        for name in names or ("station", *self.edges, "plc"):
            command = "edge" if name in self.edges else name
            if self._warm:
                argv = [command, str(self.config(name))]
                self._processes[name] = Forked(argv, self.folder / f"{name}.log")
                continue
            with (self.folder / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [self._python, "-m", "inspection", command, str(self.config(name))],
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env={**os.environ, "PYTHONUNBUFFERED": "1", **self._environment},
                )

    def running(self, name: str) -> bool:
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def kill(self, name: str) -> None:
        """SIGKILL: no goodbye."""
        self._processes[name].kill()
        self._processes[name].wait()

    def freeze(self, name: str) -> None:
        """SIGSTOP: there, with its sockets and locks, and doing nothing until `thaw`."""
        self._processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def status(self, name: str) -> int | None:
        """The exit status of a process, None while it runs; -9 after SIGKILL."""
        return self._processes[name].poll()

    def stop(self, name: str, timeout_s: float = 20) -> int:
        """Ctrl-C, and the exit status."""
        process = self._processes[name]
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        return process.wait(timeout_s)

    def wait(self, name: str, timeout_s: float) -> int:
        """Wait until a process has ended by itself; its exit status."""
        return self._processes[name].wait(timeout_s)

    def log(self, name: str) -> str:
        """What a process has written so far."""
        path = self.folder / f"{name}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def close(self) -> None:
        """Stop whatever still runs, at the latest by force."""
        running = [process for process in self._processes.values() if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGINT)
        until = time.monotonic() + 10
        for process in running:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for proxy in self.links.values():
            proxy.close()

    # ---------------------------------------------------------------------------- observation

    @property
    def reader(self) -> Reader:
        return Reader(self.folder / "station" / "station.db")

    def outcomes(self) -> list[Outcome]:
        """What the PLC would have done with each part so far."""
        path = self.folder / "plc" / "report.jsonl"
        if not path.exists():
            return []
        complete = path.read_bytes().split(b"\n")[:-1]
        return [msgspec.json.decode(line, type=Outcome) for line in complete if line]

    def until(self, condition: Any, timeout_s: float, what: str) -> None:
        """Wait until ``condition()`` is true. Raises `TimeoutError` with every process's log."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if condition():
                return
            time.sleep(0.02)
        logs = "\n".join(f"--- {name}\n{self.log(name)[-3000:]}" for name in self._processes)
        raise TimeoutError(f"{what}: not within {timeout_s} s\n{logs}")


def _make_keys(
    folder: Path, cameras: Iterable[str]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A key pair for each process and the station's list; the ``[keys]`` of the station, and of
    the others by name."""
    new_pair(folder / "keys", "station")
    entries: list[Allowed] = []
    clients: dict[str, dict[str, Any]] = {}
    for name, role, identity, seen in (
        *((f"edge-{camera}", KeyRole.EDGE, f"edge-{camera}", (camera,)) for camera in cameras),
        ("plc", KeyRole.PLC, "plc-1", ()),
        ("ui", KeyRole.PEOPLE, "ui", ()),
    ):
        _, public = new_pair(folder / "keys", name)
        entries.append(Allowed(public=read_public(public), role=role, id=identity, cameras=seen))
        clients[name] = {"keys": {"own": f"keys/{name}.key", "station": "keys/station.pub"}}
    write_allowed(folder / "keys" / "allowed.toml", entries)
    return {"keys": {"own": "keys/station.key", "allowed": "keys/allowed.toml"}}, clients


def toml(content: Mapping[str, Any], table: str = "") -> str:
    """A configuration as TOML: strings, numbers, lists of them and nested tables."""
    lines = [f"[{table}]"] if table else []
    tables = []
    for key, value in content.items():
        name = key if key.replace("-", "").replace("_", "").isalnum() else f'"{key}"'
        if isinstance(value, Mapping):
            tables.append(toml(value, f"{table}.{name}" if table else name))
        else:
            lines.append(f"{name} = {_toml_value(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
