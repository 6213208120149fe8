"""Names of OpenTelemetry as Prometheus writes them: ``http.server.request.duration`` and so on.

The classic translation, underscores and suffixes: OpenTelemetry specification, "Prometheus and
OpenMetrics Compatibility"; units as the Collector's exporter spells them. Not here: UTF-8 names.
"""

from __future__ import annotations

import re

_UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds",
    "us": "microseconds", "ns": "nanoseconds",
    "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
    "Cel": "celsius", "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
_PER = {
    "s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year",
}  # fmt: skip
_OTHER = re.compile(r"[^a-zA-Z0-9]+")
_NOT_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def metric_name(name: str, unit: str, *, monotonic: bool = False, gauge: bool = False) -> str:
    """Return the Prometheus name of a metric, without the suffixes of a histogram's series.

    >>> metric_name("http.server.request.duration", "s")
    'http_server_request_duration_seconds'
    >>> metric_name("cache.requests", "{request}", monotonic=True)
    'cache_requests_total'

    Args:
        name: As OpenTelemetry has it.
        unit: UCUM; annotations in braces add nothing.
        monotonic: A counter: ends in ``_total``.
        gauge: With unit ``1`` it ends in ``_ratio``.
    """
    tokens = [t for t in _OTHER.split(name) if t]
    main, _, per = unit.partition("/")
    for suffix in (_unit(main, _UNITS), _per(per)):
        if suffix and suffix not in tokens:
            tokens.append(suffix)
    if monotonic:
        tokens = [*(t for t in tokens if t != "total"), "total"]
    if gauge and unit == "1":
        tokens = [*(t for t in tokens if t != "ratio"), "ratio"]
    joined = "_".join(tokens)
    return f"_{joined}" if joined[:1].isdigit() else joined


def label_name(key: str) -> str:
    """Return the Prometheus name of an attribute.

    >>> label_name("http.route")
    'http_route'
    """
    clean = _NOT_LABEL.sub("_", key)
    if clean.startswith("__"):
        # Prometheus keeps these for itself, ``__name__`` above all.
        return f"key{clean}"
    return f"key_{clean}" if clean[:1].isdigit() else clean


def _unit(unit: str, known: dict[str, str]) -> str:
    unit = unit.strip()
    if "{" in unit or "}" in unit:
        return ""
    return known.get(unit, "_".join(t for t in _OTHER.split(unit) if t))


def _per(unit: str) -> str:
    found = _unit(unit, _PER)
    return f"per_{found}" if found else ""
