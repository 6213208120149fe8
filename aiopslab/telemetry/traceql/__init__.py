"""Trace search and TraceQL over the span table; see ``engine``."""

from aiopslab.telemetry.traceql.engine import TraceEngine

__all__ = ["TraceEngine"]
