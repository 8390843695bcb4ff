"""Parts in a real browser: from a part's id to a weld's picture, and back out as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_people_on_a_line import Floor
from test_ui import SCREENSHOTS, needs_chromium
from test_ui_review import browser, floor, looking, package, serving

from inspection.messages import Verdict

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser", "floor", "package"]


def drawn(page: Page) -> None:
    page.locator(".ready").last.wait_for(state="attached")


@pytest.fixture
def inspected(floor: Floor) -> Iterator[Floor]:
    for part in ("WVW-001", "WVW-002", "WAU-001"):
        floor.inspect(part, (0, 0), (1, 1))
    return floor


@needs_chromium
def test_from_a_part_to_a_weld_and_its_picture_in_three_clicks(
    inspected: Floor, browser: Browser
) -> None:
    with serving(inspected) as url, looking(browser, url.replace("/review", "/parts")) as page:
        drawn(page)
        page.get_by_label("Part", exact=True).fill("WVW")
        page.get_by_label("Part", exact=True).press("Enter")
        page.get_by_text("Begins like this: 2").wait_for()
        page.get_by_role("button", name="WVW-002").click()
        page.locator(".head h1", has_text="WVW-002").wait_for()
        bad = [
            p for p in inspected.line.reader.points(verdicts=[Verdict.NOK]) if p.part == "WVW-002"
        ]
        first = min(each.point for each in bad)
        page.locator(".point-facts .id", has_text=first).wait_for()
        page.locator('.large img[src^="data:image/png"]').wait_for()
        other = max(each.point for each in bad)
        page.get_by_label("Any point of the plan").fill(other)
        page.get_by_role("option", name=other, exact=True).click()
        page.locator(".point-facts .id", has_text=other).wait_for()
        assert f"point={other}" in page.url
        page.reload()
        page.locator(".point-facts .id", has_text=other).wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="JSON").click()
        told = json.loads(Path(download.value.path()).read_bytes())
        assert told["part"] == "WVW-002"
        assert len(told["runs"][0]["points"]) == told["runs"][0]["balance"]["planned"]
        with page.expect_download() as download:
            page.get_by_role("button", name="PDF").click()
        assert Path(download.value.path()).read_bytes().startswith(b"%PDF")
        for scheme in ("light", "dark") if SCREENSHOTS in os.environ else ():
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(500)
            page.screenshot(path=Path(os.environ[SCREENSHOTS]) / f"parts-{scheme}.png")


@needs_chromium
def test_a_part_or_a_point_that_is_not_there_is_said_so(inspected: Floor, browser: Browser) -> None:
    with serving(inspected) as url:
        base = url.replace("/review", "/parts")
        with looking(browser, f"{base}?part=%3Cb%3Enobody%3C/b%3E") as page:
            page.get_by_text("Nothing is on record of part <b>nobody</b>.").wait_for()
        run = inspected.line.reader.runs()[0].run
        with looking(browser, f"{base}?run={run}&point=no-such") as page:
            page.get_by_text("The plan has no point no-such.").wait_for()
