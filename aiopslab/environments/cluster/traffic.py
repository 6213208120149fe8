"""The Environment's ``Traffic`` on a cluster: the load generator's pod, asked from outside.

Its API is reached through the API server's proxy for services, so that no port has to be opened.
SLIs come from the generator, never from telemetry. Its clock is another machine's: the difference
is measured with each look at its health. Not here: the generator (``load.program``), its objects
(``cluster.lab``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from aiopslab.environments.cluster.connection import UNREACHED, Connection, Request
from aiopslab.errors import InfraError
from aiopslab.load.plan import TOKEN_HEADER, LoadState
from aiopslab.models.evidence import SliWindow
from aiopslab.models.journey import Journey
from aiopslab.models.kube import KubeError
from aiopslab.models.sli_series import JourneySeries, SliSeries

NAME, PORT = "users", 8080
_POLL_S = 0.5
_READY_S = 120.0
_TRIES = 4
"""How often something is asked that may be asked twice, while the generator cannot be reached."""


def service_proxy(namespace: str, service: str, port: int, path: str) -> str:
    """Return the path by which the API server passes a request on to a Service."""
    where = f"{quote(namespace)}/services/{quote(service)}:{port}"
    return f"/api/v1/namespaces/{where}/proxy/{path.lstrip('/')}"


class ClusterTraffic:
    """The users of one trial.

    Args:
        connection: The way to the API server, as the lab.
        namespace: The lab's.
        now: Unix seconds of the host.
        token: Who knows it may control the generator.
    """

    def __init__(
        self, connection: Connection, namespace: str, now: Callable[[], float], token: str = ""
    ) -> None:
        self._connection = connection
        self._namespace = namespace
        self._now = now
        self._headers = {TOKEN_HEADER: token} if token else {}
        self._ahead_s = 0.0
        """How far the generator's clock is ahead of the host's."""
        self._started = False

    # -- the protocol -----------------------------------------------------------------------------

    async def start(self) -> None:
        await self._ask("POST", "start")
        self._started = True

    async def stop(self) -> None:
        await self._ask("POST", "stop")
        self._started = False

    async def scale(self, factor: float, *, journey: str | None = None) -> None:
        await self._ask("POST", "scale", body={"factor": factor, "journey": journey})

    async def visitor(self, address: str, journey: Journey | None) -> None:
        path = f"visitors/{quote(address)}"
        if journey is None:
            await self._ask("DELETE", path)
        else:
            await self._ask("PUT", path, body=journey.model_dump(mode="json", by_alias=True))

    async def slis(self, start: float, end: float) -> list[SliWindow]:
        await self._standing()
        return await self._windows(start, end)

    async def series(self, start: float, bucket_s: float, n: int) -> SliSeries:
        # The generator is asked bucket by bucket, so that its program need not know of series.
        await self._standing()
        bounds = [(start + i * bucket_s, start + (i + 1) * bucket_s) for i in range(n)]
        return series_of(start, bucket_s, [await self._windows(a, b) for a, b in bounds])

    # -- beside it --------------------------------------------------------------------------------

    async def health(self) -> LoadState:
        """Return how the generator is, its time as the host's clock has it."""
        before = self._now()
        state = LoadState.model_validate(await self._ask("GET", "health"))
        after = self._now()
        # Half a round trip is the error: a difference within it is none.
        ahead, error = state.now - (before + after) / 2.0, (after - before) / 2.0
        self._ahead_s = ahead if abs(ahead) > error else 0.0
        return state.model_copy(update={"now": state.now - self._ahead_s})

    async def _standing(self) -> None:
        """See that the generator is the one that was started.

        Raises:
            InfraError: It began anew: users are gone, and what they saw is forgotten.
        """
        state = await self.health()
        if self._started and not state.running:
            words = f"the pod of {NAME!r} was restarted, and what its users saw is lost"
            raise InfraError("traffic", f"{words}; kubectl -n {self._namespace} get events")

    async def _windows(self, start: float, end: float) -> list[SliWindow]:
        """Return the windows by the difference of clocks that was measured last."""
        ahead = self._ahead_s
        query = {"start": repr(start + ahead), "end": repr(end + ahead)}
        told = await self._ask("GET", "slis", query)
        here = {"start": start, "end": end}
        return [SliWindow.model_validate(window | here) for window in told]

    async def ready(self, timeout_s: float = _READY_S) -> None:
        """Wait until the generator answers.

        Raises:
            InfraError: It does not.
        """
        end = asyncio.get_running_loop().time() + timeout_s
        while True:
            try:
                await self._once("GET", "health")
                return
            except KubeError as error:
                if asyncio.get_running_loop().time() > end:
                    raise InfraError("traffic", f"the users are not ready: {error}") from error
            await asyncio.sleep(_POLL_S)

    async def _ask(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None
    ) -> Any:
        """Ask the generator; everything that is asked may be asked twice.

        Raises:
            InfraError: It refuses, or cannot be reached.
        """
        for attempt in range(_TRIES):
            try:
                return await self._once(method, path, query, body)
            except KubeError as error:
                if error.code not in UNREACHED or attempt == _TRIES - 1:
                    words = f"{method} {path}: {error.message}"
                    raise InfraError("traffic", words) from error
            await asyncio.sleep(_POLL_S * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _once(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None
    ) -> Any:
        where = service_proxy(self._namespace, NAME, PORT, path)
        request = Request(method, where, query or {}, body, headers=self._headers)
        return await self._connection.ask(request)


def series_of(start: float, bucket_s: float, buckets: Sequence[Sequence[SliWindow]]) -> SliSeries:
    """Return windows of one length, in order of time, as a series."""
    found: dict[str, list[SliWindow]] = {}
    for windows in buckets:
        for window in windows:
            found.setdefault(window.journey, []).append(window)
    return SliSeries(
        start=start,
        bucket_s=bucket_s,
        journeys=[
            JourneySeries(
                journey=name, slo_success=mine[0].slo_success, slo_p95_ms=mine[0].slo_p95_ms,
                offered=[w.offered for w in mine], succeeded=[w.succeeded for w in mine],
                p95_ms=[None if w.p95_ms is None else round(w.p95_ms, 1) for w in mine],
            )
            for name, mine in sorted(found.items())
        ],
    )  # fmt: skip
