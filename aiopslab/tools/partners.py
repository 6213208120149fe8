"""``partners``: the outside parties that the app depends on, and what their status pages say.

A status page speaks for its owner: it may be late, and it may leave something out. Not here: what
calls to a partner really do, which only the app's own telemetry shows.
"""

from __future__ import annotations

from aiopslab.content import near
from aiopslab.models.timestamps import rfc3339
from aiopslab.tools.context import Paged, Result, ToolContext, ToolRefused, tool
from aiopslab.tools.times import parse_time


class PartnersArgs(Paged):
    """Arguments of ``partners``."""

    name: str = ""
    """One external party; empty shows all."""
    start: str = "now-24h"
    """Posts since when: RFC 3339, 'now-15m', negative seconds or unix seconds."""


@tool(PartnersArgs)
async def partners(context: ToolContext, args: PartnersArgs) -> Result:
    """List the external parties of the app and the posts on their status pages, newest first."""
    env = context.env
    known = env.app.externals
    if args.name and args.name not in known:
        hint = near(args.name, list(known)) or f"known: {', '.join(sorted(known)) or 'none'}"
        raise ToolRefused(f"there is no external party {args.name!r}; {hint}")
    if not known:
        return Result("the app depends on nobody outside", [], 0)
    since = parse_time(args.start, env.now())
    lines, data = [f"at: {rfc3339(env.now())}"], []
    for name, spec in sorted(known.items()):
        if args.name not in ("", name):
            continue
        lines.append(f"{name}: {spec.provider}, {spec.host}:{spec.port}. {spec.summary}")
        if spec.status_page is None:
            lines.append("    no status page")
            continue
        posts = await env.telemetry.status_posts(partner=name, since=since)
        data += [post.model_dump(mode="json") for post in reversed(posts)]
        lines += [f"    {rfc3339(p.time)} {p.state}: {p.text}" for p in reversed(posts)] or [
            "    no posts: all systems operational"
        ]
    return Result("\n".join(lines), data, len(data))


TOOLS = (partners,)
