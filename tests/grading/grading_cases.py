"""Builders of records for the tests of grading."""

from __future__ import annotations

from typing import Any

from aiopslab.models.evidence import CheckResult, Evidence, ObjectChange, SliWindow
from aiopslab.models.grade import Check, Grade
from aiopslab.models.search_space import NamedCause, SearchSpace
from aiopslab.models.trial import Step
from aiopslab.models.truth import RootCause, Truth

RATE = RootCause(
    component="rate",
    cause="memory_leak",
    system_level="Application",
    fault_type="Code Defect",
    accepted=[("rate-postgres", "too_many_connections"), ("node-a", "*")],
    aliases=["hotel-rate"],
)
GEO = RootCause(
    component="geo",
    cause="scaled_to_zero",
    system_level="Virtualization",
    fault_type="Operation Error",
)


SPACE = SearchSpace(
    components=["frontend", "geo", "job", "node-a", "profile", "rate", "rate-postgres", "search"],
    dependencies=[
        ("frontend", "profile"),
        ("frontend", "search"),
        ("rate", "rate-postgres"),
        ("search", "geo"),
        ("search", "rate"),
    ],
    entries={"search": "frontend"},
    causes={
        "memory_leak": NamedCause(family="release", definition="Memory is kept until the limit."),
        "errors_in_release": NamedCause(family="release", definition="A version answers errors."),
        "scaled_to_zero": NamedCause(family="kubernetes", definition="Scaled to no replicas."),
        "too_many_connections": NamedCause(family="database", definition="Clients are refused."),
    },
)


def truth(
    *causes: RootCause, twin: bool = False, space: SearchSpace | None = None, **fields: Any
) -> Truth:
    return Truth(
        incident="x",
        twin=twin,
        seed=1,
        draws={},
        root_causes=list(causes),
        fix=fields.pop("fix", []),
        injected_at=900.0 if causes else None,
        symptom_at=950.0 if causes else None,
        handover_at=1000.0,
        space=space,
        **fields,
    )


def step(n: int, tool: str = "logs_search", **fields: Any) -> Step:
    return Step.model_validate(
        {
            "n": n,
            "id": f"obs-{n}",
            "tool": tool,
            "effect": "read",
            "arguments": {},
            "ok": True,
            "text": "",
            "start": 1000.0 + n,
            "end": 1001.0 + n,
            **fields,
        }
    )


def window(**fields: Any) -> SliWindow:
    return SliWindow.model_validate(
        {
            "journey": "search",
            "start": 0.0,
            "end": 120.0,
            "offered": 600,
            "succeeded": 600,
            "p50_ms": 20.0,
            "p95_ms": 90.0,
            "p99_ms": 140.0,
            "slo_success": 0.995,
            "slo_p95_ms": 250.0,
            "met": True,
            **fields,
        }
    )


def healthy(**fields: Any) -> Evidence:
    met = CheckResult(id="gone", met=True, detail="the cause is gone")
    kept = CheckResult(id="ready:rate", met=True, detail="2 ready")
    return Evidence.model_validate(
        {
            "settle": [[window()], [window()]],
            "postconditions": [met],
            "invariants": [kept],
            "slo_violation_s": 80.0,
            "submitted_at": 1100.0,
            "restored_at": 1060.0,
            **fields,
        }
    )


def lost(ref: str) -> ObjectChange:
    return ObjectChange(ref=ref, change="removed")


def checks(grade: Grade) -> dict[str, Check]:
    return {c.id: c for c in grade.checks}
