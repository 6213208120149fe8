"""Which spans a run has: stages, trials, the agent and its tool calls, in the GenAI conventions.

    run > deploy | warm-up | baseline | symptom
    run > trial > invoke_agent NAME > execute_tool NAME
                > evidence | telemetry

Names and attributes of agents and tools are those of OpenTelemetry's semantic conventions for
generative AI (in development); ours begin with ``aiopslab.``. Not here: how spans travel
(``spans``) and leave (``trace_export``).
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from aiopslab.models.observation import Observation
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.models.trial import Trial, Usage
from aiopslab.orchestrator import spans
from aiopslab.orchestrator.spans import Emit, Place, Span, Value

if TYPE_CHECKING:
    from aiopslab.wire.gate import Call, Turn

P = ParamSpec("P")
S = TypeVar("S")
A = TypeVar("A")
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_AGENT_PHASE = "agent"
"""The lap that has spans of its own."""


# -- runs and trials ------------------------------------------------------------------------------


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment names an OTLP endpoint, and does not switch tracing off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return False
    return any(environ.get(name, "").strip() for name in ENDPOINTS)


@contextmanager
def exporting(environ: Mapping[str, str]) -> Iterator[Emit | None]:
    """Yield what sends span events to the endpoint of the environment; None if there is none."""
    if not is_wanted(environ):
        yield None
        return
    # OpenTelemetry is loaded by those who trace.
    from aiopslab.orchestrator import trace_export  # noqa: PLC0415

    with trace_export.sending() as emit:
        yield emit


@contextmanager
def root(label: str, config: RunConfig, emit: Emit | None) -> Iterator[Span | None]:
    """Time a run; ``emit`` None: nobody traces."""
    if emit is None:
        yield None
        return
    context = spans.TraceContext(trace_id=secrets.token_hex(16), span_id="")
    with (
        spans.under(context, emit),
        spans.span("run", {"aiopslab.run.label": label, **_run(config, config.agent)}) as begun,
    ):
        yield begun


@contextmanager
def trial(plan: PlannedTrial, config: RunConfig) -> Iterator[Callable[[Trial], None]]:
    """Time a trial; yields what takes its record at the end, from which its phases follow."""
    with spans.span("trial", {**_planned(plan), **_run(config, config.agent_of(plan))}) as begun:
        place = spans.here()
        if begun is None or place is None:
            yield _nothing
            return
        place.about = _agent(config, config.agent_of(plan))

        def finished(record: Trial) -> None:
            _phases(place, begun, record)
            _conclude(begun, record)

        yield finished


def lost(plan: PlannedTrial, config: RunConfig, record: Trial) -> None:
    """Note a trial whose process is gone, or never was."""
    with spans.span("trial", {**_planned(plan), **_run(config, config.agent_of(plan))}) as begun:
        if begun is not None:
            _conclude(begun, record)


def _nothing(record: Trial) -> None:
    """Nobody traces."""


def _phases(place: Place, begun: Span, record: Trial) -> None:
    """Note the phases of a trial that follow each other from its start, by the laps it booked."""
    at = begun.start_ns
    for name, lap_s in record.wall.items():
        if isinstance(lap_s, float):
            end = at + round(lap_s * 1e9)
            if name != _AGENT_PHASE:
                spans.finish(place, spans.begin(name, begun.context, at), end)
            at = end


def _conclude(begun: Span, record: Trial) -> None:
    used = record.usage
    begun.set(
        {
            "gen_ai.conversation.id": record.id,
            "aiopslab.outcome": record.outcome,
            "aiopslab.termination": record.termination,
            "aiopslab.steps": used.steps,
            "aiopslab.virtual_s": used.virtual_s,
            "aiopslab.cost_usd": used.cost_usd,
            **_tokens(used),
        }
    )
    if record.outcome in ("infra_error", "agent_error"):
        begun.fail(record.outcome, record.error or "")


def _planned(plan: PlannedTrial) -> dict[str, Value | None]:
    return {
        "aiopslab.problem": plan.problem,
        "aiopslab.incident": plan.incident,
        "aiopslab.task": plan.task,
        "aiopslab.attempt": plan.attempt,
    }


def _run(config: RunConfig, agent: str) -> dict[str, Value | None]:
    return {
        "gen_ai.agent.name": _agent_name(agent),
        "gen_ai.request.model": config.model,
        "aiopslab.environment": config.environment.kind,
    }


# -- the agent and its calls ----------------------------------------------------------------------


class _Used(Protocol):
    def used(self) -> Usage: ...


U = TypeVar("U", bound=_Used)


def agent_run(
    run: Callable[[A, U], Coroutine[Any, Any, None]],
) -> Callable[[A, U], Coroutine[Any, Any, None]]:
    """Time what an agent does as ``invoke_agent``, with the tokens it booked on its session."""

    @functools.wraps(run)
    async def traced(agent: A, session: U) -> None:
        place = spans.here()
        if place is None:
            await run(agent, session)
            return
        name = f"invoke_agent {place.about.get('gen_ai.agent.name', '')}".strip()
        with spans.timed(place, name, place.context) as begun:
            begun.set({"gen_ai.operation.name": "invoke_agent", **place.about})
            place.agent = begun.context
            try:
                await run(agent, session)
            finally:
                place.agent = None
                begun.set(_tokens(session.used()))

    return traced


def tool_call(
    call: Callable[Concatenate[S, str, P], Coroutine[Any, Any, Observation]],
) -> Callable[Concatenate[S, str, P], Coroutine[Any, Any, Observation]]:
    """Time a tool call as ``execute_tool``; one that the tool refused has failed."""

    @functools.wraps(call)
    async def traced(session: S, name: str, /, *args: P.args, **arguments: P.kwargs) -> Observation:
        with _tool(name, "function") as begun:
            seen = await call(session, name, *args, **arguments)
            if begun is not None:
                _observed(begun, seen.id, ok=seen.ok, text=seen.text)
            return seen

    return traced


def tool_turn(
    turn: Callable[[S, Call], AbstractAsyncContextManager[Turn]],
) -> Callable[[S, Call], AbstractAsyncContextManager[Turn]]:
    """Time a request of a wire API, from asking for its turn to giving it back."""

    @asynccontextmanager
    async def traced(session: S, call: Call) -> AsyncIterator[Turn]:
        with _tool(call.tool, "extension") as begun:
            async with turn(session, call) as given:
                yield given
            if begun is not None:
                _observed(begun, given.id, ok=given.ok, text=given.text)

    return traced


@contextmanager
def _tool(name: str, kind: str) -> Iterator[Span | None]:
    place = spans.here()
    if place is None:
        yield None
        return
    with spans.timed(place, f"execute_tool {name}", place.agent or place.context) as begun:
        begun.set(
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": name,
                "gen_ai.tool.type": kind,
            }
        )
        yield begun


def _observed(begun: Span, id: str, *, ok: bool, text: str) -> None:
    begun.set({"gen_ai.tool.call.id": id})
    if not ok:
        begun.fail("tool_error", text)


def _agent(config: RunConfig, agent: str) -> dict[str, Value]:
    found: dict[str, Value] = {"gen_ai.agent.name": _agent_name(agent)}
    if config.model is not None:
        provider, slash, _ = config.model.partition("/")
        found["gen_ai.request.model"] = config.model
        found["gen_ai.provider.name"] = provider if slash else "openai"
    return found


def _agent_name(agent: str) -> str:
    """Return what names an agent and holds no secret: of a command its program, of a URL nothing.

    >>> _agent_name("cmd:/opt/bin/my-agent --key 123")
    'cmd:my-agent'
    """
    kind, colon, rest = agent.partition(":")
    if colon and kind == "cmd":
        return f"cmd:{PurePath((rest.split() or [''])[0]).name}"
    return kind if "://" in rest else agent


def _tokens(used: Usage) -> dict[str, Value | None]:
    return {
        "gen_ai.usage.input_tokens": used.tokens_in,
        "gen_ai.usage.output_tokens": used.tokens_out,
    }
