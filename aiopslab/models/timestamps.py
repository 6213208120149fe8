"""Unix seconds to RFC 3339 and back; the one place that knows the text form of world time."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """Format unix seconds as RFC 3339 in UTC with whole seconds.

    >>> rfc3339(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unix(text: str) -> float:
    """Parse RFC 3339 to unix seconds.

    Raises:
        ValueError: Not a timestamp.

    >>> unix("1970-01-01T00:01:00Z")
    60.0
    """
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
