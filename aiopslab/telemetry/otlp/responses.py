"""The answer to an OTLP/HTTP request, with ``partialSuccess`` where something was not kept."""

from __future__ import annotations

from typing import Literal

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from aiopslab.telemetry.otlp.decoding import JSON, media_type
from aiopslab.telemetry.otlp.rejected import Rejected

Signal = Literal["traces", "metrics", "logs"]


def encode_response(signal: Signal, rejected: Rejected, content_type: str) -> bytes:
    """Encode the body of a 200 answer in the type of the request.

    Args:
        signal: Of the path ``/v1/<signal>``.
        rejected: What the ingestion returned; the field is left out if it is empty.
        content_type: The request's.
    """
    response: ExportTraceServiceResponse | ExportMetricsServiceResponse | ExportLogsServiceResponse
    if signal == "traces":
        response = ExportTraceServiceResponse()
        if rejected.count:
            response.partial_success.rejected_spans = rejected.count
    elif signal == "metrics":
        response = ExportMetricsServiceResponse()
        if rejected.count:
            response.partial_success.rejected_data_points = rejected.count
    else:
        response = ExportLogsServiceResponse()
        if rejected.count:
            response.partial_success.rejected_log_records = rejected.count
    if rejected.message:
        response.partial_success.error_message = rejected.message
    if media_type(content_type) == JSON:
        text: str = json_format.MessageToJson(response, indent=None)
        return text.encode()
    binary: bytes = response.SerializeToString()
    return binary
