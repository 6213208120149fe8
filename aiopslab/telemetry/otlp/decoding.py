"""Bodies of OTLP/HTTP requests to protobuf messages: binary or JSON, plain or gzipped.

OTLP's JSON is protobuf's, but trace and span ids are hex rather than base64 (OTLP specification
1.x, "JSON Protobuf Encoding"). Not here: what the messages mean (``spans``, ``logs``, ``metrics``).
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

M = TypeVar("M", bound=Message)

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
UNPACKED_LIMIT = 32 * 2**20
"""Bytes of a body once it is unpacked."""
_GZIP = 16 + zlib.MAX_WBITS
_ID_BYTES = {
    "traceId": 16, "trace_id": 16,
    "spanId": 8, "span_id": 8, "parentSpanId": 8, "parent_span_id": 8,
}  # fmt: skip


class OtlpError(ValueError):
    """A request that cannot be read; a client must not send it again as it is.

    Args:
        status: The HTTP status that says so: 400, 413 or 415.
        message: What is wrong.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def decode_traces(
    body: bytes, content_type: str, content_encoding: str = ""
) -> ExportTraceServiceRequest:
    """Decode the body of ``POST /v1/traces``.

    Args:
        body: As it came.
        content_type: ``application/x-protobuf`` or ``application/json``; parameters are ignored.
        content_encoding: Empty, ``identity`` or ``gzip``.

    Raises:
        OtlpError: It is malformed, too large or of another type.
    """
    return _decode(ExportTraceServiceRequest, body, content_type, content_encoding)


def decode_metrics(
    body: bytes, content_type: str, content_encoding: str = ""
) -> ExportMetricsServiceRequest:
    """Decode the body of ``POST /v1/metrics``; see ``decode_traces``."""
    return _decode(ExportMetricsServiceRequest, body, content_type, content_encoding)


def decode_logs(
    body: bytes, content_type: str, content_encoding: str = ""
) -> ExportLogsServiceRequest:
    """Decode the body of ``POST /v1/logs``; see ``decode_traces``."""
    return _decode(ExportLogsServiceRequest, body, content_type, content_encoding)


def media_type(content_type: str) -> str:
    """Return the media type of a ``Content-Type`` header, without parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def _decode(kind: type[M], body: bytes, content_type: str, content_encoding: str) -> M:
    type_ = media_type(content_type)
    if type_ not in (PROTOBUF, JSON):
        raise OtlpError(415, f"content type {content_type!r} is not {PROTOBUF} or {JSON}")
    plain = _unpacked(body, content_encoding.strip().lower())
    if type_ == JSON:
        return _from_json(kind, plain)
    message: M = kind()
    try:
        message.ParseFromString(plain)
    except DecodeError as error:
        raise OtlpError(400, f"the body is no {kind.__name__}: {error}") from error
    return message


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        plain = body
    elif encoding == "gzip":
        plain = _gunzipped(body)
    else:
        raise OtlpError(415, f"content encoding {encoding!r} is not gzip")
    if len(plain) > UNPACKED_LIMIT:
        raise OtlpError(
            413, f"the body is larger than {UNPACKED_LIMIT} bytes; send smaller batches"
        )
    return plain


def _gunzipped(body: bytes) -> bytes:
    """Unpack one gzip member, but never more than the limit and one byte."""
    unpacker = zlib.decompressobj(_GZIP)
    try:
        plain = unpacker.decompress(body, UNPACKED_LIMIT + 1)
    except zlib.error as error:
        raise OtlpError(400, f"the body is not gzip: {error}") from error
    if len(plain) <= UNPACKED_LIMIT and not unpacker.eof:
        raise OtlpError(400, "the gzipped body is cut off")
    return plain


def _from_json(kind: type[M], text: bytes) -> M:
    message: M = kind()
    try:
        tree = json.loads(text)
        if not isinstance(tree, dict):
            raise TypeError("not a JSON object")
        if b"\\u" in text:
            # Escapes can spell halves of characters, at which protobuf breaks.
            json.dumps(tree, ensure_ascii=False).encode()
        _ids_to_base64(tree)
        # Receivers must ignore fields that they do not know.
        json_format.ParseDict(tree, message, ignore_unknown_fields=True)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        # The JSON reader, protobuf's and the ids': each has its own way of saying malformed.
        raise OtlpError(400, f"the body is no {kind.__name__}: {_brief(error)}") from error
    except json_format.ParseError as error:
        raise OtlpError(400, f"the body is no {kind.__name__}: {_brief(error)}") from error
    return message


def _ids_to_base64(tree: Any) -> None:
    """Rewrite hex ids, in place, the way protobuf's own JSON has bytes."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(node)
        elif isinstance(node, dict):
            for key, value in node.items():
                if key in _ID_BYTES and isinstance(value, str):
                    node[key] = _from_hex(key, value)
                else:
                    pending.append(value)


def _from_hex(key: str, value: str) -> str:
    try:
        raw = binascii.unhexlify(value)
    except ValueError as error:
        raise ValueError(f"{key} {value[:40]!r} is not hex") from error
    if raw and len(raw) != _ID_BYTES[key]:
        raise ValueError(f"{key} {value[:40]!r} has {len(raw)} bytes, not {_ID_BYTES[key]}")
    return base64.b64encode(raw).decode("ascii")


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:200] + "..."
