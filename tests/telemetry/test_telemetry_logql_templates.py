"""Templates, their functions, and extractors: what they write, and that nothing breaks them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiopslab.telemetry.logql import extract
from aiopslab.telemetry.logql.extract import ExtractError
from aiopslab.telemetry.logql.functions import FUNCTIONS, TemplateError, show
from aiopslab.telemetry.logql.template import MAX_OUTPUT, compile_template
from aiopslab.telemetry.promql.values import QueryError

LABELS = {
    "status": "503", "ms": "12.5", "path": "/a/b", "empty": "", "name": "Rate Limit",
    "took": "1m30s", "__line__": "the line", "__timestamp__": "2026-03-10T09:00:00Z",
}  # fmt: skip


def render(template: str) -> str:
    return compile_template(template)(LABELS)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{{.status}} {{ .path }}", "503 /a/b"),
        ("{{.nosuch}}|", "|"),
        ("{{ __line__ }} at {{ __timestamp__ }}", "the line at 2026-03-10T09:00:00Z"),
        ("a {{- .status -}} b", "a503b"),
        ("x{{/* a comment */}}y", "xy"),
        ("{{ `raw` }}{{ \"quoted\\t\\\"\" }}", 'rawquoted\t"'),
        ("{{ .path | upper }}", "/A/B"),
        ('{{ .path | replace "/" "-" }}', "-a-b"),
        ('{{ Replace .path "/" "-" 1 }}', "-a/b"),
        ("{{ .path | trunc 2 }}{{ .path | trunc -1 }}", "/ab"),
        ("{{ substr 1 2 .path }}", "a"),
        ('{{ .path | trimPrefix "/" | trimSuffix "b" }}', "a/"),
        ('{{ regexReplaceAll "([a-z])" .path "<$1>" }}', "/<a>/<b>"),
        ('{{ regexReplaceAllLiteral "[a-z]" .path "$1" }}', "/$1/$1"),
        ('{{ .path | count "[a-z]" }}', "2"),
        ('{{ default "-" .empty }}{{ default "-" .status }}', "-503"),
        ('{{ printf "%-6s|%05.1f|%4d|%q" .status .ms .status .path }}',
         '503   |012.5| 503|"/a/b"'),
        ("{{ alignLeft 5 .status }}|{{ alignRight 2 .status }}", "503  |03"),
        ("{{ add .status 1 2 }} {{ sub 5 7 }} {{ mul 2 3 }} {{ div -7 2 }} {{ mod -7 4 }}",
         "506 -2 6 -3 -3"),
        ("{{ addf .ms 1 }} {{ divf 1 4 }} {{ round 2.567 1 }} {{ ceil 1.2 }} {{ floor 1.8 }}",
         "13.5 0.25 2.6 2 1"),
        ("{{ max 1 .status 7 }} {{ min 4 2 }} {{ int .ms }} {{ float64 .ms }}", "503 2 12 12.5"),
        ("{{ duration .took }} {{ bytes \"2KB\" }}", "90 2000"),
        ("{{ b64enc .status }} {{ .status | b64enc | b64dec }}", "NTAz 503"),
        ("{{ urlencode .path }} {{ urldecode \"a%20b\" }}", "%2Fa%2Fb a b"),
        ("{{ title \"ab cd\" }} {{ .name | lower }} {{ len .path }}", "Ab Cd rate limit 4"),
        ('{{ if eq .status "503" }}bad{{ else }}good{{ end }}', "bad"),
        ("{{ if ge .status 500 }}5xx{{ else if ge .status 400 }}4xx{{ else }}ok{{ end }}", "5xx"),
        ("{{ if lt .status 500 }}x{{ end }}y", "y"),
        ("{{ if and .status (not .empty) }}both{{ end }}", "both"),
        ('{{ if or (contains "zz" .path) (hasPrefix "/a" .path) }}yes{{ end }}', "yes"),
        ("{{ repeat 3 \"ab\" }}{{ indent 2 \"x\" }}", "ababab  x"),
    ],
)  # fmt: skip
def test_templates_render_as_in_loki(template: str, expected: str) -> None:
    assert render(template) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.status", "unclosed action"),
        ("{{ range .x }}{{ end }}", "'range' is not supported"),
        ("{{ $x := .y }}", "is not supported"),
        ("{{ if .x }}", "without {{end}}"),
        ("{{ end }}", "unexpected {{end}}"),
        ("{{ now }}", "function 'now' not defined"),
        ('{{ env "HOME" }}', "function 'env' not defined"),
        ("{{ .x.y }}", "a value takes no argument|missing value|unexpected"),
        ("{{ lower }}", "wrong number of args for lower"),
        ("{{ (.x }}", "unclosed left paren"),
        ("{{ .x ; }}", "unexpected ';'"),
        ("{{}}", "missing value for command"),
        ("{{ .__class__.__mro__ }}", "parse error"),
        ("{{" + "(" * 100 + ".x" + ")" * 100 + "}}", "nested parentheses"),
        ("{{if .x}}" * 100 + "{{end}}" * 100, "nested conditions"),
    ],
)
def test_what_templates_do_not_know_is_refused(template: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        compile_template(template)


@pytest.mark.parametrize(
    "template",
    [
        '{{ repeat 1000000000 "x" }}',
        '{{ printf "%999d%999d" 1 2 | replace " " (repeat 60000 "y") }}',
        "{{ div 1 0 }}",
        "{{ divf 1 0 }}",
        '{{ duration "soon" }}',
        '{{ b64dec "?" }}',
        '{{ regexReplaceAll "(a+)+b" .path "" }}',
        '{{ alignLeft 1000000000 "x" }}',
        '{{ repeat 60000 "x" }}{{ repeat 60000 "x" }}',
        '{{ printf "%z" 1 }}',
        '{{ mul "1e300" "1e300" }}',
    ],
)
def test_functions_refuse_what_they_cannot_do_or_would_be_too_long(template: str) -> None:
    with pytest.raises(TemplateError):
        render(template)


values = st.one_of(
    st.text(max_size=8), st.integers(-(10**18), 10**18), st.floats(), st.booleans(),
    st.sampled_from(["1e999", "inf", "-5", "(", "a+", "$1"]),
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@settings(max_examples=25)
@given(data=st.data())
def test_functions_are_total_and_bounded(name: str, data: st.DataObject) -> None:
    function = FUNCTIONS[name]
    count = data.draw(st.integers(function.least, min(function.most, 4)))
    arguments: list[Any] = [data.draw(values) for _ in range(count)]
    with contextlib.suppress(TemplateError):
        assert len(show(function.body(*arguments))) <= 20 * MAX_OUTPUT


pieces = st.sampled_from(
    ["{{", "}}", " ", ".x", "|", "lower", "if", "else", "end", "(", ")", '"a"', "`", "-", "5", "x"]
)


@given(st.lists(pieces, max_size=20).map("".join))
def test_no_template_breaks_the_compiler(text: str) -> None:
    with contextlib.suppress(QueryError, TemplateError):
        compile_template(text)(LABELS)


def test_integers_have_64_bits() -> None:
    assert render('{{ mul "1e18" 10 10 }} {{ add "9e18" "9e18" }}') == (
        "7766279631452241920 -446744073709551616"
    )


def test_searches_of_all_lines_together_are_bounded() -> None:
    slow = compile_template('{{ repeat 3000 "a" | count "a*a*a*x" }}')
    with pytest.raises(QueryError, match="may take too long"):
        slow(LABELS)
    bearable = compile_template('{{ repeat 300 "a" | count "(.*)(.*)(.*)" }}')
    with pytest.raises(QueryError, match="may take too long"):
        list(map(bearable, [LABELS] * 1000))
    assert compile_template('{{ repeat 300 "a" | count "(.*)(.*)(.*)" }}')(LABELS) == "2"


def test_unclosed_actions_cost_no_more_than_their_length() -> None:
    with pytest.raises(QueryError, match="unclosed action"):
        compile_template("{{" * 1500 + " " * 2000)


# -- extractors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "line", "expected"),
    [
        ("<ip> - <_> \"<method> <path>\"", '10.0.0.1 - me "GET /a b"',
         [("ip", "10.0.0.1"), ("method", "GET"), ("path", "/a b")]),
        ("level=<level> <rest>", "level=info the rest", [("level", "info"), ("rest", "the rest")]),
        ("level=<level>", "other", []),
        ("<a>, <b>; <c>", "1, 2", [("a", "1"), ("b", "2")]),
    ],
)  # fmt: skip
def test_patterns_capture_between_literals(
    pattern: str, line: str, expected: list[tuple[str, str]]
) -> None:
    assert extract.pattern(pattern)(line) == expected


@pytest.mark.parametrize("pattern", ["no hole", "<_>", "<a><b>", ""])
def test_patterns_without_a_named_hole_or_with_two_in_a_row_are_refused(pattern: str) -> None:
    with pytest.raises(QueryError):
        extract.pattern(pattern)


@pytest.mark.parametrize("path", ["a..b", "a[", "[x]", "", 'a["b]'])
def test_malformed_paths_are_refused(path: str) -> None:
    with pytest.raises(QueryError):
        extract.json_some([("x", path)])


def test_numbers_keep_the_digits_they_were_written_with() -> None:
    line = '{"a":1.50,"b":12345678901234567890,"c":1e3,"d":true,"e":null}'
    assert dict(extract.json_all(line)) == {
        "a": "1.50", "b": "12345678901234567890", "c": "1e3", "d": "true",
    }  # fmt: skip


def test_equal_keys_of_logfmt_give_the_first_value() -> None:
    assert extract.logfmt_all()("a=1 a=2 b= c") == [("a", "1")]
    assert extract.logfmt_all(keep_empty=True)("b= c") == [("b", ""), ("c", "")]


@given(st.text(max_size=80))
def test_no_line_breaks_an_extractor(line: str) -> None:
    for extractor in (
        extract.json_all, extract.json_some([("a", "b[0].c")]), extract.logfmt_all(),
        extract.logfmt_all(strict=True), extract.logfmt_some([("a", "b")]),
        extract.pattern("<a> <b>"), extract.regexp("(?P<a>x+)"),
    ):  # fmt: skip
        with contextlib.suppress(ExtractError):
            extractor(line)


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.text('ab c"\\\n', max_size=6))
)
def test_logfmt_reads_back_what_was_quoted(pairs: dict[str, str]) -> None:
    def quoted(text: str) -> str:
        plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{plain}"'

    line = " ".join(f"{k}={quoted(v)}" for k, v in pairs.items())
    assert dict(extract.logfmt_all(keep_empty=True)(line)) == pairs
