from __future__ import annotations

import json

import pytest

from aiopslab.models.workload import Language
from aiopslab.services import languages
from aiopslab.services import protocols as p
from aiopslab.services.languages import Dialect, Problem

AT = 1_773_133_200.1234
LANGUAGES: list[Language] = ["go", "java", "node", "python"]
AUTH = p.SqlError("28P01", 'password authentication failed for user "rate"', "FATAL")
REFUSED = p.ConnectionRefused("geo", 8080, "198.18.0.20:8080")


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("go", '{"level":"info","ts":"2026-03-10T09:00:00.123Z","logger":"rate","msg":"hi","n":3'),
        (
            "java",
            "2026-03-10T09:00:00.123Z  INFO 1 --- [rate] [aa,bb] c.e.rate.RateService : hi n=3",
        ),
        ("python", "2026-03-10 09:00:00,123 INFO [rate] hi n=3 trace_id=aa span_id=bb"),
        ("node", '{"level": 30, "time": 1773133200123, "name": "rate", "n": 3, "trace_id": "aa"'),
    ],
)
def test_a_line_has_the_style_of_its_language(language: Language, expected: str) -> None:
    line = languages.of(language, "rate").line(AT, "INFO", "hi", {"n": 3}, "aa", "bb")
    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "go",
            'Get "http://geo:8080/nearby": dial tcp 198.18.0.20:8080: connect: connection refused',
        ),
        ("java", "Connection refused: geo/198.18.0.20:8080"),
        ("python", "[Errno 111] Connection refused"),
        ("node", "connect ECONNREFUSED 198.18.0.20:8080"),
    ],
)
def test_a_refused_connection_reads_as_its_client_says(language: Language, expected: str) -> None:
    dialect = languages.of(language, "rate")
    assert dialect.http_problem(REFUSED, "GET", "http://geo:8080/nearby").message == expected


@pytest.mark.parametrize(
    ("language", "kind"),
    [
        ("go", "*pgconn.ConnectError"),
        ("java", "org.postgresql.util.PSQLException"),
        ("python", "psycopg.OperationalError"),
        ("node", "error"),
    ],
)
def test_a_wrong_password_reads_as_its_driver_says(language: Language, kind: str) -> None:
    problem = languages.of(language, "rate").sql_problem(AUTH, "rate", "rates")
    assert problem.type == kind
    assert 'password authentication failed for user "rate"' in problem.message


NET_ERRORS = [
    kind("geo", 8080, "198.18.0.20:8080", "why")
    for kind in (
        p.NetError,
        p.NoSuchHost,
        p.ConnectionRefused,
        p.ConnectionReset,
        p.ConnectTimeout,
        p.RequestTimeout,
        p.TlsError,
        p.PoolTimeout,
        p.CircuitOpen,
    )
]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("error", NET_ERRORS, ids=lambda e: type(e).__name__)
def test_every_error_of_a_client_has_words(language: Language, error: p.NetError) -> None:
    dialect = languages.of(language, "rate")
    problems = [
        dialect.http_problem(error, "GET", "http://geo:8080/nearby"),
        dialect.sql_problem(error, "rate", "rates"),
        dialect.cache_problem(error),
    ]
    assert all(problem.type and problem.message for problem in problems)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_failure_carries_its_stack_and_ids(language: Language) -> None:
    dialect = languages.of(language, "rate")
    frames = [dialect.frame("handlers", "get/rates"), dialect.frame("repository", "rates_by_area")]
    text = dialect.failed(AT, "ERROR", "failed", Problem("X", "why"), frames, "aa", "bb")
    assert "why" in text
    assert "aa" in text
    assert ("handlers" in text) or ("Handlers" in text)


@pytest.mark.parametrize("language", ["go", "node"])
def test_json_lines_stay_one_line_with_a_stack(language: Language) -> None:
    dialect: Dialect = languages.of(language, "rate")
    frames = [dialect.frame("handlers", "get/rates")]
    text = dialect.failed(AT, "ERROR", "failed", Problem("X", 'a "b"'), frames, "", "")
    assert json.loads(text)["msg"] == "failed"
    assert "\n" not in text


def test_frames_are_stable_and_styled() -> None:
    assert languages.of("python", "a").frame("db", "get/all-rates").function == "get_all_rates"
    assert languages.of("java", "a").frame("db", "get/all-rates").function == "getAllRates"
    first, second = (languages.of("go", "a").frame("db", "get") for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("WRONGPASS invalid", "AuthenticationError", "invalid"),
        ("OOM command", "OutOfMemoryError", "command"),
        ("ERR odd", "ResponseError", "ERR odd"),
    ],
)
def test_cache_replies_become_classes_of_the_python_client(
    text: str, kind: str, message: str
) -> None:
    problem = languages.of("python", "a").cache_problem(p.CacheError(text))
    assert (problem.type, problem.message) == (f"redis.exceptions.{kind}", message)
