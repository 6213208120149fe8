"""Printing objects in the forms of ``kubectl get -o ...``.

Tables have the columns the API server prints. Not here: which objects (``kubectl.select``),
templates (``kubectl.jsonpath``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from aiopslab.tools.context import ToolContext, ToolRefused
from aiopslab.tools.kubectl.flags import Line
from aiopslab.tools.kubectl.jsonpath import find, render, show
from aiopslab.tools.kubectl.select import Chosen, label
from aiopslab.tools.objects import shown
from aiopslab.world.kube.objects import Object, labels_of, name_of, namespace_of
from aiopslab.world.kube.table.columns import columns
from aiopslab.world.kube.table.table import layout

_NONE = "<none>"
_LEAST = 6
"""Narrowest column, gap included (text/tabwriter as kubectl sets it up)."""


class _Dumper(yaml.SafeDumper):
    """YAML as kubectl prints it: double quotes, text of several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True  # kubectl knows no anchors

    def choose_scalar_style(self) -> str:
        style: str = super().choose_scalar_style()
        event, analysis = self.event, self.analysis
        if style != "'" or not isinstance(event, yaml.ScalarEvent) or analysis is None:
            return style
        block = "\n" in event.value and analysis.allow_block and not self.simple_key_context
        return "|" if block else '"'


_FORMS = (
    "json,yaml,name,wide,jsonpath=TEMPLATE,jsonpath-as-json=TEMPLATE,custom-columns=NAME:.path,..."
)


def printed(context: ToolContext, line: Line, chosen: Sequence[Chosen], *, single: bool) -> str:
    """Print objects as ``-o`` says.

    Args:
        context: Decides which values of Secrets are shown.
        line: The command line.
        chosen: What to print.
        single: One object was asked for by name; ``json`` and ``yaml`` then make no list.

    Raises:
        ToolRefused: A form that is not known, or a template that cannot be read.
    """
    form, _, template = line.get("output").partition("=")
    if form in ("", "wide"):
        return _tables(context, line, chosen)
    objects = _sorted(line, [shown(context, o) for c in chosen for o in c.objects])
    if form == "name":
        kinds = {c.kind.kind: c.kind for c in chosen}
        return "\n".join(label(kinds[o["kind"]], name_of(o)) for o in objects)
    if form == "custom-columns":
        return _custom(line, template, objects)
    whole: Any = objects[0] if single and len(objects) == 1 else _list(objects)
    match form:
        case "json":
            return json.dumps(whole, indent=4, sort_keys=True, ensure_ascii=False)
        case "yaml":
            text = yaml.dump(whole, Dumper=_Dumper, width=1000, allow_unicode=True)
            return str(text).rstrip("\n")
        case "jsonpath":
            return render(template, whole)
        case "jsonpath-as-json":
            found = find(template, whole)
            return json.dumps(found, indent=4, sort_keys=True, ensure_ascii=False)
    raise ToolRefused(
        f'error: unable to match a printer suitable for the output format "{line.get("output")}", '
        f"allowed formats are: {_FORMS}"
    )


def nothing_found(context: ToolContext, line: Line, chosen: Sequence[Chosen]) -> str:
    """Word that no object fits."""
    if line.on("all-namespaces") or not any(c.kind.namespaced for c in chosen):
        return "No resources found"
    return f"No resources found in {line.get('namespace') or context.namespace} namespace."


def grid(rows: Sequence[Sequence[object]], line: Line) -> str:
    """Align rows, the first of which is the head; ``--no-headers`` drops it."""
    texts = [[str(cell) for cell in row] for row in rows]
    if len(texts) == 1:
        return ""
    return layout(texts[1:] if line.on("no-headers") else texts, least=_LEAST)


def _tables(context: ToolContext, line: Line, chosen: Sequence[Chosen]) -> str:
    filled = [c for c in chosen if c.objects]
    several = sum(1 for c in chosen if c.objects or not c.by_name) > 1
    return "\n\n".join(_table(context, line, c, prefixed=several) for c in filled)


def _table(context: ToolContext, line: Line, chosen: Chosen, *, prefixed: bool) -> str:
    """Print one kind's table."""
    kind, now, wide = chosen.kind, context.env.now(), line.get("output") == "wide"
    picked = [c for c in columns(kind.kind) if wide or not c.wide]
    spaced = line.on("all-namespaces") and kind.namespaced
    extra = line.all("label-columns")
    head = [c.head for c in picked]
    head = [*(["NAMESPACE"] if spaced else []), *head,
            *(text.rpartition("/")[2].upper() for text in extra),
            *(["LABELS"] if line.on("show-labels") else [])]  # fmt: skip
    rows: list[list[object]] = [list(head)]
    for obj in _sorted(line, chosen.objects):
        cells: list[object] = [c.cell(obj, now) for c in picked]
        if prefixed and kind.kind != "Event":
            cells[0] = label(kind, str(cells[0]))
        rows.append([*([namespace_of(obj)] if spaced else []), *cells,
                     *(labels_of(obj).get(name, "") for name in extra),
                     *([_labels(obj)] if line.on("show-labels") else [])])  # fmt: skip
    return grid(rows, line)


def _labels(obj: Object) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted(labels_of(obj).items())) or _NONE


def _custom(line: Line, spec: str, objects: Sequence[Object]) -> str:
    parts = [part.partition(":") for part in spec.split(",")]
    if not spec or not all(head and path for head, _, path in parts):
        raise ToolRefused(
            f"error: unexpected custom-columns spec: {spec}, expected <header>:<json-path-expr>"
        )
    rows: list[list[object]] = [[head for head, _, _ in parts]]
    for obj in objects:
        found = [find(path, obj) for _, _, path in parts]
        rows.append([",".join(_cell(v) for v in values) or _NONE for values in found])
    return grid(rows, line)


def _cell(value: Any) -> str:
    """Print a value as Go would: maps and lists in its own notation."""
    match value:
        case None:
            return "<nil>"
        case dict():
            return f"map[{' '.join(f'{k}:{_cell(value[k])}' for k in sorted(value))}]"
        case list():
            return f"[{' '.join(map(_cell, value))}]"
        case _:
            return show(value)


def _sorted(line: Line, objects: list[Object]) -> list[Object]:
    """Sort by ``--sort-by``; what has no value comes first."""
    path = line.get("sort-by")
    if not path:
        return objects

    def key(obj: Object) -> tuple[int, float, str]:
        value = next(iter(find(path, obj)), None)
        if value is None:
            return 0, 0.0, ""
        if isinstance(value, int | float):
            return 1, float(value), ""
        return 2, 0.0, str(value)

    return sorted(objects, key=key)


def _list(objects: Sequence[Object]) -> Object:
    return {
        "apiVersion": "v1",
        "items": list(objects),
        "kind": "List",
        "metadata": {"resourceVersion": ""},
    }
