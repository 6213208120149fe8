"""Kinds of faults and distractors, and what is known of incidents beside their specs.

Not here: the pages of the catalogue (``aiopslab.report.catalogue``), what was measured
(``measured``).
"""

from __future__ import annotations

from collections import Counter

from aiopslab.faults.registry import KINDS
from aiopslab.problems import catalogue, distractors, parity
from aiopslab.problems.patterns import built_on
from parts.markdown import as_code, cell, first_sentence, table


def faults() -> str:
    """Return every fault kind with its labels, parameters and whether a cluster has it."""
    rows = [
        [
            f"`{kind}`",
            first_sentence(cls.__doc__ or ""),
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
    return table(columns, rows)


def faults_on_clusters() -> str:
    """Return what is to be known about kinds of faults and distractors on a cluster."""
    kinds = {kind: cls.support for kind, cls in KINDS.items()}
    kinds |= {kind: cls.support for kind, cls in distractors.KINDS.items()}
    real = sorted(kind for kind, has in kinds.items() if has.on("kind") and not has.note)
    parts = [
        f"{sum(cls.support.on('kind') for cls in KINDS.values())} of {len(KINDS)} fault kinds and "
        f"{sum(cls.support.on('kind') for cls in distractors.KINDS.values())} of "
        f"{len(distractors.KINDS)} distractors exist on a cluster.\n",
        f"All of it is real: {as_code(real)}.\n",
    ]
    for title, there in (("With a word to say", True), ("Simulated world only", False)):
        notes: dict[str, list[str]] = {}
        for kind, has in sorted(kinds.items()):
            if has.note and has.on("kind") is there:
                notes.setdefault(has.note, []).append(kind)
        rows = [[as_code(named), cell(note)] for note, named in notes.items()]
        parts.append(f"{table([title, 'Modelled there' if there else 'Because'], rows)}\n")
    return "\n".join(parts)


def distractor_kinds() -> str:
    """Return the distractor kinds."""
    rows = [
        [f"`{k}`", first_sentence(c.__doc__ or "")] for k, c in sorted(distractors.KINDS.items())
    ]
    return table(["Kind", "What happens"], rows)


def counterparts() -> str:
    """Return the fault families of AIOpsLab with the incidents that stand for them."""
    rows = [
        [f"`{c.family}`", c.application, c.does,
         f"`{c.incident}`", c.differs]
        for c in parity.counterparts()
    ]  # fmt: skip
    columns = ["Family", "Application", "What it does there", "Incident here", "What differs"]
    return table(columns, rows)


def patterns() -> str:
    """Return which incidents are built on which pattern of real outages."""
    rows = [
        [f"`{name}`", meaning, ", ".join(f"`{i}`" for i in built) or "none"]
        for name, meaning, built in built_on(catalogue.incidents().values())
    ]
    return table(["Pattern", "What it is", "Incidents"], rows)


def solved_by_trivial() -> str:
    """Return the incidents that say that a trivial agent repairs them, and why they are kept."""
    rows = [
        [f"`{spec.name}`", agent, cell(why)]
        for spec in catalogue.incidents().values()
        for agent, why in sorted(spec.solved_by.items())
    ]
    return table(["Incident", "Repaired by", "Kept because"], rows) if rows else "None.\n"


def frequencies() -> str:
    """Return how often each cause occurs in the public catalogue: what the agent prior believes."""
    specs = list(catalogue.incidents().values())
    causes = Counter(KINDS[f.kind].cause for spec in specs for f in spec.faults)
    lines = ["# Written by docs/generate.py from problems/incidents.", "causes:"]
    lines += [f"  {cause}: {count}" for cause, count in sorted(causes.items())]
    return "\n".join([*lines, f"quiet: {sum(not s.faults for s in specs)}", ""])
