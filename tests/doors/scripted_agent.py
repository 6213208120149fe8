"""One scripted agent that can come through every door: looks, decides, repairs, submits.

As a class it is an agent in process; as a program it takes the door as its argument (``http``,
``mcp``, ``leave``, ``shell``) and finds everything else in its environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Call = Callable[[str, dict[str, Any]], Awaitable[tuple[str, Any]]]
"""Carries a call out: the observation's text and data."""

ANSWERS: dict[str, Callable[[bool, str], dict[str, Any]]] = {
    "detection": lambda firing, who: {"anomaly": firing, "confidence": 0.8},
    "localization": lambda firing, who: {"candidates": [{"component": who, "probability": 0.6}]},
    "diagnosis": lambda firing, who: {
        "hypotheses": [{"component": who, "cause": "none", "probability": 0.3}],
        "evidence": ["obs-1"],
    },
    "mitigation": lambda firing, who: {"summary": f"restarted {who}", "confidence": 0.4},
}


async def work(task: str, call: Call) -> dict[str, Any]:
    """Investigate; return the answer."""
    _, alerts = await call("alerts", {"include_resolved": True})
    await call("services", {})
    await call("metrics_query", {"query": "sum by (service) (rate(http_requests_total[5m]))"})
    await call("logs_search", {"severity": "error", "limit": 5})
    firing = sorted(a["labels"].get("service", "") for a in alerts if a["state"] == "firing")
    who = next(filter(None, firing), "frontend")
    if task == "mitigation":
        await call("k8s_rollout", {"action": "restart", "name": who})
        await call("wait", {"seconds": 30})
    return ANSWERS[task](bool(firing), who)


class Scripted:
    """In process."""

    async def run(self, trial: Any) -> None:
        async def call(name: str, arguments: dict[str, Any]) -> tuple[str, Any]:
            seen = await trial.call(name, **arguments)
            return seen.text, seen.data

        await trial.call("submit", **await work(trial.brief.task, call))


def _http(path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(os.environ["AIOPSLAB_URL"] + path, data)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


async def _over_http(name: str, arguments: dict[str, Any]) -> tuple[str, Any]:
    seen = _http(f"/tools/{name}", arguments)
    return seen["text"], seen["data"]


async def _over_mcp(task: str) -> None:
    from mcp import Client

    async with Client(os.environ["AIOPSLAB_MCP_URL"]) as client:

        async def call(name: str, arguments: dict[str, Any]) -> tuple[str, Any]:
            result = await client.call_tool(name, arguments)
            seen = result.structured_content
            return seen["text"], seen.get("data")

        await call("submit", await work(task, call))


def main(door: str) -> None:
    """Work through a door."""
    task = _http("/brief")["task"]
    if door == "mcp":
        asyncio.run(_over_mcp(task))
        return
    answer = asyncio.run(work(task, _over_http))
    match door:
        case "http":
            _http("/submit", answer)
        case "leave":
            Path("answer.json").write_text(json.dumps(answer), encoding="utf-8")
        case "shell":
            subprocess.run(["aiopslab", "submit", json.dumps(answer)], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
