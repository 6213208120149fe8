"""Context profiles: which tools each offers, what is pushed instead, and searching the past."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tools_fakes import toolbox

from aiopslab import content
from aiopslab.errors import InfraError, PreflightError
from aiopslab.models.context_profile import ContextChoice, Profile
from aiopslab.models.observation import Observation
from aiopslab.models.past_incident import PastIncident
from aiopslab.tools import TOOLS, Toolbox, briefing, describe_tools, embeddings
from aiopslab.tools.embeddings import Embeddings
from aiopslab.tools.memory import IncidentMemory
from aiopslab.tools.profiles import LEVELS, offered

PROFILES: tuple[Profile, ...] = get_args(Profile)
PAGE = "[critical] HighErrorRatio: web fails {service=web}"


def call(tools: Toolbox, name: str, /, **arguments: Any) -> Observation:
    return asyncio.run(tools.call(name, arguments))


def past(number: int, **fields: Any) -> PastIncident:
    given: dict[str, Any] = {
        "id": f"INC-{number}", "app": "shop", "date": f"2026-01-{number:02}", "title": "Web fails",
        "summary": "HighErrorRatio came in.", "symptoms": ("HighErrorRatio on web",),
        "services": ("web",), "component": "web", "cause": "memory_leak",
        "resolution": "Rolled back deployment web.",
    }  # fmt: skip
    return PastIncident.model_validate(given | fields)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake shop with documents and a past."""
    for folder, name, text in (
        ("runbooks", "errors", "# High error ratio\n\nFor HighErrorRatio: look at web."),
        ("runbooks", "disk", "# Disk full\n\nMake room."),
        ("docs", "overview", "# Overview\n\nThe shop sells\nthings.\n\nMore."),
    ):
        path = tmp_path / "services" / "shop" / folder / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    records = [past(1), past(2, title="Cache cold", summary="Slow.", symptoms=("HighLatency",)),
               past(3, app="hotel")]  # fmt: skip
    memory = tmp_path / "problems" / "memory"
    memory.mkdir(parents=True)
    for app in ("shop", "hotel"):
        lines = [r.model_dump_json(by_alias=True) + "\n" for r in records if r.app == app]
        (memory / f"{app}.jsonl").write_text("".join(lines), encoding="utf-8")
    monkeypatch.setattr(content, "roots", lambda: [tmp_path])


def pushed(profile: Profile, *, tokens: int = 2000, page: str | None = PAGE) -> str:
    choice = ContextChoice(profile=profile, delivery="push", tokens=tokens)
    _, tools = toolbox("diagnosis", choice)
    return asyncio.run(briefing.block(tools.context, page))


# -- which tools ----------------------------------------------------------------------------------


def test_without_a_choice_all_tools_but_the_past_are_offered() -> None:
    every = set(TOOLS)
    assert {t.name for t in describe_tools("mitigation")} == every - {"search_incidents"}
    whole = describe_tools("mitigation", ContextChoice(profile="P5"))
    assert {t.name for t in whole} == every


def test_each_profile_adds_its_tools_to_those_before() -> None:
    added, before = {}, set()
    for profile in PROFILES:
        now = {t.name for t in describe_tools("diagnosis", ContextChoice(profile=profile))}
        assert before <= now
        added[profile], before = now - before, now
    assert added["P1"] == {"topology", "partners"}
    assert added["P2"] == {"docs"}
    assert added["P3"] == {"changes"}
    assert added["P4"] == {"monitors", "runbooks"}
    assert added["P5"] == {"search_incidents"}
    assert {"alerts", "services", "metrics_query", "k8s_get", "submit"} <= added["P0"]


def test_every_tool_that_is_context_exists() -> None:
    assert set(LEVELS) <= set(TOOLS)


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_pushed_is_not_offered_as_well(profile: Profile) -> None:
    push = ContextChoice(profile=profile, delivery="push")
    none = ContextChoice(profile="P0")
    assert describe_tools("diagnosis", push) == describe_tools("diagnosis", none)


def test_a_call_of_a_tool_outside_the_profile_says_so_and_is_no_violation() -> None:
    _, tools = toolbox("diagnosis", ContextChoice(profile="P2"))
    seen = call(tools, "changes")
    assert not seen.ok
    assert "'changes' is not offered here (context profile P2)" in seen.text
    assert (tools.counts.tool_errors, tools.counts.format_violations) == (1, 0)
    assert "changes" not in call(tools, "chnges").text
    assert call(tools, "docs").ok


def test_embeddings_without_a_past_to_rank_are_refused() -> None:
    with pytest.raises(ValidationError, match="only profile P5"):
        ContextChoice(embeddings="some-model")
    with pytest.raises(ValidationError, match="name of a model"):
        ContextChoice(profile="P5", embeddings_url="http://127.0.0.1:1")


# -- the tools of context -------------------------------------------------------------------------


def test_the_monitors_say_what_they_watch_and_how_they_are() -> None:
    _, tools = toolbox("diagnosis")
    seen = call(tools, "monitors")
    assert "HighErrorRatio [warning] firing, for 60s\n  errors > 0.05" in seen.text
    assert seen.total == 2
    assert "web:errors" not in seen.text
    assert call(tools, "monitors", name="TargetDown").total == 1
    assert "did you mean 'TargetDown'" in call(tools, "monitors", name="TargetDwn").text


def test_the_past_is_searched_within_the_app(shop: None) -> None:
    _, tools = toolbox("diagnosis", ContextChoice(profile="P5"))
    seen = call(tools, "search_incidents", query="HighErrorRatio web")
    assert [one["id"] for one in seen.data] == ["INC-1", "INC-2"]
    assert seen.text.startswith("INC-1 2026-01-01 Web fails")
    assert "cause: memory_leak in web" in seen.text
    assert call(tools, "search_incidents", query="HighErrorRatio", limit=1).total == 1
    assert call(tools, "search_incidents", query="certificate").data == []
    assert "query is empty" in call(tools, "search_incidents", query=" ").text
    assert not call(tools, "search_incidents", query="web", limit=0).ok


def test_an_app_without_a_past_says_so() -> None:
    _, tools = toolbox("diagnosis", ContextChoice(profile="P5"))
    tools.context.memory = IncidentMemory([])
    assert "no past incident" in call(tools, "search_incidents", query="web").text


# -- pushed ---------------------------------------------------------------------------------------


def test_the_block_holds_a_section_for_each_level_of_the_profile(shop: None) -> None:
    for profile in PROFILES:
        headings = [line for line in pushed(profile).splitlines() if line.startswith("## ")]
        assert headings == [f"## {name}" for name, _ in briefing.SECTIONS[: int(profile[1])]]


def test_the_block_is_extracted_from_what_the_tools_would_show(shop: None) -> None:
    text = pushed("P5")
    for said in (
        "web -> web-postgres, web-valkey",
        "overview: The shop sells things.",
        "web (front): Serves pages.",
        "rollout web by ci: rollout web",
        "HighErrorRatio [warning] firing",
        "1 other alert rules are inactive",
        "look at web.",
        "runbook disk: Disk full",
        "INC-1 2026-01-01",
    ):
        assert said in text, said
    assert "Make room." not in text


def test_without_a_page_nothing_is_chosen_by_it(shop: None) -> None:
    text = pushed("P5", page=None)
    assert "look at web." not in text
    assert "INC-2" in text


def test_the_same_world_gives_the_same_block(shop: None) -> None:
    assert pushed("P5") == pushed("P5")


@pytest.mark.parametrize("tokens", [100, 150, 400])
@pytest.mark.parametrize("profile", PROFILES)
def test_the_block_keeps_its_budget(shop: None, profile: Profile, tokens: int) -> None:
    text = pushed(profile, tokens=tokens)
    assert briefing.tokens(text) <= tokens
    assert text.count("## ") == int(profile[1])


@given(text=st.text(max_size=200), limit=st.integers(20, 100))
def test_what_is_cut_is_a_beginning_and_says_so(text: str, limit: int) -> None:
    cut = briefing.clipped(text, limit)
    assert len(cut) <= limit
    if cut != text:
        head, _, mark = cut.rpartition("\n")
        assert mark == briefing.CUT
        assert text.startswith(head)


# -- embeddings -----------------------------------------------------------------------------------


class Endpoint(BaseHTTPRequestHandler):
    """Embeds a text as the counts of three words."""

    asked: list[dict[str, Any]] = []  # noqa: RUF012 - one endpoint at a time
    status = 200

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Endpoint.asked.append({"path": self.path, **body})
        data = [
            {"object": "embedding", "index": n,
             "embedding": [float(text.count(word)) for word in ("web", "cold", "disk")]}
            for n, text in enumerate(body["input"])
        ][::-1]  # fmt: skip
        answer = {"object": "list", "data": data, "model": body["model"],
                  "usage": {"prompt_tokens": 1, "total_tokens": 1}}  # fmt: skip
        text = json.dumps(answer).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def endpoint(status: int = 200) -> Iterator[str]:
    Endpoint.asked, Endpoint.status = [], status
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_embeddings_rank_by_meaning_and_embed_the_records_once() -> None:
    with endpoint() as url:
        memory = IncidentMemory(
            [past(1, title="web web"), past(2, title="cold", summary="cold cold cold",
             symptoms=(), services=(), resolution="")],
            index=lambda texts: Embeddings(texts, model="small", base_url=url),
        )  # fmt: skip
        assert [m.record.id for m in memory.search("cold")] == ["INC-2"]
        assert [m.record.id for m in memory.search("web")] == ["INC-1"]
    assert [len(asked["input"]) for asked in Endpoint.asked] == [2, 1, 1]
    assert {(asked["path"], asked["model"]) for asked in Endpoint.asked} == {
        ("/v1/embeddings", "small")
    }


def test_a_run_asks_the_endpoint_that_was_named(shop: None) -> None:
    with endpoint() as url:
        choice = ContextChoice(profile="P5", embeddings="small", embeddings_url=url)
        _, tools = toolbox("diagnosis", choice)
        seen = call(tools, "search_incidents", query="web")
    assert seen.ok
    assert seen.data[0]["id"] == "INC-1"
    assert Endpoint.asked


def test_an_endpoint_that_refuses_is_a_failure_of_the_lab() -> None:
    with endpoint(400) as url, pytest.raises(InfraError, match="embeddings of 'small'"):
        Embeddings(["web"], model="small", base_url=url).scores("web")


def test_an_empty_memory_asks_nobody() -> None:
    assert Embeddings([], model="small", base_url="http://127.0.0.1:1").scores("web") == []


def test_a_missing_key_is_found_before_anything_boots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(PreflightError, match="no API key"):
        embeddings.preflight(None)
    embeddings.preflight("http://127.0.0.1:1/v1")


def test_a_choice_has_a_name_for_tables() -> None:
    assert ContextChoice().name == "P4"
    assert ContextChoice(profile="P5", delivery="push").name == "P5 pushed"
    assert offered("submit", ContextChoice(profile="P0"))
