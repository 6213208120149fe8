"""The site of runs in a real Chromium: list, open, filter, compare; silent and deaf to names."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import PROGRAM, Page, browser
from made_run import HOSTILE, made_run
from test_report_site import finish

from aiopslab.orchestrator.records import RunDirectory
from aiopslab.report.site.app import site
from aiopslab.report.site.listing import Listing
from aiopslab.report.text import readable
from aiopslab.wire.server import listening

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium"),
]
NAME = "<img src=x onerror='window.broken = 1'> & ?#%2e%2e"
ROWS = "[...document.querySelectorAll('#runs-body tr')].map(r => r.children[0].textContent)"
SHOWN = "document.querySelector('#trial-page h2')?.textContent"
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass
class Served:
    address: str
    root: Path


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two runs, one of them with a hostile name, and a folder that is none, behind a server."""
    root = tmp_path_factory.mktemp("shelf")
    for name in ("first", NAME):
        finish(made_run(root / name, attempts=1, telemetry=False))
    (root / "<b>foreign").mkdir()
    ready, over = threading.Event(), asyncio.Event()
    found: list[int] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with listening(site(Listing(root))) as port:
            found.append(port)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait()
    yield Served(f"http://127.0.0.1:{found[0]}/", root)
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1440])
def test_every_page_is_silent_stays_on_its_server_and_fits(
    page: Page, served: Served, width: int, dark: bool
) -> None:
    page.messages.clear()
    asked: set[str] = set()
    for path in ("", "compare", "compare?a=first&b=first", "runs/first/", "runs/first/#trial-3"):
        page.open(served.address + path, width=width, dark=dark)
        if "#" in path:
            page.until("document.querySelector('#trial-page h2')")
        assert page.evaluate(WIDE) == 0
        asked |= set(page.requests)
    assert page.messages == []
    assert {a for a in asked if not a.startswith((served.address, "data:"))} == set()


def test_the_list_leads_to_a_run_and_a_run_to_its_trials_and_back(
    page: Page, served: Served
) -> None:
    page.open(served.address)
    assert sorted(page.evaluate(ROWS)) == sorted([NAME, "first"])
    page.evaluate(
        "[...document.querySelectorAll('#runs-body a')]"
        ".find(a => a.textContent.startsWith('<img')).click()"
    )
    page.until("document.getElementById('trials-body')?.children.length")
    page.evaluate("location.hash = 'trial-1'")
    page.until(SHOWN)
    assert page.evaluate("document.querySelectorAll('.step').length") == 4
    assert page.evaluate("document.querySelector('.step .thought').textContent") == readable(
        HOSTILE
    )
    page.press("j")
    page.until("location.hash === '#trial-2'")
    page.evaluate("[...document.links].find(a => a.textContent === 'All runs').click()")
    page.until("document.getElementById('runs-body')?.children.length === 2")
    assert page.evaluate("window.broken") is None


def test_the_answer_key_is_closed_until_it_is_asked_for(page: Page, served: Served) -> None:
    page.open(served.address + "runs/first/", fragment="#trial-0")
    page.until(SHOWN)
    visible = "document.querySelector('details.key table').checkVisibility()"
    assert not page.evaluate(visible)
    page.evaluate("document.querySelector('details.key summary').click()")
    assert page.evaluate(visible)


def test_names_of_folders_are_text_and_nothing_else(page: Page, served: Served) -> None:
    page.open(served.address)
    assert page.evaluate("document.querySelectorAll('img, main b').length") == 0
    assert page.evaluate("window.broken") is None
    said = page.evaluate("document.getElementById('refused').textContent")
    assert "<b>foreign" in said
    assert "not a run" in said


def test_filters_and_headings_choose_and_order_the_runs(page: Page, served: Served) -> None:
    page.open(served.address)
    page.evaluate(
        "(f => { f.value = 'FIRST made'; f.dispatchEvent(new Event('input')) })"
        "(document.getElementById('filter'))"
    )
    assert page.evaluate(ROWS) == ["first"]
    assert page.evaluate("document.getElementById('count').textContent") == "1 of 2 runs"
    page.evaluate(
        "(f => { f.value = ''; f.dispatchEvent(new Event('input')) })"
        "(document.getElementById('filter'))"
    )
    for expected in ([NAME, "first"], ["first", NAME]):
        page.evaluate("document.querySelector('#runs-head button').click()")
        assert page.evaluate(ROWS) == expected
    page.evaluate(
        "(f => { f.value = 'limit'; f.dispatchEvent(new Event('change')) })"
        "(document.getElementById('filter-outcome'))"
    )
    assert len(page.evaluate(ROWS)) == 2


def test_two_runs_are_chosen_in_a_form_and_compared(page: Page, served: Served) -> None:
    page.open(served.address + "compare")
    page.evaluate(
        "(form => { form.a.value = 'first'; "
        f"form.b.value = {json.dumps(NAME)}; form.requestSubmit() }})"
        "(document.getElementById('compare'))"
    )
    page.until("document.body?.textContent.includes('no pair flips')")
    assert page.evaluate("document.querySelector('form').b.value") == NAME
    assert page.evaluate(WIDE) == 0


def test_a_live_run_is_seen_to_grow_without_a_click(page: Page, served: Served) -> None:
    run = made_run(served.root / "live", attempts=1, telemetry=False)
    record = run.record()
    run.write(record.model_copy(update={"status": "started"}))
    hidden = run.trial(record.trials[0]).path
    hidden.rename(served.root / ".aside")
    trials = "[...document.querySelectorAll('#runs-body tr')].find(r => "
    trials += "r.children[0].textContent === 'live')?.children[2].textContent"
    try:
        page.open(served.address)
        while page.evaluate(trials) is None:
            # The server's list may be a second old, and a list without a live run stays as it is.
            page.open(served.address)
        page.until(f"({trials}) === '6/8'")
        (served.root / ".aside").rename(hidden)
        RunDirectory(run.path).event("trial_finished")
        page.until(f"({trials}) === '7/8'")
    finally:
        run.path.rename(served.root / ".live")
