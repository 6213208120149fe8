"""``aiopslab compare``: two runs, or two agents of one run, draw by draw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from aiopslab.cli import EXIT_INVALID, output

if TYPE_CHECKING:
    from aiopslab.models.comparison import Comparison


def command(
    a: Path,
    b: Path,
    /,
    *,
    agent_a: str | None = None,
    agent_b: str | None = None,
    fail_if_worse: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Compare two runs on the draws of problems that both completed; differences are B minus A.

    Args:
        a: Directory of the run that is compared with.
        b: Directory of the run that is judged.
        agent_a: Whose trials of A, where several agents played.
        agent_b: Whose trials of B, likewise; A and B may then be the same run.
        fail_if_worse: Exit 6 if B is worse: in one task, or in all together, fewer pairs are gained
            than lost, with p at most 0.05 by the exact McNemar test (two-sided) after Holm's
            correction over these rows. Also if the pairs cannot show it: too few of them, or less
            than 95 % of the draws that both planned.
        json: Print one JSON document.
    """
    from aiopslab.orchestrator.comparison import compare

    found = compare(a, b, agent_a=agent_a, agent_b=agent_b)
    _tell(found, as_json=json)
    return EXIT_INVALID if fail_if_worse and (found.worse or found.undecided) else 0


def _tell(found: Comparison, *, as_json: bool) -> None:
    from aiopslab.report import comparison

    if as_json:
        output.envelope("aiopslab/comparison@1", found.model_dump(mode="json", by_alias=True))
        return
    for line in comparison.heading(found):
        print(line)
    print()
    output.table(*comparison.difference_rows(found))
    if found.scores:
        print()
        output.table(*comparison.score_rows(found))
    print()
    for line in [*comparison.flip_lines(found), "", *comparison.pairing_lines(found)]:
        print(line)
    print(comparison.verdict(found))
