"""Admission webhooks: programs in the cluster that are asked before an object is stored.

After kubernetes/pkg/../admission/plugin/webhook: which webhooks a request concerns (rules,
namespace and object selectors), in which order they are called, what ``failurePolicy`` makes of one
that does not answer, and the texts. Asked when objects are created. Not modelled: other operations,
match conditions, certificates, and the time a call takes.
Neighbours: ``api`` (when they are asked), ``images.podpolicy`` (one that answers).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

from aiopslab.models.kube import KubeError
from aiopslab.world.kube import selectors
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import Object, clone, labels_of, name_of, namespace_of
from aiopslab.world.kube.patches import jsonpatch
from aiopslab.world.kube.store import ObjectStore

CREATE = "CREATE"
Reviewer = Callable[[Object], Object]
"""From an AdmissionReview's request to its response."""
Dial = Callable[[str, str, int], Reviewer]
"""``(namespace, service, port)`` to who answers there; raises ``Unreachable``."""
MUTATING = "MutatingWebhookConfiguration"
VALIDATING = "ValidatingWebhookConfiguration"
_OWN = (MUTATING, VALIDATING)
"""Never asked about, so that a broken configuration can be mended."""


class Unreachable(Exception):
    """Nobody answers; the text says why, as the dialler words it."""


class Webhooks:
    """Asks the webhooks of a cluster.

    Args:
        store: Where their configurations are.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.dial: Dial | None = None
        """How the API server reaches a Service; None where no network is there."""

    def mutate(self, kind: Kind, new: Object) -> Object:
        """Return the object as the mutating webhooks want it.

        Raises:
            KubeError: A webhook denied it, or failed and may not be passed by.
        """
        for hook in self._concerned(MUTATING, kind, new):
            response = self._call(hook, kind, new)
            patch = response.get("patch")
            if patch:
                new = jsonpatch.apply(new, json.loads(base64.b64decode(patch)))
        return new

    def validate(self, kind: Kind, new: Object) -> None:
        """Ask the validating webhooks.

        Raises:
            KubeError: As :meth:`mutate`.
        """
        for hook in self._concerned(VALIDATING, kind, new):
            self._call(hook, kind, new)

    def _concerned(self, configuration: str, kind: Kind, new: Object) -> Iterator[Object]:
        if kind.kind in _OWN:
            return
        for found in self._store.list(configuration, ""):
            for hook in found.get("webhooks") or ():
                rules = hook.get("rules") or ()
                if any(_covers(rule, kind) for rule in rules) and self._selected(hook, kind, new):
                    yield hook

    def _selected(self, hook: Object, kind: Kind, new: Object) -> bool:
        chosen = selectors.from_object(hook.get("objectSelector") or {})
        if not selectors.matches(chosen, labels_of(new)):
            return False
        if not kind.namespaced:
            return True
        namespace = self._store.get("Namespace", "", namespace_of(new))
        labels = {"kubernetes.io/metadata.name": namespace_of(new)}
        labels |= labels_of(namespace) if namespace is not None else {}
        return selectors.matches(selectors.from_object(hook.get("namespaceSelector") or {}), labels)

    def _call(self, hook: Object, kind: Kind, new: Object) -> Object:
        """Return the response of one webhook; an empty one where its failure is ignored."""
        request = {
            "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
            "operation": CREATE,
            "name": name_of(new),
            "namespace": namespace_of(new),
            "object": clone(new),
        }
        try:
            response = self._reviewer(hook)(request)
        except Unreachable as problem:
            if hook.get("failurePolicy", "Fail") == "Ignore":
                return {}
            text = f'failed calling webhook "{hook["name"]}": failed to call webhook: {problem}'
            raise KubeError(500, "InternalError", f"Internal error occurred: {text}") from problem
        if not response.get("allowed"):
            why = (response.get("status") or {}).get("message", "without explanation")
            text = f'admission webhook "{hook["name"]}" denied the request: {why}'
            raise KubeError(403, "Forbidden", text)
        return response

    def _reviewer(self, hook: Object) -> Reviewer:
        service = (hook.get("clientConfig") or {}).get("service")
        if not service or self.dial is None:
            raise Unreachable("no such host")
        namespace, name = service["namespace"], service["name"]
        port, path = int(service.get("port") or 443), service.get("path", "/")
        patience = hook.get("timeoutSeconds", 10)
        post = f'Post "https://{name}.{namespace}.svc:{port}{path}?timeout={patience}s"'
        try:
            return self.dial(namespace, name, port)
        except Unreachable as problem:
            raise Unreachable(f"{post}: {problem}") from None


def _covers(rule: Object, kind: Kind) -> bool:
    """Whether a rule of a webhook covers the creation of a kind, subresources apart."""
    asked = (
        (rule.get("operations"), CREATE),
        (rule.get("apiGroups"), kind.group),
        (rule.get("apiVersions"), kind.version),
        (rule.get("resources"), kind.plural),
    )
    scope = rule.get("scope", "*")
    return all("*" in (listed or ()) or value in (listed or ()) for listed, value in asked) and (
        scope == "*" or (scope == "Namespaced") == kind.namespaced
    )
