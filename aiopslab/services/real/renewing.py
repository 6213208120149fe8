"""The renewal of certificates as a process in a cluster, as the service account of its pod.

Not here: what it does (``services.renewal``), what the account may do (its Role).
"""

from __future__ import annotations

import asyncio
import os
import sys

from aiopslab.models.app import App
from aiopslab.services.real.clock import WallClock
from aiopslab.services.real.cluster import KubeCluster
from aiopslab.services.renewal import Surroundings, renew


async def run(app: App) -> int:
    """Renew every certificate of an app once; return the exit code."""
    cluster = KubeCluster.in_cluster(dict(os.environ))

    def log(line: str, severity: str) -> None:
        sys.stdout.write(f"{line}\n")

    async def work() -> None:
        await asyncio.sleep(0)

    try:
        return await renew(app, Surroundings(cluster, WallClock().now, log, work))
    finally:
        await cluster.close()
