"""Ending one process gracefully: preStop hook, SIGTERM, and SIGKILL when the grace is over.

Not here: why it ends (``kubelet.container``, ``kubelet.pod``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiopslab.world.kube.kubelet import probes
from aiopslab.world.kube.kubelet.probes import Target
from aiopslab.world.kube.objects import Object

MIN_GRACE_S = 2.0
"""What is left for SIGTERM after a preStop hook that used up the grace period."""
HOOK_TIMEOUT_S = 30


async def stop_process(
    target: Target, hook: Object | None, grace_s: float, report: Callable[[str], None]
) -> None:
    """End a container's process and wait until it is gone.

    Args:
        target: The container, and how its ports are reached.
        hook: ``lifecycle.preStop``, if any.
        grace_s: Seconds for hook and SIGTERM together; 0 kills at once.
        report: Told what went wrong with the hook.
    """
    box, left = target.box, grace_s
    if hook and grace_s > 0.0:
        since = box.loop.time()
        problem = await _run_hook(hook, target, grace_s)
        if problem:
            report(problem)
        left = max(grace_s - (box.loop.time() - since), MIN_GRACE_S)
    box.terminate()
    try:
        async with asyncio.timeout(max(0.0, left)):
            await box.wait()
    except TimeoutError:
        box.kill()


async def _run_hook(hook: Object, target: Target, grace_s: float) -> str:
    """Run a hook for at most the grace period; returns what went wrong, empty if nothing."""
    try:
        async with asyncio.timeout(grace_s):
            return await _hook(hook, target)
    except TimeoutError:
        return f"PreStopHook did not complete within {grace_s:.0f}s"


async def _hook(hook: Object, target: Target) -> str:
    if "sleep" in hook:
        await asyncio.sleep(float(hook["sleep"]["seconds"]))
        return ""
    if "exec" in hook:
        argv = [str(item) for item in hook["exec"]["command"]]
        result = await target.box.exec(argv, "")
        if result.code != 0:
            return f"PreStopHook failed: command exited with {result.code}: {result.stderr}"
        return ""
    if "httpGet" in hook:
        action = {"httpGet": hook["httpGet"], "timeoutSeconds": HOOK_TIMEOUT_S}
        outcome = await probes.attempt(action, target)
        return "" if outcome.ok else f"PreStopHook failed: {outcome.text}"
    return "PreStopHook failed: invalid handler"
