"""How programs of each language write: log lines, stack traces and the words of their clients.

``of(language)`` returns the ``Dialect``. Not here: when something is logged (``program``).
"""

from aiopslab.models.workload import Language
from aiopslab.services.languages.dialect import Dialect, Frame, Problem
from aiopslab.services.languages.go import Go
from aiopslab.services.languages.java import Java
from aiopslab.services.languages.node import Node
from aiopslab.services.languages.python import Python

__all__ = ["Dialect", "Frame", "Problem", "of"]

_DIALECTS: dict[Language, type[Dialect]] = {
    "go": Go,
    "java": Java,
    "node": Node,
    "python": Python,
}


def of(language: Language, service: str) -> Dialect:
    """Return the dialect of a service."""
    return _DIALECTS[language](service)
