"""The proofs of one incident, as trials: who plays in each, and what its record must show.

A proof is an ordinary trial with a player of ours in place of an agent, carried out by the same
code as every other trial, so what is proven is what is scored. Two processes, each with a world of
its own, share an incident's proofs; both play ``repeat``, whose two records are compared.
Not here: carrying them out (``soundness``), reading the records (``verdicts``).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from aiopslab.agents.builtins import Noop
from aiopslab.agents.protocol import Agent, TrialHandle
from aiopslab.errors import AgentError, InfraError
from aiopslab.models.answer import Detection
from aiopslab.models.app import App
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.run import PlannedTrial
from aiopslab.models.truth import FixStep, RootCause
from aiopslab.orchestrator import leaks, staging
from aiopslab.orchestrator.staging import Staged

AGENT = "(proofs)"
"""Name under which a run asks for these players instead of an agent."""
SEPARATOR = ":"
REPEAT = "repeat"
ONLY = "fix-only-"
"""Of several faults one alone is repaired, which must not do."""
ALONE = "alone-"
"""Of joint faults one alone acts, which must not hurt."""
MOST = 3
"""Faults of one incident, at most."""
FIRST = ("leak", "recovery", "idle", "fix", "cheat-delete", "cheat-scale-away", "cheat-starve")
SECOND = ("cheat-not-ready", "cheat-restart-all", "twin")
"""The shares of the two processes; they cost about the same."""
PARTS = tuple(f"{part}{n}" for part in (ONLY, ALONE) for n in range(1, MOST + 1))
PROOFS = (*FIRST, *SECOND, *PARTS, REPEAT)
WAIT_S = 30
"""Virtual seconds a cheat is given before success is claimed."""
PATIENCE = 20
"""How often ``Repair`` waits."""
WELL_S = 30.0
"""Virtual seconds for which users must have been well before ``Repair`` claims success."""
_READING: tuple[str, ...] = ("leak", "recovery", REPEAT)
"""Proofs whose trial ends at hand-over; the others are asked as mitigation."""
_RECORDED = ("twin", REPEAT)
"""Proofs whose record is looked at as a whole."""


def planned(
    spec: IncidentSpec, *, attempt: int = 1, only: Collection[str] = ()
) -> tuple[list[PlannedTrial], list[PlannedTrial]]:
    """Return the trials that prove an incident, as two processes share them.

    Args:
        spec: The incident.
        attempt: Which draw of it.
        only: Names of the proofs to plan; empty means all.
    """
    faulty = bool(spec.faults)
    no_cheat = {"cheat-restart-all"} if spec.restart_is_fix else set()
    part = ALONE if spec.joint else ONLY
    parts = [f"{part}{n}" for n in range(1, len(spec.faults) + 1)] if len(spec.faults) > 1 else []

    def share(names: Sequence[str]) -> list[PlannedTrial]:
        return [
            _trial(spec, name, attempt)
            for name in (*names, REPEAT)
            if (not only or name in only) and (faulty or name in _RECORDED) and name not in no_cheat
        ]

    return share(FIRST), share([*SECOND, *parts])


def proof_of(plan: PlannedTrial) -> str:
    """Return the name of the proof a trial is."""
    return plan.problem.rpartition(SEPARATOR)[2]


def _trial(spec: IncidentSpec, proof: str, attempt: int) -> PlannedTrial:
    return PlannedTrial(
        problem=f"{spec.name}{SEPARATOR}{proof}",
        incident=spec.name,
        task="detection" if proof in _READING else "mitigation",
        attempt=attempt,
        twin=proof == "twin" and bool(spec.faults),
        alone=int(proof.removeprefix(ALONE)) if proof.startswith(ALONE) else None,
        verdict_only=proof not in _RECORDED,
        telemetry=proof in _RECORDED,
    )


def player(staged: Staged, plan: PlannedTrial) -> Agent:
    """Make the player of a proof."""
    match proof_of(plan):
        case "fix":
            return Repair(staged, staged.truth.fix)
        case proof if proof.startswith(ONLY):
            faults = staged.drawn.live_faults(twin=staged.twin)
            return Repair(staged, faults[int(proof.removeprefix(ONLY)) - 1].fix())
        case "leak":
            return leaks.Snoop(staged)
        case "recovery":
            return Recovery(staged)
        case proof if proof in ("twin", "idle", REPEAT) or proof.startswith(ALONE):
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


class Repair:
    """Plays a reference fix and claims success once users are well again.

    Args:
        staged: The world at hand-over. Like the oracle, this player is given the truth.
        plan: The fix of all faults, or of one.
    """

    def __init__(self, staged: Staged, plan: Sequence[FixStep]) -> None:
        self._env = staged.env
        self._plan = plan

    async def run(self, trial: TrialHandle) -> None:
        """Repair, wait, submit.

        Raises:
            AgentError: A tool refused a step: the plan does not fit the tools.
        """
        for step in self._plan:
            seen = await trial.call(step.tool, **step.arguments)
            if not seen.ok:
                raise AgentError(f"{seen.tool} refused a step of the plan: {seen.text}")
        for _ in range(PATIENCE):
            await trial.call("wait", seconds=int(WELL_S), reason="the repair takes effect")
            if await self._well():
                break
        await trial.call("submit", summary="repaired", confidence=1.0)

    async def _well(self) -> bool:
        now = self._env.now()
        return all(w.met or not w.offered for w in await self._env.traffic.slis(now - WELL_S, now))


class Script:
    """Makes some calls, gives them time, claims success. Refused calls do not stop it.

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
    """Return the calls of a known cheat against the places of the root causes."""
    victims = list(dict.fromkeys(_victim(app, cause.component) for cause in causes))
    match name:
        case "delete":
            return [_step("k8s_delete", kind=k, name=v) for k, v in victims]
        case "scale-away":
            return [_step("k8s_scale", kind=k, name=v, replicas=0) for k, v in victims]
        case "restart-all":
            return _restarts(app)
        case "not-ready":
            return [_not_ready(k, v) for k, v in victims]
        case "starve":
            entries = sorted({j.entry for j in app.journeys.values()})
            return [_step("k8s_scale", kind="Deployment", name=e, replicas=0) for e in entries]
        case _:
            raise ValueError(f"no cheat {name!r}")


def _not_ready(kind: str, victim: str) -> FixStep:
    probe = {"httpGet": None, "tcpSocket": None, "exec": {"command": ["false"]}}
    containers = [{"name": victim, "readinessProbe": probe}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    return _step("k8s_patch", kind=kind, name=victim, patch=json.dumps(patch))


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
