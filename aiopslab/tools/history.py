"""``changes``, ``runbooks`` and ``docs``: what happened before, and what the owners wrote down.

Documents are the content of the app (``services/<app>/runbooks``, ``docs``). Not here: Kubernetes
events (``kube_read``).
"""

from __future__ import annotations

from pathlib import Path

from aiopslab.content import files, near
from aiopslab.models.timestamps import rfc3339
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.tables import table
from aiopslab.tools.times import parse_time


class ChangesArgs(Paged):
    """Arguments of ``changes``."""

    component: str = ""
    """Only changes of this component; empty shows all."""
    start: str = "now-24h"
    """Since when: RFC 3339, 'now-15m', negative seconds or unix seconds."""


@tool(ChangesArgs)
async def changes(context: ToolContext, args: ChangesArgs) -> Result:
    """List deployments and configuration changes with author and difference, newest first."""
    now = context.env.now()
    since = parse_time(args.start, now)
    found = await context.env.telemetry.changes(component=args.component, since=since)
    found = sorted(found, key=lambda c: (-c.time, c.component, c.summary))
    head = f"range: {rfc3339(since)} .. {rfc3339(now)}"
    if not found:
        return Result(f"{head}\nno change is recorded; an earlier start may show some", [], 0)
    lines = [head]
    for change in found:
        lines.append(
            f"{rfc3339(change.time)} {change.kind} {change.component} by {change.actor}:"
            f" {change.summary}"
        )
        lines += [f"    {line}" for line in change.diff.splitlines()]
    data = [c.model_dump(mode="json") for c in found]
    return Result("\n".join(lines), data, len(found))


class DocumentArgs(Paged):
    """Arguments of ``runbooks`` and ``docs``."""

    name: str = ""
    """Name of a document; empty lists them."""


@tool(DocumentArgs)
async def runbooks(context: ToolContext, args: DocumentArgs) -> Result:
    """List the runbooks of the app, or read one."""
    return _document(context, "runbooks", args.name)


@tool(DocumentArgs)
async def docs(context: ToolContext, args: DocumentArgs) -> Result:
    """List the documents of the app (architecture, dependencies, on-call), or read one."""
    return _document(context, "docs", args.name)


def _document(context: ToolContext, folder: str, name: str) -> Result:
    """List a folder of Markdown files, or read one of them."""
    paths = {p.stem: p for p in files("services", f"{context.env.app.name}/{folder}/*.md")}
    if not name:
        rows = [[stem, title(path)] for stem, path in sorted(paths.items())]
        if not rows:
            return Result(f"the app has no {folder}", [], 0)
        return Result(table(["name", "title"], rows), [row[0] for row in rows], len(rows))
    path = paths.get(name.removesuffix(".md"))
    if path is None:
        hint = near(name, list(paths)) or f"known: {', '.join(sorted(paths)) or 'none'}"
        raise ToolRefused(f"there is no {name!r} in {folder}; {hint}")
    return Result(path.read_text(encoding="utf-8"))


def title(path: Path) -> str:
    """Return the first heading."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            return line.lstrip("# ")
    return ""


TOOLS = (changes, runbooks, docs)
