"""``kubectl get``, ``describe``, ``events`` and ``top``.

Not here: what the cluster serves (``kubectl.about``), logs and commands (``kubectl.pods``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aiopslab.models.kube import Object
from aiopslab.models.timestamps import unix
from aiopslab.tools.context import Result, ToolContext, ToolRefused
from aiopslab.tools.kubectl.flags import Line, flags
from aiopslab.tools.kubectl.output import grid, nothing_found, printed
from aiopslab.tools.kubectl.raw import raw
from aiopslab.tools.kubectl.select import Chosen, choose, kind_of, space, wanted
from aiopslab.tools.objects import shown
from aiopslab.world.kube.objects import dig, name_of, namespace_of
from aiopslab.world.kube.quantity import amount
from aiopslab.world.kube.table.cells import since

GET = flags(
    "namespace/n all-namespaces/A? selector/l field-selector/ output/o show-labels/? sort-by/ "
    "label-columns/L* no-headers/? ignore-not-found/? raw/ show-kind/? watch/w? watch-only/? "
    "chunk-size/ show-managed-fields/? request-timeout/"
)
DESCRIBE = flags("namespace/n all-namespaces/A? selector/l show-events/? request-timeout/")
EVENTS = flags(
    "namespace/n all-namespaces/A? for/ types/* output/o no-headers/? watch/w? request-timeout/"
)
TOP = flags(
    "namespace/n all-namespaces/A? selector/l field-selector/ containers/? sort-by/ no-headers/? "
    "sum/? request-timeout/"
)

# As metrics-server: CPU averaged over its window, memory as it is.
_POD_CPU = (
    "sum by (namespace, pod, container) "
    '(rate(container_cpu_usage_seconds_total{container!=""}[30s]))'
)
_POD_MEMORY = (
    'sum by (namespace, pod, container) (container_memory_working_set_bytes{container!=""})'
)
_NODE_CPU = 'sum by (node) (rate(node_cpu_seconds_total{mode!~"idle|iowait|steal"}[30s]))'
_NODE_MEMORY = "sum by (node) (node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes)"


async def get(context: ToolContext, line: Line) -> Result:
    """List objects, or show those that were named."""
    if line.on("watch") or line.on("watch-only"):
        raise ToolRefused("error: -w would not end here; use the wait tool and get again")
    if line.get("raw"):
        return await raw(context, line.get("raw"))
    chosen, problems = await choose(context, line)
    count = sum(len(c.objects) for c in chosen)
    single = count == 1 and len(chosen) == 1 and chosen[0].by_name
    data = [shown(context, obj) for c in chosen for obj in c.objects]
    structured = line.get("output") not in ("", "wide", "name")
    text = printed(context, line, chosen, single=single) if count or structured else ""
    if problems:
        raise ToolRefused("\n".join(filter(None, [text, *problems])))
    if not count and not structured and not line.on("ignore-not-found"):
        text = nothing_found(context, line, chosen)
    return Result(text, data, count)


async def describe(context: ToolContext, line: Line) -> Result:
    """Describe objects with their events; a name may be the beginning of several."""
    pages: list[str] = []
    problems: list[str] = []
    for want in wanted(line):
        where = space(context, line, want.kind)
        found = await context.env.kube.list(want.kind.kind, where, labels=line.get("selector"))
        names = [(name_of(o), namespace_of(o) or None) for o in found]
        if want.name:
            exact = [n for n in names if n[0] == want.name]
            names = exact or [n for n in names if n[0].startswith(want.name)]
        if want.name and not names:
            problem = f'{want.kind.resource} "{want.name}" not found'
            problems.append(f"Error from server (NotFound): {problem}")
        for name, namespace in names:
            page = await context.env.kube.describe(want.kind.kind, name, namespace)
            pages.append(page.rstrip("\n"))
    text = "\n\n\n".join(pages)
    if problems:
        raise ToolRefused("\n".join(filter(None, [text, *problems])))
    if not pages:
        chosen = [Chosen(w.kind, [], by_name=False) for w in wanted(line)]
        text = nothing_found(context, line, chosen)
    return Result(text)


async def events(context: ToolContext, line: Line) -> Result:
    """List events, oldest first."""
    if line.on("watch"):
        raise ToolRefused("error: -w would not end here; use the wait tool and ask again")
    kind = kind_of("events")
    found = await context.env.kube.list("Event", space(context, line, kind))
    about, types = line.get("for"), {t.lower() for t in line.all("types")}
    if about:
        [want] = wanted(line, [about])
        found = [
            e for e in found
            if e["involvedObject"].get("kind") == want.kind.kind
            and e["involvedObject"].get("name") == want.name
        ]  # fmt: skip
    found = [e for e in found if not types or str(e.get("type", "")).lower() in types]
    found.sort(key=lambda e: (e.get("lastTimestamp") or "", name_of(e)))
    if not found:
        return Result(nothing_found(context, line, [Chosen(kind, [], by_name=False)]), [], 0)
    if line.get("output"):
        text = printed(context, line, [Chosen(kind, found, by_name=False)], single=False)
        return Result(text, found, len(found))
    spaced = ["NAMESPACE"] if line.on("all-namespaces") else []
    rows: list[Sequence[object]] = [[*spaced, "LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]]
    now = context.env.now()
    for event in found:
        about_ = event["involvedObject"]
        target = f"{about_.get('kind', '')}/{about_.get('name', '')}"
        cells = [_seen(event, now), event["type"], event["reason"], target, event["message"]]
        rows.append([*([namespace_of(event)] if spaced else []), *cells])
    return Result(grid(rows, line), found, len(found))


def _seen(event: Object, now: float) -> str:
    """Print ``5m``, or ``5m (x4 over 10m)`` for repeats."""
    last, first = event.get("lastTimestamp"), event.get("firstTimestamp")
    count = event.get("count") or 1
    if count > 1 and first and last and unix(last) >= unix(first):
        return f"{since(last, now)} (x{count} over {since(first, now)})"
    return since(first or last, now)


# -- top ------------------------------------------------------------------------------------------


async def top(context: ToolContext, line: Line) -> Result:
    """Show what pods or nodes use."""
    if not line.words or kind_of(line.words[0]).kind not in ("Pod", "Node"):
        raise ToolRefused("error: say what: kubectl top pods, or kubectl top nodes")
    if line.get("sort-by") not in ("", "cpu", "memory"):
        raise ToolRefused("error: --sort-by accepts only cpu or memory")
    if kind_of(line.words[0]).kind == "Node":
        return await _top_nodes(context, line)
    return await _top_pods(context, line)


async def _top_pods(context: ToolContext, line: Line) -> Result:
    chosen, problems = await choose(context, line)
    if problems:
        raise ToolRefused("\n".join(problems))
    usage = await _usage(context, _POD_CPU, _POD_MEMORY, ("namespace", "pod", "container"))
    spaced = line.on("all-namespaces")
    rows: list[_Row] = []
    for pod in (o for c in chosen for o in c.objects):
        names = [str(c["name"]) for c in dig(pod, "spec", "containers", default=())]
        used = {
            n: usage[key] for n in names if (key := (namespace_of(pod), name_of(pod), n)) in usage
        }
        cells = [*([namespace_of(pod)] if spaced else []), name_of(pod)]
        if line.on("containers"):
            rows += [_Row([*cells, name], *figures) for name, figures in used.items()]
        elif used:
            cores, sizes = zip(*used.values(), strict=True)
            rows.append(_Row(cells, sum(cores), sum(sizes)))
    head = [*(["NAMESPACE"] if spaced else []),
            *(["POD", "NAME"] if line.on("containers") else ["NAME"])]  # fmt: skip
    table: list[Sequence[object]] = [[*head, "CPU(cores)", "MEMORY(bytes)"]]
    table += [[*row.cells, f"{row.milli}m", row.mebi] for row in _ordered(line, rows)]
    if not rows:
        raise ToolRefused(nothing_found(context, line, chosen))
    return Result(grid(table, line), total=len(rows))


async def _top_nodes(context: ToolContext, line: Line) -> Result:
    chosen, problems = await choose(context, line)
    if problems:
        raise ToolRefused("\n".join(problems))
    usage = await _usage(context, _NODE_CPU, _NODE_MEMORY, ("node",))
    rooms = {
        name_of(node): dig(node, "status", "allocatable", default={})
        for node in (o for c in chosen for o in c.objects)
    }
    rows = [_Row([name], *usage[name,]) for name in rooms if (name,) in usage]
    table: list[Sequence[object]] = [["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]]
    for row in _ordered(line, rows):
        room = rooms[row.cells[0]]
        busy = int(row.milli / (amount(room.get("cpu", "1")) * 1000) * 100)
        full = int(row.size / amount(room.get("memory", "1")) * 100)
        table.append([row.cells[0], f"{row.milli}m", f"{busy}%", row.mebi, f"{full}%"])
    return Result(grid(table, line), total=len(rows))


@dataclass(frozen=True, slots=True)
class _Row:
    """What is shown first, then what is used."""

    cells: list[str]
    cores: float
    size: float

    @property
    def milli(self) -> int:
        """Thousandths of a core, rounded up as metrics are."""
        return math.ceil(round(self.cores * 1e9) / 1e6)

    @property
    def mebi(self) -> str:
        return f"{int(self.size) // 2**20}Mi"


async def _usage(
    context: ToolContext, cpu: str, memory: str, by: tuple[str, ...]
) -> dict[tuple[str, ...], tuple[float, float]]:
    """Return (cores, bytes) by the values of labels, where both are known."""
    cores, sizes = await _figures(context, cpu, by), await _figures(context, memory, by)
    return {key: (cores[key], sizes[key]) for key in cores if key in sizes}


async def _figures(
    context: ToolContext, query: str, by: tuple[str, ...]
) -> dict[tuple[str, ...], float]:
    series = await context.env.telemetry.instant(query)
    return {tuple(s.labels.get(name, "") for name in by): s.points[-1][1] for s in series}


def _ordered(line: Line, rows: list[_Row]) -> list[_Row]:
    """Sort by name, or by what ``--sort-by`` says, most first."""
    match line.get("sort-by"):
        case "cpu":
            return sorted(rows, key=lambda row: (-row.cores, row.cells))
        case "memory":
            return sorted(rows, key=lambda row: (-row.size, row.cells))
    return sorted(rows, key=lambda row: row.cells)
