"""Opening the doors: every API of one trial, or of one standing lab, on loopback for a while.

Two sockets with random ports: the Kubernetes API over TLS (kubectl sends tokens over nothing else),
and everything else by path on plain HTTP. One token opens all of it and nothing but it. Files that
hold the token live in a private directory that goes with the doors. Not here: what the APIs answer
(``wire``, ``tools``), who gets the doors (``trial``, ``standing``).
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiopslab.environments.protocol import Environment
from aiopslab.environments.sim import Sim
from aiopslab.errors import InfraError
from aiopslab.models.doors import Doors
from aiopslab.orchestrator.session import Session
from aiopslab.orchestrator.trial_gate import TrialGate
from aiopslab.telemetry.store import Store
from aiopslab.tools.http import refusal, tool_api
from aiopslab.tools.mcp import mcp_door
from aiopslab.wire.certificate import self_signed
from aiopslab.wire.gate import Gate
from aiopslab.wire.identity import Identity, Tokens, administrator, on_call
from aiopslab.wire.kubernetes.app import kubernetes_app, status_refusal
from aiopslab.wire.kubernetes.kubeconfig import kubeconfig
from aiopslab.wire.monitoring.mounts import APIS, monitoring
from aiopslab.wire.monitoring.otlp import otlp_app, otlp_refusal
from aiopslab.wire.server import LOOPBACK, listening
from aiopslab.wire.site import Mount, Site, plain


@dataclass(frozen=True, slots=True)
class _House:
    """What stands behind the doors."""

    env: Environment
    gate: Gate
    identity: Identity
    inbox: Store
    """Where telemetry goes that comes in from outside."""
    inbox_clock: Callable[[], float] | None = None
    """The cluster's clock where the inbox is the world's own store."""
    extra: Sequence[Mount] = ()
    host: str = LOOPBACK
    """Address to listen on; another one than loopback where a sandbox has a network of its own."""


@asynccontextmanager
async def trial_doors(
    session: Session, env: Environment, inbox: Store, *, host: str = LOOPBACK
) -> AsyncIterator[Doors]:
    """Open one trial to its agent: the wire APIs, the tool API and MCP.

    Args:
        session: The agent's side of the trial.
        env: Its environment.
        inbox: Takes telemetry that the agent sends; apart from the world's, which alerts look at.
        host: Address to listen on.

    Raises:
        InfraError: The environment has no Kubernetes API to serve.
        OSError: A socket or file cannot be made.
    """
    gate = TrialGate(session)
    identity = on_call(session.actor, session.task, env.namespace)
    async with AsyncExitStack() as stack:
        mcp = await stack.enter_async_context(mcp_door(session.brief, session.tools, session.call))
        api = tool_api(
            session.brief,
            session.tools,
            session.call,
            lambda: session.budget,
            reports=session,
            over=session.over.is_set,
        )
        extra = (Mount("/api", api, refusal), Mount("/mcp", mcp, plain))
        house = _House(env, gate, identity, inbox, extra=extra, host=host)
        doors = await stack.enter_async_context(_open(house))
        try:
            yield doors
        finally:
            gate.closing.set()


@asynccontextmanager
async def lab_doors(env: Sim, gate: Gate) -> AsyncIterator[Doors]:
    """Open a standing lab to its owner; telemetry sent to it becomes part of the world's."""
    house = _House(env, gate, administrator(), env.world.store, inbox_clock=env.now)
    async with _open(house) as doors:
        yield doors


@asynccontextmanager
async def _open(house: _House) -> AsyncIterator[Doors]:
    env, host = house.env, house.host
    if not isinstance(env, Sim):
        raise InfraError("doors", f"{type(env).__name__} has a Kubernetes API of its own")
    tokens = Tokens()
    token = tokens.issue(house.identity)
    certificate = self_signed(host)
    async with AsyncExitStack() as stack:
        private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiopslab-")))
        cluster = Mount("", kubernetes_app(env.world, house.gate, env=env), status_refusal)
        hosts = () if host == LOOPBACK else (host,)
        secure = await stack.enter_async_context(
            listening(
                Site([cluster], tokens, hosts=hosts), host=host, tls=certificate.files(private)
            )
        )
        open_port = await stack.enter_async_context(
            listening(Site([*_monitoring(house), *house.extra], tokens, hosts=hosts), host=host)
        )
        authority = certificate.certificate.decode()
        config = kubeconfig(f"https://{host}:{secure}", token, authority, env.namespace)
        base = f"http://{host}:{open_port}"
        yield Doors(
            kubeconfig=str(_private(private / "kubeconfig", config)),
            token_file=str(_private(private / "token", token)),
            token=token,
            **{name: f"{base}/{name}" for name in (*APIS, "otlp")},
            **{m.prefix[1:]: base + m.prefix for m in house.extra},
        )


def _monitoring(house: _House) -> list[Mount]:
    inbox = otlp_app(house.inbox, house.gate, now=house.inbox_clock)
    return [*monitoring(house.env, house.gate), Mount("/otlp", inbox, otlp_refusal)]


def _private(path: Path, content: str) -> Path:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
    return path
