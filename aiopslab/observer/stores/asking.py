"""Asks the stores of an app for their figures, once a round.

Databases and caches are asked in their own protocols at the pod's address, as superuser and with
the password of their Secret; queues over HTTP through the API server. A store that runs and does
not answer is up with ``pg_up`` or ``redis_up`` at 0, as exporters have it; a queue that does not
answer is not up. Not here: what the figures are (this module's neighbours).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aiopslab.environments.cluster.connection import Request
from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.models.kube import KubeError, Object
from aiopslab.models.store import Store
from aiopslab.observer.lacks import Lacks
from aiopslab.observer.pods import running_since
from aiopslab.observer.stores import nats, postgres, valkey
from aiopslab.services.validation import DEFAULT_USER
from aiopslab.telemetry.otlp.metrics import Sample
from aiopslab.world.discovery import Found
from aiopslab.world.kube.kubelet.box import component_of
from aiopslab.world.kube.objects import dig, name_of

if TYPE_CHECKING:
    import asyncpg

SUPERUSER = "postgres"
Answer = Sequence[Sample] | None


Fetch = Callable[[Request], Awaitable[str]]
"""Sends a request to the API server; raises ``KubeError`` and ``InfraError``."""


class Objects(Protocol):
    """Where Secrets are found; ``mirror.Mirror`` is one."""

    def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return one object, None if there is none."""
        ...


class NoAnswer(Exception):
    """A store did not answer, or refused; the message says how."""


@dataclass(frozen=True, slots=True)
class Place:
    """One pod of a store."""

    component: str
    pod: str
    address: str
    store: Store


class StoreAsking:
    """Asks the stores of one app.

    Args:
        app: Says which components are stores.
        objects: Has their Secrets.
        fetch: Asks the API server.
        lacks: Is told which do not answer.
    """

    def __init__(self, app: App, objects: Objects, fetch: Fetch, lacks: Lacks) -> None:
        self._app = app
        self._objects = objects
        self._fetch = fetch
        self._lacks = lacks
        self._worked: dict[str, str] = {}
        """The password by which a store let us in last: a Secret may be changed by mistake."""
        self._sessions: dict[str, asyncpg.Connection[asyncpg.Record]] = {}
        self._kinds: dict[str, Callable[[Place], Awaitable[list[Sample]]]] = {
            "postgres": self._postgres, "valkey": self._valkey, "nats": self._nats,
        }  # fmt: skip

    async def ask(self, found: Iterable[Found], within_s: float) -> dict[tuple[str, str], Answer]:
        """Ask those of the targets that are stores; None: it does not run, or tells nothing."""
        stores = {e.key: e for e in found if component_of(e.pod) in self._app.stores}
        async with asyncio.TaskGroup() as tasks:
            asked = {k: tasks.create_task(self._one(e, within_s)) for k, e in stores.items()}
        return {key: task.result() for key, task in asked.items()}

    async def aclose(self) -> None:
        """End the sessions."""
        for pod in list(self._sessions):
            self._end(pod)

    async def _one(self, each: Found, within_s: float) -> Answer:
        component = component_of(each.pod)
        place = Place(
            component, name_of(each.pod), str(dig(each.pod, "status", "podIP") or ""),
            self._app.stores[component],
        )  # fmt: skip
        if not running_since(each.pod, each.spec["name"]) or not place.address:
            self._end(place.pod)
            return None
        what = f"store {place.pod}"
        try:
            async with asyncio.timeout(within_s):
                answer = await self._kinds[place.store.kind](place)
        except (NoAnswer, TimeoutError) as error:
            self._end(place.pod)
            self._lacks.lack(what, str(error) or f"no answer in {within_s:g} s")
            return _DOWN[place.store.kind]
        self._lacks.have(what)
        return answer

    # -- passwords --------------------------------------------------------------------------------

    def _passwords(self, secret: str, component: str) -> list[str]:
        """Return the passwords to try, the one of the Secret first."""
        obj = self._objects.find("Secret", secret, self._app.namespace)
        text = str(dig(obj, "data", "password") or "")
        known = self._worked.get(component)
        given = base64.b64decode(text).decode("utf-8", "replace")
        return list(dict.fromkeys(p for p in (given, known) if p is not None))

    # -- PostgreSQL -------------------------------------------------------------------------------

    async def _postgres(self, place: Place) -> list[Sample]:
        import asyncpg  # noqa: PLC0415 - an extra

        lost = (
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError,
        )  # fmt: skip
        database = place.store.database
        session = self._sessions.get(place.pod)
        if session is not None:
            try:
                return await postgres.figures(session, database)
            except lost:
                self._end(place.pod)  # it was restarted, or ended the session: once again
        try:
            session = self._sessions[place.pod] = await self._session(place)
            return await postgres.figures(session, database)
        except lost as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error

    async def _session(self, place: Place) -> asyncpg.Connection[asyncpg.Record]:
        import asyncpg  # noqa: PLC0415 - an extra

        passwords = self._passwords(f"{place.component}-{SUPERUSER}", place.component)
        refused: asyncpg.PostgresError | None = None
        for password in passwords or [""]:
            try:
                session = await asyncpg.connect(
                    host=place.address, port=place.store.port, user=SUPERUSER, password=password,
                    database=place.store.database, statement_cache_size=0,
                    server_settings={"application_name": postgres.EXPORTER},
                )  # fmt: skip
            except asyncpg.InvalidAuthorizationSpecificationError as error:
                refused = error
            else:
                self._worked[place.component] = password
                return session
        assert refused is not None, "at least one password was tried"
        raise refused

    def _end(self, pod: str) -> None:
        session = self._sessions.pop(pod, None)
        if session is not None:
            session.terminate()

    # -- Valkey -----------------------------------------------------------------------------------

    async def _valkey(self, place: Place) -> list[Sample]:
        passwords = self._passwords(f"{place.component}-{DEFAULT_USER}", place.component)
        said = ""
        for password in passwords or [""]:
            try:
                info = await asked_info(place.address, place.store.port, password)
            except OSError as error:
                raise NoAnswer(str(error)) from error
            except NoAnswer as error:
                said = str(error)
            else:
                self._worked[place.component] = password
                return valkey.figures(info)
        raise NoAnswer(said)

    # -- NATS -------------------------------------------------------------------------------------

    async def _nats(self, place: Place) -> list[Sample]:
        proxy = f"/api/v1/namespaces/{self._app.namespace}/pods/{place.pod}:{nats.PORT}/proxy"
        try:
            pages = [await self._page(f"{proxy}/{page}") for page in nats.PAGES]
            return nats.figures(*pages)
        except (KubeError, InfraError, ValueError) as error:
            raise NoAnswer(str(error)) from error

    async def _page(self, path: str) -> object:
        page: object = json.loads(await self._fetch(Request("GET", path)))
        return page


_DOWN: dict[str, Answer] = {
    "postgres": [postgres.up(0.0)], "valkey": [valkey.up(0.0)], "nats": None,
}  # fmt: skip


async def asked_info(host: str, port: int, password: str) -> str:
    """Return what a cache answers to ``INFO``.

    Raises:
        OSError: The connection failed.
        NoAnswer: It refused.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        if password:
            writer.write(_command("AUTH", password))
            await _reply(reader)
        writer.write(_command("INFO"))
        return await _reply(reader)
    except (asyncio.IncompleteReadError, ValueError) as error:
        raise NoAnswer(f"the answer is cut off or malformed: {error}") from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _command(*words: str) -> bytes:
    """Write a command in RESP."""
    parts = [w.encode() for w in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


async def _reply(reader: asyncio.StreamReader) -> str:
    """Read a simple or a bulk string of RESP.

    Raises:
        NoAnswer: It is an error.
    """
    line = (await reader.readuntil(b"\r\n"))[:-2].decode("utf-8", "replace")
    if line.startswith("-"):
        raise NoAnswer(line[1:])
    if not line.startswith("$"):
        return line
    text = await reader.readexactly(int(line[1:]) + 2)
    return text[:-2].decode("utf-8", "replace")
