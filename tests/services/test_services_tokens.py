"""Tokens: who signs by which clock and key, and what the verifier makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from services_fakes import FakeHost, environment
from services_shop import make_app
from test_services_process import get, serve

from aiopslab.errors import ContentError
from aiopslab.models.app import App
from aiopslab.services.tokens import token_objects, token_services
from aiopslab.services.validation import validate


def signed(*acts: str) -> App:
    """Return the shop whose pages are signed by ``web`` and verified by ``stock``."""
    app = make_app().model_dump(by_alias=True, exclude_none=True)
    if "sign" in acts:
        app["services"]["web"]["endpoints"]["GET /page"].insert(0, {"token": "sign"})
    if "verify" in acts:
        app["services"]["stock"]["endpoints"]["GET /stock"].insert(0, {"token": "verify"})
    return App.model_validate(app)


SHOP = signed("sign", "verify")


def token() -> str:
    """Return what ``web`` gives a request on its way."""

    async def scenario(host: FakeHost) -> None:
        assert (await get(host, "/page", item="1")).status == 200

    host = serve(SHOP, "web", scenario)
    (sent,) = host.targets["stock"].requests
    return sent[1].params["authorization"]


def verdict(shown: str, *, ahead_s: float = 0.0, key: str = "k1") -> tuple[int, str]:
    """Show a token to ``stock`` whose clock is ahead; return its answer."""
    answers: list[tuple[int, str]] = []

    async def scenario(host: FakeHost) -> None:
        right = host.clock.now
        host.clock.now = lambda: right() + ahead_s  # type: ignore[method-assign]
        params = {"authorization": shown} if shown else {}
        answer = await get(host, "/stock", item="1", **params)
        answers.append((answer.status, answer.body))

    shifted = environment(SHOP, "stock", TOKEN_KEY=key)
    serve(SHOP, "stock", scenario, env=shifted)
    return answers[0]


def test_a_signed_request_passes_the_verifier() -> None:
    assert verdict(token())[0] == 200


@pytest.mark.parametrize(
    ("shown", "key", "reason"),
    [
        ("", "k1", "no token"),
        ("1773133201.000.forged", "k1", "signature is invalid"),
        (None, "another", "signature is invalid"),
    ],
)
def test_what_was_not_signed_with_the_verifiers_key_is_refused(
    shown: str | None, key: str, reason: str
) -> None:
    status, body = verdict(token() if shown is None else shown, key=key)
    assert status == 401
    assert reason in body


def test_the_key_is_required_where_tokens_are_used() -> None:
    async def scenario(host: FakeHost) -> None:
        assert host.handler is None

    host = serve(SHOP, "stock", scenario, env=environment(SHOP, "stock", TOKEN_KEY=None))
    assert any("TOKEN_KEY" in line for _, line in host.telemetry.lines)


def test_the_secret_exists_where_somebody_signs() -> None:
    assert token_services(SHOP) == ["stock", "web"]
    assert token_services(SHOP, "verify") == ["stock"]
    assert [o["metadata"]["name"] for o in token_objects(SHOP, "k")] == ["shop-token"]
    assert token_objects(make_app(), "k") == []


def test_verifying_what_nobody_signs_is_refused(tmp_path: Any) -> None:
    with pytest.raises(ContentError, match="nobody signs"):
        validate(signed("verify"), tmp_path / "app.yaml")
