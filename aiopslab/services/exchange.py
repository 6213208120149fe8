"""One request as it passes through the steps, and the way it fails. Shared by steps and clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiopslab.services.languages import Frame, Problem


class Exchange:
    """What steps know of the request they serve."""

    __slots__ = ("params", "span_id", "trace_id")

    def __init__(self, trace_id: int, span_id: int, params: Mapping[str, str]) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        """The span that new spans become children of."""
        self.params = params


class RequestFailed(Exception):
    """A step cannot go on; the request is answered with ``status``.

    Args:
        status: HTTP status for the caller.
        problem: The error in the language's words.
        frames: Where in the service's code, outermost first.
    """

    def __init__(self, status: int, problem: Problem, frames: Sequence[Frame] = ()) -> None:
        super().__init__(problem.message)
        self.status = status
        self.problem = problem
        self.frames = frames

    def settled(self) -> RequestFailed:
        """Return it without where it came from, for whoever answers it and raises it no more.

        The calls it came through hold it as it holds them. A world full of failures would be full
        of such circles, which only the garbage collector finds.
        """
        error: BaseException | None = self
        while error is not None:
            cause = error.__cause__ or error.__context__
            error.__traceback__ = error.__cause__ = error.__context__ = None
            error = cause
        return self
