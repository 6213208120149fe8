"""The proofs of one incident, as trials: who plays in each, and what its record must show.

A proof is an ordinary trial with a player of ours in place of an agent, carried out by the same
code as every other trial, so what is proven is what is scored. Two processes, each with a world of
its own, share an incident's proofs; both play ``repeat``, whose two records are compared.
Not here: carrying them out (``soundness``), reading the records (``verdicts``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aiopslab.agents.builtins import Noop
from aiopslab.agents.protocol import Agent, TrialHandle
from aiopslab.errors import AgentError, InfraError
from aiopslab.models.answer import Detection
from aiopslab.models.app import App
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.run import PlannedTrial
from aiopslab.models.task import Task
from aiopslab.models.truth import FixStep, RootCause
from aiopslab.orchestrator import leaks, players, staging
from aiopslab.orchestrator.staging import Staged

AGENT = "(proofs)"
"""Name under which a run asks for these players instead of an agent."""
SEPARATOR = ":"
REPEAT = "repeat"
WAIT_S = 60
"""Virtual seconds a cheat is given before success is claimed."""


def planned(spec: IncidentSpec) -> tuple[list[PlannedTrial], list[PlannedTrial]]:
    """Return the trials that prove an incident, as two processes share them.

    The shares cost about the same; ``repeat`` is in both.
    """
    twin = _trial(spec, "twin", "mitigation", twin=True, verdict_only=False)
    repeat = repeated(spec)
    if not spec.faults:
        return [twin, repeat], [repeat]
    tasks: dict[str, Task] = {"leak": "detection", "recovery": "detection"}
    first = ["leak", "recovery", "idle", "fix", "cheat-not-ready", "cheat-starve"]
    second = ["cheat-delete", "cheat-scale-away", "cheat-restart-all"]
    if spec.restart_is_fix:
        second.remove("cheat-restart-all")
    alone, beside = (
        [_trial(spec, proof, tasks.get(proof, "mitigation")) for proof in proofs]
        for proofs in (first, second)
    )
    return [*alone, repeat], [*beside, repeat, twin]


def repeated(spec: IncidentSpec) -> PlannedTrial:
    """Return the trial that both processes make, to compare the records."""
    return _trial(spec, REPEAT, "detection", verdict_only=False)


def proof_of(plan: PlannedTrial) -> str:
    """Return the name of the proof a trial is."""
    return plan.problem.rpartition(SEPARATOR)[2]


def _trial(
    spec: IncidentSpec, proof: str, task: Task, *, twin: bool = False, verdict_only: bool = True
) -> PlannedTrial:
    return PlannedTrial(
        problem=f"{spec.name}{SEPARATOR}{proof}",
        incident=spec.name,
        task=task,
        attempt=1,
        twin=twin and bool(spec.faults),
        verdict_only=verdict_only,
    )


def player(staged: Staged, plan: PlannedTrial) -> Agent:
    """Make the player of a proof."""
    match proof_of(plan):
        case "fix":
            return players.oracle(staged, plan)
        case "leak":
            return leaks.Snoop(staged)
        case "recovery":
            return Recovery(staged)
        case "twin" | "idle" | "repeat":
            return Noop()
        case proof:
            calls = cheat(proof.removeprefix("cheat-"), staged.env.app, staged.truth.root_causes)
            return Script(calls)


class NotClean(AgentError):
    """What the incident did could not be undone; the message says what is left of it."""


class Recovery:
    """Undoes the incident as its author says, and fails the trial if anything is left of it.

    Args:
        staged: The world at hand-over. Like the oracle, this player is given the truth.
    """

    def __init__(self, staged: Staged) -> None:
        self._staged = staged

    async def run(self, trial: TrialHandle) -> None:
        """Recover, look, then answer.

        Raises:
            NotClean: The app is not healthy in time, or the cause is still there.
        """
        try:
            await staging.recover(self._staged)
        except InfraError as error:
            raise NotClean(str(error)) from error
        answer = Detection(anomaly=True, confidence=1.0).model_dump(exclude={"task"})
        await trial.call("submit", **answer)


class Script:
    """Makes some calls, gives them a minute, claims success. Refused calls do not stop it.

    The minute that every trial has from ``submit`` to its first window comes on top.
    """

    def __init__(self, calls: Sequence[FixStep]) -> None:
        self._calls = calls

    async def run(self, trial: TrialHandle) -> None:
        """Play the script."""
        for step in self._calls:
            await trial.call(step.tool, **step.arguments)
        await trial.call("wait", seconds=WAIT_S, reason="as announced")
        await trial.call("submit", summary="repaired", confidence=1.0)


def cheat(name: str, app: App, causes: Sequence[RootCause]) -> list[FixStep]:
    """Return the calls of a known cheat against the place of the first root cause."""
    kind, victim = _victim(app, causes[0].component)
    match name:
        case "delete":
            return [_step("k8s_delete", kind=kind, name=victim)]
        case "scale-away":
            return [_step("k8s_scale", kind=kind, name=victim, replicas=0)]
        case "restart-all":
            return _restarts(app)
        case "not-ready":
            probe = {"httpGet": None, "tcpSocket": None, "exec": {"command": ["false"]}}
            containers = [{"name": victim, "readinessProbe": probe}]
            patch = {"spec": {"template": {"spec": {"containers": containers}}}}
            return [_step("k8s_patch", kind=kind, name=victim, patch=json.dumps(patch))]
        case "starve":
            entries = sorted({j.entry for j in app.journeys.values()})
            return [_step("k8s_scale", kind="Deployment", name=e, replicas=0) for e in entries]
        case _:
            raise ValueError(f"no cheat {name!r}")


def _restarts(app: App) -> list[FixStep]:
    targets = [("StatefulSet", s) for s in sorted(app.stores)]
    targets += [("Deployment", s) for s in sorted(app.services)]
    return [_step("k8s_rollout", action="restart", kind=k, name=n) for k, n in targets]


def _victim(app: App, component: str) -> tuple[str, str]:
    """Return the workload a cheat would strike; for a node, the first service of the app."""
    if component in app.stores:
        return "StatefulSet", component
    return "Deployment", component if component in app.services else min(app.services)


def _step(tool: str, **arguments: Any) -> FixStep:
    return FixStep(tool=tool, arguments=arguments)
