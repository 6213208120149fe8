"""Resource quantities: ``100m``, ``1.5Gi``, ``2e3``.

Grammar and suffixes follow the API's ``resource.Quantity``. Values are exact (``Decimal``);
:func:`amount` gives the numbers the rest of the world computes with.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal, localcontext
from functools import lru_cache

_FORM = re.compile(
    r"^([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]+)?\Z"
)
_BINARY = {s: Decimal(1024) ** n for n, s in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {
    s: Decimal(10) ** n
    for s, n in zip(
        ("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), range(-9, 19, 3), strict=True
    )
}

_MOST = Decimal(2**63 - 1)
"""The server caps larger numbers at this, whatever their sign."""

ILL_FORMED = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)


class QuantityError(ValueError):
    """Text that is not a quantity; the message is the API server's."""


@lru_cache(maxsize=4096)
def parse(value: str | int | float) -> Decimal:
    """Return the exact value, capped at 2**63 - 1.

    Raises:
        QuantityError: Not a quantity.

    >>> parse("100m"), parse("1Ki")
    (Decimal('0.100'), Decimal('1024'))
    """
    match = _FORM.match(str(value))
    if match is None:
        raise QuantityError(ILL_FORMED)
    return max(-_MOST, min(_scaled(Decimal(match[1]), match[2] or ""), _MOST))


def _scaled(number: Decimal, suffix: str) -> Decimal:
    """Multiply a number by what its suffix stands for.

    Raises:
        QuantityError: The exponent is absurd.
    """
    if suffix in _DECIMAL:
        return number * _DECIMAL[suffix]
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    with localcontext() as context:
        # Exponents come from outside: an absurd one must be refused, not computed.
        exponent = int(suffix[1:])
        if abs(exponent) > 18 + 9:
            raise QuantityError(ILL_FORMED)
        context.prec = 60
        return number.scaleb(exponent)


@lru_cache(maxsize=4096)
def amount(value: str | int | float) -> float:
    """Return the value as a float (cores, bytes or a count), for what need not be exact."""
    return float(parse(value))


def format_cpu(value: Decimal | float) -> str:
    """Write cores canonically: whole cores plain, else millicores.

    >>> format_cpu(1.5), format_cpu(2)
    ('1500m', '2')
    """
    milli = int((Decimal(str(value)) * 1000).to_integral_value(ROUND_CEILING))
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def format_bytes(value: Decimal | float) -> str:
    """Write bytes canonically: the largest binary suffix that divides them.

    >>> format_bytes(134217728), format_bytes(1000)
    ('128Mi', '1000')
    """
    number = int(Decimal(value).to_integral_value(ROUND_CEILING))
    for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
        unit = int(_BINARY[suffix])
        if number and number % unit == 0:
            return f"{number // unit}{suffix}"
    return str(number)


def format_resource(name: str, value: Decimal) -> str:
    """Write a quantity in the unit of its resource (``cpu``, ``requests.memory``, ``pods``)."""
    unit = name.rpartition(".")[2]
    if unit == "cpu":
        return format_cpu(value)
    return format_bytes(value) if unit in ("memory", "storage", "ephemeral-storage") else str(value)
