"""The HTML report in a real Chromium: silent, self-contained, usable, deaf to what agents say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import PROGRAM, Page, browser
from made_run import HOSTILE, calibration, large_report, made_run

from aiopslab.report.curves import Recordings
from aiopslab.report.entries import read
from aiopslab.report.html.page import document
from aiopslab.report.text import readable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium"),
]
ROWS = "document.querySelectorAll('#trials-body tr').length"
SHOWN = "document.querySelector('#trial-page h2')?.textContent"
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section, of a run in which agents write hostile text."""
    run = made_run(tmp_path_factory.mktemp("run"))
    reading = read(run)
    overall = reading.results.overall.model_copy(update={"calibration": calibration()})
    results = reading.results.model_copy(update={"overall": overall})
    path = run.path / "report.html"
    with Recordings() as recordings:
        pieces = document(replace(reading, results=results), records="", recordings=recordings)
        path.write_text("".join(pieces), encoding="utf-8")
    return path


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1440])
def test_every_page_is_silent_asks_for_nothing_and_fits(
    page: Page, report: Path, width: int, dark: bool
) -> None:
    page.messages.clear()
    page.open(report, width=width, dark=dark)
    assert page.evaluate(WIDE) == 0
    trials = page.evaluate(ROWS)
    assert trials == 24
    for n in range(trials):
        page.evaluate(f"location.hash = 'trial-{n}'")
        page.settle()
        assert page.evaluate(SHOWN) == page.evaluate(
            f"JSON.parse(document.getElementById('trials-data').textContent).rows[{n}][0]"
        )
        assert page.evaluate(WIDE) == 0
    assert page.messages == []
    assert page.requests == [report.resolve().as_uri()]


def test_what_agents_write_is_text_and_nothing_else(page: Page, report: Path) -> None:
    page.open(report, fragment="#trial-8")
    assert page.evaluate("window.broken") is None
    assert (
        page.evaluate("document.querySelectorAll('#trial-page script, #trial-page img').length")
        == 0
    )
    said = page.evaluate("document.querySelector('.step .thought').textContent")
    assert said == readable(HOSTILE)
    assert page.evaluate("[...document.links].every(a => !a.href.startsWith('javascript'))")


def test_markup_that_got_in_could_not_run_or_load_anything(page: Page, report: Path) -> None:
    page.open(report)
    page.messages.clear()
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', "
        '\'<img src="https://outside.invalid/x.png" onerror="window.broken = 1">\')'
    )
    page.settle()
    assert page.evaluate("window.broken") is None
    assert any("Content Security Policy" in m for m in page.messages)


def test_keys_move_between_trials_and_back_to_all(page: Page, report: Path) -> None:
    page.open(report, fragment="#trial-1")
    second = page.evaluate(SHOWN)
    page.press("j")
    third = page.evaluate(SHOWN)
    page.press("k")
    assert page.evaluate(SHOWN) == second != third
    page.press("u")
    assert page.evaluate("document.getElementById('trial').hidden")
    assert not page.evaluate("document.getElementById('overview').hidden")
    page.press("/")
    assert page.evaluate("document.activeElement.id") == "filter"
    page.press("j")
    assert page.evaluate("document.getElementById('trial').hidden")


def test_filters_and_headings_choose_and_order_the_trials(page: Page, report: Path) -> None:
    page.open(report)
    page.evaluate(
        "(f => { f.value = 'Service-Target detection'; f.dispatchEvent(new Event('input')) })"
        "(document.getElementById('filter'))"
    )
    assert page.evaluate(ROWS) == 3
    assert page.evaluate("document.getElementById('count').textContent") == "3 of 24 trials"
    page.evaluate("document.querySelectorAll('#trials-head button')[3].click()")
    page.evaluate("document.querySelectorAll('#trials-head button')[3].click()")
    cells = "[...document.querySelectorAll('#trials-body tr')].map(r => r.children[3].textContent)"
    shown = page.evaluate(cells)
    known = [s for s in shown if s != "\N{EN DASH}"]
    assert known == sorted(known, reverse=True)
    assert shown[: len(known)] == known


def test_a_mark_on_the_axis_leads_to_its_call(page: Page, report: Path) -> None:
    page.open(report, fragment="#trial-0")
    page.evaluate(
        "document.querySelector('rect[data-step=\"obs-3\"]')"
        ".dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}))"
    )
    assert page.evaluate("document.querySelector('.step.hit').dataset.id") == "obs-3"
    assert page.evaluate("document.activeElement.dataset.id") == "obs-3"


def test_the_answer_key_is_closed_until_it_is_asked_for(page: Page, report: Path) -> None:
    page.open(report, fragment="#trial-0")
    visible = "document.querySelector('details.key table').checkVisibility()"
    assert not page.evaluate(visible)
    page.evaluate("document.querySelector('details.key summary').click()")
    assert page.evaluate(visible)


def test_light_and_dark_follow_the_system_until_they_are_chosen(page: Page, report: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    page.open(report, dark=False)
    light = page.evaluate(paper)
    page.press("t")
    dark = page.evaluate(paper)
    page.press("t")
    assert page.evaluate(paper) == light != dark
    page.open(report, dark=True)
    assert page.evaluate(paper) == dark


def test_a_run_of_5000_trials_is_one_file_of_bounded_size_and_few_elements(
    page: Page, tmp_path: Path
) -> None:
    path = large_report(tmp_path, 5000)
    assert path.stat().st_size < 18_000 * 5000
    page.messages.clear()
    page.open(path)
    assert page.evaluate(ROWS) == 100
    assert page.evaluate("document.getElementsByTagName('*').length") < 5000 + 2500
    page.evaluate("location.hash = 'trial-4321'")
    page.settle()
    assert page.evaluate("document.querySelectorAll('.step').length") == 40
    assert page.messages == []
