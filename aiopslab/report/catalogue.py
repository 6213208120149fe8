"""Catalogue pages: every public incident in words, from its file alone, as Markdown.

An overview with counts and suites, and one page an app. What a seed draws is given as the choice
or range it is drawn from; nothing is said that the incident files, the fault kinds and the cause
kinds do not hold. ``docs/generate.py`` writes the pages to ``docs/catalogue``. Not here: whether an
incident is sound (``aiopslab check``), how far it is from its gate (``docs/soundness.md``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiopslab.faults import registry
from aiopslab.models.incident import (
    Distractor,
    FaultUse,
    IncidentSpec,
    SliCondition,
    SuiteSpec,
    SymptomClause,
)
from aiopslab.problems import catalogue
from aiopslab.problems.census import Census, census, families
from aiopslab.problems.playable import obstacles, playable

NO_FAULT = "no fault"
_BOUNDS = {
    "success_below": "success below {:.4g}",
    "p95_ms_above": "p95 above {:g} ms",
    "ttft_p95_ms_above": "p95 of the first part above {:g} ms",
    "tbt_p99_ms_above": "p99 of the pause between parts above {:g} ms",
    "tbt_p999_ms_above": "p99.9 of the pause between parts above {:g} ms",
}
"""Field of an SLI condition to how it reads."""


def pages(specs: Mapping[str, IncidentSpec], suites: Mapping[str, SuiteSpec]) -> dict[str, str]:
    """Return the pages by file name.

    Args:
        specs: Incidents by name.
        suites: Suites by reference, such as ``core@1.0``.
    """
    members = {ref: set(catalogue.suite_incidents(suite)) for ref, suite in suites.items()}
    by_app: dict[str, list[IncidentSpec]] = {}
    for spec in specs.values():
        by_app.setdefault(spec.app, []).append(spec)
    found = {"README.md": _overview(specs, suites, members)}
    for app, own in sorted(by_app.items()):
        found[f"{app}.md"] = _app_page(app, own, members)
    return found


def _overview(
    specs: Mapping[str, IncidentSpec],
    suites: Mapping[str, SuiteSpec],
    members: Mapping[str, set[str]],
) -> str:
    whole = census(specs.values())
    lines = [
        "# The catalogue",
        "",
        f"{whole.incidents} incidents on {len(whole.apps)} applications, over {whole.kinds} fault "
        f"kinds in {len(whole.families)} families and {whole.causes} cause kinds. Written from the "
        "incident files by `docs/generate.py`; this is what a trial's answer key holds, so keep it "
        "from agents. How to write one: [incidents](../incidents.md). How far each is from its "
        "gate: [soundness](../soundness.md).",
        "",
    ]
    parts = {
        "Suites": _suites(specs, suites, members),
        "Families": _table(["Family", "Incidents"], [[f, n] for f, n in whole.families.items()]),
        "Hops from the loudest symptom to the cause": _table(
            ["Hops", "Incidents"], [[h, n] for h, n in whole.hops.items()]
        ),
        "Incidents": _index(specs.values(), members),
    }
    for title, text in parts.items():
        lines += [f"## {title}", "", text, ""]
    return "\n".join(lines)


def _suites(
    specs: Mapping[str, IncidentSpec],
    suites: Mapping[str, SuiteSpec],
    members: Mapping[str, set[str]],
) -> str:
    rows = [
        [f"`{ref}`", suite.title, *_counts(census(specs[n] for n in sorted(members[ref])))]
        for ref, suite in suites.items()
    ]
    return _table(
        [
            "Suite",
            "What it is",
            "Incidents",
            "Without fault",
            "Two faults",
            "Distractors",
            "On kind",
        ],
        rows,
    )


def _index(specs: Iterable[IncidentSpec], members: Mapping[str, set[str]]) -> str:
    rows = [
        [
            f"[`{s.name}`]({s.app}.md#{s.name})",
            s.title,
            ", ".join(families(s)) or NO_FAULT,
            s.difficulty.hops,
            ", ".join(ref.partition("@")[0] for ref in members if s.name in members[ref]),
            "yes" if playable(s, "kind") else "no",
        ]
        for s in specs
    ]
    return _table(["Incident", "What happens", "Family", "Hops", "Suites", "On kind"], rows)


def _counts(counted: Census) -> list[int]:
    return [
        counted.incidents,
        counted.without_fault,
        counted.several_faults,
        counted.with_distractors,
        counted.playable["kind"],
    ]


def _app_page(app: str, specs: Sequence[IncidentSpec], members: Mapping[str, set[str]]) -> str:
    lines = [
        f"# {app}",
        "",
        f"{len(specs)} incidents. What the app is: [apps](../apps.md#{app}). Fault kinds and their "
        "parameters: [faults](../faults.md).",
        "",
    ]
    for spec in specs:
        lines += [f"## {spec.name}", "", f"{_cell(spec.title)}.", ""]
        lines += [f"- {line}" for line in _facts(spec, members)]
        lines.append("")
    return "\n".join(lines)


def _facts(spec: IncidentSpec, members: Mapping[str, set[str]]) -> Iterable[str]:
    for use in spec.faults:
        yield f"**Fault** {_fault(use, spec)}"
    if spec.joint:
        yield "**Joint** each of them is harmless alone"
    if not spec.faults:
        yield "**Fault** none: everything is fine"
    if scale := spec.load.get("scale"):
        yield f"**Load** {_drawn(scale, spec)} times the usual"
    for other in spec.distractors:
        yield f"**Beside it** {_distractor(other, spec)}"
    if spec.symptom is not None:
        link = "; and " if spec.symptom.all else "; or "
        seen = link.join(_clause(c) for c in spec.symptom.clauses)
        yield f"**Handed over when** {seen}, within {spec.symptom.within:g} s"
    hard = spec.difficulty
    if spec.faults:
        hops = "1 hop" if hard.hops == 1 else f"{hard.hops} hops"
        yield f"**Difficulty** {hops}; needs {', '.join(hard.signals)}"
    if hard.trap:
        yield f"**Trap** {_cell(hard.trap)}"
    for agent, why in sorted(spec.solved_by.items()):
        yield f"**Solved by** `{agent}`; kept because {_cell(why)}"
    if modelled := spec.signals.get("modelled"):
        yield f"**Modelled signals** {', '.join(modelled)}"
    if missing := obstacles(spec, "kind"):
        yield f"**Not on a cluster** {'; '.join(missing)}"
    yield f"**Suites** {', '.join(f'`{ref}`' for ref in members if spec.name in members[ref])}"


def _fault(use: FaultUse, spec: IncidentSpec) -> str:
    kind = registry.find(use.kind)
    params = ", ".join(f"{k} {_drawn(v, spec)}" for k, v in use.params.items())
    parts = [f"`{use.kind}` at {_place(use.target, spec)}"]
    if params:
        parts.append(f"with {params}")
    if use.after:
        parts.append(f"after {use.after:g} s")
    return f"{' '.join(parts)}; cause kind `{kind.cause}`"


def _distractor(other: Distractor, spec: IncidentSpec) -> str:
    params = ", ".join(f"{k} {_drawn(v, spec)}" for k, v in other.params.items())
    beside = f" with {params}" if params else ""
    when = "after" if other.at > 0 else "before"
    return f"`{other.kind}` at {_place(other.target, spec)}{beside}, {abs(other.at):g} s {when}"


def _place(target: str | dict[str, Any], spec: IncidentSpec) -> str:
    """Say where something strikes: a name, or what a selector chooses among."""
    if isinstance(target, dict):
        return _selector(target, spec)
    return _drawn(target, spec)


def _selector(selector: Mapping[str, Any], spec: IncidentSpec) -> str:
    name = selector.get("name")
    if name is not None and set(selector) == {"name"}:
        return _names([name] if isinstance(name, str) else name)
    wanted = [f"{k} {_drawn(v, spec)}" for k, v in selector.items() if k != "not"]
    but = f" but not {_drawn(selector['not'], spec)}" if "not" in selector else ""
    return f"a component with {', '.join(wanted)}{but}" if wanted else f"any component{but}"


def _drawn(value: Any, spec: IncidentSpec) -> str:
    """Say what a value is, or what it is drawn from."""
    if isinstance(value, str) and value.startswith("$"):
        how = spec.draw.get(value[1:], {})
        if "selector" in how:
            return _selector(how["selector"], spec)
        if "range" in how:
            return _range(how["range"])
        return _names(how["choice"]) if "choice" in how else f"the {value[1:]} that was drawn"
    if isinstance(value, list):
        both = len(value) == 2 and all(isinstance(v, int | float) for v in value)
        return _range(value) if both else _names(value)
    return f"`{value}`" if isinstance(value, str) else str(value)


def _range(bounds: Sequence[float]) -> str:
    low, high = bounds
    return f"{low:g}-{high:g}"


def _names(values: Sequence[Any]) -> str:
    quoted = [f"`{v}`" for v in values]
    return quoted[0] if len(quoted) == 1 else f"one of {', '.join(quoted)}"


def _clause(clause: SymptomClause) -> str:
    if clause.alert is not None:
        return f"alert `{clause.alert}` fires"
    if clause.promql is not None:
        return f"`{_cell(clause.promql)}` has a result"
    return _sli(clause.sli) if clause.sli is not None else ""


def _sli(sli: SliCondition) -> str:
    bounds = [
        words.format(bound)
        for field, words in _BOUNDS.items()
        if (bound := getattr(sli, field)) is not None
    ]
    return f"`{sli.journey}`: {' and '.join(bounds)} over {sli.over:g} s"


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(str(c)) for c in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
