"""LogQL over the log table; see ``engine``."""

from aiopslab.telemetry.logql.engine import LogEngine
from aiopslab.telemetry.logql.expressions import parse

__all__ = ["LogEngine", "parse"]
