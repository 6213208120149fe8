"""The app's dependency graph: how far two components are apart, and the way from cause to symptom.

Distances ignore the direction of dependencies: a fault is as near to its caller as to what it
calls. The causal path follows it, from what users call down to the cause. Not here: which
component a name means (``components``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aiopslab.models.evidence import SliWindow
from aiopslab.models.search_space import SearchSpace

Graph = Mapping[str, Sequence[str]]
"""Component to its neighbours, sorted."""


def undirected(space: SearchSpace) -> Graph:
    """Return every component that depends on something or is depended on, and its neighbours."""
    return _graph(pair for a, b in space.dependencies for pair in ((a, b), (b, a)))


def distances(graph: Graph, sources: Iterable[str]) -> dict[str, int]:
    """Return the hops from the nearest source to each component that can be reached."""
    found = dict.fromkeys(sorted(s for s in sources if s in graph), 0)
    frontier = list(found)
    for name in frontier:
        for neighbour in graph[name]:
            if neighbour not in found:
                found[neighbour] = found[name] + 1
                frontier.append(neighbour)
    return found


def diameter(graph: Graph) -> int:
    """Return the most hops between any two components that are connected; 0 without any."""
    return max((max(distances(graph, [name]).values()) for name in graph), default=0)


def causal_path(space: SearchSpace, cause: str, windows: Sequence[SliWindow]) -> list[str] | None:
    """Return the components on the way from what users call to a cause, the cause last.

    The shortest way, along dependencies where there is one, from the component that is called by
    any journey whose SLO was broken; by any at all where none was.

    Args:
        space: Of the trial.
        cause: A component.
        windows: SLIs at hand-over.

    Returns:
        None where the cause is no part of the graph, or no way leads to it.
    """
    broken = {w.journey for w in windows if not w.met and w.offered}
    hurt = {entry for name, entry in space.entries.items() if name in broken}
    for graph in (_graph(space.dependencies), undirected(space)):
        found = [_way(graph, entry, cause) for entry in sorted(hurt or space.entries.values())]
        ways = [way for way in found if way]
        if ways:
            return min(ways, key=lambda way: (len(way), way))
    return None


def _way(graph: Graph, start: str, end: str) -> list[str]:
    """Return the shortest way, the first by name of equal ones; empty if there is none."""
    found = distances(graph, [start])
    if end not in found:
        return []
    way = [end]
    while way[-1] != start:
        hops = found[way[-1]] - 1
        way.append(min(n for n, at in found.items() if at == hops and way[-1] in graph[n]))
    return way[::-1]


def _graph(pairs: Iterable[tuple[str, str]]) -> Graph:
    found: dict[str, set[str]] = {}
    for a, b in pairs:
        found.setdefault(a, set()).add(b)
        found.setdefault(b, set())
    return {name: sorted(found[name]) for name in sorted(found)}
