"""The Environment's ``Kube`` on the API server and kubelets of a simulated world.

Objects are cloned at this border, so nobody outside can change the world's state but through a
request. Reads and writes take no virtual time; ``exec`` takes what its command takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from aiopslab.environments.bridge import Bridge
from aiopslab.models.kube import ExecResult, Object, PatchType
from aiopslab.models.timestamps import rfc3339_nano
from aiopslab.world.kube import snapshot
from aiopslab.world.kube.describe import describe
from aiopslab.world.kube.objects import clone
from aiopslab.world.kube.options import DeleteOptions, WriteOptions
from aiopslab.world.kube.table import table
from aiopslab.world.world import World


class SimKube:
    """The Kubernetes API of one world.

    Args:
        world: The world.
        bridge: The way in for what takes time.
    """

    def __init__(self, world: World, bridge: Bridge) -> None:
        self._world = world
        self._api = world.api
        self._bridge = bridge

    async def snapshot(self, namespace: str) -> list[Object]:
        return snapshot.take(self._api.store, namespace)

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        return _copy(self._api.get(kind, name, namespace))

    async def create(self, obj: Object, *, actor: str, dry_run: bool = False) -> Object:
        return _copy(
            self._api.create(clone(obj), actor=actor, options=WriteOptions(dry_run=dry_run))
        )

    async def replace(self, obj: Object, *, actor: str, dry_run: bool = False) -> Object:
        return _copy(
            self._api.replace(clone(obj), actor=actor, options=WriteOptions(dry_run=dry_run))
        )

    async def patch(
        self,
        kind: str,
        name: str,
        patch: Any,
        *,
        namespace: str | None = None,
        type: PatchType = "strategic",
        subresource: Literal["", "scale"] = "",
        actor: str,
        dry_run: bool = False,
    ) -> Object:
        changed = self._api.patch(
            kind,
            name,
            clone(patch),
            namespace=namespace,
            type=type,
            subresource=subresource,
            actor=actor,
            options=WriteOptions(dry_run=dry_run),
        )
        return _copy(changed)

    async def apply(
        self,
        kind: str,
        name: str,
        config: Object,
        *,
        namespace: str | None = None,
        manager: str,
        force: bool = False,
        actor: str,
        dry_run: bool = False,
    ) -> Object:
        applied = self._api.apply(
            kind,
            name,
            clone(config),
            namespace=namespace,
            force=force,
            actor=actor,
            options=WriteOptions(field_manager=manager, dry_run=dry_run),
        )
        return _copy(applied)

    async def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        actor: str,
        grace_s: int | None = None,
    ) -> None:
        self._api.delete(kind, name, namespace, actor=actor, options=DeleteOptions(grace_s=grace_s))

    async def logs(
        self,
        pod: str,
        namespace: str,
        *,
        container: str | None = None,
        previous: bool = False,
        tail: int | None = None,
        since_s: float | None = None,
        timestamps: bool = False,
    ) -> str:
        since = None if since_s is None else self._world.loop.time() - since_s
        lines = self._world.kubelet_of(pod, namespace).logs(
            pod, namespace, container, previous=previous, tail=tail, since=since
        )
        if timestamps:
            return "".join(f"{rfc3339_nano(t)} {line}\n" for t, line in lines)
        return "".join(f"{line}\n" for _, line in lines)

    async def exec(
        self,
        pod: str,
        namespace: str,
        argv: Sequence[str],
        *,
        container: str | None = None,
        stdin: str = "",
        timeout_s: float = 30.0,
    ) -> ExecResult:
        kubelet = self._world.kubelet_of(pod, namespace)

        async def run() -> ExecResult:
            try:
                async with asyncio.timeout(timeout_s):
                    return await kubelet.exec(pod, namespace, container, argv, stdin)
            except TimeoutError:
                text = f"error: command still running after {timeout_s:g} s, gave up\n"
                return ExecResult("", text, 124)

        return await self._bridge.enter(run())

    async def describe(self, kind: str, name: str, namespace: str | None = None) -> str:
        now = self._world.loop.time()
        return describe.describe(kind, name, namespace, api=self._api, now=now)

    async def table(
        self, kind: str, namespace: str | None = None, *, labels: str = "", wide: bool = False
    ) -> str:
        found = self._api.list(kind, namespace, labels=labels)
        return table.table(kind, found, wide=wide, now=self._world.loop.time())

    def watch(self, kind: str, namespace: str | None = None) -> AsyncIterator[tuple[str, Object]]:
        return self._api.watch(kind, namespace)

    async def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        found = self._api.list(kind, namespace, labels=labels, fields=fields)
        return [clone(o) for o in found]


def _copy(obj: Object) -> Object:
    copied: Object = clone(obj)
    return copied
