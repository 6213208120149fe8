"""The tree of commands; each is imported when it is asked for."""

from __future__ import annotations

from cyclopts import App

from aiopslab._version import __version__

_HELP = """\
Evaluate AIOps agents on incidents that are proven sound.

Examples:

    aiopslab run quickstart                     three incidents, no key, no Docker
    aiopslab run core -a react -m gpt-5         every incident, an LLM agent
    aiopslab play service-target-port           you are the on-call
"""

_COMMANDS = {
    "run": "Run an agent on problems and grade it.",
    "resume": "Continue a run that was cut off; finished trials stay.",
    "regrade": "Grade a run again from its records alone.",
    "list": "List problems, suites, agents, apps, causes or runs.",
    "show": "Show one incident, suite, agent, app or run.",
    "play": "Be the agent: a terminal session on one incident.",
    "check": "Prove incidents sound: twin healthy, fault hurts, fix works, cheats fail.",
    "doctor": "Look whether everything needed is there, with the fix to type.",
}


def build() -> App:
    """Return the application with every command registered by path."""
    app = App(
        name="aiopslab",
        help=_HELP,
        help_format="plaintext",
        version=__version__,
        version_flags=["--version"],
    )
    for name, summary in _COMMANDS.items():
        app.command(f"aiopslab.cli.{name}_command:command", name=name, help=summary)
    return app
