"""Review in a real browser: a real line finds dark tiles, and people decide on them by keyboard."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from test_people_on_a_line import PASSWORD, Floor
from test_ui import BROWSER_FLAGS, CHROMIUM, SCREENSHOTS, free_port, needs_chromium

from inspection.messages import Action, Fault, Role
from inspection.package import bundled_package
from inspection.rendering import body
from inspection.station.people import PersonEntry, hashed, write_people
from inspection.testing import boards
from inspection.testing.demo_cameras import demo_cameras
from inspection.testing.demo_pool import kept_pool
from inspection.testing.line import Line
from ui.views.review import TOO_FAST_NS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WELDS = int(os.environ.get("INSPECTION_REVIEWED", "24"))
"""How many suspicious welds are decided by keyboard: 100 takes a minute or two more."""
PARTS = 4
PATIENCE_MS = 90_000
"""A machine that is busy with other things is slow, not broken."""

HOSTILE = '<b id="hostile">bold</b> **md** <script>window.hostile=1</script>'


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return boards.model(tmp_path_factory.mktemp("model") / "darkness")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(BROWSER_FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def floor(tmp_path: Path, package: Path) -> Iterator[Floor]:
    floor = Floor(tmp_path, package)
    floor.until_fault(Fault.NONE)
    yield floor
    floor.close()


@contextlib.contextmanager
def serving(floor: Floor) -> Iterator[str]:
    port, folder = free_port(), floor.line.folder
    config = floor.line.config("ui")
    text = config.read_text().replace("port = 8501", f"port = {port}")
    config.write_text(f'{text}\n[station]\npeople = "{floor.people_endpoint}"\n')
    with (folder / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "inspection", "ui", str(config)], stdout=log, stderr=log
        )
    try:
        yield f"http://127.0.0.1:{port}/review"
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def looking(browser: Browser, url: str, scheme: str = "light") -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 800},
        locale="en-US",
        color_scheme="dark" if scheme == "dark" else "light",
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    until = time.monotonic() + PATIENCE_MS / 1000
    while True:
        try:
            page.goto(url)
            break
        except Exception:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.2)
    try:
        yield page
    finally:
        context.close()


@contextlib.contextmanager
def reviewing(
    browser: Browser, url: str, user: str = "anna", scheme: str = "light"
) -> Iterator[Page]:
    """A page where somebody has logged in and has a question before him."""
    with looking(browser, url, scheme) as page:
        signed_in(page, user)
        page.locator(".ask").wait_for()
        yield page


def signed_in(page: Page, user: str = "anna") -> None:
    """Log in on a page."""
    page.get_by_role("button", name="Log in").first.click()
    page.get_by_label("User").fill(user)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password", exact=True).press("Enter")
    page.get_by_role("button", name=user).wait_for()
    page.get_by_text("Roles: ").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Roles: ").wait_for(state="hidden")


def shown(page: Page) -> str:
    """The part and the point in question."""
    return page.locator(".id").first.inner_text() + page.locator(".id.part").inner_text()


def look(page: Page) -> None:
    """Look for as long as the page wants one to: an earlier key is no answer."""
    page.wait_for_timeout(TOO_FAST_NS / 1e6 + 50)


def decide(page: Page, key: str) -> None:
    """One key, and wait for the next question or the end of all."""
    before = shown(page)
    look(page)
    page.keyboard.press(key)
    page.wait_for_function(
        """before => { const [point, part] = document.querySelectorAll('.id');
            return document.querySelector('.done')
                || (point && part && point.innerText + part.innerText !== before) }""",
        arg=before,
    )


@needs_chromium
def test_suspicious_welds_are_decided_by_keyboard_alone_each_once_with_its_author(
    floor: Floor, browser: Browser
) -> None:
    tiles = [(row, column) for row in range(boards.GRID) for column in range(boards.GRID)]
    for number in range(PARTS):
        floor.inspect(f"B{number}", *tiles[: WELDS // PARTS])
    with serving(floor) as url, reviewing(browser, url) as page:
        for number in range(WELDS // PARTS * PARTS):
            decide(page, "g" if number % 3 else "d")
        page.locator(".done").wait_for()
        rows = floor.rows("SELECT run_id, point_id, person, action FROM decision")
        assert len(rows) == len({row[:2] for row in rows}) == WELDS // PARTS * PARTS
        assert {row[2] for row in rows} == {"anna"}
        confirmed = [row for row in rows if row[3] == "confirm"]
        assert len(confirmed) == -(-len(rows) // 3)
        page.keyboard.press("z")
        page.get_by_text("Taken back").wait_for()
        page.locator(".ask").wait_for()
        ((last,),) = floor.rows("SELECT action FROM decision ORDER BY number DESC LIMIT 1")
        assert last == "cannot_tell"


@needs_chromium
def test_of_two_reviewers_one_wins_and_the_other_is_told_and_keeps_the_text(
    floor: Floor, browser: Browser
) -> None:
    verdict = floor.inspect("B1", (1, 2))
    with serving(floor) as url, reviewing(browser, url, "otto") as page:
        comment = page.get_by_placeholder("Comment")
        comment.fill(HOSTILE)
        comment.press("Enter")
        word = floor.word(floor.token("anna"), verdict, "v0-r1c2", Action.OVERRULE)
        floor.page.ask(replace(word, comment=HOSTILE))
        page.get_by_text("has changed this point since you opened it").wait_for()
        look(page)
        page.get_by_role("button", name="Defect").first.click()
        page.get_by_text("has changed since you looked").wait_for()
        page.get_by_text(HOSTILE, exact=True).wait_for()  # what anna wrote
        # Drawn anew: for a moment the field of before is gone and the next not there.
        page.wait_for_function(
            "text => document.querySelector('[placeholder^=Comment]')?.value === text",
            arg=HOSTILE,
        )
        assert page.locator("#hostile").count() == 0
        assert page.evaluate("window.hostile") is None
        assert floor.rows("SELECT person FROM decision") == [("anna",)]
        ((told,),) = floor.rows("SELECT text FROM event WHERE kind = 'decision_stale'")
        assert told.startswith("otto, confirm at point v0-r1c2")


@needs_chromium
def test_with_the_station_stopped_nothing_can_be_decided_and_the_page_says_so(
    floor: Floor, browser: Browser
) -> None:
    floor.inspect("B1", (1, 2))
    with serving(floor) as url, reviewing(browser, url) as page:
        floor.line.kill("station")
        page.get_by_text("nothing can be decided now").wait_for()
        assert "ago" in page.locator(".alarm:visible").inner_text()
        assert shown(page) == "v0-r1c2B1"
        good = page.get_by_role("button", name="Good")
        assert good.is_disabled()
        page.keyboard.press("g")
        floor.line.start("station")
        page.get_by_text("nothing can be decided now").wait_for(state="detached")
        assert floor.rows("SELECT 1 FROM decision") == []
        decide(page, "g")
        page.locator(".recorded").wait_for()  # the next question does not wait for it
        assert floor.rows("SELECT person, action FROM decision") == [("anna", "overrule")]


@needs_chromium
def test_whoever_has_not_logged_in_sees_everything_and_can_decide_nothing(
    floor: Floor, browser: Browser
) -> None:
    floor.inspect("B1", (1, 2))
    with serving(floor) as url:
        with reviewing(browser, url) as page, looking(browser, url) as other:
            other.locator(".ask").wait_for()
            assert "Log in (top right) to decide" in other.inner_text("body")
            assert other.get_by_role("button", name="anna").count() == 0
            assert other.get_by_role("button", name="Good").is_disabled()
            other.keyboard.press("g")
            decide(page, "d")
            page.locator(".recorded").wait_for()
        assert floor.rows("SELECT person, action FROM decision") == [("anna", "confirm")]


@needs_chromium
@pytest.mark.skipif(SCREENSHOTS not in os.environ, reason=f"{SCREENSHOTS} names no folder")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_manual_shows_review_with_rendered_welds(
    tmp_path: Path, browser: Browser, scheme: str
) -> None:
    views = list(body.points())[:4]
    with (
        kept_pool(tmp_path, bodies=10, seed=7, views=views, progress=lambda *_: None) as (
            folder,
            pool,
        ),
        demo_cameras("simulated", body.CAMERAS, folder, lambda *_: None) as cameras,
    ):
        port = free_port()
        line = Line(
            tmp_path / "line",
            plans=[body.write_plan(tmp_path / "plan", len(views))],
            models={"spot-weld": bundled_package()},
            cameras=cameras.settings,
            parts=[each.part for each in pool.bodies],
            plan="body-side",
            timeout_ms=PATIENCE_MS,
            ready_timeout_ms=PATIENCE_MS,
            ui_port=port,
            people=True,
        )
        anna = PersonEntry(name="anna", roles=(Role.QUALITY,), password=hashed(PASSWORD))
        write_people(line.folder / "people.toml", [anna])
        with contextlib.closing(line):
            line.start("station", *line.edges, "plc", "ui")
            assert line.wait("plc", 200) == 0
            url = f"http://127.0.0.1:{port}/review"
            with reviewing(browser, url, scheme=scheme) as page:
                page.locator(".large img").wait_for()
                decide(page, "d")
                page.locator(".recorded").wait_for()
                page.evaluate("document.fonts.ready")
                assert page.evaluate("document.documentElement.scrollWidth") <= 1280
                path = Path(os.environ[SCREENSHOTS]) / f"review-{scheme}.png"
                page.screenshot(path=path)
