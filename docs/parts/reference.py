"""Reference of the program itself: its commands, its agents, the fields of its models."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Callable

from cyclopts import App
from rich.console import Console

from aiopslab.agents import loading
from aiopslab.cli.tree import build
from aiopslab.models.base import Model
from aiopslab.models.observation import Budget
from parts.markdown import cell, fenced, table

WIDTH = 100
_QUALIFIED = re.compile(r"\b(?:\w+\.)+(?=\w)")


def command_line() -> str:
    """Return the help text of every command."""
    app = build()
    parts = []
    for name in ["", *(n for n in app if not n.startswith("-"))]:
        title = f"aiopslab {name}".strip()
        parts.append(f"## {title}\n\n{fenced(_help(app, name), 'text')}")
    return "\n".join(parts)


def _help(app: App, command: str) -> str:
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False)
    app.help_print([command] if command else [], console=console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()).strip()


def agents() -> str:
    """Return the agents that come along."""
    return table(["Agent", "What it is"], [[f"`{s.name}`", s.summary] for s in loading.known()])


def fields(model: type[Model]) -> Callable[[], str]:
    """Return a block with the fields of a model and their documentation."""

    def block() -> str:
        rows = []
        for name, field in model.model_fields.items():
            given = field.get_default(call_default_factory=True, validated_data={})
            optional = "" if field.is_required() else _default(given)
            kind = _QUALIFIED.sub("", inspect.formatannotation(field.annotation))
            key = f"`{field.alias or name}`"
            rows.append([key, f"`{cell(kind)}`", optional, cell(field.description or "")])
        return table(["Key", "Type", "Default", "Meaning"], rows)

    return block


def _default(value: object) -> str:
    if isinstance(value, Model):
        return "unlimited" if value == Budget() else "empty"
    if isinstance(value, str | None):
        return f"`{value}`" if value else "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
