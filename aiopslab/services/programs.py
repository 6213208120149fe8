"""What an image runs: the program that interprets endpoints, or one named by its service.

A named program is written for one role (an inference engine, a router) against the same protocols.
It reads the ConfigMap of its service like any other and serves the endpoints the service lists, so
probes, rollouts, limits and NetworkPolicies apply to it as to every pod. Not here: the programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aiopslab.models.app import App
from aiopslab.models.kube import ExecResult
from aiopslab.services.config import Config
from aiopslab.services.llm import (
    autoscaler,
    encoder,
    engine,
    fair_sched,
    gateway,
    len_predictor,
    platform_agent,
    power_mgr,
    queue_mgr,
    router,
)
from aiopslab.services.process import Process
from aiopslab.services.protocols import Host


class Program(Protocol):
    """One process."""

    async def run(self) -> int:
        """Serve until told to end; return the exit code."""
        ...

    def command(self, argv: Sequence[str]) -> ExecResult | None:
        """Run a command the image has beside its shell; None if it has no such command."""
        ...


Make = Callable[[App, str, str, Host], Program]
PROGRAMS: Mapping[str, Make] = {
    "llm-autoscaler": autoscaler.Autoscaler,
    "llm-encoder": encoder.Encoder,
    "llm-engine": engine.Engine,
    "llm-fair-sched": fair_sched.FairSched,
    "llm-gateway": gateway.Gateway,
    "llm-len-predictor": len_predictor.LenPredictor,
    "llm-platform-agent": platform_agent.PlatformAgent,
    "llm-power-mgr": power_mgr.PowerManager,
    "llm-queue": queue_mgr.QueueManager,
    "llm-router": router.Router,
}
CHECKS: Mapping[str, Callable[[Config], object]] = {
    "llm-autoscaler": autoscaler.Settings.read,
    "llm-encoder": encoder.Settings.read,
    "llm-engine": engine.Settings.read,
    "llm-fair-sched": fair_sched.Settings.read,
    "llm-gateway": gateway.Settings.read,
    "llm-len-predictor": len_predictor.Settings.read,
    "llm-platform-agent": platform_agent.Settings.read,
    "llm-power-mgr": power_mgr.Settings.read,
    "llm-queue": queue_mgr.Settings.read,
    "llm-router": router.Settings.read,
}
"""What reads a program's own keys; raises ``ConfigError``."""


def make(app: App, service: str, version: str, host: Host, job: str = "") -> Program:
    """Make the program of a service at a version; ``job`` runs one job of the app instead."""
    name = app.services[service].program
    if name is None:
        return Process(app, service, version, host, job=job)
    return PROGRAMS[name](app, service, version, host)
