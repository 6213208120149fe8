"""The image of an admission webhook for pods: rules read from its environment at start.

``REQUIRED_LABEL`` refuses pods without that label; ``CPU_CAP`` and ``MEMORY_CAP`` lower limits and
requests that are higher. The API server reaches it through its Service (``kube.webhooks``). Not
here: anything else such programs do.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiopslab.models.kube import ExecResult
from aiopslab.services.protocols import Request, Response
from aiopslab.world.connection import Peer
from aiopslab.world.container import Container
from aiopslab.world.kube import quantity
from aiopslab.world.kube.objects import Object, labels_of

IMAGE = "pod-policy:1.3.0"
PORT = 8443
_CAPS = {"cpu": "CPU_CAP", "memory": "MEMORY_CAP"}


class PodPolicy:
    """The program."""

    async def run(self, box: Container) -> int:
        """Answer reviews until told to end."""
        await box.burn(0.1)
        rules = Rules(box.env)
        listener = box.netns.listen(PORT, rules)
        box.log(f"serving admission reviews on :{PORT}, rules: {rules.spoken or 'none'}")
        await box.terminating.wait()
        listener.close()
        return 0

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        """Leave every command to the shell."""
        return None


class Rules:
    """What is asked of pods, and the handler of its port.

    Args:
        env: The container's environment.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._label = env.get("REQUIRED_LABEL", "")
        self._caps = {name: env[key] for name, key in _CAPS.items() if env.get(key)}

    @property
    def spoken(self) -> str:
        """The rules in words, for the log."""
        words = [f"label {self._label} required"] if self._label else []
        return ", ".join([*words, *(f"{n} at most {c}" for n, c in self._caps.items())])

    async def __call__(self, message: Any, peer: Peer) -> Response | None:
        """Answer whoever is not the API server: health, or nothing."""
        if not isinstance(message, Request):
            peer.abort()
            return None
        return Response(200 if message.path in ("/healthz", "/readyz") else 404, "")

    def review(self, request: Object) -> Object:
        """Return the response to an admission request."""
        pod = request["object"]
        if self._label and self._label not in labels_of(pod):
            message = f"pods need the label {self._label}"
            return {"allowed": False, "status": {"code": 403, "message": message}}
        operations = self._capped(pod)
        if not operations:
            return {"allowed": True}
        patch = base64.b64encode(json.dumps(operations).encode()).decode()
        return {"allowed": True, "patchType": "JSONPatch", "patch": patch}

    def _capped(self, pod: Object) -> list[Object]:
        """Return the patch that lowers what is above a cap."""
        return [
            {
                "op": "replace",
                "path": f"/spec/containers/{index}/resources/{part}/{name}",
                "value": cap,
            }
            for index, container in enumerate(pod["spec"].get("containers") or ())
            for part in ("requests", "limits")
            for name, cap in self._caps.items()
            if name in ((container.get("resources") or {}).get(part) or {})
            and quantity.parse(container["resources"][part][name]) > quantity.parse(cap)
        ]
