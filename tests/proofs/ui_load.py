"""Five people at the pages of a station that holds ten million results.

python tests/proofs/ui_load.py [--bodies N] [--minutes M] [--decisions N] [--folder DIR]
                               [--json FILE]

The store is written by the station's own writer, with the sums it keeps and the pictures of what
is not OK; station and pages are the real processes, the people are five browsers of headless
Chromium that think for five seconds between two clicks. A click lasts from the event in the browser
to the mark at the end of the page it asked for; a decision, from the key to the next picture on the
screen. Beside each: what the server took for it. Everything runs on one machine, browsers included.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import random
import shutil
import socket
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
from msgspec.structs import replace

from inspection import wire
from inspection.evidence import EvidenceStore
from inspection.ledger import Balance, Entry
from inspection.messages import (
    Inspected,
    Missed,
    ModelRef,
    Reason,
    Role,
    RunVerdict,
    Verdict,
    ViewResult,
)
from inspection.package import bundled_package, read_manifest, read_reference
from inspection.plan import Plan, read_plan
from inspection.rendering.weld import render_weld
from inspection.station.people import PersonEntry, hashed, write_people
from inspection.store import Store
from inspection.testing.clock import FakeClock
from inspection.testing.line import STATION_ID, Line, free_ports
from inspection.version import code_version

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

PLAN, MODEL = "side-left", "spot-weld"
POINTS, PER_VIEW, GUNS = 5000, 20, 25
CYCLE_NS = 96 * 10**9
"""From one body to the next: 300 in a shift of eight hours."""
SUSPECT_EVERY = 1000
"""One point of so many is not OK; two of five of these are doubtful only."""
UNSEEN_EVERY = 4000
"""One view of so many could not be photographed."""
PICTURES = 48
PEOPLE = ("anna", "ben", "carla", "david", "emma")
PASSWORD = "correct horse"
SHARES = {"p50": 0.5, "p95": 0.95, "max": 1.0}
THINK_S = 5.0
WARM_S = 6.0
"""What a person takes to see every page once, beside the others."""
PAGES = ("line", "review", "audit", "parts", "analysis", "models", "people", "agreement")
WANTED = {"click_p95_ms": 1500, "decision_p95_ms": 300, "growth_mb": 30}


# --------------------------------------------------------------------------------------- the store


def write_plan(folder: Path) -> Path:
    """A body side of 5,000 welds in 250 views, with the place and the gun of each."""
    folder.mkdir(parents=True)
    rows = ["id,view,kind,left_px,top_px,width_px,height_px,severity,x,y,z,gun"]
    for number in range(POINTS):
        view, place = divmod(number, PER_VIEW)
        left, top = place % 5 * 400 + 100, place // 5 * 400 + 100
        severity = ("minor", "major", "critical")[zlib.crc32(b"%d" % number) % 3]
        x, z = view % 25 * 160 + place % 5 * 30, view // 25 * 140 + place // 5 * 30
        gun = f"gun-{view % GUNS + 1:02d}"
        rows.append(
            f"w{number:04d},v{view:03d},weld,{left},{top},240,240,{severity},{x},800,{z},{gun}"
        )
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    views = "\n".join(
        f'[[view]]\nid = "v{view:03d}"\ncamera = "cam-{view % 8 + 1}"\n'
        "width_px = 2448\nheight_px = 2048\n"
        for view in range(POINTS // PER_VIEW)
    )
    path = folder / "plan.toml"
    path.write_text(
        f'[plan]\nname = "{PLAN}"\nversion = "3"\ndeadline_ms = 600000\npoints = "points.csv"\n\n'
        '[severity]\nminor = "hold"\nmajor = "hold"\ncritical = "nok"\n\n'
        f'[kinds.weld]\nmodel = "{MODEL}"\n\n{views}'
    )
    return path


def draw_pictures(evidence: EvidenceStore, classes: Sequence[str]) -> dict[str, list[str]]:
    """Rendered welds of each class in the evidence folder: their names by class."""
    names: dict[str, list[str]] = {}
    for label in classes:
        each = max(2, PICTURES // len(classes))
        for number in range(each):
            image = render_weld(71, number, 0, label, size_px=240).image
            data = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
            sha256 = hashlib.sha256(data).hexdigest()
            evidence.put(sha256, data)
            names.setdefault(label, []).append(sha256)
    return names


@dataclass
class Shop:
    """What bodies are made of: the answers of a body without faults, taken apart by view."""

    plan: Plan
    classes: tuple[str, ...]
    pictures: dict[str, list[str]]
    severities: dict[str, Any]
    ref: ModelRef
    dice: random.Random = field(default_factory=lambda: random.Random(5))
    good: dict[str, tuple[tuple[Inspected, ...], tuple[Entry, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for view in self.plan.views:
            points = self.plan.points_of(view.id)
            self.good[view.id] = (
                tuple(
                    Inspected(
                        point=point.id,
                        verdict=Verdict.OK,
                        reason=Reason.NONE,
                        finding="",
                        scores=self._scores(0, 1 - self.dice.random() * 0.02),
                        model=self.ref,
                    )
                    for point in points
                ),
                tuple(Entry(point.id, Verdict.OK, Reason.NONE) for point in points),
            )

    def _scores(self, index: int, score: float) -> tuple[float, ...]:
        rest = (1 - score) / (len(self.classes) - 1)
        return tuple(score if each == index else rest for each in range(len(self.classes)))

    def view(self, view: str) -> tuple[tuple[Inspected | Missed, ...], tuple[Entry, ...]]:
        """What an edge says of a view of the next body, and what the station makes of it."""
        good, entries = self.good[view]
        if self.dice.randrange(UNSEEN_EVERY) == 0:
            reason = self.dice.choice((Reason.MISALIGNED, Reason.OUT_OF_FOCUS))
            return (
                tuple(Missed(point=each.point, reason=reason) for each in good),
                tuple(Entry(each.point, Verdict.NOT_INSPECTED, reason) for each in good),
            )
        told: list[Inspected | Missed] = list(good)
        made = list(entries)
        for place in range(len(good)):
            if self.dice.randrange(SUSPECT_EVERY):
                continue
            finding = self.dice.choice(self.classes[1:])
            doubtful = self.dice.random() < 0.4
            verdict = Verdict.REVIEW if doubtful else Verdict.NOK
            reason = Reason.UNCERTAIN if doubtful else Reason.DEFECT
            told[place] = replace(
                good[place],
                verdict=verdict,
                reason=reason,
                finding=finding,
                scores=self._scores(self.classes.index(finding), 0.55 if doubtful else 0.97),
                evidence=self.dice.choice(self.pictures[finding]),
            )
            point = good[place].point
            made[place] = Entry(point, verdict, reason, finding, self.severities[finding])
        return tuple(told), tuple(made)


def fill(folder: Path, plan: Plan, bodies: int) -> Path:
    """Bodies that came one after the other until a minute ago; the station's database file."""
    manifest = read_manifest(bundled_package())[0]
    classes = manifest.class_names
    path = folder / "station" / "station.db"
    evidence = EvidenceStore(folder / "station" / "evidence")
    shop = Shop(
        plan,
        classes,
        draw_pictures(evidence, classes),
        {each.name: each.severity for each in manifest.classes},
        read_reference(bundled_package())[2],
    )
    clock = FakeClock(wall_ns=time.time_ns() - bodies * CYCLE_NS)
    began = time.monotonic()
    with contextlib.closing(Store(path, STATION_ID, clock, ["05:00"])) as store:
        for number in range(bodies):
            if store.turn_is_due():
                store.turn()
            part = f"WVWZZZ1KZ6W{number:06d}"
            run = hashlib.blake2b(part.encode(), digest_size=8).hexdigest()
            one_body(store, clock, shop, part, run)
            clock.advance(ns=CYCLE_NS)
            if number % 100 == 99:
                rate = (number + 1) * POINTS / (time.monotonic() - began)
                print(f"{number + 1} bodies, {rate:.0f} results a second", file=sys.stderr)
    return path


def one_body(store: Store, clock: FakeClock, shop: Shop, part: str, run: str) -> None:
    """One body as the station writes it: its run, its records, its verdict, its receipt."""
    tally = dict.fromkeys(Verdict, 0)
    with store.transaction():
        store.add_run(run, part, shop.plan, "plc-1", 0)
        for number, view in enumerate(shop.plan.views):
            edge = f"edge-{number % 8 + 1}"
            told, entries = shop.view(view.id)
            answer = ViewResult(
                run=run,
                part=part,
                plan=shop.plan.hash,
                view=view.id,
                attempt=1,
                edge=edge,
                camera=view.camera,
                frame=str(number),
                captured_ns=clock.wall_ns(),
                points=told,
            )
            store.add_order(run, view.id, 1, edge)
            raw = wire.RECORD.encode(answer)
            store.add_record(answer, raw, entries, late=False, outbox=None)
            for entry in entries:
                tally[entry.verdict] += 1
        verdict = RunVerdict.OK
        if tally[Verdict.REVIEW] or tally[Verdict.NOT_INSPECTED]:
            verdict = RunVerdict.HOLD
        if tally[Verdict.NOK]:
            verdict = RunVerdict.NOK
        balance = Balance(POINTS, *(tally[each] for each in Verdict), open=0)
        formed = store.add_verdict(run, verdict, balance)
    with store.transaction():
        store.acknowledge(formed.verdict_seq, "plc-1")


# -------------------------------------------------------------------------------------- the people

CLOCK = """
window.pressedAt = 0;
for (const kind of ['click', 'keydown'])
    window.addEventListener(kind, () => { window.pressedAt = performance.now() }, true);
"""
UNTIL_READY = """
([page, after]) => new Promise((done, failed) => {
    const until = performance.now() + 60000;
    const look = () => {
        if (performance.now() > until) return failed(new Error(`no ${page} within a minute`));
        for (const mark of document.querySelectorAll(`.ready[data-page="${page}"]`))
            if (Number(mark.dataset.ready) >= after)
                return done([performance.now() - window.pressedAt, Number(mark.dataset.took)]);
        requestAnimationFrame(look);
    };
    look();
})
"""
UNTIL_NEXT = """
([before, after]) => new Promise((done, failed) => {
    const until = performance.now() + 60000;
    const look = () => {
        if (performance.now() > until) return failed(new Error('no next picture in a minute'));
        const [point, part] = document.querySelectorAll('.id');
        const image = document.querySelector('.large img');
        const none = document.querySelector('.large.none');
        const mark = document.querySelector('.ready[data-page="review"]');
        if (point && part && mark && point.innerText + part.innerText !== before
                && (none || (image && image.complete && image.naturalWidth)))
            return done([performance.now() - window.pressedAt, Number(mark.dataset.took)]);
        const told = [...document.querySelectorAll('.alarm, .warning')].find(div => div.innerText);
        if (told && mark && Number(mark.dataset.ready) >= after) return done(told.innerText);
        if (document.querySelector('.done')) return done(null);
        requestAnimationFrame(look);
    };
    look();
})
"""


@dataclass
class Times:
    """Milliseconds in the browser and at the server, by what was done."""

    clicks: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    decisions: list[tuple[float, float]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Why a decision was not taken: somebody else was first."""


async def person(
    browser: Browser, url: str, name: str, until: float, think_s: float, times: Times
) -> None:
    """Look at every page and then at any, and decide what waits, until the time is over."""
    dice = random.Random(name)
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    context.set_default_timeout(120_000)
    page = await context.new_page()
    await page.add_init_script(CLOCK)
    await page.goto(url)
    await page.locator(".ready").first.wait_for(state="attached")
    await log_in(page, name)
    if think_s >= 1:
        for each in PAGES:  # a browser and a server that have seen every page once
            await go(page, each)
    once = dice.sample(PAGES, len(PAGES))
    while once or time.monotonic() < until:
        target = once.pop() if once else dice.choice(PAGES)
        await asyncio.sleep(think_s * dice.uniform(0.8, 1.2))
        times.clicks[target].append(await go(page, target))
        if target == "review":
            for _ in range(dice.randrange(4, 12) if think_s >= 1 else 2):
                await asyncio.sleep(think_s * dice.uniform(0.8, 1.2))
                took = await decide(page, dice.choice("gdx"))
                if isinstance(took, str):
                    times.told.append(took)
                    await page.keyboard.press("n")
                    await asyncio.sleep(think_s)
                elif took is not None:
                    times.decisions.append(took)
        if target == "parts":
            await asyncio.sleep(think_s * dice.uniform(0.8, 1.2))
            times.clicks["parts: another"].append(await another_part(page, dice))
        if target in ("line", "analysis"):
            await asyncio.sleep(think_s * dice.uniform(0.8, 1.2))
            times.clicks[f"{target}: window"].append(await another_window(page, target, dice))
    await context.close()


async def log_in(page: Page, name: str) -> None:
    await page.get_by_role("button", name="Log in").first.click()
    await page.get_by_label("User").fill(name)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("Password", exact=True).press("Enter")
    await page.get_by_text("Roles: ").wait_for()
    await page.keyboard.press("Escape")
    await page.get_by_text("Roles: ").wait_for(state="hidden")


async def go(page: Page, name: str) -> tuple[float, float]:
    """Click a page's name at the top, and wait until all of it is there."""
    now_ms = time.time_ns() // 1_000_000
    path = "/" if name == PAGES[0] else f"/{name}"
    await page.locator(f'a[data-testid="stTopNavLink"][href$="{path}"]').first.click()
    took: list[float] = await page.evaluate(UNTIL_READY, [name, now_ms])
    return took[0], took[1]


async def decide(page: Page, key: str) -> tuple[float, float] | str | None:
    """One key, and wait for the next picture, or for the reason why there is none; None where
    nothing waits any more. What was never photographed nobody can tell."""
    shown = page.locator(".id")
    if await shown.count() < 2:
        return None
    before = await shown.first.inner_text() + await page.locator(".id.part").inner_text()
    unseen = await page.locator(".large.none").count()
    now_ms = time.time_ns() // 1_000_000
    await page.keyboard.press("x" if unseen else key)
    took = await page.evaluate(UNTIL_NEXT, [before, now_ms])
    return (took[0], took[1]) if isinstance(took, list) else took


async def another_part(page: Page, dice: random.Random) -> tuple[float, float]:
    """Click one of the parts that are listed."""
    parts = page.locator('[class*="st-key-parts-WV"] button')
    now_ms = time.time_ns() // 1_000_000
    await parts.nth(dice.randrange(await parts.count())).click()
    took: list[float] = await page.evaluate(UNTIL_READY, ["parts", now_ms])
    return took[0], took[1]


async def another_window(page: Page, name: str, dice: random.Random) -> tuple[float, float]:
    """Click how far back the page looks."""
    choices = page.locator('[data-testid="stButtonGroup"] button[aria-checked="false"]')
    now_ms = time.time_ns() // 1_000_000
    await choices.nth(dice.randrange(await choices.count())).click()
    took: list[float] = await page.evaluate(UNTIL_READY, [name, now_ms])
    return took[0], took[1]


async def many_decisions(
    browser: Browser, url: str, count: int, memory: Any
) -> tuple[list[int], list[float]]:
    """One person decides without thinking for long: the server's memory (KiB) as it goes, and how
    long each next picture took (ms)."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    context.set_default_timeout(120_000)
    page = await context.new_page()
    await page.add_init_script(CLOCK)
    await page.goto(f"{url}/review")
    await log_in(page, PEOPLE[0])
    await page.locator(".ask").wait_for()
    rss, alone = [], []
    for number in range(count):
        if number % (max(1, count // 20)) == 0:
            rss.append(memory())
        await asyncio.sleep(0.25)
        took = await decide(page, "gd"[number % 2])
        if not isinstance(took, tuple):
            raise SystemExit(f"decision {number}: {took or 'nothing waits any more'}")
        alone.append(took[0])
    rss.append(memory())
    await context.close()
    return rss, alone


# ------------------------------------------------------------------------------------- the measure


def rss_kib(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise SystemExit(f"process {pid} has ended")


def spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        raise SystemExit("nothing waited for a decision")
    ordered = sorted(values)
    at = {name: int(share * len(ordered)) for name, share in SHARES.items()}
    told = {name: round(ordered[min(each, len(ordered) - 1)]) for name, each in at.items()}
    return {"n": len(ordered), **told}


def line_of(folder: Path, bodies: int, port: int) -> Line:
    """Station and pages over the filled store; filled first where it is not there."""
    plan = folder / "plan" / "plan.toml"
    if not plan.exists():
        write_plan(plan.parent)
    line = Line(
        folder / "line",
        plans=[plan],
        models={MODEL: bundled_package()},
        cameras={},
        parts=[],
        plan=PLAN,
        ui_port=port,
        people=True,
    )
    secret = hashed(PASSWORD)
    people = [PersonEntry(name=name, roles=(Role.QUALITY,), password=secret) for name in PEOPLE]
    write_people(line.folder / "people.toml", people)
    full = folder / f"filled-{bodies}"
    if not full.exists():
        fill(line.folder, read_plan(plan), bodies)
        full.touch()
    return line


def wait_for(line: Line, port: int) -> None:
    """Until the station runs and the pages are served."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            if "station started" in line.log("station"):
                return
        time.sleep(0.2)
    raise SystemExit(f"nothing is served after five minutes:\n{line.log('station')[-3000:]}")


async def visits(url: str, options: argparse.Namespace, ui: int) -> dict[str, Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        times = Times()
        until = time.monotonic() + WARM_S * options.people + options.minutes * 60
        people = PEOPLE[: options.people]
        await asyncio.gather(
            *(person(browser, url, name, until, options.think, times) for name in people)
        )
        rss, alone = await many_decisions(browser, url, options.decisions, lambda: rss_kib(ui))
        await browser.close()
    clicks = [each for found in times.clicks.values() for each in found]
    return {
        "click_ms": spread([browser for browser, _ in clicks]),
        "click_server_ms": spread([server for _, server in clicks]),
        "by_click_ms": {
            name: {
                "browser": spread([browser for browser, _ in found]),
                "server": spread([server for _, server in found]),
            }
            for name, found in sorted(times.clicks.items())
        },
        "decision_ms": spread([browser for browser, _ in times.decisions]),
        "decision_server_ms": spread([server for _, server in times.decisions]),
        "not_taken": times.told,
        "alone_ms": spread(alone),
        "server_mb": [round(each / 1024) for each in rss],
        "growth_mb": round((rss[-1] - rss[len(rss) // 4]) / 1024, 1),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bodies", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--decisions", type=int, default=1000)
    parser.add_argument("--people", type=int, default=len(PEOPLE))
    parser.add_argument("--think", type=float, default=THINK_S)
    parser.add_argument("--folder", type=Path, help="keep the store here, and take it from here")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="ui-load-") as name:
        folder = options.folder or Path(name)
        (port,) = free_ports(1)
        line = line_of(folder, options.bodies, port)
        try:
            line.start("station", "ui")
            ui = line.pid("ui")
            wait_for(line, port)
            url = f"http://127.0.0.1:{port}"
            found = asyncio.run(visits(url, options, ui))
        finally:
            line.close()
    wrong = []
    if found["click_ms"]["p95"] > WANTED["click_p95_ms"]:
        wrong.append("click p95")
    if found["decision_ms"]["p95"] > WANTED["decision_p95_ms"]:
        wrong.append("decision p95")
    if found["growth_mb"] > WANTED["growth_mb"]:
        wrong.append("memory grows")
    told = {
        "claim": "five people at ten million results",
        "commit": code_version(),
        "results": options.bodies * POINTS,
        "people": options.people,
        "think_s": options.think,
        **found,
        "wrong": wrong,
    }
    print(json.dumps(told))
    if options.json is not None:
        options.json.write_text(json.dumps(told) + "\n", "utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
