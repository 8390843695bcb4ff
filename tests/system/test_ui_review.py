"""Review in a real browser: a real line finds dark tiles, and people decide on them by keyboard."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_people_on_a_line import PASSWORD, POINTS, Floor
from test_ui import BROWSER_FLAGS, CHROMIUM, free_port, needs_chromium

from inspection.messages import Action, Fault
from inspection.testing import boards

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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
def reviewing(browser: Browser, url: str, user: str = "anna") -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    page = context.new_page()
    until = time.monotonic() + 60
    while True:
        try:
            page.goto(url)
            break
        except Exception:
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.2)
    page.get_by_role("button", name="Log in").first.click()
    page.get_by_label("User").fill(user)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password", exact=True).press("Enter")
    page.get_by_role("button", name=user).wait_for()
    page.keyboard.press("Escape")
    try:
        yield page
    finally:
        context.close()


def shown(page: Page) -> str:
    """The part and the point in question."""
    return page.locator(".id").first.inner_text() + page.locator(".id.part").inner_text()


def decide(page: Page, key: str) -> None:
    """One key, and wait for the next question or the end of all."""
    before = shown(page)
    page.wait_for_timeout(300)
    page.keyboard.press(key)
    page.wait_for_function(
        """before => { const [point, part] = document.querySelectorAll('.id');
            return document.querySelector('.done')
                || (point && part && point.innerText + part.innerText !== before) }""",
        arg=before,
    )


@needs_chromium
def test_a_hundred_suspicious_welds_are_decided_by_keyboard_each_once(
    floor: Floor, browser: Browser
) -> None:
    tiles = [(row, column) for row in range(boards.GRID) for column in range(boards.GRID)]
    for number in range(4):
        floor.inspect(f"B{number}", *tiles)
    with serving(floor) as url, reviewing(browser, url) as page:
        page.locator(".ask").wait_for()
        for number in range(4 * len(POINTS)):
            decide(page, "g" if number % 3 else "d")
        page.locator(".done").wait_for()
        rows = floor.rows("SELECT run_id, point_id, person, action FROM decision")
        assert len(rows) == len({row[:2] for row in rows}) == 100
        assert {row[2] for row in rows} == {"anna"}
        assert {row[3] for row in rows} == {"confirm", "overrule"}


@needs_chromium
def test_of_two_reviewers_one_wins_and_the_other_is_told_and_keeps_the_text(
    floor: Floor, browser: Browser
) -> None:
    verdict = floor.inspect("B1", (1, 2))
    with serving(floor) as url, reviewing(browser, url, "otto") as page:
        page.locator(".ask").wait_for()
        comment = page.get_by_placeholder("Comment")
        comment.fill(HOSTILE)
        comment.press("Enter")
        word = floor.word(floor.token("anna"), verdict, "v0-r1c2", Action.OVERRULE)
        floor.page.ask(word)
        page.wait_for_timeout(500)
        page.get_by_role("button", name="Defect").first.click()
        page.get_by_text("has changed since you looked").wait_for()
        assert comment.input_value() == HOSTILE
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
        page.locator(".ask").wait_for()
        floor.line.kill("station")
        page.get_by_text("nothing can be decided now").wait_for(timeout=15_000)
        assert page.locator(".ask").count() == 1
        assert page.get_by_role("button", name="Good").is_disabled()
        page.keyboard.press("g")
        page.wait_for_timeout(500)
        assert floor.rows("SELECT 1 FROM decision") == []
