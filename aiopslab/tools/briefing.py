"""The brief in words, the same behind every door. Not here: composing one (``problems.brief``)."""

from __future__ import annotations

from aiopslab.models.observation import Brief


def brief_text(brief: Brief) -> str:
    """Word a brief."""
    parts = [
        f"Application {brief.app} (namespace {brief.namespace}): {brief.app_summary}",
        f"It is {brief.now}.",
        f"Page: {brief.alert}" if brief.alert else "",
        f"Task ({brief.task}): {brief.instructions}",
    ]
    return "\n".join(filter(None, parts))
