"""Looking at Kubernetes: get, describe, container logs, events, commands in containers.

``k8s_exec`` runs in the container as it is; only commands that change nothing are open to tasks
without rights to write. Not here: changing objects (``kube_write``, ``kube_rollout``).
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, Literal

from pydantic import Field

from aiopslab.environments.commands import shell_effect
from aiopslab.models.kube import Object
from aiopslab.models.observation import Effect
from aiopslab.models.timestamps import rfc3339
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.objects import bare, fetch, find_kind, scope, shown, to_yaml
from aiopslab.tools.times import parse_time
from aiopslab.world.kube.kinds import Kind

_SHELL = re.compile(r"[|&;<>$`*?(){}\n]")


class GetArgs(Paged):
    """Arguments of ``k8s_get``."""

    kind: str
    """Kind, plural or short name: Pod, deployments, svc."""
    name: str = ""
    """One object; empty lists them."""
    namespace: str = ""
    """Namespace; empty is the app's, 'all' is every one."""
    labels: str = ""
    """Label selector, for instance app.kubernetes.io/name=geo."""
    output: Literal["table", "wide", "yaml", "json", "name"] = "table"
    """Form of the answer."""


@tool(GetArgs)
async def k8s_get(context: ToolContext, args: GetArgs) -> Result:
    """Get Kubernetes objects, as kubectl get does. Output yaml shows them in full."""
    kind = find_kind(args.kind)
    namespace = scope(context, kind, args.namespace)
    if args.name:
        found = [await fetch(context, kind, args.name, namespace)]
    else:
        found = await context.env.kube.list(kind.kind, namespace, labels=args.labels)
    data = [shown(context, obj) for obj in found]
    if not data:
        where = f" in {namespace} namespace" if namespace else ""
        return Result(f"No resources found{where}.", [], 0)
    text = await _printed(context, args, kind, namespace, data)
    return Result(text, data, len(data))


async def _printed(
    context: ToolContext, args: GetArgs, kind: Kind, namespace: str | None, data: list[Object]
) -> str:
    """Print objects in the form asked for."""
    match args.output:
        case "yaml":
            return "---\n".join(to_yaml(obj) for obj in data)
        case "json":
            return json.dumps(data[0] if args.name else data, indent=1, ensure_ascii=False)
        case "name":
            return "\n".join(f"{kind.kind.lower()}/{obj['metadata']['name']}" for obj in data)
    wide = args.output == "wide"
    text = await context.env.kube.table(kind.kind, namespace, labels=args.labels, wide=wide)
    if not args.name:
        return text
    head, *rows = text.splitlines()
    return "\n".join([head, *(r for r in rows if bare(args.name) in r.split()[:2])])


class DescribeArgs(Paged):
    """Arguments of ``k8s_describe``."""

    kind: str
    """Kind, plural or short name."""
    name: str
    """Name of the object."""
    namespace: str = ""
    """Namespace; empty is the app's."""


@tool(DescribeArgs)
async def k8s_describe(context: ToolContext, args: DescribeArgs) -> Result:
    """Describe one object with its conditions and events, as kubectl describe does."""
    kind = find_kind(args.kind)
    namespace = scope(context, kind, args.namespace)
    await fetch(context, kind, args.name, namespace)
    return Result(await context.env.kube.describe(kind.kind, bare(args.name), namespace))


class LogsArgs(Paged):
    """Arguments of ``k8s_logs``."""

    pod: str
    """Name of the pod."""
    container: str = ""
    """Container; empty is the first."""
    previous: bool = False
    """Of the container before its last restart."""
    tail: int = Field(default=100, ge=1, le=2000)
    """Lines from the end."""
    since_s: float = 0.0
    """Only lines of the last so many seconds; 0 takes all."""
    namespace: str = ""
    """Namespace; empty is the app's."""


@tool(LogsArgs)
async def k8s_logs(context: ToolContext, args: LogsArgs) -> Result:
    """Print what a container wrote to its standard output, as kubectl logs does."""
    kind = find_kind("Pod")
    namespace = args.namespace or context.namespace
    await fetch(context, kind, args.pod, namespace)
    text = await context.env.kube.logs(
        bare(args.pod), namespace, container=args.container or None, previous=args.previous,
        tail=args.tail, since_s=args.since_s or None,
    )  # fmt: skip
    lines = text.splitlines()
    return Result(text or "(no output)", lines, len(lines))


class EventsArgs(Paged):
    """Arguments of ``k8s_events``."""

    name: str = ""
    """Object the events are about, or the beginning of its name; empty shows all."""
    warnings_only: bool = False
    """Leave out events of type Normal."""
    start: str = "now-60m"
    """Since when: RFC 3339, 'now-15m', negative seconds or unix seconds."""
    namespace: str = ""
    """Namespace; empty is the app's."""


@tool(EventsArgs)
async def k8s_events(context: ToolContext, args: EventsArgs) -> Result:
    """List Kubernetes events, oldest first."""
    now = context.env.now()
    since = parse_time(args.start, now)
    events = await context.env.telemetry.events(
        namespace=args.namespace or context.namespace, name=bare(args.name),
        warnings_only=args.warnings_only, since=since,
    )  # fmt: skip
    events = sorted(events, key=lambda e: (e.time, e.kind, e.name, e.reason))
    head = f"range: {rfc3339(since)} .. {rfc3339(now)}"
    if not events:
        return Result(f"{head}\nno events; an earlier start may show some", [], 0)
    lines = [
        f"{rfc3339(e.time)} {e.type} {e.reason} {e.kind.lower()}/{e.name} x{e.count}"
        f" {e.component}: {e.message}"
        for e in events
    ]
    data = [e.model_dump(mode="json") for e in events]
    return Result("\n".join([head, *lines]), data, len(events))


class ExecArgs(Paged):
    """Arguments of ``k8s_exec``."""

    pod: str
    """Name of the pod."""
    command: str
    """Command line, for instance: env, cat /etc/config/x, curl -sv http://geo:8080/readyz."""
    container: str = ""
    """Container; empty is the first."""
    stdin: str = ""
    """Text for the command's standard input."""
    namespace: str = ""
    """Namespace; empty is the app's."""


def _exec_effect(args: ExecArgs) -> Effect:
    if args.stdin:
        return "write"
    try:
        shlex.split(args.command)
    except ValueError:
        return "read"  # ``argv`` refuses it, and says why
    return shell_effect(args.command)


@tool(ExecArgs, cost=3.0, effect_of=_exec_effect)
async def k8s_exec(context: ToolContext, args: ExecArgs) -> Result:
    """Run a command in a container and return its output and exit code.

    Without rights to change things only commands that look are allowed (env, cat, ls, ps, df, curl,
    nslookup, psql -c 'SELECT ...', valkey-cli INFO, ...).
    """
    kind = find_kind("Pod")
    namespace = args.namespace or context.namespace
    if namespace != context.namespace:
        context.forbid(f'create resource "pods/exec" in the namespace "{namespace}"')
    await fetch(context, kind, args.pod, namespace)
    return await execute(
        context, bare(args.pod), namespace, argv(args.command), container=args.container,
        stdin=args.stdin,
    )  # fmt: skip


async def execute(
    context: ToolContext,
    pod: str,
    namespace: str,
    command: list[str],
    *,
    container: str = "",
    stdin: str = "",
) -> Result:
    """Run a command in a container; the text is its output, errors and exit code."""
    done = await context.env.kube.exec(
        pod, namespace, command, container=container or None, stdin=stdin
    )
    parts = [done.stdout.rstrip("\n"), done.stderr.rstrip("\n")]
    if done.code != 0:
        parts.append(f"command terminated with exit code {done.code}")
    data: dict[str, Any] = {"stdout": done.stdout, "stderr": done.stderr, "code": done.code}
    text = "\n".join(filter(None, parts)) or "(no output)"
    return Result(text, data)


def argv(command: str) -> list[str]:
    """Split a command line; one that needs a shell is given to ``sh -c``.

    Raises:
        ToolRefused: It is empty, or a quotation is not closed.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ToolRefused(f"the command cannot be split: {error}") from error
    if not words:
        raise ToolRefused("the command is empty; for instance: env")
    bare = re.sub(r"'[^']*'", "", command)
    if _SHELL.search(bare) and words[0] not in ("sh", "psql"):
        return ["sh", "-c", command]
    return words


async def pod_of(context: ToolContext, component: str) -> str:
    """Return the name of a running pod of a component.

    Raises:
        ToolRefused: None is running.
    """
    labels = f"app.kubernetes.io/name={component}"
    pods = await context.env.kube.list("Pod", context.namespace, labels=labels)
    running = [
        pod["metadata"]["name"]
        for pod in pods
        if pod.get("status", {}).get("phase") == "Running"
        and not pod["metadata"].get("deletionTimestamp")
    ]
    if not running:
        raise ToolRefused(f"no pod of {component!r} is running; k8s_get kind=Pod shows why")
    return str(min(running))


TOOLS = (k8s_get, k8s_describe, k8s_logs, k8s_events, k8s_exec)
