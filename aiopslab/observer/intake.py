"""OTLP from the app's pods into the recording, under the names the simulated world gives.

Spans and lines go into the store at once; metrics wait for the next round (``pushed``). Not here:
HTTP (``wire.monitoring.otlp``), who a sender is (``pods``).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from aiopslab.observer.lacks import Lacks
from aiopslab.observer.pods import Pods
from aiopslab.observer.pushed import PushedMetrics
from aiopslab.observer.recording import Recording
from aiopslab.telemetry.otlp import Rejected, ingest_logs, ingest_traces
from aiopslab.telemetry.otlp.responses import Signal

_REMEMBERED = 200
"""Lines of each pod that are remembered, to know which of its last words have come."""


class Intake:
    """Puts what pods send where it belongs.

    Args:
        recording: Returns the present one.
        pods: Say who sent it.
        pushed: Keeps metrics.
        now: Unix seconds.
        lacks: Is told what was refused.
    """

    def __init__(
        self,
        recording: Callable[[], Recording],
        pods: Pods,
        pushed: PushedMetrics,
        now: Callable[[], float],
        lacks: Lacks,
    ) -> None:
        self._recording = recording
        self._pods = pods
        self._pushed = pushed
        self._now = now
        self._lacks = lacks
        self._said: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))

    def take(self, signal: Signal, message: Message) -> Rejected:
        """Take one request; what is not kept is counted."""
        if isinstance(message, ExportMetricsServiceRequest):
            rejected = self._pushed.take(message)
        elif self._recording().is_full:
            rejected = Rejected(_count(message), "the observer is full; no more is kept")
        elif isinstance(message, ExportTraceServiceRequest):
            # The name of our instrumentation would be on every span; the world has none.
            rejected = ingest_traces(
                self._recording().store, message, now=self._now(), sending=self._pods.sender,
                scopes=False,
            )  # fmt: skip
        else:
            assert isinstance(message, ExportLogsServiceRequest)
            rejected = ingest_logs(
                self._recording().store, message, now=self._now(), sending=self._pods.sender
            )
            self._remember(message)
        if rejected.count:
            self._lacks.counts[f"refused {signal}"] += rejected.count
        return rejected

    def said(self, pod: str) -> list[str]:
        """Return the lines that a pod sent last."""
        return list(self._said.get(pod, ()))

    def forget(self, pod: str) -> None:
        """Forget a pod that is gone."""
        self._said.pop(pod, None)

    def _remember(self, message: ExportLogsServiceRequest) -> None:
        for batch in message.resource_logs:
            pod = self._pods.sender(batch.resource).pod
            if self._pods.find(pod) is not None:
                for scoped in batch.scope_logs:
                    for record in scoped.log_records:
                        # A kubelet knows lines, where a program may have said several at once.
                        self._said[pod].extend(record.body.string_value.split("\n"))


def _count(message: Message) -> int:
    if isinstance(message, ExportTraceServiceRequest):
        return sum(len(s.spans) for r in message.resource_spans for s in r.scope_spans)
    if isinstance(message, ExportLogsServiceRequest):
        return sum(len(s.log_records) for r in message.resource_logs for s in r.scope_logs)
    return 0
