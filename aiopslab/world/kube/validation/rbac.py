"""What roles and their bindings may say, in the API server's words.

The third part of ``rules``. Roles are validated and served; they give nobody rights: those of a
client come with its token (``wire.identity``).
"""

from __future__ import annotations

import json
from collections.abc import Callable

from aiopslab.world.kube.errors import Cause
from aiopslab.world.kube.objects import Object
from aiopslab.world.kube.validation.syntax import wrong

GROUP = "rbac.authorization.k8s.io"


def _unsupported(path: str, value: str, *allowed: str) -> Cause:
    listed = ", ".join(json.dumps(a) for a in allowed)
    return Cause(path, f"Unsupported value: {json.dumps(value)}: supported values: {listed}")


def _policy_rules(role: Object, *, namespaced: bool) -> list[Cause]:
    causes = []
    for index, rule in enumerate(role.get("rules") or ()):
        at = f"rules[{index}]"
        urls = rule.get("nonResourceURLs")
        if not rule.get("verbs"):
            words = "Required value: verbs must contain at least one value"
            causes.append(Cause(f"{at}.verbs", words))
        if urls and namespaced:
            words = "namespaced rules cannot apply to non-resource URLs"
            causes.append(wrong(f"{at}.nonResourceURLs", urls, words))
        elif urls and (rule.get("apiGroups") or rule.get("resources")):
            words = "rules cannot apply to both regular resources and non-resource URLs"
            causes.append(wrong(f"{at}.nonResourceURLs", urls, words))
        if urls:
            continue
        for part, word in (("apiGroups", "api group"), ("resources", "resource")):
            if not rule.get(part):
                words = f"Required value: resource rules must supply at least one {word}"
                causes.append(Cause(f"{at}.{part}", words))
    return causes


def _role(role: Object, _path: str) -> list[Cause]:
    return _policy_rules(role, namespaced=True)


def _cluster_role(role: Object, _path: str) -> list[Cause]:
    return _policy_rules(role, namespaced=False)


def _role_ref(binding: Object, *kinds: str) -> list[Cause]:
    reference = binding.get("roleRef") or {}
    causes = []
    if reference.get("apiGroup") != GROUP:
        causes.append(_unsupported("roleRef.apiGroup", reference.get("apiGroup", ""), GROUP))
    if reference.get("kind") not in kinds:
        causes.append(_unsupported("roleRef.kind", reference.get("kind", ""), *kinds))
    return causes


def _subject(subject: Object, path: str) -> list[Cause]:
    kind = subject.get("kind")
    group = subject.get("apiGroup", "")
    if kind == "ServiceAccount":
        causes = [] if not group else [_unsupported(f"{path}.apiGroup", group, "")]
        if not subject.get("namespace"):
            causes.append(Cause(f"{path}.namespace", "Required value"))
        return causes
    if kind in ("User", "Group"):
        return [] if group == GROUP else [_unsupported(f"{path}.apiGroup", group, GROUP)]
    return [_unsupported(f"{path}.kind", str(kind or ""), "ServiceAccount", "User", "Group")]


def _role_binding(binding: Object, _path: str) -> list[Cause]:
    return _role_ref(binding, "Role", "ClusterRole")


def _cluster_role_binding(binding: Object, _path: str) -> list[Cause]:
    return _role_ref(binding, "ClusterRole")


RBAC_RULES: dict[str, Callable[[Object, str], list[Cause]]] = {
    "rbac.ClusterRole": _cluster_role,
    "rbac.ClusterRoleBinding": _cluster_role_binding,
    "rbac.Role": _role,
    "rbac.RoleBinding": _role_binding,
    "rbac.Subject": _subject,
}
