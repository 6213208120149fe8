"""Generated parts of the documentation: tables and help texts that code already knows.

A document marks a part with ``<!-- generated: NAME -->`` and ``<!-- end -->``; what lies between is
written from here, and so are the whole files of ``FILES``. ``python docs/generate.py`` rewrites
them, ``--check`` only says which are out of date and exits 1; a test runs that. Not here: prose.
"""

from __future__ import annotations

import inspect
import io
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from cyclopts import App
from rich.console import Console

from aiopslab.agents import loading
from aiopslab.cli.tree import build
from aiopslab.faults.registry import KINDS
from aiopslab.grading import margins as margin_grading
from aiopslab.grading.baselines import by_hops, scores
from aiopslab.models import app as models
from aiopslab.models.agreement import Agreement
from aiopslab.models.base import Model
from aiopslab.models.baseline import Baseline
from aiopslab.models.context_profile import ContextChoice
from aiopslab.models.incident import Difficulty, IncidentSpec, SliCondition
from aiopslab.models.margin import Margin
from aiopslab.models.observation import Brief, Budget, Observation
from aiopslab.models.run import SIMULATED
from aiopslab.models.task import TASKS
from aiopslab.observer import kubelet
from aiopslab.orchestrator.documents import read_journal
from aiopslab.orchestrator.lock import of_incident
from aiopslab.problems import catalogue, distractors, parity
from aiopslab.problems.patterns import built_on
from aiopslab.report.catalogue import pages
from aiopslab.report.fidelity import agreement_rows, differences, summary
from aiopslab.report.terminal import baseline_rows, margin_rows, number
from aiopslab.services import catalogue as services
from aiopslab.telemetry import catalogue as metrics
from aiopslab.tools import TOOLS, answer_schema, describe_tools
from aiopslab.tools.schema import usage

ROOT = Path(__file__).parents[1]
WIDTH = 100
HOPS_FOR = ("statistical", "n-sigma", "alert-name")
"""Agents that look before they answer; the others score the same on hard and easy."""
_BLOCK = re.compile(
    r"(?P<head><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<tail><!-- end -->)", re.DOTALL
)

_QUALIFIED = re.compile(r"\b(?:\w+\.)+(?=\w)")


def main(arguments: Sequence[str]) -> int:
    """Rewrite the documents, or check them; return the exit code."""
    stale = []
    for path, new in written().items():
        if path.is_file() and path.read_text(encoding="utf-8") == new:
            continue
        stale.append(path.relative_to(ROOT).as_posix())
        if "--check" not in arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(new, encoding="utf-8", newline="\n")
    if stale and "--check" in arguments:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run python docs/generate.py\n")
        return 1
    return 0


def written() -> dict[Path, str]:
    """Return every file that is written here, in part or as a whole, with its text."""
    found = {path: render(path.read_text(encoding="utf-8")) for path in documents()}
    for name, text in pages(catalogue.incidents(), catalogue.suites()).items():
        found[ROOT / "docs" / "catalogue" / name] = text
    return found | {ROOT / name: made() for name, made in FILES.items()}


def documents() -> list[Path]:
    """List the documents that may hold generated parts."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def render(text: str) -> str:
    """Return a document with every generated part as it should be."""

    def filled(match: re.Match[str]) -> str:
        return f"{match['head']}\n{BLOCKS[match['name']]().strip()}\n\n{match['tail']}"

    return _BLOCK.sub(filled, text)


def tools_table() -> str:
    """Return all tools in short."""
    homes = {"submit": "agents.md#answers"}
    rows = [
        [
            f"[`{t.name}`]({homes.get(t.name, f'tools.md#{t.name}')})",
            t.effect,
            _cost(t.cost),
            _first(t.description),
        ]
        for t in TOOLS.values()
    ]
    return _table(["Tool", "Effect", "Cost", "What it does"], rows)


def tools_reference() -> str:
    """Return every tool with its arguments."""
    parts = []
    for tool in describe_tools("mitigation", ContextChoice(profile="P5")):
        if tool.effect == "submit":
            continue
        cost = _cost(TOOLS[tool.name].cost)
        parts.append(f"### {tool.name}\n\n{tool.effect}, {cost}. {tool.description}\n")
        parts.append(_fenced(usage(tool.name, tool.parameters), "text"))
        rows = [
            [f"`{key}`", _cell(prop.get("description", ""))]
            for key, prop in tool.parameters["properties"].items()
        ]
        if rows:
            parts.append(_table(["Argument", "Meaning"], rows) + "\n")
    return "\n".join(parts)


def answers() -> str:
    """Return the form of ``submit`` for each task."""
    lines = [f"# {task}\n{usage('submit', answer_schema(task))}" for task in TASKS]
    return _fenced("\n\n".join(lines), "text")


def faults() -> str:
    """Return every fault kind with its labels, parameters and whether a cluster has it."""
    rows = [
        [
            f"`{kind}`",
            _first(cls.__doc__ or ""),
            f"`{cls.cause}`",
            cls.system_level,
            cls.fault_type,
            ", ".join(f"`{n}`={f.default!r}" for n, f in cls.Params.model_fields.items()) or "none",
            "yes" if cls.support.on("kind") else "no",
        ]
        for kind, cls in sorted(KINDS.items())
    ]
    columns = ["Kind", "What happens", "Cause", "System level", "Fault type", "Parameters",
               "On kind"]  # fmt: skip
    return _table(columns, rows)


def faults_on_clusters() -> str:
    """Return what is to be known about kinds of faults and distractors on a cluster."""
    kinds = {kind: cls.support for kind, cls in KINDS.items()}
    kinds |= {kind: cls.support for kind, cls in distractors.KINDS.items()}
    real = sorted(kind for kind, has in kinds.items() if has.on("kind") and not has.note)
    parts = [
        f"{sum(cls.support.on('kind') for cls in KINDS.values())} of {len(KINDS)} fault kinds and "
        f"{sum(cls.support.on('kind') for cls in distractors.KINDS.values())} of "
        f"{len(distractors.KINDS)} distractors exist on a cluster.\n",
        f"All of it is real: {_names(real)}.\n",
    ]
    for title, there in (("With a word to say", True), ("Simulated world only", False)):
        notes: dict[str, list[str]] = {}
        for kind, has in sorted(kinds.items()):
            if has.note and has.on("kind") is there:
                notes.setdefault(has.note, []).append(kind)
        rows = [[_names(named), _cell(note)] for note, named in notes.items()]
        parts.append(f"{_table([title, 'Modelled there' if there else 'Because'], rows)}\n")
    return "\n".join(parts)


def distractor_kinds() -> str:
    """Return the distractor kinds."""
    rows = [[f"`{k}`", _first(c.__doc__ or "")] for k, c in sorted(distractors.KINDS.items())]
    return _table(["Kind", "What happens"], rows)


def counterparts() -> str:
    """Return the fault families of AIOpsLab with the incidents that stand for them."""
    rows = [
        [f"`{c.family}`", c.application, c.does,
         f"`{c.incident}`", c.differs]
        for c in parity.counterparts()
    ]  # fmt: skip
    columns = ["Family", "Application", "What it does there", "Incident here", "What differs"]
    return _table(columns, rows)


def patterns() -> str:
    """Return which incidents are built on which pattern of real outages."""
    rows = [
        [f"`{name}`", meaning, ", ".join(f"`{i}`" for i in built) or "none"]
        for name, meaning, built in built_on(catalogue.incidents().values())
    ]
    return _table(["Pattern", "What it is", "Incidents"], rows)


def apps() -> str:
    """Return every app that comes along: its size, journeys with promises, services and stores."""
    return "\n".join(_app(services.load_app(name)) for name in services.app_names())


def _app(app: models.App) -> str:
    rate = sum(journey.rate * len(journey.steps) for journey in app.journeys.values())
    kinds = Counter(store.kind for store in app.stores.values())
    stores = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
    journeys = [
        [f"`{name}`", ", ".join(f"`{step.request}`" for step in journey.steps), f"{journey.rate:g}",
         f"{app.slos[name].success:.0%}", f"{app.slos[name].p95_ms:g}", len(app.needs(name))]
        for name, journey in app.journeys.items()
    ]  # fmt: skip
    parts = [
        [f"`{name}`", s.language, s.replicas, ", ".join(s.depends_on()), s.owner, _cell(s.summary)]
        for name, s in app.services.items()
    ]
    held = [[f"`{name}`", s.kind, s.owner, _cell(s.summary)] for name, s in app.stores.items()]
    return "\n".join(
        [
            f"## {app.name}\n",
            f"{_cell(app.summary)} {len(app.services)} services; stores: {stores}; "
            f"{len(app.nodes)} nodes; {rate:g} requests/s at load 1.\n",
            _table(["Journey", "Requests", "Starts/s", "Success", "p95 ms", "Needs"], journeys),
            "",
            _table(["Service", "Language", "Replicas", "Needs", "Owner", "What it does"], parts),
            "",
            _table(["Store", "Kind", "Owner", "What it holds"], held),
            "",
        ]
    )


def agents() -> str:
    """Return the agents that come along."""
    return _table(["Agent", "What it is"], [[f"`{s.name}`", s.summary] for s in loading.known()])


def frequencies() -> str:
    """Return how often each cause occurs in the public catalogue: what the agent prior believes."""
    specs = list(catalogue.incidents().values())
    causes = Counter(KINDS[f.kind].cause for spec in specs for f in spec.faults)
    lines = ["# Written by docs/generate.py from problems/incidents.", "causes:"]
    lines += [f"  {cause}: {count}" for cause, count in sorted(causes.items())]
    return "\n".join([*lines, f"quiet: {sum(not s.faults for s in specs)}", ""])


def measured_baselines() -> list[Baseline]:
    """Return the rows of incidents that are as they were when they were measured."""
    now = {name: of_incident(spec) for name, spec in catalogue.incidents().items()}
    rows = read_journal(ROOT / "docs" / "baselines.jsonl", Baseline)
    return [row for row in rows if now.get(row.incident) == row.digest]


def baselines() -> str:
    """Return what trivial agents scored on each suite, from the rows that were measured."""
    rows = measured_baselines()
    names = {row.incident for row in rows}
    parts = []
    for ref, suite in catalogue.suites().items():
        chosen = set(catalogue.suite_incidents(suite))
        own = [row for row in rows if row.incident in chosen]
        missing = f"Not measured as it is now: {_names(sorted(chosen - names))}."
        table = _table(*baseline_rows(scores(own))) if own else ""
        parts.append(f"### {ref}\n\n{missing}\n\n{table}\n")
    return "\n".join(parts)


def difficulty_results() -> str:
    """Return what agents scored by the declared hops, of incidents with a fault."""
    specs = catalogue.incidents()
    hops = {name: spec.difficulty.hops for name, spec in specs.items() if spec.faults}
    found = by_hops(measured_baselines(), hops)
    rows = [
        [f"`{agent}`", n, *(number(tasks[t].share) for t in TASKS), tasks["mitigation"].n]
        for (agent, n), tasks in found.items()
        if agent in HOPS_FOR
    ]
    return _table(["Agent", "Hops", *TASKS, "Incidents"], rows) if rows else "Not measured.\n"


def margins() -> str:
    """Return how far incidents are from their gates, from the rows that were measured."""
    found = read_journal(ROOT / "docs" / "soundness.jsonl", Margin)
    specs = catalogue.incidents()
    now = {name: of_incident(spec) for name, spec in specs.items()}
    rows = [row for row in margin_grading.rows(found) if row.incident in specs]
    named = {row.incident for row in rows}
    failed = [m for m in found if m.failed and m.incident in named]
    stale = [row.incident for row in rows if row.digests != [now[row.incident]]]
    draws = sum(row.seeds for row in rows)
    return "\n".join(
        [
            f"{len(rows)} incidents measured.",
            f"{len(failed)} of {draws} draws failed; one in 200 may.\n",
            _table(*margin_rows(rows)),
            "",
            *(f"- `{m.incident}`, seed {m.seed}: {margin_grading.reason(m)}" for m in failed),
            f"\nChanged since they were measured: {_names(stale)}.",
        ]
    )


def fidelity() -> str:
    """Return how far the simulated world agrees with a cluster, from what was compared."""
    found = read_journal(ROOT / "docs" / "fidelity.jsonl", Agreement)
    if not found:
        return "No incident was compared yet.\n"
    specs = catalogue.incidents()
    now = {name: of_incident(spec) for name, spec in specs.items()}
    stale = [a.incident for a in found if now.get(a.incident) != a.digest]
    lines = [*(f"- {line}" for line in summary(found)), "", _table(*agreement_rows(found)), ""]
    lines += [f"- {line}" for line in differences(found)]
    return "\n".join([*lines, f"\nChanged since they were compared: {_names(stale)}."])


def both_scores() -> str:
    """Return what agents scored on a cluster, and in the simulated world on the same draws."""
    now = {name: of_incident(spec) for name, spec in catalogue.incidents().items()}
    journal = read_journal(ROOT / "docs" / "cluster.jsonl", Baseline)
    rows = [row for row in journal if now.get(row.incident) == row.digest]
    real = [row for row in rows if row.environment != SIMULATED]
    if not real:
        return "Not measured yet.\n"
    drawn = {(row.incident, row.agent, row.seed) for row in real}
    same = [
        row
        for row in rows
        if row.environment == SIMULATED and (row.incident, row.agent, row.seed) in drawn
    ]
    table: list[list[object]] = []
    columns: list[str] = []
    for where, found in (("cluster", real), ("simulated", same)):
        columns, lines = baseline_rows(scores(found))
        table += [[line[0], where, *line[1:]] for line in lines]
    lost = sum(passed is None for row in real for passed in row.passed.values())
    names = sorted({row.incident for row in real})
    said = (
        f"{len(names)} incidents: {_names(names)}. Trials that the lab lost on the cluster: {lost}."
    )
    return f"{said}\n\n{_table([columns[0], 'where', *columns[1:]], sorted(table, key=str))}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def solved_by_trivial() -> str:
    """Return the incidents that say that a trivial agent repairs them, and why they are kept."""
    rows = [
        [f"`{spec.name}`", agent, _cell(why)]
        for spec in catalogue.incidents().values()
        for agent, why in sorted(spec.solved_by.items())
    ]
    return _table(["Incident", "Repaired by", "Kept because"], rows) if rows else "None.\n"


def command_line() -> str:
    """Return the help text of every command."""
    app = build()
    parts = []
    for name in ["", *(n for n in app if not n.startswith("-"))]:
        title = f"aiopslab {name}".strip()
        parts.append(f"## {title}\n\n{_fenced(_help(app, name), 'text')}")
    return "\n".join(parts)


def _help(app: App, command: str) -> str:
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False)
    app.help_print([command] if command else [], console=console)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()).strip()


def _fields(model: type[Model]) -> Callable[[], str]:
    """Return a block with the fields of a model and their documentation."""

    def block() -> str:
        rows = []
        for name, field in model.model_fields.items():
            given = field.get_default(call_default_factory=True, validated_data={})
            optional = "" if field.is_required() else _default(given)
            kind = _QUALIFIED.sub("", inspect.formatannotation(field.annotation))
            key = f"`{field.alias or name}`"
            rows.append([key, f"`{_cell(kind)}`", optional, _cell(field.description or "")])
        return _table(["Key", "Type", "Default", "Meaning"], rows)

    return block


def _default(value: object) -> str:
    if isinstance(value, Model):
        return "unlimited" if value == Budget() else "empty"
    if isinstance(value, str | None):
        return f"`{value}`" if value else "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _cost(cost: float | str) -> str:
    return f"{cost:g} s" if isinstance(cost, float) else f"`{cost}`"


def _first(text: str) -> str:
    """Return the first sentence of a text."""
    return _cell(re.split(r"(?<=[.])\s", text.strip().replace("``", "`"), maxsplit=1)[0])


def _cell(text: str) -> str:
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


def metrics_on_cluster() -> str:
    """Return which metrics of the catalogue are there on a cluster, and whence."""
    known = metrics.load()
    sources = {
        "cAdvisor, through the API server": kubelet.CONTAINER,
        "The kubelet's summary": kubelet.VOLUME,
        "cAdvisor and the kubelet's summary, under node_exporter's names": kubelet.MACHINE,
        "Watches": [n for n in known if n.startswith("kube_")],
        "The stores themselves": [
            n for n in known if n.startswith(("pg_", "redis_", "nats_", "jetstream_"))
        ],
        "Rounds and rules": ("up", "ALERTS"),
    }
    absent = [
        n
        for n in known
        if n.startswith(("node_", "resctrl_", "fabric_", "vm_", "platform_"))
        and n not in kubelet.MACHINE
    ]
    told = {n for names in sources.values() for n in names} | set(absent)
    sources["The app's programs, over OTLP"] = [n for n in known if n not in told]
    rows = [[source, _metric_names(names)] for source, names in sources.items()]
    rows.append(["Nobody: absent on a cluster", _metric_names(absent)])
    return _table(["From", "Metrics"], rows)


def _metric_names(names: Sequence[str]) -> str:
    """List metrics; families of many members in short."""
    if len(names) > 40:
        parts = Counter(re.split("[_:]", name)[0] for name in names)
        return ", ".join(f"`{part}` ({count})" for part, count in sorted(parts.items()))
    return ", ".join(f"`{name}`" for name in sorted(names))


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text}\n```\n"


BLOCKS: dict[str, Callable[[], str]] = {
    "agents": agents,
    "answers": answers,
    "apps": apps,
    "baselines": baselines,
    "brief": _fields(Brief),
    "command-line": command_line,
    "difficulty": _fields(Difficulty),
    "difficulty-results": difficulty_results,
    "distractors": distractor_kinds,
    "faults": faults,
    "faults-on-clusters": faults_on_clusters,
    "fidelity": fidelity,
    "both-scores": both_scores,
    "incident-keys": _fields(IncidentSpec),
    "margins": margins,
    "metrics-on-cluster": metrics_on_cluster,
    "patterns": patterns,
    "observation": _fields(Observation),
    "parity": counterparts,
    "sli-condition": _fields(SliCondition),
    "solved-by-trivial": solved_by_trivial,
    "tools-reference": tools_reference,
    "tools-table": tools_table,
}


FILES: dict[str, Callable[[], str]] = {
    "aiopslab/agents/trivial/frequencies.yaml": frequencies,
}
"""Path below the root to what the whole file holds."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
