"""Log records of OTLP into a store, each as the line that its body is."""

from __future__ import annotations

import json

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from aiopslab.telemetry.logs import SEVERITIES
from aiopslab.telemetry.otlp.rejected import Rejected, Tally, untimely
from aiopslab.telemetry.otlp.values import NANO, Sender, Sending, scalars, text
from aiopslab.telemetry.store import Store

_FIRST_NUMBERS = ((21, "FATAL"), (17, "ERROR"), (13, "WARN"), (9, "INFO"), (1, "DEBUG"))
"""First severity number of a range and what we call it; TRACE counts as DEBUG."""
_WORDS = {
    "TRACE": "DEBUG", "WARNING": "WARN", "ERR": "ERROR", "CRITICAL": "FATAL", "PANIC": "FATAL",
    **{s: s for s in SEVERITIES},
}  # fmt: skip


def ingest_logs(
    store: Store,
    request: ExportLogsServiceRequest,
    *,
    now: float | None,
    sending: Sending = Sender.of,
) -> Rejected:
    """Record the log records of a request.

    The line is the body; a record without one is written as its event name and attributes, in JSON.
    Attributes beside a body are not kept.

    Args:
        store: Where they go.
        request: As decoded.
        now: The cluster's time: records far from it are refused. None: any time is taken.
        sending: Says who sent it.
    """
    tally = Tally()
    for batch in request.resource_logs:
        sender = sending(batch.resource)
        for scoped in batch.scope_logs:
            for record in scoped.log_records:
                time = (record.time_unix_nano or record.observed_time_unix_nano) / NANO
                reason = _objection(record) or untimely(time, now)
                if reason:
                    tally.refuse(reason)
                else:
                    _record(store, sender, time, record)
    return tally.result()


def _objection(record: LogRecord) -> str:
    if len(record.trace_id) not in (0, 16):
        return "trace_id is not 16 bytes"
    if len(record.span_id) not in (0, 8):
        return "span_id is not 8 bytes"
    return ""


def _record(store: Store, sender: Sender, time: float, record: LogRecord) -> None:
    store.log(
        time,
        sender.service,
        sender.namespace,
        sender.pod,
        sender.container,
        _severity(record),
        _line(record),
        int.from_bytes(record.trace_id, "big"),
        int.from_bytes(record.span_id, "big"),
    )


def _severity(record: LogRecord) -> str:
    for first, name in _FIRST_NUMBERS:
        if record.severity_number >= first:
            return name
    return _WORDS.get(record.severity_text.strip().upper(), "INFO")


def _line(record: LogRecord) -> str:
    body = text(record.body)
    if body:
        return body
    said = {"event": record.event_name} if record.event_name else {}
    return json.dumps({**said, **scalars(record.attributes)}, ensure_ascii=False)
