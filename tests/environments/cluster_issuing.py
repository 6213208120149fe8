"""An API server whose stored Roles and bindings decide what a ServiceAccount's token may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from aiopslab.environments.sim import Sim
from aiopslab.models.kube import Object
from aiopslab.wire.identity import ANY, Identity, Rule, Tokens


def rules_of(role: Object, namespace: str) -> Iterator[Rule]:
    """Read a Role; rules for certain names only are left out, which denies them."""
    for rule in role["rules"]:
        if "resourceNames" not in rule:
            yield Rule(
                tuple(rule["verbs"]), tuple(rule["apiGroups"]), tuple(rule["resources"]), namespace
            )


def bound(stored: list[Object], home: str, name: str) -> Identity:
    """Return a ServiceAccount's identity as the bindings among these objects make it."""
    roles = {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]): o for o in stored}
    rules: list[Rule] = []
    for binding in stored:
        kind, space = binding["kind"], binding["metadata"].get("namespace")
        subject = {"kind": "ServiceAccount", "name": name, "namespace": home}
        if not kind.endswith("Binding") or subject not in binding.get("subjects", ()):
            continue
        role = binding["roleRef"]
        found = roles[role["kind"], space, role["name"]]
        rules += rules_of(found, ANY if kind == "ClusterRoleBinding" else str(space))
    review = Rule(("create",), ("authorization.k8s.io", "authentication.k8s.io"))
    return Identity(f"system:serviceaccount:{home}:{name}", rules=(*rules, review))


def issuing(sim: Sim, late: int = 1) -> Any:
    """Answer as a cluster does whose stored bindings decide what a ServiceAccount may.

    Args:
        sim: The world.
        late: How often the authorizer does not know yet what was stored.
    """
    asked = 0

    def stored() -> list[Object]:
        kinds = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
        return [o for kind in kinds for o in sim.world.api.list(kind)]

    def reviewed(spec: Object) -> Object:
        nonlocal asked
        asked += 1
        *_, space, name = spec["user"].split(":")
        wanted = spec["resourceAttributes"]
        known = bound(stored(), space, name)
        keys = ("verb", "group", "resource", "namespace")
        allowed = known.allows(*(wanted[key] for key in keys)) and asked > late
        return {"kind": "SubjectAccessReview", "status": {"allowed": allowed}}

    def around(api: Any, tokens: Tokens) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            path = scope.get("path", "")
            if not path.endswith(("/token", "/subjectaccessreviews")):
                await api(scope, receive, send)
                return
            spec = json.loads((await receive())["body"])["spec"]
            *_, space, _, name, _ = path.split("/")
            if path.endswith("reviews"):
                answer = reviewed(spec)
            elif sim.world.api.find("ServiceAccount", name, space) is None:
                words = f'serviceaccounts "{name}" not found'
                answer = {"kind": "Status", "code": 404, "reason": "NotFound", "message": words}
            else:
                until = {"expirationTimestamp": str(spec["expirationSeconds"])}
                given = {"token": tokens.issue(bound(stored(), space, name)), **until}
                answer = {"kind": "TokenRequest", "status": given}
            status = answer.get("code", 201)
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

        return app

    return around
