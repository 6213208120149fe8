"""The Environment's ``Kube`` on a real cluster: any API server, any kind it serves.

Answers and refusals are those of ``sim_kube`` for the same state, so faults and tools cannot tell
the two apart. A cluster keeps no audit trail that we could read: whoever wants to know who changed
what passes a ``recorder``. Not here: connections (``cluster.connection``), reads
(``cluster.reading``), commands (``cluster.exec``), what kubectl prints (``cluster.text``).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from aiopslab.environments.cluster.connection import Connection, Request
from aiopslab.environments.cluster.discovery import Served
from aiopslab.environments.cluster.exec import OUTPUT_LIMIT, Line, execute
from aiopslab.environments.cluster.labels import is_agents_access, labelled
from aiopslab.environments.cluster.reading import ClusterReader
from aiopslab.environments.cluster.text import ClusterSource, table
from aiopslab.environments.cluster.watch import ClusterWatch
from aiopslab.models.kube import ExecResult, KubeError, Object, PatchType
from aiopslab.world.kube.describe.describe import describe
from aiopslab.world.kube.errors import not_found
from aiopslab.world.kube.journal import Verb
from aiopslab.world.kube.objects import controller_of, name_of
from aiopslab.world.kube.patches.ownership import manager_of
from aiopslab.world.kube.reading import space_of
from aiopslab.world.kube.snapshot import declared, declared_kinds

Recorder = Callable[[str, Verb, Object | None, Object | None], None]
"""Is told (actor, verb, before, after) of every write that changed something."""

MANAGER = "aiopslab"
_PATCHES: dict[PatchType, str] = {
    "strategic": "application/strategic-merge-patch+json",
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}
_APPLY = "application/apply-patch+yaml"
_VERSION = "metadata.resourceVersion"
_ROOT_CERTIFICATE = "kube-root-ca.crt"
"""A ConfigMap that the cluster puts into every namespace."""
_STORAGES_NOTES = ("pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/")
"""Annotations of a claim in which the cluster notes how it was bound."""


@dataclass(frozen=True, slots=True)
class _Act:
    """One write: who does what to which object."""

    actor: str
    verb: Verb
    served: Served
    name: str
    space: str
    dry_run: bool = False
    subresource: Literal["", "scale"] = ""


class ClusterKube:
    """The Kubernetes API of one cluster; the connection is closed by whoever made it.

    Args:
        connection: The way to its API server.
        now: Unix seconds, for ages in descriptions.
        recorder: Is told of every change; None saves the requests that find out what was before.
        manager: Who owns the fields written (``metadata.managedFields``, which agents can read);
            empty is the name that the simulated cluster would enter for the actor, so that a
            fault is written as the mistake would be.
        labels: Put on everything that is created, so that it is found again after a crash, and
            that what a fault creates looks like what was there before.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        now: Callable[[], float],
        recorder: Recorder | None = None,
        manager: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.connection = connection
        self.reader = ClusterReader(connection)
        self._run = connection.run
        self._now = now
        self._recorder = recorder
        self._manager = manager
        self._labels = labels or {}

    def unrecorded(self, manager: str = MANAGER) -> ClusterKube:
        """Return the same for the lab's own affairs, which no recorder hears of."""
        return ClusterKube(self.connection, now=self._now, manager=manager, labels=self._labels)

    # -- reads --------------------------------------------------------------------------------

    async def snapshot(self, namespace: str) -> list[Object]:
        catalogue = await self._run(self.reader.catalogue)
        found: list[Object] = []
        for kind in declared_kinds():
            if catalogue.find(kind.kind) is not None:
                listed = await self.list(kind.kind, namespace)
                found += [_declared(obj) for obj in listed if _is_declared(obj)]
        return found

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        return await self._run(self.reader.get, kind, name, namespace)

    async def describe(self, kind: str, name: str, namespace: str | None = None) -> str:
        source = ClusterSource(self.reader)
        return await self._run(describe, kind, name, namespace, api=source, now=self._now())

    async def table(
        self, kind: str, namespace: str | None = None, *, labels: str = "", wide: bool = False
    ) -> str:
        pages = await self._run(self.reader.table, kind, namespace, labels=labels)
        return table(pages, wide=wide)

    def watch(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        from_start: bool = False,
        patient: bool = False,
    ) -> ClusterWatch:
        def listing() -> tuple[list[Object], str]:
            return self.reader.listing(self.reader.served(kind), namespace)

        def path() -> str:
            return self.reader.served(kind).path(namespace)

        return ClusterWatch(self.connection, path, listing, from_start=from_start, patient=patient)

    # -- writes -------------------------------------------------------------------------------

    async def create(self, obj: Object, *, actor: str, dry_run: bool = False) -> Object:
        served = await self._run(self.reader.served_as, obj)
        space = space_of(served.kind, (obj.get("metadata") or {}).get("namespace"))
        act = _Act(actor, "create", served, "", space, dry_run=dry_run)
        obj = labelled(obj, self._labels) if self._labels else obj
        return await self._write(act, Request("POST", served.path(space), self._query(act), obj))

    async def replace(self, obj: Object, *, actor: str, dry_run: bool = False) -> Object:
        served = await self._run(self.reader.served_as, obj)
        metadata = obj.get("metadata") or {}
        name, space = metadata.get("name"), space_of(served.kind, metadata.get("namespace"))
        if not name:
            raise not_found(served.kind, "")
        act = _Act(actor, "update", served, name, space, dry_run=dry_run)
        request = Request("PUT", served.path(space, name), self._query(act), obj)
        try:
            return await self._write(act, request)
        except KubeError as error:
            if error.code != 422 or metadata.get("resourceVersion"):
                raise
            if not any(c.get("field") == _VERSION for c in error.details.get("causes") or ()):
                raise
        # Some kinds are only replaced in a version that is named; kubectl takes the present one.
        present = await self._run(self.reader.get, served.kind.qualified, name, space)
        version = {"resourceVersion": _revision(present)}
        body = {**obj, "metadata": {**metadata, **version}}
        return await self._write(act, replace(request, body=body))

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
        served = await self._run(self.reader.served, kind)
        space = space_of(served.kind, namespace)
        act = _Act(actor, "patch", served, name, space, dry_run=dry_run, subresource=subresource)
        path = served.path(space, name, subresource)
        request = Request("PATCH", path, self._query(act), patch, _PATCHES[type])
        return await self._write(act, request)

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
        served = await self._run(self.reader.served, kind)
        space = space_of(served.kind, namespace)
        query = {"fieldManager": manager, "force": str(force).lower()}
        query |= {"dryRun": "All"} if dry_run else {}
        act = _Act(actor, "patch", served, name, space, dry_run=dry_run)
        path = served.path(space, name)
        return await self._write(act, Request("PATCH", path, query, config, _APPLY))

    async def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        actor: str,
        grace_s: int | None = None,
    ) -> None:
        served = await self._run(self.reader.served, kind)
        await self.remove(served, name, namespace, actor=actor, grace_s=grace_s)

    async def remove(
        self,
        served: Served,
        name: str,
        namespace: str | None,
        *,
        actor: str,
        grace_s: int | None = None,
        uid: str = "",
    ) -> None:
        """Delete an object; with a ``uid``, only that incarnation of it.

        Raises:
            KubeError: 403, 404; 409, another object has the name now.
        """
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions",
                           "propagationPolicy": "Background"}  # fmt: skip
        options |= {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        options |= {"preconditions": {"uid": uid}} if uid else {}
        space = space_of(served.kind, namespace)
        act = _Act(actor, "delete", served, name, space)
        await self._write(act, Request("DELETE", served.path(space, name), {}, options))

    async def _write(self, act: _Act, request: Request) -> Object:
        """Send a write and tell the recorder what it changed; returns the answer."""
        recorder = None if act.dry_run else self._recorder
        before = await self._state(act) if recorder is not None else None
        answer: Object = await self.connection.ask(request)
        if recorder is not None:
            # The answer to a change of the scale is the Scale, not the workload.
            after = await self._state(act) if act.subresource else _after(act, answer)
            if before is None or after is None or _revision(before) != _revision(after):
                verb: Verb = "create" if before is None else act.verb
                recorder(act.actor, verb, before, after)
        return answer

    async def _state(self, act: _Act) -> Object | None:
        """Return the object that is written, as it is now; None if there is none."""
        if act.verb == "create":
            return None
        try:
            path = act.served.path(act.space, act.name)
            obj: Object = await self.connection.ask(Request("GET", path))
        except KubeError as error:
            if error.code != 404:
                raise
            return None
        return obj

    def _query(self, act: _Act) -> dict[str, str]:
        """Return the parameters of a create, replace or patch."""
        manager = self._manager or manager_of(act.actor, act.verb, act.subresource)
        query = {"fieldManager": manager, "fieldValidation": "Strict"}
        return query | ({"dryRun": "All"} if act.dry_run else {})

    # -- containers -----------------------------------------------------------------------------

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
        query = {"container": await self._container(pod, namespace, container),
                 "limitBytes": str(OUTPUT_LIMIT)}  # fmt: skip
        query |= {"previous": "true"} if previous else {}
        query |= {"timestamps": "true"} if timestamps else {}
        query |= {} if tail is None else {"tailLines": str(tail)}
        # The API knows whole seconds only, and at least one.
        query |= {} if since_s is None else {"sinceSeconds": str(max(1, math.ceil(since_s)))}
        path = await self._pod_path(pod, namespace, "log")
        return await self._run(self.connection.text, Request("GET", path, query, accept="*/*"))

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
        where = await self._container(pod, namespace, container)
        path = await self._pod_path(pod, namespace, "exec")
        line = Line()
        try:
            return await self._run(
                execute, self.connection, path, argv, container=where, stdin=stdin,
                timeout_s=timeout_s, line=line,
            )  # fmt: skip
        except asyncio.CancelledError:
            # Its thread would read on for as long as the command may take, and closing wait for it.
            line.cut()
            raise

    async def _container(self, pod: str, namespace: str, wanted: str | None) -> str:
        """Return the container that is meant: the first, where none is named."""
        if wanted:
            return wanted
        obj = await self.get("Pod", pod, namespace)
        return str(obj["spec"]["containers"][0]["name"])

    async def _pod_path(self, pod: str, namespace: str, subresource: str) -> str:
        served = await self._run(self.reader.served, "Pod")
        return served.path(namespace, pod, subresource)

    async def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        return await self._run(self.reader.list, kind, namespace, labels=labels, fields=fields)


def _after(act: _Act, answer: Object) -> Object | None:
    """Return what an answer says the object is now; None if it is gone."""
    if act.verb != "delete":
        return answer
    going = answer.get("kind") != "Status" and answer["metadata"].get("deletionTimestamp")
    return answer if going else None


def _revision(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion") or "")


def _is_declared(obj: Object) -> bool:
    """Whether people or pipelines made an object of the app, rather than the cluster or we."""
    is_clusters = obj["kind"] == "ConfigMap" and name_of(obj) == _ROOT_CERTIFICATE
    return controller_of(obj) is None and not is_clusters and not is_agents_access(obj)


def _declared(obj: Object) -> Object:
    """Return an object without what the cluster set, its storage's notes included."""
    copy = declared(obj)
    metadata = copy["metadata"]
    notes = metadata.get("annotations") or {}
    kept = {k: v for k, v in notes.items() if not k.startswith(_STORAGES_NOTES)}
    if kept != notes:
        metadata.pop("annotations")
        metadata |= {"annotations": kept} if kept else {}
    return copy
