"""``lock.json``: what the numbers of a run depend on beside its configuration, as digests.

A run may only be resumed against the same lock; two runs with different locks are compared with a
warning. Not here: how a digest is taken (``orchestrator.lock``).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiopslab.models.base import Model


class Lock(Model):
    """Digests are sha256 hex of file contents; an empty string means there is no such content."""

    schema_: Literal["aiopslab/lock@1"] = Field(default="aiopslab/lock@1", alias="schema")
    version: str
    """Version of the harness."""
    harness: str
    """Digest over the library's source."""
    scoring_version: str
    suite: str
    """Digest of the list of planned problems."""
    incidents: dict[str, str]
    apps: dict[str, str]
    agent: str
    rules: str
    """Digest of the alert rules and the metric catalogue."""
    context: dict[str, str] = Field(default_factory=dict)
    """``profile``, ``delivery`` and, with P5, the digest of the ``memory``; empty for the default
    context."""

    def differences(self, other: Lock) -> list[str]:
        """List what differs, one line each, ``field: old -> new``; empty if the locks agree."""
        lines: list[str] = []
        before, after = self._flat(), other._flat()
        for key in sorted(before.keys() | after.keys()):
            old, new = before.get(key, "(absent)"), after.get(key, "(absent)")
            if old != new:
                lines.append(f"{key}: {old[:12] or '(none)'} -> {new[:12] or '(none)'}")
        return lines

    def _flat(self) -> dict[str, str]:
        flat: dict[str, str] = {}
        for key, value in self.model_dump().items():
            if isinstance(value, dict):
                flat |= {f"{key}.{name}": digest for name, digest in value.items()}
            else:
                flat[key] = value
        return flat
