"""Which agent plays: a loaded one, an object of this process, or the oracle.

Only the oracle is given the answer key, here and nowhere else; every other agent is made without
a look at the trial. Not here: finding agents (``agents.loading``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from aiopslab.agents.builtins import Oracle
from aiopslab.agents.loading import HUMAN, ORACLE, as_agent, load
from aiopslab.agents.protocol import Agent, TrialHandle
from aiopslab.agents.spec import ModelSettings, Surroundings
from aiopslab.errors import InfraError, PreflightError, UsageError
from aiopslab.models.answer import (
    Answer,
    Candidate,
    Detection,
    Diagnosis,
    Hypothesis,
    Localization,
    Mitigation,
)
from aiopslab.models.run import SEVERAL, PlannedTrial, RunConfig
from aiopslab.models.task import Task
from aiopslab.models.truth import Truth
from aiopslab.orchestrator.staging import Staged
from aiopslab.orchestrator.trial import AgentSource
from aiopslab.tools import embeddings


def agent_source(config: RunConfig) -> AgentSource:
    """Return what makes the agents of a run.

    Raises:
        UsageError: The agent is unknown; suggests near names.
    """
    if config.agent == SEVERAL:
        return _each_its_own(config)
    if config.agent == ORACLE:
        return oracle
    loader = load(config.agent)
    model, surroundings = _model(config), _surroundings(config)

    def build(staged: Staged, plan: PlannedTrial) -> Agent:
        try:
            return loader.build(config.agent_args, model, surroundings)
        except (InfraError, PreflightError, UsageError):
            raise  # something is missing where the run is carried out
        except (Exception, SystemExit) as error:
            return _Unmade(error)

    return build


@dataclass(frozen=True, slots=True)
class _Unmade:
    """Stands for an agent whose constructor raised: that is its failure, like one in ``run``."""

    error: BaseException

    async def run(self, trial: TrialHandle) -> None:
        """Raise what the constructor raised."""
        raise self.error


def _each_its_own(config: RunConfig) -> AgentSource:
    made: dict[str, AgentSource] = {}

    def build(staged: Staged, plan: PlannedTrial) -> Agent:
        name = config.agent_of(plan)
        if name not in made:
            made[name] = agent_source(config.model_copy(update={"agent": name}))
        return made[name](staged, plan)

    return build


def preflight(config: RunConfig, agents: Iterable[str]) -> None:
    """Refuse, before anything boots, an agent that is unknown or lacks something.

    Raises:
        UsageError: An agent or one of its arguments is unknown.
        PreflightError: A model, its key, a program or a container engine is missing, or the price
            that a cost limit needs.
    """
    for name in agents:
        if name == HUMAN:
            raise UsageError(f"agent {HUMAN!r} needs a terminal", hint="aiopslab play INCIDENT")
        if name != ORACLE:
            load(name).preflight(
                config.agent_args,
                _model(config),
                _surroundings(config),
                cost_limit=config.limits.cost_usd,
            )
    if config.context.embeddings is not None:
        embeddings.preflight(config.context.embeddings_url)


def of_object(agent: object) -> AgentSource:
    """Return a source that always gives the same object of this process.

    Raises:
        AgentError: It does not keep the contract.
    """
    checked = as_agent(agent)
    return lambda staged, plan: checked


def oracle(staged: Staged, plan: PlannedTrial) -> Agent:
    """Make the agent that plays the reference fix and the truth."""
    return Oracle(staged.truth.fix, right_answer(staged.task, staged.truth))


def right_answer(task: Task, truth: Truth) -> Answer:
    """Return the answer that scores full marks, with full confidence."""
    causes = truth.root_causes
    share = 1.0 / len(causes) if causes else 0.0
    match task:
        case "detection":
            return Detection(anomaly=bool(causes), confidence=1.0)
        case "localization":
            found = [Candidate(component=c.component, probability=share) for c in causes]
            return Localization(candidates=found)
        case "diagnosis":
            pairs = [
                Hypothesis(component=c.component, cause=c.cause, probability=share) for c in causes
            ]
            return Diagnosis(hypotheses=pairs)
        case "mitigation":
            said = "the cause is removed" if causes else "nothing was wrong, nothing was changed"
            return Mitigation(summary=said, confidence=1.0)
        case _:
            assert_never(task)


def _surroundings(config: RunConfig) -> Surroundings:
    return Surroundings(
        sandbox=config.sandbox, image=config.sandbox_image, env=tuple(config.agent_env)
    )


def _model(config: RunConfig) -> ModelSettings | None:
    if config.model is None:
        return None
    return ModelSettings(model=config.model, base_url=config.base_url)
