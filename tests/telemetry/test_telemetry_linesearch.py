"""Searching lines: the same as the matcher's answer, whatever the short cut; and bounded."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.telemetry.linesearch import LineSearch
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.regex import compile_bounded, repeats

PATTERNS = [
    "timeout", ".*timeout.*", "(?i).*(timeout|refused).*", "time.*out", "(timeout|refused)",
    "(?:a|b c)", "a|.*b.*", ".*a|b.*", "^a.*b$", "a\\.*", "[(]a|b", "ab*c", "ab?c", "ab{0,2}c",
    "(?i)aB+c", "\\d+ms", "[[:alpha:]]+ b", ".*", "", ".*?a", "a.+", "(?P<x>a+) (?P<y>b*)",
    "(?i)k|s", "status=5\\d\\d", "a\\|b",
]  # fmt: skip
lines = st.text("aAbBcC kK\u212as\u017f .|(\\5=ms\n\u0130", max_size=14) | st.sampled_from(
    ["connection timeout", "TIMEOUT after 5ms", "refused", "b c", "time is out", "status=503"]
)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(line=lines)
def test_short_cuts_change_no_answer(pattern: str, line: str) -> None:
    wanted = compile_bounded(pattern).search(line)
    assert LineSearch(pattern).found(line) == (wanted is not None)
    match = LineSearch(pattern, exact=True).match(line)
    assert (match and match.span()) == (wanted and wanted.span())
    assert (match and match.groupdict()) == (wanted and wanted.groupdict())


@given(st.text("ab.*+?|()[]{}^$\\1 ", max_size=10), st.text("ab.| 1", max_size=10))
def test_any_pattern_that_compiles_is_found_as_the_matcher_finds_it(
    pattern: str, line: str
) -> None:
    try:
        wanted = compile_bounded(pattern).search(line) is not None
    except re.error:
        return
    assert LineSearch(pattern).found(line) == wanted


@pytest.mark.parametrize(
    ("pattern", "unbounded", "choices"),
    [
        ("abc", 0, 1.0), ("a.*b", 1, 1.0), ("a.*b.*c", 2, 1.0), ("a.*", 0, 1.0),
        ("\\w+ \\w+ x", 0, 1.0), ("\\w+ ?x", 1, 2.0),
        ("(?P<a>\\w+) \\((?P<b>\\d+)\\) (.*)", 0, 1.0),
        ("[a-z]*[a-z]*z", 2, 1.0), ("\\d{1,3}\\.\\d{1,3}", 0, 9.0), ("[[:alpha:]]+ x", 0, 1.0),
        ("[[:alpha:]]+ax", 1, 1.0), ("(a.*)(b)", 1, 1.0), ("a+$b", 1, 1.0), ("\\S+\\w", 1, 1.0),
    ],
)  # fmt: skip
def test_repeats_count_where_they_can_end_in_many_places(
    pattern: str, unbounded: int, choices: float
) -> None:
    assert repeats(pattern) == (unbounded, choices)


@pytest.mark.parametrize("pattern", [".*.*.*zz", "(?i).*a.*b.*error.*", "x.*zz"])
def test_ordinary_patterns_may_look_at_many_long_lines(pattern: str) -> None:
    search = LineSearch(pattern)
    for n in range(2000):
        search.found(f"{n} the line that is neither this nor that " * 5)


@pytest.mark.parametrize("pattern", ["[a-z]*[a-z]*[a-z]*[a-z]*zz", "a.*a.*a.*a.*a.*zz"])
def test_work_without_end_is_refused(pattern: str) -> None:
    with pytest.raises(QueryError, match="may take too long"):
        LineSearch(pattern).found("a" * 400)
