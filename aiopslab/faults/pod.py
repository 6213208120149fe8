"""Family ``pod``: templates whose pods never get as far as their program.

Source: faults.md ``ctr-bad-command``, ``ctr-init-hang``; AIOpsLab's ``wrong_bin_usage``.
"""

from __future__ import annotations

from aiopslab.faults.workload import TemplateRollout
from aiopslab.models.base import Model
from aiopslab.models.kube import Object


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


class InitHang(TemplateRollout):
    """A new init container waits for an address that nothing answers from."""

    kind = "pod/init-hang"
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


KINDS = (WrongCommand, InitHang)
