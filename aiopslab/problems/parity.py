"""The counterparts of AIOpsLab's fault families, from the content room ``problems``.

Not here: the incidents (``catalogue``); the suite ``aiopslab-parity`` lists the same ones.
"""

from __future__ import annotations

from aiopslab import content
from aiopslab.errors import PreflightError
from aiopslab.models.parity import Counterpart, Parity


def counterparts() -> list[Counterpart]:
    """Return one entry a family, in the order of the file.

    Raises:
        PreflightError: The content is not installed.
        ContentError: The file is malformed.
    """
    path = next(content.files("problems", "parity.yaml"), None)
    if path is None:
        raise PreflightError("problems/parity.yaml is missing; reinstall aiopslab")
    return content.load_model(path, Parity).families
