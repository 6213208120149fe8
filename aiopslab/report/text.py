"""Text from records, made fit to be shown: agents write what they like, and so do their tools.

Not here: the escaping of a format, which belongs to its writer (``html.elements``, ``junit``,
``markdown``).
"""

from __future__ import annotations

_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"}
_DELETE = {0x7F: 0x2421}
_C1 = {code: f"\\x{code:02x}" for code in range(0x80, 0xA0)}
# They reorder or hide what stands around them, so that a reader sees other text than was written.
_INVISIBLE = {
    code: f"\\u{code:04x}"
    for code in (0x061C, 0x2028, 0x2029, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F),
                 *range(0x2060, 0x2070), 0xFFFE, 0xFFFF)
}  # fmt: skip
_TABLE: dict[int, int | str] = {**_PICTURES, **_DELETE, **_C1, **_INVISIBLE}
MISSING = "\N{EN DASH}"
"""What stands for a figure that nobody knows."""


def readable(text: str) -> str:
    r"""Return text in which every character can be seen, and none governs its surroundings.

    Control characters become their pictures, those that reorder or hide text their escapes, halves
    of characters the replacement character; tabs and line ends stay.

    >>> readable("a\x1b[31m") == "a\N{SYMBOL FOR ESCAPE}[31m"
    True
    """
    plain = text.replace("\r\n", "\n")
    whole = plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.translate(_TABLE)


def one_line(text: str) -> str:
    """Return readable text without line ends."""
    return " ".join(readable(text).split())


def shortened(text: str, limit: int) -> tuple[str, int]:
    """Cut a text at a limit of characters; return it and how many were left out."""
    if len(text) <= limit:
        return text, 0
    return text[:limit], len(text) - limit


def common_limit(lengths: list[int], room: int) -> int:
    """Return the limit under which texts of these lengths fit into a room together.

    Short texts keep their length and leave what they do not need to the long ones.

    >>> common_limit([10, 100, 100], 110)
    50
    """
    left, remaining = room, len(lengths)
    for length in sorted(lengths):
        if length * remaining > left:
            return max(0, left // remaining)
        left -= length
        remaining -= 1
    return max(lengths, default=0)


def figure(value: float | None, digits: int = 2) -> str:
    """Return a number with so many decimals, or a dash where nothing is known."""
    return MISSING if value is None else f"{value:.{digits}f}"


def amount(value: float) -> str:
    """Return a number for people: three significant digits, thousands apart.

    >>> amount(12345.6), amount(0.01234), amount(7.0)
    ('12,346', '0.0123', '7')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def clock(seconds: float) -> str:
    """Return seconds from a zero point as ``+m:ss`` or ``-m:ss``.

    >>> clock(75), clock(-5)
    ('+1:15', '-0:05')
    """
    whole = round(abs(seconds))
    return f"{'-' if seconds < 0 and whole else '+'}{whole // 60}:{whole % 60:02d}"
