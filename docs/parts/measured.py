"""Tables of what was measured, from the journals beside the documents.

Rows of incidents that were changed since do not count. Not here: measuring (``aiopslab baselines``,
``check --margins`` and ``agree`` write the journals), the statistics (``aiopslab.grading``).
"""

from __future__ import annotations

from pathlib import Path

from aiopslab.grading import margins as margin_grading
from aiopslab.grading.baselines import by_hops, scores, unmeasured
from aiopslab.models.agreement import Agreement
from aiopslab.models.baseline import Baseline
from aiopslab.models.margin import Margin
from aiopslab.models.run import SIMULATED
from aiopslab.models.task import TASKS
from aiopslab.orchestrator.baselines import AGENTS
from aiopslab.orchestrator.documents import read_journal
from aiopslab.orchestrator.lock import of_incident
from aiopslab.problems import catalogue
from aiopslab.report.fidelity import agreement_rows, differences, summary
from aiopslab.report.terminal import baseline_rows, margin_rows, method_rows, number
from parts.markdown import as_code, table

JOURNALS = Path(__file__).parents[1]
"""Folder of what was measured."""
HOPS_FOR = ("statistical", "n-sigma", "alert-name")
"""Agents that look before they answer; the others score the same on hard and easy."""
METHODS = ("noop", "n-sigma", "baro", "spectrum", "firm", "statistical", "oracle")
"""Agents of the table with intervals: floor, metrics, traces, everything, ceiling."""
METHODS_ON = "core"
"""Suite that they are compared on."""


def baselines() -> str:
    """Return what trivial agents scored on each suite, from the rows that were measured."""
    rows = [row for row in measured_baselines() if row.agent in AGENTS]
    names = {row.incident for row in rows}
    parts = []
    for ref, suite in catalogue.suites().items():
        chosen = set(catalogue.suite_incidents(suite))
        own = [row for row in rows if row.incident in chosen]
        missing = f"Not measured as it is now: {as_code(sorted(chosen - names))}."
        scored = table(*baseline_rows(scores(own))) if own else ""
        parts.append(f"### {ref}\n\n{missing}\n\n{scored}\n")
    return "\n".join(parts)


def method_baselines() -> str:
    """Return what metric and trace baselines scored on one suite, with intervals, and what lacks.

    Of the first draw of each incident, because intervals take trials as independent; and of
    incidents on which all were measured, because agents are compared.
    """
    found = catalogue.suites().items()
    ref, chosen = next(
        (ref, set(catalogue.suite_incidents(s))) for ref, s in found if s.name == METHODS_ON
    )
    rows = [r for r in measured_baselines() if r.seed == 0 and r.incident in chosen]
    missing = unmeasured(rows, METHODS, chosen)
    lack = sorted({incident for names in missing.values() for incident in names})
    common = [r for r in rows if r.agent in METHODS and r.incident not in lack]
    said = (
        f"{ref}, seed 0: the {len(chosen) - len(lack)} of {len(chosen)} incidents on which every "
        f"agent was measured. Not measured as it is now: {as_code(lack)}."
    )
    scored = scores(common)
    rows_of = method_rows({a: scored[a] for a in METHODS if a in scored})
    return f"{said}\n\n{table(*rows_of)}"


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
    return table(["Agent", "Hops", *TASKS, "Incidents"], rows) if rows else "Not measured.\n"


def margins() -> str:
    """Return how far incidents are from their gates, from the rows that were measured."""
    found = read_journal(JOURNALS / "soundness.jsonl", Margin)
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
            table(*margin_rows(rows)),
            "",
            *(f"- `{m.incident}`, seed {m.seed}: {margin_grading.reason(m)}" for m in failed),
            f"\nChanged since they were measured: {as_code(stale)}.",
        ]
    )


def fidelity() -> str:
    """Return how far the simulated world agrees with a cluster, from what was compared."""
    found = read_journal(JOURNALS / "fidelity.jsonl", Agreement)
    if not found:
        return "No incident was compared yet.\n"
    specs = catalogue.incidents()
    now = {name: of_incident(spec) for name, spec in specs.items()}
    stale = [a.incident for a in found if now.get(a.incident) != a.digest]
    lines = [*(f"- {line}" for line in summary(found)), "", table(*agreement_rows(found)), ""]
    lines += [f"- {line}" for line in differences(found)]
    return "\n".join([*lines, f"\nChanged since they were compared: {as_code(stale)}."])


def both_scores() -> str:
    """Return what agents scored on a cluster, and in the simulated world on the same draws."""
    now = {name: of_incident(spec) for name, spec in catalogue.incidents().items()}
    journal = read_journal(JOURNALS / "cluster.jsonl", Baseline)
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
    listed: list[list[object]] = []
    columns: list[str] = []
    for where, found in (("cluster", real), ("simulated", same)):
        columns, lines = baseline_rows(scores(found))
        listed += [[line[0], where, *line[1:]] for line in lines]
    lost = sum(passed is None for row in real for passed in row.passed.values())
    names = sorted({row.incident for row in real})
    said = (
        f"{len(names)} incidents: {as_code(names)}. Trials that the lab lost on the cluster: "
        f"{lost}."
    )
    return f"{said}\n\n{table([columns[0], 'where', *columns[1:]], sorted(listed, key=str))}"


def measured_baselines() -> list[Baseline]:
    """Return the rows of incidents that are as they were when they were measured."""
    now = {name: of_incident(spec) for name, spec in catalogue.incidents().items()}
    rows = read_journal(JOURNALS / "baselines.jsonl", Baseline)
    return [row for row in rows if now.get(row.incident) == row.digest]
