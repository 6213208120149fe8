"""OTLP in: what a program sends to ``/v1/{traces,metrics,logs}``, decoded and put into a store.

Neighbours: ``telemetry.export`` writes OTLP, ``wire`` has the HTTP before this. Imports protobuf:
only servers import this package.
"""

from __future__ import annotations

from aiopslab.telemetry.otlp.decoding import OtlpError, decode_logs, decode_metrics, decode_traces
from aiopslab.telemetry.otlp.logs import ingest_logs
from aiopslab.telemetry.otlp.metrics import ingest_metrics
from aiopslab.telemetry.otlp.rejected import Rejected
from aiopslab.telemetry.otlp.responses import encode_response
from aiopslab.telemetry.otlp.spans import ingest_traces

__all__ = [
    "OtlpError",
    "Rejected",
    "decode_logs",
    "decode_metrics",
    "decode_traces",
    "encode_response",
    "ingest_logs",
    "ingest_metrics",
    "ingest_traces",
]
