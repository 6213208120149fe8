"""A benchmark for agents that operate cloud systems: sound incidents, reproducible runs.

The public names are imported on first use (PEP 562): ``import aiopslab`` itself loads nothing.

>>> from aiopslab import RunConfig, run_sync
>>> report = run_sync(RunConfig(targets=["quickstart"]))  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from aiopslab._version import __version__

if TYPE_CHECKING:
    from aiopslab.agents.protocol import Agent, TrialHandle
    from aiopslab.errors import (
        AgentError,
        AIOpsLabError,
        InfraError,
        LimitExceeded,
        PreflightError,
        UsageError,
    )
    from aiopslab.models.comparison import Comparison
    from aiopslab.models.observation import Brief, Budget, Observation, ToolInfo
    from aiopslab.models.run import Limits, Results, RunConfig
    from aiopslab.orchestrator.comparison import compare
    from aiopslab.orchestrator.progress import Progress
    from aiopslab.orchestrator.results import Regraded, regrade
    from aiopslab.orchestrator.run import RunReport, resume, run, run_sync

_HOMES = {
    "aiopslab.agents.protocol": ("Agent", "TrialHandle"),
    "aiopslab.errors": (
        "AIOpsLabError",
        "AgentError",
        "InfraError",
        "LimitExceeded",
        "PreflightError",
        "UsageError",
    ),
    "aiopslab.models.comparison": ("Comparison",),
    "aiopslab.models.observation": ("Brief", "Budget", "Observation", "ToolInfo"),
    "aiopslab.models.run": ("Limits", "Results", "RunConfig"),
    "aiopslab.orchestrator.comparison": ("compare",),
    "aiopslab.orchestrator.results": ("Regraded", "regrade"),
    "aiopslab.orchestrator.progress": ("Progress",),
    "aiopslab.orchestrator.run": ("RunReport", "resume", "run", "run_sync"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AIOpsLabError",
    "Agent",
    "AgentError",
    "Brief",
    "Budget",
    "Comparison",
    "InfraError",
    "LimitExceeded",
    "Limits",
    "Observation",
    "PreflightError",
    "Progress",
    "Regraded",
    "Results",
    "RunConfig",
    "RunReport",
    "ToolInfo",
    "TrialHandle",
    "UsageError",
    "__version__",
    "compare",
    "regrade",
    "resume",
    "run",
    "run_sync",
]


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'aiopslab' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    """List the public names."""
    return list(__all__)
