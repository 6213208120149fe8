"""The command ``python -m aiopslab.observer``: observes one app until SIGTERM.

Every option has a variable of the environment, which is what the manifest sets. Not here: what an
observer does (``observer``), what it serves (``serving``).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Coroutine, Sequence

from aiopslab.environments.cluster.connection import Connection, Reach
from aiopslab.errors import AIOpsLabError
from aiopslab.observer.lacks import Lacks
from aiopslab.observer.observer import Observer
from aiopslab.observer.recording import DEFAULT_LIMIT
from aiopslab.observer.serving import serving
from aiopslab.observer.settings import HTTP_PORT, OTLP_PORT, Settings
from aiopslab.services.catalogue import load_app

MIB = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    settings = _settings(_parser().parse_args(argv))
    try:
        asyncio.run(_run(settings))
    except (AIOpsLabError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _run(settings: Settings) -> None:
    app = load_app(settings.app).model_copy(update={"namespace": settings.namespace})
    now = time.time  # noqa: TID251 - an observer lives by the clock of its host
    lacks = Lacks(now)
    connection = await asyncio.to_thread(Connection, settings.reach)
    try:
        observer = Observer(
            app, connection, now, lacks, limit=settings.limit, forward=settings.forward
        )
        async with serving(observer, settings) as (http, otlp):
            where = f"{settings.host}:{http}, OTLP on {otlp}"
            lacks.say(f"observing {app.name} in {settings.namespace} on {where}")
            await _until_told(observer.run())
    finally:
        await connection.aclose()


async def _until_told(running: Coroutine[None, None, None]) -> None:
    """Run until a signal says to end."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(running)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m aiopslab.observer", description=__doc__)
    env = os.environ.get
    parser.add_argument("--app", default=env("OBSERVER_APP"), help="name of the app")
    parser.add_argument("--namespace", default=env("OBSERVER_NAMESPACE"), help="where it is")
    parser.add_argument(
        "--token", default=env("OBSERVER_TOKEN"), help="who knows it may ask; made if not given"
    )
    parser.add_argument("--kubeconfig", default="", help="instead of a pod's ServiceAccount")
    parser.add_argument("--context", default="", help="of the kubeconfig")
    parser.add_argument("--host", default=env("OBSERVER_HOST", "0.0.0.0"))
    parser.add_argument("--port", type=int, default=int(env("OBSERVER_PORT") or HTTP_PORT))
    parser.add_argument(
        "--otlp-port", type=int, default=int(env("OBSERVER_OTLP_PORT") or OTLP_PORT)
    )
    parser.add_argument(
        "--forward", default=env("OBSERVER_FORWARD", ""), help="collector that OTLP is passed on to"
    )
    parser.add_argument(
        "--limit-mib", type=int, default=int(env("OBSERVER_LIMIT_MIB") or DEFAULT_LIMIT // MIB),
        help="size at which no more spans and lines are taken",
    )  # fmt: skip
    return parser


def _settings(arguments: argparse.Namespace) -> Settings:
    missing = [name for name in ("app", "namespace") if not getattr(arguments, name)]
    if missing:
        _parser().error(f"--{missing[0]} is needed")
    in_cluster = not (arguments.kubeconfig or arguments.context)
    token = arguments.token
    if not token:
        token = secrets.token_urlsafe(32)
        sys.stderr.write(f"token: {token}\n")
    return Settings(
        app=arguments.app,
        namespace=arguments.namespace,
        token=token,
        reach=Reach(
            arguments.kubeconfig, arguments.context, in_cluster=in_cluster, concurrency=16
        ),
        host=arguments.host,
        http_port=arguments.port,
        otlp_port=arguments.otlp_port,
        forward=arguments.forward,
        limit=arguments.limit_mib * MIB,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
