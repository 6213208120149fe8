"""Following the log of a container: through breaks, without a gap or a repeat, to its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from aiopslab.environments.cluster.connection import Request
from aiopslab.errors import InfraError
from aiopslab.models.kube import KubeError
from aiopslab.observer import tailing
from aiopslab.observer.tailing import Follower, Run

RUN = Run("p", "n", "geo", "c", "containerd://1")
Piece = bytes | Exception


def line(second: int, text: str, fraction: str = "5") -> bytes:
    return f"2026-11-30T05:00:{second:02d}.{fraction}Z {text}\n".encode()


class Response:
    """A stream of pieces."""

    def __init__(self, pieces: list[Piece]) -> None:
        self._pieces = pieces
        self.shut = threading.Event()

    def stream(self, size: int) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def shutdown(self) -> None:
        self.shut.set()

    def close(self) -> None: ...


class Server:
    """Answers one stream after the other."""

    def __init__(self, *answers: list[Piece] | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def stream(self, request: Request, timeout_s: float) -> Any:
        self.asked.append(request.query["sinceTime"])
        answer = self._answers.pop(0) if self._answers else []
        if isinstance(answer, Exception):
            raise answer
        return Response(answer)


class Listener:
    """What a follower tells."""

    def __init__(self, lives: int) -> None:
        self.lines: list[str] = []
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._lives = lives

    def runs(self, run: Run) -> bool:
        self._lives -= 1
        return self._lives >= 0

    def took(self, run: Run, time: float, text: str) -> None:
        self.lines.append(text)

    def done(self, run: Run, why: str) -> None:
        self.ended.set_result(why)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tailing, "_AGAIN_S", 0.0)


def followed(server: Server, lives: int = 0) -> tuple[list[str], str]:
    """Return the lines that were told, and why it ended."""

    async def scene() -> tuple[list[str], str]:
        listener = Listener(lives)
        follower = Follower(server, RUN, 1796014800.0, listener)
        async with asyncio.timeout(120):
            why = await listener.ended
        await asyncio.to_thread(follower.thread.join)
        return listener.lines, why

    return asyncio.run(scene())


def test_lines_are_told_however_they_are_cut() -> None:
    text = line(1, "one") + line(2, "zwei ä") + line(3, "")
    for size in (1, 3, 7, len(text)):
        pieces: list[Piece] = [text[i : i + size] for i in range(0, len(text), size)]
        assert followed(Server(pieces)) == (["one", "zwei ä", ""], "")


def test_a_last_line_without_an_end_is_told() -> None:
    assert followed(Server([line(1, "one"), line(2, "two").rstrip()])) == (["one", "two"], "")


def test_of_a_line_without_end_the_beginning_is_told() -> None:
    text = line(1, "ä" * 200_000) + line(2, "b")
    pieces: list[Piece] = [text[i : i + 1000] for i in range(0, len(text), 1000)]
    assert followed(Server(pieces)) == (["ä" * 16_384, "b"], "")


def test_after_a_break_it_goes_on_behind_the_last_line() -> None:
    broken: list[Piece] = [line(1, "a"), line(2, "b", "25"), OSError("reset")]
    again: list[Piece] = [
        line(2, "before", "1"), line(2, "b", "25"), line(2, "c", "250000001"), line(3, "d"),
    ]  # fmt: skip
    server = Server(broken, InfraError("kubernetes", "refused"), again)
    assert followed(server) == (["a", "b", "c", "d"], "")
    assert server.asked == ["2026-11-30T05:00:00Z", *["2026-11-30T05:00:02.25Z"] * 2]


def test_lines_of_one_instant_are_all_told() -> None:
    assert followed(Server([line(1, "a"), line(1, "b")])) == (["a", "b"], "")


def test_a_stream_that_ends_while_the_container_runs_is_begun_anew() -> None:
    server = Server([line(1, "a")], [line(1, "a"), line(2, "b")], [])
    assert followed(server, lives=2) == (["a", "b"], "")
    assert len(server.asked) == 3


def test_a_pod_that_is_gone_is_given_up_and_one_that_has_not_begun_is_not() -> None:
    waiting = KubeError(400, "BadRequest", "container is waiting to start")
    gone = KubeError(404, "NotFound", "pod not found")
    assert followed(Server(waiting, [line(1, "a")])) == (["a"], "")
    assert followed(Server(waiting, gone)) == ([], "pod not found")


def test_text_that_is_none_is_replaced_or_passed_over() -> None:
    assert followed(Server([b"no time\n\n", line(1, "a"), b"2026-11-30T05:00:02Z \xff\n"])) == (
        ["a", "\ufffd"], "",
    )  # fmt: skip


def test_it_can_be_stopped_at_any_time() -> None:
    async def scene() -> None:
        server = Server(*[InfraError("kubernetes", "refused")] * 100_000)
        listener = Listener(0)
        follower = Follower(server, RUN, 0.0, listener)
        await asyncio.sleep(0)
        follower.close()
        async with asyncio.timeout(120):
            assert await listener.ended == ""
        await asyncio.to_thread(follower.thread.join)

    asyncio.run(scene())
