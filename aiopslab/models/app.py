"""An application: services, stores, journeys, SLOs, intent, docs (``services/<app>/app.yaml``).

This is the single source from which Kubernetes manifests are rendered and which the app program
interprets; its parts are this module's neighbours. Not here: how a step runs (``services``), how a
manifest looks (``services.manifests``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Bytes, Model, Seconds
from aiopslab.models.external import External
from aiopslab.models.flag import Flag
from aiopslab.models.intent import Intent
from aiopslab.models.journey import Journey, Load, Slo
from aiopslab.models.service import Service
from aiopslab.models.step import call_targets
from aiopslab.models.store import Store


class Owner(Model):
    """A team."""

    team: str
    oncall: str
    channel: str


class PastChange(Model):
    """An entry of the change history before the trial."""

    ago: Seconds
    actor: str
    kind: Literal["rollout", "config", "secret", "scale", "network", "database", "other"]
    component: str
    summary: str
    diff: str = ""


class NodeSpec(Model):
    """A node of the cluster the app is deployed on."""

    name: str
    cpu: float = 4.0
    memory: Bytes = 8 * 2**30
    disk: Bytes = 40 * 2**30
    zone: str = "zone-a"


class App(Model):
    """One file ``services/<app>/app.yaml``."""

    schema_: Literal["aiopslab/app@1"] = Field(alias="schema")
    name: str
    title: str
    summary: str
    """Two or three sentences: what an agent is told about the app."""
    namespace: str
    epoch: str = "2026-03-10T09:00:00Z"
    """RFC 3339: the world's clock at boot, unless the incident draws an hour."""
    nodes: list[NodeSpec]
    services: dict[str, Service]
    stores: dict[str, Store]
    externals: dict[str, External] = Field(default_factory=dict)
    """Parties outside the cluster; services call them by these names."""
    flags: dict[str, Flag] = Field(default_factory=dict)
    """Feature flags: ConfigMap ``<app>-flags``."""
    journeys: dict[str, Journey]
    load: Load = Field(default_factory=Load)
    slos: dict[str, Slo]
    """Journey to promise."""
    intent: Intent = Field(default_factory=Intent)
    owners: dict[str, Owner] = Field(default_factory=dict)
    history: list[PastChange] = Field(default_factory=list)

    def components(self) -> list[str]:
        """Name every service and store, sorted."""
        return sorted([*self.services, *self.stores])

    def flags_of(self, service: str) -> dict[str, Flag]:
        """Return the flags that a service reads, sorted by name."""
        return {n: f for n, f in sorted(self.flags.items()) if service in f.services}

    def needs(self, journey: str) -> set[str]:
        """Return what a journey's requests need: services, stores, externals, the entry included.

        Calls that a service does without (``optional``) are not followed.
        """
        spec = self.journeys[journey]
        found = {spec.entry}
        frontier = [f"{spec.entry} {step.request}" for step in spec.steps]
        seen: set[str] = set()
        while frontier:
            call = frontier.pop()
            name, _, endpoint = call.partition(" ")
            if name in self.externals:
                found.add(name)
            service = self.services.get(name)
            if call in seen or service is None:
                continue
            seen.add(call)
            found.add(name)
            calls, roles = call_targets(service.endpoints.get(endpoint, []), needed=True)
            frontier += calls
            found |= {service.uses[role] for role in roles if role in service.uses}
        return found
