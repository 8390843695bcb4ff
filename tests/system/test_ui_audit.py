"""Audit in a real browser: what the machine called OK is looked at again by keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_people_on_a_line import Floor
from test_ui import SCREENSHOTS, needs_chromium
from test_ui_review import browser, looking, package, serving, signed_in

from inspection.messages import Fault, LookPurpose, LookWord
from inspection.store.looks import looks
from ui.views.audit import TOO_FAST_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

__all__ = ["browser", "package"]


@pytest.fixture
def keeping(tmp_path: Path, package: Path) -> Iterator[Floor]:
    """A line that keeps every second picture of an OK point."""
    floor = Floor(tmp_path, package, edge_evidence={"ok_share": 0.5, "near_share": 0.5})
    floor.until_fault(Fault.NONE)
    yield floor
    floor.close()


@needs_chromium
def test_what_was_called_ok_is_looked_at_again_by_keys_and_an_escape_is_said_so(
    keeping: Floor, browser: Browser
) -> None:
    for part in ("body-1", "body-2"):
        keeping.inspect(part, (0, 0))
    reader = keeping.line.reader
    with serving(keeping) as url, looking(browser, url.replace("/review", "/audit")) as page:
        page.get_by_text("all may be escapes").wait_for()
        assert page.get_by_role("button", name="Good").is_disabled()
        signed_in(page)
        for turn, key in enumerate(("g", "g", "x", "d")):
            page.locator(f".ask[data-turn='{turn + 1}']").wait_for()
            page.locator('.large img[src^="data:image/png"]').wait_for()
            page.wait_for_timeout(TOO_FAST_NS / 1e6 + 100)
            page.keyboard.press(key)
        page.get_by_text("E marks it as an escape").wait_for()
        page.get_by_text("with 95 % confidence").wait_for()
        for scheme in ("light", "dark") if SCREENSHOTS in os.environ else ():
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(500)
            page.screenshot(path=Path(os.environ[SCREENSHOTS]) / f"audit-{scheme}.png")
        page.keyboard.press("e")
        page.get_by_text("✓ An escape").wait_for()
        found = looks(reader, purpose=LookPurpose.AUDIT)
        assert [look.word for look in found] == [
            LookWord.GOOD,
            LookWord.GOOD,
            LookWord.CANNOT_TELL,
            LookWord.DEFECT,
        ]
        assert {look.person for look in found} == {"anna"}
        assert all(look.inclusion is not None and look.inclusion <= 0.5 for look in found)
        (word,) = reader.words([found[-1].run])
        assert (word.action.value, word.point) == ("escape", found[-1].point)
        file = f"part,point,nugget_mm\nbody-1,{found[0].point},3.1\nnobody,x,4.0\n"
        page.locator('input[type="file"]').set_input_files(
            {"name": "probe.csv", "mimeType": "text/csv", "buffer": file.encode()}
        )
        page.get_by_text("probe.csv").wait_for()
        page.get_by_role("button", name="Take over").click()
        page.get_by_text("✓ 1 measurements kept.").wait_for()
        page.get_by_text("line 3: nothing is on record of part nobody").wait_for()
        assert looks(reader, purpose=LookPurpose.AUDIT)[-1].value_mm == 3.1
        page.get_by_role("link", name="People").click()
        page.get_by_text("Who changed what").wait_for()
        page.locator(".figures td", has_text="R-").wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="CSV", exact=True).click()
        lines = Path(download.value.path()).read_text("utf-8-sig").splitlines()
        assert sum(",anna,look," in line for line in lines) == 5
        assert sum(",anna,decision,escape" in line for line in lines) == 1
        for scheme in ("light", "dark") if SCREENSHOTS in os.environ else ():
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(500)
            page.screenshot(path=Path(os.environ[SCREENSHOTS]) / f"people-{scheme}.png")
        page.get_by_role("link", name="Models").click()
        page.get_by_text("Nothing would have changed.").wait_for()
        page.get_by_role("slider").first.focus()
        page.keyboard.press("End")
        page.get_by_text("would have said something else of").wait_for()
        page.get_by_text("✓ It would have stopped 1 escapes that people found.").wait_for()
        for scheme in ("light", "dark") if SCREENSHOTS in os.environ else ():
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(500)
            page.screenshot(path=Path(os.environ[SCREENSHOTS]) / f"models-{scheme}.png")
