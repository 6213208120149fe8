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
from aiopslab.models.job import Job
from aiopslab.models.journey import Journey, Load, Slo
from aiopslab.models.queue import overlap
from aiopslab.models.service import Service
from aiopslab.models.step import reach
from aiopslab.models.store import Store
from aiopslab.models.tls import Tls


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


class CreditSpec(Model):
    """CPU credits of a burstable machine: one is one core for one minute."""

    baseline: float = Field(gt=0.0, lt=1.0)
    """Share of each core that is earned, and that is left when no credit is."""
    launch: float = Field(ge=0.0)
    """Credits at boot."""
    limit: float = Field(gt=0.0)
    """Most credits that are kept."""


class NodeSpec(Model):
    """A node of the cluster the app is deployed on."""

    name: str
    cpu: float = 4.0
    memory: Bytes = 8 * 2**30
    disk: Bytes = 40 * 2**30
    zone: str = "zone-a"
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the Node object beside the well-known ones."""
    taints: dict[str, str] = Field(default_factory=dict)
    """Taints ``key: value`` that keep pods away; services tied to the node bear them."""
    hardware: dict[str, float] = Field(default_factory=dict)
    """Conditions of the machine: what its sensors would tell, by name."""
    uplink: float = Field(default=125e6, gt=0.0)
    """Speed of its link to the other nodes, in bytes per second."""
    credits: CreditSpec | None = None
    """Set for a burstable machine."""


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
    tls: Tls | None = None
    """How services that serve TLS come by certificates; None where none does."""
    flags: dict[str, Flag] = Field(default_factory=dict)
    """Feature flags: ConfigMap ``<app>-flags``."""
    jobs: dict[str, Job] = Field(default_factory=dict)
    """CronJobs, by name."""
    journeys: dict[str, Journey]
    load: Load = Field(default_factory=Load)
    slos: dict[str, Slo]
    """Journey, or ``sli`` of a journey's step, to promise."""
    intent: Intent = Field(default_factory=Intent)
    owners: dict[str, Owner] = Field(default_factory=dict)
    history: list[PastChange] = Field(default_factory=list)

    def components(self) -> list[str]:
        """Name every service, store and job, sorted."""
        return sorted([*self.services, *self.stores, *self.jobs])

    def promised(self) -> dict[str, str]:
        """Map what has a promise (a journey, or the ``sli`` of steps) to its journey."""
        names = {
            step.sli: journey
            for journey, spec in self.journeys.items()
            for step in spec.steps
            if step.sli
        }
        return names | {journey: journey for journey in self.journeys}

    def flags_of(self, service: str) -> dict[str, Flag]:
        """Return the flags that a service reads, sorted by name."""
        return {n: f for n, f in sorted(self.flags.items()) if service in f.services}

    def needs(self, journey: str) -> set[str]:
        """Return what a journey's requests need: services, stores, externals, the entry included.

        What a service does without (``optional``) is not followed. Messages are followed to those
        who work on them where a step of the journey waits for that (``poll``).
        """
        spec = self.journeys[journey]
        waits = any(step.poll for step in spec.steps)
        found: set[str] = set()
        frontier = [(spec.entry, "endpoints", step.request) for step in spec.steps]
        seen: set[tuple[str, str, str]] = set()
        while frontier:
            piece = frontier.pop()
            name, place, key = piece
            if name in self.externals:
                found.add(name)
            service = self.services.get(name)
            if piece in seen or service is None:
                continue
            seen.add(piece)
            found.add(name)
            reached = reach(service.steps_at(place, key), needed=True)
            for call in reached.calls:
                target, _, endpoint = call.partition(" ")
                frontier.append((target, "endpoints", endpoint))
            found |= {service.uses[role] for role in reached.roles if role in service.uses}
            for subject in reached.subjects if waits else []:
                workers = self.workers_of(service.uses["queue"], subject)
                frontier += [(worker, "consumers", consumer) for worker, consumer in workers]
                found.add(service.uses["queue"])
            found |= self._behind(service)
        return found

    def _behind(self, service: Service) -> set[str]:
        """Return what a named program calls, directly and through others."""
        found: set[str] = set()
        frontier = list(service.calls)
        while frontier:
            name = frontier.pop()
            if name not in found:
                found.add(name)
                frontier += self.services[name].calls if name in self.services else []
        return found

    def workers_of(self, store: str, subject: str) -> list[tuple[str, str]]:
        """Return (service, consumer) of those who work on messages of a subject, sorted."""
        streams = self.stores[store].streams
        return [
            (name, key)
            for name, service in sorted(self.services.items())
            if service.uses.get("queue") == store
            for key, consumer in sorted(service.consumers.items())
            if consumer.stream in streams
            and any(overlap(s, subject) for s in streams[consumer.stream].subjects)
            and overlap(consumer.subject or ">", subject)
        ]
