"""``replay``: issues the calls of a recorded trial again, in order.

For debugging a record and for showing that the same calls meet the same world. Not here: reading
anything of a record but its calls.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aiopslab.agents.protocol import TrialHandle
from aiopslab.errors import UsageError


class Replay:
    """Plays a ``steps.jsonl``.

    Args:
        steps: The file, or the directory of the trial that holds it.

    Raises:
        UsageError: It cannot be read.
    """

    def __init__(self, steps: str) -> None:
        path = Path(steps)
        self._calls = _read(path / "steps.jsonl" if path.is_dir() else path)

    async def run(self, trial: TrialHandle) -> None:
        """Issue the calls; thoughts are noted as they were."""
        for name, arguments, thought in self._calls:
            if thought:
                trial.note(thought)
            await trial.call(name, **arguments)


def _read(path: Path) -> list[tuple[str, dict[str, Any], str]]:
    """Read (tool, arguments, thought) of every line."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{str(path)!r} cannot be read: {error.strerror}",
            hint="give -A steps=RUN/trials/TRIAL",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{str(path)!r} is no record of steps: {error}") from error
    calls = []
    # Not splitlines: a text may hold U+2028 and the like, which end a line there but not here.
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, line in enumerate(lines, 1):
        try:
            step = json.loads(line)
            calls.append((step["tool"], dict(step["arguments"]), step.get("thought", "")))
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}:{number} is not a recorded step: {error}") from error
    return calls
