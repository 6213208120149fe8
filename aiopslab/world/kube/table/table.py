"""Tables in the manner of ``kubectl get``, as text.

Columns are in ``table.columns``; ``describe`` prints single objects.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.world.kube.errors import no_such_kind
from aiopslab.world.kube.kinds import find
from aiopslab.world.kube.objects import Object, namespace_of
from aiopslab.world.kube.table.columns import Column, columns


def table(
    kind: str,
    objects: Sequence[Object],
    *,
    wide: bool = False,
    now: float,
    show_namespace: bool = False,
) -> str:
    """Return the table as text, without a final line break.

    Args:
        kind: Any name kubectl takes.
        objects: In the order to print.
        wide: As ``-o wide``.
        now: Unix seconds, for ages.
        show_namespace: Add the namespace as first column, as ``-A`` does.

    Raises:
        KubeError: 404, unknown kind.
    """
    served = find(kind)
    if served is None:
        raise no_such_kind(kind)
    if not objects:
        return "No resources found"
    shown = [c for c in columns(served.kind) if wide or not c.wide]
    if show_namespace and served.namespaced:
        shown.insert(0, Column("Namespace", lambda obj, _now: namespace_of(obj)))
    rows = [[str(c.cell(obj, now)) for c in shown] for obj in objects]
    return layout([[c.head for c in shown], *rows])


def layout(rows: Sequence[Sequence[str]], gap: int = 3, *, least: int = 0) -> str:
    """Align rows of cells in columns, each with its gap at least so wide."""
    widths = [max(least, max(len(row[i]) for row in rows) + gap) for i in range(len(rows[0]))]
    lines = ("".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
