"""The command line: one file a command, light to import, errors in one line.

``main`` builds the command tree, runs a command and turns exceptions into exit codes: 0 done,
1 unexpected, 2 usage, 3 preflight, 4 infra above threshold, 5 budget, 6 validation failed,
130 interrupted, 141 the reader of the output went away. Commands import what they need in their
bodies, so ``--help`` stays fast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from aiopslab.errors import AIOpsLabError, InfraError, LimitExceeded, PreflightError, UsageError

__all__ = ["main"]

EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_PREFLIGHT = 3
EXIT_INFRA = 4
EXIT_BUDGET = 5
EXIT_INVALID = 6
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141
"""128 + SIGPIPE: what a shell shows for ``aiopslab list | head -1``."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in tokens
    tokens = [t for t in tokens if t != "--debug"]
    sys.exit(_run(tokens, debug=debug))


def _run(tokens: list[str], *, debug: bool) -> int:
    from aiopslab.cli import output
    from aiopslab.cli.tree import build

    as_json = "--json" in tokens
    try:
        result = build()(
            tokens, exit_on_error=False, print_error=False, result_action="return_value"
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        output.problem("interrupted", hint="aiopslab resume RUN continues where it stopped")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        output.abandon()
        return EXIT_PIPE
    except AIOpsLabError as error:
        if debug:
            raise
        output.failure(error, as_json=as_json)
        return _code(error)
    except Exception as error:
        usage = output.usage_message(error)
        if usage is None or debug:
            raise
        output.failure(UsageError(usage), as_json=as_json)
        return EXIT_USAGE


def _code(error: AIOpsLabError) -> int:
    match error:
        case UsageError():
            return EXIT_USAGE
        case PreflightError():
            return EXIT_PREFLIGHT
        case InfraError():
            return EXIT_INFRA
        case LimitExceeded():
            return EXIT_BUDGET
        case _:
            return EXIT_UNEXPECTED
