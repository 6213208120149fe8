"""The renewal job's image: issues certificates once, as its service account, and ends.

Not here: what it does (``services.renewal``), when it runs (the CronJob), who uses the result
(``app_tls``).
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.models.app import App
from aiopslab.models.kube import ExecResult
from aiopslab.services.renewal import Surroundings, renew
from aiopslab.world.container import Container
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.objects import Object, clone, name_of

_CPU_S = 0.004
"""CPU of one signature with what goes with it."""


class Renewer:
    """One run of the job.

    Args:
        api: The cluster's API, which the service account may write Secrets to.
        app: Whose certificates it renews.
    """

    def __init__(self, api: ApiServer, app: App) -> None:
        self._api = api
        self._app = app
        self._actor = f"system:serviceaccount:{app.namespace}:cert-renewer"

    async def run(self, box: Container) -> int:
        """Renew every certificate; return 1 if one of them could not be."""

        def log(line: str, severity: str) -> None:
            box.log(line, severity=severity)

        async def work() -> None:
            await box.burn(_CPU_S)

        return await renew(self._app, Surroundings(self, box.loop.time, log, work))

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        """Leave every command to the shell."""
        return None

    async def get(self, kind: str, name: str) -> Object:
        return self._api.get(kind, name, self._app.namespace)

    async def put(self, secret: Object) -> None:
        old = self._api.find("Secret", name_of(secret), self._app.namespace)
        if old is None:
            self._api.create(secret, actor=self._actor)
            return
        new = clone(old)
        new["data"] = secret["data"]
        self._api.replace(new, actor=self._actor)
