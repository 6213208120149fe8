"""Forked children: what they say, how they end, and that none outlives its run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from aiopslab.orchestrator.fork import Channel, Ended, can_fork, run_child


class Ears:
    """A pipe that a channel writes to; reads what came so far."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.channel = Channel(writing)
        self.lifeline, self.alive = os.pipe()

    def heard(self) -> list[dict[str, object]]:
        os.close(self.channel.fd)
        with os.fdopen(self.reading, encoding="utf-8") as file:
            return [json.loads(line) for line in file]


@pytest.fixture
def ears() -> Iterator[Ears]:
    made = Ears()
    yield made
    os.close(made.lifeline)
    os.close(made.alive)


def test_what_a_child_says_arrives_whole_and_in_order(ears: Ears) -> None:
    def body(channel: Channel) -> None:
        for n in range(50):
            channel.send({"n": n, "text": "x" * 200})

    ended = run_child(body, ears.channel, lifeline=ears.lifeline)
    assert (ended.code, ended.timed_out) == (0, False)
    assert [m["n"] for m in ears.heard()] == list(range(50))


def test_children_of_children_are_heard_through_their_parents(ears: Ears) -> None:
    def body(channel: Channel) -> None:
        run_child(lambda inner: inner.send({"deep": 1}), channel, lifeline=ears.lifeline)
        channel.send({"deep": 0})

    run_child(body, ears.channel, lifeline=ears.lifeline)
    assert ears.heard() == [{"deep": 1}, {"deep": 0}]


def test_a_child_that_raises_ends_with_a_status_and_not_in_our_stack(
    ears: Ears, capfd: pytest.CaptureFixture[str]
) -> None:
    def body(channel: Channel) -> None:
        raise RuntimeError("no such luck")

    ended = run_child(body, ears.channel, lifeline=ears.lifeline)
    assert ended.reason == "the process ended early with status 70"
    assert "no such luck" in capfd.readouterr().err
    assert ears.heard() == []


def test_a_child_killed_by_a_signal_says_which(ears: Ears) -> None:
    ended = run_child(
        lambda _: os.kill(os.getpid(), signal.SIGKILL), ears.channel, lifeline=ears.lifeline
    )
    assert ended.reason == "the process was killed by SIGKILL"


def test_a_child_out_of_time_is_killed_with_what_it_started(ears: Ears) -> None:
    witness, end = os.pipe()

    def body(channel: Channel) -> None:
        os.close(witness)
        # Holds `end` open for as long as it lives.
        program = "import signal; signal.pause()"
        subprocess.Popen([sys.executable, "-c", program], pass_fds=[end])
        threading.Event().wait()

    ended = run_child(body, ears.channel, lifeline=ears.lifeline, deadline_s=0.3)
    assert (ended.timed_out, ended.code) == (True, -signal.SIGKILL)
    os.close(end)
    assert os.read(witness, 1) == b"", "nobody holds the other end any more"
    os.close(witness)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells of a process's end")
def test_a_child_has_ended_though_a_copy_of_it_holds_its_pipe(ears: Ears) -> None:
    witness, end = os.pipe()

    def body(channel: Channel) -> None:
        os.close(witness)
        channel.send({"said": "x" * 20_000})
        if os.fork() == 0:
            signal.pause()

    ended = run_child(body, ears.channel, lifeline=ears.lifeline, deadline_s=5.0)
    assert (ended.timed_out, ended.code) == (False, 0)
    os.close(end)
    assert os.read(witness, 1) == b"", "the copy is gone too"
    os.close(witness)


def test_at_the_end_of_the_lifeline_a_process_and_its_child_end() -> None:
    ears = Ears()
    witness, end = os.pipe()

    def outer(channel: Channel) -> None:
        os.close(ears.alive)
        run_child(lambda _: threading.Event().wait(), channel, lifeline=ears.lifeline)

    pid = os.fork()
    if pid == 0:
        try:
            os.close(witness)
            os.close(ears.alive)
            run_child(outer, ears.channel, lifeline=ears.lifeline)
        finally:
            os._exit(0)
    os.close(end)
    os.close(ears.alive)
    assert os.read(witness, 1) == b""
    os.waitpid(pid, 0)
    for fd in (witness, ears.lifeline, ears.channel.fd, ears.reading):
        os.close(fd)


def test_a_process_with_threads_does_not_fork() -> None:
    gate = threading.Event()
    before = can_fork()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    assert not can_fork()
    gate.set()
    thread.join()
    assert can_fork() is before


@pytest.mark.parametrize(
    ("code", "timed_out", "by_itself"),
    [(0, False, True), (3, False, True), (-9, False, False), (-9, True, False), (70, False, False)],
)
def test_only_an_exit_that_is_no_signal_and_no_crash_of_ours_is_the_programs_own(
    code: int, timed_out: bool, by_itself: bool
) -> None:
    assert Ended(code, timed_out).by_itself is by_itself
