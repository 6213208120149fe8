"""Family ``queue``, its limits: streams and stores that take no further message.

Publishers see it at once; what they serve fails with them. Source: faults.md ``dep-mq-full``.
"""

from __future__ import annotations

import json

from pydantic import Field

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, ask, condition
from aiopslab.faults.queue import tolerantly
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.signal import Change
from aiopslab.models.support import everywhere
from aiopslab.models.truth import FixStep

_SIZES = (1_000_000, 100_000, 10_000, 1_000, 100)
"""Bytes of captured payloads, largest first: together they leave no room for a message."""
_ROUNDS, _ROUND_S = 3, 5.0
"""The capture runs on for some seconds, so it also takes the room of messages that were under way
when the space ran out and are worked on since."""


def _interested(app: App, component: str) -> list[str]:
    """Name the streams of a queue that keep a message until every consumer is done with it."""
    store = app.stores.get(component)
    streams = store.streams if store else {}
    return [n for n, s in streams.items() if s.retention == "interest" and s.discard == "new"]


class AbandonedConsumer(Fault):
    """A consumer that nobody reads keeps every message in its stream, up to the limit."""

    kind = "queue/abandoned-consumer"
    support = everywhere()
    cause = "queue_full"
    system_level = "Application"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        limit: int = Field(default=60, ge=1)
        """Messages that the stream may hold from then on."""
        durable: str = "bi-export"

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return bool(_interested(app, component))

    @property
    def _stream(self) -> str:
        return _interested(self.site.app, self.site.target)[0]

    @property
    def _declared(self) -> int:
        return self.site.app.stores[self.site.target].streams[self._stream].max_msgs

    async def _limit(self, env: Environment, limit: int) -> None:
        body = json.dumps({"name": self._stream, "config": {"max_msgs": limit}})
        await env.substrate.store_admin(self.site.target, f"STREAM.UPDATE {body}")

    async def inject(self, env: Environment) -> None:
        await self._limit(env, self.params.limit)
        body = json.dumps({"stream": self._stream, "name": self.params.durable})
        await env.substrate.store_admin(self.site.target, f"CONSUMER.CREATE {body}")
        change = Change(
            time=env.now(),
            actor="f.lindqvist",
            kind="database",
            component=self.site.target,
            summary=f"Prepare {self._stream} for the export to the warehouse",
            diff=f"stream {self._stream}: max_msgs -> {self.params.limit}\n"
            f"consumer {self.params.durable}: added",
        )
        await env.substrate.record_change(change)

    async def recover(self, env: Environment) -> None:
        body = json.dumps({"stream": self._stream, "name": self.params.durable})
        await tolerantly(env, self.site.target, f"CONSUMER.DELETE {body}")
        await self._limit(env, self._declared)

    def fix(self) -> list[FixStep]:
        commands = (
            f"consumer rm {self._stream} {self.params.durable} -f",
            f"stream edit {self._stream} --max-msgs {self._declared} -f",
        )
        return [
            FixStep(tool="queue_command", arguments={"store": self.site.target, "command": command})
            for command in commands
        ]

    def aliases(self) -> list[str]:
        # Not the stream: a stream ORDERS is named like the service "orders", which is not it.
        return [self.params.durable]

    def accepted(self) -> list[tuple[str, str]]:
        return [(self.site.target, "config_value_wrong")]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        body = json.dumps({"name": self._stream})
        answer = await ask(env, self.site.target, f"STREAM.INFO {body}")
        if not answer:
            return [condition("stream", False, "the queue does not answer")]
        info = json.loads(answer)
        limit, held = info["config"]["max_msgs"], info["state"]["messages"]
        roomy = limit < 0 or limit >= 20 * self.params.limit
        body = json.dumps({"stream": self._stream, "name": self.params.durable})
        read = not await ask(env, self.site.target, f"CONSUMER.INFO {body}")
        met = (roomy or read) and (limit < 0 or held < 0.5 * limit)
        return [condition("stream", met, f"{held} of {limit} messages; abandoned: {not read}")]


class StorageExhausted(Fault):
    """A stream of somebody else took the space that all streams share."""

    kind = "queue/storage-exhausted"
    support = everywhere()
    cause = "queue_full"
    system_level = "Application"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        stream: str = "CAPTURE"
        subject: str = "capture.payloads"

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        store = app.stores.get(component)
        return store is not None and store.kind == "nats" and "max_file_store" in store.config

    async def inject(self, env: Environment) -> None:
        store, name = self.site.target, self.params.stream
        create = {"name": name, "config": {"subjects": [self.params.subject]}}
        await env.substrate.store_admin(store, f"STREAM.CREATE {json.dumps(create)}")
        for _ in range(_ROUNDS):
            await self._fill(env)
            await env.advance(_ROUND_S)
        await self._fill(env)
        change = Change(
            time=env.now(),
            actor="b.adeyemi",
            kind="other",
            component=store,
            summary=f"Capture payloads for the replay test into {name}",
        )
        await env.substrate.record_change(change)

    async def _fill(self, env: Environment) -> None:
        for size in _SIZES:
            body = {"subject": self.params.subject, "data": {"capture": "request"}, "size": size}
            body["until_full"] = True
            await env.substrate.store_admin(self.site.target, f"PUB {json.dumps(body)}")

    async def recover(self, env: Environment) -> None:
        body = json.dumps({"name": self.params.stream})
        await tolerantly(env, self.site.target, f"STREAM.DELETE {body}")

    def fix(self) -> list[FixStep]:
        command = f"stream purge {self.params.stream} -f"
        arguments = {"store": self.site.target, "command": command}
        return [FixStep(tool="queue_command", arguments=arguments)]

    def aliases(self) -> list[str]:
        return [self.params.stream]

    def accepted(self) -> list[tuple[str, str]]:
        return [(self.site.target, "disk_full")]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        answer = await ask(env, self.site.target, "INFO")
        if not answer:
            return [condition("storage", False, "the queue does not answer")]
        info = json.loads(answer)
        used = info["storage"] / info["max_storage"]
        return [condition("storage", used < 0.8, f"{used:.0%} of the storage is used")]


KINDS = (AbandonedConsumer, StorageExhausted)
