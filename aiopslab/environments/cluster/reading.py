"""Reading from a cluster in the calling thread: kinds, objects, lists by the page, tables.

What it returns looks as the simulated cluster's in-process reads do. Not here: the coroutines
around it and the writes (``cluster.kube``), which kinds there are (``cluster.discovery``).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from aiopslab.environments.cluster.connection import JSON, METADATA, TABLE, Connection, Request
from aiopslab.environments.cluster.discovery import Catalogue, Served, discover
from aiopslab.models.kube import KubeError, Object
from aiopslab.world.kube.decoding import type_of
from aiopslab.world.kube.errors import no_match, no_such_kind
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Objects
from aiopslab.world.kube.reading import space_of

PAGE = 500
"""Objects that are asked for at a time."""


class ClusterReader:
    """The reads of one API server.

    Args:
        connection: The way to it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._catalogue: Catalogue | None = None
        self._lock = threading.Lock()

    # -- kinds --------------------------------------------------------------------------------

    def catalogue(self, *, fresh: bool = False) -> Catalogue:
        """Return what the cluster serves; asked once, and again where ``fresh``."""
        with self._lock:
            if self._catalogue is None or fresh:
                self._catalogue = discover(self._connection.call)
            return self._catalogue

    def served(self, name: str) -> Served:
        """Find a kind; one that is not known may have been added since we asked.

        Raises:
            KubeError: 404, it is not served.
        """
        found = self.catalogue().find(name) or self.catalogue(fresh=True).find(name)
        if found is None:
            raise no_such_kind(name)
        return found

    def kind(self, name: str) -> Kind:
        """Do what ``served`` does, and return the kind alone."""
        return self.served(name).kind

    def served_as(self, obj: Object) -> Served:
        """Find the kind that an object says it is.

        Raises:
            KubeError: 400, it does not say, or the kind is not served.
        """
        name, version = type_of(obj)
        found = self.catalogue().spoken(name, version)
        found = found or self.catalogue(fresh=True).spoken(name, version)
        if found is None:
            raise no_match(name, version)
        return found

    # -- objects ------------------------------------------------------------------------------

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Return one object.

        Raises:
            KubeError: 404.
        """
        served = self.served(kind)
        path = served.path(space_of(served.kind, namespace), name)
        obj: Object = self._connection.call(Request("GET", path))
        return obj

    def list(
        self, kind: str, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Objects:
        """Return objects by namespace and name; None as namespace means all."""
        served = self.served(kind)
        return self.listing(served, namespace, labels=labels, fields=fields)[0]

    def listing(
        self,
        served: Served,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> tuple[Objects, str]:
        """Return the objects of a kind and the revision they show."""
        accept = METADATA if metadata_only else JSON
        try:
            pages = list(self._pages(served, namespace, labels, fields, accept))
        except KubeError as error:
            if not error.continue_token:
                raise
            # The state of the first page was forgotten meanwhile: all at once, then.
            pages = list(self._pages(served, namespace, labels, fields, accept, limit=0))
        of_kind = {"apiVersion": served.kind.api_version, "kind": served.kind.kind}
        found = [{**of_kind, **obj, **of_kind} for page in pages for obj in page.get("items") or ()]
        return found, str(pages[-1]["metadata"].get("resourceVersion") or "")

    def table(self, kind: str, namespace: str | None = None, *, labels: str = "") -> Objects:
        """Return the pages of a kind's ``Table``."""
        return list(self._pages(self.served(kind), namespace, labels, "", TABLE))

    def _pages(
        self,
        served: Served,
        namespace: str | None,
        labels: str,
        fields: str,
        accept: str,
        *,
        limit: int = PAGE,
    ) -> Iterator[Object]:
        """Iterate over the pages of a list.

        Raises:
            KubeError: The server refused one; with a ``continue_token``, the state of the first
                page is forgotten.
        """
        query = {"limit": str(limit)} if limit else {}
        query |= {"labelSelector": labels} if labels else {}
        query |= {"fieldSelector": fields} if fields else {}
        path = served.path(namespace)
        while True:
            page = self._connection.call(Request("GET", path, query, accept=accept))
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token
