"""Cause kinds: the vocabulary of the diagnosis task, shown to agents (``problems/causes.yaml``)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Model

SystemLevel = Literal["Hardware", "Operating System", "Virtualization", "Application"]
FaultType = Literal[
    "Misconfiguration",
    "Code Defect",
    "Authentication Issue",
    "Network/Storage Issue",
    "Operation Error",
    "Dependency Problem",
]


class CauseKind(Model):
    """One kind of root cause, in application terms."""

    id: str
    family: str
    definition: str
    system_level: SystemLevel
    """AIOpsLab's label, for comparability."""
    fault_type: FaultType


class CauseCatalogue(Model):
    """The whole versioned vocabulary."""

    schema_: Literal["aiopslab/causes@1"] = Field(alias="schema")
    version: str
    causes: list[CauseKind]
