"""Family ``dns``: pods ask the wrong server for names, or no server at all.

Source: faults.md ``dns-policy-wrong``, ``dns-stale``. What a resolver does is ``world.resolver``'s;
a policy that keeps pods from their name server is of family ``network``.
"""

from __future__ import annotations

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import condition, fetch, rolled_out
from aiopslab.faults.workload import TemplateRollout
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.kube import Object
from aiopslab.models.support import everywhere
from aiopslab.services.config import targets
from aiopslab.world.resolver import of_pod


class NodeResolver(TemplateRollout):
    """The template has its pods ask the nodes' DNS server, which knows no name of the cluster."""

    kind = "dns/node-resolver"
    support = everywhere()
    cause = "resolver_misconfigured"

    class Params(Model):
        """No parameters."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return super().fits(app, component) and bool(_asked(app, component))

    def _spec(self, *, broken: bool) -> Object:
        return {"dnsPolicy": "Default" if broken else "ClusterFirst"}

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        name = self.site.target
        deployment = await fetch(env, "Deployment", name)
        spec = deployment["spec"]["template"]["spec"] if deployment else {}
        # A template may as well spell out the cluster's server.
        met = bool(spec) and of_pod(spec, env.namespace).knows_cluster
        found = condition("resolver", met, str(spec.get("dnsPolicy", "none")))
        return [found, await rolled_out(env, "Deployment", name)]


class PinnedAddress(TemplateRollout):
    """The template pins the name of a service it needs to an address where nobody is any more."""

    kind = "dns/pinned-address"
    support = everywhere()
    cause = "stale_address_pinned"

    class Params(Model):
        """Parameters."""

        address: str = "198.18.44.17"
        """Where the name once was."""
        name: str = ""
        """The name; empty: the first that the service asks for."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return super().fits(app, component) and bool(_asked(app, component))

    @property
    def _name(self) -> str:
        return self.params.name or _asked(self.site.app, self.site.target)[0]

    def _spec(self, *, broken: bool) -> Object:
        alias = {"ip": self.params.address, "hostnames": [self._name]}
        return {"hostAliases": [alias] if broken else None}

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        target = self.site.target
        deployment = await fetch(env, "Deployment", target)
        spec = deployment["spec"]["template"]["spec"] if deployment else {}
        pinned = of_pod(spec, env.namespace).hosts.get(self._name, "not pinned")
        free = pinned != self.params.address
        found = condition("name-not-pinned", free, f"{self._name}: {pinned}")
        return [found, await rolled_out(env, "Deployment", target)]


def _asked(app: App, component: str) -> list[str]:
    """Name the hosts in the cluster that a service asks DNS for; sorted."""
    if component not in app.services:
        return []
    uses = app.services[component].uses.values()
    return sorted({*(t for t in targets(app, component) if t in app.services), *uses})


KINDS: tuple[type[TemplateRollout], ...] = (NodeResolver, PinnedAddress)
