"""What users were promised, checked: the part of ``probe`` that all environments share."""

from __future__ import annotations

from collections.abc import Iterable

from aiopslab.models.evidence import CheckResult, SliWindow

HEALTH_S = 60.0
"""Length of the window in which ``probe`` looks at the SLOs."""


def slo_checks(windows: Iterable[SliWindow]) -> list[CheckResult]:
    """Return for each journey whether its promise is kept."""
    checks = []
    for window in windows:
        share = window.succeeded / window.offered if window.offered else 0.0
        p95 = f"{window.p95_ms:.0f} ms" if window.p95_ms is not None else "unknown"
        detail = f"success {share:.4f} of {window.offered}, p95 {p95}"
        if window.ttft_p95_ms is not None:
            detail += f", first part p95 {window.ttft_p95_ms:.0f} ms"
        checks.append(CheckResult(id=f"slo:{window.journey}", met=window.met, detail=detail))
    return checks
