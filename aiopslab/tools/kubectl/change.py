"""Changing objects for ``kubectl``: finding all first, one patch each, and the report.

Shared by the verbs that write. Only the app's namespace may be written. Not here: what the verbs
patch (``kubectl.write``, ``kubectl.set``, ``kubectl.rollout``, ``kubectl.apply``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiopslab.models.kube import KubeError, Object, PatchType
from aiopslab.tools.context import Result, ToolContext, ToolRefused
from aiopslab.tools.kube_write import documents
from aiopslab.tools.kubectl.flags import Line
from aiopslab.tools.kubectl.output import printed
from aiopslab.tools.kubectl.select import Chosen, choose, label, wanted
from aiopslab.tools.objects import shown, writable
from aiopslab.world.kube.kinds import Kind
from aiopslab.world.kube.objects import name_of, namespace_of

COMMON = (
    "namespace/n output/o dry-run/=unchanged field-manager/ request-timeout/ show-managed-fields/?"
)
"""Flags of every verb that writes."""


@dataclass(slots=True)
class Report:
    """What a command did, object by object."""

    line: Line
    lines: list[str] = field(default_factory=list)
    chosen: list[Chosen] = field(default_factory=list)
    before: list[Object | None] = field(default_factory=list)
    after: list[Object | None] = field(default_factory=list)

    def add(
        self,
        context: ToolContext,
        kind: Kind,
        text: str,
        before: Object | None,
        after: Object | None,
    ) -> None:
        """Enter one object."""
        self.lines.append(text + dry(self.line))
        self.before.append(None if before is None else shown(context, before))
        self.after.append(None if after is None else shown(context, after))
        if after is not None:
            self.chosen.append(Chosen(kind, [after], by_name=True))

    def survives(self, error: KubeError) -> bool:
        """Enter a refusal; False if nothing was done before it, and it is all there is to say."""
        self.lines.append(f"Error from server ({error.reason}): {error.message}")
        return bool(self.before)

    def result(self, context: ToolContext) -> Result:
        """Return the lines, or the objects where ``-o`` asks for them; dry runs changed nothing.

        What cannot be printed was done all the same, and has to be in the record.
        """
        text = "\n".join(self.lines)
        if self.line.get("output") and self.chosen:
            try:
                text = printed(context, self.line, self.chosen, single=len(self.chosen) == 1)
            except ToolRefused as refusal:
                text = f"{text}\n{refusal}"
        if is_dry(self.line):
            return Result(text)
        one = len(self.before) == 1
        return Result(
            text,
            before=self.before[0] if one else self.before,
            after=self.after[0] if one else self.after,
        )


def is_dry(line: Line) -> bool:
    """Whether nothing is to be stored.

    Raises:
        ToolRefused: ``--dry-run`` has a value that is not known.
    """
    mode = line.get("dry-run", "none")
    if mode not in ("none", "client", "server", "unchanged"):
        raise ToolRefused(
            f'error: Invalid dry-run value ({mode}). Must be "none", "server", or "client".'
        )
    return mode != "none"


def dry(line: Line) -> str:
    """Return what kubectl adds to a line of a dry run."""
    if not is_dry(line):
        return ""
    return " (server dry run)" if line.get("dry-run") == "server" else " (dry run)"


async def several(
    context: ToolContext, line: Line, words: list[str], verb: str = "patch"
) -> list[tuple[Kind, Object]]:
    """Return every object that is meant, all of which may be written.

    Raises:
        KubeError: 403, one may not be written.
        ToolRefused: One is not there: nothing is changed then.
    """
    for want in wanted(line, words):
        writable(context, verb, want.kind, line.get("namespace"), want.name)
    chosen, problems = await choose(context, line, words)
    if problems:
        raise ToolRefused("\n".join(problems))
    found = [(c.kind, obj) for c in chosen for obj in c.objects]
    if not all(c.by_name for c in chosen) and not (
        line.get("selector") or line.get("field-selector") or line.on("all")
    ):
        raise ToolRefused(
            "error: resource(s) were provided, but no name was specified; give names, -l or --all"
        )
    return found


async def change(
    context: ToolContext,
    report: Report,
    target: tuple[Kind, Object],
    patch: Any,
    done: str,
    *,
    type: PatchType = "strategic",
) -> None:
    """Patch one object and enter it; ``done`` is kubectl's word for it.

    Raises:
        KubeError: It may not be patched, or the patch is refused, and no other was before.
    """
    kind, before = target
    name = name_of(before)
    where = writable(context, "patch", kind, namespace_of(before), name)
    try:
        after = await context.env.kube.patch(
            kind.kind, name, patch, namespace=where, type=type, actor=context.actor,
            dry_run=is_dry(report.line),
        )  # fmt: skip
    except KubeError as error:
        if report.survives(error):
            return
        raise
    same = done == "patched" and _content(before) == _content(after)
    text = f"{label(kind, name)} {done}{' (no change)' if same else ''}"
    report.add(context, kind, text, before, after)


def _content(obj: Object) -> Object:
    return {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}


def manifest(line: Line, stdin: str) -> list[Object]:
    """Return the objects of ``-f -``.

    Raises:
        ToolRefused: Another file, or text that is no manifest.
    """
    if line.get("filename") != "-":
        raise ToolRefused(
            f"error: the path {line.get('filename')!r} does not exist; give the manifest in the "
            "argument stdin, with -f -"
        )
    found = []
    for obj in documents(stdin, "manifest"):
        items = obj.get("items") if isinstance(obj, dict) and obj.get("kind") == "List" else [obj]
        for item in items or ():
            meta = item.get("metadata") if isinstance(item, dict) else None
            if not isinstance(meta, dict) or not {"apiVersion", "kind"} <= item.keys():
                raise ToolRefused(
                    'error: error validating "STDIN": each object needs apiVersion, kind, metadata'
                )
            found.append(item)
    if not found:
        raise ToolRefused("error: no objects passed to apply; the manifest goes into stdin")
    return found
