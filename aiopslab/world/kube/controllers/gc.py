"""Garbage collection by owner references, and the end of namespaces.

Background: when an owner is gone, what it owned is deleted. Foreground: an owner that waits with
``foregroundDeletion`` goes after its blocking dependants. Orphan: dependants are cut loose first.
"""

from __future__ import annotations

from aiopslab.models.kube import KubeError
from aiopslab.world.kube import kinds
from aiopslab.world.kube.controllers.base import Controller
from aiopslab.world.kube.controllers.queue import Key
from aiopslab.world.kube.objects import (
    Object,
    clone,
    deleting,
    name_of,
    namespace_of,
    uid_of,
)
from aiopslab.world.kube.options import DeleteOptions

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_SKIPPED = ("Event", "Lease")
"""Kinds that own nothing and are owned by nothing, written many times a minute."""


class GarbageCollector(Controller):
    """Deletes what has lost all its owners. Keys are (uid, name) of owners, not objects."""

    name = "generic-garbage-collector"

    def watch(self) -> None:
        """Follow every kind that takes part in ownership."""
        for kind in sorted(kinds.BY_KIND):
            if kind not in _SKIPPED:
                self.api.subscribe(kind, self._changed)

    def _changed(self, event: str, obj: Object, _old: Object | None) -> None:
        if event == "DELETED":
            if self.api.owned_by(uid_of(obj)):
                self.queue.add((uid_of(obj), ""))
            # An owner in foreground deletion may have waited for this one.
            for reference in obj["metadata"].get("ownerReferences") or ():
                self._look_at(obj, reference)
        elif deleting(obj) and _holds(obj):
            self.queue.add((uid_of(obj), _address(obj)))
        elif event == "ADDED" and obj["metadata"].get("ownerReferences"):
            for reference in obj["metadata"]["ownerReferences"]:
                if not self._exists(obj, reference):
                    self.queue.add((reference["uid"], ""))

    def _look_at(self, obj: Object, reference: Object) -> None:
        owner = self._owner(obj, reference)
        if owner is not None and deleting(owner) and _holds(owner):
            self.queue.add((uid_of(owner), _address(owner)))

    def reconcile(self, namespace: str, name: str) -> None:
        uid = namespace  # the key's first part
        if not name:
            for dependant in self.api.owned_by(uid):
                self._lose(dependant, uid)
            return
        kind, space, owner_name = name.split("/")
        owner = self.find(kind, owner_name, space or None)
        if owner is None or uid_of(owner) != uid or not deleting(owner):
            return
        if ORPHAN in (owner["metadata"].get("finalizers") or ()):
            for dependant in self.api.owned_by(uid):
                self._cut_loose(dependant, uid)
            self._release(owner, ORPHAN)
        elif FOREGROUND in (owner["metadata"].get("finalizers") or ()):
            blocking = [item for item in self.api.owned_by(uid) if _blocks(item, uid)]
            for dependant in self.api.owned_by(uid):
                if not deleting(dependant):
                    self._delete(dependant, propagation_foreground=True)
            if not blocking:
                self._release(owner, FOREGROUND)

    def _lose(self, dependant: Object, uid: str) -> None:
        """One owner is gone: delete, unless another one is left."""
        others = [
            reference
            for reference in dependant["metadata"]["ownerReferences"]
            if reference["uid"] != uid and self._exists(dependant, reference)
        ]
        if others:
            self._cut_loose(dependant, uid)
        elif not deleting(dependant):
            self._delete(dependant, propagation_foreground=False)

    def _owner(self, dependant: Object, reference: Object) -> Object | None:
        if reference["kind"] not in kinds.BY_KIND:
            return None
        return self.find(reference["kind"], reference["name"], namespace_of(dependant) or None)

    def _exists(self, dependant: Object, reference: Object) -> bool:
        """Whether an owner exists; one of a kind nobody serves cannot be looked for: it counts."""
        if reference["kind"] not in kinds.BY_KIND:
            return True
        owner = self._owner(dependant, reference)
        return owner is not None and uid_of(owner) == reference["uid"]

    def _cut_loose(self, dependant: Object, uid: str) -> None:
        changed = clone(dependant)
        references = [item for item in changed["metadata"]["ownerReferences"] if item["uid"] != uid]
        changed["metadata"]["ownerReferences"] = references
        if not references:
            del changed["metadata"]["ownerReferences"]
        self.api.replace(changed, actor=self.actor)

    def _release(self, owner: Object, finalizer: str) -> None:
        changed = clone(owner)
        changed["metadata"]["finalizers"] = [
            item for item in changed["metadata"]["finalizers"] if item != finalizer
        ]
        self.api.replace(changed, actor=self.actor)

    def _delete(self, obj: Object, *, propagation_foreground: bool) -> None:
        has_own = propagation_foreground and self.api.owned_by(uid_of(obj))
        try:
            self.api.delete(
                obj["kind"], name_of(obj), namespace_of(obj) or None, actor=self.actor,
                options=DeleteOptions(propagation="Foreground" if has_own else "Background"),
            )  # fmt: skip
        except KubeError as error:
            if error.code != 404:  # gone meanwhile is what was wanted
                raise


def _holds(obj: Object) -> bool:
    finalizers = obj["metadata"].get("finalizers") or ()
    return FOREGROUND in finalizers or ORPHAN in finalizers


def _blocks(obj: Object, uid: str) -> bool:
    return any(
        reference["uid"] == uid and reference.get("blockOwnerDeletion")
        for reference in obj["metadata"].get("ownerReferences") or ()
    )


def _address(obj: Object) -> str:
    return f"{obj['kind']}/{namespace_of(obj)}/{name_of(obj)}"


class NamespaceController(Controller):
    """Empties a namespace that is being deleted, then lets it go."""

    name = "namespace-controller"

    def watch(self) -> None:
        """Follow namespaces."""
        self.follow_own("Namespace")

    def reconcile(self, namespace: str, name: str) -> None:
        space = self.find("Namespace", name)
        if space is None or not deleting(space):
            return
        left = 0
        for kind in sorted(kinds.BY_KIND):
            if not kinds.BY_KIND[kind].namespaced:
                continue
            for obj in self.api.list(kind, name):
                left += 1
                if not deleting(obj):
                    self.api.delete(kind, name_of(obj), name, actor=self.actor)
        if left:
            self.queue.add_after((namespace, name), 1.0)
            return
        if space["spec"].get("finalizers"):
            changed = clone(space)
            changed["spec"]["finalizers"] = []
            self.api.replace(changed, actor=self.actor)


class ServiceAccountController(Controller):
    """Gives every namespace its ``default`` ServiceAccount."""

    name = "service-account-controller"

    def watch(self) -> None:
        """Follow namespaces, and accounts that somebody deletes."""
        self.follow_own("Namespace")
        self.follow("ServiceAccount", self._namespace)

    def _namespace(self, account: Object) -> list[Key]:
        return [("", namespace_of(account))]

    def reconcile(self, namespace: str, name: str) -> None:
        space = self.find("Namespace", name)
        if space is None or deleting(space):
            return
        if self.find("ServiceAccount", "default", name) is None:
            account = {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": name},
            }
            self.api.create(account, actor=self.actor)
