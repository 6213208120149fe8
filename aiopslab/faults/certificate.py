"""Family ``certificate``: certificates that end, that nobody trusts, or that cover another name.

What a certificate says is decided minutes before anybody notices: the renewal job has to run, the
kubelet has to bring the file, the process has to read it, and only connections made after that
fail. Source: faults.md ``sec-cert-expired``; incidents.md section 1, patterns 5, 7 and 15.
"""

from __future__ import annotations

import base64
import json
from abc import ABC
from typing import ClassVar

from pydantic import Field

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, edit, fetch
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.support import Support, everywhere
from aiopslab.models.truth import FixStep
from aiopslab.services.certificates import KeyPair, authority, issue, read
from aiopslab.services.tls_manifests import (
    RENEWAL,
    authority_name,
    members,
    names_of,
    requests_name,
    secret_name,
    tls_data,
    trust_name,
)

_SPREAD_S = 90.0
"""From a new file in an object to its use in a process: the kubelet and the process look again."""


class _Certificate(Fault, ABC):
    """Something in the way a service comes by its certificate."""

    support: ClassVar[Support] = everywhere("the renewal is done by a program of ours")
    system_level = "Application"
    fault_type = "Authentication Issue"

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return app.tls is not None and component in app.services and app.services[component].tls

    @property
    def _app(self) -> str:
        return self.site.app.name

    def _signer(self) -> KeyPair:
        assert self.site.app.tls is not None, "fits says so"
        return authority(self.site.app.tls.authority)

    async def _reissue(self, env: Environment, *, actor: str) -> None:
        """Do the renewal's work at once, as it would do it when nothing is wrong."""
        app, signer, now = self.site.app, self._signer(), env.now()
        assert app.tls is not None, "fits says so"
        for name in members(app):
            pair = issue(signer, name, names_of(app, name), now, now + app.tls.validity)
            await edit(env, "Secret", secret_name(name), _data(pair), actor=actor, type="merge")

    def _renewed(self) -> FixStep:
        """Wait for the next renewal and until everybody uses its result."""
        assert self.site.app.tls is not None, "fits says so"
        seconds = 60.0 * self.site.app.tls.renew_every_min + _SPREAD_S
        return FixStep(tool="wait", arguments={"seconds": seconds, "reason": "the next renewal"})

    def accepted(self) -> list[tuple[str, str]]:
        """The callers of the service show certificates of the same kind."""
        return [(name, self.cause) for name in members(self.site.app) if name != self.site.target]


class RenewalSuspended(_Certificate):
    """The renewal job was suspended; certificates end, and new connections fail."""

    kind = "certificate/renewal-suspended"
    cause = "certificate_expired"

    class Params(Model):
        """Parameters."""

        actor: str = "ivan.petrov"
        """Who suspended it."""

    params: Params

    async def _suspend(self, env: Environment, suspend: bool) -> None:
        patch = {"spec": {"suspend": suspend}}
        await edit(env, "CronJob", RENEWAL, patch, actor=self.params.actor, type="merge")

    async def inject(self, env: Environment) -> None:
        await self._suspend(env, True)

    async def recover(self, env: Environment) -> None:
        await self._suspend(env, False)
        await self._reissue(env, actor=self.params.actor)

    def fix(self) -> list[FixStep]:
        patch = json.dumps({"spec": {"suspend": False}})
        arguments = {"kind": "CronJob", "name": RENEWAL, "patch": patch, "type": "merge"}
        return [FixStep(tool="k8s_patch", arguments=arguments), self._renewed()]

    def aliases(self) -> list[str]:
        return [secret_name(self.site.target), RENEWAL]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        job = await fetch(env, "CronJob", RENEWAL)
        runs = job is not None and not job["spec"].get("suspend")
        return [condition("renewal", runs, "scheduled" if runs else "suspended or gone")]


class AuthorityRotated(_Certificate):
    """The authority got a new key; the bundle that services trust does not hold it."""

    kind = "certificate/authority-rotated"
    cause = "certificate_untrusted"

    class Params(Model):
        """Parameters."""

        generation: int = Field(default=2, ge=2)
        """Number of the new key."""
        actor: str = "platform-security"

    params: Params

    def _new(self) -> KeyPair:
        assert self.site.app.tls is not None, "fits says so"
        return authority(self.site.app.tls.authority, self.params.generation)

    async def _sign_with(self, env: Environment, pair: KeyPair) -> None:
        name = authority_name(self._app)
        await edit(env, "Secret", name, _data(pair), actor=self.params.actor, type="merge")

    async def inject(self, env: Environment) -> None:
        await self._sign_with(env, self._new())

    async def recover(self, env: Environment) -> None:
        old, actor = self._signer(), self.params.actor
        await self._sign_with(env, old)
        bundle = {"data": {"ca.crt": old.certificate}}
        await edit(env, "ConfigMap", trust_name(self._app), bundle, actor=actor, type="merge")
        await self._reissue(env, actor=actor)

    def fix(self) -> list[FixStep]:
        both = self._signer().certificate + self._new().certificate
        patch = json.dumps({"data": {"ca.crt": both}})
        arguments = {
            "kind": "ConfigMap", "name": trust_name(self._app), "patch": patch, "type": "merge",
        }  # fmt: skip
        seen = {"seconds": _SPREAD_S, "reason": "the bundle reaches the pods"}
        return [
            FixStep(tool="k8s_patch", arguments=arguments),
            FixStep(tool="wait", arguments=seen),
        ]

    def aliases(self) -> list[str]:
        return [authority_name(self._app), trust_name(self._app)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        """Look whether what signs is among what is trusted."""
        secret = await fetch(env, "Secret", authority_name(self._app))
        bundle = await fetch(env, "ConfigMap", trust_name(self._app))
        try:
            signer = base64.b64decode((secret or {})["data"]["tls.crt"]).decode()
            trusted = {facts.key_id for facts in read((bundle or {})["data"]["ca.crt"])}
            met = read(signer)[0].key_id in trusted
        except (KeyError, ValueError):
            met = False
        return [condition("trust", met, f"the authority is {'' if met else 'not '}in the bundle")]


class NameDropped(_Certificate):
    """Somebody shortened the list of names; the next certificate does not cover the one in use."""

    kind = "certificate/name-dropped"
    cause = "certificate_name_mismatch"

    class Params(Model):
        """Parameters."""

        actor: str = "platform-security"

    params: Params

    def _right(self) -> list[str]:
        return names_of(self.site.app, self.site.target)

    async def _ask(self, env: Environment, names: list[str]) -> None:
        patch = {"data": {self.site.target: ",".join(names)}}
        map_name, actor = requests_name(self._app), self.params.actor
        await edit(env, "ConfigMap", map_name, patch, actor=actor, type="merge")

    async def inject(self, env: Environment) -> None:
        await self._ask(env, [name for name in self._right() if "." in name])

    async def recover(self, env: Environment) -> None:
        await self._ask(env, self._right())
        await self._reissue(env, actor=self.params.actor)

    def fix(self) -> list[FixStep]:
        patch = json.dumps({"data": {self.site.target: ",".join(self._right())}})
        arguments = {
            "kind": "ConfigMap", "name": requests_name(self._app), "patch": patch, "type": "merge",
        }  # fmt: skip
        return [FixStep(tool="k8s_patch", arguments=arguments), self._renewed()]

    def aliases(self) -> list[str]:
        return [secret_name(self.site.target), requests_name(self._app)]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        asked = await fetch(env, "ConfigMap", requests_name(self._app))
        names = ((asked or {}).get("data") or {}).get(self.site.target, "").split(",")
        met = self.site.target in [name.strip() for name in names]
        return [condition("names", met, f"asked for: {', '.join(names)}")]


def _data(pair: KeyPair) -> dict[str, dict[str, str]]:
    return {"data": tls_data(pair)}


KINDS = (RenewalSuspended, AuthorityRotated, NameDropped)
