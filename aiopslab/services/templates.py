"""Templates in ``app.yaml``: ``rates:{hotel}:{day}`` with request parameters, ``$KEY`` settings."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping

from aiopslab.models.app import Value
from aiopslab.services.config import Config, as_text

Params = Mapping[str, str]


def names(template: str) -> set[str]:
    """Return the request parameters a template needs.

    >>> sorted(names("rates:{hotel}:{day}"))
    ['day', 'hotel']
    """
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def text(template: Value) -> Callable[[Params], str]:
    """Compile a template over request parameters."""
    fixed = as_text(template)
    needed = names(fixed)
    if not needed:
        return lambda params: fixed
    if len(needed) == 1 and fixed == f"{{{(only := needed.pop())}}}":
        return lambda params: params[only]
    return fixed.format_map


def mapping(templates: Mapping[str, Value]) -> Callable[[Params], dict[str, str]]:
    """Compile a mapping of templates."""
    items = [(key, text(value)) for key, value in templates.items()]
    return lambda params: {key: render(params) for key, render in items}


def setting(value: str | float | None, config: Config) -> float | None:
    """Read a number that may be ``$KEY``; raises ConfigError."""
    if isinstance(value, str):
        return config.number(value.removeprefix("$"))
    return value


def keys(value: str | float | None) -> set[str]:
    """Return the configuration key that a value reads, if any."""
    return {value[1:]} if isinstance(value, str) and value.startswith("$") else set()
