"""Family ``database``: a server that admits encrypted connections only, and clients that do not.

A hardening of the server's ``pg_hba.conf`` took ``hostssl`` for every client and came with the
restart that such files need; no client was told. Source: AIOpsLab's ``auth_miss_mongodb``.
"""

from __future__ import annotations

import base64
import json

from aiopslab.environments.protocol import Environment
from aiopslab.faults.base import Fault, condition, container_of, edit, fetch, restart, rolled_out
from aiopslab.faults.database import admitted, clients_of, database_of
from aiopslab.models.app import App
from aiopslab.models.base import Model
from aiopslab.models.evidence import CheckResult
from aiopslab.models.support import simulated
from aiopslab.models.truth import FixStep
from aiopslab.services.config import settings
from aiopslab.services.store_manifests import store_files

KEY = "DB_SSLMODE"
_CONF = """\
ssl = on
ssl_cert_file = '/etc/ssl/certs/ssl-cert-snakeoil.pem'
hba_file = '/etc/postgresql/pg_hba.conf'
"""
_HBA = """\
# TYPE   DATABASE  USER  ADDRESS  METHOD
local    all       all            peer
hostssl  all       all   all      scram-sha-256
"""


class RequiresTls(Fault):
    """The server refuses whoever connects without TLS: all clients there are."""

    kind = "database/requires-tls"
    support = simulated("certificates and users of a server's image differ from image to image")
    cause = "store_requires_tls"
    system_level = "Application"
    fault_type = "Misconfiguration"

    class Params(Model):
        """Parameters."""

        actor: str = "platform-security"

    params: Params

    @classmethod
    def fits(cls, app: App, component: str) -> bool:
        store = database_of(app, component)
        return store is not None and bool(set(clients_of(app, component)) & set(store.users))

    @property
    def _map(self) -> str:
        return f"{self.site.target}-config"

    def _clients(self) -> list[str]:
        return clients_of(self.site.app, self.site.target)

    async def _configure(self, env: Environment, data: dict[str, str | None]) -> None:
        actor = self.params.actor
        await edit(env, "ConfigMap", self._map, {"data": data}, actor=actor, type="merge")
        await restart(env, "StatefulSet", self.site.target, actor=actor)

    def _files(self) -> dict[str, str]:
        return store_files(self.site.app.stores[self.site.target])

    async def inject(self, env: Environment) -> None:
        conf = self._files()["postgresql.conf"] + _CONF
        await self._configure(env, {"postgresql.conf": conf, "pg_hba.conf": _HBA})

    async def recover(self, env: Environment) -> None:
        await self._configure(env, {**self._files(), "pg_hba.conf": None})
        for client in self._clients():
            # Whoever was made to insist on TLS would not get in any more.
            declared = settings(self.site.app, client).get(KEY)
            patch = {"data": {KEY: declared}}
            await edit(env, "ConfigMap", f"{client}-config", patch, actor="ops", type="merge")
            await self._unset(env, client)
            await restart(env, "Deployment", client, actor=self.params.actor)

    async def _unset(self, env: Environment, client: str) -> None:
        """Take away the variable where somebody has set it beside the ConfigMap."""
        deployment = await fetch(env, "Deployment", client)
        set_here = container_of(deployment, client).get("env", []) if deployment else []
        if any(entry["name"] == KEY for entry in set_here):
            containers = [{"name": client, "env": [{"name": KEY, "$patch": "delete"}]}]
            patch = {"spec": {"template": {"spec": {"containers": containers}}}}
            await edit(env, "Deployment", client, patch, actor=self.params.actor)

    def fix(self) -> list[FixStep]:
        steps = []
        for client in self._clients():
            patch = json.dumps({"data": {KEY: "require"}})
            write = {"kind": "ConfigMap", "name": f"{client}-config", "patch": patch}
            again = {"action": "restart", "kind": "Deployment", "name": client}
            steps += [
                FixStep(tool="k8s_patch", arguments=write | {"type": "merge"}),
                FixStep(tool="k8s_rollout", arguments=again),
            ]
        return steps

    def accepted(self) -> list[tuple[str, str]]:
        return [(client, self.cause) for client in self._clients()]

    def aliases(self) -> list[str]:
        return [self._map]

    async def postconditions(self, env: Environment) -> list[CheckResult]:
        checks = [await rolled_out(env, "StatefulSet", self.site.target)]
        for client in self._clients():
            checks.append(await self._admitted(env, client))
            checks.append(await rolled_out(env, "Deployment", client))
        return checks

    async def _admitted(self, env: Environment, client: str) -> CheckResult:
        """Log in as a client does, with the mode that its pods would start with."""
        config = await fetch(env, "ConfigMap", f"{client}-config") or {}
        secret = await fetch(env, "Secret", f"{self.site.target}-{client}")
        deployment = await fetch(env, "Deployment", client)
        mode = (config.get("data") or {}).get(KEY, "disable")
        for entry in container_of(deployment, client).get("env", []) if deployment else []:
            mode = entry.get("value", mode) if entry["name"] == KEY else mode
        password = base64.b64decode(secret["data"]["password"]).decode() if secret else ""
        refused = await admitted(env, self.site.target, client, password, str(mode))
        detail = f"{KEY}={mode}: {refused or 'admitted'}"
        return condition(f"admitted:{client}", not refused, detail)


KINDS = (RequiresTls,)
