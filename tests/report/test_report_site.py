"""The site of runs in memory: what it lists, shows, compares and refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_run import HOSTILE, made_run
from starlette.testclient import TestClient

from aiopslab.errors import UsageError
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.results import regrade, summarise
from aiopslab.report.html.page import policy_of_served
from aiopslab.report.site.app import site
from aiopslab.report.site.compare_page import chosen
from aiopslab.report.site.guard import POLICY, hostname
from aiopslab.report.site.library import Kept
from aiopslab.report.site.listing import Broken, Listing, Row

ADDRESS = "http://127.0.0.1:7576"
HOSTILE_NAME = "<img src=x onerror='window.broken = 1'> & \"q\" ?#"
"""Without a percent sign, which the client in memory decodes twice; Chromium gets one."""


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def finish(run: RunDirectory, **changes: Any) -> None:
    """Write a run's results, and what else became of it."""
    record = run.record().model_copy(update=changes)
    run.write(record)
    run.write(summarise(run, record))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one with a hostile name, a live one, and what is no run."""
    root = tmp_path_factory.mktemp("shelf")
    for name in ("first", "second", HOSTILE_NAME):
        finish(made_run(root / name, attempts=1, telemetry=False))
    record = made_run(root / "live", attempts=2, telemetry=False).record()
    RunDirectory(root / "live").write(record.model_copy(update={"status": "started"}))
    (root / "foreign").mkdir()
    (root / ".hidden").mkdir()
    (root / "notes.txt").write_text("not a folder", encoding="utf-8")
    (root / "damaged").mkdir()
    (root / "damaged" / "run.json").write_bytes(b'{"schema": \xff')
    outside = made_run(tmp_path_factory.mktemp("outside") / "run", attempts=1, telemetry=False)
    (root / "linked").symlink_to(outside.path)
    leaving = made_run(root / "leaving", attempts=1, telemetry=False)
    text = (leaving.path / "run.json").read_text("utf-8")
    text = text.replace("release-errors-detection", "../../first/trials/x")
    (leaving.path / "run.json").write_text(text, encoding="utf-8")
    return root


def client(root: Path, **more: Any) -> TestClient:
    return TestClient(site(Listing(root, **more)), base_url=ADDRESS)


@pytest.fixture
def asked(shelf: Path) -> Iterator[TestClient]:
    with client(shelf) as opened:
        yield opened


def data(asked: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = asked.get("/runs.json").json()
    return found


def test_the_list_has_every_run_with_its_headline_and_its_interval(asked: TestClient) -> None:
    found = data(asked)
    rows = {row["cells"][0]: dict(zip(found["columns"], row["cells"], strict=True))
            for row in found["rows"]}  # fmt: skip
    assert set(rows) == {"first", "second", HOSTILE_NAME, "live"}
    first = rows["first"]
    assert (first["status"], first["trials"], first["suite"]) == ("success", "7/8", "made@1")
    assert (first["agent"], first["model"], first["where"]) == ("made", "m-1", "sim")
    assert "less than 95 %" in first["passed (95 % interval)"]
    assert rows["live"]["trials"] == "15/16"
    assert rows["live"]["passed (95 % interval)"] == "no results yet"
    assert found["live"]


def test_a_run_whose_trials_all_ended_has_a_headline(tmp_path: Path) -> None:
    run = made_run(tmp_path / "whole", attempts=1, telemetry=False)
    finish(run, trials=run.record().trials[:5])
    (row,) = Listing(tmp_path).entries()
    assert isinstance(row, Row)
    assert row.passed is not None
    assert row.passed.value == pytest.approx(2 / 5)
    assert row.passed.low is not None


def test_what_is_no_run_is_listed_with_the_reason(asked: TestClient) -> None:
    reasons = dict(data(asked)["broken"])
    assert set(reasons) == {"foreign", "damaged", "linked", "leaving"}
    assert reasons["foreign"] == "no run.json: not a run"
    assert "utf-8" in reasons["damaged"]
    assert reasons["linked"] == "a link to another place"
    assert "outside its directory" in reasons["leaving"]
    for name, reason in reasons.items():
        answer = asked.get(f"/runs/{name}/")
        assert answer.status_code == 404
        assert reason.split("'")[0] in answer.text.replace("&#x27;", "'")


def test_names_of_runs_are_addresses_and_text_and_never_markup(asked: TestClient) -> None:
    row = next(r for r in data(asked)["rows"] if r["cells"][0] == HOSTILE_NAME)
    answer = asked.get(f"/{row['href']}")
    assert answer.status_code == 200
    for page in (answer.text, asked.get("/").text, asked.get("/compare").text):
        assert "<img" not in page
    assert "&lt;img" in asked.get("/compare").text


def test_a_run_is_its_report_without_the_trials_which_come_one_by_one(asked: TestClient) -> None:
    page = asked.get("/runs/first/")
    assert page.status_code == 200
    assert '<section id="summary">' in page.text
    assert 'id="trial-data-0"' not in page.text
    assert 'id="live"' not in page.text
    trial = asked.get("/runs/first/trial/0.json")
    assert trial.json()["tree"]
    assert "<" not in trial.text
    missing = asked.get("/runs/first/trial/99.json")
    assert (missing.status_code, missing.text) == (404, "there is no trial 99 in 'first'")


def test_the_answer_key_comes_closed(asked: TestClient) -> None:
    tree = json.dumps(asked.get("/runs/first/trial/0.json").json()["tree"])
    head, _, key = tree.partition('["details", {"class": "key"}')
    assert "scaled_to_zero" in key
    assert "scaled_to_zero" not in head


def test_records_are_read_again_when_they_change_and_only_then(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", attempts=1, telemetry=False)
    finish(run)
    clock = Clock()
    with client(tmp_path, seconds=clock) as asked:
        before = asked.get("/runs/run/").text
        run.trial(run.record().trials[0]).path.rename(tmp_path / "run" / "elsewhere")
        clock.now += 100
        assert asked.get("/runs/run/").text == before
        regrade(run)
        clock.now += 100
        after = asked.get("/runs/run/").text
    assert after != before


def test_the_folder_is_looked_at_once_a_second_however_many_ask(tmp_path: Path) -> None:
    clock = Clock()
    listing = Listing(tmp_path, seconds=clock)
    assert listing.entries() == []
    made_run(tmp_path / "run", attempts=1, telemetry=False)
    assert listing.entries() == []
    clock.now += 1.0
    assert [entry.name for entry in listing.entries()] == ["run"]


def test_a_live_run_counts_the_trials_that_ended_and_tells_when_there_are_more(
    tmp_path: Path,
) -> None:
    run = made_run(tmp_path / "run", attempts=1, telemetry=False)
    run.write(run.record().model_copy(update={"status": "started"}))
    first = run.trial(run.record().trials[0]).path
    first.rename(tmp_path / "aside")
    clock = Clock()
    with client(tmp_path, seconds=clock) as asked:
        seen = asked.get("/runs/run/state.json").json()["seen"]
        assert f'data-seen="{seen}"' in asked.get("/runs/run/").text
        (tmp_path / "aside").rename(first)
        run.event("trial_finished")
        clock.now += 5
        assert asked.get("/runs/run/state.json").json()["seen"] != seen
        (row,) = data(asked)["rows"]
        assert row["cells"][2] == "7/8"


def test_who_has_the_list_already_is_told_so(asked: TestClient) -> None:
    tag = asked.get("/runs.json").headers["etag"]
    again = asked.get("/runs.json", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_two_runs_are_compared_as_the_command_does(asked: TestClient) -> None:
    page = asked.get("/compare", params={"a": "first", "b": "second"})
    assert page.status_code == 200
    for words in (
        "no pair flips",
        "whether B is worse is undecided",
        "not paired, lab failed in A: 1",
    ):
        assert words in page.text
    assert page.text.count('selected=""') == 2


def test_what_cannot_be_compared_is_said_beside_the_form(asked: TestClient) -> None:
    for params in ({"a": "first", "b": "none"}, {"a": "first/ghost", "b": "second"}):
        page = asked.get("/compare", params=params)
        assert page.status_code == 400
        assert "They cannot be compared" in page.text
        assert "<form" in page.text


def test_an_agent_is_chosen_with_its_run() -> None:
    assert chosen("run/noop") == ("run", "noop")
    assert chosen("run") == ("run", None)


def test_files_of_a_record_are_text_that_does_nothing(asked: TestClient) -> None:
    trial = "release-errors-detection__1"
    answer = asked.get(f"/runs/first/trials/{trial}/steps.jsonl")
    assert answer.status_code == 200
    assert HOSTILE[:9] in answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/runs/%2e%2e/",
        "/runs/..%2f..%2fetc/",
        "/runs/first/trials/%2e%2e/run.json",
        "/runs/first/trials/release-errors-detection__1/%2e%2e/%2e%2e/%2e%2e/run.json",
        "/runs/first/trials/release-errors-detection__1/..%2f..%2frun.json",
        "/runs/first/trials/release-errors-detection__1/telemetry/spans.parquet",
        "/runs/first/run.json",
        "/runs/.hidden/",
        "/assets/app.py",
        "/assets/..%2fapp.py",
        "/notes.txt",
    ],
)
def test_nothing_but_what_is_shown_can_be_had(asked: TestClient, path: str) -> None:
    assert asked.get(path).status_code == 404


def test_a_file_that_leads_out_of_its_run_is_refused(tmp_path: Path) -> None:
    run = made_run(tmp_path / "runs" / "run", attempts=1, telemetry=False)
    secret = tmp_path / "secret"
    secret.write_text("secret", encoding="utf-8")
    (run.trial(run.record().trials[0]).path / "error.txt").symlink_to(secret)
    with client(tmp_path / "runs") as asked:
        answer = asked.get("/runs/run/trials/release-errors-detection__1/error.txt")
    assert answer.status_code == 404
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7576", "127.0.0.1.evil.example", ""]
)
def test_a_name_that_is_not_ours_is_refused(asked: TestClient, host: str) -> None:
    answer = asked.get("/runs.json", headers={"host": host})
    assert answer.status_code == 403
    assert "first" not in answer.text


@pytest.mark.parametrize("host", ["localhost:7576", "127.0.0.1", "[::1]:7576", "192.168.0.7:80"])
def test_loopback_and_addresses_are_let_in(asked: TestClient, host: str) -> None:
    assert asked.get("/runs.json", headers={"host": host}).status_code == 200


def test_a_name_is_let_in_where_it_was_given(shelf: Path) -> None:
    named = TestClient(site(Listing(shelf), names=("Lab.example",)), base_url=ADDRESS)
    assert named.get("/", headers={"host": "lab.example:7576"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "name"), [("[::1]:1", "::1"), ("LocalHost.", "localhost"), ("a:b:c", "a"), ("", "")]
)
def test_a_host_header_is_a_name_and_perhaps_a_port(host: str, name: str) -> None:
    assert hostname(host) == name


def test_pages_of_other_sites_get_nothing_but_a_link_may_lead_here(asked: TestClient) -> None:
    elsewhere = {"sec-fetch-site": "cross-site"}
    read = asked.get("/runs.json", headers=elsewhere | {"sec-fetch-mode": "no-cors"})
    assert read.status_code == 403
    link = asked.get("/", headers=elsewhere | {"sec-fetch-mode": "navigate"})
    assert link.status_code == 200


def test_nothing_can_be_changed(asked: TestClient) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert asked.request(method, "/").status_code == 405


@pytest.mark.parametrize("path", ["/", "/runs/first/", "/runs/none/", "/compare", "/none"])
def test_every_answer_forbids_requests_to_elsewhere_and_frames(
    asked: TestClient, path: str
) -> None:
    headers = asked.get(path).headers
    assert headers["content-security-policy"] in (POLICY, policy_of_served())
    for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert part in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_a_folder_that_went_away_is_an_error_and_no_crash(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    root.mkdir()
    with client(root) as asked:
        shutil.rmtree(root)
        answer = asked.get("/")
    assert answer.status_code == 404
    assert "cannot be read" in answer.text


def test_one_run_alone_can_be_shown(shelf: Path) -> None:
    assert [e.name for e in Listing(shelf, only="first").entries()] == ["first"]


def test_a_damaged_trial_is_the_page_of_an_error(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", attempts=1, telemetry=False)
    finish(run)
    (run.trial(run.record().trials[0]).path / "trial.json").write_text("{", encoding="utf-8")
    with client(tmp_path) as asked:
        answer = asked.get("/runs/run/")
        assert answer.status_code == 404
        assert "is not a valid record" in answer.text
        assert asked.get("/").status_code == 200


def test_of_many_values_the_latest_used_are_kept_and_each_is_made_once() -> None:
    made: list[int] = []

    def make(n: int) -> int:
        made.append(n)
        return n

    kept: Kept[int] = Kept(2)
    for n in (1, 2, 1, 3, 1, 2):
        assert kept.get(n, lambda n=n: make(n)) == n  # type: ignore[misc]
    assert made == [1, 2, 3, 2]


def test_what_could_not_be_made_is_tried_again() -> None:
    kept: Kept[int] = Kept(2)

    def fail() -> int:
        raise UsageError("not now")

    with pytest.raises(UsageError):
        kept.get(1, fail)
    assert kept.get(1, lambda: 5) == 5


def test_a_broken_folder_is_looked_at_again(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "run").mkdir()
    listing = Listing(tmp_path, seconds=clock)
    assert isinstance(listing.entries()[0], Broken)
    made_run(tmp_path / "run", attempts=1, telemetry=False)
    clock.now += 5
    assert isinstance(listing.entries()[0], Row)
