"""Generated parts of the documentation: tables and help texts that code already knows.

A document marks a part with ``<!-- generated: NAME -->`` and ``<!-- end -->``; what lies between is
written by a function of ``parts``, and so are the whole files of ``FILES``. ``python
docs/generate.py`` rewrites them, ``--check`` only says which are out of date and exits 1; a test
runs that. Not here: prose.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from parts import apps, faults, measured, reference, tools

from aiopslab.models.incident import Difficulty, IncidentSpec, SliCondition
from aiopslab.models.observation import Brief, Observation
from aiopslab.problems import catalogue
from aiopslab.report.catalogue import pages

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"(?P<head><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<tail><!-- end -->)", re.DOTALL
)


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


BLOCKS: dict[str, Callable[[], str]] = {
    "agents": reference.agents,
    "answers": tools.answers,
    "apps": apps.apps,
    "baselines": measured.baselines,
    "brief": reference.fields(Brief),
    "command-line": reference.command_line,
    "difficulty": reference.fields(Difficulty),
    "difficulty-results": measured.difficulty_results,
    "distractors": faults.distractor_kinds,
    "faults": faults.faults,
    "faults-on-clusters": faults.faults_on_clusters,
    "fidelity": measured.fidelity,
    "both-scores": measured.both_scores,
    "incident-keys": reference.fields(IncidentSpec),
    "margins": measured.margins,
    "method-baselines": measured.method_baselines,
    "metrics-on-cluster": apps.metrics_on_cluster,
    "patterns": faults.patterns,
    "observation": reference.fields(Observation),
    "parity": faults.counterparts,
    "sli-condition": reference.fields(SliCondition),
    "solved-by-trivial": faults.solved_by_trivial,
    "tools-reference": tools.tools_reference,
    "tools-table": tools.tools_table,
}


FILES: dict[str, Callable[[], str]] = {
    "aiopslab/agents/trivial/frequencies.yaml": faults.frequencies,
}
"""Path below the root to what the whole file holds."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
