"""What an agent's program finds when it starts: a private directory, an environment, addresses.

Written for programs that know nothing of us: the variables are those that kubectl and clients of
Prometheus, Loki, Jaeger and Tempo read, URLs carry the token for those that take nothing else, and
``mcp.json`` is the configuration most MCP clients take. Not here: running the program
(``process``, ``sandbox``), its command line (``command``).
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiopslab.errors import AgentError
from aiopslab.models.doors import Doors
from aiopslab.models.observation import Brief

ANSWER = "answer.json"
ANSWER_BYTES = 2**20
"""Longest answer that is read."""
PLACEHOLDERS = {
    "brief_file": "path of brief.md: what is asked",
    "mcp_config": "path of mcp.json: the common mcpServers format",
    "mcp_url": "URL of the MCP server, token in its path",
    "api_url": "URL of the tool API, token in its path",
    "workdir": "the private working directory, also HOME",
    "answer_file": "path of answer.json: left there, it is submitted when the program ends",
}


@dataclass(frozen=True, slots=True)
class Workplace:
    """The directory of one trial's program.

    Args:
        root: Where it is on this machine.
        seen_as: Where the program sees it.
        doors: Where the program reaches the trial.
    """

    root: Path
    seen_as: str
    doors: Doors

    def furnish(self, brief: Brief) -> None:
        """Write what the program reads; only its owner may."""
        doors = self.doors
        self._write("brief.md", _brief(brief))
        self._write("mcp.json", json.dumps(_mcp_config(doors), indent=2) + "\n")
        self._write("kubeconfig", Path(doors.kubeconfig).read_text(encoding="utf-8"))

    def placeholders(self) -> dict[str, str]:
        """Return what a command line may name in braces."""
        return {
            "brief_file": self._seen("brief.md"),
            "mcp_config": self._seen("mcp.json"),
            "mcp_url": self._url(self.doors.mcp),
            "api_url": self._url(self.doors.api),
            "workdir": self.seen_as,
            "answer_file": self._seen(ANSWER),
        }

    def defaults(self) -> dict[str, str]:
        """Return the variables that the operator may set otherwise: where own telemetry goes."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.doors.with_token(self.doors.otlp),
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }

    def environment(self) -> dict[str, str]:
        """Return the variables that every program gets."""
        doors = self.doors
        return {
            "HOME": self.seen_as,
            "LANG": "C.UTF-8",
            "KUBECONFIG": self._seen("kubeconfig"),
            "PROMETHEUS_URL": doors.with_token(doors.prometheus),
            "LOKI_URL": doors.with_token(doors.loki),
            "JAEGER_URL": doors.with_token(doors.jaeger),
            "TEMPO_URL": doors.with_token(doors.tempo),
            "ALERTMANAGER_URL": doors.with_token(doors.alertmanager),
            "AIOPSLAB_URL": self._url(doors.api),
            "AIOPSLAB_MCP_URL": self._url(doors.mcp),
            "AIOPSLAB_TOKEN": doors.token,
            "AIOPSLAB_BRIEF": self._seen("brief.md"),
        }

    def answer(self) -> dict[str, Any] | None:
        """Read the answer that was left; None if there is none.

        Raises:
            AgentError: What was left is no JSON object in a plain file of sensible size.
        """
        text = _read(self.root / ANSWER)
        if text is None:
            return None
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise AgentError(f"{ANSWER} is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise AgentError(f"{ANSWER} holds no JSON object but {type(found).__name__}")
        return found

    def _seen(self, name: str) -> str:
        return f"{self.seen_as}/{name}"

    def _url(self, url: str | None) -> str:
        return "" if url is None else self.doors.with_token(url)

    def _write(self, name: str, text: str) -> None:
        path = self.root / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")


def _read(path: Path) -> bytes | None:
    """Read a file that a program of unknown intent left: no link, no pipe, no gigabytes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AgentError(f"{ANSWER} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise AgentError(f"{ANSWER} is no plain file")
    with os.fdopen(fd, "rb") as file:
        text = file.read(ANSWER_BYTES + 1)
    if len(text) > ANSWER_BYTES:
        raise AgentError(f"{ANSWER} is longer than {ANSWER_BYTES} bytes")
    return text


def _mcp_config(doors: Doors) -> Mapping[str, Any]:
    server = {
        "type": "http",
        "url": "" if doors.mcp is None else doors.with_token(doors.mcp),
        "headers": {"Authorization": f"Bearer {doors.token}"},
    }
    return {"mcpServers": {"aiopslab": server}}


def _brief(brief: Brief) -> str:
    return _BRIEF.format(
        brief=brief.text(),
        namespace=brief.namespace,
        schema=json.dumps(brief.answer_schema, indent=2),
    )


_BRIEF = """\
# On call

{brief}

## At hand

- `kubectl` works: `KUBECONFIG` is set, the namespace is `{namespace}`.
- `PROMETHEUS_URL`, `LOKI_URL`, `JAEGER_URL`, `TEMPO_URL` and `ALERTMANAGER_URL` are the usual APIs.
- Tools over MCP: `AIOPSLAB_MCP_URL`, configuration in `mcp.json`.
- The same tools over HTTP: `GET $AIOPSLAB_URL/tools`, `POST $AIOPSLAB_URL/tools/NAME`.
- Requests take time on the cluster's clock; `GET $AIOPSLAB_URL/budget` says what is left.

## The answer

Call the tool `submit`, or run `aiopslab submit '{{...}}'`, or leave the JSON object in
`answer.json`. Its schema:

```json
{schema}
```
"""
