"""Agreement in a real browser: a study is planned, judged by keys and evaluated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec.structs import replace
from test_people_on_a_line import Floor
from test_ui import SCREENSHOTS, needs_chromium
from test_ui_review import browser, looking, package, serving, signed_in

from inspection import messages as m
from inspection.evidence import EvidenceStore
from inspection.messages import Action, Fault, LookPurpose
from inspection.store import Reader
from inspection.store.looks import looks, studies
from inspection.testing import boards
from ui.pictures import LARGE_SIDE_PX, Pictures
from ui.views.agreement import TOO_FAST_NS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser", "package"]

ITEMS = int(os.environ.get("INSPECTION_JUDGED", "6"))
TRIALS = 2
TILES = [(row, column) for row in range(2) for column in range(boards.GRID)]
"""Dark ones. People say of those in odd columns that they are shadows and no defect."""
HOSTILE = "Dark tiles <b id='hostile'>bold</b>"
TITLE = "Dark tiles, late shift" if SCREENSHOTS in os.environ else HOSTILE


@pytest.fixture
def floor(tmp_path: Path, package: Path) -> Iterator[Floor]:
    floor = Floor(tmp_path, package)
    floor.until_fault(Fault.NONE)
    yield floor
    floor.close()


def captured(floor: Floor, part: str, brighter: int) -> m.PartVerdict:
    """The same part once more, in a light of its own: a fresh capture, decided on by anna."""
    boards.write_part(floor.images, part, boards.board(*TILES) + np.uint8(brighter))
    begun = floor.request(m.Begin, part=part, plan=boards.PLAN)
    verdict = floor.verdict(part, begun.run)
    token = floor.token("anna")
    for row, column in TILES:
        action = Action.OVERRULE if column % 2 else Action.CONFIRM
        word = floor.word(token, verdict, f"v0-r{row}c{column}", action)
        decided = floor.page.ask(word)
        assert isinstance(decided, m.Decided), decided
        verdict = replace(verdict, verdict_seq=decided.verdict_seq)
    return verdict


def truths(floor: Floor) -> dict[str, bool]:
    """Whether it is a defect, by what the page shows of a picture."""
    reader = Reader(floor.database)
    pictures = Pictures(EvidenceStore(str(floor.line.folder / "station" / "evidence")))
    found = {}
    for run in reader.runs():
        for row in reader.points(run=run.run):
            if row.evidence is not None:
                source = pictures.get(row.evidence, LARGE_SIDE_PX).source
                found[source] = int(row.point[-1]) % 2 == 0
    return found


def plan(page: Page, study: str) -> None:
    page.get_by_text("Plan a study").click()
    page.get_by_label("Study id").fill(study)
    page.get_by_label("Title").fill(TITLE)
    page.get_by_label("Appraisers").fill("otto")
    page.get_by_label("Parts", exact=True).fill(str(ITEMS))
    page.get_by_label("Trials").fill(str(TRIALS))
    page.get_by_text("Reference from decisions").click()
    page.get_by_text("The machine takes part").click()
    page.get_by_role("button", name="Choose parts").click()
    page.get_by_text(f"{ITEMS} parts chosen").wait_for()
    page.get_by_role("button", name="Plan this study").click()
    page.get_by_text(f"Study {study} is planned").wait_for()


def judge(page: Page, truth: dict[str, bool], *, wrong: int = 0, most: int = 1000) -> int:
    """Answer by keys, the first ``wrong`` wrongly; how many were answered."""
    for count in range(most):
        page.locator(".ask, .done").first.wait_for()
        if page.locator(".done").count():
            return count
        turn = page.locator(".ask").get_attribute("data-turn")
        source = page.locator(".judged img").get_attribute("src") or ""
        page.wait_for_timeout(TOO_FAST_NS / 1e6 + 50)
        page.keyboard.press("d" if truth[source] != (count < wrong) else "g")
        page.wait_for_function(
            """turn => { const ask = document.querySelector('.ask');
                return document.querySelector('.done') || (ask && ask.dataset.turn !== turn) }""",
            arg=turn,
        )
    return most


def pictures_for_the_manual(page: Page) -> None:
    folder = os.environ.get(SCREENSHOTS)
    for scheme in ("light", "dark") if folder else ():
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.evaluate("document.fonts.ready")
        page.wait_for_timeout(1000)
        page.screenshot(path=Path(folder or "") / f"agreement-{scheme}.png")


@needs_chromium
def test_a_study_is_planned_judged_by_keys_and_evaluated(floor: Floor, browser: Browser) -> None:
    verdicts = [captured(floor, "B1", brighter) for brighter in (0, 3, 6)]
    truth = truths(floor)
    with serving(floor) as review_url:
        url = review_url.replace("/review", "/agreement")
        with looking(browser, url) as page:
            signed_in(page, "anna")
            plan(page, "msa-1")
            page.get_by_text("Not finished: ").wait_for()
        with looking(browser, f"{url}?study=msa-1") as page:
            page.get_by_text("The evaluation is shown when").wait_for()  # to nobody in particular
            signed_in(page, "otto")
            page.locator(".ask").wait_for()
            shown = page.inner_text("body")
            assert not any(verdict.run in shown for verdict in verdicts)
            assert "v0-r" not in page.content()  # no id of a point, not even where nobody sees it
            judge(page, truth, wrong=1, most=3)
        with looking(browser, f"{url}?study=msa-1") as page:  # goes on where he left
            signed_in(page, "otto")
            page.get_by_text(f"3 of {ITEMS * TRIALS} answered").wait_for()
            assert judge(page, truth) == ITEMS * TRIALS - 3
            page.get_by_text("You are through").wait_for()
            page.get_by_text("Evaluate", exact=True).click()
            page.get_by_text("system is").wait_for()
            body = page.inner_text("body")
            assert f"{ITEMS - 1} of {ITEMS}" in body  # otto was wrong once
            assert "too few captures" not in body
            assert "not shown with this n" in body
            assert "✕ unacceptable" in body  # the machine stops what people call shadows
            link = page.locator(".tile").first.locator("a").last.get_attribute("href") or ""
            assert "/parts?run=" in link
            assert page.locator("#hostile").count() == 0
            assert page.evaluate("document.documentElement.scrollWidth") <= 1280
            pictures_for_the_manual(page)
        with looking(browser, url.replace("/agreement", link)) as page:
            page.get_by_text(link.rpartition("=")[2]).first.wait_for()  # the point, in Parts
            page.locator("img").first.wait_for()
    (study,) = studies(Reader(floor.database))
    assert (study.study, study.person) == ("msa-1", "anna")
    answers = looks(Reader(floor.database), purpose=LookPurpose.STUDY, study="msa-1")
    assert len({(row.item, row.trial) for row in answers}) == len(answers) == ITEMS * TRIALS
    assert {row.person for row in answers} == {"otto"}
