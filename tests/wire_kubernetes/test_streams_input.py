"""Which commands wait for input, what a terminal makes of keys, which commands only look."""

from __future__ import annotations

import itertools
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiopslab.environments.commands import command_effect
from aiopslab.wire.kubernetes.streams.terminal import Lines
from aiopslab.world.images.shell_input import is_plain_shell, waits_for_input


@pytest.mark.parametrize(
    "command",
    [
        "cat", "cat -", "sort", "head -n 5", "grep x", "grep -c -e x", "wc -l", "sh", "bash -l",
        "psql -U postgres -d hotel", "valkey-cli -p 6379", "sh -c 'cat | wc -l'", "tee /dev/null",
        "sh -c 'echo a; psql'", "/usr/bin/sort",
    ],
)  # fmt: skip
def test_these_commands_wait_for_input(command: str) -> None:
    assert waits_for_input(shlex.split(command))


@pytest.mark.parametrize(
    "command",
    [
        "ls", "cat /etc/hosts", "head -n 5 /etc/hosts", "grep x /etc/hosts", "psql -c 'SELECT 1'",
        "psql --command='SELECT 1'", "psql -l", "valkey-cli -p 6379 PING", "sh -c env", "env",
        "sh -c 'env | sort'", "sh -c 'unclosed \"'", "curl -s http://geo", "nosuch",
    ],
)  # fmt: skip
def test_these_commands_do_not(command: str) -> None:
    assert not waits_for_input(shlex.split(command))


def test_a_plain_shell_is_one_without_a_script() -> None:
    assert all(is_plain_shell(c.split()) for c in ("sh", "/bin/bash", "bash -l", "ash -i"))
    assert not any(is_plain_shell(c.split()) for c in ("sh -c ls", "sh script", "env", ""))


@given(st.lists(st.text(max_size=8), max_size=5))
def test_no_words_break_the_judgement(words: list[str]) -> None:
    assert waits_for_input(words) in (True, False)
    assert command_effect(words) in ("read", "write")


@given(st.text(max_size=40), st.lists(st.integers(0, 200), max_size=6))
def test_lines_are_the_same_however_the_bytes_are_cut(text: str, cuts: list[int]) -> None:
    data = text.encode()
    places = sorted({0, len(data), *(min(c, len(data)) for c in cuts)})
    lines = Lines(tty=False)
    found: list[str] = []
    for start, end in itertools.pairwise(places):
        found += lines.feed(data[start:end]).lines
    assert [*found, lines.rest()] == text.split("\n")


@given(st.binary(max_size=60))
def test_no_keys_break_a_terminal(keys: bytes) -> None:
    typed = Lines(tty=True).feed(keys)
    assert all("\n" not in line and "\r" not in line for line in typed.lines)


@pytest.mark.parametrize(
    ("command", "stdin", "effect"),
    [
        (["env"], "", "read"), (["/bin/cat", "/etc/hosts"], "", "read"),
        (["kill", "1"], "", "write"),
        (["sh", "-c", "env | sort"], "", "read"), (["sh"], "env\nls /\n", "read"),
        (["sh"], "kill 1\n", "write"), (["sh", "-c", "psql"], "DROP TABLE a", "write"),
        (["sh", "script.sh"], "", "write"), (["psql"], "SELECT 1;", "read"),
        (["psql"], "DELETE FROM a;", "write"), (["psql", "-c", "SELECT 1"], "", "read"),
        (["valkey-cli"], "PING\nDBSIZE\n", "read"), (["valkey-cli"], "PING\nFLUSHALL\n", "write"),
        (["echo", "a", ">", "b"], "", "read"), ([], "", "read"),
    ],
)  # fmt: skip
def test_commands_in_words_are_judged_with_what_they_are_fed(
    command: list[str], stdin: str, effect: str
) -> None:
    assert command_effect(command, stdin) == effect
