"""Patterns from outside: what may be matched, and what is refused before it can run away."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.telemetry.regex import MAX_UNBOUNDED, compile_bounded


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("timeout|refused", "connection refused"),
        (r"(\d+\.){3}\d+", "to 198.18.0.10 failed"),
        (r"status=5\d\d", "status=503"),
        (r"(?i)error.*geo", "ERROR calling geo"),
        (r"^[[:space:]]*[[:alpha:]]+$", "  abc"),
        (r"a{2,5}(?:b|c)?", "aaab"),
        (r"(?P<code>\w+)-(?=\d)", "abc-1"),
        (r"[](]+\(", "]](("),
    ],
)
def test_ordinary_patterns_match(pattern: str, text: str) -> None:
    assert compile_bounded(pattern).search(text)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$", "(a*)*b", "(a|a)*b", "(a?a?)*b", "((ab?)c?)+", "(?:x+y?){20}", "([a-z]+)*=",
        "(.*)\\1", "(?P<x>a)(?P=x)", "(a)?(?(1)b|c)", ".*a" * (MAX_UNBOUNDED + 1),
        "a{1,5000}", "(", "[", "a{99999999999999}", "(" * 900 + ")" * 90, "x" * 2000,
        "((a?){4}){4}b", "(((a|b?){2}c?){3})d", "(a+){,}b", "(a+){5,}?b",
        "(?x:(a+) +)", "(?x)(a+) +",
    ],
)  # fmt: skip
def test_patterns_that_are_malformed_or_could_run_away_are_refused(pattern: str) -> None:
    with pytest.raises(re.error):
        compile_bounded(pattern)


@given(st.text("ab()[]{}*+?|\\.,12^$:=!<>P#-", max_size=30))
def test_any_text_either_compiles_or_is_refused(pattern: str) -> None:
    try:
        compiled = compile_bounded(pattern)
    except re.error:
        return
    compiled.search("ab" * 12)


@given(st.text(max_size=40))
def test_a_literal_finds_itself(text: str) -> None:
    found = compile_bounded(re.escape(text)).fullmatch(text)
    assert found is not None
