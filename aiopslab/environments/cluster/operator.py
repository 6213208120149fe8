"""The stores of a cluster as their operator commands them, for faults: SQL, Valkey, JetStream.

Databases and caches by their own clients in their containers, so that nothing but a shell there is
needed; queues by their protocol on a port of their pod, because images of the server have no
client. Outputs are those of the simulated stores, as far as post-conditions read them. Not here:
what stores hold (the environment's digest), the tools of agents (``tools.stores``).
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from aiopslab.environments.cluster import queue as cluster_queue
from aiopslab.environments.cluster.connection import Request
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.models.kube import ExecResult, KubeError, Object

Dial = Callable[[str, int], AbstractAsyncContextManager[tuple[str, int]]]
"""Makes a port of one of the app's pods reachable for a while; gives host and port."""

_PATIENCE_S = 600.0
"""After which an operator takes it that a server will not answer."""
_MONITOR = 8222
_REFUSED = re.compile(
    r"(\(error\) )?(ERR|OOM|NOAUTH|NOPERM|WRONGPASS|WRONGTYPE|LOADING|MISCONF|BUSY|READONLY) "
)
_LOCKED = ("NOAUTH", "WRONGPASS", "AUTH failed")
_UNTIL_IDLE_S, _LOOK_S = 30.0, 0.5


class StoreOperator:
    """The stores of one app.

    Args:
        kube: The cluster, as the lab; no recorder hears of what is done.
        app: The app, as it is called on the cluster.
        dial: The way to ports of its pods.
    """

    def __init__(self, kube: ClusterKube, app: App, dial: Dial) -> None:
        self._kube = kube
        self._app = app
        self._dial = dial
        self._passwords: dict[str, str] = {}
        """Those that were set here, by cache."""

    async def run(self, store: str, command: str) -> str:
        """Run SQL, a Valkey command or a JetStream request; returns its output.

        Raises:
            InfraError: The store does not run, or refused it.
        """
        if store not in self._app.stores:
            raise InfraError("store", f"no store {store!r}")
        match self._app.stores[store].kind:
            case "postgres":
                return await self._sql(store, command)
            case "valkey":
                return await self._cache(store, command)
            case _:
                return await self._queue(store, command)

    async def exec(self, store: str, argv: list[str], timeout_s: float = _PATIENCE_S) -> ExecResult:
        """Run a command in a store's container.

        Raises:
            InfraError: It does not run, or the command did not end.
        """
        try:
            done = await self._kube.exec(
                f"{store}-0", self._app.namespace, argv, timeout_s=timeout_s
            )
        except KubeError as error:
            raise InfraError("store", f"{store}: {argv[0]}: {error.message}") from error
        if done.code in (124, 127):
            raise InfraError("store", f"{store}: {argv[0]}: {done.stderr.strip()}")
        return done

    # -- databases --------------------------------------------------------------------------------

    def psql(self, store: str, *words: str) -> list[str]:
        """Return the command line of a database's client, as the superuser of the app's."""
        database = self._app.stores[store].database or "postgres"
        return ["psql", "-U", "postgres", "-d", database, *words]

    async def _sql(self, store: str, sql: str) -> str:
        done = await self.exec(store, self.psql(store, "-c", sql))
        if done.code:
            raise InfraError("store", f"{store}: {sql!r}: {done.stderr.strip()}")
        return done.stdout

    async def leave_open(self, store: str, sql: str, application: str) -> None:
        """Run SQL in a session of the container's own client, which then waits for more.

        Raises:
            InfraError: The store is down or refused it.
        """
        client = " ".join(map(shlex.quote, self.psql(store, "-q", "-v", "ON_ERROR_STOP=1")))
        feed = 'printf "%s;\\n" "$1"; exec tail -f /dev/null'
        # Nothing of it may hold on to the command's output, or the command never ends.
        script = f'{{ {{ {feed}; }} | PGAPPNAME="$0" {client}; }} </dev/null >/dev/null 2>&1 &'
        done = await self.exec(store, ["sh", "-c", script, application, sql])
        if done.code:
            raise InfraError("inject", f"{store}: {done.stderr.strip()}")
        look = (
            "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle%' "
            f"AND application_name = '{application}'"
        )
        tries = round(_UNTIL_IDLE_S / _LOOK_S)
        for _ in range(tries):
            if "0" not in (await self._sql(store, look)).split():
                return
            await self._sql(store, f"SELECT pg_sleep({_LOOK_S})")
        raise InfraError("inject", f"{store}: no session is left after {sql!r}")

    # -- caches -----------------------------------------------------------------------------------

    async def _cache(self, store: str, command: str) -> str:
        words = shlex.split(command)
        client = ["valkey-cli", "-p", str(self._app.stores[store].port)]
        done = await self.exec(store, [*client, *words])
        if any(word in done.stdout + done.stderr for word in _LOCKED):
            for password in await self._known(store):
                login = ["--no-auth-warning", "-a", password]
                done = await self.exec(store, [*client, *login, *words])
                if not any(word in done.stdout + done.stderr for word in _LOCKED):
                    break
        if done.code or _REFUSED.match(done.stdout) or (done.stderr and not done.stdout):
            words_of = (done.stdout or done.stderr).strip()
            raise InfraError("store", f"{store}: {command!r}: {words_of}")
        if [word.upper() for word in words[:3]] == ["CONFIG", "SET", "REQUIREPASS"]:
            self._passwords[store] = words[3]
        return done.stdout

    async def _known(self, store: str) -> list[str]:
        """Return passwords that may be right: what was set here, what Secrets of the store say."""
        found = [self._passwords[store]] if store in self._passwords else []
        for user in self._app.stores[store].users:
            try:
                secret = await self._kube.get("Secret", f"{store}-{user}", self._app.namespace)
            except KubeError as error:
                if error.reason != "NotFound":
                    raise
                continue
            found.append(base64.b64decode(secret["data"]["password"]).decode())
        return found

    # -- queues -----------------------------------------------------------------------------------

    async def _queue(self, store: str, command: str) -> str:
        password = next(iter(await self._known(store)), "")
        async with self._dial(f"{store}-0", self._app.stores[store].port) as address:
            try:
                text = await cluster_queue.ask(address, password, command)
            except InfraError as error:
                raise InfraError("store", f"{store}: {error.message}") from error
        if command != "INFO":
            return text
        return json.dumps(await self._bounded(store, json.loads(text)))

    async def _bounded(self, store: str, info: dict[str, Any]) -> dict[str, Any]:
        """Add what all streams share: an account has no bound of its own, the server has."""
        space = self._app.namespace
        path = f"/api/v1/namespaces/{space}/pods/{store}-0:{_MONITOR}/proxy/jsz"
        try:
            page: Object = await self._kube.connection.ask(Request("GET", path))
        except KubeError as error:
            raise InfraError("store", f"{store}: {error.message}") from error
        return info | {"max_storage": page["config"]["max_storage"],
                       "max_memory": page["config"]["max_memory"]}  # fmt: skip
