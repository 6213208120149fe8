"""What the stores of an app on a cluster hold, and how they are set up, as their operator sees it.

Databases and caches are asked by their own clients in their containers, queues by their monitoring
pages. A store that is away is as it was last seen: what was lost meanwhile shows when it is back,
or by its volume. Not here: filling them (``cluster.seeding``), changing them for a fault
(``cluster.substrate``).

Messages: a real server does not count what leaves a stream before it was worked on. Known is how
many there ever were, how many deliveries were begun and how many wait. What is missing between them
was lost; a message that was delivered twice hides one, so the figure is a lower bound.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiopslab.environments.cluster.connection import Request
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.seeding import Password, psql
from aiopslab.environments.cluster.together import together
from aiopslab.errors import InfraError
from aiopslab.models.app import App
from aiopslab.models.kube import KubeError, Object
from aiopslab.models.queue import overlap
from aiopslab.models.step import reach
from aiopslab.services.real.cells import literal
from aiopslab.services.real.table_sql import SUPERUSER, name

_ASK_S = 60.0
_MONITOR = 8222
_USER = "default"
_CATALOGUE = (
    "SELECT 'role', rolname, rolcanlogin, rolsuper, rolconnlimit, md5(rolpassword), rolvaliduntil"
    " FROM pg_authid WHERE rolname !~ '^pg_' ORDER BY 2",
    "SELECT 'member', roleid::regrole, member::regrole FROM pg_auth_members ORDER BY 2, 3",
    "SELECT 'database', datname, datallowconn, datconnlimit, datacl FROM pg_database ORDER BY 2",
    "SELECT 'set', setdatabase, setrole::regrole, setconfig FROM pg_db_role_setting ORDER BY 2, 3",
    "SELECT 'setting', name, setting FROM pg_settings"
    " WHERE source IN ('configuration file', 'database', 'user', 'global') ORDER BY 2",
    "SELECT 'relation', relname, relkind, relowner::regrole, relrowsecurity, reloptions FROM"
    " pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 2, 3",
    "SELECT 'grant', relname, granted FROM pg_class, unnest(relacl) granted"
    " WHERE relnamespace = 'public'::regnamespace ORDER BY 2, granted::text",
    "SELECT 'schema', nspname, granted FROM pg_namespace, unnest(nspacl) granted"
    " WHERE nspname = 'public' ORDER BY granted::text",
    "SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 2",
    "SELECT 'column', table_name, column_name, data_type, is_nullable, column_default"
    " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 2, 3",
    "SELECT 'constraint', conrelid::regclass, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace ORDER BY 2, 3",
    "SELECT 'trigger', tgrelid::regclass, tgname, tgenabled FROM pg_trigger"
    " WHERE NOT tgisinternal ORDER BY 2, 3",
)
"""What of a database is set up rather than stored."""
_LOGINS = (
    "SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL ORDER BY rolname"
)


@dataclass(slots=True)
class _Stream:
    """A stream as it was last seen."""

    lost: int = 0
    """In streams of this name that are gone, and the most that was seen of this one."""
    last: int = 0
    messages: int = 0
    base: int = 0


class ClusterStores:
    """The stores of one app.

    Args:
        kube: The cluster, as the lab.
        app: The app, as it is called on the cluster.
        password: Of the stores' users.
    """

    def __init__(self, kube: ClusterKube, app: App, password: Password) -> None:
        self._kube = kube
        self._app = app
        self._password = password
        self._known: dict[str, int] = {}
        self._streams: dict[str, _Stream] = {}

    async def digest(self) -> dict[str, int]:
        """Return rows by ``table:store/name``, lost messages by ``messages:store/stream``.

        Raises:
            InfraError: A store that was never seen is away.
        """
        ways = {"postgres": self._rows, "nats": self._lost}
        found = {n: ways[s.kind] for n, s in self._app.stores.items() if s.kind in ways}
        await together({n: self._seen(n, count(n)) for n, count in found.items()})
        return dict(sorted(self._known.items()))

    async def fingerprints(self) -> dict[str, str]:
        """Return, by store, a digest of how it is set up: roles, grants, settings, streams.

        Raises:
            InfraError: A store is away.
        """
        ways = {"postgres": self._catalogue, "valkey": self._config, "nats": self._setup}
        stores = sorted(self._app.stores.items())
        texts = await together({name: ways[spec.kind](name) for name, spec in stores})
        return {s: hashlib.sha256(text.encode()).hexdigest()[:16] for s, text in texts.items()}

    async def _seen(self, store: str, asking: Any) -> None:
        try:
            self._known |= await asking
        except InfraError:
            if not any(key.partition(":")[2].startswith(f"{store}/") for key in self._known):
                raise

    # -- databases --------------------------------------------------------------------------------

    async def _rows(self, store: str) -> dict[str, int]:
        spec = self._app.stores[store]
        asked = [f"SELECT '{table}', count(*) FROM {name(table)}" for table in sorted(spec.tables)]
        text = await self._psql(store, asked)
        rows = (line.rpartition("|") for line in text.splitlines())
        return {f"table:{store}/{table}": int(count) for table, _, count in rows}

    async def _catalogue(self, store: str) -> str:
        return await self._psql(store, _CATALOGUE)

    async def logins(self) -> dict[str, dict[str, str]]:
        """Return, by database and role, what the role's password is checked against.

        A password that is set again, though the same, is salted anew: only this can be put back.

        Raises:
            InfraError: A database is away.
        """
        found = {}
        for store, spec in sorted(self._app.stores.items()):
            if spec.kind == "postgres":
                rows = (await self._psql(store, [_LOGINS])).splitlines()
                found[store] = dict(row.split("|", 1) for row in rows)
        return found

    async def put_back(self, logins: Mapping[str, Mapping[str, str]]) -> None:
        """Let roles log in again as they did; those that are gone stay so.

        Raises:
            InfraError: A database is away.
        """
        now = await self.logins()
        for store, before in logins.items():
            wrong = [r for r in before if r in now[store] and now[store][r] != before[r]]
            if wrong:
                await self._psql(
                    store, [f"ALTER ROLE {name(r)} PASSWORD {literal(before[r])}" for r in wrong]
                )

    async def _psql(self, store: str, asked: tuple[str, ...] | list[str]) -> str:
        """Return what psql prints; statements that fail print nothing."""
        words = [word for sql in asked for word in ("-c", sql)]
        argv = psql(self._app.stores[store].database or SUPERUSER, *words)
        return await self._exec(store, argv)

    async def _exec(self, store: str, argv: list[str]) -> str:
        try:
            done = await self._kube.exec(
                f"{store}-0", self._app.namespace, argv, timeout_s=_ASK_S
            )  # fmt: skip
        except KubeError as error:
            raise InfraError("store", f"{store}: {error.message}") from error
        if done.code and not done.stdout:
            raise InfraError("store", f"{store}: {done.stderr.strip()[-300:]}")
        return done.stdout

    # -- caches -----------------------------------------------------------------------------------

    async def _config(self, store: str) -> str:
        spec = self._app.stores[store]
        login = ["--no-auth-warning", "-a", self._password(store, _USER)] if spec.users else []
        argv = ["valkey-cli", "-p", str(spec.port), *login, "CONFIG", "GET", "*"]
        lines = (await self._exec(store, argv)).splitlines()
        # In an order that each start of the server draws anew.
        return "\n".join(sorted(map(" ".join, zip(lines[::2], lines[1::2], strict=False))))

    # -- queues -----------------------------------------------------------------------------------

    async def _lost(self, store: str) -> dict[str, int]:
        found = {}
        for told in await self._told(store):
            stream = str(told["name"])
            known = self._streams.setdefault(f"{store}/{stream}", _Stream())
            found[f"messages:{store}/{stream}"] = lost(
                known, told, self._published(store, told["config"]["subjects"])
            )
        return found

    def _published(self, store: str, subjects: list[str]) -> list[str]:
        """Return the subjects that the app sends into a stream."""
        users = (s for s in self._app.services.values() if s.uses.get("queue") == store)
        sent = {subject for s in users for subject in reach(_steps(s)).subjects}
        return [s for s in sorted(sent) if any(overlap(s, each) for each in subjects)]

    async def _setup(self, store: str) -> str:
        told = await self._told(store)
        parts = [(s["name"], s["config"], sorted(_consumers(s).items())) for s in told]
        return repr(sorted(parts, key=lambda part: str(part[0])))

    async def _told(self, store: str) -> list[Object]:
        """Return what the server says of its streams."""
        where = f"{quote(self._app.namespace)}/pods/{quote(store)}-0:{_MONITOR}"
        path = f"/api/v1/namespaces/{where}/proxy/jsz"
        query = {"accounts": "true", "streams": "true", "consumers": "true", "config": "true"}
        try:
            page = await self._kube.connection.ask(Request("GET", path, query))
        except KubeError as error:
            raise InfraError("store", f"{store}: {error.message}") from error
        accounts = page.get("account_details") or ()
        return [stream for account in accounts for stream in account.get("stream_detail") or ()]


def lost(known: _Stream, told: Object, published: list[str]) -> int:
    """Return how many messages of a stream were lost so far, at least.

    Args:
        known: The stream as it was seen before; brought up to date.
        told: The stream as its server tells.
        published: Subjects that are sent into it.
    """
    state = told["state"]
    last, messages = int(state["last_seq"]), int(state["messages"])
    if last < known.last:
        # Another stream of that name: what the one before held went with it.
        known.base, known.lost = known.lost + known.messages + 1, 0
    counts = [
        last - int(c["delivered"]["consumer_seq"]) - int(c["num_pending"])
        for c in told.get("consumer_detail") or ()
        if published
        and all(_covers(c["config"].get("filter_subject") or ">", s) for s in published)
    ]
    known.last, known.messages = last, messages
    known.lost = max([known.lost, *counts])
    return known.base + known.lost


def _covers(pattern: str, subject: str) -> bool:
    """Whether a consumer of a pattern gets everything that is sent to a subject."""
    return pattern == ">" or pattern == subject or (
        pattern.endswith(".>") and subject.startswith(pattern[:-1])
    )  # fmt: skip


def _consumers(stream: Object) -> Mapping[str, Any]:
    return {c["name"]: c["config"] for c in stream.get("consumer_detail") or ()}


def _steps(service: Any) -> list[Any]:
    return [step for steps in service.work() for step in steps]
