"""Read-only SQL over the signals; see ``engine``."""

from aiopslab.telemetry.sql.engine import SqlEngine
from aiopslab.telemetry.sql.guard import TABLES

__all__ = ["TABLES", "SqlEngine"]
