"""Reviews of one's own rights and identity: what ``kubectl auth`` asks.

Everybody may ask, and the answer says nothing about the world. Not here: enforcing the rights
(``access``), reviews of others, which are not served.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from aiopslab.models.kube import Object
from aiopslab.wire.identity import ANY, Identity
from aiopslab.wire.kubernetes import body as bodies
from aiopslab.wire.kubernetes.cluster import identity_of
from aiopslab.wire.kubernetes.resources import served
from aiopslab.wire.kubernetes.status import reply
from aiopslab.wire.kubernetes.target import Target
from aiopslab.world.kube.errors import bad_request

_PUBLIC_URLS = (
    "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*",
    "/readyz", "/version", "/version/",
)  # fmt: skip
"""What may be asked without rights on any resource."""


async def review(request: Request, target: Target) -> Response:
    """Answer a review.

    Raises:
        KubeError: 400, the body is none.
    """
    kind = request.headers.get("content-type", "")
    value, _ = bodies.read(await request.body() or b"{}", kind)
    if not isinstance(value, dict):
        raise bad_request("the body of the request is not an object")
    resource = target.resource
    spec = value.get("spec") or {}
    if not isinstance(spec, dict):
        raise bad_request("json: cannot unmarshal spec into a struct")
    answer: Object = {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {"creationTimestamp": None},
    }
    if resource.kind != "SelfSubjectReview":
        answer["spec"] = spec
    answer["status"] = _STATUS[resource.kind](identity_of(request.scope), spec)
    return reply(answer, 201)


def _who(identity: Identity, spec: dict[str, Any]) -> Object:
    return {"userInfo": {"username": identity.user, "groups": list(identity.groups)}}


def _access(identity: Identity, spec: dict[str, Any]) -> Object:
    asked = spec.get("resourceAttributes")
    if isinstance(asked, dict):
        resource = str(asked.get("resource") or "")
        if asked.get("subresource"):
            resource = f"{resource}/{asked['subresource']}"
        verb, group = str(asked.get("verb") or ""), str(asked.get("group") or "")
        namespace = "" if _is_of_cluster(group, resource) else str(asked.get("namespace") or "")
        return _judged(identity.allows(verb, group, resource, namespace))
    asked = spec.get("nonResourceAttributes")
    if isinstance(asked, dict):
        path, verb = str(asked.get("path") or ""), str(asked.get("verb") or "")
        public = verb == "get" and any(_covers(url, path) for url in _PUBLIC_URLS)
        return _judged(public or identity.allows(verb, "", "", ""))
    raise bad_request(
        "exactly one of nonResourceAttributes or resourceAttributes must be specified"
    )


def _is_of_cluster(group: str, resource: str) -> bool:
    """Whether a resource has no namespace; kubectl sends that of its context all the same."""
    plural = resource.partition("/")[0]
    found = [r for r in served() if r.group == group and r.plural == plural]
    return bool(found) and not found[0].namespaced


def _judged(allowed: bool) -> Object:
    return {"allowed": allowed}


def _covers(url: str, path: str) -> bool:
    return path.startswith(url[:-1]) if url.endswith("*") else path == url


def _rules(identity: Identity, spec: dict[str, Any]) -> Object:
    namespace = spec.get("namespace")
    if not namespace:
        raise bad_request("no namespace on request")
    rules = [
        {
            "verbs": list(rule.verbs),
            "apiGroups": list(rule.groups),
            "resources": list(rule.resources),
        }
        for rule in identity.rules
        if rule.namespace in (ANY, namespace)
    ]
    public = {"verbs": ["get"], "nonResourceURLs": list(_PUBLIC_URLS)}
    return {"resourceRules": rules, "nonResourceRules": [public], "incomplete": False}


_STATUS: dict[str, Callable[[Identity, dict[str, Any]], Object]] = {
    "SelfSubjectReview": _who,
    "SelfSubjectAccessReview": _access,
    "SelfSubjectRulesReview": _rules,
}
