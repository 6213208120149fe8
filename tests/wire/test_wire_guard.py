"""The guard before every API: tokens, origins, sizes, load. In memory but for the slow bodies."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse, PlainTextResponse

from aiopslab.wire import guard
from aiopslab.wire.identity import Identity, Tokens, administrator, on_call
from aiopslab.wire.server import listening
from aiopslab.wire.site import Mount, Site, plain

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    identity: Identity = scope["identity"]
    path = scope["path"].removeprefix(scope["root_path"])
    await JSONResponse({"user": identity.user, "path": path, "size": size})(scope, receive, send)


def shouted(status: int, message: str) -> PlainTextResponse:
    return PlainTextResponse(message.upper(), status)


class Served:
    """A site with two APIs and one known token."""

    def __init__(self) -> None:
        self.tokens = Tokens()
        self.token = self.tokens.issue(administrator())
        self.site = Site([Mount("/a", echo, plain), Mount("/b", echo, shouted)], self.tokens)

    async def ask(
        self, path: str, *, method: str = "GET", host: str = "127.0.0.1", **options: Any
    ) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self.site)
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.request(method, path, **options)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return asyncio.run(self.ask(path, **options))

    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@pytest.fixture
def served() -> Served:
    return Served()


def test_a_bearer_token_opens_every_api(served: Served) -> None:
    for path in ("/a/x", "/b/x"):
        answer = served.get(path, headers=served.bearer())
        assert answer.json() == {"user": "lab-admin", "path": "/x", "size": 0}


def test_the_password_of_basic_is_a_token_too(served: Served) -> None:
    pair = base64.b64encode(f"anybody:{served.token}".encode()).decode()
    assert served.get("/a/x", headers={"Authorization": f"Basic {pair}"}).status_code == 200


def test_a_token_in_the_path_serves_clients_that_take_only_a_url(served: Served) -> None:
    answer = served.get(f"/e/{served.token}/a/api/v1/query")
    assert answer.json()["path"] == "/api/v1/query"


def test_a_wrong_header_is_wrong_even_with_the_right_path(served: Served) -> None:
    answer = served.get(f"/e/{served.token}/a/x", headers={"Authorization": "Bearer forged"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic !!!", "Basic /w==", "Digest x", "Bearer a b"]
)
def test_what_is_no_token_is_refused(served: Served, header: str) -> None:
    answer = served.get("/a/x", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"]["kind"] == "unauthorized"


def test_without_any_token_nothing_is_told_not_even_what_exists(served: Served) -> None:
    assert {served.get(p).status_code for p in ("/a/x", "/b", "/nowhere", "/e//a/x")} == {401}


def test_a_token_of_another_server_is_no_token_here(served: Served) -> None:
    other = Served()
    assert served.get("/a/x", headers=other.bearer()).status_code == 401


@given(st.text(max_size=60))
def test_no_text_but_the_token_is_the_token(text: str) -> None:
    tokens = Tokens()
    token = tokens.issue(administrator())
    assert (tokens.find(text) is not None) == (text == token)


def test_each_api_refuses_in_its_own_form(served: Served) -> None:
    assert served.get("/b/x").text.startswith("A VALID BEARER TOKEN")


def test_paths_that_only_begin_alike_lead_nowhere(served: Served) -> None:
    assert served.get("/abc", headers=served.bearer()).status_code == 404


def test_a_page_of_another_site_cannot_use_somebodys_browser(served: Served) -> None:
    crossed = {**served.bearer(), "Origin": "https://evil.example"}
    assert served.get("/a/x", headers=crossed).status_code == 403
    rebound = served.get("/a/x", headers=served.bearer(), host="evil.example")
    assert rebound.status_code == 403
    local = {**served.bearer(), "Origin": "http://localhost:3000"}
    assert served.get("/a/x", headers=local).status_code == 200


def test_an_announced_body_over_the_limit_is_refused_before_it_is_read(served: Served) -> None:
    answer = served.get(
        "/a/x",
        method="POST",
        headers={**served.bearer(), "Content-Length": str(10**9)},
        content=b"x",
    )
    assert answer.status_code == 413


def test_a_body_that_hides_its_length_is_stopped_at_the_limit(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_LIMIT", 1000)

    async def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 100

    answer = served.get("/a/x", method="POST", headers=served.bearer(), content=chunks())
    assert answer.status_code == 413
    assert "1000 bytes" in answer.json()["error"]["message"]


def test_a_body_of_a_hundred_megabytes_gets_its_answer(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow this host is, the rest of the body is listened to.
    monkeypatch.setattr(guard, "DRAIN_S", 100.0)

    async def post() -> httpx2.Response:
        async with listening(served.site) as port, httpx2.AsyncClient(timeout=60) as client:
            url = f"http://127.0.0.1:{port}/a/x"
            return await client.post(url, headers=served.bearer(), content=bytes(100 * 2**20))

    answer = asyncio.run(post())
    assert (answer.status_code, answer.json()["error"]["kind"]) == (413, "too_large")


def test_more_requests_than_fit_are_told_to_come_again_and_none_is_lost() -> None:
    release = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await PlainTextResponse("done")(scope, receive, send)

    async def crowd() -> list[httpx2.Response]:
        tokens = Tokens()
        headers = {"Authorization": f"Bearer {tokens.issue(administrator())}"}
        site = Site([Mount("/a", slow, plain)], tokens)
        transport = httpx2.ASGITransport(app=site)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            async with asyncio.TaskGroup() as tasks:
                asked = [
                    tasks.create_task(client.get("/a/x", headers=headers))
                    for _ in range(guard.IN_FLIGHT + 50)
                ]
                refused = 0
                while refused < 50:
                    await asyncio.sleep(0)
                    refused = sum(t.done() for t in asked)
                release.set()
            return [t.result() for t in asked]

    answers = asyncio.run(crowd())
    codes = [a.status_code for a in answers]
    assert codes.count(200) == guard.IN_FLIGHT
    assert codes.count(503) == 50
    assert all(a.headers["retry-after"] == "1" for a in answers if a.status_code == 503)


def test_rights_of_the_on_call_follow_the_task() -> None:
    looking, mending = (
        on_call("oncall", "diagnosis", "shop"),
        on_call("oncall", "mitigation", "shop"),
    )
    for who in (looking, mending):
        assert who.allows("list", "", "pods", "kube-system")
        assert who.allows("get", "", "nodes", "")
        assert who.allows("create", "", "pods/exec", "shop")
        assert not who.allows("create", "", "pods/exec", "kube-system")
        assert not who.allows("delete", "apps", "deployments", "kube-system")
        assert not who.allows("patch", "", "nodes", "")
    assert mending.allows("patch", "apps", "deployments/scale", "shop")
    assert not looking.allows("patch", "apps", "deployments", "shop")
