"""What a repair did beside repairing: what it changed for nothing, what it costs, what it undid.

Read off the differences that remain (``evidence.json``) and the objects before and after each
write (``steps.jsonl``). None of it gates: what must not happen at all is the owners' intent and
nothing lost (``mitigation``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aiopslab.grading.components import names, same_component
from aiopslab.models.evidence import Evidence
from aiopslab.models.trial import Step
from aiopslab.models.truth import Truth

Object = dict[str, Any]
_WORD = re.compile(r"[\w.-]+")
_SERVER_SET = ("resourceVersion", "generation", "managedFields", "uid", "creationTimestamp")


def side_effects(
    truth: Truth, evidence: Evidence, steps: Sequence[Step]
) -> dict[str, float | None]:
    """Return the scores: ``reverts``, ``collateral`` and those of ``added_requests``.

    Where the end was not measured, because nothing was submitted, what it left is unknown.
    """
    measured = evidence.slo_violation_s is not None
    return {
        "reverts": float(reverts(steps)),
        "collateral": float(len(collateral(truth, evidence, steps))) if measured else None,
        **added_requests(evidence),
    }


def collateral(truth: Truth, evidence: Evidence, steps: Sequence[Step]) -> list[str]:
    """Name what was changed for nothing, sorted: what is lost, and what the fix did not need.

    That is an object that a write of the agent touched, that differs from its state before the
    incident, and that is neither of a root cause's component nor named in the reference fix. What
    controllers and jobs changed by themselves is nobody's.
    """
    needed = [name for cause in truth.root_causes for name in names(cause)]
    needed += [place for cause in truth.root_causes for place, _ in cause.accepted]
    for step in truth.fix:
        needed += _WORD.findall(" ".join(str(v) for v in step.arguments.values()))
    touched = {ref for step in _writes(steps) for ref in {**_of(step.before), **_of(step.after)}}
    changed = [
        change.ref
        for change in evidence.changes
        if _short(change.ref) in touched and not same_component(_name(change.ref), needed)
    ]
    return sorted({*changed, *(change.ref for change in evidence.losses)})


def reverts(steps: Sequence[Step]) -> int:
    """Count the writes that took an earlier write back.

    One does if an object that it changed is afterwards as it was before an earlier write to it, or
    is gone again as it was then. Status and what the server sets do not count.
    """
    count = 0
    former: dict[str, list[Object | None]] = {}
    for step in _writes(steps):
        before, after = _of(step.before), _of(step.after)
        back = False
        for ref in sorted({*before, *after}):
            old, new = before.get(ref), after.get(ref)
            if old == new:
                continue
            back = back or new in former.get(ref, [])
            former.setdefault(ref, []).append(old)
        count += back
    return count


def added_requests(evidence: Evidence) -> dict[str, float | None]:
    """Return what workloads ask for more than before: cores, bytes, replicas, share of the budget.

    Below 0 they ask for less. ``budget_used`` is the growth of the CPU requests over the growth
    that the owners allow: 1 is all of it. None where it was not measured.
    """
    before, after = evidence.requests_before, evidence.requests_after
    if before is None or after is None:
        return dict.fromkeys(("cpu_added", "memory_added", "replicas_added", "budget_used"))
    allowed = before.cpu * (evidence.cpu_growth_allowed or 0.0)
    # Sums of decimal fractions: what is below a millionth of a core is rounding.
    cpu = round(after.cpu - before.cpu, 6)
    return {
        "cpu_added": cpu,
        "memory_added": after.memory - before.memory,
        "replicas_added": float(after.replicas - before.replicas),
        "budget_used": cpu / allowed if allowed else None,
    }


def _writes(steps: Sequence[Step]) -> list[Step]:
    return [s for s in steps if s.effect == "write" and s.ok]


def _of(recorded: Any) -> dict[str, Object]:
    """Find the objects in what a step recorded, by ``Kind/name``, as their owners wrote them."""
    found = {}
    for item in recorded if isinstance(recorded, list) else [recorded]:
        if isinstance(item, dict) and isinstance(item.get("metadata"), dict) and "kind" in item:
            meta = {k: v for k, v in item["metadata"].items() if k not in _SERVER_SET}
            kept = {k: v for k, v in item.items() if k != "status"}
            found[f"{item['kind']}/{meta.get('name', '')}"] = {**kept, "metadata": meta}
    return found


def _short(ref: str) -> str:
    """Return ``Kind/name`` of ``Kind/namespace/name``."""
    return f"{ref.partition('/')[0]}/{_name(ref)}"


def _name(ref: str) -> str:
    return ref.rpartition("/")[2]
