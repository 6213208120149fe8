"""``webhook:URL``: an assistant behind a URL, told as an on-call system tells it.

It is posted an Alertmanager notification (version 4) with the brief, the answer's JSON schema and
the doors, and its reply is the answer. With ``style=holmes`` it is asked at ``/api/chat`` with a
``response_format``, as HolmesGPT's server is. A reply that is no legal answer is sent back once
with what is wrong. Not here: the payload of a notification (``telemetry.notifications``).
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from aiopslab.agents.protocol import TrialHandle
from aiopslab.agents.spec import ArgSpec
from aiopslab.errors import AgentError, PreflightError, UsageError
from aiopslab.models.doors import Doors
from aiopslab.models.signal import Alert
from aiopslab.telemetry.notifications import v4_payload

if TYPE_CHECKING:
    import httpx2

PREFIX = "webhook:"
REPLY_BYTES = 4 * 2**20
"""Longest reply that is read."""
CHAT = "/api/chat"
ARGUMENTS = {
    "style": ArgSpec(default="alertmanager", help="alertmanager, or holmes for /api/chat"),
    "timeout_s": ArgSpec(type="number", default=900.0, help="seconds a reply may take"),
    "token_env": ArgSpec(default="", help="variable that holds a bearer token to send"),
    "model": ArgSpec(default="", help="model named in holmes requests"),
}
Style = Literal["alertmanager", "holmes"]


def checked(url: str) -> str:
    """Return the URL if it can be posted to.

    Raises:
        UsageError: It is no http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url!r} is no URL to post to", hint="-a webhook:https://host/path")
    return url


class Webhook:
    """Asks an assistant once, and once more where the reply cannot be used.

    Args:
        url: Where to post.
        style: How it is asked.
        timeout_s: Wall seconds a reply may take.
        token_env: Name of the variable with the bearer token; empty sends none.
        model: Model named in holmes requests; empty names none.

    Raises:
        UsageError: The style is unknown.
        PreflightError: The token's variable is not set.
    """

    needs_doors = True

    def __init__(
        self,
        url: str,
        style: str = "alertmanager",
        timeout_s: float = 900.0,
        token_env: str = "",
        model: str = "",
    ) -> None:
        if style not in ("alertmanager", "holmes"):
            raise UsageError(f"no style {style!r}", hint="-A style=alertmanager or style=holmes")
        if token_env and not os.environ.get(token_env):
            raise PreflightError(f"{token_env} is not set", hint=f"export {token_env}=...")
        self._url = url
        self._holmes = style == "holmes"
        if self._holmes and urlsplit(url).path in ("", "/"):
            self._url = url.rstrip("/") + CHAT
        self._timeout_s = timeout_s
        self._token_env = token_env
        self._model = model

    async def run(self, trial: TrialHandle) -> None:
        """Notify, read the reply, submit it.

        Raises:
            AgentError: No reply in time, none that is an answer, or too long a one.
        """
        import httpx2  # noqa: PLC0415 - only runs against a URL pay for a client

        seen = await trial.call("alerts", include_resolved=True)
        alerts = [Alert.model_validate(row) for row in seen.data or []]
        request = self._asked(trial, alerts)
        headers = {}
        if self._token_env:
            headers["Authorization"] = f"Bearer {os.environ[self._token_env]}"
        # No proxy or credentials of the operator's: the request goes where the URL says.
        async with httpx2.AsyncClient(
            headers=headers, timeout=self._timeout_s, trust_env=False
        ) as client:
            said = ""
            for _ in range(2):
                reply = await self._post(client, request)
                said = await _answered(trial, reply)
                if not said:
                    return
                request = self._again(request, reply, said)
        raise AgentError(f"the reply is no answer: {said}")

    def _asked(self, trial: TrialHandle, alerts: list[Alert]) -> dict[str, Any]:
        brief = trial.brief
        reach = None if trial.doors is None else _reach(trial.doors)
        if not self._holmes:
            return {
                **v4_payload(alerts),
                "brief": brief.model_dump(mode="json", exclude={"answer_schema"}),
                "answerSchema": brief.answer_schema,
                "doors": reach,
            }
        # Whoever lists agents loads this module, and tools load the world.
        from aiopslab.tools.openai import response_format  # noqa: PLC0415

        asked = [brief.text()]
        if alerts:
            asked.append(f"Alerts:\n{json.dumps(v4_payload(alerts)['alerts'], indent=2)}")
        if reach is not None:
            addresses = {k: v for k, v in reach.items() if k != "kubeconfig"}
            asked.append(f"Where the telemetry is:\n{json.dumps(addresses, indent=2)}")
        body = {
            "ask": "\n\n".join(asked),
            "response_format": response_format(brief.answer_schema),
            "stream": False,
        }
        return {**body, "model": self._model} if self._model else body

    def _again(self, request: dict[str, Any], reply: str, said: str) -> dict[str, Any]:
        """Ask once more, with what is wrong."""
        if not self._holmes:
            return {**request, "error": {"reply": reply[:4000], "message": said}}
        correction = f"Your last reply could not be used: {said}\nIt was: {reply[:4000]}"
        return {**request, "ask": f"{request['ask']}\n\n{correction}"}

    async def _post(self, client: httpx2.AsyncClient, request: dict[str, Any]) -> str:
        """Post and read the reply, within time and size.

        Raises:
            AgentError: It did not come, was too long, or says that the assistant failed.
        """
        import httpx2  # noqa: PLC0415

        received = bytearray()
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                client.stream("POST", self._url, json=request) as response,
            ):
                async for chunk in response.aiter_bytes():
                    received += chunk
                    if len(received) > REPLY_BYTES:
                        raise AgentError(f"the reply is longer than {REPLY_BYTES} bytes")
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise AgentError(f"no reply within {self._timeout_s:g} s") from error
        except httpx2.HTTPError as error:
            raise AgentError(f"the assistant: {type(error).__name__}: {error}") from error
        text = received.decode("utf-8", "replace")
        if response.status_code >= 300:
            raise AgentError(f"the assistant answered {response.status_code}: {text[:200]}")
        return text


async def _answered(trial: TrialHandle, reply: str) -> str:
    """Submit what a reply holds; return what is wrong with it, empty if nothing is."""
    try:
        answer = read_reply(reply)
    except ValueError as error:
        if not trial.ended:
            # No tool of this name: the record counts it as a violation of the format.
            await trial.call("malformed", text=reply[:500])
        return str(error)
    if trial.ended:
        # It submitted through a door itself, before it replied.
        return ""
    seen = await trial.call("submit", **answer)
    return "" if seen.ok else seen.text


def read_reply(text: str) -> dict[str, Any]:
    """Return the answer of a reply: the object itself, or under ``answer`` or ``analysis``.

    ``analysis`` is JSON text, as of HolmesGPT; a fence around it is dropped.

    Raises:
        ValueError: There is none.
    """
    found = _object(text, "the reply")
    for key in ("answer", "analysis"):
        if key in found:
            inner = found[key]
            return inner if isinstance(inner, dict) else _object(inner, f"{key!r} of the reply")
    return found


def _object(text: object, what: str) -> dict[str, Any]:
    if not isinstance(text, str):
        raise ValueError(f"{what} is no JSON object")
    stripped = text.strip()
    if stripped.startswith("```"):
        stripped = stripped.strip("`").removeprefix("json")
    try:
        found = json.loads(stripped)
    except RecursionError as error:
        raise ValueError(f"{what} is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{what} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{what} is no JSON object but {type(found).__name__}")
    return found


def _reach(doors: Doors) -> dict[str, Any]:
    """Return the addresses for somebody elsewhere: URLs with the token, the kubeconfig's text."""
    names = ("prometheus", "loki", "jaeger", "tempo", "alertmanager", "api", "mcp")
    urls = {name: getattr(doors, name) for name in names}
    reach: dict[str, Any] = {k: doors.with_token(v) for k, v in urls.items() if v is not None}
    return {**reach, "kubeconfig": Path(doors.kubeconfig).read_text(encoding="utf-8")}
