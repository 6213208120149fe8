"""What an answer may name, written into the answer key when an incident is staged.

Not here: what follows from it for a grade (``grading``).
"""

from __future__ import annotations

from collections.abc import Mapping

from aiopslab.environments.protocol import Environment
from aiopslab.models.app import App
from aiopslab.models.cause import CauseKind
from aiopslab.models.search_space import NamedCause, SearchSpace
from aiopslab.tools import vocabulary


async def search_space(env: Environment) -> SearchSpace:
    """Return what the tools ``services``, ``topology`` and ``cause_kinds`` show of an app."""
    nodes = [node["metadata"]["name"] for node in await env.kube.list("Node")]
    return of_app(env.app, nodes, vocabulary.causes())


def of_app(app: App, nodes: list[str], causes: Mapping[str, CauseKind]) -> SearchSpace:
    """Return the search space of an app on some nodes."""
    return SearchSpace(
        components=sorted({*app.components(), *app.externals, *nodes}),
        dependencies=sorted({(n, t) for n, s in app.services.items() for t in s.depends_on()}),
        entries={
            promise: app.journeys[journey].entry
            for promise, journey in sorted(app.promised().items())
        },
        causes={
            id: NamedCause(family=kind.family, definition=kind.definition)
            for id, kind in causes.items()
        },
    )
