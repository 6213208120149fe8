"""Family ``container``: a container that is there for everybody but does nothing.

Whoever takes an image of its memory stops its threads first; here they were never let go on.
Kubernetes sees a running container, and a probe that only connects is content, because the kernel
accepts. Source: AIOpsLab's ``pod_failure``.
"""

from __future__ import annotations

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import KubeError
from aiopslab.models.support import simulated
from aiopslab.models.truth import FixStep


class Suspended(Fault):
    """All threads of a store's server are stopped; clients connect and are never answered."""

    kind = "container/suspended"
    support = simulated(
        "a server that is the first process of its container cannot be stopped from inside"
    )
    cause = "process_suspended"
    system_level = "Operating System"
    fault_type = "Operation Error"

    class Params(Model):
        """No parameters."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        needed = {name for journey in app.journeys for name in app.needs(journey)}
        return component in app.stores and component in needed

    @property
    def _pod(self) -> str:
        return f"{self.site.target}-0"

    async def inject(self, env: Environment) -> None:
        await env.substrate.suspend(self._pod, on=True)

    async def recover(self, env: Environment) -> None:
        await env.substrate.suspend(self._pod, on=False)

    def fix(self) -> list[FixStep]:
        return [FixStep(tool="k8s_delete", arguments={"kind": "Pod", "name": self._pod})]

    def aliases(self) -> list[str]:
        return [self._pod]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        try:
            done = await env.kube.exec(self._pod, env.namespace, ["hostname"])
            met, said = done.code == 0, (done.stdout or done.stderr).strip()
        except KubeError as error:
            met, said = False, error.message
        return [
            condition("runs", met, f"{self._pod} says {said!r}"),
            await rolled_out(env, "StatefulSet", self.site.target),
        ]


KINDS = (Suspended,)
