"""The monitoring APIs side by side: which there are, and where each hangs.

Not here: OTLP, which takes telemetry in rather than giving it out (``otlp``).
"""

from __future__ import annotations

from aiopslab.environments.protocol import Monitored
from aiopslab.wire.gate import Gate
from aiopslab.wire.monitoring.alertmanager import alertmanager_app, alertmanager_refusal
from aiopslab.wire.monitoring.jaeger import jaeger_app, jaeger_refusal
from aiopslab.wire.monitoring.loki import loki_app, loki_refusal
from aiopslab.wire.monitoring.prometheus import prometheus_app, prometheus_refusal
from aiopslab.wire.monitoring.tempo import tempo_app, tempo_refusal
from aiopslab.wire.site import Mount

APIS = ("prometheus", "loki", "jaeger", "tempo", "alertmanager")
"""By name; each hangs at the path of its name."""


def monitoring(env: Monitored, gate: Gate) -> list[Mount]:
    """Mount every API that tells what is known of an environment."""
    return [
        Mount("/prometheus", prometheus_app(env, gate), prometheus_refusal),
        Mount("/loki", loki_app(env, gate), loki_refusal),
        Mount("/jaeger", jaeger_app(env, gate), jaeger_refusal),
        Mount("/tempo", tempo_app(env, gate), tempo_refusal),
        Mount("/alertmanager", alertmanager_app(env, gate), alertmanager_refusal),
    ]
