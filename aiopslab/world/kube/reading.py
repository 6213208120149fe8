"""The reads of the API server: one object, lists and their pages, changes since a revision.

Objects are shared: what is returned is the stored dict itself. Never change it;
:func:`objects.clone` first. Neighbours: ``api`` adds the writes, ``paging`` cuts lists,
``history`` remembers changes, ``served`` makes of an object what a client is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiopslab.world.kube import kinds, paging, scale, selectors
from aiopslab.world.kube.errors import no_such_kind, no_such_resource, not_found
from aiopslab.world.kube.history import Change
from aiopslab.world.kube.journal import AuditEntry, Journal, Subscriber
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Object, Objects
from aiopslab.world.kube.paging import Page
from aiopslab.world.kube.store import ObjectStore
from aiopslab.world.kube.watch import Watch


class ApiReader:
    """What may be asked of the cluster's state.

    Args:
        now: Unix seconds of the world.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.store = ObjectStore()
        self._journal = Journal()

    @property
    def audit(self) -> list[AuditEntry]:
        """Every accepted write of desired state, oldest first."""
        return self._journal.audit

    @property
    def on_audit(self) -> list[Callable[[AuditEntry], None]]:
        """Callbacks for new audit entries; append yours."""
        return self._journal.on_audit

    @property
    def revision(self) -> int:
        """The revision of the latest write: ``metadata.resourceVersion`` of a list made now."""
        return self.store.revision

    def kind(self, name: str) -> Kind:
        """Look a kind up.

        Raises:
            KubeError: 404, not served.
        """
        found = kinds.find(name)
        if found is None:
            raise no_such_kind(name)
        return found

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Return one object. ``kind`` may be any name kubectl takes.

        Raises:
            KubeError: 404, unknown kind or object.
        """
        served = self.kind(kind)
        obj = self.store.get(served.kind, space_of(served, namespace), name)
        if obj is None:
            raise not_found(served, name)
        return obj

    def find(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """Return one object, or None if there is none."""
        served = self.kind(kind)
        return self.store.get(served.kind, space_of(served, namespace), name)

    def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Objects:
        """Return objects by namespace and name; None as namespace means all.

        Args:
            kind: Any name kubectl takes.
            namespace: Ignored for cluster-scoped kinds.
            labels: Label selector: ``app=web,tier in (a,b)``.
            fields: Field selector: ``status.phase=Running``.

        Raises:
            KubeError: 404 for the kind, 400 for a selector.
        """
        served = self.kind(kind)
        found = self.store.list(served.kind, namespace if served.namespaced else "")
        return selectors.select(found, served.kind, labels, fields)

    def list_page(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        token: str = "",
        revision: int | None = None,
    ) -> Page:
        """Return one page of a list; all pages of a list show the state of its first.

        Args:
            kind: Any name kubectl takes.
            namespace: None for all.
            labels: Label selector.
            fields: Field selector.
            limit: Most objects of a page; 0 is no limit.
            token: ``Page.token`` of the page before; empty for the first.
            revision: Of the state that is shown; None is the present one.

        Raises:
            KubeError: As :meth:`list`; 400, not a token; 410, the state is forgotten.
        """
        served = self.kind(kind)
        space = namespace if served.namespaced else ""
        query = paging.Query(space, labels, fields, limit, token, revision)
        return paging.page(self.store, served.kind, query)

    def changes_since(self, kind: str, revision: int) -> Sequence[Change]:
        """Return a kind's changes after a revision, oldest first; safe from any thread.

        A watch calls it again with the revision of the last change it got (or, if there was
        none, the one it used): nothing is missed and nothing comes twice.

        Raises:
            KubeError: 404 for the kind; 410 ``Expired``, the history does not go back so far.
        """
        return self.store.history.since(self.kind(kind).kind, revision)

    def owned_by(self, uid: str) -> Objects:
        """Return the objects that have an owner reference to this uid."""
        return self.store.owned_by(uid)

    def get_scale(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Return the ``scale`` subresource (autoscaling/v1 Scale) of a workload.

        Raises:
            KubeError: 404, also for kinds that cannot be scaled.
        """
        if not self.kind(kind).scale:
            raise no_such_resource()
        return scale.of(self.get(kind, name, namespace))

    # -- following --------------------------------------------------------------------------------

    def subscribe(self, kind: str, callback: Subscriber) -> Callable[[], None]:
        """Call back after every commit of a kind; returns the function that ends it.

        Callbacks run synchronously in subscription order. Writes made inside one are announced
        after the present announcement, so every subscriber sees all changes in commit order.
        """
        return self._journal.subscribe(self.kind(kind).kind, callback)

    def watch(self, kind: str, namespace: str | None = None) -> Watch:
        """Iterate (asynchronously) over (event, object) from now on; close it when done."""
        return Watch(lambda deliver: self.subscribe(kind, deliver), namespace)


def space_of(kind: Kind, namespace: str | None) -> str:
    """Return the namespace an object of a kind lives in; empty for cluster-scoped kinds."""
    return (namespace or "default") if kind.namespaced else ""
