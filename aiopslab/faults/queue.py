"""Family ``queue``: messages that are not worked on, again and again, or not taken at all.

Settings of a consumer lie in the ConfigMap of its service and are read at start; streams and
consumers lie on the queue. Source: faults.md ``dep-mq-lag``, ``dep-mq-poison``, ``dep-mq-full``;
the limits of streams are this module's neighbour (``queue_limits``).
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import ClassVar

from pydantic import Field

from aiopslab.environments.protocol import Environment
from aiopslab.errors import InfraError
from aiopslab.faults.base import Fault, ask, condition, edit, fetch, restart, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.cause import FaultType
from aiopslab.models.evidence import CheckResult
from aiopslab.models.queue import Consumer
from aiopslab.models.step import CacheStep, SqlStep
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep
from aiopslab.services import templates
from aiopslab.services.config import prefix, settings
from aiopslab.services.walk import walk

PIPELINE = "config-sync"


def consumers(app: App, component: str) -> dict[str, Consumer]:
    """Return the consumers of a service by name; none for anything else."""
    service = app.services.get(component)
    return dict(sorted(service.consumers.items())) if service else {}


def _reads(consumer: Consumer) -> bool:
    """Say whether the steps cannot do without what a message says."""
    for step in walk(consumer.steps):
        match step:
            case SqlStep(params=params):
                texts = [str(value) for value in params.values()]
            case CacheStep(cache=access):
                texts = [access.get or access.set or access.delete or ""]
            case _:
                texts = []
        if any(map(templates.names, texts)):
            return True
    return False


class _Setting(Fault):
    """Settings of one consumer changed in ``<service>-config``, with a restart."""

    support: ClassVar[Support] = everywhere()
    system_level = "Application"
    fault_type: ClassVar[FaultType] = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        consumer: str = ""
        """Name of the consumer; empty: the first."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return bool(consumers(app, component))

    @property
    def _consumer(self) -> str:
        return self.params.consumer or next(iter(consumers(self.site.app, self.site.target)))

    @property
    def _spec(self) -> Consumer:
        return self.site.app.services[self.site.target].consumers[self._consumer]

    @property
    def _store(self) -> str:
        return self.site.app.services[self.site.target].uses["queue"]

    @property
    def _durable(self) -> str:
        return self._spec.durable or f"{self.site.target}-{self._consumer}"

    @property
    def _map(self) -> str:
        return f"{self.site.target}-config"

    @abstractmethod
    def _wrong(self) -> dict[str, str | None]:
        """Return the settings by suffix; None removes a key."""

    def _key(self, suffix: str) -> str:
        return f"{prefix(self._consumer)}_{suffix}"

    def _patch(self, *, right: bool) -> dict[str, dict[str, str | None]]:
        declared = settings(self.site.app, self.site.target)
        wrong = {self._key(suffix): value for suffix, value in self._wrong().items()}
        return {"data": {key: declared.get(key) for key in wrong} if right else wrong}

    async def _configure(self, env: Environment, *, right: bool) -> None:
        patch = self._patch(right=right)
        await edit(env, "ConfigMap", self._map, patch, actor=PIPELINE, type="merge")
        await restart(env, "Deployment", self.site.target, actor=PIPELINE)

    async def inject(self, env: Environment) -> None:
        await self._configure(env, right=False)

    async def recover(self, env: Environment) -> None:
        await self._configure(env, right=True)

    def fix(self) -> list[FixStep]:
        patch = {"kind": "ConfigMap", "name": self._map, "type": "merge",
                 "patch": json.dumps(self._patch(right=True))}  # fmt: skip
        again = {"action": "restart", "kind": "Deployment", "name": self.site.target}
        return [
            FixStep(tool="k8s_patch", arguments=patch),
            FixStep(tool="k8s_rollout", arguments=again),
        ]

    def aliases(self) -> list[str]:
        return [self._map, self._durable]

    async def _value(self, env: Environment, suffix: str) -> str | None:
        """Return what the ConfigMap says now."""
        config = await fetch(env, "ConfigMap", self._map)
        value = (config or {}).get("data", {}).get(self._key(suffix))
        return None if value is None else str(value)


class Throttled(_Setting):
    """A consumer begins fewer messages a minute than arrive."""

    kind = "queue/consumer-throttled"
    cause = "consumer_too_slow"
    fault_type = "Operation Error"

    class Params(_Setting.Params):
        """Parameters."""

        per_minute: int = Field(default=12, ge=1)
        """Messages that one process may begin in a minute."""

    params: Params

    def _wrong(self) -> dict[str, str | None]:
        return {"PER_MINUTE": str(self.params.per_minute)}

    def accepted(self) -> list[tuple[str, str]]:
        return [(self.site.target, "config_value_wrong")]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        value = await self._value(env, "PER_MINUTE")
        met = not value or float(value) == 0.0 or float(value) >= 10 * self.params.per_minute
        return [
            condition("pace", met, f"{self._key('PER_MINUTE')} is {value!r}"),
            await rolled_out(env, "Deployment", self.site.target),
        ]


class Misrouted(_Setting):
    """A consumer asks for a subject under which nobody publishes."""

    kind = "queue/consumer-misrouted"
    cause = "consumer_misrouted"

    class Params(_Setting.Params):
        """Parameters."""

        last: str = "created"
        """What the last token of the subject is set to."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return any(c.subject for c in consumers(app, component).values())

    @property
    def _subject(self) -> str:
        return ".".join([*self._spec.subject.split(".")[:-1], self.params.last])

    def _wrong(self) -> dict[str, str | None]:
        return {"SUBJECT": self._subject}

    def accepted(self) -> list[tuple[str, str]]:
        return [(self.site.target, "config_value_wrong"), (self._store, self.cause)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        value = await self._value(env, "SUBJECT")
        met = value is not None and value != self._subject
        return [
            condition("subject", met, f"{self._key('SUBJECT')} is {value!r}"),
            await rolled_out(env, "Deployment", self.site.target),
        ]


class PoisonMessage(_Setting):
    """Messages that can never be worked on come back for ever, in front of all others.

    A consumer was told never to give a message up, then a backfill published some that lack a
    field. They are as many as a process asks for at once, so nothing else gets through.
    """

    kind = "queue/poison-message"
    cause = "poison_message"
    fault_type = "Code Defect"

    class Params(_Setting.Params):
        """Parameters."""

        count: int = Field(default=24, ge=1)
        """Messages that lack a field."""

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return any(map(_reads, consumers(app, component).values()))

    @property
    def _consumer(self) -> str:
        found = consumers(self.site.app, self.site.target)
        return self.params.consumer or next(name for name, c in found.items() if _reads(c))

    def _wrong(self) -> dict[str, str | None]:
        return {"MAX_DELIVER": "-1"}

    @property
    def _subject(self) -> str:
        return self._spec.subject

    _published: tuple[int, ...] = ()
    """Sequences of the messages; known once injected."""

    async def inject(self, env: Environment) -> None:
        await super().inject(env)
        while not (await rolled_out(env, "Deployment", self.site.target)).met:
            await env.advance(_LOOK_S)
        # As one backfill: the first of them already keeps a server busy that is asked again.
        bodies = [
            {"subject": self._subject, "data": {"import": f"backfill-{number + 1}"}}
            for number in range(self.params.count)
        ]
        answer = await env.substrate.store_admin(self._store, f"PUB {json.dumps(bodies)}")
        self._published = tuple(int(one["seq"]) for one in json.loads(answer))

    async def recover(self, env: Environment) -> None:
        for sequence in self._published:
            body = json.dumps({"stream": self._spec.stream, "seq": sequence})
            await tolerantly(env, self._store, f"STREAM.MSG.DELETE {body}")
        await super().recover(env)

    def accepted(self) -> list[tuple[str, str]]:
        return [(self._store, self.cause)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        body = json.dumps({"stream": self._spec.stream, "name": self._durable})
        answer = await ask(env, self._store, f"CONSUMER.INFO {body}")
        if not answer:
            return [condition("poison", False, f"{self._store} does not answer")]
        left = [seq for seq in self._published if await self._kept(env, seq)]
        bounded = json.loads(answer)["config"]["max_deliver"] > 0
        detail = f"{len(left)} messages are left, deliveries bounded: {bounded}"
        return [
            condition("poison", bounded or not left, detail),
            await rolled_out(env, "Deployment", self.site.target),
        ]

    async def _kept(self, env: Environment, sequence: int) -> bool:
        body = json.dumps({"stream": self._spec.stream, "seq": sequence})
        return bool(await ask(env, self._store, f"STREAM.MSG.GET {body}"))


_LOOK_S = 5.0
"""Pause between two looks at a rollout."""


async def tolerantly(env: Environment, store: str, command: str) -> None:
    """Run a command whose object may be gone already, or whose store is down."""
    try:
        await env.substrate.store_admin(store, command)
    except InfraError:
        return


KINDS = (Throttled, Misrouted, PoisonMessage)
