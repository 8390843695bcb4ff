"""The pages in a real browser: the server as a process, a store filled by its own writer, pictures
in a real evidence folder."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from inspection import wire
from inspection.evidence import EvidenceStore
from inspection.ledger import Balance, Entry
from inspection.messages import (
    Inspected,
    Missed,
    ModelRef,
    Reason,
    Region,
    RunVerdict,
    Severity,
    Verdict,
    ViewResult,
)
from inspection.package import (
    FORMAT,
    GOLDEN,
    MODEL,
    Manifest,
    ModelClass,
    ModelInput,
    VerifiedOn,
    encode_manifest,
)
from inspection.plan import Kind, Plan, Point, View
from inspection.store import Store
from inspection.testing.clock import FakeClock

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
SCREENSHOTS = "INSPECTION_SCREENSHOTS"
"""Name of an environment variable: the folder where the manual's pictures are written."""

HOSTILE = '<b id="hostile">bold</b> **md** :red[x] <script>window.hostile=1</script> <img src=x>'
CLASSES = ("ok", "hole", "expulsion", "edge", "missing")
MANIFEST = encode_manifest(
    Manifest(
        format=FORMAT,
        name="weld",
        version="1",
        task="classifier",
        runtime="onnx",
        classes=tuple(
            ModelClass(name=name, severity=None if name == "ok" else Severity.MINOR)
            for name in CLASSES
        ),
        input=ModelInput(width=64, height=64, channels=3, margin=0.0),
        input_name="pixels",
        output_name="scores",
        imaging_version="1",
        data_hash="d" * 64,
        recipe_hash="e" * 64,
        code_version="0",
        created="",
        metrics={},
        licences={},
        verified_on=(VerifiedOn(provider="CPU", architecture="any", tolerance=0.001),),
        files={MODEL: "f" * 64, GOLDEN: "f" * 64},
    )
)
REF = ModelRef(package=hashlib.sha256(MANIFEST).hexdigest(), policy="b" * 64)
MANY = 100

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


# ------------------------------------------------------------------------- a line to look at


def weld(seed: int, finding: str = "") -> bytes:
    """A 64 px picture of something like a spot weld, as PNG."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:64, 0:64].astype(np.float32)
    centre = 32 + rng.uniform(-3, 3, 2)
    radius = np.hypot(x - centre[0], y - centre[1])
    steel = 168 + 10 * np.sin(y / 2.1 + seed) + rng.normal(0, 5, (64, 64))
    imprint = 46 * np.exp(-(((radius - 17) / 2.6) ** 2)) + 26 * (radius < 15)
    picture = steel - (0 if finding == "missing" else imprint)
    if finding == "hole":
        picture -= 95 * np.exp(-((np.hypot(x - centre[0] - 4, y - centre[1] + 3) / 5) ** 2))
    if finding == "expulsion":
        angle = rng.uniform(0, 6.3)
        for reach in range(12, 34, 3):
            at = centre + reach * np.array([np.cos(angle), np.sin(angle)])
            picture += 70 * np.exp(-((np.hypot(x - at[0], y - at[1]) / 2.2) ** 2))
    if finding == "edge":
        picture[:, :14] = 60 + rng.normal(0, 4, (64, 14))
    grey = np.clip(picture, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.stack([grey, grey, np.clip(grey * 1.04, 0, 255).astype(np.uint8)], -1)).save(
        file, "PNG"
    )
    return file.getvalue()


def body_plan() -> Plan:
    views = ("top", "left", "right")
    points = tuple(
        Point(
            id=f"{view}-{number:04}",
            view=view,
            kind="spot-weld",
            region=Region(left_px=0, top_px=0, width_px=64, height_px=64),
            severity=(Severity.MINOR, Severity.MAJOR, Severity.CRITICAL)[number % 3],
        )
        for view in views
        for number in range(MANY)
    )
    return Plan(
        name="body-side",
        version="7",
        deadline_ms=60_000,
        views=tuple(View(id=v, camera=f"cam-{v}", width_px=2448, height_px=2048) for v in views),
        kinds={"spot-weld": Kind(model="weld")},
        points=points,
    )


@dataclass
class Line:
    """A station's store and pictures, written as the station would."""

    folder: Path
    clock: FakeClock = field(default_factory=lambda: FakeClock(wall_ns=time.time_ns()))
    plan: Plan = field(default_factory=body_plan)
    runs: int = 0

    def __post_init__(self) -> None:
        package = self.folder / "model"
        package.mkdir(parents=True)
        (package / "manifest.json").write_bytes(MANIFEST)
        self.store = Store(self.folder / "state" / "station.db", "station-12", self.clock)
        self.evidence = EvidenceStore(self.folder / "state" / "evidence")

    def keep(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        self.evidence.put(sha256, data)
        return sha256

    def begin(self, part: str) -> str:
        self.runs += 1
        run = f"{self.runs:016x}"
        with self.store.transaction():
            self.store.add_run(run, part, self.plan, "plc-1", 0)
        return run

    def answer(
        self,
        run: str,
        view: str,
        findings: dict[str, tuple[Verdict, str]] | None = None,
        absent: Reason | None = None,
        detail: str = "",
        pictures: bool = True,
    ) -> dict[Verdict, int]:
        """The edge's answer to one view: OK but for ``findings``, or all absent."""
        said: list[Inspected | Missed] = []
        entries = []
        tally = dict.fromkeys(Verdict, 0)
        for number, point in enumerate(self.plan.points_of(view)):
            if absent is not None:
                said.append(Missed(point=point.id, reason=absent, detail=detail))
                entries.append(Entry(point.id, Verdict.NOT_INSPECTED, absent))
                tally[Verdict.NOT_INSPECTED] += 1
                continue
            verdict, finding = (findings or {}).get(point.id, (Verdict.OK, ""))
            reason = {
                Verdict.OK: Reason.NONE,
                Verdict.NOK: Reason.DEFECT,
                Verdict.REVIEW: Reason.UNCERTAIN,
            }[verdict]
            shown = verdict is not Verdict.OK and pictures
            said.append(
                Inspected(
                    point=point.id,
                    verdict=verdict,
                    reason=reason,
                    finding=finding,
                    scores=scores(verdict, finding),
                    model=REF,
                    evidence=self.keep(weld(self.runs * 1000 + number, finding)) if shown else None,
                )
            )
            severity = Severity.CRITICAL if finding == "missing" else Severity.MINOR
            entries.append(Entry(point.id, verdict, reason, finding, severity if finding else None))
            tally[verdict] += 1
        answer = ViewResult(
            run=run,
            part="part",
            plan=self.plan.hash,
            view=view,
            attempt=1,
            edge="edge-1",
            camera=f"cam-{view}",
            frame="frame",
            captured_ns=1,
            points=tuple(said),
        )
        raw = wire.RECORD.encode(answer)
        with self.store.transaction():
            self.store.add_record(answer, raw, entries, late=False, outbox=None)
        return tally

    def close(self, run: str, tally: dict[Verdict, int], *, taken: bool = True) -> None:
        planned = len(self.plan.points)
        verdict = RunVerdict.HOLD
        if tally[Verdict.NOK]:
            verdict = RunVerdict.NOK
        elif tally[Verdict.OK] == planned:
            verdict = RunVerdict.OK
        counts = (tally[each] for each in Verdict)
        with self.store.transaction():
            stored = self.store.add_verdict(run, verdict, Balance(planned, *counts, open=0))
            if taken:
                self.store.acknowledge(stored.verdict_seq, "plc-1")

    def inspect(
        self,
        part: str,
        findings: dict[str, tuple[Verdict, str]] | None = None,
        missing: Sequence[str] = (),
        *,
        taken: bool = True,
        pictures: bool = True,
    ) -> str:
        """A whole part; the views in ``missing`` came out unreadable."""
        run = self.begin(part)
        total = dict.fromkeys(Verdict, 0)
        for view in self.plan.views:
            absent = Reason.IMAGE_UNREADABLE if view.id in missing else None
            detail = "JPEG ends after 4711 of 98304 bytes" if absent else ""
            tally = self.answer(run, view.id, findings, absent, detail, pictures)
            for verdict, count in tally.items():
                total[verdict] += count
        self.close(run, total, taken=taken)
        return run

    def event(self, kind: str, text: str) -> None:
        with self.store.transaction():
            self.store.add_event(kind, text)


def scores(verdict: Verdict, finding: str) -> tuple[float, ...]:
    if verdict is Verdict.OK:
        return (0.96, 0.01, 0.01, 0.01, 0.01)
    top = 0.91 if verdict is Verdict.NOK else 0.48
    rest = {"ok": 0.41 if verdict is Verdict.REVIEW else 0.05}
    values = [top if name == finding else rest.get(name, 0.0) for name in CLASSES]
    return (*values[:-1], values[-1] + 1.0 - sum(values))


def a_shift(line: Line) -> None:
    """What a quality engineer sees in the middle of a morning."""
    line.clock.set_wall(time.time_ns() - 24 * 96 * 1_000_000_000)
    line.event("edge_connected", "edge edge-1 is connected")
    for number in range(23):
        findings: dict[str, tuple[Verdict, str]] = {}
        if number % 4 == 1:
            findings[f"left-{number * 7 % MANY:04}"] = (Verdict.NOK, "hole")
        if number % 6 == 2:
            findings[f"right-{number * 11 % MANY:04}"] = (Verdict.NOK, "expulsion")
        if number % 5 == 3:
            findings[f"top-{number * 5 % MANY:04}"] = (Verdict.REVIEW, "edge")
        if number == 20:
            findings["top-0017"] = (Verdict.NOK, "missing")
        line.inspect(
            f"WVWZZZ1KZ8W{386000 + number * 17}",
            findings,
            missing=("top",) if number == 18 else (),
            taken=number != 22,
        )
        if number == 18:
            line.event("edge_lost", "edge edge-1 has been silent for 2000 ms")
            line.event("edge_connected", "edge edge-1 is connected")
        if number == 21:
            line.event("request_refused", "PLC plc-1, Begin: there is no plan body-sude")
        line.clock.advance(s=96)
    line.clock.set_wall(time.time_ns() - 4_000_000_000)
    run = line.begin("WVWZZZ1KZ8W386391")
    line.answer(run, "top", {"top-0042": (Verdict.REVIEW, "edge")})
    line.clock.set_wall(time.time_ns())


# ------------------------------------------------------------------------------- the server


@dataclass
class Server:
    """``inspection ui`` as a process."""

    folder: Path
    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_config(folder: Path, port: int) -> Path:
    config = folder / "ui.toml"
    models = '["model"]' if (folder / "model").exists() else "[]"
    config.write_text(
        f'store = "state/station.db"\nevidence = "state/evidence"\nport = {port}\n'
        f'title = "Body shop 2"\nmodels = {models}\n',
        "utf-8",
    )
    return config


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    port = free_port()
    config = write_config(folder, port)
    process = subprocess.Popen(
        [sys.executable, "-m", "inspection", "ui", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    server = Server(folder, port, process)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(BROWSER_FLAGS))
        yield opened
        opened.close()


@dataclass
class Seen:
    """A page with everything it asked for and complained about."""

    page: Page
    requests: list[str]
    errors: list[str]


@contextlib.contextmanager
def looking(browser: Browser, url: str, scheme: str = "light") -> Iterator[Seen]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 800},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    seen = Seen(page, [], [])
    page.on("request", lambda request: seen.requests.append(request.url))
    page.on("websocket", lambda opened: seen.requests.append(opened.url))
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on(
        "console",
        lambda said: seen.errors.append(said.text) if said.type == "error" else None,
    )
    page.goto(url)
    page.wait_for_selector(".head", timeout=30_000)
    try:
        yield seen
    finally:
        context.close()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path)
    yield made
    made.store.close()


def number(text: str) -> int:
    return int("".join(character for character in text if character.isdigit()))


def balance_on(page: Page) -> dict[str, int]:
    terms = {}
    for name in ("planned", "ok", "nok", "review", "missed", "open"):
        terms[name] = number(page.locator(f".balance .term.{name} b").inner_text())
    return terms


# ---------------------------------------------------------------------------------- the page


@needs_chromium
def test_the_page_shows_the_balance_the_parts_and_the_pictures(
    line: Line, browser: Browser
) -> None:
    a_shift(line)
    with serving(line.folder) as server, looking(browser, server.url) as seen:
        page = seen.page
        page.wait_for_selector(".tiles img")
        assert balance_on(page) == {
            "planned": 7200, "ok": 6885, "nok": 11, "review": 4, "missed": 100, "open": 200,
        }  # fmt: skip
        assert "The balance is exact" in page.locator(".balance").inner_text()
        # 23 closed runs of 300 points, 100 of them not inspected; cut off, not rounded.
        assert page.locator(".coverage").inner_text().startswith("98.5507")
        assert page.locator(".yield").inner_text().startswith("47.8")
        assert "nugget size and cold welds are not visible" in page.inner_text("body")
        assert page.locator(".head .station").inner_text() == "station-12"
        assert re.search(r"Last record \d\d:\d\d:\d\d, \d+ s ago", page.inner_text(".head"))

        rows = page.locator('[class*="st-key-row-"]')
        assert rows.count() == 12
        newest = rows.nth(0)
        assert newest.get_by_role("button").inner_text() == "WVWZZZ1KZ8W386391"
        assert "open" in newest.inner_text()
        assert "waits" in rows.nth(1).inner_text()
        assert "taken" in rows.nth(2).inner_text()

        tiles = page.locator(".tile")
        assert tiles.count() == 15
        words = [tile.inner_text() for tile in tiles.all()]
        assert [("NOK" in text, "REVIEW" in text) for text in words] == (
            [(True, False)] * 11 + [(False, True)] * 4
        )
        ranks = {"critical": 0, "major": 1, "minor": 2}
        severities = [
            ranks[text.split()[1]] for text in page.locator(".severity").all_inner_texts()
        ]
        assert severities[:11] == sorted(severities[:11])
        # At the point minor, critical because of what is missing there.
        missing = next(text for text in words if "top-0017" in text)
        assert all(word in missing for word in ("critical", "0.950", "hole"))
        assert "The model sees a defect here. Look at the part" in words[0]
        widths = page.eval_on_selector_all(".tiles img", "all => all.map(i => i.naturalWidth)")
        assert widths == [64] * 15
        drawn = page.eval_on_selector(
            ".tiles img", "image => getComputedStyle(image).imageRendering"
        )
        assert drawn == "pixelated"

        groups = page.locator(".group")
        assert groups.count() == 1  # and not a hundred empty tiles
        group = groups.inner_text()
        assert "100 points of view top: picture unreadable" in group
        assert all(word in group for word in ("top-0000 … top-0099", "JPEG ends after 4711"))
        events = page.locator(".events").inner_text()
        assert all(word in events for word in ("request refused", "body-sude", "edge lost"))

        hosts = {urlsplit(url).hostname for url in seen.requests if not url.startswith("data:")}
        assert hosts == {"127.0.0.1"}
        assert seen.errors == []


@needs_chromium
def test_choosing_a_part_shows_only_its_points_and_a_new_part_does_not_change_the_choice(
    line: Line, browser: Browser
) -> None:
    a_shift(line)
    with serving(line.folder) as server, looking(browser, server.url) as seen:
        page = seen.page
        page.get_by_role("button", name="WVWZZZ1KZ8W386306").click()
        page.wait_for_selector(".missing .ids >> text=top-0050")
        assert page.locator(".tile").count() == 0
        page.get_by_role("button", name="WVWZZZ1KZ8W386340").click()
        page.wait_for_selector(".tile")
        page.wait_for_function("document.querySelectorAll('.tile').length == 2")
        assert all("WVWZZZ1KZ8W386340" in text for text in page.locator(".where").all_inner_texts())

        line.inspect("NEW-PART-1", {"left-0001": (Verdict.NOK, "hole")})
        page.wait_for_selector("text=NEW-PART-1", timeout=10_000)  # by itself, without a reload
        assert page.locator(".tile").count() == 2
        assert all("WVWZZZ1KZ8W386340" in text for text in page.locator(".where").all_inner_texts())
        assert balance_on(page)["planned"] == 7500

        page.reload()  # the choice is in the address
        page.wait_for_function("document.querySelectorAll('.tile').length == 2")
        page.get_by_role("button", name="Show all parts").click()
        page.wait_for_function("document.querySelectorAll('.tile').length == 16")
        page.get_by_role("button", name="REVIEW").click()
        page.wait_for_function("document.querySelectorAll('.tile').length == 12")
        assert "REVIEW" not in page.locator(".tiles").inner_text()
        assert seen.errors == []

        # The first page answers to its name as well.
        page.goto(f"{server.url}/line")
        page.wait_for_function("document.querySelectorAll('.tile').length == 16")
        assert page.get_by_text("Page not found").count() == 0


@needs_chromium
def test_more_points_than_fit_are_paged(line: Line, browser: Browser) -> None:
    bad = {f"left-{n:04}": (Verdict.NOK, "hole") for n in range(30)}
    line.inspect("PART-1", bad)
    with serving(line.folder) as server, looking(browser, server.url) as seen:
        page = seen.page
        page.wait_for_function("document.querySelectorAll('.tile').length == 24")
        first = set(page.locator(".tile .id").all_inner_texts())
        page.get_by_role("button", name="more").click()
        page.wait_for_function("document.querySelectorAll('.tile').length == 6")
        rest = set(page.locator(".tile .id").all_inner_texts())
        assert first | rest == set(bad)


@needs_chromium
def test_hostile_text_is_shown_as_text(line: Line, browser: Browser) -> None:
    """Past the checks of the wire: whatever may be in a store, a page shows it and no more."""
    run = line.begin("`<i>a</i>` :smile: **b** $x$ [l](javascript:1)")
    tally = line.answer(run, "top", {"top-0001": (Verdict.NOK, "<b>hole</b>")}, pictures=False)
    line.answer(run, "left", absent=Reason.NO_IMAGE, detail=HOSTILE)
    tally[Verdict.NOT_INSPECTED] += MANY
    tally[Verdict.OK] += line.answer(run, "right")[Verdict.OK]
    line.close(run, tally)
    line.event("edge_lost", HOSTILE)
    line.event("<u>kind</u>", "of an event that nobody knows")
    with serving(line.folder) as server, looking(browser, server.url) as seen:
        page = seen.page
        page.wait_for_selector(".tile")
        assert page.locator(".detail").first.inner_text() == HOSTILE
        assert HOSTILE in page.locator(".events").inner_text()
        assert "<u>kind</u>" in page.locator(".events").inner_text()
        assert "NOK <b>hole</b>" in page.locator(".tile").inner_text()
        part = "`<i>a</i>` :smile: **b** $x$ [l](javascript:1)"
        button = page.locator('[class*="st-key-row-"] button')
        button.locator("code").wait_for()
        assert button.inner_text() == part
        assert page.locator("#hostile, .tile b, button a, button i").count() == 0
        assert page.evaluate("window.hostile") is None
        assert "The edge kept no picture" in page.locator(".picture.none").inner_text()
        assert seen.errors == []


@needs_chromium
def test_a_picture_that_changed_on_disk_is_not_shown(line: Line, browser: Browser) -> None:
    line.inspect("PART-1", {"top-0001": (Verdict.NOK, "hole")})
    for file in (line.folder / "state" / "evidence").rglob("*"):
        if file.is_file():
            file.write_bytes(weld(7, "missing"))
    with serving(line.folder) as server, looking(browser, server.url) as seen:
        seen.page.wait_for_selector(".tile")
        assert seen.page.locator(".tile img").count() == 0
        assert "changed since" in seen.page.locator(".picture.none").inner_text()


@needs_chromium
def test_the_page_says_when_station_or_store_or_server_are_gone_and_keeps_what_it_knows(
    line: Line, browser: Browser
) -> None:
    line.inspect("PART-1", {"top-0001": (Verdict.NOK, "hole")})
    line.begin("PART-2")
    with serving(line.folder) as server, looking(browser, server.url) as seen:
        page = seen.page
        page.wait_for_selector(".tiles img")
        assert page.locator(".alarm:visible").count() == 0
        line.store.close()  # as when the process ends, however it ends: its lock is gone
        page.wait_for_selector("text=No station runs on this machine", timeout=10_000)
        assert "Still open: 1 run." in page.locator(".alarm:visible").inner_text()

        for file in (line.folder / "state").glob("station.db*"):
            file.unlink()
        page.wait_for_selector("text=there is no store", timeout=10_000)
        assert "Shown is what was known at" in page.locator(".alarm:visible").inner_text()
        assert balance_on(page)["planned"] == 600
        assert page.locator(".tiles img").count() == 1
        assert seen.errors == []

        code, _ = server.stop()
        assert code == 0
        page.wait_for_selector("text=This page is not being refreshed any more", timeout=25_000)


@needs_chromium
def test_a_page_opened_before_the_station_ever_ran_waits_for_it(
    tmp_path: Path, browser: Browser
) -> None:
    with serving(tmp_path) as server, looking(browser, server.url) as seen:
        seen.page.wait_for_selector("text=there is no store (any more)")
        line = Line(tmp_path)
        seen.page.wait_for_selector("text=has not recorded anything yet", timeout=10_000)
        line.inspect("PART-1")
        seen.page.wait_for_selector("text=PART-1", timeout=10_000)
        assert seen.page.locator(".coverage").inner_text().startswith("100.0000")
        assert "no such point" in seen.page.inner_text("body")
        line.store.close()


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_colours_of_the_machine(
    line: Line, browser: Browser, scheme: str
) -> None:
    """Also takes the manual's pictures, where INSPECTION_SCREENSHOTS names a folder for them."""
    a_shift(line)
    with serving(line.folder) as server, looking(browser, server.url, scheme) as seen:
        page = seen.page
        page.wait_for_selector(".tiles img")
        page.wait_for_timeout(2500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        colour = page.eval_on_selector(".panel", "e => getComputedStyle(e).backgroundColor")
        bright = sum(int(part) for part in re.findall(r"\d+", colour)[:3]) > 3 * 128
        assert bright == (scheme == "light")
        folder = Path(os.environ.get(SCREENSHOTS) or line.folder)
        page.screenshot(path=folder / f"line-{scheme}.png")


# -------------------------------------------------------------------------------- the process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_server_and_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    with serving(tmp_path) as server:
        code, said = server.stop(number)
        assert code == 0, said
        lines = [json.loads(text) for text in said.splitlines()]
        assert [entry["event"] for entry in lines] == ["ui started", "ui stopped"]
        assert lines[0]["url"] == server.url
        with socket.socket() as probe:  # nobody listens any more
            assert probe.connect_ex(("127.0.0.1", server.port)) != 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.6])
def test_a_signal_while_the_server_still_starts_stops_it_as_cleanly(
    tmp_path: Path, number: signal.Signals, after_s: float
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "inspection", "ui", str(write_config(tmp_path, free_port()))],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    time.sleep(after_s)
    process.send_signal(number)
    _, rest = process.communicate(timeout=30)
    events = [json.loads(text)["event"] for text in (first + rest).splitlines()]
    assert (process.returncode, events) == (0, ["ui started", "ui stopped"])


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1", "http://127.0.0.1", b"101"),
        ("evil.example", "http://evil.example", b"403"),  # its own name, made to resolve to us
        ("127.0.0.1", "http://evil.example", b"403"),
    ],
)
def test_a_page_from_elsewhere_cannot_read_along(
    tmp_path: Path, host: str, origin: str, status: bytes
) -> None:
    with serving(tmp_path) as server, socket.create_connection(("127.0.0.1", server.port)) as peer:
        peer.settimeout(20)
        peer.sendall(
            f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}:{server.port}\r\n"
            f"Origin: {origin}:{server.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
        )
        assert peer.recv(64).split()[1] == status


def refused(config: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "inspection", "ui", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_a_wrong_configuration_is_refused_in_one_line(tmp_path: Path) -> None:
    wrong = tmp_path / "ui.toml"
    assert "there is no such file" in refused(wrong)
    wrong.write_text('store = "a"\nevidence = "b"\nadress = "0.0.0.0"\n')
    assert "adress" in refused(wrong)
    wrong.write_text(f'store = "{tmp_path}"\nevidence = "b"\n')
    assert "is a folder" in refused(wrong)
    wrong.write_text('store = "a"\nevidence = "b"\nmodels = ["nowhere"]\n')
    assert "models[0]" in refused(wrong)


def test_a_port_that_is_taken_is_refused_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = tmp_path / "ui.toml"
        config.write_text(
            f'store = "a"\nevidence = "b"\nport = {taken.getsockname()[1]}\n', "utf-8"
        )
        assert "Address already in use" in refused(config)
