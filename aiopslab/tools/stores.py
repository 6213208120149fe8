"""``sql_query``, ``cache_command``, ``queue_command``: asking the data stores, as their operator.

All run the store's own client in the store's container, so they see what an operator with a
shell there would see, and fail as he would. Not here: the stores (their images).
"""

from __future__ import annotations

import base64
import shlex

from aiopslab.content import near
from aiopslab.environments.commands import cache_effect, queue_effect, sql_effect
from aiopslab.models.kube import ExecResult
from aiopslab.models.observation import Effect
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.kube_read import pod_of


class SqlArgs(Paged):
    """Arguments of ``sql_query``."""

    store: str
    """Name of a PostgreSQL store, as services lists it."""
    sql: str
    """One statement or psql command: SELECT ... FROM pg_stat_activity, \\dp, GRANT ..."""
    database: str = ""
    """Database; empty is the app's."""


def _sql_effect(args: SqlArgs) -> Effect:
    return sql_effect(args.sql)


@tool(SqlArgs, cost=3.0, effect_of=_sql_effect)
async def sql_query(context: ToolContext, args: SqlArgs) -> Result:
    """Run SQL in a PostgreSQL store as its operator, through psql.

    Statements that change anything count as writes.
    """
    _require(context, args.store, "postgres")
    database = args.database or context.env.app.stores[args.store].database or "postgres"
    argv = ["psql", "-U", "postgres", "-d", database, "-c", args.sql]
    done = await _run(context, args.store, argv)
    if done.code != 0:
        raise ToolRefused((done.stderr or done.stdout).strip() or f"psql: exit code {done.code}")
    text = "\n".join(filter(None, [done.stdout.rstrip("\n"), done.stderr.rstrip("\n")]))
    return Result(text or "(no output)", {"stdout": done.stdout, "stderr": done.stderr})


class CacheArgs(Paged):
    """Arguments of ``cache_command``."""

    store: str
    """Name of a Valkey store, as services lists it."""
    command: str
    """For instance INFO memory, CONFIG GET maxmemory, DBSIZE, CONFIG SET maxmemory 256mb."""


def _cache_effect(args: CacheArgs) -> Effect:
    return cache_effect(args.command)


@tool(CacheArgs, cost=3.0, effect_of=_cache_effect)
async def cache_command(context: ToolContext, args: CacheArgs) -> Result:
    """Run a command in a Valkey store as its operator, through valkey-cli.

    Commands that change anything count as writes.
    """
    _require(context, args.store, "valkey")
    try:
        words = shlex.split(args.command)
    except ValueError as error:
        raise ToolRefused(f"the command cannot be split: {error}") from error
    if not words:
        raise ToolRefused("the command is empty; for instance: INFO memory")
    done = await _run(context, args.store, ["valkey-cli", *words])
    if "NOAUTH" in done.stdout + done.stderr:
        password = await _password(context, args.store)
        done = await _run(
            context, args.store, ["valkey-cli", "--no-auth-warning", "-a", password, *words]
        )
    text = "\n".join(filter(None, [done.stdout.rstrip("\n"), done.stderr.rstrip("\n")]))
    if done.code != 0 or text.startswith(("(error)", "ERR ")):
        raise ToolRefused(text or f"valkey-cli: exit code {done.code}")
    return Result(text or "(empty)", {"stdout": done.stdout, "stderr": done.stderr})


class QueueArgs(Paged):
    """Arguments of ``queue_command``."""

    store: str
    """Name of a NATS store, as services lists it."""
    command: str
    """For instance stream ls, stream info NAME, stream view NAME 5, stream get NAME SEQ,
    consumer ls STREAM, consumer info STREAM NAME, stream edit NAME --max-msgs 5000 -f,
    stream rmm NAME SEQ -f."""


def _queue_effect(args: QueueArgs) -> Effect:
    return queue_effect(args.command.strip().removeprefix("nats "))


@tool(QueueArgs, cost=3.0, effect_of=_queue_effect)
async def queue_command(context: ToolContext, args: QueueArgs) -> Result:
    """Look at streams, consumers and messages of a NATS JetStream store through its nats tool.

    Commands that change anything count as writes; they need -f, because nobody is asked.
    """
    _require(context, args.store, "nats")
    try:
        words = shlex.split(args.command.strip().removeprefix("nats "))
    except ValueError as error:
        raise ToolRefused(f"the command cannot be split: {error}") from error
    if not words:
        raise ToolRefused("the command is empty; for instance: stream ls")
    done = await _run(context, args.store, ["nats", *words])
    text = "\n".join(filter(None, [done.stdout.rstrip("\n"), done.stderr.rstrip("\n")]))
    if done.code != 0:
        raise ToolRefused(text or f"nats: exit code {done.code}")
    return Result(text or "(no output)", {"stdout": done.stdout, "stderr": done.stderr})


def _require(context: ToolContext, store: str, kind: str) -> None:
    """Refuse names that are no store of the kind."""
    stores = {n: s.kind for n, s in context.env.app.stores.items()}
    if stores.get(store) != kind:
        fitting = sorted(n for n, k in stores.items() if k == kind)
        hint = near(store, fitting) or f"{kind} stores: {', '.join(fitting) or 'none'}"
        raise ToolRefused(f"{store!r} is no {kind} store; {hint}")


async def _run(context: ToolContext, store: str, argv: list[str]) -> ExecResult:
    pod = await pod_of(context, store)
    return await context.env.kube.exec(pod, context.namespace, argv)


async def _password(context: ToolContext, store: str) -> str:
    """Return the password of a store that asks for one, from its Secret.

    Raises:
        ToolRefused: No Secret of the store holds one.
    """
    for secret in await context.env.kube.list("Secret", context.namespace):
        encoded = (secret.get("data") or {}).get("password")
        if encoded and secret["metadata"]["name"].startswith(store):
            return base64.b64decode(encoded).decode()
    raise ToolRefused("NOAUTH Authentication required; no Secret of the store holds a password")


TOOLS = (sql_query, cache_command, queue_command)
