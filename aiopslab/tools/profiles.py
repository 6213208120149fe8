"""Which tools a context profile offers.

Telemetry and the cluster are in every profile; the rest is context and comes with its level. Not
here: what the profiles are (``models.context_profile``), what is pushed instead (``briefing``).
"""

from __future__ import annotations

from aiopslab.models.context_profile import ContextChoice

LEVELS = {
    "topology": 1,
    "partners": 1,
    "docs": 2,
    "changes": 3,
    "monitors": 4,
    "runbooks": 4,
    "search_incidents": 5,
}
"""The first profile that has a tool; tools that are not named are in all."""


def offered(tool: str, choice: ContextChoice) -> bool:
    """Say whether a run offers a tool; what is pushed is not offered as well."""
    level = LEVELS.get(tool, 0)
    return level <= (choice.level if choice.delivery == "pull" else 0)
