"""The renewal job's image: issues certificates as ``<app>-certificates`` asks, once, and ends.

It reads the authority's Secret and the requests, and writes one Secret a service, as its service
account. Not here: when it runs (the CronJob), who uses the result (``app_tls``).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from aiopslab.models.app import App
from aiopslab.models.kube import ExecResult, KubeError
from aiopslab.services.certificates import KeyPair, issue
from aiopslab.services.tls_manifests import (
    VALIDITY,
    authority_name,
    certificate_object,
    requests_name,
    secret_name,
)
from aiopslab.world.container import Container
from aiopslab.world.kube.api import ApiServer
from aiopslab.world.kube.objects import Object, clone

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
        app = self._app
        try:
            signer = self._signer()
            asked: dict[str, str] = self._get("ConfigMap", requests_name(app.name))["data"]
            validity_s = float(asked[VALIDITY])
        except (KubeError, KeyError, ValueError) as error:
            box.log(f'level=error msg="cannot renew" error="{error}"', severity="ERROR")
            return 1
        failed = False
        for service in sorted(set(asked) - {VALIDITY}):
            await box.burn(_CPU_S)
            names = [name.strip() for name in asked[service].split(",") if name.strip()]
            now = box.loop.time()
            try:
                pair = issue(signer, service, names, now, now + validity_s)
                self._write(service, pair)
            except (KubeError, ValueError) as error:
                box.log(f'level=error service={service} error="{error}"', severity="ERROR")
                failed = True
                continue
            box.log(f"level=info msg=renewed service={service} names={','.join(names)}")
        return int(failed)

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        """Leave every command to the shell."""
        return None

    def _get(self, kind: str, name: str) -> Object:
        return self._api.get(kind, name, self._app.namespace)

    def _signer(self) -> KeyPair:
        data: dict[str, str] = self._get("Secret", authority_name(self._app.name))["data"]
        texts = {key: base64.b64decode(value).decode() for key, value in data.items()}
        return KeyPair(texts["tls.crt"], texts["tls.key"])

    def _write(self, service: str, pair: KeyPair) -> None:
        wanted = certificate_object(self._app, service, pair)
        old = self._api.find("Secret", secret_name(service), self._app.namespace)
        if old is None:
            self._api.create(wanted, actor=self._actor)
            return
        new = clone(old)
        new["data"] = wanted["data"]
        self._api.replace(new, actor=self._actor)
