"""Whether a cluster can be used: the context, the server, its version, our rights, its images.

Rights are asked for one by one with ``SelfSubjectAccessReview``, before anything is created. Not
here: what the host needs for a cluster of its own (``host_checks``), what images there must be
(``image_checks``).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiopslab.environments import image_checks
from aiopslab.environments.cluster.access import Grant, in_app, of_cluster
from aiopslab.environments.cluster.connection import Connection, Reach, Request
from aiopslab.environments.contexts import choose, kind_cluster
from aiopslab.environments.host_checks import Finding
from aiopslab.errors import InfraError, PreflightError, UsageError
from aiopslab.models.kube import KubeError, Object

KUBECONFIG = "-e kubeconfig"
LEAST = (1, 30)
"""Commands that read input need its streams."""
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_RBAC = "rbac.authorization.k8s.io"
_APP = (
    ("", ("configmaps", "secrets", "services", "serviceaccounts", "persistentvolumeclaims",
          "resourcequotas", "limitranges", "pods")),
    ("apps", ("deployments", "statefulsets")),
    ("batch", ("jobs", "cronjobs")),
    ("autoscaling", ("horizontalpodautoscalers",)),
    ("networking.k8s.io", ("networkpolicies",)),
    ("policy", ("poddisruptionbudgets",)),
    (_RBAC, ("roles", "rolebindings")),
)  # fmt: skip
"""What an app, its faults and its agent are made of, in namespaces that do not exist yet."""


@dataclass(frozen=True, slots=True)
class Right:
    """One thing to be allowed to do, in all namespaces."""

    verb: str
    resource: str
    """Plural; a subresource is ``pods/exec``."""
    group: str = ""

    def __str__(self) -> str:
        resource, _, part = self.resource.partition("/")
        kind = f"{resource}.{self.group}" if self.group else resource
        return f"{self.verb} {kind}{'/' + part if part else ''}"


_LOOK = Right("list", "nodes")


def wanted() -> list[Right]:
    """Return the rights that the lab needs on a cluster, each once."""
    made = [("", "namespaces"), (_RBAC, "clusterroles"), (_RBAC, "clusterrolebindings")]
    made += [(group, plural) for group, plurals in _APP for plural in plurals]
    verbs = ("get", "list", "create", "patch", "delete")
    rights = [Right(verb, plural, group) for group, plural in made for verb in verbs]
    rights += [_LOOK, Right("get", "pods/log"), Right("create", "pods/exec")]
    rights += [Right("create", "serviceaccounts/token"), Right("create", "pods/portforward")]
    rights += [Right(verb, "services/proxy") for verb in ("get", "create", "update", "delete")]
    rights += [Right("get", "pods/proxy"), Right("delete", "replicasets", "apps")]
    rights += [Right("watch", "pods"), Right("list", "events"), Right("delete", "events")]
    return list(dict.fromkeys([*rights, *_handed_on()]))


def _handed_on() -> list[Right]:
    """Return the rights of agents and of the observer: nobody may give what he has not."""
    grant = Grant("", "mitigation", "", "")
    rules = [*in_app(grant), *of_cluster([])]
    rights = [
        Right(verb, resource, group)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    return [*rights, Right("get", "nodes/proxy")]


async def missing(connection: Connection, rights: Sequence[Right]) -> list[Right]:
    """Return those of the rights that we do not have.

    Raises:
        KubeError: The server refuses to tell.
        InfraError: There was no answer.
    """
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(_allowed(connection, right)) for right in rights]
    return [r for r, task in zip(rights, asked, strict=True) if not task.result()]


async def _allowed(connection: Connection, right: Right) -> bool:
    resource, _, part = right.resource.partition("/")
    attributes = {"verb": right.verb, "group": right.group, "resource": resource}
    attributes |= {"subresource": part} if part else {}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await connection.ask(Request("POST", _REVIEWS, body=body))
    return bool(answer["status"].get("allowed"))


def checks(
    kubeconfig: str = "",
    context: str = "",
    *,
    allow_production: bool = False,
    registry: str = "",
) -> list[Finding]:
    """Look whether a context can be used; stops at the first thing that is in the way.

    Args:
        kubeconfig: Path; empty is ``$KUBECONFIG``, then ``~/.kube/config``.
        context: Its name; empty is the current one.
        allow_production: Whether one that looks like production is meant.
        registry: Where the cluster pulls our images from.
    """
    try:
        chosen = choose(kubeconfig, context, allow_production=allow_production)
        found = [_good("context", f"{chosen.name}: {chosen.server}")]
        connection = Connection(Reach(kubeconfig, chosen.name, timeout_s=10.0))
    except (UsageError, PreflightError) as error:
        return [Finding("context", False, str(error), KUBECONFIG, error.hint)]
    return [*found, *asyncio.run(_asked(connection, chosen.name, registry))]


async def _asked(connection: Connection, context: str, registry: str) -> list[Finding]:
    """Ask the server; the connection is closed afterwards."""
    look = f"kubectl --context {context} get --raw /version"
    found: list[Finding] = []
    try:
        version = await connection.ask(Request("GET", "/version"))
        found.append(_version(str(version.get("gitVersion") or "")))
        lacking = await missing(connection, wanted())
        found.append(_rights(lacking, context))
        if _LOOK not in lacking:
            nodes = (await connection.ask(Request("GET", "/api/v1/nodes")))["items"]
            found += _images(nodes, context, registry)
    except* (KubeError, InfraError) as group:
        error = group.exceptions[0]
        found.append(Finding("API server", False, str(error), KUBECONFIG, look))
    finally:
        await connection.aclose()
    return found


def _version(text: str) -> Finding:
    least = ".".join(map(str, LEAST))
    numbers = re.match(r"v(\d+)\.(\d+)", text)
    ok = numbers is not None and (int(numbers[1]), int(numbers[2])) >= LEAST
    fix = f"a cluster of Kubernetes {least} or later"
    return Finding(f"Kubernetes {least}+", ok, text or "unknown", KUBECONFIG, fix)


def _rights(lacking: list[Right], context: str) -> Finding:
    if not lacking:
        return _good("rights", f"all {len(wanted())} that are needed")
    some = ", ".join(map(str, lacking[:3]))
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    fix = (
        f"as its administrator: kubectl --context {context} create clusterrolebinding aiopslab "
        "--clusterrole=cluster-admin --user=USER"
    )
    return Finding("rights", False, f"may not {some}{more}", KUBECONFIG, fix)


def _images(nodes: list[Object], context: str, registry: str) -> list[Finding]:
    try:
        apps = image_checks.needed(registry, pinned=not kind_cluster(context))
        return image_checks.of_nodes(nodes, apps, context, registry)
    except UsageError as error:
        return [Finding("images", False, str(error), KUBECONFIG, error.hint)]


def _good(what: str, detail: str) -> Finding:
    return Finding(what, True, detail, KUBECONFIG)
