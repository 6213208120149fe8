"""Putting the objects of an app back as they were: what a warm cluster needs between two trials.

A snapshot says what was declared. What differs from it is written back, and nothing else: new
objects go, missing ones come again, changed ones are replaced; what may not be changed in place is
deleted and made anew. Then pods go whose settings had been changed, that run by themselves, or that
are not ready: their controllers make fresh ones. Certificates are issued anew, since they are
renewed all the time; replicas are an autoscaler's affair where there is one.

Works on any ``Kube``. Not here: waiting until all is ready, data (``cluster.warm``).
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from aiopslab.environments.cluster.declared import (
    Declared,
    Ref,
    declared,
    inputs,
    ref,
    revisions,
)
from aiopslab.environments.cluster.manifests import pod_of
from aiopslab.environments.cluster.readiness import failing, has_ended
from aiopslab.environments.cluster.together import together
from aiopslab.environments.protocol import Kube
from aiopslab.models.app import App
from aiopslab.models.kube import KubeError, Object
from aiopslab.services.certificates import KeyPair, issue, read
from aiopslab.services.tls_manifests import (
    authority_name,
    members,
    names_of,
    secret_name,
    tls_data,
)
from aiopslab.world.kube.objects import clone, controller_of, deleting, labels_of, name_of

ACTOR = "ci-pipeline"
"""Who writes things back: whoever deployed them."""
_FIRST = ("ResourceQuota", "LimitRange")
"""What could refuse the rest."""
_TRIES = 5
"""How often an object is written that somebody else keeps writing to."""
_GONE_S, _POLL_S = 60.0, 0.25
_BEHIND = ("hash", "statefulset.kubernetes.io/", "apps.kubernetes.io/", "batch.kubernetes.io/",
           "controller-uid", "job-name")  # fmt: skip
"""In names of labels that controllers put on pods."""


@dataclass(slots=True)
class Undone:
    """What was done to put a namespace back."""

    written: list[Ref] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    """Pods that were deleted."""
    stuck: list[str] = field(default_factory=list)
    """What cannot be put back, in words."""


class Restorer:
    """Puts the namespace of one app back.

    Args:
        kube: The cluster, as the lab.
        app: The app, as it is called on the cluster.
        before: What was declared.
        now: Unix seconds, for new certificates.
    """

    def __init__(self, kube: Kube, app: App, before: Declared, now: Callable[[], float]) -> None:
        self._kube = kube
        self._app = app
        self._space = app.namespace
        self._before = before
        self._now = now
        self._certificates = {("Secret", secret_name(name)): name for name in _certified(app)}
        self._scaled = dict(_scaled(before.objects.values()))

    async def differences(self) -> list[str]:
        """Return what is not as it was, in words; empty if everything is."""
        present = await declared(self._kube, self._space)
        found = [f"{kind} {name} is gone" for kind, name in self._missing(present)]
        found += [f"{kind} {name} is new" for kind, name in self._new(present)]
        found += [f"{kind} {name} has changed" for kind, name in self._changed(present)]
        found += [f"{kind} {name} is being deleted" for kind, name in await self._going()]
        if present.space != self._before.space:
            found.append(f"labels or annotations of namespace {self._space} have changed")
        return found

    async def undo(self) -> Undone:
        """Put everything back; returns what was done.

        Raises:
            KubeError: A write was refused that nothing can replace.
            InfraError: The cluster does not answer.
        """
        done = Undone()
        present = await declared(self._kube, self._space)
        await self._namespace(present, done)
        for kind, name in sorted(self._new(present), key=lambda k: (k[0] not in _FIRST, k)):
            await self._discard(kind, name)
            done.written.append((kind, name))
        for kind, name in sorted(await self._going(), key=lambda k: (k[0] not in _FIRST, k)):
            if kind == "PersistentVolumeClaim":
                done.stuck.append(f"{kind} {name} goes with its data once its pod does")
            elif await self._gone(kind, name, done):
                await self._create(self._before.objects[kind, name], done)
        present = await declared(self._kube, self._space)
        for missing in sorted(self._missing(present), key=lambda k: (k[0] not in _FIRST, k)):
            if missing[0] == "PersistentVolumeClaim":
                done.stuck.append(f"{missing[0]} {missing[1]} went with its data")
            else:
                await self._create(self._before.objects[missing], done)
        for changed in sorted(self._changed(present), key=lambda k: (k[0] not in _FIRST, k)):
            await self._replace(self._wanted(changed, present.objects[changed]), done)
        await self._renew(present, done)
        await self._restart(set(done.written), done)
        return done

    async def tidy(self) -> None:
        """Remove what tells of the time since the snapshot, once all is ready: history, events."""
        for name, wanted in (await revisions(self._kube, self._space)).items():
            if not wanted and name not in self._before.revisions:
                await self._discard("ReplicaSet", name)
        events = await self._kube.list("Event", self._space)
        await together({name_of(e): self._discard("Event", name_of(e)) for e in events})

    # -- what differs -----------------------------------------------------------------------------

    def _missing(self, present: Declared) -> list[Ref]:
        return [key for key in self._before.objects if key not in present.objects]

    def _new(self, present: Declared) -> list[Ref]:
        new = [key for key in present.objects if key not in self._before.objects]
        return [*new, *(present.loners - self._before.loners)]

    def _changed(self, present: Declared) -> list[Ref]:
        both = (key for key in self._before.objects if key in present.objects)
        return [k for k in both if self._wanted(k, present.objects[k]) != present.objects[k]]

    def _wanted(self, key: Ref, present: Object) -> Object:
        """Return what an object is to be, given what it is."""
        before = self._before.objects[key]
        if key in self._certificates and (data := present.get("data")):
            return {**before, "data": data}
        if bounds := self._scaled.get(key):
            replicas = present["spec"].get("replicas", 1)
            if bounds[0] <= replicas <= bounds[1]:
                return {**before, "spec": {**before["spec"], "replicas": replicas}}
        return before

    async def _going(self) -> list[Ref]:
        """Return the declared objects whose deletion was asked for, and waits for something."""
        kinds = sorted({kind for kind, _ in self._before.objects})
        return [
            ref(obj)
            for kind in kinds
            for obj in await self._kube.list(kind, self._space)
            if deleting(obj) and (kind, name_of(obj)) in self._before.objects
        ]

    # -- writing ----------------------------------------------------------------------------------

    async def _namespace(self, present: Declared, done: Undone) -> None:
        if present.space == self._before.space:
            return
        metadata = {
            part: {**dict.fromkeys(present.space[part]), **self._before.space[part]}
            for part in self._before.space
        }
        await self._kube.patch(
            "Namespace", self._space, {"metadata": metadata}, type="merge", actor=ACTOR
        )
        done.written.append(("Namespace", self._space))

    async def _create(self, obj: Object, done: Undone) -> None:
        try:
            await self._kube.create(clone(obj), actor=ACTOR)
            done.written.append(ref(obj))
        except KubeError as error:
            if error.reason != "AlreadyExists":
                raise
            # A controller was faster: a namespace always has a default ServiceAccount.
            await self._replace(obj, done)

    async def _replace(self, obj: Object, done: Undone) -> None:
        kind, name = ref(obj)
        try:
            await self._put(obj)
        except KubeError as error:
            if error.code not in (404, 422):
                raise
            # It is gone meanwhile, or has a field that cannot be changed any more.
            if error.code == 422 and not await self._gone(kind, name, done):
                return
            await self._kube.create(clone(obj), actor=ACTOR)
        done.written.append((kind, name))

    async def _put(self, obj: Object) -> None:
        """Replace an object; again where a controller wrote its status in between."""
        kind, name = ref(obj)
        for left in reversed(range(_TRIES)):
            present = await self._kube.get(kind, name, self._space)
            try:
                await self._kube.replace(_kept(obj, present), actor=ACTOR)
                return
            except KubeError as error:
                if error.reason != "Conflict" or not left:
                    raise

    async def _gone(self, kind: str, name: str, done: Undone) -> bool:
        """Delete an object and wait until it is gone; whether it is."""
        await self._discard(kind, name)
        try:
            async with asyncio.timeout(_GONE_S):
                # Nobody tells of the end of one object; it can only be asked for again.
                while await self._there(kind, name):  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            done.stuck.append(f"{kind} {name} does not go")
            return False
        return True

    async def _there(self, kind: str, name: str) -> bool:
        try:
            await self._kube.get(kind, name, self._space)
        except KubeError as error:
            if error.code != 404:
                raise
            return False
        return True

    async def _discard(self, kind: str, name: str) -> None:
        try:
            await self._kube.delete(kind, name, self._space, actor=ACTOR)
        except KubeError as error:
            if error.code != 404:
                raise

    async def _renew(self, present: Declared, done: Undone) -> None:
        """Issue the certificates anew that are not as the app's own renewal leaves them."""
        tls, authority = self._app.tls, ("Secret", authority_name(self._app.name))
        if tls is None or authority not in self._before.objects:
            return
        data = self._before.objects[authority]["data"]
        texts = {key: base64.b64decode(value).decode() for key, value in data.items()}
        signer = KeyPair(texts["tls.crt"], texts["tls.key"])
        for key, service in sorted(self._certificates.items()):
            before, now = self._before.objects.get(key), self._now()
            names = names_of(self._app, service)
            if before is None or _holds(present.objects.get(key), signer, names, now):
                continue
            pair = issue(signer, service, names, now, now + tls.validity)
            await self._replace({**before, "data": tls_data(pair)}, done)

    # -- pods -------------------------------------------------------------------------------------

    async def _restart(self, written: set[Ref], done: Undone) -> None:
        """Let fresh pods take the place of those that may have read what was wrong."""
        written -= self._certificates.keys()
        stale = {
            name
            for (_, name), obj in self._before.objects.items()
            if (pod := pod_of(obj)) is not None and written & set(inputs(pod["spec"]))
        }
        made = ((name_of(o), _template(o)) for o in self._before.objects.values())
        labels = {name: template for name, template in made if template is not None}
        for pod in await self._kube.list("Pod", self._space):
            if deleting(pod) or controller_of(pod) is None or has_ended(pod):
                continue
            component = labels_of(pod).get("app.kubernetes.io/name", "")
            if (
                component in stale
                or failing(pod)
                or pod["spec"].get("ephemeralContainers")
                or _relabelled(labels_of(pod), labels.get(component))
            ):
                await self._discard("Pod", name_of(pod))
                done.restarted.append(name_of(pod))


def _kept(wanted: Object, present: Object) -> Object:
    """Return what to replace an object with: what the server has allocated or noted stays."""
    body: Object = clone(wanted)
    body["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"]
    body["metadata"]["uid"] = present["metadata"]["uid"]
    notes = present["metadata"].get("annotations") or {}
    kept = {k: v for k, v in notes.items() if k.startswith(_NOTES)}
    if kept:
        body["metadata"]["annotations"] = {**kept, **(body["metadata"].get("annotations") or {})}
    for field_ in _ALLOCATED.get(wanted["kind"], ()):
        if field_ in present["spec"]:
            body["spec"].setdefault(field_, present["spec"][field_])
    return body


_NOTES = (
    "deployment.kubernetes.io/", "pv.kubernetes.io/", "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/",
)  # fmt: skip
_ALLOCATED = {"Service": ("clusterIP", "clusterIPs"), "PersistentVolumeClaim": ("volumeName",)}


def _certified(app: App) -> list[str]:
    return members(app) if app.tls is not None else []


def _scaled(objects: Iterable[Object]) -> Iterator[tuple[Ref, tuple[int, int]]]:
    """Iterate over what autoscalers scale, with the least and most replicas."""
    for obj in objects:
        if obj["kind"] == "HorizontalPodAutoscaler":
            spec = obj["spec"]
            target = spec["scaleTargetRef"]
            yield (
                (target["kind"], target["name"]),
                (spec.get("minReplicas", 1), spec["maxReplicas"]),
            )


def _template(obj: Object) -> Mapping[str, str] | None:
    """Return the labels that the pods of a workload are made with."""
    if obj["kind"] not in ("Deployment", "StatefulSet", "DaemonSet"):
        return None
    pod = pod_of(obj)
    return None if pod is None else labels_of(pod)


def _relabelled(labels: Mapping[str, str], template: Mapping[str, str] | None) -> bool:
    """Whether somebody has put other labels on a pod than it was made with."""
    if template is None:
        return False
    own = {k: v for k, v in labels.items() if not any(part in k for part in _BEHIND)}
    # Labels of a template that was changed: a rollout sees to that.
    return own.keys() != template.keys()


def _holds(secret: Object | None, signer: KeyPair, names: Sequence[str], now: float) -> bool:
    """Whether a Secret has a certificate of the authority for these names that holds now."""
    text = (secret or {}).get("data", {}).get("tls.crt", "")
    try:
        (facts,) = read(base64.b64decode(text).decode())
        (root,) = read(signer.certificate)
    except ValueError:
        return False
    is_ours = facts.issuer_key_id == root.key_id and facts.dns_names == tuple(names)
    return is_ours and facts.not_before <= now < facts.not_after
