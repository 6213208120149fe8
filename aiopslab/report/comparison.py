"""Two runs against each other in words: the table, what flipped, what could not be compared.

Pure text from ``Comparison``. Not here: how figures come about (``grading.comparison``).
"""

from __future__ import annotations

from aiopslab.models.comparison import NOT_PLANNED, Compared, Comparison, Flip, TaskDifference
from aiopslab.models.context_profile import ContextChoice
from aiopslab.report.terminal import interval, number

_LEVEL = "after Holm's correction at 0.05"


def heading(found: Comparison) -> list[str]:
    """Return a line for each side."""
    return [_side("A", found.a), _side("B", found.b)]


def difference_rows(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of shares passed: one row a task and one for all."""
    columns = ["task", "pairs", "A", "B", "B - A (95% CI)", "gained", "lost", "p", "p (Holm)",
               "detectable"]  # fmt: skip
    return columns, [_row(task) for task in [*found.tasks, found.overall]]


def score_rows(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of the continuous scores; in each, lower is better."""
    columns = ["score", "task", "pairs", "A", "B", "B - A (95% CI)"]
    rows = [
        [
            s.score,
            s.task,
            str(s.n),
            number(s.mean_a),
            number(s.mean_b),
            interval(s.difference, signed=True),
        ]
        for s in found.scores
    ]
    return columns, rows


def flip_lines(found: Comparison) -> list[str]:
    """Return a line for each pair that flipped, or one that says that none did."""
    if not found.flips:
        return ["no pair flips"]
    return [_flip(flip) for flip in found.flips]


def pairing_lines(found: Comparison) -> list[str]:
    """Say how much was paired and why the rest was not, and what differs beside the agents."""
    lines = [f"paired {found.overall.n}: {found.coverage:.0%} of what both were asked"]
    for reason in dict.fromkeys(one.reason for one in found.unpaired):
        draws = [f"{o.problem} (seed {o.seed})" for o in found.unpaired if o.reason == reason]
        named = "" if reason in NOT_PLANNED else f": {', '.join(draws)}"
        lines.append(f"not paired, {reason}: {len(draws)}{named}")
    lines += [f"setting differs: {line}" for line in found.settings]
    lines += [f"lock differs: {line}" for line in found.locks]
    return lines


def verdict(found: Comparison) -> str:
    """Say whether B is worse, or what keeps these pairs from showing it."""
    said = [
        f"B is {word} {_LEVEL}: {', '.join(tasks)}"
        for word, tasks in (("worse", found.worse), ("better", found.better))
        if tasks
    ]
    if not found.worse and found.undecided:
        said.append(f"whether B is worse is undecided: {found.undecided}")
    elif not said:
        seen = found.overall.detectable
        limit = "; so few pairs show no difference reliably"
        if seen is not None:
            limit = f"; one below {seen:.2f} would be missed more often than in one of five cases"
        said.append(f"no significant difference {_LEVEL}{limit}")
    return "; ".join(said)


def _side(letter: str, side: Compared) -> str:
    model = f" · {side.model}" if side.model else ""
    context = "" if side.context == ContextChoice().name else f" · context {side.context}"
    where = f"{side.agent}{model} · {side.environment}{context}"
    return f"{letter}  {side.run} · {side.label} · {where}"


def _row(task: TaskDifference) -> list[str]:
    return [
        task.task, str(task.n), number(task.share_a), number(task.share_b),
        interval(task.difference, signed=True), str(task.gained), str(task.lost), f"{task.p:.2g}",
        f"{task.p_holm:.2g}", number(task.detectable),
    ]  # fmt: skip


def _flip(flip: Flip) -> str:
    word = "gained" if flip.gained else "lost  "
    return f"{word}  {flip.problem}  seed {flip.seed}  {flip.a} -> {flip.b}"
