"""Family ``storage``: the volumes under the stores.

Source: faults.md ``sto-disk-full``. A store's pod that nobody lets go is
``kubernetes/finalizer-stuck``.
"""

from __future__ import annotations

import json

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import KubeError
from aiopslab.models.signal import Change
from aiopslab.models.support import simulated
from aiopslab.models.truth import FixStep

MOUNT = "/var/lib/postgresql/data"
SPARE = 0.05
"""Share of a volume that must be free again."""


class VolumeFull(Fault):
    """A dump was left on a database's volume and fills it: tables cannot grow any more.

    Reads go on. A server that is restarted meanwhile does not come up: not even its lock file fits.
    """

    kind = "storage/volume-full"
    support = simulated("volumes of a kind cluster have no size of their own")
    cause = "disk_full"
    system_level = "Hardware"
    fault_type = "Network/Storage Issue"

    class Params(Model):
        """Parameters."""

        actor: str = "m.okafor"
        ticket: int = 47
        """Number of the migration before which the dump was made."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        store = app.stores.get(component)
        if store is None or store.kind != "postgres":
            return False
        needed = {name for journey in app.journeys for name in app.needs(journey)}
        writes = any(s.kind == "INSERT" for s in store.statements.values())
        return component in needed and writes

    @property
    def _claim(self) -> str:
        return f"data-{self.site.target}-0"

    @property
    def _file(self) -> str:
        return f"before-{self.params.ticket:04d}.dump"

    @property
    def _size(self) -> int:
        return int(self.site.app.stores[self.site.target].volume)

    async def inject(self, env: Environment) -> None:
        await env.substrate.leave_file(self._claim, self._file, self._size)
        change = Change(
            time=env.now(),
            actor=self.params.actor,
            kind="database",
            component=self.site.target,
            summary=f"Safety copy of {self.site.target} before migration {self.params.ticket:04d}",
        )
        await env.substrate.record_change(change)

    async def recover(self, env: Environment) -> None:
        await env.substrate.leave_file(self._claim, self._file, 0)

    def fix(self) -> list[FixStep]:
        size = f"{-(-self._size * 2 // 2**30)}Gi"
        patch = json.dumps({"spec": {"resources": {"requests": {"storage": size}}}})
        arguments = {
            "kind": "PersistentVolumeClaim",
            "name": self._claim,
            "patch": patch,
            "type": "merge",
        }
        return [FixStep(tool="k8s_patch", arguments=arguments)]

    def aliases(self) -> list[str]:
        return [self._claim]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        free = await self._free(env)
        detail = "the volume cannot be looked at" if free is None else f"{free:.0%} free"
        return [
            condition("space", free is not None and free >= SPARE, detail),
            await rolled_out(env, "StatefulSet", self.site.target),
        ]

    async def _free(self, env: Environment) -> float | None:
        """Return the free share of the volume as the database's own container sees it."""
        pod = f"{self.site.target}-0"
        try:
            seen = await env.kube.exec(pod, env.namespace, ["df", MOUNT])
        except KubeError:
            return None
        rows = [line.split() for line in seen.stdout.splitlines() if line.endswith(MOUNT)]
        if not rows:
            return None
        _, blocks, _, available, *_ = rows[0]
        return int(available) / max(1, int(blocks))


KINDS = (VolumeFull,)
