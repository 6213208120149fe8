"""A cluster as the agent of a task may use it: the same environment, with the agent's own rights.

Tools and assistants get this one; the lab keeps its own. What the cluster refuses an agent reaches
it as kubectl would say it. Not here: which rights a task has (``cluster.access``).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from aiopslab.environments.cluster.access import Access, Grant, give, issue, take
from aiopslab.environments.cluster.connection import Connection
from aiopslab.environments.cluster.kube import ClusterKube, Recorder
from aiopslab.environments.protocol import Environment, Kube, Substrate, Telemetry, Traffic
from aiopslab.models.evidence import CheckResult
from aiopslab.models.task import Task


class AgentsView:
    """One environment, seen by an agent; closing it leaves the environment as it is.

    Args:
        lab: The environment, as the lab has it.
        kube: The cluster, as the agent.
        access: Who the agent is to the cluster: for a kubeconfig of its own.
    """

    kube: Kube
    telemetry: Telemetry
    traffic: Traffic
    substrate: Substrate

    def __init__(self, lab: Environment, kube: Kube, access: Access) -> None:
        self._lab = lab
        self.access = access
        self.app = lab.app
        self.namespace = lab.namespace
        self.kube = kube
        self.telemetry = lab.telemetry
        self.traffic = lab.traffic
        self.substrate = lab.substrate

    def now(self) -> float:
        """Return unix seconds of the environment's clock."""
        return self._lab.now()

    async def advance(self, seconds: float) -> None:
        await self._lab.advance(seconds)

    async def deploy(self) -> None:
        await self._lab.deploy()

    async def for_agent(self, task: Task) -> Environment:
        return await self._lab.for_agent(task)

    async def probe(self) -> list[CheckResult]:
        return await self._lab.probe()

    async def data_digest(self) -> dict[str, int]:
        return await self._lab.data_digest()

    async def aclose(self) -> None:
        """Leave the environment to whoever made it."""


class Agents:
    """The identities of the agents of one trial, one at a time.

    Args:
        kube: The cluster, as the lab.
        grant: What an agent gets; the task is put in.
        lasts_s: Seconds until a token expires.
        recorder: Is told of what agents write.
    """

    def __init__(
        self, kube: ClusterKube, grant: Grant, lasts_s: int, recorder: Recorder | None = None
    ) -> None:
        self._kube = kube
        self._grant = grant
        self._lasts_s = lasts_s
        self._recorder = recorder
        self._connection: Connection | None = None
        self._given = False
        """Whether there is an identity, or a part of one."""

    async def view(self, lab: Environment, task: Task) -> AgentsView:
        """Make the identity of a task's agent; the one before loses its rights.

        Raises:
            KubeError: The cluster refuses to make it.
            InfraError: It does not answer.
        """
        await self.end()
        grant = replace(self._grant, task=task)
        self._given = True
        access = await give(self._kube, grant, lasts_s=self._lasts_s)
        reach = replace(self._kube.connection.reach, token=access.token)

        def another() -> str:
            return issue(self._kube, grant, lasts_s=self._lasts_s).token

        # Making one reads files and may run a program: not on this loop.
        self._connection = await asyncio.to_thread(Connection, reach, another)
        kube = ClusterKube(self._connection, now=lab.now, recorder=self._recorder)
        return AgentsView(lab, kube, access)

    async def end(self) -> None:
        """Take the present agent's identity away."""
        await self.hang_up()
        if self._given:
            await take(self._kube, self._grant.trial)
            self._given = False

    async def hang_up(self) -> None:
        """Close the present agent's connection; its identity is there until it is taken away."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.aclose()
