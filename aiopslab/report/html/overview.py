"""The first page of a report: scores with intervals, calibration, reliability, cost, groups.

Aggregates come from the results; groups (families, difficulty, agents) are aggregated here by the
same rules. Not here: the table of trials, which a script fills (``page``), and their pages.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from aiopslab.grading import Counted, share_passed
from aiopslab.grading.abstention import threshold
from aiopslab.models.calibration import BinnedError, Calibration
from aiopslab.models.comparison import Comparison
from aiopslab.models.run import SEVERAL, Estimate, Results
from aiopslab.report import comparison, task_figures
from aiopslab.report.entries import Entry, Reading
from aiopslab.report.html import charts
from aiopslab.report.html.drawing import interval_bar
from aiopslab.report.html.elements import Element, Node, element, table
from aiopslab.report.terminal import floor, interval, no_headline
from aiopslab.report.text import MISSING, amount, figure

_UNKNOWN = "not known here"
_ALL_OF = "pass^k: the chance that all of k tries of a problem pass, averaged over problems."
_ANY_OF = "pass@k: the chance that at least one of them does."
_FLOORS = (
    "Chance is what guessing passes; of mitigation, doing nothing. Constant is what the best single"
    " answer for all trials would pass, chosen in hindsight."
)


def sections(reading: Reading) -> list[Element]:
    """Return the parts of the overview above the table of trials, in order."""
    results = reading.results
    found = [
        _summary(results), *_figures(reading), _against(reading.against), _calibration(results),
        _pass_hat(results), _cost(reading),
    ]  # fmt: skip
    return [*(s for s in found if s is not None), *_groups(reading)]


def section(id: str, title: str, *children: Node | None, class_: str | None = None) -> Element:
    """Return a part of the page with a heading."""
    return element("section", element("h2", title), *children, id=id, class_=class_)


def _summary(results: Results) -> Element:
    overall, head = results.overall, results.headline
    figures = [
        ("passed, completed trials", figure(overall.completed.value), _bounds(overall.completed)),
        ("passed, all planned", figure(overall.strict.value), _bounds(overall.strict)),
        (
            "completed",
            f"{overall.n_completed}/{overall.n_planned}",
            f"{overall.n_infra} lab failed",
        ),
        ("Brier score", figure(overall.brier.value), "0 is best; 0.5, always: 0.25"),
        ("cost", *_spent(results)),
    ]
    cards = (
        element("div", element("dt", name), element("dd", value, element("small", note)))
        for name, value, note in figures
    )
    why = f"{no_headline(results).capitalize()}."
    note = element("p", why, class_="note") if head.completed is None else None
    return section(
        "summary",
        "Summary",
        element("dl", *cards, class_="cards"),
        note,
        _scores(results),
        element("p", f"Bars are 95 % intervals. Scores: {head.convention}.", class_="note"),
        element("p", _FLOORS, class_="note"),
    )


def _bounds(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "no interval"
    return f"{estimate.low:.2f} to {estimate.high:.2f} (95 %)"


def _spent(results: Results) -> tuple[str, str]:
    if results.tokens_in is not None or results.tokens_out is not None:
        tokens = f"{(results.tokens_in or 0):,} in, {(results.tokens_out or 0):,} out"
    else:
        tokens = "no tokens reported"
    return (MISSING if results.cost_usd is None else f"${results.cost_usd:,.2f}"), tokens


def _scores(results: Results) -> Element:
    k = str(results.attempts)
    several = results.attempts > 1
    columns = ["task", "problems", "passed (95 % interval)", "", "chance", "constant"]
    columns += [f"pass@{k}", f"pass^{k}"] if several else []
    columns += ["Brier", "overconfidence", "lab failed"]
    rows = []
    for task in [*results.tasks, results.overall]:
        row: list[Node] = [task.task, str(task.n_problems), *_estimate(task.completed)]
        chance = task.floors.get("passed")
        row += [MISSING if chance is None else floor(chance), figure(task.constant)]
        if several:
            row += [figure(task.pass_at_k.get(k)), figure(task.pass_hat_k.get(k))]
        over = MISSING if task.overconfidence is None else f"{task.overconfidence:+.2f}"
        row += [figure(task.brier.value), over, f"{task.n_infra}/{task.n_planned}"]
        rows.append(row)
    numeric = [1, *range(4, len(columns))]
    return table("Scores by task", columns, rows, numeric=numeric)


def _figures(reading: Reading) -> list[Element]:
    """Return the figures of each task beside chance, and what trials took."""
    wall = task_figures.wall([e.trial for e in reading.entries if e.trial is not None])
    shown = (
        ("figures", 2, task_figures.figures(reading.results)),
        ("process", 1, task_figures.process(reading.results, wall)),
    )
    return [
        section(
            id, t.title, table(t.title, t.columns, t.rows, numeric=range(first, len(t.columns)))
        )
        for id, first, t in shown
        if t.rows
    ]


def _estimate(estimate: Estimate) -> list[Node]:
    said = interval(estimate).replace("-", MISSING)
    return [
        element("span", said, class_="figure"),
        interval_bar(estimate.value, estimate.low, estimate.high),
    ]


def _against(found: Comparison | None) -> Element | None:
    """Show the paired differences to another run, which is A."""
    if found is None:
        return None
    sides = [element("p", line) for line in comparison.heading(found)]
    columns, rows = comparison.difference_rows(found)
    tables = [table("Shares passed, paired", columns, rows, numeric=range(1, len(columns)))]
    if found.scores:
        columns, rows = comparison.score_rows(found)
        numeric = range(2, len(columns))
        tables.append(table("Scores and tokens, paired; lower is better", columns, rows,
                            numeric=numeric))  # fmt: skip
    said = [*comparison.pairing_lines(found), comparison.verdict(found)]
    notes = [element("p", line, class_="note") for line in said]
    return section("against", "Paired differences", *sides, *tables, *notes)


def _calibration(results: Results) -> Element | None:
    found = results.overall.calibration
    if found is None or not found.bins:
        return None
    diagram = element("figure", charts.reliability(found.bins))
    over = f"{found.overconfidence:+.3f}"
    if found.overconfidence_low is not None and found.overconfidence_high is not None:
        over += f" [{found.overconfidence_low:+.3f}, {found.overconfidence_high:+.3f}]"
    rows: list[list[Node]] = [
        ["calibration error, equal mass", *_error(found.ece_mass)],
        ["calibration error, equal width", *_error(found.ece_width)],
        ["the same, debiased", figure(found.debiased, 3), "root mean square, less chance's part"],
        ["overconfidence (95 % interval)", over, ""],
        ["Brier score", f"{found.brier:.3f}", _parts(found)],
        ["discrimination (AUROC)", figure(found.auroc, 3), "0.5 tells right from wrong by chance"],
    ]
    words = element(
        "p",
        f"{found.n} answers stated a confidence. The band is where 95 % of perfectly calibrated "
        "agents lie with these confidences; larger points are more answers.",
        class_="note",
    )
    figures = table("Calibration", ["figure", "value", ""], rows, numeric=[1])
    beside = element("div", figures, words)
    pair = element("div", diagram, beside, class_="pair")
    return section("calibration", "Confidence", pair, _abstention(found))


def _abstention(found: Calibration) -> Element | None:
    """Return what handing over the less confident answers would have changed."""
    if not found.risk_coverage:
        return None
    diagram = element("figure", charts.risk_coverage(found.risk_coverage))
    rows: list[list[Node]] = [
        ["share wrong over all coverages (AURC)", f"{found.aurc:.3f}",
         f"{found.aurc_excess:.3f} above the best order of these answers"],
    ]  # fmt: skip
    rows += [
        [f"utility, a mistake costs {cost} hand-over{'' if cost == '1' else 's'}", f"{gain:+.3f}",
         _acting(float(cost))]
        for cost, gain in found.utility.items()
    ]  # fmt: skip
    words = element(
        "p",
        "Utility is what acting on answers stated with enough confidence, and handing over the "
        "others, saves in the mean against handing everything over, in hand-overs. The most is "
        "the share right; below 0 the stated confidence does harm.",
        class_="note",
    )
    figures = table("Abstention", ["figure", "value", ""], rows, numeric=[1])
    beside = element("div", figures, words)
    head = element("h3", "Handing over what is uncertain")
    return element("div", head, element("div", diagram, beside, class_="pair"))


def _acting(cost: float) -> str:
    """Say from which confidence on acting costs no more than handing over."""
    return f"acts from confidence {threshold(cost):.2f} on"


def _error(found: BinnedError) -> tuple[str, str]:
    floor = found.floor
    said = (
        f"by chance {floor.mean:.3f} on average, {floor.p95:.3f} at most (95 %); "
        f"p = {floor.p_value:.3f}"
    )
    return f"{found.value:.3f}", said


def _parts(found: Calibration) -> str:
    return (
        f"reliability {found.reliability:.3f}, resolution {found.resolution:.3f}, "
        f"uncertainty {found.uncertainty:.3f}"
    )


def _pass_hat(results: Results) -> Element | None:
    series: dict[str, dict[str, float | None]] = {
        t.task: t.pass_hat_k for t in [results.overall, *results.tasks]
    }
    most = max((len(values) for values in series.values()), default=0)
    if most < 2:
        return None
    ks = [str(k) for k in range(1, most + 1)]
    shown = ks if most <= 8 else [k for k in ks if int(k) in {1, 2, 4, 8, most}]
    rows = [[name, *(figure(v.get(k)) for k in shown)] for name, v in series.items()]
    any_of = [
        [t.task, *(figure(t.pass_at_k.get(k)) for k in shown)]
        for t in [results.overall, *results.tasks]
    ]
    columns = ["task", *(f"k = {k}" for k in shown)]
    numeric = range(1, len(columns))
    picture = element("figure", charts.pass_hat(series), charts.legend(list(series)))
    beside = element(
        "div",
        table("pass^k", columns, rows, numeric=numeric),
        element("p", _ALL_OF, class_="note"),
        table("pass@k", columns, any_of, numeric=numeric),
        element("p", _ANY_OF, class_="note"),
    )
    return section("pass-k", "pass^k and pass@k", element("div", picture, beside, class_="pair"))


Measure = Callable[[Entry], float | None]
_MEASURES: tuple[tuple[str, Measure], ...] = (
    ("US dollars", lambda e: e.trial.usage.cost_usd if e.trial else None),
    ("tokens", lambda e: _tokens(e)),
    ("tool calls", lambda e: float(e.trial.usage.steps) if e.trial else None),
)


def _tokens(entry: Entry) -> float | None:
    used = entry.trial.usage if entry.trial else None
    if used is None or (used.tokens_in is None and used.tokens_out is None):
        return None
    return float((used.tokens_in or 0) + (used.tokens_out or 0))


def _cost(reading: Reading) -> Element | None:
    done = [e for e in reading.entries if e.counted.completed]
    for unit, measure in _MEASURES:
        known = [(e, value) for e in done if (value := measure(e)) is not None]
        if known:
            return _cost_in(unit, known, several=reading.results.agent == SEVERAL)
    return None


def _cost_in(unit: str, known: Sequence[tuple[Entry, float]], *, several: bool) -> Element:
    groups: dict[str, list[tuple[Entry, float]]] = {}
    for entry, value in known:
        groups.setdefault(entry.agent if several else entry.plan.task, []).append((entry, value))
    spent = [
        charts.Spent(
            name,
            sum(v for _, v in group) / len(group),
            share_passed([e.counted for e, _ in group]),
        )
        for name, group in groups.items()
    ]
    rows: list[list[Node]] = [
        [g.name, str(g.score.n), amount(g.cost), interval(g.score)] for g in spent
    ]
    columns = ["agent" if several else "task", "trials", f"{unit}, mean", "passed"]
    figures = table("Cost and score", columns, rows, numeric=[1, 2, 3])
    picture = element("figure", charts.cost(spent, unit), charts.legend([g.name for g in spent]))
    said = "" if unit == "US dollars" else f"No trial reported a price, so cost is in {unit}. "
    note = element("p", f"{said}Trials that reported none are left out.", class_="note")
    pair = element("div", picture, element("div", figures, note), class_="pair")
    return section("cost", "Cost against score", pair)


def _groups(reading: Reading) -> list[Element]:
    families = _grouped(reading.entries, lambda e: e.families or [_UNKNOWN])
    hops = _grouped(reading.entries, lambda e: [_UNKNOWN if e.hops is None else e.hops])
    told = [
        section(
            "families",
            "By fault family",
            _group_table("fault family", families),
            _source_note(reading),
        ),
        section("difficulty", "By difficulty", _group_table("hops to the cause", hops)),
    ]
    if reading.results.agent == SEVERAL:
        agents = _grouped(reading.entries, lambda e: [e.agent])
        told.insert(0, section("agents", "By agent", _group_table("agent", agents)))
    return told


def _grouped(
    entries: Sequence[Entry], keys: Callable[[Entry], Sequence[Hashable]]
) -> list[tuple[str, list[Entry]]]:
    """Return groups; an entry may be in several. Sorted, what is not known comes last."""
    groups: dict[Hashable, list[Entry]] = {}
    for entry in entries:
        for key in keys(entry):
            groups.setdefault(key, []).append(entry)
    order = sorted(groups, key=lambda k: (k == _UNKNOWN, isinstance(k, str), k))
    return [(str(k), groups[k]) for k in order]


def _group_table(name: str, groups: Sequence[tuple[str, list[Entry]]]) -> Element:
    columns = [name, "problems", "trials", "passed (95 % interval)", ""]
    rows = [_group(key, [entry.counted for entry in members]) for key, members in groups]
    return table(f"Scores by {name}", columns, rows, numeric=[1, 2])


def _group(key: str, members: Sequence[Counted]) -> list[Node]:
    problems = len({member.plan.problem for member in members})
    completed = sum(member.completed for member in members)
    return [key, str(problems), str(completed), *_estimate(share_passed(members))]


def _source_note(reading: Reading) -> Element | None:
    said = (
        "An incident with faults of two families counts in both; twins count with their incident."
    )
    unknown = len({e.plan.incident for e in reading.entries if e.spec is None})
    if unknown:
        said += (
            f" Of {unknown} incidents the file that was played is not in this installation, so"
            " neither family nor difficulty is known."
        )
    return element("p", said, class_="note")
