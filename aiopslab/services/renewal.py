"""Renewing the certificates of an app: one run of the job, whatever cluster it runs on.

It reads the authority's Secret and what ``<app>-certificates`` asks for, and writes one Secret a
service. Not here: when it runs (the CronJob of ``tls_manifests``), how it reaches the Kubernetes
API (``world.images.renewer``, ``real.renewing``).
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from aiopslab.models.app import App
from aiopslab.models.kube import KubeError
from aiopslab.services.certificates import KeyPair, issue
from aiopslab.services.tls_manifests import (
    VALIDITY,
    authority_name,
    certificate_object,
    requests_name,
)

Object = dict[str, Any]


class Vault(Protocol):
    """The Secrets and ConfigMaps of the app's namespace, as the job's account may use them."""

    async def get(self, kind: str, name: str) -> Object:
        """Return an object; raises KubeError."""
        ...

    async def put(self, secret: Object) -> None:
        """Make a Secret, or give it this data; raises KubeError."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run needs of where it happens."""

    vault: Vault
    now: Callable[[], float]
    log: Callable[[str, str], None]
    """Takes a line and its severity."""
    work: Callable[[], Awaitable[None]]
    """Awaited before each signature."""


async def renew(app: App, at: Surroundings) -> int:
    """Renew every certificate; return 1 if one of them could not be."""
    try:
        signer = await _signer(app, at.vault)
        asked: dict[str, str] = (await at.vault.get("ConfigMap", requests_name(app.name)))["data"]
        validity_s = float(asked[VALIDITY])
    except (KubeError, KeyError, ValueError) as error:
        at.log(f'level=error msg="cannot renew" error="{error}"', "ERROR")
        return 1
    failed = False
    for service in sorted(set(asked) - {VALIDITY}):
        await at.work()
        names = [name.strip() for name in asked[service].split(",") if name.strip()]
        now = at.now()
        try:
            pair = issue(signer, service, names, now, now + validity_s)
            await at.vault.put(certificate_object(app, service, pair))
        except (KubeError, ValueError) as error:
            at.log(f'level=error service={service} error="{error}"', "ERROR")
            failed = True
            continue
        at.log(f"level=info msg=renewed service={service} names={','.join(names)}", "INFO")
    return int(failed)


async def _signer(app: App, vault: Vault) -> KeyPair:
    data: dict[str, str] = (await vault.get("Secret", authority_name(app.name)))["data"]
    texts = {key: base64.b64decode(value).decode() for key, value in data.items()}
    return KeyPair(texts["tls.crt"], texts["tls.key"])
