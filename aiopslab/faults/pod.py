"""Family ``pod``: templates whose pods never get as far as their program, or run another one.

Source: faults.md ``ctr-bad-command``, ``ctr-init-hang``; AIOpsLab's ``wrong_bin_usage``.
"""

from __future__ import annotations

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import condition, container_of, fetch, rolled_out
from aiopslab.faults.workload import TemplateRollout
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import Object
from aiopslab.models.support import everywhere
from aiopslab.services.config import settings


class WrongCommand(TemplateRollout):
    """The template starts a program that the image does not have."""

    kind = "pod/wrong-command"
    cause = "wrong_program"
    system_level = "Application"
    fault_type = "Network/Storage Issue"

    class Params(Model):
        """Parameters."""

        suffix: str = "server"
        """Last part of the program's name."""

    params: Params

    def _spec(self, *, broken: bool) -> Object:
        image = self.site.app.services[self.site.target].image.name
        command = [f"/app/{image}-{self.params.suffix}"] if broken else None
        return {"containers": [{"name": self.site.target, "command": command}]}


class WrongProgram(TemplateRollout):
    """The template runs another service's program: ready, on the right port, with no such page."""

    kind = "pod/wrong-program"
    cause = "wrong_program"
    system_level = "Application"
    fault_type = "Network/Storage Issue"

    class Params(Model):
        """Parameters."""

        other: str = ""
        """The service whose program runs; empty: the first that starts there."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return super().fits(app, component) and bool(cls._others(app, component))

    @staticmethod
    def _others(app: App, component: str) -> list[str]:
        """Name the services that start and look healthy in the component's place, and serve none.

        They ask for no configuration that the component does not have, and answer on its port to
        its probes.
        """
        mine, given = app.services[component], set(settings(app, component))
        return [
            name
            for name, other in sorted(app.services.items())
            if name != component
            and other.program is None
            and not other.uses
            and not set(settings(app, name)) - set(other.config) - given
            and not set(other.endpoints) & set(mine.endpoints)
            and (other.port, other.tls) == (mine.port, mine.tls)
        ]

    def _spec(self, *, broken: bool) -> Object:
        services = self.site.app.services
        other = self.params.other or self._others(self.site.app, self.site.target)[0]
        image = services[other if broken else self.site.target].image.ref
        return {"containers": [{"name": self.site.target, "image": image}]}

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        name = self.site.target
        deployment = await fetch(env, "Deployment", name)
        image = container_of(deployment, name)["image"] if deployment else "none"
        met = image.rpartition(":")[0] == self.site.app.services[name].image.name
        return [condition("image", met, f"runs {image}"), await rolled_out(env, "Deployment", name)]


class InitHang(TemplateRollout):
    """A new init container waits for an address that nothing answers from."""

    kind = "pod/init-hang"
    support = everywhere("it needs the image busybox:1.36")
    cause = "init_step_blocked"

    class Params(Model):
        """Parameters."""

        address: str = "198.18.12.40"
        """Where it waits for an answer."""
        port: int = 27000

    params: Params

    def _spec(self, *, broken: bool) -> Object:
        if not broken:
            return {"initContainers": None}
        wait = ["nc", "-w", "86400", self.params.address, str(self.params.port)]
        step = {
            "name": "wait-for-licence",
            "image": "busybox:1.36",
            "command": wait,
            "resources": {
                "requests": {"cpu": "10m", "memory": "16Mi"},
                "limits": {"cpu": "50m", "memory": "32Mi"},
            },
        }
        return {"initContainers": [step]}


KINDS: tuple[type[TemplateRollout], ...] = (InitHang, WrongCommand, WrongProgram)
