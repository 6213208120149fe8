"""What all models share: frozen, no unknown keys, and the literals people write for time and size.

Not here: any noun of the domain; each has a module of its own beside this one.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

_SOURCES = __file__.endswith(".py")
"""Whether field docstrings can be read: a packed program has no sources to search for them."""


class Model(BaseModel):
    """A frozen value that refuses unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=_SOURCES, populate_by_name=True
    )


_DURATION = re.compile(r"(?P<n>-?\d+(?:\.\d+)?)(?P<u>ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(?P<n>\d+(?:\.\d+)?)(?P<u>Ki|Mi|Gi|Ti|k|K|M|G|T)?B?")
_UNIT_B = {
    None: 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


def parse_duration(text: Any) -> float:
    """Read ``90``, ``"90s"``, ``"1m30s"``, ``"400ms"`` as seconds.

    >>> parse_duration("1m30s")
    90.0
    """
    if isinstance(text, int | float) and not isinstance(text, bool) and math.isfinite(text):
        return float(text)
    parts = list(_DURATION.finditer(str(text)))
    if not parts or "".join(p.group() for p in parts) != str(text):
        raise ValueError(f"{text!r} is not a duration; write 90, '90s', '1m30s' or '400ms'")
    return sum(float(p["n"]) * _UNIT_S[p["u"]] for p in parts)


def parse_size(text: Any) -> int:
    """Read ``1024``, ``"24Ki"``, ``"1.5Gi"``, ``"200k"`` as a whole number (bytes, or tokens).

    >>> parse_size("24Ki")
    24576
    """
    if isinstance(text, int | float) and not isinstance(text, bool) and math.isfinite(text):
        return int(text)
    part = _SIZE.fullmatch(str(text))
    if part is None:
        raise ValueError(f"{text!r} is not a size; write 1024, '24Ki', '1.5Gi' or '200k'")
    return int(float(part["n"]) * _UNIT_B[part["u"]])


Seconds = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds; content may write ``10m``."""
Bytes = Annotated[int, BeforeValidator(parse_size)]
"""Bytes; content may write ``64Mi``."""
