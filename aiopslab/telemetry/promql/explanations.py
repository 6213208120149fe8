"""What is wrong with a query, and where, in Prometheus' words.

promql-parser decides whether a query is good, but says little about a bad one and never where. So
a bad one is read again by ``syntax``; and if that finds nothing, promql-parser's own words are put
into Prometheus' and given a place.
"""

from __future__ import annotations

import re

from aiopslab.telemetry.promql.durations import LONGEST_S, UNITS_S
from aiopslab.telemetry.promql.lexer import Token, tokens
from aiopslab.telemetry.promql.syntax import WORDS, Malformed, Node, Reader, check


def explain(query: str, message: str) -> str:
    """Return ``line:column: parse error: ...`` for a query that promql-parser refused so."""
    try:
        reader = Reader(tokens(query))
        tree = reader.whole()
        for node in tree.walk():
            check(node)
        wrong = _translated(tree, reader.matchers, message)
    except Malformed as error:
        wrong = error
    return placed(query, wrong)


def placed(query: str, wrong: Malformed) -> str:
    """Return ``line:column: parse error: ...``; columns count bytes, as Prometheus' do."""
    before = query[: wrong.start].encode()
    line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    return f"{line}:{column}: parse error: {wrong}"


def refuse_extremes(query: str) -> None:
    """Refuse what promql-parser would not survive: ``@`` before 1970, durations beyond Go's.

    Raises:
        Malformed: There is one.
    """
    found = [Token("mark", "", 0)] * 2 + tokens(query)
    for mark, sign, token in zip(found, found[1:], found[2:], strict=False):
        if (mark.text, sign.text, token.kind) == ("@", "-", "number"):
            raise Malformed(f"timestamp out of bounds for @ modifier: -{token.text}", sign.start)
        place = mark if sign.text in ("-", "+") else sign
        timed = token.kind == "number" and place.text.lower() in ("[", ":", "offset")
        if (timed or token.kind == "duration") and not _seconds(token.text) <= LONGEST_S:
            raise Malformed("duration out of range", token.start)


_PART = re.compile(r"(\d+)(ms|[smhdwy])")


def _seconds(text: str) -> float:
    """Return the seconds of a duration or number; what is too long for a float is infinite."""
    if parts := _PART.findall(text):
        return sum(float(number) * UNITS_S[unit] for number, unit in parts)
    return int(text, 16) if text[:2] in ("0x", "0X") else float(text)


_TYPE = re.compile(r"expected type (\w+) in call to function '(\w+)', got (\w+)")
_AGGREGATE_TYPE = re.compile(r"expected type (\w+) in aggregation expression, got (\w+)")
_AGGREGATE_COUNT = re.compile(
    r"((?:no|wrong number of) arguments for aggregate expression)(?: '\w+')?( provided.*)"
)
_COUNT = re.compile(r"(expected .*argument\(s\) in call to) '(\w+)', got (\d+)")
_UNKNOWN = re.compile(r"unknown function with name '(\w+)'")
_SELECTORS = (
    "an vector selector or matrix selector",
    "an instant vector selector or range vector selector",
)
_REGEX = re.compile(r"illegal regex for (.*)", re.DOTALL)


def _translated(tree: Node, matchers: dict[str, int], message: str) -> Malformed:
    """Put promql-parser's message into Prometheus' words and find its place."""
    nodes = list(tree.walk())
    if found := _UNKNOWN.match(message):
        start = next((n.start for n in nodes if n.name == found[1]), tree.start)
        return Malformed(f'unknown function with name "{found[1]}"', start)
    if found := _TYPE.match(message):
        wanted, given = WORDS.get(found[1], found[1]), WORDS.get(found[3], found[3])
        calls = (n for n in nodes if n.name == found[2])
        # Where several arguments have that type, the first ones may rightly have it.
        starts = [part.start for call in calls for part in call.parts if part.type == found[3]]
        start = starts[-1] if starts else tree.start
        return Malformed(
            f'expected type {wanted} in call to function "{found[2]}", got {given}', start
        )
    if found := _AGGREGATE_TYPE.match(message):
        wanted, given = WORDS.get(found[1], found[1]), WORDS.get(found[2], found[2])
        place, what = (-1, "expression") if found[1] == "vector" else (0, "parameter")
        arguments = (n.parts[place] for n in nodes if n.name == "aggregate")
        start = next((a.start for a in arguments if a.type == found[2]), tree.start)
        return Malformed(f"expected type {wanted} in aggregation {what}, got {given}", start)
    if found := _COUNT.match(message):
        calls = (n for n in nodes if n.name == found[2] and len(n.parts) == int(found[3]))
        start = next((call.start for call in calls), tree.start)
        return Malformed(f'{found[1]} "{found[2]}", got {found[3]}', start)
    if found := _AGGREGATE_COUNT.match(message):
        start = next((n.start for n in nodes if n.name == "aggregate"), tree.start)
        return Malformed(found[1] + found[2], start)
    if found := _REGEX.match(message):
        start = next((at for text, at in matchers.items() if found[1] in text), tree.start)
        return Malformed(f"error parsing regexp: `^(?:{found[1]})$`", start)
    return Malformed(message.replace("'", '"').replace(*_SELECTORS), tree.start)
