"""The context block of a brief: what a profile knows, pushed to every agent alike.

Extractive: whole lines and first paragraphs of what the tools of the profile would show, no model
writes anything. Deterministic, and within a budget that is split evenly among the sections; what
one leaves over goes to those after it. Not here: who gets a block (``orchestrator.trial``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiopslab.content import files
from aiopslab.models.app import App
from aiopslab.models.service import Service
from aiopslab.tools.bm25 import Bm25
from aiopslab.tools.context import ToolContext
from aiopslab.tools.history import ChangesArgs, changes, title
from aiopslab.tools.monitors import line as monitor
from aiopslab.tools.partners import PartnersArgs, partners
from aiopslab.tools.past import remembered, write_up

CHARACTERS_A_TOKEN = 4
"""The usual estimate for English text, so that no tokenizer is needed."""
CUT = "[...]"
RECORDS = 3
"""Write-ups of the past at most."""
Section = Callable[[ToolContext, str], Awaitable[str]]


def tokens(text: str) -> int:
    """Estimate the tokens of a text."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


async def block(context: ToolContext, page: str | None) -> str:
    """Compose the block of the context's profile; empty for P0.

    Args:
        context: Environment, task and choice of the trial.
        page: What woke the on-call, by which runbooks and past incidents are chosen; a task
            without a page gets the latest and the first ones.
    """
    sections = SECTIONS[: context.choice.level]
    left = context.choice.tokens * CHARACTERS_A_TOKEN
    parts: list[str] = []
    for n, (heading, section) in enumerate(sections):
        share = left // (len(sections) - n)
        said = await section(context, page or "")
        part = clipped(f"## {heading}\n{said}", share - 1)
        parts.append(part)
        left -= len(part) + 1
    return "\n".join(parts)


def clipped(text: str, limit: int) -> str:
    """Cut a text after the last line that fits, and say so."""
    if len(text) <= limit:
        return text
    room = max(0, limit - len(CUT) - 1)
    head = text[:room]
    whole, newline, _ = head.rpartition("\n")
    return f"{whole if newline else head}\n{CUT}"[:limit]


async def _topology(context: ToolContext, page: str) -> str:
    """Say who depends on whom, as declared, and what outside parties post."""
    app = context.env.app
    edges = [f"{name} -> {', '.join(sorted(s.depends_on()))}" for name, s in _services(app)]
    outside = await partners.body(context, PartnersArgs()) if app.externals else None
    posts = outside.text.splitlines()[1:] if outside else []
    return "\n".join([*edges, *posts])


async def _documents(context: ToolContext, page: str) -> str:
    """Say what each component is for, and how each document begins."""
    app = context.env.app
    about = [f"{name} ({s.owner}): {s.summary}" for name, s in _services(app)]
    about += [f"{name} ({s.owner}): {s.summary}" for name, s in sorted(app.stores.items())]
    begun = [f"{path.stem}: {_beginning(path)}" for path in _files(context, "docs")]
    return "\n".join([*begun, *about])


async def _changes(context: ToolContext, page: str) -> str:
    """List the changes of the last day, newest first."""
    return (await changes.body(context, ChangesArgs())).text


async def _monitors(context: ToolContext, page: str) -> str:
    """Show the rules that are not inactive, and the runbook that fits the page best."""
    groups = await context.env.telemetry.rule_groups()
    rules = [status for group in groups for status in group.rules if status.rule.alert]
    astir = [monitor(status) for status in rules if status.state != "inactive"]
    paths = _files(context, "runbooks")
    titles = [f"runbook {path.stem}: {title(path)}" for path in paths]
    texts = [path.read_text(encoding="utf-8") for path in paths]
    scores = Bm25(texts).scores(page)
    best = max(range(len(texts)), key=lambda n: (scores[n], -n), default=None)
    chosen = [texts[best].strip()] if best is not None and scores[best] > 0.0 else []
    quiet = f"{len(rules) - len(astir)} other alert rules are inactive"
    return "\n".join([*astir, quiet, *chosen, *titles])


async def _history(context: ToolContext, page: str) -> str:
    """Show the write-ups that fit the page best; without a page, the latest."""
    memory = remembered(context)
    if page:
        found = [match.record for match in memory.search(page, limit=RECORDS)]
    else:
        found = sorted(memory.records, key=lambda record: (record.date, record.id))[-RECORDS:]
    return "\n".join(map(write_up, found)) or "no past incident is written up that fits"


SECTIONS: tuple[tuple[str, Section], ...] = (
    ("Topology", _topology),
    ("Services", _documents),
    ("Changes", _changes),
    ("Monitors and runbooks", _monitors),
    ("Past incidents", _history),
)
"""What each profile from P1 on adds."""


def _services(app: App) -> list[tuple[str, Service]]:
    return sorted(app.services.items())


def _files(context: ToolContext, folder: str) -> list[Path]:
    found = files("services", f"{context.env.app.name}/{folder}/*.md")
    return sorted(found, key=lambda path: path.stem)


def _beginning(path: Path) -> str:
    """Return the first paragraph below the heading, on one line."""
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    paragraphs = [b for b in blocks if b.strip() and not b.lstrip().startswith("#")]
    return " ".join(paragraphs[0].split()) if paragraphs else title(path)
