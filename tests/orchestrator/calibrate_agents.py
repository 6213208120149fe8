"""An inner agent for tests of calibration: always sure, right where a digest says so."""

from __future__ import annotations

import hashlib
from typing import Any


class Sure:
    """Looks at alerts where it will be right, and at nothing where it will be wrong."""

    async def run(self, trial: Any) -> None:
        lucky = int(hashlib.sha256(trial.brief.trial.encode()).hexdigest(), 16) % 3 == 0
        if lucky:
            await trial.call("alerts")
        name = "web" if lucky else "cart"
        told: dict[str, Any]
        match trial.brief.task:
            case "localization":
                told = {"candidates": [{"component": name, "probability": 0.97}]}
            case _:
                cause = "scaled_to_zero" if lucky else "disk_full"
                hypothesis = {"component": name, "cause": cause, "probability": 0.97}
                told = {"hypotheses": [hypothesis]}
        await trial.call("submit", **told)
