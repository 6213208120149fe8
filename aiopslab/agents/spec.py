"""``agent.yaml``: what an agent says about itself; its model's settings, a program's surroundings.

Not here: importing the agent (``loading``).
"""

from __future__ import annotations

import os
from typing import Any, Literal

import yaml
from pydantic import Field

from aiopslab.content import near
from aiopslab.errors import PreflightError, UsageError
from aiopslab.models.base import Model

KEY_VARIABLES = ("OPENAI_API_KEY", "AIOPSLAB_API_KEY")
RESERVED = (
    "HOME", "LANG", "KUBECONFIG", "PROMETHEUS_URL", "LOKI_URL", "JAEGER_URL", "TEMPO_URL",
    "ALERTMANAGER_URL", "AIOPSLAB_URL", "AIOPSLAB_MCP_URL", "AIOPSLAB_TOKEN", "AIOPSLAB_BRIEF",
)  # fmt: skip
"""Variables of a program that lead it to its trial; the operator cannot set them."""


class ArgSpec(Model):
    """An argument of an agent, given as ``-A name=value``."""

    type: Literal["string", "integer", "number", "boolean", "agent", "file"] = "string"
    """``agent`` names another agent and ``file`` a file, empty for none: a run's lock then pins
    what is there."""
    default: str | int | float | bool | None = None
    """None: the argument must be given, unless it is optional."""
    optional: bool = False
    """True: an argument without a default that is not given is not passed."""
    help: str = ""


class AgentSpec(Model):
    """One file ``agents/<name>/agent.yaml``."""

    schema_: Literal["aiopslab/agent@1"] = Field(default="aiopslab/agent@1", alias="schema")
    name: str
    version: str = "0"
    summary: str = ""
    entry: str = "agent.py:Agent"
    """``file.py:Class`` in the folder, or ``cmd:`` and a command line."""
    needs_model: bool = False
    """True: the class takes ``model=ModelSettings(...)``."""
    takes_model: bool = False
    """True: the class takes ``model=``, None where the run names none."""
    rehearsed: bool = False
    """True: making one is cheap and tells what is missing; it is done before anything boots."""
    books_cost: bool = False
    """True: it books dollars from the price lists and takes their file as argument ``prices``; a
    cost limit is refused where its model has no price."""
    args: dict[str, ArgSpec] = Field(default_factory=dict)

    def arguments(self, given: dict[str, str]) -> dict[str, Any]:
        """Convert the given arguments and fill in defaults.

        Raises:
            UsageError: An unknown, malformed or missing argument.
        """
        for name in given:
            if name not in self.args:
                known = ", ".join(self.args) or "none"
                raise UsageError(
                    f"agent {self.name!r} has no argument {name!r}",
                    hint=near(name, list(self.args)) or f"arguments: {known}",
                )
        values = {}
        for name, spec in self.args.items():
            if name in given:
                values[name] = _convert(self.name, name, given[name], spec.type)
            elif spec.default is None and spec.optional:
                continue
            elif spec.default is None:
                raise UsageError(
                    f"agent {self.name!r} needs the argument {name!r}", hint=f"-A {name}=VALUE"
                )
            else:
                values[name] = spec.default
        return values


class ModelSettings(Model):
    """Which model an agent talks to."""

    model: str
    """Name at the endpoint; a prefix ``openai/`` is accepted."""
    base_url: str | None = None
    """Root of an OpenAI-compatible API; None is OpenAI's own."""

    @property
    def name(self) -> str:
        """The model's name without provider."""
        return self.model.removeprefix("openai/")

    def key(self) -> str:
        """Return the key from the environment; an endpoint of one's own may need none.

        Raises:
            PreflightError: There is none; names the variable.
        """
        for variable in KEY_VARIABLES:
            if os.environ.get(variable):
                return os.environ[variable]
        if self.base_url is not None:
            return "unused"
        raise PreflightError(
            f"no API key for model {self.model!r}", hint=f"export {KEY_VARIABLES[0]}=..."
        )


class Surroundings(Model):
    """What the operator gives to an agent that is a program."""

    sandbox: Literal["none", "docker"] = "none"
    image: str | None = None
    """Image of the sandbox's container."""
    env: tuple[str, ...] = ()
    """``NAME`` (passed on from this process) or ``NAME=VALUE``; nothing else is passed on."""

    def variables(self) -> dict[str, str]:
        """Return the variables with their values.

        Raises:
            UsageError: A name is none, or leads to the trial.
            PreflightError: A variable that is to be passed on is not set.
        """
        found = {}
        for text in self.env:
            name, given, value = text.partition("=")
            if not name.isidentifier() or name in RESERVED:
                why = "is set by the trial" if name in RESERVED else "is no name of a variable"
                raise UsageError(f"--agent-env {name!r} {why}")
            if not given and name not in os.environ:
                raise PreflightError(f"{name} is not set", hint=f"export {name}=...")
            found[name] = value if given else os.environ[name]
        return found

    def secrets(self) -> list[str]:
        """Return the values that are passed on; those written out are in the record anyway."""
        return [os.environ[name] for name in self.env if name in os.environ]


NOTHING = Surroundings()
"""Nothing given."""


def _convert(agent: str, name: str, text: str, wanted: str) -> Any:
    """Read a value of the declared type."""
    kinds: dict[str, tuple[type, ...]] = {
        "integer": (int,), "number": (int, float), "boolean": (bool,), "string": (str,),
    }  # fmt: skip
    if wanted in ("string", "agent", "file"):
        return text
    value = yaml.safe_load(text)
    is_bool = isinstance(value, bool)
    if not isinstance(value, kinds[wanted]) or is_bool != (wanted == "boolean"):
        raise UsageError(f"agent {agent!r}: argument {name}={text!r} is no {wanted}")
    return value
