"""Publishing to a service's queue: a producer span, a duration, and the client's errors.

The message carries the span, so that the work on it belongs to the same trace. Not here: the work
(``worker``), the wire (``protocols.Queue``), how long a message is kept (the store).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiopslab.models.step import Publication
from aiopslab.services import templates
from aiopslab.services.config import Config
from aiopslab.services.exchange import Exchange, RequestFailed
from aiopslab.services.instruments import Durations, Instruments
from aiopslab.services.languages import Dialect, Frame
from aiopslab.services.messaging import Queue, QueueError
from aiopslab.services.protocols import Host, NetError

Render = Callable[[Mapping[str, str]], dict[str, str]]
Attributes = dict[str, str | int]
SYSTEM: Attributes = {"messaging.system": "nats"}


@dataclass(slots=True)
class Outlet:
    """One kind of message that a service sends, with what its spans and metrics share."""

    subject: Callable[[Mapping[str, str]], str]
    params: Render
    id: Callable[[Mapping[str, str]], str]
    size: int
    span_name: str
    attributes: Attributes
    durations: Durations
    frames: list[Frame]


class QueueClient:
    """The queue client of one process; raises ConfigError when it cannot be configured."""

    def __init__(self, name: str, config: Config, host: Host, dialect: Dialect) -> None:
        self.name = name
        address, self._port = config.address("QUEUE_ADDR")
        self.timeout_s = config.seconds("QUEUE_TIMEOUT_MS", 2000)
        self.wire: Queue = host.queue(
            address, self._port, password=config.text("QUEUE_PASSWORD", "")
        )
        self._now = host.clock.now
        self._telemetry = host.telemetry
        self._dialect = dialect
        self._instruments = Instruments(host.telemetry)

    def outlet(self, message: Publication) -> Outlet:
        """Prepare one kind of message."""
        return Outlet(
            subject=templates.text(message.subject),
            params=templates.mapping(message.params),
            id=templates.text(message.id),
            size=message.size,
            span_name=f"publish {message.subject}",
            attributes=SYSTEM
            | {
                "messaging.operation.name": "publish",
                "messaging.operation.type": "send",
                "messaging.message.body.size": message.size,
                "server.address": self.name,
                "server.port": self._port,
            },
            durations=self._instruments.sends(self.name, message.subject),
            frames=[self._dialect.frame("publisher", message.subject)],
        )

    async def publish(self, outlet: Outlet, x: Exchange) -> None:
        """Send a message and wait until it is stored.

        Raises:
            RequestFailed: The queue could not be reached, or refused it (503).
        """
        subject = outlet.subject(x.params)
        params, id = outlet.params(x.params), outlet.id(x.params)
        span_id = self._telemetry.new_span_id()
        attributes = outlet.attributes | {"messaging.destination.name": subject}
        start = self._now()
        failed, problem = None, None
        try:
            await self.wire.publish(
                subject, params, size=outlet.size, id=id, trace_id=x.trace_id, span_id=span_id,
                timeout_s=self.timeout_s,
            )  # fmt: skip
        except (NetError, QueueError) as error:
            failed, problem = error, self._dialect.queue_problem(error)
            attributes = attributes | {"error.type": problem.type}
        end = self._now()
        self._telemetry.span(
            x.trace_id, span_id, x.span_id, outlet.span_name, "producer", start, end,
            problem.message if problem else "", attributes,
        )  # fmt: skip
        outlet.durations.observe(problem.type if problem else "", end - start)
        if problem is not None:
            raise RequestFailed(503, problem, outlet.frames) from failed
