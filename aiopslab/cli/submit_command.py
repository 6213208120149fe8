"""``aiopslab submit``: the answer of a running trial, from a shell."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from aiopslab.cli import EXIT_INVALID, output


def command(
    answer: str = "",
    /,
    *,
    file: Annotated[str, Parameter(alias="-f", allow_leading_hyphen=True)] = "",
    url: str | None = None,
    token: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    **fields: str,
) -> int:
    """Submit the answer of a running trial and end it.

    The answer is a JSON object: as an argument, in a file, or field by field: --anomaly true
    --confidence 0.9. Its schema is in the brief. A malformed one may be repaired once.

    Args:
        answer: JSON object.
        file: File that holds it; - is standard input.
        url: The trial's tool API. Default: AIOPSLAB_URL.
        token: Its token. Default: AIOPSLAB_TOKEN, or what the URL carries.
        json: Print the observation as JSON.
        fields: Fields of the answer; lists and objects as JSON.
    """
    import asyncio

    seen = asyncio.run(_submit(_answer(answer, file, fields), url, token))
    if json:
        output.envelope("aiopslab/observation@1", seen.model_dump(mode="json"))
    elif seen.ok:
        print(seen.text)
    else:
        output.problem(seen.text)
    return 0 if seen.ok else EXIT_INVALID


def _answer(text: str, file: str, fields: dict[str, str]) -> dict[str, Any]:
    """Read the answer from the one place where it was given."""
    import json
    import sys
    from pathlib import Path

    from aiopslab.errors import UsageError

    if sum(map(bool, (text, file, fields))) != 1:
        raise UsageError(
            "give the answer once: as JSON, with --file, or field by field",
            hint='aiopslab submit \'{"anomaly": true, "confidence": 0.9}\'',
        )
    if fields:
        return dict(fields)
    try:
        if file == "-":
            text = sys.stdin.read()
        elif file:
            text = Path(file).read_text(encoding="utf-8")
        found = json.loads(text)
    except OSError as error:
        raise UsageError(f"{file!r} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the answer is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"the answer is a JSON object, not {type(found).__name__}")
    return found


async def _submit(answer: dict[str, Any], url: str | None, token: str | None) -> Any:
    from aiopslab.tools.remote import open_trial

    async with open_trial(url, token) as trial:
        return await trial.call("submit", **answer)
