"""The agent on a cluster: a ServiceAccount with the rights of its task, and a token that expires.

It sees the app's namespace and what belongs to the whole cluster; other namespaces (the load
generator's, the observer's, other trials') only where they are named. A task that mitigates may
write in the app's namespace what the tools write; the others read, without Secrets, whose values
the tools hide from them too. RBAC cannot tell commands that look from commands that change:
``k8s_exec`` does, so the token of a reading task is for the tools, not for the agent's own kubectl.

Not here: the simulated cluster's identities (``wire.identity``), taking the objects away after a
crash (``cluster.cleaning`` finds them by their labels).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiopslab.environments.cluster.cleaning import Cleaned, clean
from aiopslab.environments.cluster.connection import Request
from aiopslab.environments.cluster.kube import ClusterKube
from aiopslab.environments.cluster.labels import ACCESS, access_name, ours
from aiopslab.errors import InfraError
from aiopslab.models.kube import KubeError, Object
from aiopslab.models.task import Task
from aiopslab.world.kube.kinds import KINDS, Kind

SHORTEST_S = 600
"""Seconds that a token lasts at least; the API refuses less."""
_RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_WRITE = ["create", "update", "patch", "delete", "deletecollection"]
_COMMANDS = ["pods/exec", "pods/attach", "pods/portforward"]
_ACTOR = "aiopslab"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_IN_FORCE_S, _POLL_S = 20.0, 0.1


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom to give which rights."""

    trial: str
    """Opaque id of the trial: part of names and labels, which agents can read."""
    task: Task
    namespace: str
    """The app's."""
    home: str
    """Namespace of the ServiceAccount; must exist, and is not shown to the agent."""
    look_in: Sequence[str] = ()
    """Further namespaces to read in, ``kube-system`` for instance."""
    commands: bool = True
    """Whether commands may be run in the app's containers."""

    @property
    def name(self) -> str:
        """What all objects of the grant are called."""
        return access_name(self.trial)

    @property
    def user(self) -> str:
        """Who this is to the API server."""
        return f"system:serviceaccount:{self.home}:{self.name}"


@dataclass(frozen=True, slots=True)
class Access:
    """An identity to use until it expires."""

    user: str
    """As the API server calls it: ``system:serviceaccount:HOME:NAME``."""
    token: str
    expires: str
    """RFC 3339."""


async def give(kube: ClusterKube, grant: Grant, *, lasts_s: int = 3600) -> Access:
    """Make an identity and its first token.

    Args:
        kube: The cluster, as somebody who has all these rights.
        grant: Whom to give which.
        lasts_s: Seconds until the token expires, at least ``SHORTEST_S``.

    Raises:
        KubeError: Refused, or the trial has an identity already; nothing is left of this one.
        InfraError: The cluster does not answer.
    """
    quiet = kube.unrecorded()
    account, *rights = objects(grant)
    await quiet.create(account, actor=_ACTOR)
    try:
        for obj in rights:
            await quiet.create(obj, actor=_ACTOR)
        await _in_force(kube, grant)
        return await token(kube, grant, lasts_s=lasts_s)
    except (KubeError, InfraError):
        await take(kube, grant.trial)
        raise


async def token(kube: ClusterKube, grant: Grant, *, lasts_s: int = 3600) -> Access:
    """Get a token for an identity that was made; those from before stay good until they expire.

    Raises:
        KubeError: There is no such identity any more.
        InfraError: The cluster does not answer.
    """
    return await kube.connection.run(issue, kube, grant, lasts_s=lasts_s)


def issue(kube: ClusterKube, grant: Grant, *, lasts_s: int = 3600) -> Access:
    """Do what ``token`` does, in the calling thread."""
    path = kube.reader.served("ServiceAccount").path(grant.home, grant.name, "token")
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": max(lasts_s, SHORTEST_S)},
    }
    status = kube.connection.call(Request("POST", path, body=body))["status"]
    return Access(grant.user, status["token"], status["expirationTimestamp"])


async def take(kube: ClusterKube, trial: str) -> Cleaned:
    """Remove a trial's identity; its tokens die with the ServiceAccount.

    Raises:
        KubeError: Refused.
        InfraError: The cluster does not answer.
    """
    # By name too: an agent that mitigates may have put the label on a part of the app.
    return await clean(kube, ours(trial, part=ACCESS), name=access_name(trial))


async def _in_force(kube: ClusterKube, grant: Grant) -> None:
    """Wait until the server goes by the new bindings, which it learns a moment later.

    Raises:
        InfraError: It does not.
    """
    verb = "patch" if grant.task == "mitigation" else "list"
    asked = {"verb": verb, "group": "apps", "resource": "deployments",
             "namespace": grant.namespace}  # fmt: skip
    groups = ["system:authenticated", "system:serviceaccounts",
              f"system:serviceaccounts:{grant.home}"]  # fmt: skip
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": grant.user, "groups": groups, "resourceAttributes": asked},
    }
    request = Request("POST", _REVIEWS, body=body)
    try:
        async with asyncio.timeout(_IN_FORCE_S):
            # A server tells nobody; it can only be asked again.
            while not (await kube.connection.ask(request))["status"].get("allowed"):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        words = f"the rights of {grant.user} are not in force after {_IN_FORCE_S:g} s"
        raise InfraError("access", words) from error


# -- the objects ----------------------------------------------------------------------------------


def objects(grant: Grant) -> list[Object]:
    """Return the objects of a grant, the account first and what binds it last."""
    made = [_object("v1", "ServiceAccount", grant, grant.home)]
    places = {space: reading() for space in grant.look_in}
    places[grant.namespace] = in_app(grant)
    for space, rules in places.items():
        made.append(_object(f"{_RBAC}/v1", "Role", grant, space) | {"rules": rules})
        made.append(_binding(grant, "Role", space))
    role = _object(f"{_RBAC}/v1", "ClusterRole", grant) | {"rules": of_cluster(list(places))}
    return [*made, role, _binding(grant, "ClusterRole")]


def in_app(grant: Grant) -> list[Object]:
    """Return the rules that hold in the app's namespace."""
    rules = reading(secrets=grant.task == "mitigation")
    if grant.commands:
        rules.append(_rule([""], _COMMANDS, ["create", "get"]))
    if grant.task == "mitigation":
        rules += _by_group((k for k in KINDS if k.namespaced), _WRITE)
        scaled = (k for k in KINDS if k.scale)
        rules += _by_group(scaled, ["get", "update", "patch"], subresource="/scale")
        rules.append(_rule([""], ["pods/eviction"], ["create"]))
    return rules


def reading(*, secrets: bool = False) -> list[Object]:
    """Return the rules to read a namespace."""
    hidden = () if secrets else ("Secret",)
    rules = _by_group((k for k in KINDS if k.namespaced and k.kind not in hidden), _READ)
    rules.append(_rule([""], ["pods/log"], ["get"]))
    rules += _by_group((k for k in KINDS if k.scale), ["get"], subresource="/scale")
    rules.append(_rule(["metrics.k8s.io"], ["pods"], ["get", "list"]))
    return rules


def of_cluster(namespaces: list[str]) -> list[Object]:
    """Return the rules for what has no namespace; of namespaces only those that may be read."""
    shown = (k for k in KINDS if not k.namespaced and k.kind != "Namespace")
    rules = _by_group(shown, _READ)
    rules.append(_rule(["metrics.k8s.io"], ["nodes"], ["get", "list"]))
    return [*rules, _rule([""], ["namespaces"], ["get"]) | {"resourceNames": sorted(namespaces)}]


def _by_group(kinds: Iterable[Kind], verbs: list[str], *, subresource: str = "") -> list[Object]:
    """Return one rule for each API group."""
    groups: dict[str, list[str]] = {}
    for kind in kinds:
        groups.setdefault(kind.group, []).append(kind.plural + subresource)
    return [_rule([group], sorted(names), verbs) for group, names in sorted(groups.items())]


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> Object:
    return {"apiGroups": groups, "resources": resources, "verbs": list(verbs)}


def _object(version: str, kind: str, grant: Grant, namespace: str = "") -> Object:
    metadata: Object = {"name": grant.name, "labels": ours(grant.trial, part=ACCESS)}
    metadata |= {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _binding(grant: Grant, role: str, namespace: str = "") -> Object:
    subject = {"kind": "ServiceAccount", "name": grant.name, "namespace": grant.home}
    return _object(f"{_RBAC}/v1", f"{role}Binding", grant, namespace) | {
        "subjects": [subject],
        "roleRef": {"apiGroup": _RBAC, "kind": role, "name": grant.name},
    }
