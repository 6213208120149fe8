"""Templates in ``app.yaml``: ``rates:{hotel}:{day}`` with request parameters, ``$KEY`` settings."""

from __future__ import annotations

import operator
import string
from collections.abc import Callable, Mapping

from aiopslab.models.workload import Value
from aiopslab.services.config import Config, as_text
from aiopslab.services.exchange import RequestFailed
from aiopslab.services.languages import Problem

Params = Mapping[str, str]


def names(template: str) -> set[str]:
    """Return the request parameters a template needs.

    >>> sorted(names("rates:{hotel}:{day}"))
    ['day', 'hotel']
    """
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def text(template: Value) -> Callable[[Params], str]:
    """Compile a template over request parameters.

    The compiled function raises RequestFailed (400) for a request that lacks one of them.
    """
    fixed = as_text(template)
    needed = names(fixed)
    if not needed:
        return lambda params: fixed
    only = f"{{{next(iter(needed))}}}" == fixed
    render = operator.itemgetter(*needed) if only else fixed.format_map

    def rendered(params: Params) -> str:
        try:
            value: str = render(params)
        except KeyError as missing:
            message = f"missing required parameter: {missing.args[0]}"
            raise RequestFailed(400, Problem("BadRequest", message)) from None
        return value

    return rendered


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
