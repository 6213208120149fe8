"""Every exception the project raises on purpose.

    AIOpsLabError
    ├── UsageError            the user's mistake: one line, what is wrong and what to type
    │   └── ContentError      a content file (YAML) is wrong: names file and line
    ├── PreflightError        something the run needs is missing: a key, a program, a right
    ├── InfraError            the lab failed; the trial is repeated, never charged to the agent
    ├── AgentError            the agent's program failed or broke its contract
    ├── GradingError          a record cannot be graded; becomes a value, not a crash
    └── LimitExceeded         a budget of the trial is used up

Not here: errors *inside* the world (a refused connection, an SQLSTATE, a Kubernetes Status).
Those are things the simulated programs see and live in ``services.protocols`` and ``world``.
"""

from __future__ import annotations


class AIOpsLabError(Exception):
    """Base of everything raised on purpose; catch it to catch all of ours."""


class UsageError(AIOpsLabError):
    """The user asked for something that does not exist or cannot be.

    Args:
        message: What is wrong, with the offending value as ``repr``.
        hint: What to type instead; empty when the message says it.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ContentError(UsageError):
    """A content file is malformed; ``where`` is ``path:line``."""

    def __init__(self, where: str, message: str, *, hint: str = "") -> None:
        super().__init__(f"{where}: {message}", hint=hint)
        self.where = where


class PreflightError(AIOpsLabError):
    """Something outside the project is missing; the message says how to get it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InfraError(AIOpsLabError):
    """A stage of the lab failed.

    Args:
        stage: The lifecycle stage (``deploy``, ``ready``, ``baseline``, ``inject``, ...).
        message: What was expected and what was seen.
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(f"{stage}: {message}")
        self.stage = stage
        self.message = message


class AgentError(AIOpsLabError):
    """The agent's program raised, or does not keep the contract of ``agents.protocol``."""


class GradingError(AIOpsLabError):
    """A trial record lacks what a grader needs."""


class LimitExceeded(AIOpsLabError):
    """A budget of the trial is used up.

    Args:
        limit: Its name: ``steps``, ``virtual_time``, ``wall_time``, ``tokens`` or ``cost``.
    """

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(message)
        self.limit = limit


def first_of(error: BaseException) -> BaseException:
    """Return the first error of a group, and of groups in it; any other error as it is.

    >>> first_of(ExceptionGroup("two", [InfraError("seed", "no room"), ValueError()]))
    InfraError('seed: no room')
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
