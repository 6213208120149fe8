"""A mapping in words: what it was fitted on, what its forms scored, the map, its test.

Pure text from ``ConfidenceMapping``. Not here: how it comes about (``grading.mapping``).
"""

from __future__ import annotations

from aiopslab.models.confidence import Feature
from aiopslab.models.mapping import ConfidenceMapping, HeldOut
from aiopslab.models.run import Estimate

_AT = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Where the map is shown."""
_STATED = 0.9
"""What the agent states where two other features are shown."""
Rows = tuple[list[str], list[list[str]]]


def heading(mapping: ConfidenceMapping) -> list[str]:
    """Return what the mapping is and where it is from, a line each."""
    on = mapping.fitted_on
    judge = f"judge {mapping.judge}" if mapping.judge else "no judge"
    how = [f"ablation {mapping.ablation}", judge, mapping.prompts, *on.models]
    seeds = f"seed{'s' if len(on.seeds) != 1 else ''} {', '.join(map(str, on.seeds))}"
    kept = f", {len(on.held_out)} kept for a test" if on.held_out else ""
    return [
        f"{mapping.form.kind} on {', '.join(mapping.features)}    {', '.join(filter(None, how))}",
        f"fitted on {mapping.n} answers of {', '.join(on.inner)}, {mapping.n_right} right: "
        f"{', '.join(mapping.tasks)}",
        f"from {', '.join(on.runs)}: {', '.join(on.labels)}, {', '.join(on.environments)}, "
        f"{seeds}, {len(on.incidents)} incidents{kept}",
    ]


def score_rows(mapping: ConfidenceMapping) -> Rows:
    """Return what each form scored on the folds it was not fitted on, and what needs no form."""
    columns = ["form", "Brier", "log loss", ""]
    rows = [
        [s.name, f"{s.brier:.4f}", f"{s.log_loss:.4f}", _remark(mapping, s.name, s.candidate)]
        for s in mapping.scores
    ]
    return columns, rows


def map_rows(mapping: ConfidenceMapping) -> Rows:
    """Return the map on a grid: COE down and RCE across, or a line of the only feature."""
    if "coe" not in mapping.features:
        only = mapping.features[0]
        columns = [only, *(f"{x:.1f}" for x in _AT)]
        return columns, [["confidence", *(f"{mapping.confidence({only: x}):.2f}" for x in _AT)]]
    columns = ["COE \\ RCE", *(f"{x:.1f}" for x in _AT)]
    rows = [
        [f"{coe:.1f}", *(f"{mapping.confidence(_seen(coe, rce)):.2f}" for rce in _AT)]
        for coe in _AT
    ]
    return columns, rows


def map_note(mapping: ConfidenceMapping) -> str:
    """Say at which stated confidence the map is shown; empty where that is no feature beside."""
    return f"at a stated confidence of {_STATED:g}" if "coe" in mapping.features else ""


def heldout_rows(test: HeldOut) -> Rows:
    """Return the figures of each kind of confidence on answers of other incidents."""
    columns = ["confidence", "Brier", "log loss", "overconfidence", "AUROC", "ECE", "chance (95%)"]
    rows = [
        [
            row.name,
            f"{row.brier:.4f}",
            f"{row.log_loss:.4f}",
            f"{row.overconfidence:+.3f}",
            "-" if row.auroc is None else f"{row.auroc:.2f}",
            f"{row.ece:.3f}",
            f"{row.ece_floor_p95:.3f}",
        ]
        for row in test.rows
    ]
    return columns, rows


def heldout_lines(test: HeldOut) -> list[str]:
    """Say on what was tested and whether the mapping lowers the Brier score."""
    found = test.difference
    left = (
        f"; {test.n_left_out} answers of incidents of the fit left out" if test.n_left_out else ""
    )
    lines = [
        f"tested on {test.n} answers of {test.n_incidents} other incidents, {test.n_right} right"
        f"{left}",
        f"Brier, mapped minus as stated: {_difference(found)}",
    ]
    if found.high is None or found.low is None:
        return [*lines, "one incident: no interval"]
    if found.high < 0.0:
        return [*lines, "the mapping lowers the Brier score"]
    if found.low > 0.0:
        return [*lines, "the mapping raises the Brier score: leave it out"]
    return [*lines, "not shown to lower the Brier score: the interval holds 0"]


def _difference(found: Estimate) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "-" if found.value is None else f"{found.value:+.3f}"
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}] (95% CI)"


def _seen(coe: float, rce: float) -> dict[Feature, float]:
    return {"coe": coe, "rce": rce, "stated": _STATED}


def _remark(mapping: ConfidenceMapping, name: str, candidate: bool) -> str:
    if name == mapping.form.kind:
        rate = next(s.brier for s in mapping.scores if s.name == "base rate")
        own = next(s.brier for s in mapping.scores if s.name == name)
        return "chosen" if own < rate else "chosen, but no better than the base rate"
    return "" if candidate else "for comparison"
