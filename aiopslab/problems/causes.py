"""What the cause kinds mean, for what is written in the words of the public vocabulary.

Not here: who may name which kind (``tools.vocabulary``, which agents are shown).
"""

from __future__ import annotations

from functools import cache

from aiopslab.content import files, load_model
from aiopslab.errors import PreflightError
from aiopslab.models.cause import CauseCatalogue


def definition(cause: str) -> str:
    """Return the sentence that defines a cause kind.

    Raises:
        PreflightError: The content is not installed.
        KeyError: There is no such kind.
    """
    return _definitions()[cause]


@cache
def _definitions() -> dict[str, str]:
    path = next(files("problems", "causes.yaml"), None)
    if path is None:
        raise PreflightError("problems/causes.yaml is missing; reinstall aiopslab")
    return {kind.id: kind.definition for kind in load_model(path, CauseCatalogue).causes}
