"""Which objects a ``kubectl`` command line means: ``TYPE[,TYPE] [NAME...]``, ``TYPE/NAME``, ``-l``.

Words and refusals are kubectl's own. Not here: printing them (``kubectl.output``), changing them
(``kubectl.write``).
"""

from __future__ import annotations

from dataclasses import dataclass

from aiopslab.models.kube import KubeError, Object
from aiopslab.tools.context import ToolContext, ToolRefused
from aiopslab.tools.kubectl.flags import Line
from aiopslab.world.kube import kinds
from aiopslab.world.kube.kinds import Kind

_ALL = (
    "Pod", "Service", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet",
    "HorizontalPodAutoscaler", "CronJob", "Job",
)  # fmt: skip
"""What ``all`` stands for."""


@dataclass(slots=True)
class Chosen:
    """The objects of one kind that were meant."""

    kind: Kind
    objects: list[Object]
    by_name: bool
    """They were named, not selected."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A kind and, if given, a name."""

    kind: Kind
    name: str = ""


def kind_of(word: str) -> Kind:
    """Find a kind by kind, plural, short name, ``plural.group`` or ``plural.version.group``.

    Raises:
        ToolRefused: There is none.
    """
    main, _, rest = word.partition(".")
    found = kinds.find(word) or kinds.find(main)
    group = rest.partition(".")[2] if rest.startswith("v1.") or rest.startswith("v2.") else rest
    if found is None or (group and group != found.group):
        raise ToolRefused(f'error: the server doesn\'t have a resource type "{word}"')
    return found


def label(kind: Kind, name: str) -> str:
    """Return ``deployment.apps/geo``: how kubectl calls an object it did something to."""
    return f"{kind.qualified.lower()}/{name}"


def space(context: ToolContext, line: Line, kind: Kind) -> str | None:
    """Return the namespace a command is about; None is all, or none."""
    if not kind.namespaced or line.on("all-namespaces"):
        return None
    return line.get("namespace") or context.namespace


def wanted(line: Line, words: list[str] | None = None) -> list[Wanted]:
    """Read types and names.

    Raises:
        ToolRefused: A type that is not served, or a mixture of both forms.
    """
    given = line.words if words is None else words
    if not given:
        raise ToolRefused(
            f"error: You must provide one or more resources by argument or filename; for instance: "
            f"kubectl {line.verb} pods"
        )
    if any("/" in word for word in given):
        if not all(word.count("/") == 1 for word in given):
            raise ToolRefused(
                "error: there is no need to specify a resource type as a separate argument when "
                "passing arguments in resource/name form (e.g. 'kubectl get resource/"
                "<resource_name>' instead of 'kubectl get resource resource/<resource_name>'"
            )
        pairs = [word.split("/") for word in given]
        return [Wanted(kind_of(type_), name) for type_, name in pairs]
    types = [_ALL if t == "all" else (kind_of(t).kind,) for t in given[0].split(",") if t]
    found = [kinds.BY_KIND[kind] for group in types for kind in group]
    names = given[1:] or [""]
    return [Wanted(kind, name) for kind in dict.fromkeys(found) for name in names]


async def choose(
    context: ToolContext, line: Line, words: list[str] | None = None
) -> tuple[list[Chosen], list[str]]:
    """Fetch what is meant; returns it by kind, and the refusals of those that were not there.

    Raises:
        ToolRefused: The words cannot be meant.
        KubeError: A selector cannot be read.
    """
    found: dict[str, Chosen] = {}
    problems: list[str] = []
    labels, fields = line.get("selector"), line.get("field-selector")
    for want in wanted(line, words):
        where = space(context, line, want.kind)
        entry = found.setdefault(want.kind.kind, Chosen(want.kind, [], bool(want.name)))
        kube = context.env.kube
        if not want.name:
            entry.objects += await kube.list(want.kind.kind, where, labels=labels, fields=fields)
            continue
        if labels or fields:
            raise ToolRefused("error: name cannot be provided when a selector is specified")
        if line.on("all-namespaces"):
            raise ToolRefused("error: a resource cannot be retrieved by name across all namespaces")
        try:
            entry.objects.append(await kube.get(want.kind.kind, want.name, where))
        except KubeError as error:
            if error.reason != "NotFound" or line.on("ignore-not-found"):
                if error.reason == "NotFound":
                    continue
                raise
            problems.append(f"Error from server ({error.reason}): {error.message}")
    return list(found.values()), problems


async def one(
    context: ToolContext, line: Line, words: list[str] | None = None
) -> tuple[Kind, Object]:
    """Fetch the one object that is meant.

    Raises:
        ToolRefused: None or several are.
        KubeError: 404.
    """
    named = [w for w in wanted(line, words) if w.name]
    if len(named) != 1:
        raise ToolRefused(f"error: one resource is needed, for instance: {line.verb} deploy/NAME")
    [want] = named
    where = space(context, line, want.kind)
    return want.kind, await context.env.kube.get(want.kind.kind, want.name, where)
