"""``rollback-latest-change``: what changed last did it, so it is undone.

Rollouts are undone by ``rollout undo``, ConfigMap values are set back (and their readers
restarted), replicas are scaled back; the change log says what was there before. Other changes are
blamed, and left.
"""

from __future__ import annotations

import json
import re
from typing import Any

from aiopslab.agents.protocol import TrialHandle
from aiopslab.agents.trivial.guess import Guess, Guesser, Suspicion, restart, workloads
from aiopslab.models.truth import FixStep

WINDOW = "now-60m"
"""Older changes are not blamed."""
CAUSES = {
    "rollout": "errors_in_release",
    "config": "config_value_wrong",
    "secret": "credentials_mismatch",
    "scale": "scaled_to_zero",
    "network": "network_policy_denied",
    "database": "database_permission_revoked",
    "other": "config_value_wrong",
}
"""Kind of a change to the cause it is blamed for."""
_OBJECT = re.compile(r"ConfigMap (?P<name>\S+) updated")
_VALUE = re.compile(r'data\.(?P<key>[^:]+): (?P<old>\(absent\)|".*?") -> ')
_SCALE = re.compile(r"scale (?P<name>\S+): (?P<old>\d+) -> \d+")


class RollbackLatestChange(Guesser):
    """Blames the newest entry of the change log and takes it back."""

    async def guess(self, trial: TrialHandle) -> Guess:
        """Read the change log."""
        seen = await trial.call("changes", start=WINDOW)
        if not seen.data:
            return Guess(anomaly=0.0)
        latest = seen.data[0]
        cause = CAUSES[latest["kind"]]
        kinds = {name: kind for kind, name in await workloads(trial)}
        kind = kinds.get(latest["component"], "")
        return Guess(
            anomaly=0.9,
            suspicions=[Suspicion(latest["component"], cause, 0.9)],
            repair=_undo(latest, kind),
        )


def _undo(change: dict[str, Any], kind: str) -> list[FixStep]:
    """Return the calls that take a change back; none where the log does not say how."""
    name = change["component"]
    if change["kind"] == "rollout" and kind:
        undo = {"action": "undo", "kind": kind, "name": name}
        return [FixStep(tool="k8s_rollout", arguments=undo)]
    if match := _SCALE.match(change["summary"]):
        back = {"name": match["name"], "replicas": int(match["old"]), "kind": kind or "Deployment"}
        return [FixStep(tool="k8s_scale", arguments=back)]
    if match := _OBJECT.match(change["summary"]):
        values = {
            v["key"]: None if v["old"] == "(absent)" else json.loads(v["old"])
            for v in _VALUE.finditer(change["diff"])
        }
        patch = {"kind": "ConfigMap", "name": match["name"], "type": "merge"}
        patch["patch"] = json.dumps({"data": values})
        again = [restart(kind, name)] if kind else []
        return [FixStep(tool="k8s_patch", arguments=patch), *again]
    return []
