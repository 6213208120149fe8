"""Family ``identity``: tokens that are signed with one key and verified with another.

Keys are read at start, so a rotation reaches the services that were restarted and no other. Source:
faults.md ``sec-secret-rotated-stale-env``.
"""

from __future__ import annotations

import base64

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, Site, condition, edit, fetch, restart, rolled_out
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.support import everywhere
from aiopslab.models.truth import FixStep
from aiopslab.services.tokens import token_secret, token_services


class SigningKeyRotated(Fault):
    """The signing key was rotated; signers were restarted, the verifier was not."""

    kind = "identity/signing-key-rotated"
    support = everywhere()
    cause = "signing_key_mismatch"
    system_level = "Application"
    fault_type = "Authentication Issue"

    class Params(Model):
        """Parameters."""

        key: str = "mV3-tR8w-Kd"
        """The new key."""
        actor: str = "platform-security"

    params: Params

    def __init__(self, site: Site, params: Model) -> None:
        super().__init__(site, params)
        self._old = ""
        """The key before, base64, once it is rotated."""
        self._pods: set[str] = set()
        """Pods that verify with the old key."""

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        return component in token_services(app, "verify")

    @property
    def _secret(self) -> str:
        return token_secret(self.site.app.name)

    async def _rotate(self, env: Environment, key: str) -> None:
        patch = {"data": {"key": key}}
        await edit(env, "Secret", self._secret, patch, actor=self.params.actor, type="merge")
        for name in token_services(self.site.app):
            if name != self.site.target:
                await restart(env, "Deployment", name, actor=self.params.actor)

    async def inject(self, env: Environment) -> None:
        secret = await env.kube.get("Secret", self._secret, env.namespace)
        self._old = str(secret["data"]["key"])
        self._pods = await self._verifiers(env)
        await self._rotate(env, base64.b64encode(self.params.key.encode()).decode())

    async def recover(self, env: Environment) -> None:
        await self._rotate(env, self._old)
        await restart(env, "Deployment", self.site.target, actor=self.params.actor)

    def fix(self) -> list[FixStep]:
        again = {"action": "restart", "kind": "Deployment", "name": self.site.target}
        return [FixStep(tool="k8s_rollout", arguments=again)]

    def aliases(self) -> list[str]:
        return [self._secret]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        """Look whether the verifier reads the key that signers have: new pods, or the old key."""
        secret = await fetch(env, "Secret", self._secret)
        back = bool(self._old) and ((secret or {}).get("data") or {}).get("key") == self._old
        stale = sorted(self._pods & await self._verifiers(env))
        met = back or not stale
        key = condition("key", met, f"verify with the old key: {', '.join(stale) or 'none'}")
        return [key, await rolled_out(env, "Deployment", self.site.target)]

    async def _verifiers(self, env: Environment) -> set[str]:
        labels = f"app.kubernetes.io/name={self.site.target}"
        pods = await env.kube.list("Pod", env.namespace, labels=labels)
        return {p["metadata"]["name"] for p in pods}


KINDS = (SigningKeyRotated,)
