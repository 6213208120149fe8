"""``python -m aiopslab.load users PLAN``: the users of an app, for a container of the lab.

Exit code 2 for wrong arguments or a plan that is none. Not here: the work (``program``).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from aiopslab.errors import UsageError
from aiopslab.load.plan import TOKEN_VARIABLE
from aiopslab.load.program import serving


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser("python -m aiopslab.load", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    users = commands.add_parser("users", help="offer an app its load until told to end")
    users.add_argument("plan", type=Path, help="JSON: journeys, promises, where the app is")
    users.add_argument("--bind", default="0.0.0.0", metavar="ADDRESS", help="listen here")
    users.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args(argv)
    try:
        token = os.environ.get(TOKEN_VARIABLE, "")
        serving.run(arguments.plan, arguments.bind, arguments.port, token)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
