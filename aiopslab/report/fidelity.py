"""How far the simulated world agrees with a cluster: a row for each incident, and a summary.

Not here: how it is measured (``orchestrator.agreement``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiopslab.models.agreement import Agreement, Showing

COLUMNS = (
    "incident", "seed", "seen after, s", "broken SLIs", "alerts", "fix restores both",
    "same answer",
)  # fmt: skip


def agreement_rows(found: Sequence[Agreement]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows; simulated before cluster, shares are of what both have together."""
    rows = [
        [a.incident, str(a.seed), _seconds(a), _share(a.slis), _share(a.alerts), _word(a.restored),
         _word(a.same_answer)]
        for a in found
    ]  # fmt: skip
    return list(COLUMNS), rows


def summary(found: Sequence[Agreement]) -> list[str]:
    """Return a line for each thing that was compared: how many incidents agree in it."""
    staged = [a for a in found if a.staged]
    tried = [a for a in staged if a.restored is not None]
    lines = [f"{len(staged)} of {len(found)} incidents came to the hand-over on both"]
    lines.append(_count("the same SLIs are broken", staged, lambda a: a.slis == 1.0))
    lines.append(_count("the same alerts fire", staged, lambda a: a.alerts == 1.0))
    lines.append(_count("the reference fix restores both", tried, lambda a: a.restored))
    lines.append(_count("the agent answers the same", staged, lambda a: a.same_answer))
    return lines


def differences(found: Sequence[Agreement]) -> list[str]:
    """Say, incident by incident, what differs; nothing of those that agree in everything."""
    lines = []
    for a in found:
        said = list(filter(None, map(_failed, (a.simulated, a.real), ("simulated", "cluster"))))
        if a.staged:
            broken, there = set(a.simulated.broken), set(a.real.broken)
            said += _only("SLI", sorted(broken - there), sorted(there - broken))
            said += _only("alert", a.only_simulated, a.only_real)
            said += _unmended(a)
        if a.same_answer is False:
            said.append(f"answer {_named(a.simulated)}, on the cluster {_named(a.real)}")
        if said:
            lines.append(f"`{a.incident}`, seed {a.seed}: {'; '.join(said)}")
    return lines


def _failed(showing: Showing, where: str) -> str:
    return f"{where}: {showing.error}" if showing.error else ""


def _only(what: str, here: Sequence[str], there: Sequence[str]) -> list[str]:
    said = [f"{what} {', '.join(here)} only simulated"] if here else []
    return said + ([f"{what} {', '.join(there)} only on the cluster"] if there else [])


def _unmended(a: Agreement) -> list[str]:
    sides = (("simulated", a.simulated.restored), ("on the cluster", a.real.restored))
    return [f"the fix does not restore it {where}" for where, mended in sides if mended is False]


def _named(showing: Showing) -> str:
    return " / ".join(showing.answer) if showing.answer else "none"


def _count(what: str, found: Sequence[Agreement], holds: Callable[[Agreement], bool | None]) -> str:
    return f"{what}: {sum(bool(holds(a)) for a in found)} of {len(found)}"


def _seconds(a: Agreement) -> str:
    both = (a.simulated.opened_s, a.real.opened_s)
    return " / ".join("-" if opened is None else f"{opened:.0f}" for opened in both)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _word(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"
