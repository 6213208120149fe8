"""Units of durations as query languages and their APIs write them, and the longest there is.

Not here: which of the units a language knows and how it writes numbers (``explanations``,
``logql.tokens``, ``wire.monitoring.parameters``); durations in our own files (``models.base``).
"""

from __future__ import annotations

UNITS_S = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0,
    "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0,
}  # fmt: skip
"""Seconds of each; a year has 365 days, as in Prometheus. Micro is written with either sign."""
LONGEST_S = 2**63 / 1e9
"""Seconds that a ``time.Duration`` of Go can hold."""
