"""The way a request fails."""

from __future__ import annotations

import gc
import weakref

from aiopslab.services.exchange import RequestFailed
from aiopslab.services.languages import Problem


class _Local:
    """Something that a call holds."""


def _fail(held: list[weakref.ref[_Local]]) -> None:
    local = _Local()
    held.append(weakref.ref(local))
    try:
        raise ConnectionError
    except ConnectionError as error:
        failed = RequestFailed(503, Problem("503", "no"))
        raise failed from error


def test_a_settled_failure_holds_nothing_of_the_calls_it_came_through() -> None:
    held: list[weakref.ref[_Local]] = []
    gc.disable()
    try:
        try:
            _fail(held)
        except RequestFailed as failed:
            answered = failed.settled()
        assert answered.problem.message == "no"
        assert held[0]() is None
    finally:
        gc.enable()
