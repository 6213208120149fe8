"""Was it worth having the agent? Its SLO violations against no action and the reference fix.

Not here: how the two courses are played (``orchestrator.counterfactual``).
"""

from __future__ import annotations

from aiopslab.models.counterfactual import Counterfactual


def benefit(slo_violation_s: float | None, beside: Counterfactual) -> float | None:
    """Return how much of what could be spared the users was spared them.

    ``(nothing - agent) / (nothing - reference)`` in seconds of SLO violation, at most 1: 0 is what
    doing nothing gives, 1 the reference fix, below 0 the agent made it worse.

    Args:
        slo_violation_s: The agent's, from hand-over to the end; None where it was not measured.
        beside: The two courses, to the same end.

    Returns:
        None where it was not measured, or where the reference fix spares nothing either.
    """
    spared = beside.nothing.slo_violation_s - beside.reference.slo_violation_s
    if slo_violation_s is None or spared <= 0.0:
        return None
    return min(1.0, (beside.nothing.slo_violation_s - slo_violation_s) / spared)
