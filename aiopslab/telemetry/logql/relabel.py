"""``label_replace`` of LogQL: a label made from another one by a regular expression.

Not here: ``label_format``, which works on lines (``stages``).
"""

from __future__ import annotations

from aiopslab.telemetry.logql.functions import expand
from aiopslab.telemetry.logql.tree import LabelReplace
from aiopslab.telemetry.promql.matching import Regex
from aiopslab.telemetry.promql.values import LabelSets, QueryError, Vector


def label_replace(node: LabelReplace, vector: Vector) -> Vector:
    """Set the target where the anchored expression matches the source; empty removes it.

    Raises:
        QueryError: Two series would have the same labels at one instant, or matching may take too
            long.
    """
    pattern = Regex(node.regex)
    replacement = expand(node.replacement)
    sets = []
    for pairs in vector.labels.sets:
        labels = dict(pairs)
        match = pattern.match(labels.get(node.source, ""))
        if match is not None:
            value = replacement(match)
            labels.pop(node.target, None)
            if value:
                labels[node.target] = value
        sets.append(tuple(sorted(labels.items())))
    if len(set(sets)) < len(sets):
        raise QueryError("vector cannot contain metrics with the same labelset")
    return Vector(LabelSets(sets), vector.values, vector.present)
