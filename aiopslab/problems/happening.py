"""What a distractor is: something true and harmless that happens, drawn like a fault.

Not here: the kinds (``distractors``, ``visitors``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from aiopslab.environments.protocol import Environment
from aiopslab.models.app import App
from aiopslab.models.support import Support, everywhere

Takes = Mapping[str, type]
"""Parameters of a kind with their types."""


class Happening(ABC):
    """One distractor, drawn."""

    support: ClassVar[Support] = everywhere()
    """Where it exists; most are changes of objects, which every cluster knows."""
    takes: ClassVar[Takes] = {}
    """Its parameters; ``journey`` is the name of one."""

    def __init__(self, app: App, target: str, params: dict[str, Any]) -> None:
        self.app = app
        self.target = target
        self.params = params

    @classmethod
    @abstractmethod
    def fits(cls, app: App, component: str) -> bool:
        """Say whether it can happen to this component."""

    @abstractmethod
    async def happen(self, env: Environment) -> None:
        """Do it."""
