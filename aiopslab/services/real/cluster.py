"""``services.cluster.Cluster`` over the Kubernetes API, as the pod's service account.

A handful of requests over HTTPS with the token that the kubelet mounts and renews; no client
library, which would take longer to start than a service. It is the ``renewal.Vault`` of the pod's
namespace, too. Not here: who uses it (``services.critical``, ``services.llm``, ``renewing``), what
the account may do (its Role).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from aiopslab.models.kube import KubeError
from aiopslab.services.cluster import Machine, Scale

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MERGE = "application/merge-patch+json"
_TIMEOUT_S = 10.0
_UNREACHABLE = "the API server cannot be reached"


class KubeCluster:
    """The API server, seen from one pod.

    Args:
        server: URL of the API server; empty where there is none, and every request fails.
        namespace: Of the pod.
        token: File with the service account's token, read at each request: it is renewed.
        authority: File with the certificates to trust; None for those every machine trusts.
    """

    def __init__(self, server: str, namespace: str, token: Path, authority: Path | None) -> None:
        self._server = server.rstrip("/")
        self._namespace = namespace
        self._token = token
        self._authority = authority
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def in_cluster(cls, env: Mapping[str, str], account: Path = _ACCOUNT) -> KubeCluster:
        """Make the client of a process as its pod has it; outside a cluster requests fail.

        Args:
            env: Environment of the process.
            account: Where the service account is mounted.
        """
        host, port = env.get("KUBERNETES_SERVICE_HOST", ""), env.get("KUBERNETES_SERVICE_PORT", "")
        if not host or not (account / "token").is_file():
            return cls("", "", account / "token", None)
        shown = f"[{host}]" if ":" in host else host
        namespace = (account / "namespace").read_text("utf-8").strip()
        return cls(
            f"https://{shown}:{port or 443}", namespace, account / "token", account / "ca.crt"
        )

    async def scale_of(self, deployment: str) -> Scale:
        obj = await self._request("GET", self._deployment(deployment))
        return Scale(
            wanted=int(obj["spec"].get("replicas", 1)),
            ready=int(obj.get("status", {}).get("readyReplicas", 0)),
        )

    async def pods(self, deployment: str) -> int:
        labels = {"labelSelector": f"app.kubernetes.io/name={deployment}"}
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        return len((await self._request("GET", path, params=labels))["items"])

    async def scale(self, deployment: str, replicas: int) -> None:
        path = f"{self._deployment(deployment)}/scale"
        await self._request("PATCH", path, {"spec": {"replicas": replicas}})

    async def machine(self, name: str) -> Machine:
        obj = await self._request("GET", f"/api/v1/nodes/{name}")
        conditions = obj.get("status", {}).get("conditions", [])
        return Machine(
            schedulable=not obj["spec"].get("unschedulable", False),
            ready=any(c["type"] == "Ready" and c["status"] == "True" for c in conditions),
            annotations=dict(obj["metadata"].get("annotations", {})),
        )

    async def cordon(self, name: str, *, on: bool) -> None:
        # As kubectl does: the field is there, or it is not.
        patch = {"spec": {"unschedulable": True if on else None}}
        await self._request("PATCH", f"/api/v1/nodes/{name}", patch)

    async def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return a Secret or ConfigMap of the pod's namespace."""
        return await self._request("GET", f"{self._core(kind)}/{name}")

    async def put(self, secret: dict[str, Any]) -> None:
        """Make a Secret, or give it this data."""
        path, name = self._core("Secret"), secret["metadata"]["name"]
        try:
            await self._request("PATCH", f"{path}/{name}", {"data": secret["data"]})
        except KubeError as error:
            if error.code != 404:
                raise
            metadata = secret["metadata"] | {"namespace": self._namespace}
            await self._request("POST", path, secret | {"metadata": metadata})

    async def close(self) -> None:
        """Close the connections; the process ends."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _core(self, kind: str) -> str:
        return f"/api/v1/namespaces/{self._namespace}/{kind.lower()}s"

    def _deployment(self, name: str) -> str:
        return f"/apis/apps/v1/namespaces/{self._namespace}/deployments/{name}"

    async def _request(
        self,
        method: str,
        path: str,
        sent: Mapping[str, Any] | None = None,
        *,
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send a request; a refusal or no answer at all becomes KubeError."""
        if not self._server:
            raise KubeError(503, "ServiceUnavailable", _UNREACHABLE)
        body = None if sent is None else json.dumps(sent).encode()
        try:
            headers = {"Authorization": f"Bearer {self._token.read_text('utf-8').strip()}"}
            if body is not None:
                headers["Content-Type"] = _MERGE if method == "PATCH" else "application/json"
            async with self._opened().request(
                method, self._server + path, data=body, params=params, headers=headers
            ) as answer:
                content: dict[str, Any] = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            raise KubeError(503, "ServiceUnavailable", _UNREACHABLE) from None
        if answer.status >= 400:
            raise KubeError(
                answer.status, content.get("reason", ""), content.get("message", ""),
                content.get("details"),
            )  # fmt: skip
        return content

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            authority = None if self._authority is None else str(self._authority)
            trust = ssl.create_default_context(cafile=authority)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trust),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            )
        return self._session
