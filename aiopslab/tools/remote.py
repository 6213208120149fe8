"""A trial in another process, reached through its HTTP tool API.

For ``aiopslab mcp`` and ``aiopslab submit``, and for Python agents that run by themselves. The
asking half of ``http``. Neighbours: ``mcp`` serves whatever this calls.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from pydantic import TypeAdapter

from aiopslab.errors import InfraError, LimitExceeded, PreflightError, UsageError
from aiopslab.models.observation import Brief, Budget, Observation, ToolInfo

if TYPE_CHECKING:
    import httpx2

URL_VARIABLE = "AIOPSLAB_URL"
TOKEN_VARIABLE = "AIOPSLAB_TOKEN"
CALL_S = 600.0
"""Wall seconds a call may take; others may be before it."""
PATIENCE = 20
"""How often a call that found too many others under way is repeated."""
_TOOLS = TypeAdapter(list[ToolInfo])


class RemoteTrial:
    """One trial behind a URL; ``open_trial`` makes one.

    All is as an agent in process has it, but for what has to be awaited here.
    """

    def __init__(self, client: httpx2.AsyncClient, brief: Brief, tools: Sequence[ToolInfo]) -> None:
        self.brief = brief
        self.tools = tools
        self._client = client

    async def budget(self) -> Budget:
        """Return what is left of every budget."""
        return Budget.model_validate(await _asked(self._client, "GET", "budget"))

    async def call(self, name: str, /, **arguments: Any) -> Observation:
        """Call a tool. Mistakes come back as observations with ``ok=False``.

        Raises:
            LimitExceeded: A budget is used up, or the trial is over.
            InfraError: Nobody answers any longer.
        """
        path = f"tools/{quote(name, safe='')}"
        return Observation.model_validate(await _asked(self._client, "POST", path, arguments))

    async def note(self, thought: str) -> None:
        """Leave a thought; it is recorded with the next call."""
        await _asked(self._client, "POST", "note", {"thought": thought})

    async def usage(
        self, tokens_in: int = 0, tokens_out: int = 0, cost_usd: float | None = None
    ) -> None:
        """Book what a model call consumed."""
        used = {"tokens_in": tokens_in, "tokens_out": tokens_out, "cost_usd": cost_usd}
        await _asked(self._client, "POST", "usage", used)


@asynccontextmanager
async def open_trial(
    url: str | None = None, token: str | None = None
) -> AsyncIterator[RemoteTrial]:
    """Connect to a trial and read its brief and tools.

    Args:
        url: Its tool API; by default ``AIOPSLAB_URL``.
        token: Its token; by default ``AIOPSLAB_TOKEN``, and none where the URL carries it.

    Raises:
        UsageError: No URL is given, it is none, or the token is not accepted.
        PreflightError: Nobody answers there.
    """
    import httpx2  # noqa: PLC0415 - loaded by who calls, not by who lists commands

    url = url or os.environ.get(URL_VARIABLE, "")
    token = token or os.environ.get(TOKEN_VARIABLE)
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{url!r} is no URL of a trial", hint=f"--url, or {URL_VARIABLE}")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(
        base_url=url.rstrip("/") + "/", headers=headers, timeout=CALL_S, trust_env=False
    ) as client:
        try:
            brief = Brief.model_validate(await _asked(client, "GET", "brief"))
            tools = _TOOLS.validate_python(await _asked(client, "GET", "tools"))
        except (InfraError, ValueError) as error:
            raise PreflightError(
                f"no trial answers at {url}: {error}", hint="is it still running?"
            ) from error
        yield RemoteTrial(client, brief, tools)


async def _asked(
    client: httpx2.AsyncClient, method: str, path: str, body: dict[str, Any] | None = None
) -> Any:
    """Send a request, again while too many others are under way; return the JSON of its answer.

    Raises:
        UsageError: The token is not accepted.
        LimitExceeded: A budget is used up, or the trial is over.
        InfraError: Nobody answers, or something else does.
    """
    import httpx2  # noqa: PLC0415

    for _ in range(PATIENCE):
        try:
            answer = await client.request(method, path, json=body)
        except httpx2.HTTPError as error:
            raise InfraError("doors", f"{type(error).__name__}: {error}") from error
        if answer.status_code != 503 or "retry-after" not in answer.headers:
            break
        await asyncio.sleep(float(answer.headers["retry-after"]))
    if answer.status_code == 204:
        return None
    try:
        said = answer.json()
    except ValueError as error:
        raise InfraError("doors", f"status {answer.status_code}, not JSON") from error
    if answer.status_code == 200:
        return said
    if "observation" in said:
        return said["observation"]
    message = said["error"]["message"]
    match answer.status_code:
        case 401 | 403:
            raise UsageError(message, hint=f"--token, or {TOKEN_VARIABLE}")
        case 410:
            raise LimitExceeded("trial", message)
        case 429:
            raise LimitExceeded("budget", message)
        case status:
            raise InfraError("doors", f"status {status}: {message}")
