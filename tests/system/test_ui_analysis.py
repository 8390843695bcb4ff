"""Analysis in a real browser: from a sum down to the welds it is made of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from test_people_on_a_line import Floor
from test_ui import SCREENSHOTS, needs_chromium
from test_ui_review import browser, floor, looking, package, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["browser", "floor", "package"]


@needs_chromium
def test_sums_charts_and_alarms_of_a_line_and_the_way_to_a_weld(
    floor: Floor, browser: Browser
) -> None:
    for number in range(6):
        floor.inspect(f"body-{number}", (0, 0), *([(1, 1)] if number % 2 else []))
    url = "/analysis?analysis-window=all"
    with serving(floor) as address, looking(browser, address.replace("/review", url)) as page:
        page.locator(".ready").last.wait_for(state="attached")
        page.get_by_text("points on 6 bodies were not OK").wait_for()
        page.get_by_role("radio", name="Point", exact=True).click()
        page.locator(".st-key-export-pareto-point").wait_for()
        page.get_by_text("No rule has fired.").or_(page.get_by_text("(rule 1)")).wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="CSV").first.click()
        lines = Path(download.value.path()).read_text("utf-8-sig").splitlines()
        assert lines[0] == "point,NOK,REVIEW,NOT_INSPECTED,total,share_so_far"
        assert sum(int(line.split(",")[1]) for line in lines[1:]) == 9
        page.get_by_role("radio", name="per body", exact=True).click()
        page.get_by_text("Laney's u′ chart").wait_for()
        page.get_by_text("Too little to compare yet").wait_for()
        page.get_by_role("combobox", name="Point").click()
        page.get_by_role("option").first.click()
        page.get_by_text("rise over 6 parts").or_(page.get_by_text("rises over 6 parts")).wait_for()
        page.get_by_text("Measured here: 0 values").wait_for()
        for scheme in ("light", "dark") if SCREENSHOTS in os.environ else ():
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(800)
            page.screenshot(path=Path(os.environ[SCREENSHOTS]) / f"analysis-{scheme}.png")
        page.get_by_role("link", name="NOK on 6 of the newest bodies").click()
        page.locator(".point-facts .word", has_text="NOK").wait_for()
