from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.agents.extracts import digest, entities, extract

LINES = st.lists(st.text(alphabet="ab 01.-error\tZ:é", max_size=30), max_size=30)
TERMS = st.frozensets(st.sampled_from(["web", "geo", "error"]), max_size=2)


@given(LINES, st.integers(0, 200), TERMS)
def test_an_extract_is_lines_of_the_text_in_order_within_the_limit(
    lines: list[str], limit: int, terms: frozenset[str]
) -> None:
    text = "\n".join(lines)
    got = extract(text, limit, terms)
    assert len(got) <= limit
    left = iter(text.split("\n"))
    assert not got or all(line in left for line in got.split("\n"))


@given(LINES, st.integers(0, 200), TERMS)
def test_extracting_again_changes_nothing(lines: list[str], limit: int, terms: set[str]) -> None:
    once = extract("\n".join(lines), limit, terms)
    assert extract(once, limit, terms) == once
    assert extract("\n".join(lines), limit, sorted(terms, reverse=True)) == once


@given(st.text(max_size=600), st.integers(200, 400))
def test_a_digest_keeps_the_first_line_and_the_limit(body: str, limit: int) -> None:
    got = digest(f"[obs-12 failed]\n{body}", limit)
    assert len(got) <= limit
    assert got.split("\n")[0] == "[obs-12 failed]"
    assert digest(got, limit) == got


def rows(count: int, **odd: str) -> str:
    """A table of services; keywords replace a row."""
    named = [f"svc{n:02}  200  {n % 3 + 20}ms  ok" for n in range(count)]
    named = [odd.get(row.split()[0], row) for row in named]
    return "\n".join(["range: now-10m .. now", "service  requests  p95  state", *named])


@pytest.mark.parametrize(
    ("text", "terms", "kept"),
    [
        (rows(40, svc31="svc31  200  21ms  connection refused"), (), "connection refused"),
        (rows(40, svc31="svc31  200  912ms  ok"), (), "912ms"),
        (rows(40), ("svc31",), "svc31"),
        (rows(40, svc31="svc31-6f9c-x2  200  21ms  ok"), ("svc31",), "svc31-6f9c-x2"),
    ],
    ids=["trouble", "a number that stands out", "a name asked for", "an object of that name"],
)
def test_the_line_that_says_most_is_kept(text: str, terms: tuple[str, ...], kept: str) -> None:
    got = extract(text, 150, terms)
    assert kept in got
    assert got.startswith("range: now-10m .. now\nservice  requests  p95  state")


def test_a_name_on_every_line_is_no_reason_to_keep_one() -> None:
    lines = [f"shop web call number {n}" for n in range(50)]
    assert "geo" in extract("\n".join([*lines, "shop geo call"]), 150, ["shop", "geo"])


def test_ids_are_no_numbers_and_rooms_do_not_run_out_of_memory() -> None:
    lines = [f"room {n % 4} trace 9{n:03x}e{n * 7919:x} 20ms" for n in range(50)]
    lines[30] = "room 1 trace 91a2b3e77 640ms"
    assert "640ms" in extract("\n".join(lines), 100)


def test_times_do_not_stand_out() -> None:
    lines = [f"2026-03-10T09:{n:02}:00Z web served 200" for n in range(50)]
    lines[40] = "2026-03-10T09:40:00Z web served 417"
    assert "served 417" in extract("\n".join(lines), 120)


def test_lines_alike_do_not_crowd_out_others() -> None:
    lines = [f"error: cannot reach geo, attempt {n}" for n in range(50)]
    assert "oom" in extract("\n".join([*lines, "oom killed web"]), 200)


def test_a_digest_says_how_much_is_left() -> None:
    got = digest(f"[obs-3]\n{rows(60)}", 300)
    assert got.split("\n")[1].endswith("of 62 lines; call again to see all)")


def test_a_text_of_one_endless_line_is_cut() -> None:
    got = digest("[obs-3]\n" + "x" * 5000, 300)
    assert got.startswith("[obs-3]\n(the beginning of it)\nxxx")


def test_words_that_may_name_something_are_found() -> None:
    got = entities("HighErrorRatio: the ratio of errors of rate-db is over 0.05 for 10m")
    assert {"higherrorratio", "rate-db"} <= got
    assert not {"the", "is", "over", "0.05"} & got
