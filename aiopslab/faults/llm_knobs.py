"""What the LLM families share: keys of one program's ConfigMaps that got wrong values.

A change reaches one service, or every service that runs the same program, as a pipeline rolls a
configuration out. Keys that the program reads while it runs need no restart. Not here: which keys
(``llm_scheduling``, ``llm_engines``).
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, edit, fetch, restart, rolled_out
from aiopslab.models.app import App
from aiopslab.models.cause import FaultType, SystemLevel
from aiopslab.models.evidence import CheckResult
from aiopslab.models.support import Support, simulated
from aiopslab.models.truth import FixStep
from aiopslab.services.config import settings

PIPELINE = "config-sync"
FOLLOWED = FixStep(tool="wait", arguments={"seconds": 90.0, "reason": "until the keys are read"})
"""Mounted files follow a ConfigMap within about a minute."""


class Knobs(Fault):
    """Keys of one program set to wrong values."""

    support: ClassVar[Support] = simulated(
        "llmserve is tied to machines with GPUs, which are simulated"
    )
    system_level: ClassVar[SystemLevel] = "Application"
    fault_type: ClassVar[FaultType] = "Misconfiguration"
    program: ClassVar[str]
    """Which services it fits."""
    everywhere: ClassVar[bool] = False
    """Whether all services of the program get the values, not only the target."""
    restarts: ClassVar[bool] = False
    """Whether the keys are read at start only."""
    actor: ClassVar[str] = PIPELINE

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        service = app.services.get(component)
        return service is not None and service.program == cls.program

    @abstractmethod
    def wrong(self) -> Mapping[str, str]:
        """Return the keys and the values they get."""

    def good(self, key: str, value: str | None) -> bool:
        """Say whether a value of one of the keys removes the cause."""
        return value is not None and value != self.wrong()[key]

    def components(self) -> list[str]:
        """Name the services that get the values, sorted."""
        if not self.everywhere:
            return [self.site.target]
        app = self.site.app
        return sorted(n for n, s in app.services.items() if s.program == self.program)

    def right(self, component: str) -> dict[str, str]:
        """Return the keys' values as the app has them."""
        declared = settings(self.site.app, component)
        return {key: declared[key] for key in self.wrong()}

    async def _set(self, env: Environment, component: str, data: Mapping[str, str]) -> None:
        name, patch = f"{component}-config", {"data": dict(data)}
        await edit(env, "ConfigMap", name, patch, actor=self.actor, type="merge")
        if self.restarts:
            await restart(env, "Deployment", component, actor=self.actor)

    async def inject(self, env: Environment) -> None:
        for component in self.components():
            await self._set(env, component, self.wrong())

    async def recover(self, env: Environment) -> None:
        for component in self.components():
            await self._set(env, component, self.right(component))

    def fix(self) -> list[FixStep]:
        steps = []
        for component in self.components():
            patch = json.dumps({"data": self.right(component)})
            arguments = {
                "kind": "ConfigMap", "name": f"{component}-config", "patch": patch,
                "type": "merge",
            }  # fmt: skip
            steps.append(FixStep(tool="k8s_patch", arguments=arguments))
            if self.restarts:
                again = {"action": "restart", "kind": "Deployment", "name": component}
                steps.append(FixStep(tool="k8s_rollout", arguments=again))
        return steps if self.restarts else [*steps, FOLLOWED]

    def aliases(self) -> list[str]:
        return [f"{self.site.target}-config"]

    def accepted(self) -> list[tuple[str, str]]:
        causes = [self.cause, "config_value_wrong"]
        return [
            (component, cause)
            for component in self.components()
            for cause in causes
            if (component, cause) != (self.site.target, self.cause)
        ]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        checks = []
        for component in self.components():
            config = await fetch(env, "ConfigMap", f"{component}-config")
            now = (config or {}).get("data", {})
            bad = {k: now.get(k) for k in self.wrong() if not self.good(k, now.get(k))}
            checks.append(condition(f"value:{component}", not bad, f"wrong: {bad or 'nothing'}"))
            if self.restarts:
                checks.append(await rolled_out(env, "Deployment", component))
        return checks
