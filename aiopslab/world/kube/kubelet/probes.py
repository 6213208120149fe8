"""Probes: one attempt against a container, and the worker that counts successes and failures.

Attempts go over the world's network from the node's address, cost the container what a request
costs, and fail with the kubelet's texts. Not here: what a result means (``kubelet.container``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aiopslab.pauses import pause
from aiopslab.services.protocols import (
    ConnectionRefused,
    ConnectionReset,
    ConnectTimeout,
    NetError,
    NoSuchHost,
    Request,
    RequestTimeout,
    Response,
)
from aiopslab.world.container import Container
from aiopslab.world.kube.objects import Object
from aiopslab.world.kube.validation.podspec import named_port
from aiopslab.world.netns import Netns
from aiopslab.world.tls import ClientTls

ProbeKind = Literal["startup", "liveness", "readiness"]

USER_AGENT = "kube-probe"
MAX_OUTPUT = 10 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """What a probe is aimed at."""

    box: Container
    ip: str
    spec: Object
    """Pod spec, for named ports."""
    source: Netns
    """Network of the node the kubelet runs on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one attempt; the text is what the Unhealthy event says."""

    ok: bool
    text: str = ""


async def attempt(probe: Object, target: Target) -> Outcome:
    """Make one attempt of a probe."""
    timeout = float(probe.get("timeoutSeconds", 1))
    if "httpGet" in probe:
        return await _http(probe["httpGet"], target, timeout)
    if "tcpSocket" in probe:
        return await _tcp(probe["tcpSocket"], target, timeout)
    if "exec" in probe:
        return await _exec(probe["exec"], target, timeout)
    return Outcome(False, "missing probe handler")


def _address(action: Object, target: Target) -> tuple[str, int]:
    port = named_port(target.spec, action["port"])
    return str(action.get("host") or target.ip), port or 0


async def _http(action: Object, target: Target, timeout: float) -> Outcome:
    host, port = _address(action, target)
    path = action.get("path") or "/"
    scheme = str(action.get("scheme") or "HTTP").lower()
    url = f'Get "{scheme}://{host}:{port}{path}"'
    started = target.box.loop.time()
    try:
        # As the kubelet does: a certificate is taken as it is, and none is shown.
        tls = ClientTls(frozenset(), verify=False) if scheme == "https" else None
        connection = await target.source.connect(host, port, timeout_s=timeout, tls=tls)
        try:
            left = max(0.001, timeout - (target.box.loop.time() - started))
            request = Request(method="GET", path=path, client=USER_AGENT)
            reply = await connection.call(request, timeout_s=left)
        finally:
            connection.close()
    except NetError as error:
        return Outcome(False, f"{url}: {_words(error, host, port, awaiting=True)}")
    if not isinstance(reply, Response):
        return Outcome(False, f"{url}: malformed HTTP response")
    if 200 <= reply.status < 400:
        return Outcome(True)
    return Outcome(False, f"HTTP probe failed with statuscode: {reply.status}")


async def _tcp(action: Object, target: Target, timeout: float) -> Outcome:
    host, port = _address(action, target)
    try:
        connection = await target.source.connect(host, port, timeout_s=timeout)
    except NetError as error:
        return Outcome(False, _words(error, host, port, awaiting=False))
    connection.close()
    return Outcome(True)


async def _exec(action: Object, target: Target, timeout: float) -> Outcome:
    argv = [str(item) for item in action.get("command") or ()]
    try:
        async with asyncio.timeout(timeout):
            result = await target.box.exec(argv, "")
    except TimeoutError:
        return Outcome(False, f'command timed out: "{" ".join(argv)}" timed out after {timeout:g}s')
    if result.code == 0:
        return Outcome(True)
    return Outcome(False, (result.stdout + result.stderr)[:MAX_OUTPUT])


def _words(error: NetError, host: str, port: int, *, awaiting: bool) -> str:
    """Word a client error as Go's net and net/http packages do."""
    suffix = " (Client.Timeout exceeded while awaiting headers)" if awaiting else ""
    if isinstance(error, RequestTimeout):
        return f"context deadline exceeded{suffix}"
    if isinstance(error, ConnectTimeout):
        return f"dial tcp {host}:{port}: i/o timeout{suffix}"
    if isinstance(error, ConnectionRefused):
        return f"dial tcp {host}:{port}: connect: connection refused"
    if isinstance(error, ConnectionReset):
        return "EOF" if awaiting else f"dial tcp {host}:{port}: connect: connection reset by peer"
    if isinstance(error, NoSuchHost):
        return f"dial tcp: lookup {host}: no such host"
    return str(error)


class Prober:
    """Runs one probe of one container instance until cancelled.

    Args:
        kind: Which probe.
        probe: Its spec.
        target: What it is aimed at.
        on_result: Called after each attempt with (outcome, verdict); the verdict is True or False
            once the success or failure threshold is reached, else None.
    """

    def __init__(
        self,
        kind: ProbeKind,
        probe: Object,
        target: Target,
        on_result: Callable[[ProbeKind, Outcome, bool | None], None],
    ) -> None:
        self.kind = kind
        self._probe = probe
        self._target = target
        self._on_result = on_result

    async def run(self, *, jitter_s: float = 0.0) -> None:
        """Wait for the initial delay, then probe every period."""
        probe = self._probe
        needed = {True: int(probe.get("successThreshold", 1)),
                  False: int(probe.get("failureThreshold", 3))}  # fmt: skip
        period = float(probe.get("periodSeconds", 10))
        await asyncio.sleep(float(probe.get("initialDelaySeconds", 0)) + jitter_s)
        streak, last = 0, False
        loop = self._target.box.loop
        due = loop.time()
        while True:
            outcome = await attempt(probe, self._target)
            streak = streak + 1 if outcome.ok == last else 1
            last = outcome.ok
            reached = streak >= needed[outcome.ok]
            self._on_result(self.kind, outcome, outcome.ok if reached else None)
            due = max(due + period, loop.time())
            await pause(loop, due - loop.time())
