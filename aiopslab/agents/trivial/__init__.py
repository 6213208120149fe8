"""Trivial agents: what can be scored without understanding anything.

A suite publishes their scores beside everybody's: an incident that one of them solves says little
about an agent. Each is one idea, one file. Not here: ``noop`` and ``oracle`` (``builtins``).
"""

from aiopslab.agents.trivial.alert_name import AlertName
from aiopslab.agents.trivial.always_yes import AlwaysYes
from aiopslab.agents.trivial.guess import Guess, Guesser, Suspicion
from aiopslab.agents.trivial.n_sigma import NSigma
from aiopslab.agents.trivial.prior import Prior
from aiopslab.agents.trivial.random_guess import RandomGuess
from aiopslab.agents.trivial.restart_everything import RestartEverything
from aiopslab.agents.trivial.rollback_latest_change import RollbackLatestChange

TRIVIAL: dict[str, type[Guesser]] = {
    "alert-name": AlertName,
    "always-yes": AlwaysYes,
    "n-sigma": NSigma,
    "prior": Prior,
    "random": RandomGuess,
    "restart-everything": RestartEverything,
    "rollback-latest-change": RollbackLatestChange,
}
"""Name to class, sorted."""

__all__ = [
    "TRIVIAL", "AlertName", "AlwaysYes", "Guess", "Guesser", "NSigma", "Prior", "RandomGuess",
    "RestartEverything", "RollbackLatestChange", "Suspicion",
]  # fmt: skip
