"""A hotel served over TLS on loopback, and the programs that real people would point at it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiopslab.environments.sim import Sim
from aiopslab.wire.certificate import self_signed
from aiopslab.wire.gate import StandingGate
from aiopslab.wire.identity import Identity, Tokens, administrator
from aiopslab.wire.kubernetes.app import kubernetes_app, status_refusal
from aiopslab.wire.kubernetes.kubeconfig import kubeconfig
from aiopslab.wire.server import listening
from aiopslab.wire.site import Mount, Site

KUBECTL = shutil.which("kubectl") or ""
OLDEST = (1, 31)
FACTOR = 20.0
"""Virtual seconds a second."""


def reason_to_skip() -> str:
    """Return why kubectl cannot be used; empty if it can."""
    if not KUBECTL:
        return "kubectl is not installed"
    found = subprocess.run(
        [KUBECTL, "version", "--client", "-o", "json"], capture_output=True, text=True, check=True
    )
    text = json.loads(found.stdout)["clientVersion"]["gitVersion"]
    version = tuple(int(n) for n in re.findall(r"\d+", text)[:2])
    return "" if version >= OLDEST else f"kubectl {text} is older than 1.31"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Lab:
    """The server's side of a test, and kubectl on the other."""

    config: Path
    gate: StandingGate

    def config_of(self, who: str) -> Path:
        """Return the kubeconfig of one of the ``others``; empty is the first."""
        return self.config.with_name(f"{who}.kubeconfig") if who else self.config

    async def start(
        self, *args: str, who: str = "", terminal: int | None = None
    ) -> asyncio.subprocess.Process:
        """Start kubectl with a home of its own, at pipes or at a terminal."""
        home = str(self.config.parent)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "KUBECONFIG": str(self.config_of(who)),
            "KUBE_EDITOR": "true",
            "NO_PROXY": "*",
        }
        pipe = asyncio.subprocess.PIPE if terminal is None else terminal
        return await asyncio.create_subprocess_exec(
            KUBECTL, *args, stdin=pipe, stdout=pipe, stderr=pipe, env=env
        )

    async def kubectl(self, *args: str, stdin: str = "", who: str = "") -> Ran:
        """Run kubectl to its end."""
        process = await self.start(*args, who=who)
        async with asyncio.timeout(90):
            out, err = await process.communicate(stdin.encode())
        return Ran(process.returncode or 0, out.decode(), err.decode())


@asynccontextmanager
async def served(
    sim: Sim,
    home: Path,
    who: Identity | None = None,
    *,
    others: Mapping[str, Identity] | None = None,
    factor: float = FACTOR,
) -> AsyncIterator[Lab]:
    """Serve a hotel; its time follows the host's. ``others`` have kubeconfigs of their own.

    With ``factor`` 0 it stands still: two worlds can be compared then (``test_kubectl_tool``).
    """
    certificate, tokens = self_signed("127.0.0.1"), Tokens()
    gate = StandingGate(sim, factor)
    api = kubernetes_app(sim.world, gate, env=sim)
    site = Site([Mount("", api, status_refusal)], tokens)
    pacing = asyncio.create_task(gate.pace())
    try:
        async with listening(site, tls=certificate.files(home)) as port:
            lab = Lab(home / "kubeconfig", gate)
            url, authority = f"https://127.0.0.1:{port}", certificate.certificate.decode()
            for name, identity in {"": who or administrator(), **(others or {})}.items():
                token = tokens.issue(identity)
                lab.config_of(name).write_text(kubeconfig(url, token, authority, "hotel"))
            yield lab
            gate.close()
    finally:
        pacing.cancel()
        await asyncio.wait([pacing])
