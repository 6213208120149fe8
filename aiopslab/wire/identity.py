"""Who knocks: tokens, and the rights of the identity a token stands for.

Rights are rules in the manner of Kubernetes' RBAC, because the Kubernetes API must explain them
(``auth can-i --list``); the other APIs read only. Not here: taking a token out of a request
(``guard``), refusing in an API's own words (each API).
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

from aiopslab.models.task import Task

READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")
ANY = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be done; each list may hold ``*``."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...] = (ANY,)
    """API groups; the core group is the empty string."""
    resources: tuple[str, ...] = (ANY,)
    """Plurals; a subresource is ``pods/exec``, every subresource of pods ``pods/*``."""
    namespace: str = ANY
    """The namespace it holds in; ``*`` is all and cluster-scoped objects too."""

    def allows(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        """Whether the rule covers a request; ``namespace`` is empty at cluster scope."""
        main = resource.partition("/")[0]
        named = {ANY, resource, f"{main}/*"} if "/" in resource else {ANY, resource}
        return (
            (ANY in self.verbs or verb in self.verbs)
            and (ANY in self.groups or group in self.groups)
            and not named.isdisjoint(self.resources)
            and self.namespace in (ANY, namespace)
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody with a token: the user's name, groups, and what may be done."""

    user: str
    groups: tuple[str, ...] = ("system:authenticated",)
    rules: tuple[Rule, ...] = ()

    def allows(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        """Whether any rule covers a request."""
        return any(rule.allows(verb, group, resource, namespace) for rule in self.rules)


def administrator() -> Identity:
    """Return who a standing lab belongs to: everything is allowed."""
    groups = ("system:masters", "system:authenticated")
    return Identity("lab-admin", groups, (Rule((ANY,)),))


def on_call(user: str, task: Task, namespace: str) -> Identity:
    """Return the identity of a trial's agent: it looks everywhere, mitigation may change one place.

    ``exec`` and ``portforward`` are creations, as on a real cluster; commands that only look are
    allowed in every task (the stream decides, as the ``k8s_exec`` tool does).
    """
    look = Rule(READ)
    enter = Rule(("create", "get"), ("",), ("pods/exec", "pods/attach", "pods/portforward"),
                 namespace)  # fmt: skip
    review = Rule(("create",), ("authorization.k8s.io", "authentication.k8s.io"))
    rules: tuple[Rule, ...] = (look, enter, review)
    if task == "mitigation":
        rules = (*rules, Rule((*WRITE, "get"), (ANY,), (ANY,), namespace))
    return Identity(user, rules=rules)


class Tokens:
    """The bearer tokens that a server accepts."""

    def __init__(self) -> None:
        self._known: list[tuple[bytes, Identity]] = []

    def issue(self, identity: Identity) -> str:
        """Make a token for an identity; 256 bits from the operating system."""
        token = secrets.token_urlsafe(32)
        self.accept(token, identity)
        return token

    def accept(self, token: str, identity: Identity) -> None:
        """Know a token that was made elsewhere."""
        self._known.append((token.encode(), identity))

    def find(self, token: str) -> Identity | None:
        """Return whose token it is; every known one is compared, in constant time."""
        found: Identity | None = None
        given = token.encode("utf-8", "surrogatepass")
        for known, identity in self._known:
            if hmac.compare_digest(known, given):
                found = identity
        return found
