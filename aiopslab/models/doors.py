"""Where one trial, or one standing lab, is reached from outside: URLs, token, kubeconfig.

Handed to agents that work through wire APIs, and printed by ``aiopslab up --json``. Holds nothing
about the incident. Not here: serving (``wire``, ``orchestrator.serving``).
"""

from __future__ import annotations

from aiopslab.models.base import Model


class Doors(Model):
    """Addresses on loopback, open as long as the trial or the lab lasts."""

    kubeconfig: str
    """File, mode 0600; its token is the same."""
    prometheus: str
    loki: str
    jaeger: str
    tempo: str
    alertmanager: str
    otlp: str
    token_file: str
    """File, mode 0600: the bearer token of every URL here."""
    token: str
    api: str | None = None
    """The tool API; None where no trial stands behind the doors."""
    mcp: str | None = None
    """The MCP endpoint; None likewise."""

    def with_token(self, url: str) -> str:
        """Return a URL that carries the token in its path, for clients that take nothing else."""
        scheme, _, rest = url.partition("://")
        host, slash, path = rest.partition("/")
        return f"{scheme}://{host}/e/{self.token}{slash}{path}"
