"""What one observer is told: which app, where, how much it may hold, who may ask."""

from __future__ import annotations

from dataclasses import dataclass

from aiopslab.environments.cluster.connection import Reach
from aiopslab.observer.recording import DEFAULT_LIMIT

HTTP_PORT, OTLP_PORT = 9090, 4318


@dataclass(frozen=True, slots=True)
class Settings:
    """One observer."""

    app: str
    """Name of the app that is observed."""
    namespace: str
    """Where it is."""
    token: str
    """Who knows it may ask; whoever reaches the OTLP port may send."""
    reach: Reach
    """The way to the API server."""
    host: str = "0.0.0.0"
    http_port: int = HTTP_PORT
    otlp_port: int = OTLP_PORT
    forward: str = ""
    """Base URL of a collector that OTLP is passed on to; empty: of none."""
    limit: int = DEFAULT_LIMIT
    """Bytes that the recording may hold."""
